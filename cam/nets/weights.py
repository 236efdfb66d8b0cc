"""Parameter values for a net: the embedded ones, whose sha256 is checked first, and those of other people's files.

A file may name its parameters as Gluon's blocks do ("features.0.weight", structural names) or as Gluon's parameters
themselves do ("vgg0_conv0_weight", with any prefix; `export` puts "arg:" or "aux:" before them, the ONNX zoo keeps
them). `structural` makes one of them: the first.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from mxnet import nd
from mxnet.gluon import Block

from ..core import layers
from ..core.errors import WeightsError

ASSETS = Path(__file__).parent / "assets"
CHECKSUMS = ASSETS / "SHA256SUMS"  # in the format of `sha256sum`; `make train` writes it


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
    if digest(path) != expected.get(path.name):
        raise WeightsError(f"the embedded weights {path.name} are damaged (sha256 differs); reinstall the package")
    return path


def digest(path: Path, algorithm: str = "sha256") -> str:
    """The checksum of a file in hexadecimal digits."""
    checksum = hashlib.new(algorithm)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            checksum.update(block)
    return checksum.hexdigest()


def check_name(path: Path) -> None:
    """Compare a file with the checksum in its name, if there is one.

    The files of Gluon's old model zoo are called "resnet50_v2-ecdde353.params": the first 8 digits of their sha1.

    Raises
    ------
    WeightsError
        If the content has another sha1.
    """
    promised = re.fullmatch(r".+-([0-9a-f]{8})\.params", path.name)
    if promised and path.is_file() and not digest(path, "sha1").startswith(promised[1]):
        raise WeightsError(
            f"weights file {path} is damaged: its name says that its sha1 begins with {promised[1]}, but it begins "
            f"with {digest(path, 'sha1')[:8]}; download it again, or rename it if it is meant to be another file"
        )


def structural(arrays: Mapping[str, np.ndarray], names: Mapping[str, str]) -> dict[str, np.ndarray]:
    """The same arrays by structural name ("features.0.weight"), as far as a name is known; others keep theirs.

    Parameters
    ----------
    arrays : values by the names in a file
    names : the net's structural names by Gluon's names without the net's prefix: {"conv0_weight": "features.0.weight"}
    """
    found: dict[str, np.ndarray] = {}
    for name, values in arrays.items():
        known = _structural_name(name, names)
        found[f"{name} (a second time)" if known in found else known] = values
    for kind in ("weight", "bias"):  # of a new output layer, to which Gluon gave the next number
        strangers = [name for name in found if re.fullmatch(rf"(.*[_:])?dense\d+_{kind}( \(a second time\))?", name)]
        if f"output.{kind}" not in found and len(strangers) == 1:
            found[f"output.{kind}"] = found.pop(strangers[0])
    return found


def _structural_name(name: str, names: Mapping[str, str]) -> str:
    parts = re.sub("^(arg|aux):", "", name).split("_")
    for start in range(len(parts)):  # drop a prefix, the shortest first
        ending = "_".join(parts[start:])
        if ending in names:
            return names[ending]
    return name


def account(problems: list[str], source: str, net: str) -> None:
    """Raise WeightsError with the first of the problems in words, if there are any."""
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise WeightsError(f"weights {source} do not fit {net}: {'; '.join(problems[:5])}{more}")


def missing_and_surplus(arrays: Mapping[str, np.ndarray], names) -> list[str]:
    """In words: which names have no array, and which arrays no name."""
    missing = [f"{name} is missing" for name in names if name not in arrays]
    return missing + [f"{name} is surplus" for name in arrays if name not in names]


def load(net: Block, arrays: Mapping[str, np.ndarray], source: str, ctx=None) -> None:
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
    parameters = layers.parameters(net)
    problems = missing_and_surplus(arrays, parameters)
    for name in [name for name in parameters if name in arrays]:
        if arrays[name].shape != parameters[name].shape:
            problems.append(f"{name} has shape {arrays[name].shape} instead of {parameters[name].shape}")
        if name.endswith("running_var") and (arrays[name] < 0).any():
            problems.append(f"{name} has negative variances")
    account(problems, source, "this net")
    for name, parameter in parameters.items():
        parameter.initialize(init="zeros", ctx=ctx, force_reinit=True)
        parameter.set_data(nd.array(arrays[name], dtype=parameter.dtype))
