"""ImageNet weights that still exist: one pinned file per net, kept in a folder of the user's.

MXNet's own model zoo is gone. The ONNX model zoo holds files that were exported from Gluon's nets; they are pinned here
by sha256, so that it does not matter which server they come from. `pooch` does the downloading.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import NamedTuple

from ..core.errors import InputError, WeightsError
from .weights_files import optional, sha256

SECONDS = 10  # how long a source may take to say anything


class Source(NamedTuple):
    """A pinned file: where it is on Hugging Face, and what it must be."""

    repository: str
    file: str
    size: int  # in bytes
    sha256: str
    about: str  # where the values come from, and their accuracy as published (not measured here)


SOURCES = {
    "vgg16": Source(
        repository="onnxmodelzoo/vgg16-7",
        file="vgg16-7.onnx",
        size=553_437_328,
        sha256="f20805a3ecccaa88647bbab4ad011ff2412a9838485ea844de0fcbce349820b9",
        about="ONNX model zoo, exported from Gluon, Apache-2.0; published accuracy top-1 72.62 %, top-5 91.14 %",
    ),
    "resnet50_v2": Source(
        repository="onnxmodelzoo/resnet50-v2-7",
        file="resnet50-v2-7.onnx",
        size=102_442_452,
        sha256="79102261eb6e5fd7af5d27f41316293e388c5cb691e5d25bfb035c4f64fefe31",
        about="ONNX model zoo, exported from Gluon, Apache-2.0; published accuracy top-1 75.81 %, top-5 92.82 %",
    ),
}


def place_of(name: str, weights_dir: str | Path | None = None) -> Path:
    """Where a net's pinned file is kept: in `weights_dir`, or CAM_WEIGHTS_DIR, or the folder `cam` of the user's cache.

    Raises InputError if no file is pinned for this net.
    """
    if name not in SOURCES:
        raise InputError(f"net is {name!r}; ImageNet weights are pinned for {' and '.join(SOURCES)}")
    cache = f"{os.environ.get('XDG_CACHE_HOME') or '~/.cache'}/cam"
    return Path(weights_dir or os.environ.get("CAM_WEIGHTS_DIR") or cache).expanduser() / SOURCES[name].file


def find(name: str, weights_dir: str | Path | None = None) -> Path | None:
    """The path of a net's pinned file if it is there and right, else None; WeightsError if it may not be read."""
    path, source = place_of(name, weights_dir), SOURCES[name]
    try:
        right = path.is_file() and path.stat().st_size == source.size and sha256(path) == source.sha256
    except PermissionError:
        raise WeightsError(f"weights file {path} may not be read: permission denied") from None
    return path if right else None


def fetch(name: str, weights_dir: str | Path | None = None) -> Path:
    """The path of a net's pinned file, downloaded if need be; with a progress bar if there is a terminal.

    A file that is incomplete or has another sha256 is never put there. The environment variable HF_ENDPOINT names
    another server with Hugging Face's addresses. Raises WeightsError if it cannot be had, and says what to do then.
    """
    path, source = place_of(name, weights_dir), SOURCES[name]
    pooch = optional("pooch")
    pooch.get_logger().setLevel(logging.WARNING)  # no news where all is well
    server = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    url = f"{server}/{source.repository}/resolve/main/{source.file}"
    get = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), chunk_size=1 << 20, timeout=SECONDS)
    try:
        pooch.retrieve(url, f"sha256:{source.sha256}", source.file, path.parent, downloader=get)
    except (OSError, ValueError) as error:  # no folder, no network, or what came has another checksum
        reason = " ".join(str(error).split())
        if "Caused by" in reason:  # of a chain that requests tells in full
            reason = reason.rpartition(": ")[2].rstrip("\"')")
        raise WeightsError(
            f"{source.file} could not be downloaded ({reason[:200]}): call again, or get it ({source.size} bytes, "
            f"sha256 {source.sha256}, from {url}) in another way and put it at {path}. Another folder is chosen with "
            "CAM_WEIGHTS_DIR or, on the command line, --weights-dir. The path of another file will do too: a .params "
            "file of Gluon's old model zoo or of export(), or an .onnx file made from a Gluon net."
        ) from error
    return path
