"""Grad-CAM and its relatives, as functions of a recorded pass.

Every map is returned raw: at the layer's own resolution and in the units of the logit, so that maps can
be compared and added up. Normalising and colouring them is the business of `cam.plot`.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from numbers import Integral

import numpy as np
from mxnet import nd
from mxnet.gluon import Block, nn

from .advice import caveats
from .errors import AllNegativeMap, FlatMap, InputError, LayerError, NetError
from .images import Placement
from .recording import Recording, record
from .resolve import RESIDUAL_BLOCKS, LayerLike, find_layers, last_step


def grad_cam(
    net: Block, x: nd.NDArray, class_id=None, layer: LayerLike | Sequence[LayerLike] | None = None, relu: bool = True
):
    """Where the evidence for a class lies (Selvaraju et al. 2017, equations 1 and 2).

    The map is ReLU(sum_k alpha_k A_k), with A_k the k-th channel of the layer's feature map and alpha_k
    the spatial mean of d logit / d A_k.

    Parameters
    ----------
    net : see `cam.record`
    x : NDArray (N, 3, H, W) of the net's dtype, normalised as `load_image` does
    class_id : None for each image's top class, an int or label for all, or a list, one per image
    layer : block, path or name, or a list of them; None takes the recommended layer
    relu : whether to keep only the positive evidence, as the paper does; False gives the signed map

    Returns
    -------
    numpy (N, h, w) of the net's dtype, at the layer's own resolution, not normalised; a dict of them by layer path
    if `layer` is a list

    Raises
    ------
    CamError
        Whatever `cam.record` refuses; `ClassError` if there is no such class.

    Warns
    -----
    AllNegativeMap, FlatMap, OnePixelMap, InsideResidualBranch, BeforeReLU
        Where a map cannot say, or does not say, what a reader would think.
    """
    recording = record(net, x, layer, image=False)
    return _by_layer(net, recording, layer, lambda path: grad_cam_of(recording, class_id, path, relu=False), relu)


def hires_cam(
    net: Block, x: nd.NDArray, class_id=None, layer: LayerLike | Sequence[LayerLike] | None = None, relu: bool = True
):
    """Grad-CAM without the averaging: ReLU(sum_k (d logit / d A_k) A_k) (Draelos and Carin 2020).

    Parameters, result, errors and warnings as for `grad_cam`. Where the gradient is the same at all
    positions, as at the input of a global average pooling, the two are equal.
    """
    recording = record(net, x, layer, image=False)

    def one(path):
        return (recording.gradient(path, class_id) * recording.features(path)).sum(axis=1)

    return _by_layer(net, recording, layer, one, relu)


def grad_cam_of(recording: Recording, class_id=None, layer: LayerLike | None = None, relu: bool = True) -> np.ndarray:
    """Grad-CAM of a pass that is already recorded: several layers and classes cost one forward.

    Parameters and result as for `grad_cam`, for a single layer; without warnings.
    """
    features = recording.features(layer)  # (N, K, h, w)
    gradient = recording.gradient(layer, class_id)  # (N, K, h, w)
    alpha = gradient.mean(axis=(2, 3), keepdims=True)  # (N, K, 1, 1)
    signed = (alpha * features).sum(axis=1)  # (N, h, w)
    return np.maximum(signed, 0) if relu else signed


def class_activation_map(net: Block, x: nd.NDArray, class_id=None) -> np.ndarray:
    """The class activation map sum_k w_k A_k (Zhou et al. 2016, equation 2), signed.

    w_k is the weight from channel k of the last feature map to the class's logit. It exists for nets
    that end in a global average pooling and one Dense layer, so that its mean plus the bias is the logit.

    Returns
    -------
    numpy (N, h, w) of the net's dtype

    Raises
    ------
    NetError
        If the net does not end that way; take `grad_cam`.
    """
    otherwise = NetError("this net does not end in a global average pooling and one Dense layer; use grad_cam")
    try:
        recording = record(net, x, image=False)
    except LayerError:
        raise otherwise from None
    features = recording.features()  # (N, K, h, w)
    dense = last_step(net)
    if not isinstance(dense, nn.Dense) or dense.weight.shape[1] != features.shape[1]:
        raise otherwise
    weight = dense.weight.data().asnumpy()  # (classes, K)
    bias = 0 if dense.bias is None else dense.bias.data().asnumpy()
    logits = features.mean(axis=(2, 3)) @ weight.T + bias
    if not np.allclose(logits, recording.logits, rtol=1e-3, atol=1e-3 * np.abs(recording.logits).max()):
        raise otherwise  # something stands between
    chosen = weight[list(recording.class_ids(class_id))]  # (N, K)
    return np.einsum("nk,nkhw->nhw", chosen, features)


def decompose(net: Block, x: nd.NDArray, block: LayerLike, class_id=None) -> dict[str, np.ndarray]:
    """The Grad-CAM of a residual block's sum, split into the part of its branch and the part of its shortcut.

    For y = shortcut + branch the gradient arriving at y goes unchanged to both, so all three have the same weights
    alpha_k, and before the final ReLU of Grad-CAM map(y) = map(branch) + map(shortcut).

    Parameters
    ----------
    block : a residual block, such as `net.features[8][2]`, its path or its name
    net, x, class_id : as for `grad_cam`

    Returns
    -------
    {"branch": ..., "shortcut": ..., "sum": ...}, numpy (N, h, w) of the net's dtype each, signed. In a v1 net
    the sum is taken before the ReLU that follows it

    Raises
    ------
    LayerError
        If `block` is no residual block.
    NetError
        If it is one of MXNet's own, whose addition cannot be seen; use `cam.convert`.
    """
    ((path, residual),) = find_layers(net, block).items()
    if not hasattr(residual, "end_of_branch"):
        if isinstance(residual, RESIDUAL_BLOCKS):
            raise NetError(f"the addition in {path} is not a block and cannot be seen; use cam.convert(net)")
        raise LayerError(f"layer {path} is a {type(residual).__name__}; expected a residual block")
    parts = {"branch": residual.end_of_branch, "shortcut": "shortcut", "sum": "add"}
    layers = {name: f"{path}.{child}" for name, child in parts.items()}
    recording = record(net, x, list(layers.values()), image=False)
    alpha = recording.gradient(layers["sum"], class_id).mean(axis=(2, 3), keepdims=True)  # (N, K, 1, 1)
    return {name: (alpha * recording.features(layer)).sum(axis=1) for name, layer in layers.items()}


def image_gradient(net: Block, x: nd.NDArray, class_id=None, rule: str = "plain", partial: bool = False) -> np.ndarray:
    """d logit / d image, signed, with a choice of how it passes back through the ReLUs.

    Parameters
    ----------
    rule : "plain", "guided" or "deconvnet" (see `cam.blocks.Rectifier`)
    partial : go on even if some of the net's ReLUs are not blocks and keep the plain rule

    Returns
    -------
    numpy (N, 3, H, W) of the net's dtype

    Raises
    ------
    NetError
        If the rule does not reach all ReLUs of the net and `partial` is False.
    """
    return record(net, x, layers=[]).image_gradient(class_id, rule, partial)


def guided_backprop(net: Block, x: nd.NDArray, class_id=None, partial: bool = False) -> np.ndarray:
    """Guided backpropagation (Springenberg et al. 2015): `image_gradient` with rule="guided"."""
    return image_gradient(net, x, class_id, "guided", partial)


def saliency(net: Block, x: nd.NDArray, class_id=None) -> np.ndarray:
    """Image-specific class saliency: max over channels of |d logit / d image| (Simonyan et al. 2014, section 3.1).

    Returns
    -------
    numpy (N, H, W) of the net's dtype
    """
    return np.abs(image_gradient(net, x, class_id)).max(axis=1)


def guided_grad_cam(net: Block, x: nd.NDArray, class_id=None, layer: LayerLike | Sequence[LayerLike] | None = None):
    """Guided backpropagation times the resized Grad-CAM, pixel by pixel (Selvaraju et al. 2017, section 3.2).

    Both come from one forward pass. Parameters, errors and warnings as for `grad_cam`.

    Returns
    -------
    numpy (N, 3, H, W) of the net's dtype, signed; a dict of them by layer path if `layer` is a list
    """
    recording = record(net, x, layer)
    heat = _by_layer(net, recording, layer, lambda path: grad_cam_of(recording, class_id, path, relu=False), True)
    guided = recording.image_gradient(class_id, "guided")  # (N, 3, H, W)

    def product(one):
        return guided * resize_map(one, x.shape[2:])[:, None]

    return {path: product(one) for path, one in heat.items()} if isinstance(heat, dict) else product(heat)


def resize_map(m: np.ndarray, size: int | tuple[int, int]) -> np.ndarray:
    """Bilinear interpolation with half-pixel centres (align_corners=False), of one map or a batch.

    Parameters
    ----------
    m : numpy (h, w) or (N, h, w)
    size : the new height and width in pixels, or one number for both

    Returns
    -------
    numpy float32, the shape of m with the new height and width

    Raises
    ------
    InputError
        If m has another rank, or a size is not positive.
    NonFiniteError
        If m holds NaN or infinity.
    """
    sides = (size, size) if isinstance(size, Integral) else size
    if not isinstance(m, np.ndarray) or m.ndim not in (2, 3) or 0 in m.shape:
        raise InputError(
            f"m is {getattr(m, 'shape', type(m).__name__)}; expected a numpy map (h, w) or a batch (N, h, w)"
        )
    valid = (
        isinstance(sides, (tuple, list)) and len(sides) == 2 and all(isinstance(n, Integral) and n > 0 for n in sides)
    )
    if not valid:
        raise InputError(f"size is {size!r}; expected a positive int, or two: (height, width)")
    height, width = (int(side) for side in sides)
    if m.shape[-2:] == (height, width):
        return m.astype(np.float32)
    return Placement((height, width), m.shape[-2:], (0, 0, width, height)).to_photograph(m)


def _by_layer(net, recording: Recording, layer, signed, relu: bool):
    """The signed map of each recorded layer, with warnings, then its ReLU; a dict only if a list was asked for."""
    found = {path: signed(path) for path in recording.layers}
    for path, maps in found.items():
        _warn(net, path, maps, relu)
        found[path] = np.maximum(maps, 0) if relu else maps
    return found if isinstance(layer, (list, tuple)) else found[recording.layers[0]]


def _warn(net: Block, path: str, signed: np.ndarray, relu: bool) -> None:
    for index, one in enumerate(signed):
        for caveat in caveats(net, path, one, relu):
            of_image = isinstance(caveat, (AllNegativeMap, FlatMap))
            if of_image and len(signed) > 1:
                warnings.warn(type(caveat)(f"image {index}: {caveat}"), stacklevel=4)
            elif of_image or index == 0:  # the layer's fault is said once
                warnings.warn(caveat, stacklevel=4)
