"""Nets and images that several tests use. Narrow nets keep the zoo's topology at a sixteenth of its width."""

import sys
from pathlib import Path

import cam
from cam import scenes
from cam.nets.normalisation import normalise

import mxnet as mx
import numpy as np
import pytest
from mxnet import nd

# `make test-site` runs these, in the site's own environment.
collect_ignore = [] if Path(sys.prefix).name == "site-venv" else ["site"]


def relative_l2(found, expected):
    """Distance over the length of `expected`: single ReLU decisions flip in float32, so maxima mislead."""
    expected = np.asarray(expected, np.float64)
    return np.linalg.norm(np.asarray(found, np.float64) - expected) / np.linalg.norm(expected)


def randomise(net, seed=0):
    """Random parameters, and running statistics that are no identity."""
    rng = np.random.default_rng(seed)
    for name, parameter in net.collect_params().items():
        shape = parameter.data().shape  # an imported net tells it by its values only
        if parameter.grad_req == "null" and name.endswith(("gamma", "beta")):
            continue  # a BatchNorm without scale and centre: MXNet itself resets them
        if name.endswith(("gamma", "running_var")):
            values = rng.uniform(0.6, 1.4, shape)
        elif name.endswith("weight"):
            values = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        else:
            values = rng.normal(0, 0.1, shape)
        parameter.set_data(nd.array(values, dtype=parameter.dtype))
    return net


def random_images(count=1, size=224, seed=1):
    return nd.array(np.random.default_rng(seed).normal(size=(count, 3, size, size)).astype(np.float32))


@pytest.fixture(autouse=True)
def seeded():
    mx.random.seed(0)
    np.random.seed(0)


@pytest.fixture(scope="session")
def narrow_vgg():
    return randomise(cam.vgg16(weights=None, classes=7, width=1 / 16))


@pytest.fixture(scope="session")
def narrow_resnet():
    return randomise(cam.resnet50_v2(weights=None, classes=7, width=1 / 16))


@pytest.fixture(scope="session")
def narrow_nets(narrow_vgg, narrow_resnet):
    return {"vgg16": narrow_vgg, "resnet50_v2": narrow_resnet}


@pytest.fixture(scope="session")
def embedded_nets():
    return {"vgg16": cam.vgg16(), "resnet50_v2": cam.resnet50_v2()}


@pytest.fixture(scope="session")
def scene():
    return scenes.draw(0, objects=2)


@pytest.fixture(scope="session")
def scene_x(scene):
    return nd.array(normalise(scene.image)[None])
