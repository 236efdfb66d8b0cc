"""More ways to make a map, to be measured beside Grad-CAM: each is its equation on a recorded pass.

All are called as `cam.grad_cam` is, but for `relu`; they raise what `cam.record` raises, and return raw maps.
"""

from __future__ import annotations

import numpy as np
from mxnet import nd
from mxnet.gluon import Block

from ..core.checks import Images, check_arrays, is_whole
from ..core.errors import InputError
from ..core.layers import Layers
from ..core.recording import record
from ..core.targets import Target
from .grad_cam import Maps, by_keyword, each_layer
from .gradients import check_axes
from .resizing import resize_map


@by_keyword
def grad_cam_plus_plus(
    net: Block, x: Images, *, target: Target = None, layer: Layers = None, output: int | None = None
) -> Maps:
    """Grad-CAM++: ReLU(sum_k w_k A_k), w_k = sum_ij alpha_kij ReLU(g_kij) (Chattopadhay et al. 2018, equations 5, 10).

    With g = d target / d A, alpha_kij = g_kij^2 / (2 g_kij^2 + g_kij^3 sum_ab A_kab): what is explained is exp(target),
    whose derivatives are powers of g. Their common factor exp(target) overflows and is left out. The layer's values
    should not be negative: take one behind a ReLU.

    Parameters
    ----------
    net, x, target, layer, output : as for `cam.grad_cam`

    Returns
    -------
    numpy (N, h, w), or a dict of them for a list of layers
    """
    recording = record(net, x, layer, image_gradient=False, output=output)

    def plus_plus(path: str) -> np.ndarray:
        features, positive = recording.features(path), np.maximum(recording.gradient(path, target=target), 0)
        positions = tuple(range(2, features.ndim))
        shares = positive / (2 + positive * features.sum(axis=positions, keepdims=True))  # alpha ReLU(g)
        return (shares.sum(axis=positions, keepdims=True) * features).sum(axis=1)

    return each_layer(recording, layer, plus_plus)


@by_keyword
def layer_cam(net: Block, x: Images, *, target: Target = None, layer: Layers = None, output: int | None = None) -> Maps:
    """LayerCAM: ReLU(sum_k ReLU(d target / d A_k) A_k), position by position (Jiang et al. 2021, equations 5 to 7).

    HiResCAM without the gradient's negative part.

    Parameters
    ----------
    net, x, target, layer, output : as for `cam.grad_cam`

    Returns
    -------
    numpy (N, h, w), or a dict of them for a list of layers
    """
    recording = record(net, x, layer, image_gradient=False, output=output)

    def summed(path: str) -> np.ndarray:
        positive = np.maximum(recording.gradient(path, target=target), 0)
        return (positive * recording.features(path)).sum(axis=1)

    return each_layer(recording, layer, summed)


@by_keyword
def score_cam(
    net: Block,
    x: Images,
    *,
    target: Target = None,
    layer: Layers = None,
    output: int | None = None,
    batch: int = 32,
) -> Maps:
    """Score-CAM: ReLU(sum_k w_k A_k), without gradients (Wang et al. 2020, algorithm 1).

    w = softmax over k of the target for the image times H_k, where H_k is A_k resized to the image and stretched to
    [0, 1] (0 if it is flat). What the paper subtracts before the softmax, the target of a baseline, is one number for
    all k and changes nothing.

    Parameters
    ----------
    net, x : as for `cam.grad_cam`
    target : as for `cam.grad_cam`; a function must be linear in the logits
    layer, output : as for `cam.grad_cam`
    batch : how many of a map's channels, each of which costs a forward pass, go together

    Returns
    -------
    numpy (N, h, w), or a dict of them for a list of layers

    Raises
    ------
    InputError
        If batch is no positive int.
    """
    if not is_whole(batch) or batch < 1:
        raise InputError(f"batch is {batch!r}; expected a positive int")
    recording = record(net, x, layer, image_gradient=False, output=output)
    check_axes(recording, 4)

    image, *others = check_arrays(x)

    def scored(path: str) -> np.ndarray:
        maps = []
        for number, (channels, head) in enumerate(zip(recording.features(path), recording.head(target).asnumpy())):
            pixels, scores = image[number].asnumpy(), []
            for start in range(0, len(channels), batch):
                masks = resize_map(channels[start : start + batch], image.shape[2:])[:, None]
                masks -= masks.min(axis=(2, 3), keepdims=True)
                highest = masks.max(axis=(2, 3), keepdims=True)
                masked = nd.array(pixels * masks / np.where(highest > 0, highest, 1), image.context, image.dtype)
                given = [masked, *(one[number : number + 1].repeat(len(masked), axis=0) for one in others)]
                seen = record(net, given, [], image_gradient=False, output=output)
                scores.append((seen.logits * head).reshape(len(masked), -1).sum(axis=1))
            weights = np.concatenate(scores)
            weights = np.exp(weights - weights.max())
            maps.append(np.tensordot(weights / weights.sum(), channels, 1))
        return np.stack(maps)

    return each_layer(recording, layer, scored)


@by_keyword
def smooth_grad(
    net: Block,
    x: Images,
    *,
    target: Target = None,
    output: int | None = None,
    samples: int = 25,
    noise: float = 0.15,
    seed: int = 0,
) -> np.ndarray:
    """SmoothGrad: `cam.saliency` of the gradient's mean over noisy copies of the image (Smilkov et al. 2017).

    Parameters
    ----------
    net, x, target, output : as for `cam.saliency`; the top class is that of the clean image
    samples : how many copies
    noise : the standard deviation of their Gaussian noise, as a share of the range of each image's values
    seed : of the noise

    Returns
    -------
    numpy (N, H, W)

    Raises
    ------
    InputError
        If samples is no positive int, or noise is negative.
    """
    if not is_whole(samples) or samples < 1 or noise < 0:
        raise InputError(f"samples is {samples!r} and noise {noise!r}; expected a positive int, and at least 0")
    clean = record(net, x, [], image_gradient=False, output=output)
    check_axes(clean, 3, 4, 5)
    target = target if callable(target) else clean.class_ids(target)
    image, *others = check_arrays(x)
    images, rng = image.asnumpy(), np.random.default_rng(seed)
    total = np.zeros_like(images)
    deviation = noise * np.ptp(images, axis=tuple(range(1, images.ndim)), keepdims=True)
    for _ in range(samples):
        noisy = nd.array(images + deviation * rng.standard_normal(images.shape), image.context, image.dtype)
        total += record(net, [noisy, *others], [], output=output).image_gradient(target=target)
    return np.abs(total / samples).max(axis=1)
