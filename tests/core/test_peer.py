"""Our maps against Captum's on identical weights; `benchmarks/store_references.py` stored them."""

import sys
import warnings
from pathlib import Path

import cam
from cam import scenes
from cam.nets.normalisation import normalise

import numpy as np
import pytest
from conftest import relative_l2
from mxnet import nd

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
import store_references

REFERENCE = np.load(Path(__file__).parents[1] / "captum_reference.npz")


@pytest.fixture(scope="module", params=list(store_references.LAYERS))
def recorded(request, embedded_nets):
    drawn = [scenes.draw(seed) for seed in store_references.SEEDS]
    x = nd.array(normalise(np.stack([scene.image for scene in drawn])))
    ids = [scene.class_ids[0] for scene in drawn]
    return request.param, embedded_nets[request.param], x, ids


def test_grad_cam(recorded):
    name, net, x, ids = recorded
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cam.LayerWarning)
        layers = store_references.LAYERS[name]
        maps = cam.grad_cam(net, x, target=ids, layer=layers)
    for layer, found in zip(layers, maps.values()):  # by order: a stage and its last block are one layer
        assert relative_l2(found, REFERENCE[f"{name}/{layer}"]) < 1e-5, layer


def test_image_gradients(recorded):
    name, net, x, ids = recorded
    found = {rule: cam.image_gradient(net, x, target=ids, rule=rule) for rule in ("plain", "guided", "deconvnet")}
    found["guided_grad_cam"] = cam.guided_grad_cam(net, x, target=ids)
    for key, gradient in found.items():
        sampled = gradient[:, :, :: store_references.STRIDE, :: store_references.STRIDE]
        assert relative_l2(sampled, REFERENCE[f"{name}/{key}"]) < 1e-5, key
