"""What was handed in: what lies in the wrong place, what deserves a word, what cannot be graded."""

from __future__ import annotations

import glob
import unicodedata
from difflib import get_close_matches
from pathlib import Path

import nbformat
from execution import by_id

LARGEST = 100_000_000  # bytes of one submission


def misplaced(submissions: Path, found: list[Path], names: list[str]) -> list[tuple[str, str]]:
    """Notebooks beside those that were `found`, and where they should be: pairs of student, or "", and a sentence."""
    notes = []
    for path in sorted(submissions.rglob("*.ipynb")):
        inside = path.relative_to(submissions).parts
        if path in found or any(part.startswith((".", "__")) for part in inside):
            continue
        student = inside[0] if len(inside) > 1 else ""
        near = [get_close_matches(part.lower(), names, 1) for part in (path.stem, path.parent.name)]
        name = next((match[0] for match in near if match), "SET")
        place = submissions / (student or "STUDENT") / name / f"{name}.ipynb"
        notes.append((student, f"{path}: ignored; {f'{place} was graded' if place in found else f'expected {place}'}"))
    return notes


def remarkable(submissions: Path, found: list[Path]) -> list[str]:
    """Sentences about students without a submission, and about names that differ in case or accents alone."""
    students = sorted(path.name for path in submissions.iterdir() if path.is_dir() and path.name[0] not in "._")
    handed_in, alike = {path.parts[-3] for path in found}, {}
    for student in students:
        letters = (letter for letter in unicodedata.normalize("NFKD", student) if not unicodedata.combining(letter))
        alike.setdefault("".join(letters).casefold(), []).append(student)
    says = [f"{student}: this folder holds no submission" for student in students if student not in handed_in]
    return says + [f"one student or several? {', '.join(who)}" for who in alike.values() if len(who) > 1]


def refusal(path: Path, released: Path) -> str | None:
    """Why a submission cannot be graded, or None: nbgrader would follow links, and give 0 points without a word."""
    if glob.escape(path.parts[-3]) != path.parts[-3]:
        return "nbgrader takes *, ? and [ in a student's name for a pattern: call the folder something else"
    files = list(path.parent.rglob("*"))
    odd = [one.name for one in files if one.is_symlink() or not (one.is_file() or one.is_dir())]
    if odd:
        return f"{odd[0]} is a link, which could lead to anybody's files; ask for the file itself"
    size = sum(one.stat().st_size for one in files)
    if size > LARGEST:
        return f"it holds {size / 1e6:,.0f} MB, and {LARGEST / 1e6:,.0f} are the most"
    try:
        cells = by_id(nbformat.read(path, as_version=4))
    except Exception as error:  # nbformat raises many kinds
        return f"the file is no notebook ({type(error).__name__})"
    known = cells.keys() & by_id(nbformat.read(released, as_version=4)).keys()
    if not known or len(known) < len(cells) / 2:  # all sets have a "setup"
        return (
            "its cells are not this set's: is it another one's, or have they lost nbgrader's metadata? "
            "Ask for the released notebook, filled in with another editor"
        )
    return None
