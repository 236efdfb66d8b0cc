"""Grad-CAM and HiResCAM, as functions of a recorded pass.

Every map is returned raw: at the layer's own resolution and in the units of the logit, so that maps can be compared
and added up. Normalising and colouring them is the business of `cam.plot`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, cast, overload

import numpy as np
from mxnet import nd
from mxnet.gluon import Block

from ..core.checks import Images
from ..core.errors import InputError, LayerWarning, MapWarning, P, R, tell, telling
from ..core.forward_backward import finite
from ..core.layers import LayerLike, Layers
from ..core.recording import Recording, record
from ..core.targets import Target
from .layer_table import advice_on

Maps: TypeAlias = np.ndarray | dict[str, np.ndarray]


class OfLayers(Protocol):
    """A function that gives an array for one layer, and for a list of layers a dict of arrays by path."""

    @overload
    def __call__(self, net: Block, x: Images, *, layer: list | tuple, **rest: Any) -> dict[str, np.ndarray]: ...
    @overload
    def __call__(self, net: Block, x: Images, *, layer: LayerLike | None = ..., **rest: Any) -> np.ndarray: ...


def by_keyword(function: Callable[P, R]) -> Callable[P, R]:
    """Answer a class that is given by position, or as class_id, with one clear sentence; `telling`."""

    @telling
    @functools.wraps(function)
    def called(*arguments: P.args, **options: P.kwargs) -> R:
        if len(arguments) > function.__code__.co_argcount or "class_id" in options:
            name = function.__name__
            raise InputError(f"{name} takes what it explains by keyword: {name}(..., target=3), no class_id")
        return function(*arguments, **options)

    return called


def of_layers(function: Callable[..., Maps]) -> OfLayers:
    """`by_keyword`, and what it gives told to type checkers."""
    return cast(OfLayers, by_keyword(function))


@of_layers
def grad_cam(
    net: Block, x: Images, *, target: Target = None, layer: Layers = None, relu: bool = True, output: int | None = None
) -> Maps:
    """Where the evidence for a class lies (Selvaraju et al. 2017, equations 1 and 2).

    The map is ReLU(sum_k alpha_k A_k), with A_k the k-th channel of the layer's feature map and alpha_k the spatial
    mean of d target / d A_k.

    Parameters
    ----------
    net, x : as for `cam.record`
    target : None for each image's top class, an int or label for all, a list or array of one per image, or a function
        of the logits that returns one number per image
    layer : block, path or name, or a list of them; None takes the recommended layer
    relu : whether to keep only the positive evidence, as the paper does; False gives the signed map
    output : which output to explain, of a net that has several

    Returns
    -------
    numpy (N, h, w) of the net's dtype, at the layer's own resolution, not normalised; of a list a dict of them by path

    Raises
    ------
    ClassError
        If the target is none of these, or there is no such class.
    CamError
        As `cam.record`.

    Warns
    -----
    LayerWarning, MapWarning, NetWarning
        Where a map does not say what a reader would think.
    """
    recording = record(net, x, layer, image_gradient=False, output=output)
    return each_layer(recording, layer, lambda path: weighted_sum(recording, path, target), relu)


@of_layers
def hires_cam(
    net: Block, x: Images, *, target: Target = None, layer: Layers = None, relu: bool = True, output: int | None = None
) -> Maps:
    """Grad-CAM without the averaging: ReLU(sum_k (d target / d A_k) A_k) (Draelos and Carin 2020).

    Where the gradient is the same at all positions, as at the input of a global average pooling, the two are equal.

    Parameters
    ----------
    net, x, target, layer, relu, output : as for `grad_cam`, whose errors and warnings this function raises

    Returns
    -------
    numpy (N, h, w), or a dict of them, as of `grad_cam`
    """
    recording = record(net, x, layer, image_gradient=False, output=output)
    return each_layer(recording, layer, lambda path: weighted_sum(recording, path, target, average=False), relu)


def grad_cam_of(
    recording: Recording, *, target: Target = None, layer: LayerLike | None = None, relu: bool = True
) -> np.ndarray:
    """Grad-CAM of a pass that is already recorded: several layers and targets cost one forward.

    Parameters
    ----------
    recording : of `cam.record`
    target : as for `grad_cam`
    layer : one that was recorded; it may be left out if there is only one
    relu : as for `grad_cam`, whose warnings this function does not raise

    Returns
    -------
    numpy (N, h, w) of the net's dtype
    """
    signed = weighted_sum(recording, layer, target)
    return np.maximum(signed, 0) if relu else signed


def weighted_sum(recording: Recording, layer: LayerLike | None, target: Target, average: bool = True) -> np.ndarray:
    """The channels of a feature map (N, K, h, w) times their gradient, which Grad-CAM averages: numpy (N, h, w)."""
    features, gradient = recording.arrays(layer, target)
    signed = ((channel_weights(gradient) if average else gradient) * features).sum(axis=1)
    return finite(signed, f"the map at {layer or recording.layers[0]}")


def channel_weights(gradient: nd.NDArray) -> nd.NDArray:
    """The spatial mean of a gradient (N, K, h, w): alpha (N, K, 1, 1) of Selvaraju et al. 2017, equation 1."""
    return gradient.mean(axis=tuple(range(2, gradient.ndim)), keepdims=True)


def each_layer(recording: Recording, layer: Layers, signed_of: Callable[[str], np.ndarray], relu: bool = True) -> Maps:
    """The map of each recorded layer, from the signed one of its path, with warnings; a dict if `layer` is a list."""
    maps: dict[str, np.ndarray] = {}
    for path in recording.layers:
        signed = signed_of(path)
        tell(layer_caveats(recording, path))
        for number, one in enumerate(signed):
            said = caveats(path, one, relu)
            tell(said if len(signed) == 1 else [MapWarning(f"image {number}: {warning}") for warning in said])
        maps[path] = np.maximum(signed, 0) if relu else signed
    return maps if isinstance(layer, (list, tuple)) else maps[recording.layers[0]]


def layer_caveats(recording: Recording, path: str) -> list[LayerWarning]:
    """What to know about a recorded layer before believing its maps: warnings not yet raised."""
    said = advice_on(recording.prepared, recording.entries[path])
    return [LayerWarning(f"{path}: {said}")] if said else []


def caveats(path: str, signed: np.ndarray, relu: bool = True) -> list[MapWarning]:
    """What keeps a reader from taking one image's map (h, w), before its ReLU, at its face: warnings not yet raised."""
    heat = np.maximum(signed, 0) if relu else signed
    if heat.size == 1:
        return []  # the layer's fault
    if signed.any() and not heat.any():
        return [MapWarning(f"{path}: nothing here speaks for the class; the signed map (relu=False) shows more")]
    if np.ptp(heat) <= 1e-6 * np.abs(heat).max():
        return [MapWarning(f"{path}: the map has the same value everywhere and cannot say where")]
    return []
