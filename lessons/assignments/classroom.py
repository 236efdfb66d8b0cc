"""Hand out the problem sets and grade what comes back, with nbgrader: `make assignments` and `make grade`.

`build` turns the sources beside this file into nbgrader's course folder: `source` (with solutions and hidden tests,
for the teacher), `release` (for students) and `gradebook.db`. `grade` autogrades a folder of submissions, and writes
`grades.csv` and a page of feedback per student. The same folder works with nbgrader's own commands and under
JupyterHub: its `nbgrader_config.py` is a line that calls `configure` below.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from contextlib import closing
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Annotated
from unittest.mock import patch

import jupytext
import nbformat
import typer
from execution import IsolatedExecute, OneCellPerId, guard
from nbconvert import HTMLExporter
from nbgrader.api import Gradebook
from nbgrader.converters import Autograde, GenerateAssignment, GenerateFeedback
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import DeduplicateIds, Execute
from nbgrader.utils import capture_log, is_grade
from pages import write_alike, write_answers, write_page, write_tables
from sqlalchemy.exc import SAWarning
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

HERE = Path(__file__).parent
COURSE = HERE.parent.parent / "build" / "assignments"
COURSE_ID = "cam"
TIMEOUT = 60  # seconds for one cell; every set takes less than that as a whole
KERNEL = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
# What learning platforms make of SET.ipynb in the archive of a download:
#   Moodle   Ada Lovelace_1234_assignsubmission_file_/SET.ipynb
#   Canvas   lovelaceada_1234_5678_SET.ipynb, lovelaceada_LATE_1234_5678_SET-1.ipynb
DOWNLOADS = (
    r".*/(?P<student_id>[^/]+?)_(?:LATE_)?\d+_(?:assignsubmission_file_|\d+_)/?(?P<file_id>[^/]+?)(?:-\d+)?\.ipynb$"
)
PLACE = 'sys.path.append(str(Path(cam.__file__).parents[1] / "lessons" / "assignments"))'
CONFIG = f'''"""nbgrader's settings for this course; what you add below the last line goes before ours."""

import sys
from pathlib import Path

import cam

{PLACE}
from classroom import configure

c = get_config()
configure(c, Path(__file__).parent)
'''


class ClassroomError(Exception):
    """A folder that cannot be built or graded."""


def configure(config: Config, course: Path) -> Config:
    """Fill in nbgrader's configuration for a course folder."""
    config.CourseDirectory.root = str(course)
    config.CourseDirectory.course_id = COURSE_ID
    config.ClearSolutions.code_stub = {"python": "# YOUR CODE HERE\nraise NotImplementedError('not written yet')"}
    config.IsolatedExecute.timeout = TIMEOUT
    # The kernel's own warnings are about things that a teacher cannot change.
    config.IsolatedExecute.extra_arguments = ["--log-level=ERROR"]
    config.FileNameCollectorPlugin.named_regexp = DOWNLOADS
    ours = {Execute: IsolatedExecute, DeduplicateIds: OneCellPerId}
    for name in ("sanitize_preprocessors", "autograde_preprocessors"):
        steps = getattr(Autograde, name).default()
        setattr(config.Autograde, name, [ours.get(step, step) for step in steps])
    return config


def sources() -> list[Path]:
    """The project's problem sets, in order."""
    return sorted(HERE.glob("[0-9]*.py"))


def sets(course: Path) -> list[str]:
    """The names of a course's sets, the project's and the teacher's own: the folders in `source`.

    Raises
    ------
    ClassroomError
        If a folder holds no notebook of its name.
    """
    folders = sorted(path for path in (course / "source").glob("*") if path.is_dir() and path.name[0] not in "._")
    for path in folders:
        if not (path / f"{path.name}.ipynb").exists():
            raise ClassroomError(
                f"{path} holds no {path.name}.ipynb; a set is one notebook that is called as its folder"
            )
    return [path.name for path in folders]


def notebook(source: Path, secret: int = 0) -> nbformat.NotebookNode:
    """The notebook of a percent script, with the course's number for SECRET; cell ids follow from the cell's place."""
    nb = jupytext.read(source)
    nb.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    for index, cell in enumerate(nb.cells):
        cell.id = f"cell-{index:02}"
        cell.source = re.sub(r"\bSECRET\b", str(secret), cell.source)
    return nb


def build(course: Path = COURSE, say: Callable[[str], None] = str) -> list[Path]:
    """Write the course folder with sources, release and answer key; returns the released notebooks.

    A gradebook that is already there keeps its grades, and a source that a teacher has edited stays as it is, which is
    said. Hidden tests draw their numbers from a seed that each course has for itself, in `secret.json`.

    Raises
    ------
    ClassroomError
        If nbgrader refuses a source.
    """
    course.mkdir(parents=True, exist_ok=True)
    config, kept = course / "nbgrader_config.py", course / "secret.json"
    if config.exists():  # a teacher may have added to it; courses of the first edition name a place of their own
        text = re.sub(
            r"^sys\.path\.append\('.*'\)$", lambda _: f"import cam\n\n{PLACE}", config.read_text(), flags=re.M
        )
        config.write_text(text)
    else:
        config.write_text(CONFIG)
    known = json.loads(kept.read_text()) if kept.exists() else {"seed": secrets.randbelow(2**31), "written": {}}
    for source in sources():
        name, nb = source.stem, notebook(source, known["seed"])
        path = course / "source" / name / f"{name}.ipynb"
        mark = _fingerprint(nb)
        if path.exists() and _fingerprint(nbformat.read(path, as_version=4)) not in (mark, known["written"].get(name)):
            say(f"{name}: {path} was edited and stays as it is; to have the project's again, remove it")
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(nb, path)
        known["written"][name] = mark
    kept.write_text(json.dumps(known))
    (course / "key").mkdir(exist_ok=True)
    for name in sets(course):
        _generate(course, name)
        page, _ = HTMLExporter().from_filename(course / "source" / name / f"{name}.ipynb")
        (course / "key" / f"{name}.html").write_text(page, encoding="utf-8")
    return [course / "release" / name / f"{name}.ipynb" for name in sets(course)]


def handout(course: Path = COURSE) -> Path:
    """Write `handout.zip` into a built course: all that a student needs, and nothing of the solutions; returns its path.

    Raises
    ------
    ClassroomError
        If the course is not built, or the wheel cannot be.
    """
    released = [course / "release" / name / f"{name}.ipynb" for name in sets(course)]
    if not released or not all(path.exists() for path in released):
        raise ClassroomError(f"no released sets in {course}; `make assignments COURSE=...` builds them")
    root, target = HERE.parent.parent, course / "handout.zip"
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        project = Path(folder) / "project"  # a copy, since a build in place would pack what an earlier one left
        shutil.copytree(root / "cam", project / "cam", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(root / "LICENSES", project / "LICENSES")
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(root / name, project / name)
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, str(project)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise ClassroomError(f"pip cannot build the wheel: {done.stderr.strip().splitlines()[-1]}")
        for path in (*Path(folder).glob("*.whl"), root / "constraints.txt", HERE / "INSTALL.md"):
            archive.write(path, path.name)
        for path in released:
            archive.write(path, f"sets/{path.name}")
        for path in sorted((root / "lessons").rglob("*")):
            inside = path.relative_to(root)
            if path.is_file() and HERE not in path.parents and not any(part[0] in "._" for part in inside.parts):
                archive.write(path, inside)
    return target


def _generate(course: Path, name: str) -> None:
    result = _run(GenerateAssignment, course, name)
    if not result["success"]:
        raise ClassroomError(f"{name}: {_reason(result)}")


def _fingerprint(nb: nbformat.NotebookNode) -> str:
    cells = [(cell.cell_type, cell.source, cell.metadata.get("nbgrader", {})) for cell in nb.cells]
    return hashlib.sha256(json.dumps(cells, sort_keys=True).encode()).hexdigest()


def grade(
    submissions: Path, course: Path = COURSE, timeout: int | None = None, progress: Callable[[str], None] = str
) -> list[str]:
    """Autograde `submissions`/student/set/set.ipynb into the course folder; returns what could not be graded.

    The submissions are copied first and stay as they are. Grades and comments given by hand in nbgrader's formgrader
    are kept. What has not changed since it was graded is not run again. `progress` is called with a line for every
    notebook, and for what deserves a word.

    Raises
    ------
    ClassroomError
        If there is no submission in this folder, or no course in a folder that is not the default.
    """
    if not submissions.is_dir():
        raise ClassroomError(f"the folder of submissions does not exist: {submissions}")
    if not (course / "nbgrader_config.py").exists():
        if course.resolve() != COURSE.resolve():
            raise ClassroomError(
                f"no course in {course}; is it mistyped? `make assignments COURSE=...` builds a new one"
            )
        build(course, progress)
    names = sets(course)
    found = sorted(path for name in names for path in submissions.glob(f"*/{name}/{name}.ipynb"))
    notes, empty = misplaced(submissions, found, names)
    if not found:
        raise ClassroomError(
            f"no submission in {submissions}; expected student/set/set.ipynb, such as "
            "ada/1_backward_rules/1_backward_rules.ipynb" + "".join(f"\n{text}" for _, text in notes)
        )
    for name in names:
        if not (course / "release" / name / f"{name}.ipynb").exists():
            _generate(course, name)
    for text in (*empty, f"between the submissions and you: {guard().says}"):
        progress(text)
    with Gradebook(f"sqlite:///{course.resolve() / 'gradebook.db'}", COURSE_ID) as gradebook:
        for number, path in enumerate(found, 1):
            student, name = path.parts[-3], path.stem
            progress(f"{number} of {len(found)}: {student}, {name}")
            problem = _grade_one(gradebook, path, course, timeout)
            if problem:
                notes.append((student, f"{student}, {name}: {problem}"))
        for student in sorted({student for student, _ in notes if student} | {path.parts[-3] for path in found}):
            gradebook.update_or_create_student(student)  # a row in the CSV even if nothing could be graded
            write_page(gradebook, course, names, student, [text for name, text in notes if name == student])
        write_tables(gradebook, course)
    write_alike(course, names)
    write_answers(course, names, rubrics())
    return [text for _, text in notes]


def rubrics() -> dict[str, str]:
    """By set, its paragraph in the teacher's page."""
    text = (HERE / "README.md").read_text(encoding="utf-8").partition("## Rubrics")[2]
    return {
        name: " ".join(words.split())
        for name, words in re.findall(r"^\*\*(\w+)\*\* (.*?)(?:\n\n|\Z)", text, re.M | re.S)
    }


def _grade_one(gradebook: Gradebook, path: Path, course: Path, timeout: int | None) -> str | None:
    """Grade one notebook; returns what went wrong."""
    student, name = path.parts[-3], path.stem
    refusal = _refusal(path)
    if refusal:
        return refusal
    target = course / "submitted" / student / name
    _copy(path.parent, target)
    mark, marks = _mark(gradebook, course, target, name), course / "graded.json"
    graded = json.loads(marks.read_text()) if marks.exists() else {}
    there = (course / "autograded" / student / name / f"{name}.ipynb").exists()
    if not there or graded.get(f"{student}/{name}") != mark:
        with tempfile.TemporaryDirectory() as folder:
            before, base = Path(folder) / "gradebook.db", course / "gradebook.db"
            _copy_base(base, before)
            result = _run(Autograde, course, name, student, timeout)
            if _by_others(before, student, name) != _by_others(base, student, name):
                _copy_base(before, base)
                gradebook.db.expire_all()
                return (
                    "not graded: it changed the gradebook beyond its own automatic scores, and everything was put back; "
                    "look at what its code does"
                )
        if not result["success"]:
            return _reason(result)
    result = _run(GenerateFeedback, course, name, student, timeout)
    if not result["success"]:
        return _reason(result)
    marks.write_text(json.dumps({**graded, f"{student}/{name}": mark}))
    gradebook.db.expire_all()  # the grades were written through another connection
    return _count_missing(gradebook, course, student, name) or _above(gradebook, student, name)


def _mark(gradebook: Gradebook, course: Path, folder: Path, name: str) -> str:
    """What a grading depends on: a submission with the same mark need not run again."""
    files = [*sorted(folder.rglob("*")), course / "source" / name / f"{name}.ipynb", course / "nbgrader_config.py"]
    parts = [str(path.name).encode() + path.read_bytes() for path in files if path.is_file()]
    parts.append(str(gradebook.find_assignment(name).duedate).encode())
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _copy_base(base: Path, target: Path) -> None:
    with closing(sqlite3.connect(base)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)


_SUBMISSION = (
    "SELECT s.id FROM submitted_assignment s JOIN assignment a ON a.id = s.assignment_id "
    "WHERE s.student_id = :student AND a.name = :name"
)
_NOTEBOOK = f"SELECT id FROM submitted_notebook WHERE assignment_id IN ({_SUBMISSION})"
_OTHERS = {  # by table, the rows that grading one submission has no business with
    "student": "id != :student",
    "submitted_assignment": f"id NOT IN ({_SUBMISSION})",
    "submitted_notebook": f"id NOT IN ({_NOTEBOOK})",
    "grade": f"notebook_id NOT IN ({_NOTEBOOK})",
    "comment": f"notebook_id NOT IN ({_NOTEBOOK})",
}
_BY_HAND = {  # and what a teacher gave to this one
    "grade": "SELECT cell_id, manual_score, extra_credit FROM grade WHERE manual_score IS NOT NULL OR extra_credit != 0",
    "comment": "SELECT cell_id, manual_comment FROM comment WHERE manual_comment IS NOT NULL",
}


def _by_others(base: Path, student: str, name: str) -> dict[str, list]:
    """All that a gradebook holds, but for the automatic scores of one submission."""
    of = {"student": student, "name": name}
    with closing(sqlite3.connect(base)) as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        held = {t: connection.execute(f"SELECT * FROM {t} WHERE {_OTHERS.get(t, 1)}", of).fetchall() for t in tables}
        held |= {f"{table} by hand": connection.execute(query).fetchall() for table, query in _BY_HAND.items()}
    return {table: sorted(map(repr, rows)) for table, rows in held.items()}


def _above(gradebook: Gradebook, student: str, name: str) -> str | None:
    """A sentence about automatic scores above the maximum."""
    grades = gradebook.find_submission_notebook(name, name, student).grades
    above = [grade.name for grade in grades if (grade.auto_score or 0) > grade.max_score]
    return f"more points than there are for {', '.join(above)}: look at what its code does" if above else None


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


def misplaced(submissions: Path, found: list[Path], sets: list[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """What lies beside the notebooks `found`: pairs of student, or "", and a sentence; and sentences on empty folders."""
    folders, notes, empty = {path.parent for path in found}, [], []
    for path in sorted(submissions.rglob("*")):
        inside = path.relative_to(submissions)
        student = inside.parts[0] if path.is_dir() or len(inside.parts) > 1 else ""
        if path in found or any(part.startswith((".", "__")) for part in inside.parts):
            continue
        if path.is_dir():
            if len(inside.parts) < 3 and not any(one.is_file() for one in path.rglob("*")):
                empty.append(f"{path}: this folder holds no submission")
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
    return notes, empty


def _copy(folder: Path, target: Path) -> None:
    """Replace a folder by a copy of another, unless they are the same; nothing is removed before the copy is there."""
    if folder.resolve() == target.resolve():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent.parent, prefix=".copy-") as temporary:
        copied = shutil.copytree(folder, Path(temporary) / target.name)
        shutil.rmtree(target, ignore_errors=True)
        copied.rename(target)


def _run(converter: type, course: Path, name: str, student: str = ".", timeout: int | None = None) -> dict:
    """Run one of nbgrader's converters on one set of one student; returns success, error and log."""
    config = PyFileConfigLoader("nbgrader_config.py", str(course.resolve())).load_config()
    if timeout:
        config.IsolatedExecute.timeout = timeout
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
    for path in build(course.expanduser(), print):
        print(path)


@app.command("handout")
def handout_command(course: CourseOption = COURSE) -> None:
    """Zip what a student needs: the wheel, the lessons, the released sets and a page on installing."""
    try:
        print(handout(course.expanduser()))
    except ClassroomError as error:
        sys.exit(str(error))


@app.command("grade")
def grade_command(submissions: Path, course: CourseOption = COURSE, timeout: int | None = None) -> None:
    """Autograde SUBMISSIONS/student/set/set.ipynb; write grades.csv and feedback pages."""
    warnings.simplefilter("ignore", SAWarning)  # about nbgrader's own use of its database
    try:
        course = course.expanduser()
        problems = grade(submissions.expanduser(), course, timeout, partial(print, flush=True))
    except ClassroomError as error:
        sys.exit(str(error))
    print(
        f"grades: {course / 'grades.csv'}, {course / 'totals.csv'}\nfeedback: {course / 'feedback'}/STUDENT/index.html"
    )
    if problems:
        sys.exit("not graded, or not as a whole:\n" + "\n".join(problems))


if __name__ == "__main__":
    app()
