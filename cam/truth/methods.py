"""More ways to make a map, to be measured beside Grad-CAM: each is its equation on a recorded pass.

All are called as `cam.grad_cam` is, raise what `cam.record` raises, and return raw maps.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
from mxnet import nd
from mxnet.gluon import Block

from ..core.checks import by_keyword, is_whole
from ..core.errors import InputError
from ..core.inputs import input_for
from ..core.layers import LayerLike
from ..core.maps import resize_map
from ..core.recording import record
from ..core.targets import Target

Layers = LayerLike | Sequence[LayerLike] | None
Maps = np.ndarray | dict[str, np.ndarray]


@by_keyword
def grad_cam_plus_plus(net: Block, x: nd.NDArray, *, target: Target = None, layer: Layers = None) -> Maps:
    """Grad-CAM++: ReLU(sum_k w_k A_k), w_k = sum_ij alpha_kij ReLU(g_kij) (Chattopadhay et al. 2018, equations 5, 10).

    With g = d target / d A, alpha_kij = g_kij^2 / (2 g_kij^2 + g_kij^3 sum_ab A_kab): what is explained is exp(target),
    whose derivatives are powers of g. Their common factor exp(target) overflows and is left out. The layer's values
    should not be negative: take one behind a ReLU.

    Parameters and result as for `cam.grad_cam`: numpy (N, h, w), or a dict of them for a list of layers.
    """

    def plus_plus(features: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        whole = 2 * gradient**2 + gradient**3 * features.sum(axis=(2, 3), keepdims=True)
        alpha = np.divide(gradient**2, whole, out=np.zeros_like(whole), where=whole != 0)
        weights = (alpha * np.maximum(gradient, 0)).sum(axis=(2, 3), keepdims=True)
        return np.maximum((weights * features).sum(axis=1), 0)

    return _each_layer(net, x, target, layer, plus_plus)


@by_keyword
def layer_cam(net: Block, x: nd.NDArray, *, target: Target = None, layer: Layers = None) -> Maps:
    """LayerCAM: ReLU(sum_k ReLU(d target / d A_k) A_k), position by position (Jiang et al. 2021, equations 5 to 7).

    HiResCAM without the gradient's negative part. Parameters and result as for `cam.grad_cam`.
    """
    return _each_layer(net, x, target, layer, lambda A, gradient: np.maximum((np.maximum(gradient, 0) * A).sum(1), 0))


@by_keyword
def score_cam(net: Block, x: nd.NDArray, *, target: Target = None, layer: Layers = None, batch: int = 32) -> Maps:
    """Score-CAM: ReLU(sum_k w_k A_k), without gradients (Wang et al. 2020, algorithm 1).

    w = softmax over k of the target for the image times H_k, where H_k is A_k resized to the image and stretched to
    [0, 1] (0 if it is flat): a forward pass for each channel, `batch` of them together. What the paper subtracts before
    the softmax, the target of a baseline, is one number for all k and changes nothing.

    Parameters and result as for `cam.grad_cam`; a target that is a function must be linear in the logits.
    """
    if not is_whole(batch) or batch < 1:
        raise InputError(f"batch is {batch!r}; expected a positive int")
    recording = record(net, x, layer, image_gradient=False)
    heads, images, maps = recording.head(target).asnumpy(), x.asnumpy(), {}
    for path in recording.layers:
        features = recording.features(path)
        maps[path] = np.empty((len(features), *features.shape[2:]), features.dtype)
        for number, (channels, image, head) in enumerate(zip(features, images, heads)):
            scores = []
            for start in range(0, len(channels), batch):
                masks = resize_map(channels[start : start + batch], image.shape[1:])[:, None]
                masks -= masks.min(axis=(2, 3), keepdims=True)
                highest = masks.max(axis=(2, 3), keepdims=True)
                masked = image * masks / np.where(highest > 0, highest, 1)  # (batch, 3, H, W)
                scores.append(record(net, input_for(net, masked), [], image_gradient=False).logits @ head)
            scores = np.concatenate(scores)
            weights = np.exp(scores - scores.max())
            maps[path][number] = np.maximum(np.tensordot(weights / weights.sum(), channels, 1), 0)
    return maps if isinstance(layer, (list, tuple)) else maps[recording.layers[0]]


@by_keyword
def smooth_grad(
    net: Block, x: nd.NDArray, *, target: Target = None, samples: int = 25, noise: float = 0.15, seed: int = 0
) -> np.ndarray:
    """SmoothGrad: `cam.saliency` of the gradient's mean over noisy copies of the image (Smilkov et al. 2017).

    There are `samples` copies; the standard deviation of their Gaussian noise is the share `noise` of the range of each
    image's values. The top class is that of the clean image. Else as for `cam.saliency`: numpy (N, H, W).
    """
    if not is_whole(samples) or samples < 1 or noise < 0:
        raise InputError(f"samples is {samples!r} and noise {noise!r}; expected a positive int, and at least 0")
    clean = record(net, x, [], image_gradient=False)
    target = target if callable(target) else clean.class_ids(target)
    images, rng, total = x.asnumpy(), np.random.default_rng(seed), 0
    deviation = noise * np.ptp(images, axis=(1, 2, 3), keepdims=True)
    for _ in range(samples):
        noisy = input_for(net, images + deviation * rng.standard_normal(images.shape))
        total = total + record(net, noisy, []).image_gradient(target=target)
    return np.abs(total / samples).max(axis=1)


def _each_layer(net, x, target: Target, layer: Layers, of: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Maps:
    """`of` features and gradient (N, K, h, w) of each recorded layer; a dict only if a list was asked for."""
    recording, maps = record(net, x, layer, image_gradient=False), {}
    for path in recording.layers:
        for warning in recording.caveats(path):
            warnings.warn(warning, stacklevel=4)
        maps[path] = of(recording.features(path), recording.gradient(path, target=target))
    return maps if isinstance(layer, (list, tuple)) else maps[recording.layers[0]]
