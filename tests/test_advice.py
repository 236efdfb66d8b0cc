"""The table of layers says which one to take."""

import cam

import mxnet as mx
import pytest
from mxnet import nd
from mxnet.gluon import nn
from mxnet.gluon.model_zoo import vision


def test_every_layer_with_its_shape(narrow_resnet):
    table = cam.layers(narrow_resnet, nd.zeros((2, 3, 64, 96)))
    rows = {row.name: row for row in table}
    assert set(rows) == set(cam.paths(narrow_resnet))
    assert rows["features.1"].shape == (2, 4, 32, 48) and rows["features.1"].kind == "Conv2D"
    assert rows["features.10"].shape == (2, 128, 2, 3)
    assert rows["output"].shape == (2, 7)


@pytest.mark.parametrize("name", ["vgg16", "resnet50_v2"])
def test_one_is_recommended(narrow_nets, name):
    table = cam.layers(narrow_nets[name])
    assert [row.name for row in table if row.advice == "recommended"] == [cam.default_layer(narrow_nets[name])]


def test_advice(narrow_nets):
    advice = {row.name: row.advice for row in cam.layers(narrow_nets["resnet50_v2"])}
    branch = "inside a residual branch: shows only what this block changes; take features.10"
    assert advice["features.8.2.conv3"] == advice["features.5.1.bn1"] == branch
    assert advice["features.8.2.add"] == advice["features.8.2"] == advice["features.10"].replace("recommended", "")
    assert advice["features.8.2.shortcut"].startswith("the shortcut alone")
    assert advice["features.11"] == "a single pixel: cannot say where; take features.10"
    assert advice["features.12"] == "no height and width: no map; take features.10"
    assert "before its ReLU" in advice["features.9"] and advice["features.9"].endswith("take features.10")
    advice = {row.name: row.advice for row in cam.layers(narrow_nets["vgg16"])}
    assert advice["features.28"].endswith("take features.29")


def test_printed(narrow_resnet):
    lines = str(cam.layers(narrow_resnet)).splitlines()
    assert lines[0].split() == ["layer", "kind", "output", "advice"]
    assert len({line.index("1x") for line in lines[1:-1]}) == 1
    assert lines[-1] == "recommended: features.10"


def test_a_hybridized_net_stays_hybridized(narrow_resnet):
    net = cam.convert(narrow_resnet)
    net.hybridize()
    assert len(cam.layers(net)) == len(cam.paths(net))
    assert net._active and not any(block._forward_hooks for block in cam.paths(net).values())


def test_a_layer_that_does_not_run():
    net = vision.squeezenet1_0(classes=3)
    net.initialize()
    net.features.add(idle := vision.resnet18_v1().features[0])
    idle.initialize()
    net.features._children.popitem()
    net.idle = idle
    (row,) = [row for row in cam.layers(net) if row.name == "idle"]
    assert row.shape == () and row.advice == "does not run" and "idle" in str(cam.layers(net))


def test_a_net_on_another_device():
    table = cam.layers(cam.vgg16(weights=None, width=1 / 16, ctx=mx.cpu(1)))
    assert table[-1].shape == (1, 1000)


def test_a_net_for_pictures_of_one_channel():
    net = nn.HybridSequential()
    net.add(nn.Conv2D(2, 3, in_channels=1), nn.GlobalAvgPool2D(), nn.Dense(2))
    net.initialize()
    assert next(row.shape for row in cam.layers(net)) == (1, 2, 222, 222)


def test_what_is_no_net():
    with pytest.raises(cam.NetError, match="net is str"):
        cam.layers("resnet")
