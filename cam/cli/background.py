"""The pictures of a folder: a thread beside the net's reads them and draws their panels while the net computes."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from ..pictures.images import read_image


def explained(names: dict[Path, str], batch: int, explain: Callable, write: Callable) -> Iterator[tuple[Path, Future]]:
    """Each path with a future of what `write` gives for its name and explanations; it raises what reading it raised.

    While the net has one batch, the thread draws the one before and reads the one after. What the thread has begun is
    finished at the end, and nothing else is begun.
    """
    paths = list(names)
    thread = ThreadPoolExecutor(1)
    with interrupted_between() as strike:
        try:
            drawn, read = {}, {}
            for start in range(0, len(paths) + 2 * batch, batch):
                strike()
                here, read = read, {path: thread.submit(read_image, path) for path in paths[start : start + batch]}
                good = {path: one.result() for path, one in here.items() if not one.exception()}
                found = zip(good, explain(list(good.values()))) if good else ()
                drawing = {path: thread.submit(write, names[path], explanations) for path, explanations in found}
                for one in drawn.items():
                    yield one
                    strike()
                drawn = here | drawing
        finally:
            thread.shutdown(cancel_futures=True)


@contextmanager
def interrupted_between() -> Iterator[Callable[[], None]]:
    """Ctrl-C waits inside for the next call of what this gives; a second one does not.

    Where it may strike anywhere it is lost in a destructor, or leaves a lock of the executor's behind.
    """
    asked = []

    def remember(number: int, _) -> None:
        asked.append(number)
        signal.signal(signal.SIGINT, before)

    def strike() -> None:
        if asked:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, remember)
    try:
        yield strike
    finally:
        signal.signal(signal.SIGINT, before)
