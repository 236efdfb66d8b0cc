"""The README's code prints what the README says, and its figures are the measured ones."""

import contextlib
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import cam
from cam import scenes
from cam.nets.weights_files import ASSETS

from PIL import Image

ROOT = Path(__file__).parents[2]
TEXT, USE, NETWORKS = ((ROOT / page).read_text() for page in ("README.md", "docs/use.md", "docs/networks.md"))


def test_it_is_short():
    assert len(TEXT.splitlines()) <= 120


def test_the_ten_lines_print_what_is_shown():
    code, shown = re.search(r"```python\n(.*?)```\n\nprints\n\n```\n(.*?)```", TEXT, re.DOTALL).groups()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})
    assert printed.getvalue() == shown


def test_the_lines_for_a_picture_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = USE.split("```")[1::2]
    (shell,) = [block for block in blocks if "cam scene" in block]
    (tmp_path / "FOLDER").mkdir()
    Image.fromarray(scenes.draw(1).image).save(tmp_path / "FOLDER" / "1.png")
    for line in shell.strip().splitlines():
        command = [sys.executable, *line.partition("#")[0].split()[1:]]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    (code,) = [block for block in blocks if "cam.explain(" in block]
    exec(code.removeprefix("python"), {"cam": cam, "net": cam.resnet50_v2()})
    assert (tmp_path / "zebra.png").is_file() and len(list((tmp_path / "explanations").iterdir())) == 4


def test_the_table_holds_the_measured_figures():
    figures = json.loads((ASSETS / "figures.json").read_text())
    for key, value in figures["vgg16"].items():
        row = re.search(rf"^\| {re.escape(key)} \| (.*?) \| (.*?) \|$", NETWORKS, re.MULTILINE)
        assert row, key
        assert [float(cell) for cell in row.groups()] == [round(value, 3), round(figures["resnet50_v2"][key], 3)]
    cheater = figures["cheater"]
    said = [f"{cheater[key]:.3f}" for key in ("accuracy, two objects, tagged", "follows the tag to the other object")]
    assert re.findall(r"\b0\.\d{3}\b", NETWORKS[NETWORKS.index("## The one that cheats") :]) == said


def printed_by(lesson):
    """Everything that a lesson's notebook printed."""
    (notebook,) = (ROOT / "lessons").glob(f"{lesson}_*.ipynb")
    cells = json.loads(notebook.read_text())["cells"]
    return "".join("".join(output.get("text", "")) for cell in cells for output in cell.get("outputs", []))


def test_the_answer_holds_the_lessons_figures():
    answer = TEXT[TEXT.index("## The question") : TEXT.index("![Grad-CAM for the tiger")]
    five, seven = printed_by("05"), printed_by("07")
    answer = " ".join(answer.split())
    for layer in (r"features\.10", r"features\.8\.2\.conv3"):
        assert re.search(rf"^{layer} +(0\.\d+)", five, re.MULTILINE)[1] in answer
    assert f"as good ({re.search(r'^Add +(0[.][0-9]+)', printed_by('06'), re.MULTILINE)[1]})" in answer
    in_mask = r" .*(0\.\d+) \[[^]]*\] *$"  # the last column of its table
    two, plain, fifty = (
        re.search(rf"^ResNet50v2, {count} of 50{in_mask}", seven, re.MULTILINE)[1] for count in (2, 0, 50)
    )
    assert f"guided on 2 of 50, {two} of the gradient lies on the object, plain {plain}, on all 50 {fifty}" in answer


def test_every_link_leads_somewhere():
    for page in [ROOT / "README.md", *(ROOT / "lessons").glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert link.startswith("http") or (page.parent / link).exists(), f"{page.name}: {link}"
