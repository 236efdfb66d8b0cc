"""The main job, as a user runs it, and the picture of the README that is made from it."""

import subprocess
import sys
from pathlib import Path

import cam
from cam import plot, scenes

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]


def run(script, target):
    done = subprocess.run([sys.executable, ROOT / script, target], capture_output=True, text=True, cwd=target.parent)
    assert done.returncode == 0, done.stderr
    with Image.open(target) as picture:
        assert len(picture.convert("RGB").getcolors(maxcolors=2**24)) > 10_000
        return done.stdout, picture.size


def test_the_demo_writes_its_panel(tmp_path):
    said, (width, height) = run("examples/demo.py", tmp_path / "panel.png")
    assert str(tmp_path / "panel.png") in said and width > 900 and height > 700


def test_the_figure_of_the_answer(tmp_path):
    _, (width, height) = run("docs/forum_answer.py", tmp_path / "answer.png")
    assert width > 700 and height > 450


def test_a_row_of_the_demo(monkeypatch, embedded_nets):
    monkeypatch.syspath_prepend(ROOT / "examples")
    import demo

    scene, net = scenes.draw(demo.SEED), embedded_nets["resnet50_v2"]
    found = cam.explain(net, scene.image, target=scene.labels[1])
    title, pictures = demo.row_for(net, scene, 1)
    assert title == f"{scene.labels[1]} ({found.probability:.0%})" and len(pictures) == len(demo.COLUMNS)
    outline = (pictures[0] != scene.image).any(axis=2)
    assert (pictures[0][outline] == 255).all() and not (outline & scene.masks[1]).any()
    assert np.array_equal(pictures[1][~outline], found.overlay()[~outline])
    assert np.array_equal(pictures[2], plot.signed_image(found.guided_backprop))
    assert np.array_equal(pictures[3], plot.signed_image(found.guided_grad_cam))
    assert np.array_equal(pictures[4], plot.grey_image(found.saliency))


def test_the_photograph_of_the_demo(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "examples")
    import demo

    net = cam.efficientnet_lite0()
    title, pictures = demo.row_of_photograph(net, demo.PHOTOGRAPH)
    found = cam.explain(net, demo.PHOTOGRAPH, target="espresso")
    assert title == f"espresso ({found.probability:.0%})" and len(pictures) == len(demo.COLUMNS)
    assert all(picture.shape[:2] == (224, 224) for picture in pictures)
    assert np.array_equal(pictures[4], plot.grey_image(found.saliency))
