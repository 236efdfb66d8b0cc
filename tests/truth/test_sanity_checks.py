"""The five tests of any net: what they find on nets that are well, and that each of them can fail."""

import re
import sys

import cam
from cam.core import rules

import numpy as np
import pytest
from helpers.nets import Net, conv, ending, function, ready, relu, sequence, two_heads
from mxnet.gluon import nn
from mxnet.gluon.model_zoo import vision

tests_of = sys.modules["cam.truth.sanity_checks"]  # under this name cam has the function
NAMES = ["logits unchanged", "branch + shortcut = Add", "map + bias = logit", "finite difference", "count of ReLUs"]


def residual():
    block = Net(lambda F, net, x: F.relu(net.branch(x) + x), branch=sequence(conv(3), relu(), conv(3)))
    return sequence(conv(3), block, *ending())


def passed(net, x=None, **options):
    return {one.test: one.passed for one in cam.check(net, x, **options)}


def test_the_embedded_nets(embedded_nets):
    for name, by_test in {
        "resnet50_v2": [True] * 5,
        "vgg16": [True, None, None, True, True],
    }.items():
        verdicts = cam.check(embedded_nets[name])
        assert verdicts.passed and [(one.test, one.passed) for one in verdicts] == list(zip(NAMES, by_test))
        idle = ", 2 had nothing to test" if None in by_test else ""
        assert str(verdicts).splitlines()[5:] == [f"all {by_test.count(True)} tests passed{idle}"]
    assert "15, of which 0 are function calls" in str(verdicts)  # two of them inside Dense blocks
    said, bias = str(cam.check(embedded_nets["resnet50_v2"], target=3)), embedded_nets["resnet50_v2"].output.bias.data()
    assert "16 additions" in said and "50, of which 48 are function calls" in said
    assert np.isclose(float(re.search(r"logit - map is (\S+)", said)[1]), bias[3].asscalar(), rtol=1e-3)


def test_blocks_are_counted_also_where_an_outer_block_ends_in_them():
    net = vision.squeezenet1_0(classes=3)
    net.initialize()
    assert "26, of which 0 are function calls" in str(cam.check(net))


def test_a_net_of_other_inputs_gets_noise_and_of_small_ones_no_scene():
    for shape in ((1, 1, 28, 28), (1, 3, 8, 8)):
        net, (x,) = ready(residual() if shape[1] == 3 else sequence(conv(3), relu(), *ending()), shape)
        assert passed(net, x)["finite difference"] and cam.check(net).passed


def test_a_probability_at_the_end_and_leaky_relus():
    net, (x,) = ready(sequence(residual(), function(lambda F, x: F.softmax(x))), (1, 3, 8, 8))
    assert passed(net, x) == dict.fromkeys(NAMES, True)
    net, (x,) = ready(sequence(conv(3), nn.LeakyReLU(0.1), relu(), *ending()), (1, 3, 8, 8))
    assert passed(net, x) == {**dict.fromkeys(NAMES, True), NAMES[1]: None, NAMES[4]: False}
    assert not cam.check(net, x).passed and "LeakyReLU" in str(cam.check(net, x))
    net, (x,) = ready(sequence(conv(3), nn.LeakyReLU(0.1), *ending()), (1, 3, 8, 8))
    assert passed(net, x)[NAMES[4]] is None


@pytest.mark.parametrize("seed", range(3))
def test_a_faint_gradient_is_not_called_wrong(seed):
    """Random weights on 224 x 224 pixels: the differences drown in rounding, and the gradient is right."""
    net, _ = ready(sequence(conv(), relu(), *ending()), (1, 3, 224, 224), seed=seed)
    assert cam.check(net).passed


def test_a_waveform():
    net, (x,) = ready(sequence(nn.Conv1D(4, 3), relu(), nn.GlobalAvgPool1D(), nn.Dense(3)), (1, 1, 32))
    assert passed(net, x) == {**dict.fromkeys(NAMES, True), NAMES[1]: None}


def test_a_dead_net_has_no_slope():
    net, (x,) = ready(residual(), (1, 3, 8, 8))
    for parameter in net.collect_params().values():
        parameter.set_data(parameter.data() * 0)
    assert passed(net, x)["finite difference"] is None


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("decompose", lambda *a, **o: {key: 2 * value for key, value in cam.decompose(*a, **o).items()}),
        ("grad_cam", lambda *a, **o: np.maximum(cam.grad_cam(*a, **o), 0)),
    ],
)
def test_a_wrong_map_fails(name, broken, monkeypatch):
    net, (x,) = ready(residual(), (1, 3, 8, 8))
    assert cam.check(net, x).passed
    monkeypatch.setattr(tests_of, name, broken)
    assert not passed(net, x)["branch + shortcut = Add"]
    assert bool(passed(net, x)["map + bias = logit"]) == (name == "decompose")


def test_a_wrong_gradient_fails(monkeypatch):
    net, (x,) = ready(residual(), (1, 3, 8, 8))
    right = rules.relu_back
    monkeypatch.setattr(rules, "relu_back", lambda *arguments, **named: 2 * right(*arguments, **named))
    assert not passed(net, x)["finite difference"]


def test_a_cut_in_the_net_fails():
    """The logit depends on a branch through which no gradient goes."""
    block = Net(lambda F, net, x: x + F.BlockGrad(net.branch(x)), branch=conv(3))
    net, (x,) = ready(sequence(block, relu(), *ending()), (1, 3, 8, 8))
    assert not passed(net, x)["finite difference"]
    *_, last = str(cam.check(net, x)).splitlines()
    assert last == "1 of 5 tests failed"


def test_a_finite_difference_says_by_how_much_it_is_off():
    """And the numbers it prints are those that were compared."""
    for net, fits in (
        (residual(), True),
        (sequence(conv(3), Net(lambda F, net, x: x + F.BlockGrad(x)), *ending()), False),
    ):
        net, (x,) = ready(net, (1, 3, 8, 8))
        verdict = cam.check(net, x)[3]
        slopes, by_gradient = re.fullmatch(
            r"slopes in four directions (.*); by the gradient (.*); relative error of the four .*", verdict.said
        ).groups()
        slopes, by_gradient = (np.array(numbers.split(", "), float) for numbers in (slopes, by_gradient))
        off = np.linalg.norm(slopes - by_gradient) / np.linalg.norm(by_gradient)
        assert float(re.search(r"([\d.]+)%, limit 20%$", verdict.said)[1]) == pytest.approx(100 * off, abs=8)
        assert verdict.passed == fits == (off < 0.2)


def test_a_net_that_an_explanation_changes_fails(monkeypatch):
    net, (x,) = ready(residual(), (1, 3, 8, 8))

    def meddling(*arguments, **options):
        net[0].bias.set_data(net[0].bias.data() + 1)
        return cam.grad_cam(*arguments, **options)

    monkeypatch.setattr(tests_of, "grad_cam", meddling)
    assert not passed(net, x)["logits unchanged"]


def test_one_output_of_several():
    net, (x,) = ready(two_heads(), (1, 3, 8, 8))
    with pytest.raises(cam.NetError, match="the net has 2 outputs; say which to explain"):
        cam.check(net, x)
    assert [passed(net, x, output=output)["map + bias = logit"] for output in (0, 1)] == [True, None]
    assert cam.check(net, x, output=1).passed
