"""Writes the benchmarks' tables into README.md, between `<!-- NAME -->` and `<!-- end of NAME -->`."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import psutil

README = Path(__file__).parent / "README.md"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def machine() -> str:
    """The processor, its cores and the system."""
    names = [line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {psutil.cpu_count(logical=False)} cores, {platform.system()}"


class Others:
    """How busy other processes keep the machine from now on, beside this one and the given ones."""

    def __init__(self, *own: int):
        self.own = [psutil.Process(process) for process in (os.getpid(), *own)]
        self.start = self._seconds()

    def share(self) -> float:
        """The share of all cores' time that others took."""
        machine, own, clock = (now - then for now, then in zip(self._seconds(), self.start))
        return max(0.0, machine - own) / (clock * psutil.cpu_count())

    def _seconds(self) -> tuple[float, float, float]:
        machine = psutil.cpu_times()
        idle = machine.idle + getattr(machine, "iowait", 0)
        guests = getattr(machine, "guest", 0) + getattr(machine, "guest_nice", 0)  # also counted as user's
        own = sum(times.user + times.system for times in (process.cpu_times() for process in self.own))
        return sum(machine) - idle - guests, own, time.monotonic()


def write(name: str, text: str) -> None:
    """Put the text in the place of what stands between the marks."""
    before, _, rest = README.read_text().partition(f"<!-- {name} -->\n")
    _, mark, after = rest.partition(f"<!-- end of {name} -->")
    if not mark:
        raise ValueError(f"{README.name} has no marks for {name!r}")
    README.write_text(f"{before}<!-- {name} -->\n{text.strip()}\n{mark}{after}")


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []
