"""What a map is worth: against a mask that is known exactly, against the net itself, against another map.

Maps are numpy (h, w) and first resized to the mask, numpy bool (H, W), or to the image; only positive values count as
evidence. InputError or NonFiniteError says which map, mask or number is not as it should be. This file holds the
measures against masks and other maps, `perturbation` those that ask the net, `intervals` the mean of many.
"""

from __future__ import annotations

import numpy as np

from ..core.errors import InputError
from ..maps.resizing import check_map, resize_map
from .intervals import Interval, bootstrap
from .perturbation import Fill, Score, area, blur, blurred, confidence_change, deletion, grey, insertion, onto

__all__ = [
    "Fill", "Interval", "Score", "area", "blur", "bootstrap", "confidence_change", "deletion", "energy_in_mask", "grey",
    "grid_pointing_game", "insertion", "intersection_over_union", "onto", "pointing_game", "rank_correlation",
    "share_on_object", "structural_similarity",
]  # fmt: skip


def energy_in_mask(heat: np.ndarray, mask: np.ndarray) -> float:
    """Share of the map's positive energy that lies inside the mask (Wang et al. 2020: energy-based pointing).

    By chance, a map without any idea gets the mask's share of the image. A map with no positive value gets 0.

    Parameters
    ----------
    heat, mask : the map, and where the object is

    Returns
    -------
    float, 0 to 1
    """
    positive = _positive(heat, mask)
    return _ratio(positive[mask].sum(), positive.sum())


def share_on_object(heat: np.ndarray, mask: np.ndarray, other: np.ndarray) -> float:
    """Of the positive energy that falls on either of two objects, the share on the right one.

    The idea of Boehle et al. 2021 (their localisation metric), on objects instead of cells. By chance
    it is the mask's share of both masks. A map with nothing on either object gets 0.

    Parameters
    ----------
    heat, mask, other : the map, and where the right object and the other one are

    Returns
    -------
    float, 0 to 1

    Raises
    ------
    InputError
        If the masks overlap, or are no bool arrays of one shape.
    """
    positive = _positive(heat, mask)
    if getattr(other, "shape", None) != mask.shape or other.dtype != bool or (mask & other).any():
        raise InputError("mask and other must be bool arrays of one shape that do not overlap")
    right = positive[mask].sum()
    return _ratio(right, right + positive[other].sum())


def pointing_game(heat: np.ndarray, mask: np.ndarray, tolerance: int = 15) -> bool:
    """Whether the map's maximum lies on the object or near it (Zhang et al. 2018).

    A map with no positive value misses. Of several maxima the first one counts.

    Parameters
    ----------
    heat, mask : as for `energy_in_mask`
    tolerance : how many pixels from the object still count

    Returns
    -------
    bool

    Raises
    ------
    InputError
        If the tolerance is negative.
    """
    if tolerance < 0:
        raise InputError(f"tolerance is {tolerance!r}; expected a number of pixels, at least 0")
    positive = _positive(heat, mask)
    row, column = np.unravel_index(positive.argmax(), positive.shape)
    rows, columns = np.nonzero(mask)
    near = (rows - row) ** 2 + (columns - column) ** 2 <= tolerance**2
    return bool(positive[row, column] > 0 and near.any())


def intersection_over_union(heat: np.ndarray, mask: np.ndarray, threshold: float = 0.15) -> float:
    """|M and mask| / |M or mask|, where M is where the map exceeds a share of its maximum; 0 for an empty map.

    Parameters
    ----------
    heat, mask : as for `energy_in_mask`
    threshold : the share; 15 % is that of Selvaraju et al. 2017, section 4.1, there for boxes

    Returns
    -------
    float, 0 to 1
    """
    positive = _positive(heat, mask)
    marked = positive > threshold * positive.max()
    return _ratio((marked & mask).sum(), (marked | mask).sum())


def grid_pointing_game(
    heat: np.ndarray, cell: int, grid: tuple[int, int] = (2, 2), size: tuple[int, int] = (224, 224)
) -> float:
    """Share of the positive energy that lies in one cell of a grid of images (Boehle et al. 2021, equation 7).

    By chance 1 / cells.

    Parameters
    ----------
    heat : explains the class that `cell` shows; each cell shows another one
    cell : counted row by row
    grid : rows and columns
    size : height and width of the whole in pixels

    Returns
    -------
    float, 0 to 1
    """
    rows, columns = (np.arange(side) * parts // side for side, parts in zip(size, grid))
    return energy_in_mask(heat, rows[:, None] * grid[1] + columns == cell)


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation of two maps, ties at their mean rank; 0 if one is flat.

    Parameters
    ----------
    first, second : maps of one shape

    Returns
    -------
    float, -1 to 1
    """
    ranks = []
    for heat in _pair(first, second):
        _, inverse, counts = np.unique(heat, return_inverse=True, return_counts=True)
        ranks.append((np.cumsum(counts) - (counts - 1) / 2)[inverse.ravel()])
    return float(np.corrcoef(ranks)[0, 1]) if np.ptp(ranks, axis=1).all() else 0.0


def structural_similarity(first: np.ndarray, second: np.ndarray, sigma: float = 1.5) -> float:
    """SSIM of two maps (Wang et al. 2004, equation 13), each divided by its largest |value|.

    Mean of (2 m1 m2 + c1)(2 s12 + c2) / ((m1^2 + m2^2 + c1)(s1^2 + s2^2 + c2)), with means m, variances s^2 and
    covariance s12 under a Gaussian; c1 = 0.01^2, c2 = 0.03^2.

    Parameters
    ----------
    first, second : maps of one shape
    sigma : of the Gaussian, in pixels

    Returns
    -------
    float, -1 to 1
    """
    one, other = (heat / (np.abs(heat).max() or 1) for heat in _pair(first, second))
    m1, m2, square1, square2, product = blurred(np.stack([one, other, one**2, other**2, one * other]), sigma)
    v1, v2, covariance = square1 - m1**2, square2 - m2**2, product - m1 * m2
    c1, c2 = 0.01**2, 0.03**2
    alike = (2 * m1 * m2 + c1) * (2 * covariance + c2) / ((m1**2 + m2**2 + c1) * (v1 + v2 + c2))
    return float(alike.mean())


def _pair(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    check_map(first, "first", 2, "map (h, w)")
    check_map(second, "second", 2, "map (h, w)")
    if first.shape != second.shape:
        raise InputError(f"the maps have the shapes {first.shape} and {second.shape}; expected one shape")
    return first, second


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
