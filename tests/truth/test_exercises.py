"""A check says what was expected, what came, and which mistake it looks like."""

import contextlib

import cam
from cam import metrics
from cam.truth.exercises import check, unaided

import numpy as np
import pytest
from mxnet import nd


@pytest.mark.parametrize(
    ("came", "expected"),
    [
        (1, 1.0),
        (True, True),
        (np.bool_(False), False),
        (False, np.bool_(False)),
        ("features.10", "features.10"),
        ([1, 2], np.array([1.0, 2.0])),
        (nd.array([[1, 2]]), [[1, 2]]),
        (100.001, 100),
        (0.00005, 0),
        ([], []),
    ],
)
def test_equal(came, expected):
    check("it", came, expected)


@pytest.mark.parametrize(
    ("came", "expected", "says"),
    [
        (None, 1, "is a return missing?"),
        (None, [1, 2], "but came: None"),
        (2, 1, "the largest difference is 1, at the only number"),
        ([1, 5, 3], [1, 2, 3], "at index (1,)"),
        (100.02, 100, "the largest difference"),
        ([[1]], [1], "the shape should be (1,), not (1, 1)"),
        ([np.nan, 1], [0, 1], "NaN or infinity"),
        (np.inf, 1, "NaN or infinity"),
        ("a", 1, "numbers were expected, not str"),
        ({"a": 1}, [1], "numbers were expected, not dict"),
        (1, True, "not what it should be"),
        ("b", "a", "but came: 'b'"),
    ],
)
def test_different(came, expected, says):
    with pytest.raises(AssertionError) as caught:
        check("the thing", came, expected)
    message = str(caught.value)
    assert message.startswith("the thing: ") and says in message
    assert "expected: " in message and "but came: " in message


def test_the_hint_of_the_mistake_that_gives_this_result():
    likely = {"Take the mean.": [4, 8], "Mind the sign.": [-1, -2]}
    with pytest.raises(AssertionError, match="expected: .*1.0, 2.0.*\n.*-1.0, -2.0.*\nHint: Mind the sign.$"):
        check("the weights", [-1, -2], [1, 2], likely)
    with pytest.raises(AssertionError) as caught:
        check("the weights", [7, 7], [1, 2], likely)
    assert "Hint" not in str(caught.value)


def test_large_arrays_are_summed_up():
    with pytest.raises(
        AssertionError, match=r"expected: shape \(8, 9\), from 0 to 0, mean 0\nbut came: shape \(8, 9\), from 1"
    ):
        check("the map", np.ones((8, 9)), np.zeros((8, 9)))


def test_an_answer_that_calls_what_it_should_write_fails_under_whatever_name():
    mine, mask = metrics.energy_in_mask, np.ones((2, 2), bool)
    with pytest.raises(AssertionError, match="this answer calls energy_in_mask"), unaided(metrics.energy_in_mask):
        mine(np.ones((2, 2)), mask)
    hidden = contextlib.suppress(Exception)
    with pytest.raises(AssertionError, match="this answer calls grad_cam,"), unaided(cam.grad_cam), hidden:
        cam.grad_cam(None, None)
    with unaided(cam.grad_cam):
        assert mine(np.ones((2, 2)), mask) == 1
    assert mine(np.ones((2, 2)), mask) == 1
