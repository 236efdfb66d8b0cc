"""Full-size nets with random weights at 224x224, against a float64 run of the same net.

In float64 MXNet uses none of oneDNN's code. Two things make a float32 gradient differ from it: rounding, and
*flips*. A value close to zero before a ReLU may fall on either side, or a max pooling may prefer another of two
close values, and that one decision moves a whole path of the gradient: by about 0.3 % each in a full-size net with
random weights. So we compare twice: as it comes, with room for a few flips; and with the ReLU outputs of the float32
run imposed on the float64 run, so that every ReLU and every max pooling decides alike and only the rounding of the
backward pass is left. `make benchmark` counts the flips.
"""

import cam
from cam import blocks

import cut_tape
import numpy as np
import pytest
from conftest import random_images, randomise, relative_l2
from mxnet import autograd, nd

MAP_LIMITS = {"resnet50_v2": 1e-5, "vgg16": 1e-4}  # relative L2
WITH_FLIPS = 2e-2
EQUAL_DECISIONS = 1e-5
SAME_ARITHMETIC = {"resnet50_v2": 1e-3, "vgg16": 1e-2}  # float32 on both sides, in another order


@pytest.fixture(scope="module", params=["resnet50_v2", "vgg16"])
def pair(request):
    """A full-size net, its float64 twin, and the limits."""
    net = getattr(cam, request.param)(weights=None)
    if request.param == "resnet50_v2":
        randomise(net)
    twin = cam.convert(net)
    twin.cast("float64")
    return request.param, net, twin


@pytest.fixture
def same_decisions(monkeypatch):
    """Lets the first recording decide at every ReLU, and the second one follow."""
    decided = []

    class Deciding(blocks.Rectifier):
        def forward(self, x):
            y = super().forward(x)
            decided.append((self._chooser.masks[self], y))
            return y

    class Following(blocks.Rectifier):
        def forward(self, x):
            self._chooser.masks[self], y = (array.astype(x.dtype) for array in decided.pop(0))
            return y

    def record(net, x, kind):
        monkeypatch.setattr(blocks, "Rectifier", kind)
        return cam.record(net, x)

    return lambda net, x, twin, x64: (record(net, x, Deciding), record(twin, x64, Following))


def test_as_it_comes(pair):
    name, net, twin = pair
    x = random_images(1)
    one, two = cam.record(net, x), cam.record(twin, x.astype("float64"))
    assert relative_l2(one.logits, two.logits) < 1e-5
    for class_id in (3, 700):
        maps = [cam.grad_cam_of(recording, class_id=class_id) for recording in (one, two)]
        assert relative_l2(*maps) < MAP_LIMITS[name]
        for rule in blocks.RULES:
            assert relative_l2(one.image_gradient(class_id, rule), two.image_gradient(class_id, rule)) < WITH_FLIPS


def test_with_equal_decisions(pair, same_decisions):
    _, net, twin = pair
    x = random_images(1)
    one, two = same_decisions(net, x, twin, x.astype("float64"))
    for rule in blocks.RULES:
        found, expected = one.image_gradient(3, rule), two.image_gradient(3, rule)
        assert relative_l2(found, expected) < EQUAL_DECISIONS, rule


def test_guided_gradient_against_the_cut_tape(pair):
    name, net, _ = pair
    x = random_images(1)
    for rule in ("guided", "deconvnet"):
        expected = cut_tape.image_gradient(net, x, [5], rule).asnumpy()
        assert relative_l2(cam.image_gradient(net, x, 5, rule), expected) < SAME_ARITHMETIC[name]


def test_plain_gradient_against_mxnets_own_autograd(pair):
    name, net, _ = pair
    x = random_images(1)
    found = cam.image_gradient(net, x, 5)
    x.attach_grad()
    with autograd.record(train_mode=False):
        logit = net(x)[0, 5]
    logit.backward(train_mode=False)
    assert relative_l2(found, x.grad.asnumpy()) < SAME_ARITHMETIC[name]
    nd.waitall()


def test_the_identities_of_a_residual_net(pair):
    """At the global pooling three maps are one and add up to the logit; in every block branch and shortcut add up."""
    name, net, _ = pair
    if name != "resnet50_v2":
        return
    x, classes = random_images(2), [3, 999]
    signed = cam.grad_cam(net, x, classes, relu=False)
    assert relative_l2(cam.hires_cam(net, x, classes, relu=False), signed) < 1e-5
    assert relative_l2(cam.class_activation_map(net, x, classes) / 49, signed) < 1e-5
    logits, bias = net(x).asnumpy(), net.output.bias.data().asnumpy()
    assert np.allclose(signed.sum(axis=(1, 2)) + bias[classes], logits[[0, 1], classes], rtol=1e-3, atol=1e-3)
    for path in ("features.5.0", "features.7.3", "features.8.2"):
        parts = cam.decompose(net, x, path, classes)
        assert relative_l2(parts["branch"] + parts["shortcut"], parts["sum"]) < 1e-5
