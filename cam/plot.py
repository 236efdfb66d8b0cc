"""Maps as pictures: the only place where they are normalised and coloured.

Colours are perceptually uniform and safe for colour-blind readers, and every scale starts at zero: a map without
positive evidence stays blank. Each picture is otherwise scaled to its own maximum, so a weak map looks as bright as
a strong one; give `overlay` a common `maximum` to compare maps.
"""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from .errors import InputError, NonFiniteError
from .maps import resize_map

HEAT = "inferno"
PERCENTILE = 99.5  # gradients have a few extreme pixels; they may saturate


def overlay(image: np.ndarray, heat: np.ndarray, opacity: float = 0.6, maximum: float | None = None) -> np.ndarray:
    """A map's positive part in colour over a greyed picture.

    Parameters
    ----------
    image : numpy uint8 (H, W, 3)
    heat : numpy (h, w); zero and less get the darkest colour
    opacity : of the colours over the picture, 0 to 1
    maximum : the value that gets the brightest colour; the map's own maximum if not given

    Returns
    -------
    numpy uint8 (H, W, 3)
    """
    _check(image, "image", 3, "(H, W, 3)")
    _check(heat, "heat", 2, "(h, w): one map, such as heat[0]")
    positive = np.maximum(resize_map(heat, image.shape[:2]), 0)
    colour = matplotlib.colormaps[HEAT](_unit(positive, positive.max() if maximum is None else maximum))[..., :3]
    grey = np.repeat(image.mean(axis=2, keepdims=True) / 255, 3, axis=2)
    return _bytes(opacity * colour + (1 - opacity) * grey)


def signed_image(gradient: np.ndarray) -> np.ndarray:
    """A signed gradient as a picture: grey is zero, each channel brighter for plus and darker for minus.

    Parameters
    ----------
    gradient : numpy (3, H, W)

    Returns
    -------
    numpy uint8 (H, W, 3)
    """
    _check(gradient, "gradient", 3, "(3, H, W): one gradient, such as gradient[0]")
    scale = np.percentile(np.abs(gradient), PERCENTILE)
    half = np.moveaxis(_unit(np.abs(gradient), scale) * np.sign(gradient), 0, -1)
    return _bytes(0.5 + 0.5 * half)


def grey_image(values: np.ndarray) -> np.ndarray:
    """A non-negative map (H, W) as a picture: black is zero; numpy uint8 (H, W, 3)."""
    _check(values, "values", 2, "(H, W): one map, such as values[0]")
    return _bytes(np.repeat(_unit(values, np.percentile(values, PERCENTILE))[..., None], 3, axis=2))


def grid(rows: list[list[np.ndarray]], row_titles: list[str], column_titles: list[str], size: float = 2.0) -> Figure:
    """Pictures in rows and columns, with the titles outside.

    Parameters
    ----------
    rows : pictures, numpy uint8 (H, W, 3)
    size : width of one picture in inches

    Returns
    -------
    A matplotlib Figure that belongs to no window; `figure.savefig(path)` writes it.
    """
    figure = Figure(figsize=(size * len(column_titles) + 0.4, size * len(rows) + 0.3), layout="constrained")
    axes = figure.subplots(len(rows), len(column_titles), squeeze=False)
    for pictures, row, row_title in zip(rows, axes, row_titles, strict=True):
        row[0].set_ylabel(row_title, fontsize=9)
        for picture, axis in zip(pictures, row, strict=True):
            axis.imshow(picture)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
    for axis, title in zip(axes[0], column_titles):
        axis.set_title(title, fontsize=10)
    return figure


def _check(array: np.ndarray, name: str, dimensions: int, expected: str) -> None:
    if not isinstance(array, np.ndarray) or array.ndim != dimensions:
        raise InputError(f"{name} is {getattr(array, 'shape', type(array).__name__)}; expected numpy {expected}")
    if not np.isfinite(array).all():
        raise NonFiniteError(f"{name} holds NaN or infinity")


def _unit(values: np.ndarray, scale: float) -> np.ndarray:
    """Values over a scale, cut at 1; zero stays zero where there is no scale."""
    return np.minimum(values / scale, 1) if scale > 0 else np.zeros_like(values)


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.rint(values * 255).astype(np.uint8)
