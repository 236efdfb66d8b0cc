"""What a map is worth: against a mask that is known exactly, against the net itself, against another map.

Maps are numpy (h, w) and first resized to the mask, numpy bool (H, W), or to the normalised image, numpy (C, H, W);
only positive values count as evidence. What needs a net takes it as `score`: a function of images (N, C, H, W) that
returns the probability of the explained class, numpy (N,), such as `cam.evaluation.score_of` gives. InputError or
NonFiniteError says which map, mask or number is not as it should be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..core.errors import InputError
from ..maps.resizing import check_map, resize_map

Sides = tuple[int, int]
Score = Callable[[np.ndarray], np.ndarray]
Fill = Callable[[np.ndarray, np.ndarray], np.ndarray]  # image (C, H, W) and bool (H, W), what of it is removed


def energy_in_mask(heat: np.ndarray, mask: np.ndarray) -> float:
    """Share of the map's positive energy that lies inside the mask (Wang et al. 2020: energy-based pointing).

    By chance, a map without any idea gets the mask's share of the image. A map with no positive value gets 0.

    Parameters
    ----------
    heat : the map
    mask : of the object

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
    heat : the map
    mask, other : of the right object, and of the other one

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
    heat : the map
    mask : of the object
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
    if positive[row, column] == 0 or len(rows) == 0:
        return False
    return bool(((rows - row) ** 2 + (columns - column) ** 2).min() <= tolerance**2)


def intersection_over_union(heat: np.ndarray, mask: np.ndarray, threshold: float = 0.15) -> float:
    """|M and mask| / |M or mask|, where M is where the map exceeds a share of its maximum; 0 for an empty map.

    Parameters
    ----------
    heat : the map
    mask : of the object
    threshold : the share; 15 % is that of Selvaraju et al. 2017, section 4.1, there for boxes

    Returns
    -------
    float, 0 to 1
    """
    positive = _positive(heat, mask)
    marked = positive > threshold * positive.max()
    return _ratio((marked & mask).sum(), (marked | mask).sum())


def grid_pointing_game(heat: np.ndarray, cell: int, grid: Sides = (2, 2), size: Sides = (224, 224)) -> float:
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


def grey(image: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """Fill: what is removed becomes 0, the mean colour of a normalised image.

    Parameters
    ----------
    image : numpy (C, H, W)
    removed : numpy bool (H, W)

    Returns
    -------
    numpy (C, H, W)
    """
    return np.where(removed, 0, image)


def blur(image: np.ndarray, removed: np.ndarray, sigma: float = 10) -> np.ndarray:
    """Fill: what is removed becomes the image blurred by a Gaussian.

    Parameters
    ----------
    image, removed : as for `grey`
    sigma : of the Gaussian, in pixels

    Returns
    -------
    numpy (C, H, W)
    """
    return np.where(removed, _blurred(image, sigma), image)


def onto(background: np.ndarray) -> Fill:
    """Fill: what is removed shows another picture, such as a background.

    Parameters
    ----------
    background : a normalised image, numpy (C, H, W)

    Returns
    -------
    Function of an image and of what is removed, as `grey`
    """
    return lambda image, removed: np.where(removed, background, image)


def deletion(heat: np.ndarray, image: np.ndarray, score: Score, fill: Fill = grey, steps: int = 20) -> np.ndarray:
    """The score while the map's highest pixels are removed first (Petsiuk et al. 2018, algorithm 1): low is good.

    Parameters
    ----------
    heat : the map
    image : what it explains
    score : how sure the net is of images
    fill : `grey`, `blur`, `onto(background)`, or a function of the image and of what is removed, bool (H, W)
    steps : the shares removed are 0, 1 / steps, ..., 1

    Returns
    -------
    numpy (steps + 1,) of scores; `area` makes one number of it
    """
    heat = resize_map(heat, image.shape[1:])
    rank = np.empty(heat.size)
    rank[np.argsort(-heat, axis=None, kind="stable")] = np.arange(heat.size) / heat.size
    removed = rank.reshape(heat.shape) < np.linspace(0, 1, steps + 1)[:, None, None]
    return score(np.stack([fill(image, one) for one in removed]).astype(image.dtype))


def insertion(heat: np.ndarray, image: np.ndarray, score: Score, fill: Fill = blur, steps: int = 20) -> np.ndarray:
    """The score while the highest pixels are put back first (Petsiuk et al. 2018): high is good.

    Parameters
    ----------
    heat, image, score, fill, steps : as for `deletion`

    Returns
    -------
    numpy (steps + 1,) of scores
    """
    return deletion(-heat, image, score, fill, steps)[::-1]  # of the lowest pixels, read backwards


def area(curve: np.ndarray) -> float:
    """The area under a curve over the shares 0 to 1, by trapezoids: the mean score.

    Parameters
    ----------
    curve : of `deletion` or `insertion`

    Returns
    -------
    float
    """
    return float((curve[1:] + curve[:-1]).mean() / 2)


def confidence_change(heat: np.ndarray, image: np.ndarray, score: Score) -> tuple[float, float]:
    """Drop max(0, Y - O) / Y and whether confidence increases, O > Y (Chattopadhay et al. 2018, section 4.1).

    Y is the score of the image, O that of the image times the map over its maximum. Reported as means over images.

    Parameters
    ----------
    heat, image, score : as for `deletion`

    Returns
    -------
    tuple of float, the drop, and 1 if confidence increases, else 0
    """
    stretched = np.maximum(resize_map(heat, image.shape[1:]), 0)
    stretched /= stretched.max() or 1
    whole, kept = score(np.stack([image, image * stretched]).astype(image.dtype))
    return _ratio(max(0, whole - kept), whole), float(kept > whole)


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
    one, other = (rank - rank.mean() for rank in ranks)
    length = np.sqrt((one**2).sum() * (other**2).sum())
    return float((one * other).sum() / length) if length > 0 else 0.0


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
    m1, m2 = _blurred(one, sigma), _blurred(other, sigma)
    v1, v2 = _blurred(one**2, sigma) - m1**2, _blurred(other**2, sigma) - m2**2
    covariance = _blurred(one * other, sigma) - m1 * m2
    c1, c2 = 0.01**2, 0.03**2
    alike = (2 * m1 * m2 + c1) * (2 * covariance + c2) / ((m1**2 + m2**2 + c1) * (v1 + v2 + c2))
    return float(alike.mean())


def _pair(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    check_map(first, "first", 2, "map (h, w)")
    check_map(second, "second", 2, "map (h, w)")
    if first.shape != second.shape:
        raise InputError(f"the maps have the shapes {first.shape} and {second.shape}; expected one shape")
    return first, second


def _blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    """(..., H, W) under a Gaussian of `sigma` pixels, whose weights add up to 1 at the edges too."""
    sides = []
    for pixels in map(np.arange, image.shape[-2:]):
        weights = np.exp(-((pixels[:, None] - pixels) ** 2) / (2 * sigma**2))
        sides.append(weights / weights.sum(axis=1, keepdims=True))
    return sides[0] @ image @ sides[1].T


@dataclass(frozen=True)
class Interval:
    """A mean with a bootstrap interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap(
    values: Sequence[float], confidence: float = 0.95, samples: int = 2000, seed: int = 0, clusters=None
) -> Interval:
    """Mean of values with its percentile bootstrap interval (Efron 1979).

    Parameters
    ----------
    values : numbers, in one dimension
    confidence : of the interval
    samples : how often to draw
    seed : of the draws
    clusters : one mark per value: those of one mark, such as a scene's two maps, are drawn together, since they are no
        independent witnesses (cluster bootstrap: Davison and Hinkley 1997, section 3.8). None if all are independent

    Returns
    -------
    Interval

    Raises
    ------
    InputError
        If there are no values, not as many marks, or confidence is no share.
    """
    values = np.asarray(values, float)
    if values.ndim != 1 or len(values) == 0:
        raise InputError(f"values has shape {values.shape}; expected at least one number in one dimension")
    if not 0 < confidence < 1:
        raise InputError(f"confidence is {confidence!r}; expected a share between 0 and 1, such as 0.95")
    marks = np.arange(len(values)) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    if len(marks) != len(values):
        raise InputError(f"clusters has {len(marks)} marks for {len(values)} values; give one for each")
    sums, counts = np.bincount(marks, values), np.bincount(marks)
    rows = np.random.default_rng(seed).integers(0, len(sums), (samples, len(sums)))
    means = sums[rows].sum(axis=1) / counts[rows].sum(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
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
