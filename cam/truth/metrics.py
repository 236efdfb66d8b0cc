"""What a map is worth against a mask that is known exactly.

Each measure takes a map and masks of the same scene. A map of another size is first resized to the mask's
(bilinear, `cam.resize_map`). Only positive values count as evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..core.errors import InputError
from ..core.maps import check_map, resize_map


def energy_in_mask(heat: np.ndarray, mask: np.ndarray) -> float:
    """Share of the map's positive energy that lies inside the mask, 0 to 1 (Wang et al. 2020: energy-based pointing).

    By chance, a map without any idea gets the mask's share of the image. A map with no positive value gets 0.

    Parameters
    ----------
    heat : numpy (h, w)
    mask : numpy bool (H, W)

    Raises
    ------
    InputError, NonFiniteError
        If map or mask are not as described.
    """
    positive = _positive(heat, mask)
    return _ratio(positive[mask].sum(), positive.sum())


def share_on_object(heat: np.ndarray, mask: np.ndarray, other: np.ndarray) -> float:
    """Of the positive energy that falls on either of two objects, the share on the right one, 0 to 1.

    The idea of Boehle et al. 2021 (their localisation metric), on objects instead of cells. By chance
    it is the mask's share of both masks. A map with nothing on either object gets 0.

    Parameters
    ----------
    heat : numpy (h, w)
    mask, other : numpy bool (H, W), disjoint: the object of the explained class, and all others

    Raises
    ------
    InputError, NonFiniteError
        If the masks overlap or differ in shape, or map and masks are not as described.
    """
    positive = _positive(heat, mask)
    if getattr(other, "shape", None) != mask.shape or other.dtype != bool or (mask & other).any():
        raise InputError("mask and other must be bool arrays of one shape that do not overlap")
    right = positive[mask].sum()
    return _ratio(right, right + positive[other].sum())


def pointing_game(heat: np.ndarray, mask: np.ndarray, tolerance: int = 15) -> bool:
    """Whether the map's maximum lies on the object, or at most `tolerance` pixels from it (Zhang et al. 2018).

    A map with no positive value misses. Of several maxima the first one counts.

    Parameters
    ----------
    heat : numpy (h, w)
    mask : numpy bool (H, W)
    tolerance : radius in the mask's pixels

    Raises
    ------
    InputError, NonFiniteError
        If the tolerance is negative, or map and mask are not as described.
    """
    if tolerance < 0:
        raise InputError(f"tolerance is {tolerance!r}; expected a number of pixels, at least 0")
    positive = _positive(heat, mask)
    row, column = np.unravel_index(positive.argmax(), positive.shape)
    rows, columns = np.nonzero(mask)
    if positive[row, column] == 0 or len(rows) == 0:
        return False
    return bool(((rows - row) ** 2 + (columns - column) ** 2).min() <= tolerance**2)


@dataclass(frozen=True)
class Interval:
    """A mean with a bootstrap interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap(values: Sequence[float], confidence: float = 0.95, samples: int = 2000, seed: int = 0) -> Interval:
    """Mean of `values` with its percentile bootstrap interval (Efron 1979).

    Raises
    ------
    InputError
        If there are no values.
    """
    values = np.asarray(values, float)
    if values.ndim != 1 or len(values) == 0:
        raise InputError(f"values has shape {values.shape}; expected at least one number in one dimension")
    if not 0 < confidence < 1:
        raise InputError(f"confidence is {confidence!r}; expected a share between 0 and 1, such as 0.95")
    rows = np.random.default_rng(seed).integers(0, len(values), (samples, len(values)))
    low, high = np.quantile(values[rows].mean(axis=1), [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(values.mean()), float(low), float(high))


def _positive(heat: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The map's positive part in float64 at the mask's size."""
    check_map(heat, "heat", 2, "map (h, w)")
    check_map(mask, "mask", 2, "bool mask (H, W)")
    if mask.dtype != bool:
        raise InputError(f"mask is {mask.dtype} {mask.shape}; expected a numpy bool mask (H, W)")
    heat = heat if heat.shape == mask.shape else resize_map(heat, mask.shape)
    return np.maximum(heat, 0).astype(np.float64)


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else 0.0
