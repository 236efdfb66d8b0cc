"""Drawings of the lessons, made by code: a net's traced graph, and what a tape does to it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from cam.core.graph import Entry, Graph, Step
from cam.core.tracing import trace

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from mxnet.gluon import Block

WHOLE, PART, QUIET = "#f5b041", "#aed6f1", "#eeeeee"
FORWARD, BACKWARD = "#555555", "#c0392b"
WIDTH, HEIGHT = 1.5, 0.62  # of a box


def box(axis: Axes, x: float, y: float, text: str, colour: str = QUIET, width: float = WIDTH, dashed: bool = False):
    """A box with its centre at (x, y)."""
    axis.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - HEIGHT / 2), width, HEIGHT, boxstyle="round,pad=0,rounding_size=0.12",
            facecolor=colour, edgecolor="#333333", linewidth=1, linestyle="--" if dashed else "-",
        )
    )  # fmt: skip
    axis.text(x, y, text, ha="center", va="center", fontsize=9)


def arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float], colour: str = FORWARD, bend: float = 0.0):
    """An arrow from point to point; with `bend` it goes in an arc."""
    axis.add_patch(
        FancyArrowPatch(
            start, end, arrowstyle="-|>", mutation_scale=12, color=colour, linewidth=1.4,
            connectionstyle=f"arc3,rad={bend}", shrinkA=1, shrinkB=1,
        )
    )  # fmt: skip


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty drawing in which one unit is about 0.8 inch."""
    figure, axis = plt.subplots(figsize=(0.8 * width, 0.8 * height), layout="constrained")
    axis.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    axis.axis("off")
    return figure, axis


def net_graph(
    net: Block,
    first: str | None = None,
    last: str | None = None,
    notes: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    wrap: int = 14,
) -> Figure:
    """The operators of a net, or of a piece of it, from left to right, as they were traced.

    Orange is a whole map: every path from the image to the logits crosses it. Blue is a part.

    Parameters
    ----------
    net : any net that `cam` takes
    first, last : the piece between two layers, both included; the whole net if not given. All paths of layers as in
        `cam.layers`; "data" is the image
    notes : by layer, a sentence that stands under its box
    labels : by layer, what to write in its box instead of its kind
    wrap : letters per line of a note
    """
    graph = trace(net)
    end = graph.logits(0)[0]
    chosen = _piece(graph, _entry(graph, first), _entry(graph, last) or end)
    whole = {index for index, _ in graph.whole(end)}
    column = _columns(graph, chosen)
    lane = _lanes(graph, chosen, column, whole)
    notes, labels = (
        {_entry(graph, name)[0]: text for name, text in (given or {}).items()} for given in (notes, labels)
    )
    room = 0.28 * max([len(textwrap.wrap(text, wrap)) for text in notes.values()], default=0) + 0.1
    arcs = {
        (source, index)
        for index in chosen
        for source, _ in graph.steps[index].inputs
        if source in lane and _crosses_a_box(source, index, column, lane)
    }
    lowest = 1.1 * min(lane.values()) - HEIGHT / 2 - room
    highest = 1.1 * max(lane.values()) + HEIGHT / 2 + max(room, 0.5 if arcs else 0)
    figure, axis = canvas(2.0 * (max(column.values()) + 1), highest - lowest)
    place = {i: (1.0 + 2.0 * column[i], 1.1 * lane[i] - lowest) for i in chosen}
    for index in chosen:
        step, (x, y) = graph.steps[index], place[index]
        box(axis, x, y, labels.get(index) or _kind(step), WHOLE if index in whole else PART)
        if index in notes:
            up = 1 if lane[index] > 0 else -1
            lines = "\n".join(textwrap.wrap(notes[index], wrap))
            axis.text(x, y + up * (HEIGHT / 2 + 0.08), lines, ha="center", va="bottom" if up > 0 else "top", fontsize=8)
        for source, _ in step.inputs:
            if source in place:
                _edge(axis, place[source], place[index], over=(source, index) in arcs)
    return figure


def cut_and_tap() -> Figure:
    """What attach_grad in the middle of a tape does to the way back, and what a zero tap does."""
    figure, axis = canvas(10.5, 4.6)
    for y, title in ((3.5, "attach_grad on A: the tape is cut"), (1.5, "a zero tap: nothing is cut")):
        axis.text(0.2, y + 0.75, title, fontsize=10, weight="bold", va="center")
        places = {"image": 1.2, "convolution": 3.6, "A": 6.0, "score": 9.4}
        tap = y < 2
        for text, x in places.items():
            box(axis, x, y, text, WHOLE if text == "A" else QUIET)
        if tap:
            box(axis, 7.75, y, "+", PART, width=0.6)
            box(axis, 7.75, y - 1.05, "T = 0", WHOLE, width=1.0)
        stops = [1.2 + WIDTH / 2, 3.6 - WIDTH / 2, 3.6 + WIDTH / 2, 6 - WIDTH / 2, 6 + WIDTH / 2]
        stops += [7.45, 8.05, 9.4 - WIDTH / 2] if tap else [9.4 - WIDTH / 2]
        for start, end in zip(stops[::2], stops[1::2]):
            arrow(axis, (start, y + 0.12), (end, y + 0.12))
            if tap or start > 6:
                arrow(axis, (end, y - 0.12), (start, y - 0.12), BACKWARD)
        if tap:
            arrow(axis, (7.64, y - 0.74), (7.64, y - 0.31))
            arrow(axis, (7.86, y - 0.31), (7.86, y - 0.74), BACKWARD)
        else:
            axis.text(4.8, y - 0.14, "✂", fontsize=17, color=BACKWARD, ha="center", va="center")
            axis.text(2.4, y - 0.55, "gradient of the image: 0", fontsize=9, color=BACKWARD, ha="center")
    axis.text(0.2, 0.4, "grey: forward\nred: gradient", fontsize=8, va="center")
    return figure


def _entry(graph: Graph, name: str | None) -> Entry | None:
    if name is None:
        return None
    return (graph.inputs[0], 0) if name == "data" else graph.entries[name]


def _piece(graph: Graph, first: Entry | None, last: Entry) -> list[int]:
    """The steps that lie on a way from `first` to `last`; constants and parameters are left out."""
    needed, reached = graph.needed_for([last]), list(graph.follows_image)
    if first is not None:
        reached = [False] * len(graph.steps)
        for index, step in enumerate(graph.steps):
            reached[index] = index == first[0] or any(reached[source] for source, _ in step.inputs)
    return [index for index in range(last[0] + 1) if needed[index] and reached[index]]


def _columns(graph: Graph, chosen: Sequence[int]) -> dict[int, int]:
    """For each step the length of the longest way to it."""
    column: dict[int, int] = {}
    for index in chosen:
        column[index] = 1 + max([column[i] for i, _ in graph.steps[index].inputs if i in column], default=-1)
    return column


def _lanes(graph: Graph, chosen: Sequence[int], column: Mapping[int, int], whole: set[int]) -> dict[int, int]:
    """Whole maps in the middle, parts in lanes 1, -1, 2, ... so that no two boxes meet."""
    lane: dict[int, int] = {}
    taken: set[tuple[int, int]] = set()
    for index in chosen:
        before = [lane[i] for i, _ in graph.steps[index].inputs if lane.get(i)]
        wanted = [0] if index in whole else [*before, 1, -1, 2, -2, 3, -3]
        lane[index] = next(one for one in wanted if (column[index], one) not in taken)
        taken.add((column[index], lane[index]))
    return lane


def _crosses_a_box(source: int, index: int, column: Mapping[int, int], lane: Mapping[int, int]) -> bool:
    """Whether a straight arrow along a lane would run over another box."""
    between = range(column[source] + 1, column[index])
    return lane[source] == lane[index] and any(column[i] in between and lane[i] == lane[index] for i in lane)


def _kind(step: Step) -> str:
    return "image" if step.input is not None else {"FullyConnected": "Dense"}.get(step.op, step.kind)


def _edge(axis: Axes, start: tuple[float, float], end: tuple[float, float], over: bool) -> None:
    """An arrow between two boxes, in an arc if it must pass over others."""
    (x0, y0), (x1, y1) = start, end
    if over:
        arrow(axis, (x0, y0 + HEIGHT / 2), (x1, y1 + HEIGHT / 2), bend=-1.1 / (x1 - x0))
    elif y0 == y1:
        arrow(axis, (x0 + WIDTH / 2, y0), (x1 - WIDTH / 2, y1))
    elif x1 - x0 > 2.1:  # along its own lane, then over
        axis.plot([x0 + WIDTH / 2, x1 - 1.25], [y0, y0], color=FORWARD, linewidth=1.4)
        arrow(axis, (x1 - 1.26, y0), (x1 - WIDTH / 2, y1 + (0.16 if y1 < y0 else -0.16)))
    else:
        arrow(axis, (x0 + WIDTH / 2, y0), (x1 - WIDTH / 2, y1 + (0.16 if y1 < y0 else -0.16)))
