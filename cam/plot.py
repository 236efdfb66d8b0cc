"""Maps as pictures: the only place where they are normalised and coloured.

Colours are perceptually uniform and safe for colour-blind readers, and every scale starts at zero: a map without
positive evidence stays blank. Each picture is otherwise scaled to its own maximum, so a weak map looks as bright as
a strong one; give `overlay` a common `maximum` to compare maps. Lightness rises with the evidence, so that a
print without colours says the same; where a map is signed, what is negative is hatched.
"""

from __future__ import annotations

import io
from numbers import Real
from textwrap import fill
from typing import TYPE_CHECKING

import matplotlib
import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .errors import InputError, NonFiniteError
from .images import resize_picture
from .maps import resize_map

if TYPE_CHECKING:
    from .explanation import Explanation

HEAT = "inferno"
SIGNED = "PuOr_r"  # orange speaks for the class, purple against it
PERCENTILE = 99.5  # gradients have a few extreme pixels; they may saturate
ROWS = 256  # of a picture at a time: all at once, a large photograph would take gigabytes
LONGEST_SIDE = 640  # pixels of a photograph in a panel


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
        If picture, map or opacity are not as described.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        kind = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise InputError(f"image is {kind}; expected numpy uint8 (H, W, 3) with values from 0 to 255")
    if not isinstance(opacity, Real) or not 0 <= opacity <= 1:
        raise InputError(f"opacity is {opacity!r}; expected a number from 0 to 1")
    _check(heat, "heat", 2, "(h, w): one map, such as heat[0]")
    positive = np.maximum(resize_map(heat, image.shape[:2]), 0)
    scale = positive.max() if maximum is None else maximum
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
    _check(gradient, "gradient", 3, "(3, H, W): one gradient, such as gradient[0]")
    half = np.moveaxis(_unit(np.abs(gradient), _full_scale(gradient)) * np.sign(gradient), 0, -1)
    return _bytes(0.5 + 0.5 * half)


def grey_image(values: np.ndarray) -> np.ndarray:
    """A map's positive part (H, W) as a picture: black is zero and less; numpy uint8 (H, W, 3)."""
    _check(values, "values", 2, "(H, W): one map, such as values[0]")
    positive = np.maximum(values, 0)
    return _bytes(np.repeat(_unit(positive, _full_scale(positive))[..., None], 3, axis=2))


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
    _check(heat, "heat", 2, "(h, w): one map, such as heat[0]")
    enlarged = resize_map(heat, size)
    limit = (np.abs(heat).max() if limit is None else limit) or 1.0  # a map of zeros is white
    drawn = axis.imshow(enlarged, cmap=SIGNED, vmin=-limit, vmax=limit)
    if enlarged.min() < -0.05 * limit:  # next to nothing needs no hatching
        levels = [min(enlarged.min(), -limit) - limit, -0.05 * limit]
        axis.contourf(enlarged, levels=levels, colors="none", hatches=["////"])
    axis.set(xticks=[], yticks=[])
    return drawn


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
    figure = Picture(figsize=(size * len(column_titles) + 0.4, size * len(rows) + 0.5), layout="constrained")
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


def panel(explanation: Explanation) -> Figure:
    """What `Explanation.plot` returns: Grad-CAM over the photograph, and the pixel maps as the net saw the picture."""
    placement = explanation.placement.shrunk(LONGEST_SIDE)
    height, width = placement.photograph
    photograph = resize_picture(explanation.photograph, placement.photograph)
    pixel_maps = explanation.guided_backprop is not None
    columns = 5 if pixel_maps else 2
    aspect = max(0.7, min(width / height, 1.6))
    figure = Picture(figsize=(6 * aspect + 3.2 * (columns - 2), 4.0), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False, width_ratios=[aspect] * 2 + [1] * (columns - 2))[0]
    for axis in axes:
        axis.set(xticks=[], yticks=[])
    axes[0].imshow(photograph)
    axes[0].set_title("picture")
    _draw_frame(axes[0], placement)
    if not placement.seen().all():
        axes[0].set_xlabel("dashed: what the network saw", fontsize=8)
    _draw_heat(axes[1], explanation.grad_cam, photograph, placement)
    if pixel_maps:
        _draw_gradient(axes[2], "guided backpropagation", explanation.guided_backprop)
        _draw_gradient(axes[3], "guided Grad-CAM", explanation.guided_grad_cam)
        axes[4].imshow(grey_image(explanation.saliency))
        axes[4].set_title("saliency")
        _scale_bar(axes[4], "gray", _full_scale(explanation.saliency), "largest |gradient| of the channels")
    title = f"{explanation.label}: probability {explanation.probability:.1%}, logit {explanation.logit:.2f}"
    figure.suptitle(f"{title}; Grad-CAM at {explanation.layer}")
    notes = "\n".join(fill(str(warning), 40 * columns) for warning in explanation.warnings)
    figure.supxlabel(notes, fontsize=8, x=0.01, ha="left")
    return figure


def _draw_frame(axis: Axes, placement) -> None:
    """A dashed outline of what the net saw, where that is less than the picture."""
    if placement.seen().all():
        return
    left, top, right, bottom = placement.box
    options = dict(fill=False, linewidth=1.5)
    axis.add_patch(Rectangle((left, top), right - left, bottom - top, edgecolor="black", **options))
    axis.add_patch(Rectangle((left, top), right - left, bottom - top, edgecolor="white", linestyle="--", **options))


def _draw_heat(axis: Axes, heat: np.ndarray, photograph: np.ndarray, placement) -> None:
    axis.imshow(overlay(photograph, placement.to_photograph(heat), seen=placement.seen()))
    _draw_frame(axis, placement)
    axis.set_title("Grad-CAM")
    if heat.max() <= 0:
        axis.set_xlabel("no evidence for this class", fontsize=8)
    else:
        _scale_bar(axis, HEAT, heat.max(), "evidence, in units of the logit")


def _draw_gradient(axis: Axes, title: str, gradient: np.ndarray) -> None:
    axis.imshow(signed_image(gradient))
    axis.set_title(title)
    axis.set_xlabel(f"grey: 0, full colour: \N{PLUS-MINUS SIGN}{_full_scale(gradient):.2g}", fontsize=8)


def _scale_bar(axis: Axes, colours: str, maximum: float, label: str) -> None:
    bar = axis.figure.colorbar(
        ScalarMappable(Normalize(0, maximum or 1), colours), ax=axis, location="bottom", pad=0.02, shrink=0.9
    )
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=7)
    bar.ax.xaxis.get_offset_text().set_size(7)
    bar.locator = matplotlib.ticker.MaxNLocator(3)


def _check(array: np.ndarray, name: str, dimensions: int, expected: str) -> None:
    if not isinstance(array, np.ndarray) or array.ndim != dimensions:
        raise InputError(f"{name} is {getattr(array, 'shape', type(array).__name__)}; expected numpy {expected}")
    if not np.isfinite(array).all():
        raise NonFiniteError(f"{name} holds NaN or infinity")


def _full_scale(values: np.ndarray) -> float:
    """The magnitude that gets full colour."""
    return float(np.percentile(np.abs(values), PERCENTILE))


def _unit(values: np.ndarray, scale: float) -> np.ndarray:
    """Values over a scale, cut at 1; zero stays zero where there is no scale."""
    return np.minimum(values / scale, 1) if scale > 0 else np.zeros_like(values)


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.rint(values * 255).astype(np.uint8)
