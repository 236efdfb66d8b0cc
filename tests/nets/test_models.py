"""Our nets are the zoo's: same names, same shapes, same files, identical output."""

import cam
from cam import InputError
from cam.core import layers
from cam.nets import models
from cam.nets.labels import imagenet_labels

import mxnet as mx
import numpy as np
import pytest
from conftest import random_images, randomise
from mxnet import nd
from mxnet.gluon.model_zoo import vision
from mxnet.gluon.model_zoo.vision import resnet


@pytest.mark.parametrize("name", ["vgg16", "resnet50_v2"])
def test_at_full_width_every_parameter_is_the_zoos(name):
    def described(net):
        found = layers.parameters(net)
        return [(path, one.name.removeprefix(net.prefix), one.shape) for path, one in found.items()]

    theirs, kind = getattr(vision, name)(classes=5), models.KINDS[name]
    theirs.infer_shape(nd.zeros((1, 3, 224, 224)))
    ours = kind.build(kind.sizes, 5)
    assert described(ours) == described(theirs)
    assert ours.prefix.rstrip("0123456789_") == theirs.prefix.rstrip("0123456789_")


@pytest.fixture(scope="module")
def zoo():
    """The zoo's own ResNet50v2, narrow, an image and the net's output."""
    net = resnet.ResNetV2(resnet.BottleneckV2, [3, 4, 6, 3], [4, 16, 32, 64, 128], classes=10)
    net.initialize()
    x = random_images(1)
    net(x)
    return randomise(net), x, net(x).asnumpy()


def test_a_file_of_the_zoo_loads_with_the_identical_output(zoo, tmp_path):
    theirs, x, expected = zoo
    theirs.save_parameters(str(tmp_path / "zoo.params"))
    net = cam.resnet50_v2(weights=tmp_path / "zoo.params")
    assert np.array_equal(net(x).asnumpy(), expected)
    assert net.labels is None and not hasattr(net, "caution")


def test_the_tutorials_loop_copies_by_gluon_name(zoo):
    theirs, x, expected = zoo
    net = cam.resnet50_v2(weights=None, classes=10, width=1 / 16)
    for key, parameter in theirs.collect_params().items():
        net.collect_params()[net.prefix + key.replace(theirs.prefix, "")].set_data(parameter.data())
    assert np.array_equal(net(x).asnumpy(), expected)


def test_narrow_nets(narrow_nets):
    vgg, residual = narrow_nets["vgg16"], narrow_nets["resnet50_v2"]
    assert [layers.parameters(vgg)[f"features.{index}.bias"].shape for index in (0, 5, 10, 17, 24, 31)] == [
        (channels,) for channels in (4, 8, 16, 32, 32, 256)
    ]
    assert vgg.output.weight.shape == (7, 256) and residual.output.weight.shape == (7, 128)
    assert residual.features[8][2].conv3.weight.shape == (128, 32, 1, 1)
    assert (cam.default_layer(vgg), cam.default_layer(residual)) == ("features.29", "features.10")
    assert vgg.labels is None and residual.labels is None  # they were trained on nothing


def test_the_embedded_nets_say_what_they_know(embedded_nets):
    for net in (*embedded_nets.values(), cam.resnet50_v2("cheater")):
        assert net.caution == "this net knows 20 cut-outs and will give any photograph one of their names"
        assert net.labels == cam.scenes.LABELS


def test_on_another_device():
    net, elsewhere, x = cam.resnet50_v2(), cam.resnet50_v2(ctx=mx.cpu(1)), random_images(1, 64)
    assert all(parameter.list_ctx() == [mx.cpu(1)] for parameter in elsewhere.collect_params().values())
    assert np.array_equal(elsewhere(x.as_in_context(mx.cpu(1))).asnumpy(), net(x).asnumpy())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": None, "classes": 0}, "classes is 0; expected a positive int"),
        ({"weights": None, "classes": 2.5}, "classes is 2.5"),
        ({"weights": None, "classes": True}, "classes is True"),
        ({"weights": None, "width": 0}, "width is 0; expected a number"),
        ({"weights": None, "width": True}, "width is True; expected a number"),
        ({"weights": True}, "weights is True; resnet50_v2 has 'scenes'"),
        ({"classes": 5}, "give them with weights=None only"),
    ],
)
def test_wrong_sizes_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        cam.resnet50_v2(**options)


def test_only_resnet_has_a_cheater():
    with pytest.raises(InputError, match="weights is 'cheater'; vgg16 has 'scenes' and 'imagenet'; or"):
        cam.vgg16(weights="cheater")


def test_a_net_of_1000_random_classes_has_no_labels():
    net = cam.resnet50_v2(weights=None, width=1 / 16)
    assert net.output.weight.shape[0] == len(imagenet_labels()) and net.labels is None


def test_the_first_net_is_called_as_the_zoos_first():
    """Loading builds nets of its own, which Gluon must not count: README and lessons say resnetv20_."""
    models._topology.cache_clear()
    with mx.name.NameManager():
        assert [net().prefix for net in (cam.resnet50_v2, cam.vgg16)] == ["resnetv20_", "vgg0_"]
