"""Which layer: by block, path or name, or the recommended one."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from math import prod
from typing import TypeAlias

from mxnet.gluon import Block

from .checks import Ready
from .errors import LayerError
from .graph import PASSES_ON, Entry, Graph
from .mxnet import blocks_of, parameters  # noqa: F401 - for the other rooms, too

LayerLike: TypeAlias = str | Block | Entry  # a block, its path, its Gluon name, the name of a step, or its entry
Layers: TypeAlias = LayerLike | Sequence[LayerLike] | None


def find(net: Block, graph: Graph, layer: LayerLike) -> tuple[str, Entry]:
    """The name of a layer, as it was asked for where that is a path, and its entry; LayerError if there is none.

    `layer` is a block of the net, its path ("features.8.2.conv3"), its Gluon name ("resnetv20_stage4_conv9"), or for
    what is no block the name of a step ("resnetv20_stage4__plus2"). "#2" behind it means the second run of a block that
    runs more than once, "[1]" its second output.
    """
    if isinstance(layer, tuple) and layer in [*graph.uses(graph.outputs), *graph.outputs]:
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
    wanted = layer if isinstance(layer, str) else first.get(layer, "")
    if isinstance(layer, Block) and not wanted:
        raise LayerError(f"layer {layer.name} is not a block of this net; take one of its own, such as net.features[0]")
    head = wanted.partition("#")[0].partition("[")[0]
    path = known.get(head) or head
    name = path + wanted.removeprefix(head)
    if name in graph.entries:
        return name, graph.entries[name]
    steps = [(i, 0) for i, step in enumerate(graph.steps) if step.name in (wanted, f"{wanted}_fwd") and step.inputs]
    if len(steps) == 1:  # a block's last step may be called by its own name too
        return graph.name(steps[0]), steps[0]
    runs = [name for name in graph.entries if name.startswith(f"{path}#")]
    if runs:
        raise LayerError(f"layer {path} runs {len(runs)} times in this net: say which run, {' or '.join(runs)}")
    if known.get(head):
        raise LayerError(f"layer {name} did not run or gives no single array; cam.layers(net) lists those that do")
    near = get_close_matches(wanted, {*graph.entries, *known} - {"", net.name}, n=3, cutoff=0.4)
    hint = f"; did you mean {' or '.join(near)}?" if near else "; cam.layers(net) lists them"
    raise LayerError(f"the net has no layer {wanted!r}{hint}")


def find_map(prepared: Ready, layer: LayerLike | None) -> tuple[str, Entry]:
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
        said = f"layer {name} gives {prepared.shapes[entry]}, which is not batch, channel, height, width: it has no map"
        raise LayerError(f"{said}; take {graph.name(best)}" if best else said)
    return name, entry


def is_map(prepared: Ready, entry: Entry) -> bool:
    """Whether an entry's axes are batch, channel and positions, as far as they are known."""
    return len(prepared.shapes[entry]) > 2 and prepared.graph.axes[entry[0]] in ((), None)


def whole_maps(prepared: Ready) -> list[Entry]:
    """The whole maps of more than one position, batch, channel, height and width still their axes, in order."""
    graph, shapes = prepared.graph, prepared.shapes
    whole = graph.whole(prepared.end)[:-1]
    return [one for one in whole if graph.axes[one[0]] == () and prod(shapes[one][2:]) > 1]


def recommended(prepared: Ready) -> Entry | None:
    """The last whole map before space ends; None if there is none.

    Pooling and Dropout at its end are stepped back over. In ResNet50v2 this is GAP's input, in VGG16 relu5_3. Maps with
    height and width come before rows of positions.
    """
    graph, maps = prepared.graph, whole_maps(prepared)
    if not maps:
        return None
    entry = max(maps, key=lambda one: (min(len(prepared.shapes[one]), 4), one))
    before = graph.back_over(entry, {"Pooling", "_contrib_AdaptiveAvgPooling2D", *PASSES_ON})
    return entry if graph.steps[before[0]].op == "null" else before
