"""Which layers a net has, what each is called, and what is said of it."""

import warnings

import cam
from cam.core.graph import Step
from cam.core.tracing import trace

import mxnet as mx
import numpy as np
import pytest
from conftest import random_images, randomise
from helpers.nets import Net, conv, ending, ready, relu, sequence, small_net, two_heads
from mxnet import nd
from mxnet.gluon import nn
from mxnet.gluon.contrib.nn import HybridConcurrent, Identity
from mxnet.gluon.model_zoo import vision


def rows_of(net, x, **options):
    return {row.path: row for row in cam.layers(net, x, **options)}


# ----------------------------------------------------------------------------------------------------------- names


def test_a_layer_by_block_path_and_name(narrow_resnet):
    x, block = random_images(1, 64), narrow_resnet.features[8][2].conv3
    recording = cam.record(narrow_resnet, x, [block, "features.8.2.conv3", block.name, f"{block.name}_fwd"])
    assert recording.layers == ["features.8.2.conv3"]
    assert np.array_equal(recording.features(block), recording.features("features.8.2.conv3"))


def test_an_operator_that_is_no_block_by_its_own_name(narrow_resnet):
    """The additions and 48 of the 50 ReLUs of a ResNet50v2 are function calls."""
    x, relus = random_images(1, 64), cam.relus(narrow_resnet)
    last = [name for name in relus if name.endswith("stage4_activation8")]
    recording = cam.record(narrow_resnet, x, ["features.8.2.bn3", *last])
    before, after = (recording.features(layer) for layer in recording.layers)
    assert np.array_equal(after, np.maximum(before, 0))
    sums = [name for name, entry in trace(narrow_resnet).entries.items() if entry in trace(narrow_resnet).additions()]
    assert "features.8.2" in sums and "features.8" in sums  # the block ends in its addition
    plus = narrow_resnet.features[8].prefix + "_plus2"
    assert cam.record(narrow_resnet, x, plus).layers == ["features.8"]


def runs_three_times():
    def forward(F, net, x):
        return net.out(net.relu(net.conv(net.relu(net.stem(net.relu(x))))))

    return Net(forward, stem=conv(), conv=conv(in_channels=4), relu=relu(), out=sequence(*ending()))


def test_a_block_that_runs_several_times():
    net, (x,) = ready(runs_three_times(), (1, 3, 8, 8))
    assert [path for path in rows_of(net, x) if "relu" in path] == ["relu#1", "relu#2", "relu#3"]
    recording = cam.record(net, x, ["relu#1", "relu#2", "relu#3", "conv"])
    assert np.array_equal(recording.features("relu#1"), np.maximum(x.asnumpy(), 0))
    assert np.array_equal(recording.features("relu#3"), np.maximum(recording.features("conv"), 0))
    assert np.array_equal(recording.features(f"{net.relu.name}#3"), recording.features("relu#3"))
    assert cam.relus(net) == ["relu#1", "relu#2", "relu#3"]
    for layer in ("relu", net.relu, net.relu.name):
        with pytest.raises(cam.LayerError) as caught:
            cam.record(net, x, layer)
        said = "layer relu runs 3 times in this net: say which run, relu#1 or relu#2 or relu#3"
        assert str(caught.value) == said
    with pytest.raises(cam.LayerError, match="layer relu runs 3 times in this net: say which run"):
        cam.record(net, x, "relu#4")


def test_a_second_output():
    def forward(F, net, x):
        first, second = net.split(x)
        return net.out(first * F.sigmoid(second))

    split = Net(lambda F, net, x: tuple(F.split(net.conv(x), 2)), conv=conv())
    net, (x,) = ready(Net(forward, split=split, out=sequence(*ending())), (1, 3, 8, 8))
    rows = rows_of(net, x)
    assert {"split", "split[1]"} <= set(rows) and rows["split[1]"].shape == (1, 2, 8, 8)
    assert not rows["split"].whole and not rows["split[1]"].whole and rows["split.conv"].whole
    recording = cam.record(net, x, ["split", "split[1]", "split.conv"])
    both = np.concatenate([recording.features("split"), recording.features("split[1]")], axis=1)
    assert np.array_equal(both, recording.features("split.conv"))
    gradients = [recording.gradient(layer, target=0) for layer in ("split", "split[1]")]
    assert np.allclose(np.concatenate(gradients, axis=1), recording.gradient("split.conv", target=0))


def test_two_steps_of_one_name():
    same = [Net(lambda F, net, x: F.tanh(F.relu(x, name="same")), prefix="") for _ in range(2)]
    net, (x,) = ready(sequence(conv(), *same, *ending()), (1, 3, 8, 8))
    found = [path for path in rows_of(net, x) if "same" in path]
    assert [path.rpartition("same")[2] for path in found] == ["#1", "#2"]
    recording = cam.record(net, x, [*found, "0", "1"])
    first, second, before, between = (recording.features(layer) for layer in recording.layers)
    assert np.array_equal(first, np.maximum(before, 0)) and np.array_equal(second, np.maximum(between, 0))


def test_two_blocks_of_one_name():
    """Gluon counts in each scope anew: the first in order is meant, and the paths tell them apart."""
    net, (x,) = ready(sequence(conv(prefix="c_"), conv(6, prefix="d_"), conv(prefix="e_"), *ending()), (1, 3, 8, 8))
    net[2]._name = "d"
    assert cam.record(net, x, "d").layers == ["1"]
    assert cam.record(net, x, net[2]).layers == ["2"]


def test_a_block_that_returns_its_input():
    """It has a gradient of its own: what flows through it, and not what goes round it."""
    inner = Net(lambda F, net, x: net.short(x) + 3 * x, short=Identity())
    net, (x,) = ready(sequence(conv(), inner, *ending()), (1, 3, 8, 8))
    recording = cam.record(net, x, ["0", "1.short", "1"])
    through = recording.gradient("1.short", target=0)
    assert np.array_equal(through, recording.gradient("1", target=0))
    assert np.allclose(recording.gradient("0", target=0), 4 * through)
    assert not rows_of(net, x)["1.short"].whole


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ("features.8.2.conv4", "the net has no layer 'features.8.2.conv4'; did you mean features.8.2.conv3 or ..."),
        ("conv5_3", "the net has no layer 'conv5_3'..."),
        ("", "the net has no layer ''; cam.layers(net) lists them"),
        ("zebra", "the net has no layer 'zebra'; cam.layers(net) lists them"),
        (3, "layer is 3; expected a block, its path or its name"),
        (nn.Dense(3, prefix="mine_"), "layer mine is not a block of this net; take one of its own, such as ..."),
    ],
)
def test_layers_that_are_not_there(narrow_resnet, layer, said):
    for call in (cam.record, lambda net, x, layer: cam.grad_cam(net, x, layer=layer)):
        with pytest.raises(cam.LayerError) as caught:
            call(narrow_resnet, random_images(1, 64), layer)
        assert str(caught.value).startswith(said.partition("...")[0])


def test_the_net_itself_is_no_layer(narrow_resnet):
    with pytest.raises(cam.LayerError, match="is not a block of this net"):
        cam.record(narrow_resnet, random_images(1, 64), narrow_resnet)


def test_layers_that_do_not_run_or_run_in_vain():
    def forward(F, net, x):
        net.vain(x)
        return net.out(net.conv(x))

    net = Net(forward, conv=conv(), vain=conv(), out=sequence(*ending()))
    net, (x,) = ready(net, (1, 3, 8, 8))
    net.idle = conv()
    with pytest.raises(cam.LayerError, match="layer idle did not run or gives no single array"):
        cam.grad_cam(net, x, layer="idle")
    with pytest.raises(cam.LayerError, match="layer vain does not influence the logits that are explained"):
        cam.grad_cam(net, x, layer="vain")
    assert not {"idle", "vain"} & set(rows_of(net, x))


def test_a_layer_of_the_other_head():
    net, (x,) = ready(two_heads(), (1, 3, 8, 8))
    with pytest.raises(cam.LayerError, match="layer conv2 does not influence the logits that are explained"):
        cam.grad_cam(net, x, layer="conv2", output=0)
    assert rows_of(net, x, output=0)["conv2"].advice == "does not influence the logits"
    assert rows_of(net, x, output=1)["conv2"].advice == "recommended"


# --------------------------------------------------------------------------------------------------- whole and part


def whole(net, x, **options):
    return {path: row.whole for path, row in rows_of(net, x, **options).items()}


def test_whole_maps_of_a_residual_block():
    """Somebody's own, with functions for its additions and ReLUs."""
    block = Net(lambda F, net, x: F.relu(net.b(F.relu(net.a(x))) + net.short(x)), a=conv(), b=conv(), short=conv(4, 1))
    net, (x,) = ready(sequence(conv(), block, *ending()), (1, 3, 8, 8))
    found = whole(net, x)
    assert [path for path, is_whole in found.items() if is_whole] == [
        "0", *[path for path in found if path.endswith("_plus0")], "1", "2", "3",
    ]  # fmt: skip
    rows = rows_of(net, x)
    name = next(path for path in rows if path.endswith("_plus0"))
    term = f"only one term of a sum: what the other adds is left out; the whole map after it is {name}"
    part = f"only a part: what goes around it is left out; the whole map after it is {name}"
    assert rows["1.b"].advice == rows["1.short"].advice == term
    assert rows["1.a"].advice == part
    assert rows[name].advice == "before its ReLU: what a channel lacks counts as evidence too; take 1"
    assert rows["1"].advice == "recommended" and rows["0"].advice == ""


PARTS = {
    "a concatenation": (
        lambda: Net(lambda F, net, x: F.concat(net.a(x), net.b(x), dim=1), a=conv(), b=conv()),
        ["1.a", "1.b"],
    ),
    "HybridConcurrent": (
        lambda: (both := HybridConcurrent(axis=1)).add(conv(), conv()) or both,
        ["1.0", "1.1"],
    ),
    "a gate": (lambda: Net(lambda F, net, x: x * F.sigmoid(net.a(x)), a=conv()), ["1.a"]),
    "a gate of channels": (
        lambda: Net(lambda F, net, x: F.broadcast_mul(x, net.a(F.mean(x, axis=(2, 3), keepdims=True))), a=conv(4, 1)),
        ["1.a"],
    ),
    "a branch in a branch": (
        lambda: Net(lambda F, net, x: x + net.a(x) + net.b(net.a(x)), a=conv(), b=conv()),
        ["1.a#1", "1.a#2", "1.b"],
    ),
}


@pytest.mark.parametrize("name", PARTS)
def test_parts(name):
    build, parts = PARTS[name]
    net, (x,) = ready(sequence(conv(), build(), relu(), *ending()), (1, 3, 8, 8))
    found = whole(net, x)
    assert [found[path] for path in parts] == [False] * len(parts)
    assert found["0"] and found["1"] and found["2"]
    assert [row.path for row in cam.layers(net, x) if row.advice == "recommended"] == ["2"]


def test_every_part_has_a_warning_that_names_a_whole_map(narrow_resnet):
    """Whatever the warning advises is taken without one."""
    x = random_images(1, 64)
    for row in cam.layers(narrow_resnet, x):
        if not row.whole and row.path.startswith("features.8"):
            with pytest.warns(cam.LayerWarning, match="the whole map after it is ") as caught:
                cam.grad_cam(narrow_resnet, x, layer=row.path, relu=False)
            assert f"{row.path}: {row.advice}" in [str(one.message) for one in caught]
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                cam.grad_cam(narrow_resnet, x, layer=row.advice.rpartition(" ")[2], relu=False)


# ----------------------------------------------------------------------------------------------------------- advice


def test_every_layer_with_its_shape(narrow_resnet):
    rows = rows_of(narrow_resnet, nd.zeros((2, 3, 64, 96)))
    assert set(cam.paths(narrow_resnet)) - set(rows) == {
        path for path in cam.paths(narrow_resnet) if path.endswith("downsample.0")
    }
    assert (rows["features.1"].shape, rows["features.1"].kind) == ((2, 4, 32, 48), "Conv2D")
    assert rows["features.10"].shape == (2, 128, 2, 3)
    assert rows["output"].shape == (2, 7)
    assert {row.kind for path, row in rows.items() if path not in cam.paths(narrow_resnet)} == {"ReLU"}


def test_advice(narrow_nets):
    rows = rows_of(narrow_nets["resnet50_v2"], random_images(1, 64))
    assert rows["features.8.2.conv3"].advice == (
        "only one term of a sum: what the other adds is left out; the whole map after it is features.8"
    )
    assert rows["features.5.1.bn1"].advice.startswith("only a part: what goes around it is left out")
    assert rows["features.8.2"].advice == rows["features.8"].advice == ""
    assert rows["features.9"].advice == (
        "before its ReLU: what a channel lacks counts as evidence too; take features.10"
    )
    assert rows["features.10"].advice == "recommended"
    assert rows["features.11"].advice == "a single position: cannot say where; take features.10"
    assert rows["features.12"].advice == "no height and width: no map; take features.10"
    rows = rows_of(narrow_nets["vgg16"], random_images(1))
    assert rows["features.28"].advice.endswith("take features.29")
    assert rows["features.29"].advice == "recommended" and rows["features.30"].advice == ""


def test_advice_goes_by_what_follows_not_by_what_was_made_first():
    """A batch norm, or a convolution, that no ReLU follows; and ReLUs that were declared in another order."""

    def forward(F, net, x):
        return net.out(net.last(net.third(net.second(net.first(x)))))

    net = Net(forward, third=relu(), last=conv(), out=sequence(*ending()), second=nn.BatchNorm(), first=conv())
    net, (x,) = ready(net, (1, 3, 8, 8))
    advice = {path: row.advice for path, row in rows_of(net, x).items()}
    assert advice["second"] == "before its ReLU: what a channel lacks counts as evidence too; take third"
    assert advice["first"] == advice["third"] == "" and advice["last"] == "recommended"
    assert list(advice)[:4] == ["first", "second", "third", "last"]


def test_nothing_is_recommended_where_there_is_no_map():
    net, (x,) = ready(sequence(nn.Dense(4), nn.Dense(3)), (1, 3, 8, 8))
    table = cam.layers(net, x)
    assert [row.advice for row in table] == ["no height and width: no map"] * 2
    assert str(table).endswith("recommended: none; choose one with height and width")


def test_printed(narrow_resnet):
    lines = str(cam.layers(narrow_resnet, random_images(1, 64))).splitlines()
    assert lines[0].split() == ["layer", "kind", "output", "whole", "advice"]
    assert len({line.index("1x") for line in lines[1:-1]}) == 1
    assert lines[-1] == "recommended: features.10"


# ----------------------------------------------------------------------------------------------------- the default


CUT = {
    "Flatten, Dense": lambda: (nn.Flatten(), nn.Dense(3)),
    "Dense": lambda: (nn.Dense(3),),
    "a mean by a function": lambda: (nn.HybridLambda(lambda F, z: F.mean(z, axis=(2, 3))), nn.Dense(3)),
}


@pytest.mark.parametrize("head", CUT)
def test_the_zoos_features_with_another_head(head):
    """Fine-tuned as the tutorials do: the last stage, never the stem."""
    net = sequence(*list(vision.resnet18_v1(classes=3).features._children.values())[:-1], *CUT[head]())
    net.initialize()
    x = random_images(1, 64)
    net(x)
    assert cam.default_layer(net, x) == "7"
    assert cam.grad_cam(randomise(net), x, relu=False).shape == (1, 2, 2)


def test_a_block_that_is_recommended_is_taken():
    """One ReLU block used twice, the usual way to write a net."""

    def forward(F, net, x):
        return net.out(net.pool(net.relu(net.c2(net.relu(net.c1(x))))))

    net = Net(forward, c1=conv(), c2=conv(), relu=relu(), pool=nn.GlobalAvgPool2D(), out=nn.Dense(3))
    net, (x,) = ready(net, (1, 3, 16, 16))
    (recommended,) = [row.path for row in cam.layers(net, x) if row.advice == "recommended"]
    assert recommended == "relu#2" == cam.default_layer(net, x)
    expected = cam.grad_cam(net, x, layer=recommended, relu=False)
    assert np.array_equal(cam.grad_cam(net, x, relu=False), expected) and expected.any()


def test_the_default_goes_by_the_size():
    """A map of a single position is none, so for small pictures an earlier one is taken."""
    net, (x,) = ready(sequence(conv(), nn.MaxPool2D(4), conv(), nn.MaxPool2D(4), conv(), nn.Dense(3)), (1, 3, 32, 32))
    assert cam.default_layer(net, x) == "4"
    net, (x,) = ready(sequence(conv(), nn.MaxPool2D(4), conv(), nn.MaxPool2D(4), conv(), nn.Dense(3)), (1, 3, 16, 16))
    assert cam.default_layer(net, x) == "2"
    assert rows_of(net, x)["4"].advice == "a single position: cannot say where; take 2"


def test_without_an_image():
    """A black one is made that the net takes: of its channels, and of 224x224 where that fits."""
    net, _ = ready(small_net(), (1, 1, 28, 28))
    assert next(row.shape for row in cam.layers(net)) == (1, 4, 224, 224)
    net, _ = ready(sequence(conv(), relu(), nn.Dense(3)), (1, 1, 28, 28))
    assert next(row.shape for row in cam.layers(net)) == (1, 4, 28, 28)
    assert cam.default_layer(net) == "1"
    net, _ = ready(small_net(), (1, 3, 8, 8), dtype="float64")
    assert cam.default_layer(net) == "1"


def test_a_net_on_another_device():
    assert cam.default_layer(
        cam.vgg16(weights=None, width=1 / 16, ctx=mx.cpu(1)), nd.zeros((1, 3, 224, 224), mx.cpu(1))
    )


# ----------------------------------------------------------------------------------------------------------- ReLUs


def test_relus_in_the_order_in_which_they_run():
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
    assert len(cam.relus(net)) == len(cam.relus(net, output=1)) == 1


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
