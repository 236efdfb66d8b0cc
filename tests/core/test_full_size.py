"""Full-size nets with random weights at 224x224, against a float64 run of the same net.

In float64 MXNet uses none of oneDNN's code. A value close to zero before a ReLU may fall on either side in float32, or
a max pooling may prefer another of two close values, and one such flip moves a whole path of the gradient. This image
and these weights have few values so close; `make benchmark` counts the flips of others.
"""

import cam
from cam.core import rules

import numpy as np
import pytest
from conftest import random_images, randomise, relative_l2
from helpers import cut_tape

LIMIT = 1e-5  # relative L2
TARGETS = (3, 700)


@pytest.fixture(scope="module", params=["resnet50_v2", "vgg16"])
def pair(request):
    """A full-size net's recording in float32 and in float64."""
    net, twin = (randomise(getattr(cam, request.param)(weights=None)) for _ in range(2))
    twin.cast("float64")
    x = random_images(1)
    return cam.record(net, x), cam.record(twin, x.astype("float64")), net


def test_logits_and_grad_cam(pair):
    single, double, _ = pair
    assert relative_l2(single.logits, double.logits) <= LIMIT
    for target in TARGETS:
        found, expected = (cam.grad_cam_of(recording, target=target) for recording in (single, double))
        assert relative_l2(found, expected) <= LIMIT, target


@pytest.mark.parametrize("rule", rules.RULES)
def test_image_gradients(pair, rule):
    single, double, _ = pair
    for target in TARGETS:
        found, expected = (recording.image_gradient(target=target, rule=rule) for recording in (single, double))
        assert relative_l2(found, expected) <= LIMIT, target


@pytest.mark.parametrize("rule", rules.RULES)
def test_against_the_cut_tape(pair, rule):
    """Float32 on both sides: the same convolutions run forward, so that the same ReLUs are open."""
    single, _, net = pair
    expected = cut_tape.image_gradient(net, random_images(1), [5], rule).asnumpy()
    assert relative_l2(single.image_gradient(target=5, rule=rule), expected) <= LIMIT


def test_the_identities_of_a_residual_net(pair):
    """At the global pooling three maps are one and add up to the logit; in every block branch and shortcut add up."""
    *_, net = pair
    if "features.8.2" not in cam.paths(net):
        pytest.skip("VGG16 has no addition")
    x, classes = random_images(2), [3, 999]
    signed = cam.grad_cam(net, x, target=classes, relu=False)
    assert relative_l2(cam.hires_cam(net, x, target=classes, relu=False), signed) <= LIMIT
    assert relative_l2(cam.class_activation_map(net, x, target=classes) / 49, signed) <= LIMIT
    logits, bias = net(x).asnumpy(), net.output.bias.data().asnumpy()
    assert np.allclose(signed.sum(axis=(1, 2)) + bias[classes], logits[[0, 1], classes], rtol=1e-3, atol=1e-3)
    for path in ("features.5.0", "features.7.3", "features.8.2"):
        parts = cam.decompose(net, x, path, target=classes)
        assert relative_l2(parts["branch"] + parts["shortcut"], parts["sum"]) <= LIMIT
