"""What can be asked of one recorded pass."""

import gc
import os
import warnings

import cam
from cam import InputError, LayerError, NetError, NetWarning
from cam.core import rules
from cam.core.forward_backward import Pass
from cam.core.tracing import trace

import numpy as np
import pytest
from conftest import random_images, randomise, relative_l2
from helpers.compare import by_tape
from helpers.nets import Net, conv, ending, function, ready, relu, sequence, small_net
from mxnet import nd
from mxnet.gluon import nn

X = np.array([[[[1, -2], [3, 0]]]], np.float32)


def by_hand():
    """y = ReLU(ReLU(x) (1, -1)) of two channels, then Dense: logit_0 is (4, -1) times the means of the channels."""
    net, _ = ready(sequence(relu(), conv(2, 1), relu(), nn.GlobalAvgPool2D(), nn.Dense(2)), (1, 1, 2, 2))
    net[1].weight.set_data(nd.array([1, -1]).reshape((2, 1, 1, 1)))
    net[1].bias.set_data(nd.array([-2, 2]))
    net[4].weight.set_data(nd.array([[4, -8], [-4, 8]]))
    net[4].bias.set_data(nd.zeros(2))
    return net


def test_by_hand():
    """ReLU(x) is [[1, 0], [3, 0]]; its channels become ReLU(. - 2) and ReLU(2 - .), with the gradients 1 and -2."""
    recording = cam.record(by_hand(), nd.array(X), ["0", "2"])
    assert recording.layers == ["0", "2"]
    assert recording.features("0").tolist() == [[[[1, 0], [3, 0]]]]
    assert recording.features("2").tolist() == [[[[0, 0], [1, 0]], [[1, 2], [0, 2]]]]
    assert recording.logits.tolist() == [[4 * 1 / 4 - 8 * 5 / 4, -9 * -1]]
    assert recording.gradient("2", target=0).tolist() == [[[[1, 1], [1, 1]], [[-2, -2], [-2, -2]]]]
    # Where the first channel is open 1, where the second is open -2 times -1.
    assert recording.gradient("0", target=0).tolist() == [[[[2, 2], [1, 2]]]]
    assert recording.class_ids() == (1,)


@pytest.mark.parametrize(
    ("rule", "where", "expected"),
    [
        ("plain", None, [[2, 0], [1, 0]]),
        # The second ReLU stops -2, and lets 1 through where it is open: at x = 3.
        ("guided", None, [[0, 0], [1, 0]]),
        ("guided", ["2"], [[0, 0], [1, 0]]),
        ("guided", "0", [[2, 0], [1, 0]]),
        ("guided", [], [[2, 0], [1, 0]]),
        # Of the channels 1 and 0 come back at every position, whatever was open.
        ("deconvnet", None, [[1, 1], [1, 1]]),
        ("deconvnet", ["2"], [[1, 0], [1, 0]]),
        ("deconvnet", ["0"], [[2, 2], [1, 2]]),
    ],
)
def test_image_gradient_by_hand(rule, where, expected):
    recording = cam.record(by_hand(), nd.array(X), [])
    assert recording.image_gradient(target=0, rule=rule, where=where).tolist() == [[expected]]


def test_in_any_order_and_as_often_as_asked():
    net, (x,) = ready(sequence(conv(), relu(), nn.MaxPool2D(), conv(), relu(), nn.Dense(3)), (2, 3, 8, 8))
    recording = cam.record(net, x, ["1", "4"])

    def ask(target):
        layers = [recording.gradient(layer, target=target) for layer in ("1", "4")]
        return layers + [recording.image_gradient(target=target, rule=rule) for rule in rules.RULES]

    first = [ask(target) for target in range(3)]
    again = [ask(target) for target in (2, 0, 1)]
    for target, answers in enumerate(first):
        alone = cam.record(net, x, "1").gradient(target=target)
        for one, two in zip(answers, again[(target + 1) % 3]):
            assert np.array_equal(one, two)
        assert np.array_equal(answers[0], alone)
    for target in range(3):
        head = nd.one_hot(nd.array([target, target]), 3)
        image, at_layer = by_tape(net, [x], head, net[1])
        assert relative_l2(first[target][2], image) < 1e-5 and relative_l2(first[target][0], at_layer) < 1e-5


def test_a_batch_is_its_images_one_by_one():
    net, (x,) = ready(small_net(), (3, 3, 8, 8))
    together = cam.record(net, x)
    for number in range(3):
        alone = cam.record(net, x[number : number + 1])
        assert relative_l2(together.gradient(target=[0, 1, 2])[number], alone.gradient(target=number)[0]) < 1e-5
        for rule in rules.RULES:
            batch, single = (r.image_gradient(target=t, rule=rule) for r, t in ((together, [0, 1, 2]), (alone, number)))
            assert relative_l2(batch[number], single[0]) < 1e-5


@pytest.mark.parametrize(
    ("classes", "ending_in", "expected"),
    [
        (3, None, lambda z: np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)),
        (3, "softmax", lambda z: np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)),
        (3, "sigmoid", lambda z: 1 / (1 + np.exp(-z))),
        (1, "sigmoid", lambda z: 1 / (1 + np.exp(-z))),
        (1, None, None),
    ],
)
def test_probabilities_and_notes(classes, ending_in, expected):
    last = [function(lambda F, z: getattr(F, ending_in)(z))] if ending_in else []
    net, (x,) = ready(sequence(conv(), relu(), *ending(classes), *last), (2, 3, 8, 8))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        recording = cam.record(net, x)
    said = [f"the net ends in {ending_in}: the logits before it are explained"] if ending_in else []
    assert [str(note) for note in recording.notes] == [str(one.message) for one in caught] == said
    assert all(isinstance(note, NetWarning) for note in recording.notes)
    if expected is None:
        assert recording.probabilities is None
    else:
        assert np.allclose(recording.probabilities, expected(recording.logits), rtol=1e-5)


class TestRelatives:
    def net(self, *activations):
        return ready(sequence(conv(), *activations, *ending()), (1, 3, 8, 8))

    @pytest.mark.parametrize(
        ("others", "named"),
        [
            ([nn.LeakyReLU(0.1)], "LeakyReLU"),
            ([nn.PReLU(), nn.ELU()], "ELU and PReLU"),
            ([nn.Activation("softrelu")], "softplus"),
        ],
    )
    @pytest.mark.parametrize("rule", ["guided", "deconvnet"])
    def test_they_are_named(self, others, named, rule):
        said = f"the {rule} rule is defined for ReLU"
        net, (x,) = self.net(relu(), *others)
        recording = cam.record(net, x)
        with pytest.warns(NetWarning) as caught:
            found = recording.image_gradient(rule=rule)
        hint = "(where=cam.relus(net) says that this is meant)"
        assert [str(one.message) for one in caught] == [f"{said}: the net's {named} keep their derivative {hint}"]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert np.array_equal(recording.image_gradient(rule=rule, where=cam.relus(net)), found)
            recording.image_gradient()
        net, (x,) = self.net(*others)
        with pytest.raises(NetError) as refused:
            cam.record(net, x).image_gradient(rule=rule)
        assert str(refused.value) == f"{said}, and this net has {named} and no ReLU; take rule='plain'"

    def test_no_relu_at_all(self):
        net, (x,) = self.net(nn.Activation("tanh"))
        with pytest.raises(NetError, match="and this net has no ReLU; take rule='plain'$"):
            cam.record(net, x).image_gradient(rule="guided")


NO_IMAGE = "this recording holds no image gradient; record with image_gradient=True"
NO_RULE = "rule is 'guide'; expected one of plain, guided, deconvnet"


@pytest.mark.parametrize(
    ("ask", "error", "sentence"),
    [
        (lambda r: r.gradient(), LayerError, "layer is None, but 2 layers were recorded; say which one"),
        (lambda r: r.features("3"), LayerError, "layer 3 was not recorded; recorded: 0, 1"),
        (lambda r: r.image_gradient(), NetError, NO_IMAGE),
        (lambda r: r.image_gradient(rule="guide"), InputError, NO_RULE),
    ],
)  # fmt: skip
def test_refused(ask, error, sentence):
    net, (x,) = ready(small_net(), (2, 3, 8, 8))
    recording = cam.record(net, x, ["0", "1"], image_gradient=False)
    whole = cam.record(net, x, ["0", "1"])
    assert np.array_equal(recording.gradient("0", target=1), whole.gradient("0", target=1))
    with pytest.raises(error) as caught:
        ask(recording)
    assert str(caught.value) == sentence


def test_where_takes_relus_only():
    net, (x,) = ready(small_net(), (2, 3, 8, 8))
    recording = cam.record(net, x, [])
    with pytest.raises(LayerError, match="^0 is no ReLU, for which alone the guided rule is defined: see cam.relus"):
        recording.image_gradient(rule="guided", where=["0"])
    with pytest.raises(LayerError, match="was not recorded; recorded: none$"):
        recording.features("1")


def test_arrays_are_copies():
    net, (x,) = ready(small_net(), (2, 3, 8, 8))
    recording = cam.record(net, x)
    expected = recording.gradient(target=0), recording.features(), recording.image_gradient(target=0)
    for array in (recording.gradient(target=0), recording.features(), recording.image_gradient(target=0)):
        array[:] = 7
    x[:] = 0
    found = recording.gradient(target=0), recording.features(), recording.image_gradient(target=0)
    assert all(np.array_equal(one, two) for one, two in zip(found, expected))


def five_spellings():
    """A net whose ReLUs are written in all the ways that MXNet has."""

    def forward(F, net, x):
        x = F.maximum(net.b(F.Activation(net.a(x), act_type="relu")), 0)
        x = F.LeakyReLU(net.d(F.relu(net.c(x))), slope=0)
        return net.out(F.clip(net.e(x), 0, 6))

    return Net(forward, a=conv(), b=conv(), c=conv(), d=conv(), e=conv(), out=sequence(*ending()))


def chain(net, x, target, obeys):
    """The image gradient of `five_spellings` by hand: back through conv, ReLU, conv, ReLU, ..."""
    values, kept = x, []
    for block in (net.a, net.b, net.c, net.d, net.e):
        before, values = block(values), nd.relu(block(values))
        kept.append((block.weight.data(), before))
    dy = nd.zeros(values.shape) + (net.out[1].weight.data()[target] / values[0, 0].size).reshape((1, -1, 1, 1))
    for (weight, before), rule in reversed(list(zip(kept, obeys))):
        up = nd.relu(dy) if rule else dy
        dy = nd.Deconvolution(
            up * (before > 0), weight, kernel=(3, 3), pad=(1, 1), num_filter=weight.shape[1], no_bias=True
        )
    return dy.asnumpy()


@pytest.mark.parametrize("obeys", [(1, 1, 1, 1, 1), (0, 0, 0, 0, 0), (1, 0, 0, 0, 0), (0, 1, 0, 1, 1)])
def test_where(obeys):
    """The guided rule at some of the ReLUs, whatever the spelling, and the derivative at all others."""
    net, (x,) = ready(five_spellings(), (2, 3, 8, 8))
    relus = cam.relus(net)
    assert len(relus) == 5
    where = [relu for relu, rule in zip(relus, obeys) if rule]
    found = cam.guided_backprop(net, x, target=1, where=where)
    expected = chain(net, x, 1, obeys)
    assert expected.any() and relative_l2(found, expected) < 1e-5
    if all(obeys):
        assert np.array_equal(cam.guided_backprop(net, x, target=1), found)
    if not any(obeys):
        assert np.array_equal(cam.image_gradient(net, x, target=1), found)


def test_where_takes_blocks_paths_and_names(narrow_resnet):
    """The forum's "2 of 50": the ReLUs that are blocks."""
    net, x = narrow_resnet, random_images(1, 64)
    blocks_alone = [net.features[3], net.features[10]]
    by_block, by_path, by_name = (
        cam.guided_backprop(net, x, target=0, where=where)
        for where in (blocks_alone, ["features.3", "features.10"], [one.name for one in blocks_alone])
    )
    assert np.array_equal(by_block, by_path) and np.array_equal(by_path, by_name)
    assert relative_l2(by_path, cam.guided_backprop(net, x, target=0)) > 0.1
    one = cam.guided_backprop(net, x, target=0, where="features.10")
    assert np.array_equal(one, cam.guided_backprop(net, x, target=0, where=["features.10"]))


def test_relus_of_numbers_that_are_no_image_stay_as_they_are():
    """A ReLU on parameters alone is none that the rules speak of."""

    def forward(F, net, x):
        return net.out(F.broadcast_mul(F.relu(net.conv(x)), F.relu(F.ones((1, 4, 1, 1)))))

    net, _ = ready(Net(forward, conv=conv(), out=sequence(*ending())), (1, 3, 8, 8))
    assert len(cam.relus(net)) == 1


@pytest.mark.parametrize("end", ["softmax", "log_softmax", "sigmoid"])
@pytest.mark.parametrize("scale", [1, 3000])
def test_probabilities_are_taken_off(end, scale):
    """Also where one of them is exactly 0, as of a net that is fed 0 to 255."""
    net, (x,) = ready(small_net(), (1, 3, 8, 8))
    net[-1].weight.set_data(net[-1].weight.data() * scale)
    ending_so = sequence(net, function(lambda F, z: getattr(F, end)(z)))
    expected = cam.grad_cam(net, x, target=1, relu=False)
    with pytest.warns(cam.NetWarning, match=f"the net ends in {end.replace('log_', '')}: the logits before it are exp"):
        assert np.array_equal(cam.grad_cam(ending_so, x, target=1, relu=False), expected)
    with pytest.warns(cam.NetWarning):
        recording = cam.record(ending_so, x)
    assert np.array_equal(recording.logits, net(x).asnumpy())
    assert [type(one) for one in recording.notes] == [cam.NetWarning]


def test_a_nan_that_a_relu_hides():
    """Activation turns NaN into 0: the logits look as if nothing were wrong."""
    net, (x,) = ready(sequence(conv(), relu(), conv(), relu(), *ending()), (1, 3, 8, 8))
    weight = net[0].weight.data()
    weight[0, 0, 0, 0] = np.nan
    assert np.isfinite(net(x).asnumpy()).all()
    with pytest.raises(cam.NonFiniteError, match=f"NaN or infinity in the parameter {net[0].weight.name}"):
        cam.record(net, x)
    weight[0, 0, 0, 0] = 0.1
    assert cam.record(net, x).image_gradient().any()


@pytest.mark.parametrize("kind", ["ReLU", "max pooling", "sigmoid", "clip", "where", "argmax"])
def test_a_nan_on_the_way(kind):
    hides = {
        "ReLU": lambda F, x: F.Activation(x, act_type="relu"),
        "max pooling": lambda F, x: F.Pooling(x, kernel=(2, 2), pool_type="max"),
        "sigmoid": lambda F, x: F.sigmoid(x),
        "clip": lambda F, x: F.clip(x, 0, 6),
        "where": lambda F, x: F.where(x > 0, x, F.zeros_like(x)),
        "argmax": lambda F, x: F.broadcast_add(F.ones_like(x), F.argmax(x, axis=1, keepdims=True)),
    }[kind]
    net, (x,) = ready(sequence(conv(), function(lambda F, x: F.sqrt(x)), function(hides), *ending()), (1, 3, 8, 8))
    with pytest.raises(cam.NonFiniteError, match="NaN or infinity in 1; check weights and image"):
        cam.grad_cam(net, x, target=0, layer="0")


def attention(F, net, x, mask):
    """Every position looks at the others, but for those whose scores the mask takes away."""
    keys, values = (F.reshape(one(x), (0, 0, -1)) for one in (net.keys, net.values))  # (N, K, h w)
    last = F.reshape(F.arange(64), (1, 1, 64)) > 40
    scores = F.broadcast_add(
        F.batch_dot(keys, keys, transpose_a=True), F.where(last, F.full((1, 1, 64), mask), F.zeros((1, 1, 64)))
    )
    return x + F.reshape_like(F.batch_dot(values, F.softmax(scores, axis=2), transpose_b=True), x)


def test_minus_infinity_masks_a_softmax():
    """Its 0 there is right, and so is the derivative; plus infinity gives NaN, as does a row that is all masked."""
    found = {}
    for mask in (-np.inf, -1e9):
        body = Net(lambda F, net, x, mask=mask: attention(F, net, x, mask), keys=conv(2, 1), values=conv(4, 1))
        net, (x,) = ready(sequence(conv(), body, *ending()), (2, 3, 8, 8))
        found[mask] = cam.grad_cam(net, x, target=1, layer="0", relu=False), cam.image_gradient(net, x, target=1)
    for one, other in zip(*found.values()):
        assert one.any() and np.array_equal(one, other)


@pytest.mark.parametrize("infinite", ["1 / x", "log(x)"])
@pytest.mark.parametrize("end", ["softmax", "log_softmax"])
def test_an_infinity_that_goes_into_a_softmax(infinite, end):
    """The -inf that log(0) gives is masked, but its derivative is infinite."""

    def middle(F, x):
        x = F.concat(F.relu(x), F.ones_like(x), dim=1)  # 0 at some positions and channels, never at all channels
        y = getattr(F, end)(1 / x if infinite == "1 / x" else F.log(x), axis=1)
        return F.relu(F.slice_axis(y, axis=1, begin=0, end=4))

    net, (x,) = ready(sequence(conv(), function(middle), *ending()), (1, 3, 8, 8))
    step = "log0" if infinite == "log(x)" else "rdivscalar0"
    masked = infinite == "log(x)" and end == "softmax"
    with pytest.raises(cam.NonFiniteError, match="in the map at 0" if masked else f"NaN or infinity in .*{step};"):
        cam.grad_cam(net, x, target=1, layer="0")
    if masked:
        assert np.isfinite(cam.grad_cam(net, x, target=1, layer="1")).all()


def a_pass(net, x, *layers):
    graph = trace(net)
    return graph, Pass(graph, [x], [graph.entries[layer] for layer in layers], graph.logits(0)[0])


def test_a_pass_keeps_what_it_was_asked_for():
    """Also if it had to run twice, as a mean was infinite and no number was; outputs that nobody uses are not kept."""

    def second(F, net, x):
        return F.split(net.conv(x), 2)[1]

    net, _ = ready(sequence(conv(), relu(), Net(second, conv=conv()), relu(), *ending()), (1, 3, 64, 64))
    for scale in (1, 1e38):
        net[0].weight.set_data(nd.ones((4, 3, 3, 3)) * scale / 27)
        net[2].conv.weight.set_data(nd.ones((4, 4, 3, 3)) / scale)
        graph, walked = a_pass(net, nd.ones((1, 3, 64, 64)), "1", "3")
        assert set(walked.values) == {graph.entries["1"], graph.entries["3"], graph.logits(0)[0]}
    assert not np.isfinite(walked.values[graph.entries["1"]].sum().asscalar())


def test_a_pass_gives_no_gradient_that_it_was_not_asked_for():
    net, (x,) = ready(small_net(), (1, 3, 8, 8))
    graph, walked = a_pass(net, x, "1")
    head = nd.ones_like(walked.values[walked.end])
    assert list(walked.back(head, [graph.entries["1"]])) == [graph.entries["1"]]
    with pytest.raises(LayerError, match="^this pass was not asked for 0; ask for it when the pass is made$"):
        walked.back(head, [graph.entries["1"], graph.entries["0"]])


def resident():
    gc.collect()
    nd.waitall()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="tells the memory by /proc")
def test_memory_is_flat(narrow_resnet):
    x = random_images(1, 64)

    def call(times):
        for _ in range(times):
            cam.guided_grad_cam(narrow_resnet, x)

    call(20)
    before = resident()
    call(100)
    assert resident() - before < 10  # MiB; what a hundred of these recordings hold is 20


def test_a_change_of_parameters_between_recordings():
    net, (x,) = ready(small_net(), (1, 3, 8, 8))
    first = cam.record(net, x)
    before = first.gradient(target=1)
    randomise(net, seed=8)
    second = cam.record(net, x)
    assert np.allclose(second.logits, net(x).asnumpy(), rtol=1e-5)
    assert not np.allclose(first.logits, second.logits, rtol=1e-2)
    assert np.array_equal(first.gradient(target=1), before)  # asked for before the change
