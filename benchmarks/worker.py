"""One side of the speed benchmark in a process of its own, which sleeps until its parent sends a line of JSON.

A side is an object with the methods of `Side`; `serve(side)` answers requests, `Worker` is the parent's end.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

CALLS = ("grad_cam", "guided_backprop", "guided_grad_cam")
LAYERS = {"resnet50_v2": "features.10", "vgg16": "features.29"}  # the input of GAP; relu5_3
Call = Callable[[], np.ndarray]


class Side(Protocol):
    """One library."""

    def about(self) -> dict[str, Any]:
        """Its "versions" by package, and the number of "threads"."""

    def calls(self, net: str, folder: Path, images: np.ndarray, class_ids: list[int]) -> Mapping[str, Call]:
        """Whole public calls by the names of CALLS, on the net of that name, whose parameters `folder` holds."""

    def operators(self, call: Call) -> dict[str, float]:
        """Milliseconds that one call spends in each kind of operator."""


def serve(side: Side) -> None:
    """Answer requests, a line each, until the parent closes the pipe."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not stand between the answers
    calls: Mapping[str, Call] = {}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer: Any = None
            if request["do"] == "about":
                answer = side.about()
            elif request["do"] == "load":
                calls = {}  # the net before is free to go
                images = np.load(Path(request["folder"]) / "images.npy")[: request["batch"]]
                calls = side.calls(request["net"], Path(request["folder"]), images, list(range(len(images))))
            elif request["do"] == "keep":
                np.save(request["file"], calls[request["call"]]())
            elif request["do"] == "time":
                answer = seconds(calls[request["call"]], request["repeats"], request["warm"])
            elif request["do"] == "operators":
                answer = side.operators(calls[request["call"]])
            else:
                raise ValueError(f"unknown request {request}")
            print(json.dumps({"answer": answer}), file=answers, flush=True)
        except Exception:
            print(json.dumps({"failure": traceback.format_exc()}), file=answers, flush=True)


def seconds(call: Call, repeats: int, warm: bool) -> float:
    """The median time of a call; if `warm`, after one that is not counted."""
    if warm:
        call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


class Worker:
    """The parent's end: starts a side and asks it."""

    def __init__(self, command: Sequence[str], threads: int | None = None):
        limits = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | limits
        )

    def ask(self, do: str, **options: Any) -> Any:
        self.process.stdin.write(json.dumps({"do": do, **options}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{' '.join(self.process.args)} ended with code {self.process.wait()}")
        answer = json.loads(line)
        if "failure" in answer:
            sys.exit(f"{' '.join(self.process.args)}:\n{answer['failure']}")
        return answer["answer"]

    def stop(self) -> None:
        self.process.stdin.close()
        self.process.wait()
