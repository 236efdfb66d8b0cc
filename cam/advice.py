"""What people should know about a layer before they believe its map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from mxnet import nd
from mxnet.gluon import Block, nn

from . import blocks
from .errors import AllNegativeMap, BeforeReLU, FlatMap, InsideResidualBranch, LayerError, NetError, OnePixelMap
from .images import input_for
from .recording import output_shapes
from .resolve import default_layer, input_channels, inside_residual_branch, last_feature_map, next_step, paths


@dataclass(frozen=True)
class Layer:
    """One row of the table of layers.

    Attributes
    ----------
    name : structural path, which every function of this package takes as `layer`
    kind : class of the block
    shape : of the output, such as (1, 2048, 7, 7); empty if the layer does not run
    advice : what to know before taking it; "recommended" for the default layer, else often empty
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    advice: str


class LayerTable(tuple):
    """The layers of a net in the order in which they run; printed, one line each."""

    def __str__(self) -> str:
        cells = [("layer", "kind", "output", "advice")]
        cells += [(row.name, row.kind, "x".join(map(str, row.shape)) or "-", row.advice) for row in self]
        widths = [max(len(row[column]) for row in cells) for column in range(3)]
        lines = (
            "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[3]]).rstrip() for row in cells
        )
        recommended = ", ".join(row.name for row in self if row.advice == "recommended")
        return "\n".join([*lines, f"recommended: {recommended or 'none was found; choose one with height and width'}"])


def layers(net: Block, x: nd.NDArray | None = None) -> LayerTable:
    """Every layer of a net with its output shape, and which one to take for a map.

    Parameters
    ----------
    net : as for `cam.record`
    x : NDArray (N, 3, H, W), an input of the size in question; one black image of 224x224 if not given

    Returns
    -------
    LayerTable of `Layer`; `print` shows it

    Raises
    ------
    CamError
        If the net cannot run on x.
    """
    if not isinstance(net, Block):
        raise NetError(f"net is {type(net).__name__}; expected a Gluon net")
    if x is None:
        x = input_for(net, np.zeros((1, input_channels(net) or 3, 224, 224)))
    by_path, shapes = paths(net), output_shapes(net, x)
    recommended = _recommended(net) or last_feature_map(net, shapes)
    order = [*shapes, *(path for path in by_path if path not in shapes)]
    rows = ((path, type(by_path[path]).__name__, shapes.get(path, ())) for path in order)
    return LayerTable(Layer(path, kind, shape, advice(net, path, shape, recommended)) for path, kind, shape in rows)


def advice(net: Block, path: str, shape: tuple[int, ...], recommended: str | None) -> str:
    """What to know about the layer `path` whose output has this shape; empty if there is nothing to say."""
    instead = _instead(net, path)
    if not shape:
        return "does not run"
    if len(shape) != 4:
        return f"no height and width: no map{instead}"
    if shape[2:] == (1, 1):
        return f"a single pixel: cannot say where{instead}"
    if path == recommended:
        return "recommended"
    if inside_residual_branch(net, path):
        return _branch_advice(net, path)
    if _is_shortcut(path):
        return _shortcut_advice(net, path)
    return _relu_advice(net, path)


def caveats(net: Block, path: str, signed: np.ndarray, positive_only: bool = True) -> list[UserWarning]:
    """What keeps a reader from taking one map at its face, as warnings that were not yet raised.

    Parameters
    ----------
    path : the layer's structural path
    signed : numpy (h, w), the map of one image before its final ReLU
    positive_only : whether the reader sees it after that ReLU
    """
    found: list[UserWarning] = []
    if inside_residual_branch(net, path):
        found.append(InsideResidualBranch(f"{path}: {_branch_advice(net, path)}"))
    elif _is_shortcut(path):
        found.append(InsideResidualBranch(f"{path}: {_shortcut_advice(net, path)}"))
    elif _relu_advice(net, path):
        found.append(BeforeReLU(f"{path}: {_relu_advice(net, path)}"))
    heat = np.maximum(signed, 0) if positive_only else signed
    if heat.shape == (1, 1):
        found.append(OnePixelMap(f"{path}: the map is a single pixel and cannot say where{_instead(net, path)}"))
    elif signed.any() and not heat.any():
        found.append(
            AllNegativeMap(f"{path}: nothing here speaks for the class; the signed map (relu=False) shows more")
        )
    elif np.ptp(heat) <= 1e-6 * np.abs(heat).max():
        found.append(FlatMap(f"{path}: the map has the same value everywhere and cannot say where"))
    return found


def _recommended(net: Block) -> str | None:
    try:
        return default_layer(net)
    except LayerError:
        return None


def _instead(net: Block, path: str) -> str:
    recommended = _recommended(net)
    return f"; take {recommended}" if recommended not in (None, path) else ""


def _branch_advice(net: Block, path: str) -> str:
    return f"inside a residual branch: shows only what this block changes{_instead(net, path)}"


def _is_shortcut(path: str) -> bool:
    return path.rpartition(".")[2] in ("shortcut", "downsample")


def _shortcut_advice(net: Block, path: str) -> str:
    return f"the shortcut alone: leaves out what this block adds{_instead(net, path)}"


def _relu_advice(net: Block, path: str) -> str:
    """Of a layer in a sequence of blocks that a ReLU follows directly; else empty."""
    follower, by_path = next_step(net, path), paths(net)
    if follower is None or not _is_relu(by_path[follower]) or _is_relu(by_path[path]):
        return ""
    return f"before its ReLU: what a channel lacks counts as evidence too; take {follower}"


def _is_relu(block: Block) -> bool:
    return isinstance(block, blocks.ReLU) or (isinstance(block, nn.Activation) and block._act_type == "relu")
