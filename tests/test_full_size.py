"""Full-size nets with random weights at 224x224, against a float64 run of the same net.

In float64 MXNet uses none of oneDNN's code. VGG16's gradients differ more than ResNet50v2's: a value close
to zero before a ReLU, or two close candidates of a max pooling, fall on either side in float32 and in
float64, and one such decision moves a whole path of the gradient. `make benchmark` counts them.
"""

import cut_tape
import pytest
from conftest import random_images, randomise, relative_l2
from mxnet import autograd, nd

import cam

LIMITS = {"resnet50_v2": (1e-5, 1e-3), "vgg16": (1e-4, 1e-2)}  # relative L2 of Grad-CAM, of image gradients


@pytest.fixture(scope="module", params=["resnet50_v2", "vgg16"])
def pair(request):
    """A full-size net, its float64 twin, and the limits."""
    net = getattr(cam, request.param)(weights=None)
    if request.param == "resnet50_v2":
        randomise(net)
    twin = cam.convert(net)
    twin.cast("float64")
    return net, twin, LIMITS[request.param]


def test_against_float64(pair):
    net, twin, (map_limit, image_limit) = pair
    x = random_images(1)
    one, two = cam.record(net, x), cam.record(twin, x.astype("float64"))
    assert one.logits == pytest.approx(two.logits, rel=1e-3, abs=1e-3 * abs(two.logits).max())
    for class_id in (3, 700):
        assert relative_l2(cam.grad_cam_of(one, class_id=class_id), cam.grad_cam_of(two, class_id=class_id)) < map_limit
        for rule in ("plain", "guided"):
            assert relative_l2(one.image_gradient(class_id, rule), two.image_gradient(class_id, rule)) < image_limit


def test_guided_gradient_against_the_cut_tape(pair):
    net, _, (_, image_limit) = pair
    x = random_images(1)
    for rule in ("guided", "deconvnet"):
        expected = cut_tape.image_gradient(net, x, [5], rule).asnumpy()
        assert relative_l2(cam.image_gradient(net, x, 5, rule), expected) < image_limit


def test_plain_gradient_against_mxnets_own_autograd(pair):
    net, _, (_, image_limit) = pair
    x = random_images(1)
    found = cam.image_gradient(net, x, 5)
    x.attach_grad()
    with autograd.record(train_mode=False):
        logit = net(x)[0, 5]
    logit.backward(train_mode=False)
    assert relative_l2(found, x.grad.asnumpy()) < image_limit
    nd.waitall()
