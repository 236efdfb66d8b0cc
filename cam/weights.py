"""Parameter values from files: the embedded ones, and Gluon's `.params`.

A damaged `.params` file can crash MXNet's own reader or load silently, so files are read here, with every
length checked before it is believed, and the embedded ones are compared with their sha256 first.
"""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import numpy as np
from mxnet import nd
from mxnet.gluon import Block

from .errors import WeightsError

ASSETS = Path(__file__).parent / "assets"
CHECKSUMS = ASSETS / "SHA256SUMS"  # in the format of `sha256sum`; `make train` writes it

_LIST_MAGIC = 0x112
_ARRAY_MAGICS = (0xF993FAC9, 0xF993FACA)  # NDArray versions 2 and 3: dense arrays with 64-bit shapes
_DTYPES = {0: np.float32, 1: np.float64, 2: np.float16, 3: np.uint8, 4: np.int32, 5: np.int8, 6: np.int64}


def embedded(name: str, kind: str = "scenes") -> Path:
    """The embedded weights file of a net ("vgg16", "resnet50_v2"), after checking its sha256.

    The kind is "scenes" for all parameters, or "cheater" for ResNet50v2's last layer after lessons in cheating.

    Raises
    ------
    WeightsError
        If the file is missing or differs from what was released.
    """
    path = ASSETS / f"{name}_{kind}.params"
    expected = dict(reversed(line.split(maxsplit=1)) for line in CHECKSUMS.read_text().splitlines())
    if not path.is_file():
        raise WeightsError(f"the embedded weights {path.name} are missing from {ASSETS}; reinstall the package")
    if hashlib.sha256(path.read_bytes()).hexdigest() != expected.get(path.name):
        raise WeightsError(f"the embedded weights {path.name} are damaged (sha256 differs); reinstall the package")
    return path


def read_params(path: str | Path) -> dict[str, np.ndarray]:
    """Read a Gluon `.params` file (as `save_parameters` writes it): arrays by parameter name.

    Raises
    ------
    WeightsError
        If there is no such file, or it is not a complete `.params` file, or it holds NaN or infinity.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = error.strerror or error
        raise WeightsError(
            f"weights file {path}: {reason}; give 'scenes', the path of a .params file, or None"
        ) from error
    try:
        found = _parse(_Reader(data))
    except _Damaged as error:
        raise WeightsError(f"weights file {path} is not a complete MXNet .params file: {error}") from None
    for name, values in found.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise WeightsError(f"weights file {path}: {name} holds NaN or infinity")
    return found


def load(net: Block, arrays: dict[str, np.ndarray], source: str, ctx=None) -> None:
    """Give every parameter of `net` its value, or none: float16 becomes the parameter's own dtype.

    Parameters
    ----------
    net : a net whose parameter shapes are known
    arrays : values by structural name ("features.0.weight")
    source : what to call the values in messages

    Raises
    ------
    WeightsError
        Listing missing, surplus and wrongly shaped parameters; the net is then unchanged.
    """
    parameters = net._collect_params_with_prefix()
    problems = [f"{name} is missing" for name in parameters if name not in arrays]
    problems += [f"{name} is surplus" for name in arrays if name not in parameters]
    problems += [
        f"{name} has shape {arrays[name].shape} instead of {parameter.shape}"
        for name, parameter in parameters.items()
        if name in arrays and arrays[name].shape != parameter.shape
    ]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise WeightsError(f"weights {source} do not fit this net: {'; '.join(problems[:5])}{more}")
    for name, parameter in parameters.items():
        parameter.initialize(init="zeros", ctx=ctx, force_reinit=True)
        parameter.set_data(nd.array(arrays[name], dtype=parameter.dtype))


class _Damaged(Exception):
    """The bytes are not what the format says."""


class _Reader:
    """Takes numbers from bytes and complains when they end."""

    def __init__(self, data: bytes):
        self._data, self._at = data, 0

    def take(self, length: int) -> bytes:
        if not 0 <= length <= len(self._data) - self._at:
            raise _Damaged(f"it ends after {len(self._data)} bytes, {length} more were announced at byte {self._at}")
        self._at += length
        return self._data[self._at - length : self._at]

    def numbers(self, form: str) -> tuple[int, ...]:
        return struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")))

    def finished(self) -> bool:
        return self._at == len(self._data)


def _parse(reader: _Reader) -> dict[str, np.ndarray]:
    magic, _, count = reader.numbers("QQQ")
    if magic != _LIST_MAGIC:
        raise _Damaged("it does not begin with MXNet's signature")
    arrays = []
    for _ in range(count):
        arrays.append(_parse_array(reader))
    (names,) = reader.numbers("Q")
    if names != count:
        raise _Damaged(f"it holds {count} arrays and {names} names")
    found = {}
    for values in arrays:
        (length,) = reader.numbers("Q")
        found[reader.take(length).decode("utf-8", "replace")] = values
    if len(found) != count or not reader.finished():
        raise _Damaged("it holds a name twice, or more bytes than it announces")
    return found


def _parse_array(reader: _Reader) -> np.ndarray:
    magic, storage, dimensions = reader.numbers("IiI")
    if magic not in _ARRAY_MAGICS or storage != 0 or not 0 < dimensions <= 8:
        raise _Damaged("an array has an unknown version, storage type or number of dimensions")
    shape = reader.numbers(f"{dimensions}q")
    _, _, kind = reader.numbers("iii")  # device type, device number, dtype
    if kind not in _DTYPES or any(side < 0 for side in shape):
        raise _Damaged("an array has an unknown dtype or a negative side")
    dtype = np.dtype(_DTYPES[kind])
    size = dtype.itemsize
    for side in shape:
        size *= side  # Python's integers do not overflow
    return np.frombuffer(reader.take(size), dtype).reshape(shape)
