"""Files of parameters, read into arrays by name: MXNet's `.params` and `.onnx`.

The kind of a file is told from its content. No byte is believed before it is checked: MXNet's own reader crashes on a
damaged `.params` file or loads it silently, so that format is read here. For the other the library `onnx` does the
reading; only the initialisers are used, and no other file is ever opened.
"""

from __future__ import annotations

import importlib
import struct
from pathlib import Path

import numpy as np

from ..core.errors import WeightsError

_LIST_MAGIC = 0x112
_ARRAY_MAGICS = (0xF993FAC9, 0xF993FACA)  # NDArray versions 2 and 3: dense arrays with 64-bit shapes
_DTYPES = {0: np.float32, 1: np.float64, 2: np.float16, 3: np.uint8, 4: np.int32, 5: np.int8, 6: np.int64}

# What people take for weights, by its first bytes.
_MISTAKEN = {
    b"\x1f\x8b": "is compressed with gzip; unpack it first (gunzip)",
    b"PK": "is a zip archive, perhaps of PyTorch; take a .params or an .onnx file made from a Gluon net",
    b"version https://git-lfs": "is a Git LFS pointer, not the file that it stands for; download the file itself",
    b"<": "is a web page; the download went wrong",
}


class Damaged(Exception):
    """The bytes are not what the format says."""


def read(path: str | Path) -> dict[str, np.ndarray]:
    """Read a file of parameters: arrays by the names in the file.

    Parameters
    ----------
    path : a Gluon `.params` file of `save_parameters` or `export`, or an `.onnx` file, whatever its name

    Returns
    -------
    numpy arrays by name, all numbers finite

    Raises
    ------
    WeightsError
        If there is no such file, it is not complete, or it holds NaN or infinity; or if the package that reads it is
        not installed.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():  # reading a device or a pipe may never end
            raise OSError(f"it is {'a folder' if path.is_dir() else 'no regular file'}")
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(
            f"weights file {path}: {error.strerror or error}; expected a .params or an .onnx file"
        ) from None
    try:
        if data[:8] == struct.pack("<Q", _LIST_MAGIC):
            found = _parse_params(data)
        elif data[:1] == b"\x08":  # the version field, which every writer of ONNX puts first
            found = _parse_onnx(data)
        else:
            mistaken = (reason for start, reason in _MISTAKEN.items() if data.startswith(start))
            neither = "is neither a .params nor an .onnx file, or is not complete" if data else "is empty"
            raise WeightsError(f"weights file {path} {next(mistaken, neither)}")
    except Damaged as error:
        raise WeightsError(f"weights file {path} is not complete: {error}") from None
    for name, values in found.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise WeightsError(f"weights file {path}: {name} holds NaN or infinity")
    return found


def optional(name: str):
    """Import a package that only ImageNet weights need.

    Raises
    ------
    WeightsError
        If it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise WeightsError(
            f"this needs the package {name.split('.')[0]}, which is not installed; in the project's folder run "
            "`pip install -c constraints.txt '.[imagenet]'`"
        ) from error


class _Reader:
    """Takes numbers from bytes and complains when they end."""

    def __init__(self, data: bytes):
        self._data, self._at = memoryview(data), 0  # a view: parts of a large file are not copied

    def take(self, length: int) -> memoryview:
        if not 0 <= length <= len(self._data) - self._at:
            raise Damaged(f"it ends after {len(self._data)} bytes, {length} more were announced at byte {self._at}")
        self._at += length
        return self._data[self._at - length : self._at]

    def numbers(self, form: str) -> tuple[int, ...]:
        return struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")))

    def finished(self) -> bool:
        return self._at == len(self._data)


def _parse_params(data: bytes) -> dict[str, np.ndarray]:
    reader = _Reader(data)
    _, _, count = reader.numbers("QQQ")
    arrays = []
    for _ in range(count):
        arrays.append(_parse_array(reader))
    (names,) = reader.numbers("Q")
    if names != count:
        raise Damaged(f"it holds {count} arrays and {names} names")
    found = {}
    for values in arrays:
        (length,) = reader.numbers("Q")
        found[bytes(reader.take(length)).decode("utf-8", "replace")] = values
    if len(found) != count or not reader.finished():
        raise Damaged("it holds a name twice, or more bytes than it announces")
    return found


def _parse_array(reader: _Reader) -> np.ndarray:
    magic, storage, dimensions = reader.numbers("IiI")
    if magic not in _ARRAY_MAGICS or storage != 0 or not 0 < dimensions <= 8:
        raise Damaged("an array has an unknown version, storage type or number of dimensions")
    shape = reader.numbers(f"{dimensions}q")
    _, _, kind = reader.numbers("iii")  # device type, device number, dtype
    if kind not in _DTYPES or any(side < 0 for side in shape):
        raise Damaged("an array has an unknown dtype or a negative side")
    dtype = np.dtype(_DTYPES[kind])
    size = dtype.itemsize
    for side in shape:
        size *= side  # Python's integers do not overflow
    try:
        return np.frombuffer(reader.take(size), dtype).reshape(shape)
    except ValueError as error:  # an empty array with a side that numpy cannot count
        raise Damaged(f"an array has the shape {shape}: {error}") from None


def _parse_onnx(data: bytes) -> dict[str, np.ndarray]:
    onnx = optional("onnx")
    decode_error = optional("google.protobuf.message").DecodeError
    integers = (onnx.TensorProto.INT64, onnx.TensorProto.INT32)
    found: dict[str, np.ndarray] = {}
    try:
        for tensor in onnx.load_model_from_string(data).graph.initializer:
            if tensor.data_type in integers:
                continue  # a shape that the graph itself needs, for a reshape
            if not isinstance(tensor.name, str) or tensor.name in found:  # a name that is no text comes as bytes
                raise Damaged(f"it holds {tensor.name!r}, a name that is no text, or that it has twice")
            found[tensor.name] = _onnx_array(onnx, tensor)
    except (decode_error, UnicodeDecodeError) as error:
        raise Damaged(str(error)) from None
    return found


def _onnx_array(onnx, tensor) -> np.ndarray:
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)
    if tensor.data_type not in floats:
        raise Damaged(f"{tensor.name} is not of float16, float32 or float64")
    if onnx.external_data_helper.uses_external_data(tensor):
        raise Damaged(f"the values of {tensor.name} are in another file, which is not read")
    try:
        values = onnx.numpy_helper.to_array(tensor)
    except (ValueError, TypeError, OverflowError) as error:
        raise Damaged(f"{tensor.name}: {error}") from None
    if values.shape != tuple(tensor.dims):  # numpy takes -1 for "whatever is left"
        raise Damaged(f"{tensor.name} announces the shape {tuple(tensor.dims)} and has {values.shape}")
    return values
