"""A net drawn as the graph of its operators: what is whole, what is a part, and which layer to take."""

from __future__ import annotations

import itertools
import textwrap
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path
from mxnet.gluon import Block

from ..core import layers as choose
from ..core.checks import Images, output_of, ready
from ..core.errors import LayerError
from ..core.graph import Graph
from ..maps.endings import GATES
from ..maps.layer_table import graph_of
from ..nets.normalisation import blank
from .plot import Picture

TAKE, WHOLE, PART, QUIET = "#58b368", "#f5b041", "#aed6f1", "#eeeeee"
FORWARD = "#555555"
WIDTH, HEIGHT = 1.5, 0.62  # of a box
COLUMNS, ROW = 16, 8  # of a drawing before it is folded, and of a folded one
FEWEST, MOST = 6, 24  # boxes of a folded drawing
KINDS = {"Convolution": "conv", "addition": "+", "Concat": "concat"} | dict.fromkeys(GATES, "gate")  # told of a fold


def draw_graph(
    net: Block,
    first: str | None = None,
    last: str | None = None,
    *,
    x: Images | None = None,
    notes: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    recommended: bool = True,
    output: int | None = None,
) -> Figure:
    """The operators of a net, or of a piece of it, from left to right, as they were traced.

    Orange is a whole map, which every path from the image to the logits crosses; blue is a part; green is the whole map
    that `cam` takes by itself. More than 16 columns are folded: a box stands for all up to the end of its block, with
    what it holds written below, and has a blue one behind it if there are parts among that.

    Parameters
    ----------
    net : as for `cam.layers`, whose errors this function raises
    first, last : the piece between two layers, both included; from the image to the logits if not given
    x : as for `cam.layers`
    notes, labels : by layer, what stands below its box, and what in it instead of its kind
    recommended : whether to look for the layer to take, for which the net must be able to run
    output : as for `cam.layers`

    Returns
    -------
    A matplotlib Figure
    """
    prepared = ready(net, blank(net) if x is None else x, output) if recommended else None
    graph, best = (prepared.graph, choose.recommended(prepared)) if prepared else (graph_of(net, x), None)

    def step(name: str) -> int:
        return choose.find(net, graph, name)[1][0]

    below, inside = ({step(name): text for name, text in (at or {}).items()} for at in (notes, labels))
    end = graph.logits(output_of(graph, output))[0]
    whole = {index for index, _ in graph.whole(end)}
    steps = _piece(graph, None if first is None else step(first), end[0] if last is None else step(last))
    places, hidden = _unfolded(graph, steps, whole), {}
    edges = [(source, index) for index in steps for source, _ in graph.steps[index].inputs if source in places]
    if max(column for column, _ in places.values()) >= COLUMNS:
        spine = [index for index in steps if index in whole]
        shown = _folded(graph, spine, {steps[0], steps[-1], *(best or ())[:1], *below, *inside} & {*spine})
        places = {index: (number % ROW, -1.6 * (number // ROW)) for number, index in enumerate(shown)}
        edges = list(itertools.pairwise(shown))
        hidden = {after: [index for index in steps if before < index < after] for before, after in edges}
    for index in filter(hidden.get, places):
        counts = Counter(KINDS.get(_kind(graph, one)) for one in [*hidden[index], index])
        inside.setdefault(index, graph.name((index, 0)))
        below[index] = ", ".join([*filter(None, [below.get(index)]), *(f"{counts[k]} {k}" for k in counts if k)])
    lines = {index: textwrap.wrap(text, 14) for index, text in below.items()}
    room = 0.28 * max(map(len, lines.values()), default=0) + 0.1
    centre = {index: (1 + 2.0 * column, 1.1 * lane) for index, (column, lane) in places.items()}
    heights, edge = [y0 for _, y0 in centre.values()], HEIGHT / 2 + room
    figure, axis = canvas(1 + max(x0 for x0, _ in centre.values()), max(heights) - min(heights) + 2 * edge)
    axis.set_ylim(min(heights) - edge, max(heights) + edge)
    for index, (x0, y0) in centre.items():
        if not whole.issuperset(hidden.get(index, ())):
            box(axis, x0 + 0.1, y0 + 0.1, "", PART)
        colour = TAKE if best and index == best[0] else WHOLE if index in whole else PART
        box(axis, x0, y0, inside.get(index) or _kind(graph, index), colour)
        up, side = (1, "bottom") if places[index][1] > 0 else (-1, "top")
        text = "\n".join(lines.get(index, ()))
        axis.text(x0, y0 + up * (HEIGHT / 2 + 0.08), text, ha="center", va=side, fontsize=8)
    for source, index in edges:
        arrow(axis, *_way(centre[source], centre[index]))
    return figure


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty drawing in which one unit is about 0.8 inch."""
    figure = Picture(figsize=(0.8 * width, 0.8 * height), layout="constrained")
    axis = figure.subplots()
    axis.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    axis.axis("off")
    return figure, axis


def box(axis: Axes, x: float, y: float, text: str, colour: str = QUIET, width: float = WIDTH, height: float = HEIGHT):
    """A box with its centre at (x, y)."""
    corner, style = (x - width / 2, y - height / 2), "round,pad=0,rounding_size=0.12"
    axis.add_patch(FancyBboxPatch(corner, width, height, boxstyle=style, facecolor=colour, edgecolor="#333333"))
    longest = max(map(len, text.split("\n"))) or 1
    axis.text(x, y, text, ha="center", va="center", fontsize=min(9, 72 * width / longest))


def arrow(axis: Axes, *points: tuple[float, float], colour: str = FORWARD):
    """An arrow along points."""
    style = {"arrowstyle": "-|>", "mutation_scale": 12, "linewidth": 1.4}
    axis.add_patch(FancyArrowPatch(path=Path(points), color=colour, **style))


def _piece(graph: Graph, first: int | None, last: int) -> list[int]:
    """The steps that lie on a way from `first` to `last`; constants and parameters are left out."""
    needed = graph.needed_for([(last, 0)])
    after = graph.follows_image if first is None else graph.fed_by([(first, 0)])
    steps = [index for index in range(last + 1) if needed[index] and (after[index] or index == first)]
    if not steps:
        raise LayerError("nothing leads from the first layer to the last: give the one that runs earlier first")
    return steps


def _folded(graph: Graph, spine: Sequence[int], always: Collection[int]) -> list[int]:
    """Of the whole maps those to draw: the ends of the outermost blocks, or the last ones where that leaves too few."""

    def depth(index: int) -> int:
        name = graph.name((index, 0))
        return name.count(".") if name.partition("#")[0].partition("[")[0] in graph.runs else 99

    shown = list(spine)
    for deepest in sorted({depth(index) for index in spine}, reverse=True):
        if len(shown) > MOST:
            shown = [index for index in shown if depth(index) < deepest or index in always]
    return shown if len(shown) >= FEWEST else sorted({*always, *spine[-COLUMNS + 2 :]})


def _unfolded(graph: Graph, steps: Sequence[int], whole: set[int]) -> dict[int, tuple[int, int]]:
    """By step its column, that of the longest way, and its lane: 0 if it is whole, else where no arrow meets a box."""
    column: dict[int, int] = {}
    until: dict[int, int] = {}  # the column of the last step that takes it
    places: dict[int, tuple[int, int]] = {}
    taken: set[tuple[int, int]] = set()
    before = {index: [i for i, _ in graph.steps[index].inputs if i in steps] for index in steps}
    for index in steps:
        column[index] = 1 + max([column[i] for i in before[index]], default=-1)
        until |= {i: max(until.get(i, 0), column[index]) for i in before[index]}
    for index in steps:
        passed = range(column[index], until.get(index, column[index] + 1))
        sides = (side * number for number in itertools.count(1) for side in (1, -1))
        lanes = itertools.chain((places[i][1] for i in before[index] if places[i][1]), sides)
        lane = 0 if index in whole else next(one for one in lanes if taken.isdisjoint((at, one) for at in passed))
        places[index] = column[index], lane
        taken.update((at, lane) for at in passed)
    return places


def _kind(graph: Graph, index: int) -> str:
    step = graph.steps[index]
    return "image" if step.input is not None else {"FullyConnected": "Dense"}.get(step.op, step.kind)


def _way(start: tuple[float, float], end: tuple[float, float]) -> list[tuple[float, float]]:
    """The points of an arrow between two boxes."""
    (x0, y0), (x1, y1) = start, end
    way = [(x0 + WIDTH / 2, y0)]
    if x1 < x0:  # to the next row
        turn = y1 + HEIGHT / 2 + 0.25
        return [*way, (x0 + 0.9, y0), (x0 + 0.9, turn), (x1, turn), (x1, y1 + HEIGHT / 2)]
    if y0 != y1 and x1 - x0 > 2.1:  # along its own lane, then over
        way.append((x1 - 1.25, y0))
    nearer = 0 if y0 == y1 else 0.16 if y0 > y1 else -0.16  # to the side that it comes from
    return [*way, (x1 - WIDTH / 2, y1 + nearer)]
