"""`cam.blocks`: each Function against MXNet's own operator and against differences, and in training."""

from cam import InputError, blocks
from cam.core import rules

import mxnet as mx
import numpy as np
import pytest
from conftest import relative_l2
from helpers.compare import slope
from helpers.nets import Net, normal
from mxnet import autograd, gluon, nd
from mxnet.gluon import nn


class TheirAdd(gluon.HybridBlock):
    def hybrid_forward(self, F, branch, shortcut):
        return branch + shortcut


# Ours, MXNet's own, and the shapes of what goes in.
PAIRS = {
    "ReLU": (blocks.ReLU, lambda: nn.Activation("relu"), [(2, 3, 5, 4)]),
    "Add": (blocks.Add, TheirAdd, [(2, 3, 5, 4)] * 2),
    "GlobalAvgPool2D": (blocks.GlobalAvgPool2D, nn.GlobalAvgPool2D, [(2, 3, 5, 4)]),
    **{
        f"Conv2D {options}": (
            lambda options=options: blocks.Conv2D(6, in_channels=4, **options),
            lambda options=options: nn.Conv2D(6, in_channels=4, **options),
            [(2, 4, 9, 8)],
        )
        for options in (
            {"kernel_size": 3},
            {"kernel_size": 3, "strides": 2, "padding": 1},
            {"kernel_size": (1, 3), "padding": (0, 1), "use_bias": False},
            {"kernel_size": 3, "dilation": 2, "groups": 2},
            {"kernel_size": 3, "activation": "relu"},
        )
    },
}


def gradients(block, inputs, head, train=False):
    """The output, and the gradients of <head, output> at the inputs and at every parameter."""
    leaves = [one.copy() for one in inputs]
    for leaf in leaves:
        leaf.attach_grad()
    with autograd.record(train_mode=train):
        y = block(*leaves)
    y.backward(head, train_mode=train)
    arrays = [leaf.grad for leaf in leaves] + [one.grad() for one in block.collect_params().values()]
    return [y.asnumpy(), *(one.asnumpy() for one in arrays)]


@pytest.fixture(params=PAIRS)
def pair(request):
    """Both blocks in float64, with the same parameters, and what goes in."""
    ours, theirs, shapes = PAIRS[request.param]
    ours, theirs = ours(), theirs()
    for block in (ours, theirs):
        block.initialize(mx.init.Normal(1))
        block.cast("float64")
    for one, two in zip(ours.collect_params().values(), theirs.collect_params().values()):
        two.set_data(one.data())
    return ours, theirs, [nd.array(one, dtype="float64") for one in normal(0, *shapes)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("train", [False, True])
def test_against_mxnets_own(pair, dtype, train):
    ours, theirs, inputs = pair
    for block in (ours, theirs):
        block.cast(dtype)
    inputs = [one.astype(dtype) for one in inputs]
    head = nd.array(normal(1, theirs(*inputs).shape)[0], dtype=dtype)
    found, expected = (gradients(block, inputs, head, train) for block in (ours, theirs))
    assert len(found) == len(expected)
    for one, two in zip(found, expected):
        assert relative_l2(one, two) < (1e-6 if dtype == "float32" else 1e-13) and one.dtype == np.dtype(dtype)
    ours.hybridize()
    for one, two in zip(gradients(ours, inputs, head, train), expected):
        assert relative_l2(one, two) < 1e-6
    assert relative_l2(ours(*inputs).asnumpy(), expected[0]) < 1e-6  # without a tape


def test_against_differences(pair):
    ours, _, inputs = pair
    head = nd.array(normal(1, ours(*inputs).shape)[0], dtype="float64")
    found = gradients(ours, inputs, head)[1:]
    parameters = [one.data() for one in ours.collect_params().values()]
    for array, gradient in zip(inputs + parameters, found):
        before = array.copy()
        direction = nd.array(normal(2, array.shape)[0], dtype="float64")

        def moved(by, array=array, before=before, direction=direction):
            array[:] = before + by * direction
            return (head * ours(*inputs)).sum().asscalar()

        expected = slope(moved)
        array[:] = before
        assert abs((gradient * direction.asnumpy()).sum() - expected) < 1e-6 * np.linalg.norm(gradient)


# Columns: x<0 dy>0, x<0 dy<0, x=0 dy>0, x>0 dy<0, x>0 dy>0.
X = nd.array([[-2.0, -1.0, 0.0, 1.0, 3.0]])
DY = nd.array([[5.0, -4.0, 3.0, -2.0, 1.0]])
BY_HAND = {"plain": [0, 0, 0, -2, 1], "guided": [0, 0, 0, 0, 1], "deconvnet": [5, 0, 3, 0, 1]}


@pytest.mark.parametrize("rule", rules.RULES)
def test_the_rules_of_relu_by_hand(rule):
    y, dx = gradients(blocks.ReLU(rule), [X], DY)
    assert y.tolist() == [[0, 0, 0, 1, 3]] and dx.tolist() == [BY_HAND[rule]]
    y, dx = gradients(Net(lambda F, net, x: blocks.relu(x, rule)), [X], DY)
    assert y.tolist() == [[0, 0, 0, 1, 3]] and dx.tolist() == [BY_HAND[rule]]


def test_a_rule_that_does_not_exist():
    for call in (lambda: blocks.relu(X, "guide"), lambda: blocks.ReLU("guide")):
        with pytest.raises(InputError, match="rule is 'guide'; expected one of plain, guided, deconvnet"):
            call()


def test_between_onednn_convolutions():
    """Without the `* 1` a Function receives garbage here in a share of the runs."""
    (x,) = (nd.array(one) for one in normal(0, (2, 16, 28, 28)))
    first, last = nn.Conv2D(32, 3, padding=1), nn.Conv2D(8, 3, padding=1)
    ours, theirs = (nn.HybridSequential() for _ in range(2))
    ours.add(first, blocks.ReLU(), last)
    theirs.add(first, nn.Activation("relu"), last)
    ours.initialize(mx.init.Normal(0.1))
    head = nd.array(normal(1, ours(x).shape)[0])
    expected = gradients(theirs, [x], head)
    for _ in range(20):
        assert all(relative_l2(one, two) < 1e-5 for one, two in zip(gradients(ours, [x], head), expected))


def test_activation_is_the_tutorials_name():
    assert isinstance(blocks.Activation("relu"), blocks.ReLU)
    assert np.allclose(blocks.Activation("tanh")(X).asnumpy(), np.tanh(X.asnumpy()))


@pytest.mark.parametrize("hybrid", [False, True])
def test_they_train_like_gluons_own(hybrid):
    def build(kinds, relu):
        net = nn.HybridSequential()
        net.add(kinds.Conv2D(8, 3, padding=1, in_channels=3), relu, kinds.GlobalAvgPool2D(), nn.Dense(4, in_units=8))
        net.initialize(mx.init.Xavier())
        return net

    ours, theirs = build(blocks, blocks.ReLU()), build(nn, nn.Activation("relu"))
    for one, two in zip(ours.collect_params().values(), theirs.collect_params().values()):
        two.set_data(one.data())
    (x,), numbers = (nd.array(one) for one in normal(0, (4, 3, 16, 16))), nd.array([0, 1, 2, 3])
    losses = {}
    for net in (ours, theirs):
        if hybrid:
            net.hybridize()
        trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.5})
        losses[net] = []
        for _ in range(3):
            with autograd.record():
                loss = gluon.loss.SoftmaxCrossEntropyLoss()(net(x), numbers)
            loss.backward()
            trainer.step(4)
            losses[net].append(float(loss.mean().asscalar()))
    assert losses[ours] == pytest.approx(losses[theirs], rel=1e-4)
    assert losses[ours][2] < losses[ours][0]
