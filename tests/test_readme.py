"""The README's code prints what the README says, and its figures are the measured ones."""

import contextlib
import io
import json
import re
from pathlib import Path

from cam.weights import ASSETS

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()


def test_the_ten_lines_print_what_is_shown():
    code, shown = re.search(r"```python\n(.*?)```\n\nprints\n\n```\n(.*?)```", TEXT, re.DOTALL).groups()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})
    assert printed.getvalue() == shown


def test_the_table_holds_the_measured_figures():
    figures = json.loads((ASSETS / "figures.json").read_text())
    for key, value in figures["vgg16"].items():
        row = re.search(rf"^\| {re.escape(key)} \| (.*?) \| (.*?) \|$", TEXT, re.MULTILINE)
        assert row, key
        assert [float(cell) for cell in row.groups()] == [round(value, 3), round(figures["resnet50_v2"][key], 3)]


def test_every_link_leads_somewhere():
    for page in [ROOT / "README.md", *(ROOT / "lessons").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert link.startswith("http") or (page.parent / link).exists(), f"{page.name}: {link}"
