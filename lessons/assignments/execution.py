"""Run a submission: in a room of its own, where no course is, and so that a loop or a crash costs one cell only."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cam

import nbformat
from jupyter_client.manager import KernelManager
from jupyter_core.utils import run_sync
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbgrader.preprocessors import DeduplicateIds, Execute
from nbgrader.utils import is_grade, is_locked, is_solution

LIMIT = 2_000  # characters of text that a cell's outputs may have
NOBODY = 65534
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/passwd", "/etc/fonts")
PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "OMP_NUM_THREADS", "MXNET_OMP_MAX_THREADS")


class Guard(NamedTuple):
    """What stands between a submission's process and whoever grades.

    Attributes
    ----------
    says : what it does, for the screen
    before : for a room, the words in front of a command
    user : who the process runs as, if that is not whoever grades
    """

    says: str
    before: Callable[[Path], list[str]]
    user: int | None = None

    def hand_over(self, folder: Path) -> None:
        """Let the process write in a folder of ours."""
        for path in (folder, *folder.rglob("*")) if self.user is not None else ():
            os.chown(path, self.user, self.user, follow_symlinks=False)

    def works(self) -> bool:
        """Whether this same Python starts under it and finds `cam`."""
        tried = "import sys, pathlib, cam, ipykernel; pathlib.Path('x').touch(); print(sys.version)"
        with tempfile.TemporaryDirectory(prefix="room-", ignore_cleanup_errors=True) as folder:
            room = Path(folder)
            try:
                self.hand_over(room)
                command, given = [*self.before(room), sys.executable, "-c", tried], environment(room)
                done = subprocess.run(command, cwd=room, env=given, capture_output=True, text=True, timeout=120)
            except (OSError, subprocess.TimeoutExpired):
                return False
            return done.stdout.strip() == sys.version.strip()


def bubblewrap(room: Path) -> list[str]:
    """It sees the system, this environment and `cam`, all read-only, and writes in its room alone; it has no network."""
    python = {sys.prefix, sys.base_prefix, os.path.realpath(sys.base_prefix), str(Path(cam.__file__).parent)}
    seen = [word for path in (*SYSTEM, *sorted(python)) for word in ("--ro-bind-try", path, path)]
    alone = ["--unshare-all", "--die-with-parent", "--new-session"]
    places = ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    orphan = ["--setenv", "JPY_PARENT_PID", "1"]  # a kernel that does not see its parent would end itself
    return ["bwrap", *alone, *places, *orphan, *seen, "--bind", str(room), str(room), "--chdir", str(room), "--"]


def as_nobody(room: Path) -> list[str]:
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]


GUARDS = (
    Guard("bubblewrap: without the course, your files or the network", bubblewrap),
    Guard("the user nobody, who cannot write in your files", as_nobody, NOBODY),
)
UNGUARDED = Guard(
    "nothing: it runs as you, with your files (install bubblewrap, or grade in a container)", lambda room: []
)


@cache
def guard() -> Guard:
    """The first guard that works on this system."""
    return next((one for one in GUARDS if one.works()), UNGUARDED)


def environment(room: Path) -> dict[str, str]:
    """What a submission's process finds in its environment."""
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return {**kept, "HOME": str(room), "NBGRADER_EXECUTION": "autograde"}


class OneCellPerId(DeduplicateIds):
    """Make plain cells of what a student copied or split, so that every grade_id is there once.

    A plain cell still runs, it only counts for nothing. Of an answer the first cell keeps the id, with the text of all
    if a teacher reads it; of a check the last, since only there everything is defined. nbgrader's own step leaves
    empty metadata behind, which its next step refuses together with the whole notebook.
    """

    def preprocess(self, nb, resources):
        kept: dict[str, nbformat.NotebookNode] = {}
        for cell in nb.cells:
            name = cell.metadata.get("nbgrader", {}).get("grade_id")
            if name is None:
                cell.metadata.pop("nbgrader", None)
            elif name not in kept:
                kept[name] = cell
            elif is_grade(cell) and not is_solution(cell):
                del kept[name].metadata["nbgrader"]
                kept[name] = cell
            else:
                if is_grade(cell):
                    kept[name].source += f"\n\n{cell.source}"
                del cell.metadata["nbgrader"]
        return nb, resources


class IsolatedExecute(Execute):
    """Run a submission under a guard, and so that an endless loop or a crash costs only the cell in which it happens.

    nbgrader's own Execute runs in the course, interrupts an endless loop, which code can ignore, and gives the whole
    submission up when the kernel dies. Here the kernel runs in a room of its own; a cell that ends it is marked as
    failed, a new kernel runs the cells before it again (but for those that failed this way), and the rest goes on.
    Before each check the locked cells above it run again, so that a check finds the names that it needs, whatever an
    answer called its variables. A check loses nothing by a warning: nbgrader takes any output on stderr for a failure.
    """

    interrupt_on_timeout = False
    error_on_timeout = None
    shutdown_kernel = "immediate"

    def preprocess(self, nb, resources, **options):
        self._lost: set[int] = set()  # cells that never end or kill the kernel
        given = resources["metadata"].get("path") or "."
        with tempfile.TemporaryDirectory(prefix="room-", ignore_cleanup_errors=True) as folder:
            self._room = room = Path(folder)
            _copy_files(Path(given), room)
            guard().hand_over(room)
            resources["metadata"]["path"] = str(room)
            try:
                return super().preprocess(nb, resources, **options)
            finally:
                resources["metadata"]["path"] = given

    def create_kernel_manager(self) -> KernelManager:
        manager = super().create_kernel_manager()
        # Through files in the room, since a guarded process has no network.
        folder = Path(tempfile.mkdtemp(dir=self._room))
        manager.transport, manager.ip = "ipc", str(folder / "kernel")
        manager.connection_file = str(folder / "kernel.json")
        manager.write_connection_file()
        guard().hand_over(folder)
        manager.kernel_spec.argv = [*guard().before(self._room), sys.executable, *manager.kernel_spec.argv[1:]]
        return manager

    async def async_start_new_kernel(self, **options) -> None:
        await super().async_start_new_kernel(env=environment(self._room), **options)

    start_new_kernel = run_sync(async_start_new_kernel)

    def preprocess_cell(self, cell, resources, index):
        try:
            if _is_check(cell):
                self._run_locked(index)
            cell, resources = super().preprocess_cell(cell, resources, index)
        except (CellTimeoutError, DeadKernelError) as error:
            cell.outputs = [_error_output(error, self.timeout)]
            self._lost.add(index)
            self._start_again(index)
        cell.outputs = shortened(cell.get("outputs", [])) if cell.cell_type == "code" else []
        for output in cell.outputs:
            if is_grade(cell) and output.output_type == "stream":
                output.name = "stdout"
        return cell, resources

    def _run_locked(self, index: int) -> None:
        """Define again what the checks use."""
        for number, cell in enumerate(self.nb.cells[:index]):
            if number not in self._lost and cell.cell_type == "code" and is_locked(cell) and not is_grade(cell):
                self._run_silently(number)

    def _start_again(self, index: int) -> None:
        """Bring a new kernel to the state before cell `index`."""
        while True:
            self._cleanup_kernel()
            self.km = self.create_kernel_manager()
            self.start_new_kernel()
            self.start_new_kernel_client()
            lost = self._run_again(index)
            if lost is None:
                return
            self._lost.add(lost)  # it ended the first time, but not now: without it then

    def _run_again(self, index: int) -> int | None:
        """Run the cells before `index` without keeping outputs; returns the cell that ended the kernel, if any."""
        for number in range(index):
            try:
                if number not in self._lost:
                    self._run_silently(number)
            except (CellTimeoutError, DeadKernelError):
                return number
        return None

    def _run_silently(self, number: int) -> None:
        cell = self.nb.cells[number]
        try:
            self.execute_cell(copy.deepcopy(cell), number)
        finally:
            self.nb.cells[number] = cell


def _is_check(cell: nbformat.NotebookNode) -> bool:
    return cell.cell_type == "code" and is_grade(cell) and not is_solution(cell)


def _copy_files(folder: Path, room: Path) -> None:
    """What lies beside the notebook, such as a data file."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, room / path.name, symlinks=True)
        elif path.suffix != ".ipynb":
            shutil.copy(path, room / path.name, follow_symlinks=False)


def _error_output(error: Exception, timeout: int) -> nbformat.NotebookNode:
    if isinstance(error, CellTimeoutError):
        name, text = "CellTimeoutError", f"this cell did not end within {timeout} seconds: is there an endless loop?"
    else:
        name, text = "DeadKernelError", "this cell ended the Python process: did it crash, or run out of memory?"
    return nbformat.v4.new_output("error", ename=name, evalue=text, traceback=[f"{name}: {text}"])


def shortened(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """The outputs with `LIMIT` characters of text in all, beside each error's own; pictures of a megabyte at most."""
    left, kept = LIMIT, []
    for output in outputs:
        if output.output_type == "error":
            output.ename, output.evalue = cut(output.ename), cut(output.evalue)
            output.traceback = [cut("\n".join(output.traceback), 5 * LIMIT)]
            kept.append(output)
        elif left > 0 and output.output_type == "stream":
            output.text = cut(output.text, left)
            left -= len(output.text)
            kept.append(output)
        elif left > 0:
            data = {kind: value for kind, value in output.data.items() if len(str(value)) <= _most(kind)}
            output.data = nbformat.from_dict(data or {"text/plain": "(too long to be kept)"})
            left -= 1 + sum(len(str(value)) for kind, value in data.items() if kind.startswith("text/"))
            kept.append(output)
    return kept


def _most(kind: str) -> int:
    return 1_000_000 if kind.startswith("image/") else LIMIT


def cut(text: str, most: int = LIMIT) -> str:
    return text if len(text) <= most else f"{text[:most]}\n[cut: {len(text):,} characters in all]"
