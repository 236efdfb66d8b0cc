"""A picture in, an explanation out."""

import re
import warnings

import cam
from cam import rebuilding, scenes
from cam.errors import (
    ClassError,
    ConvertedNet,
    EmbeddedNet,
    GradCamOnly,
    InputError,
    InsideResidualBranch,
    LayerError,
    NetError,
)

import mxnet as mx
import numpy as np
import pytest
from conftest import randomise
from forum_script import ONE_CALL, OWN_HELPERS, TUTORIAL
from matplotlib.figure import Figure
from mxnet import nd
from mxnet.gluon import HybridBlock, nn
from mxnet.gluon.model_zoo import vision
from PIL import Image


@pytest.fixture(scope="module")
def net(embedded_nets):
    return embedded_nets["resnet50_v2"]


def zoo_resnet(seed=0, classes=5):
    """ResNet50v2 of the zoo's own blocks, narrow, with random weights."""
    net = vision.resnet.ResNetV2(vision.resnet.BottleneckV2, [3, 4, 6, 3], [4, 16, 32, 64, 128], classes=classes)
    net.initialize()
    net(nd.zeros((1, 3, 224, 224)))
    return randomise(net, seed)


class TestExplain:
    def test_it_holds_what_the_functions_return(self, net, scene):
        x = cam.load_image(scene.image)
        for label in scene.labels:
            found = cam.explain(net, scene.image, label)
            assert (found.label, found.class_id) == (label, net.labels.index(label))
            logits = net(x).asnumpy()[0]
            assert np.isclose(found.logit, logits[found.class_id], atol=1e-4)
            assert np.isclose(found.probability, (np.exp(logits) / np.exp(logits).sum())[found.class_id], atol=1e-4)
            assert found.layer == "features.10"
            assert np.allclose(found.grad_cam, cam.grad_cam(net, x, label)[0], atol=1e-6)
            assert np.allclose(found.guided_backprop, cam.guided_backprop(net, x, label)[0], atol=1e-6)
            assert np.allclose(found.guided_grad_cam, cam.guided_grad_cam(net, x, label)[0], atol=1e-6)
            assert np.allclose(found.saliency, cam.saliency(net, x, label)[0], atol=1e-6)

    def test_the_overlay_lies_on_the_photograph(self, net, scene):
        """The scene is a part of a larger photograph; its animal is found there, at full size."""
        photograph = np.zeros((600, 900, 3), np.uint8)
        photograph[100:548, 300:748] = np.asarray(Image.fromarray(scene.image).resize((448, 448)))
        mask = np.zeros((600, 900), bool)
        mask[100:548, 300:748] = np.kron(scene.masks[0], np.ones((2, 2))) > 0
        found = cam.explain(net, photograph, scene.labels[0], fit="letterbox")
        assert found.overlay().shape == photograph.shape
        heat = found.placement.to_photograph(found.grad_cam)
        assert heat[mask].mean() > 3 * heat.mean()

    def test_what_was_not_seen_keeps_its_colours(self, net):
        photograph = np.tile(scenes.draw(0).image, (1, 4, 1))
        found = cam.explain(net, photograph)
        unseen = ~found.placement.seen()
        assert np.array_equal(found.overlay()[unseen], photograph[unseen])
        (warning,) = [one for one in found.warnings if isinstance(one, cam.PartlySeen)]
        assert (
            str(warning) == "the network saw the middle 196x196 of 896x224 pixels; with fit letterbox it sees them all"
        )

    def test_next_to_nothing_is_called_so(self, net, scene):
        biased = cam.convert(net)
        biased.output.bias.set_data(nd.full((20,), 1000.0))  # the logit is the bias, and hardly anything else
        found = cam.explain(biased, scene.image)
        assert any(isinstance(one, cam.WeakMap) for one in found.warnings)
        assert not any(isinstance(one, cam.WeakMap) for one in cam.explain(net, scene.image).warnings)

    @pytest.mark.parametrize(
        ("layer", "kind", "words"),
        [
            ("features.8.2.shortcut", InsideResidualBranch, "leaves out what this block adds; take features.10"),
            ("features.9", cam.BeforeReLU, "before its ReLU: .*; take features.10"),
            ("features.11", cam.OnePixelMap, "cannot say where; take features.10"),
        ],
    )
    def test_what_layers_advises_explain_says_too(self, net, scene, layer, kind, words):
        (warning,) = [one for one in cam.explain(net, scene.image, layer=layer).warnings if type(one) is kind]
        assert re.search(words, str(warning))

    def test_a_net_that_never_ran(self, scene):
        theirs = vision.resnet18_v2(classes=3)
        theirs.initialize()
        assert cam.explain(theirs, scene.image).guided_backprop.shape == (3, 224, 224)

    def test_a_net_on_another_device_and_of_another_dtype(self, net, scene):
        expected, elsewhere = cam.explain(net, scene.image), cam.resnet50_v2(ctx=mx.cpu(1))
        found = cam.explain(elsewhere, scene.image)
        assert np.allclose(found.guided_grad_cam, expected.guided_grad_cam, atol=1e-6)
        double = cam.convert(net)
        double.cast("float64")
        found = cam.explain(double, scene.image)
        assert found.grad_cam.dtype == np.float64 and np.allclose(found.grad_cam, expected.grad_cam, atol=1e-5)
        assert found.plot() and len(found.pictures()) == 3

    def test_a_batch_is_the_same_as_one_by_one(self, net):
        pictures = [scenes.draw(seed).image for seed in (0, 1, 2)]
        together = cam.explain_many(net, pictures, top=2)
        assert [len(one) for one in together] == [2, 2, 2]
        for picture, (first, second) in zip(pictures, together):
            alone = cam.explain(net, picture)
            assert (first.label, first.layer) == (alone.label, alone.layer) and first.logit >= second.logit
            assert np.allclose(first.grad_cam, alone.grad_cam, atol=1e-5)
            assert np.linalg.norm(first.guided_backprop - alone.guided_backprop) < 1e-2 * np.linalg.norm(
                alone.guided_backprop
            )

    def test_a_net_without_labels(self, narrow_resnet, scene):
        found = cam.explain(narrow_resnet, scene.image, 3)
        assert found.label == "class 3" and not any(isinstance(one, EmbeddedNet) for one in found.warnings)

    def test_the_embedded_nets_say_what_they_are(self, net, scene):
        assert any(isinstance(one, EmbeddedNet) for one in cam.explain(net, scene.image).warnings)

    def test_a_bad_choice_is_honoured_with_a_warning(self, net, scene):
        found = cam.explain(net, scene.image, layer="features.8.2.conv3")
        (warning,) = [one for one in found.warnings if isinstance(one, InsideResidualBranch)]
        expected = "inside a residual branch: shows only what this block changes; take features.10"
        assert str(warning) == f"features.8.2.conv3: {expected}"
        assert found.layer == "features.8.2.conv3"

    def test_any_size_for_resnet_and_not_for_vgg(self, net, embedded_nets):
        photograph = np.asarray(Image.fromarray(scenes.draw(0).image).resize((320, 256)))
        assert cam.explain(net, photograph, fit=None).grad_cam.shape == (8, 10)
        assert cam.explain(net, photograph, size=288).grad_cam.shape == (9, 9)
        with pytest.raises(NetError, match="a VGG takes images of 224x224 only"):
            cam.explain(embedded_nets["vgg16"], photograph, fit=None)

    def test_numpy_arrays_of_mxnet_are_refused_in_words(self, net, scene):
        theirs = vision.resnet18_v2(classes=3)
        theirs.initialize()
        mx.npx.set_np()
        try:
            for one in (net, theirs):
                with pytest.raises(InputError, match=r"call mx.npx.reset_np\(\) first"):
                    cam.explain(one, scene.image)
                with pytest.raises(InputError, match=r"call mx.npx.reset_np\(\) first"):
                    cam.layers(one)
        finally:
            mx.npx.reset_np()

    def test_wrong_requests(self, net, scene):
        with pytest.raises(InputError, match="top is 0"):
            cam.explain_many(net, [scene.image], top=0)
        with pytest.raises(InputError, match="give one of them"):
            cam.explain_many(net, [scene.image], class_id="zebra", top=2)
        with pytest.raises(InputError, match="images is empty or has pictures of different sizes"):
            cam.explain_many(net, [])
        with pytest.raises(InputError, match="layer is a list"):
            cam.explain(net, scene.image, layer=["features.10"])
        with pytest.raises(ClassError, match="did you mean zebra"):
            cam.explain(net, scene.image, "zebras")


class TestForeignNets:
    def test_the_zoo_s_net_is_converted(self, scene):
        theirs = zoo_resnet()
        found = cam.explain(theirs, scene.image, 2, layer=theirs.features[8][2].conv3)
        ours = cam.convert(theirs)
        assert any(isinstance(one, ConvertedNet) for one in found.warnings)
        assert np.array_equal(found.guided_backprop, cam.explain(ours, scene.image, 2).guided_backprop)
        assert found.layer == "features.8.2.conv3"

    def test_a_net_that_has_run_runs_once_more_only(self, scene, monkeypatch):
        runs, theirs = [], zoo_resnet()
        monkeypatch.setattr("cam.explanation.output_shapes", lambda *arguments: runs.append(arguments))
        cam.explain(theirs, scene.image, 2)
        assert not runs

    def test_a_net_that_cannot_be_converted_has_a_grad_cam(self, scene):
        net = nn.HybridSequential()
        net.add(nn.Conv2D(4, 3, in_channels=3), nn.LeakyReLU(0.1), nn.GlobalAvgPool2D(), nn.Dense(3))
        net.initialize()
        found = cam.explain(net, scene.image)
        assert found.grad_cam.shape == (222, 222) and found.guided_backprop is None and found.saliency is None
        assert any(isinstance(one, GradCamOnly) for one in found.warnings)
        assert isinstance(found.plot(), Figure)
        with pytest.raises(NetError, match="there is no guided Grad-CAM"):
            cam.visualize(net, scene.image)

    def test_a_class_of_one_s_own_is_told_by_its_operators(self):
        class Own(HybridBlock):
            def hybrid_forward(self, F, x):
                return self.output(self.features(self.twist * x))

        def make(twist):
            net = Own()
            with net.name_scope():
                net.features = nn.HybridSequential(prefix="")
                net.features.add(nn.Conv2D(2, 3), nn.Activation("relu"))
                net.output = nn.Dense(3)
            net.twist = twist
            return net

        assert rebuilding.convertible(make(1)) is False and rebuilding.convertible(make(2)) is False
        Own.hybrid_forward = lambda self, F, x: self.output(self.features(x))
        assert rebuilding.convertible(make(1))

    def test_the_users_net_is_untouched(self, scene):
        theirs = zoo_resnet()
        theirs.hybridize()
        x = cam.load_image(scene.image)
        before = theirs(x).asnumpy()
        parameters = {name: p.data().asnumpy() for name, p in theirs.collect_params().items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cam.visualize(theirs, scene.image, theirs.features[8][2].conv3._name)
        assert np.array_equal(theirs(x).asnumpy(), before) and theirs._active
        for name, parameter in theirs.collect_params().items():
            assert np.array_equal(parameter.data().asnumpy(), parameters[name])
        assert not any(block._forward_hooks for block in cam.paths(theirs).values())


class TestTheTutorial:
    @pytest.fixture
    def picture(self, tmp_path):
        path = tmp_path / "hummingbird.jpg"
        Image.fromarray(scenes.draw(3).image).resize((300, 260)).save(path)
        return str(path)

    def run(self, import_line, call, picture):
        weights = rebuilding.ScaledVGG([2, 2, 3, 3, 3], [4, 4, 8, 8, 8], 32, 6)
        weights.initialize()
        weights(nd.zeros((1, 3, 224, 224)))
        space = {"weights": randomise(weights), "classes": 6, "path": picture}
        exec(TUTORIAL.format(import_line=import_line, call=call), space)
        return space

    def test_the_users_script_after_one_changed_import(self, picture):
        with pytest.warns(ConvertedNet, match="this net hides ReLUs or poolings: cam.convert"):
            space = self.run("import cam as gradcam", ONE_CALL, picture)
        prediction, images = space["result"]
        assert prediction.startswith("class ")
        assert [(one.shape, one.dtype) for one in images] == [((260, 300, 3), np.uint8)] * 4
        ours = cam.convert(space["weights"])
        found = cam.explain(ours, picture, layer="features.28")
        assert np.array_equal(images[1], found.overlay())

    def test_its_helpers_may_stay(self, picture):
        with pytest.warns(ConvertedNet):
            space = self.run("from cam import gradcam", OWN_HELPERS, picture)
        assert [one.shape for one in space["result"]] == [(260, 300, 3)] * 3
        found = cam.explain(cam.convert(space["weights"]), picture, layer="features.28", fit="squash")
        alike = np.corrcoef(space["result"][0].ravel(), found.overlay().ravel())[0, 1]
        assert alike > 0.97  # two libraries scale the picture, so not 1

    def test_resnet_by_the_name_of_any_layer(self, picture):
        theirs = zoo_resnet()
        with pytest.warns(InsideResidualBranch), pytest.warns(ConvertedNet):
            cam.visualize(theirs, picture, theirs.features[8][2].conv3._name)
        with pytest.warns(ConvertedNet):
            prediction, images = cam.visualize(theirs, picture)
        assert isinstance(cam.show_images(prediction, images), Figure)
        for wrong in (images[:1], None):
            with pytest.raises(InputError, match="images are not the four pictures"):
                cam.show_images(prediction, wrong)


class TestSaving:
    def test_whole_files_only(self, net, scene, tmp_path, monkeypatch):
        found = cam.explain(net, scene.image)
        assert found.save(tmp_path / "a.png") == tmp_path / "a.png"
        before = (tmp_path / "a.png").read_bytes()

        def interrupted(self, file, **options):
            file.write(b"half")
            raise KeyboardInterrupt

        monkeypatch.setattr(Figure, "savefig", interrupted)
        for name in ("a.png", "b.png"):
            with pytest.raises(KeyboardInterrupt):
                found.save(tmp_path / name)
        assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
        assert (tmp_path / "a.png").read_bytes() == before

    def test_where_nothing_can_be_written(self, net, scene, tmp_path):
        found = cam.explain(net, scene.image)
        with pytest.raises(InputError, match=r"cannot write .*a\.mp3: its ending is none of"):
            found.save(tmp_path / "a.mp3")
        with pytest.raises(InputError, match="cannot write .*: No such file or directory"):
            found.save(tmp_path / "nowhere" / "a.png")
        with pytest.raises(InputError, match="cannot write"):
            (tmp_path / "folder.png").mkdir()
            found.save(tmp_path / "folder.png")
        assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]

    def test_a_figure_shows_itself_in_a_notebook(self, net, scene, monkeypatch):
        shown = []
        monkeypatch.setattr("IPython.display.display", shown.append)
        cam.explain(net, scene.image).plot()._ipython_display_()
        assert shown[0].data.startswith(b"\xff\xd8") and shown[0].format == "jpeg"


def test_the_panel_says_class_probability_layer_and_warnings(net, scene):
    found = cam.explain(net, scene.image, scene.labels[0], layer="features.8.2.conv3")
    figure = found.plot()
    assert figure.get_suptitle() == (
        f"{found.label}: probability {found.probability:.1%}, logit {found.logit:.2f}; Grad-CAM at features.8.2.conv3"
    )
    assert "inside a residual branch" in figure.get_supxlabel() and "20 cut-outs" in figure.get_supxlabel()
    assert [axis.get_title() for axis in figure.axes[:5]] == [
        "picture",
        "Grad-CAM",
        "guided backpropagation",
        "guided Grad-CAM",
        "saliency",
    ]
    bars = [axis.get_xlabel() for axis in figure.axes[5:]]
    assert bars == ["evidence, in units of the logit", "largest |gradient| of the channels"]


def test_a_layer_that_is_gone_after_conversion(scene):
    with pytest.raises(LayerError, match="no layer 'features.99'"):
        cam.explain(zoo_resnet(), scene.image, layer="features.99")
