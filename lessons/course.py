"""Helpers of the lessons that are not about Grad-CAM: they print and draw, which `cam` itself never does."""

from __future__ import annotations

import inspect
import io
import os
import re
import warnings
from pathlib import Path

import cam
import quiz
from cam import metrics, plot, scenes
from cam.core.tracing import trace
from cam.nets import download

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Image, display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mxnet.gluon import Block, nn


class Lesson:
    """The solutions of a lesson's blanks and exercises (`solutions/NN.py`), run among the notebook's `globals()`."""

    def __init__(self, number: int, names: dict):
        self._solutions, self._names = quiz.solutions(number), names

    def fill(self, name: str, yours):
        """`yours`, or what the solution of that name gives if yours is still blank.

        A blank is `...  # your code`, as a value or somewhere in a function. So the notebook runs to its end whether
        its blanks are filled in or not.
        """
        if not _is_blank(yours):
            return yours
        print(f"{name} is still blank: the solution stands in for it")
        self.solution(name)
        return self._names[name]

    def solution(self, name: str) -> None:
        """Run the solution of that name as if it stood in this cell."""
        exec(compile(self._solutions[name][1], f"<solution of {name}>", "exec"), self._names)


def _is_blank(yours) -> bool:
    if not inspect.isfunction(yours):
        return yours is ...
    try:
        return bool(re.search(r"\.\.\.\s*# your code", inspect.getsource(yours)))
    except OSError:  # the source of a solution that has run cannot be found
        return False


def show(figure: Figure, alt: str) -> None:
    """Show a figure with a sentence for readers who do not see it. Pictures made of photographs become JPEG."""
    kind = "jpeg" if isinstance(figure, plot.Picture) or any(axis.images for axis in figure.axes) else "png"
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, pil_kwargs={"quality": 88})  # of a JPEG; PNG has none
    plt.close(figure)
    display(Image(data=buffer.getvalue(), format=kind, alt=alt))


def draw_intervals(axis: Axes, at, intervals: list[metrics.Interval], **style) -> None:
    """Draw means with their intervals, at these places of the horizontal axis, in a style of `axis.errorbar`."""
    middle, low, high = np.array([(one.mean, one.low, one.high) for one in intervals]).T
    axis.errorbar(at, middle, [middle - low, high - middle], capsize=3, **style)


def reached_by_recipe(net: Block) -> list[str]:
    """Those of `cam.relus(net)` that the tutorial's recipe replaces: what comes out of an `Activation` block.

    The block that a Dense layer makes for its own `activation=` is none of them: the tutorial leaves Dense as it is.
    """
    graph, blocks = trace(net), cam.paths(net)
    replaced = {
        entry
        for path, block in blocks.items()
        if isinstance(block, nn.Activation) and not isinstance(blocks.get(path.rpartition(".")[0]), nn.Dense)
        for run in graph.runs.get(path, [])
        for entry in run
    }
    return [graph.name((index, 0)) for index in graph.relus() if (index, 0) in replaced]


def forum_pictures() -> Figure:
    """The pictures of the forum's question, as its recipe makes them, with this course's two networks.

    In each row a scene, Grad-CAM at the network's last convolution, and guided Grad-CAM with the guided rule at the
    ReLUs that the recipe reaches: 13 of VGG16's 15, and 2 of ResNet50v2's 50.
    """
    scene = scenes.draw(10)
    x, label = cam.load_image(scene.image), scene.labels[1]
    rows = []
    for net, layer in ((cam.vgg16(), "features.28"), (cam.resnet50_v2(), "features.8.2.conv3")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", cam.LayerWarning)  # these layers are what the question is about
            heat = cam.grad_cam(net, x, target=label, layer=layer)[0]
            guided = cam.guided_grad_cam(net, x, target=label, layer=layer, where=reached_by_recipe(net))[0]
        rows.append([scene.image, plot.overlay(scene.image, heat), plot.signed_image(guided)])
    titles = [f"a scene; explained: {label}", "Grad-CAM", "guided Grad-CAM"]
    return plot.grid(rows, ["VGG16", "ResNet50v2"], titles, size=2.6)


def tutorials_picture(image: np.ndarray, signed: np.ndarray) -> np.ndarray:
    """Grad-CAM before its ReLU as MXNet's tutorial draws it: 1 is added first, minimum to maximum get the colours."""
    heat = np.maximum(cam.resize_map(1 + signed, image.shape[:2]), 0)
    both = 255 * matplotlib.colormaps["cool"]((heat - heat.min()) / np.ptp(heat))[..., :3] + image
    return np.uint8(255 * both / both.max())


def compare(name: str, mine, reference) -> None:
    """Print whether two arrays, numpy or NDArray, are exactly equal, close or different, and the largest difference."""
    mine, reference = (np.asarray(a.asnumpy() if hasattr(a, "asnumpy") else a, np.float64) for a in (mine, reference))
    if mine.shape != reference.shape:
        print(f"{name}: different shapes, {mine.shape} and {reference.shape}")
        return
    largest = np.abs(mine - reference).max(initial=0.0)
    if largest == 0:
        verdict = "exact"
    elif largest <= 1e-5 * np.abs(reference).max():
        verdict = "close"
    else:
        verdict = "DIFFERENT"
    print(f"{name}: {verdict}, largest difference {largest:.1e}")


def imagenet_weights(name: str) -> Path | None:
    """A file with ImageNet weights for "vgg16" or "resnet50_v2" if there is one on this machine, and None if not.

    That is the file that the variable CAM_IMAGENET_VGG16 or CAM_IMAGENET_RESNET50_V2 names, if it is set, or else the
    pinned one in the cache (`cam.nets.download`). Nothing is downloaded.
    """
    chosen = os.environ.get(f"CAM_IMAGENET_{name.upper()}")
    return Path(chosen) if chosen else download.find(name)
