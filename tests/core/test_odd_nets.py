"""Nets of every kind that people write: which layer is taken, and that the numbers are right.

In `GIVES` a name is followed by the net, the layer that is recommended, and what is not usual about it. Each net's
logits are compared with its own prediction, its gradients with differences of its own forward in float64, or with
MXNet's tape where MXNet computes an operator in float32 alone. What cannot be explained is in test_refusals.py.
"""

import re
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import cam
from cam import blocks, gradcam

import mxnet as mx
import numpy as np
import pytest
from conftest import relative_l2
from helpers.compare import by_tape, changed_output, fixed_statistics, slope
from helpers.nets import (
    Net,
    added,
    conv,
    ending,
    function,
    normal,
    ready,
    relu,
    sequence,
    small_net,
    two_heads,
)
from mxnet import gluon, nd
from mxnet.gluon import nn
from mxnet.gluon.contrib.nn import HybridConcurrent, Identity, PixelShuffle2D
from mxnet.gluon.model_zoo.vision import resnet


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
    logits : the part of the net that returns its logits
    output : which output is explained
    hybridize : whether the net is hybridized
    """

    build: Callable
    layer: str
    shapes: list = field(default_factory=lambda: [(2, 3, 8, 8)])
    by: str = "differences"
    step: float = 1e-6
    says: str | None = None
    logits: Callable = lambda net: net
    output: int | None = None
    hybridize: bool = False


def after_conv(forward, *rest, **children):
    """conv, then a function F, net, x as a block, then an ending."""
    return sequence(conv(), Net(forward, **children), *rest, *ending())


def activated(activation):
    return sequence(conv(), activation, *ending())


def residual(forward=lambda F, net, x: x + net.conv(x), **children):
    return Net(forward, **{"conv": conv(), **children})


def ends_in(kind, end, classes=3, **options):
    """A net that does not return its logits; they are its block `net`'s."""

    def build():
        return Net(lambda F, net, x: end(F, net.net(x)), net=sequence(conv(), relu(), *ending(classes)))

    says = f"the net ends in {kind}: the logits before it are explained"
    return Odd(build, "net.1", says=says, logits=lambda net: net.net, **options)


# ------------------------------------------------------------------------------------------- what a net is made of


def symbol_block():
    data = mx.sym.var("data")
    body = mx.sym.relu(mx.sym.Convolution(data, num_filter=4, kernel=(3, 3), name="c"), name="r")
    return gluon.SymbolBlock(mx.sym.Pooling(body, kernel=(2, 2), stride=(2, 2), name="p"), data)


def imported():
    net, (x,) = ready(sequence(conv(), relu(), nn.MaxPool2D(), conv(), relu(), *ending()), (2, 3, 8, 8))
    net.hybridize()
    net(x)
    with tempfile.TemporaryDirectory() as folder:
        net.export(f"{folder}/net")
        return gluon.SymbolBlock.imports(f"{folder}/net-symbol.json", ["data"], f"{folder}/net-0000.params")


def labelled(loss):
    """As a module ends, whose predictions need no label."""
    logits = mx.sym.FullyConnected(symbol_block()._cached_graph[1], num_hidden=3, name="f")
    return gluon.SymbolBlock(getattr(mx.sym, loss)(logits, name="end"), mx.sym.var("data"))


def hybrid_child():
    net = sequence(conv(), relu(), conv(), *ending())
    net[2].hybridize()
    return net


def runs_twice():
    """The usual way to write a net: one ReLU block for all."""

    def forward(F, net, x):
        return net.out(net.relu(net.two(net.relu(net.one(x)))))

    return Net(forward, one=conv(), two=conv(), relu=relu(), out=sequence(*ending()))


def two_names():
    net = Net(lambda F, net, x: net.out(net.features(x)), features=sequence(conv(), relu()), out=sequence(*ending()))
    net.last = net.features[1]
    return net


def shared_parameters():
    first = conv(in_channels=4)
    return sequence(conv(), first, relu(), conv(in_channels=4, params=first.params), *ending())


class WithConstant(gluon.HybridBlock):
    """The picture's normalisation inside the net, as parameters that are not learned."""

    def __init__(self):
        super().__init__()
        self.mean = self.params.get_constant("mean", nd.array([[[[0.1]], [[0.2]], [[0.3]]]]))
        self.body = small_net()

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


class Named(NamedTuple):
    features: object
    image: object


def first_name(F, named):
    return F.relu(named.features)


def as_one_channel():
    return function(lambda F, x: F.expand_dims(x, 1))


def frames():
    """A film's frames go through the net as so many images, and their logits are averaged."""

    def forward(F, net, x):
        logits = net.out(net.body(F.reshape(x, (-3, 0, 0, 0))))
        return F.mean(F.reshape(logits, (-4, -1, 2, 0)), axis=1)

    return Net(forward, body=sequence(conv(), relu()), out=sequence(*ending()))


def equal_names():
    """Two operators that were given the same name."""
    same = [function(lambda F, x: F.relu(x, name="same")), function(lambda F, x: F.tanh(x, name="same"))]
    return sequence(conv(), *same, *ending())


def numbers_beside_the_image():
    def forward(F, net, x, numbers):
        return net.out(F.concat(F.mean(F.relu(net.conv(x)), axis=(2, 3)), net.dense(numbers)))

    return Net(forward, conv=conv(), dense=nn.Dense(2), out=nn.Dense(3))


def two_images():
    """One tower for both."""

    def forward(F, net, x, z):
        return net.out(F.concat(F.mean(net.tower(x), axis=(2, 3)), F.mean(net.tower(z), axis=(2, 3))))

    return Net(forward, tower=sequence(conv(), relu()), out=nn.Dense(3))


def outputs_in_a_list():
    first, second = sequence(conv(), *ending()), sequence(conv(), *ending(2))
    return Net(lambda F, net, x: (net.first(x), [net.second(x)]), first=first, second=second)


# ------------------------------------------------------------------------------------------- how its steps are joined


def squeeze_and_excite(F, net, x):
    weights = F.sigmoid(net.up(F.relu(net.down(F.mean(x, axis=(2, 3))))))
    return F.broadcast_mul(x, F.reshape(weights, (0, 0, 1, 1)))


def attention(F, net, x):
    """Every position looks at every other."""
    keys, values = (F.reshape(one(x), (0, 0, -1)) for one in (net.keys, net.values))  # (N, K, h w)
    weights = F.softmax(F.batch_dot(keys, keys, transpose_a=True), axis=2)
    return x + F.reshape_like(F.batch_dot(values, weights, transpose_b=True), x)


def dynamic(F, net, x):
    """The weights of a convolution depend on the image."""
    weight = F.reshape(F.mean(F.tanh(net.weights(x)), axis=(0, 2, 3)), (2, 4, 1, 1))
    return F.Convolution(x, weight, kernel=(1, 1), num_filter=2, no_bias=True)


def one_half(F, net, x):
    first, second = F.split(x, 2)
    return F.concat(net.conv(first), second, dim=1)


def drop_path(F, net, x):
    """As in GluonCV: whole samples of the branch are dropped in training, nothing in prediction."""
    return x + F.Dropout(net.conv(x), p=0.5, axes=(1, 2, 3))


def shuffle(F, net, x):
    """ShuffleNet's: the channels of two groups in turn."""
    x = F.reshape(x, (0, -4, 2, -1, -2))
    return F.reshape(F.swapaxes(x, 1, 2), (0, -3, -2))


def channels_last(F, net, x):
    return F.transpose(net.dense(F.transpose(x, (0, 2, 3, 1))), (0, 3, 1, 2))


def pooled_channels_last(F, x):
    return F.Pooling(F.transpose(x, (0, 2, 3, 1)), layout="NHWC", global_pool=True, pool_type="avg", kernel=(1, 1))


def turned(F, net, x):
    return F.transpose(F.tanh(F.transpose(x, (0, 1, 3, 2))), (0, 1, 3, 2))


def beside():
    return added(HybridConcurrent(axis=1), conv(), conv(kernel=1), Identity())


def u_net():
    def forward(F, net, x):
        down = F.relu(net.down(x))
        low = F.relu(net.low(F.Pooling(down, kernel=(2, 2), stride=(2, 2), pool_type="max")))
        return net.out(F.relu(net.up(F.concat(F.UpSampling(low, scale=2, sample_type="nearest"), down, dim=1))))

    return Net(forward, down=conv(), low=conv(), up=conv(), out=sequence(*ending()))


def pyramid():
    """A detector's two levels, added up."""

    def forward(F, net, x):
        fine = F.relu(net.fine(x))
        coarse = net.lateral(F.relu(net.coarse(fine)))
        return net.out(F.mean(fine + F.UpSampling(coarse, scale=2, sample_type="nearest"), axis=(2, 3)))

    return Net(forward, fine=conv(), coarse=conv(strides=2), lateral=conv(kernel=1), out=nn.Dense(3))


def se_resnext():
    """A block of GluonCV's: groups, a gate, a shortcut with a convolution."""

    def forward(F, net, x):
        return F.Activation(net.gate(net.body(x)) + net.shortcut(x), act_type="relu")

    gate = Net(squeeze_and_excite, down=nn.Dense(2), up=nn.Dense(6))
    body = sequence(conv(6, 1), nn.BatchNorm(), relu(), conv(6, groups=3), nn.BatchNorm())
    return sequence(
        conv(), Net(forward, body=body, gate=gate, shortcut=sequence(conv(6, 1), nn.BatchNorm())), *ending()
    )


def transformer():
    """A small vision transformer: only its patches are a map."""

    def forward(F, net, x):
        x = F.transpose(F.reshape(net.patches(x), (0, 0, -1)), (0, 2, 1))  # (N, positions, K)
        a = net.norm(x)
        x = x + net.out(F.batch_dot(F.softmax(F.batch_dot(net.query(a), net.key(a), transpose_b=True)), net.value(a)))
        return net.head(F.mean(x, axis=1))

    dense = {name: nn.Dense(6, flatten=False) for name in ("query", "key", "value", "out")}
    return Net(forward, patches=nn.Conv2D(6, 2, 2), norm=nn.LayerNorm(), head=nn.Dense(3), **dense)


def lstm():
    """Rows of the map, one after another."""

    def forward(F, net, x):
        rows = F.reshape(F.transpose(F.relu(net.conv(x)), (2, 0, 1, 3)), (0, 0, -1))  # (h, N, K w)
        return net.out(F.mean(net.lstm(rows), axis=0))

    return Net(forward, conv=conv(), lstm=gluon.rnn.LSTM(5), out=nn.Dense(3))


def of_our_blocks():
    add = Net(lambda F, net, x: net.add(net.conv(x), x), conv=blocks.Conv2D(4, 3, padding=1), add=blocks.Add())
    stem = blocks.Conv2D(4, 3, padding=1), blocks.ReLU()
    return sequence(*stem, add, blocks.ReLU("guided"), blocks.GlobalAvgPool2D(), nn.Dense(3))


def of_the_tutorials_blocks():
    convolve = [gradcam.Conv2D(4, 3), gradcam.Activation("relu")]
    return sequence(*convolve, nn.MaxPool2D(), gradcam.Conv2D(4, 3), gradcam.Activation("relu"), nn.Dense(3))


GIVES = {
    # --- what a net is made of
    "nested sequences": Odd(lambda: sequence(sequence(conv(), sequence(relu(), nn.MaxPool2D())), *ending()), "0.1.0"),
    "a plain Sequential": Odd(lambda: added(nn.Sequential(), conv(), relu(), *ending()), "1"),
    "HybridLambda by name": Odd(lambda: activated(nn.HybridLambda("relu")), "1"),
    "HybridLambda by function": Odd(lambda: activated(nn.HybridLambda(lambda F, x: F.tanh(x))), "1"),
    "a SymbolBlock": Odd(symbol_block, "r"),
    "a SymbolBlock below blocks": Odd(lambda: sequence(symbol_block(), conv(), *ending()), "1"),
    "exported and imported": Odd(imported, "relu_fwd"),
    "hybridized": Odd(small_net, "1", hybridize=True),
    "a hybridized child": Odd(hybrid_child, "2"),
    "a block that runs twice": Odd(runs_twice, "relu#2"),
    "a block with two names": Odd(two_names, "features"),
    "shared parameters": Odd(shared_parameters, "3"),
    "a Constant parameter": Odd(WithConstant, "body.1"),
    "a parameter that is no block's": Odd(lambda: sequence(conv(), WithScale(), *ending()), "1"),
    "equal names": Odd(equal_names, "2"),
    "Dropout": Odd(lambda: sequence(conv(), relu(), nn.Dropout(0.5), *ending()), "1"),
    "an identity at the end": Odd(lambda: sequence(conv(), relu(), Identity(), *ending()), "1"),
    "numbers beside the image": Odd(numbers_beside_the_image, "net_relu0", [(2, 3, 8, 8), (2, 5)]),
    "two images": Odd(two_images, "tower#1", [(2, 3, 8, 8), (2, 3, 6, 6)]),
    "one number beside each image": Odd(
        lambda: Net(
            lambda F, net, x, z: net.out(F.broadcast_mul(net.conv(x), F.reshape(z, (-1, 1, 1, 1)))),
            conv=conv(),
            out=sequence(*ending()),
        ),
        "net_broadcast_mul0",
        [(2, 3, 8, 8), (2,)],
    ),
    "a named tuple of outputs": Odd(
        lambda: sequence(Net(lambda F, net, x: Named(net.conv(x), x), conv=conv()), function(first_name), *ending()),
        "1",
    ),
    "frames in the batch": Odd(frames, "body", [(2, 2, 3, 8, 8)]),
    "the first of two outputs": Odd(two_heads, "net_relu0", output=0),
    "the second of two outputs": Odd(two_heads, "conv2", output=1),
    "outputs in a list in a tuple": Odd(outputs_in_a_list, "second.0", output=1),
    "one channel": Odd(small_net, "1", [(2, 1, 8, 8)]),
    "nine channels": Odd(small_net, "1", [(2, 9, 8, 8)]),
    # --- ReLU in MXNet's five spellings, and its relatives
    "Activation": Odd(lambda: after_conv(lambda F, net, x: F.Activation(x, act_type="relu")), "1"),
    "relu": Odd(lambda: after_conv(lambda F, net, x: F.relu(x)), "1"),
    "maximum with 0": Odd(lambda: after_conv(lambda F, net, x: F.maximum(x, 0)), "1"),
    "clip": Odd(lambda: after_conv(lambda F, net, x: F.clip(x, 0, 6)), "1"),
    "clip without a top": Odd(lambda: after_conv(lambda F, net, x: F.clip(x, 0, float("inf"))), "1"),
    "LeakyReLU of slope 0": Odd(lambda: after_conv(lambda F, net, x: F.LeakyReLU(x, slope=0)), "1"),
    "x * (x > 0)": Odd(lambda: after_conv(lambda F, net, x: x * (x > 0)), "1"),
    "LeakyReLU": Odd(lambda: activated(nn.LeakyReLU(0.1)), "1", by="tape"),
    "PReLU": Odd(lambda: activated(nn.PReLU()), "1", by="tape"),
    "ELU": Odd(lambda: activated(nn.ELU()), "1", by="tape"),
    "SELU": Odd(lambda: activated(nn.SELU()), "1", step=1e-4),  # MXNet's own derivative is wrong
    "GELU": Odd(lambda: activated(nn.GELU()), "1", by="tape"),
    "Swish": Odd(lambda: activated(nn.Swish()), "1"),
    "hard swish": Odd(lambda: after_conv(lambda F, net, x: x * F.clip(x + 3, 0, 6) / 6), "1"),
    # --- normalisation
    "BatchNorm": Odd(lambda: sequence(conv(), nn.BatchNorm(), relu(), *ending()), "2"),
    "BatchNorm of the image": Odd(lambda: sequence(nn.BatchNorm(scale=False, center=False), conv(), *ending()), "1"),
    "LayerNorm": Odd(lambda: sequence(conv(), nn.LayerNorm(axis=1), relu(), *ending()), "2"),
    "GroupNorm": Odd(lambda: sequence(conv(), nn.GroupNorm(2), relu(), *ending()), "2", by="tape"),
    "InstanceNorm": Odd(lambda: sequence(conv(), nn.InstanceNorm(), relu(), *ending()), "2", by="tape"),
    "LRN": Odd(lambda: after_conv(lambda F, net, x: F.LRN(x, nsize=3)), "1", by="tape"),
    "L2Normalization": Odd(lambda: after_conv(lambda F, net, x: F.L2Normalization(x)), "1", by="tape"),
    # --- convolutions, poolings, sizes
    "dilation": Odd(lambda: sequence(conv(dilation=2, padding=2), relu(), *ending()), "1"),
    "dilation and stride": Odd(lambda: sequence(conv(dilation=2, strides=2), relu(), *ending()), "1"),
    "groups": Odd(lambda: sequence(conv(6), conv(6, groups=3), conv(6, groups=6), *ending()), "2"),
    "a transposed convolution": Odd(lambda: sequence(conv(strides=2), nn.Conv2DTranspose(4, 2, 2), *ending()), "1"),
    "1-D": Odd(lambda: sequence(nn.Conv1D(4, 3), relu(), nn.MaxPool1D(), nn.Dense(3)), "1", [(2, 3, 12)]),
    "a waveform (N, L)": Odd(
        lambda: sequence(as_one_channel(), nn.Conv1D(4, 3), relu(), nn.GlobalAvgPool1D(), nn.Dense(3)), "2", [(2, 12)]
    ),
    "a spectrogram (N, T, F)": Odd(lambda: sequence(as_one_channel(), conv(), relu(), *ending()), "2", [(2, 9, 8)]),
    "3-D": Odd(lambda: sequence(nn.Conv3D(3, 2), relu(), nn.MaxPool3D(), nn.Dense(3)), "1", [(1, 2, 5, 5, 5)]),
    "3-D, then 2-D": Odd(
        lambda: sequence(nn.Conv3D(4, 3), function(lambda F, x: F.squeeze(x, axis=2)), conv(), relu(), *ending()),
        "3",
        [(2, 3, 3, 6, 6)],
    ),
    "ceil_mode": Odd(lambda: sequence(conv(), nn.MaxPool2D(3, 2, ceil_mode=True), conv(), nn.Dense(3)), "2"),
    "poolings that overlap": Odd(lambda: sequence(conv(), nn.MaxPool2D(3, 2, 1), conv(), nn.Dense(3)), "2"),
    "an average without the edge": Odd(
        lambda: sequence(conv(), nn.AvgPool2D(3, 1, 1, count_include_pad=False), conv(), nn.Dense(3)), "2"
    ),
    "a global maximum": Odd(lambda: sequence(conv(), relu(), nn.GlobalMaxPool2D(), nn.Dense(3)), "1"),
    "a mean for the pooling": Odd(
        lambda: sequence(conv(), relu(), function(lambda F, x: F.mean(x, axis=(2, 3))), nn.Dense(3)), "1"
    ),
    "adaptive pooling": Odd(
        lambda: sequence(conv(), function(lambda F, x: F.contrib.AdaptiveAvgPooling2D(x)), nn.Dense(3)), "0", by="tape"
    ),
    "no pooling": Odd(lambda: sequence(conv(), relu(), nn.Dense(3)), "1"),
    "a convolution for the Dense": Odd(lambda: sequence(conv(), conv(3, 1), nn.GlobalAvgPool2D(), nn.Flatten()), "1"),
    "reflected edges": Odd(lambda: sequence(nn.ReflectionPad2D(1), conv(padding=0), *ending()), "1", by="tape"),
    "bilinear resizing": Odd(
        lambda: after_conv(lambda F, net, x: F.contrib.BilinearResize2D(x, height=5, width=6)), "1", by="tape"
    ),
    "PixelShuffle": Odd(lambda: sequence(conv(8), PixelShuffle2D(2), conv(), *ending()), "2"),
    # --- how the steps are joined
    "a residual block": Odd(lambda: sequence(conv(), residual(), relu(), *ending()), "2"),
    "the zoo's BasicBlockV2": Odd(lambda: sequence(conv(), resnet.BasicBlockV2(4, 1), *ending()), "1"),
    "the zoo's BottleneckV1": Odd(lambda: sequence(conv(), resnet.BottleneckV1(8, 2, True), *ending()), "1"),
    "a block that returns its input": Odd(
        lambda: sequence(conv(), residual(lambda F, net, x: net.short(x) + net.conv(x), short=Identity()), *ending()),
        "1",
    ),
    "DropPath": Odd(lambda: sequence(conv(), residual(drop_path), *ending()), "1"),
    "blocks beside each other": Odd(lambda: sequence(conv(), beside(), *ending()), "1"),
    "an addition of a row": Odd(
        lambda: after_conv(lambda F, net, x: F.broadcast_add(x, F.contrib.arange_like(x, axis=3))), "1", by="tape"
    ),
    "a map added to itself": Odd(lambda: after_conv(lambda F, net, x: x + x), "1"),
    "a sum of three": Odd(lambda: after_conv(lambda F, net, x: F.add_n(x, net.a(x), x), a=conv()), "1"),
    "a split, both halves used": Odd(lambda: after_conv(one_half, conv=conv()), "1"),
    "a split, one half used": Odd(lambda: after_conv(lambda F, net, x: F.relu(F.split(x, 2)[1])), "1"),
    "a gate": Odd(lambda: after_conv(lambda F, net, x: x * F.sigmoid(net.gate(x)), gate=conv()), "1"),
    "squeeze and excite": Odd(lambda: after_conv(squeeze_and_excite, down=nn.Dense(2), up=nn.Dense(4)), "1"),
    "attention between positions": Odd(lambda: after_conv(attention, keys=conv(2, 1), values=conv(4, 1)), "1"),
    "weights that depend on the image": Odd(lambda: after_conv(dynamic, weights=conv(8)), "1"),
    "a channel shuffle": Odd(lambda: after_conv(shuffle, conv(), relu()), "3"),
    "channels last and back": Odd(lambda: after_conv(channels_last, dense=nn.Dense(5, flatten=False)), "0"),
    "channels last in a pooling": Odd(
        lambda: sequence(conv(), relu(), function(pooled_channels_last), nn.Dense(3)), "1", by="tape"
    ),
    "a shape taken from another array": Odd(
        lambda: after_conv(lambda F, net, x: F.reshape_like(F.tanh(F.flatten(x)), x)), "1"
    ),
    "turned and back": Odd(lambda: after_conv(turned), "1"),
    "a gradient that is stopped on one side": Odd(
        lambda: after_conv(lambda F, net, x: x + F.BlockGrad(net.conv(x)), conv=conv()), "1", by="tape"
    ),
    "a U-Net": Odd(u_net, "net_relu2"),
    "a feature pyramid": Odd(pyramid, "net__plus0"),
    "a block of SE-ResNeXt": Odd(se_resnext, "1"),
    "a vision transformer": Odd(transformer, "patches"),
    "an LSTM": Odd(lstm, "net_relu0"),
    # --- the blocks of this package
    "cam.blocks": Odd(of_our_blocks, "3"),
    "cam.gradcam": Odd(of_the_tutorials_blocks, "4", [(2, 3, 12, 12)]),
    # --- endings
    "softmax": ends_in("softmax", lambda F, z: F.softmax(z)),
    "log_softmax": ends_in("softmax", lambda F, z: F.log_softmax(z)),
    "sigmoid": ends_in("sigmoid", lambda F, z: F.sigmoid(z)),
    "a sigmoid Activation": ends_in("sigmoid", lambda F, z: F.Activation(z, act_type="sigmoid")),
    "SoftmaxActivation": ends_in("softmax", lambda F, z: F.SoftmaxActivation(z), by="tape"),
    "SoftmaxOutput": ends_in("softmax", lambda F, z: F.SoftmaxOutput(z, F.zeros_like(F.mean(z, axis=1)))),
    "LogisticRegressionOutput": ends_in("sigmoid", lambda F, z: F.LogisticRegressionOutput(z, F.zeros_like(z))),
    "softmax, then a reshape": ends_in("softmax", lambda F, z: F.reshape(F.softmax(z), (-1, 3))),
    "softmax, then a Cast": ends_in("softmax", lambda F, z: F.cast(F.softmax(z), "float64")),
    "softmax of a temperature": ends_in("softmax", lambda F, z: F.softmax(z, temperature=2)),
    "softmax, clipped": ends_in("softmax", lambda F, z: F.clip(F.softmax(z), 1e-7, 1)),
    "log(softmax)": ends_in("softmax", lambda F, z: F.log(F.softmax(z))),
    "LinearRegressionOutput": Odd(lambda: labelled("LinearRegressionOutput"), "r"),
    "MAERegressionOutput": Odd(lambda: labelled("MAERegressionOutput"), "r"),
    "SVMOutput": Odd(lambda: labelled("SVMOutput"), "r"),
    "outputs of modules on the way": Odd(
        lambda: after_conv(
            lambda F, net, x: (
                F.LinearRegressionOutput(x, F.zeros_like(x))
                + F.LogisticRegressionOutput(x, F.zeros_like(x))
                + F.SoftmaxOutput(x, F.mean(x, axis=1), multi_output=True)
            )
        ),
        "1",
    ),
    "the probability of one class": ends_in("sigmoid", lambda F, z: F.sigmoid(z), classes=1),
    "one output": Odd(lambda: sequence(conv(), relu(), *ending(1)), "1"),
    "one output (N,)": Odd(
        lambda: sequence(conv(), relu(), *ending(1), function(lambda F, z: F.reshape(z, (-1,)))), "1"
    ),
    "a map of classes": Odd(lambda: sequence(conv(), relu(), conv(3, 1)), "1"),
    "softmax over a map of classes": Odd(
        lambda: Net(lambda F, net, x: F.softmax(net.net(x), axis=1), net=sequence(conv(), relu(), conv(3, 1))),
        "net.1",
        says="the net ends in softmax: the logits before it are explained",
        logits=lambda net: net.net,
    ),
}


def test_there_are_many():
    assert len(GIVES) >= 60


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
    (layer,) = recording.layers
    assert re.sub(r"\d+_", "_", layer) == odd.layer
    rows = [row for row in cam.layers(net, x, output=odd.output) if row.advice == "recommended"]
    assert [(row.path, row.whole, row.shape) for row in rows] == [(layer, True, recording.features().shape)]

    net.hybridize(False)
    logits = Logits(odd.logits(net), odd.output)
    assert np.allclose(recording.logits, logits(*inputs).asnumpy(), rtol=1e-5, atol=1e-6)
    if odd.says and recording.probabilities is not None:
        probabilities = np.log(recording.probabilities) if name.startswith("log") else recording.probabilities
        assert np.allclose(probabilities, net(*inputs).asnumpy(), rtol=1e-5)
    assert (recording.probabilities is None) == (recording.logits.ndim > 2 or name.startswith("one output"))

    head = nd.array(normal(7, recording.logits.shape)[0], dtype=inputs[0].dtype)

    def target(logits):
        return (logits * head).reshape((0, -1)).sum(axis=1)

    image, at_layer = recording.image_gradient(target=target), recording.gradient(target=target)
    block = cam.paths(net).get(layer)  # None for a step that is no block's, or one run of several
    if odd.by == "tape":
        expected = by_tape(logits, inputs, head, block)
        assert relative_l2(image, expected[0]) < 1e-5
        assert block is None or relative_l2(at_layer, expected[-1]) < 1e-5
    else:
        check(image, inputs[0].asnumpy(), logits, inputs, head, None, odd.step)
        if block is not None:
            check(at_layer, recording.features(), logits, inputs, head, block, odd.step)


@dataclass
class Logits:
    """The logits by the net's own forward."""

    net: gluon.Block
    output: int | None

    def __call__(self, *inputs):
        returned = self.net(*inputs)
        if self.output is None:
            return returned
        return [one for part in returned for one in (part if isinstance(part, list) else [part])][self.output]


@pytest.mark.parametrize("end", ["softmax", "log_softmax"])
def test_a_softmax_behind_another(end):
    """As of a net that ends in softmax, and a module's SoftmaxOutput: what is before the second is no logit either."""
    net, (x,) = ready(sequence(small_net(), function(lambda F, z: F.softmax(z))), (2, 3, 8, 8))
    twice = sequence(net, function(lambda F, z: getattr(F, end)(z)))
    with pytest.warns(cam.NetWarning, match="^the net's outputs add up to 1, as probabilities do: "):
        recording = cam.record(twice, x)
    assert np.allclose(recording.logits, net(x).asnumpy(), rtol=1e-5)
    assert np.allclose(recording.probabilities, nd.softmax(net(x)).asnumpy(), rtol=1e-5)


@pytest.mark.parametrize("end", ["by hand", "softmin", "times one", "the mean of two"])
def test_probabilities_by_any_other_operators(end):
    """Their gradient fades, whatever made them; and nobody is told a softmax of a softmax as probability."""
    ends = {
        "by hand": lambda F, z: F.broadcast_div(F.exp(z), F.sum(F.exp(z), axis=1, keepdims=True)),
        "softmin": lambda F, z: F.softmin(z),
        "times one": lambda F, z: F.softmax(z) * 1,
        "the mean of two": lambda F, z: (F.softmax(z) + F.softmax(2 * z)) / 2,
    }
    net, (x,) = ready(sequence(conv(), relu(), *ending(), function(ends[end])), (2, 3, 8, 8))
    with pytest.warns(cam.NetWarning, match="^the net's outputs add up to 1, as probabilities do: "):
        recording = cam.record(net, x)
    assert np.array_equal(recording.probabilities, recording.logits)
    assert np.allclose(recording.logits, net(x).asnumpy(), rtol=1e-5)


def test_a_segmentation_net_of_a_module():
    """Its labels would be as large as its map of classes; in prediction they play no part."""
    data = mx.sym.var("data")
    body = mx.sym.relu(mx.sym.Convolution(data, num_filter=4, kernel=(3, 3), name="b"))
    logits = mx.sym.Convolution(body, num_filter=3, kernel=(1, 1), name="c")
    net, (x,) = ready(
        gluon.SymbolBlock(mx.sym.SoftmaxOutput(logits, multi_output=True, name="end"), data), (2, 3, 8, 8)
    )
    with pytest.warns(cam.NetWarning, match="^the net ends in softmax: "):
        recording = cam.record(net, x)
    odds = np.exp(recording.logits)
    assert np.allclose(odds / odds.sum(axis=1, keepdims=True), net(x).asnumpy(), rtol=1e-5)


def test_a_relu_inside_a_batch_norm_obeys_the_rules():
    fused, (x,) = ready(sequence(conv(), nn.BatchNormReLU(), conv(), *ending()), (2, 3, 8, 8))
    apart, _ = ready(sequence(conv(), sequence(nn.BatchNorm(), relu()), conv(), *ending()), (2, 3, 8, 8))
    for one, other in zip(apart.collect_params().values(), fused.collect_params().values()):
        one.set_data(other.data())
    assert cam.relus(fused) == cam.relus(apart) == ["1"]
    for rule in ("plain", "guided", "deconvnet"):
        found, expected = (cam.image_gradient(net, x, target=1, rule=rule) for net in (fused, apart))
        assert relative_l2(found, expected) < 1e-5


def check(gradient, values, logits, inputs, head, block, step):
    """Compare the gradient at the image, or at a block's output, with a difference along a random direction."""
    direction = normal(8, gradient.shape)[0] * (values != 0)  # zeros may be at a tie of a pooling: no derivative
    along = nd.array(direction, dtype=inputs[0].dtype)

    def moved(by):
        if block is None:
            return (head * logits(inputs[0] + by * along, *inputs[1:])).sum().asscalar()
        with changed_output(block, lambda output: output + by * along):
            return (head * logits(*inputs)).sum().asscalar()

    scale = np.linalg.norm(gradient * direction)
    assert scale > 0
    assert abs(slope(moved, step) - (gradient * direction).sum()) < max(1e-5, 10 * step) * scale
