"""Hand out the problem sets and grade what comes back, with nbgrader: `make assignments` and `make grade`.

`build` turns the sources beside this file into nbgrader's course folder: `source` (with solutions and hidden tests,
for the teacher), `release` (for students) and `gradebook.db`. `grade` autogrades a folder of submissions, and writes
`grades.csv` and a page of feedback per student. The same folder works with nbgrader's own commands and under
JupyterHub: its `nbgrader_config.py` is a line that calls `configure` below.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated
from unittest.mock import patch

import jupytext
import nbformat
import typer
from execution import GUARDS, IsolatedExecute, ReleasedCells, guard
from feedback import write_answers, write_grades, write_page
from nbconvert import HTMLExporter
from nbgrader.api import Gradebook, Student
from nbgrader.converters import Autograde, GenerateAssignment, GenerateFeedback
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import DeduplicateIds, Execute
from nbgrader.utils import capture_log
from sqlalchemy.exc import SAWarning
from submissions import misplaced, refusal, remarkable
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

HERE = Path(__file__).parent
COURSE_ID = "cam"
TIMEOUT = 60  # seconds for one cell; every set takes less than that as a whole
KERNEL = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
# What learning platforms make of SET.ipynb in the archive of a download:
#   Moodle   Ada Lovelace_1234_assignsubmission_file_/SET.ipynb
#   Canvas   lovelaceada_1234_5678_SET.ipynb, lovelaceada_LATE_1234_5678_SET-1.ipynb
DOWNLOADS = (
    r".*/(?P<student_id>[^/]+?)_(?:LATE_)?\d+_(?:assignsubmission_file_|\d+_)/?(?P<file_id>[^/]+?)(?:-\d+)?\.ipynb$"
)
CONFIG = '''"""nbgrader's settings for this course; what you add below the last line goes before ours."""

import sys
from pathlib import Path

import cam

sys.path.append(str(Path(cam.__file__).parents[1] / "lessons" / "assignments"))
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
    ours = {Execute: IsolatedExecute, DeduplicateIds: ReleasedCells}
    for name in ("sanitize_preprocessors", "autograde_preprocessors"):
        steps = getattr(Autograde, name).default()
        setattr(config.Autograde, name, [ours.get(step, step) for step in steps])
    return config


def sources() -> list[Path]:
    """The project's problem sets, in order."""
    return sorted(HERE.glob("[0-9]*.py"))


def sets(course: Path) -> list[str]:
    """The names of a course's sets, the project's and the teacher's own: the folders in `source`."""
    names = sorted(path.name for path in (course / "source").glob("[!._]*") if path.is_dir())
    for name in names:
        if not _source(course, name).exists():
            raise ClassroomError(
                f"{course / 'source' / name} holds no {name}.ipynb; a set is one notebook that is called as its folder"
            )
    return names


def notebook(source: Path, secret: int = 0) -> nbformat.NotebookNode:
    """The notebook of a percent script, with the course's number for SECRET; cell ids follow from the cell's place."""
    nb = jupytext.read(source)
    nb.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    for index, cell in enumerate(nb.cells):
        cell.id = f"cell-{index:02}"
        cell.source = re.sub(r"\bSECRET\b", str(secret), cell.source)
    return nb


def build(course: Path, say: Callable[[str], None] = str) -> list[Path]:
    """Write the course folder with sources, release and answer key; returns the released notebooks.

    A gradebook that is already there keeps its grades, and a source that is there stays, which is said if it is not the
    project's of today. Hidden tests draw their numbers from a seed that each course has for itself.
    """
    if glob.escape(str(course.resolve())) != str(course.resolve()):
        raise ClassroomError(f"nbgrader takes *, ? and [ in a path for a pattern: choose another place than {course}")
    course.mkdir(mode=0o700, parents=True, exist_ok=True)  # solutions and marks are nobody else's
    (course / "key").mkdir(exist_ok=True)
    config, kept = course / "nbgrader_config.py", course / "secret.json"
    if not config.exists():  # a teacher may have added to it
        config.write_text(CONFIG)
    if not kept.exists():
        kept.write_text(json.dumps({"seed": secrets.randbelow(2**31)}))
    seed = json.loads(kept.read_text())["seed"]
    for source in sources():
        name, nb = source.stem, notebook(source, seed)
        path = _source(course, name)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            nbformat.write(nb, path)
        elif _content(nbformat.read(path, as_version=4)) != _content(nb):
            say(f"{name}: {path} is not the project's of today and stays as it is; to have that, remove it")
    names = sets(course)
    for name in names:
        _release(course, name)
        page, _ = HTMLExporter().from_filename(_source(course, name))
        (course / "key" / f"{name}.html").write_text(page, encoding="utf-8")
    return [_released(course, name) for name in names]


def _source(course: Path, name: str) -> Path:
    return course / "source" / name / f"{name}.ipynb"


def _released(course: Path, name: str) -> Path:
    return course / "release" / name / f"{name}.ipynb"


def _release(course: Path, name: str) -> None:
    if problem := _run(GenerateAssignment, course, name):
        raise ClassroomError(f"{name}: {problem}")


def _content(nb: nbformat.NotebookNode) -> list[tuple]:
    return [(cell.cell_type, cell.source, cell.metadata.get("nbgrader")) for cell in nb.cells]


def handout(course: Path) -> Path:
    """Write `handout.zip` into a built course: what a student needs and nothing of the solutions; returns its path."""
    released = [_released(course, name) for name in sets(course)]
    if not released or not all(path.exists() for path in released):
        raise ClassroomError(f"no released sets in {course}; `make assignments COURSE=...` builds them")
    root = HERE.parent.parent
    with tempfile.TemporaryDirectory() as folder:
        given, project = Path(folder) / "handout", Path(folder) / "project"
        ignore = shutil.ignore_patterns(HERE.name, "__pycache__", ".*")
        shutil.copytree(root / "lessons", given / "lessons", ignore=ignore)
        (given / "sets").mkdir()
        for path in released:
            shutil.copy(path, given / "sets")
        for path in (root / "constraints.txt", HERE / "INSTALL.md"):
            shutil.copy(path, given)
        # A copy, since a build in place would pack what an earlier one left.
        shutil.copytree(root / "cam", project / "cam", ignore=ignore)
        shutil.copytree(root / "LICENSES", project / "LICENSES")
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(root / name, project)
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", given, project]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise ClassroomError(f"pip cannot build the wheel: {done.stderr.strip().splitlines()[-1]}")
        return Path(shutil.make_archive(str(course / "handout"), "zip", given))


def grade(submissions: Path, course: Path, progress: Callable[[str], None] = str) -> list[str]:
    """Autograde `submissions`/student/set/set.ipynb into the course folder; returns what could not be graded.

    The submissions are copied first and stay as they are. Grades and comments given by hand in nbgrader's formgrader
    are kept. What has not changed since it was graded is not run again. `progress` is called with a line for every
    notebook, and for what deserves a word.
    """
    if not submissions.is_dir():
        raise ClassroomError(f"the folder of submissions does not exist: {submissions}")
    if not (course / "nbgrader_config.py").exists():
        raise ClassroomError(f"no course in {course}; is it mistyped? `make assignments COURSE=...` builds a new one")
    names = sets(course)
    found = sorted(path for name in names for path in submissions.glob(f"*/{name}/{name}.ipynb"))
    notes = misplaced(submissions, found, names)
    if not found:
        raise ClassroomError(
            f"no submission in {submissions}; expected student/set/set.ipynb, such as "
            "ada/1_backward_rules/1_backward_rules.ipynb" + "".join(f"\n{text}" for _, text in notes)
        )
    for name in names:
        released = _released(course, name)
        if not released.exists() or released.stat().st_mtime < _source(course, name).stat().st_mtime:
            _release(course, name)
    progress(f"between the submissions and you: {GUARDS[guard()]}")
    for number, path in enumerate(found, 1):
        student, name = path.parts[-3], path.stem
        progress(f"{number} of {len(found)}: {student}, {name}")
        if problem := _grade_one(path, course):
            notes.append((student, f"{student}, {name}: {problem}"))
    for text in remarkable(submissions, found):
        progress(text)
    with _gradebook(course) as gradebook:
        for student in sorted({student for student, _ in notes if student} | {path.parts[-3] for path in found}):
            known = gradebook.update_or_create_student(student)  # a row in the CSV even if nothing could be graded
            notes += [(student, text) for text in impossible(known)]
            write_page(course, names, known, [text for name, text in notes if name == student])
        write_grades(gradebook, course)
    write_answers(course, names)
    return [text for _, text in notes]


def _gradebook(course: Path) -> Gradebook:
    return Gradebook(f"sqlite:///{course.resolve() / 'gradebook.db'}", COURSE_ID)


def impossible(student: Student) -> list[str]:
    """Sentences about automatic scores above the maximum."""
    return [
        f"{student.id}, {submission.name}: more points than there are for {grade.name}; look at what its code does"
        for submission in student.submissions
        for marked in submission.notebooks
        for grade in marked.grades
        if (grade.auto_score or 0) > grade.max_score
    ]


def _grade_one(path: Path, course: Path) -> str | None:
    """Grade one notebook, unless it was; returns what went wrong."""
    student, name = path.parts[-3], path.stem
    target = course / "submitted" / student / name
    if problem := refusal(path, _released(course, name)):
        return problem
    if path.parent.resolve() != target.resolve():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(path.parent, target)
    mark, kept = _mark(course, target, name), course / "autograded" / student / f"{name}.mark"
    if not kept.exists() or kept.read_text() != mark:
        kept.unlink(missing_ok=True)
        if problem := _run(Autograde, course, name, student):
            return f"not graded: {problem}"
        kept.write_text(mark)
    return _run(GenerateFeedback, course, name, student)


def _mark(course: Path, folder: Path, name: str) -> str:
    """What a grading depends on: a submission with the same mark need not run again."""
    files = [*sorted(folder.rglob("*")), _source(course, name), course / "nbgrader_config.py"]
    parts = [str(path.name).encode() + path.read_bytes() for path in files if path.is_file()]
    with _gradebook(course) as gradebook:
        parts.append(str(gradebook.find_assignment(name).duedate).encode())
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _run(converter: type, course: Path, name: str, student: str = ".") -> str | None:
    """Run one of nbgrader's converters on one set of one student; returns the exception that stopped it."""
    config = PyFileConfigLoader("nbgrader_config.py", str(course.resolve())).load_config()
    folder = CourseDirectory(config=config, assignment_id=name, student_id=student)
    here = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with patch.dict(os.environ, PATH=here):  # nbgrader calls a command of this environment, alembic, by its name
        result = capture_log(converter(coursedir=folder, config=config, force=True))
    if result["success"]:
        return None
    if result["error"].rstrip().endswith("KeyboardInterrupt"):  # nbgrader takes that for a failure like others
        raise KeyboardInterrupt
    text = result.get("log", "") + result["error"]
    named = re.findall(r"^[ \t]*([\w.]*(?:Error|Exception)\b.*)", text, re.MULTILINE)
    return named[0] if named else text.strip().splitlines()[-1]


app = typer.Typer(add_completion=False, help=__doc__.splitlines()[0])
Folder = Annotated[Path, typer.Argument(parser=lambda text: Path(text).expanduser())]


@app.command("build")
def build_command(course: Folder) -> None:
    """Build the notebooks that students get, in nbgrader's course folder."""
    for path in build(course, print):
        print(path)


@app.command("handout")
def handout_command(course: Folder) -> None:
    """Zip what a student needs: the wheel, the lessons, the released sets and a page on installing."""
    print(handout(course))


@app.command("grade")
def grade_command(submissions: Folder, course: Folder) -> None:
    """Autograde SUBMISSIONS/student/set/set.ipynb; write grades.csv and feedback pages."""
    warnings.simplefilter("ignore", SAWarning)  # about nbgrader's own use of its database
    problems = grade(submissions, course, partial(print, flush=True))
    print(f"grades: {course / 'grades.csv'}\nfeedback: {course / 'feedback'}/STUDENT/index.html")
    if problems:
        sys.exit("not graded, or not as a whole:\n" + "\n".join(problems))


if __name__ == "__main__":
    try:
        app()
    except ClassroomError as error:
        sys.exit(str(error))
