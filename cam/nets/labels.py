"""The names of ImageNet's 1000 classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from .weights_files import ASSETS

CLASSES = ASSETS / "imagenet_classes.tsv"


class Labels(list):
    """The names of a net's classes, for `net.labels`, with `aliases`: other names, in lower case, by class numbers."""

    def __init__(self, names: Sequence[str], aliases: Mapping[str, Sequence[int]]):
        super().__init__(names)
        self.aliases = dict(aliases)


@lru_cache(maxsize=1)
def imagenet_labels() -> Labels:
    """One label per class, no two alike, in the order of the logits; their origin is told in `assets/ORIGIN.md`.

    A label is the class's first name, with a word in brackets if another class has it too: "crane (bird)". All names of
    the class and its WordNet id, such as "n02391049", are the label's aliases.
    """
    labels: list[str] = []
    aliases: dict[str, list[int]] = {}
    for number, line in enumerate(CLASSES.read_text(encoding="utf-8").splitlines()):
        synset, names, *distinction = line.split("\t")
        known = names.split(", ")
        labels.append(f"{known[0]} ({distinction[0]})" if distinction else known[0])
        for name in {synset, *(one.casefold() for one in known)}:
            aliases.setdefault(name, []).append(number)
    return Labels(labels, aliases)
