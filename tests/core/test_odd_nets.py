"""Nets of every kind that people write: the layer that is taken, right numbers, or the sentence that refuses them.

In `GIVES` a name is followed by the net, the layer that is recommended, and what is not usual about it. Each net's
logits are compared with its own prediction, its gradients with differences of its own forward in float64, or with
MXNet's tape where MXNet computes an operator in float32 alone. In `REFUSES` stand the nets and inputs that cannot be
explained, and what is said.
"""

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import mxnet as mx
import numpy as np
import pytest
from conftest import relative_l2
from helpers.compare import by_tape, changed_output, fixed_statistics, slope
from helpers.nets import Net, normal, ready, sequence
from mxnet import gluon, nd
from mxnet.gluon import nn
from mxnet.gluon.contrib.nn import HybridConcurrent, Identity, PixelShuffle2D
from mxnet.gluon.model_zoo.vision import resnet

import cam
from cam import blocks, gradcam


def conv(filters=4, kernel=3, **options):
    return nn.Conv2D(filters, kernel, **{"padding": kernel // 2, **options})


def relu():
    return nn.Activation("relu")


def ending(classes=3):
    return nn.GlobalAvgPool2D(), nn.Dense(classes)


def plain(function, *rest, **children):
    """conv, then a function as a block, then an ending."""
    return sequence(conv(), Net(function, **children), *rest, *ending())


@dataclass
class Odd:
    """A net that works.

    Attributes
    ----------
    build : makes it
    layer : the recommended one; counted prefixes of Gluon's names without their numbers
    shapes : of its inputs
    by : what the gradients are compared with
    step : of the differences; larger where MXNet computes an operator in float32 alone
    says : what it is warned of
    logits : from what the net returns to its logits, up to one number for each image
    output : which output is explained
    hybridize : whether the net is hybridized
    """

    build: Callable
    layer: str
    shapes: list = field(default_factory=lambda: [(2, 3, 8, 8)])
    by: str = "differences"
    step: float = 1e-6
    says: str | None = None
    logits: Callable = lambda returned: returned
    output: int | None = None
    hybridize: bool = False


def logit(p):
    return np.log(p / (1 - p))


ENDS_IN = "the net ends in {}: the logits before it are explained"


def ends_in(kind, function, logits=np.log, classes=3):
    def build():
        return Net(lambda F, net, x: function(F, net.net(x)), net=sequence(conv(), relu(), *ending(classes)))

    return Odd(build, "net.1", says=ENDS_IN.format(kind), logits=logits)


def added(net, *children):
    net.add(*children)
    return net


def residual(function=lambda F, net, x: x + net.conv(x), **children):
    return Net(function, **{"conv": conv(), **children})


def shared_parameters():
    first = conv(in_channels=4)
    return sequence(conv(), first, relu(), conv(in_channels=4, params=first.params), *ending())


class WithConstant(gluon.HybridBlock):
    """The picture's normalisation inside the net, as parameters that are not learned."""

    def __init__(self):
        super().__init__()
        self.mean = self.params.get_constant("mean", nd.array([[[[0.1]], [[0.2]], [[0.3]]]]))
        self.body = sequence(conv(), relu(), *ending())

    def hybrid_forward(self, F, x, mean):
        return self.body(F.broadcast_sub(x, mean))


class WithScale(gluon.HybridBlock):
    """A learned number for each channel, the layer scale of newer nets."""

    def __init__(self):
        super().__init__()
        self.scale = self.params.get("scale", shape=(1, 4, 1, 1))
        self.conv = conv()

    def hybrid_forward(self, F, x, scale):
        return x + F.broadcast_mul(scale, self.conv(x))


def symbol_block():
    data = mx.sym.var("data")
    body = mx.sym.relu(mx.sym.Convolution(data, num_filter=4, kernel=(3, 3), name="c"), name="r")
    return gluon.SymbolBlock(mx.sym.Pooling(body, kernel=(2, 2), stride=(2, 2), name="p"), data)


def imported(tmp="net"):
    import tempfile

    net, (x,) = ready(sequence(conv(), relu(), nn.MaxPool2D(), conv(), relu(), *ending()), (2, 3, 8, 8))
    net.hybridize()
    net(x)
    with tempfile.TemporaryDirectory() as folder:
        net.export(f"{folder}/net")
        return gluon.SymbolBlock.imports(f"{folder}/net-symbol.json", ["data"], f"{folder}/net-0000.params")


def attention(F, net, x):
    """Every position looks at every other."""
    keys, values = (F.reshape(one(x), (0, 0, -1)) for one in (net.keys, net.values))  # (N, K, h w)
    weights = F.softmax(F.batch_dot(keys, keys, transpose_a=True), axis=2)
    return x + F.reshape_like(F.batch_dot(values, weights, transpose_b=True), x)


def shuffle(F, net, x):
    x = F.reshape(x, (0, -4, 2, -1, -2))
    return F.reshape(F.swapaxes(x, 1, 2), (0, -3, -2))


def squeeze_and_excite(F, net, x):
    weights = F.sigmoid(net.up(F.relu(net.down(F.mean(x, axis=(2, 3))))))
    return F.broadcast_mul(x, F.reshape(weights, (0, 0, 1, 1)))


def hard_swish(F, net, x):
    return x * F.clip(x + 3, 0, 6) / 6


def equal_names():
    """Two blocks that were given the same prefix."""
    return sequence(
        conv(prefix="c_"),
        relu(),
        conv(in_channels=4, use_bias=False, prefix="d_"),
        Net(lambda F, net, x: F.relu(x, name="same")),
        Net(lambda F, net, x: F.tanh(x, name="same")),
        *ending(),
    )


def transformer():
    """A small vision transformer: only its patches are a map."""

    def forward(F, net, x):
        x = F.transpose(F.reshape(net.patches(x), (0, 0, -1)), (0, 2, 1))  # (N, positions, K)
        a = net.norm1(x)
        x = x + net.out(F.batch_dot(F.softmax(F.batch_dot(net.query(a), net.key(a), transpose_b=True)), net.value(a)))
        return net.head(F.mean(x, axis=1))

    dense = {name: nn.Dense(6, flatten=False) for name in ("query", "key", "value", "out")}
    return Net(forward, patches=nn.Conv2D(6, 2, 2), norm1=nn.LayerNorm(), head=nn.Dense(3), **dense)


def u_net():
    def forward(F, net, x):
        down = F.relu(net.down(x))
        low = F.relu(net.low(F.Pooling(down, kernel=(2, 2), stride=(2, 2), pool_type="max")))
        return net.out(F.relu(net.up(F.concat(F.UpSampling(low, scale=2, sample_type="nearest"), down, dim=1))))

    return Net(forward, down=conv(), low=conv(), up=conv(), out=sequence(*ending()))


def pyramid():
    """A detector's two levels, each with a score of its own, that are added up."""

    def forward(F, net, x):
        fine = F.relu(net.fine(x))
        coarse = F.relu(net.coarse(fine))
        return net.out(net.gap(fine + F.UpSampling(net.lateral(coarse), scale=2, sample_type="nearest")))

    children = {"fine": conv(), "coarse": conv(strides=2), "lateral": conv(kernel=1)}
    return Net(forward, gap=nn.GlobalAvgPool2D(), out=nn.Dense(3), **children)


def lstm():
    """Rows of the map, one after another."""

    def forward(F, net, x):
        rows = F.reshape(F.transpose(F.relu(net.conv(x)), (2, 0, 1, 3)), (0, 0, -1))  # (h, N, K w)
        return net.out(F.SequenceLast(net.lstm(rows)))

    return Net(forward, conv=conv(), lstm=gluon.rnn.LSTM(5), out=nn.Dense(3))


def resnext():
    """A block of GluonCV's SE-ResNeXt: groups, a gate, a shortcut with a convolution."""

    def forward(F, net, x):
        return F.Activation(net.gate(net.body(x)) + net.shortcut(x), act_type="relu")

    gate = Net(squeeze_and_excite, down=nn.Dense(2), up=nn.Dense(6))
    body = sequence(conv(6, 1), nn.BatchNorm(), relu(), conv(6, groups=3), nn.BatchNorm())
    return sequence(
        conv(), Net(forward, body=body, gate=gate, shortcut=sequence(conv(6, 1), nn.BatchNorm())), *ending()
    )


def dynamic(F, net, x):
    """The weights of a convolution depend on the image."""
    weight = F.reshape(F.mean(F.tanh(net.weights(x)), axis=(0, 2, 3)), (2, 4, 1, 1))
    return F.Convolution(x, weight, kernel=(1, 1), num_filter=2, no_bias=True)


def two_heads(F, net, x):
    x = F.relu(net.conv(x))
    return net.first(F.mean(x, axis=(2, 3))), net.second(F.max(net.conv2(x), axis=(2, 3)))


def two_headed():
    return Net(two_heads, conv=conv(), conv2=conv(), first=nn.Dense(3), second=nn.Dense(2))


def drop_path(F, net, x):
    """As in GluonCV: whole samples of the branch are dropped in training, nothing in prediction."""
    return x + F.Dropout(net.conv(x), p=0.5, axes=(1, 2, 3))


def two_names():
    net = sequence(conv(), relu(), *ending())
    net.last = net[1]
    return net


def hybrid_child():
    net = sequence(conv(), relu(), conv(), *ending())
    net[2].hybridize()
    return net


GIVES = {
    # --- what a net is made of
    "nested sequences": Odd(lambda: sequence(sequence(conv(), sequence(relu(), nn.MaxPool2D())), sequence(*ending())), "0.1.0"),
    "a plain Sequential of hybrid blocks": Odd(lambda: added(nn.Sequential(), conv(), relu(), *ending()), "1"),
    "HybridLambda by name and by function": Odd(lambda: sequence(conv(), nn.HybridLambda("relu"), nn.HybridLambda(lambda F, x: F.tanh(x)), *ending()), "2"),
    "a SymbolBlock": Odd(symbol_block, "r"),
    "a SymbolBlock below blocks": Odd(lambda: sequence(symbol_block(), conv(), *ending()), "1"),
    "exported and imported": Odd(imported, "hybridsequential_activation1"),
    "hybridized": Odd(lambda: sequence(conv(), relu(), *ending()), "1", hybridize=True),
    "a hybridized child": Odd(hybrid_child, "2"),
    "a block that runs twice": Odd(lambda: Net(lambda F, net, x: net.out(net.relu(net.two(net.relu(net.one(x))))), one=conv(), two=conv(), relu=relu(), out=sequence(*ending())), "relu#2"),
    "a block with two names": Odd(two_names, "1"),
    "shared parameters": Odd(shared_parameters, "3"),
    "a Constant parameter": Odd(WithConstant, "body.1"),
    "a parameter that is no block's": Odd(lambda: sequence(conv(), WithScale(), *ending()), "1"),
    "equal names": Odd(equal_names, "4"),
    "a block that returns its input": Odd(lambda: sequence(conv(), relu(), residual(lambda F, net, x: net.short(x) + net.conv(x), short=Identity()), *ending()), "2"),
    "an identity at the end": Odd(lambda: sequence(conv(), relu(), Identity(), *ending()), "1"),
    "DropPath": Odd(lambda: sequence(conv(), residual(drop_path), relu(), *ending()), "2"),
    "Dropout": Odd(lambda: sequence(conv(), relu(), nn.Dropout(0.5), *ending()), "1"),
    "two inputs": Odd(lambda: Net(lambda F, net, x, z: net.out(F.concat(net.gap(F.relu(net.conv(x))).flatten(), net.dense(z))), conv=conv(), gap=nn.GlobalAvgPool2D(), dense=nn.Dense(2), out=nn.Dense(3)), "conv", [(2, 3, 8, 8), (2, 5)]),
    "the first of two outputs": Odd(two_headed, "net_relu0", output=0),
    "the second of two outputs": Odd(two_headed, "conv2", output=1),
    "outputs in a list in a tuple": Odd(lambda: Net(lambda F, net, x: (net.a(x), [net.b(x)]), a=sequence(conv(), *ending()), b=sequence(conv(), *ending(2))), "b.0", output=1),
    # --- ReLU in MXNet's five spellings, and its relatives
    "Activation": Odd(lambda: plain(lambda F, net, x: F.Activation(x, act_type="relu")), "1"),
    "relu": Odd(lambda: plain(lambda F, net, x: F.relu(x)), "1"),
    "maximum with 0": Odd(lambda: plain(lambda F, net, x: F.maximum(x, 0)), "1"),
    "clip": Odd(lambda: plain(lambda F, net, x: F.clip(x, 0, 6)), "1"),
    "LeakyReLU of slope 0": Odd(lambda: plain(lambda F, net, x: F.LeakyReLU(x, slope=0)), "1"),
    "x * (x > 0)": Odd(lambda: plain(lambda F, net, x: x * (x > 0)), "1"),
    "LeakyReLU": Odd(lambda: sequence(conv(), nn.LeakyReLU(0.1), *ending()), "1", by="tape"),
    "PReLU": Odd(lambda: sequence(conv(), nn.PReLU(), *ending()), "1", by="tape"),
    "ELU": Odd(lambda: sequence(conv(), nn.ELU(), *ending()), "1", by="tape"),
    "SELU": Odd(lambda: sequence(conv(), nn.SELU(), *ending()), "1", step=1e-3),
    "GELU": Odd(lambda: sequence(conv(), nn.GELU(), *ending()), "1", by="tape"),
    "Swish": Odd(lambda: sequence(conv(), nn.Swish(), *ending()), "1"),
    "hard swish": Odd(lambda: plain(hard_swish), "1"),
    # --- normalisation
    "BatchNorm": Odd(lambda: sequence(nn.BatchNorm(scale=False, center=False), conv(), nn.BatchNorm(), relu(), *ending()), "3"),
    "LayerNorm": Odd(lambda: sequence(conv(), nn.LayerNorm(axis=1), relu(), *ending()), "2"),
    "GroupNorm": Odd(lambda: sequence(conv(), nn.GroupNorm(2), relu(), *ending()), "2", by="tape"),
    "InstanceNorm": Odd(lambda: sequence(conv(), nn.InstanceNorm(), relu(), *ending()), "2", by="tape"),
    "LRN": Odd(lambda: plain(lambda F, net, x: F.LRN(x, nsize=3), relu()), "2", by="tape"),
    "L2Normalization": Odd(lambda: plain(lambda F, net, x: F.L2Normalization(x, mode="channel")), "1", by="tape"),
    # --- convolutions, poolings, sizes
    "a dilated convolution": Odd(lambda: sequence(conv(dilation=2, padding=2), relu(), *ending()), "1"),
    "dilation and stride": Odd(lambda: sequence(conv(dilation=2, strides=2), relu(), *ending()), "1"),
    "groups and depthwise": Odd(lambda: sequence(conv(6), conv(6, groups=3), conv(6, groups=6), *ending()), "2"),
    "a transposed convolution": Odd(lambda: sequence(conv(strides=2), nn.Conv2DTranspose(4, 2, 2), relu(), *ending()), "2"),
    "1-D": Odd(lambda: sequence(nn.Conv1D(4, 3), relu(), nn.MaxPool1D(), nn.GlobalAvgPool1D(), nn.Dense(3)), "1", [(2, 3, 12)]),
    "3-D": Odd(lambda: sequence(nn.Conv3D(3, 2), relu(), nn.MaxPool3D(), nn.GlobalAvgPool3D(), nn.Dense(3)), "1", [(1, 2, 5, 5, 5)]),
    "ceil_mode": Odd(lambda: sequence(conv(), nn.MaxPool2D(3, 2, ceil_mode=True), conv(), nn.AvgPool2D(3, 2, ceil_mode=True), relu(), nn.Dense(3)), "4"),
    "poolings that overlap": Odd(lambda: sequence(conv(), nn.MaxPool2D(3, 2, 1), conv(), nn.AvgPool2D(3, 1, 1, count_include_pad=False), nn.Dense(3)), "2"),
    "a global maximum": Odd(lambda: sequence(conv(), relu(), nn.GlobalMaxPool2D(), nn.Dense(3)), "1"),
    "a mean in place of the pooling": Odd(lambda: Net(lambda F, net, x: net.out(F.mean(F.relu(net.conv(x)), axis=(2, 3))), conv=conv(), out=nn.Dense(3)), "net_relu0"),
    "adaptive pooling": Odd(lambda: sequence(conv(), relu(), nn.HybridLambda(lambda F, x: F.contrib.AdaptiveAvgPooling2D(x, output_size=1)), nn.Dense(3)), "1", by="tape"),
    "no pooling": Odd(lambda: sequence(conv(), relu(), nn.Dense(3)), "1"),
    "a convolution in place of the Dense": Odd(lambda: sequence(conv(), relu(), conv(3, 1), nn.GlobalAvgPool2D(), nn.Flatten()), "2"),
    "one channel": Odd(lambda: sequence(conv(), relu(), *ending()), "1", [(2, 1, 8, 8)]),
    "nine channels": Odd(lambda: sequence(conv(), relu(), *ending()), "1", [(2, 9, 8, 8)]),
    "reflected edges": Odd(lambda: sequence(nn.ReflectionPad2D(1), conv(padding=0), relu(), *ending()), "2", by="tape"),
    "bilinear resizing": Odd(lambda: plain(lambda F, net, x: F.contrib.BilinearResize2D(x, height=5, width=6)), "1", by="tape"),
    "PixelShuffle": Odd(lambda: sequence(conv(8), PixelShuffle2D(2), conv(), *ending()), "2"),
    # --- how the steps are joined
    "a residual block": Odd(lambda: sequence(conv(), residual(), relu(), *ending()), "2"),
    "the zoo's residual blocks": Odd(lambda: sequence(conv(), resnet.BasicBlockV2(4, 1), resnet.BottleneckV1(8, 2, True), *ending()), "2"),
    "blocks beside each other": Odd(lambda: sequence(conv(), added(HybridConcurrent(axis=1), conv(), conv(kernel=1), Identity()), *ending()), "1"),
    "a map added to itself": Odd(lambda: plain(lambda F, net, x: x + x), "1"),
    "a sum of three": Odd(lambda: plain(lambda F, net, x: F.add_n(x, net.a(x), net.b(x)), a=conv(), b=conv()), "1"),
    "a split, both halves used": Odd(lambda: plain(lambda F, net, x: F.concat(net.a(F.split(x, 2)[0]), F.split(x, 2)[1], dim=1), a=conv()), "1"),
    "a split, one half used": Odd(lambda: plain(lambda F, net, x: F.relu(F.split(x, 2)[1])), "1"),
    "a gate": Odd(lambda: plain(lambda F, net, x: x * F.sigmoid(net.gate(x)), gate=conv()), "1"),
    "squeeze and excite": Odd(lambda: plain(squeeze_and_excite, relu(), down=nn.Dense(2), up=nn.Dense(4)), "2"),
    "attention between positions": Odd(lambda: plain(attention, keys=conv(2, 1), values=conv(4, 1)), "1"),
    "weights that depend on the image": Odd(lambda: plain(dynamic, weights=conv(8)), "1"),
    "a channel shuffle": Odd(lambda: plain(shuffle, conv(), relu()), "3"),
    "channels last and back": Odd(lambda: plain(lambda F, net, x: F.transpose(net.dense(F.transpose(x, (0, 2, 3, 1))), (0, 3, 1, 2)), relu(), dense=nn.Dense(5, flatten=False)), "0"),
    "turned and back": Odd(lambda: plain(lambda F, net, x: F.transpose(F.tanh(F.transpose(x, (0, 1, 3, 2))), (0, 1, 3, 2))), "1"),
    "a stopped gradient beside an open one": Odd(lambda: plain(lambda F, net, x: x + F.BlockGrad(net.conv(x)), conv=conv()), "1"),
    "a U-Net": Odd(u_net, "net_relu2"),
    "a feature pyramid": Odd(pyramid, "net__plus0"),
    "a block of SE-ResNeXt": Odd(resnext, "1"),
    "a vision transformer": Odd(transformer, "patches"),
    "an LSTM": Odd(lstm, "net_relu0", by="tape"),
    # --- the blocks of this package
    "ReLU, Conv2D, Add, GlobalAvgPool2D": Odd(lambda: sequence(blocks.Conv2D(4, 3, padding=1), blocks.ReLU(), Net(lambda F, net, x: net.add(net.conv(x), x), conv=blocks.Conv2D(4, 3, padding=1), add=blocks.Add()), blocks.ReLU("guided"), blocks.GlobalAvgPool2D(), nn.Dense(3)), "3"),
    "the tutorial's blocks": Odd(lambda: sequence(gradcam.Conv2D(4, 3), gradcam.Activation("relu"), nn.MaxPool2D(), gradcam.Conv2D(4, 3), gradcam.Activation("relu"), nn.Dense(3)), "4"),
    # --- endings
    "softmax": ends_in("softmax", lambda F, z: F.softmax(z)),
    "log_softmax": ends_in("softmax", lambda F, z: F.log_softmax(z), lambda returned: returned),
    "sigmoid": ends_in("sigmoid", lambda F, z: F.sigmoid(z), logit),
    "a sigmoid activation": ends_in("sigmoid", lambda F, z: F.Activation(z, act_type="sigmoid"), logit),
    "SoftmaxActivation": ends_in("softmax", lambda F, z: F.SoftmaxActivation(z)),
    "SoftmaxOutput": ends_in("softmax", lambda F, z: F.SoftmaxOutput(z, F.zeros_like(F.mean(z, axis=1)))),
    "LogisticRegressionOutput": ends_in("sigmoid", lambda F, z: F.LogisticRegressionOutput(z, F.zeros_like(z)), logit),
    "softmax, then a reshape": ends_in("softmax", lambda F, z: F.reshape(F.softmax(z), (-1, 3))),
    "softmax, then a Cast": ends_in("softmax", lambda F, z: F.cast(F.softmax(z), "float64")),
    "the probability of one class": ends_in("sigmoid", lambda F, z: F.sigmoid(z), logit, classes=1),
    "one output": Odd(lambda: sequence(conv(), relu(), *ending(1)), "1"),
}  # fmt: skip


def without_counts(name):
    """Gluon's names without the numbers that depend on what was built before."""
    return re.sub(r"\d+_", "_", name)


@pytest.mark.parametrize("name", GIVES)
def test_gives(name):
    odd = GIVES[name]
    net, inputs = ready(odd.build(), *odd.shapes, dtype="float64" if odd.by == "differences" else "float32")
    fixed_statistics(net)
    if odd.hybridize:
        net.hybridize()
    x = inputs if len(inputs) > 1 else inputs[0]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", cam.CamWarning)
        recording = cam.record(net, x, output=odd.output)
    assert [str(one.message) for one in caught] == ([odd.says] if odd.says else [])
    assert [without_counts(layer) for layer in recording.layers] == [odd.layer]
    assert recording.features().shape[0] == len(inputs[0])

    net.hybridize(False)
    logits = Logits(odd, net)
    head = centred(normal(7, recording.logits.shape)[0])
    assert np.allclose(centred(recording.logits), centred(logits(inputs)), rtol=1e-5, atol=1e-6)
    (layer,) = recording.layers
    target = weighted(nd.array(head, dtype=inputs[0].dtype))
    image, at_layer = recording.image_gradient(target=target), recording.gradient(target=target)
    block = cam.paths(net).get(layer)  # None for a step that is no block's, or one run of several
    if odd.by == "tape":
        expected = by_tape(net, inputs, nd.array(head), block)
        assert relative_l2(image, expected[0]) < 1e-5
        assert block is None or relative_l2(at_layer, expected[-1]) < 1e-5
    else:
        logits.check(image, inputs[0].asnumpy(), inputs, head, None)
        if block is not None:
            logits.check(at_layer, recording.features(), inputs, head, block)


class Logits:
    """The logits by the net's own forward, and the slopes of a weighted sum of them."""

    def __init__(self, odd, net):
        self.odd, self.net = odd, net

    def __call__(self, inputs):
        returned = self.net(*inputs)
        if self.odd.output is not None:
            flat = [one for part in returned for one in (part if isinstance(part, list) else [part])]
            returned = flat[self.odd.output]
        return self.odd.logits(returned.asnumpy())

    def check(self, gradient, values, inputs, head, block):
        """The gradient at the image, or at a block's output, along a random direction."""
        direction = normal(8, gradient.shape)[0] * (values != 0)  # zeros may be at a tie of a pooling: no derivative
        step = nd.array(direction, dtype=inputs[0].dtype)

        def moved(by):
            if block is None:
                return (head * self([inputs[0] + by * step, *inputs[1:]])).sum()
            with changed_output(block, lambda output: output + by * step):
                return (head * self(inputs)).sum()

        numeric, exact = slope(moved, self.odd.step), (gradient * direction).sum()
        scale = np.linalg.norm(gradient * direction)
        assert scale > 0
        assert abs(numeric - exact) < max(1e-5, self.odd.step) * scale


def centred(logits):
    """Softmax does not tell a number that is added to all of an image's logits."""
    return logits - logits.mean(axis=1, keepdims=True) if logits.shape[1] > 1 else logits


def weighted(head):
    return lambda logits: (logits * head).sum(axis=1)
