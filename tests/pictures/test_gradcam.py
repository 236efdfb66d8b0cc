"""Scripts written for MXNet's tutorial, and its two functions."""

import cam
from cam import InputError, LayerWarning, gradcam, plot, scenes
from cam.nets import models

import mxnet as mx
import numpy as np
import pytest
from conftest import randomise
from helpers.forum_script import ONE_CALL, OWN_HELPERS, TUTORIAL
from matplotlib.figure import Figure
from mxnet import nd
from mxnet.gluon import HybridBlock, nn
from mxnet.gluon.model_zoo import vision
from PIL import Image


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "hummingbird.jpg"
    Image.fromarray(scenes.draw(3).image).resize((300, 260)).save(path)
    return str(path)


def run(call, picture):
    weights = models.KINDS["vgg16"].build([4, 4, 8, 8, 8, 32], 6)
    weights.initialize()
    space = {"weights": randomise(weights), "classes": 6, "path": picture}
    exec(TUTORIAL + call, space)
    return space


class TestTheForumsScript:
    """One changed import, and every picture is that of the net whose weights were copied."""

    def test_one_call(self, picture):
        with pytest.warns(LayerWarning, match=r"features.28: before its ReLU: .*take features.29"):
            space = run(ONE_CALL, picture)
        prediction, images = space["result"]
        found = cam.explain(space["weights"], picture, layer="features.28")
        assert prediction == found.label and prediction.startswith("class ")
        assert [(one.shape, one.dtype) for one in images] == [((260, 300, 3), np.uint8)] * 4
        product = found.placement.to_photograph(found.guided_grad_cam)
        grey = plot.grey_image(np.maximum(product, 0).sum(axis=0))
        for came, expected in zip(images, (found.photograph, found.overlay(), plot.signed_image(product), grey)):
            assert np.abs(came.astype(int) - expected).max() <= 1
        assert np.ptp(images[2]) > 200 and np.ptp(images[3]) == 255

    def test_its_helpers_may_stay(self, picture):
        with pytest.warns(LayerWarning):
            space = run(OWN_HELPERS, picture)
        assert [one.shape for one in space["result"]] == [(260, 300, 3)] * 3
        found = cam.explain(space["weights"], picture, layer="features.28", fit="squash")
        alike = np.corrcoef(space["result"][0].ravel(), found.overlay().ravel())[0, 1]
        assert alike > 0.97  # two libraries scale the picture, so not 1


class Own(HybridBlock):
    """A net of the tutorial's blocks alone, in a class of its own."""

    def __init__(self):
        super().__init__()
        with self.name_scope():
            self.body, self.head = nn.HybridSequential(), nn.Dense(4)
            self.body.add(gradcam.Conv2D(8, 3), gradcam.Activation("relu"), nn.GlobalAvgPool2D())

    def hybrid_forward(self, F, x):
        return self.head(self.body(x))


def sequence():
    net = nn.HybridSequential()
    net.add(gradcam.Conv2D(8, 3), gradcam.Activation("relu"), nn.AvgPool2D(), gradcam.Conv2D(8, 3))
    net.add(gradcam.Activation("relu"), nn.Dense(4))
    return net


@pytest.mark.parametrize("make", [Own, sequence])
def test_nets_of_the_tutorials_blocks(make, scene):
    """Explained and drawn by the tutorial's function is what the functions of cam compute."""
    net, view = make(), np.asarray(Image.fromarray(scene.image).resize((32, 32)))
    net.initialize(mx.init.Xavier(magnitude=3))
    x = cam.load_image(view, 32)
    guided, product = cam.guided_backprop(net, x, target=1)[0], cam.guided_grad_cam(net, x, target=1)[0]
    found = cam.explain(net, view, target=1, size=32)
    assert guided.any() and np.allclose(found.guided_backprop, guided, atol=1e-6) and not found.warnings
    assert np.allclose(found.guided_grad_cam, product, atol=1e-6) and found.saliency.any()
    top = int(net(x).asnumpy().argmax())
    over, signed, grey = gradcam.visualize(net, x, view, None)
    product = cam.guided_grad_cam(net, x, target=top)[0]
    assert np.abs(signed.astype(int) - plot.signed_image(product)).max() <= 1
    assert np.abs(grey.astype(int) - plot.grey_image(np.maximum(product, 0).sum(axis=0))).max() <= 1
    expected = plot.overlay(view, cam.grad_cam(net, x, target=top)[0])
    assert np.abs(over.astype(int) - expected).max() <= 3  # a step of the colours


def test_resnet_by_the_name_of_any_layer(picture):
    theirs = vision.resnet.ResNetV2(vision.resnet.BottleneckV2, [3, 4, 6, 3], [4, 16, 32, 64, 128], classes=5)
    theirs.initialize()
    theirs(nd.zeros((1, 3, 224, 224)))
    randomise(theirs).labels = list("abcde")
    with pytest.warns(LayerWarning, match="the whole map after it is features.8"):
        gradcam.visualize(theirs, picture, theirs.features[8][2].conv3.name)
    prediction, images = gradcam.visualize(theirs, picture)
    found = cam.explain(theirs, picture)
    assert prediction == f"{found.label} ({found.target})"
    figure = gradcam.show_images(prediction, images)
    assert isinstance(figure, Figure)
    for axis, shown in zip(figure.axes, images, strict=True):
        assert np.array_equal(axis.images[0].get_array(), shown)
    assert [axis.get_title() for axis in figure.axes] == [
        prediction, "Grad-CAM", "guided Grad-CAM", "guided Grad-CAM, grey",
    ]  # fmt: skip
    for wrong in (images[:1], None):
        with pytest.raises(InputError, match="images are not the four pictures"):
            gradcam.show_images(prediction, wrong)


def test_wrong_calls(narrow_resnet, scene):
    x = cam.load_image(scene.image)
    with pytest.raises(InputError, match=r"visualize takes \(net, preprocessed_img, orig_img, layer\) or"):
        gradcam.visualize(narrow_resnet, scene.image, scene.image, None)
    for wrong in (x[0], nd.concat(x, x, dim=0)):
        with pytest.raises(InputError, match=r"expected an NDArray \(1, 3, h, w\)"):
            gradcam.visualize(narrow_resnet, wrong, scene.image, None)
