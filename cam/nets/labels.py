"""The names of ImageNet's 1000 classes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..core.targets import Labels

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


@lru_cache(maxsize=1)
def imagenet_labels() -> Labels:
    """One label per class, no two alike, in the order of the logits; other names and synset ids are their aliases."""
    classes = imagenet_classes()
    aliases: dict[str, list[int]] = {}
    for number, one in enumerate(classes):
        for name in {one.synset, *(known.casefold() for known in one.names)}:
            aliases.setdefault(name, []).append(number)
    return Labels([one.label for one in classes], aliases)
