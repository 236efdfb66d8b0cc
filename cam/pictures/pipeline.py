"""A picture in, an explanation out: for people who want to see where a network looks, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from mxnet.gluon import Block

from ..core.checks import is_whole
from ..core.errors import CamWarning, InputError, InputWarning, MapWarning, NetError, NetWarning, collected
from ..core.layers import LayerLike
from ..core.recording import Recording, record
from ..core.targets import Target, labels_of
from ..maps.grad_cam import by_keyword, caveats, grad_cam_of, layer_caveats
from ..maps.gradients import check_axes, guided_product
from ..nets.normalisation import input_for, normalisation_of, normalise
from .explanation import Explanation
from .images import Placement, place, read_image

WEAK = 0.01  # of the logit
MOST = 0.5  # of the photograph


@by_keyword
def explain(
    net: Block,
    image,
    *,
    target: Target = None,
    layer: LayerLike | None = None,
    fit: str | None = "crop",
    size: int = 224,
    output: int | None = None,
) -> Explanation:
    """Explain what a net sees in one picture: Grad-CAM, guided backpropagation, guided Grad-CAM and saliency.

    Parameters
    ----------
    net : a Gluon net; its images are normalised as `load_image` does, with `net.normalisation` if it has its own
    image : path, bytes, PIL image or array, as for `load_image`
    target : None for the top class, an int or a label
    layer : block, path or name; None takes the recommended layer
    fit, size : how the picture becomes square, as in `load_image`
    output : which output to explain, of a net that has several

    Returns
    -------
    Explanation

    Raises
    ------
    CamError
        Its subclass says what is wrong: InputError, LayerError, ClassError, NetError, NonFiniteError.
    """
    return explain_many(net, [image], target=target, layer=layer, fit=fit, size=size, output=output)[0][0]


@by_keyword
def explain_many(
    net: Block,
    images: Sequence,
    *,
    target: Target = None,
    layer: LayerLike | None = None,
    top: int = 1,
    fit: str | None = "crop",
    size: int = 224,
    output: int | None = None,
) -> list[list[Explanation]]:
    """`explain` for a batch of pictures in one forward pass.

    Parameters
    ----------
    net : as for `explain`
    images : pictures, each as for `explain`
    target, layer : as for `explain`, for all pictures
    top : with target=None, how many of each picture's top classes to explain
    fit, size, output : as for `explain`

    Returns
    -------
    For each picture its explanations, one for each class

    Raises
    ------
    InputError
        If there are no pictures, their sizes differ with fit=None, or both target and top are given.
    CamError
        As `explain`.
    """
    if not is_whole(top) or top < 1:
        raise InputError(f"top is {top!r}; expected a positive int")
    if top > 1 and target is not None:
        raise InputError(f"target is {target!r} and top is {top}; give one of them")
    if isinstance(layer, (list, tuple)):
        raise InputError("layer is a list; an explanation has one layer")
    if callable(target):
        raise InputError("target is a function; an explanation is of a class, cam.grad_cam takes functions")
    if not isinstance(images, (list, tuple, np.ndarray, Iterator)):
        raise InputError(f"images is {type(images).__name__}; expected a list of pictures")
    how = normalisation_of(net)
    photographs = [read_image(image) for image in images]
    placements = [place(photograph.pixels.shape[:2], size, fit) for photograph in photographs]
    views = [placement.view(photograph.pixels, how) for placement, photograph in zip(placements, photographs)]
    if len({view.shape for view in views}) != 1:
        raise InputError("images is empty or has pictures of different sizes; with fit=None explain them one by one")
    with collected():  # Explanations hold the recording's own
        recording = record(net, input_for(net, normalise(np.stack(views), how)), layer, output=output)
    check_axes(recording, 4)
    ranks = [recording.class_ids(target)]
    if top > 1:
        ranks = np.argsort(-recording.logits.reshape(len(views), -1), axis=1, kind="stable")[:, :top].T.tolist()
    explained = [_explained(net, recording, list(ids), photographs, placements) for ids in ranks]
    return [list(of_one) for of_one in zip(*explained)]


def _explained(net: Block, recording: Recording, ids: list[int], photographs, placements) -> list[Explanation]:
    """One explanation per picture, of the class in `ids`."""
    (layer,), logits, probabilities = recording.layers, recording.logits.reshape(len(ids), -1), recording.probabilities
    signed = grad_cam_of(recording, target=ids, relu=False)  # (N, h, w)
    heat = np.maximum(signed, 0)
    saliency = np.abs(recording.image_gradient(target=ids)).max(axis=1)
    guided = product = [None] * len(ids)
    with collected() as of_rule:
        try:
            guided = recording.image_gradient(target=ids, rule="guided")  # (N, 3, H, W)
            product = guided_product(guided, heat)
        except NetError as error:  # the net has no ReLU
            of_rule.append(NetWarning(f"no guided backpropagation: {error}"))
    caution, labels = getattr(net, "caution", None), labels_of(net, logits.shape[1])
    notes = [NetWarning(caution)] if isinstance(caution, str) else []
    notes += [*recording.notes, *of_rule, *layer_caveats(recording, layer)]
    return [
        Explanation(
            label=labels[number] if labels else f"class {number}",
            target=number,
            logit=logits[image, number].item(),
            probability=None if probabilities is None else probabilities.reshape(logits.shape)[image, number].item(),
            layer=layer,
            grad_cam=heat[image],
            guided_backprop=guided[image],
            guided_grad_cam=product[image],
            saliency=saliency[image],
            photograph=photograph.pixels,
            placement=placement,
            warnings=(*notes, *photograph.notes, *_cautions(layer, placement, signed[image], logits[image, number])),
        )
        for image, (number, photograph, placement) in enumerate(zip(ids, photographs, placements))
    ]


def _cautions(layer: str, placement: Placement, signed: np.ndarray, logit: float) -> Iterator[CamWarning]:
    """What keeps a reader from taking one picture's map at its face."""
    if placement.seen().mean() < MOST:
        left, top, right, bottom = placement.box
        height, width = placement.photograph
        part = f"the middle {right - left:.0f}x{bottom - top:.0f} of {width}x{height} pixels"
        yield InputWarning(f"the network saw {part}; with fit letterbox it sees them all")
    yield from caveats(layer, signed)
    share = np.maximum(signed, 0).sum() / abs(logit) if logit else 1.0
    if 0 < share < WEAK:
        said = f"all of the map together is {share:.2%} of the logit"
        yield MapWarning(f"{said}: it is drawn to its own scale and looks strong")
