"""Which number is explained: a class by number or label, one per image, or a function of the logits."""

import cam
from cam.core import targets

import numpy as np
import pytest
from conftest import relative_l2
from helpers.nets import conv, ending, ready, relu, sequence
from mxnet import nd
from mxnet.gluon import nn

LABELS = ["ant", "bee", "cow", "dog", "eel"]


@pytest.fixture(scope="module")
def pair():
    return ready(sequence(conv(), relu(), *ending(5)), (2, 3, 8, 8))


@pytest.fixture
def labelled(pair):
    net, (x,) = pair
    net.labels = LABELS
    yield net, x
    del net.labels


ONE_FOR_BOTH = [3, np.int64(3), np.array(3), "dog", nd.array(3, dtype="int32")]
ONE_FOR_EACH = {
    "a list": [3, 1],
    "a tuple": (3, 1),
    "labels": ["dog", "bee"],
    "a list of both": ["dog", np.int32(1)],
    "numpy": np.array([3, 1]),
    "labels of a DataLoader": nd.array([3, 1], dtype="int32"),
    "an argmax, whole numbers as floats": nd.array([3, 1]),
}


@pytest.mark.parametrize("target", ONE_FOR_BOTH, ids=repr)
def test_one_class_for_all_images(labelled, target):
    net, x = labelled
    recording = cam.record(net, x)
    assert recording.class_ids(target) == (3, 3)
    assert recording.head(target).asnumpy().tolist() == [[0, 0, 0, 1, 0]] * 2
    assert np.array_equal(recording.gradient(target=target), recording.gradient(target=[3, 3]))


@pytest.mark.parametrize("name", ONE_FOR_EACH)
def test_one_class_for_each_image(labelled, name):
    net, x = labelled
    recording = cam.record(net, x)
    assert recording.class_ids(ONE_FOR_EACH[name]) == (3, 1)
    assert recording.head(ONE_FOR_EACH[name]).asnumpy().tolist() == [[0, 0, 0, 1, 0], [0, 1, 0, 0, 0]]
    alone = [recording.gradient(target=one)[image] for image, one in enumerate((3, 1))]
    assert np.array_equal(recording.gradient(target=ONE_FOR_EACH[name]), np.stack(alone))


def test_the_top_class(pair):
    net, (x,) = pair
    recording = cam.record(net, x)
    top = recording.logits.argmax(axis=1)
    assert recording.class_ids() == tuple(top)
    for target in (None, net(x).argmax(axis=1), top):
        assert np.array_equal(cam.grad_cam(net, x, target=target), cam.grad_cam(net, x, target=list(top)))


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (5, "target is 5; this net has the classes 0 to 4"),
        (-1, "target is -1; this net has the classes 0 to 4"),
        (
            2.0,
            "target is float 2.0; expected None, an int or label for all images, a list of one per image, or ...",
        ),
        (np.float32(1), "target is float32 1.0; expected ..."),
        (True, "target is bool True; expected ..."),
        ("zebra", "target is the label 'zebra', but this net has no labels; give a number"),
        ([1], "target has 1 entries for 2 images; give one class per image"),
        ([], "target has 0 entries for 2 images; give one class per image"),
        ([1, None], "target is NoneType None; expected ..."),
        (np.array([[1, 2]]), "target has 1 entries for 2 images; give one class per image"),
        (nd.array([0.5, 1]), "target is float 0.5; expected ..."),
        (nd.array([1, 2, 3]), "target has 3 entries for 2 images; give one class per image"),
        ({1: 2}, "target is dict {1: 2}; expected ..."),
        (lambda z: z, "the target function returned shape (2, 5); expected an NDArray (2,): one per image"),
        (lambda z: z.sum(), "the target function returned shape (1,); expected an NDArray (2,): one per image"),
        (lambda z: 3, "the target function returned int; expected an NDArray (2,): one per image"),
        (lambda z: z.asnumpy()[:, 0], "the target function returned ndarray; expected an NDArray (2,): one per image"),
        (lambda z: nd.ones((2,)), "the target is no differentiable function of the logits: ..."),
    ],
)
def test_targets_that_are_none(pair, target, said):
    net, (x,) = pair
    for call in (cam.grad_cam, cam.hires_cam, cam.saliency, cam.guided_grad_cam, cam.class_activation_map):
        with pytest.raises(cam.ClassError) as caught:
            call(net, x, target=target)
        assert str(caught.value).startswith(said.partition("...")[0]), str(caught.value)
        assert len(str(caught.value)) < 400


def test_what_a_target_function_raises_is_its_own(pair):
    net, (x,) = pair
    with pytest.raises(ZeroDivisionError):
        cam.grad_cam(net, x, target=lambda z: z[:, 0] / (1 // 0))


FUNCTIONS = {
    "a logit": (lambda z: z[:, 2], lambda z: np.eye(5)[[2, 2]]),
    "the difference of two": (lambda z: z[:, 3] - z[:, 1], lambda z: np.array([[0, -1, 0, 1, 0]] * 2)),
    "several at once": (lambda z: z[:, :3].sum(axis=1), lambda z: np.array([[1, 1, 1, 0, 0]] * 2)),
    "a square": (lambda z: z[:, 0] ** 2, lambda z: np.eye(5)[[0, 0]] * 2 * z[:, :1]),
    "the greatest": (lambda z: z.max(axis=1), lambda z: np.eye(5)[z.argmax(axis=1)]),
    "the log probability of a class": (
        lambda z: nd.log_softmax(z)[:, 1],
        lambda z: np.eye(5)[[1, 1]] - np.exp(z) / np.exp(z).sum(axis=1, keepdims=True),
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_the_logits(pair, name):
    function, derivative = FUNCTIONS[name]
    net, (x,) = pair
    recording = cam.record(net, x)
    head = derivative(recording.logits)
    assert relative_l2(recording.head(function).asnumpy(), head) < 1e-5
    of_classes = np.stack([recording.gradient(target=number) for number in range(5)])  # (classes, N, K, h, w)
    assert relative_l2(recording.gradient(target=function), np.einsum("nc,cnkhw->nkhw", head, of_classes)) < 1e-5


def test_a_regression():
    """A net of one number, and a function of it."""
    net, (x,) = ready(sequence(conv(), relu(), *ending(1)), (2, 3, 8, 8))
    recording = cam.record(net, x)
    assert recording.probabilities is None
    assert np.array_equal(recording.gradient(), recording.gradient(target=lambda z: z[:, 0]))
    assert np.array_equal(recording.gradient(target=lambda z: 3 * z[:, 0]), 3 * recording.gradient(target=0))


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


# ----------------------------------------------------------------------------------------------------------- labels


def test_labels(labelled):
    net, x = labelled
    recording = cam.record(net, x)
    assert recording.class_ids("cow") == (2, 2)
    assert recording.class_ids("Cow") == (2, 2)
    with pytest.raises(cam.ClassError, match="no class is called 'cat'; did you mean ant"):
        recording.class_ids("cat")
    with pytest.raises(cam.ClassError, match="no class is called '%%'; the labels are in net.labels"):
        recording.class_ids("%%")


def test_a_label_that_two_classes_have(labelled):
    net, x = labelled
    net.labels = ["crane", "bee", "Crane", "dog", "crane"]
    recording = cam.record(net, x)
    assert recording.class_ids("Crane") == (2, 2)  # as it is written
    with pytest.raises(
        cam.ClassError, match=r"'crane' can mean several classes; say 'crane' \(0\) or .* 'crane' \(4\)"
    ):
        recording.class_ids("crane")


def test_other_names_of_a_class(labelled):
    net, x = labelled
    net.labels = targets.Labels(LABELS, {"pismire": [0], "insect": [0, 1]})
    recording = cam.record(net, x)
    assert recording.class_ids("Pismire") == (0, 0)
    with pytest.raises(cam.ClassError, match=r"'insect' can mean several classes; say 'ant' \(0\) or 'bee' \(1\)"):
        recording.class_ids("insect")


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ("ants", "net.labels is str; this net has 5 classes and needs a list of one name for each"),
        (7, "net.labels is int; this net has 5 classes and needs a list of one name for each"),
        (LABELS[:3], "net.labels is 3 names; this net has 5 classes and needs a list of one name for each"),
    ],
)
def test_labels_that_are_none(labelled, labels, said):
    net, x = labelled
    net.labels = labels
    with pytest.raises(cam.NetError) as caught:
        cam.record(net, x).class_ids("ant")
    assert str(caught.value) == said
    assert cam.record(net, x).class_ids(1) == (1, 1)


def test_labels_of_numpy(labelled):
    net, x = labelled
    net.labels = np.array(LABELS)
    assert cam.record(net, x).class_ids("eel") == (4, 4)
