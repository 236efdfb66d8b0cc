"""Weights files, read into arrays by name: MXNet's `.params`, and `.onnx`.

The kind of a file is told from its content, and no byte is believed before it is checked: MXNet's own reader crashes on
a damaged `.params` file or loads it silently, so that format is read here. Of an `.onnx` file the package `onnx` reads
the initialisers, and no other file is ever opened.
"""

from __future__ import annotations

import hashlib
import importlib
import math
import re
import struct
from pathlib import Path
from types import ModuleType

import numpy as np

from ..core.errors import WeightsError

ASSETS = Path(__file__).parent / "assets"
CHECKSUMS = ASSETS / "SHA256SUMS"  # in the format of `sha256sum`; `make train` writes it

_LIST_MAGIC = struct.pack("<Q", 0x112)
_ARRAY_MAGICS = (0xF993FAC9, 0xF993FACA)  # NDArray versions 2 and 3: dense arrays with 64-bit shapes
_DTYPES = {0: np.float32, 1: np.float64, 2: np.float16, 3: np.uint8, 4: np.int32, 5: np.int8, 6: np.int64}

# What people take for weights, by its first bytes.
_MISTAKEN = {
    b"\x1f\x8b": "is compressed with gzip; unpack it first (gunzip)",
    b"PK": "is a zip archive, perhaps of PyTorch; take a .params or an .onnx file made from a Gluon net",
    b"version https://git-lfs": "is a Git LFS pointer, not the file that it stands for; download the file itself",
    b"<": "is a web page; the download went wrong",
}


def read(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a `.params` or `.onnx` file, whatever its name, by the names in it without "arg:" and "aux:".

    Raises WeightsError if there is no such file; it is neither, or not complete; it holds NaN or infinity; its sha1 is
    not the one in its name, in the manner of Gluon's old zoo ("resnet50_v2-ecdde353.params"); or `onnx` is missing.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():  # reading a device or a pipe may never end
            raise OSError(f"it is {'a folder' if path.is_dir() else 'no regular file'}")
        data = path.read_bytes()
    except OSError as error:
        reason = error.strerror or error
        raise WeightsError(f"weights file {path}: {reason}; expected a .params or an .onnx file") from None
    promised = re.fullmatch(r".+-([0-9a-f]{8})\.params", path.name)
    if promised and not (sha1 := hashlib.sha1(data).hexdigest()).startswith(promised[1]):
        raise WeightsError(
            f"weights file {path} is damaged: its name says that its sha1 begins with {promised[1]}, but it begins "
            f"with {sha1[:8]}; download it again, or rename it if it is meant to be another file"
        )
    if not data.startswith((_LIST_MAGIC, b"\x08")):  # the field of the version, which every writer of ONNX puts first
        neither = "is neither a .params nor an .onnx file, or is not complete" if data else "is empty"
        mistaken = next((reason for start, reason in _MISTAKEN.items() if data.startswith(start)), neither)
        raise WeightsError(f"weights file {path} {mistaken}")
    onnx = None if data.startswith(_LIST_MAGIC) else optional("onnx")
    try:
        found = _parse_onnx(data, onnx) if onnx else _parse_params(data)
    except ValueError as error:
        raise WeightsError(f"weights file {path} is not complete, or damaged: {error}") from None
    for name, values in found.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise WeightsError(f"weights file {path}: {name} holds NaN or infinity")
    return found


def embedded(name: str) -> dict[str, np.ndarray]:
    """The arrays of an embedded file; WeightsError if it is not there, or is not the one that was released."""
    path = ASSETS / name
    if not path.is_file() or f"{sha256(path)}  {name}" not in CHECKSUMS.read_text().splitlines():
        raise WeightsError(f"the embedded weights {name} are missing or damaged; reinstall the package")
    return read(path)


def sha256(path: Path) -> str:
    """The checksum of a file in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def optional(name: str) -> ModuleType:
    """Import a module that only ImageNet weights need; WeightsError if it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise WeightsError(
            f"this needs the package {name}, which is not installed; in the project's folder run "
            "`pip install -c constraints.txt '.[imagenet]'`"
        ) from error


class _Reader:
    """Takes bytes and numbers from the rest of a file; ValueError when it ends."""

    def __init__(self, data: bytes):
        self.rest = memoryview(data)  # parts of a large file are not copied

    def take(self, length: int) -> memoryview:
        if not 0 <= length <= len(self.rest):
            raise ValueError(f"{length} bytes were announced where it has {len(self.rest)} left")
        taken, self.rest = self.rest[:length], self.rest[length:]
        return taken

    def numbers(self, form: str) -> tuple[int, ...]:
        return struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")))


def _parse_params(data: bytes) -> dict[str, np.ndarray]:
    reader = _Reader(data)
    _, _, count = reader.numbers("QQQ")
    arrays = [_parse_array(reader) for _ in range(count)]
    (names,) = reader.numbers("Q")
    if names != count:
        raise ValueError(f"it holds {count} arrays and {names} names")
    found = {}
    for values in arrays:
        (length,) = reader.numbers("Q")
        name = bytes(reader.take(length)).decode("utf-8", "replace")
        found[re.sub("^(arg|aux):", "", name)] = values
    if len(found) != count or reader.rest:
        raise ValueError("it holds a name twice, or more bytes than it announces")
    return found


def _parse_array(reader: _Reader) -> np.ndarray:
    magic, storage, dimensions = reader.numbers("IiI")
    if magic not in _ARRAY_MAGICS or storage != 0 or not 0 < dimensions <= 8:
        raise ValueError("an array has an unknown version, storage type or number of dimensions")
    *shape, _, _, kind = reader.numbers(f"{dimensions}qiii")  # device type and number, dtype
    if kind not in _DTYPES or min(shape) < 0:
        raise ValueError("an array has an unknown dtype or a negative side")
    dtype = np.dtype(_DTYPES[kind])
    data = reader.take(math.prod(shape) * dtype.itemsize)  # Python's integers do not overflow
    return np.frombuffer(data, dtype).reshape(shape)


def _parse_onnx(data: bytes, onnx: ModuleType) -> dict[str, np.ndarray]:
    from google.protobuf.message import DecodeError  # onnx brings it

    kind = onnx.TensorProto
    found: dict[str, np.ndarray] = {}
    try:
        for tensor in onnx.load_model_from_string(data).graph.initializer:
            if tensor.data_type in (kind.INT64, kind.INT32):
                continue  # a shape that the graph itself needs, for a reshape
            if not isinstance(tensor.name, str) or tensor.name in found:  # a name that is no text comes as bytes
                raise ValueError(f"it holds {tensor.name!r}, a name that is no text, or that it has twice")
            if tensor.data_type not in (kind.FLOAT, kind.FLOAT16, kind.DOUBLE):
                raise ValueError(f"{tensor.name} is not of float16, float32 or float64")
            if onnx.external_data_helper.uses_external_data(tensor):
                raise ValueError(f"the values of {tensor.name} are in another file, which is not read")
            values = found[tensor.name] = onnx.numpy_helper.to_array(tensor)
            if values.shape != tuple(tensor.dims):  # numpy takes -1 for "whatever is left"
                raise ValueError(f"{tensor.name} announces the shape {tuple(tensor.dims)} and has {values.shape}")
    except (DecodeError, TypeError, OverflowError) as error:
        raise ValueError(str(error)) from None
    return found
