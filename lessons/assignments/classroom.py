"""Hand out the problem sets and grade what comes back, with nbgrader: `make assignments` and `make grade`.

`build` turns the sources beside this file into nbgrader's course folder: `source` (with solutions and hidden tests,
for the teacher), `release` (for students) and `gradebook.db`. `grade` autogrades a folder of submissions, and writes
`grades.csv` and a page of feedback per student. The same folder works with nbgrader's own commands and under
JupyterHub: its `nbgrader_config.py` is a line that calls `configure` below.
"""

from __future__ import annotations

import copy
import os
import re
import shutil
import sys
import warnings
from difflib import get_close_matches
from html import escape
from pathlib import Path
from typing import Annotated
from unittest.mock import patch

import jupytext
import nbformat
import typer
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbgrader.api import Gradebook
from nbgrader.converters import Autograde, GenerateAssignment, GenerateFeedback
from nbgrader.coursedir import CourseDirectory
from nbgrader.plugins import CsvExportPlugin
from nbgrader.preprocessors import Execute
from nbgrader.utils import capture_log, is_grade
from sqlalchemy.exc import SAWarning
from traitlets.config import Config

HERE = Path(__file__).parent
COURSE = HERE.parent.parent / "build" / "assignments"
COURSE_ID = "cam"
TIMEOUT = 60  # seconds for one cell; every set takes less than that as a whole
KERNEL = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}


class ClassroomError(Exception):
    """A folder that cannot be built or graded."""


class RestartingExecute(Execute):
    """Run a submission so that an endless loop or a crash costs only the cell in which it happens.

    nbgrader's own Execute interrupts an endless loop, which code can ignore, and gives the whole submission up when
    the kernel dies. Here the cell is marked as failed, a new kernel runs the cells before it again (but for those that
    failed this way), and the rest goes on. A test cell also loses nothing by a warning: nbgrader takes any output on
    stderr for a failure.
    """

    interrupt_on_timeout = False
    error_on_timeout = None
    shutdown_kernel = "immediate"

    def preprocess(self, nb, resources, **options):
        self._lost: set[int] = set()  # cells that never end or kill the kernel
        return super().preprocess(nb, resources, **options)

    def preprocess_cell(self, cell, resources, index):
        try:
            cell, resources = super().preprocess_cell(cell, resources, index)
        except (CellTimeoutError, DeadKernelError) as error:
            cell.outputs = [_error_output(error, self.timeout)]
            self._lost.add(index)
            self._start_again(index)
        for output in cell.get("outputs", []):
            if is_grade(cell) and output.output_type == "stream":
                output.name = "stdout"
        return cell, resources

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
        for before, cell in enumerate(self.nb.cells[:index]):
            if before in self._lost:
                continue
            try:
                self.execute_cell(copy.deepcopy(cell), before)
            except (CellTimeoutError, DeadKernelError):
                return before
            finally:
                self.nb.cells[before] = cell
        return None


def _error_output(error: Exception, timeout: int) -> nbformat.NotebookNode:
    if isinstance(error, CellTimeoutError):
        name, text = "CellTimeoutError", f"this cell did not end within {timeout} seconds: is there an endless loop?"
    else:
        name, text = "DeadKernelError", "this cell ended the Python process: did it crash, or run out of memory?"
    return nbformat.v4.new_output("error", ename=name, evalue=text, traceback=[f"{name}: {text}"])


def configure(config: Config, course: Path, timeout: int = TIMEOUT) -> Config:
    """Fill in nbgrader's configuration for a course folder."""
    config.CourseDirectory.root = str(course)
    config.CourseDirectory.course_id = COURSE_ID
    config.ClearSolutions.code_stub = {"python": "# YOUR CODE HERE\nraise NotImplementedError('not written yet')"}
    config.RestartingExecute.timeout = timeout
    # The kernel's own warnings are about things that a teacher cannot change.
    config.RestartingExecute.extra_arguments = ["--log-level=ERROR"]
    steps = Autograde.autograde_preprocessors.default()
    config.Autograde.autograde_preprocessors = [RestartingExecute if step is Execute else step for step in steps]
    return config


def sources() -> list[Path]:
    """The problem sets, in order."""
    return sorted(HERE.glob("[0-9]*.py"))


def notebook(source: Path) -> nbformat.NotebookNode:
    """The notebook of a percent script, the same at every call: cell ids follow from the cell's place."""
    nb = jupytext.read(source)
    nb.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    for index, cell in enumerate(nb.cells):
        cell.id = f"cell-{index:02}"
    return nb


def build(course: Path = COURSE) -> list[Path]:
    """Write the course folder with sources and release; returns the released notebooks.

    A gradebook that is already there keeps its grades.

    Raises
    ------
    ClassroomError
        If nbgrader refuses a source.
    """
    course.mkdir(parents=True, exist_ok=True)
    config = course / "nbgrader_config.py"
    if not config.exists():  # a teacher may have added to it
        config.write_text(
            f"import sys\nfrom pathlib import Path\n\nsys.path.append({str(HERE)!r})\nfrom classroom import configure\n\n"
            "configure(get_config(), Path(__file__).parent)\n"
        )
    for source in sources():
        folder = course / "source" / source.stem
        folder.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook(source), folder / f"{source.stem}.ipynb")
        result = _run(GenerateAssignment, course, source.stem)
        if not result["success"]:
            raise ClassroomError(f"{source.stem}: {_reason(result)}")
    return [course / "release" / source.stem / f"{source.stem}.ipynb" for source in sources()]


def grade(submissions: Path, course: Path = COURSE, timeout: int = TIMEOUT) -> list[str]:
    """Autograde `submissions`/student/set/set.ipynb into the course folder; returns what could not be graded.

    The submissions are copied first and stay as they are. Grades given by hand in nbgrader's formgrader are kept.

    Raises
    ------
    ClassroomError
        If there is no such folder, or no submission in it.
    """
    if not submissions.is_dir():
        raise ClassroomError(f"the folder {submissions} does not exist")
    found = sorted(path for source in sources() for path in submissions.glob(f"*/{source.stem}/{source.stem}.ipynb"))
    if not found:
        raise ClassroomError(
            f"no submission in {submissions}; expected student/set/set.ipynb, such as "
            "ada/1_backward_rules/1_backward_rules.ipynb"
        )
    build(course)
    problems = _ignored(submissions, found)
    for path in found:
        student, name = path.parts[-3], path.stem
        refusal = _refusal(path)
        if refusal:
            problems.append(f"{student}, {name}: {refusal}")
            continue
        copied = course / "submitted" / student / name
        _copy(path.parent, copied)
        lost = _mend(copied / path.name, course / "release" / name / path.name)
        if lost:
            problems.append(f"{student}, {name}: without the deleted cells {', '.join(lost)}, whose points are missing")
        for step in (Autograde, GenerateFeedback):
            result = _run(step, course, name, student, timeout)
            if not result["success"]:
                problems.append(f"{student}, {name}: {_reason(result)}")
                break
    with Gradebook(f"sqlite:///{course.resolve() / 'gradebook.db'}", COURSE_ID) as gradebook:
        CsvExportPlugin(to=str(course / "grades.csv")).export(gradebook)
        for student in sorted({path.parts[-3] for path in found}):
            write_overview(gradebook, course, student)
    return problems


def write_overview(gradebook: Gradebook, course: Path, student: str) -> None:
    """A student's page: every question with its points and, where its check failed, the message."""
    parts = [_set_table(gradebook, course, student, source.stem) for source in sources()]
    page = (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{escape(student)}</title>{_STYLE}"
        f"<h1>{escape(student)}</h1>{''.join(parts)}</html>"
    )
    folder = course / "feedback" / student
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "index.html").write_text(page, encoding="utf-8")


_STYLE = (
    "<style>body{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
    "td{padding:.3em .8em;border-top:1px solid #ccc;vertical-align:top}pre{margin:0;white-space:pre-wrap}</style>"
)


def _set_table(gradebook: Gradebook, course: Path, student: str, name: str) -> str:
    """The heading and table of one set, or nothing if it was not graded."""
    graded = course / "autograded" / student / name / f"{name}.ipynb"
    if not graded.exists():
        return ""
    grades = {grade.name: grade for grade in gradebook.find_submission_notebook(name, name, student).grades}
    cells = [cell for cell in nbformat.read(graded, as_version=4).cells if is_grade(cell)]
    rows = "".join(_row(cell, grades[cell.metadata.nbgrader.grade_id]) for cell in cells)
    got, most = (sum(numbers) for numbers in zip(*((_score(grade) or 0, grade.max_score) for grade in grades.values())))
    waits = "; some are still to be given by hand" if None in map(_score, grades.values()) else ""
    return (
        f"<h2>{name}</h2><p>{got:g} of {most:g} points{waits}. "
        f'<a href="{name}/{name}.html">Your notebook with all messages</a></p><table>{rows}</table>'
    )


def _score(grade) -> float | None:
    """Points by hand if there are any, else those of the check."""
    return grade.auto_score if grade.manual_score is None else grade.manual_score


def _row(cell: nbformat.NotebookNode, grade) -> str:
    points = (
        f"of {grade.max_score:g}, by hand" if _score(grade) is None else f"{_score(grade):g} of {grade.max_score:g}"
    )
    errors = [output for output in cell.get("outputs", []) if output.output_type == "error"]
    message = escape("\n".join(f"{error.ename}: {error.evalue}" for error in errors))
    return f"<tr><td>{grade.name}<td>{points}<td><pre>{message}</pre>"


def _run(converter: type, course: Path, name: str, student: str = ".", timeout: int = TIMEOUT) -> dict:
    """Run one of nbgrader's converters on one set of one student; returns success, error and log."""
    config = configure(Config(), course.resolve(), timeout)
    config.HTMLExporter.template_name = "feedback"
    folder = CourseDirectory(config=config, assignment_id=name, student_id=student)
    here = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with patch.dict(os.environ, PATH=here):  # nbgrader calls a command of this environment, alembic, by its name
        return capture_log(converter(coursedir=folder, config=config, force=True))


def _ignored(submissions: Path, found: list[Path]) -> list[str]:
    """In words: what lies in the folder of submissions and will not be graded."""
    names = [source.stem for source in sources()]
    used = {path.parent for path in found}
    files = [path for path in submissions.rglob("*") if path.is_file() and not used & set(path.parents)]
    problems = []
    for path in sorted(files):
        near = get_close_matches(path.stem.lower(), names, n=1, cutoff=0.5)
        place = f"student/{near[0]}/{near[0]}.ipynb" if near else "student/set/set.ipynb"
        problems.append(f"{path}: ignored, since it does not lie at {place}")
    empty = [path for path in submissions.rglob("*") if path.is_dir() and not any(path.iterdir())]
    return problems + [f"{path}: an empty folder" for path in sorted(empty)]


def _copy(source: Path, target: Path) -> None:
    """Replace a folder by a copy, unless it is that folder: what was there goes only when the copy is complete."""
    if source.resolve() == target.resolve():
        return
    new = target.with_name(f"{target.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    shutil.copytree(source, new)
    shutil.rmtree(target, ignore_errors=True)
    new.rename(target)


def _mend(path: Path, release: Path) -> list[str]:
    """Let the first of several cells with one grade_id count; returns the ids of cells with points that are gone.

    A cell that is split or pasted keeps nbgrader's metadata, and nbgrader gives up the whole notebook then.
    """
    nb = nbformat.read(path, as_version=4)
    seen: set[str] = set()
    for cell in nb.cells:
        name = cell.metadata.get("nbgrader", {}).get("grade_id")
        if name in seen:
            del cell.metadata["nbgrader"]
        elif name:
            seen.add(name)
    nbformat.write(nb, path)
    graded = [cell.metadata.nbgrader.grade_id for cell in nbformat.read(release, as_version=4).cells if is_grade(cell)]
    return [name for name in graded if name not in seen]


def _refusal(path: Path) -> str | None:
    """Why a submission cannot be graded, or None: nbgrader would give it 0 points without a word."""
    try:
        nb = nbformat.read(path, as_version=4)
    except Exception as error:  # nbformat raises many kinds
        return f"the file is no notebook ({type(error).__name__})"
    if not any("nbgrader" in cell.metadata for cell in nb.cells):
        return "the cells have lost nbgrader's metadata; ask for the released notebook, filled in with another editor"
    return None


def _reason(result: dict) -> str:
    """The exception that stopped nbgrader, from its log."""
    text = result.get("log", "") + result["error"]
    named = [line.strip() for line in text.splitlines() if re.match(r"\s*[\w.]*(Error|Exception)\b", line)]
    return named[0] if named else text.strip().splitlines()[-1]


app = typer.Typer(add_completion=False, help=__doc__.splitlines()[0])
CourseOption = Annotated[Path, typer.Option(help="nbgrader's course folder")]


@app.command("build")
def build_command(course: CourseOption = COURSE) -> None:
    """Build the notebooks that students get."""
    for path in build(course):
        print(path)


@app.command("grade")
def grade_command(submissions: Path, course: CourseOption = COURSE, timeout: int = TIMEOUT) -> None:
    """Autograde SUBMISSIONS/student/set/set.ipynb; write grades.csv and feedback pages."""
    warnings.simplefilter("ignore", SAWarning)  # about nbgrader's own use of its database
    submissions, course = submissions.expanduser(), course.expanduser()
    if not (course / "gradebook.db").exists():
        print(f"there was no course in {course}: a new one is made")
    try:
        problems = grade(submissions, course, timeout)
    except ClassroomError as error:
        sys.exit(str(error))
    print(f"grades: {course / 'grades.csv'}\nfeedback: {course / 'feedback'}/STUDENT/index.html")
    if problems:
        sys.exit("not graded:\n" + "\n".join(problems))


if __name__ == "__main__":
    app()
