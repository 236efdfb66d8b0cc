"""Every lesson is a pair: a percent script and a notebook with its outputs, in step with each other.

That they run is tested by nbmake: `make test` and `make lessons` execute every notebook.
"""

import json
from pathlib import Path

import cam
import course

import jupytext
import pytest
from helpers.nets import conv, function, sequence
from mxnet.gluon import nn

LESSONS = Path(__file__).parents[2] / "lessons"
SCRIPTS = sorted(LESSONS.glob("[0-9]*.py"))


def test_no_half_pair():
    assert SCRIPTS
    assert {path.stem for path in SCRIPTS} == {path.stem for path in LESSONS.glob("[0-9]*.ipynb")}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_pair_is_in_step(script):
    sources = [
        [(cell.cell_type, cell.source, cell.metadata.get("tags")) for cell in jupytext.read(path).cells]
        for path in (script, script.with_suffix(".ipynb"))
    ]
    assert sources[0] == sources[1], "run make notebooks"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_notebook_is_executed_in_order_and_small(script):
    notebook = json.loads(script.with_suffix(".ipynb").read_text())
    counts = [cell["execution_count"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1)), "run make notebooks"
    kinds = {output["output_type"] for cell in notebook["cells"] for output in cell.get("outputs", [])}
    assert "error" not in kinds and "display_data" in kinds
    assert script.with_suffix(".ipynb").stat().st_size < 1e6


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_parts_that_every_lesson_has(script):
    text = script.read_text()
    for part in (
        "**You will learn**",
        "**You need**",
        "**It takes**",
        "> **Predict.**",
        "*What to see:",
        "## On your own",
    ):
        assert part in text, part
    assert text.split("# # ")[1].split("\n")[0].endswith("?")
    assert text.count('tags=["solution') >= 2
    assert "**Rule of thumb.**" in text


def test_what_the_recipe_reaches():
    """Every run of an Activation block, whatever ends with it, and no ReLU of a function or of a Dense layer."""
    twice = nn.Activation("relu")
    called, dense = function(lambda F, x: F.relu(x)), nn.Dense(3, activation="relu")
    net = sequence(conv(), sequence(conv(), twice), conv(), twice, called, dense, nn.Dense(2))
    assert len(cam.relus(net)) == 4
    assert course.reached_by_recipe(net) == cam.relus(net)[:2]
