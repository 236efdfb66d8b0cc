"""Nets and inputs that cannot be explained, and the sentence that says so."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import cam
from cam import ClassError, InputError, LayerError, NetError, NonFiniteError

import mxnet as mx
import numpy as np
import pytest
from conftest import random_images
from helpers.nets import Net, conv, ending, function, ready, relu, sequence, small_net, two_heads
from mxnet import gluon, nd
from mxnet.gluon import nn
from test_odd_nets import imported


@dataclass
class No:
    """What cannot be explained.

    Attributes
    ----------
    build : makes the net
    error : what is raised
    sentence : what it says, with ... for what does not matter
    shapes : of the random inputs with which the net is made ready; None if it is taken as it was built
    x : makes what takes the place of these inputs
    change : is done to the net once it is ready
    options : of `grad_cam`
    """

    build: Callable
    error: type
    sentence: str
    shapes: list | None = field(default_factory=lambda: [(2, 3, 8, 8)])
    x: Callable | None = None
    change: Callable = lambda net: None
    options: dict = field(default_factory=dict)


def ones(*shape, **options):
    return lambda: nd.ones(shape, **options)


def holding(value):
    """Images, and one pixel of this value."""

    def make():
        array = nd.ones((2, 3, 8, 8))
        array[1, 1, 1, 1] = value
        return array

    return make


def empty_batch():
    with mx.util.np_shape(True):  # else MXNet itself cannot make one
        return nd.zeros((0, 3, 8, 8))


def putting(value, choose):
    """Put a value into the first place of a parameter."""

    def change(net):
        values = choose(net).data().asnumpy()
        values.flat[0] = value
        choose(net).set_data(nd.array(values))

    return change


class PlainBlock(gluon.Block):
    """Computes with numpy in the middle."""

    def __init__(self):
        super().__init__()
        self.conv, self.out = conv(), nn.Dense(3)

    def forward(self, x):
        return self.out(nd.array(self.conv(x).asnumpy().mean(axis=(2, 3))))


def before_dense(forward, **children):
    """A function F, net, x, whose result goes through a Dense layer."""
    return lambda: Net(lambda F, net, *x: net.out(forward(F, net, *x)), **children, out=nn.Dense(3))


def after_relu(forward):
    return lambda: sequence(conv(), relu(), function(forward), *ending())


def loops(F, net, x):
    rows = F.swapaxes(net.conv(x), 0, 1)
    total, _ = F.contrib.foreach(lambda row, sum: (row + sum, row + sum), rows, F.zeros((2, 8, 8)))
    return F.mean(total, axis=(2, 3))


def no_derivative(F, net, x):
    columns = F.transpose(F.mean(net.conv(x), axis=(2, 3)))  # (K, N)
    return F.transpose(F.khatri_rao(columns, F.slice_axis(columns, axis=0, begin=0, end=1)))


def writes(F, net, x):
    x = net.conv(x)
    x += 1
    x[:] = 0
    return x


def sequence_last(F, x):
    return F.SequenceLast(F.transpose(F.mean(x, axis=3), (2, 0, 1)))


def raises(F, net, x):
    raise ZeroDivisionError("mine")


def channels_last():
    net = sequence(nn.Conv2D(4, 3, layout="NHWC", in_channels=3), nn.GlobalAvgPool2D(layout="NHWC"))
    net.initialize()
    return net


def with_numbers(F, net, x, numbers):
    return F.concat(F.mean(x, axis=(2, 3)), numbers)


NO_TRACE = "... cannot be traced, because its forward {}: write it as a hybrid_forward with F alone (...)"
LIST = "cam.record, cam.layers and cam.grad_cam take a list of them as x"
READS, MIXES = (
    NO_TRACE.format(what)
    for what in (
        "reads the values or the shape of an array, slices it by [] or writes to it",
        "mixes in an array of its own",
    )
)
DIFFERS = (
    "Net computes something else from arrays than from symbols, or something else in every call: its graph does not "
    "explain it"
)
ARRAY = "expected mx.nd.array(...), (N, 3, H, W), as load_image returns"
CHECK = "check weights and image"
REFUSES = {
    # --- nets without a graph
    "numpy in the middle": No(PlainBlock, NetError, READS),
    "it reads a shape": No(before_dense(lambda F, net, x: F.reshape(x, (x.shape[0], -1))), NetError, READS),
    "it reads a value": No(before_dense(lambda F, net, x: x * 2 if x.mean() > 0 else x), NetError, READS),
    "it slices": No(before_dense(lambda F, net, x: x[:, :2]), NetError, READS),
    "it writes": No(before_dense(writes, conv=conv()), NetError, READS),
    "a block of a block reads a shape": No(
        lambda: sequence(sequence(conv(), function(lambda F, x: F.reshape(x, (x.shape[0], -1)))), nn.Dense(3)),
        NetError,
        READS.replace("...", "Net at 0.1", 1),
    ),
    "it asks how many images there are": No(
        before_dense(lambda F, net, x: F.reshape(x, (len(x), -1))),
        InputError,
        "the net's graph is for one image, as of len(x) in its forward, and x holds 2: one by one",
    ),
    "an array of its own": No(before_dense(lambda F, net, x: x + nd.ones((1, 3, 8, 8))), NetError, MIXES),
    "mx.nd in the place of F": No(before_dense(lambda F, net, x: nd.relu(x)), NetError, MIXES),
    "it fails": No(
        before_dense(raises),
        NetError,
        NO_TRACE.format("needs arrays").replace("(...)", "(mine)"),
        None,
        ones(2, 3, 8, 8),
    ),
    "control flow": No(
        before_dense(loops, conv=conv()),
        NetError,
        "... (_foreach) holds a graph of its own, as control flow does: no gradient is followed through it",
    ),
    "a random net": No(
        before_dense(lambda F, net, x: F.broadcast_add(x, F.random.normal(shape=(1, 1, 1, 1)))), NetError, DIFFERS
    ),
    "Dropout that never rests": No(before_dense(lambda F, net, x: F.Dropout(x, mode="always")), NetError, DIFFERS),
    "arrays and symbols differ": No(before_dense(lambda F, net, x: x if F is nd else x * 2), NetError, DIFFERS),
    "no array comes back": No(
        lambda: Net(lambda F, net, x: "logits" if F is mx.sym else net.out(x), out=nn.Dense(3)),
        NetError,
        "Net returns str; expected an array, or a list or tuple of nothing but arrays",
    ),
    "a dictionary comes back": No(
        lambda: Net(lambda F, net, x: {"logits": net.out(x)}, out=nn.Dense(3)),
        NetError,
        "Net returns dict; expected an array, or a list or tuple of nothing but arrays",
    ),
    "an array and nothing": No(
        lambda: Net(lambda F, net, x: (net.out(x), None), out=nn.Dense(3)),
        NetError,
        "Net returns NoneType, Symbol; expected an array, or a list or tuple of nothing but arrays",
    ),
    "an array from nowhere": No(
        before_dense(lambda F, net, x: x if F is nd else x + mx.sym.var("more")),
        NetError,
        "the net needs an array called 'more', which is none of its parameters",
    ),
    "one array for two": No(
        before_dense(with_numbers),
        NetError,
        f"Net takes more or fewer arrays than 1; {LIST} (...)",
        [(2, 3, 8, 8), (2, 2)],
        ones(2, 3, 8, 8),
    ),
    "two arrays for one": No(
        before_dense(lambda F, net, x: x),
        NetError,
        f"Net takes more or fewer arrays than 2; {LIST} (...)",
        x=lambda: [nd.ones((2, 3, 8, 8))] * 2,
    ),
    "channels last": No(
        channels_last,
        NetError,
        "... wants its channels last, which MXNet cannot compute here; build it with NCHW",
        None,
        ones(2, 8, 8, 3),
    ),
    # --- operators without a right derivative
    "RReLU": No(
        after_relu(lambda F, x: F.LeakyReLU(x, act_type="rrelu")[0]),
        NetError,
        "MXNet's derivative of ... (LeakyReLU rrelu) is wrong",
        options={"layer": "1"},
    ),
    "SequenceLast without lengths": No(
        lambda: sequence(conv(), function(sequence_last), nn.Dense(3)),
        NetError,
        "MXNet's derivative of ... (SequenceLast) is wrong",
    ),
    "a loss": No(
        lambda: sequence(conv(), *ending(), function(lambda F, z: F.MakeLoss(z))),
        NetError,
        "... (MakeLoss) is a loss, whose backward is not the derivative of its forward",
    ),
    "an operator without derivative": No(
        before_dense(no_derivative, conv=conv()),
        NetError,
        "MXNet has no derivative of khatri_rao (...)",
        options={"layer": "conv"},
    ),
    # --- layers
    "no map": No(
        lambda: sequence(nn.Dense(4), nn.Dense(3)),
        LayerError,
        "no map with height and width holds all that this net knows of the image: name a layer, or take cam.saliency",
    ),
    "a stopped gradient": No(
        after_relu(lambda F, x: F.BlockGrad(x)),
        LayerError,
        "no gradient flows from the target back to 0",
        options={"layer": "0"},
    ),
    "a layer beside the image": No(
        before_dense(lambda F, net, x: F.broadcast_add(F.mean(x, axis=(2, 3)), net.a(F.ones((1, 2)))), a=nn.Dense(3)),
        LayerError,
        "layer a does not depend on the image",
        options={"layer": "a"},
    ),
    # --- outputs
    "two outputs": No(two_heads, NetError, "the net has 2 outputs; say which to explain: output=0 to output=1"),
    "an output that is not there": No(
        two_heads, InputError, "output is 2; this net has the outputs 0 to 1", options={"output": 2}
    ),
    "an output by name": No(
        two_heads, InputError, "output is 'first'; this net has the outputs 0 to 1", options={"output": "first"}
    ),
    "a class of a map of classes": No(
        lambda: sequence(conv(), relu(), conv(3, 1)),
        NetError,
        "the net returned (2, 3, 8, 8); expected logits (N, classes), or a function of them as target",
    ),
    # --- arrays
    "an array of numpy": No(small_net, InputError, f"x is a numpy array; {ARRAY}", x=lambda: np.ones((2, 3, 8, 8))),
    "a file": No(small_net, InputError, f"x is a str; {ARRAY}", x=lambda: "zebra.jpg"),
    "an array of mx.np": No(
        small_net,
        InputError,
        "x is an mx.np.ndarray; expected an mx.nd array: take x.as_nd_ndarray()",
        x=lambda: mx.np.ones((2, 3, 8, 8)),
    ),
    "no images": No(
        small_net, InputError, "x has shape (0, 3, 8, 8); expected (N, 3, H, W) with at least one image", x=empty_batch
    ),
    "no batch": No(small_net, InputError, "x has shape (3, 8, 8); this net takes (N, 3, H, W)", x=ones(3, 8, 8)),
    "four channels": No(
        small_net, InputError, "x has shape (2, 4, 8, 8); this net takes (N, 3, H, W)", x=ones(2, 4, 8, 8)
    ),
    "four channels for a BatchNorm": No(
        lambda: sequence(nn.BatchNorm(), conv(), *ending()),
        InputError,
        "x has shape (2, 4, 8, 8); this net takes (N, 3, H, W)",
        x=ones(2, 4, 8, 8),
    ),
    "four channels for an imported net": No(
        imported, InputError, "x has shape (2, 4, 8, 8); this net takes (N, 3, H, W)", x=ones(2, 4, 8, 8)
    ),
    "channels last for channels first": No(
        small_net, InputError, "x has shape (2, 8, 8, 3); this net takes (N, 3, H, W)", x=ones(2, 8, 8, 3)
    ),
    "another size": No(
        lambda: sequence(conv(), relu(), nn.Dense(3)),
        InputError,
        "x has shape (2, 3, 36, 36); this net takes images of 32x32: (2, 3, 32, 32)",
        [(2, 3, 32, 32)],
        ones(2, 3, 36, 36),
    ),
    "batches of two lengths": No(
        before_dense(with_numbers),
        InputError,
        "x[1] holds 1 images and x[0] 2; expected as many in each",
        [(2, 3, 8, 8), (2, 2)],
        lambda: [nd.ones((2, 3, 8, 8)), nd.ones((1, 2))],
    ),
    "float64 for float32": No(
        small_net,
        InputError,
        "x has dtype float64; this net takes float32: x.astype('float32')",
        x=ones(2, 3, 8, 8, dtype="float64"),
    ),
    "uint8": No(
        small_net,
        InputError,
        "x has dtype uint8; this net takes float32: x.astype('float32')",
        x=ones(2, 3, 8, 8, dtype="uint8"),
    ),
    "a net in float16": No(
        small_net,
        NetError,
        "the net is in float16, in which MXNet cannot compute on the CPU; take net.cast('float32')",
        x=ones(2, 3, 8, 8, dtype="float16"),
        change=lambda net: net.cast("float16"),
    ),
    "a net in float16 whose BatchNorms are not": No(
        lambda: sequence(nn.BatchNorm(), conv(), *ending()),
        NetError,
        "the net is in float16, in which MXNet cannot compute on the CPU; take net.cast('float32')",
        x=ones(2, 3, 8, 8, dtype="float16"),
        change=lambda net: net.cast("float16"),
    ),
    "another device": No(
        small_net,
        InputError,
        "x is on cpu(1), the net on cpu(0); use x.as_in_context(mx.cpu(0))",
        x=ones(2, 3, 8, 8, ctx=mx.cpu(1)),
    ),
    # --- values
    "no values": No(
        small_net,
        NetError,
        "4 parameters, such as conv..._weight, have no values; load weights or initialize()",
        None,
        ones(2, 3, 8, 8),
    ),
    "NaN in a weight": No(
        small_net,
        NonFiniteError,
        f"NaN or infinity in the parameter conv..._weight; {CHECK}",
        change=putting(np.nan, lambda net: net[0].weight),
    ),
    "infinity in a weight": No(
        small_net,
        NonFiniteError,
        f"NaN or infinity in the parameter conv..._weight; {CHECK}",
        change=putting(-np.inf, lambda net: net[0].weight),
    ),
    "NaN in the last bias": No(
        small_net,
        NonFiniteError,
        f"NaN or infinity in the parameter dense..._bias; {CHECK}",
        change=putting(np.nan, lambda net: net[3].bias),
    ),
    "NaN in a running mean": No(
        lambda: sequence(conv(), nn.BatchNorm(), relu(), *ending()),
        NonFiniteError,
        f"NaN or infinity in the parameter batchnorm..._running_mean; {CHECK}",
        change=putting(np.nan, lambda net: net[1].running_mean),
    ),
    "infinity in a running variance": No(
        lambda: sequence(conv(), nn.BatchNorm(), relu(), *ending()),
        NonFiniteError,
        f"NaN or infinity in the parameter batchnorm..._running_var; {CHECK}",
        change=putting(np.inf, lambda net: net[1].running_var),
    ),
    "NaN in x": No(small_net, NonFiniteError, f"NaN or infinity in x; {CHECK}", x=holding(np.nan)),
    "infinity in x": No(small_net, NonFiniteError, f"NaN or infinity in x; {CHECK}", x=holding(np.inf)),
    "a logarithm of 0 that a ReLU hides": No(
        after_relu(lambda F, x: F.relu(F.log(x))), NonFiniteError, f"NaN or infinity in ...log0; {CHECK}"
    ),
    "a root of 0": No(
        after_relu(lambda F, x: F.sqrt(x)),
        NonFiniteError,
        f"NaN or infinity in the map at 1; {CHECK}",
        options={"layer": "1"},
    ),
}


@pytest.mark.parametrize("name", REFUSES)
def test_refuses(name):
    no = REFUSES[name]
    net, inputs = (no.build(), []) if no.shapes is None else ready(no.build(), *no.shapes)
    no.change(net)
    x = no.x() if no.x else inputs if len(inputs) > 1 else inputs[0]
    refused(lambda: cam.grad_cam(net, x, **no.options), no.error, no.sentence)


def refused(call, error, sentence):
    with pytest.raises(cam.CamError) as caught:
        call()
    assert type(caught.value) is error
    said = str(caught.value)
    assert re.fullmatch(re.escape(sentence).replace(r"\.\.\.", ".*"), said), said
    assert len(said) < 400


def test_a_gradient_that_is_not_finite():
    """As that of a root is at 0, where the root itself is 0."""
    net, (x,) = ready(after_relu(lambda F, x: F.sqrt(x))(), (2, 3, 8, 8))
    recording = cam.record(net, x, "1")
    refused(lambda: recording.gradient(), NonFiniteError, f"NaN or infinity in the gradient at 1; {CHECK}")
    refused(lambda: recording.image_gradient(), NonFiniteError, f"NaN or infinity in the image's gradient; {CHECK}")
    refused(lambda: cam.hires_cam(net, x, layer="1"), NonFiniteError, f"NaN or infinity in the map at 1; {CHECK}")


AXES = "x has shape {}; this needs (N, C, H, W), cam.image_gradient takes it as it is"
BY_CHANNEL = [cam.saliency, cam.smooth_grad]
BY_PIXEL = [cam.guided_grad_cam, cam.score_cam]


def as_channels_first():
    return function(lambda F, x: F.transpose(x, (0, 3, 1, 2)))


@pytest.mark.parametrize(
    ("first", "shape", "doors"),
    [
        (as_channels_first, (2, 8, 9, 3), BY_CHANNEL + BY_PIXEL),
        (lambda: sequence(function(lambda F, x: x / 255), as_channels_first()), (2, 8, 9, 3), BY_CHANNEL + BY_PIXEL),
        (lambda: function(lambda F, x: F.expand_dims(x, 1)), (2, 8, 9), BY_PIXEL),
        (lambda: function(lambda F, x: F.reshape(x, (0, 1, 4, -1))), (2, 32), BY_CHANNEL + BY_PIXEL),
    ],
)
def test_images_of_other_axes(first, shape, doors):
    """What takes the greatest over the channels, or multiplies pixel by pixel, would do so over other axes."""
    net, (x,) = ready(sequence(first(), conv(), relu(), *ending()), shape)
    assert cam.grad_cam(net, x).ndim == 3 and cam.image_gradient(net, x).shape == shape
    for door in doors:
        refused(lambda door=door: door(net, x), InputError, AXES.format(shape))


def explained(net, x, layer):
    return cam.explain(net, np.zeros((8, 8, 3), np.uint8), size=8, layer=layer)


@pytest.mark.parametrize("shape", [(0, 0, -1), (0, -4, 2, 2, 0, 0), (0, -1, 4)])
def test_maps_of_other_axes(shape):
    """Rows of positions, channels in groups, what nobody can know: they cannot be laid over a picture."""
    last = function(lambda F, x: F.mean(F.reshape(x, (0, 4, -1)), axis=2))
    net, (x,) = ready(
        sequence(conv(), relu(), function(lambda F, x: F.reshape(x, shape)), last, nn.Dense(3)), (1, 3, 8, 8)
    )
    came = cam.record(net, x, "2").features().shape
    assert cam.grad_cam(net, x, layer="2").shape == came[:1] + came[2:]
    said = f"layer 2 gives {came}; this needs (N, K, h, w), cam.grad_cam takes it as it is"
    for door in (cam.guided_grad_cam, cam.score_cam, explained):
        refused(lambda door=door: door(net, x, layer="2"), LayerError, said)


def test_more_maps_than_images():
    """A net that puts each image and its mirror image into one batch."""

    def forward(F, net, x):
        both = F.mean(net.body(F.concat(x, F.flip(x, axis=3), dim=0)), axis=(2, 3))
        return F.mean(F.reshape(net.out(both), (2, -1, 3)), axis=0)

    net, (x,) = ready(Net(forward, body=sequence(conv(), relu()), out=nn.Dense(3)), (2, 3, 8, 8))
    said = "the layer has 4 maps for 2 images: the net changes the length of its batch"
    refused(lambda: cam.guided_grad_cam(net, x), LayerError, said)


@pytest.mark.parametrize(
    ("kind", "shape"), [(nn.Conv1D, (2, 1, 32)), (nn.Conv2D, (1, 3, 64, 96)), (nn.Conv3D, (1, 1, 6, 7, 8))]
)
def test_no_square_picture_fits(kind, shape):
    net, (x,) = ready(sequence(kind(4, 3), relu(), nn.Dense(3)), shape)
    assert cam.default_layer(net, x) == "1" and len(cam.layers(net, x)) == 3
    for door in (cam.layers, cam.default_layer, cam.draw_graph, cam.check):
        said = "no square picture of a usual size fits this net; give x, an input as it takes it"
        refused(lambda door=door: door(net), InputError, said)


def test_a_question_decides_no_size():
    """A net that never ran takes the size of the first picture for good, which must not be a black one of ours."""
    net, pooled = sequence(conv(), relu(), nn.Dense(3)), small_net()
    net.initialize(), pooled.initialize()
    for door in (cam.layers, cam.default_layer, cam.draw_graph, cam.check):
        said = "the first picture decides for good which size this net takes; give x, or call net(x) first"
        refused(lambda door=door: door(net), InputError, said)
    assert net(nd.ones((1, 1, 28, 28))).shape == (1, 3) and cam.layers(net)[0].shape == (1, 4, 28, 28)
    assert cam.default_layer(pooled) == "1"  # whose parameters ask for no size


def test_what_is_no_net():
    for net in ("resnet", None, np.zeros(3), gluon.HybridBlock, lambda x: x):
        kind = f"net is {type(net).__name__}; expected a Gluon net that returns logits"
        refused(lambda net=net: cam.grad_cam(net, random_images(1, 8)), NetError, kind)
        refused(lambda net=net: cam.layers(net), NetError, kind)
        refused(lambda net=net: cam.paths(net), NetError, kind)


def test_mxnets_numpy_mode():
    """Also where a net is met for the first time, and without an array."""
    net, (x,) = ready(small_net(), (1, 3, 8, 8))
    sentence = "MXNet's NumPy mode is on, and this package works with mx.nd; call mx.npx.reset_np() first"
    pixels = np.zeros((8, 8, 3), np.uint8)
    mx.npx.set_np()
    try:
        for one in (x, mx.np.ones((1, 3, 8, 8))):
            refused(lambda one=one: cam.record(net, one), InputError, sentence)
        for ask in (cam.layers, cam.relus, cam.check, lambda net: cam.explain(net, pixels)):
            refused(lambda ask=ask: ask(net), InputError, sentence)
        refused(lambda: cam.load_image(pixels, net=net), InputError, sentence)
        refused(cam.efficientnet_lite0, InputError, sentence)
    finally:
        mx.npx.reset_np()


DOORS = [
    cam.record,
    cam.grad_cam,
    cam.hires_cam,
    cam.guided_grad_cam,
    cam.guided_backprop,
    cam.image_gradient,
    cam.saliency,
    cam.class_activation_map,
]


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_every_door_refuses(door):
    net, (x,) = ready(small_net(), (1, 3, 8, 8))
    refused(lambda: door(net, x.asnumpy()), InputError, f"x is a numpy array; {ARRAY}")
    refused(lambda: door("net", x), NetError, "net is str; expected a Gluon net that returns logits")
    refused(lambda: door(net, x * np.nan), NonFiniteError, f"NaN or infinity in x; {CHECK}")
    if door is cam.record:
        return
    refused(lambda: door(net, x, target=3), ClassError, "target is 3; this net has the classes 0 to 2")
    for call in (lambda: door(net, x, 1), lambda: door(net, x, class_id=1)):
        said = f"{door.__name__} takes what it explains by keyword: {door.__name__}(..., target=3), no class_id"
        refused(call, InputError, said)


def test_large_numbers_are_no_infinity():
    """The mean by which infinities are found may overflow: only an infinity itself is one."""
    net, (x,) = ready(sequence(conv(1, 1), relu(), nn.Flatten()), (1, 3, 64, 64))
    net[0].weight.set_data(nd.ones((1, 3, 1, 1)) * 1e37)
    x = nd.ones((1, 3, 64, 64))
    assert cam.grad_cam(net, x, target=lambda z: z[:, 0], layer="0").shape == (1, 64, 64)
    assert not np.isfinite(net[0](x).sum().asscalar())


def test_a_shape_that_a_net_took_before_does_not_let_another_pass():
    net, (x,) = ready(sequence(conv(), relu(), nn.Dense(3)), (1, 3, 32, 32))
    cam.grad_cam(net, x)
    said = "x has shape (1, 3, 36, 36); this net takes images of 32x32: (1, 3, 32, 32)"
    refused(lambda: cam.grad_cam(net, nd.ones((1, 3, 36, 36))), InputError, said)


def test_a_refusal_leaves_no_error_for_the_next_call():
    """MXNet's engine would blame the next net for what failed before."""
    half, (x,) = ready(small_net(), (1, 3, 8, 8))
    half.cast("float16")
    net, (x,) = ready(small_net(), (1, 3, 8, 8))
    expected = cam.grad_cam(net, x)
    for _ in range(3):
        refused(lambda: cam.grad_cam(half, x.astype("float16")), NetError, "the net is in float16, ...")
        assert np.array_equal(cam.grad_cam(net, x), expected)
