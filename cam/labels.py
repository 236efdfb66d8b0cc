"""The names of ImageNet's 1000 classes, and the classes that a name can mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

CLASSES = Path(__file__).parent / "assets" / "imagenet_classes.tsv"


@dataclass(frozen=True)
class ImageNetClass:
    """One class of ImageNet-1k.

    Attributes
    ----------
    synset : WordNet's id, such as "n02391049"
    names : all names of the class, such as ("ram", "tup")
    label : the first name, with a word in brackets if another class has it too: "crane (bird)"
    """

    synset: str
    names: tuple[str, ...]
    label: str


@lru_cache(maxsize=1)
def imagenet_classes() -> tuple[ImageNetClass, ...]:
    """The 1000 classes in the order of the logits; their origin is told in `assets/ORIGIN.md`."""
    found = []
    for line in CLASSES.read_text(encoding="utf-8").splitlines():
        synset, names, *distinction = line.split("\t")
        first, *others = names.split(", ")
        label = f"{first} ({distinction[0]})" if distinction else first
        found.append(ImageNetClass(synset, (first, *others), label))
    return tuple(found)


def imagenet_labels() -> list[str]:
    """One label per class, no two alike, in the order of the logits."""
    return [one.label for one in imagenet_classes()]


def find_classes(labels: Sequence[str], name: str) -> list[int]:
    """The numbers of all classes that `name` can mean, whatever its upper and lower case.

    A label comes first. If `labels` are ImageNet's, any other name of a class will do, and its synset id too.
    """
    wanted = name.casefold()
    found = [number for number, label in enumerate(labels) if label.casefold() == wanted]
    if found or list(labels) != imagenet_labels():
        return found
    return [
        number
        for number, one in enumerate(imagenet_classes())
        if wanted in (one.synset, *(known.casefold() for known in one.names))
    ]
