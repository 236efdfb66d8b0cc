"""Drawings of the lessons, made by code: a net's traced graph, and what a tape does to it."""

from __future__ import annotations

import textwrap
from functools import partial

import cam
from cam.maps.endings import ENDINGS, JOINTS
from cam.pictures.graph_drawing import FORWARD, PART, QUIET, TAKE, WHOLE, WIDTH, arrow, box, canvas

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
            box(axis, x, y, text, WHOLE if text == "A" and not tap else QUIET)
        if tap:
            box(axis, 7.75, y, "+", QUIET, width=0.6)
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


def decision_tree() -> Figure:
    """Two questions to any net; the leaves say what `cam.layers` prints below its table."""
    endings = {  # the layer, and who ends so
        "GAP": ("GAP's input", "SqueezeNet"),
        "GAP and Dense": ("GAP's input", "ResNet, DenseNet, Inception, MobileNet, EfficientNet"),
        "GAP and more": ("GAP's input", "a deeper head"),
        "one Dense layer": ("the last map before it is flattened", "a small net of one's own"),
        "several layers": ("the last map, after its ReLU, before its pooling", "AlexNet, VGG"),
    }
    joints = {
        "adds": "ResNet",
        "concatenates": "DenseNet, Inception",
        "gates": "attention",
        "goes around": "all others",
    }
    first = [
        (
            ending,
            TAKE if said.startswith(("exact", "HiResCAM is exact")) else WHOLE,
            f"Take {endings[ending][0]}. {said[0].upper()}{said[1:]}",
        )
        for ending, said in ENDINGS.items()
    ]
    second = [("nothing goes around it", WHOLE, "It is whole: take it after its ReLU")]
    second += [(joint, PART, f"The last convolution {said}") for joint, said in JOINTS.items()]
    examples = [example for _, example in endings.values()] + ["AlexNet, VGG, MobileNet", *joints.values()]
    questions = ["How does it end,\nbehind the last map?"] * len(first)
    questions += ["What becomes of\nthe last convolution?"] * len(second)
    figure, axis = canvas(17.5, 0.95 * len(questions) + 0.4)
    places = [
        0.95 * row + (0.8 if question == questions[0] else 0.5) for row, question in enumerate(reversed(questions))
    ]
    for question in dict.fromkeys(questions):
        middle = sum(y for y, one in zip(reversed(places), questions) if one == question) / questions.count(question)
        box(axis, 1.7, middle, question, width=3.2, height=0.9)
        for y in (y for y, one in zip(reversed(places), questions) if one == question):
            axis.plot([3.3, 3.9], [middle, y], color=FORWARD, linewidth=1.2)
    for y, (answer, colour, said), example in zip(reversed(places), first + second, examples):
        arrow(axis, (3.9, y), (4.5, y))
        box(axis, 6.0, y, answer, colour, width=3.0)
        axis.text(7.8, y, textwrap.fill(said, 76), va="center", fontsize=9)
        axis.text(14.6, y, textwrap.fill(example, 26), va="center", fontsize=9, style="italic")
    return figure
