"""Which layer: by block, path, Gluon's name or a step's; what the table says of each; which one is recommended."""

import re

import cam
from cam import LayerError

import mxnet as mx
import numpy as np
import pytest
from helpers.nets import Net, conv, ending, function, ready, relu, sequence, small_net, two_heads
from mxnet import nd
from mxnet.gluon import nn
from mxnet.gluon.model_zoo.vision import resnet


def plain(name):
    """A name without the number that Gluon gives to a prefix: "net3_relu0" is "net_relu0"."""
    return re.sub(r"net\d+_", "net_", name)


def runs_twice():
    def forward(F, net, x):
        net.idle(x)
        return net.out(F.mean(net.relu(net.conv2(net.relu(net.conv(x)))), axis=(2, 3)))

    children = {"conv": conv(), "conv2": conv(), "relu": relu(), "idle": conv(), "unused": relu()}
    return Net(forward, **children, out=nn.Dense(3))


def residual():
    """Someone's own block: a branch, a shortcut, a ReLU after the sum."""
    block = Net(lambda F, net, x: F.relu(net.branch(x) + x), branch=sequence(conv(), relu(), conv()))
    return sequence(conv(), block, *ending())


def beside():
    def forward(F, net, x):
        return F.concat(F.relu(net.a(x)), F.relu(net.b(x)), dim=1)

    return sequence(conv(), Net(forward, a=conv(), b=conv()), *ending())


def gate():
    return sequence(conv(), Net(lambda F, net, x: x * F.sigmoid(net.gate(x)), gate=conv()), *ending())


def halves():
    split = function(lambda F, x: F.split(x, 2))
    return sequence(conv(), split, function(lambda F, both: F.relu(both[0]) + both[1]), *ending())


def usual():
    return sequence(conv(), nn.BatchNorm(), relu(), nn.MaxPool2D(), nn.Dropout(0.5), conv(), relu(), *ending())


class TestNames:
    def test_block_path_and_gluon_name_are_one_layer(self, narrow_resnet):
        block, x = narrow_resnet.features[8][2].conv3, nd.ones((1, 3, 64, 64))
        for layer in (block, "features.8.2.conv3", block.name):
            assert cam.record(narrow_resnet, x, layer).layers == ["features.8.2.conv3"]

    def test_a_step_that_is_no_block(self):
        net, (x,) = ready(residual(), (2, 3, 8, 8))
        (name,) = [row.path for row in cam.layers(net, x) if row.kind == "addition"]
        assert plain(name) == "net__plus0"
        branch, shortcut, total = (cam.record(net, x, layer).features() for layer in ("1.branch", "0", name))
        assert np.array_equal(branch + shortcut, total)

    def test_each_run_of_a_block(self):
        net, (x,) = ready(runs_twice(), (2, 3, 8, 8))
        first, second = (cam.record(net, x, f"relu#{run}").features() for run in (1, 2))
        assert np.array_equal(first, nd.relu(net.conv(x)).asnumpy())
        assert np.array_equal(second, nd.relu(net.conv2(nd.array(first))).asnumpy())
        assert cam.relus(net) == ["relu#1", "relu#2"]
        assert cam.record(net, x, f"{net.relu.name}#2").layers == ["relu#2"]

    def test_a_second_output(self):
        net, (x,) = ready(halves(), (2, 3, 8, 8))
        names = [row.path for row in cam.layers(net, x) if "SliceChannel" in (row.kind, row.kind.lower())]
        found = np.concatenate([cam.record(net, x, name).features() for name in names], axis=1)
        assert len(names) == 2 and names[1] == f"{names[0]}[1]"
        assert np.array_equal(found, net[0](x).asnumpy())

    def test_paths(self, narrow_resnet):
        found = cam.paths(narrow_resnet)
        assert found["features.8.2.conv3"] is narrow_resnet.features[8][2].conv3
        assert "" not in found and "output" in found

    @pytest.mark.parametrize(
        ("layer", "sentence"),
        [
            ("relu", "layer relu runs 2 times in this net: say which run, relu#1 or relu#2"),
            ("relu#3", "layer relu runs 2 times in this net: say which run, relu#1 or relu#2"),
            ("unused", "layer unused did not run or gives no single array; cam.layers(net) lists those that do"),
            ("zzzzzz", "the net has no layer 'zzzzzz'; cam.layers(net) lists them"),
            (3, "layer is 3; expected a block, its path or its name"),
            (2.5, "layer is 2.5; expected a block, its path or its name"),
            ("out", "layer out gives (1, 3), which is not batch, channel, height, width: it has no map; take relu#2"),
        ],
    )
    def test_refused(self, layer, sentence):
        net, (x,) = ready(runs_twice(), (2, 3, 8, 8))
        with pytest.raises(LayerError) as caught:
            cam.record(net, x, layer)
        assert str(caught.value) == sentence

    def test_did_you_mean(self, narrow_resnet):
        with pytest.raises(LayerError, match=r"^the net has no layer 'features.8.2.conv4'; did you mean .*8.2.conv3"):
            cam.record(narrow_resnet, nd.ones((1, 3, 64, 64)), "features.8.2.conv4")

    def test_another_nets_block(self):
        net, (x,) = ready(small_net(), (2, 3, 8, 8))
        with pytest.raises(LayerError, match="is not a block of this net; take one of its own, such as"):
            cam.record(net, x, relu())


AROUND = "only a part: what goes around it is left out; the whole map after it is {}"
TERM = "only one term of a sum: what the other adds is left out; the whole map after it is {}"
BEFORE = "before its ReLU: what a channel lacks counts as evidence too; take {}"
POINT, NO_MAP = "a single position: cannot say where; take {}", "no height and width: no map; take {}"
NOTHING = "does not influence the logits"
# By net: the layer that is recommended, the parts, and what is said of some layers, with {} for the layer named.
ADVICE = {
    "usual": (usual, {}, "6", set(), {
        "0": "", "1": BEFORE.format("2"), "2": "", "3": "", "5": BEFORE.format("6"), "7": POINT.format("6"),
        "8": NO_MAP.format("6"),
    }),
    "residual": (residual, {}, "1", {"1.branch.0", "1.branch.1", "1.branch.2", "1.branch"}, {
        "0": "", "1.branch.1": AROUND.format("net__plus0"), "1.branch": TERM.format("net__plus0"),
        "net__plus0": BEFORE.format("1"),
    }),
    "concatenation": (beside, {}, "1", {"1.a", "1.b", "net_relu0", "net_relu1"}, {
        "1.a": AROUND.format("1"), "net_relu1": AROUND.format("1"),
    }),
    "gate": (gate, {}, "1", {"1.gate", "net_sigmoid0"}, {"1.gate": AROUND.format("1"), "0": ""}),
    "first head": (two_heads, {"output": 0}, "net_relu0", {"conv2", "net_max0", "second"}, {
        "conv2": NOTHING, "second": NOTHING, "conv": BEFORE.format("net_relu0"),
    }),
    "second head": (two_heads, {"output": 1}, "conv2", {"net_mean0", "first"}, {
        "first": NOTHING, "net_relu0": "", "conv2": "recommended",
    }),
    "halves": (halves, {}, "2", {"net_split0", "net_split0[1]", "net_relu0"}, {"net_split0[1]": TERM.format("2")}),
}  # fmt: skip


@pytest.mark.parametrize("name", ADVICE)
def test_advice(name):
    build, options, best, parts, said = ADVICE[name]
    net, (x,) = ready(build(), (2, 3, 8, 8))
    table = cam.layers(net, x, **options)
    rows = {plain(row.path): row for row in table}
    assert len(rows) == len(table)
    assert [path for path, row in rows.items() if row.advice == "recommended"] == [best]
    assert {path for path, row in rows.items() if not row.whole} == parts
    assert {path: plain(rows[path].advice) for path in said} == said
    assert all(row.shape[0] == 2 for row in table)
    (taken,) = cam.record(net, x, **options).layers  # what is recommended is what the maps take
    assert plain(taken) == best
    if not options:
        assert cam.default_layer(net, x) == taken


def test_the_table_without_images(narrow_nets):
    for name, best, before in (
        ("vgg16", "features.29", "features.28"),
        ("resnet50_v2", "features.10", "features.9"),
    ):
        net = narrow_nets[name]
        rows = {row.path: row for row in cam.layers(net)}
        assert cam.default_layer(net) == best and rows[best].advice == "recommended"
        assert rows[before].advice == BEFORE.format(best)
    assert rows["features.1"].shape == (1, 4, 112, 112) and rows["features.1"].kind == "Conv2D"
    assert rows["features.8.2.conv3"].advice == TERM.format("features.8")  # which ends in features.8.2
    assert rows["features.8.2"].whole and not rows["features.8.2.conv3"].whole


def test_printed():
    net, (x,) = ready(small_net(), (2, 3, 8, 8))
    lines = str(cam.layers(net, x)).splitlines()
    assert lines[0].split() == ["layer", "kind", "output", "whole", "advice"]
    assert len({line.index("2x") for line in lines[1:-1]}) == 1
    assert lines[-1] == "recommended: 1"
    flat, (x,) = ready(sequence(nn.Dense(4), nn.Dense(3)), (2, 3, 8, 8))
    assert str(cam.layers(flat, x)).splitlines()[-1] == "recommended: none; choose one with height and width"


@pytest.mark.parametrize("kind", ["BasicBlockV1", "BottleneckV1", "BasicBlockV2", "BottleneckV2"])
def test_relus_run_in_the_order_of_their_names(kind):
    block = getattr(resnet, kind)(8, 2, True)
    net, _ = ready(sequence(conv(), block, function(lambda F, x: F.clip(x, 0, 6)), *ending()), (2, 3, 8, 8))
    names = cam.relus(net)
    assert len(names) == {"BasicBlockV1": 2, "BottleneckV1": 3, "BasicBlockV2": 2, "BottleneckV2": 3}[kind] + 1
    order = [row.path for row in cam.layers(net, nd.ones((2, 3, 8, 8)))]
    assert sorted(names, key=order.index) == names and names[-1] == "2"


def test_blank_images_are_the_nets_own():
    """Of its channels, its dtype and its device."""
    net = sequence(conv(2, in_channels=1), *ending(2))
    net.initialize(ctx=mx.cpu(0))
    net.cast("float64")
    net(nd.ones((1, 1, 8, 8), dtype="float64"))
    assert cam.layers(net)[0].shape == (1, 2, 224, 224)
