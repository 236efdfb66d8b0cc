"""Which layers a net has: whole maps and parts, the ReLUs, the one to take, and what to know of each before."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from mxnet.gluon import Block

from ..core.checks import Images, Ready, check_arrays, output_of, ready
from ..core.graph import ADDS, Entry, Graph
from ..core.layers import blocks_of, find_map, is_map, recommended, whole_maps
from ..core.tracing import trace
from ..nets.normalisation import blank
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


def paths(net: Block) -> dict[str, Block]:
    """Every block below a net by its structural path ("features.8.2.conv3").

    Parameters
    ----------
    net : any Gluon net; NetError if it is none

    Returns
    -------
    dict of blocks by path, parents first
    """
    return {path: block for path, block in blocks_of(net) if path}


def default_layer(net: Block, x: Images | None = None, *, output: int | None = None) -> str:
    """The path of the recommended layer.

    Parameters
    ----------
    net, x, output : as for `cam.layers`, whose errors this function raises; LayerError if the net has none

    Returns
    -------
    str
    """
    return find_map(ready(net, blank(net) if x is None else x, output), None)[0]


def relus(net: Block, x: Images | None = None, *, output: int | None = None) -> list[str]:
    """The names of every ReLU and ReLU6 before an output, in the order in which they run: the choice of `where=`.

    Parameters
    ----------
    net : as for `cam.record`, whose errors this function raises
    x : needed only for a net of several inputs
    output : as for `cam.record`

    Returns
    -------
    list of names
    """
    graph = graph_of(net, x)
    return [graph.name((index, 0)) for index in graph.relus(output_of(graph, output))]


def graph_of(net: Block, x: Images | None = None) -> Graph:
    """The graph of a net that takes as many arrays as x holds; one if x is not given."""
    return trace(net, 1 if x is None else len(check_arrays(x)))


def advice_on(prepared: Ready, entry: Entry) -> str:
    """What a reader of this layer's map should know, whatever the image; empty if there is nothing to say."""
    graph, shape, best = prepared.graph, prepared.shapes[entry], recommended(prepared)
    instead = f"; take {graph.name(best)}" if best not in (None, entry) else ""
    if not graph.needed_for([prepared.end])[entry[0]]:
        return "does not influence the logits"
    if not is_map(prepared, entry):
        lacks = "no height and width" if len(shape) < 3 else "not batch, channel, height, width"
        return f"{lacks}: no map{instead}"
    if prod(shape[2:]) == 1:
        return f"a single position: cannot say where{instead}"
    if entry in graph.whole(prepared.end):
        after = graph.name(behind_relu(prepared, entry))
        said = f"before its ReLU: what a channel lacks counts as evidence too; take {after}"
        return said if after != graph.name(entry) else ""
    summand = any(graph.steps[index].op in ADDS for index in graph.uses(graph.outputs).get(entry, ()))
    part = "one term of a sum: what the other adds" if summand else "a part: what goes around it"
    later = [one for one in whole_maps(prepared) if one > entry]
    if later:
        instead = f"; the whole map after it is {graph.name(behind_relu(prepared, later[0]))}"
    return f"only {part} is left out{instead}"


def behind_relu(prepared: Ready, entry: Entry) -> Entry:
    """The ReLU of a map, if it is whole; else the map itself."""
    steps, whole = prepared.graph.steps, prepared.graph.whole(prepared.end)
    relus = (one for one in whole if steps[one[0]].relu is not None and steps[one[0]].inputs[0] == entry)
    return entry if steps[entry[0]].relu is not None else next(relus, entry)
