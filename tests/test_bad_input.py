"""Wrong input gets one clear sentence, whichever door it comes through."""

import subprocess
import sys

import cam
from cam import blocks
from cam.errors import (
    AllNegativeMap,
    CamError,
    ClassError,
    FlatMap,
    InputError,
    LayerError,
    NetError,
    NonFiniteError,
    OnePixelMap,
)

import mxnet as mx
import numpy as np
import pytest
from conftest import random_images, randomise
from mxnet import nd
from mxnet.gluon import HybridBlock, nn

PICTURE = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)

DOORS = {
    "grad_cam": lambda net, **options: cam.grad_cam(net, random_images(), **options),
    "hires_cam": lambda net, **options: cam.hires_cam(net, random_images(), **options),
    "guided_grad_cam": lambda net, **options: cam.guided_grad_cam(net, random_images(), **options),
    "explain": lambda net, **options: cam.explain(net, PICTURE, **options),
}


def refused(call, error, message):
    with pytest.raises(CamError, match=message) as caught:
        call()
    assert type(caught.value) is error
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize("door", DOORS)
class TestEveryDoor:
    @pytest.mark.parametrize(
        ("layer", "message"),
        [
            ("features.8.2.conv4", "no layer 'features.8.2.conv4'; did you mean .*features.8.2.conv3"),
            ("conv5_3", "no layer 'conv5_3'"),
            ("", "no layer ''"),
            ("output", r"layer output has an output of shape \(1, 7\): no height and width"),
            (7, "layer is 7; expected a block, its path or its name"),
            (nn.Dense(3), "is not a block of this net"),
        ],
    )
    def test_layers(self, narrow_resnet, door, layer, message):
        refused(lambda: DOORS[door](narrow_resnet, layer=layer), LayerError, message)

    @pytest.mark.parametrize(
        ("class_id", "message"),
        [
            (7, "class_id is 7; this net has the classes 0 to 6"),
            (-1, "class_id is -1"),
            (2.0, "class_id is float 2.0; expected"),
            (True, "class_id is bool True"),
            (np.float32(1), "class_id is float32 1.0"),
            ("zebra", "this net has no labels; give a number"),
            ([1, 2], "class_id has 2 entries for 1 images"),
            ([], "class_id has 0 entries for 1 images"),
            ([None], "class_id is NoneType None"),
            (np.array([[1]]), "class_id is ndarray"),
        ],
    )
    def test_classes(self, narrow_resnet, door, class_id, message):
        refused(lambda: DOORS[door](narrow_resnet, class_id=class_id), ClassError, message)

    @pytest.mark.parametrize("net", ["resnet50_v2", None, np.zeros(3), lambda x: x, HybridBlock])
    def test_nets_that_are_none(self, door, net):
        refused(lambda: DOORS[door](net), NetError, "expected a Gluon")

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_a_single_weight(self, narrow_vgg, door, value):
        """Deep in the net a ReLU turns NaN into 0: the logits look as if nothing were wrong."""
        broken = cam.convert(narrow_vgg)
        weight = broken.features[0].weight.data()
        weight[0, 0, 0, 0] = value
        refused(
            lambda: DOORS[door](broken),
            NonFiniteError,
            f"NaN or infinity in parameter {broken.features[0].weight.name}",
        )


REFUSED_AND_OVER = """
import cam
from mxnet import nd
try:
    cam.record({net}(weights=None, classes=7, width=1 / 16), nd.ones((1, 3, {size}, {size})), {layer!r})
except cam.CamError:
    print("refused")
"""


@pytest.mark.parametrize(
    ("net", "size", "layer"),
    [
        ("cam.resnet50_v2", 224, "output"),
        ("cam.resnet50_v2", 224, "features"),
        ("cam.vgg16", 224, "features.31"),
        ("cam.vgg16", 64, "features.29"),
    ],
)
def test_a_process_ends_in_peace_after_a_refusal(net, size, layer):
    """MXNet aborts at exit if a graph was freed while its Functions were at work."""
    script = REFUSED_AND_OVER.format(net=net, size=size, layer=layer)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "refused\n"), done.stderr


def test_large_weights_are_no_infinity():
    net = nn.HybridSequential()
    net.add(nn.Conv2D(2, 1, in_channels=3, use_bias=False), nn.GlobalAvgPool2D(), nn.Flatten())
    net.initialize()
    net[0].weight.set_data(nd.array([1e25, -1e-3] * 3).reshape((2, 3, 1, 1)))  # the square overflows float32
    assert cam.grad_cam(net, random_images(1, 8), 1, layer="0").shape == (1, 8, 8)


def empty_batch():
    with mx.util.np_shape(True):  # else MXNet itself cannot make one
        return nd.zeros((0, 3, 224, 224))


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros((1, 3, 224, 224), np.float32), InputError, r"x is a numpy array; expected mx.nd.array\(...\)"),
        ("zebra.jpg", InputError, "x is a str; expected mx.nd.array"),
        (nd.zeros((3, 224, 224)), InputError, r"x has shape \(3, 224, 224\); expected \(N, 3, H, W\)"),
        (empty_batch(), InputError, "with at least one image"),
        (nd.zeros((1, 224, 224, 3)), InputError, r"x has shape \(1, 224, 224, 3\); this net takes \(N, 3, H, W\)"),
        (nd.zeros((1, 4, 224, 224)), InputError, r"x has shape \(1, 4, 224, 224\); this net takes \(N, 3, H, W\)"),
        (nd.zeros((1, 1, 224, 224)), InputError, r"x has shape \(1, 1, 224, 224\); this net takes \(N, 3, H, W\)"),
        (nd.zeros((1, 3, 224, 224), dtype="float64"), InputError, "x has dtype float64; this net takes float32"),
        (nd.zeros((1, 3, 224, 224), dtype="uint8"), InputError, "x has dtype uint8"),
        (nd.full((1, 3, 224, 224), np.nan), NonFiniteError, "x holds NaN or infinity"),
        (nd.full((1, 3, 224, 224), np.inf), NonFiniteError, "x holds NaN or infinity"),
    ],
)
def test_inputs(narrow_resnet, x, error, message):
    for call in (cam.grad_cam, cam.saliency, cam.guided_backprop, cam.class_activation_map):
        refused(lambda call=call: call(narrow_resnet, x), error, message)
    refused(lambda: cam.layers(narrow_resnet, x), error, message)


def test_numpy_arrays_of_mxnet(narrow_resnet):
    x = mx.np.ones((1, 3, 224, 224))
    refused(lambda: cam.grad_cam(narrow_resnet, x), InputError, r"x is an mx.np.ndarray; .* take x.as_nd_ndarray\(\)")
    mx.npx.set_np()
    try:
        for one in (x, x.as_nd_ndarray()):
            refused(lambda one=one: cam.record(narrow_resnet, one), InputError, r"call mx.npx.reset_np\(\) first")
    finally:
        mx.npx.reset_np()


def test_another_context(narrow_resnet):
    x = random_images(1, 64).as_in_context(mx.cpu(1))
    message = r"x is on cpu\(1\), the net on cpu\(0\); use x.as_in_context\(mx.cpu\(0\)\)"
    refused(lambda: cam.grad_cam(narrow_resnet, x), InputError, message)


@pytest.mark.parametrize("build", [lambda net: net, cam.convert])
def test_float16_takes_what_its_convolutions_take(build):
    """Its BatchNorms stay in float32. On the CPU it fails, and only once its numbers are read."""
    net = nn.HybridSequential()
    net.add(nn.BatchNorm(in_channels=3), nn.Conv2D(4, 3, in_channels=3), nn.GlobalAvgPool2D(), nn.Dense(3))
    net.initialize()
    net(random_images(1, 8))
    net = build(net)
    net.cast("float16")
    refused(lambda: cam.grad_cam(net, random_images(1, 8)), InputError, "x has dtype float32; this net takes float16")
    half = random_images(1, 8).astype("float16")
    refused(lambda: cam.grad_cam(net, half), NetError, r"cannot run on x .*net.cast\('float32'\)")


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_float16_of_batch_norms_alone(dtype):
    net = blocks.Sequential()
    net.add(blocks.BatchNorm(in_channels=3), blocks.ReLU(), nn.Flatten())
    net.initialize()
    net.cast("float16")
    recording = cam.record(net, random_images(1, 4).astype(dtype), "1")
    assert recording.gradient(class_id=5).sum() == 1
    assert recording.image_gradient(5, "guided").dtype == dtype


@pytest.mark.parametrize("error", [KeyError("k"), AttributeError("a"), TypeError("t"), ZeroDivisionError("z")])
def test_whatever_a_net_raises(error):
    class Failing(nn.HybridSequential):
        def forward(self, x):
            raise error

    net = Failing()
    net.add(nn.Conv2D(2, 1, in_channels=3))
    net.initialize()
    refused(lambda: cam.grad_cam(net, random_images(1, 8), layer="0"), NetError, "the net cannot run on x of shape")


class Beside(HybridBlock):
    """A net with a layer whose output is thrown away."""

    def __init__(self):
        super().__init__()
        with self.name_scope():
            self.used, self.idle = nn.Conv2D(2, 1, in_channels=3), nn.Conv2D(2, 1, in_channels=3)

    def hybrid_forward(self, F, x):
        self.idle(x)
        return self.used(x).mean(axis=(2, 3))


def test_a_layer_that_does_not_influence_the_class():
    net = Beside()
    net.initialize()
    refused(
        lambda: cam.grad_cam(net, random_images(1, 8), layer="idle"),
        LayerError,
        "a recorded layer does not influence the logits",
    )


class TestMapsThatSayNothing:
    """They come with a warning, and are drawn as what they are."""

    @pytest.fixture
    def net(self):
        net = cam.convert(randomise(cam.resnet50_v2(weights=None, classes=3, width=1 / 16)))
        net.output.weight.set_data(-nd.ones_like(net.output.weight.data()))
        return net

    def brightness(self, explanation):
        return explanation.overlay().reshape(-1, 3).std(axis=0).max()

    def test_all_negative(self, net):
        with pytest.warns(AllNegativeMap, match="nothing here speaks for the class"):
            assert not cam.grad_cam(net, random_images(), 0).any()
        found = cam.explain(net, np.full((224, 224, 3), 90, np.uint8), 0)
        assert any(isinstance(one, AllNegativeMap) for one in found.warnings)
        assert self.brightness(found) == 0
        assert "no evidence for this class" in [axis.get_xlabel() for axis in found.plot().axes]

    def test_one_pixel(self, net):
        with pytest.warns(OnePixelMap, match="single pixel"):
            assert cam.grad_cam(net, random_images(), 0, layer="features.11").shape == (1, 1, 1)
        found = cam.explain(net, np.full((224, 224, 3), 90, np.uint8), 0, layer="features.11")
        assert any(isinstance(one, OnePixelMap) for one in found.warnings) and self.brightness(found) == 0

    def test_flat(self):
        net = nn.HybridSequential()
        net.add(nn.Conv2D(2, 1, in_channels=3), nn.GlobalAvgPool2D(), nn.Dense(2))
        net.initialize()
        net[0].weight.set_data(nd.zeros((2, 3, 1, 1)))
        net[0].bias.set_data(nd.ones((2,)))
        net(random_images(1, 8))
        net[2].weight.set_data(nd.ones((2, 2)))
        with pytest.warns(FlatMap, match="the same value everywhere"):
            cam.grad_cam(net, random_images(1, 8), 0)
        found = cam.explain(net, np.full((224, 224, 3), 90, np.uint8), 0)
        assert any(isinstance(one, FlatMap) for one in found.warnings) and self.brightness(found) == 0


def test_channels_last():
    net = nn.HybridSequential()
    net.add(nn.Conv2D(4, 3, layout="NHWC", in_channels=3), nn.Flatten(), nn.Dense(2))
    net.initialize()
    for call in (lambda: cam.record(net, nd.zeros((1, 8, 8, 3)), "0"), lambda: cam.convert(net)):
        with pytest.raises(NetError, match="has the layout NHWC; this package works with nets of layout NCHW"):
            call()
