"""docs/playground/scene.js once more in numpy, written for arrays: both must make the same bytes of a scene."""

from math import ceil, floor, pi

import cam

import numpy as np
from PIL import Image

SIDE = 224


def cutout(name):
    """A cut-out as float64 (h, w, 4), premultiplied RGBA."""
    with Image.open(cam.scenes.CUTOUTS / name) as image:
        rgba = np.asarray(image.convert("RGBA"), np.float64)
    rgba[..., :3] = rgba[..., :3] * rgba[..., 3:] / 255
    return rgba


def turn(degrees):
    """Cosine and sine by sums and products alone, in the order in which JavaScript adds them."""
    quarter = floor((degrees + 45) / 90)
    x = (degrees - 90 * quarter) * (pi / 180)
    cos = sin = 1.0
    for k in range(16, 0, -2):
        cos = 1 - cos * (x * x) / (k * (k - 1))
        sin = 1 - sin * (x * x) / (k * (k + 1))
    sin *= x
    return [(cos, sin), (-sin, cos), (-cos, -sin), (sin, -cos)][quarter % 4]


def compose(background, objects, tag=None):
    """The scene as a `cam.scenes.Scene`-like pair: uint8 (224, 224, 3), bool masks (objects, 224, 224)."""
    top, bottom = (np.array(colour, np.float64) for colour in background)
    down = (np.arange(SIDE) / (SIDE - 1))[:, None, None]
    canvas = np.broadcast_to(top + (bottom - top) * down, (SIDE, SIDE, 3)).copy()
    masks = np.zeros((len(objects), SIDE, SIDE), bool)
    for number, one in enumerate(objects):
        sums = _samples(**one)
        alpha = sums[..., 3:] / 255
        canvas = canvas * (1 - alpha) + sums[..., :3]
        solid = alpha[..., 0] > 0.5
        masks[:, solid] = False
        masks[number] = solid
    image = np.clip(np.floor(canvas + 0.5), 0, 255).astype(np.uint8)
    if tag is not None:
        tagged = cam.scenes.tag(cam.scenes.Scene(image, [], [], masks), tag)
        return tagged.image, tagged.masks
    return image, masks


def _samples(cutout, x, y, size, angle, flip):
    """At each pixel of the scene the mean of the cut-out's bilinear samples, (224, 224, 4)."""
    height, width = cutout.shape[:2]
    scale = size / max(width, height)
    cos, sin = turn(angle)
    taps = max(1, ceil(1 / scale))
    rows, columns = np.indices((SIDE, SIDE), np.float64)
    padded = np.pad(cutout, ((1, 2), (1, 2), (0, 0)))
    sums = np.zeros((SIDE, SIDE, 4))
    for v in range(taps):
        for u in range(taps):
            dx, dy = columns + (u + 0.5) / taps - x, rows + (v + 0.5) / taps - y
            across = (cos * dx + sin * dy) / scale
            px = (-across if flip else across) + width / 2 - 0.5
            py = (cos * dy - sin * dx) / scale + height / 2 - 0.5
            column, row = np.floor(px), np.floor(py)
            inside = (column >= -1) & (row >= -1) & (column < width) & (row < height)
            right, below = px - column, py - row
            j, i = (np.where(inside, one, -1).astype(int) + 1 for one in (column, row))
            for b in range(2):
                for a in range(2):
                    weight = (right if a else 1 - right) * (below if b else 1 - below) * inside
                    sums += weight[..., None] * padded[i + b, j + a]
    return sums / (taps * taps)
