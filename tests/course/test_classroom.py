"""Handing out and grading, on a set of two checks and one open question: what a fair teacher gives to whom."""

import csv
import datetime
import html
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import cam

import nbformat
import pytest
from nbgrader.api import Gradebook

sys.path.append(str(Path(cam.__file__).parents[1] / "lessons" / "assignments"))
import classroom
import execution
import feedback

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")

MARKS = {"schema_version": 3, "task": False, "grade": False, "locked": False, "solution": False}
SETUP = "from cam.truth.exercises import check\n\n\ndef three():\n    return 3\n"
ANSWER = "def double(x):\n    ### BEGIN SOLUTION\n    return 2 * x\n    ### END SOLUTION\n"
CHECKS = {
    "small": "check('twice 1', double(1), 2)\n"
    "### BEGIN HIDDEN TESTS\ncheck('twice 5', double(5), 10)\n### END HIDDEN TESTS\n",
    "large": "check('twice 3', double(three()), 6, {'This is three times as much.': 9})\n",
}
RIGHT = "def double(x):\n    return 2 * x\n"


def cell(key, source, kind="code", **marks):
    new = nbformat.v4.new_code_cell if kind == "code" else nbformat.v4.new_markdown_cell
    return new(source, id=key, metadata={"nbgrader": {**MARKS, "grade_id": key, **marks}})


def own_set():
    """A teacher's own set, of 2 and 3 points by checks and 4 by hand."""
    cells = [
        nbformat.v4.new_markdown_cell("# Twice\n\n## 1. Numbers (5 points)", id="head"),
        cell("setup", SETUP, locked=True),
        cell("answer", ANSWER, solution=True),
        cell("small", CHECKS["small"], locked=True, grade=True, points=2),
        cell("large", CHECKS["large"], locked=True, grade=True, points=3),
        cell("words", "Why?", "markdown", grade=True, solution=True, points=4),
    ]
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": classroom.KERNEL})


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course that has the teacher's set alone."""
    folder = tmp_path_factory.mktemp("course")
    (folder / "source" / "twice").mkdir(parents=True)
    nbformat.write(own_set(), folder / "source" / "twice" / "twice.ipynb")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classroom, "sources", lambda: [])
        assert classroom.build(folder) == [folder / "release" / "twice" / "twice.ipynb"]
    with (folder / "nbgrader_config.py").open("a") as file:
        file.write("c.IsolatedExecute.timeout = 8\n")
    return folder


def hand_in(course, folder, student, answer, *more):
    """The release with an answer, and cells of the student's own before it."""
    nb = nbformat.read(course / "release" / "twice" / "twice.ipynb", as_version=4)
    place = next(number for number, one in enumerate(nb.cells) if one.id == "answer")
    nb.cells[place].source = answer or nb.cells[place].source
    nb.cells[place:place] = [nbformat.v4.new_code_cell(source, id=f"own-{i}") for i, source in enumerate(more)]
    path = folder / student / "twice" / "twice.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(nb, path)
    return path


def scores(course, student):
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        return {
            one.name: one.auto_score for one in gradebook.find_submission_notebook("twice", "twice", student).grades
        }


TABLE = {  # student: answer, cells before it, points for the two checks
    "right": (RIGHT, (), (2, 3)),
    "wrong": ("def double(x):\n    return 3 * x\n", (), (0, 0)),
    "nothing": (None, (), (0, 0)),
    "typed in": ("def double(x):\n    return {1: 2, 3: 6}[x]\n", (), (0, 3)),
    "a variable check": (RIGHT + "check = 1\nthree = 2\n", (), (2, 3)),
    "another check": ("def check(*anything):\n    pass\ndef double(x):\n    return 0\n", (), (0, 0)),
    "os._exit": ("import os\ndef double(x):\n    return 2 * x if x == 3 else os._exit(0)\n", (), (0, 3)),
    "endless loop": ("def double(x):\n    while x != 3:\n        pass\n    return 2 * x\n", (), (0, 3)),
    "much output": (RIGHT, ("print('x' * 50_000_000)",), (2, 3)),
    "long message": ("def double(x):\n    raise ValueError('y' * 20_000_000)\n", (), (0, 0)),
    "Zoë, Müller": (RIGHT, (), (2, 3)),
}


@pytest.fixture(scope="module")
def graded(course, tmp_path_factory):
    """Everybody of the table, one after another, and a folder with nothing in it."""
    folder, lines = tmp_path_factory.mktemp("handed in"), []
    for student, (answer, more, _) in TABLE.items():
        path = hand_in(course, folder, student, answer, *more)
        if student == "right":
            nb = nbformat.read(path, as_version=4)
            nb.cells[-1].source = "Because."
            nbformat.write(nb, path)
    (folder / "empty" / "twice").mkdir(parents=True)
    assert classroom.grade(folder, course, lines.append) == []
    return folder, lines


@pytest.mark.parametrize("student", TABLE)
def test_everybody_gets_what_a_fair_teacher_gives(course, graded, student):
    found = scores(course, student)
    assert (found["small"], found["large"]) == TABLE[student][2]
    assert found["words"] == (None if student == "right" else 0)  # the others left it as it was


def test_an_empty_folder_is_said_and_nothing_more(graded):
    assert any("empty" in line and "holds no submission" in line for line in graded[1])


def test_no_page_is_long(course, graded):
    for student in ("much output", "long message"):
        for page in (course / "feedback" / student).rglob("*.html"):
            assert page.stat().st_size < 2_000_000, page
        assert (course / "feedback" / student / "index.html").stat().st_size < 10_000
    assert "[cut after 2,000 characters]" in (course / "feedback" / "long message" / "index.html").read_text()


def test_the_table_keeps_its_columns(course, graded):
    with (course / "grades.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["student_id"]: row for row in csv.DictReader(file)}
    assert set(rows) >= set(TABLE)
    names = {"student_id": "Zoë, Müller", "last_name": "", "first_name": "", "email": ""}
    assert rows["Zoë, Müller"] == {**names, "twice": "5.0", "total": "5.0"}


def test_same_answers_and_open_questions_are_listed(course, graded):
    with (course / "alike.csv").open(newline="", encoding="utf-8") as file:
        (row,) = [row for row in csv.DictReader(file) if row["students"].startswith("Zoë")]
    assert row["cell"] == "answer" and set(row["students"].split("; ")) >= {"Zoë, Müller", "right", "much output"}
    assert "wrong" not in row["students"]
    page = (course / "answers" / "twice.html").read_text()
    assert "Model answer" in page and "Because." in page
    assert "BEGIN SOLUTION" in (course / "key" / "twice.html").read_text()


def test_what_did_not_change_is_not_run_again(course, graded, monkeypatch):
    ran = []
    run = classroom._run
    monkeypatch.setattr(classroom, "_run", lambda step, *more: ran.append(step.__name__) or run(step, *more))
    classroom.grade(graded[0], course)
    assert set(ran) == {"GenerateFeedback"}


def by_hand(course, student, name, **values):
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        grade = gradebook.find_grade(name, "twice", "twice", student)
        for key, value in values.items():
            if key == "comment":
                gradebook.find_comment(name, "twice", "twice", student).manual_comment = value
            else:
                setattr(grade, key, value)
        gradebook.db.commit()


def test_points_extra_credit_and_comments_are_on_the_page_also_after_a_second_run(course, graded, tmp_path):
    by_hand(course, "right", "words", manual_score=3.5, extra_credit=1, comment="Well <said>")
    path = hand_in(course, tmp_path, "right", RIGHT, "1 / 0")
    assert path.exists() and classroom.grade(tmp_path, course) == []
    page = (course / "feedback" / "right" / "index.html").read_text()
    for words in ("9.5 of 9 points", "4.5 of 4, 1 of them extra", "Well &lt;said&gt;", '<th scope="col">Points'):
        assert words in page
    assert "ZeroDivisionError" in page


def test_a_gradebook_writer_changes_nothing_and_is_named(course, graded, tmp_path, monkeypatch):
    monkeypatch.setattr(execution, "guard", lambda: execution.unguarded)
    before = {student: scores(course, student) for student in TABLE}
    attack = (
        f"import sqlite3\nbase = sqlite3.connect({str(course / 'gradebook.db')!r})\n"
        "base.execute('UPDATE grade SET auto_score = 0, manual_score = 9')\nbase.commit()\nbase.close()"
    )
    hand_in(course, tmp_path, "writer", RIGHT, attack)
    (problem,) = classroom.grade(tmp_path, course)
    assert "writer, twice: not graded: " in problem and "it changed the gradebook" in problem
    assert {student: scores(course, student) for student in TABLE} == before


def test_more_points_than_there_are_is_named(course, graded, tmp_path):
    hand_in(course, tmp_path, "above", RIGHT)
    assert classroom.grade(tmp_path, course) == []
    by_hand(course, "above", "small", auto_score=99)
    assert classroom.grade(tmp_path, course) == [
        "above, twice: more points than there are for small; look at what its code does"
    ]


@pytest.mark.skipif(execution.guard() is not execution.bubblewrap, reason="bubblewrap does not run here")
def test_a_guarded_submission_sees_neither_the_course_nor_the_network(course, graded, tmp_path):
    look = f"import os, socket\nassert not os.path.exists({str(course)!r})\nassert os.listdir({str(tmp_path.parent)!r})"
    hand_in(course, tmp_path, "looker", RIGHT, look, "import socket; socket.create_connection(('127.0.0.1', 80))")
    assert classroom.grade(tmp_path, course) == []
    errors = [
        output.ename
        for one in nbformat.read(course / "autograded" / "looker" / "twice" / "twice.ipynb", as_version=4).cells
        for output in one.get("outputs", [])
        if output.output_type == "error"
    ]
    assert errors == ["FileNotFoundError", "ConnectionRefusedError"]


def change(path, edit):
    nb = nbformat.read(path, as_version=4)
    nb.cells = edit(nb.cells)
    nbformat.write(nb, path)


DELETED = {
    "setup": lambda cells: [one for one in cells if one.id != "setup"],
    "checks": lambda cells: [one for one in cells if one.id not in CHECKS],
    "checks and question": lambda cells: [one for one in cells if one.id in ("setup", "answer")],
    "answer": lambda cells: [
        nbformat.v4.new_code_cell(RIGHT, id="own") if one.id == "answer" else one for one in cells if one.id != "small"
    ],
    "everything but a pasted cell": lambda cells: [
        nbformat.from_dict(cell("of_another_set", "1 / 0", grade=True, locked=True, points=9) | {"id": "small"}),
        *[one for one in cells if one.id == "answer"],
    ],
}


@pytest.mark.parametrize("what", DELETED)
@pytest.mark.filterwarnings("error:Non-unique cell id")
def test_a_cell_too_few_or_too_many_costs_nothing(course, graded, tmp_path, what):
    path = hand_in(course, tmp_path, f"without {what}", RIGHT)
    change(path, DELETED[what])
    assert classroom.grade(tmp_path, course) == []
    assert scores(course, f"without {what}") == {"small": 2, "large": 3, "words": 0}


def another_set(path):
    others = [cell(key, "1 / 0", grade=True, points=9) for key in ("of_another_set", "of_another_set_too")]
    change(path, lambda cells: [cells[1], *others])


REFUSED = {
    "another set": (another_set, "not this set's"),
    "no cells": (lambda path: change(path, lambda cells: []), "not this set's"),
    "no notebook": (lambda path: path.write_text("{"), "the file is no notebook"),
    "odd metadata": (
        lambda path: path.write_text(path.read_text().replace('"nbgrader": {', '"nbgrader": null, "other": {')),
        "the file is no notebook",
    ),
    "link": (lambda path: (path.parent / "data.txt").symlink_to("/etc/passwd"), "data.txt is a link"),
    "pipe": (lambda path: os.mkfifo(path.parent / "pipe"), "pipe is a link"),
    "200 MB": (lambda path: (path.parent / "data").open("wb").truncate(200_000_000), "200 MB"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_graded_is_named_and_stops_nobody(course, graded, tmp_path, what):
    spoil, says = REFUSED[what]
    spoil(hand_in(course, tmp_path, what, RIGHT))
    hand_in(course, tmp_path, f"after {what}", RIGHT)
    (problem,) = classroom.grade(tmp_path, course)
    assert problem.startswith(f"{what}, twice: ") and says in problem
    assert scores(course, f"after {what}")["small"] == 2
    assert says in html.unescape((course / "feedback" / what / "index.html").read_text())


def test_names_that_look_like_one_students_are_said_and_a_pattern_is_refused(course, graded, tmp_path):
    for student in ("Ada [1]", "Zoe\u0308, Müller", "zoë, müller", "李", "王"):
        hand_in(course, tmp_path, student, RIGHT)
    lines = []
    (problem,) = classroom.grade(tmp_path, course, lines.append)
    assert problem.startswith("Ada [1], twice: nbgrader takes") and scores(course, "李")["small"] == 2
    assert [line for line in lines if "one student" in line] == [
        "one student or several? Zoe\u0308, Müller, zoë, müller"
    ]
    with pytest.raises(classroom.ClassroomError, match="choose another place"):
        classroom.build(tmp_path / "course [1]")


def harder(cells):
    for one in cells:
        one.source = one.source.replace("double(1), 2)", "double(1), 3)")
    return cells


def test_an_edited_source_counts_at_once(course, graded, tmp_path):
    source = course / "source" / "twice" / "twice.ipynb"
    before = source.read_bytes()
    change(source, harder)
    try:
        hand_in(course, tmp_path, "edited", RIGHT)
        assert classroom.grade(tmp_path, course) == []
        assert scores(course, "edited") == {"small": 0, "large": 3, "words": 0}
    finally:
        source.write_bytes(before)


def test_a_set_that_was_not_yet_released_stops_nobody(course, tmp_path):
    later = course / "source" / "later" / "later.ipynb"
    later.parent.mkdir()
    nbformat.write(own_set(), later)
    hand_in(course, tmp_path, "early", RIGHT)
    try:
        assert classroom.grade(tmp_path, course) == []
        assert (course / "answers" / "later.html").exists()
    finally:
        shutil.rmtree(later.parent)


def test_control_c_stops_the_grading(course, graded, tmp_path, monkeypatch):
    def interrupt(*anything):
        raise KeyboardInterrupt

    monkeypatch.setattr(execution.IsolatedExecute, "preprocess_cell", interrupt)
    hand_in(course, tmp_path, "interrupted", RIGHT)
    with pytest.raises(KeyboardInterrupt):
        classroom.grade(tmp_path, course)


def test_late_work_costs_what_the_course_says(course, graded, tmp_path):
    config = course / "nbgrader_config.py"
    before = config.read_text()
    rule = (
        "from nbgrader.plugins import LateSubmissionPlugin\n\n\nclass Tenth(LateSubmissionPlugin):\n"
        "    def late_submission_penalty(self, student_id, score, total_seconds_late):\n"
        "        return 0.1 * score\n\n\n"
        "c.AssignLatePenalties.plugin_class = Tenth\n"
    )
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        gradebook.update_or_create_assignment("twice", duedate=datetime.datetime(2026, 1, 1))
    path = hand_in(course, tmp_path, "late", RIGHT)
    (path.parent / "timestamp.txt").write_text("2026-01-02 10:00:00 UTC")
    try:
        config.write_text(before + rule)
        assert classroom.grade(tmp_path, course) == []
    finally:
        config.write_text(before)
    page = (course / "feedback" / "late" / "index.html").read_text()
    assert "4.5 of 9 points, after 0.5 off for being late" in page


def test_downloads_of_moodle_and_canvas_are_collected_by_nbgrader(course):
    notebook = (course / "release" / "twice" / "twice.ipynb").read_bytes()
    names = {
        "Ada Lovelace_1234_assignsubmission_file_/twice.ipynb": "Ada Lovelace",
        "Bob O'Neil_77_assignsubmission_file_twice.ipynb": "Bob O'Neil",
        "carrollcleo_1234_5678_twice.ipynb": "carrollcleo",
        "dudadora_LATE_1234_5678_twice-2.ipynb": "dudadora",
    }
    archive = course / "downloaded" / "twice" / "archive" / "all.zip"
    archive.parent.mkdir(parents=True)
    with zipfile.ZipFile(archive, "w") as file:
        for name in names:
            file.writestr(name, notebook)
    command = [sys.executable, "-m", "nbgrader", "zip_collect", "twice"]
    done = subprocess.run(command, cwd=course, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for student in names.values():
        assert (course / "submitted" / student / "twice" / "twice.ipynb").read_bytes() == notebook


def test_the_handout_holds_what_students_need_and_no_solution(course):
    with zipfile.ZipFile(classroom.handout(course)) as archive:
        names = archive.namelist()
        released = archive.read("sets/twice.ipynb").decode()
    assert {"INSTALL.md", "constraints.txt", "lessons/course.py"} <= set(names)
    assert sum(name.startswith("cam-") and name.endswith(".whl") for name in names) == 1
    assert "NotImplementedError" in released and "HIDDEN" not in released
    assert not [name for name in names if "assignments" in name or "secret" in name]
    assert {name for name in names if name.startswith("lessons/0") and name.endswith(".ipynb")} == {
        f"lessons/{path.name}" for path in (classroom.HERE.parent).glob("0*.ipynb")
    }


def test_no_handout_before_the_course_is_built(tmp_path):
    with pytest.raises(classroom.ClassroomError, match="no released sets"):
        classroom.handout(tmp_path)


def test_the_rubrics_are_those_of_the_teachers_page():
    assert set(feedback.rubrics()) == {source.stem for source in classroom.sources()}
    assert all(text.startswith("(") for text in feedback.rubrics().values())


def test_an_edited_source_stays_and_is_named(tmp_path, monkeypatch):
    script = classroom.sources()[0]
    monkeypatch.setattr(classroom, "sources", lambda: [script])
    monkeypatch.setattr(classroom, "_release", lambda course, name: None)
    lines = []
    classroom.build(tmp_path, lines.append)
    path = tmp_path / "source" / script.stem / f"{script.stem}.ipynb"
    nb = nbformat.read(path, as_version=4)
    nb.cells[0].source = "# Mine"
    nbformat.write(nb, path)
    assert lines == []
    classroom.build(tmp_path, lines.append)
    assert len(lines) == 1 and "stays as it is" in lines[0]
    assert nbformat.read(path, as_version=4).cells[0].source == "# Mine"
    path.unlink()
    classroom.build(tmp_path, lines.append)
    assert len(lines) == 1 and nbformat.read(path, as_version=4).cells[0].source != "# Mine"


def test_a_source_of_an_earlier_version_stays_and_is_named(tmp_path, monkeypatch):
    script, lines = tmp_path / "1_own.py", []
    script.write_text("# %%\nfirst = SECRET\n")
    monkeypatch.setattr(classroom, "sources", lambda: [script])
    monkeypatch.setattr(classroom, "_release", lambda course, name: None)
    classroom.build(tmp_path / "course", pytest.fail)
    classroom.build(tmp_path / "course", pytest.fail)
    script.write_text("# %%\nsecond = SECRET\n")
    classroom.build(tmp_path / "course", lines.append)
    nb = nbformat.read(tmp_path / "course" / "source" / "1_own" / "1_own.ipynb", as_version=4)
    assert nb.cells[0].source.startswith("first = ") and nb.cells[0].source.split()[-1].isdigit()
    assert len(lines) == 1 and "stays as it is" in lines[0]


def test_the_config_names_no_place(tmp_path, monkeypatch):
    monkeypatch.setattr(classroom, "sources", lambda: [])
    classroom.build(tmp_path)
    config = tmp_path / "nbgrader_config.py"
    assert str(classroom.HERE) not in config.read_text() and str(tmp_path) not in config.read_text()
    config.write_text(config.read_text() + "mine = 1\n")
    classroom.build(tmp_path)
    assert "mine = 1" in config.read_text()


def test_a_folder_without_its_notebook_is_refused(tmp_path):
    (tmp_path / "source" / "odd").mkdir(parents=True)
    with pytest.raises(classroom.ClassroomError, match="holds no odd.ipynb"):
        classroom.sets(tmp_path)
