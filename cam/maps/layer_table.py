"""The table of a net's layers: which map is whole, which a part, and which one to take."""

from __future__ import annotations

from dataclasses import dataclass

from mxnet.gluon import Block

from ..core.checks import Images, blank, ready
from ..core.layers import advice_on, paths, recommended
from .endings import ENDINGS, JOINTS, ending, joint


@dataclass(frozen=True)
class Layer:
    """One row of the table of layers.

    Attributes
    ----------
    path : what every function of this package takes as `layer`
    kind : class of the block, or what the step does
    shape : of the output, such as (1, 2048, 7, 7)
    whole : whether all that the net knows of the image crosses this map
    advice : what to know before taking it; "recommended" for the default layer, else often empty
    """

    path: str
    kind: str
    shape: tuple[int, ...]
    whole: bool
    advice: str


class LayerTable(tuple):
    """The layers of a net in the order in which they run; printed, one line each, and the advice of the decision tree.

    Attributes
    ----------
    ending : how the net ends behind the recommended layer, one of `ENDINGS`; None if there is none
    joint : what the last convolution is a part of, one of `JOINTS`; None if it is whole
    """

    ending: str | None = None
    joint: str | None = None

    def __str__(self) -> str:
        cells = [("layer", "kind", "output", "whole", "advice")]
        cells += [(r.path, r.kind, "x".join(map(str, r.shape)), "yes" if r.whole else "part", r.advice) for r in self]
        widths = [max(len(row[column]) for row in cells) for column in range(4)]
        lines = ("  ".join([*(cell.ljust(n) for cell, n in zip(row, widths)), row[4]]).rstrip() for row in cells)
        found = [row.path for row in self if row.advice == "recommended"]
        said = [f"ends in {self.ending}: {ENDINGS[self.ending]}"] if self.ending else []
        said += [f"the last convolution {JOINTS[self.joint]}"] if self.joint else []
        said += [f"recommended: {found[0] if found else 'none; choose one with height and width'}"]
        return "\n".join([*lines, *said])


def layers(net: Block, x: Images | None = None, *, output: int | None = None) -> LayerTable:
    """Every layer of a net with its output shape, whether it is a whole map, and which one to take; for `print`.

    Parameters
    ----------
    net : as for `cam.record`, whose errors this function raises
    x : NDArray (N, C, H, W) of the size in question, or a list of all inputs; a black image if not given
    output : which output to explain, of a net that has several

    Returns
    -------
    LayerTable
    """
    prepared = ready(net, blank(net) if x is None else x, output)
    graph, best, blocks = prepared.graph, recommended(prepared), paths(net)
    whole, rows = set(graph.whole(prepared.end)), []
    for path, entry in graph.entries.items():
        if entry in prepared.shapes and graph.follows_image[entry[0]]:
            block = blocks.get(path.partition("#")[0].partition("[")[0])
            kind = graph.steps[entry[0]].kind if block is None else type(block).__name__
            first, *others = prepared.shapes[entry]
            shape = (len(prepared.images[0]) * first, *others)
            # Several blocks can end in one map: the outermost stands for it.
            advice = "recommended" if entry == best and path == graph.name(entry) else advice_on(prepared, entry)
            rows.append(Layer(path, kind, shape, entry in whole, advice))
    table = LayerTable(rows)
    table.ending, table.joint = ending(prepared, best) if best else None, joint(prepared)
    return table
