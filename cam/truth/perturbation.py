"""What a map is worth to the net itself: how its answer changes when pixels are removed, put back, or dimmed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..maps.resizing import resize_map

Score = Callable[[np.ndarray], np.ndarray]  # of images (N, C, H, W) the probability of the explained class, (N,)
Fill = Callable[[np.ndarray, np.ndarray], np.ndarray]  # of an image and bool (H, W), what of it is removed, an image


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
    return np.where(removed, blurred(image, sigma), image)


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
    image : what it explains, normalised, numpy (C, H, W)
    score : how sure the net is of images, as a function, such as `cam.evaluation.score_of` gives
    fill : `grey`, `blur`, `onto(background)`, or a function of one's own as they are
    steps : the shares removed are 0, 1 / steps, ..., 1

    Returns
    -------
    numpy (steps + 1,) of scores; `area` makes one number of it
    """
    heat = resize_map(heat, image.shape[1:])
    rank = np.argsort(np.argsort(-heat, axis=None, kind="stable")).reshape(heat.shape)
    removed = rank / heat.size < np.linspace(0, 1, steps + 1)[:, None, None]
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
    drop = max(0, whole - kept) / whole if whole > 0 else 0
    return float(drop), float(kept > whole)


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    """(..., H, W) under a Gaussian of `sigma` pixels, whose weights add up to 1 at the edges too."""
    sides = []
    for pixels in map(np.arange, image.shape[-2:]):
        weights = np.exp(-((pixels[:, None] - pixels) ** 2) / (2 * sigma**2))
        sides.append(weights / weights.sum(axis=1, keepdims=True))
    return sides[0] @ image @ sides[1].T
