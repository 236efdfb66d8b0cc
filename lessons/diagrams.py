"""Drawings of the lessons, made by code: a net's traced graph, and what a tape does to it."""

from __future__ import annotations

from functools import partial

import cam
from cam.pictures.drawing import PART, QUIET, WHOLE, WIDTH, arrow, box, canvas

from matplotlib.figure import Figure

BACKWARD = "#c0392b"

net_graph = partial(cam.draw_graph, recommended=False)  # which layer to take is what lessons 5 and 6 find out


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
