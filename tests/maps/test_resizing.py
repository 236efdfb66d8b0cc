"""A map at another size, against numpy."""

import cam
from cam import InputError, NonFiniteError

import numpy as np
import pytest
from conftest import relative_l2

MAP = np.array([[1, 0], [2, 5]], np.float32)


class TestResize:
    def test_by_hand(self):
        """Half-pixel centres: the middle of two pixels lies at their common edge."""
        assert cam.resize_map(np.array([[0, 4]]), (1, 4)).tolist() == [[0, 1, 3, 4]]
        assert cam.resize_map(np.array([[0], [4]]), (4, 2)).tolist() == [[0, 0], [1, 1], [3, 3], [4, 4]]
        assert cam.resize_map(np.full((2, 3, 3), 7), 5).tolist() == np.full((2, 5, 5), 7).tolist()

    def test_against_numpys_interpolation(self):
        small = np.random.default_rng(0).normal(size=(7, 7))
        positions = np.clip((np.arange(224) + 0.5) * 7 / 224 - 0.5, 0, 6)
        rows = np.array([np.interp(positions, range(7), row) for row in small])
        expected = np.array([np.interp(positions, range(7), column) for column in rows.T]).T
        found = cam.resize_map(small, 224)
        assert relative_l2(found, expected) < 1e-6 and found.dtype == np.float32

    def test_refused(self):
        for size in (0, 224.0, "a", None, (224, 224, 3), (3, -1), True):
            with pytest.raises(InputError, match="size is .*; expected a positive int, or two"):
                cam.resize_map(MAP, size)
        for m in (MAP[0], [[1, 2]], np.ones((0, 3))):
            with pytest.raises(InputError, match=r"m is .*; expected a numpy map \(..., h, w\)"):
                cam.resize_map(m, 4)
        with pytest.raises(NonFiniteError, match="m holds NaN or infinity"):
            cam.resize_map(MAP * np.nan, 4)
