"""Drawings of the lessons, made by code: a net's traced graph, and what a tape does to it."""

from __future__ import annotations

import textwrap
from functools import partial
from itertools import count, pairwise

import cam
from cam.maps.endings import ENDINGS, JOINTS
from cam.pictures.graph_drawing import FORWARD, PART, QUIET, TAKE, WHOLE, WIDTH, arrow, box, canvas

from matplotlib.figure import Figure

BACKWARD = "#c0392b"
ROW = 0.95  # of the decision tree

net_graph = partial(cam.draw_graph, recommended=False)  # which layer to take is what lessons 5 and 6 find out


def cut_and_tap() -> Figure:
    """What attach_grad in the middle of a tape does to the way back, and what a zero tap does."""
    figure, axis = canvas(10.5, 4.6)
    chain = [("image", 1.2, WIDTH), ("convolution", 3.6, WIDTH), ("A", 6.0, WIDTH), ("score", 9.4, WIDTH)]
    for y, title in ((3.5, "attach_grad on A: the tape is cut"), (1.5, "a zero tap: nothing is cut")):
        axis.text(0.2, y + 0.75, title, fontsize=10, weight="bold", va="center")
        tap = y < 2
        boxes = [*chain[:3], ("+", 7.75, 0.6), *chain[3:]] if tap else chain
        for text, x, width in boxes:
            box(axis, x, y, text, WHOLE if text == "A" and not tap else QUIET, width)
        for (text, left, width), (_, right, next_width) in pairwise(boxes):
            start, end = left + width / 2, right - next_width / 2
            arrow(axis, (start, y + 0.12), (end, y + 0.12))
            if tap or text == "A":
                arrow(axis, (end, y - 0.12), (start, y - 0.12), BACKWARD)
        if tap:
            box(axis, 7.75, y - 1.05, "T = 0", WHOLE, width=1.0)
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
    ends = []
    for ending, (layer, who) in endings.items():
        said = ENDINGS[ending]
        colour = WHOLE if said.startswith("not exact") else TAKE
        ends.append((ending, colour, f"Take {layer}. {said[0].upper()}{said[1:]}", who))
    becomes = [("nothing goes around it", WHOLE, "It is whole: take it after its ReLU", "AlexNet, VGG, MobileNet")]
    becomes += [(joint, PART, f"The last convolution {JOINTS[joint]}", who) for joint, who in joints.items()]
    questions = {"How does it end,\nbehind the last map?": ends, "What becomes of\nthe last convolution?": becomes}
    height = ROW * (len(ends) + len(becomes)) + 0.4
    figure, axis = canvas(17.5, height)
    top = height - 0.55
    for question, answers in questions.items():
        middle = top - ROW * (len(answers) - 1) / 2
        box(axis, 1.7, middle, question, width=3.2, height=0.9)
        for y, (answer, colour, said, who) in zip(count(top, -ROW), answers):
            axis.plot([3.3, 3.9], [middle, y], color=FORWARD, linewidth=1.2)
            arrow(axis, (3.9, y), (4.5, y))
            box(axis, 6.0, y, answer, colour, width=3.0)
            axis.text(7.8, y, textwrap.fill(said, 76), va="center", fontsize=9)
            axis.text(14.6, y, textwrap.fill(who, 26), va="center", fontsize=9, style="italic")
        top -= ROW * len(answers) + 0.3
    return figure
