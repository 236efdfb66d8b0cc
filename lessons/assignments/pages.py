"""What comes out of the grading: a page per student, and the grades as tables. All scores are nbgrader's own."""

from __future__ import annotations

import csv
import re
from html import escape
from pathlib import Path

import nbformat
from execution import LIMIT, cut
from nbgrader.api import Gradebook, MissingEntry, SubmittedAssignment
from nbgrader.utils import is_grade, is_solution

COLUMNS = (
    "assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email", "raw_score",
    "late_submission_penalty", "score", "max_score",
)  # fmt: skip

STYLE = (
    "<style>body{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}table{border-collapse:collapse}"
    "td,th{padding:.3em .8em;border-top:1px solid #ccc;vertical-align:top;text-align:left}"
    "th[scope=row]{font-weight:normal}td:nth-child(2){white-space:nowrap}"
    "pre+table{margin-top:1em}pre{margin:0;white-space:pre-wrap;overflow-wrap:anywhere}</style>"
)


def submission_of(gradebook: Gradebook, name: str, student: str) -> SubmittedAssignment | None:
    try:
        return gradebook.find_submission(name, student)
    except MissingEntry:
        return None


def score_of(submission: SubmittedAssignment | None) -> float:
    """The points of a set after any penalty, as nbgrader's own export has them."""
    return max(0.0, submission.score - (submission.late_submission_penalty or 0.0)) if submission else 0.0


def write_tables(gradebook: Gradebook, course: Path) -> None:
    """`grades.csv`, a row per student and set with nbgrader's columns, and `totals.csv`, a row per student."""
    rows = []
    for assignment in gradebook.assignments:
        for student in gradebook.students:
            submission = submission_of(gradebook, assignment.name, student.id)
            penalty = (submission.late_submission_penalty or 0.0) if submission else 0.0
            raw = submission.score if submission else 0.0
            who = (student.id, student.last_name, student.first_name, student.email)
            when = (assignment.duedate, submission.timestamp if submission else None)
            rows.append((assignment.name, *when, *who, raw, penalty, score_of(submission), assignment.max_score))
    _write(course / "grades.csv", [COLUMNS, *rows])
    names = [assignment.name for assignment in gradebook.assignments]
    table = [("student_id", *names, "total")]
    for student in gradebook.students:
        scores = [score_of(submission_of(gradebook, name, student.id)) for name in names]
        table.append((student.id, *scores, sum(scores)))
    _write(course / "totals.csv", table)


def _write(path: Path, rows: list[tuple]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def answers(course: Path, name: str) -> dict[str, dict[str, str]]:
    """What students wrote in a set's own cells: by grade_id, and then by student; without what was left as it was."""
    left = {key: cell.source for key, cell in _own_cells(course / "release" / name / f"{name}.ipynb").items()}
    found: dict[str, dict[str, str]] = {key: {} for key in left}
    for path in sorted((course / "autograded").glob(f"*/{name}/{name}.ipynb")):
        for key, cell in _own_cells(path).items():
            if key in left and cell.source.strip() != left[key].strip():
                found[key][path.parts[-3]] = cell.source
    return found


def _own_cells(path: Path) -> dict[str, nbformat.NotebookNode]:
    return {
        cell.metadata.nbgrader.grade_id: cell for cell in nbformat.read(path, as_version=4).cells if is_solution(cell)
    }


def write_alike(course: Path, names: list[str]) -> None:
    """`alike.csv`: cells that several students filled in with the same text, but for blanks. It says nothing more."""
    rows = [("assignment", "cell", "characters", "students")]
    for name in names:
        for key, by_student in answers(course, name).items():
            same: dict[str, list[str]] = {}
            for student, text in by_student.items():
                same.setdefault(" ".join(text.split()), []).append(student)
            rows += [(name, key, len(text), "; ".join(who)) for text, who in same.items() if len(who) > 1]
    _write(course / "alike.csv", rows)


def write_answers(course: Path, names: list[str], rubrics: dict[str, str]) -> None:
    """`answers/SET.html`: the answers to each open question one below another, with rubric and model answer above."""
    (course / "answers").mkdir(exist_ok=True)
    for name in names:
        parts = [f"<h1>{escape(name)}</h1><p>{escape(rubrics.get(name, ''))}</p>"]
        for key, cell in _own_cells(course / "source" / name / f"{name}.ipynb").items():
            if is_grade(cell):
                model = re.sub(r"^### (BEGIN|END) SOLUTION$", "", cell.source, flags=re.MULTILINE).strip()
                parts.append(f"<h2>{escape(key.replace('_', ' '))}</h2><h3>Model answer</h3><pre>{escape(model)}</pre>")
                for student, text in answers(course, name)[key].items():
                    parts.append(f"<h3>{escape(student)}</h3><pre>{escape(text)}</pre>")
        page = (
            f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{escape(name)}</title>{STYLE}{''.join(parts)}"
        )
        (course / "answers" / f"{name}.html").write_text(f"{page}</html>", encoding="utf-8")


def write_page(gradebook: Gradebook, course: Path, names: list[str], student: str, notes: list[str]) -> None:
    """A student's page: the total, what could not be graded, and every question with points, message and comment."""
    tables = {name: _set_table(gradebook, course, student, name) for name in names}
    graded = [submission_of(gradebook, name, student) for name, table in tables.items() if table]
    got, most = sum(map(score_of, graded)), sum(submission.max_score for submission in graded)
    total = f"<p>{got:g} of {most:g} points in {len(graded)} of {len(names)} sets.</p>" if graded else ""
    parts = [total, *(f"<p><strong>{escape(cut(note))}</strong></p>" for note in notes), *tables.values()]
    page = (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{escape(student)}</title>{STYLE}"
        f"<h1>{escape(student)}</h1>{''.join(parts)}</html>"
    )
    folder = course / "feedback" / student
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "index.html").write_text(page, encoding="utf-8")


def _set_table(gradebook: Gradebook, course: Path, student: str, name: str) -> str:
    """The heading and table of one set, or nothing if it was not graded."""
    graded, submission = (
        course / "autograded" / student / name / f"{name}.ipynb",
        submission_of(gradebook, name, student),
    )
    if submission is None or not graded.exists():
        return ""
    (marked,) = submission.notebooks
    grades = {grade.name: grade for grade in marked.grades}
    comments = {comment.name: comment.manual_comment for comment in marked.comments if comment.manual_comment}
    comments |= {one.name: one.comment for one in marked.comments if one.comment and one.name in grades}
    cells = nbformat.read(graded, as_version=4).cells
    by_id = {cell.metadata.nbgrader.grade_id: cell for cell in cells if cell.metadata.get("nbgrader")}
    rows = ""
    for key, title in titles(course / "source" / name / f"{name}.ipynb").items():
        if (key in grades and grades[key].max_score) or key in comments:
            rows += _row(title, by_id.get(key), grades.get(key), comments.get(key, ""))
    own = next((message(cell) for cell in cells if not is_grade(cell) and message(cell)), "")
    first = f"<p>The first error outside the checks:</p><pre>{escape(own)}</pre>" if own else ""
    waits = "; some are still to be given by hand" if any(_waits(grade) for grade in grades.values()) else ""
    penalty = submission.late_submission_penalty or 0
    late = f", after {penalty:g} off for being late" if penalty else ""
    head = "<tr><th scope='col'>Question<th scope='col'>Points<th scope='col'>Message<th scope='col'>Comment"
    return (
        f"<h2>{escape(name)}</h2><p>{score_of(submission):g} of {submission.max_score:g} points{late}{waits}. "
        f'<a href="{name}/{name}.html">Your notebook with all messages</a></p>{first}<table>{head}{rows}</table>'
    )


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


def _row(title: str, cell: nbformat.NotebookNode | None, grade, comment: str) -> str:
    points = ""
    if grade is not None and _waits(grade):
        points = f"of {grade.max_score:g}, by hand"
    elif grade is not None:
        extra = f", {grade.extra_credit:g} of them extra" if grade.extra_credit else ""
        points = f"{grade.score:g} of {grade.max_score:g}{extra}"
    said = "this cell is missing from your notebook" if cell is None else message(cell)
    return (
        f"<tr><th scope='row'>{escape(title)}<td>{points}<td><pre>{escape(said)}</pre>"
        f"<td><pre>{escape(cut(comment))}</pre>"
    )


def message(cell: nbformat.NotebookNode) -> str:
    """The errors of a cell that ran."""
    errors = [output for output in cell.get("outputs", []) if output.output_type == "error"]
    return cut("\n".join(f"{error.ename}: {error.evalue}" for error in errors), 2 * LIMIT)
