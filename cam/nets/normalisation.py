"""From pixels to the array that a net takes."""

from __future__ import annotations

from contextlib import suppress
from math import prod
from typing import NamedTuple

import mxnet as mx
import numpy as np
from mxnet import nd
from mxnet.gluon import Block

from ..core.checks import SIZES, Shape, channels_of, fits, infer, type_of
from ..core.errors import InputError
from ..core.graph import Entry, Graph
from ..core.tracing import trace

MEAN = np.array([0.485, 0.456, 0.406], np.float32)  # of ImageNet, RGB, for values in 0..1
STANDARD_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


class Normalisation(NamedTuple):
    """How a net was shown pictures in training: (pixels / 255 - mean) / deviation, of red, green and blue.

    `resampling` is how they were scaled: "bilinear" or "bicubic".
    """

    mean: np.ndarray
    deviation: np.ndarray
    resampling: str = "bilinear"

    @property
    def grey(self) -> tuple[int, ...]:
        """The colour that becomes zero: what the net is shown beyond the edges of a picture."""
        return tuple(round(255 * float(value)) for value in self.mean)


USUAL = Normalisation(MEAN, STANDARD_DEVIATION)


def normalisation_of(net: Block | None) -> Normalisation:
    """The net's own, if it says one as its attribute `normalisation`, or the usual one.

    Raises InputError if the net's images have another number of channels than a picture.
    """
    channels = None if net is None else channels_of(trace(net))
    if channels not in (3, None):
        takes = f"this net takes images of {channels} channel{'s' * (channels > 1)}"
        raise InputError(f"{takes}, and a picture has red, green and blue: make its array, for cam.grad_cam(net, x)")
    own = getattr(net, "normalisation", None)
    return own if isinstance(own, Normalisation) else USUAL


def normalise(pixels: np.ndarray, how: Normalisation = USUAL) -> np.ndarray:
    """(..., H, W, 3) uint8 RGB to (..., 3, H, W) float32: (pixels / 255 - mean) / deviation."""
    scaled = (pixels.astype(np.float32) / 255 - how.mean) / how.deviation
    return np.ascontiguousarray(np.moveaxis(scaled, -1, -3))


def input_for(net: Block, array: np.ndarray) -> nd.NDArray:
    """The array as an NDArray on the device of the net's parameters and of their dtype; errors as of `cam.record`."""
    graph = trace(net)
    return nd.array(array, ctx=home_of(graph), dtype=type_of(graph))


def home_of(graph: Graph) -> mx.Context | None:
    """The first device that the net's parameters are on; None if they have no values."""
    for parameter in graph.parameters:
        with suppress(RuntimeError):  # one without values
            return parameter.list_ctx()[0]
    return None


def blank(net: Block) -> nd.NDArray:
    """A black image that the net takes."""
    graph = trace(net)
    channels = channels_of(graph) or 3
    rows = ((side, _rows(graph, (1, channels, side, side))) for side in SIZES)
    fitting = ((side, count) for side, count in rows if count)
    size, count = next(fitting, (None, 0))
    if count > 1:  # some Reshape may take several pictures for one
        size = next((side for side, count in fitting if count == 1), size)
    if size is None:
        raise InputError("no square picture of a usual size fits this net; give x, an input as it takes it")
    waiting = [one.name for one in graph.parameters if 0 in (one.shape or ())]
    if waiting and fits(graph, [(1, channels, size + 64, size + 64)]):
        small, large = (infer(graph, [(1, channels, side, side)]) for side in (size, size + 64))
        if any(small[name] != large[name] for name in waiting):
            raise InputError(
                "the first picture decides for good which size this net takes; give x, or call net(x) first"
            )
    return input_for(net, np.zeros((1, channels, size, size)))


def _rows(graph: Graph, shape: Shape) -> int:
    """How many rows of logits an image of this shape gives; 0 if it does not go through the net.

    It does not either if a Reshape gives fewer numbers than it takes: MXNet rounds down what -1 stands for, and copies
    beyond the end of the new array, which can end the process.
    """
    if not fits(graph, [shape]):
        return 0
    internals, known = graph.symbol.get_internals(), infer(graph, [shape])
    given = {name: known[name] for name in internals.list_arguments() if 0 not in known[name]}
    shapes = dict(zip(internals.list_outputs(), internals.infer_shape_partial(**given)[1]))

    def shape_of(entry: Entry) -> Shape:
        name = graph.steps[entry[0]].name
        return shapes.get(f"{name}_output", shapes.get(f"{name}_output{entry[1]}", shapes.get(name, (0,))))

    reshapes = [(step.inputs[0], (i, 0)) for i, step in enumerate(graph.steps) if step.op == "Reshape"]
    sizes = [(prod(shape_of(before)), prod(shape_of(after))) for before, after in reshapes]
    if any(before != after for before, after in sizes if before and after):  # 0 where nothing is known
        return 0
    return (*shape_of(graph.outputs[0]), 1)[0] or 1
