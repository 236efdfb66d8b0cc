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
import tempfile
import warnings
from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
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
from nbgrader.preprocessors import DeduplicateIds, Execute
from nbgrader.utils import capture_log, is_grade, is_solution
from sqlalchemy.exc import SAWarning
from traitlets.config import Config

HERE = Path(__file__).parent
COURSE = HERE.parent.parent / "build" / "assignments"
COURSE_ID = "cam"
TIMEOUT = 60  # seconds for one cell; every set takes less than that as a whole
KERNEL = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}


class ClassroomError(Exception):
    """A folder that cannot be built or graded."""


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
    ours = {Execute: RestartingExecute, DeduplicateIds: OneCellPerId}
    for name in ("sanitize_preprocessors", "autograde_preprocessors"):
        steps = getattr(Autograde, name).default()
        setattr(config.Autograde, name, [ours.get(step, step) for step in steps])
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


def grade(
    submissions: Path, course: Path = COURSE, timeout: int = TIMEOUT, progress: Callable[[str], None] = str
) -> list[str]:
    """Autograde `submissions`/student/set/set.ipynb into the course folder; returns what could not be graded.

    The submissions are copied first and stay as they are. Grades given by hand in nbgrader's formgrader are kept.
    `progress` is called with a line for every notebook.

    Raises
    ------
    ClassroomError
        If there is no submission in this folder, or no course in a folder that is not the default.
    """
    if not submissions.is_dir():
        raise ClassroomError(f"the folder of submissions does not exist: {submissions}")
    found = sorted(path for source in sources() for path in submissions.glob(f"*/{source.stem}/{source.stem}.ipynb"))
    notes = misplaced(submissions, found)
    if not found:
        raise ClassroomError(
            f"no submission in {submissions}; expected student/set/set.ipynb, such as "
            "ada/1_backward_rules/1_backward_rules.ipynb" + "".join(f"\n{text}" for _, text in notes)
        )
    if course.resolve() != COURSE.resolve() and not (course / "nbgrader_config.py").exists():
        raise ClassroomError(f"no course in {course}; is it mistyped? `make assignments COURSE=...` builds a new one")
    build(course)
    with Gradebook(f"sqlite:///{course.resolve() / 'gradebook.db'}", COURSE_ID) as gradebook:
        for number, path in enumerate(found, 1):
            student, name = path.parts[-3], path.stem
            progress(f"{number} of {len(found)}: {student}, {name}")
            problem = _grade_one(gradebook, path, course, timeout)
            if problem:
                notes.append((student, f"{student}, {name}: {problem}"))
        for student in sorted({student for student, _ in notes if student} | {path.parts[-3] for path in found}):
            gradebook.update_or_create_student(student)  # a row in the CSV even if nothing could be graded
            write_overview(gradebook, course, student, [text for name, text in notes if name == student])
        CsvExportPlugin(to=str(course / "grades.csv")).export(gradebook)
    return [text for _, text in notes]


def _grade_one(gradebook: Gradebook, path: Path, course: Path, timeout: int) -> str | None:
    """Grade one notebook; returns what went wrong."""
    student, name = path.parts[-3], path.stem
    refusal = _refusal(path)
    if refusal:
        return refusal
    _copy(path.parent, course / "submitted" / student / name)
    for step in (Autograde, GenerateFeedback):
        result = _run(step, course, name, student, timeout)
        if not result["success"]:
            return _reason(result)
    gradebook.db.expire_all()  # the grades were written through another connection
    return _count_missing(gradebook, course, student, name)


def _count_missing(gradebook: Gradebook, course: Path, student: str, name: str) -> str | None:
    """Give 0 points for graded cells that the student deleted; returns a sentence about them."""
    nb = nbformat.read(course / "autograded" / student / name / f"{name}.ipynb", as_version=4)
    there = {cell.metadata.nbgrader.grade_id for cell in nb.cells if is_grade(cell)}
    grades = gradebook.find_submission_notebook(name, name, student).grades
    missing = [grade for grade in grades if grade.name not in there]
    for grade in missing:
        grade.auto_score, grade.needs_manual_grade = 0, False
    gradebook.db.commit()
    if not missing:
        return None
    names, lost = ", ".join(sorted(grade.name for grade in missing)), sum(grade.max_score for grade in missing)
    return f"graded, but 0 of {lost:g} points for cells that are missing from the notebook: {names}"


def misplaced(submissions: Path, found: list[Path]) -> list[tuple[str, str]]:
    """What lies in the folder beside the notebooks `found`, as pairs of student, or "", and a sentence."""
    sets, folders, notes = [source.stem for source in sources()], {path.parent for path in found}, []
    for path in sorted(submissions.rglob("*")):
        inside = path.relative_to(submissions)
        student = inside.parts[0] if path.is_dir() or len(inside.parts) > 1 else ""
        if path in found or any(part.startswith((".", "__")) for part in inside.parts):
            continue
        if path.is_dir():
            if len(inside.parts) < 3 and not any(one.is_file() for one in path.rglob("*")):
                notes.append((student, f"{path}: this folder holds no submission"))
        elif path.suffix.lower() == ".ipynb" or not folders & set(path.parents):  # other files may lie beside one
            stems = (re.sub(r"\W", "_", part.lower()) for part in (path.stem, path.parent.name))
            meant = [name for stem in stems for name in get_close_matches(stem, sets, n=1)]
            name = meant[0] if meant else "SET"
            place = submissions / (student or "STUDENT") / name / f"{name}.ipynb"
            kind = "" if path.suffix.lower() == ".ipynb" else " it is no notebook (.ipynb);"
            if place in found:
                ask = f"{place} was graded"
            else:
                ask = f"did you mean {place}?" if meant else f"expected {place}"
            notes.append((student, f"{path}: ignored;{kind} {ask}"))
    return notes


def _copy(folder: Path, target: Path) -> None:
    """Replace a folder by a copy of another, unless they are the same; nothing is removed before the copy is there."""
    if folder.resolve() == target.resolve():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent.parent, prefix=".copy-") as temporary:
        copied = shutil.copytree(folder, Path(temporary) / target.name)
        shutil.rmtree(target, ignore_errors=True)
        copied.rename(target)


def write_overview(gradebook: Gradebook, course: Path, student: str, notes: list[str]) -> None:
    """A student's page: what could not be graded, and every question with its points and its check's message."""
    parts = [f"<p><strong>{escape(note)}</strong></p>" for note in notes]
    parts += [_set_table(gradebook, course, student, source) for source in sources()]
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


def _set_table(gradebook: Gradebook, course: Path, student: str, source: Path) -> str:
    """The heading and table of one set, or nothing if it was not graded."""
    name = source.stem
    graded = course / "autograded" / student / name / f"{name}.ipynb"
    if not graded.exists():
        return ""
    grades = {grade.name: grade for grade in gradebook.find_submission_notebook(name, name, student).grades}
    cells = nbformat.read(graded, as_version=4).cells
    by_id = {cell.metadata.nbgrader.grade_id: cell for cell in cells if is_grade(cell)}
    rows = "".join(_row(title, by_id.get(key), grades[key]) for key, title in _titles(source).items())
    own = next((_message(cell) for cell in cells if not is_grade(cell) and _message(cell)), "")
    first = f"<p>The first error outside the checks:</p><pre>{escape(own)}</pre>" if own else ""
    got, most = (sum(numbers) for numbers in zip(*((_score(grade) or 0, grade.max_score) for grade in grades.values())))
    waits = "; some are still to be given by hand" if None in map(_score, grades.values()) else ""
    return (
        f"<h2>{name}</h2><p>{got:g} of {most:g} points{waits}. "
        f'<a href="{name}/{name}.html">Your notebook with all messages</a></p>{first}<table>{rows}</table>'
    )


def _titles(source: Path) -> dict[str, str]:
    """The graded cells of a set, in order: grade_id, and the heading above with the id in words."""
    titles, heading = {}, ""
    for cell in notebook(source).cells:
        if is_grade(cell):
            key = cell.metadata.nbgrader.grade_id
            titles[key] = f"{heading}: {key.replace('_', ' ')}"
        headings = (
            re.findall(r"^## (.*?)(?: \(.*)?$", cell.source, re.MULTILINE) if cell.cell_type == "markdown" else []
        )
        heading = headings[-1] if headings else heading
    return titles


def _score(grade) -> float | None:
    """Points by hand if there are any, else those of the check."""
    return grade.auto_score if grade.manual_score is None else grade.manual_score


def _row(title: str, cell: nbformat.NotebookNode | None, grade) -> str:
    points = (
        f"of {grade.max_score:g}, by hand" if _score(grade) is None else f"{_score(grade):g} of {grade.max_score:g}"
    )
    message = "this cell is missing from your notebook" if cell is None else _message(cell)
    return f"<tr><td>{escape(title)}<td>{points}<td><pre>{escape(message)}</pre>"


def _message(cell: nbformat.NotebookNode) -> str:
    """The errors of a cell that ran."""
    errors = [output for output in cell.get("outputs", []) if output.output_type == "error"]
    return "\n".join(f"{error.ename}: {error.evalue}" for error in errors)


def _run(converter: type, course: Path, name: str, student: str = ".", timeout: int = TIMEOUT) -> dict:
    """Run one of nbgrader's converters on one set of one student; returns success, error and log."""
    config = configure(Config(), course.resolve(), timeout)
    config.HTMLExporter.template_name = "feedback"
    folder = CourseDirectory(config=config, assignment_id=name, student_id=student)
    here = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with patch.dict(os.environ, PATH=here):  # nbgrader calls a command of this environment, alembic, by its name
        return capture_log(converter(coursedir=folder, config=config, force=True))


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
    for path in build(course.expanduser()):
        print(path)


@app.command("grade")
def grade_command(submissions: Path, course: CourseOption = COURSE, timeout: int = TIMEOUT) -> None:
    """Autograde SUBMISSIONS/student/set/set.ipynb; write grades.csv and feedback pages."""
    warnings.simplefilter("ignore", SAWarning)  # about nbgrader's own use of its database
    try:
        course = course.expanduser()
        problems = grade(submissions.expanduser(), course, timeout, partial(print, flush=True))
    except ClassroomError as error:
        sys.exit(str(error))
    print(f"grades: {course / 'grades.csv'}\nfeedback: {course / 'feedback'}/STUDENT/index.html")
    if problems:
        sys.exit("not graded, or not as a whole:\n" + "\n".join(problems))


if __name__ == "__main__":
    app()
