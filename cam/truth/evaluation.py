"""Metrics over scenes: how well a net's maps meet the masks, how often its top class is there, what a net forgot."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from mxnet import nd
from mxnet.gluon import Block

from ..core.checks import is_whole
from ..core.errors import InputError, LayerError, NetError, collected, telling
from ..core.layers import Layers, blocks_of, parameters
from ..core.recording import record
from ..core.targets import class_number, labels_of
from ..maps.grad_cam import grad_cam
from ..maps.resizing import resize_map
from ..nets.normalisation import input_for, normalisation_of, normalise
from . import metrics
from .scenes import LABELS, Scene, draw


@dataclass(frozen=True)
class Evaluation:
    """A method's maps of one layer against the masks: one entry per scene and object, numpy arrays of one length.

    Attributes
    ----------
    method, layer : whose maps; layer is "" for a method without one
    seed, target : which scene (its seed, or its place among those given), and which of its objects the map is for
    on_objects : share of the positive energy on any object; where it is 0, `share` is 0 by definition
    energy : `energy_in_mask`
    area : the mask's share of the image, which is what `energy` is by chance
    share : `share_on_object`
    hit, near : `pointing_game` without tolerance, and with 15 pixels
    overlap : `intersection_over_union` at 15 % of the maximum
    """

    method: str
    layer: str
    seed: np.ndarray
    target: np.ndarray
    on_objects: np.ndarray
    energy: np.ndarray
    area: np.ndarray
    share: np.ndarray
    hit: np.ndarray
    near: np.ndarray
    overlap: np.ndarray

    @property
    def times_chance(self) -> float:
        """Mean energy in the mask over the mask's mean share of the image."""
        return float(self.energy.mean() / self.area.mean())

    def interval(self, measure: str, minus: Evaluation | None = None) -> metrics.Interval:
        """Mean of a measure, or its lead over that of another method; whole scenes are drawn.

        Parameters
        ----------
        measure : its name, such as "share"
        minus : the evaluation of the other method

        Returns
        -------
        metrics.Interval

        Raises
        ------
        InputError
            If the two are not of the same scenes in the same order.
        """
        if minus and not all(np.array_equal(getattr(self, key), getattr(minus, key)) for key in ("seed", "target")):
            raise InputError("minus is of other scenes, or of another order; measure both with one compare")
        values = np.asarray(getattr(self, measure), float)
        return metrics.bootstrap(values - getattr(minus, measure) if minus else values, clusters=self.seed)


@telling
def evaluate(
    net: Block, seeds: Iterable, layer: Layers = None, *, batch: int = 10, output: int | None = None
) -> Evaluation | dict[str, Evaluation]:
    """`compare` for Grad-CAM alone.

    Parameters
    ----------
    net, seeds, layer, batch, output : as for `compare`, whose errors this function raises

    Returns
    -------
    Evaluation; a dict of them by layer path if `layer` is a list
    """
    found = {one.layer: one for one in compare(net, {"Grad-CAM": grad_cam}, layer, seeds, batch=batch, output=output)}
    return found if isinstance(layer, (list, tuple)) else next(iter(found.values()))


@telling
def compare(
    net: Block,
    methods: Mapping[str, Callable],
    layers: Layers,
    seeds: Iterable,
    *,
    batch: int = 10,
    progress=iter,
    output: int | None = None,
) -> list[Evaluation]:
    """Measure the maps of every object's class by several methods and layers on the same scenes.

    Parameters
    ----------
    net : a net that knows the classes of `cam.scenes`, by its labels or, without labels, in their order
    methods : functions, by a name for the table, of any of `net`, `x`, `target`, `layer` and `output`, by name:
        `cam.grad_cam`, `cam.saliency`, `cam.baselines.edges`, or one's own. They return maps (N, h, w), a dict of them
        by layer if they were given a list; of gradients (N, 3, H, W) the largest |value| over channels is measured
    layers : as `layer` in `cam.grad_cam`
    seeds : which scenes of two objects, such as `cam.scenes.TEST_SEEDS[:200]`; or Scenes, of any number of objects
    batch : scenes per call of a method
    progress : function that wraps the list of batches to show how far it is, such as `tqdm.tqdm`
    output : as for `cam.grad_cam`

    Returns
    -------
    list of Evaluation, one for each method and layer

    Raises
    ------
    InputError
        If there are no seeds, their scenes differ in size, batch is no positive int, or a method returns other maps.
    ClassError, NetError
        If the net does not know a scene's classes.
    """
    rows: dict[tuple[str, str], list[tuple]] = {}
    for scenes, x in _batches(net, seeds, 2, batch, progress):
        classes = record(net, x, [], image_gradient=False, output=output).logits.shape[1]
        ids = [_class_ids(net, scene, classes) for _, scene in scenes]
        for target in range(max(map(len, ids))):
            asked = [of_one[min(target, len(of_one) - 1)] for of_one in ids]  # of a scene with fewer, one is left over
            for name, method in methods.items():
                for path, maps in _maps(method, net=net, x=x, target=asked, layer=layers, output=output).items():
                    measured = rows.setdefault((name, path), [])
                    for heat, (mark, scene) in zip(maps, scenes):
                        if target < len(scene.masks):
                            measured.append((mark, target, *_measure(heat, scene.masks, target)))
    return [Evaluation(*key, *map(np.array, zip(*measured))) for key, measured in rows.items()]


@telling
def accuracy(net: Block, seeds: Iterable, objects: int = 2, batch: int = 20, *, output: int | None = None) -> float:
    """Share of scenes whose top class is among the objects shown.

    Parameters
    ----------
    net, seeds : as for `compare`, whose errors this function raises
    objects : how many of them a scene of a seed has
    batch, output : as for `compare`

    Returns
    -------
    float, 0 to 1
    """
    hits = []
    for scenes, x in _batches(net, seeds, objects, batch):
        logits = record(net, x, [], image_gradient=False, output=output).logits
        hits += [row.argmax() in _class_ids(net, scene, len(row)) for row, (_, scene) in zip(logits, scenes)]
    return sum(hits) / len(hits)


def score_of(net: Block, target: int | str, *, output: int | None = None) -> metrics.Score:
    """The probability of a class as a function of images, for `cam.metrics`.

    Parameters
    ----------
    net : as for `cam.record`
    target : the class, by number or label
    output : as for `cam.record`

    Returns
    -------
    Function of normalised images, numpy (N, C, H, W) to (N,)

    Raises
    ------
    NetError
        By the function, if the net gives no probabilities.
    """

    def score(images: np.ndarray) -> np.ndarray:
        recording = record(net, input_for(net, images), [], image_gradient=False, output=output)
        if recording.probabilities is None:
            raise NetError("the net gives no probabilities of classes, which this measure is about")
        return recording.probabilities[:, recording.class_ids(target)[0]]

    return score


def randomise(net: Block, down_to: str, seed: int = 0) -> Block:
    """A copy of a net that has forgotten all from the logits down to a layer: the cascade of Adebayo et al. 2018.

    In this layer and all that the net lists behind it, the values of each parameter are shuffled: they keep their
    distribution, so that the pass neither vanishes nor overflows.

    Parameters
    ----------
    net : stays as it is
    down_to : the path of a block with parameters, such as "output" (the last layer alone) or "features.8"
    seed : with one seed, two copies agree on what both forgot

    Returns
    -------
    The copy

    Raises
    ------
    LayerError
        If there is no such block.
    """
    names = list(parameters(net))
    kept = next((place for place, name in enumerate(names) if name.startswith(f"{down_to}.")), None)
    if kept is None:
        raise LayerError(f"down_to is {down_to!r}; expected the path of a block with parameters, such as 'output'")
    values = (value for _, block in blocks_of(net) for value in vars(block).values())
    compiled = {id(value): None for value in values if isinstance(value, nd.CachedOp)}  # of a hybridized net; no copy
    forgetful, rng = copy.deepcopy(net, compiled), np.random.default_rng(seed)
    for parameter in reversed(list(parameters(forgetful).values())[kept:]):
        learned = parameter.data().asnumpy()
        parameter.set_data(nd.array(rng.permutation(learned.ravel()).reshape(learned.shape), dtype=learned.dtype))
    return forgetful


def _maps(method: Callable, **offered) -> dict[str, np.ndarray]:
    """What the method gives for those of the offered arguments that it has, by layer; without its warnings."""
    wanted = inspect.signature(method).parameters
    with collected():
        maps = method(**{name: value for name, value in offered.items() if name in wanted})
    maps, count = maps if isinstance(maps, dict) else {"": maps}, len(offered["x"])
    for one in maps.values():
        if not isinstance(one, np.ndarray) or one.ndim not in (3, 4) or len(one) != count:
            came = f"{type(one).__name__} {getattr(one, 'shape', '')}".strip()
            raise InputError(f"a method returned {came} for {count} images; expected numpy maps ({count}, h, w)")
    return {path: np.abs(one).max(axis=1) if one.ndim == 4 else one for path, one in maps.items()}


def _batches(
    net: Block, seeds: Iterable, objects: int, batch: int, progress=iter
) -> Iterator[tuple[list[tuple[int, Scene]], nd.NDArray]]:
    """For each batch its scenes, each behind its seed or its place among those given, and the net's input."""
    seeds = list(seeds) if isinstance(seeds, Iterable) else []
    if not seeds:
        raise InputError("seeds is empty or no list; give a list of at least one scene's seed")
    if not is_whole(batch) or batch < 1:
        raise InputError(f"batch is {batch!r}; expected a positive int")
    for start in progress(range(0, len(seeds), batch)):
        part = enumerate(seeds[start : start + batch], start)
        scenes = [(place, one) if isinstance(one, Scene) else (one, draw(one, objects)) for place, one in part]
        if len({scene.image.shape for _, scene in scenes}) > 1:
            raise InputError("the scenes differ in size; give those of one size, or batch=1")
        images = normalise(np.stack([scene.image for _, scene in scenes]), normalisation_of(net))
        yield scenes, input_for(net, images)


def _class_ids(net: Block, scene: Scene, classes: int) -> list[int]:
    """The net's numbers of the scene's classes."""
    if labels_of(net, classes) is not None:
        return [class_number(net, label, classes) for label in scene.labels]
    if classes != len(LABELS):
        known = f"the {len(LABELS)} of cam.scenes, or net.labels"
        raise NetError(f"the net has {classes} classes and no labels; expected {known}")
    return scene.class_ids


def _measure(heat: np.ndarray, masks: np.ndarray, target: int) -> tuple:
    """The measures of `Evaluation`, in its order."""
    mask, heat = masks[target], resize_map(heat, masks.shape[1:])
    other = masks.any(axis=0) & ~mask
    return (
        metrics.energy_in_mask(heat, mask | other),
        metrics.energy_in_mask(heat, mask),
        mask.mean(),
        metrics.share_on_object(heat, mask, other),
        metrics.pointing_game(heat, mask, tolerance=0),
        metrics.pointing_game(heat, mask),
        metrics.intersection_over_union(heat, mask),
    )
