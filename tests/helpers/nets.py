"""Small nets, in one line each."""

import numpy as np
from conftest import randomise
from mxnet import nd
from mxnet.gluon import HybridBlock, nn


class Net(HybridBlock):
    """A net in one line: `Net(lambda F, net, x: net.out(F.relu(net.conv(x))), conv=..., out=...)`."""

    def __init__(self, forward, prefix=None, **children):
        super().__init__(prefix=prefix)
        self.own = forward
        for name, child in children.items():
            setattr(self, name, child)

    def hybrid_forward(self, F, *inputs):
        return self.own(F, self, *inputs)


def added(net, *children):
    """The net with these children."""
    net.add(*children)
    return net


def sequence(*children):
    return added(nn.HybridSequential(), *children)


def conv(filters=4, kernel=3, **options):
    """A convolution that keeps height and width."""
    return nn.Conv2D(filters, kernel, **{"padding": kernel // 2, **options})


def relu():
    return nn.Activation("relu")


def function(forward):
    """A block of one function F, x."""
    return Net(lambda F, net, x: forward(F, x))


def ending(classes=3):
    return nn.GlobalAvgPool2D(), nn.Dense(classes)


def small_net():
    return sequence(conv(), relu(), *ending())


def two_heads():
    """Logits of the last map, and others of the map after it."""

    def forward(F, net, x):
        x = F.relu(net.conv(x))
        return net.first(F.mean(x, axis=(2, 3))), net.second(F.max(net.conv2(x), axis=(2, 3)))

    return Net(forward, conv=conv(), conv2=conv(), first=nn.Dense(3), second=nn.Dense(2))


def ready(net, *shapes, seed=0, dtype="float32"):
    """The net with random parameters, and random inputs of these shapes."""
    inputs = [nd.array(values, dtype=dtype) for values in normal(seed, *shapes)]
    net.initialize()
    net.cast(dtype)
    net(*inputs)
    return randomise(net, seed), inputs


def normal(seed, *shapes):
    """Random numbers, one array for each shape."""
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in shapes]


def random_statistics(net):
    """Give every BatchNorm statistics, a scale and an offset that are no identity; convolutions stay as they are."""
    rng = np.random.default_rng(0)
    for name, parameter in net.collect_params().items():
        learned = parameter.grad_req != "null"
        if name.endswith("running_mean") or (name.endswith("beta") and learned):
            parameter.set_data(nd.array(rng.normal(0, 0.1, parameter.shape)))
        if name.endswith("running_var") or (name.endswith("gamma") and learned):
            parameter.set_data(nd.array(rng.uniform(0.6, 1.4, parameter.shape)))
    return net


def two_inputs():
    """Of an image and of numbers beside it."""

    def forward(F, net, x, numbers):
        return net.out(F.concat(F.mean(F.relu(net.conv(x)), axis=(2, 3)), numbers))

    return Net(forward, conv=conv(), out=nn.Dense(3))
