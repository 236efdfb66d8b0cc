"""Every rule against tensors by hand, differences in float64, and MXNet's own derivative."""

from cam import InputError, NetError
from cam.core import rules
from cam.core.mxnet import call

import numpy as np
import pytest
from conftest import relative_l2
from helpers.compare import slope
from helpers.nets import normal
from mxnet import autograd, nd

# Five numbers worked out by hand. Columns: x<0 dy>0, x<0 dy<0, x=0 dy>0, x>0 dy<0, x>0 dy>0.
Y = nd.array([[0.0, 0.0, 0.0, 1.0, 3.0]])
DY = nd.array([[5.0, -4.0, 3.0, -2.0, 1.0]])
BY_HAND = {"plain": [0, 0, 0, -2, 1], "guided": [0, 0, 0, 0, 1], "deconvnet": [5, 0, 3, 0, 1]}
BY_HAND_TO_2 = {"plain": [0, 0, 0, -2, 0], "guided": [0, 0, 0, 0, 0], "deconvnet": [5, 0, 3, 0, 1]}


@pytest.mark.parametrize("rule", rules.RULES)
def test_relu_by_hand(rule):
    assert rules.relu_back(DY, Y, rule).asnumpy().tolist() == [BY_HAND[rule]]
    assert rules.relu6_back(DY, nd.minimum(Y, 2), 2, rule).asnumpy().tolist() == [BY_HAND_TO_2[rule]]


def test_only_the_plain_rule_is_the_derivative():
    x, dy = (nd.array(one, dtype="float64") for one in normal(0, (4, 6), (4, 6)))
    expected = differences(nd.relu, x, dy)
    close = {
        rule: relative_l2(rules.relu_back(dy, nd.relu(x), rule).asnumpy(), expected) < 1e-8 for rule in rules.RULES
    }
    assert close == {"plain": True, "guided": False, "deconvnet": False}


def test_a_rule_that_does_not_exist():
    with pytest.raises(InputError, match="rule is 'guide'; expected one of plain, guided, deconvnet"):
        rules.check_rule("guide")


def test_convolution_by_hand():
    """A 3x3 input and a 2x2 kernel."""
    weight, dy = nd.array([[[[1, 2], [3, 4]]]]), nd.array([[[[1, 0], [0, 10]]]])
    assert rules.convolution_back(dy, weight, (1, 1, 3, 3)).asnumpy().tolist() == [
        [[[1, 2, 0], [3, 14, 20], [0, 30, 40]]]
    ]


def test_global_average_and_dense_and_concat_by_hand():
    assert rules.global_average_back(nd.array([[[[8]]]]), (1, 1, 2, 2)).asnumpy().tolist() == [[[[2, 2], [2, 2]]]]
    weight = nd.array([[1, 2], [3, 4], [5, 6]])
    assert rules.dense_back(nd.array([[1, 0, 10]]), weight, (1, 2)).asnumpy().tolist() == [[51, 62]]
    first, second = rules.concat_back(nd.array([[1, 2, 3]]), [1, 2], 1)
    assert (first.asnumpy().tolist(), second.asnumpy().tolist()) == ([[1]], [[2, 3]])
    dy = nd.array([[3, -7]])
    assert all(one is dy for one in rules.add_back(dy))


def differences(function, x, dy, step=1e-6):
    """d <dy, function(x)> / d x, entry by entry, by central differences of x, float64."""
    found = np.zeros(x.size)
    for entry in range(x.size):
        shift = np.zeros(x.size)
        shift[entry] = 1
        shift = nd.array(shift.reshape(x.shape), dtype="float64")
        found[entry] = slope(lambda by, shift=shift: (function(x + by * shift) * dy).sum().asscalar(), step)
    return found.reshape(x.shape)


def by_mxnet(function, x, dy):
    """The same by MXNet's tape, in float32 and train mode."""
    leaf = x.astype("float32")
    leaf.attach_grad()
    with autograd.record():
        y = function(leaf)
    y.backward(dy.astype("float32"))
    return leaf.grad.asnumpy()


class Case:
    """A rule and the function that it is the derivative of, both of arrays of any dtype."""

    def __init__(self, shape, forward, back):
        self.shape, self.forward, self.back = shape, forward, back


def convolution(shape, filters, kernel, stride=1, pad=0, dilate=1, groups=1):
    weight = nd.array(normal(3, (filters, shape[1] // groups, kernel, kernel))[0], dtype="float64")
    stride, pad, dilate = (stride,) * 2, (pad,) * 2, (dilate,) * 2
    options = {"kernel": (kernel,) * 2, "stride": stride, "pad": pad, "dilate": dilate, "num_group": groups}

    def forward(x):
        return nd.Convolution(x, weight.astype(x.dtype), num_filter=filters, no_bias=True, **options)

    def back(dy, y):
        return rules.convolution_back(dy, weight.astype(dy.dtype), shape, stride, pad, dilate, groups)

    return Case(shape, forward, back)


def batch_norm(fix_gamma):
    gamma, beta, mean, variance = (nd.array(one, dtype="float64") for one in normal(4, (3,), (3,), (3,), (3,)))
    variance, options = (
        nd.abs(variance) + 0.1,
        {"fix_gamma": str(fix_gamma), "eps": "0.001", "use_global_stats": "True"},
    )
    gamma = nd.ones_like(gamma) if fix_gamma else gamma

    def forward(x):
        arrays = [one.astype(x.dtype) for one in (gamma, beta, mean, variance)]
        return call("BatchNorm", [x, *arrays], options)[0]

    return Case(
        (2, 3, 2, 3),
        forward,
        lambda dy, y: rules.batch_norm_back(dy, gamma.astype(dy.dtype), variance.astype(dy.dtype), options),
    )


WEIGHT = nd.array(normal(5, (4, 12))[0], dtype="float64")
CASES = {
    "ReLU": Case((2, 9), nd.relu, lambda dy, y: rules.relu_back(dy, y)),
    "ReLU to 1": Case((2, 9), lambda x: nd.clip(x, 0, 1), lambda dy, y: rules.relu6_back(dy, y, 1)),
    "convolution 3x3": convolution((2, 3, 6, 5), 4, 3),
    "convolution 3x3, pad": convolution((2, 3, 5, 5), 4, 3, pad=1),
    "convolution 1x1, stride 2": convolution((1, 3, 6, 5), 4, 1, stride=2),
    "convolution 3x3, stride 2, a row that is not reached": convolution((1, 3, 6, 6), 2, 3, stride=2),
    "convolution 3x3, dilated": convolution((1, 2, 7, 7), 2, 3, dilate=2, pad=1),
    "convolution in groups": convolution((1, 4, 5, 5), 6, 3, pad=1, groups=2),
    "convolution of each channel": convolution((1, 4, 5, 5), 4, 3, stride=2, pad=1, groups=4),
    "BatchNorm": batch_norm(False),
    "BatchNorm without scale": batch_norm(True),
    "Dense": Case(
        (2, 3, 2, 2),
        lambda x: nd.FullyConnected(x, WEIGHT.astype(x.dtype), num_hidden=4, no_bias=True),
        lambda dy, y: rules.dense_back(dy, WEIGHT.astype(dy.dtype), (2, 3, 2, 2)),
    ),
    "global average": Case(
        (2, 3, 2, 3),
        lambda x: x.mean(axis=(2, 3), keepdims=True),
        lambda dy, y: rules.global_average_back(dy, (2, 3, 2, 3)),
    ),
    "concatenation": Case(
        (2, 3, 2, 2),
        lambda x: nd.concat(x * 1, nd.ones((2, 2, 2, 2), dtype=x.dtype), dim=1),
        lambda dy, y: rules.concat_back(dy, [3, 2], 1)[0],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_each_rule_is_the_derivative(name):
    case = CASES[name]
    x = nd.array(normal(0, case.shape)[0], dtype="float64")
    y = case.forward(x)
    dy = nd.array(normal(1, y.shape)[0], dtype="float64")
    assert relative_l2(case.back(dy, y).asnumpy(), differences(case.forward, x, dy)) < 1e-8
    single = case.back(dy.astype("float32"), y.astype("float32"))
    assert single.dtype == np.float32
    assert relative_l2(single.asnumpy(), by_mxnet(case.forward, x, dy)) < 1e-6


def test_selu():
    """MXNet's own derivative is wrong below 0, so only differences can be asked."""

    def forward(x):
        return nd.where(
            x > 0, rules.SELU_SCALE * x, rules.SELU_SCALE * rules.SELU_ALPHA * (nd.exp(nd.minimum(x, 0)) - 1)
        )

    x, dy = (nd.array(one, dtype="float64") for one in normal(0, (4, 6), (4, 6)))
    mine = forward(x)
    assert relative_l2(nd.LeakyReLU(x, act_type="selu").asnumpy(), mine.asnumpy()) < 1e-6
    assert relative_l2(rules.selu_back(dy, mine).asnumpy(), differences(forward, x, dy)) < 1e-8
    theirs = by_mxnet(lambda x: nd.LeakyReLU(x, act_type="selu"), x, dy)
    assert relative_l2(theirs, differences(forward, x, dy)) > 0.01


def derivative(operator, inputs, options, arriving, wanted):
    return rules.Derivative(operator, inputs, options, wanted).back(arriving)


class TestMXNetsOwn:
    """`rules.Derivative`: a tape that holds one operator."""

    def test_max_pooling_goes_to_the_maximum(self):
        """In predict mode MXNet's goes elsewhere."""
        for _ in range(10):
            x = nd.array(np.arange(16.0).reshape(1, 1, 4, 4))
            options = {"kernel": "(2, 2)", "stride": "(2, 2)", "pool_type": "max"}
            (dx,) = derivative("Pooling", [x], options, {0: nd.ones((1, 1, 2, 2))}, [True])
            assert np.argwhere(dx.asnumpy()[0, 0]).tolist() == [[1, 1], [1, 3], [3, 1], [3, 3]]

    @pytest.mark.parametrize(
        ("operator", "options", "shapes"),
        [
            ("Pooling", {"kernel": "(3, 3)", "stride": "(2, 2)", "pad": "(1, 1)", "pool_type": "max"}, [(2, 2, 7, 7)]),
            ("Pooling", {"kernel": "(3, 2)", "stride": "(2, 2)", "pool_type": "avg"}, [(2, 2, 7, 7)]),
            ("Pooling", {"kernel": "(2, 2)", "pool_type": "lp", "p_value": "2"}, [(1, 2, 4, 4)]),
            ("Convolution", {"kernel": "(3,)", "num_filter": "3", "no_bias": "True"}, [(1, 2, 6), (3, 2, 3)]),
            (
                "Convolution",
                {"kernel": "(2, 2, 2)", "num_filter": "2", "no_bias": "True"},
                [(1, 2, 3, 3, 3), (2, 2, 2, 2, 2)],
            ),
            ("elemwise_mul", {}, [(2, 5), (2, 5)]),
            ("broadcast_div", {}, [(2, 5), (2, 1)]),
            ("softmax", {}, [(2, 5)]),
            ("LayerNorm", {}, [(2, 5), (5,), (5,)]),
            ("norm", {"axis": "1"}, [(2, 3, 2)]),
            ("tanh", {}, [(2, 5)]),
            ("batch_dot", {}, [(2, 3, 4), (2, 4, 5)]),
        ],
    )
    def test_against_differences(self, operator, options, shapes):
        inputs = [nd.array(one, dtype="float64") for one in normal(0, *shapes)]
        y = call(operator, inputs, options)[0]
        dy = nd.array(normal(1, y.shape)[0], dtype="float64")
        found = derivative(operator, inputs, options, {0: dy}, [True] * len(inputs))
        for number, (dx, x) in enumerate(zip(found, inputs)):

            def forward(x, number=number):
                with autograd.pause(train_mode=False):
                    return call(operator, [*inputs[:number], x, *inputs[number + 1 :]], options)[0]

            assert relative_l2(dx.asnumpy(), differences(forward, x, dy)) < 1e-6, number

    def test_only_what_is_wanted_and_has_a_derivative(self):
        x, index = nd.array([[1.0, 2.0], [3.0, 4.0]]), nd.array([1], dtype="int32")
        dx, di = derivative("take", [x, index], {}, {0: nd.array([[5.0, 6.0]])}, [True, True])
        assert dx.asnumpy().tolist() == [[0, 0], [5, 6]] and di is None
        assert derivative("take", [x, index], {}, {0: nd.array([[5.0, 6.0]])}, [False, True]) == [None, None]

    def test_an_operator_without_derivative(self):
        with pytest.raises(NetError, match="MXNet has no derivative of khatri_rao"):
            derivative("khatri_rao", [nd.ones((2, 3))] * 2, {}, {0: nd.ones((4, 3))}, [True, False])

    def test_nothing_is_left_behind(self):
        x = nd.ones((1, 1, 4, 4))
        x.attach_grad()
        derivative("Pooling", [x], {"kernel": "(2, 2)"}, {0: nd.ones((1, 1, 3, 3))}, [True])
        assert not x.grad.asnumpy().any()
        assert not autograd.is_recording() and not autograd.is_training()
