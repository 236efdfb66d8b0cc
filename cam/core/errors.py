"""What can go wrong, as one exception class per cause, and what deserves a warning."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class CamError(ValueError):
    """Base of all errors that this package raises about its input."""


class InputError(CamError):
    """An image, array, size or option that cannot be used."""


class LayerError(CamError):
    """No such layer, or one that has no feature map."""


class ClassError(CamError):
    """No such class, or a target that is no number per image."""


class NetError(CamError):
    """A network that cannot be used as asked."""


class WeightsError(CamError):
    """A weights file that is missing, damaged or of another network."""


class NonFiniteError(CamError):
    """NaN or infinity where numbers are needed."""


class CamWarning(UserWarning):
    """Base of all warnings: a result is right, and not what a reader may take it for."""


class InputWarning(CamWarning):
    """About the picture: how much of it was seen, how its values were read."""


class LayerWarning(CamWarning):
    """About the layer: a part of the evidence, a map before its ReLU, a map of a single pixel."""


class MapWarning(CamWarning):
    """About one map: all negative, flat, or next to nothing beside the logit."""


class NetWarning(CamWarning):
    """About the net: an output that is no logit, activations that a rule does not reach, classes it does not know."""


_told: ContextVar[list[CamWarning]] = ContextVar("told")  # each thread has its own; Python's filters are everybody's


@contextmanager
def collected() -> Iterator[list[CamWarning]]:
    """The warnings of all that this thread calls inside, in a list, instead of raised."""
    told: list[CamWarning] = []
    before = _told.set(told)
    try:
        yield told
    finally:
        _told.reset(before)


def tell(said: Iterable[CamWarning]) -> None:
    """Warn, inside of a function that is `telling`."""
    _told.get().extend(said)


def telling(function: Callable[P, R]) -> Callable[P, R]:
    """Raise the warnings of a public function where it was called, each once, unless they are `collected`."""

    @functools.wraps(function)
    def called(*arguments: P.args, **options: P.kwargs) -> R:
        if _told.get(None) is not None:
            return function(*arguments, **options)
        with collected() as told:
            result = function(*arguments, **options)
        for warning in {str(one): one for one in told}.values():
            warnings.warn(warning, stacklevel=2)
        return result

    return called


def in_one_line(error: Exception) -> str:
    """What an exception of other people's code says, without its traceback: its last line, or its type."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip()[:200] if lines else type(error).__name__
