"""The reference's pages, from the public names of `cam` and their docstrings."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from types import ModuleType

import cam

PAGES = {  # page: its title, and whose names it holds, in this order
    "maps": ("Maps", ["cam.maps.grad_cam", "cam.maps.gradients", "cam.maps.sums", "cam.maps.resizing"]),
    "methods": ("More methods", ["cam.maps.relatives"]),
    "recording": ("Recordings", ["cam.core.recording"]),
    "layers": ("Layers", ["cam.maps.layer_table"]),
    "pictures": (
        "Pictures",
        [
            "cam.pictures.pipeline",
            "cam.pictures.explanation",
            "cam.pictures.images",
            "cam.nets.normalisation",
            "cam.plot",
            "cam.pictures.graph_drawing",
        ],
    ),
    "gradcam": ("The tutorial's module", ["cam.gradcam"]),
    "networks": ("Networks", ["cam.nets.models"]),
    "blocks": ("Blocks", ["cam.blocks"]),
    "truth": (
        "Scenes and metrics",
        ["cam.scenes", "cam.metrics", "cam.baselines", "cam.evaluation", "cam.truth.sanity_checks", "cam.exercises"],
    ),
    "errors": ("Errors and warnings", ["cam.core.errors"]),
}
GIVEN = ("Layer", "LayerTable", "Placement", "Verdict", "Verdicts")  # by public functions, under no public name
ENGINE = ("rules", "graph", "tracing", "forward_backward", "checks", "targets", "layers")


def own(module: ModuleType) -> list[str]:
    """The public functions and classes that a module defines, in its order, then those of its room that it hands on."""
    every = {name: one for name, one in vars(module).items() if inspect.isfunction(one) or inspect.isclass(one)}
    here = [name for name, one in every.items() if one.__module__ == module.__name__ and not name.startswith("_")]
    room = {name for name, one in every.items() if one.__module__.rpartition(".")[0] == module.__package__}
    return here + [name for name in getattr(module, "__all__", ()) if name in room and name not in here]


def described(name: str, value) -> str:
    """The directive that shows one name's docstring."""
    if inspect.isclass(value):
        return f".. autoclass:: {name}\n   :members:\n   :exclude-members: set\n   :show-inheritance:\n"
    return f".. autofunction:: {name}\n"


def section(where: str) -> tuple[str, list[str]]:
    """What a module is for, and directives for its names; `where` is a module, or a public name that is one."""
    public = getattr(cam, where.removeprefix("cam."), None) if where.count(".") == 1 else None
    module = public or importlib.import_module(where)
    names = [name for name in own(module) if public or name in cam.__all__ or name in GIVEN]
    return inspect.getdoc(module), [
        described(f"{'cam' if name in cam.__all__ and not public else where}.{name}", vars(module)[name])
        for name in names
    ]


def page(title: str, modules: list[str]) -> str:
    """One page of the reference."""
    parts = [title, "=" * len(title), ""]
    for where in modules:
        purpose, directives = section(where)
        if len(modules) > 1:
            parts += [f"``{where}``" if where.count(".") == 1 else where.rpartition(".")[2].capitalize(), "-" * 40, ""]
        parts += [purpose, "", *directives]
    return "\n".join(parts)


def engine() -> str:
    """The page on the inner modules, for readers of the code."""
    parts = ["The engine", "==========", "", "What stands behind the public names, for readers of the code.", ""]
    for name in ENGINE:
        parts += [name.capitalize(), "-" * 20, "", f".. automodule:: cam.core.{name}\n   :members:\n"]
    return "\n".join(parts)


def write(folder: Path) -> None:
    """Write all pages.

    Raises
    ------
    ValueError
        If a public name is on no page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = {name: page(*what) for name, what in PAGES.items()} | {"engine": engine()}
    missing = [
        name
        for name in cam.__all__
        if not any(f":: cam.{name}\n" in text or f":: cam.{name}." in text for text in texts.values())
    ]
    if missing:
        raise ValueError(
            f"no page of the reference holds {', '.join(missing)}: add them to PAGES in {Path(__file__).name}"
        )
    for name, text in texts.items():
        (folder / f"{name}.rst").write_text(text, encoding="utf-8")
