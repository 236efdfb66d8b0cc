"""Lesson 10 and the troubleshooting page say what the code does, and the same."""

import inspect
import re
from pathlib import Path

import diagrams
from cam.maps.endings import ENDINGS, JOINTS

import pytest

ROOT = Path(__file__).parents[2]
LESSON = next((ROOT / "lessons").glob("10_*.py")).read_text(encoding="utf-8")
PAGE = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
SOURCES = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "cam").rglob("*.py"))


def table(text, head):
    """The rows of the first table under a heading, each a list of cells."""
    rows = re.search(r"((?:^\|.*\n)+)", text[text.index(head) :], re.MULTILINE)[1].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


def test_the_lines_for_pytorch_are_those_that_are_run():
    script = (ROOT / "benchmarks/lesson_10_in_pytorch.py").read_text(encoding="utf-8")
    functions = script[script.index("def grad_cam(") : script.index("def with_functional_relus")].strip()
    shown = LESSON[LESSON.index("# ## The same in PyTorch") :]
    shown = re.search(r"# ```python\n(.*?)\n# ```", shown, re.DOTALL)[1]
    assert [line.removeprefix("#").removeprefix(" ") for line in shown.splitlines()] == functions.splitlines()


def test_the_tree_says_what_the_table_says():
    (axis,) = diagrams.decision_tree().axes
    said = " ".join(" ".join(text.get_text().split()) for text in axis.texts)
    for name, advice in {**ENDINGS, **JOINTS}.items():
        assert name in said and advice[1:] in said, name


def test_every_mistake_of_the_lesson_is_on_the_page():
    shown = table(LESSON.replace("\n# ", "\n"), "## What they look like")
    page = table(PAGE, "## The map looks wrong")
    assert len(page) == 7 and len(shown) == 6  # the lesson has normalisation and BGR in one row
    causes = " ".join(cell for row in page for cell in row)
    for word in ("normalisation", "BGR", "height and width", "train mode", "logit", "attach_grad", "part"):
        assert word in causes and any(word in " ".join(row) for row in shown), word


@pytest.mark.parametrize("quoted", re.findall(r"`([^`]+)`", " ".join(row[0] for row in table(PAGE, "## An error"))))
def test_the_page_quotes_errors_that_there_are(quoted):
    said = re.sub(r'"\s*f?"', "", SOURCES)  # sentences that are broken into two strings
    for part in filter(None, (one.strip(" ,;") for one in quoted.split("..."))):
        assert part in said, part


def test_the_page_names_every_one_of_the_five_tests():
    from cam.truth.sanity_checks import Verdict, Verdicts  # noqa: F401

    module = inspect.getmodule(Verdict)
    names = set(re.findall(r'Verdict\("([^"]+)"', inspect.getsource(module)))
    assert names == {row[0] for row in table(PAGE, "## One of the five tests fails")} and len(names) == 5
