"""A net is the same after it was explained, whatever happened; and what is changed in it afterwards is noticed."""

import gc
import weakref
from collections import OrderedDict, deque
from types import SimpleNamespace

import cam
from cam.core import forward_backward
from cam.core.tracing import trace

import mxnet as mx
import numpy as np
import pytest
from conftest import random_images, randomise
from helpers.nets import Net, conv, ending, ready, relu, sequence, small_net
from mxnet import autograd, gluon, nd
from mxnet.gluon import nn
from mxnet.gluon.model_zoo import vision


def state(net):
    """All of a net that could change: values, gradients, and every attribute of every block, by identity."""
    parameters = net.collect_params().items()
    return {
        "values": {key: one.data().asnumpy().tobytes() for key, one in parameters},
        "gradients": {key: one.grad().asnumpy().tobytes() for key, one in parameters if one.grad_req != "null"},
        "requests": {key: one.grad_req for key, one in parameters},
        "blocks": [{key: id(value) for key, value in vars(block).items()} for block in blocks(net)],
        "hooks": [(dict(block._forward_hooks), dict(block._forward_pre_hooks)) for block in blocks(net)],
        "scope": (autograd.is_recording(), autograd.is_training()),
    }


def blocks(net):
    return [net, *cam.paths(net).values()]


def nested():
    inner = Net(lambda F, net, x: x + net.conv(F.relu(x)), conv=conv())
    return sequence(conv(), nn.BatchNorm(), relu(), sequence(inner, nn.MaxPool2D(), nn.Dropout(0.5)), *ending())


def hybridized():
    net = nested()
    net.hybridize()
    return net


def with_hooks():
    net = nested()
    net[3].register_forward_hook(lambda block, inputs, output: None)
    net[3][0].register_forward_pre_hook(lambda block, inputs: None)
    return net


def with_a_forward_of_its_own():
    net = nested()
    original = net[3].forward
    net[3].forward = lambda x: original(x) * 2
    return net


def imported(tmp_path):
    net, _ = ready(nested(), (2, 3, 8, 8))
    net.hybridize()
    net(random_images(2, 8))
    net.export(str(tmp_path / "net"))
    files = str(tmp_path / "net-symbol.json"), ["data"], str(tmp_path / "net-0000.params")
    return gluon.SymbolBlock.imports(*files)


BUILDS = {
    "nested": nested,
    "hybridized": hybridized,
    "with hooks": with_hooks,
    "with a forward of its own": with_a_forward_of_its_own,
    "cam.blocks": lambda: sequence(cam.blocks.Conv2D(4, 3), cam.blocks.ReLU("guided"), *ending()),
}


def explain_in_every_way(net, x):
    cam.layers(net, x), cam.default_layer(net, x), cam.relus(net)
    recording = cam.record(net, x, ["0", "2"])
    recording.gradient("0", target=1), recording.image_gradient(target=1, rule="guided")
    cam.grad_cam(net, x), cam.hires_cam(net, x), cam.class_activation_map(net, x), cam.saliency(net, x)
    cam.guided_grad_cam(net, x, where=cam.relus(net)[:1]), cam.image_gradient(net, x, rule="deconvnet")
    if "3.0" in cam.paths(net):
        cam.decompose(net, x, "3.0")
    for wrong in ({"layer": "99"}, {"target": 99}, {"target": lambda z: z}, {"output": 3}):
        with pytest.raises(cam.CamError):
            cam.grad_cam(net, x, **wrong)
    for other in (nd.ones((1, 4, 8, 8)), x * np.nan, x.astype("float64")):
        with pytest.raises(cam.CamError):
            cam.grad_cam(net, other)


@pytest.mark.filterwarnings("ignore::cam.CamWarning")
@pytest.mark.parametrize("name", BUILDS)
def test_nothing_is_changed(name):
    net, (x,) = ready(BUILDS[name](), (2, 3, 8, 8))
    before, pixels, predicted = state(net), x.asnumpy(), net(x).asnumpy()
    explain_in_every_way(net, x)
    assert state(net) == before
    assert np.array_equal(x.asnumpy(), pixels) and x.grad is None
    assert np.array_equal(net(x).asnumpy(), predicted)


def test_an_imported_net_is_not_changed(tmp_path):
    net, x = imported(tmp_path), random_images(2, 8)
    net(x)
    before = state(net)
    cam.grad_cam(net, x), cam.layers(net, x), cam.guided_backprop(net, x)
    assert state(net) == before


def test_a_net_that_never_ran_is_left_as_by_one_prediction():
    explained, ran = small_net(), small_net()
    for net in (explained, ran):
        net.initialize(mx.init.One())
    cam.grad_cam(explained, random_images(1, 8))
    ran(random_images(1, 8))
    for one, two in zip(explained.collect_params().values(), ran.collect_params().values()):
        assert np.array_equal(one.data().asnumpy(), two.data().asnumpy())
    assert [sorted(vars(block)) for block in blocks(explained)] == [sorted(vars(block)) for block in blocks(ran)]


def test_frozen_gammas_are_not_set_to_one():
    """MXNet's own BatchNorm does that in prediction, where its scale is fixed."""
    net, (x,) = ready(sequence(nn.BatchNorm(scale=False), conv(), relu(), *ending()), (1, 3, 8, 8))
    net.hybridize()
    cam.grad_cam(net, x)
    net[0].gamma.set_data(nd.full((3,), 7))
    cam.saliency(net, x)
    assert net[0].gamma.data().asnumpy().tolist() == [7, 7, 7]


# ------------------------------------------------------------------------------------------------ what is interrupted


class Mishap(gluon.HybridBlock):
    """Raises when it is called with arrays or with symbols, once it is told to."""

    def __init__(self):
        super().__init__()
        self.when = {"arrays": None, "symbols": None}

    def hybrid_forward(self, F, x):
        error = self.when["arrays" if F is nd else "symbols"]
        if error is not None:
            raise error
        return x * 1


@pytest.mark.parametrize("when", ["arrays", "symbols"])
@pytest.mark.parametrize("error", [KeyboardInterrupt("Ctrl-C"), SystemExit("exit"), ValueError("mine")], ids=repr)
def test_after_an_exception_in_a_block(when, error):
    mishap = Mishap()
    net, (x,) = ready(sequence(conv(), relu(), sequence(mishap), *ending()), (1, 3, 8, 8))
    before = state(net)
    mishap.when[when] = error  # no setting that a trace goes by: the dictionary stays the same one
    raised = cam.NetError if isinstance(error, ValueError) and when == "symbols" else type(error)
    with autograd.record(), pytest.raises(raised):
        cam.grad_cam(net, x)
    mishap.when[when] = None
    assert state(net) == before
    expected = net(x).asnumpy()
    assert np.allclose(cam.record(net, x).logits, expected, rtol=1e-5)
    assert state(net) == before


@pytest.mark.parametrize("way", ["call", "elemwise_add"])
def test_after_an_interrupt_in_the_middle_of_the_walk(monkeypatch, way):
    """At every operator in turn, until the walk is through."""
    net, (x,) = ready(nested(), (1, 3, 8, 8))
    expected, before = cam.guided_grad_cam(net, x, target=1), state(net)
    place, name = (forward_backward, "call") if way == "call" else (nd, "elemwise_add")
    original, interrupted = getattr(place, name), 0
    for number in range(100):
        left = [number]

        def interrupting(*arguments, left=left, **options):
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return original(*arguments, **options)

        with monkeypatch.context() as patched, autograd.record():
            patched.setattr(place, name, interrupting)
            try:
                cam.guided_grad_cam(net, x, target=1)
                break
            except KeyboardInterrupt:
                interrupted += 1
            assert autograd.is_recording() and autograd.is_training()
        assert state(net) == before
    assert interrupted >= (8 if way == "call" else 1)
    assert np.array_equal(cam.guided_grad_cam(net, x, target=1), expected)


def test_the_users_hooks_hear_predictions_only():
    net, heard = nested(), []
    net[3].register_forward_hook(lambda block, inputs, output: heard.append(output.asnumpy()))
    net, (x,) = ready(net, (1, 3, 8, 8))
    heard.clear()
    cam.grad_cam(net, x)
    assert not heard
    net(x)
    assert len(heard) == 1


# --------------------------------------------------------------------------------------------------- the caller's tape


def test_inside_the_callers_own_record_scope():
    net, (x,) = ready(nested(), (1, 3, 8, 8))
    expected = cam.guided_grad_cam(net, x, target=0)
    x.attach_grad()
    with autograd.record():
        loss = net(x).sum()
        found = cam.guided_grad_cam(net, x, target=0)
        assert autograd.is_recording() and autograd.is_training()
    loss.backward()
    assert np.array_equal(found, expected)
    assert x.grad.asnumpy().any()


def test_frozen_weights_change_nothing():
    net, (x,) = ready(nested(), (1, 3, 8, 8))
    expected = cam.guided_grad_cam(net, x, target=0)
    net.collect_params().setattr("grad_req", "null")
    assert np.array_equal(cam.guided_grad_cam(net, x, target=0), expected)


@pytest.mark.parametrize("hybrid", [False, True])
def test_training_goes_on_as_if_nothing_had_been_asked(hybrid):
    """The same weights to the bit, whether a net was explained between its steps or not."""
    trained = []
    for explained in (False, True):
        mx.random.seed(3)
        net, (x,) = ready(sequence(conv(), nn.BatchNorm(), relu(), nn.MaxPool2D(), *ending()), (4, 3, 8, 8))
        if hybrid:
            net.hybridize()
        trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.1, "momentum": 0.9})
        for _ in range(3):
            if explained:
                cam.grad_cam(net, x), cam.guided_backprop(net, x)
            with autograd.record():
                loss = gluon.loss.SoftmaxCrossEntropyLoss()(net(x), nd.array([0, 1, 2, 0]))
                if explained:
                    cam.saliency(net, x)
            loss.backward()
            trainer.step(4)
        trained.append([one.data().asnumpy() for one in net.collect_params().values()])
    assert all(np.array_equal(one, two) for one, two in zip(*trained))


# ------------------------------------------------------------------------------------------- what is changed afterwards


class Scaled(gluon.HybridBlock):
    """A net with settings of several kinds."""

    def __init__(self):
        super().__init__()
        self.factor, self.factors, self.by_name, self.function = 2, [1, 2], {"a": 3}, lambda F, x: F.tanh(x)
        self.options, self.ordered, self.some = SimpleNamespace(factor=1), OrderedDict(a=1), deque([1])
        self.body, self.out = sequence(sequence(conv(in_channels=3), relu()), conv()), sequence(*ending())

    def hybrid_forward(self, F, x):
        x = self.function(F, self.body(x)) * self.factor * self.factors[1] * self.by_name["a"] * self.options.factor
        return self.out(x * self.ordered["a"] * self.some[0])


def swapped(block, one, two):
    children = list(block._children.items())
    values = dict(children)
    values[one], values[two] = values[two], values[one]
    for key, _ in children:
        block._children[key] = values[key]


def initialised(block):
    block.initialize(mx.init.One())
    return block


def another_conv():
    return randomise(initialised(conv(in_channels=4)), seed=5)


def set_child(block, key, child):
    block._children[key] = child


CHANGES = {
    "a number": lambda net: setattr(net, "factor", 5),
    "an entry of a list": lambda net: net.factors.__setitem__(1, 7),
    "an entry of a dictionary": lambda net: net.by_name.__setitem__("a", 7),
    "an entry of a kind of dictionary": lambda net: net.ordered.update(a=7),  # as configurations are
    "an entry of a kind of list": lambda net: net.some.__setitem__(0, 7),
    "an attribute of an object": lambda net: setattr(net.options, "factor", 7),
    "a function": lambda net: setattr(net, "function", lambda F, x: F.sigmoid(x)),
    "the settings of a grandchild": lambda net: net.body[0][0]._kwargs.update(stride=(2, 2)),
    "a child": lambda net: setattr(net, "out", initialised(sequence(relu(), *ending()))),
    "a grandchild": lambda net: set_child(net.body, "1", another_conv()),
    "swapped grandchildren": lambda net: swapped(net.body[0], "0", "1"),
    "one more grandchild": lambda net: net.body.add(relu()),
    "one less": lambda net: net.body._children.popitem(),
    "a parameter": lambda net: net.body[1]._reg_params.update(weight=another_conv().weight),
    "the values of a parameter": lambda net: net.body[1].weight.set_data(net.body[1].weight.data() * 2),
    "all parameters": lambda net: randomise(net, seed=9),
    "a forward": lambda net: setattr(net.body, "forward", lambda x: net.body[1](net.body[0](x)) * 2),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_noticed(name):
    net, (x,) = ready(Scaled(), (2, 3, 8, 8))
    before = cam.record(net, x).logits
    CHANGES[name](net)
    after = net(x).asnumpy()
    assert not np.allclose(before, after, rtol=1e-3)
    assert np.allclose(cam.record(net, x).logits, after, rtol=1e-5, atol=1e-6)


def test_another_type_of_number_is_noticed():
    net, (x,) = ready(small_net(), (1, 3, 8, 8))
    single = cam.grad_cam(net, x, target=0)
    net.cast("float64")
    double = cam.grad_cam(net, x.astype("float64"), target=0)
    assert double.dtype == np.float64 and np.allclose(single, double, atol=1e-5)


def test_what_changes_nothing_keeps_the_trace():
    net, (x,) = ready(nested(), (1, 3, 8, 8))
    graph = trace(net)
    for change in (
        lambda: net(x),
        lambda: net.hybridize(),
        lambda: net(x),
        lambda: net.hybridize(False),
        lambda: net[0].register_forward_hook(lambda *_: None),
        lambda: randomise(net, seed=4),
        lambda: setattr(net, "labels", ["a", "b", "c"]),
        lambda: net.collect_params().setattr("grad_req", "null"),
    ):
        change()
        assert trace(net) is graph


def test_a_recurrent_cell_keeps_the_trace():
    """It counts its runs, and a trace from call to call would be slow and leak."""

    def rows(F, net, x):
        return net.out(net.cell.unroll(8, F.mean(net.conv(x), axis=1), merge_outputs=True)[0])

    net, (x,) = ready(Net(rows, conv=conv(), cell=gluon.rnn.LSTMCell(4), out=nn.Dense(3)), (1, 3, 8, 8))
    graph = trace(net)
    cam.grad_cam(net, x, layer="conv"), net(x)
    assert trace(net) is graph


def test_a_graph_keeps_no_more_from_call_to_call():
    net, (x,) = ready(nested(), (1, 3, 8, 8))

    def kept():
        cam.guided_grad_cam(net, x), cam.grad_cam(net, x, layer=["0", "2"]), cam.decompose(net, x, "3.0")
        return set(trace(net).answers)

    assert kept() == kept()


def test_a_net_goes_when_nobody_holds_it():
    net, (x,) = ready(nested(), (1, 3, 8, 8))
    cam.grad_cam(net, x), cam.saliency(net, x)
    gone, graph = weakref.ref(net), weakref.ref(trace(net))
    del net
    gc.collect()
    assert gone() is None and graph() is None


def test_two_nets_of_one_name():
    """Gluon counts prefixes in each scope anew, so that equal names are no rare thing."""
    nets = [
        ready(vision.SqueezeNet("1.1", classes=3, prefix="same_"), (1, 3, 224, 224), seed=seed)[0] for seed in (1, 2)
    ]
    x = random_images(1)
    for net in (*nets, *nets):
        assert np.allclose(cam.record(net, x).logits, net(x).asnumpy(), rtol=1e-3, atol=1e-5)
