"""ImageNet weights that still exist: one pinned file per net, kept in a folder of the user's.

MXNet's own model zoo is gone. The ONNX model zoo holds files that were exported from Gluon's nets; they are pinned here
by size and sha256, so that it does not matter which server they come from. `huggingface_hub` does the downloading: it
asks, waits, resumes and shows a progress bar where there is a terminal.
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import InputError, WeightsError
from .formats import optional
from .weights import digest

SECONDS = 10  # how long a source may take to answer at all
ATTEMPTS = 4  # each goes on where the one before was cut off

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """A pinned file: where it is, and what it must be.

    Attributes
    ----------
    repository, file : on Hugging Face
    size : in bytes
    sha256 : in hexadecimal digits
    about : where the values come from, and their accuracy as published (not measured here)
    """

    repository: str
    file: str
    size: int
    sha256: str
    about: str


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

_ACCEPTED = (
    "The path of another file will do too: a .params file of Gluon's old model zoo or of export(), an .onnx file made "
    "from a Gluon net or, for VGG16, a .safetensors file of timm or torchvision"
)


def folder(chosen: str | Path | None = None) -> Path:
    """Where the files are kept: `chosen`, or CAM_WEIGHTS_DIR, or the folder `cam` in the user's cache."""
    if chosen or (chosen := os.environ.get("CAM_WEIGHTS_DIR")):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "cam"


def source_of(name: str) -> Source:
    """The pinned file of a net.

    Raises
    ------
    InputError
        If there is none.
    """
    if name not in SOURCES:
        raise InputError(f"net is {name!r}; ImageNet weights are pinned for {' and '.join(SOURCES)}")
    return SOURCES[name]


def find(name: str, weights_dir: str | Path | None = None) -> Path | None:
    """The path of a net's pinned file if it is there and right (size and sha256), else None."""
    source = source_of(name)
    path = folder(weights_dir) / source.file
    return path if _is_right(path, source) else None


def fetch(name: str, weights_dir: str | Path | None = None, endpoint: str | None = None) -> Path:
    """The path of a net's pinned file, downloaded if need be.

    Parameters
    ----------
    name : "vgg16" or "resnet50_v2"
    weights_dir : where to keep it; see `folder`
    endpoint : another server with Hugging Face's addresses; the environment variable HF_ENDPOINT does the same

    Returns
    -------
    The path of a complete file with the right sha256. A file that is neither is never put there.

    Raises
    ------
    WeightsError
        If it cannot be had: says which file, its sha256, where to put it, and which other files will do.
    """
    source = source_of(name)
    path = folder(weights_dir) / source.file
    if _is_right(path, source):
        return path
    _prepare(path)
    hub = optional("huggingface_hub")
    url = hub.hf_hub_url(source.repository, source.file, endpoint=endpoint)
    failures = (OSError, optional("httpx2").HTTPError)
    try:
        _ask(url)
        with optional("filelock").FileLock(path.with_name(f"{path.name}.lock")):  # two processes, one download
            if not _is_right(path, source):
                _log.info("downloading %s (%d MB) to %s", url, source.size // 10**6, path.parent)
                _place(_complete(url, path, source), path, source)
    except failures as error:
        raise WeightsError(_explain(error, url, path, source)) from error
    return path


def _is_right(path: Path, source: Source) -> bool:
    try:
        return path.is_file() and path.stat().st_size == source.size and digest(path) == source.sha256
    except PermissionError:
        raise WeightsError(f"weights file {path} may not be read: permission denied") from None


def _prepare(path: Path) -> None:
    """Make the folder of the file, and see that a file can be put there."""
    other = "choose another folder with CAM_WEIGHTS_DIR or, on the command line, --weights-dir"
    if path.is_dir():
        raise WeightsError(f"{path} is a folder where the weights file should be; remove it, or {other}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        reason = None if os.access(path.parent, os.W_OK | os.X_OK) else "permission denied"
    except OSError as error:
        reason = error.strerror
    if reason:
        raise WeightsError(f"weights cannot be kept in {path.parent}: {reason}; {other}")


def _ask(url: str) -> None:
    """Find out in seconds whether the source answers; a busy one is asked again."""
    http = optional("huggingface_hub.utils")
    answer = http.http_backoff(
        "HEAD", url, max_retries=ATTEMPTS - 1, retry_on_exceptions=(), timeout=SECONDS, follow_redirects=False
    )
    http.hf_raise_for_status(answer)


def _complete(url: str, path: Path, source: Source) -> Path:
    """Download beside the place where the file will be, going on where an earlier attempt ended."""
    http_get, http = optional("huggingface_hub.file_download").http_get, optional("httpx2")
    part = path.with_name(f"{path.name}.part")
    for attempt in range(ATTEMPTS):
        if part.is_file() and part.stat().st_size > source.size:
            part.unlink()
        try:
            with part.open("ab") as file:
                http_get(
                    url,
                    file,
                    resume_size=file.tell(),
                    expected_size=source.size,
                    displayed_filename=source.file,
                )
            return part
        except http.HTTPError as error:
            status = getattr(getattr(error, "response", None), "status_code", 500)  # a cut has no status
            if status < 500 or attempt == ATTEMPTS - 1:
                raise
            time.sleep(2**attempt)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _place(part: Path, path: Path, source: Source) -> None:
    """Put a finished download into place in one step, if it is the file that was pinned."""
    found = digest(part)
    if found != source.sha256 or part.stat().st_size != source.size:
        part.unlink()
        raise OSError(f"what came has the sha256 {found}, and was thrown away")
    os.replace(part, path)


def _explain(error: Exception, url: str, path: Path, source: Source) -> str:
    reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    spoilt = " (the file there now has another sha256)" if path.is_file() else ""
    return (
        f"{source.file} could not be downloaded ({reason[:200]}): call again, which goes on where this ended, or get "
        f"it ({source.size} bytes, sha256 {source.sha256}, from {url}) in another way and put it at {path}{spoilt}. "
        f"{_ACCEPTED}."
    )
