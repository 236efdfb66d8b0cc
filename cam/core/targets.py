"""Which number to explain: a class by number or label, or a function of the logits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
from mxnet import autograd, nd

from .checks import is_whole
from .errors import ClassError, NetError, in_one_line
from .mxnet import Block, MXNetError

Target = Any  # None, int, str, a sequence or array of these, or Callable[[nd.NDArray], nd.NDArray]


class Labels(list):
    """The names of a net's classes, for `net.labels`, with `aliases`: other names, in lower case, by class numbers."""

    def __init__(self, names: Sequence[str], aliases: Mapping[str, Sequence[int]] | None = None):
        super().__init__(names)
        self.aliases = dict(aliases or {})


def head_of(net: Block, target: Target, logits: nd.NDArray) -> nd.NDArray:
    """d target / d logits, of the logits' shape: one-hot rows for classes, the derivative of a function.

    Parameters
    ----------
    target : None for each image's top class; an int or a label for all images; a list, numpy array or NDArray of one
        per image; or a function of the logits, NDArray (N, classes), that returns an NDArray of one number per image
    logits : NDArray, (N, classes) if the target is a class

    Raises
    ------
    ClassError
        If a class does not exist, there is not one per image, or a function does not return one number per image.
    """
    if callable(target):
        return _derivative(target, logits)
    ids = class_ids(net, target, logits.asnumpy())
    return nd.one_hot(nd.array(ids, ctx=logits.context), logits.shape[1], dtype=logits.dtype).reshape(logits.shape)


def _derivative(target: Callable[[nd.NDArray], nd.NDArray], logits: nd.NDArray) -> nd.NDArray:
    leaf = logits.copy()
    leaf.attach_grad()
    try:
        with autograd.record(train_mode=False):
            numbers = target(leaf)
        if not isinstance(numbers, nd.NDArray) or numbers.shape != (len(leaf),):
            came = f"shape {numbers.shape}" if isinstance(numbers, nd.NDArray) else type(numbers).__name__
            raise ClassError(
                f"the target function returned {came}; expected an NDArray of one number per image: ({len(leaf)},)"
            )
        (head,) = autograd.grad([numbers], [leaf], train_mode=False)
        head.wait_to_read()
    except MXNetError as error:
        raise ClassError(f"the target is no differentiable function of the logits: {in_one_line(error)}") from error
    return head


def class_ids(net: Block, target: Target, logits: np.ndarray) -> tuple[int, ...]:
    """One class number per image; `target` as for `head_of`, without functions. `logits` is numpy (N, classes)."""
    rows = logits.reshape(logits.shape[0], -1)
    images, classes = rows.shape
    if logits.ndim < 2 or logits.size != rows.size or logits.shape[1] != classes:
        raise NetError(
            f"the net returned {logits.shape}; expected logits (N, classes), or a target that is a function of them"
        )
    if target is None:
        return tuple(int(number) for number in rows.argmax(axis=1))
    if isinstance(target, nd.NDArray):
        target = target.asnumpy()
        if target.dtype.kind == "f" and (target == np.round(target)).all():  # argmax gives whole numbers as floats
            target = target.astype(np.int64)
    if isinstance(target, np.ndarray) and target.ndim == 0:
        target = target.item()
    if isinstance(target, (list, tuple)) or (isinstance(target, np.ndarray) and target.ndim == 1):
        if len(target) != images:
            raise ClassError(f"target has {len(target)} entries for {images} images; give one class per image")
        return tuple(class_number(net, one, classes) for one in target)
    return (class_number(net, target, classes),) * images


def labels_of(net: Block, classes: int) -> Sequence[str] | None:
    """The names of the net's classes, from `net.labels`; None if it has none.

    Raises
    ------
    NetError
        If `net.labels` is no sequence with one name per class.
    """
    labels = getattr(net, "labels", None)
    if labels is None:
        return None
    if isinstance(labels, str) or not isinstance(labels, (Sequence, np.ndarray)):
        raise NetError(f"net.labels is {type(labels).__name__}; expected a list of {classes} names, one per class")
    if len(labels) != classes:
        raise NetError(
            f"net.labels has {len(labels)} names; this net has {classes} classes and needs one name for each"
        )
    return labels if isinstance(labels, Labels) else [str(label) for label in labels]


def class_number(net: Block, target, classes: int) -> int:
    """The number of one class, given by number or label, in a net with so many classes; errors as in `head_of`."""
    if isinstance(target, str):
        return _by_label(net, target, classes)
    if not is_whole(target):
        kind = f"{type(target).__name__} {' '.join(str(target).split())[:40]}"
        raise ClassError(
            f"target is {kind}; expected None, an int or a label for all images, a list of one per image, or a "
            "function of the logits"
        )
    if not 0 <= target < classes:
        raise ClassError(f"target is {target}; this net has the classes 0 to {classes - 1}")
    return int(target)


def _by_label(net: Block, label: str, classes: int) -> int:
    labels = labels_of(net, classes)
    if labels is None:
        raise ClassError(f"target is the label {label!r}, but this net has no labels; give a number")
    exact = [number for number, known in enumerate(labels) if known == label]
    meant = exact if len(exact) == 1 else find_classes(labels, label)
    if len(meant) == 1:
        return meant[0]
    if meant:
        choices = " or ".join(f"{labels[number]!r} ({number})" for number in meant)
        raise ClassError(f"{label!r} can mean several classes; say {choices}")
    near = get_close_matches(label, labels, n=3, cutoff=0.4)
    hint = f"; did you mean {' or '.join(near)}?" if near else "; the labels are in net.labels"
    raise ClassError(f"no class is called {label!r}{hint}")


def find_classes(labels: Sequence[str], name: str) -> list[int]:
    """The numbers of all classes that `name` can mean, in upper or lower case; a label comes before an alias."""
    wanted = name.casefold()
    found = [number for number, label in enumerate(labels) if label.casefold() == wanted]
    return found or list(getattr(labels, "aliases", {}).get(wanted, ()))
