"""Nets in one line each."""

import numpy as np
from conftest import randomise
from mxnet import init, nd
from mxnet.gluon import HybridBlock, nn


class Net(HybridBlock):
    """A net in one line: `Net(lambda F, net, x: net.out(F.relu(net.conv(x))), conv=..., out=...)`."""

    def __init__(self, forward, **children):
        super().__init__()
        self.own = forward
        for name, child in children.items():
            setattr(self, name, child)

    def hybrid_forward(self, F, *inputs):
        return self.own(F, self, *inputs)


def sequence(*blocks):
    """A HybridSequential of these blocks."""
    net = nn.HybridSequential()
    net.add(*blocks)
    return net


def ready(net, *shapes, seed=0, dtype="float32"):
    """The net with random parameters, and random inputs of these shapes."""
    inputs = [nd.array(values, dtype=dtype) for values in normal(seed, *shapes)]
    net.initialize(init.Xavier(magnitude=3))
    net.cast(dtype)
    net(*inputs)
    return randomise(net, seed), inputs


def normal(seed, *shapes):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in shapes]


def random_statistics(net):
    """Give every BatchNorm statistics, a scale and an offset that are no identity; convolutions stay as they are."""
    rng = np.random.default_rng(0)
    for name, parameter in net.collect_params().items():
        if name.endswith(("running_mean", "beta")) and (parameter.grad_req != "null" or name.endswith("mean")):
            parameter.set_data(nd.array(rng.normal(0, 0.1, parameter.shape)))
        if name.endswith("running_var") or (name.endswith("gamma") and parameter.grad_req != "null"):
            parameter.set_data(nd.array(rng.uniform(0.6, 1.4, parameter.shape)))
    return net
