"""Grad-CAM++, LayerCAM, Score-CAM and SmoothGrad: by hand, and against peers (see `benchmarks/store_references.py`)."""

import sys
import warnings
from pathlib import Path

import cam
from cam import InputError, scenes
from cam.nets.normalisation import normalise

import numpy as np
import pytest
from conftest import random_images, relative_l2
from helpers.nets import Net, conv, ready, relu, sequence, small_net, two_heads
from mxnet import nd
from mxnet.gluon import nn

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
import store_references


@pytest.fixture
def tiny():
    """Two channels behind a ReLU, at four positions, each with a weight of its own in one logit."""
    net = nn.HybridSequential()
    net.add(nn.Activation("relu"), nn.Flatten(), nn.Dense(2, in_units=8, use_bias=False))
    net.initialize()
    net[2].weight.set_data(nd.array([[1, 2, 0, -1, 0, 3, -1, 1], [0] * 8]))
    return net


X = nd.array([[[[1, 0], [2, 3]], [[-1, 1], [1, 2]]]])  # and so are the features, but for the -1
A = np.array([[[1, 0], [2, 3]], [[0, 1], [1, 2]]])
GRADIENT = np.array([[[1, 2], [0, -1]], [[0, 3], [-1, 1]]])


def test_layer_cam_by_hand(tiny):
    assert cam.layer_cam(tiny, X, target=0, layer="0").tolist() == [[[1, 3], [0, 2]]]


def test_grad_cam_plus_plus_by_hand(tiny):
    # alpha = 1 / (2 + g sum A), where g > 0: sum A is 6 and 4.
    first = 1 / (2 + 6) + 2 / (2 + 12)
    second = 3 / (2 + 12) + 1 / (2 + 4)
    assert np.allclose(cam.grad_cam_plus_plus(tiny, X, target=0, layer="0")[0], first * A[0] + second * A[1])
    assert not cam.grad_cam_plus_plus(tiny, X, target=1, layer="0").any()


def test_score_cam_by_hand(tiny):
    masks = [A[0] / 3, A[1] / 2]
    scores = [(GRADIENT * np.maximum(X.asnumpy()[0] * mask, 0)).sum() for mask in masks]
    weights = np.exp(scores) / np.exp(scores).sum()
    for batch in (1, 32):
        found = cam.score_cam(tiny, X, target=0, layer="0", batch=batch)[0]
        assert np.allclose(found, weights[0] * A[0] + weights[1] * A[1])
    margin = cam.score_cam(tiny, X, target=lambda logits: logits[:, 0] - logits[:, 1], layer="0")
    assert np.allclose(margin[0], found)


def test_score_cam_of_a_flat_channel(tiny):
    x = nd.concat(nd.ones((1, 1, 2, 2)), nd.array([[[[0, 1], [0, 0]]]]), dim=1)
    weights = np.exp([0, 5]) / np.exp([0, 5]).sum()  # a flat map keeps nothing
    assert np.allclose(cam.score_cam(tiny, x, target=0, layer="0")[0], weights[0] + weights[1] * x[0, 1].asnumpy())


def test_smooth_grad(narrow_resnet):
    x = random_images(2, 64)
    assert relative_l2(cam.smooth_grad(narrow_resnet, x, noise=0, samples=2), cam.saliency(narrow_resnet, x)) < 1e-5
    images, ids = x.asnumpy(), narrow_resnet(x).asnumpy().argmax(axis=1)  # of the clean images
    deviation = 0.5 * np.array([one.max() - one.min() for one in images])[:, None, None, None]
    rng, gradients = np.random.default_rng(3), []
    for _ in range(4):
        noisy = nd.array(images + deviation * rng.standard_normal(images.shape))
        gradients.append(cam.image_gradient(narrow_resnet, noisy, target=ids))
    expected = np.abs(np.mean(gradients, axis=0)).max(axis=1)
    assert relative_l2(cam.smooth_grad(narrow_resnet, x, samples=4, noise=0.5, seed=3), expected) < 1e-5


METHODS = (cam.grad_cam_plus_plus, cam.layer_cam, cam.score_cam)


@pytest.mark.parametrize("method", METHODS)
def test_each_image_by_itself_and_lists_of_layers(method, narrow_resnet):
    x = random_images(2, 64)
    target = lambda logits: logits[:, 1] / 100  # noqa: E731 - a softmax over raw ones of a random net is one-hot
    together = method(narrow_resnet, x, target=target, layer=["features.8.2", "features.10"])
    assert list(together) == ["features.8.2", "features.10"]
    for number in range(2):
        alone = method(narrow_resnet, x[number : number + 1], target=target)
        assert relative_l2(together["features.10"][number], alone[0]) < 1e-4


@pytest.mark.parametrize("method", [*METHODS, cam.smooth_grad])
def test_one_output_of_several(method):
    net, (x,) = ready(two_heads(), (2, 3, 8, 8))
    with pytest.raises(cam.NetError, match="the net has 2 outputs; say which to explain"):
        method(net, x, target=1)
    only = Net(lambda F, outer, x: outer.inner(x)[1], inner=net)
    assert np.array_equal(method(net, x, target=1, output=1), method(only, x, target=1))


@pytest.mark.parametrize("method", [*METHODS, cam.smooth_grad])
def test_several_inputs(method):
    """The second one only moves the logits, so that no map changes."""
    inner = small_net()
    outer = Net(lambda F, net, x, numbers: F.broadcast_add(net.inner(x), numbers), inner=inner)
    net, (x, numbers) = ready(outer, (3, 3, 8, 8), (3, 1))
    assert relative_l2(method(net, [x, numbers], target=1), method(inner, x, target=1)) < 1e-5


@pytest.mark.parametrize("method", METHODS)
def test_warnings_of_layers_point_at_the_caller(method, narrow_resnet):
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        method(narrow_resnet, random_images(1, 64), target=0, layer="features.8.2.conv3")
    assert [one.category for one in heard] == [cam.LayerWarning] and heard[0].filename == __file__


@pytest.mark.parametrize("kind", [nn.Conv1D, nn.Conv3D])
def test_rows_and_volumes(kind):
    dimensions = 1 if kind is nn.Conv1D else 3
    net, (x,) = ready(sequence(kind(4, 3), relu(), nn.Dense(3)), (2, 1, *(8,) * dimensions))
    for method in (cam.layer_cam, cam.grad_cam_plus_plus):
        assert method(net, x).shape == (2, *(6,) * dimensions)
    assert cam.smooth_grad(net, x).shape == (2, *(8,) * dimensions)


def test_score_cam_of_logits_in_a_map_of_one_position():
    net, (x,) = ready(sequence(conv(), relu(), nn.GlobalAvgPool2D(), conv(3, 1)), (2, 3, 8, 8))
    expected = cam.score_cam(sequence(net, nn.Flatten()), x, target=1)
    assert np.array_equal(cam.score_cam(net, x, target=1), expected) and expected.any()


def test_wrong_requests_are_refused(narrow_resnet):
    x = random_images(1, 64)
    with pytest.raises(InputError, match="batch is 0; expected a positive int"):
        cam.score_cam(narrow_resnet, x, batch=0)
    with pytest.raises(InputError, match="samples is 0 and noise 0.15; expected"):
        cam.smooth_grad(narrow_resnet, x, samples=0)
    with pytest.raises(InputError, match="takes what it explains by keyword"):
        cam.layer_cam(narrow_resnet, x, 3)


REFERENCE = np.load(Path(__file__).parent / "relatives_reference.npz")
OURS = {
    "Grad-CAM++, target x 1000": cam.grad_cam_plus_plus,
    "HiResCAM": cam.hires_cam,
    "LayerCAM": cam.layer_cam,
    "Score-CAM": cam.score_cam,
}


@pytest.mark.parametrize("key", sorted(REFERENCE.files))
def test_against_peers(key, embedded_nets):
    """For Grad-CAM++ the logits times 1000, so that the 1e-6 that pytorch-grad-cam adds to squared gradients is small.

    Score-CAM's masks torch-cam stretches first and resizes then, against the order of the paper.
    """
    _, name, kind, layer = key.split("/")
    drawn = [scenes.draw(seed) for seed in store_references.SEEDS][: len(REFERENCE[key])]
    x = nd.array(normalise(np.stack([scene.image for scene in drawn])))
    ids = [scene.class_ids[0] for scene in drawn]
    target = (lambda logits: 1000 * nd.pick(logits, nd.array(ids))) if "x 1000" in kind else ids
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cam.CamWarning)
        found = OURS[kind](embedded_nets[name], x, target=target, layer=layer)
    assert relative_l2(found, REFERENCE[key]) < (0.05 if kind == "Score-CAM" else 1e-3)
