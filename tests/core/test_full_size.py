"""Full-size nets with random weights at 224x224, against a float64 run of the same net.

In float64 MXNet uses none of oneDNN's code. Two things make a float32 gradient differ from it: rounding, and *flips*. A
value close to zero before a ReLU may fall on either side, or a max pooling may prefer another of two close values, and
that one decision moves a whole path of the gradient. So the image's gradients are compared twice: as they come, with
room for a few flips; and with the ReLU outputs of the float32 run imposed on the float64 run, so that every ReLU and
every max pooling decides alike and only rounding is left. `make benchmark` counts the flips.
"""

import cam
from cam.core import forward_backward, rules
from cam.core.mxnet import call

import numpy as np
import pytest
from conftest import random_images, randomise, relative_l2
from helpers import independent_gradient

LIMIT = 1e-5  # relative L2
WITH_FLIPS = 2e-2
IN_FLOAT64 = 1e-10


class Pair:
    """A full-size net and its twin in float64, and their recordings: as they come, and with equal decisions."""

    def __init__(self, name):
        self.net, self.twin = randomise(getattr(cam, name)(weights=None)), getattr(cam, name)(weights=None)
        for one, two in zip(self.net.collect_params().values(), self.twin.collect_params().values()):
            two.set_data(one.data())
        for net in (self.net, self.twin):
            net.collect_params().setattr("grad_req", "null")  # gigabytes of room for gradients that nobody asks for
        self.twin.cast("float64")
        self.x = random_images(1)
        self.x64 = self.x.astype("float64")
        single, double = [], []

        def keeping(place):
            def run(operator, inputs, options):
                found = call(operator, inputs, options)
                place.extend(found if operator == "Activation" else ())
                return found

            return run

        def following(operator, inputs, options):
            found = call(operator, inputs, options)
            return found if operator != "Activation" else [next(imposed).astype(found[0].dtype)]

        recordings, imposed = [], iter(single)
        for net, x, run in (
            (self.net, self.x, keeping(single)),
            (self.twin, self.x64, keeping(double)),
            (self.twin, self.x64, following),
        ):
            cam.record(net, x)  # the first time a net and a size are tried out
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(forward_backward, "call", run)
                recordings.append(cam.record(net, x))
        self.single, self.double, self.alike = recordings
        assert len(single) == len(double) == len(cam.relus(self.net)) and next(imposed, None) is None
        self.flips = sum(((one > 0).asnumpy() != (two > 0).asnumpy()).sum() for one, two in zip(single, double))


@pytest.fixture(scope="module", params=["resnet50_v2", "vgg16"])
def pair(request):
    return Pair(request.param)


def test_logits_and_grad_cam(pair):
    assert relative_l2(pair.single.logits, pair.double.logits) <= LIMIT
    for target in (3, 700):
        found, expected = (cam.grad_cam_of(one, target=target) for one in (pair.single, pair.double))
        assert relative_l2(found, expected) <= LIMIT, target


@pytest.mark.parametrize("rule", rules.RULES)
def test_image_gradients(pair, rule):
    found, alike, double = (
        one.image_gradient(target=3, rule=rule) for one in (pair.single, pair.alike, pair.double)
    )  # fmt: skip
    assert relative_l2(found, alike) <= LIMIT
    assert pair.flips < 10 and relative_l2(found, double) <= (WITH_FLIPS if pair.flips else LIMIT)


@pytest.mark.parametrize("rule", rules.RULES)
def test_against_the_cut_tape(pair, rule):
    """Both in float64, where no value is so close to a ReLU's zero that the order of a sum decides."""
    expected = independent_gradient.image_gradient(pair.twin, pair.x64, [5], rule).asnumpy()
    assert relative_l2(pair.double.image_gradient(target=5, rule=rule), expected) <= IN_FLOAT64


def test_the_identities_of_a_residual_net(pair):
    """At the global pooling three maps are one and add up to the logit; in every block branch and shortcut add up."""
    net, x, classes = pair.net, random_images(2), [3, 999]
    if "features.8.2" not in cam.paths(net):
        pytest.skip("VGG16 has no addition")
    signed = cam.grad_cam(net, x, target=classes, relu=False)
    assert relative_l2(cam.hires_cam(net, x, target=classes, relu=False), signed) <= LIMIT
    assert relative_l2(cam.class_activation_map(net, x, target=classes) / 49, signed) <= LIMIT
    logits, bias = net(x).asnumpy(), net.output.bias.data().asnumpy()
    assert np.allclose(signed.sum(axis=(1, 2)) + bias[classes], logits[[0, 1], classes], rtol=1e-3, atol=1e-3)
    for path in ("features.5.0", "features.7.3", "features.8.2"):
        parts = cam.decompose(net, x, path, target=classes)
        assert relative_l2(parts["branch"] + parts["shortcut"], parts["sum"]) <= LIMIT
