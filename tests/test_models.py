"""Our nets are the zoo's: same names, same files, identical output."""

import cam
from cam import blocks, rebuilding
from cam.errors import InputError, LayerError, NetError

import mxnet as mx
import numpy as np
import pytest
from conftest import random_images, randomise
from mxnet import nd
from mxnet.gluon import nn
from mxnet.gluon.model_zoo import vision


def zoo_net(name, **kwargs):
    net = getattr(vision, name)(**kwargs)
    net.initialize(mx.init.Xavier())
    net(nd.zeros((1, 3, 224, 224)))
    return randomise(net)


def kinds(net, kind):
    return [block for block in cam.paths(net).values() if isinstance(block, kind)]


@pytest.fixture(scope="module", params=["resnet50_v2", "vgg16"])
def zoo(request):
    """A full-size net of the zoo, its name, an image and the net's output."""
    net = zoo_net(request.param, classes=10)
    x = random_images(1)
    return net, request.param, x, net(x).asnumpy()


def test_a_file_of_the_zoo_loads_with_the_identical_output(zoo, tmp_path):
    theirs, name, x, expected = zoo
    theirs.save_parameters(str(tmp_path / "zoo.params"))
    net = getattr(cam, name)(weights=tmp_path / "zoo.params")
    assert np.array_equal(net(x).asnumpy(), expected)
    relus, adds = {"resnet50_v2": (50, 16), "vgg16": (15, 0)}[name]
    assert len(kinds(net, blocks.ReLU)) == relus
    assert len(kinds(net, blocks.Add)) == adds


def test_the_tutorials_loop_copies_by_gluon_name(zoo):
    theirs, name, x, expected = zoo
    net = getattr(cam, name)(weights=None, classes=10)
    for key, parameter in theirs.collect_params().items():
        net.collect_params()[net.prefix + key.replace(theirs.prefix, "")].set_data(parameter.data())
    assert np.array_equal(net(x).asnumpy(), expected)


def test_hybridized_it_is_the_zoos_hybridized_net():
    theirs = zoo_net("resnet50_v2", classes=10)
    ours, x = cam.convert(theirs), random_images(1)
    for net in (theirs, ours):
        net.hybridize()
    assert np.array_equal(ours(x).asnumpy(), theirs(x).asnumpy())


@pytest.mark.parametrize("name", ["resnet18_v1", "resnet18_v2", "resnet50_v1", "resnet50_v2"])
def test_convert_gives_the_identical_output(name):
    zoo = zoo_net(name, classes=6)
    before = {key: value.data().asnumpy() for key, value in zoo.collect_params().items()}
    net = cam.convert(zoo)
    x = random_images(2)
    assert np.array_equal(net(x).asnumpy(), zoo(x).asnumpy())
    assert list(net.collect_params()) == list(before)
    assert set(net._collect_params_with_prefix()) == set(zoo._collect_params_with_prefix())
    assert not kinds(net, nn.Activation)
    randomise(net, seed=5)  # a copy: the original keeps its values
    assert all(np.array_equal(value.data().asnumpy(), before[key]) for key, value in zoo.collect_params().items())


def test_convert_takes_a_vgg_with_batch_norm():
    theirs = vision.VGG([1, 1], [4, 6], classes=3, batch_norm=True)
    theirs.initialize()
    x = random_images(1, 32)
    expected = theirs(x).asnumpy()
    assert np.array_equal(cam.convert(theirs)(x).asnumpy(), expected)


def test_convert_keeps_dtype_and_frozen_parameters_and_takes_its_own_nets(narrow_resnet):
    again = cam.convert(narrow_resnet)
    again.collect_params().setattr("grad_req", "null")
    again.cast("float64")
    twice = cam.convert(again)
    assert {parameter.grad_req for parameter in twice.collect_params().values()} == {"null"}
    x = random_images(1, 64)
    assert np.array_equal(twice(x.astype("float64")).asnumpy(), again(x.astype("float64")).asnumpy())


def test_convert_shares_what_the_net_shares():
    """A block with parameters stays one; one without gets a copy, and with it a feature map, for each place."""
    conv, relu, body = nn.Conv2D(3, 1, in_channels=3), nn.Activation("relu"), nn.HybridSequential()
    body.add(nn.Conv2D(3, 3, padding=1, in_channels=3), nn.Activation("relu"))
    theirs = nn.HybridSequential()
    theirs.add(conv, relu, conv, relu, body, body, nn.GlobalAvgPool2D(), nn.Dense(4))
    theirs.initialize()
    x = random_images(1, 12)
    expected = theirs(x).asnumpy()
    ours = cam.convert(theirs)
    assert np.array_equal(ours(x).asnumpy(), expected)
    assert list(ours.collect_params()) == list(theirs.collect_params())
    assert ours[0] is ours[2] and ours[4][0] is ours[5][0]
    assert ours[1] is not ours[3] and ours[4][1] is not ours[5][1]
    assert set(cam.grad_cam(ours, x, 1, ["1", "3", "4", "5.1"])) == {"1", "3", "4", "5.1"}
    with pytest.raises(LayerError, match=r"runs more than once .*cam.convert\(net\) makes a block of its own"):
        cam.grad_cam(theirs, x, 1, "1")
    with pytest.raises(LayerError, match="runs more than once .* take another layer"):
        cam.grad_cam(ours, x, 1, "2")


def test_convert_asks_no_hook_of_the_net():
    class Own(nn.HybridBlock):
        def hybrid_forward(self, F, x):
            return self.output(self.features(x))

    net, heard = Own(), []
    with net.name_scope():
        net.features, net.output = nn.HybridSequential(prefix=""), nn.Dense(3)
    net.features.add(nn.Conv2D(2, 3, in_channels=3), nn.Activation("relu"))
    net.initialize()
    net(random_images(1, 12))
    handle = net.features.register_forward_hook(lambda block, inputs, output: heard.append(output.asnumpy()))
    net.register_forward_pre_hook(lambda block, inputs: heard.append(inputs[0].asnumpy()))
    assert rebuilding.convertible(net) and not heard
    net(random_images(1, 12))
    assert len(heard) == 2
    handle.detach()
    net(random_images(1, 12))
    assert len(heard) == 3


def test_convert_refuses_in_words():
    with pytest.raises(NetError, match="cannot convert .* of type MobileNet"):
        cam.convert(vision.mobilenet0_25())
    with pytest.raises(NetError, match="has no values yet"):
        cam.convert(vision.resnet18_v2())
    with pytest.raises(NetError, match="net is str; expected a Gluon net"):
        cam.convert("resnet")


def test_a_subclass_that_may_compute_something_else_is_refused():
    class Odd(nn.MaxPool2D):
        pass

    net = nn.HybridSequential()
    net.add(Odd())
    with pytest.raises(NetError, match="of type Odd"):
        cam.convert(net)


def test_every_bottleneck_has_the_layers_that_lessons_name(narrow_resnet):
    names = cam.paths(narrow_resnet)
    for stage, count in zip((5, 6, 7, 8), (3, 4, 6, 3)):
        for index in range(count):
            for layer in ("relu1", "relu2", "relu3", "add", "shortcut", "conv3"):
                assert f"features.{stage}.{index}.{layer}" in names
    assert cam.default_layer(narrow_resnet) == "features.10"


def test_sizes(narrow_vgg):
    assert narrow_vgg.features[28].weight.shape == (32, 32, 3, 3)
    assert narrow_vgg.output.weight.shape == (7, 256)
    assert cam.default_layer(narrow_vgg) == "features.29"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": None, "classes": 0}, "classes is 0; expected a positive int"),
        ({"weights": None, "classes": 2.5}, "classes is 2.5"),
        ({"weights": None, "width": 0}, "width is 0; expected a number"),
        ({"weights": True}, "weights is True; expected 'scenes', 'imagenet', 'cheater'"),
        ({"classes": 5}, "give them with weights=None only"),
    ],
)
def test_wrong_sizes_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        cam.resnet50_v2(**options)


def test_transparent_blocks_are_all_that_our_nets_are_made_of(narrow_nets):
    for net in narrow_nets.values():
        assert {type(block) for block in cam.paths(net).values()} <= set(rebuilding.TRANSPARENT_BLOCKS)
