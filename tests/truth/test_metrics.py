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
    assert not metrics.pointing_game(heat, np.zeros_like(mask))  # no object, nothing to point at


def test_a_small_map_is_resized_to_the_mask():
    heat = np.array([[1.0, 0.0], [0.0, 0.0]])
    assert metrics.energy_in_mask(heat, MASK) > 0.6
    assert metrics.pointing_game(heat, MASK, tolerance=0)


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
    for alike in (metrics.rank_correlation, metrics.structural_similarity):
        with pytest.raises(InputError, match=r"the maps have the shapes \(4, 4\) and \(2, 2\); expected one shape"):
            alike(np.ones((4, 4)), np.ones((2, 2)))
    with pytest.raises(NonFiniteError):
        metrics.energy_in_mask(np.full((4, 4), np.nan), MASK)


def test_intersection_over_union_by_hand():
    heat = np.zeros((4, 4))
    heat[0, :3] = 100, 16, 15  # the last is not above 15 %
    assert metrics.intersection_over_union(heat, MASK) == 2 / 4
    heat[3, 3] = 20
    assert metrics.intersection_over_union(heat, MASK) == 2 / 5
    assert metrics.intersection_over_union(heat, MASK, threshold=0.5) == 1 / 4
    assert metrics.intersection_over_union(np.zeros((4, 4)), MASK) == 0


def test_grid_pointing_game_by_hand():
    heat = np.arange(24.0).reshape(4, 6)  # cells of 2 x 3
    shares = [metrics.grid_pointing_game(heat, cell, size=(4, 6)) for cell in range(4)]
    assert shares == [24 / 276, 42 / 276, 96 / 276, 114 / 276]
    assert metrics.grid_pointing_game(heat, 2, grid=(1, 3), size=(4, 6)) == (4 + 5 + 10 + 11 + 16 + 17 + 22 + 23) / 276
    assert metrics.grid_pointing_game(np.ones((7, 7)), 0) == pytest.approx(1 / 4)


def test_rank_correlation_by_hand():
    first = np.array([[1.0, 2.0], [3.0, 40.0]])
    assert metrics.rank_correlation(first, first**3) == pytest.approx(1)
    assert metrics.rank_correlation(first, -first) == pytest.approx(-1)
    # Ranks 1, 2, 3, 4 and 1.5, 1.5, 3, 4: covariance 4.5 / sqrt(5 * 4.5).
    assert metrics.rank_correlation(first, np.array([[0.0, 0.0], [1.0, 2.0]])) == pytest.approx(np.sqrt(0.9))
    assert metrics.rank_correlation(first, np.ones((2, 2))) == 0


def test_structural_similarity_by_hand():
    first = np.random.default_rng(0).random((32, 32))
    assert metrics.structural_similarity(first, 5 * first) == pytest.approx(1)
    flat = np.ones((8, 8))  # m = 1 and 0, no variance
    assert metrics.structural_similarity(flat, 0 * flat) == pytest.approx(0.01**2 / (1 + 0.01**2))
    one, other = np.array([[0, 1.0]]), np.array([[1, 0.5]])  # m 1/2 and 3/4, s^2 1/4 and 1/16, s12 -1/8
    expected = (3 / 4 + 1e-4) * (-1 / 4 + 9e-4) / ((13 / 16 + 1e-4) * (5 / 16 + 9e-4))
    assert metrics.structural_similarity(one, other, sigma=1e6) == pytest.approx(expected)
