"""Maps against tensors worked out by hand, and the identities that must hold between them."""

import warnings

import cam
from cam import blocks
from cam.errors import (
    AllNegativeMap,
    BeforeReLU,
    FlatMap,
    InputError,
    InsideResidualBranch,
    LayerError,
    NetError,
    OnePixelMap,
)
from cam.resolve import RESIDUAL_BLOCKS

import numpy as np
import pytest
from conftest import random_images, randomise, relative_l2
from mxnet import nd
from mxnet.gluon import nn
from mxnet.gluon.model_zoo import vision
from mxnet.gluon.model_zoo.vision import resnet

A = np.array([[[1, 0], [2, 5]], [[3, 1], [0, 0]], [[0, 4], [0, 4]]], np.float32)  # 3 channels of 2x2


def by_hand(pooled: bool):
    """A net whose feature map is its input: ReLU, then an average and Dense, or Dense on all pixels."""
    net = nn.HybridSequential()
    net.add(blocks.ReLU())
    net.add(*([blocks.GlobalAvgPool2D()] if pooled else []), nn.Flatten(), nn.Dense(2, in_units=3 if pooled else 12))
    net.initialize()
    if pooled:
        net[-1].weight.set_data(nd.array([[4, -8, 0], [-1, -1, -1]]))
        net[-1].bias.set_data(nd.array([0.5, 0]))
    else:
        net[-1].weight.set_data(nd.array([[1, 3, 0, 0, 0, 0, 0, -4, 2, 0, 2, 0], [0] * 12]))
    return net


def test_grad_cam_by_hand():
    net, x = by_hand(pooled=True), nd.array(A[None])
    # d logit_0 / d A = w / 4 = (1, -2, 0) everywhere, so alpha = (1, -2, 0) and the map is A_0 - 2 A_1.
    recording = cam.record(net, x, "0")
    assert recording.logits.tolist() == [[8 - 8 + 0.5, -2 - 1 - 2]]
    assert recording.gradient("0", 0).tolist() == [[[[1, 1], [1, 1]], [[-2, -2], [-2, -2]], [[0, 0], [0, 0]]]]
    assert cam.grad_cam(net, x, 0, "0", relu=False).tolist() == [[[-5, -2], [2, 5]]]
    assert cam.grad_cam(net, x, 0, "0").tolist() == [[[0, 0], [2, 5]]]
    assert cam.hires_cam(net, x, 0, "0", relu=False).tolist() == [[[-5, -2], [2, 5]]]
    assert cam.class_activation_map(net, x, 0).tolist() == [[[-20, -8], [8, 20]]]  # 4 A_0 - 8 A_1


def test_grad_cam_and_hires_cam_differ_where_the_gradient_varies():
    net, x = by_hand(pooled=False), nd.array(A[None])
    # Gradients [[1, 3], [0, 0]], [[0, 0], [0, -4]], [[2, 0], [2, 0]]; their means 1, -1, 1.
    assert cam.grad_cam(net, x, 0, "0", relu=False).tolist() == [[[-2, 3], [2, 9]]]
    assert cam.hires_cam(net, x, 0, "0", relu=False).tolist() == [[[1, 0], [0, 0]]]


def test_a_constant_offset_does_not_leak_into_the_map():
    """MXNet's tutorial starts its map from ones."""
    with pytest.warns(AllNegativeMap):
        assert not cam.grad_cam(by_hand(pooled=True), nd.array(A[None]), 1, "0").any()


@pytest.mark.parametrize("name", ["vgg16", "resnet50_v2"])
def test_maps_are_functions_of_the_recording(narrow_nets, name):
    net, x = narrow_nets[name], random_images(2)
    recording = cam.record(net, x)
    features, gradient = recording.features(), recording.gradient(class_id=[1, 2])
    signed = np.einsum("nk,nkhw->nhw", gradient.mean(axis=(2, 3)), features)
    assert relative_l2(cam.grad_cam(net, x, [1, 2], relu=False), signed) < 1e-5
    assert relative_l2(cam.hires_cam(net, x, [1, 2], relu=False), (gradient * features).sum(axis=1)) < 1e-5
    guided = cam.guided_backprop(net, x, [1, 2])
    assert np.array_equal(guided, recording.image_gradient([1, 2], "guided"))
    heat = cam.resize_map(cam.grad_cam(net, x, [1, 2]), 224)
    assert relative_l2(cam.guided_grad_cam(net, x, [1, 2]), guided * heat[:, None]) < 1e-5
    assert np.array_equal(cam.saliency(net, x, 3), np.abs(recording.image_gradient(3)).max(axis=1))


def test_at_the_global_pooling_all_three_are_one(narrow_resnet):
    """Grad-CAM = HiResCAM = CAM / (H W), and the signed map adds up to the logit less the bias."""
    x = random_images(2)
    signed = cam.grad_cam(narrow_resnet, x, 1, relu=False)
    assert relative_l2(cam.hires_cam(narrow_resnet, x, 1, relu=False), signed) < 1e-5
    assert relative_l2(cam.class_activation_map(narrow_resnet, x, 1) / 49, signed) < 1e-5
    bias = narrow_resnet.output.bias.data().asnumpy()[1]
    assert np.allclose(signed.sum(axis=(1, 2)) + bias, narrow_resnet(x).asnumpy()[:, 1], rtol=1e-4, atol=1e-4)


def test_class_activation_map_needs_its_ending(narrow_vgg):
    with pytest.raises(NetError, match="use grad_cam"):
        cam.class_activation_map(narrow_vgg, random_images(1))
    net = nn.HybridSequential()
    net.add(nn.Conv2D(2, 3, in_channels=3), nn.Dense(2))
    net.initialize()
    with pytest.raises(NetError, match="does not end in a global average pooling"):
        cam.class_activation_map(net, random_images(1, 8))


def test_several_layers_come_as_a_dict(narrow_resnet):
    x, names = random_images(2, 64), ["features.8", "features.10"]
    found = cam.grad_cam(narrow_resnet, x, 1, [narrow_resnet.features[8], "features.10"])
    assert list(found) == names
    for name in names:
        assert relative_l2(found[name], cam.grad_cam(narrow_resnet, x, 1, name)) < 1e-5
    assert list(cam.guided_grad_cam(narrow_resnet, x, 1, names)) == names
    assert list(cam.grad_cam(narrow_resnet, x, 1, ["features.10"])) == ["features.10"]


def test_types_and_shapes(narrow_resnet):
    x = random_images(2, 96)
    shapes = {
        cam.grad_cam: (2, 3, 3),
        cam.hires_cam: (2, 3, 3),
        cam.class_activation_map: (2, 3, 3),
        cam.saliency: (2, 96, 96),
        cam.image_gradient: (2, 3, 96, 96),
        cam.guided_backprop: (2, 3, 96, 96),
        cam.guided_grad_cam: (2, 3, 96, 96),
    }
    for function, shape in shapes.items():
        found = function(narrow_resnet, x)
        assert found.shape == shape and found.dtype == np.float32, function


def test_warnings(narrow_resnet):
    x = random_images(1, 64)
    with pytest.warns(InsideResidualBranch, match=r"features.8.2.conv3: inside a residual branch"):
        cam.grad_cam(narrow_resnet, x, 0, "features.8.2.conv3")
    for layer in ("features.8.2.shortcut", "features.8.0.downsample"):
        with pytest.warns(InsideResidualBranch, match="the shortcut alone: leaves out what this block adds"):
            cam.grad_cam(narrow_resnet, x, 0, layer, relu=False)
    with pytest.warns(BeforeReLU, match="take features.10"):
        cam.grad_cam(narrow_resnet, x, 0, "features.9", relu=False)
    with pytest.warns(OnePixelMap):
        assert cam.grad_cam(narrow_resnet, x, 0, "features.11").shape == (1, 1, 1)
    with pytest.warns(FlatMap):
        cam.grad_cam(by_hand(pooled=True), nd.ones((1, 3, 2, 2)), 0, "0", relu=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for layer in ("features.8.2.add", "features.8.0.relu1", "features.8.2", "features.8", "features.10"):
            cam.grad_cam(narrow_resnet, x, 0, layer, relu=False)


def test_maps_are_of_the_net_s_dtype(narrow_resnet):
    double = cam.convert(narrow_resnet)
    double.cast("float64")
    x = random_images(1).astype("float64")
    for function in (cam.grad_cam, cam.hires_cam, cam.class_activation_map, cam.saliency, cam.guided_grad_cam):
        assert function(double, x, 1).dtype == np.float64
    assert {one.dtype for one in cam.decompose(double, x, "features.8.2", 1).values()} == {np.dtype("float64")}
    assert cam.resize_map(cam.grad_cam(double, x, 1), 224).dtype == np.float32


def messages(caught):
    return sorted(str(warning.message).partition(";")[0] for warning in caught)


def test_in_a_batch_only_warnings_about_one_map_name_its_image(narrow_resnet):
    with pytest.warns(InsideResidualBranch) as caught:
        cam.grad_cam(narrow_resnet, random_images(3, 64), 0, "features.8.2.conv3", relu=False)
    assert messages(caught) == [
        "features.8.2.conv3: inside a residual branch: shows only what this block changes",
    ]
    with pytest.warns(OnePixelMap) as caught:
        cam.grad_cam(narrow_resnet, random_images(2, 64), 0, "features.11")
    assert messages(caught) == ["features.11: the map is a single pixel and cannot say where"]
    with pytest.warns(AllNegativeMap) as caught:
        cam.grad_cam(by_hand(pooled=True), nd.array(np.stack([A, A])), 1, "0")
    assert messages(caught) == [f"image {index}: 0: nothing here speaks for the class" for index in (0, 1)]


def test_a_map_of_zeros_is_flat_and_not_negative():
    net = by_hand(pooled=True)
    net[-1].weight.set_data(nd.zeros((2, 3)))
    for function in (cam.grad_cam, cam.hires_cam):
        for relu in (True, False):
            with pytest.warns(FlatMap) as caught:
                assert not function(net, nd.array(A[None]), 0, "0", relu).any()
            assert len(caught) == 1


def test_a_warning_points_at_the_callers_line(narrow_resnet):
    with pytest.warns(InsideResidualBranch) as caught:
        cam.grad_cam(narrow_resnet, random_images(1, 64), 0, "features.8.2.conv3")
    assert {warning.filename for warning in caught} == {__file__}


def test_resize_by_hand():
    """Half-pixel centres: the middle of two pixels lies at their common edge."""
    assert cam.resize_map(np.array([[0, 4]]), (1, 4)).tolist() == [[0, 1, 3, 4]]
    assert cam.resize_map(np.full((2, 3, 3), 7), 5).tolist() == np.full((2, 5, 5), 7).tolist()
    rng = np.random.default_rng(0)
    small = rng.normal(size=(7, 7))
    positions = np.clip((np.arange(224) + 0.5) * 7 / 224 - 0.5, 0, 6)
    rows = np.array([np.interp(positions, range(7), row) for row in small])
    expected = np.array([np.interp(positions, range(7), column) for column in rows.T]).T
    assert relative_l2(cam.resize_map(small, 224), expected) < 1e-6
    with pytest.raises(InputError, match=r"m is \(1, 1, 7, 7\); expected a numpy map"):
        cam.resize_map(small[None, None], 224)
    for size in (0, 224.0, "a", None, (224, 224, 3), (3, -1)):
        with pytest.raises(InputError, match="size is .*; expected a positive int, or two"):
            cam.resize_map(small, size)


def test_a_net_without_pooling():
    net, x = nn.HybridSequential(), random_images(1, 8)
    net.add(blocks.Conv2D(2, 3, in_channels=3), blocks.ReLU(), nn.Dense(2))
    net.initialize()
    assert np.array_equal(cam.grad_cam(net, x, 0, relu=False), cam.grad_cam(net, x, 0, "1", relu=False))
    flat = nn.HybridSequential()
    flat.add(nn.Dense(2))
    flat.initialize()
    with pytest.raises(LayerError, match="say which you mean"):
        cam.grad_cam(flat, x)


def zoo(name):
    """A narrow net of the zoo's own blocks, with random weights."""
    kinds = {
        "v2 bottleneck": (resnet.ResNetV2, resnet.BottleneckV2, [4, 16, 32, 64, 128]),
        "v2 basic": (resnet.ResNetV2, resnet.BasicBlockV2, [4, 4, 8, 16, 32]),
        "v1 bottleneck": (resnet.ResNetV1, resnet.BottleneckV1, [4, 16, 32, 64, 128]),
        "v1 basic": (resnet.ResNetV1, resnet.BasicBlockV1, [4, 4, 8, 16, 32]),
    }
    kind, block, channels = kinds[name]
    net = kind(block, [2, 1, 1, 2], channels, classes=5)
    net.initialize()
    net(nd.zeros((1, 3, 96, 96)))
    return randomise(net)


@pytest.mark.parametrize("name", ["v2 bottleneck", "v2 basic", "v1 bottleneck", "v1 basic"])
def test_the_maps_of_branch_and_shortcut_add_up(name):
    net, x = cam.convert(zoo(name)), random_images(2, 96)
    residual = [path for path, block in cam.paths(net).items() if isinstance(block, RESIDUAL_BLOCKS)]
    assert len(residual) == 6
    for path in residual:
        parts = cam.decompose(net, x, path, [1, 4])
        assert set(parts) == {"branch", "shortcut", "sum"}
        assert relative_l2(parts["branch"] + parts["shortcut"], parts["sum"]) < 1e-5
        assert relative_l2(parts["sum"], cam.grad_cam(net, x, [1, 4], f"{path}.add", relu=False)) < 1e-5
        assert all(np.linalg.norm(part) > 0 and part.dtype == np.float32 for part in parts.values())


def test_decompose_by_hand():
    """A branch that changes nothing: the whole map is the shortcut's."""
    net, x = cam.convert(zoo("v2 basic")), random_images(1, 96)
    last = net.features[8][1]
    for parameter in last.collect_params().values():
        parameter.set_data(nd.zeros_like(parameter.data()))
    parts = cam.decompose(net, x, last, 0)
    assert not parts["branch"].any() and np.array_equal(parts["shortcut"], parts["sum"])


def test_decompose_needs_a_residual_block(narrow_resnet):
    with pytest.raises(LayerError, match="features.10 is a ReLU; expected a residual block"):
        cam.decompose(narrow_resnet, random_images(1, 64), "features.10")
    theirs = zoo("v2 basic")
    with pytest.raises(NetError, match=r"the addition in features.8.1 is not a block .* use cam.convert\(net\)"):
        cam.decompose(theirs, random_images(1, 96), theirs.features[8][1])


def test_class_activation_map_where_the_pooling_is_global_by_its_shape():
    """DenseNet ends in an average pooling of 7x7 on a map of 7x7: global, whatever its name."""
    net = vision.densenet.DenseNet(8, 4, [2, 2], classes=3)
    net.initialize()
    x = random_images(1, 56)
    logits = net(x).asnumpy()
    found = cam.class_activation_map(net, x, 2)
    assert found.shape == (1, 7, 7)
    assert np.isclose(found.mean() + net.output.bias.data().asnumpy()[2], logits[0, 2], rtol=1e-4)
    with pytest.raises(NetError, match="does not end in a global average pooling and one Dense layer; use grad_cam"):
        squeeze = vision.squeezenet1_0(classes=3)
        squeeze.initialize()
        cam.class_activation_map(squeeze, random_images(1, 224))
