"""Display never invents evidence."""

import numpy as np
import pytest

from cam import plot
from cam.errors import InputError, NonFiniteError

IMAGE = np.full((8, 8, 3), 100, np.uint8)


def test_a_map_without_evidence_stays_blank():
    blank = plot.overlay(IMAGE, np.zeros((2, 2)))
    assert np.ptp(blank.reshape(-1, 3), axis=0).max() == 0
    assert np.array_equal(plot.overlay(IMAGE, -np.ones((2, 2))), blank)
    assert set(np.unique(plot.signed_image(np.zeros((3, 4, 4))))) == {128}
    assert not plot.grey_image(np.zeros((4, 4))).any()


def test_the_maximum_is_brightest():
    heat = np.zeros((8, 8))
    heat[2, 5] = 1e-9  # scale does not matter
    shown = plot.overlay(IMAGE, heat).sum(axis=2)
    assert np.unravel_index(shown.argmax(), shown.shape) == (2, 5)


def test_two_maps_can_share_a_scale():
    weak, strong = np.full((2, 2), 0.1), np.ones((2, 2))
    assert np.array_equal(plot.overlay(IMAGE, weak), plot.overlay(IMAGE, strong))
    assert plot.overlay(IMAGE, weak, maximum=1.0).sum() < plot.overlay(IMAGE, strong, maximum=1.0).sum()


def test_a_batch_is_refused_in_words():
    with pytest.raises(InputError, match=r"heat is \(1, 4, 4\); expected numpy \(h, w\): one map, such as heat\[0\]"):
        plot.overlay(IMAGE, np.ones((1, 4, 4)))
    with pytest.raises(InputError, match=r"such as gradient\[0\]"):
        plot.signed_image(np.ones((1, 3, 4, 4)))
    with pytest.raises(InputError, match=r"such as values\[0\]"):
        plot.grey_image(np.ones((1, 4, 4)))
    with pytest.raises(NonFiniteError):
        plot.grey_image(np.full((4, 4), np.nan))


def test_signed_image_is_symmetric():
    gradient = np.zeros((3, 4, 4))
    gradient[0, 0, 0], gradient[0, 3, 3] = 2, -2
    shown = plot.signed_image(gradient)
    assert shown[0, 0].tolist() == [255, 128, 128] and shown[3, 3].tolist() == [0, 128, 128]


def test_grid_needs_a_title_per_row(tmp_path):
    figure = plot.grid([[IMAGE, IMAGE]], ["row"], ["a", "b"])
    figure.savefig(tmp_path / "grid.png")
    assert (tmp_path / "grid.png").stat().st_size > 1000
    with pytest.raises(ValueError, match="zip"):
        plot.grid([[IMAGE]], [], ["a"])
