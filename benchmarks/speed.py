"""How long whole public calls take, beside Captum and pytorch-grad-cam on identical weights: `make benchmark`.

A parent drives one process for us and one for each peer, all with the same number of threads, by turns, while the
others sleep. It first checks that the results agree, and times nothing if they do not. `--quick` gives a first idea
in a minute; `--operators` says instead which operators take the time of one call.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import report
from worker import CALLS, LAYERS, Worker

HERE = Path(__file__).parent
FOLDER = HERE.parent / "build" / "benchmark"
TOLERANCE = 1e-4
PEERS = {  # with the calls whose results are the same numbers as ours: pytorch-grad-cam scales its maps to [0, 1]
    "captum": CALLS,
    "pytorch-grad-cam": ("guided_backprop",),
}
QUIET = 0.05  # the share of the processors that others may have, if the table is to be written
PAUSE = 0.1  # seconds in which the threads of the worker before fall asleep

Times = dict[str, float]  # seconds by side


def target(net: str, batch: int, call: str, peer: str) -> float:
    """The largest ratio of our time to the peer's with which we are content."""
    if peer == "pytorch-grad-cam":
        return 0.5
    if call == "grad_cam":
        return 1.05 if batch == 1 else 0.95
    if call == "guided_backprop":
        return 1.0
    return 0.75 if net == "resnet50_v2" else 0.85


def start(python: str) -> dict[str, Worker]:
    """All workers; the peers' have as many threads as ours chose."""
    ours = Worker([sys.executable, str(HERE / "ours.py")])
    threads = ours.ask("about")["threads"]
    return {"cam": ours} | {peer: Worker([python, str(HERE / "theirs.py"), peer], threads) for peer in PEERS}


def check(workers: dict[str, Worker], net: str, batch: int) -> None:
    """Stop if a peer's result differs from ours."""
    for peer, calls in PEERS.items():
        for call in calls:
            found, expected = (_kept(workers[side], call) for side in ("cam", peer))
            distance = np.linalg.norm(found - expected) / np.linalg.norm(expected)
            print(f"  {distance:.1e}  relative L2 distance of {call} to {peer}", flush=True)
            if found.shape != expected.shape or not distance <= TOLERANCE:
                sys.exit(f"{net}, batch {batch}: {call} and {peer} do not agree to {TOLERANCE}; nothing was timed")


def _kept(worker: Worker, call: str) -> np.ndarray:
    file = FOLDER / "result.npy"
    worker.ask("keep", call=call, file=str(file))
    return np.load(file)


def measure(workers: dict[str, Worker], call: str, batch: int, rounds: int) -> Times:
    """The median over the rounds; in each every side has a turn."""
    times: dict[str, list[float]] = {side: [] for side in workers}
    for _ in range(rounds):
        for side, worker in workers.items():
            time.sleep(PAUSE)
            one = batch == 1  # a call of a larger batch takes so long that waking up does not count
            times[side].append(worker.ask("time", call=call, repeats=3 if one else 1, warm=one))
    return {side: statistics.median(found) for side, found in times.items()}


def row(net: str, batch: int, call: str, times: Times) -> list[str]:
    cells = [net, str(batch), call, f"{1000 * times['cam']:.0f}"]
    for peer in PEERS:
        ratio, wanted = times["cam"] / times[peer], target(net, batch, call, peer)
        missed = ", missed" if ratio > wanted else ""
        cells += [f"{1000 * times[peer]:.0f}", f"{ratio:.2f}", f"{wanted:.2f}{missed}"]
    return cells


def setups(workers: dict[str, Worker], nets: list[str], batches: list[int]) -> Iterator[tuple[str, int]]:
    """Load each net on every side, for each size of a batch."""
    for net in nets:
        for batch in batches:
            print(f"{net}, batch {batch}", flush=True)
            for worker in workers.values():
                worker.ask("load", net=net, folder=str(FOLDER), batch=batch)
            yield net, batch


def compare(workers: dict[str, Worker], arguments: argparse.Namespace) -> None:
    """Check and time everything, print the table and write it into README.md."""
    rows, others = [], report.Others(*(worker.process.pid for worker in workers.values()))
    for net, batch in setups(workers, arguments.nets, arguments.batches):
        check(workers, net, batch)
        for call in CALLS:
            rows.append(row(net, batch, call, measure(workers, call, batch, arguments.rounds)))
            print("  " + "  ".join(rows[-1][2:]), flush=True)
    busy = others.share()
    about = [worker.ask("about") for worker in workers.values()]
    versions = {package: number for one in about for package, number in one["versions"].items()}
    head = ["net", "batch", "call", "cam, ms"]
    head += [cell for peer in PEERS for cell in (f"{peer}, ms", "cam / " + peer, "wanted")]
    text = (
        f"{report.machine()}; {' and '.join(sorted({str(one['threads']) for one in about}))} threads on every side; "
        f"{', '.join(f'{package} {number}' for package, number in versions.items())}; "
        f"medians of {arguments.rounds} rounds; meanwhile other processes took {busy:.0%} of the processors' time."
        f"\n\n{report.table(head, rows)}"
    )
    print(f"\n{text}")
    if arguments.write:
        if busy > QUIET:
            sys.exit("too much else was going on: the table is not written into README.md")
        report.write("speed", text)


def explain(workers: dict[str, Worker], arguments: argparse.Namespace) -> None:
    """Print which operators take the time of one call, ours and Captum's, and write it into README.md."""
    rows = []
    for net, batch in setups(workers, arguments.nets, arguments.batches):
        for call in CALLS:
            for side in ("cam", "captum"):
                whole = 1000 * workers[side].ask("time", call=call, repeats=3, warm=True)
                found = workers[side].ask("operators", call=call)
                most = sorted(found.items(), key=lambda item: -item[1])[: arguments.operators]
                spent = ", ".join(f"{name.removeprefix('aten::')} {took:.0f}" for name, took in most)
                rows.append([net, str(batch), call, side, f"{whole:.0f}", f"{sum(found.values()):.0f}", spent])
                print("  " + "  ".join(rows[-1][2:]), flush=True)
    if arguments.write:
        head = ["net", "batch", "call", "by", "the call, ms", "in operators, ms", "the most expensive, ms"]
        report.write("operators", report.table(head, rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", default=str(HERE.parent / "build/peers-venv/bin/python"), help="the peers' Python")
    parser.add_argument("--nets", nargs="+", choices=list(LAYERS), default=list(LAYERS))
    parser.add_argument("--batches", nargs="+", type=int, choices=range(1, 9), default=[1, 8])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--write", action="store_true", help="write the table into benchmarks/README.md")
    parser.add_argument("--quick", action="store_true", help="batch 1 and three rounds")
    parser.add_argument("--operators", nargs="?", type=int, const=6, help="the most expensive operators instead")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.batches, arguments.rounds = [1], 3
    if not all((FOLDER / f"{net}.npz").exists() for net in arguments.nets):
        subprocess.run([sys.executable, str(HERE / "random_parameters.py"), str(FOLDER)], check=True)
    workers = start(arguments.peers)
    try:
        (explain if arguments.operators else compare)(workers, arguments)
    finally:
        for worker in workers.values():
            worker.stop()


if __name__ == "__main__":
    main()
