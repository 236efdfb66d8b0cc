"""A picture in, an explanation out: for people who want to see where a network looks, and nothing else."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from mxnet import nd
from mxnet.gluon import Block

from . import plot, scenes
from .advice import caveats
from .errors import ConvertedNet, EmbeddedNet, GradCamOnly, InputError, NetError, PartlySeen, WeakMap
from .files import whole_file
from .images import Placement, input_for, normalise, place, read_image
from .maps import grad_cam_of, resize_map
from .rebuilding import convert, convertible
from .recording import Recording, output_shapes, record
from .resolve import LayerLike, find_layers, hides_nothing, labels_of

WEAK = 0.01  # of the logit
MOST = 0.5  # of the photograph


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """Where a network looked in one picture, for one class.

    Attributes
    ----------
    label : name of the class, or "class 7" if the net has no labels
    class_id, logit, probability : of the class; the probability is the softmax of all logits
    layer : structural path of the layer of the Grad-CAM
    grad_cam : numpy (h, w), raw, at the layer's resolution
    guided_backprop, guided_grad_cam : numpy (3, H, W), signed, in the frame that the net took; None if the net hides
        its ReLUs and cannot be converted
    saliency : numpy (H, W), likewise
    photograph : numpy uint8, the picture as a person sees it
    placement : where the net's frame lies in the photograph
    warnings : what to know before believing the maps, as instances of `UserWarning`
    """

    label: str
    class_id: int
    logit: float
    probability: float
    layer: str
    grad_cam: np.ndarray
    guided_backprop: np.ndarray | None
    guided_grad_cam: np.ndarray | None
    saliency: np.ndarray | None
    photograph: np.ndarray
    placement: Placement
    warnings: tuple[UserWarning, ...]

    def __repr__(self) -> str:
        return f"<Explanation of {self.label}, probability {self.probability:.1%}, Grad-CAM at {self.layer}>"

    def overlay(self) -> np.ndarray:
        """The Grad-CAM over the photograph at its full size, numpy uint8 (H, W, 3); what was not seen is left."""
        heat, seen = self.placement.to_photograph(self.grad_cam), self.placement.seen()
        return plot.overlay(self.photograph, heat, seen=seen)

    def pictures(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Grad-CAM over the photograph, guided Grad-CAM, and guided Grad-CAM in grey: numpy uint8 (H, W, 3) each.

        Raises
        ------
        NetError
            If there is no guided Grad-CAM because the net's ReLUs cannot be reached.
        """
        if self.guided_grad_cam is None:
            raise NetError("there is no guided Grad-CAM: this net's ReLUs can neither be reached nor converted")
        product = self.placement.to_photograph(self.guided_grad_cam)  # (3, H, W)
        grey = plot.grey_image(np.maximum(product, 0).sum(axis=0))
        return self.overlay(), plot.signed_image(product), grey

    def plot(self) -> Figure:
        """All maps over the photograph, with scales, titles and warnings, as a matplotlib Figure."""
        return plot.panel(self)

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


def explain(
    net: Block, image, class_id=None, layer: LayerLike | None = None, fit: str | None = "crop", size: int = 224
) -> Explanation:
    """Explain what a net sees in one picture: Grad-CAM, guided backpropagation, guided Grad-CAM and saliency.

    A net that hides its ReLUs is converted (see `cam.convert`) and the explanation says so. That copies all of its
    parameters in every call: convert once if you explain often.

    Parameters
    ----------
    net : a Gluon net that takes images normalised as `load_image` does
    image : path, bytes, PIL image or array, as for `load_image`
    class_id : None for the top class, an int or a label
    layer : block, path or name; None takes the recommended layer
    fit, size : how the picture becomes square, as in `load_image`

    Returns
    -------
    Explanation

    Raises
    ------
    CamError
        Its subclass says what is wrong: InputError, LayerError, ClassError, NetError, NonFiniteError.
    """
    return explain_many(net, [image], class_id, layer, fit=fit, size=size)[0][0]


def explain_many(
    net: Block,
    images: Sequence,
    class_id=None,
    layer: LayerLike | None = None,
    top: int = 1,
    fit: str | None = "crop",
    size: int = 224,
) -> list[list[Explanation]]:
    """`explain` for a batch of pictures in one forward pass.

    Parameters
    ----------
    top : with class_id=None, how many of each picture's top classes to explain

    Returns
    -------
    For each picture its explanations, one for each class
    """
    if isinstance(top, bool) or not isinstance(top, Integral) or top < 1:
        raise InputError(f"top is {top!r}; expected a positive int")
    if top > 1 and class_id is not None:
        raise InputError(f"class_id is {class_id!r} and top is {top}; give one of them")
    photographs = [read_image(image) for image in images]
    placements = [place(photograph.shape[:2], size, fit) for photograph in photographs]
    views = [placement.view(photograph) for placement, photograph in zip(placements, photographs)]
    if len({view.shape for view in views}) != 1:
        raise InputError("images is empty or has pictures of different sizes; with fit=None explain them one by one")
    return explain_views(net, input_for(net, normalise(np.stack(views))), photographs, placements, class_id, layer, top)


def explain_views(
    net: Block,
    x: nd.NDArray,
    photographs: Sequence[np.ndarray],
    placements: Sequence[Placement],
    class_id=None,
    layer: LayerLike | None = None,
    top: int = 1,
) -> list[list[Explanation]]:
    """`explain_many` for pictures that are already normalised: x is (N, 3, H, W), one photograph and placement each."""
    session = _Session(net, x, layer)
    ranks = [session.explain(ids, photographs, placements) for ids in session.classes(class_id, top)]
    return [list(of_one) for of_one in zip(*ranks)]


class _Session:
    """One recorded pass over a batch, and the explanations made of it."""

    def __init__(self, net: Block, x: nd.NDArray, layer: LayerLike | None):
        if not isinstance(net, Block):
            raise NetError(f"net is {type(net).__name__}; expected a Gluon net")
        if isinstance(layer, (list, tuple)):
            raise InputError("layer is a list; an explanation has one layer")
        self.net, layer, self.notes = _reachable(net, x, layer)
        self.complete = not any(isinstance(note, GradCamOnly) for note in self.notes)
        self.size = x.shape[2:]
        self.recording: Recording = record(self.net, x, layer, image=self.complete)
        self.labels = labels_of(net, self.recording.logits.shape[1])
        if self.labels == scenes.LABELS:
            knows = f"this net knows {len(scenes.LABELS)} cut-outs and will give any photograph one of their names"
            self.notes.insert(0, EmbeddedNet(knows))

    def classes(self, class_id, top: int) -> list[tuple[int, ...]]:
        """One class per picture, for each rank."""
        if class_id is not None:
            return [self.recording.class_ids(class_id)]
        logits = self.recording.logits
        ranked = np.argsort(-logits, axis=1, kind="stable")[:, : min(top, logits.shape[1])]
        return [tuple(int(i) for i in column) for column in ranked.T]

    def explain(
        self, ids: tuple[int, ...], photographs: Sequence[np.ndarray], placements: Sequence[Placement]
    ) -> list[Explanation]:
        """One explanation per picture."""
        (layer,) = self.recording.layers
        signed = grad_cam_of(self.recording, list(ids), layer, relu=False)  # (N, h, w)
        heat = np.maximum(signed, 0)
        guided = self.recording.image_gradient(list(ids), "guided") if self.complete else None  # (N, 3, H, W)
        plain = self.recording.image_gradient(list(ids)) if self.complete else None
        return [
            Explanation(
                label=self.labels[number] if self.labels else f"class {number}",
                class_id=number,
                logit=float(logits[number]),
                probability=float(_softmax(logits)[number]),
                layer=layer,
                grad_cam=heat[index],
                guided_backprop=guided[index] if self.complete else None,
                guided_grad_cam=guided[index] * resize_map(heat[index], self.size) if self.complete else None,
                saliency=np.abs(plain[index]).max(axis=0) if self.complete else None,
                photograph=photographs[index],
                placement=placements[index],
                warnings=(
                    *self.notes,
                    *_of_placement(placements[index]),
                    *caveats(self.net, layer, signed[index]),
                    *_of_size(heat[index], float(logits[number])),
                ),
            )
            for index, (number, logits) in enumerate(zip(ids, self.recording.logits))
        ]


def _of_placement(placement: Placement) -> list[UserWarning]:
    if placement.seen().mean() >= MOST:
        return []
    left, top, right, bottom = placement.box
    height, width = placement.photograph
    part = f"the middle {right - left:.0f}x{bottom - top:.0f} of {width}x{height} pixels"
    return [PartlySeen(f"the network saw {part}; with fit letterbox it sees them all")]


def _of_size(heat: np.ndarray, logit: float) -> list[UserWarning]:
    share = heat.sum() / abs(logit) if logit else 1.0
    if not 0 < share < WEAK:
        return []
    return [
        WeakMap(f"all of the map together is {share:.2%} of the logit: it is drawn to its own scale and looks strong")
    ]


def _softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max())
    return shifted / shifted.sum()


def _reachable(net: Block, x: nd.NDArray, layer: LayerLike | None) -> tuple[Block, LayerLike | None, list[UserWarning]]:
    """A net whose ReLUs and poolings can all be reached, if there is one; the layer in it; and what was done."""
    if hides_nothing(net):
        return net, layer, []
    if not convertible(net):
        left_out = "Grad-CAM alone is shown: cam.convert does not know this net, so not all its ReLUs can be reached"
        return net, layer, [GradCamOnly(left_out)]
    if isinstance(layer, Block):
        (layer,) = find_layers(net, layer)  # the copy has other blocks under the same paths
    if any(parameter._deferred_init for parameter in net.collect_params().values()):
        output_shapes(net, x)  # a first run completes parameters whose shapes were left open
    copied = (
        "this net hides ReLUs or poolings: cam.convert(net) was explained, which has the same parameters and output"
    )
    return convert(net), layer, [ConvertedNet(copied)]


def visualize(net: Block, image_path, layer_name: LayerLike | None = None):
    """What the tutorial's function of this name shows, for any layer, without a rewritten operator in the net.

    Parameters
    ----------
    net, image_path, layer_name : as net, image and layer of `explain`; the layer may be any block, path or name

    Returns
    -------
    (prediction, (photograph, Grad-CAM over it, guided Grad-CAM, guided Grad-CAM in grey)): a str and four pictures,
    numpy uint8 of the photograph's size (H, W, 3), for the top class; `show_images` draws them

    Raises
    ------
    CamError
        As `explain`; NetError also if there is no guided Grad-CAM because the net's ReLUs cannot be reached.

    Warns
    -----
    Each of `Explanation.warnings`; ConvertedNet if the net's ReLUs were out of reach and a copy was explained.
    """
    explanation = explain(net, image_path, layer=layer_name)
    pictures = explanation.photograph, *explanation.pictures()
    for warning in explanation.warnings:
        warnings.warn(warning, stacklevel=2)
    number = "" if getattr(net, "labels", None) is None else f" ({explanation.class_id})"
    return f"{explanation.label}{number}", pictures


def show_images(pred_str: str, images: Sequence[np.ndarray]) -> Figure:
    """Draw the four pictures of `visualize` in a row.

    Returns
    -------
    A matplotlib Figure: a notebook shows it, a script writes it with `savefig`
    """
    titles = [pred_str, "Grad-CAM", "guided Grad-CAM", "guided Grad-CAM, grey"]
    if not isinstance(images, (tuple, list)) or len(images) != len(titles):
        raise InputError("images are not the four pictures that visualize returns")
    return plot.grid([list(images)], [""], titles, size=3.2)
