"""What is explained: every way to say it, and the sentence for every wrong one."""

import cam
from cam import ClassError, NetError
from cam.core import targets
from cam.nets.labels import Labels

import numpy as np
import pytest
from conftest import relative_l2
from helpers.nets import conv, ready, relu, sequence, small_net
from mxnet import nd
from mxnet.gluon import nn

LOGITS = nd.array([[1, 3, 2, 0], [5, 4, 6, 7]])  # of two images and four classes
LABELS = ["ant", "Bee", "bee", "great cow"]
ALIASES = {"insect": [0, 1, 2], "cow": [3]}


class Named:
    """What `targets` asks of a net."""

    def __init__(self, labels=None):
        if labels is not None:
            self.labels = labels


PLAIN, LABELLED = Named(), Named(Labels(LABELS, ALIASES))


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (None, (1, 3)),
        (2, (2, 2)),
        (np.int64(2), (2, 2)),
        ([2, 0], (2, 0)),
        ((2, 0), (2, 0)),
        ([np.int32(2), 0], (2, 0)),
        (np.array([2, 0]), (2, 0)),
        (np.array([2, 0], np.uint8), (2, 0)),
        (nd.array([2, 0], dtype="int32"), (2, 0)),
        (nd.array([2, 0]), (2, 0)),  # whole floats, as argmax gives them
        (LOGITS.argmax(axis=1), (1, 3)),
        ("ant", (0, 0)),
        ("ANT", (0, 0)),
        ("Bee", (1, 1)),
        ("cow", (3, 3)),
        ("Cow", (3, 3)),
        (["bee", "great cow"], (2, 3)),
        (("bee", 0), (2, 0)),
        (np.array(["bee", "ant"]), (2, 0)),
    ],
)
def test_classes(target, expected):
    assert targets.class_ids(LABELLED, target, LOGITS.asnumpy()) == expected
    head = targets.head_of(LABELLED, target, LOGITS)
    assert np.array_equal(head.asnumpy(), np.eye(4)[list(expected)]) and head.dtype == np.float32


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda z: z[:, 2], [[0, 0, 1, 0]] * 2),
        (lambda z: z[:, 0] - 2 * z[:, 3], [[1, 0, 0, -2]] * 2),
        (lambda z: (z * z).sum(axis=1), [[2, 6, 4, 0], [10, 8, 12, 14]]),
    ],
)
def test_functions(function, expected):
    assert targets.head_of(PLAIN, function, LOGITS).asnumpy().tolist() == expected


EXPECTED = "expected None, an int or label for all images, a list of one per image, or a function of the logits"
RETURNED = "the target function returned {}; expected an NDArray (2,): one per image"


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        (4, "target is 4; this net has the classes 0 to 3"),
        (-1, "target is -1; this net has the classes 0 to 3"),
        ([1, 4], "target is 4; this net has the classes 0 to 3"),
        (2.0, f"target is float 2.0; {EXPECTED}"),
        (np.float32(1), f"target is float32 1.0; {EXPECTED}"),
        (True, f"target is bool True; {EXPECTED}"),
        ({"a": 1}, f"target is dict {{'a': 1}}; {EXPECTED}"),
        ([None, 1], f"target is NoneType None; {EXPECTED}"),
        ([1, True], f"target is bool True; {EXPECTED}"),
        (np.array([1.0, 2.0]), f"target is float 1.0; {EXPECTED}"),
        (nd.array([1.5, 2]), f"target is float 1.5; {EXPECTED}"),
        (np.array([[1], [2]]), f"target is list [1]; {EXPECTED}"),
        ([], "target has 0 entries for 2 images; give one class per image"),
        ([1, 2, 3], "target has 3 entries for 2 images; give one class per image"),
        (nd.array([1]), "target has 1 entries for 2 images; give one class per image"),
        ("BEE", "'BEE' can mean several classes; say 'Bee' (1) or 'bee' (2)"),
        ("insect", "'insect' can mean several classes; say 'ant' (0) or 'Bee' (1) or 'bee' (2)"),
        ("grat cow", "no class is called 'grat cow'; did you mean great cow?"),
        ("zzz", "no class is called 'zzz'; the labels are in net.labels"),
        (lambda z: z, RETURNED.format("shape (2, 4)")),
        (lambda z: z[:, 0].sum(), RETURNED.format("shape (1,)")),
        (lambda z: z.asnumpy()[:, 0], RETURNED.format("ndarray")),
        (lambda z: None, RETURNED.format("NoneType")),
    ],
)
def test_refused(target, sentence):
    with pytest.raises(ClassError) as caught:
        targets.head_of(LABELLED, target, LOGITS)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("function", [lambda z: nd.array([1, 2]), lambda z: z.detach()[:, 0]])
def test_what_has_no_derivative(function):
    with pytest.raises(ClassError, match="^the target is no differentiable function of the logits: ") as caught:
        targets.head_of(PLAIN, function, LOGITS)
    assert "\n" not in str(caught.value)


def test_a_label_without_labels():
    with pytest.raises(ClassError, match="^target is the label 'ant', but this net has no labels; give a number$"):
        targets.class_ids(PLAIN, "ant", LOGITS.asnumpy())


@pytest.mark.parametrize(
    ("labels", "came"), [(["a", "b"], "2 names"), ("abcd", "str"), (7, "int"), (np.array(["a"]), "1 names")]
)
def test_labels_that_are_not_one_for_each_class(labels, came):
    with pytest.raises(NetError) as caught:
        targets.class_ids(Named(labels), "a", LOGITS.asnumpy())
    assert str(caught.value) == f"net.labels is {came}; this net has 4 classes and needs a list of one name for each"


@pytest.mark.parametrize("labels", [LABELS, tuple(LABELS), np.array(LABELS)])
def test_labels_without_aliases(labels):
    assert targets.class_ids(Named(labels), "Ant", LOGITS.asnumpy()) == (0, 0)
    with pytest.raises(ClassError, match="did you mean great cow"):
        targets.class_ids(Named(labels), "great", LOGITS.asnumpy())


def test_each_way_gives_the_same_map():
    net, (x,) = ready(small_net(), (2, 3, 8, 8))
    net.labels = ["a", "b", "c"]
    ways = [1, "b", [1, "b"], np.array([1, 1]), nd.array([1, 1]), lambda z: z[:, 1]]
    maps = [cam.grad_cam(net, x, target=target, relu=False) for target in ways]
    assert all(np.array_equal(one, maps[0]) for one in maps)
    assert not np.array_equal(maps[0], cam.grad_cam(net, x, target=2, relu=False))
    assert cam.record(net, x).class_ids(["c", 0]) == (2, 0)


COMBINED = {
    "the difference of two": (lambda z: z[:, 2] - z[:, 1], lambda z: np.array([[0, -1, 1]] * 2)),
    "the greatest": (lambda z: z.max(axis=1), lambda z: np.eye(3)[z.argmax(axis=1)]),
    "the log probability of a class": (
        lambda z: nd.log_softmax(z)[:, 1],
        lambda z: np.eye(3)[[1, 1]] - np.exp(z) / np.exp(z).sum(axis=1, keepdims=True),
    ),
}


@pytest.mark.parametrize("name", COMBINED)
def test_the_gradient_of_a_function_is_combined_of_those_of_the_logits(name):
    function, derivative = COMBINED[name]
    net, (x,) = ready(small_net(), (2, 3, 8, 8))
    recording = cam.record(net, x)
    of_logits = np.stack([recording.gradient(target=number) for number in range(3)])  # (classes, N, K, h, w)
    expected = np.einsum("nc,cnkhw->nkhw", derivative(recording.logits), of_logits)
    assert relative_l2(recording.gradient(target=function), expected) < 1e-5


def test_what_a_function_raises_is_its_own():
    with pytest.raises(ZeroDivisionError):
        targets.head_of(PLAIN, lambda z: z[:, 0] / (1 // 0), LOGITS)


def test_a_map_of_classes():
    """For a segmentation: the class at one place, or all over a region."""
    net, (x,) = ready(sequence(conv(), relu(), conv(3, 1)), (2, 3, 8, 8))
    recording = cam.record(net, x)
    assert recording.logits.shape == (2, 3, 8, 8) and recording.probabilities is None
    gradient = recording.gradient("1", target=lambda z: z[:, 1, 4, 5])
    weight = net[2].weight.data().asnumpy()[1, :, 0, 0]
    expected = np.zeros((2, 4, 8, 8))
    expected[:, :, 4, 5] = weight
    assert relative_l2(gradient, expected) < 1e-6
    with pytest.raises(cam.NetError, match=r"the net returned \(2, 3, 8, 8\); expected logits \(N, classes\), or a"):
        recording.gradient("1", target=1)


def test_logits_in_a_map_of_one_position():
    net, (x,) = ready(sequence(conv(), relu(), nn.GlobalAvgPool2D(), conv(5, 1)), (2, 3, 8, 8))
    recording = cam.record(net, x)
    assert recording.logits.shape == (2, 5, 1, 1)
    assert recording.class_ids([3, 1]) == (3, 1)
    weight = net[3].weight.data().asnumpy()[[3, 1], :, 0, 0]
    assert relative_l2(recording.gradient("1", target=[3, 1])[:, :, 0, 0], weight / 64) < 1e-6
