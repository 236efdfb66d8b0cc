"""What a map is worth against a mask that is known exactly.

Each measure takes a map and masks of the same scene. A map of another size is first resized to the mask's
(bilinear, `cam.resize_map`). Only positive values count as evidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral

import numpy as np
from mxnet import nd
from mxnet.gluon import Block

from . import scenes
from .errors import InputError, NetError, NonFiniteError
from .images import input_for, normalise
from .maps import grad_cam_of, resize_map
from .recording import record
from .resolve import LayerLike, class_number, labels_of


def energy_in_mask(heat: np.ndarray, mask: np.ndarray) -> float:
    """Share of the map's positive energy that lies inside the mask, 0 to 1 (Wang et al. 2020: energy-based pointing).

    By chance, a map without any idea gets the mask's share of the image. A map with no positive value gets 0.

    Parameters
    ----------
    heat : numpy (h, w)
    mask : numpy bool (H, W)

    Raises
    ------
    InputError, NonFiniteError
        If map or mask are not as described.
    """
    positive = _positive(heat, mask)
    return _ratio(positive[mask].sum(), positive.sum())


def share_on_object(heat: np.ndarray, mask: np.ndarray, other: np.ndarray) -> float:
    """Of the positive energy that falls on either of two objects, the share on the right one, 0 to 1.

    The idea of Boehle et al. 2021 (their localisation metric), on objects instead of cells. By chance
    it is the mask's share of both masks. A map with nothing on either object gets 0.

    Parameters
    ----------
    heat : numpy (h, w)
    mask, other : numpy bool (H, W), disjoint: the object of the explained class, and all others

    Raises
    ------
    InputError, NonFiniteError
        If the masks overlap or differ in shape, or map and masks are not as described.
    """
    positive = _positive(heat, mask)
    if getattr(other, "shape", None) != mask.shape or other.dtype != bool or (mask & other).any():
        raise InputError("mask and other must be bool arrays of one shape that do not overlap")
    right = positive[mask].sum()
    return _ratio(right, right + positive[other].sum())


def pointing_game(heat: np.ndarray, mask: np.ndarray, tolerance: int = 15) -> bool:
    """Whether the map's maximum lies on the object, or at most `tolerance` pixels from it (Zhang et al. 2018).

    A map with no positive value misses. Of several maxima the first one counts.

    Parameters
    ----------
    heat : numpy (h, w)
    mask : numpy bool (H, W)
    tolerance : radius in the mask's pixels

    Raises
    ------
    InputError, NonFiniteError
        If the tolerance is negative, or map and mask are not as described.
    """
    if tolerance < 0:
        raise InputError(f"tolerance is {tolerance!r}; expected a number of pixels, at least 0")
    positive = _positive(heat, mask)
    row, column = np.unravel_index(positive.argmax(), positive.shape)
    rows, columns = np.nonzero(mask)
    if positive[row, column] == 0 or len(rows) == 0:
        return False
    return bool(((rows - row) ** 2 + (columns - column) ** 2).min() <= tolerance**2)


@dataclass(frozen=True)
class Interval:
    """A mean with a bootstrap interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap(values: Sequence[float], confidence: float = 0.95, samples: int = 2000, seed: int = 0) -> Interval:
    """Mean of `values` with its percentile bootstrap interval (Efron 1979).

    Raises
    ------
    InputError
        If there are no values.
    """
    values = np.asarray(values, float)
    if values.ndim != 1 or len(values) == 0:
        raise InputError(f"values has shape {values.shape}; expected at least one number in one dimension")
    if not 0 < confidence < 1:
        raise InputError(f"confidence is {confidence!r}; expected a share between 0 and 1, such as 0.95")
    rows = np.random.default_rng(seed).integers(0, len(values), (samples, len(values)))
    low, high = np.quantile(values[rows].mean(axis=1), [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(values.mean()), float(low), float(high))


@dataclass(frozen=True)
class Evaluation:
    """Grad-CAM against the masks: one entry per scene and object, numpy arrays of one length.

    Attributes
    ----------
    seed, target : which scene, and which of its objects (0 or 1) the map is for
    on_objects : share of the positive energy on either object; where it is 0, `share` is 0 by definition
    energy : `energy_in_mask`
    area : the mask's share of the image, which is what `energy` is by chance
    share : `share_on_object`
    hit, near : `pointing_game` without tolerance, and with 15 pixels
    """

    seed: np.ndarray
    target: np.ndarray
    on_objects: np.ndarray
    energy: np.ndarray
    area: np.ndarray
    share: np.ndarray
    hit: np.ndarray
    near: np.ndarray

    @property
    def times_chance(self) -> float:
        """Mean energy in the mask over the mask's mean share of the image."""
        return float(self.energy.mean() / self.area.mean())


def evaluate(net: Block, seeds: Iterable[int], layer: LayerLike | Sequence[LayerLike] | None = None, batch: int = 10):
    """Measure Grad-CAM of every object's class on two-object scenes, from one forward per batch.

    Parameters
    ----------
    net : a net that knows the classes of `cam.scenes`, by its labels or, without labels, in their order
    seeds : which scenes, such as `cam.scenes.TEST_SEEDS[:200]`
    layer : as in `grad_cam`
    batch : scenes per forward

    Returns
    -------
    Evaluation; a dict of them by layer path if `layer` is a list

    Raises
    ------
    CamError
        InputError if there are no seeds or batch is no positive int; NetError or ClassError if the net does not know
        a scene's classes; else as `cam.record`.
    """
    rows: dict[str, list[tuple]] = {}
    for part, drawn, x in _batches(net, seeds, 2, batch):
        recording = record(net, x, layer, image=False)
        ids = [_class_ids(net, scene, recording.logits.shape[1]) for scene in drawn]
        for target in range(2):
            for path in recording.layers:
                maps = grad_cam_of(recording, [of_one[target] for of_one in ids], path)
                for heat, scene, seed in zip(maps, drawn, part):
                    measured = _measure(heat, scene.masks[target], scene.masks[1 - target])
                    rows.setdefault(path, []).append((seed, target, *measured))
    found = {path: Evaluation(*map(np.array, zip(*measured))) for path, measured in rows.items()}
    return found if isinstance(layer, (list, tuple)) else next(iter(found.values()))


def accuracy(net: Block, seeds: Iterable[int], objects: int, batch: int = 20) -> float:
    """Share of scenes whose top class is among the objects shown, 0 to 1; net, batch and errors as in `evaluate`."""
    hits = []
    for _, drawn, x in _batches(net, seeds, objects, batch):
        logits = net(x).asnumpy()
        hits += [row.argmax() in _class_ids(net, scene, len(row)) for row, scene in zip(logits, drawn)]
    return sum(hits) / len(hits)


def _batches(net: Block, seeds: Iterable[int], objects: int, batch: int) -> Iterator[tuple[list, list, nd.NDArray]]:
    """For each batch its seeds, its scenes and the net's input."""
    seeds = list(seeds)
    if not seeds:
        raise InputError("seeds is empty; give at least one scene's seed")
    if isinstance(batch, bool) or not isinstance(batch, Integral) or batch < 1:
        raise InputError(f"batch is {batch!r}; expected a positive int")
    for start in range(0, len(seeds), batch):
        part = seeds[start : start + batch]
        drawn = [scenes.draw(seed, objects) for seed in part]
        yield part, drawn, input_for(net, normalise(np.stack([scene.image for scene in drawn])))


def _class_ids(net: Block, scene: scenes.Scene, classes: int) -> list[int]:
    """The net's numbers of the scene's classes."""
    if labels_of(net, classes) is not None:
        return [class_number(net, label, classes) for label in scene.labels]
    if classes != len(scenes.LABELS):
        known = f"the {len(scenes.LABELS)} of cam.scenes, or net.labels"
        raise NetError(f"the net has {classes} classes and no labels; expected {known}")
    return scene.class_ids


def _measure(heat: np.ndarray, mask: np.ndarray, other: np.ndarray) -> tuple:
    heat = resize_map(heat, mask.shape)
    return (
        energy_in_mask(heat, mask | other),
        energy_in_mask(heat, mask),
        mask.mean(),
        share_on_object(heat, mask, other),
        pointing_game(heat, mask, tolerance=0),
        pointing_game(heat, mask),
    )


def _positive(heat: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The map's positive part in float64 at the mask's size."""
    for array, name in ((heat, "heat"), (mask, "mask")):
        if not isinstance(array, np.ndarray) or array.ndim != 2 or (name == "mask" and array.dtype != bool):
            kind = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
            raise InputError(
                f"{name} is {kind}; expected a numpy {'map (h, w)' if name == 'heat' else 'bool mask (H, W)'}"
            )
    if not np.isfinite(heat).all():
        raise NonFiniteError("the map holds NaN or infinity")
    heat = heat if heat.shape == mask.shape else resize_map(heat, mask.shape)
    return np.maximum(heat, 0).astype(np.float64)


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else 0.0
