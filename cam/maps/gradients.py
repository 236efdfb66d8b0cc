"""The gradient at the image, and its product with Grad-CAM: as functions of a recorded pass."""

from __future__ import annotations

import numpy as np
from mxnet.gluon import Block

from ..core.checks import SCALED, Images
from ..core.errors import InputError, LayerError
from ..core.layers import Layers
from ..core.recording import Recording, record
from ..core.targets import Target
from .grad_cam import Maps, by_keyword, each_layer, of_layers, weighted_sum
from .resizing import resize_map


@by_keyword
def image_gradient(
    net: Block,
    x: Images,
    *,
    target: Target = None,
    rule: str = "plain",
    where: Layers = None,
    output: int | None = None,
) -> np.ndarray:
    """d target / d image, signed, with a choice of how it passes back through the ReLUs.

    Parameters
    ----------
    net, x, target : as for `grad_cam`, whose errors this function raises
    rule, where : as for `Recording.image_gradient`, whose errors and warnings it raises too
    output : as for `grad_cam`

    Returns
    -------
    numpy (N, 3, H, W) of the net's dtype
    """
    return record(net, x, [], output=output).image_gradient(target=target, rule=rule, where=where)


@by_keyword
def guided_backprop(
    net: Block, x: Images, *, target: Target = None, where: Layers = None, output: int | None = None
) -> np.ndarray:
    """Guided backpropagation (Springenberg et al. 2015): `image_gradient` with rule="guided".

    Parameters
    ----------
    net, x, target, where, output : as for `image_gradient`, whose errors and warnings this function raises

    Returns
    -------
    numpy (N, 3, H, W) of the net's dtype, signed
    """
    return image_gradient(net, x, target=target, rule="guided", where=where, output=output)


@by_keyword
def saliency(net: Block, x: Images, *, target: Target = None, output: int | None = None) -> np.ndarray:
    """Simonyan et al. 2014, section 3.1: max over channels of |d target / d image|.

    Parameters
    ----------
    net, x, target, output : as for `image_gradient`, whose errors and warnings this function raises

    Returns
    -------
    numpy (N, H, W) of the net's dtype
    """
    recording = record(net, x, [], output=output)
    check_axes(recording, 3, 4, 5)
    return np.abs(recording.image_gradient(target=target)).max(axis=1)


@of_layers
def guided_grad_cam(
    net: Block,
    x: Images,
    *,
    target: Target = None,
    layer: Layers = None,
    where: Layers = None,
    output: int | None = None,
) -> Maps:
    """Guided backpropagation times the resized Grad-CAM, pixel by pixel (Selvaraju et al. 2017, section 3.2).

    Both come from one forward pass. Errors and warnings are those of `grad_cam` and `guided_backprop`.

    Parameters
    ----------
    net, x, target, layer : as for `grad_cam`
    where, output : as for `image_gradient`

    Returns
    -------
    numpy (N, 3, H, W) of the net's dtype, signed; of a list of layers a dict of them by path
    """
    recording = record(net, x, layer, output=output)
    check_axes(recording, 4)
    heat = each_layer(recording, layer, lambda path: weighted_sum(recording, path, target))
    guided = recording.image_gradient(target=target, rule="guided", where=where)  # (N, 3, H, W)
    if isinstance(heat, dict):
        return {path: guided_product(guided, one) for path, one in heat.items()}
    return guided_product(guided, heat)


def check_axes(recording: Recording, *dimensions: int) -> None:
    """Raise InputError if the image has another number of dimensions, or its channels are not its second axis.

    Raise LayerError if a recorded map has another number of dimensions.
    """
    graph, shape = recording.prepared.graph, recording.prepared.images[0].shape
    turns = [step for step in graph.steps if step.op == "transpose"]
    orders = [one.option("axes", ()) for one in turns if graph.back_over(one.inputs[0], SCALED)[0] == graph.inputs[0]]
    if len(shape) not in dimensions or any(len(order) > 2 and order[1] > 1 for order in orders):
        raise InputError(f"x has shape {shape}; this needs (N, C, H, W), cam.image_gradient takes it as it is")
    for path, entry in recording.entries.items():
        shape = recording.prepared.shapes[entry]
        if len(shape) not in dimensions:
            raise LayerError(f"layer {path} gives {shape}; this needs (N, K, h, w), cam.grad_cam takes it as it is")


def guided_product(guided: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A guided gradient times maps that are resized to its height and width.

    Parameters
    ----------
    guided : numpy (N, 3, H, W)
    heat : numpy (N, h, w)

    Returns
    -------
    numpy (N, 3, H, W)

    Raises
    ------
    LayerError
        If there are more or fewer maps than images.
    """
    if len(guided) != len(heat):
        raise LayerError(
            f"the layer has {len(heat)} maps for {len(guided)} images: the net changes the length of its batch"
        )
    return guided * resize_map(heat, guided.shape[2:])[:, None]
