"""Which pictures a folder holds, and what the files of their results are called."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from ..core.errors import InputError, in_one_line
from ..nets.models import KINDS
from ..pictures.explanation import Explanation
from ..pictures.images import whole_file

EXPORTED = "exported"  # what a net of --params and --symbol is called
NO_PICTURES = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "PDF", "WMF"}  # Pillow names these kinds, and shows none of them
PANEL = re.compile(rf"(.+\.\w+\..+|.*~[0-9a-f]{{8}})\.({'|'.join((*KINDS, EXPORTED))})\..+\.png")  # `stem` makes them
LONGEST = 255 - len(".overlay.png")  # bytes of a file's name


def pictures_of(source: Path) -> list[Path]:
    """The files to explain; in a folder those whose ending says picture, but for hidden ones and an earlier run's.

    A Mac leaves a hidden "._photo.jpg" beside each photo.jpg that it copies to a stick.
    """
    if not source.is_dir():
        return [source]
    endings = {ending for ending, kind in Image.registered_extensions().items() if kind not in NO_PICTURES}
    found = (path for path in source.iterdir() if path.suffix.lower() in endings and path.is_file())
    found = sorted(path for path in found if not PANEL.fullmatch(path.name) and path.name[0] != ".")
    if not found:
        raise InputError(f"folder {source} holds no pictures")
    return found


def names_of(paths: Iterable[Path]) -> dict[Path, str]:
    """What the files of each picture begin with, by its path: its name, or if others bear it its folders' too."""
    once = {os.path.abspath(path): path for path in paths}
    alike = Counter(path.name.casefold() for path in once.values())
    common = os.path.commonpath([os.path.dirname(place) for place in once])
    names = {
        path: path.name if alike[path.name.casefold()] == 1 else os.path.relpath(place, common).replace(os.sep, ".")
        for place, path in once.items()
    }
    if len({name.casefold() for name in names.values()}) < len(names):  # upper and lower case are one on some disks
        raise InputError("some panels would have the same name; explain these pictures one by one, each with its --out")
    return names


def write(
    name: str, explanations: list[Explanation], out: Path, model: str, overlay: bool
) -> list[tuple[Explanation, dict[str, str]]]:
    """Write the panels of one picture; each explanation with its files, by what they are. `name` begins their names."""
    written = []
    for explanation in explanations:
        path = out / stem(name, explanation, model)
        files = {"panel": str(explanation.save(f"{path}.png"))}
        if overlay:
            files["overlay"] = write_picture(Path(f"{path}.overlay.png"), Image.fromarray(explanation.overlay()))
        written.append((explanation, files))
    return written


def stem(name: str, explanation: Explanation, model: str) -> str:
    """PICTURE.CLASS.MODEL.LAYER; of what is too long for a file's name the middle gives way to a checksum."""
    head, tail = (
        re.sub(r'[\s\x00-\x1f/\\:*?"<>|]+', "_", text)
        for text in (f"{name}.{explanation.label}", f".{model}.{explanation.layer}")
    )
    room = LONGEST - len(os.fsencode(tail))
    if len(os.fsencode(head)) > room:
        checksum = hashlib.sha256(os.fsencode(head)).hexdigest()[:8]
        head = f"{os.fsencode(head)[: room - 9].decode(errors='ignore')}~{checksum}"
    return head + tail


def write_picture(path: Path, picture: Image.Image) -> str:
    """Write a picture in the format that its file's ending names, and return the path."""
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind not in Image.SAVE:
        raise InputError(f"cannot write {path}: its ending names no kind of picture, such as .png")
    with whole_file(path) as file:
        try:
            picture.save(file, kind)
        except ValueError as error:  # of a kind for other pictures, such as BLP
            raise InputError(f"cannot write {path}: {in_one_line(error)}; take another ending, such as .png") from None
    return str(path)
