"""What the embedded nets reach on the test scenes, and how it is measured."""

import json

import cam
from cam import ClassError, InputError, LayerError, NetError, evaluation, metrics, scenes
from cam.core import layers
from cam.nets import models
from cam.nets.weights_files import ASSETS

import mxnet as mx
import numpy as np
import pytest
from conftest import random_images
from mxnet import nd
from mxnet.gluon import HybridBlock

NAMES = ["vgg16", "resnet50_v2"]
FIGURES = json.loads((ASSETS / "figures.json").read_text())  # by `make train`, beside the weights


def copy_of(net):
    arrays = {path: parameter.data().asnumpy() for path, parameter in layers.parameters(net).items()}
    copy = models.assemble("resnet50_v2", arrays, "a copy")
    copy.labels = list(net.labels)
    return copy


def test_size():
    assert sum(path.stat().st_size for path in ASSETS.glob("*.params")) < 20e6


@pytest.mark.parametrize("name", NAMES)
def test_accuracy(embedded_nets, name):
    """On a few of the 500 scenes of the figures, which say 1.000."""
    for objects, key in ((1, "one object"), (2, "two objects")):
        assert FIGURES[name][f"accuracy, {key}"] > 0.998
        assert evaluation.accuracy(embedded_nets[name], scenes.TEST_SEEDS[:40], objects) == 1


@pytest.mark.parametrize(("name", "share", "over_chance"), [("resnet50_v2", 0.93, 4), ("vgg16", 0.86, 2)])
def test_maps_lie_on_their_objects(embedded_nets, name, share, over_chance):
    found, figures = evaluation.evaluate(embedded_nets[name], scenes.TEST_SEEDS[:200]), FIGURES[name]
    assert len(found.share) == 400
    assert found.share.mean() >= share and found.times_chance >= over_chance
    assert found.share.mean() == pytest.approx(figures["share on the right object"], abs=1e-3)
    assert found.energy.mean() == pytest.approx(figures["energy in the mask"], abs=1e-3)
    assert found.times_chance == pytest.approx(figures["energy over chance"], abs=0.02)
    assert found.hit.mean() == pytest.approx(figures["pointing game"], abs=0.005)  # two maps in float32
    assert found.near.mean() == pytest.approx(figures["pointing game, 15 pixels"], abs=0.005)


def test_evaluate_is_grad_cam_one_by_one(embedded_nets):
    net = embedded_nets["resnet50_v2"]
    together = evaluation.evaluate(net, [3, 4, 5], ["features.8.2", "features.10"], batch=2)
    assert list(together) == ["features.8.2", "features.10"]
    found = together["features.8.2"]
    assert sorted(zip(found.seed, found.target)) == [(seed, target) for seed in (3, 4, 5) for target in (0, 1)]
    for row, (seed, target) in enumerate(zip(found.seed, found.target)):
        scene = scenes.draw(seed)
        x = cam.load_image(scene.image)
        heat = cam.grad_cam(net, x, target=scene.labels[target], layer="features.8.2")[0]
        mask, other = scene.masks[target], scene.masks[1 - target]
        assert found.share[row] == pytest.approx(metrics.share_on_object(heat, mask, other), abs=1e-4)
        assert found.energy[row] == pytest.approx(metrics.energy_in_mask(heat, mask), abs=1e-4)
        assert found.on_objects[row] == pytest.approx(metrics.energy_in_mask(heat, mask | other), abs=1e-4)
        assert found.area[row] == mask.mean()
        assert found.hit[row] == metrics.pointing_game(heat, mask, tolerance=0)
        assert found.near[row] == metrics.pointing_game(heat, mask)


def test_times_chance_by_hand():
    nothing = dict.fromkeys(("seed", "target", "on_objects", "share", "hit", "near", "overlap"))
    found = evaluation.Evaluation("", "", energy=np.array([0.2, 0.4]), area=np.array([0.1, 0.2]), **nothing)
    assert found.times_chance == pytest.approx(2)


def test_nets_on_another_device_and_of_another_dtype(embedded_nets):
    double = copy_of(embedded_nets["resnet50_v2"])
    double.cast("float64")
    expected = evaluation.evaluate(embedded_nets["resnet50_v2"], [0]).share
    for net in (double, cam.resnet50_v2(ctx=mx.cpu(1))):
        assert np.allclose(evaluation.evaluate(net, [0]).share, expected, atol=1e-4)
        assert evaluation.accuracy(net, [0, 1], objects=2) == 1


def test_classes_are_told_by_their_labels(embedded_nets):
    net = embedded_nets["resnet50_v2"]
    backwards = copy_of(net)
    backwards.labels = net.labels[::-1]
    for parameter in (backwards.output.weight, backwards.output.bias):
        parameter.set_data(parameter.data()[::-1])
    assert np.allclose(evaluation.evaluate(backwards, [3, 4]).share, evaluation.evaluate(net, [3, 4]).share, atol=1e-4)
    assert evaluation.accuracy(backwards, [0, 1], objects=2) == evaluation.accuracy(net, [0, 1], objects=2) == 1
    backwards.labels = None  # then they stand for the classes of the scenes, in their order
    assert evaluation.accuracy(backwards, [0, 1], objects=2) < 1


def test_a_net_that_does_not_know_the_scenes(narrow_resnet):
    stranger = cam.resnet50_v2(weights=None, classes=7, width=1 / 16)
    stranger.labels = list("abcdefg")
    for measure in (evaluation.evaluate, lambda net, seeds: evaluation.accuracy(net, seeds, objects=1)):
        with pytest.raises(NetError, match="the net has 7 classes and no labels; expected the 20 of cam.scenes"):
            measure(narrow_resnet, [0])
        with pytest.raises(ClassError, match="no class is called"):
            measure(stranger, [0])
        with pytest.raises(NetError, match="net is str"):
            measure("resnet", [0])


def test_wrong_requests_are_refused():
    for seeds in ([], 5, scenes.draw(0)):
        with pytest.raises(InputError, match="^seeds is empty or no list; give a list of at least one scene's seed$"):
            evaluation.evaluate(None, seeds)
    for batch in (0, -1, True, 2.0):
        with pytest.raises(InputError, match=f"batch is {batch}; expected a positive int"):
            evaluation.evaluate(None, [0], batch=batch)
        with pytest.raises(InputError, match=f"batch is {batch}; expected a positive int"):
            evaluation.accuracy(None, [0], objects=1, batch=batch)


def test_compare(embedded_nets):
    net, asked = embedded_nets["resnet50_v2"], []

    def blind(x):
        return np.ones((len(x), 7, 7))

    def upright(net, target, x):
        return np.stack([cam.image_gradient(net, x, target=target)[:, 0]] * 3, axis=1)

    def counted(batches):
        asked.extend(batches)
        return batches

    methods = {"Grad-CAM": cam.grad_cam, "LayerCAM": cam.layer_cam, "blind": blind, "gradient": upright}
    layers = ["features.8.2", "features.10"]
    found = evaluation.compare(net, methods, layers, [3, 4, 5], batch=2, progress=counted)
    names = [(one.method, one.layer) for one in found]
    assert names == [(name, layer) for name in list(methods)[:2] for layer in layers] + [
        ("blind", ""),
        ("gradient", ""),
    ]
    assert asked == [0, 2]
    assert np.allclose(found[0].share, evaluation.evaluate(net, [3, 4, 5], layers, batch=2)["features.8.2"].share)
    assert np.allclose(found[4].energy, found[4].area) and np.allclose(found[4].overlap, found[4].area)
    scene = scenes.draw(5)
    heat = np.abs(cam.image_gradient(net, cam.load_image(scene.image), target=scene.labels[1])[0, 0])
    assert found[5].energy[-1] == pytest.approx(metrics.energy_in_mask(heat, scene.masks[1]), abs=1e-4)


@pytest.mark.parametrize(
    ("maps", "came"),
    [
        (np.ones((1, 7, 7)), r"ndarray \(1, 7, 7\)"),  # one for all: the others would go unmeasured
        (np.ones((7, 7)), r"ndarray \(7, 7\)"),
        (nd.ones((2, 7, 7)), r"NDArray \(2, 7, 7\)"),
        ([np.ones((7, 7))] * 2, "list"),
        (None, "NoneType"),
    ],
)
def test_a_method_that_returns_something_else(maps, came):
    known = cam.resnet50_v2(weights=None, classes=20, width=1 / 16)
    with pytest.raises(InputError, match=f"^a method returned {came} for 2 images; expected numpy maps .2, h, w.$"):
        evaluation.compare(known, {"mine": lambda: maps}, None, [0, 1])


def test_scenes_of_two_sizes():
    known = cam.resnet50_v2(weights=None, classes=20, width=1 / 16)
    drawn = [scenes.draw(0, size=64), scenes.draw(1, size=96)]
    with pytest.raises(InputError, match="^the scenes differ in size; give those of one size, or batch=1$"):
        evaluation.evaluate(known, drawn)
    assert evaluation.evaluate(known, drawn, batch=1).seed.tolist() == [0, 0, 1, 1]


def test_an_interval_compares_like_with_like():
    known = cam.resnet50_v2(weights=None, classes=20, width=1 / 16)
    first, others = (evaluation.evaluate(known, seeds) for seeds in ([0, 1], [2, 3]))
    by_one = evaluation.evaluate(known, [0, 1], batch=1)  # whose rows have another order
    for minus in (others, by_one):
        with pytest.raises(InputError, match="^minus is of other scenes, or of another order; measure both with one"):
            first.interval("share", minus)
    assert first.interval("share", first).mean == 0


def test_compare_hears_no_warnings(embedded_nets, recwarn):
    evaluation.compare(embedded_nets["resnet50_v2"], {"Grad-CAM": cam.grad_cam}, "features.8.2.conv3", [0])
    assert not [one for one in recwarn if issubclass(one.category, cam.CamWarning)]


def test_scenes_of_any_number_of_objects(embedded_nets):
    net = embedded_nets["resnet50_v2"]
    drawn = [scenes.draw(7, objects=1), scenes.draw(8, objects=3)]
    found = evaluation.evaluate(net, drawn)
    assert sorted(zip(found.seed, found.target)) == [(0, 0), (1, 0), (1, 1), (1, 2)]
    row = list(zip(found.seed, found.target)).index((1, 2))
    heat = cam.grad_cam(net, cam.load_image(drawn[1].image), target=drawn[1].labels[2])[0]
    other = drawn[1].masks[:2].any(axis=0)
    assert found.share[row] == pytest.approx(metrics.share_on_object(heat, drawn[1].masks[2], other), abs=1e-4)


def test_intervals_draw_whole_scenes(embedded_nets):
    net = embedded_nets["resnet50_v2"]
    first, second = evaluation.compare(net, {"a": cam.grad_cam, "b": cam.layer_cam}, None, range(4))
    assert first.interval("near") == metrics.bootstrap(first.near.astype(float), clusters=first.seed)
    assert first.interval("share", minus=second).mean == pytest.approx((first.share - second.share).mean())


def test_score_of(embedded_nets):
    net = embedded_nets["resnet50_v2"]
    x = nd.concat(*(cam.load_image(scenes.draw(seed).image) for seed in (0, 1)), dim=0)
    expected = np.exp(net(x).asnumpy())
    found = evaluation.score_of(net, net.labels[3])(x.asnumpy())
    assert np.allclose(found, expected[:, 3] / expected.sum(axis=1), rtol=1e-3)
    with pytest.raises(ClassError, match="no class is called"):
        evaluation.score_of(net, "xyz")(x.asnumpy())


@pytest.mark.parametrize("hybridized", [False, True])
def test_randomise(hybridized):
    net = cam.resnet50_v2()
    x = cam.load_image(scenes.draw(0).image)
    if hybridized:
        net.hybridize()
    before, values = net(x).asnumpy(), {key: one.data().asnumpy() for key, one in layers.parameters(net).items()}
    last, stage = (evaluation.randomise(net, down_to) for down_to in ("output", "features.8"))
    assert np.array_equal(net(x).asnumpy(), before) and type(stage) is type(net) and stage.labels == net.labels
    for key, learned in values.items():
        in_last, in_stage = (layers.parameters(one)[key].data().asnumpy() for one in (last, stage))
        behind = key.startswith(("features.8.", "features.9", "output."))
        assert np.array_equal(in_stage, learned) != behind, key
        assert np.array_equal(np.sort(in_stage, axis=None), np.sort(learned, axis=None))
        assert np.array_equal(in_last, in_stage if key.startswith("output.") else learned)
    assert not np.allclose(stage(x).asnumpy(), before, atol=0.1)
    assert not np.array_equal(evaluation.randomise(net, "output", seed=1)(x).asnumpy(), last(x).asnumpy())
    with pytest.raises(LayerError, match="down_to is 'features.10'; expected the path of a block with parameters"):
        evaluation.randomise(net, "features.10")


def test_one_output_of_several():
    narrow = cam.resnet50_v2(weights=None, classes=20, width=1 / 16)

    class Both(HybridBlock):
        def __init__(self):
            super().__init__()
            self.inner = narrow

        def hybrid_forward(self, F, x):
            logits = self.inner(x)
            return -logits, logits

    net, seeds = Both(), range(3)
    with pytest.raises(NetError, match="the net has 2 outputs; say which to explain"):
        evaluation.evaluate(net, seeds)
    found = evaluation.evaluate(net, seeds, "inner.features.8", output=1)
    assert np.array_equal(found.energy, evaluation.evaluate(narrow, seeds, "features.8").energy)
    assert evaluation.accuracy(net, seeds, output=1) == evaluation.accuracy(narrow, seeds)
    image = random_images(1, 64).asnumpy()
    assert evaluation.score_of(net, 3, output=1)(image) == evaluation.score_of(narrow, 3)(image)
