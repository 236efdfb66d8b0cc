"""Draw maps, alone or over a picture: the only place where they are normalised and coloured.

Colours are perceptually uniform and safe for colour-blind readers, and every scale starts at zero: a map without
positive evidence stays blank. Each picture is otherwise scaled to its own maximum, so a weak map looks as bright as
a strong one; give `overlay` a common `maximum` to compare maps. Lightness rises with the evidence, so that a
print without colours says the same; where a map is signed, what is negative is hatched.
"""

from __future__ import annotations

import io
from numbers import Real

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

from ..core.errors import InputError
from ..maps.resizing import check_map, resize_map

HEAT = "inferno"
SIGNED = "PuOr_r"  # orange speaks for the class, purple against it
PERCENTILE = 99.5  # gradients have a few extreme pixels; they may saturate
HATCHED = 0.15  # what speaks against the class with less than this share of the limit looks white, and stays so
ROWS = 256  # of a picture at a time: all at once, a large photograph would take gigabytes


class Picture(Figure):
    """A matplotlib Figure that a notebook shows, with or without pyplot: as JPEG, since it is made of photographs."""

    def _ipython_display_(self) -> None:
        from IPython.display import Image, display  # only a notebook calls this

        buffer = io.BytesIO()
        self.savefig(buffer, format="jpeg", pil_kwargs={"quality": 88})
        display(Image(data=buffer.getvalue(), format="jpeg"))


def overlay(
    image: np.ndarray,
    heat: np.ndarray,
    *,
    opacity: float = 0.6,
    maximum: float | None = None,
    seen: np.ndarray | None = None,
) -> np.ndarray:
    """A map's positive part in colour over a greyed picture.

    Parameters
    ----------
    image : numpy uint8 (H, W, 3)
    heat : numpy (h, w); zero and less get the darkest colour
    opacity : of the colours over the picture, 0 to 1
    maximum : the value that gets the brightest colour; the map's own maximum if not given
    seen : numpy bool (H, W), what the net saw; the rest keeps the picture's own colours. All of it if not given

    Returns
    -------
    numpy uint8 (H, W, 3)

    Raises
    ------
    InputError, NonFiniteError
        If picture, map, opacity or maximum are not as described.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        kind = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise InputError(f"image is {kind}; expected numpy uint8 (H, W, 3) with values from 0 to 255")
    if not isinstance(opacity, Real) or not 0 <= opacity <= 1:
        raise InputError(f"opacity is {opacity!r}; expected a number from 0 to 1")
    check_map(heat, "heat", 2, "map (h, w), such as heat[0]")
    positive = np.maximum(resize_map(heat, image.shape[:2]), 0)
    scale = float(positive.max() if maximum is None else maximum)
    if not scale >= 0 or not np.isfinite(scale):
        raise InputError(f"maximum is {maximum!r}; expected a finite number of at least 0")
    colours = 255 * matplotlib.colormaps[HEAT](np.arange(256))[:, :3].astype(np.float32)  # (256, 3)
    covered = np.empty_like(image)
    for start in range(0, len(image), ROWS):
        rows = slice(start, start + ROWS)
        level = np.minimum(256 * _unit(positive[rows], scale), 255).astype(np.uint8)
        grey = image[rows].mean(axis=2, keepdims=True, dtype=np.float32)
        covered[rows] = np.rint(opacity * colours[level] + (1 - opacity) * grey)
    return covered if seen is None else np.where(seen[..., None], covered, image)


def signed_image(gradient: np.ndarray) -> np.ndarray:
    """A signed gradient as a picture: grey is zero, each channel brighter for plus and darker for minus.

    Parameters
    ----------
    gradient : numpy (3, H, W)

    Returns
    -------
    numpy uint8 (H, W, 3)
    """
    check_map(gradient, "gradient", 3, "gradient (3, H, W), such as gradient[0]")
    half = np.moveaxis(_unit(np.abs(gradient), full_scale(gradient)) * np.sign(gradient), 0, -1)
    return _bytes(0.5 + 0.5 * half)


def grey_image(values: np.ndarray) -> np.ndarray:
    """A map's positive part as a picture: black is zero and less.

    Parameters
    ----------
    values : numpy (H, W)

    Returns
    -------
    numpy uint8 (H, W, 3)
    """
    check_map(values, "values", 2, "map (H, W), such as values[0]")
    positive = np.maximum(values, 0)
    return _bytes(np.repeat(_unit(positive, full_scale(positive))[..., None], 3, axis=2))


def draw_signed(axis: Axes, heat: np.ndarray, size: int | tuple[int, int], limit: float | None = None):
    """Draw a signed map: white is zero, orange speaks for the class, purple and hatched against it.

    Parameters
    ----------
    axis : where to draw
    heat : numpy (h, w), signed
    size : the height and width at which to draw it, as in `resize_map`
    limit : the value of full colour, on both sides; the map's largest magnitude if not given

    Returns
    -------
    What `figure.colorbar` takes
    """
    check_map(heat, "heat", 2, "map (h, w), such as heat[0]")
    enlarged = resize_map(heat, size)
    limit = (np.abs(heat).max() if limit is None else limit) or 1.0  # a map of zeros is white
    drawn = axis.imshow(enlarged, cmap=SIGNED, vmin=-limit, vmax=limit)
    if enlarged.min() < -HATCHED * limit:  # next to nothing needs no hatching
        levels = [min(enlarged.min(), -limit) - limit, -HATCHED * limit]
        axis.contourf(enlarged, levels=levels, colors="none", hatches=["////"])
    axis.set(xticks=[], yticks=[])
    return drawn


def grid(rows: list[list[np.ndarray]], row_titles: list[str], column_titles: list[str], size: float = 2.0) -> Figure:
    """Pictures in rows and columns, with the titles outside.

    Parameters
    ----------
    rows : pictures, numpy uint8 (H, W, 3)
    row_titles, column_titles : one for each row and each column
    size : width of one picture in inches

    Returns
    -------
    A matplotlib Figure that belongs to no window; `figure.savefig(path)` writes it
    """
    heights = [max(len(picture) / picture.shape[1] for picture in pictures) for pictures in rows]
    figure = Picture(figsize=(size * len(column_titles) + 0.4, size * sum(heights) + 0.5), layout="constrained")
    axes = figure.subplots(len(rows), len(column_titles), squeeze=False, height_ratios=heights)
    for pictures, row, row_title in zip(rows, axes, row_titles, strict=True):
        row[0].set_ylabel(row_title, fontsize=9)
        for picture, axis in zip(pictures, row, strict=True):
            axis.imshow(picture)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
    for axis, title in zip(axes[0], column_titles):
        axis.set_title(title, fontsize=10)
    return figure


def writable(text: str) -> str:
    """A text in which letters that matplotlib's fonts lack are written by their numbers, not as empty boxes.

    Parameters
    ----------
    text : to be drawn

    Returns
    -------
    str, such as "backslash u732b" for a letter of a language that the font lacks
    """
    fonts = [get_font(findfont(FontProperties(family=[family]))) for family in FontProperties().get_family()]
    drawn = (one == "\n" or any(font.get_char_index(ord(one)) for font in fonts) for one in text)
    return "".join(one if known else one.encode("unicode_escape").decode() for one, known in zip(text, drawn))


def full_scale(values: np.ndarray) -> float:
    """The magnitude that gets full colour.

    Parameters
    ----------
    values : numpy, of any shape

    Returns
    -------
    float
    """
    return float(np.percentile(np.abs(values), PERCENTILE))


def _unit(values: np.ndarray, scale: float) -> np.ndarray:
    """Values over a scale, cut at 1; zero stays zero where there is no scale."""
    return np.minimum(values / scale, 1) if scale > 0 else np.zeros_like(values)


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.rint(values * 255).astype(np.uint8)
