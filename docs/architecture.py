"""Write docs/architecture.md: the rooms of `cam`, what each file is for, and who imports whom.

Usage: python docs/architecture.py [FILE]. Everything is read from the source, so the page cannot drift from it.
"""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent / "cam"
ROOMS = ("cli", "pictures", "truth", "maps", "nets", "core")  # from the roof down: imports run downwards only
ORDER = (  # in which to read the two rooms that everything stands on
    "mxnet", "rules", "graph", "tracing", "forward_backward", "errors", "checks", "targets", "layers", "recording",
    "grad_cam", "gradients", "sums", "resizing", "relatives", "layer_table", "endings",
)  # fmt: skip
WAY = (  # of a picture, from its file to its panel
    "cam.pictures.images.read_image", "cam.pictures.images.place", "cam.nets.normalisation.normalise",
    "cam.nets.normalisation.input_for", "cam.core.checks.ready", "cam.core.tracing.trace",
    "cam.core.layers.recommended", "cam.core.forward_backward.Pass", "cam.core.recording.Recording",
    "cam.maps.grad_cam.grad_cam_of", "cam.maps.gradients.guided_product", "cam.pictures.pipeline.explain",
    "cam.pictures.explanation.Explanation",
)  # fmt: skip


def first_sentence(docstring: str | None) -> str:
    """The first line of a docstring, without its full stop."""
    return (docstring or "").strip().splitlines()[0].rstrip(".").replace("|", "\\|")


def imports(tree: ast.Module, room: str) -> set[str]:
    """The rooms that a module of `room` imports from, itself left out."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 2 and node.module:
            found.add(node.module.split(".")[0])
        elif isinstance(node, ast.ImportFrom) and node.level == 2:
            found |= {alias.name for alias in node.names}
    return (found & set(ROOMS)) - {room}


def modules(room: str) -> list[Path]:
    """The modules of a room, in the order in which to read them."""
    paths = [path for path in (PACKAGE / room).glob("*.py") if path.stem != "__init__"]
    order = {name: place for place, name in enumerate(ORDER)}
    return sorted(paths, key=lambda path: (order.get(path.stem, len(order)), path.stem))


def table(room: str) -> list[str]:
    """One line a module: its job in its own words, and the rooms it imports from."""
    lines = ["| file | its job | imports from |", "|---|---|---|"]
    for path in modules(room):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        below = ", ".join(sorted(imports(tree, room), key=ROOMS.index))
        job = first_sentence(ast.get_docstring(tree))
        lines.append(f"| `{room}/{path.name}` | {job} | {below} |")
    return lines


def way() -> list[str]:
    """What a picture meets on its way, each with the first sentence of its docstring."""
    lines = []
    for number, name in enumerate(WAY, 1):
        module, _, attribute = name.rpartition(".")
        said = first_sentence(getattr(importlib.import_module(module), attribute).__doc__)
        lines.append(f"{number}. `{name.removeprefix('cam.')}`: {said}.")
    return lines


def page() -> str:
    """The whole page."""
    lines = [
        "# The house",
        "",
        "`cam` has six rooms. Imports run downwards only, from the command line to the core, which imports nothing of "
        "the rest; `make lint` checks it. This page is made by `python docs/architecture.py`.",
        "",
    ]
    for room in ROOMS:
        doc = first_sentence(ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text(encoding="utf-8"))))
        lines += [f"## {room}", "", f"{doc}.", "", *table(room), ""]
    lines += ["## The way of a picture, from file to panel", "", *way(), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "architecture.md"
    target.write_text(page(), encoding="utf-8")
