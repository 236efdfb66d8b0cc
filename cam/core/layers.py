"""Which layer: by block, path or name; the recommended one; and what to know of each before taking it."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeAlias

import numpy as np
from mxnet.gluon import Block

from .checks import Images, Ready, blank, graph_of, output_of, ready
from .endings import ENDINGS, JOINTS, ending, joint
from .errors import LayerError
from .graph import ADDS, PASSES_ON, Entry, Graph
from .mxnet import blocks_of
from .mxnet import parameters as parameters  # for the other rooms

LayerLike: TypeAlias = str | Block  # a block, its path, its Gluon name, or the name of a step


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


def find(net: Block, graph: Graph, layer: LayerLike | Entry) -> tuple[str, Entry]:
    """The name of a layer, as it was asked for where that is a path, and its entry; LayerError if there is none.

    `layer` is a block of the net, its path ("features.8.2.conv3"), its Gluon name ("resnetv20_stage4_conv9"), or for
    what is no block the name of a step ("resnetv20_stage4__plus2"). "#2" behind it means the second run of a block that
    runs more than once, "[1]" its second output.
    """
    if isinstance(layer, tuple):
        return graph.name(layer), layer
    if not isinstance(layer, (str, Block)):
        raise LayerError(f"layer is {layer!r}; expected a block, its path or its name")
    if isinstance(layer, str) and layer in graph.entries:
        return layer, graph.entries[layer]
    first: dict[Block, str] = {}
    known: dict[str, str] = {}  # what a block may be called, and its first path
    for path, block in blocks_of(net):
        known[path] = first.setdefault(block, path)
        known.setdefault(block.name, first[block])
    if isinstance(layer, Block) and not first.get(layer):
        raise LayerError(f"layer {layer.name} is not a block of this net; take one of its own, such as net.features[0]")
    wanted = first[layer] if isinstance(layer, Block) else layer
    head, mark, rest = wanted.partition("#") if "#" in wanted else wanted.partition("[")
    path = known.get(head) or head
    for name in (path + mark + rest, f"{head}_fwd{mark}{rest}"):
        if name in graph.entries:
            return name, graph.entries[name]
    steps = [(i, 0) for i, step in enumerate(graph.steps) if step.name in (wanted, f"{wanted}_fwd") and step.inputs]
    if len(steps) == 1:  # a block's last step may be called by its own name too
        return graph.name(steps[0]), steps[0]
    runs = [name for name in graph.entries if name.startswith(f"{path}#")]
    if runs:
        raise LayerError(f"layer {path} runs {len(runs)} times in this net: say which run, {' or '.join(runs)}")
    if path and path in first.values():
        raise LayerError(f"layer {path} did not run or gives no single array; cam.layers(net) lists those that do")
    near = get_close_matches(wanted, list(dict.fromkeys([*graph.entries, *filter(None, known)])), n=3, cutoff=0.4)
    hint = f"; did you mean {' or '.join(near)}?" if near else "; cam.layers(net) lists them"
    raise LayerError(f"the net has no layer {wanted!r}{hint}")


def find_map(prepared: Ready, layer: LayerLike | Entry | None) -> tuple[str, Entry]:
    """`find` for a map between the image and the logits, else LayerError; None means the recommended one."""
    graph, best = prepared.graph, recommended(prepared)
    wanted = best if layer is None else layer
    if wanted is None:
        said = "no map with height and width holds all that this net knows of the image"
        raise LayerError(f"{said}: name a layer, or take cam.saliency")
    name, entry = find(prepared.net, graph, wanted)
    if not graph.follows_image[entry[0]]:
        raise LayerError(f"layer {name} does not depend on the image")
    if not graph.needed_for([prepared.end])[entry[0]]:
        raise LayerError(f"layer {name} does not influence the logits that are explained")
    if not is_map(prepared, entry):
        instead = f"; take {graph.name(best)}" if best else ""
        said = f"layer {name} gives {prepared.shapes[entry]}, which is not batch, channel, height, width"
        raise LayerError(f"{said}: it has no map{instead}")
    return name, entry


def is_map(prepared: Ready, entry: Entry) -> bool:
    """Whether an entry's axes are batch, channel and positions, as far as they are known."""
    return len(prepared.shapes[entry]) > 2 and prepared.graph.axes[entry[0]] in ((), None)


def recommended(prepared: Ready) -> Entry | None:
    """The last whole map before space ends: of more than one position, batch, channel, height and width still its axes.

    Pooling and Dropout at its end are stepped back over. In ResNet50v2 this is GAP's input, in VGG16 relu5_3. Maps with
    height and width come before rows of positions.
    """
    graph, shapes = prepared.graph, prepared.shapes
    maps = [one for one in graph.whole(prepared.end)[:-1] if graph.axes[one[0]] == () and np.prod(shapes[one][2:]) > 1]
    if not maps:
        return None
    entry = max(maps, key=lambda one: (min(len(shapes[one]), 4), one))
    before = graph.back_over(entry, {"Pooling", "_contrib_AdaptiveAvgPooling2D", *PASSES_ON})
    return entry if graph.steps[before[0]].op == "null" else before


def default_layer(net: Block, x: Images | None = None, *, output: int | None = None) -> str:
    """The path of the recommended layer.

    Parameters
    ----------
    net, x, output : as for `layers`, whose errors this function raises; LayerError if the net has none

    Returns
    -------
    str
    """
    return find_map(ready(net, blank(net) if x is None else x, output), None)[0]


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


def advice_on(prepared: Ready, entry: Entry) -> str:
    """What a reader of this layer's map should know, whatever the image; empty if there is nothing to say."""
    graph, end, shape, best = prepared.graph, prepared.end, prepared.shapes[entry], recommended(prepared)
    instead = f"; take {graph.name(best)}" if best not in (None, entry) else ""
    if not graph.needed_for([end])[entry[0]]:
        return "does not influence the logits"
    if not is_map(prepared, entry):
        lacks = "no height and width" if len(shape) < 3 else "not batch, channel, height, width"
        return f"{lacks}: no map{instead}"
    if np.prod(shape[2:]) == 1:
        return f"a single position: cannot say where{instead}"
    whole, following = graph.whole(end), graph.consumers.get(entry, [])
    if entry not in whole:
        summand = any(graph.steps[index].op in ADDS for index in following)
        part = "one term of a sum: what the other adds" if summand else "a part: what goes around it"
        later = (
            one for one in whole if one > entry and is_map(prepared, one) and np.prod(prepared.shapes[one][2:]) > 1
        )
        joint = next(later, None)
        there = f"; the whole map after it is {graph.name(joint)}" if joint else instead
        return f"only {part} is left out{there}"
    if graph.steps[entry[0]].relu is None and following and all(graph.steps[i].relu is not None for i in following):
        after = graph.name((following[0], 0))
        return f"before its ReLU: what a channel lacks counts as evidence too; take {after}"
    return ""
