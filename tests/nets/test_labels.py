"""ImageNet's classes by label, by any other name, and by synset id."""

import re
from types import SimpleNamespace

import cam
from cam import ClassError, NetError, scenes
from cam.core.targets import class_number, labels_of
from cam.nets import labels
from cam.nets.labels import imagenet_labels

import numpy as np
import pytest


def number(name, labels=None):
    names = labels or imagenet_labels()
    return class_number(SimpleNamespace(labels=names), name, len(names))


def test_a_thousand_classes_that_cannot_be_confused():
    rows = [line.split("\t") for line in labels.CLASSES.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == len({label.casefold() for label in imagenet_labels()}) == 1000
    synsets = [row[0] for row in rows]
    assert all(re.fullmatch(r"n\d{8}", synset) for synset in synsets)
    assert synsets == sorted(set(synsets))  # ILSVRC 2012 numbers its classes so


def test_every_label_and_synset_finds_its_class():
    rows = labels.CLASSES.read_text(encoding="utf-8").splitlines()
    for index, (label, row) in enumerate(zip(imagenet_labels(), rows)):
        assert number(label) == number(row.split("\t")[0]) == index


def test_the_cutouts_have_the_numbers_that_their_table_says():
    table = re.findall(r"^\| \S+ \| ([a-z ]+) \| (\d+) \|", (scenes.CUTOUTS / "ORIGIN.md").read_text(), re.MULTILINE)
    assert {label for label, _ in table} == set(scenes.LABELS)
    for label, index in table:
        assert number(label) == int(index)


def test_other_names_and_cases():
    assert number("zebra") == 340
    assert number("Zebra") == 340
    assert number("African elephant") == number("Loxodonta africana") == 386
    assert number("dromedary") == 354
    assert number("Polecat") == 358  # a label comes before another class's other name, here the skunk's


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("crane", "'crane (bird)' (134) or 'crane (machine)' (517)"),
        ("cardigan", "'Cardigan (dog)' (264) or 'cardigan (jacket)' (474)"),
        ("maillot", "'maillot (tights)' (638) or 'maillot (swimsuit)' (639)"),
        ("panda", "'lesser panda' (387) or 'giant panda' (388)"),
    ],
)
def test_a_name_of_several_classes_is_refused_with_the_choices(name, choices):
    with pytest.raises(ClassError, match=re.escape(f"{name!r} can mean several classes; say {choices}")):
        number(name)


def test_a_name_of_no_class():
    with pytest.raises(ClassError, match="no class is called 'zebar'; did you mean zebra"):
        number("zebar")


@pytest.mark.parametrize("kind", [list, tuple, np.array])
def test_labels_may_be_any_sequence(kind):
    net = SimpleNamespace(labels=kind(["ant", "bee", "cow"]))
    assert class_number(net, "cow", 3) == class_number(net, "COW", 3) == 2
    assert labels_of(net, 3) == ["ant", "bee", "cow"] and {type(label) for label in labels_of(net, 3)} == {str}
    with pytest.raises(ClassError, match="did you mean bee"):
        class_number(net, "be", 3)


@pytest.mark.parametrize("wrong", [["a"], [], "abcde", {0: "a"}])
def test_labels_that_do_not_fit_the_net(scene, wrong, narrow_resnet):
    narrow_resnet.labels = wrong
    try:
        with pytest.raises(NetError, match="net.labels is .*needs a list of one name for each"):
            cam.explain(narrow_resnet, scene.image, target=4)
    finally:
        narrow_resnet.labels = None
    assert cam.explain(narrow_resnet, scene.image, target=4).label == "class 4"


def test_other_labels_have_no_other_names():
    assert number("Zebra", ["zebra", "tench"]) == 0
    for names in (["zebra", "tench"], [*imagenet_labels()[:-1], "mine"]):
        with pytest.raises(ClassError, match="no class is called 'n02391049'"):
            number("n02391049", names)
