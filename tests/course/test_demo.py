"""The main job, as a user runs it."""

import subprocess
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parent.parent


def test_the_demo_writes_its_panel(tmp_path):
    target = tmp_path / "panel.png"
    run = subprocess.run(
        [sys.executable, ROOT / "examples/demo.py", target], capture_output=True, text=True, cwd=tmp_path
    )
    assert run.returncode == 0, run.stderr
    assert str(target) in run.stdout
    with Image.open(target) as panel:
        assert panel.width > 900 and panel.height > 700
        assert len(panel.convert("RGB").getcolors(maxcolors=2**24)) > 10_000
