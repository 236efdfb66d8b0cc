"""Run a submission: in a room of its own, where no course is, and so that a loop or a crash costs one cell only."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import cam

import nbformat
from jupyter_client.manager import KernelManager
from jupyter_core.utils import run_sync
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbgrader.preprocessors import DeduplicateIds, Execute
from nbgrader.utils import is_grade, is_locked, is_solution

LIMIT = 2_000  # characters of an output's text
MOST = 20  # outputs of a cell, beside its errors
NOBODY = 65534
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/passwd", "/etc/fonts")
PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "OMP_NUM_THREADS", "MXNET_OMP_MAX_THREADS")


ENDED = {  # what a cell says that ended its kernel, or that did not end within so many seconds
    CellTimeoutError: "this cell did not end within {} seconds: is there an endless loop?",
    DeadKernelError: "this cell ended the Python process: did it crash, or run out of memory?",
}


class GradebookError(Exception):
    """A submission wrote to the gradebook."""


def bubblewrap(room: Path, new: Path) -> list[str]:
    """It sees the system, this environment and `cam`, all read-only, and writes in its room alone; it has no network."""
    python = {sys.prefix, sys.base_prefix, os.path.realpath(sys.base_prefix), str(Path(cam.__file__).parent)}
    seen = [word for path in (*SYSTEM, *sorted(python)) for word in ("--ro-bind-try", path, path)]
    alone = ["--unshare-all", "--die-with-parent", "--new-session"]
    places = ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    orphan = ["--setenv", "JPY_PARENT_PID", "1"]  # a kernel that does not see its parent would end itself
    return ["bwrap", *alone, *places, *orphan, *seen, "--bind", str(room), str(room), "--chdir", str(room), "--"]


def as_nobody(room: Path, new: Path) -> list[str]:
    """It writes where the user nobody may: in what is new, the room or a folder in it, which is handed over."""
    for path in (new, *new.rglob("*")):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]


def unguarded(room: Path, new: Path) -> list[str]:
    return []


# What stands between a submission's process and whoever grades: for a room, the words in front of a command.
GUARDS = {
    bubblewrap: "bubblewrap: without the course, your files or the network",
    as_nobody: "the user nobody, who cannot write in your files",
    unguarded: "nothing: it runs as you, with your files (install bubblewrap, or grade in a container)",
}


@cache
def guard() -> Callable[[Path, Path], list[str]]:
    """The first guard that works on this system."""
    return next((one for one in GUARDS if _works(one)), unguarded)


def _works(one: Callable[[Path, Path], list[str]]) -> bool:
    """Whether this same Python starts behind a guard, finds `cam` and writes in its room."""
    with tempfile.TemporaryDirectory(prefix="room-", ignore_cleanup_errors=True) as folder:
        room, tried = Path(folder), "import cam, ipykernel; open('x', 'w').close()"
        try:
            command = [*one(room, room), sys.executable, "-c", tried]
            done = subprocess.run(command, cwd=room, env=environment(room), capture_output=True, timeout=120)
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0


def environment(room: Path) -> dict[str, str]:
    """What a submission's process finds in its environment."""
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return {**kept, "HOME": str(room), "NBGRADER_EXECUTION": "autograde"}


@contextmanager
def unchanged(gradebook: Path) -> Iterator[None]:
    """Put a gradebook back, and raise GradebookError, if anybody writes to it: nbgrader does only before and after."""

    def held() -> dict[Path, bytes]:  # also SQLite's journal, from which it would change later
        return {path: path.read_bytes() for path in gradebook.parent.glob(f"{gradebook.name}*")}

    before = held()
    try:
        yield
    finally:
        after = held()
        if after != before:
            for path in after:
                path.unlink()
            for path, content in before.items():
                path.write_bytes(content)
            raise GradebookError("it changed the gradebook, and everything was put back; look at what its code does")


class ReleasedCells(DeduplicateIds):
    """Make every cell of the release be there once, whatever a student copied, split, pasted or deleted.

    Of an answer that is there twice the first cell counts, with the text of all if a teacher reads it; of a check the
    last, since only there everything is defined. The others run as plain cells, and so do cells of another set. Locked
    cells and open questions that were deleted come back, as late as they can, since a student may have answered in a
    cell of their own. nbgrader's `DeduplicateIds` leaves metadata behind that its next step refuses together with the
    whole notebook, and its `add_missing_cells` needs the cell before the one that is missing.
    """

    def preprocess(self, nb, resources):
        name = resources["nbgrader"]["notebook"]
        path = Path("release", resources["nbgrader"]["assignment"], f"{name}.ipynb")  # nbgrader works in the course
        released = by_id(nbformat.read(path, as_version=4))
        kept: dict[str, nbformat.NotebookNode] = {}
        for cell in nb.cells:
            key = cell.metadata.get("nbgrader", {}).get("grade_id")
            if key not in released:
                cell.metadata.pop("nbgrader", None)
            elif key not in kept:
                kept[key] = cell
            elif is_check(cell):
                del kept[key].metadata["nbgrader"]
                kept[key] = cell
            else:
                if is_grade(cell):
                    kept[key].source += f"\n\n{cell.source}"
                del cell.metadata["nbgrader"]
        place = len(nb.cells)
        for key, cell in reversed(released.items()):
            if key in kept:
                place = next(index for index, one in enumerate(nb.cells) if one is kept[key])
            elif is_locked(cell) or is_grade(cell):
                del cell["id"]
                if nb.nbformat_minor >= 5:
                    cell.id = f"back-{key}"  # a student's cell may have the released one
                nb.cells.insert(place, cell)
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
        gradebook = Path(resources["nbgrader"]["db_url"].removeprefix("sqlite:///"))
        with unchanged(gradebook), tempfile.TemporaryDirectory(prefix="room-", ignore_cleanup_errors=True) as folder:
            self._room, resources["metadata"]["path"] = Path(folder), folder
            beside = shutil.ignore_patterns("*.ipynb")  # such as a data file
            shutil.copytree(given, folder, symlinks=True, ignore=beside, dirs_exist_ok=True)
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
        # A room is handed over once: later a submission may have put links to files of ours there.
        before = guard()(self._room, folder if self._lost else self._room)
        manager.kernel_spec.argv = [*before, sys.executable, *manager.kernel_spec.argv[1:]]
        return manager

    async def async_start_new_kernel(self, **options) -> None:
        await super().async_start_new_kernel(env=environment(self._room), **options)

    start_new_kernel = run_sync(async_start_new_kernel)

    def preprocess_cell(self, cell, resources, index):
        try:
            if is_check(cell):
                for number, one in enumerate(self.nb.cells[:index]):
                    if is_locked(one) and not is_grade(one):  # what checks use
                        self._run_again(number)
            cell, resources = super().preprocess_cell(cell, resources, index)
        except tuple(ENDED) as error:
            name, text = type(error).__name__, ENDED[type(error)].format(self.timeout)
            cell.outputs = [nbformat.v4.new_output("error", ename=name, evalue=text, traceback=[f"{name}: {text}"])]
            self._start_again(index)
        if cell.cell_type == "code":
            cell.outputs = shortened(cell.outputs)
            for output in cell.outputs:
                if is_grade(cell) and output.output_type == "stream":
                    output.name = "stdout"
        return cell, resources

    def _start_again(self, index: int) -> None:
        """Bring a new kernel to the state after cell `index`, without the cells that end a kernel."""
        self._lost.add(index)
        while True:
            self._cleanup_kernel()
            self.km = self.create_kernel_manager()
            self.start_new_kernel()
            self.start_new_kernel_client()
            try:
                for number in range(index):
                    self._run_again(number)
                return
            except tuple(ENDED):
                self._lost.add(number)  # it ended the first time, but not now

    def _run_again(self, number: int) -> None:
        """Run a cell without keeping what it puts out."""
        if number not in self._lost:
            cell = self.nb.cells[number]
            try:
                self.execute_cell(copy.deepcopy(cell), number)
            finally:
                self.nb.cells[number] = cell


def by_id(nb: nbformat.NotebookNode) -> dict[str, nbformat.NotebookNode]:
    """The cells of a notebook that nbgrader knows, by grade_id."""
    marked = [cell for cell in nb.cells if "grade_id" in cell.metadata.get("nbgrader", {})]
    return {cell.metadata.nbgrader.grade_id: cell for cell in marked}


def is_check(cell: nbformat.NotebookNode) -> bool:
    return cell.cell_type == "code" and is_grade(cell) and not is_solution(cell)


def shortened(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Every error and the first `MOST` outputs, with `LIMIT` characters of text each, and pictures of a megabyte."""
    kept = [output for index, output in enumerate(outputs) if index < MOST or output.output_type == "error"]
    for output in kept:
        if output.output_type == "error":
            output.ename, output.evalue = cut(output.ename), cut(output.evalue)
            output.traceback = [cut("\n".join(output.traceback), 5 * LIMIT)]
        elif output.output_type == "stream":
            output.text = cut(output.text)
        else:
            most = {kind: 1_000_000 if kind.startswith("image/") else LIMIT for kind in output.data}
            data = {kind: value for kind, value in output.data.items() if len(str(value)) <= most[kind]}
            output.data = nbformat.from_dict(data or {"text/plain": "(too long to be kept)"})
    return kept


def cut(text: str, most: int = LIMIT) -> str:
    return text if len(text) <= most else f"{text[:most]}\n[cut after {most:,} characters]"
