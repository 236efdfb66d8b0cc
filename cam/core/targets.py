"""Which number to explain: a class by number or label, or a function of the logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import TypeAlias

import numpy as np
from mxnet import MXNetError, autograd, nd
from mxnet.gluon import Block

from .checks import is_whole
from .errors import ClassError, NetError, in_one_line

Class: TypeAlias = int | np.integer | str
Function: TypeAlias = Callable[[nd.NDArray], nd.NDArray]  # of the logits (N, classes), to one number per image
Target: TypeAlias = Class | Sequence[Class] | np.ndarray | nd.NDArray | Function | None
EXPECTED = "expected None, an int or label for all images, a list of one per image, or a function of the logits"


def head_of(net: Block, target: Target, logits: nd.NDArray) -> nd.NDArray:
    """d target / d logits, of the logits' shape: one-hot rows for classes, the derivative of a function.

    `target` is None for each image's top class; an int or a label for all images; a list, numpy array or NDArray of one
    per image; or a function of the logits, NDArray (N, classes), that returns an NDArray of one number per image.
    Raises ClassError if it is none of these or there is no such class, NetError if the logits are no (N, classes).
    """
    if callable(target):
        return _derivative(target, logits)
    ids = nd.array(class_ids(net, target, logits.asnumpy()), ctx=logits.context)
    return nd.one_hot(ids, logits.size // len(logits), dtype=logits.dtype).reshape(logits.shape)


def _derivative(target: Function, logits: nd.NDArray) -> nd.NDArray:
    leaf = logits.copy()
    leaf.attach_grad()
    try:
        with autograd.record(train_mode=False):
            numbers = target(leaf)
        if not isinstance(numbers, nd.NDArray) or numbers.shape != (len(leaf),):
            came = f"shape {numbers.shape}" if isinstance(numbers, nd.NDArray) else type(numbers).__name__
            raise ClassError(f"the target function returned {came}; expected an NDArray ({len(leaf)},): one per image")
        (head,) = autograd.grad([numbers], [leaf], train_mode=False)
        head.wait_to_read()
    except MXNetError as error:
        raise ClassError(f"the target is no differentiable function of the logits: {in_one_line(error)}") from error
    return head


def class_ids(net: Block, target: Target, logits: np.ndarray) -> tuple[int, ...]:
    """One class number per image; `target` as for `head_of`, without functions. `logits` is numpy (N, classes)."""
    images, classes = logits.shape[0], logits.shape[1] if logits.ndim > 1 else 1
    if logits.size != images * classes:
        expected = "expected logits (N, classes), or a function of them as target"
        raise NetError(f"the net returned {logits.shape}; {expected}")
    if target is None:
        return tuple(logits.reshape(images, classes).argmax(axis=1).tolist())
    if isinstance(target, nd.NDArray):
        numbers = target.asnumpy()
        whole = numbers.dtype.kind == "f" and (numbers == np.round(numbers)).all()
        target = numbers.astype(np.int64) if whole else numbers  # argmax gives whole numbers as floats
    if isinstance(target, np.ndarray):
        target = target.tolist()
    if not isinstance(target, (list, tuple)):
        return (class_number(net, target, classes),) * images
    if len(target) != images:
        raise ClassError(f"target has {len(target)} entries for {images} images; give one class per image")
    return tuple(class_number(net, one, classes) for one in target)


def labels_of(net: Block, classes: int) -> list[str] | None:
    """The names of the net's classes, from `net.labels`; None if it has none, NetError if not one for each class."""
    labels = getattr(net, "labels", None)
    if labels is None:
        return None
    listed = isinstance(labels, (Sequence, np.ndarray)) and not isinstance(labels, str)
    if not listed or len(labels) != classes:
        came = f"{len(labels)} names" if listed else type(labels).__name__
        raise NetError(f"net.labels is {came}; this net has {classes} classes and needs a list of one name for each")
    return [str(label) for label in labels]


def class_number(net: Block, target, classes: int) -> int:
    """The number of one class, given by number or label, in a net with so many classes; errors as in `head_of`.

    A label is taken as it is, else in upper or lower case, else as one of the labels' `aliases` (as `nets.labels` has).
    """
    if isinstance(target, str):
        return _by_label(net, target, classes)
    if not is_whole(target):
        raise ClassError(f"target is {type(target).__name__} {' '.join(str(target).split())[:40]}; {EXPECTED}")
    if not 0 <= target < classes:
        raise ClassError(f"target is {target}; this net has the classes 0 to {classes - 1}")
    return int(target)


def _by_label(net: Block, label: str, classes: int) -> int:
    labels, wanted = labels_of(net, classes), label.casefold()
    if labels is None:
        raise ClassError(f"target is the label {label!r}, but this net has no labels; give a number")
    aliases = getattr(net.labels, "aliases", {})
    exact = [number for number, known in enumerate(labels) if known == label]
    alike = [number for number, known in enumerate(labels) if known.casefold() == wanted]
    meant = exact or alike or list(aliases.get(wanted, ()))
    if len(meant) == 1:
        return meant[0]
    if meant:
        choices = " or ".join(f"{labels[number]!r} ({number})" for number in meant)
        raise ClassError(f"{label!r} can mean several classes; say {choices}")
    near = get_close_matches(label, labels, n=3, cutoff=0.4)
    hint = f"; did you mean {' or '.join(near)}?" if near else "; the labels are in net.labels"
    raise ClassError(f"no class is called {label!r}{hint}")
