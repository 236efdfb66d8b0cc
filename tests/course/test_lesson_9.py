"""Lesson 9 runs in two ways. Without ImageNet weights it is run as every lesson is; here it runs with them.

Stand-ins take their place: files of the zoo's very form with 1000 classes, narrow, and of random values.
"""

import os
import subprocess
import sys
from pathlib import Path

import cam

from conftest import randomise
from helpers import foreign_files

(SCRIPT,) = (Path(__file__).parents[2] / "lessons").glob("09_*.py")


def test_with_imagenet_weights(tmp_path):
    stand_ins = {}
    for name in ("vgg16", "resnet50_v2"):
        net = randomise(getattr(cam, name)(weights=None, width=1 / 16))
        stand_ins[f"CAM_IMAGENET_{name.upper()}"] = str(foreign_files.write("onnx", name, net, tmp_path))
    said = run(stand_ins)
    for name in ("vgg16", "resnet50_v2"):
        assert f"{name}: ImageNet weights from {name}_onnx" in said
        assert f"{name}, ImageNet weights; energy by chance" in said
    assert "random values" not in said


def run(environment) -> str:
    done = subprocess.run(
        [sys.executable, SCRIPT.name],
        cwd=SCRIPT.parent,
        env={**os.environ, "MPLBACKEND": "agg", **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
