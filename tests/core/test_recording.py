"""What can be asked of one recorded pass."""

import warnings

import cam
from cam import InputError, LayerError, NetError, NetWarning
from cam.core import rules

import numpy as np
import pytest
from conftest import relative_l2
from helpers.compare import by_tape
from helpers.nets import conv, ending, function, ready, relu, sequence, small_net
from mxnet import nd
from mxnet.gluon import nn

X = np.array([[[[1, -2], [3, 0]]]], np.float32)


def by_hand():
    """y = ReLU(ReLU(x) (1, -1)) of two channels, then Dense: logit_0 is (4, -1) times the means of the channels."""
    net, _ = ready(sequence(relu(), conv(2, 1), relu(), nn.GlobalAvgPool2D(), nn.Dense(2)), (1, 1, 2, 2))
    net[1].weight.set_data(nd.array([1, -1]).reshape((2, 1, 1, 1)))
    net[1].bias.set_data(nd.array([-2, 2]))
    net[4].weight.set_data(nd.array([[4, -8], [-4, 8]]))
    net[4].bias.set_data(nd.zeros(2))
    return net


def test_by_hand():
    """ReLU(x) is [[1, 0], [3, 0]]; its channels become ReLU(. - 2) and ReLU(2 - .), with the gradients 1 and -2."""
    recording = cam.record(by_hand(), nd.array(X), ["0", "2"])
    assert recording.layers == ["0", "2"]
    assert recording.features("0").tolist() == [[[[1, 0], [3, 0]]]]
    assert recording.features("2").tolist() == [[[[0, 0], [1, 0]], [[1, 2], [0, 2]]]]
    assert recording.logits.tolist() == [[4 * 1 / 4 - 8 * 5 / 4, -9 * -1]]
    assert recording.gradient("2", target=0).tolist() == [[[[1, 1], [1, 1]], [[-2, -2], [-2, -2]]]]
    # Where the first channel is open 1, where the second is open -2 times -1.
    assert recording.gradient("0", target=0).tolist() == [[[[2, 2], [1, 2]]]]
    assert recording.class_ids() == (1,)


@pytest.mark.parametrize(
    ("rule", "where", "expected"),
    [
        ("plain", None, [[2, 0], [1, 0]]),
        # The second ReLU stops -2, and lets 1 through where it is open: at x = 3.
        ("guided", None, [[0, 0], [1, 0]]),
        ("guided", ["2"], [[0, 0], [1, 0]]),
        ("guided", "0", [[2, 0], [1, 0]]),
        ("guided", [], [[2, 0], [1, 0]]),
        # Of the channels 1 and 0 come back at every position, whatever was open.
        ("deconvnet", None, [[1, 1], [1, 1]]),
        ("deconvnet", ["2"], [[1, 0], [1, 0]]),
        ("deconvnet", ["0"], [[2, 2], [1, 2]]),
    ],
)
def test_image_gradient_by_hand(rule, where, expected):
    recording = cam.record(by_hand(), nd.array(X), [])
    assert recording.image_gradient(target=0, rule=rule, where=where).tolist() == [[expected]]


def test_in_any_order_and_as_often_as_asked():
    net, (x,) = ready(sequence(conv(), relu(), nn.MaxPool2D(), conv(), relu(), nn.Dense(3)), (2, 3, 8, 8))
    recording = cam.record(net, x, ["1", "4"])

    def ask(target):
        layers = [recording.gradient(layer, target=target) for layer in ("1", "4")]
        return layers + [recording.image_gradient(target=target, rule=rule) for rule in rules.RULES]

    first = [ask(target) for target in range(3)]
    again = [ask(target) for target in (2, 0, 1)]
    for target, answers in enumerate(first):
        alone = cam.record(net, x, "1").gradient(target=target)
        for one, two in zip(answers, again[(target + 1) % 3]):
            assert np.array_equal(one, two)
        assert np.array_equal(answers[0], alone)
    for target in range(3):
        head = nd.one_hot(nd.array([target, target]), 3)
        image, at_layer = by_tape(net, [x], head, net[1])
        assert relative_l2(first[target][2], image) < 1e-5 and relative_l2(first[target][0], at_layer) < 1e-5


def test_a_batch_is_its_images_one_by_one():
    net, (x,) = ready(small_net(), (3, 3, 8, 8))
    together = cam.record(net, x)
    for number in range(3):
        alone = cam.record(net, x[number : number + 1])
        assert relative_l2(together.gradient(target=[0, 1, 2])[number], alone.gradient(target=number)[0]) < 1e-5
        for rule in rules.RULES:
            batch, single = (r.image_gradient(target=t, rule=rule) for r, t in ((together, [0, 1, 2]), (alone, number)))
            assert relative_l2(batch[number], single[0]) < 1e-5


@pytest.mark.parametrize(
    ("classes", "ending_in", "expected"),
    [
        (3, None, lambda z: np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)),
        (3, "softmax", lambda z: np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)),
        (3, "sigmoid", lambda z: 1 / (1 + np.exp(-z))),
        (1, "sigmoid", lambda z: 1 / (1 + np.exp(-z))),
        (1, None, None),
    ],
)
def test_probabilities_and_notes(classes, ending_in, expected):
    last = [function(lambda F, z: getattr(F, ending_in)(z))] if ending_in else []
    net, (x,) = ready(sequence(conv(), relu(), *ending(classes), *last), (2, 3, 8, 8))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        recording = cam.record(net, x)
    said = [f"the net ends in {ending_in}: the logits before it are explained"] if ending_in else []
    assert [str(note) for note in recording.notes] == [str(one.message) for one in caught] == said
    assert all(isinstance(note, NetWarning) for note in recording.notes)
    if expected is None:
        assert recording.probabilities is None
    else:
        assert np.allclose(recording.probabilities, expected(recording.logits), rtol=1e-5)


class TestRelatives:
    def net(self, *activations):
        return ready(sequence(conv(), *activations, *ending()), (1, 3, 8, 8))

    @pytest.mark.parametrize(
        ("others", "named"),
        [
            ([nn.LeakyReLU(0.1)], "LeakyReLU"),
            ([nn.PReLU(), nn.ELU()], "ELU and PReLU"),
            ([nn.Activation("softrelu")], "softplus"),
        ],
    )
    @pytest.mark.parametrize("rule", ["guided", "deconvnet"])
    def test_they_are_named(self, others, named, rule):
        said = f"the {rule} rule is defined for ReLU"
        net, (x,) = self.net(relu(), *others)
        recording = cam.record(net, x)
        with pytest.warns(NetWarning) as caught:
            found = recording.image_gradient(rule=rule)
        hint = "(where=cam.relus(net) says that this is meant)"
        assert [str(one.message) for one in caught] == [f"{said}: the net's {named} keep their derivative {hint}"]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert np.array_equal(recording.image_gradient(rule=rule, where=cam.relus(net)), found)
            recording.image_gradient()
        net, (x,) = self.net(*others)
        with pytest.raises(NetError) as refused:
            cam.record(net, x).image_gradient(rule=rule)
        assert str(refused.value) == f"{said}, and this net has {named} and no ReLU; take rule='plain'"

    def test_no_relu_at_all(self):
        net, (x,) = self.net(nn.Activation("tanh"))
        with pytest.raises(NetError, match="and this net has no ReLU; take rule='plain'$"):
            cam.record(net, x).image_gradient(rule="guided")


NO_IMAGE = "this recording holds no image gradient; record with image_gradient=True"
NO_RULE = "rule is 'guide'; expected one of plain, guided, deconvnet"


@pytest.mark.parametrize(
    ("ask", "error", "sentence"),
    [
        (lambda r: r.gradient(), LayerError, "layer is None, but 2 layers were recorded; say which one"),
        (lambda r: r.features("3"), LayerError, "layer 3 was not recorded; recorded: 0, 1"),
        (lambda r: r.image_gradient(), NetError, NO_IMAGE),
        (lambda r: r.image_gradient(rule="guide"), InputError, NO_RULE),
    ],
)  # fmt: skip
def test_refused(ask, error, sentence):
    net, (x,) = ready(small_net(), (2, 3, 8, 8))
    recording = cam.record(net, x, ["0", "1"], image_gradient=False)
    whole = cam.record(net, x, ["0", "1"])
    assert np.array_equal(recording.gradient("0", target=1), whole.gradient("0", target=1))
    with pytest.raises(error) as caught:
        ask(recording)
    assert str(caught.value) == sentence


def test_where_takes_relus_only():
    net, (x,) = ready(small_net(), (2, 3, 8, 8))
    recording = cam.record(net, x, [])
    with pytest.raises(LayerError, match="^0 is no ReLU, for which alone the guided rule is defined: see cam.relus"):
        recording.image_gradient(rule="guided", where=["0"])
    with pytest.raises(LayerError, match="was not recorded; recorded: none$"):
        recording.features("1")


def test_arrays_are_copies():
    net, (x,) = ready(small_net(), (2, 3, 8, 8))
    recording = cam.record(net, x)
    expected = recording.gradient(target=0), recording.features(), recording.image_gradient(target=0)
    for array in (recording.gradient(target=0), recording.features(), recording.image_gradient(target=0)):
        array[:] = 7
    x[:] = 0
    found = recording.gradient(target=0), recording.features(), recording.image_gradient(target=0)
    assert all(np.array_equal(one, two) for one, two in zip(found, expected))
