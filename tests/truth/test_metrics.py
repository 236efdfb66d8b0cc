"""Measures on maps whose value is known without computing."""

from cam import InputError, NonFiniteError, metrics

import numpy as np
import pytest

MASK = np.zeros((4, 4), bool)
MASK[:2, :2] = True
OTHER = np.zeros((4, 4), bool)
OTHER[3, 3] = True


def test_energy_by_hand():
    heat = np.zeros((4, 4))
    heat[0, 0], heat[3, 3], heat[2, 0], heat[1, 1] = 3, 1, 1, -50
    assert metrics.energy_in_mask(heat, MASK) == 3 / 5
    assert metrics.share_on_object(heat, MASK, OTHER) == 3 / 4
    assert metrics.energy_in_mask(np.ones((4, 4)), MASK) == MASK.mean()
    assert metrics.share_on_object(np.ones((4, 4)), MASK, OTHER) == 4 / 5


def test_no_evidence_counts_as_a_miss():
    for heat in (np.zeros((4, 4)), -np.ones((4, 4))):
        assert metrics.energy_in_mask(heat, MASK) == 0
        assert metrics.share_on_object(heat, MASK, OTHER) == 0
        assert not metrics.pointing_game(heat, MASK)


def test_pointing_game_by_hand():
    heat = np.zeros((40, 40))
    heat[20, 30] = 1
    mask = np.zeros((40, 40), bool)
    mask[20, 10:16] = True
    assert not metrics.pointing_game(heat, mask, tolerance=14)
    assert metrics.pointing_game(heat, mask)  # exactly 15 pixels away
    mask[20, 30] = True
    assert metrics.pointing_game(heat, mask, tolerance=0)


def test_a_small_map_is_resized_to_the_mask():
    heat = np.array([[1.0, 0.0], [0.0, 0.0]])
    assert metrics.energy_in_mask(heat, MASK) > 0.6
    assert metrics.pointing_game(heat, MASK, tolerance=0)


def test_bootstrap():
    values = np.random.default_rng(0).normal(5, 2, 400)
    found = metrics.bootstrap(values)
    assert found.mean == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.15)
    assert found == metrics.bootstrap(values)
    assert str(metrics.bootstrap([0.5, 0.5])) == "0.500 [0.500, 0.500]"
    with pytest.raises(InputError):
        metrics.bootstrap([])


def test_wrong_input_is_refused():
    with pytest.raises(InputError, match=r"heat is \(1, 4, 4\); expected a numpy map"):
        metrics.energy_in_mask(np.ones((1, 4, 4)), MASK)
    with pytest.raises(InputError, match="expected a numpy bool mask"):
        metrics.energy_in_mask(np.ones((4, 4)), MASK.astype(float))
    with pytest.raises(InputError, match="heat is list"):
        metrics.energy_in_mask([[1.0]], MASK)
    with pytest.raises(InputError, match="do not overlap"):
        metrics.share_on_object(np.ones((4, 4)), MASK, MASK)
    with pytest.raises(InputError, match="tolerance is -1"):
        metrics.pointing_game(np.ones((4, 4)), MASK, tolerance=-1)
    with pytest.raises(InputError, match="confidence is 95"):
        metrics.bootstrap([1, 2], confidence=95)
    with pytest.raises(NonFiniteError):
        metrics.energy_in_mask(np.full((4, 4), np.nan), MASK)
