"""Nets drawn at random: the gradient at every layer against differences of the net's own forward, in float64."""

from collections import Counter

import cam
from cam import blocks

import numpy as np
from conftest import randomise, relative_l2
from helpers.compare import changed_output, one_sided
from helpers.nets import normal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mxnet import autograd, nd
from mxnet.gluon import HybridBlock, nn

IMAGES, CLASSES = 2, 3
RELUS = {
    "relu": lambda F, x: F.relu(x),
    "Activation": lambda F, x: F.Activation(x, act_type="relu"),
    "maximum": lambda F, x: F.maximum(x, 0),
    "LeakyReLU": lambda F, x: F.LeakyReLU(x, slope=0),
}
ACTIVATIONS = {
    **RELUS,
    "clip": lambda F, x: F.clip(x, 0, 0.7),
    "tanh": lambda F, x: F.tanh(x),
    "sigmoid": lambda F, x: F.sigmoid(x),
    "softrelu": lambda F, x: F.Activation(x, act_type="softrelu"),
    "gate": lambda F, x: F.broadcast_mul(x, F.sigmoid(F.mean(x, axis=(2, 3), keepdims=True))),
    "half": lambda F, x: F.slice_axis(x, axis=1, begin=0, end=1) * 2 - 0.1,
}
UNARY = ("convolution", "batch norm", "pooling", *ACTIVATIONS)
by_rule = {"rule": None}  # on the tape, how the ReLUs of the nets go back; None for MXNet's own


class Function(HybridBlock):
    """A block of one operator that has no parameters."""

    def __init__(self, kind, function):
        super().__init__()
        self.kind, self.function = kind, function

    def hybrid_forward(self, F, *inputs):
        if F is nd and self.kind in RELUS and by_rule["rule"]:
            return blocks.relu(inputs[0], by_rule["rule"])
        return self.function(F, *inputs)


class Drawn(HybridBlock):
    """A net of blocks n1, n2, ..., each of which takes the outputs of earlier ones; n0 is the image.

    All that nothing takes goes through a global average into one Dense layer.
    """

    def __init__(self, plan):
        super().__init__()
        self.plan = [sources for _, sources in plan]
        for number, (block, _) in enumerate(plan, 1):
            setattr(self, f"n{number}", block)
        self.out = nn.Dense(CLASSES)

    def hybrid_forward(self, F, x):
        values = [x]
        for number, sources in enumerate(self.plan, 1):
            values.append(getattr(self, f"n{number}")(*(values[source] for source in sources)))
        taken = {source for sources in self.plan for source in sources}
        ends = [value for number, value in enumerate(values) if number not in taken]
        means = [F.mean(end, axis=(2, 3)) for end in ends]
        return self.out(F.concat(*means, dim=1) if len(means) > 1 else means[0])


@st.composite
def nets(draw, unary=UNARY, least=2, most=8):
    """A plan for `Drawn`, and the size of its images."""
    size = draw(st.integers(5, 8))
    shapes, plan = [(3, size, size)], []
    for _ in range(draw(st.integers(least, most))):
        kind = draw(st.sampled_from(["addition", "concatenation", *unary]))
        source = draw(st.integers(0, len(shapes) - 1))
        channels, height, width = shapes[source]
        if kind in ("addition", "concatenation"):
            alike = [
                i
                for i, shape in enumerate(shapes)
                if shape[kind == "concatenation" :] == shapes[source][kind == "concatenation" :]
            ]
            sources = [source, draw(st.sampled_from(alike))]
            block = Function(kind, add if kind == "addition" else concatenate)
            shape = shapes[source] if kind == "addition" else (sum(shapes[i][0] for i in sources), height, width)
        elif kind == "convolution":
            sources = [source]
            kernel, stride, pad, dilate = (draw(st.integers(*ends)) for ends in ((1, 3), (1, 2), (0, 1), (1, 2)))
            if min(height, width) + 2 * pad < dilate * (kernel - 1) + 1:
                kernel = 1
            groups = draw(st.sampled_from([1, channels]))
            filters = draw(st.integers(1, 3)) * (groups if groups < 4 else 1)
            groups = groups if filters % groups == 0 else 1
            block = nn.Conv2D(filters, kernel, stride, pad, dilate, groups)
            shape = (filters, *((side + 2 * pad - dilate * (kernel - 1) - 1) // stride + 1 for side in (height, width)))
        elif kind == "pooling":
            sources, stride = [source], draw(st.integers(1, 2))
            kernel = draw(st.integers(1, min(3, height, width)))
            block = draw(st.sampled_from([nn.MaxPool2D, nn.AvgPool2D]))(kernel, stride)
            shape = (channels, *((side - kernel) // stride + 1 for side in (height, width)))
        elif kind == "batch norm":
            sources, shape, block = [source], shapes[source], nn.BatchNorm(scale=draw(st.booleans()))
        else:
            sources, shape, block = [source], shapes[source], Function(kind, ACTIVATIONS[kind])
            if kind == "half":
                shape = (1, height, width)
        plan.append((block, sources))
        shapes.append(shape)
    return plan, size


def add(F, a, b):
    return a + b


def concatenate(F, a, b):
    return F.concat(a, b, dim=1)


def build(drawn):
    plan, size = drawn
    net, x = Drawn(plan), nd.array(normal(1, (IMAGES, 3, size, size))[0], dtype="float64")
    net.initialize()
    net.cast("float64")
    net(x)
    return randomise(net), x


def thorough(examples):
    return settings(
        max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )


def test_every_layer_against_differences():
    seen = Counter()

    @thorough(150)
    @given(nets())
    def every_layer(drawn):
        net, x = build(drawn)
        layers = [f"n{number}" for number in range(1, len(drawn[0]) + 1)]
        recording = cam.record(net, x, layers)
        assert np.allclose(recording.logits, net(x).asnumpy(), rtol=1e-10)
        found = {layer: (recording.features(layer), recording.gradient(layer, target=1)) for layer in layers}
        found["the image"] = x.asnumpy(), recording.image_gradient(target=1)
        for layer, (values, gradient) in found.items():
            # Zeros are left alone: of several in one window, or before another ReLU, there is no derivative.
            direction = normal(2, values.shape)[0] * (values != 0)
            exact = (gradient * direction).sum()
            left, right = one_sided(lambda by, layer=layer, step=direction: shifted(net, x, layer, by * step))
            room = 1e-5 * max(abs(left), abs(right), 0.1)
            if abs(left - right) > room:
                seen["at a kink"] += 1
                continue
            seen["checked"] += 1
            assert abs((left + right) / 2 - exact) <= room, (layer, left, right, exact)

    every_layer()
    assert seen["checked"] > 800 and seen["at a kink"] < 0.01 * seen["checked"], seen


def shifted(net, x, layer, shift):
    """The sum over the images of logit 1, with something added to the image or to the output of a block."""
    shift = nd.array(shift, dtype="float64")
    if layer == "the image":
        return net(x + shift)[:, 1].sum().asscalar()
    with changed_output(getattr(net, layer), lambda output: output + shift):
        return net(x)[:, 1].sum().asscalar()


def test_the_rules_against_functions_on_a_tape():
    """Every ReLU as a function with a way back of its own, on MXNet's tape."""
    compared = Counter()

    @thorough(60)
    @given(nets(("convolution", "pooling", *RELUS), least=4))
    def every_rule(drawn):
        net, x = build(drawn)
        if not cam.relus(net):
            return
        for rule in cam.core.rules.RULES:
            found = cam.image_gradient(net, x, target=1, rule=rule)
            leaf = x.copy()
            leaf.attach_grad()
            by_rule["rule"] = rule
            try:
                with autograd.record():
                    logit = net(leaf)[:, 1]
                logit.backward()
            finally:
                by_rule["rule"] = None
            expected = leaf.grad.asnumpy()
            if not expected.any():
                assert not found.any()
                continue
            compared[rule] += 1
            assert relative_l2(found, expected) < 1e-10, rule

    every_rule()
    assert min(compared.values()) > 30, compared
