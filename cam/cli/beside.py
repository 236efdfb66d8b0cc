"""A process beside the network's: it reads pictures and draws panels while the net computes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager

MANY = 16  # tasks from which a process is worth the two seconds of its start


@contextmanager
def beside(count: int) -> Iterator[Executor]:
    """What runs `count` tasks, in their order: a process of its own if they are many, else a thread.

    It is a new process, since MXNet does not survive a fork, and leaves Ctrl-C to the process that started it: what it
    is about is finished then, and nothing else is begun.
    """
    if count < MANY:
        with ThreadPoolExecutor(1) as thread:
            yield thread
        return
    spawn = multiprocessing.get_context("spawn")
    process = ProcessPoolExecutor(1, spawn, _end_with_parent)
    ours = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited
    try:
        process.submit(int)  # starts it
    finally:
        signal.signal(signal.SIGINT, ours)
    try:
        yield process
    finally:
        process.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """End this process when the one that started it is killed."""

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
