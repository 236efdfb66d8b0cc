"""A net drawn as the graph of its operators: what is whole, what is a part, and which layer to take."""

from __future__ import annotations

import io
import itertools
import textwrap
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from mxnet import nd
from mxnet.gluon import Block

from ..core.checks import blank, ready
from ..core.graph import GATES, Entry, Graph
from ..core.layers import find
from ..core.layers import recommended as recommended_in
from ..core.tracing import trace

TAKE, WHOLE, PART, QUIET = "#58b368", "#f5b041", "#aed6f1", "#eeeeee"
FORWARD = "#555555"
WIDTH, HEIGHT = 1.5, 0.62  # of a box
COLUMNS, ROW = 16, 8  # of a drawing before it is folded, and of a folded one
FEWEST, MOST = 6, 24  # boxes of a folded drawing


class Drawing(Figure):
    """A matplotlib Figure that belongs to no window, which a notebook shows as PNG."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def draw_graph(
    net: Block,
    first: str | None = None,
    last: str | None = None,
    *,
    x: nd.NDArray | None = None,
    notes: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    recommended: bool = True,
) -> Figure:
    """The operators of a net, or of a piece of it, from left to right, as they were traced.

    Orange is a whole map, which every path from the image to the logits crosses; blue is a part; green is the whole map
    that `cam` takes by itself. More than 16 columns are folded: a box stands for all up to the end of its block, with
    what it holds written below, and has a blue one behind it if there are parts among that.

    Parameters
    ----------
    net, x : as for `cam.layers`
    first, last : the piece between two layers, both included; from the image to the logits if not given
    notes, labels : by layer, a sentence that stands at its box, and what to write in the box instead of its kind
    recommended : whether to look for the layer to take, for which the net must be able to run

    Raises
    ------
    CamError
        As `cam.layers`.
    """
    prepared = ready(net, blank(net) if x is None else x) if recommended else None
    graph, best = (prepared.graph, recommended_in(prepared)) if prepared else (trace(net), None)
    end = graph.logits(0)[0]
    start, stop = (None if name is None else find(net, graph, name)[1] for name in (first, last))
    said, called = ({find(net, graph, name)[1][0]: text for name, text in (at or {}).items()} for at in (notes, labels))
    chosen, whole = _piece(graph, start, stop or end), {index for index, _ in graph.whole(end)}
    column = _columns(graph, chosen)
    lane, hidden = _lanes(graph, chosen, column, whole), {index: [] for index in chosen}
    edges = [(source, index) for index in chosen for source, _ in graph.steps[index].inputs if source in lane]
    if max(column.values()) >= COLUMNS:
        always = {chosen[0], chosen[-1], *([best[0]] if best else []), *said, *called}
        shown = _folded(graph, [index for index in chosen if index in whole], always & {*chosen})
        edges = list(itertools.pairwise(shown))
        hidden = {after: [index for index in chosen if before < index < after] for before, after in edges}
        column = {index: number % ROW for number, index in enumerate(shown)}
        lane = {index: -1.6 * (number // ROW) for number, index in enumerate(shown)}
        for index in filter(hidden.get, shown):
            called.setdefault(index, graph.name((index, 0)))
            said[index] = f"{said.get(index, '')}\n{_contents(graph, [*hidden[index], index])}".strip()
    arcs = [pair for pair in edges if _crosses_a_box(*pair, column, lane)]
    lines = {
        index: [part for line in text.split("\n") for part in textwrap.wrap(line, 14)] for index, text in said.items()
    }
    room = 0.28 * max(map(len, lines.values()), default=0) + 0.1
    lowest, highest = (1.1 * extreme(lane.values()) for extreme in (min, max))
    height = highest - lowest + HEIGHT + room + max(room, 0.5 if arcs else 0)
    figure, axis = canvas(2.0 * (max(column.values()) + 1), height)
    place = {index: (1 + 2.0 * column[index], 1.1 * lane[index] - lowest + HEIGHT / 2 + room) for index in lane}
    for index, (right, up) in place.items():
        if not whole.issuperset(hidden.get(index, [])):
            box(axis, right + 0.1, up + 0.1, "", PART)
        colour = TAKE if best and index == best[0] else WHOLE if index in whole else PART
        box(axis, right, up, called.get(index) or _kind(graph, index), colour)
        above = lane[index] > 0
        edge, side = up + (HEIGHT / 2 + 0.08) * (1 if above else -1), "bottom" if above else "top"
        axis.text(right, edge, "\n".join(lines.get(index, [])), ha="center", va=side, fontsize=8)
    for pair in edges:
        _edge(axis, *(place[index] for index in pair), over=pair in arcs)
    return figure


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty drawing in which one unit is about 0.8 inch."""
    figure = Drawing(figsize=(0.8 * width, 0.8 * height), layout="constrained")
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


def arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float], colour: str = FORWARD, bend: float = 0.0):
    """An arrow from point to point; with `bend` it goes in an arc."""
    axis.add_patch(
        FancyArrowPatch(
            start, end, arrowstyle="-|>", mutation_scale=12, color=colour, linewidth=1.4,
            connectionstyle=f"arc3,rad={bend}", shrinkA=1, shrinkB=1,
        )
    )  # fmt: skip


def _piece(graph: Graph, first: Entry | None, last: Entry) -> list[int]:
    """The steps that lie on a way from `first` to `last`; constants and parameters are left out."""
    needed, reached = graph.needed_for([last]), list(graph.follows_image)
    if first is not None:
        reached = [False] * len(graph.steps)
        for index, step in enumerate(graph.steps):
            reached[index] = index == first[0] or any(reached[source] for source, _ in step.inputs)
    return [index for index in range(last[0] + 1) if needed[index] and reached[index]]


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


def _contents(graph: Graph, hidden: Sequence[int]) -> str:
    """How many convolutions, and how many places where two ways meet, are among these steps."""
    kinds = Counter(_kind(graph, index) for index in hidden)
    known = {"Convolution": "conv", "addition": "+", "Concat": "concat"} | dict.fromkeys(GATES, "gate")
    return "\n".join(f"{kinds[kind]} {word}" for kind, word in known.items() if kinds[kind])


def _columns(graph: Graph, chosen: Sequence[int]) -> dict[int, int]:
    """For each step the length of the longest way to it."""
    column: dict[int, int] = {}
    for index in chosen:
        column[index] = 1 + max([column[i] for i, _ in graph.steps[index].inputs if i in column], default=-1)
    return column


def _lanes(graph: Graph, chosen: Sequence[int], column: Mapping[int, int], whole: set[int]) -> dict[int, int]:
    """Whole maps in the middle, parts in lanes 1, -1, 2, ... so that no box meets another, or another's arrow."""
    until = {source: column[index] for index in chosen for source, _ in graph.steps[index].inputs}  # the last stays
    lane: dict[int, int] = {}
    taken: set[tuple[int, int]] = set()
    for index in chosen:
        before = [lane[i] for i, _ in graph.steps[index].inputs if lane.get(i)]
        others = [side * number for number in range(1, len(chosen)) for side in (1, -1)]
        wanted = [0] if index in whole else [*before, *others]
        lane[index] = next(one for one in wanted if (column[index], one) not in taken)
        taken.update((place, lane[index]) for place in range(column[index], until.get(index, column[index] + 1)))
    return lane


def _crosses_a_box(source: int, index: int, column: Mapping[int, int], lane: Mapping[int, float]) -> bool:
    """Whether a straight arrow along a lane would run over another box."""
    between = range(column[source] + 1, column[index])
    return lane[source] == lane[index] and any(column[i] in between and lane[i] == lane[index] for i in lane)


def _kind(graph: Graph, index: int) -> str:
    step = graph.steps[index]
    return "image" if step.input is not None else {"FullyConnected": "Dense"}.get(step.op, step.kind)


def _edge(axis: Axes, start: tuple[float, float], end: tuple[float, float], over: bool) -> None:
    """An arrow between two boxes, in an arc if it must pass over others."""
    (x0, y0), (x1, y1) = start, end
    if over:
        arrow(axis, (x0, y0 + HEIGHT / 2), (x1, y1 + HEIGHT / 2), bend=-1.1 / (x1 - x0))
    elif x1 < x0:  # to the next row
        turn = y1 + HEIGHT / 2 + 0.25
        axis.plot([x0 + WIDTH / 2, x0 + 0.9, x0 + 0.9, x1, x1], [y0, y0, turn, turn, turn - 0.05], color=FORWARD)
        arrow(axis, (x1, turn), (x1, y1 + HEIGHT / 2))
    elif y0 == y1:
        arrow(axis, (x0 + WIDTH / 2, y0), (x1 - WIDTH / 2, y1))
    else:  # along its own lane, then over
        if x1 - x0 > 2.1:
            axis.plot([x0 + WIDTH / 2, x1 - 1.25], [y0, y0], color=FORWARD, linewidth=1.4)
            x0 = x1 - 1.26 - WIDTH / 2
        arrow(axis, (x0 + WIDTH / 2, y0), (x1 - WIDTH / 2, y1 + (0.16 if y1 < y0 else -0.16)))
