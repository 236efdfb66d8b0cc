"""A map at another size: the one interpolation, and the check that an array is a map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..core.checks import is_whole
from ..core.errors import InputError, NonFiniteError


def resize_map(m: np.ndarray, size: int | Sequence[int]) -> np.ndarray:
    """Bilinear interpolation with half-pixel centres (align_corners=False): rows @ m @ columns.

    Parameters
    ----------
    m : numpy (..., h, w)
    size : the new height and width in pixels, or one number for both

    Returns
    -------
    numpy float32 (..., height, width)

    Raises
    ------
    InputError
        If m is no map, or a size is not positive.
    NonFiniteError
        If m holds NaN or infinity.
    """
    check_map(m)
    sides: list = list(size) if isinstance(size, (tuple, list)) else [size, size]
    if len(sides) != 2 or not all(is_whole(one) and one > 0 for one in sides):
        raise InputError(f"size is {size!r}; expected a positive int, or two: (height, width)")
    rows, columns = (bilinear(cells, int(pixels)) for cells, pixels in zip(m.shape[-2:], sides))
    return (rows @ m @ columns.T).astype(np.float32)


def check_map(m, name: str = "m", dimensions: int | None = None, expected: str = "map (..., h, w)") -> None:
    """Raise InputError or NonFiniteError if `m` is no numpy (..., h, w) of finite numbers, or has other dimensions."""
    fits = isinstance(m, np.ndarray) and 0 not in m.shape and m.ndim == (dimensions or max(2, m.ndim))
    if not fits:
        raise InputError(f"{name} is {getattr(m, 'shape', type(m).__name__)}; expected a numpy {expected}")
    if not np.isfinite(m).all():
        raise NonFiniteError(f"{name} holds NaN or infinity")


def bilinear(cells: int, pixels: int, start: float = 0, end: float | None = None) -> np.ndarray:
    """Bilinear interpolation along one side as a matrix, float64 (pixels, cells): half-pixel centres, edges held.

    The cells lie, evenly, between `start` and `end`, in pixels; from edge to edge if not given.
    """
    end = pixels if end is None else end
    centres = (np.arange(pixels) + 0.5 - start) / (end - start) * cells - 0.5  # in cells of the map
    distance = np.abs(np.clip(centres, 0, cells - 1)[:, None] - np.arange(cells))
    return np.maximum(1 - distance, 0)
