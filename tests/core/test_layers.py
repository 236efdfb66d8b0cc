"""Which layer: by block, path, Gluon's name or a step's; what the table says of each; which one is recommended."""

import re
import warnings

import cam
from cam import LayerError, NetError
from cam.core.graph import Step
from cam.maps.endings import ENDINGS

import mxnet as mx
import numpy as np
import pytest
from conftest import random_images
from helpers.nets import Net, conv, ending, function, ready, relu, sequence, small_net, two_heads, two_inputs
from mxnet import nd
from mxnet.gluon import nn
from mxnet.gluon.contrib.nn import HybridConcurrent, Identity
from mxnet.gluon.model_zoo import vision
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


def concurrent():
    both = HybridConcurrent(axis=1)
    both.add(conv(), conv(kernel=1))
    return sequence(conv(), both, *ending())


def channels():
    def forward(F, net, x):
        return F.broadcast_mul(x, net.gate(F.mean(x, axis=(2, 3), keepdims=True)))

    return sequence(conv(), Net(forward, gate=conv(4, 1)), *ending())


def out_of_order():
    """Declared in another order than it runs."""

    def forward(F, net, x):
        return net.out(net.last(net.third(net.second(net.first(x)))))

    return Net(forward, third=relu(), last=conv(), out=sequence(*ending()), second=nn.BatchNorm(), first=conv())


def halves():
    split = function(lambda F, x: F.split(x, 2))
    return sequence(conv(), split, function(lambda F, both: F.relu(both[0]) + both[1]), *ending())


def two_relus():
    return sequence(conv(), function(lambda F, x: F.relu(x) + 2 * F.relu(x)), *ending())


def two_poolings():
    def forward(F, net, x):
        return F.concat(F.mean(net.a(x), axis=(2, 3)), F.max(net.b(x), axis=(2, 3)))

    return sequence(conv(), Net(forward, a=conv(), b=conv()), nn.Dense(3))


def tokens():
    """Positions in a row, then as a transformer has them: channels last."""

    def forward(F, net, x):
        x = F.transpose(F.reshape(net.conv(x), (0, 0, -1)), (0, 2, 1))
        return net.out(F.mean(x + F.relu(net.norm(x)), axis=1))

    return Net(forward, conv=conv(), norm=nn.LayerNorm(), out=nn.Dense(3))


def two_sizes():
    """Nothing joins its two last maps again."""

    def forward(F, net, x):
        x = net.both(x)
        return net.out(F.concat(F.mean(net.fine(x), axis=(2, 3)), F.mean(net.coarse(x), axis=(2, 3))))

    return Net(forward, both=conv(), fine=conv(), coarse=conv(strides=2), out=nn.Dense(3))


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

    def test_an_operators_own_name_where_a_block_ends_in_it(self, narrow_resnet):
        """The addition of the last block is the block's, and the stage's, and has a name of its own in MXNet."""
        x, plus = nd.ones((1, 3, 64, 64)), f"{narrow_resnet.features[8].prefix}_plus2"
        assert np.array_equal(*(cam.record(narrow_resnet, x, one).features() for one in (plus, "features.8.2")))
        convolution = f"{narrow_resnet.features[8][2].conv3.name}_fwd"
        assert cam.record(narrow_resnet, x, convolution).layers == ["features.8.2.conv3"]

    def test_two_operators_of_one_name(self):
        same = [Net(lambda F, net, x: F.tanh(F.relu(x, name="same")), prefix="") for _ in range(2)]
        net, (x,) = ready(sequence(conv(), *same, *ending()), (1, 3, 8, 8))
        first, second = [row.path for row in cam.layers(net, x) if "same#" in row.path]
        recording = cam.record(net, x, [first, second, "0", "1"])
        first, second, before, between = (recording.features(layer) for layer in recording.layers)
        assert np.array_equal(first, np.maximum(before, 0)) and np.array_equal(second, np.maximum(between, 0))

    def test_two_blocks_of_one_name(self):
        """The first in order is meant; their paths tell them apart."""
        net, (x,) = ready(sequence(conv(prefix="c_"), conv(prefix="d_"), conv(prefix="e_"), *ending()), (1, 3, 8, 8))
        net[2]._name = "d"
        assert cam.record(net, x, "d").layers == ["1"]
        assert cam.record(net, x, net[2]).layers == ["2"]

    def test_a_block_that_returns_its_input(self):
        """Its gradient is what flows through it, and not what goes round it."""
        inner = Net(lambda F, net, x: net.short(x) + 3 * x, short=Identity())
        net, (x,) = ready(sequence(conv(), inner, *ending()), (1, 3, 8, 8))
        recording = cam.record(net, x, ["0", "1.short", "1"])
        through = recording.gradient("1.short", target=0)
        assert np.array_equal(through, recording.gradient("1", target=0))
        assert np.allclose(recording.gradient("0", target=0), 4 * through)

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
            ("idle", "layer idle does not influence the logits that are explained"),
            ("", "the net has no layer ''; cam.layers(net) lists them"),
            ("zzzzzz", "the net has no layer 'zzzzzz'; cam.layers(net) lists them"),
            (3, "layer is 3; expected a block, its path or its name"),
            (2.5, "layer is 2.5; expected a block, its path or its name"),
            ("conv[1]", "layer conv[1] did not run or gives no single array; cam.layers(net) lists those that do"),
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
        for block in (relu(), net):
            with pytest.raises(LayerError, match="is not a block of this net; take one of its own, such as"):
                cam.record(net, x, block)
        with pytest.raises(LayerError, match=f"^the net has no layer '{net.name}'; (?!.*{net.name})"):
            cam.record(net, x, net.name)

    def test_several_layers_where_one_is_expected(self):
        net, (x,) = ready(small_net(), (2, 3, 8, 8))
        recording = cam.record(net, x, ["0", "1"])
        for layer in (("0", "1"), ["0", "1"], (), ([],), (0, 0, 0)):
            for ask in (recording.features, lambda layer: cam.decompose(net, x, layer)):
                with pytest.raises(LayerError, match=r"^layer is [\[(].*[\])]; expected a block, its path or its name"):
                    ask(layer)


AROUND = "only a part: what goes around it is left out; the whole map after it is {}"
BEHIND = "only a part: what goes around it is left out; take {}"
TURNED = "not batch, channel, height, width: no map; take {}"
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
        "0": "", "1.branch.1": AROUND.format("1"), "1.branch": TERM.format("1"), "net__plus0": BEFORE.format("1"),
    }),
    "concatenation": (beside, {}, "1", {"1.a", "1.b", "net_relu0", "net_relu1"}, {
        "1.a": AROUND.format("1"), "net_relu1": AROUND.format("1"),
    }),
    "HybridConcurrent": (concurrent, {}, "1", {"1.0", "1.1"}, {"1.0": AROUND.format("1")}),
    "gate of channels": (channels, {}, "1", {"1.gate", "net_mean0"}, {"0": ""}),
    "order": (out_of_order, {}, "last", set(), {"first": "", "second": BEFORE.format("third"), "third": ""}),
    "gate": (gate, {}, "1", {"1.gate", "net_sigmoid0"}, {"1.gate": AROUND.format("1"), "0": ""}),
    "first head": (two_heads, {"output": 0}, "net_relu0", {"conv2", "net_max0", "second"}, {
        "conv2": NOTHING, "second": NOTHING, "conv": BEFORE.format("net_relu0"),
    }),
    "second head": (two_heads, {"output": 1}, "conv2", {"net_mean0", "first"}, {
        "first": NOTHING, "net_relu0": "", "conv2": "recommended",
    }),
    "two ReLUs of one map": (two_relus, {}, "1", {"net_relu0", "net_relu1", "net__mulscalar0"}, {
        "0": "", "net_relu0": TERM.format("1"),
    }),
    "nothing whole after": (two_poolings, {}, "0", {"1.a", "1.b", "net_mean0", "net_max0"}, {
        "1.a": "only a part: what goes around it is left out; take 0", "net_max0": NO_MAP.format("0"),
    }),
    "tokens": (tokens, {}, "conv", {"norm", "net_relu0"}, {
        "net_reshape0": "", "net_transpose0": TURNED.format("conv"), "norm": TURNED.format("conv"),
        "net__plus0": TURNED.format("conv"), "net_mean0": NO_MAP.format("conv"),
    }),
    "two sizes": (two_sizes, {}, "both", {"fine", "coarse", "net_mean0", "net_mean1"}, {
        "fine": BEHIND.format("both"), "coarse": BEHIND.format("both"),
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
    assert len({line.index("2x") for line in lines[1:-2]}) == 1
    assert lines[-2:] == [f"ends in GAP and Dense: {ENDINGS['GAP and Dense']}", "recommended: 1"]
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


def test_what_a_warning_advises_is_taken_without_one(narrow_resnet):
    x = random_images(1, 64)
    parts = [row for row in cam.layers(narrow_resnet, x) if not row.whole and row.path.startswith("features.8")]
    assert len(parts) > 15
    for row in parts:
        with pytest.warns(cam.LayerWarning, match="the whole map after it is ") as caught:
            cam.grad_cam(narrow_resnet, x, layer=row.path, relu=False)
        assert f"{row.path}: {row.advice}" in [str(one.message) for one in caught]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            cam.grad_cam(narrow_resnet, x, layer=row.advice.rpartition(" ")[2], relu=False)


HEADS = {
    "Flatten, Dense": lambda: (nn.Flatten(), nn.Dense(3)),
    "Dense": lambda: (nn.Dense(3),),
    "a mean by a function": lambda: (nn.HybridLambda(lambda F, z: F.mean(z, axis=(2, 3))), nn.Dense(3)),
}


@pytest.mark.parametrize("head", HEADS)
def test_the_zoos_features_with_another_head(head):
    """Fine-tuned as the tutorials do: the last stage, never the stem."""
    features = list(vision.resnet18_v1(classes=3).features._children.values())[:-1]
    net, (x,) = ready(sequence(*features, *HEADS[head]()), (1, 3, 64, 64))
    assert cam.default_layer(net, x) == "7"
    assert cam.grad_cam(net, x, relu=False).shape == (1, 2, 2)


@pytest.mark.parametrize(("size", "best"), [(32, "4"), (16, "2")])
def test_the_default_goes_by_the_size(size, best):
    """A map of a single position is none, so for small pictures an earlier one is taken."""
    net = sequence(conv(), nn.MaxPool2D(4), conv(), nn.MaxPool2D(4), conv(), nn.Dense(3))
    net, (x,) = ready(net, (1, 3, size, size))
    assert cam.default_layer(net, x) == best


def test_a_blank_image_has_the_size_that_the_net_takes():
    net, _ = ready(sequence(conv(), relu(), nn.Dense(3)), (1, 1, 28, 28))
    assert cam.layers(net)[0].shape == (1, 4, 28, 28) and cam.default_layer(net) == "1"
    net = cam.vgg16(weights=None, width=1 / 16, ctx=mx.cpu(1))
    assert cam.default_layer(net) == cam.default_layer(net, nd.zeros((1, 3, 224, 224), mx.cpu(1))) == "features.29"


@pytest.mark.parametrize("size", [28, 32])
def test_a_blank_image_is_one_for_a_net_that_reshapes_by_number(size):
    """As LeNets are often written. MXNet copies beyond an array's end where the numbers do not come out even."""
    numbers = 4 * (size // 4) ** 2
    flat = Net(lambda F, net, x: net.out(F.reshape(net.features(x), (-1, numbers))))
    flat.features = sequence(conv(), nn.MaxPool2D(), conv(), relu(), nn.MaxPool2D())
    flat.out = nn.Dense(3)
    net, _ = ready(flat, (1, 3, size, size))
    assert cam.layers(net)[0].shape == (1, 4, size, size)
    with pytest.raises(NetError, match=rf"cannot make rows of {numbers} of \(1, 4, 9, 9\): x has a wrong size"):
        cam.layers(net, nd.zeros((1, 3, 36, 36)))


def test_a_blank_image_for_a_net_that_gives_several_rows():
    pixels = Net(lambda F, net, x: net.out(F.reshape(F.transpose(net.conv(x), (0, 2, 3, 1)), (-1, 4))))
    pixels.conv, pixels.out = conv(), nn.Dense(3)
    net, _ = ready(pixels, (1, 3, 8, 8))
    assert cam.layers(net)[-1].shape == (224 * 224, 3)


def test_every_spelling_of_relu_and_no_other():
    def forward(F, net, x):
        x = F.Activation(net.a(x), act_type="relu", name="n1")
        x = F.maximum(net.b(x), 0) + F.clip(x, 0, 6, name="n3")
        x = F.LeakyReLU(F.relu(x, name="n4"), slope=0, name="n5")
        kin = (
            F.LeakyReLU(x, slope=0.1) + F.clip(x, -1, 6) + F.maximum(x, 1) + F.tanh(x) + F.LeakyReLU(x, act_type="elu")
        )
        return net.out(net.last(kin))

    net, (x,) = ready(Net(forward, last=relu(), a=conv(), b=conv(), out=sequence(*ending())), (1, 3, 8, 8))
    found = cam.relus(net)
    assert [name.rpartition("_")[2] for name in found] == ["n1", "maximumscalar0", "n3", "n4", "n5", "last"]
    kinds = {row.path: row.kind for row in cam.layers(net, x)}
    assert [kinds[name] for name in found] == ["ReLU", "ReLU", "ReLU up to 6", "ReLU", "ReLU", "Activation"]


def test_relus_that_the_logits_do_not_need():
    net, _ = ready(two_heads(), (1, 3, 8, 8))
    assert len(cam.relus(net, output=0)) == len(cam.relus(net, output=1)) == 1


def test_of_several_outputs_or_inputs_it_is_said_which():
    net, (x,) = ready(two_heads(), (1, 3, 8, 8))
    assert [plain(cam.default_layer(net, x, output=output)) for output in (0, 1)] == ["net_relu0", "conv2"]
    for question in (cam.layers, cam.default_layer, cam.relus):
        with pytest.raises(cam.NetError, match="^the net has 2 outputs; say which to explain: output=0 to output=1$"):
            question(net, x)
    net, inputs = ready(two_inputs(), (1, 3, 8, 8), (1, 2))
    assert cam.relus(net, inputs) == [cam.default_layer(net, inputs)] == [cam.record(net, inputs).layers[0]]
    for question in (cam.layers, cam.default_layer, cam.relus):
        with pytest.raises(cam.NetError, match="more or fewer arrays than 1; cam.record, cam.layers and"):
            question(net)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("(3, 3)", (3, 3)), ("(1,)", (1,)), ("()", ()), ("[1, 2]", (1, 2)), ("True", True), ("False", False),
        ("None", None), ("-1", -1), ("1e-05", 1e-5), ("0.9", 0.9), ("relu", "relu"), ("NCHW", "NCHW"),
    ],
)  # fmt: skip
def test_options_as_mxnet_writes_them(text, value):
    found = Step("Convolution", "c", (), {"key": text}).option("key", "otherwise")
    assert found == value and type(found) is type(value)
    assert Step("Convolution", "c", (), {}).option("key", "otherwise") == "otherwise"
