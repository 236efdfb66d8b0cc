"""EfficientNet-Lite0 against an implementation without MXNet, on photographs, and as a net like any other."""

import hashlib
import io
import pickle
from pathlib import Path

import cam
from cam import InputError, WeightsError, scenes
from cam.nets.normalisation import USUAL, normalise
from cam.nets.weights_files import CHECKSUMS
from training import lite0

import numpy as np
import pytest
from conftest import random_images, relative_l2
from mxnet import nd

PHOTOGRAPHS = Path(__file__).parents[2] / "lessons/photographs"


@pytest.fixture(scope="module")
def net():
    return cam.efficientnet_lite0()


@pytest.fixture(scope="module")
def stored():
    """Pictures and their logits by `training.lite0.reference`: numpy, float64, the wheel's own names."""
    with np.load(Path(__file__).parent / "lite0_reference.npz") as file:
        return dict(file)


def test_the_logits_are_those_of_the_second_implementation(net, stored):
    logits = net(nd.array(normalise(stored["pixels"], net.normalisation))).asnumpy()
    assert relative_l2(logits, stored["float16"]) < 1e-5


def test_float16_changes_little(net, stored):
    logits = net(nd.array(normalise(stored["pixels"], net.normalisation))).asnumpy()
    assert 1e-4 < relative_l2(logits, stored["float32"]) < 1e-2
    assert (logits.argmax(axis=1) == stored["float32"].argmax(axis=1)).all()


@pytest.mark.parametrize(
    ("photograph", "label", "probability"), [("coffee", "espresso", 0.92), ("rocket", "missile", 0.17)]
)
def test_photographs_get_their_names(net, photograph, label, probability):
    found = cam.explain(net, PHOTOGRAPHS / f"{photograph}.jpg")
    assert found.label == label and found.probability == pytest.approx(probability, abs=0.02)
    assert found.layer == "features.17" and not any(isinstance(one, cam.NetWarning) for one in found.warnings)


def test_a_cat_is_two_cats_at_once(net):
    """The tabby cat of the photograph is a tiger cat or an Egyptian cat: half a pixel of the crop decides."""
    logits = cam.record(net, cam.load_image(PHOTOGRAPHS / "chelsea.jpg", net=net)).probabilities[0]
    first = {net.labels[number]: logits[number] for number in np.argsort(-logits)[:3]}
    assert list(first)[2] == "tabby" and set(first) == {"Egyptian cat", "tiger cat", "tabby"}
    assert first["tiger cat"] == pytest.approx(0.37, abs=0.03)


def test_its_normalisation_is_asked_for(net):
    pixels = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    expected = (np.moveaxis(pixels.astype(np.float64), -1, 0) - 127) / 128
    assert np.allclose(cam.load_image(pixels, net=net).asnumpy()[0], expected, atol=1e-6)
    assert np.array_equal(cam.load_image(pixels, net=cam.vgg16()).asnumpy()[0], normalise(pixels, USUAL))
    logits = net(nd.array(expected[None])).asnumpy()[0]
    found = cam.explain(net, pixels)
    assert found.target == logits.argmax() and found.logit == pytest.approx(logits.max(), rel=1e-4)
    letterbox = cam.load_image(pixels[:100], fit="letterbox", net=net).asnumpy()
    assert letterbox[0, :, 0].max() == 0  # beyond the picture is the net's own zero


def test_the_scenes_are_measured_with_its_normalisation(net, monkeypatch):
    shown, (seed, layer) = [], (scenes.TEST_SEEDS[0], "features.17")
    record = cam.evaluation.record
    monkeypatch.setattr(cam.evaluation, "record", lambda net, x, *a, **k: shown.append(x) or record(net, x, *a, **k))
    cam.evaluation.evaluate(net, [seed], layer=layer)
    assert np.array_equal(shown[0].asnumpy(), cam.load_image(scenes.draw(seed).image, net=net).asnumpy())


def test_its_graph(net):
    rows = {row.path: row for row in cam.layers(net)}
    assert cam.default_layer(net) == "features.17" and rows["features.17"].shape[1:] == (1280, 7, 7)
    assert not rows["features.15.project"].whole and rows["features.15"].whole
    assert len(cam.relus(net)) == 33  # stem, one in the first block, two in each of the other 15, head: 1 + 1 + 30 + 1


def test_guided_backpropagation_passes_all_relu6(net):
    x = cam.load_image(PHOTOGRAPHS / "coffee.jpg", net=net)
    guided = cam.guided_backprop(net, x)
    assert np.array_equal(guided, cam.guided_backprop(net, x, where=cam.relus(net)))
    assert relative_l2(cam.guided_backprop(net, x, where=cam.relus(net)[1:]), guided) > 1e-3


def test_a_sum_is_the_sum_of_its_parts(net):
    parts = cam.decompose(net, cam.load_image(PHOTOGRAPHS / "coffee.jpg", net=net), "features.15")
    assert relative_l2(parts["branch"] + parts["shortcut"], parts["sum"]) < 1e-5


def test_other_weights(tmp_path):
    net = cam.efficientnet_lite0(weights=None, classes=3)
    assert net(random_images(1, 64)).shape == (1, 3) and net.labels is None
    net.save_parameters(str(tmp_path / "own.params"))
    again = cam.efficientnet_lite0(weights=tmp_path / "own.params")
    assert np.array_equal(again(random_images(1, 64)).asnumpy(), net(random_images(1, 64)).asnumpy())
    with pytest.raises(
        WeightsError, match="are those of efficientnet_lite0, not of vgg16: load them with cam.efficientnet_lite0"
    ):
        cam.vgg16(weights=tmp_path / "own.params")
    with pytest.raises(InputError, match="weights is 'scenes'; efficientnet_lite0 has 'imagenet'; or"):
        cam.efficientnet_lite0(weights="scenes")


def test_the_files_are_listed_and_small():
    listed = dict(reversed(line.split()) for line in CHECKSUMS.read_text().splitlines())
    for part in ("features", "output"):
        file = CHECKSUMS.parent / f"efficientnet_lite0_imagenet_{part}.params"
        assert listed[file.name] == hashlib.sha256(file.read_bytes()).hexdigest()
        assert file.stat().st_size < 8000 * 1024


def test_the_reader_executes_nothing():
    class Harm:
        def __reduce__(self):
            return print, ("executed",)

    with pytest.raises(pickle.UnpicklingError, match=r"no need of builtins\.print"):
        lite0.StateDict(io.BytesIO(pickle.dumps(Harm(), protocol=2).replace(b"__builtin__", b"builtins"))).load()
    with pytest.raises(ValueError, match="another file"):
        lite0.from_wheel(Path(__file__))
