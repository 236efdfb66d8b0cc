"""Metrics over scenes: how well a net's maps meet the masks, and how often its top class is there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from mxnet import nd
from mxnet.gluon import Block

from ..core.checks import is_whole
from ..core.errors import InputError, NetError
from ..core.inputs import input_for, normalisation_of, normalise
from ..core.layers import LayerLike
from ..core.maps import grad_cam_of, resize_map
from ..core.recording import record
from ..core.targets import class_number, labels_of
from . import metrics, scenes


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


def evaluate(
    net: Block, seeds: Iterable[int], layer: LayerLike | Sequence[LayerLike] | None = None, *, batch: int = 10
):
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
        recording = record(net, x, layer, image_gradient=False)
        ids = [_class_ids(net, scene, recording.logits.shape[1]) for scene in drawn]
        for target in range(2):
            for path in recording.layers:
                maps = grad_cam_of(recording, target=[of_one[target] for of_one in ids], layer=path)
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
    if not is_whole(batch) or batch < 1:
        raise InputError(f"batch is {batch!r}; expected a positive int")
    for start in range(0, len(seeds), batch):
        part = seeds[start : start + batch]
        drawn = [scenes.draw(seed, objects) for seed in part]
        yield part, drawn, input_for(net, normalise(np.stack([scene.image for scene in drawn]), normalisation_of(net)))


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
        metrics.energy_in_mask(heat, mask | other),
        metrics.energy_in_mask(heat, mask),
        mask.mean(),
        metrics.share_on_object(heat, mask, other),
        metrics.pointing_game(heat, mask, tolerance=0),
        metrics.pointing_game(heat, mask),
    )
