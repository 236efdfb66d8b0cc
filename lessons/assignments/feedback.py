"""What comes out of the grading: a page per student, the grades as a table, the answers side by side.

All scores are nbgrader's own.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import nbformat
from execution import LIMIT, by_id, cut
from jinja2 import DictLoader, Environment
from nbgrader.api import Gradebook, Student, SubmittedAssignment
from nbgrader.utils import is_grade, is_solution

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{{ title }}</title>
<style>
body { font: 16px/1.5 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse }
td, th { padding: .3em .8em; border-top: 1px solid #ccc; vertical-align: top; text-align: left }
th[scope=row] { font-weight: normal }
td:nth-child(2) { white-space: nowrap }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere }
pre + table { margin-top: 1em }
</style>
<h1>{{ title }}</h1>
{% block body %}{% endblock %}
</html>
"""
STUDENT = """{% extends "page" %}{% block body %}
{% if sets %}
<p>{{ "%g"|format(sets|sum("got")) }} of {{ "%g"|format(sets|sum("most")) }} points in {{ sets|length }} of {{ of }} sets.</p>
{% endif %}
{% for note in notes %}<p><strong>{{ note }}</strong></p>{% endfor %}
{% for one in sets %}
<h2>{{ one.name }}</h2>
<p>{{ "%g"|format(one.got) }} of {{ "%g"|format(one.most) }} points
{%- if one.penalty %}, after {{ "%g"|format(one.penalty) }} off for being late{% endif %}
{%- if one.waits %}; some are still to be given by hand{% endif %}.
<a href="{{ one.name }}/{{ one.name }}.html">Your notebook with all messages</a></p>
{% if one.error %}<p>The first error outside the checks:</p><pre>{{ one.error }}</pre>{% endif %}
<table><tr><th scope="col">Question<th scope="col">Points<th scope="col">Message<th scope="col">Comment
{% for title, points, message, comment in one.rows %}
<tr><th scope="row">{{ title }}<td>{{ points }}<td><pre>{{ message }}</pre><td><pre>{{ comment }}</pre>
{% endfor %}
</table>
{% endfor %}
{% endblock %}
"""
ANSWERS = """{% extends "page" %}{% block body %}
<p>{{ rubric }}</p>
{% for question, model, answers in questions %}
<h2>{{ question }}</h2>
<h3>Model answer</h3><pre>{{ model }}</pre>
{% for student, text in answers.items() %}<h3>{{ student }}</h3><pre>{{ text }}</pre>{% endfor %}
{% endfor %}
{% endblock %}
"""
TEMPLATES = Environment(loader=DictLoader({"page": PAGE, "student": STUDENT, "answers": ANSWERS}), autoescape=True)


def score_of(submission: SubmittedAssignment) -> float:
    """The points of a set after any penalty, as nbgrader's own export has them."""
    return max(0.0, submission.score - (submission.late_submission_penalty or 0.0))


def write_grades(gradebook: Gradebook, course: Path) -> None:
    """`grades.csv`: a row per student, a column per set, and the sum."""
    names = [assignment.name for assignment in gradebook.assignments]
    rows = [("student_id", "last_name", "first_name", "email", *names, "total")]
    for student in gradebook.students:
        found = {one.name: score_of(one) for one in student.submissions}
        scores = [found.get(name, 0.0) for name in names]
        rows.append((student.id, student.last_name, student.first_name, student.email, *scores, sum(scores)))
    _write(course / "grades.csv", rows)


def _write(path: Path, rows: list[tuple]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def write_page(course: Path, names: list[str], student: Student, notes: list[str]) -> None:
    """A student's page: the total, what could not be graded, and every question with points, message and comment."""
    found = {one.name: one for one in student.submissions}
    sets = [one for name in names if name in found and (one := _graded(course, found[name]))]
    page = TEMPLATES.get_template("student").render(title=student.id, sets=sets, of=len(names), notes=map(cut, notes))
    folder = course / "feedback" / student.id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "index.html").write_text(page, encoding="utf-8")


def _graded(course: Path, submission: SubmittedAssignment) -> dict | None:
    """What a student's page says of one set, if it was graded."""
    name = submission.name
    path = course / "autograded" / submission.student_id / name / f"{name}.ipynb"
    if not path.exists():
        return None
    nb, (marked,) = nbformat.read(path, as_version=4), submission.notebooks
    cells, grades = by_id(nb), {grade.name: grade for grade in marked.grades}
    comments = {one.name: one.comment or "" for one in marked.comments if one.manual_comment or one.name in grades}
    rows = [
        (title, _points(grades[key]) if key in grades else "", message(cells.get(key)), cut(comments.get(key, "")))
        for key, title in titles(course / "source" / name / f"{name}.ipynb").items()
        if (key in grades and grades[key].max_score) or comments.get(key)
    ]
    return {
        "name": name,
        "got": score_of(submission),
        "most": submission.max_score,
        "penalty": submission.late_submission_penalty,
        "waits": any(map(_waits, marked.grades)),
        "error": next((message(cell) for cell in nb.cells if not is_grade(cell) and message(cell)), ""),
        "rows": rows,
    }


def titles(source: Path) -> dict[str, str]:
    """The cells of a set that have an id, in order: grade_id, and the heading above with the id in words."""
    found, heading = {}, ""
    for cell in nbformat.read(source, as_version=4).cells:
        if key := cell.metadata.get("nbgrader", {}).get("grade_id"):
            found[key] = f"{heading}: {key.replace('_', ' ')}"
        if cell.cell_type == "markdown":
            heading = (re.findall(r"^##? (.*?)(?: \(.*)?$", cell.source, re.MULTILINE) or [heading])[-1]
    return found


def _waits(grade) -> bool:
    return grade.auto_score is None and grade.manual_score is None


def _points(grade) -> str:
    if _waits(grade):
        return f"of {grade.max_score:g}, by hand"
    extra = f", {grade.extra_credit:g} of them extra" if grade.extra_credit else ""
    return f"{grade.score:g} of {grade.max_score:g}{extra}"


def message(cell: nbformat.NotebookNode | None) -> str:
    """The errors of a cell that ran."""
    errors = [output for output in (cell or {}).get("outputs", []) if output.output_type == "error"]
    return cut("\n".join(f"{error.ename}: {error.evalue}" for error in errors), 2 * LIMIT)


def write_answers(course: Path, names: list[str]) -> None:
    """`answers/SET.html`, the answers to each open question below rubric and model answer, and `alike.csv`.

    The latter has the cells that several students filled in with the same text, but for blanks; it says nothing more.
    """
    (course / "answers").mkdir(exist_ok=True)
    alike = [("assignment", "cell", "characters", "students")]
    for name in names:
        found, questions = answers(course, name), []
        for key, cell in _own_cells(course / "source" / name / f"{name}.ipynb").items():
            same: dict[str, list[str]] = {}
            for student, text in found[key].items():
                same.setdefault(" ".join(text.split()), []).append(student)
            alike += [(name, key, len(text), "; ".join(who)) for text, who in same.items() if len(who) > 1]
            if is_grade(cell):
                model = re.sub(r"^### (BEGIN|END) SOLUTION$", "", cell.source, flags=re.MULTILINE).strip()
                questions.append((key.replace("_", " "), model, found[key]))
        page = TEMPLATES.get_template("answers").render(title=name, rubric=rubrics().get(name, ""), questions=questions)
        (course / "answers" / f"{name}.html").write_text(page, encoding="utf-8")
    _write(course / "alike.csv", alike)


def answers(course: Path, name: str) -> dict[str, dict[str, str]]:
    """What students wrote in a set's own cells: by grade_id, and then by student; without what was left as it was."""
    left = _own_cells(course / "release" / name / f"{name}.ipynb")
    found: dict[str, dict[str, str]] = {key: {} for key in left}
    for path in sorted((course / "autograded").glob(f"*/{name}/{name}.ipynb")):
        for key, cell in _own_cells(path).items():
            if key in left and cell.source.strip() != left[key].source.strip():
                found[key][path.parts[-3]] = cell.source
    return found


def _own_cells(path: Path) -> dict[str, nbformat.NotebookNode]:
    return {key: cell for key, cell in by_id(nbformat.read(path, as_version=4)).items() if is_solution(cell)}


def rubrics() -> dict[str, str]:
    """By set, its paragraph in the teacher's page."""
    text = (Path(__file__).parent / "README.md").read_text(encoding="utf-8").partition("## Rubrics")[2]
    found = re.findall(r"^\*\*(\w+)\*\* (.*?)(?:\n\n|\Z)", text, re.MULTILINE | re.DOTALL)
    return {name: " ".join(words.split()) for name, words in found}
