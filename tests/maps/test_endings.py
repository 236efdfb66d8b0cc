"""What the decision tree says of a net's end and of its last convolution holds."""

import cam
from cam.maps.endings import JOINTS

import numpy as np
import pytest
from helpers.nets import Net, conv, ending, function, ready, relu, sequence, two_inputs
from mxnet import gluon
from mxnet.gluon import nn


def over_positions(F, x):
    return F.mean(x, axis=(0, 1), exclude=True)


def adaptive(size):
    return function(lambda F, x: F.contrib.AdaptiveAvgPooling2D(x, output_size=size))


def mean_and_maximum(F, x):
    return F.concat(F.mean(x, axis=(2, 3)), F.max(x, axis=(2, 3)), dim=1)


class ByHand(gluon.HybridBlock):
    """A Dense layer without its operator, times a number that is learned."""

    def __init__(self, inputs):
        super().__init__()
        shapes = {"weight": (inputs, 3), "bias": (3,), "scale": (1, 1)}
        for name, shape in shapes.items():
            setattr(self, name, self.params.get(name, shape=shape))

    def hybrid_forward(self, F, x, weight, bias, scale):
        return F.broadcast_mul(scale, F.broadcast_add(F.dot(x, weight), F.reshape(bias, (1, -1))))


def two_dense(joined):
    return Net(lambda F, net, x: joined(F, net.one(x), net.two(x)), one=nn.Dense(3), two=nn.Dense(3))


@pytest.mark.parametrize(
    ("kind", "layers", "same_everywhere", "grad_cam_adds_up", "hires_cam_adds_up"),
    [
        ("GAP", (nn.GlobalAvgPool2D, nn.Flatten), True, True, True),
        ("GAP and Dense", ending, True, True, True),
        (
            "GAP and more",
            lambda: (nn.GlobalAvgPool2D(), nn.Dense(5, activation="tanh"), nn.Dense(3)),
            True,
            False,
            False,
        ),
        ("one Dense layer", lambda: (nn.Dense(3),), False, False, True),
        ("several layers", lambda: (nn.Dense(5, activation="tanh"), nn.Dense(3)), False, False, False),
        ("several layers", lambda: (nn.GlobalMaxPool2D(), nn.Dense(3)), False, False, True),
        ("GAP and Dense", lambda: (function(lambda F, x: F.mean(x, axis=(-1, -2))), nn.Dense(3)), True, True, True),
        ("GAP and Dense", lambda: (function(lambda F, x: F.mean(F.mean(x, 3), 2)), nn.Dense(3)), True, True, True),
        ("GAP and Dense", lambda: (function(over_positions), nn.Dense(3)), True, True, True),
        ("GAP and Dense", lambda: (function(lambda F, x: F.sum(x, axis=(2, 3)) / 64), nn.Dense(3)), True, True, True),
        ("GAP and Dense", lambda: (nn.AvgPool2D(2), *ending()), True, True, True),
        ("GAP and Dense", lambda: (nn.AvgPool2D(8), nn.Dense(3)), True, True, True),
        ("GAP and Dense", lambda: (nn.GlobalAvgPool2D(), nn.BatchNorm(), nn.Dense(3)), True, True, True),
        ("GAP and Dense", lambda: (*ending(), function(lambda F, z: z / 2)), True, True, True),
        ("GAP and Dense", lambda: (nn.GlobalAvgPool2D(), nn.Flatten(), ByHand(3)), True, True, True),
        ("GAP and Dense", lambda: (nn.GlobalAvgPool2D(), two_dense(lambda F, a, b: a + b)), True, True, True),
        ("GAP and Dense", lambda: (nn.GlobalAvgPool2D(), two_dense(lambda F, a, b: F.concat(a, b))), True, True, True),
        ("GAP and Dense", lambda: (*ending(), function(lambda F, z: 1 - z)), True, True, True),
        ("GAP and more", lambda: (nn.GlobalAvgPool2D(), two_dense(lambda F, a, b: a * b)), True, False, False),
        ("GAP and more", lambda: (*ending(), function(lambda F, z: z * z)), True, False, False),
        ("one Dense layer", lambda: (nn.Flatten(), ByHand(192)), False, False, True),
        ("GAP", lambda: (function(lambda F, x: F.mean(F.reshape(x, (0, 0, -1)), axis=2)),), True, True, True),
        ("several layers", lambda: (nn.AvgPool2D(8, 1, 1), nn.Dense(3)), False, False, True),
        ("several layers", lambda: (nn.AvgPool2D(8, padding=1), nn.Dense(3)), False, False, True),  # not the last row
        ("several layers", lambda: (adaptive(2), nn.Dense(3)), False, False, True),
        ("several layers", lambda: (function(mean_and_maximum), nn.Dense(3)), False, False, True),
        ("several layers", lambda: (function(lambda F, x: F.mean(x, axis=2)), nn.Dense(3)), False, False, True),
    ],
)
def test_what_is_said_of_an_ending_holds(kind, layers, same_everywhere, grad_cam_adds_up, hires_cam_adds_up):
    """Logit less map is the same number for every image, the bias, where the map is an exact account."""
    layers = [one() for one in layers] if isinstance(layers, tuple) else layers()
    net, (x,) = ready(sequence(conv(3), relu(), *layers), (4, 3, 8, 8))
    table, recording = cam.layers(net, x), cam.record(net, x)
    assert table.ending == kind and table.joint is None and recording.layers == ["1"]
    gradient = recording.gradient(target=1)
    assert np.allclose(gradient, gradient[:, :, :1, :1], atol=1e-7) == same_everywhere
    for method, adds_up in ((cam.grad_cam, grad_cam_adds_up), (cam.hires_cam, hires_cam_adds_up)):
        rest = recording.logits[:, 1] - method(net, x, target=1, relu=False).sum(axis=(1, 2))
        assert (np.ptp(rest) < 1e-5) == adds_up, (method.__name__, rest)


def test_an_ending_that_takes_other_numbers_too():
    """Then the rest of the logit is no bias: another input decides it."""
    net, inputs = ready(two_inputs(), (1, 3, 8, 8), (1, 2))
    assert cam.layers(net, inputs).ending == "GAP and more"


@pytest.mark.parametrize(
    ("kind", "forward"),
    [
        ("adds", lambda F, net, x: net.head(x + net.conv(x))),
        ("concatenates", lambda F, net, x: net.head(F.concat(x, net.conv(x)))),
        ("gates", lambda F, net, x: net.head(x * F.sigmoid(net.conv(x)))),
        ("goes around", lambda F, net, x: net.head(F.maximum(x, net.conv(x)))),
        (None, lambda F, net, x: net.head(net.conv(x))),
    ],
)
def test_what_the_last_convolution_is_a_part_of(kind, forward):
    net, (x,) = ready(Net(forward, conv=conv(3), head=sequence(*ending())), (1, 3, 8, 8))
    table = cam.layers(net, x)
    assert table.joint == kind
    assert (kind is None) == ("the last convolution" not in str(table)) and (kind is None or JOINTS[kind] in str(table))
    assert {row.path: row.whole for row in table}["conv"] == (kind is None)
