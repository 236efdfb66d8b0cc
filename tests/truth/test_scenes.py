"""Scenes are reproducible and their masks are true."""

from cam import InputError, scenes

import numpy as np
import pytest
from PIL import Image


def test_seed_ranges_are_disjoint():
    ranges = [scenes.TEST_SEEDS, scenes.VALIDATION_SEEDS, scenes.TRAIN_SEEDS]
    for one in ranges:
        for two in ranges:
            assert one is two or one.stop <= two.start or two.stop <= one.start


def test_twenty_classes():
    assert len(scenes.LABELS) == 20 and sorted(scenes.LABELS) == scenes.LABELS
    assert "malamute" in scenes.LABELS and "african elephant" in scenes.LABELS


@pytest.mark.parametrize("objects", [1, 2, 3])
@pytest.mark.parametrize("size", [96, 224])
def test_what_a_scene_is(objects, size):
    for seed in range(8):
        scene = scenes.draw(seed, objects, size)
        assert scene.image.shape == (size, size, 3) and scene.image.dtype == np.uint8
        assert scene.masks.shape == (objects, size, size) and scene.masks.dtype == bool
        assert len(set(scene.class_ids)) == objects
        assert [scenes.LABELS[number] for number in scene.class_ids] == scene.labels
        assert scene.masks.sum(axis=0).max() == 1
        assert scene.masks.any(axis=(1, 2)).all()


def test_the_same_arguments_give_the_same_scene():
    one, two = scenes.draw(11), scenes.draw(11)
    assert np.array_equal(one.image, two.image) and np.array_equal(one.masks, two.masks)
    assert not np.array_equal(one.image, scenes.draw(12).image)
    assert not np.array_equal(one.image, scenes.draw(11, objects=1).image)


def test_masks_are_where_the_cut_outs_are(monkeypatch):
    """With cut-outs painted in one pure colour, the mask is where that colour is."""
    colours = {0: (255, 0, 0), 1: (0, 255, 0)}

    def painted():
        shapes = {}
        for number, label in enumerate(scenes.LABELS):
            with Image.open(scenes.CUTOUTS / f"{label.replace(' ', '_')}_1.png") as image:
                alpha = image.convert("RGBA").getchannel("A").point(lambda value: 255 * (value > 127))
            solid = Image.new("RGB", alpha.size, colours[number % 2])
            solid.putalpha(alpha)
            shapes[label] = [solid]
        return shapes

    monkeypatch.setattr(scenes, "_cutouts", painted)
    monkeypatch.setattr(scenes, "_background", lambda rng, size: np.full((size, size, 3), (0, 0, 255), np.float32))
    for seed in range(6):
        scene = scenes.draw(seed)
        for number, mask in zip(scene.class_ids, scene.masks):
            channel = number % 2
            assert scene.image[..., channel][mask].mean() > 150
        nowhere = ~scene.masks.any(axis=0)
        assert (scene.image[..., 2][nowhere] > scene.image[..., :2][nowhere].max(axis=1)).mean() > 0.98


def test_every_object_stays_visible(monkeypatch):
    placed = []
    real = scenes._visible

    def spy(cutouts, size):
        masks = real(cutouts, size)
        placed.append((cutouts, masks))
        return masks

    monkeypatch.setattr(scenes, "_visible", spy)
    for seed in range(30):
        scenes.draw(seed, objects=3, size=96)
        cutouts, masks = placed[-1]
        for cutout, mask in zip(cutouts, masks):
            assert mask.sum() >= 0.7 * (cutout.alpha > 0.5).sum()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1,), "seed is -1"),
        ((True,), "seed is True"),
        ((1.5,), "seed is 1.5"),
        ((0, 4), "objects is 4; expected 1, 2 or 3"),
        ((0, True), "objects is True"),
        ((0, [2]), "objects is"),
        ((0, 2, 8), "size is 8"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        scenes.draw(*arguments)
