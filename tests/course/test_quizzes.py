"""Quizzes, blanks and solutions of the lessons: each is written once, and shown where it should be."""

import json
import re

import course
import quiz

import pytest

SCRIPTS = quiz.scripts()
lessons = pytest.mark.parametrize("number", SCRIPTS)


def blank_function():
    return ...  # your code


def filled_function(x):
    return x[..., 0]  # your code


def half_filled(x):
    x = x + 1  # your code
    return ...  # your code: what follows from x


@lessons
def test_generated_cells_are_in_step(number):
    script = SCRIPTS[number].read_text(encoding="utf-8")
    assert 'tags=["quiz"]' in script
    assert quiz.filled_in(script, number) == script, "run python lessons/quiz.py write"


def test_a_generated_cell_is_replaced_whole_and_nothing_else_is():
    script = '# %%\nx = 1\n\n# %% [markdown] tags=["quiz"]\n# old\n#\n# older\n\n# %%\ny = 2\n'
    before, after = script.split("# old\n#\n# older\n")
    filled = quiz.filled_in(script, 1)
    assert filled.startswith(before) and filled.endswith(after) and "older" not in filled
    assert filled.count("<details>") == 5 and quiz.filled_in(filled, 1) == filled


@lessons
def test_five_questions_that_moodle_can_show(number):
    found = quiz.questions(number)
    assert len(found) == 5
    for one in found:
        assert one.ask.endswith("?") and one.why.endswith(".")
        assert len(one.wrong) >= 2 and len(set(one.choices)) == 1 + len(one.wrong)
        assert "$" not in " ".join([one.ask, one.why, *one.choices])
    assert len({one.choices.index(one.right) for one in found}) > 1


@lessons
def test_gift_holds_every_question_and_marks_the_right_answer(number):
    blocks = quiz.gift(number).split("\n\n")[1:]
    unescaped = [re.sub(r"\\(.)", r"\1", block) for block in blocks]
    for one, block, text in zip(quiz.questions(number), blocks, unescaped, strict=True):
        assert one.ask in text and f"####{one.why}" in text
        assert re.findall(r"^\t=(.*)$", text, re.MULTILINE) == [one.right]
        assert re.findall(r"^\t~(.*)$", text, re.MULTILINE) == [c for c in one.choices if c != one.right]
        assert len(re.findall(r"(?<!\\)[{}]", block)) == 2


@lessons
def test_every_solution_is_shown_folded_and_run(number):
    script = SCRIPTS[number].read_text(encoding="utf-8")
    names = list(quiz.solutions(number))
    run = re.findall(r'lesson\.(?:fill|solution)\(\s*"(\w+)"', script)
    assert re.findall(r'tags=\["solution-([\w-]+)"\]', script) == names == run
    assert len(re.findall(r"lesson\.fill\(", script)) >= 2
    assert script.count("★") >= 3


@lessons
def test_every_figure_has_an_alternative_text(number):
    cells = json.loads(SCRIPTS[number].with_suffix(".ipynb").read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    figures = [(kind, output) for output in outputs for kind in output.get("data", {}) if kind.startswith("image/")]
    assert figures
    for kind, output in figures:
        assert len(output["metadata"].get(kind, {}).get("alt", "")) > 20


def test_a_blank_is_filled_and_an_answer_is_kept(capsys):
    names = {}
    lesson = course.Lesson(1, names)
    assert lesson.fill("relu_back", filled_function) is filled_function
    assert lesson.fill("relu_back", 0) == 0 and capsys.readouterr().out == "" and not names.get("relu_back")
    for blank in (blank_function, half_filled, ...):
        taken = lesson.fill("relu_back", blank)
        assert taken(5.0, -1.0, "deconvnet") == 5 and "blank" in capsys.readouterr().out
        assert lesson.fill("relu_back", taken) is taken and capsys.readouterr().out == ""  # the cell is run again
        assert taken is names.pop("relu_back")
