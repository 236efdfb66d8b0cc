"""What a picture's explanation holds, and the panel that shows it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from ..core.errors import CamWarning, InputError, NetError
from . import plot
from .images import Placement, whole_file

LONGEST_SIDE = 640  # pixels of a photograph in a panel


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """Where a network looked in one picture, for one class.

    Attributes
    ----------
    label : name of the class, or "class 7" if the net has no labels
    target, logit, probability : the class's number, and what the net gives it; the probability is the softmax of all
        logits, or the sigmoid of this one if the net ends in sigmoid; None if the net has one output and no sigmoid
    layer : structural path of the layer of the Grad-CAM
    grad_cam : numpy (h, w), raw, at the layer's resolution
    guided_backprop, guided_grad_cam : numpy (3, H, W), signed, in the frame that the net took; None if the net has no
        ReLU, for which alone guided backpropagation is defined
    saliency : numpy (H, W), likewise
    photograph : numpy uint8, the picture as a person sees it
    placement : where the net's frame lies in the photograph
    warnings : what to know before believing the maps, as instances of `CamWarning`
    """

    label: str
    target: int
    logit: float
    probability: float | None
    layer: str
    grad_cam: np.ndarray
    guided_backprop: np.ndarray | None
    guided_grad_cam: np.ndarray | None
    saliency: np.ndarray
    photograph: np.ndarray
    placement: Placement
    warnings: tuple[CamWarning, ...]

    def __repr__(self) -> str:
        return f"<Explanation of {self.label}, {self.score}, Grad-CAM at {self.layer}>"

    @property
    def score(self) -> str:
        """The probability and the logit in words."""
        logit = f"logit {self.logit:.2f}"
        return logit if self.probability is None else f"probability {self.probability:.1%}, {logit}"

    def overlay(self) -> np.ndarray:
        """The Grad-CAM over the photograph at its full size, numpy uint8 (H, W, 3); what was not seen is left."""
        heat, seen = self.placement.to_photograph(self.grad_cam), self.placement.seen()
        return plot.overlay(self.photograph, heat, seen=seen)

    def pictures(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Grad-CAM over the photograph, guided Grad-CAM, and guided Grad-CAM in grey: numpy uint8 (H, W, 3) each.

        Raises
        ------
        NetError
            If there is no guided Grad-CAM because the net has no ReLU.
        """
        if self.guided_grad_cam is None:
            raise NetError("there is no guided Grad-CAM: this net has no ReLU")
        product = self.placement.to_photograph(self.guided_grad_cam)  # (3, H, W)
        grey = plot.grey_image(np.maximum(product, 0).sum(axis=0))
        return self.overlay(), plot.signed_image(product), grey

    def plot(self) -> Figure:
        """A matplotlib Figure: Grad-CAM over the photograph, the pixel maps as the net saw it, scales and warnings."""
        placement = self.placement.shrunk(LONGEST_SIDE)
        height, width = placement.photograph
        photograph = np.array(Image.fromarray(self.photograph).resize((width, height), Image.Resampling.BILINEAR))
        gradients = {"guided backpropagation": self.guided_backprop, "guided Grad-CAM": self.guided_grad_cam}
        gradients = {title: gradient for title, gradient in gradients.items() if gradient is not None}
        aspect = max(0.7, min(width / height, 1.6))
        widths = [aspect] * 2 + [1] * (len(gradients) + 1)
        figure = plot.Picture(figsize=(6 * aspect + 3.2 * (len(widths) - 2), 4.0), layout="constrained")
        axes = figure.subplots(1, len(widths), width_ratios=widths, subplot_kw={"xticks": [], "yticks": []})
        axes[0].imshow(photograph)
        axes[0].set_title("picture")
        _draw_frame(axes[0], placement)
        if axes[0].patches:
            axes[0].set_xlabel("dashed: what the network saw", fontsize=8)
        _draw_heat(axes[1], self.grad_cam, photograph, placement)
        for axis, (title, gradient) in zip(axes[2:], gradients.items()):
            axis.imshow(plot.signed_image(gradient))
            scale = plot.full_scale(gradient)
            axis.set_title(title)
            axis.set_xlabel(f"grey: 0, full colour: \N{PLUS-MINUS SIGN}{scale:.2g}", fontsize=8)
        axes[-1].imshow(plot.grey_image(self.saliency))
        axes[-1].set_title("saliency")
        _scale_bar(axes[-1], "gray", plot.full_scale(self.saliency), "largest |gradient| of the channels")
        figure.suptitle(f"{self.label}: {self.score}; Grad-CAM at {self.layer}", parse_math=False)
        notes = "\n".join(fill(str(warning), 40 * len(widths)) for warning in self.warnings)
        figure.supxlabel(notes, fontsize=8, x=0.01, ha="left", parse_math=False)
        return figure

    def save(self, path: str | Path) -> Path:
        """Write the panel of `plot`; the ending says how: .png, .jpg, .pdf, .svg and what else matplotlib knows.

        Raises
        ------
        InputError
            If the ending is unknown or nothing can be written there; no partial file is left.
        """
        path = Path(path)
        figure = self.plot()
        known = figure.canvas.get_supported_filetypes()
        kind = path.suffix[1:].lower()
        if kind not in known:
            raise InputError(f"cannot write {path}: its ending is none of {', '.join(sorted(known))}")
        with whole_file(path) as file:
            figure.savefig(file, format=kind, dpi=110)
        return path


def _draw_frame(axis: Axes, placement) -> None:
    """A dashed outline of what the net saw, where that is less than the picture."""
    if placement.seen().all():
        return
    left, top, right, bottom = placement.box
    for colour, line in (("black", "-"), ("white", "--")):
        style = {"edgecolor": colour, "linestyle": line, "linewidth": 1.5, "fill": False}
        axis.add_patch(Rectangle((left, top), right - left, bottom - top, **style))


def _draw_heat(axis: Axes, heat: np.ndarray, photograph: np.ndarray, placement) -> None:
    axis.imshow(plot.overlay(photograph, placement.to_photograph(heat), seen=placement.seen()))
    axis.set_title("Grad-CAM")
    _draw_frame(axis, placement)
    if heat.max() <= 0:
        axis.set_xlabel("no evidence for this class", fontsize=8)
    else:
        _scale_bar(axis, plot.HEAT, heat.max(), "evidence, in units of the logit")


def _scale_bar(axis: Axes, colours: str, maximum: float, label: str) -> None:
    bar = axis.figure.colorbar(
        ScalarMappable(Normalize(0, maximum or 1), colours), ax=axis, location="bottom", pad=0.02, shrink=0.9
    )
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=7)
    bar.ax.xaxis.get_offset_text().set_size(7)
    bar.locator = matplotlib.ticker.MaxNLocator(3)
