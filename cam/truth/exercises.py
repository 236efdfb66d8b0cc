"""What the checks of the problem sets in `lessons/assignments` are made of: one comparison that explains itself."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from mxnet import nd


def check(what: str, came, expected, likely: Mapping[str, object] | None = None, tolerance: float = 1e-4) -> None:
    """Compare a student's result with the right one, and say what came instead.

    Parameters
    ----------
    what : what is compared, such as "relu_backward with the guided rule"
    came : the student's result: a number, bool, string, list, numpy array or NDArray
    expected : the right result
    likely : results of common mistakes, by a sentence that helps whoever made that mistake
    tolerance : allowed difference, as a share of the largest expected value

    Raises
    ------
    AssertionError
        With what was expected, what came, and the sentence of the mistake that gives just this result.
    """
    problem = _problem(came, expected, tolerance)
    if problem is None:
        return
    hints = [hint for hint, value in (likely or {}).items() if _problem(came, value, tolerance) is None]
    lines = [f"{what}: {problem}", f"expected: {_shown(expected)}", f"but came: {_shown(came)}"]
    raise AssertionError("\n".join(lines + [f"Hint: {hint}" for hint in hints[:1]]))


@contextmanager
def unaided(*functions: Callable) -> Iterator[None]:
    """Fail where one of these Python functions is called, under whatever name: the task is to write it.

    Parameters
    ----------
    *functions : those that the answer must do without

    Yields
    ------
    None

    Raises
    ------
    AssertionError
        That names the function, also if the answer caught the first one.
    """
    names = {inspect.unwrap(function).__code__: function.__name__ for function in functions}
    found: list[AssertionError] = []

    def heard(frame, event, _):
        if event == "call" and frame.f_code in names:
            called = names[frame.f_code]
            found.append(AssertionError(f"this answer calls {called}, and the task is to write what it does"))
            raise found[0]

    before = sys.getprofile()
    sys.setprofile(heard)
    try:
        yield
    finally:
        sys.setprofile(before)
    if found:
        raise found[0]


def _problem(came, expected, tolerance: float) -> str | None:
    """Why two results differ, in words, or None if they are equal within the tolerance."""
    if came is None:
        return "the result is None; is a return missing?"
    for kind in (str, (bool, np.bool_)):
        if isinstance(expected, kind):
            return None if isinstance(came, kind) and came == expected else "not what it should be"
    try:
        found, right = _numbers(came), _numbers(expected)
    except (TypeError, ValueError):
        return f"numbers were expected, not {type(came).__name__}"
    if found.shape != right.shape:
        return f"the shape should be {right.shape}, not {found.shape}"
    if not np.isfinite(found).all():
        return "the result holds NaN or infinity"
    difference = np.abs(found - right)
    largest = difference.max(initial=0.0)
    if largest <= tolerance * (np.abs(right).max(initial=0.0) or 1.0):
        return None
    index = tuple(map(int, np.unravel_index(difference.argmax(), difference.shape)))
    return f"the largest difference is {largest:.3g}, at {f'index {index}' if index else 'the only number'}"


def _numbers(value) -> np.ndarray:
    return np.asarray(value.asnumpy() if isinstance(value, nd.NDArray) else value, np.float64)


def _shown(value) -> str:
    """A result as one line: small ones in full, large ones by shape and range."""
    if value is None or isinstance(value, (str, bool, np.bool_)):
        return repr(value)
    try:
        numbers = _numbers(value)
    except (TypeError, ValueError):
        return repr(value)[:200]
    if numbers.size <= 32:
        return str(np.round(numbers, 5).tolist())
    return f"shape {numbers.shape}, from {numbers.min():.5g} to {numbers.max():.5g}, mean {numbers.mean():.5g}"
