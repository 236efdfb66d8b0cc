"""Check the docstrings of all public functions of `cam` by numpydoc's validation, and that they name what is raised.

Usage: python docs/docstrings.py. Which docstrings there must be, and their form, ruff's rules D check for all of `cam`.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator
from types import ModuleType

import cam

from numpydoc.validate import validate

# Left out are rules of taste (GL01, GL02, SS02, SS05: capitals, and where the text begins), sections that not every
# function needs (ES01, SA01, EX01), and those of a type on a line of its own (PR04 to PR09, RT02 to RT05): types are
# annotated, and behind the name of a parameter stands what it means.
RULES = {
    "GL03", "GL05", "GL06", "GL07", "GL08", "GL10", "SS01", "SS03", "SS04", "SS06", "PR01", "PR02", "PR03", "PR10",
    "RT01", "YD01",
}  # fmt: skip


def public() -> Iterator[tuple[str, object]]:
    """The public functions and methods, by the names that readers use."""
    for name in cam.__all__:
        value = getattr(cam, name)
        for path, one in own(value, name) if isinstance(value, ModuleType) else [(name, value)]:
            if inspect.isclass(one) and one.__module__ != "cam.nets.blocks":  # Gluon calls the methods of blocks
                yield from own(one, path)
            elif inspect.isfunction(one):
                yield path, one


def own(holder: object, name: str) -> Iterator[tuple[str, object]]:
    """The public functions and classes that a module or class defines, or that the module's `__all__` names."""
    home = holder.__name__ if isinstance(holder, ModuleType) else holder.__module__
    named = getattr(holder, "__all__", ())
    for key, value in vars(holder).items():
        origin = getattr(value, "__module__", None) or ""
        if not key.startswith("_") and (origin == home or (key in named and origin.startswith("cam."))):
            yield f"{name}.{key}", value


def not_named(function) -> set[str]:
    """The errors that a function itself raises and its docstring does not name."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
    raised = {
        node.exc.func for node in ast.walk(tree) if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
    }
    said = inspect.getdoc(function).partition("Raises\n------")[2]
    return {one.id for one in raised if isinstance(one, ast.Name) and one.id not in said}


if __name__ == "__main__":
    found = []
    for path, function in public():
        errors = validate(f"cam.{path}")["errors"]
        found += [f"cam.{path}: {rule} {said}" for rule, said in errors if rule in RULES]
        found += [f"cam.{path}: the section Raises lacks {one}" for one in sorted(not_named(function))]
    sys.exit("\n".join(found) or None)
