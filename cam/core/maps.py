"""Grad-CAM and its relatives, as functions of a recorded pass.

Every map is returned raw: at the layer's own resolution and in the units of the logit, so that maps can be compared
and added up. Normalising and colouring them is the business of `cam.plot`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias, cast, overload

import numpy as np
from mxnet import nd
from mxnet.gluon import Block

from . import layers as choose
from .checks import Images, by_keyword, is_whole, ready
from .endings import averages
from .errors import InputError, LayerError, MapWarning, NetError, NonFiniteError, tell
from .forward_backward import finite
from .graph import ADDS, PASSES_ON, RESHAPES, Entry
from .layers import LayerLike
from .mxnet import shape_of
from .recording import Recording, record
from .targets import Target

Layers: TypeAlias = LayerLike | Sequence[LayerLike] | None
Maps: TypeAlias = np.ndarray | dict[str, np.ndarray]


class OfLayers(Protocol):
    """A function that gives an array for one layer, and for a list of layers a dict of arrays by path."""

    @overload
    def __call__(self, net: Block, x: Images, *, layer: list | tuple, **rest: Any) -> dict[str, np.ndarray]: ...
    @overload
    def __call__(self, net: Block, x: Images, *, layer: LayerLike | None = ..., **rest: Any) -> np.ndarray: ...


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
    signed = ((_alpha(gradient) if average else gradient) * features).sum(axis=1)
    return finite(signed, f"the map at {layer or recording.layers[0]}")


@by_keyword
def class_activation_map(net: Block, x: Images, *, target: Target = None, output: int | None = None) -> np.ndarray:
    """The class activation map sum_k w_k A_k (Zhou et al. 2016, equation 2), signed.

    w_k is the weight from channel k of the last feature map to the class's logit. It exists for nets whose graph ends
    in a global average pooling and one Dense layer, so that the map's mean plus the bias is the logit.

    Parameters
    ----------
    net, x, target, output : as for `grad_cam`, whose errors this function raises too

    Returns
    -------
    numpy (N, h, w) of the net's dtype

    Raises
    ------
    NetError
        If the net does not end that way; take `grad_cam`.
    """
    prepared = ready(net, x, output)
    graph, shapes_only = prepared.graph, PASSES_ON | RESHAPES
    dense = graph.steps[graph.back_over(prepared.end, shapes_only)[0]]
    pooled = graph.back_over(dense.inputs[0], shapes_only) if dense.inputs else prepared.end
    pooling = graph.steps[pooled[0]]
    weight = graph.steps[dense.inputs[1][0]].parameter if len(dense.inputs) > 1 else None
    before = prepared.shapes[pooling.inputs[0]] if pooling.inputs else ()
    means = averages(pooling, before) and "sum" not in (pooling.op, pooling.option("pool_type"))
    ends_so = dense.op in ("FullyConnected", "Convolution") and means and len(before) == prepared.images[0].ndim
    if not ends_so or np.prod(prepared.shapes[pooled][2:]) != 1 or weight is None or shape_of(weight)[1] != before[1]:
        raise NetError("this net does not end in a global average pooling and one Dense layer; use grad_cam")
    recording = record(net, x, [pooling.inputs[0]], image_gradient=False, output=output)
    rows = weight.data(prepared.images[0].context).reshape((0, -1))  # (classes, K)
    chosen = nd.dot(recording.head(target).reshape((-1, len(rows))), rows)  # (N, K)
    return np.einsum("nk,nk...->n...", chosen.asnumpy(), recording.features())


@by_keyword
def decompose(
    net: Block, x: Images, block: LayerLike, *, target: Target = None, output: int | None = None
) -> dict[str, np.ndarray]:
    """The Grad-CAM of a sum of two maps, split into the part of its branch and the part of its shortcut.

    For y = shortcut + branch the gradient arriving at y goes unchanged to both, so all three have the same weights
    alpha_k, and before the final ReLU of Grad-CAM map(y) = map(branch) + map(shortcut).

    Parameters
    ----------
    net, x : as for `cam.record`
    block : a block that ends in an addition, such as `net.features[8][2]`, its path or its name, or an addition itself;
        a ReLU or BatchNorm behind the addition is stepped back over
    target, output : as for `grad_cam`, whose errors this function raises too

    Returns
    -------
    dict of numpy (N, h, w), signed: "branch", "shortcut" and "sum"; the shortcut is the summand with fewer operators

    Raises
    ------
    LayerError
        If the block does not end in an addition of two maps of one shape.
    """
    prepared = ready(net, x, output)
    graph = prepared.graph
    name, entry = choose.find_map(prepared, block)
    while graph.steps[entry[0]].op in PASSES_ON | {"BatchNorm"} or graph.steps[entry[0]].relu is not None:
        entry = graph.steps[entry[0]].inputs[0]
    summands = graph.steps[entry[0]].inputs if graph.steps[entry[0]].op in ADDS else ()
    if len({prepared.shapes[one] for one in summands}) != 1 or not all(graph.follows_image[i] for i, _ in summands):
        raise LayerError(f"layer {name} does not end in an addition of two maps of one shape")

    def operators(one: Entry) -> int:
        return sum(needed and step.op != "null" for needed, step in zip(graph.needed_for([one]), graph.steps))

    shortcut, branch = sorted(summands[::-1], key=operators)
    parts = {"branch": branch, "shortcut": shortcut, "sum": entry}
    recording = record(net, x, list(parts.values()), image_gradient=False, output=output)
    alpha = _alpha(recording.arrays(entry, target)[1])
    maps = {part: (alpha * recording.arrays(one, target)[0]).sum(axis=1) for part, one in parts.items()}
    return {part: finite(one, f"the map of the {part}") for part, one in maps.items()}


def _alpha(gradient: nd.NDArray) -> nd.NDArray:
    """The spatial mean of a gradient (N, K, h, w): alpha (N, K, 1, 1) of Selvaraju et al. 2017, equation 1."""
    return gradient.mean(axis=tuple(range(2, gradient.ndim)), keepdims=True)


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
    recording.check_axes(3, 4, 5)
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
    recording.check_axes(4)
    heat = each_layer(recording, layer, lambda path: weighted_sum(recording, path, target))
    guided = recording.image_gradient(target=target, rule="guided", where=where)  # (N, 3, H, W)
    if isinstance(heat, dict):
        return {path: guided_product(guided, one) for path, one in heat.items()}
    return guided_product(guided, heat)


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


def resize_map(m: np.ndarray, size: int | Sequence[int]) -> np.ndarray:
    """Bilinear interpolation with half-pixel centres (align_corners=False): rows @ m @ columns.

    Parameters
    ----------
    m : numpy (..., h, w)
    size : the new height and width in pixels, or one number for both

    Returns
    -------
    numpy float32 (..., height, width)

    Raises
    ------
    InputError
        If m is no map, or a size is not positive.
    NonFiniteError
        If m holds NaN or infinity.
    """
    check_map(m)
    sides: list = list(size) if isinstance(size, (tuple, list)) else [size, size]
    if len(sides) != 2 or not all(is_whole(one) and one > 0 for one in sides):
        raise InputError(f"size is {size!r}; expected a positive int, or two: (height, width)")
    rows, columns = (bilinear(cells, int(pixels)) for cells, pixels in zip(m.shape[-2:], sides))
    return (rows @ m @ columns.T).astype(np.float32)


def check_map(m, name: str = "m", dimensions: int | None = None, expected: str = "map (..., h, w)") -> None:
    """Raise InputError or NonFiniteError if `m` is no numpy (..., h, w) of finite numbers, or has other dimensions."""
    fits = isinstance(m, np.ndarray) and 0 not in m.shape and m.ndim == (dimensions or max(2, m.ndim))
    if not fits:
        raise InputError(f"{name} is {getattr(m, 'shape', type(m).__name__)}; expected a numpy {expected}")
    if not np.isfinite(m).all():
        raise NonFiniteError(f"{name} holds NaN or infinity")


def bilinear(cells: int, pixels: int, start: float = 0, end: float | None = None) -> np.ndarray:
    """Bilinear interpolation along one side as a matrix, float64 (pixels, cells): half-pixel centres, edges held.

    The cells lie, evenly, between `start` and `end`, in pixels; from edge to edge if not given.
    """
    end = pixels if end is None else end
    centres = (np.arange(pixels) + 0.5 - start) / (end - start) * cells - 0.5  # in cells of the map
    distance = np.abs(np.clip(centres, 0, cells - 1)[:, None] - np.arange(cells))
    return np.maximum(1 - distance, 0)


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


def each_layer(recording: Recording, layer: Layers, signed_of: Callable[[str], np.ndarray], relu: bool = True) -> Maps:
    """The map of each recorded layer, from the signed one of its path, with warnings; a dict if `layer` is a list."""
    maps: dict[str, np.ndarray] = {}
    for path in recording.layers:
        signed = signed_of(path)
        tell(recording.caveats(path))
        for number, one in enumerate(signed):
            said = caveats(path, one, relu)
            tell(said if len(signed) == 1 else [MapWarning(f"image {number}: {warning}") for warning in said])
        maps[path] = np.maximum(signed, 0) if relu else signed
    return maps if isinstance(layer, (list, tuple)) else maps[recording.layers[0]]
