"""Arrays given to a net as its parameters' values, whoever named them.

Weights files name parameters as Gluon's blocks do ("features.0.weight", the structural names), or as Gluon's parameters
themselves do ("vgg0_conv0_weight", with any prefix; the ONNX zoo keeps these names). Here both become the first.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import numpy as np
from mxnet import nd
from mxnet.gluon import Parameter

from ..core.errors import WeightsError


def structural(arrays: Mapping[str, np.ndarray], names: Mapping[str, str]) -> dict[str, np.ndarray]:
    """The arrays by structural name, as far as a name is known; others keep theirs.

    `names` has the net's structural names by Gluon's without the net's prefix: {"conv0_weight": "features.0.weight"}.
    """
    found: dict[str, np.ndarray] = {}
    for name, values in arrays.items():
        words = name.split("_")
        endings = ("_".join(words[start:]) for start in range(len(words)))  # without a prefix, the shortest first
        known = next((names[ending] for ending in endings if ending in names), name)
        found[f"{name} (a second time)" if known in found else known] = values
    for kind in ("weight", "bias"):  # of a new output layer, to which Gluon gave the next number
        strangers = [name for name in found if re.fullmatch(rf"(.*_)?dense\d+_{kind}( \(a second time\))?", name)]
        if f"output.{kind}" not in found and len(strangers) == 1:
            found[f"output.{kind}"] = found.pop(strangers[0])
    return found


def misfits(arrays: Collection[str], names: Collection[str]) -> list[str]:
    """In words: which names have no array, and which arrays no name."""
    missing = [f"{name} is missing" for name in names if name not in arrays]
    return missing + [f"{name} is surplus" for name in arrays if name not in names]


def refuse(problems: list[str], source: str, net: str) -> None:
    """Raise WeightsError with the first of the problems in words, if there are any."""
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise WeightsError(f"weights {source} do not fit {net}: {'; '.join(problems[:5])}{more}")


def load(parameters: Mapping[str, Parameter], arrays: Mapping[str, np.ndarray], source: str, ctx=None) -> None:
    """Give every parameter of a net its value, as its own dtype; a shape that is not known yet becomes its value's.

    Raises WeightsError, before anything is changed, if parameters are missing, surplus or of the wrong shape, or if a
    variance is negative; `source` is what to call the values then.
    """
    problems = misfits(arrays, parameters)
    for name, parameter in parameters.items():
        if name in arrays and parameter.shape not in (None, arrays[name].shape):
            problems.append(f"{name} has shape {arrays[name].shape} instead of {parameter.shape}")
        if name in arrays and name.endswith("running_var") and (arrays[name] < 0).any():
            problems.append(f"{name} has negative variances")
    refuse(problems, source, "this net")
    for name, parameter in parameters.items():
        parameter.shape = arrays[name].shape
        parameter.initialize(init="zeros", ctx=ctx, force_reinit=True)
        parameter.set_data(nd.array(arrays[name], dtype=parameter.dtype))
