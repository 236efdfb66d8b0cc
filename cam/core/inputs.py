"""From pixels to the array that a net takes."""

from __future__ import annotations

import numpy as np
from mxnet import nd

from .checks import check_net, refuse_numpy_mode, type_of
from .mxnet import Block, state_of
from .tracing import trace

MEAN = np.array([0.485, 0.456, 0.406], np.float32)  # of ImageNet, RGB, for values in 0..1
STANDARD_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


def normalise(pixels: np.ndarray) -> np.ndarray:
    """(..., H, W, 3) uint8 RGB to (..., 3, H, W) float32: (pixels / 255 - MEAN) / STANDARD_DEVIATION."""
    scaled = (pixels.astype(np.float32) / 255 - MEAN) / STANDARD_DEVIATION
    return np.ascontiguousarray(np.moveaxis(scaled, -1, -3))


def input_for(net: Block, array: np.ndarray) -> nd.NDArray:
    """The array as an NDArray on the device of the net's parameters and of their dtype.

    Raises
    ------
    NetError
        If net is no Gluon net, or cannot be traced.
    InputError
        If MXNet's NumPy mode is on.
    """
    graph = trace(check_net(net))
    refuse_numpy_mode()
    placed = [one.list_ctx()[0] for _, one in graph.parameters if state_of(one) != "empty"]
    return nd.array(array, ctx=placed[0] if placed else None, dtype=type_of(graph))
