"""Maps against tensors worked out by hand, and the identities that must hold between them."""

import warnings

import cam
from cam import InputError, LayerError, LayerWarning, MapWarning, NetError, NetWarning

import numpy as np
import pytest
from conftest import random_images, relative_l2
from helpers.nets import Net, conv, ending, function, ready, relu, sequence, small_net
from mxnet import nd
from mxnet.gluon import nn
from mxnet.gluon.model_zoo.vision import resnet

A = np.array([[[1, 0], [2, 5]], [[3, 1], [0, 0]], [[0, 4], [0, 4]]], np.float32)  # 3 channels of 2x2
X = nd.array(A[None])
POOLED, ALL_PIXELS = [[4, -8, 0], [-1, -1, -1]], [[1, 3, 0, 0, 0, 0, 0, -4, 2, 0, 2, 0], [0] * 12]


def by_hand(weight=POOLED, bias=(0.5, 0)):
    """A net whose feature map is its input: ReLU, then an average and Dense, or Dense on all pixels."""
    pool = [nn.GlobalAvgPool2D()] if len(weight[0]) == 3 else []
    net, _ = ready(sequence(relu(), *pool, nn.Flatten(), nn.Dense(2)), (1, 3, 2, 2))
    net[-1].weight.set_data(nd.array(weight))
    net[-1].bias.set_data(nd.array(bias))
    return net


# d logit_0 / d A is w / 4 = (1, -2, 0) everywhere, so alpha = (1, -2, 0) and the map is A_0 - 2 A_1. Without pooling
# the gradients are [[1, 3], [0, 0]], [[0, 0], [0, -4]] and [[2, 0], [2, 0]], and their means alpha = (1, -1, 1).
@pytest.mark.parametrize(
    ("function", "weight", "options", "expected"),
    [
        (cam.grad_cam, POOLED, {"relu": False}, [[-5, -2], [2, 5]]),
        (cam.grad_cam, POOLED, {}, [[0, 0], [2, 5]]),
        (cam.hires_cam, POOLED, {"relu": False}, [[-5, -2], [2, 5]]),
        (cam.hires_cam, POOLED, {}, [[0, 0], [2, 5]]),
        (cam.class_activation_map, POOLED, {}, [[-20, -8], [8, 20]]),  # 4 A_0 - 8 A_1
        (cam.grad_cam, ALL_PIXELS, {"relu": False}, [[-2, 3], [2, 9]]),
        (cam.hires_cam, ALL_PIXELS, {"relu": False}, [[1, 0], [0, 0]]),
    ],
)
def test_by_hand(function, weight, options, expected):
    if function is not cam.class_activation_map:
        options = {**options, "layer": "0"}
    found = function(by_hand(weight), X, target=0, **options)
    assert found.tolist() == [expected] and found.dtype == np.float32


def test_of_a_recording():
    recording = cam.record(by_hand(), X, "0", image_gradient=False)
    assert cam.grad_cam_of(recording, target=0).tolist() == [[[0, 0], [2, 5]]]
    assert cam.grad_cam_of(recording, target=0, layer="0", relu=False).tolist() == [[[-5, -2], [2, 5]]]


def residual(*behind):
    """Branch -2 x, shortcut x, and what comes behind their sum."""
    branch = function(lambda F, x: -2 * x)
    block = Net(lambda F, net, x: net.behind(net.branch(x) + x), branch=branch, behind=sequence(*behind))
    net, _ = ready(sequence(relu(), block, nn.GlobalAvgPool2D(), nn.Flatten(), nn.Dense(2)), (1, 3, 2, 2))
    net[-1].weight.set_data(nd.array(POOLED))
    return net


def test_decompose_by_hand():
    """alpha at the sum is (1, -2, 0), so shortcut A_0 - 2 A_1, branch -2 times that, and their sum -1 times that."""
    net = residual(nn.Dropout(0.5))
    shortcut = np.array([[[-5, -2], [2, 5]]])
    for block in (net[1], "1", net[1].name):
        parts = cam.decompose(net, X, block, target=0)
        assert list(parts) == ["branch", "shortcut", "sum"]
        for name, factor in {"branch": -2, "shortcut": 1, "sum": -1}.items():
            assert np.array_equal(parts[name], factor * shortcut), name


@pytest.mark.parametrize("kind", ["BasicBlockV1", "BottleneckV1", "BasicBlockV2", "BottleneckV2"])
@pytest.mark.parametrize("downsample", [False, True])
def test_the_maps_of_branch_and_shortcut_add_up(kind, downsample):
    block = getattr(resnet, kind)(8, 1 + downsample, downsample, in_channels=8)
    net, (x,) = ready(sequence(conv(8), block, nn.Dense(3)), (2, 3, 8, 8))
    parts = cam.decompose(net, x, block, target=[0, 2])
    assert relative_l2(parts["branch"] + parts["shortcut"], parts["sum"]) < 1e-5
    assert all(np.linalg.norm(part) > 0 for part in parts.values())
    if kind.endswith("V2"):  # else a ReLU comes behind the sum
        assert relative_l2(parts["sum"], cam.grad_cam(net, x, target=[0, 2], layer=block, relu=False)) < 1e-5
        if not downsample:
            signed = cam.record(net, x, [block, net[0]])
            alpha = signed.gradient(block, target=[0, 2]).mean(axis=(2, 3), keepdims=True)
            assert relative_l2(parts["shortcut"], (alpha * signed.features(net[0])).sum(axis=1)) < 1e-5


def test_what_is_no_sum():
    net, (x,) = ready(sequence(conv(), function(lambda F, x: x + 1), *ending()), (2, 3, 8, 8))
    for layer in ("0", "1"):
        with pytest.raises(LayerError, match=f"^layer {layer} does not end in an addition of two maps of one shape$"):
            cam.decompose(net, x, layer)


def test_maps_are_functions_of_the_recording():
    net, (x,) = ready(sequence(conv(), relu(), nn.MaxPool2D(), conv(), relu(), nn.Dense(3)), (2, 3, 8, 8))
    target, recording = [1, 2], cam.record(net, x)
    features, gradient = recording.features(), recording.gradient(target=target)
    signed = np.einsum("nk,nkhw->nhw", gradient.mean(axis=(2, 3)), features)
    assert relative_l2(cam.grad_cam(net, x, target=target, relu=False), signed) < 1e-5
    assert relative_l2(cam.hires_cam(net, x, target=target, relu=False), (gradient * features).sum(axis=1)) < 1e-5
    plain, guided = (recording.image_gradient(target=target, rule=rule) for rule in ("plain", "guided"))
    assert np.array_equal(cam.image_gradient(net, x, target=target), plain)
    assert np.array_equal(cam.guided_backprop(net, x, target=target), guided)
    assert np.array_equal(cam.saliency(net, x, target=target), np.abs(plain).max(axis=1))
    heat = cam.resize_map(np.maximum(signed, 0), 8)
    assert relative_l2(cam.guided_grad_cam(net, x, target=target), guided * heat[:, None]) < 1e-5
    part = cam.image_gradient(net, x, target=target, rule="guided", where="1")
    assert relative_l2(cam.guided_grad_cam(net, x, target=target, where="1"), cam.guided_product(part, heat)) < 1e-5
    assert relative_l2(part, guided) > 0.01


def test_at_a_global_average_three_maps_are_one(narrow_resnet):
    """Grad-CAM = HiResCAM = CAM / (H W), and the signed map adds up to the logit less the bias."""
    x = random_images(2, 64)
    signed = cam.grad_cam(narrow_resnet, x, target=1, relu=False)
    assert relative_l2(cam.hires_cam(narrow_resnet, x, target=1, relu=False), signed) < 1e-5
    assert relative_l2(cam.class_activation_map(narrow_resnet, x, target=1) / 4, signed) < 1e-5
    bias = narrow_resnet.output.bias.data().asnumpy()[1]
    assert np.allclose(signed.sum(axis=(1, 2)) + bias, narrow_resnet(x).asnumpy()[:, 1], rtol=1e-4, atol=1e-4)


def test_class_activation_map_needs_its_ending():
    padded = [nn.AvgPool2D(8, padding=1), nn.Dense(3)]  # its one window leaves the last row out
    two = [nn.GlobalAvgPool2D(), nn.Dense(5), nn.Dense(3)]
    for end in ([nn.Dense(3)], two, [conv(3, 1), nn.GlobalMaxPool2D()], padded):
        net, (x,) = ready(sequence(conv(), relu(), *end, nn.Flatten()), (2, 3, 8, 8))
        with pytest.raises(NetError, match="not end in a global average pooling and one Dense layer; use grad_cam"):
            cam.class_activation_map(net, x)


def test_several_layers_come_as_a_dict():
    net, (x,) = ready(sequence(conv(), relu(), conv(), relu(), *ending()), (2, 3, 8, 8))
    for door in (cam.grad_cam, cam.hires_cam, cam.guided_grad_cam):
        found = door(net, x, target=1, layer=[net[1], "3"])
        assert list(found) == ["1", "3"]
        assert all(np.array_equal(one, door(net, x, target=1, layer=name)) for name, one in found.items())
        assert list(door(net, x, target=1, layer=["3"])) == ["3"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_types_and_shapes(dtype):
    net, (x,) = ready(sequence(conv(strides=2), relu(), *ending()), (2, 3, 8, 6), dtype=dtype)
    small, large = (2, 4, 3), (2, 3, 8, 6)
    shapes = {
        cam.grad_cam: small, cam.hires_cam: small, cam.class_activation_map: small, cam.saliency: (2, 8, 6),
        cam.image_gradient: large, cam.guided_backprop: large, cam.guided_grad_cam: large,
    }  # fmt: skip
    for door, shape in shapes.items():
        found = door(net, x)
        assert found.shape == shape and found.dtype == np.dtype(dtype), door


NEGATIVE = "0: nothing here speaks for the class; the signed map (relu=False) shows more"
FLAT = "0: the map has the same value everywhere and cannot say where"


def leaky():
    return ready(sequence(conv(), relu(), nn.LeakyReLU(0.1), *ending()), (1, 3, 8, 8))[0]


def softmax():
    return ready(sequence(small_net(), function(lambda F, z: F.softmax(z))), (1, 3, 8, 8))[0]


KEEPS = "the guided rule is defined for ReLU: the net's LeakyReLU keep their derivative (where=cam.relus(net) says that"
# The call, and the warnings: kind and beginning.
WARNS = [
    (lambda: cam.grad_cam(by_hand(), X, target=1, layer="0"), [(MapWarning, NEGATIVE)]),
    (lambda: cam.grad_cam(by_hand(), X, target=1, layer="0", relu=False), []),
    (lambda: cam.hires_cam(by_hand(), nd.ones((1, 3, 2, 2)), target=0, layer="0", relu=False), [(MapWarning, FLAT)]),
    (lambda: cam.grad_cam(by_hand([[0] * 3] * 2), X, layer="0"), [(MapWarning, FLAT)]),  # flat, not negative
    (
        lambda: cam.guided_grad_cam(by_hand(), nd.concat(X, X, dim=0), target=1, layer="0"),
        [(MapWarning, f"image {number}: {NEGATIVE}") for number in (0, 1)],
    ),
    (
        lambda: cam.grad_cam(by_hand(), X, layer="1", relu=False),
        [(LayerWarning, "1: a single position: cannot say where")],
    ),
    (
        lambda: cam.grad_cam(residual(), X, layer=["0", "1.branch"], relu=False, target=0),
        [(LayerWarning, "1.branch: only one term of a sum: what the other adds is left out")],
    ),
    (lambda: cam.guided_backprop(leaky(), random_images(1, 8)), [(NetWarning, KEEPS)]),
    (lambda: cam.image_gradient(leaky(), random_images(1, 8), rule="guided"), [(NetWarning, KEEPS)]),
    (lambda: cam.image_gradient(leaky(), random_images(1, 8), rule="guided", where=["1"]), []),
    (lambda: cam.saliency(leaky(), random_images(1, 8)), []),
    *(
        (lambda function=function: function(softmax(), random_images(1, 8)), [(NetWarning, "the net ends in softmax")])
        for function in (cam.record, cam.saliency, cam.guided_backprop, cam.image_gradient)
    ),
    (
        lambda: cam.grad_cam(softmax(), random_images(1, 8), relu=False),
        [(NetWarning, "the net ends in softmax: the logits before it are explained")],
    ),
    (lambda: cam.record(leaky(), random_images(1, 8)).image_gradient(rule="guided"), [(NetWarning, KEEPS)]),
]  # fmt: skip


@pytest.mark.parametrize(("call", "expected"), WARNS)
def test_warnings_point_at_the_callers_line(call, expected):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    assert [type(one.message) for one in caught] == [kind for kind, _ in expected]
    for one, (_, beginning) in zip(caught, expected):
        assert str(one.message).startswith(beginning)
        assert one.filename == __file__
        assert call.__code__.co_firstlineno <= one.lineno <= call.__code__.co_firstlineno + 1


def test_positional_and_old_names():
    for call in (lambda: cam.decompose(residual(), X, "1", 0), lambda: cam.decompose(residual(), X, "1", class_id=0)):
        with pytest.raises(InputError, match=r"^decompose takes what it explains by keyword: decompose"):
            call()
