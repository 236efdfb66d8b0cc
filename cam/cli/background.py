"""A process beside the network's: it reads pictures and draws panels while the net computes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager

MANY = 16  # tasks from which a process is worth the two seconds of its start


@contextmanager
def beside(count: int) -> Iterator[Executor]:
    """What runs `count` tasks, in their order: a process of its own if they are many, else a thread.

    It is a new process, since MXNet does not survive a fork, and leaves Ctrl-C to the process that started it. What
    either is about is finished at the end, and nothing else is begun. On Python 3.10 it is always a thread: there the
    pool of processes may wait for ever for one that was killed (https://github.com/python/cpython/issues/94777).
    """
    executor = ThreadPoolExecutor(1) if count < MANY or sys.version_info < (3, 11) else _process()
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)


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


def _process() -> Executor:
    executor = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _end_with_parent)
    ours = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited
    try:
        executor.submit(int)  # starts it
    finally:
        signal.signal(signal.SIGINT, ours)
    return executor


def _end_with_parent() -> None:
    """End this process when the one that started it is killed."""

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
