"""Which layer: by block, path or name; the recommended one; and what to know of each before taking it."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
from mxnet import nd

from . import checks
from .checks import Ready, ready
from .errors import LayerError, LayerWarning
from .graph import ADDS, PASSES_ON, Entry, Graph
from .mxnet import Block, blocks_of
from .tracing import trace

LayerLike = str | Block  # a block, its path, its Gluon name, or the name of a step


def paths(net: Block) -> dict[str, Block]:
    """Every block below `net` by its structural path ("features.8.2.conv3")."""
    return {path: block for path, block in blocks_of(checks.check_net(net)) if path}


def relus(net: Block) -> list[str]:
    """Every ReLU and ReLU6 of a net of one output, in the order in which they run: what `where=` can choose from."""
    graph = trace(checks.check_net(net))
    return [graph.names.get((index, 0), graph.steps[index].name) for index in graph.relus()]


def find(net: Block, graph: Graph, layer: LayerLike | Entry) -> Entry:
    """The entry that `layer` names.

    Parameters
    ----------
    layer : a block of the net, its path ("features.8.2.conv3"), its Gluon name ("resnetv20_stage4_conv9"), or for what
        is no block the name of a step ("resnetv20_stage4__plus2"); "#2" behind it means the second run of a block that
        runs more than once, "[1]" its second output

    Raises
    ------
    LayerError
        If there is no such layer, it does not run, or runs more than once.
    """
    if isinstance(layer, tuple):
        return layer
    if not isinstance(layer, (str, Block)):
        raise LayerError(f"layer is {layer!r}; expected a block, its path or its name")
    entries = graph.entries
    first: dict[Block, str] = {}
    names: dict[str, str] = {}
    for path, block in blocks_of(net):
        first.setdefault(block, path)
        names[path] = first[block]
        names.setdefault(block.name, first[block])
    if isinstance(layer, Block) and not first.get(layer):
        raise LayerError(f"layer {layer.name} is not a block of this net; take one of its own, such as net.features[0]")
    wanted = first[layer] if isinstance(layer, Block) else layer
    head, mark, rest = wanted.partition("#") if "#" in wanted else wanted.partition("[")
    for name in (wanted, names.get(head, head) + mark + rest, f"{head}_fwd{mark}{rest}"):
        if name in entries:
            return entries[name]
    path = names.get(wanted, wanted)
    runs = [name for name in entries if name.startswith(f"{path}#")]
    if runs:
        raise LayerError(f"layer {path} runs {len(runs)} times in this net: say which run, {' or '.join(runs)}")
    if path in names.values() and path:
        raise LayerError(f"layer {path} did not run or gives no single array; cam.layers(net) lists those that do")
    near = get_close_matches(wanted, list(dict.fromkeys([*entries, *names])), n=3, cutoff=0.4)
    hint = f"; did you mean {' or '.join(near)}?" if near else "; cam.layers(net) lists them"
    raise LayerError(f"the net has no layer {wanted!r}{hint}")


def entry_of(prepared: Ready, layer: LayerLike | Entry | None) -> Entry:
    """The entry of a layer that stands between the image and the logits; None means the recommended one.

    Raises
    ------
    LayerError
        If there is no such layer, or it stands elsewhere.
    """
    graph = prepared.graph
    if layer is None:
        found = recommended(prepared)
        if found is None:
            raise LayerError(
                "no map of this net has height and width and is crossed by all that the net knows of the image: name a "
                "layer; cam.layers(net) lists them"
            )
        return found
    entry = find(prepared.net, graph, layer)
    name = graph.names.get(entry, graph.steps[entry[0]].name)
    if not graph.follows_image[entry[0]]:
        raise LayerError(f"layer {name} does not depend on the image")
    if not graph.needed_for([prepared.end])[entry[0]]:
        raise LayerError(f"layer {name} does not influence the logits that are explained")
    return entry


def path_of(prepared: Ready, layer: LayerLike | Entry | None, entry: Entry) -> str:
    """The path by which a layer was asked for; what its entry is called if that was none."""
    graph = prepared.graph
    asked = next((path for path, block in blocks_of(prepared.net) if block is layer), layer)
    if isinstance(asked, str) and graph.entries.get(asked) == entry:
        return asked
    return graph.names.get(entry, graph.steps[entry[0]].name)


def recommended(prepared: Ready) -> Entry | None:
    """The last whole map before space ends: of more than one position, batch, channel, height and width still its axes.

    Pooling and Dropout at its end are stepped back over. In ResNet50v2 this is GAP's input, in VGG16 relu5_3.
    """
    graph, rank = prepared.graph, prepared.images[0].ndim
    for entry in reversed(graph.whole(prepared.end)):
        shape = prepared.shapes[entry]
        given = graph.steps[entry[0]].op == "null"
        if given or entry == prepared.end or graph.axes[entry[0]] != () or len(shape) != rank or rank < 3:
            continue
        if np.prod(shape[2:]) > 1:
            before = graph.back_over(entry, {"Pooling", "_contrib_AdaptiveAvgPooling2D", *PASSES_ON})
            return entry if graph.steps[before[0]].op == "null" else before
    return None


def default_layer(net: Block, x: nd.NDArray | None = None) -> str:
    """The path of the recommended layer, for images like x (one black image of 224x224 if not given).

    Raises
    ------
    LayerError
        If the net has none.
    """
    prepared = ready(net, _blank(net) if x is None else x)
    return prepared.graph.names[entry_of(prepared, None)]


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
    """The layers of a net in the order in which they run; printed, one line each."""

    def __str__(self) -> str:
        cells = [("layer", "kind", "output", "whole", "advice")]
        cells += [(r.path, r.kind, "x".join(map(str, r.shape)), "yes" if r.whole else "part", r.advice) for r in self]
        widths = [max(len(row[column]) for row in cells) for column in range(4)]
        lines = ("  ".join([*(cell.ljust(n) for cell, n in zip(row, widths)), row[4]]).rstrip() for row in cells)
        found = ", ".join(dict.fromkeys(row.path for row in self if row.advice == "recommended"))
        return "\n".join([*lines, f"recommended: {found or 'none was found; choose one with height and width'}"])


def layers(net: Block, x: nd.NDArray | None = None, *, output: int | None = None) -> LayerTable:
    """Every layer of a net with its output shape, whether it is a whole map, and which one to take.

    Parameters
    ----------
    net, output : as for `cam.record`
    x : NDArray (N, C, H, W), an input of the size in question; one black image of 224x224, or of the size that the net
        takes, if not given

    Returns
    -------
    LayerTable of `Layer`; `print` shows it

    Raises
    ------
    CamError
        As `cam.record`.
    """
    prepared = ready(net, _blank(net) if x is None else x, output)
    graph, found, blocks = prepared.graph, recommended(prepared), paths(net)
    whole = set(graph.whole(prepared.end))
    rows = []
    for path, entry in graph.entries.items():
        if entry not in prepared.shapes or not graph.follows_image[entry[0]]:
            continue
        block = blocks.get(path.partition("#")[0].partition("[")[0])
        kind = type(block).__name__ if block is not None else graph.steps[entry[0]].kind
        advice = _advice(prepared, entry, found) if graph.names[entry] == path or entry != found else ""
        shape = (len(prepared.images[0]), *prepared.shapes[entry][1:])
        rows.append(Layer(path, kind, shape, entry in whole, advice))
    return LayerTable(rows)


def _blank(net: Block) -> nd.NDArray:
    """A black image that the net takes."""
    graph = trace(checks.check_net(net))
    shape = (1, checks.channels_of(graph) or 3, 224, 224)
    size = checks.size_of(graph, shape) or 224
    return nd.zeros((*shape[:2], size, size), dtype=checks.type_of(graph))


def _advice(prepared: Ready, entry: Entry, found: Entry | None) -> str:
    shape, instead = prepared.shapes[entry], _instead(prepared, entry)
    if len(shape) < 3:
        return f"no height and width: no map{instead}"
    if np.prod(shape[2:]) == 1:
        return f"a single position: cannot say where{instead}"
    if entry == found:
        return "recommended"
    return caveat(prepared, entry) or ""


def _instead(prepared: Ready, entry: Entry) -> str:
    found = recommended(prepared)
    return f"; take {prepared.graph.names[found]}" if found not in (None, entry) else ""


def caveat(prepared: Ready, entry: Entry) -> str | None:
    """What a reader of this layer's map should know, whatever the image; None if there is nothing to say."""
    graph, end = prepared.graph, prepared.end
    if not graph.needed_for([end])[entry[0]]:
        return "does not influence the logits"
    whole = graph.whole(end)
    if entry not in whole:
        after = next(one for one in whole if one > entry)
        joint = next((i for i in graph.consumers.get(entry, ()) if graph.steps[i].op in ADDS), None)
        what = "only a part: what goes around it is left out"
        if joint is not None:
            what = "only one term of a sum: what the other adds is left out"
        sized = [one for one in whole if one >= after and np.prod(prepared.shapes[one][2:]) > 1]
        name = graph.names.get(sized[0] if sized and len(prepared.shapes[sized[0]]) > 2 else recommended(prepared))
        return f"{what}; the whole map after it is {name}"
    followers = graph.consumers.get(entry, [])
    if graph.steps[entry[0]].relu is None and followers and all(graph.steps[i].relu is not None for i in followers):
        after = graph.names.get((followers[0], 0), graph.steps[followers[0]].name)
        return f"before its ReLU: what a channel lacks counts as evidence too; take {after}"
    return None


def caveats(prepared: Ready, entry: Entry) -> list[LayerWarning]:
    """What keeps a reader from taking any map of this layer at its face, as warnings that were not yet raised."""
    name = prepared.graph.names[entry]
    said = [caveat(prepared, entry)]
    if np.prod(prepared.shapes[entry][2:]) == 1:
        said.append(f"the map is a single position and cannot say where{_instead(prepared, entry)}")
    return [LayerWarning(f"{name}: {one}") for one in said if one]
