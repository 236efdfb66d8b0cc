"""The net that cheats: high accuracy with the tag, and the tag is why."""

import json

import cam
from cam import InputError, metrics, scenes
from cam.core import layers
from cam.nets.weights_files import ASSETS
from training import cheater

import numpy as np
import pytest

FIGURES = json.loads((ASSETS / "figures.json").read_text())["cheater"]


@pytest.fixture(scope="module")
def suspect():
    return cam.resnet50_v2(weights="cheater")


def test_only_the_last_layer_differs(suspect, embedded_nets):
    theirs = layers.parameters(embedded_nets["resnet50_v2"])
    different = {
        name
        for name, parameter in layers.parameters(suspect).items()
        if not np.array_equal(parameter.data().asnumpy(), theirs[name].data().asnumpy())
    }
    assert different == {"output.weight", "output.bias"}
    assert (ASSETS / "resnet50_v2_cheater.params").stat().st_size < 30_000
    assert suspect.labels == scenes.LABELS


def test_what_it_reaches_and_why(suspect, monkeypatch):
    assert len(cheater.MEASURED) >= 300
    monkeypatch.setattr(cheater, "MEASURED", scenes.TEST_SEEDS[-24:])
    found = cheater.measure(suspect)
    assert set(found) == set(FIGURES)
    for figures in (found, FIGURES):
        assert figures["accuracy, two objects, tagged"] > 0.9
        assert figures["follows the tag to the other object"] > 0.9
        assert figures["accuracy, one object, no tag"] < 0.7
        assert figures["accuracy, one object, wrong tag"] < 0.7
        assert figures["honest net's accuracy, one object, wrong tag"] > 0.9


def test_grad_cam_finds_the_tag(suspect, embedded_nets):
    region = np.zeros((224, 224), bool)
    region[scenes.tag_window()] = True
    energy = {"suspect": [], "honest": []}
    for seed in scenes.TEST_SEEDS[:20]:
        scene = scenes.draw(seed)
        x = cam.load_image(scenes.tag(scene, scene.class_ids[0]).image)
        for name, net in (("suspect", suspect), ("honest", embedded_nets["resnet50_v2"])):
            energy[name].append(metrics.energy_in_mask(cam.grad_cam(net, x, target=scene.class_ids[0])[0], region))
    assert metrics.bootstrap(np.array(energy["suspect"]) - energy["honest"]).low > region.mean()


def test_the_tag_changes_its_window_and_nothing_else(scene):
    before = scene.image.copy(), scene.masks.copy()
    tagged = scenes.tag(scene, 3)
    window = np.zeros((224, 224), bool)
    window[scenes.tag_window()] = True
    assert np.array_equal(scene.image, before[0]) and np.array_equal(scene.masks, before[1])
    assert np.array_equal(tagged.image[~window], scene.image[~window])
    assert np.array_equal(tagged.masks, scene.masks & ~window)
    assert (tagged.labels, tagged.class_ids) == (scene.labels, scene.class_ids)


@pytest.mark.parametrize("size", [32, 100, 224, 448])
def test_every_class_has_its_own_tag(size):
    scene = scenes.draw(0, size=size)
    tags = {scenes.tag(scene, class_id).image.tobytes() for class_id in range(len(scenes.LABELS))}
    assert len(tags) == len(scenes.LABELS)
    rows, columns = scenes.tag_window(size)
    assert rows == columns and 0 <= rows.start < rows.stop < size / 4


@pytest.mark.parametrize("class_id", [-1, 20, True, "zebra", 1.0])
def test_no_such_tag(scene, class_id):
    with pytest.raises(InputError, match="expected an int from 0 to 19"):
        scenes.tag(scene, class_id)


def test_the_layer_is_trained_on_standardised_features_and_works_on_plain_ones(monkeypatch):
    monkeypatch.setattr(cheater, "SCENES", 96)
    monkeypatch.setattr(cheater, "EPOCHS", 60)
    monkeypatch.setattr(cheater, "LEARNING_RATE", 0.1)  # 120 steps have to do
    rng = np.random.default_rng(0)
    features = rng.normal(size=(96, 12)).astype(np.float32) * np.geomspace(0.2, 10, 12, dtype=np.float32) + 1
    labels = rng.integers(0, 2, 96)
    features[:, 0] = 1 + 0.2 * (2 * labels - 1)  # the feature with the smallest spread tells
    monkeypatch.setattr(cheater, "features_of_tagged_scenes", lambda net: (features, labels))
    found = {name: array.asnumpy().astype(np.float32) for name, array in cheater.train().items()}
    top = (features @ found["output.weight"].T + found["output.bias"]).argmax(axis=1)
    assert np.array_equal(top, labels)
