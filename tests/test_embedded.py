"""What the embedded nets reach on the test scenes; `make train` writes the figures beside the weights."""

import json

import cam
from cam import metrics, scenes
from cam.weights import ASSETS

import numpy as np
import pytest

NAMES = ["vgg16", "resnet50_v2"]
FIGURES = json.loads((ASSETS / "figures.json").read_text())


def test_size():
    assert sum(path.stat().st_size for path in ASSETS.glob("*.params")) < 10e6


@pytest.mark.parametrize("name", NAMES)
def test_topology(embedded_nets, name):
    net = embedded_nets[name]
    zoo_names = set(getattr(cam, name)(weights=None, classes=20, width=1 / 16)._collect_params_with_prefix())
    assert set(net._collect_params_with_prefix()) == zoo_names
    assert net.labels == scenes.LABELS


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("objects", "least"), [(1, 0.99), (2, 0.98)])
def test_accuracy(embedded_nets, name, objects, least):
    found = metrics.accuracy(embedded_nets[name], scenes.TEST_SEEDS, objects)
    assert found >= least
    assert found == pytest.approx(FIGURES[name][f"accuracy, {('one object', 'two objects')[objects - 1]}"], abs=0.005)


@pytest.mark.parametrize(("name", "share", "over_chance"), [("resnet50_v2", 0.93, 4), ("vgg16", 0.86, 2)])
def test_maps_lie_on_their_objects(embedded_nets, name, share, over_chance):
    found = metrics.evaluate(embedded_nets[name], scenes.TEST_SEEDS[:200])
    assert len(found.share) == 400
    assert found.share.mean() >= share
    assert found.times_chance >= over_chance
    assert found.share.mean() == pytest.approx(FIGURES[name]["share on the right object"], abs=0.005)


def test_evaluate_is_grad_cam_one_by_one(embedded_nets):
    net = embedded_nets["resnet50_v2"]
    together = metrics.evaluate(net, [3, 4, 5], ["features.8.2.add", "features.10"], batch=2)
    found = together["features.8.2.add"]
    assert sorted(zip(found.seed, found.target)) == [(seed, target) for seed in (3, 4, 5) for target in (0, 1)]
    for row, (seed, target) in enumerate(zip(found.seed, found.target)):
        scene = scenes.draw(seed)
        heat = cam.grad_cam(net, cam.load_image(scene.image), scene.labels[target], "features.8.2.add")[0]
        masks = scene.masks[target], scene.masks[1 - target]
        assert found.share[row] == pytest.approx(metrics.share_on_object(heat, *masks), abs=1e-4)
        assert found.on_objects[row] * found.share[row] == pytest.approx(found.energy[row], abs=1e-4)


def test_the_identities_hold_where_the_net_is_trained(embedded_nets, scene, scene_x):
    net = embedded_nets["resnet50_v2"]
    for class_id in scene.class_ids:
        signed = cam.grad_cam(net, scene_x, class_id, relu=False)
        assert np.allclose(cam.hires_cam(net, scene_x, class_id, relu=False), signed, atol=1e-5)
        assert np.allclose(cam.class_activation_map(net, scene_x, class_id) / 49, signed, atol=1e-5)
        bias = net.output.bias.data().asnumpy()[class_id]
        assert np.isclose(signed.sum() + bias, net(scene_x).asnumpy()[0, class_id], atol=1e-4)
        for path in [f"features.{stage}.{index}" for stage in (5, 6, 7, 8) for index in (0, 1, 2)]:
            parts = cam.decompose(net, scene_x, path, class_id)
            assert np.allclose(parts["branch"] + parts["shortcut"], parts["sum"], atol=1e-5)
