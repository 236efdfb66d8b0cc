"""A picture in, an explanation out."""

import warnings
from itertools import chain

import cam
from cam import ClassError, InputError, InputWarning, LayerError, LayerWarning, MapWarning, NetError, NetWarning, scenes

import mxnet as mx
import numpy as np
import pytest
from conftest import randomise
from matplotlib.figure import Figure
from mxnet import nd
from mxnet.gluon import HybridBlock, nn
from mxnet.gluon.model_zoo import vision
from PIL import Image


@pytest.fixture(scope="module")
def net(embedded_nets):
    return embedded_nets["resnet50_v2"]


def initialised(net, shape=(1, 3, 64, 64)):
    net.initialize(mx.init.Xavier(magnitude=3))
    net(nd.zeros(shape))
    return net


def said(explanation, kind):
    return [str(one) for one in explanation.warnings if type(one) is kind]


class TestExplain:
    def test_it_holds_what_the_functions_return(self, net, scene):
        x = cam.load_image(scene.image)
        for label in scene.labels:
            found = cam.explain(net, scene.image, target=label)
            assert (found.label, found.target) == (label, net.labels.index(label))
            logits = net(x).asnumpy()[0]
            assert np.isclose(found.logit, logits[found.target], atol=1e-4)
            assert np.isclose(found.probability, (np.exp(logits) / np.exp(logits).sum())[found.target], atol=1e-4)
            assert found.layer == "features.10"
            assert np.allclose(found.grad_cam, cam.grad_cam(net, x, target=label)[0], atol=1e-6)
            assert np.allclose(found.guided_backprop, cam.guided_backprop(net, x, target=label)[0], atol=1e-6)
            assert np.allclose(found.guided_grad_cam, cam.guided_grad_cam(net, x, target=label)[0], atol=1e-6)
            assert np.allclose(found.saliency, cam.saliency(net, x, target=label)[0], atol=1e-6)
            assert found.guided_backprop.any() and found.guided_grad_cam.any() and found.saliency.any()

    def test_what_was_not_seen_keeps_its_colours(self, net):
        photograph = np.tile(scenes.draw(0).image, (1, 4, 1))
        found = cam.explain(net, photograph)
        unseen = ~found.placement.seen()
        assert np.array_equal(found.overlay()[unseen], photograph[unseen])
        assert said(found, InputWarning) == [
            "the network saw the middle 196x196 of 896x224 pixels; with fit letterbox it sees them all"
        ]
        assert not said(cam.explain(net, photograph, fit="letterbox"), InputWarning)

    def test_next_to_nothing_is_called_so(self, net, scene):
        biased = cam.resnet50_v2()
        biased.output.bias.set_data(nd.full((20,), 1000.0))  # the logit is the bias, and hardly anything else
        (warning,) = said(cam.explain(biased, scene.image), MapWarning)
        assert "of the logit: it is drawn to its own scale and looks strong" in warning
        assert not said(cam.explain(net, scene.image), MapWarning)

    @pytest.mark.parametrize(
        ("layer", "words"),
        [
            ("features.8.2.conv3", ["the whole map after it is features.8"]),
            ("features.9", ["before its ReLU", "take features.10"]),
            ("features.11", ["cannot say where", "take features.10"]),
            ("features.10", []),
        ],
    )
    def test_what_layers_advises_explain_says_too(self, net, scene, layer, words):
        found = cam.explain(net, scene.image, layer=layer)
        warnings = said(found, LayerWarning)
        assert found.layer == layer and len(warnings) == bool(words)
        assert all(word in warnings[0] for word in words)

    def test_the_net_s_caution(self, net, narrow_resnet, scene):
        assert said(cam.explain(net, scene.image), NetWarning) == [net.caution]
        assert not said(cam.explain(narrow_resnet, scene.image), NetWarning)
        mine = initialised(vision.resnet18_v2(classes=3))
        mine.caution = "mine"
        assert said(cam.explain(mine, scene.image, size=64), NetWarning) == ["mine"]

    def test_a_net_of_another_dtype_and_on_another_device(self, net, scene):
        expected = cam.explain(net, scene.image)
        elsewhere, double = cam.resnet50_v2(ctx=mx.cpu(1)), cam.resnet50_v2()
        double.cast("float64")
        for one, kind in ((elsewhere, np.float32), (double, np.float64)):
            found = cam.explain(one, scene.image)
            assert found.grad_cam.dtype == kind and np.allclose(found.grad_cam, expected.grad_cam, atol=1e-5)
            assert np.allclose(found.guided_grad_cam, expected.guided_grad_cam, atol=1e-5)
        assert found.plot()

    def test_a_batch_is_the_same_as_one_by_one(self, net):
        pictures = [scenes.draw(seed).image for seed in (0, 1, 2)]
        together = cam.explain_many(net, pictures, top=2)
        assert [len(one) for one in together] == [2, 2, 2]
        for picture, (first, second) in zip(pictures, together):
            alone = cam.explain(net, picture)
            assert (first.label, first.layer) == (alone.label, alone.layer) and first.logit >= second.logit
            assert np.isclose(first.logit, alone.logit, rtol=1e-4)
            for kind in ("grad_cam", "guided_backprop", "guided_grad_cam", "saliency", "photograph"):
                assert np.allclose(getattr(first, kind), getattr(alone, kind), atol=1e-5), kind
            assert np.allclose(second.grad_cam, cam.explain(net, picture, target=second.target).grad_cam, atol=1e-5)

    def test_more_top_classes_than_there_are(self, narrow_resnet, scene):
        (found,) = cam.explain_many(narrow_resnet, [scene.image], top=9)
        assert sorted(one.target for one in found) == list(range(7))
        assert [one.logit for one in found] == sorted((one.logit for one in found), reverse=True)

    def test_a_net_without_labels(self, narrow_resnet, scene):
        found = cam.explain(narrow_resnet, scene.image, target=3)
        assert found.label == "class 3" and repr(found).startswith("<Explanation of class 3, probability ")

    @pytest.mark.parametrize(("channels", "words"), [(1, "1 channel"), (4, "4 channels")])
    def test_nets_that_take_no_pictures(self, scene, channels, words):
        net = nn.HybridSequential()
        net.add(nn.Conv2D(4, 3, in_channels=channels), nn.Activation("relu"), nn.GlobalAvgPool2D(), nn.Dense(3))
        with pytest.raises(InputError, match=f"this net takes images of {words}, and a picture has red, green and"):
            cam.explain(initialised(net, (1, channels, 64, 64)), scene.image)
        with pytest.raises(InputError, match=f"this net takes images of {words}"):
            cam.load_image(scene.image, net=net)

    def test_how_the_picture_was_read_is_said(self, net):
        values = np.linspace(0, 4095, 224 * 224).astype(np.uint16).reshape(224, 224)
        with warnings.catch_warnings():
            warnings.simplefilter("error", cam.CamWarning)
            found = cam.explain(net, Image.fromarray(values))
        assert "holds numbers up to 4095: taken for 12-bit data" in said(found, InputWarning)[0]
        assert found.photograph.max() == 255

    def test_any_size_for_resnet_and_not_for_vgg(self, net, embedded_nets):
        photograph = np.asarray(Image.fromarray(scenes.draw(0).image).resize((320, 256)))
        assert cam.explain(net, photograph, fit=None).grad_cam.shape == (8, 10)
        assert cam.explain(net, photograph, size=288).grad_cam.shape == (9, 9)
        with pytest.raises(InputError, match=r"x has shape \(1, 3, 256, 320\); this net takes images of 224x224"):
            cam.explain(embedded_nets["vgg16"], photograph, fit=None)

    def test_numpy_arrays_of_mxnet_are_refused_in_words(self, net, scene):
        mx.npx.set_np()
        try:
            with pytest.raises(InputError, match=r"call mx.npx.reset_np\(\) first"):
                cam.explain(net, scene.image)
        finally:
            mx.npx.reset_np()

    def test_wrong_requests(self, net, scene):
        with pytest.raises(InputError, match="top is 0"):
            cam.explain_many(net, [scene.image], top=0)
        with pytest.raises(InputError, match="give one of them"):
            cam.explain_many(net, [scene.image], target="zebra", top=2)
        with pytest.raises(InputError, match="images is empty or has pictures of different sizes"):
            cam.explain_many(net, [])
        for one in (Image.fromarray(scene.image), "scene.png"):
            with pytest.raises(InputError, match="^images is (Image|str); expected a list of pictures$"):
                cam.explain_many(net, one)
        with pytest.raises(InputError, match="layer is a list"):
            cam.explain(net, scene.image, layer=["features.10"])
        with pytest.raises(InputError, match="target is a function; an explanation is of a class"):
            cam.explain(net, scene.image, target=lambda logits: logits[:, 0])
        with pytest.raises(ClassError, match="did you mean zebra"):
            cam.explain(net, scene.image, target="zebras")
        with pytest.raises(LayerError, match="no layer 'features.99'"):
            cam.explain(net, scene.image, layer="features.99")
        with pytest.raises(InputError, match=r"explain takes what it explains by keyword: explain\(..., target=3\)"):
            cam.explain(net, scene.image, "zebra")


class Ending(HybridBlock):
    """A small net that ends as told."""

    def __init__(self, classes, end):
        super().__init__()
        self.end = end
        with self.name_scope():
            self.features, self.output = nn.HybridSequential(), nn.Dense(classes)
            self.features.add(nn.Conv2D(8, 3, padding=1), nn.Activation("relu"), nn.GlobalAvgPool2D())

    def hybrid_forward(self, F, x):
        return self.end(F, self.output(self.features(x)))


class TestOtherNets:
    """Nets as they are: nothing is rebuilt, and what cannot be said is not."""

    @pytest.mark.parametrize("classes", [1, 3])
    def test_a_net_that_ends_in_sigmoid(self, scene, classes):
        net = initialised(Ending(classes, lambda F, z: F.sigmoid(z)))
        found = cam.explain(net, scene.image, size=64)
        output = net(cam.load_image(scene.image, 64)).asnumpy()[0]
        assert found.probability == pytest.approx(output[found.target], rel=1e-4)
        assert found.logit == pytest.approx(np.log(output.max() / (1 - output.max())), rel=1e-3)
        assert said(found, NetWarning) == ["the net ends in sigmoid: the logits before it are explained"]

    def test_a_net_of_one_output_has_no_probability(self, scene):
        net = initialised(Ending(1, lambda F, z: z))
        found = cam.explain(net, scene.image, size=64)
        assert found.probability is None and found.score == f"logit {found.logit:.2f}"
        assert found.logit == pytest.approx(net(cam.load_image(scene.image, 64)).asscalar(), rel=1e-4)
        assert f"class 0: logit {found.logit:.2f}; Grad-CAM at" in found.plot().get_suptitle()

    def test_a_net_that_ends_in_softmax(self, scene):
        net = initialised(Ending(3, lambda F, z: F.softmax(z)))
        found = cam.explain(net, scene.image, target=1, size=64)
        assert found.probability == pytest.approx(net(cam.load_image(scene.image, 64)).asnumpy()[0, 1], rel=1e-4)
        assert said(found, NetWarning) == ["the net ends in softmax: the logits before it are explained"]

    def test_logits_of_another_shape(self, scene):
        """As a convolution for the Dense layer gives them, and one number that was squeezed."""
        flat, shaped = Ending(3, lambda F, z: z), Ending(3, lambda F, z: F.reshape(z, (0, 0, 1, 1)))
        one, squeezed = Ending(1, lambda F, z: z), Ending(1, lambda F, z: F.reshape(z, (-1,)))
        for net, other, top in ((flat, shaped, 3), (one, squeezed, 1)):
            initialised(net), initialised(other)
            for own, same in zip(net.collect_params().values(), other.collect_params().values()):
                same.set_data(own.data())
            pair = [scene.image, scene.image[::-1]]
            expected, found = (cam.explain_many(each, pair, top=top, size=64) for each in (net, other))
            for left, right in zip(chain(*expected), chain(*found)):
                assert (left.target, left.logit) == (right.target, right.logit)
                assert np.array_equal(left.grad_cam, right.grad_cam) and np.array_equal(left.saliency, right.saliency)
            assert cam.check(other, cam.load_image(scene.image, 64)).passed

    def test_two_outputs(self, scene):
        net = initialised(Ending(3, lambda F, z: (z, -2 * z)))
        with pytest.raises(NetError, match="the net has 2 outputs"):
            cam.explain(net, scene.image, size=64)
        first, second = (cam.explain(net, scene.image, target=1, size=64, output=number) for number in (0, 1))
        assert second.logit == pytest.approx(-2 * first.logit, rel=1e-4)
        assert np.allclose(second.saliency, 2 * first.saliency, rtol=1e-4)

    def test_a_net_without_relu_has_no_guided_backpropagation(self, scene):
        net = nn.HybridSequential()
        net.add(nn.Conv2D(4, 3), nn.LeakyReLU(0.1), nn.GlobalAvgPool2D(), nn.Dense(3))
        found = cam.explain(initialised(net), scene.image)
        assert found.grad_cam.shape == (222, 222) and found.saliency.shape == (224, 224) and found.saliency.any()
        assert found.guided_backprop is None and found.guided_grad_cam is None
        (warning,) = said(found, NetWarning)
        assert warning.startswith("no guided backpropagation: the guided rule is defined for ReLU, and this net has")
        assert isinstance(found.plot(), Figure)
        with pytest.raises(NetError, match="there is no guided Grad-CAM: this net has no ReLU"):
            cam.gradcam.visualize(net, scene.image, "1")

    def test_relatives_of_relu_beside_it(self, scene):
        net = nn.HybridSequential()
        net.add(nn.Conv2D(4, 3), nn.LeakyReLU(0.1), nn.Conv2D(4, 3), nn.Activation("relu"), nn.GlobalAvgPool2D())
        net.add(nn.Dense(3))
        found = cam.explain(initialised(net), scene.image, size=64)
        assert found.guided_backprop.any()
        assert any("the net's LeakyReLU keep their derivative" in one for one in said(found, NetWarning))

    @pytest.mark.parametrize(
        ("name", "size"),
        [("resnet18_v1", 64), ("densenet121", 224), ("mobilenet_v2_0_25", 64), ("squeezenet1_1", 224)],
    )
    def test_any_net_of_the_zoo_as_it_is(self, scene, name, size):
        theirs = getattr(vision, name)(classes=3)
        initialised(theirs, (1, 3, size, size)).hybridize()
        x = cam.load_image(scene.image, size)
        before = theirs(x).asnumpy()
        found = cam.explain(theirs, scene.image, target=2, size=size)
        assert found.layer == cam.default_layer(theirs, x)
        assert found.guided_backprop.any() and found.saliency.any()
        assert np.allclose(found.logit, before[0, 2], rtol=1e-3, atol=1e-5)
        assert np.array_equal(theirs(x).asnumpy(), before) and theirs._active
        assert not any(block._forward_hooks or block._forward_pre_hooks for block in cam.paths(theirs).values())

    def test_a_net_that_never_ran(self, scene):
        theirs = vision.resnet18_v2(classes=3)
        theirs.initialize()
        assert cam.explain(theirs, scene.image).guided_backprop.shape == (3, 224, 224)


class TestSaving:
    def test_whole_files_only(self, net, scene, tmp_path, monkeypatch):
        found = cam.explain(net, scene.image)
        assert found.save(tmp_path / "a.png") == tmp_path / "a.png"
        (tmp_path / "new").touch()
        assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "new").stat().st_mode  # as private as other files
        (tmp_path / "new").unlink()
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
        (tmp_path / "folder.png").mkdir()
        (tmp_path / "file").touch()
        for name in ("folder.png", "file/a.png", f"{'x' * 252}.png"):
            with pytest.raises(InputError, match="cannot write"):
                found.save(tmp_path / name)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.png"]

    @pytest.mark.parametrize(
        ("name", "start"), [("a.jpg", b"\xff\xd8"), ("a.pdf", b"%PDF"), ("a.SVG", b"<?xml"), ("a.eps", b"%!PS")]
    )
    def test_any_kind_that_matplotlib_knows(self, net, scene, tmp_path, name, start):
        assert cam.explain(net, scene.image).save(tmp_path / name).read_bytes().startswith(start)

    def test_a_name_of_255_bytes(self, net, scene, tmp_path):
        path = tmp_path / f"{'x' * 251}.png"
        assert cam.explain(net, scene.image).save(path) == path and list(tmp_path.iterdir()) == [path]

    def test_a_figure_shows_itself_in_a_notebook(self, net, scene, monkeypatch):
        shown = []
        monkeypatch.setattr("IPython.display.display", shown.append)
        cam.explain(net, scene.image).plot()._ipython_display_()
        assert shown[0].data.startswith(b"\xff\xd8") and shown[0].format == "jpeg"


def test_an_explanation_raises_no_warnings_of_its_own(net, scene):
    with warnings.catch_warnings():
        warnings.simplefilter("error", cam.CamWarning)  # they are collected
        found = cam.explain(net, scene.image, layer="features.8.2.conv3")
    assert len(found.warnings) == 2


def test_randomised_nets_agree_with_their_functions(scene):
    """Of a net whose logits are far from each other in size, in one call for two pictures."""
    theirs = randomise(initialised(vision.resnet18_v2(classes=5)))
    pictures = [scene.image, scenes.draw(1).image]
    x = nd.concat(*(cam.load_image(picture, 64) for picture in pictures), dim=0)
    found = cam.explain_many(theirs, pictures, target=[4, 0], size=64)
    heat, guided = cam.grad_cam(theirs, x, target=[4, 0]), cam.guided_backprop(theirs, x, target=[4, 0])
    for number, (one,) in enumerate(found):
        assert one.target == [4, 0][number]
        assert np.allclose(one.grad_cam, heat[number], rtol=1e-4, atol=1e-6 * heat.max())
        assert np.allclose(one.guided_backprop, guided[number], rtol=1e-4, atol=1e-5 * np.abs(guided).max())
