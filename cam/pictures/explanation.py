"""What a picture's explanation holds, and the panel that shows it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from PIL import Image

from ..core.errors import CamWarning, InputError
from . import plot
from .images import Placement, whole_file

LONGEST_SIDE = 640  # pixels of a photograph in a panel
HEIGHT, GAP, LINE = 2.6, 0.25, 0.15  # of a panel's pictures, between them, and of a note below: inches


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
        return f"<Explanation of {self}, Grad-CAM at {self.layer}>"

    def __str__(self) -> str:
        return f"{self.name}, {self.score}"

    @property
    def name(self) -> str:
        """The label in one line."""
        return " ".join(self.label.split())

    @property
    def score(self) -> str:
        """The probability and the logit in words."""
        logit = f"logit {self.logit:.2f}"
        return logit if self.probability is None else f"probability {self.probability:.1%}, {logit}"

    def overlay(self) -> np.ndarray:
        """The Grad-CAM over the photograph at its full size; what was not seen is left.

        Returns
        -------
        numpy uint8 (H, W, 3)
        """
        return plot.overlay(self.photograph, self.placement.to_photograph(self.grad_cam), seen=self.placement.seen())

    def plot(self) -> Figure:
        """The panel: all maps in a row, with their scales, and the warnings below.

        Returns
        -------
        A matplotlib Figure
        """
        placement = self.placement.shrunk(LONGEST_SIDE)
        height, width = placement.photograph
        photograph = np.array(Image.fromarray(self.photograph).resize((width, height), Image.Resampling.BILINEAR))
        seen, evidence = placement.seen(), self.grad_cam.max() > 0
        covered = plot.overlay(photograph, placement.to_photograph(self.grad_cam), seen=seen)
        row = [
            ("picture", photograph, "" if seen.all() else "dashed: what the network saw"),
            ("Grad-CAM", covered, "" if evidence else "no evidence for this class"),
        ]
        gradients = {"guided backpropagation": self.guided_backprop, "guided Grad-CAM": self.guided_grad_cam}
        for title, gradient in gradients.items():
            if gradient is not None:
                scale = f"grey: 0, full colour: \N{PLUS-MINUS SIGN}{plot.full_scale(gradient):.2g}"
                row.append((title, plot.signed_image(gradient), scale))
        scale = f"black: 0, white: |gradient| of {plot.full_scale(self.saliency):.2g}"
        row.append(("saliency", plot.grey_image(self.saliency), scale))
        figure, axes, below = _row(row, f"{self.name}: {self.score}; Grad-CAM at {self.layer}", self.warnings)
        left, top, right, bottom = placement.box
        for axis in () if seen.all() else axes[:2]:
            for colour, line in (("black", "-"), ("white", "--")):
                style = {"edgecolor": colour, "linestyle": line, "linewidth": 1.5, "fill": False}
                axis.add_patch(Rectangle((left, top), right - left, bottom - top, **style))
        if evidence:
            bar, colours = figure.add_axes(below), ScalarMappable(Normalize(0, self.grad_cam.max()), plot.HEAT)
            figure.colorbar(colours, cax=bar, location="bottom", ticks=MaxNLocator(3))
            bar.set_xlabel("evidence, in units of the logit", fontsize=8)
            bar.tick_params(labelsize=7)
        return figure

    def save(self, path: str | Path) -> Path:
        """Write the panel of `plot`.

        Parameters
        ----------
        path : its ending says how: .png, .jpg, .pdf, .svg and what else matplotlib knows

        Returns
        -------
        The path

        Raises
        ------
        InputError
            If the ending is unknown or nothing can be written there; no partial file is left.
        """
        path, figure = Path(path), self.plot()
        kind, known = path.suffix[1:].lower(), figure.canvas.get_supported_filetypes()
        if kind not in known:
            raise InputError(f"cannot write {path}: its ending is none of {', '.join(sorted(known))}")
        # Level 3 of 9 takes half the time for 4 % more bytes. What draws lines, such as PDF, refuses the very word.
        quick = {"pil_kwargs": {"compress_level": 3}} if kind == "png" else {}
        with whole_file(path) as file:
            figure.savefig(file, format=kind, dpi=110, **quick)
        return path


def _row(row, title: str, warnings) -> tuple[Figure, list[Axes], tuple[float, ...]]:
    """A figure of (title, picture, what is written below it), and where a scale fits below the second of them.

    Everything has its place in inches: to let matplotlib find one takes longer than to draw.
    """
    widths = [HEIGHT * min(max(picture.shape[1] / picture.shape[0], 0.7), 1.6) for _, picture, _ in row]
    across = sum(widths) + GAP * (len(row) + 1)
    texts = [title, *map(str, warnings)]
    if (written := [_writable(text) for text in texts]) != texts:
        written.append("letters that matplotlib's font lacks are written by their numbers; rcParams names other fonts")
    top, notes = fill(written[0], int(9 * across)), "\n".join(fill(note, int(14 * across)) for note in written[1:])
    bottom = 0.7 + LINE * len(notes.splitlines())
    down = bottom + HEIGHT + 0.5 + 1.4 * LINE * len(top.splitlines())
    figure, axes, left = plot.Picture(figsize=(across, down)), [], GAP
    for width, (name, picture, said) in zip(widths, row):
        box = left / across, bottom / down, width / across, HEIGHT / down
        axes.append(figure.add_axes(box, xticks=[], yticks=[], title=name))
        axes[-1].imshow(picture)
        axes[-1].set_xlabel(said, fontsize=8)
        left += width + GAP
    written_left = {"x": GAP / across, "ha": "left", "parse_math": False}
    figure.suptitle(top, y=1 - 0.1 / down, va="top", **written_left)
    figure.supxlabel(notes, y=0.05 / down, va="bottom", fontsize=8, **written_left)
    return figure, axes, ((widths[0] + 2 * GAP) / across, (bottom - 0.2) / down, widths[1] / across, 0.12 / down)


def _writable(text: str) -> str:
    """A text in which letters that matplotlib's fonts lack are written by their numbers, not as empty boxes."""
    fonts = [get_font(findfont(FontProperties(family=[family]))) for family in FontProperties().get_family()]
    drawn = (one == "\n" or any(font.get_char_index(ord(one)) for font in fonts) for one in text)
    return "".join(one if known else one.encode("unicode_escape").decode() for one, known in zip(text, drawn))
