"""ImageNet's classes by label, by any other name, and by synset id."""

import re

import cam
from cam import scenes
from cam.errors import ClassError, NetError
from cam.labels import find_classes, imagenet_classes, imagenet_labels
from cam.resolve import class_number, labels_of

import numpy as np
import pytest


@pytest.fixture(scope="module")
def net():
    net = cam.resnet50_v2(weights=None, width=1 / 16)
    net.labels = imagenet_labels()
    return net


def number(net, name):
    return class_number(net, name, 1000)


def test_a_thousand_classes_that_cannot_be_confused():
    classes = imagenet_classes()
    assert (
        len(classes) == len({one.synset for one in classes}) == len({one.label.casefold() for one in classes}) == 1000
    )
    assert all(re.fullmatch(r"n\d{8}", one.synset) and all(one.names) for one in classes)
    synsets = [one.synset for one in classes]
    assert synsets == sorted(synsets)  # ILSVRC 2012 numbers its classes so


def test_every_label_and_synset_finds_its_class(net):
    for index, one in enumerate(imagenet_classes()):
        assert number(net, one.label) == number(net, one.synset) == index


def test_the_cutouts_have_the_numbers_that_their_table_says(net):
    table = re.findall(r"^\| \S+ \| ([a-z ]+) \| (\d+) \|", (scenes.CUTOUTS / "ORIGIN.md").read_text(), re.MULTILINE)
    assert {label for label, _ in table} == set(scenes.LABELS)
    for label, index in table:
        assert number(net, label) == int(index)


def test_other_names_and_cases(net):
    assert number(net, "zebra") == 340
    assert number(net, "Zebra") == 340
    assert number(net, "African elephant") == number(net, "Loxodonta africana") == 386
    assert number(net, "dromedary") == 354
    assert number(net, "Polecat") == 358  # a label comes before another class's other name, here the skunk's


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("crane", "'crane (bird)' (134) or 'crane (machine)' (517)"),
        ("cardigan", "'Cardigan (dog)' (264) or 'cardigan (jacket)' (474)"),
        ("maillot", "'maillot (tights)' (638) or 'maillot (swimsuit)' (639)"),
        ("panda", "'lesser panda' (387) or 'giant panda' (388)"),
    ],
)
def test_a_name_of_several_classes_is_refused_with_the_choices(net, name, choices):
    with pytest.raises(ClassError, match=re.escape(f"{name!r} can mean several classes; say {choices}")):
        number(net, name)


def test_a_name_of_no_class(net):
    with pytest.raises(ClassError, match="no class is called 'zebar'; did you mean zebra"):
        number(net, "zebar")


@pytest.mark.parametrize("kind", [list, tuple, np.array])
def test_labels_may_be_any_sequence(scene, kind):
    net = cam.resnet50_v2(weights=None, classes=3, width=1 / 16)
    net.labels = kind(["ant", "bee", "cow"])
    assert class_number(net, "cow", 3) == class_number(net, "COW", 3) == 2
    found = cam.explain(net, scene.image, "bee")
    assert (found.label, found.class_id) == ("bee", 1) and type(found.label) is str
    with pytest.raises(ClassError, match="did you mean bee"):
        class_number(net, "be", 3)


def test_labels_that_do_not_fit_the_net(scene):
    net = cam.resnet50_v2(weights=None, classes=5, width=1 / 16)
    for wrong in (["a"], [], "abcde", {0: "a"}):
        net.labels = wrong
        with pytest.raises(NetError, match="net.labels (has|is)"):
            labels_of(net, 5)
        with pytest.raises(NetError, match="net.labels (has|is)"):
            cam.explain(net, scene.image, 4)
    net.labels = None
    assert labels_of(net, 5) is None and cam.explain(net, scene.image, 4).label == "class 4"


def test_other_labels_have_no_other_names():
    assert find_classes(["zebra", "tench"], "Zebra") == [0]
    assert find_classes(["zebra", "tench"], "n02391049") == []
    assert find_classes([*imagenet_labels()[:-1], "mine"], "n02391049") == []
