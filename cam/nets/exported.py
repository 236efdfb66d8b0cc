"""Nets of one's own for the command line: the pair of files that Gluon's `export()` writes."""

from __future__ import annotations

from pathlib import Path

import mxnet as mx
from mxnet.gluon import SymbolBlock

from ..core.errors import InputError, WeightsError
from . import weights_files
from .loading import load


def imported(symbol: Path, params: Path) -> SymbolBlock:
    """The net that `export()` wrote as a graph (`-symbol.json`) and its values (`-0000.params`).

    Raises WeightsError if one is missing or damaged, they do not belong together, or the net takes several inputs.
    """
    arrays = weights_files.read(params)
    try:
        graph = mx.sym.load_json(symbol.read_text(encoding="utf-8"))
    except (OSError, mx.MXNetError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", "this is no graph of MXNet's")
        raise WeightsError(f"symbol file {symbol}: {reason}; expected the .json file of export()") from None
    inputs = [name for name in graph.list_inputs() if name not in arrays and not name.endswith("label")]
    if len(inputs) != 1:
        said = f"lack {', '.join(inputs[:5])}, of which one should be the image" if inputs else "leave no input"
        raise WeightsError(f"the files {symbol} and {params} do not belong together: the values {said}")
    kinds = (said["__dtype__"] for said in graph.attr_dict().values() if "__dtype__" in said)  # of parameters
    image = mx.sym.var(inputs[0], attr={"__dtype__": next(kinds, "0")})  # of another MXNet prints that it does not fit
    net = SymbolBlock(graph, [image])
    load({name: one for name, one in net.collect_params().items() if not name.endswith("label")}, arrays, str(params))
    return net


def read_classes(path: Path) -> list[str]:
    """The names of a net's classes from a text file, one a line in the order of the logits; else InputError."""
    try:
        names = [line.strip() for line in path.read_text(encoding="utf-8-sig").rstrip().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", "this is no text in UTF-8")
        raise InputError(f"classes file {path}: {reason}; expected one name a line") from None
    if not all(names) or not names:
        raise InputError(f"classes file {path} is empty or has an empty line; expected one name a line")
    return names
