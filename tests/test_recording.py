"""One recorded forward: right numbers in any order, and no trace left behind."""

import gc
import os
import weakref

import cam
from cam import blocks
from cam.errors import ClassError, InputError, LayerError, NetError, NonFiniteError
from cam.resolve import last_feature_map

import cut_tape
import numpy as np
import pytest
from conftest import random_images, randomise, relative_l2
from mxnet import autograd, nd
from mxnet.gluon import HybridBlock, nn
from mxnet.gluon.model_zoo import vision

NAMES = ["vgg16", "resnet50_v2"]
LAYERS = {
    "vgg16": ["features.22", "features.29", "features.28"],
    "resnet50_v2": ["features.7.5.add", "features.8.2.conv3", "features.10"],
}


def state(net):
    """Everything of a net that a recording could change."""
    return {
        "values": {key: p.data().asnumpy().tobytes() for key, p in net.collect_params().items()},
        "gradients": {
            key: p.grad().asnumpy().tobytes() for key, p in net.collect_params().items() if p.grad_req != "null"
        },
        "flags": [
            (block._active, len(block._forward_hooks), len(block._forward_pre_hooks), sorted(vars(block)))
            for block in [net, *cam.paths(net).values()]
        ],
        "scope": (autograd.is_recording(), autograd.is_training()),
    }


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rule", blocks.RULES)
def test_image_gradients_against_the_cut_tape(narrow_nets, name, rule):
    net, x = narrow_nets[name], random_images(2)
    found = cam.record(net, x, layers=[]).image_gradient([3, 5], rule)
    assert relative_l2(found, cut_tape.image_gradient(net, x, [3, 5], rule).asnumpy()) < 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_layer_gradient_against_finite_differences(narrow_nets, name):
    """In float64, along random directions of the tapped feature map."""
    net = cam.convert(narrow_nets[name])
    net.cast("float64")
    x = random_images(1).astype("float64")
    recording = cam.record(net, x, LAYERS[name])
    for layer in recording.layers:
        gradient = recording.gradient(layer, 2)
        # Where a ReLU gave zero, a max pooling above may be at a tie, where no derivative exists.
        direction = np.random.default_rng(4).normal(size=gradient.shape) * (recording.features(layer) != 0)
        step = 1e-6
        logits = [run_shifted(net, x, layer, sign * step * direction)[0, 2] for sign in (1, -1)]
        numeric = (logits[0] - logits[1]) / (2 * step)
        assert numeric == pytest.approx((gradient * direction).sum(), rel=1e-4)


def run_shifted(net, x, layer, shift):
    """Logits with something added to one feature map."""
    block = cam.paths(net)[layer]

    class Shift:
        rule = "plain"

        def visit(self, visited, output):
            return output + nd.array(shift, dtype="float64") if visited is block else output

    with blocks.recorded_by(Shift()):
        return net(x).asnumpy()


@pytest.mark.parametrize("name", NAMES)
def test_twice_and_in_any_order_gives_the_same_numbers(narrow_nets, name):
    net, x = narrow_nets[name], random_images(1)
    recording = cam.record(net, x, LAYERS[name])

    def ask(class_id):
        return [
            *(recording.gradient(layer, class_id) for layer in LAYERS[name]),
            recording.image_gradient(class_id),
            recording.image_gradient(class_id, "guided"),
            recording.image_gradient(class_id, "deconvnet"),
        ]

    first = {class_id: ask(class_id) for class_id in (0, 1, 2)}
    again = {class_id: ask(class_id)[::-1] for class_id in (2, 0, 1)}
    for class_id, answers in first.items():
        assert all(np.array_equal(one, two) for one, two in zip(answers, again[class_id][::-1]))
    assert relative_l2(first[0][-2], first[1][-2]) > 0.01


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_is_its_images_one_by_one(narrow_nets, name):
    net, x = narrow_nets[name], random_images(3)
    together = cam.record(net, x)
    for index in range(3):
        alone = cam.record(net, x[index : index + 1])
        assert relative_l2(together.logits[index], alone.logits[0]) < 1e-5
        assert relative_l2(together.gradient(class_id=[4, 5, 6])[index], alone.gradient(class_id=4 + index)[0]) < 1e-4
        for rule in blocks.RULES:
            batch, single = together.image_gradient([4, 5, 6], rule), alone.image_gradient(4 + index, rule)
            assert relative_l2(batch[index], single[0]) < 5e-3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("hybrid", [False, True])
def test_recording_from_the_first_tap_gives_the_same_numbers(narrow_nets, name, hybrid):
    net, x = cam.convert(narrow_nets[name]), random_images(2)
    whole = cam.record(net, x, LAYERS[name])
    if hybrid:
        net.hybridize()
    part = cam.record(net, x, LAYERS[name], image=False)
    for layer in LAYERS[name]:
        assert relative_l2(part.features(layer), whole.features(layer)) < 1e-5
        assert relative_l2(part.gradient(layer, 1), whole.gradient(layer, 1)) < 1e-4
    with pytest.raises(NetError, match="record with image=True"):
        part.image_gradient(1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("hybrid", [False, True])
def test_the_net_is_untouched(narrow_nets, name, hybrid):
    net, x = cam.convert(narrow_nets[name]), random_images(1)
    if hybrid:
        net.hybridize()
        net(x)
    before, pixels = state(net), x.asnumpy()
    recording = cam.record(net, x, LAYERS[name])
    recording.gradient(LAYERS[name][0], 0), recording.image_gradient(0, "guided")
    cam.grad_cam(net, x)
    with pytest.raises(LayerError):
        cam.record(net, x, "features.99")
    if name == "vgg16":
        with pytest.raises(NetError):  # in the midst of the pass
            cam.record(net, nd.ones((1, 3, 64, 64)))
    assert state(net) == before
    assert np.array_equal(x.asnumpy(), pixels) and x.grad is None


def test_an_exception_in_the_net_leaves_nothing_behind():
    class Fails(HybridBlock):
        def hybrid_forward(self, F, x):
            raise ValueError("mine")

    net = nn.HybridSequential()
    net.add(blocks.Conv2D(4, 3, in_channels=3), blocks.ReLU(), Fails())
    net.initialize()
    net.hybridize()
    before = state(net)
    with autograd.record(), pytest.raises(ValueError, match="mine"):
        cam.record(net, random_images(1, 8), "1")
    assert state(net) == before
    assert blocks._recorder.get() is None


def test_recording_inside_the_callers_own_record_scope(narrow_resnet):
    x = random_images(1, 64)
    expected = cam.grad_cam(narrow_resnet, x, 0)
    with autograd.record():
        found = cam.grad_cam(narrow_resnet, x, 0)
        assert autograd.is_recording() and autograd.is_training()
    assert np.array_equal(found, expected)


def test_frozen_weights_change_nothing(narrow_resnet):
    x, frozen = random_images(1, 64), cam.convert(narrow_resnet)
    frozen.collect_params().setattr("grad_req", "null")
    assert np.array_equal(cam.guided_grad_cam(frozen, x, 1), cam.guided_grad_cam(narrow_resnet, x, 1))


def test_memory_is_flat(narrow_resnet):
    x = random_images(1, 64)

    def resident():
        gc.collect()
        nd.waitall()
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def call(times):
        for _ in range(times):
            cam.guided_grad_cam(narrow_resnet, x)

    call(30)
    before = resident()
    call(270)
    assert resident() - before < 30  # MiB; one leaked recording is about 10


def test_the_masks_go_with_the_recording(narrow_resnet):
    """MXNet's Functions wait for Python's collector of cycles; what they need for the way back does not."""
    recording = cam.record(narrow_resnet, random_images(1, 64), [])
    recording.image_gradient(0, "guided")
    recorder = weakref.ref(recording._recorder)
    assert len(recorder().masks) == 50
    gc.disable()
    try:
        del recording
        assert recorder() is None
    finally:
        gc.enable()


def test_all_relus_take_part_in_the_guided_pass(narrow_nets):
    for net, relus in ((narrow_nets["resnet50_v2"], 50), (narrow_nets["vgg16"], 15)):
        x, asked = random_images(1), []

        class Counting(blocks.Rectifier):
            def backward(self, dy, asked=asked):
                asked.append(self._chooser.rule)
                return super().backward(dy)

        original, blocks.Rectifier = blocks.Rectifier, Counting
        try:
            cam.guided_backprop(net, x)
        finally:
            blocks.Rectifier = original
        assert asked == ["guided"] * relus


def zoo_resnet():
    net = vision.resnet50_v2(classes=5)
    net.initialize()
    net(nd.zeros((1, 3, 64, 64)))
    return randomise(net)


def test_a_foreign_net_above_which_nothing_is_pooled():
    net, x = zoo_resnet(), random_images(2, 64)
    ours = cam.convert(net)
    before = state(net)
    for layer in ("features.10", "features.8.2", "features.8.2.conv3"):
        assert relative_l2(*(cam.grad_cam(one, x, 1, layer, relu=False) for one in (net, ours))) < 1e-5
    assert relative_l2(cam.grad_cam(net, x, 1, net.features[10]), cam.grad_cam(ours, x, 1)) < 1e-5
    net.hybridize()
    net(x)
    assert relative_l2(cam.grad_cam(net, x, 1), cam.grad_cam(ours, x, 1)) < 1e-5
    net.hybridize(False)
    assert state(net) == before


def test_a_foreign_net_is_refused_where_it_would_be_wrong():
    net, x = zoo_resnet(), random_images(1, 64)
    with pytest.raises(NetError, match="gradient of max pooling is wrong"):
        cam.grad_cam(net, x, 1, "features.1")
    with pytest.raises(NetError, match="gradient of max pooling is wrong"):
        cam.saliency(net, x, 1)
    with pytest.raises(LayerError, match="record it alone"):
        cam.grad_cam(net, x, 1, ["features.8", "features.9"])
    mobile = vision.mobilenet0_25(classes=5)
    mobile.initialize()
    mobile(nd.zeros((1, 3, 64, 64)))
    with pytest.raises(NetError, match="0 of 27 ReLUs are blocks that know the guided rule"):
        cam.guided_backprop(mobile, x)
    plain = cam.image_gradient(mobile, x)
    assert plain.any()
    with pytest.raises(NetError, match="0 of 27 ReLUs .* cam.convert does not know this net"):
        cam.guided_backprop(mobile, x, partial=True)  # it would be the plain gradient under another name
    with pytest.raises(LayerError, match=r"no layer 'features.8.2.add'.*cam.convert\(net\) gives additions"):
        cam.grad_cam(net, x, 1, "features.8.2.add")
    with pytest.raises(NetError, match=r"cuts the path.*record the image with layers=\[\]"):
        cam.record(mobile, x, "features.3").image_gradient()


@pytest.mark.parametrize(
    "rectify",
    [
        lambda F, x: F.clip(x, 0, 6),
        lambda F, x: F.LeakyReLU(x),
        lambda F, x: F.LeakyReLU(x, act_type="elu"),
        lambda F, x: F.maximum(x, 0),
        lambda F, x: F.relu(x),
        lambda F, x: F.Activation(x, act_type="relu"),
        lambda F, x: x * (x > 0),
    ],
)
def test_a_rule_that_reaches_no_relu_is_refused(rectify):
    """By whatever name the net calls its rectifier; the plain gradient and the maps remain."""
    net = nn.HybridSequential()
    net.add(nn.Conv2D(4, 3, in_channels=3), nn.HybridLambda(rectify), nn.GlobalAvgPool2D(), nn.Dense(2))
    net.initialize()
    x = random_images(1, 12)
    for rule in ("guided", "deconvnet"):
        for partial in (False, True):
            with pytest.raises(NetError, match="ReLUs are blocks that know .*: take the plain rule, saliency or grad_"):
                cam.image_gradient(net, x, 0, rule, partial)
    assert cam.saliency(net, x, 0).any() and cam.grad_cam(net, x, 0, "1", relu=False).any()


def test_relu6_and_leaky_relus_beside_blocks_are_counted():
    net = nn.HybridSequential()
    net.add(blocks.Conv2D(4, 3, in_channels=3), blocks.ReLU(), nn.LeakyReLU(0.1), nn.HybridLambda("relu"))
    net.add(nn.HybridLambda(lambda F, x: F.clip(x, 0, 6)), nn.HybridLambda(lambda F, x: F.clip(x, -1, 6)))
    net.add(nn.HybridLambda(lambda F, x: F.sigmoid(F.maximum(x, 0) + F.maximum(x, 1))), nn.GlobalAvgPool2D())
    net.add(nn.Flatten())
    net.initialize()
    with pytest.raises(NetError, match="1 of 5 ReLUs are blocks"):
        cam.guided_backprop(net, random_images(1, 12), 0)


def test_partial_reaches_what_it_can():
    """Some ReLUs are blocks, some are not: refused, unless partial."""

    class Mixed(HybridBlock):
        def __init__(self):
            super().__init__()
            with self.name_scope():
                self.first, self.second = (blocks.Conv2D(4, 3, in_channels=channels) for channels in (3, 4))
                self.relu, self.dense = blocks.ReLU(), nn.Dense(2)

        def hybrid_forward(self, F, x):
            return self.dense(F.relu(self.second(self.relu(self.first(x)))))

    net, x = Mixed(), random_images(1, 12)
    net.initialize()
    with pytest.raises(NetError, match="1 of 2 ReLUs are blocks"):
        cam.guided_backprop(net, x, 0)
    partly = cam.guided_backprop(net, x, 0, partial=True)
    assert relative_l2(partly, cam.image_gradient(net, x, 0)) > 0.01


def test_functional_operations_are_seen():
    class Hidden(HybridBlock):
        def __init__(self):
            super().__init__()
            with self.name_scope():
                self.conv = blocks.Conv2D(4, 3, in_channels=3)
                self.dense = nn.Dense(2)

        def hybrid_forward(self, F, x):
            return self.dense(F.Pooling(F.relu(self.conv(x)), kernel=(2, 2), stride=(2, 2), pool_type="max"))

    net = Hidden()
    net.initialize()
    with pytest.raises(NetError, match="gradient of max pooling is wrong"):
        cam.grad_cam(net, random_images(1, 8), 0, "conv")


class TwoNames(HybridBlock):
    """A net that calls its last feature map by a second name, and may pool with a function."""

    def __init__(self, kinds, pool=False):
        super().__init__()
        self.pool = pool
        with self.name_scope():
            self.features, self.output = nn.HybridSequential(), nn.Dense(3)
            with self.features.name_scope():
                self.features.add(kinds.Conv2D(4, 3, in_channels=3), kinds.MaxPool2D(2), kinds.GlobalAvgPool2D())
        self.first, self.last = self.features[0], self.features[1]

    def hybrid_forward(self, F, x):
        x = F.Pooling(x, kernel=(2, 2), stride=(2, 2), pool_type="max") if self.pool else x
        return self.output(self.features(x))


@pytest.mark.parametrize("kinds", [nn, blocks])
def test_a_block_with_two_names(kinds):
    net, x = TwoNames(kinds), random_images(1, 12)
    net.initialize()
    for layer in ("last", "features.1", net.last, ["last", "features.1"]):
        recording = cam.record(net, x, layer, image=False)
        assert recording.layers == ["features.1"]
        assert np.array_equal(recording.gradient("last", 0), recording.gradient("features.1", 0))
    assert {"last", "features.1"} <= set(row.name for row in cam.layers(net, x) if row.shape == (1, 4, 5, 5))


class OutOfOrder(HybridBlock):
    """A person's own net: its blocks are declared in another order than they run, and one pooling may run twice."""

    def __init__(self, twice=False, softmax=False):
        super().__init__()
        self.twice, self.softmax = twice, softmax
        with self.name_scope():
            self.conv1, self.conv2, self.conv3 = (nn.Conv2D(4, 3, activation="relu") for _ in range(3))
            self.pool, self.gap, self.output = nn.AvgPool2D(2), nn.GlobalAvgPool2D(), nn.Dense(3)

    def hybrid_forward(self, F, x):
        x = self.conv2(self.pool(self.conv1(x)))
        x = self.conv3(self.pool(x) if self.twice else x)
        logits = self.output(x if self.twice else self.gap(x))
        return F.softmax(logits) if self.softmax else logits


@pytest.mark.parametrize("twice", [False, True])
def test_the_default_layer_of_a_net_that_does_not_tell_its_order(twice):
    net, x = OutOfOrder(twice), random_images(2, 24)
    net.initialize()
    net(x)
    with pytest.raises(LayerError, match="say which you mean"):
        cam.default_layer(net)
    assert cam.record(net, x, image=False).layers == ["conv3"]
    assert [row.name for row in cam.layers(net, x) if row.advice == "recommended"] == ["conv3"]


def test_a_convolution_above_the_last_pooling_is_the_default_layer():
    net, x = nn.HybridSequential(), random_images(1, 16)
    net.add(nn.Conv2D(4, 3), nn.AvgPool2D(2), nn.Conv2D(4, 3), nn.Dense(3))
    net.initialize()
    net(x)
    assert cam.record(net, x, image=False).layers == ["2"]


def test_probabilities_are_no_logits():
    net, x = OutOfOrder(softmax=True), random_images(1, 24)
    net.initialize()
    net(x)
    with pytest.raises(NetError, match="give the net without its softmax"):
        cam.grad_cam(net, x, 0, "conv3")


ZOO = ["alexnet", "densenet121", "inception_v3", "mobilenet_v2_0_25", "resnet18_v1", "squeezenet1_0", "vgg11"]


@pytest.mark.parametrize("name", ZOO)
def test_the_default_layer_of_the_zoo_is_the_last_feature_map_of_a_run(name):
    net = getattr(vision, name)(classes=3)
    net.initialize()
    size = 299 if name == "inception_v3" else 224
    shapes = {row.name: row.shape for row in cam.layers(net, nd.zeros((1, 3, size, size))) if row.shape}
    assert cam.default_layer(net) == last_feature_map(net, shapes)


def test_a_second_name_hides_no_pooling():
    net = TwoNames(nn, pool=True)
    net.initialize()
    with pytest.raises(NetError, match="gradient of max pooling is wrong"):
        cam.record(net, random_images(1, 12), "last", image=False)


def test_a_layer_that_returns_a_tuple():
    net = nn.HybridSequential()
    net.add(nn.HybridLambda(lambda F, x: (x, x)), nn.HybridLambda(lambda F, both: (both[0] + both[1]).sum(axis=(2, 3))))
    with pytest.raises(LayerError, match="layer 0 returned a tuple; a map needs a layer with one array"):
        cam.record(net, random_images(1, 8), "0")


def test_the_users_hooks_hear_arrays_only():
    """A net is also traced with symbols, which are none of a hook's business."""
    net, heard = nn.HybridSequential(), []
    net.add(nn.Conv2D(4, 3, in_channels=3), nn.Activation("relu"), nn.GlobalAvgPool2D(), nn.Dense(2))
    net.initialize()
    net(random_images(1, 12))
    net[1].register_forward_hook(lambda block, inputs, output: heard.append(output.asnumpy()))
    before = state(net)["flags"]
    recording = cam.record(net, random_images(1, 12), [])
    with pytest.raises(NetError, match="0 of 1 ReLUs .*use cam.convert"):
        recording.image_gradient(0, "guided")
    assert len(heard) == 1
    assert state(net)["flags"] == before


def test_a_net_that_cannot_be_traced():
    class Eager(nn.Sequential):
        def forward(self, x):
            return super().forward(nd.abs(x))

    net = Eager()
    net.add(nn.Conv2D(4, 3, in_channels=3), nn.GlobalAvgPool2D(), nn.Dense(2))
    net.initialize()
    with pytest.raises(NetError, match=r"cannot trace this net \(.*make each of its blocks a HybridBlock") as caught:
        cam.grad_cam(net, random_images(1, 12), 0, "0")
    assert "\n" not in str(caught.value)


def test_wrong_nets_are_refused(narrow_vgg):
    x = random_images(1, 64)
    with pytest.raises(NetError, match="net is str; expected a Gluon block"):
        cam.record("resnet", x)
    with pytest.raises(NetError, match="have no values; load weights or initialize"):
        cam.record(vision.resnet18_v2(), x)
    with pytest.raises(
        NetError, match=r"cannot run on x of shape \(1, 3, 64, 64\); a VGG takes images of 224x224 only"
    ):
        cam.record(narrow_vgg, x)
    broken = cam.convert(narrow_vgg)
    broken.output.bias.set_data(nd.full((7,), np.nan))
    with pytest.raises(NonFiniteError, match="NaN or infinity in parameter"):
        cam.record(broken, random_images(1))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("features.8.2.conv4", "no layer 'features.8.2.conv4'; did you mean .*features.8.2.conv3"),
        ("output", "no height and width"),
        ("features.12", "no height and width"),
        (3, "layer is 3; expected a block, its path or its name"),
        (blocks.ReLU(), "is not a block of this net"),
    ],
)
def test_wrong_layers_are_refused(narrow_resnet, layer, message):
    with pytest.raises(LayerError, match=message):
        cam.record(narrow_resnet, random_images(1, 64), layer)


def test_a_layer_by_block_path_and_name(narrow_resnet):
    x, block = random_images(1, 64), narrow_resnet.features[8][2].conv3
    maps = [cam.grad_cam(narrow_resnet, x, 0, layer) for layer in (block, "features.8.2.conv3", block.name)]
    assert np.array_equal(maps[0], maps[1]) and np.array_equal(maps[0], maps[2])


def test_asking_for_what_was_not_recorded(narrow_resnet):
    recording = cam.record(narrow_resnet, random_images(1, 64), ["features.9", "features.10"])
    with pytest.raises(LayerError, match="2 layers were recorded; say which one"):
        recording.gradient()
    with pytest.raises(LayerError, match=r"features.8 was not recorded; recorded: features.9, features.10"):
        recording.features("features.8")
    with pytest.raises(InputError, match="rule is 'guide'"):
        recording.image_gradient(0, "guide")


def test_a_layer_that_runs_twice_or_not_at_all_or_in_vain():
    class Twice(HybridBlock):
        def __init__(self):
            super().__init__()
            self.relu, self.unused, self.idle = blocks.ReLU(), blocks.ReLU(), blocks.ReLU()
            self.dense = nn.Dense(2, in_units=27)

        def hybrid_forward(self, F, x):
            self.idle(x)
            return self.dense(self.relu(self.relu(x)))

    net = Twice()
    net.initialize()
    x = random_images(1, 3)
    with pytest.raises(LayerError, match="relu runs more than once .* take another layer"):
        cam.record(net, x, "relu")
    with pytest.raises(LayerError, match="unused did not run"):
        cam.record(net, x, "unused")
    with pytest.raises(LayerError, match="does not influence"):
        cam.record(net, x, "idle").gradient(class_id=0)


@pytest.mark.parametrize(
    ("class_id", "message"),
    [
        (7, "class_id is 7; this net has the classes 0 to 6"),
        (-1, "class_id is -1"),
        (1.0, "class_id is float 1.0; expected None, an int"),
        (True, "class_id is bool True"),
        ("cat", "this net has no labels"),
        ([1, 2], "class_id has 2 entries for 1 images"),
        ([None], "class_id is NoneType None"),
        (np.array(3), "class_id is ndarray 3"),
        (nd.array([3]), "class_id is NDArray"),
    ],
)
def test_wrong_classes_are_refused(narrow_resnet, class_id, message):
    with pytest.raises(ClassError, match=message):
        cam.grad_cam(narrow_resnet, random_images(1, 64), class_id)


def test_classes_by_label_and_numpy_number(narrow_resnet):
    net = cam.convert(narrow_resnet)
    net.labels = ["ant", "bee", "cow", "dog", "eel", "fox", "gnu"]
    recording = cam.record(net, random_images(2, 64))
    assert recording.class_ids("cow") == (2, 2)
    assert recording.class_ids(["cow", np.int64(3)]) == (2, 3)
    assert recording.class_ids() == tuple(recording.logits.argmax(axis=1))
    with pytest.raises(ClassError, match="no class is called 'cat'; did you mean ant"):
        recording.class_ids("cat")
