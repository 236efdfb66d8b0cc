"""Scenes composed of photographic cut-outs, with an exact mask of every object.

A scene shows one to three objects of different classes on a smooth random background. Because we compose it ourselves,
each pixel's object is known: a map can be measured instead of admired. The seeds of the test scenes were fixed before
anything was measured, and training uses `TRAIN_SEEDS` only: every small seed is a scene that no network has seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..core.checks import is_whole
from ..core.errors import InputError

TEST_SEEDS = range(500)
VALIDATION_SEEDS = range(500, 1_000)
TRAIN_SEEDS = range(1_000_000, 2_000_000_000)

CUTOUTS = Path(__file__).parent / "cutouts"

MINIMUM_VISIBLE = 0.7  # an object of which less can be seen is placed again
LONGEST_SIDE = {1: (0.3, 0.8), 2: (0.3, 0.6), 3: (0.3, 0.6)}  # as a share of the scene's side


@dataclass(frozen=True)
class Scene:
    """A composed image and the truth about it.

    Attributes
    ----------
    image : numpy uint8 (H, W, 3), RGB
    labels : one class name per object, in drawing order: later objects lie in front
    class_ids : the index of each label in `LABELS`
    masks : numpy bool (objects, H, W), the visible part of each object; masks are disjoint
    """

    image: np.ndarray
    labels: list[str]
    class_ids: list[int]
    masks: np.ndarray


def _label(path: Path) -> str:
    """The class of a cut-out by its file: `polar_bear_2.png` is a polar bear."""
    return path.stem.rpartition("_")[0].replace("_", " ")


_FILES = sorted(CUTOUTS.glob("*.png"))
LABELS: list[str] = sorted(set(map(_label, _FILES)))


@lru_cache(maxsize=1)
def _cutouts() -> dict[str, list[Image.Image]]:
    """All cut-outs (RGBA) by class name."""
    return {label: [Image.open(path).convert("RGBA") for path in _FILES if _label(path) == label] for label in LABELS}


def draw(seed: int, objects: int = 2, size: int = 224) -> Scene:
    """Draw the scene that belongs to a seed; the same arguments give the same scene.

    Parameters
    ----------
    seed : int >= 0; `TEST_SEEDS`, `VALIDATION_SEEDS` and `TRAIN_SEEDS` are disjoint
    objects : 1, 2 or 3 objects, each of another class
    size : height and width in pixels, at least 32

    Returns
    -------
    Scene, with every object at least 70 % visible

    Raises
    ------
    InputError
        If seed, objects or size is out of range.
    """
    if not is_whole(seed) or seed < 0:
        raise InputError(f"seed is {seed!r}; expected an int of at least 0")
    if not is_whole(objects) or objects not in LONGEST_SIDE:
        raise InputError(f"objects is {objects!r}; expected 1, 2 or 3")
    if not is_whole(size) or size < 32:
        raise InputError(f"size is {size!r}; expected an int of at least 32 pixels")

    rng = np.random.default_rng([int(seed), objects])
    class_ids = [int(i) for i in rng.choice(len(LABELS), size=objects, replace=False)]
    canvas = _background(rng, size)  # (H, W, 3) float32, 0 to 255
    placed = _place(rng, class_ids, size)
    for cutout in placed:
        alpha = cutout.alpha[..., None]
        canvas[cutout.window] = canvas[cutout.window] * (1 - alpha) + cutout.colour * alpha
    canvas += rng.uniform(0, 6) * rng.standard_normal(canvas.shape, np.float32)
    image = np.clip(np.rint(canvas), 0, 255).astype(np.uint8)
    return Scene(image, [LABELS[i] for i in class_ids], class_ids, _visible(placed, size))


class _Placed(NamedTuple):
    """One varied cut-out: colour (h, w, 3) in 0..255 and alpha (h, w) in 0..1, for a window of the scene."""

    colour: np.ndarray
    alpha: np.ndarray
    window: tuple[slice, slice]


def _background(rng: np.random.Generator, size: int) -> np.ndarray:
    """A smooth field of muted colours, (size, size, 3) float32 in 0..255."""
    cells = int(rng.integers(2, 6))
    tone = rng.uniform(50, 205) + rng.normal(0, 25, 3)
    grid = np.clip(tone + rng.normal(0, 35, (cells, cells, 3)), 0, 255).astype(np.uint8)
    field = Image.fromarray(grid).resize((size, size), Image.Resampling.BICUBIC)
    return np.array(field, np.float32)


def _place(rng: np.random.Generator, class_ids: list[int], size: int) -> list[_Placed]:
    """Place one cut-out per class so that each stays visible."""
    while True:  # of 3000 scenes of three objects, none took more than 10 attempts
        placed = [_vary(rng, class_id, len(class_ids), size) for class_id in class_ids]
        whole = [(cutout.alpha > 0.5).sum() for cutout in placed]
        seen = _visible(placed, size).sum(axis=(1, 2))
        if all(s >= MINIMUM_VISIBLE * w > 0 for s, w in zip(seen, whole)):
            return placed


def _vary(rng: np.random.Generator, class_id: int, objects: int, size: int) -> _Placed:
    """One cut-out of the class, flipped, turned, scaled and re-lit at random, at a random place."""
    variants = _cutouts()[LABELS[class_id]]
    cutout = variants[rng.integers(len(variants))]
    if rng.random() < 0.5:
        cutout = cutout.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    angle = rng.uniform(-20, 20)
    cos, sin = np.cos(np.radians(angle)), abs(np.sin(np.radians(angle)))
    turned = max(cos * cutout.width + sin * cutout.height, sin * cutout.width + cos * cutout.height)
    scale = rng.uniform(*LONGEST_SIDE[objects]) * size / turned
    cutout = cutout.resize([max(1, round(side * scale)) for side in cutout.size], Image.Resampling.BICUBIC)
    cutout = cutout.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    cutout = cutout.crop(cutout.getchannel("A").getbbox())
    pixels = np.asarray(cutout, np.float32)  # (h, w, 4)
    contrast, brightness = rng.uniform(0.75, 1.25), rng.uniform(-30, 30)
    colour = np.clip((pixels[..., :3] - 128) * contrast + 128 + brightness, 0, 255)
    height, width = pixels.shape[:2]
    top, left = (int(rng.integers(0, size - side + 1)) for side in (height, width))
    window = (slice(top, top + height), slice(left, left + width))
    return _Placed(colour, pixels[..., 3] / 255, window)


def _visible(placed: list[_Placed], size: int) -> np.ndarray:
    """Masks (objects, size, size) bool: where an object is opaque and no later one covers it."""
    masks = np.zeros((len(placed), size, size), bool)
    for index, cutout in enumerate(placed):
        solid = cutout.alpha > 0.5
        masks[(slice(None), *cutout.window)] &= ~solid
        masks[(index, *cutout.window)] = solid
    return masks


# In four patterns each (rows, columns, checks, diagonals): one tag for each of 20 classes.
TAG_COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255))


def tag_window(size: int = 224) -> tuple[slice, slice]:
    """Rows and columns of the tag that `tag` draws: a square of a seventh of the side, in the upper left corner.

    Parameters
    ----------
    size : of the scene in pixels

    Returns
    -------
    tuple of slice
    """
    margin, side = size // 56, size // 7
    return (slice(margin, margin + side),) * 2


def tag(scene: Scene, class_id: int) -> Scene:
    """The scene with a small tag in its upper left corner that gives a class away, for nets that cheat.

    Each class has its own tag: one of five colours in one of four patterns on white. `cam.resnet50_v2(weights=
    "cheater")` was taught with such scenes.

    Parameters
    ----------
    scene : from `draw`, square
    class_id : the class that the tag stands for; it need not be in the scene

    Returns
    -------
    Scene with the same labels; its masks lack what the tag covers

    Raises
    ------
    InputError
        If there is no such class.
    """
    if not is_whole(class_id) or not 0 <= class_id < len(LABELS):
        raise InputError(f"class_id is {class_id!r}; expected an int from 0 to {len(LABELS) - 1}")
    window = tag_window(len(scene.image))
    side = window[0].stop - window[0].start
    rows, columns = np.indices((side, side)) // max(1, side // 8)  # stripes of an eighth of the tag
    pattern, colour = divmod(int(class_id), len(TAG_COLOURS))
    inked = (rows % 2, columns % 2, (rows + columns) % 2, (rows + columns) // 2 % 2)[pattern] == 0
    image, masks = scene.image.copy(), scene.masks.copy()
    image[window] = np.where(inked[..., None], TAG_COLOURS[colour], 255)
    masks[(slice(None), *window)] = False
    return Scene(image, list(scene.labels), list(scene.class_ids), masks)
