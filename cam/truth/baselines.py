"""Dumb baselines: maps that know nothing of the net. A method that does not beat them has shown nothing.

Each takes the normalised images x, NDArray (N, 3, H, W), and returns maps, numpy (N, H, W), at least 0: those of x
alone do not say it again.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from mxnet import nd

from ..core.recording import record
from ..maps.resizing import resize_map


def random_map(x: nd.NDArray, seed: int = 0, cells: int = 7) -> np.ndarray:
    """Uniform noise on a grid, resized as any small map is.

    Parameters
    ----------
    x : the images
    seed : of the noise
    cells : the grid's rows and columns

    Returns
    -------
    numpy (N, H, W)
    """
    return resize_map(np.random.default_rng(seed).uniform(size=(len(x), cells, cells)), x.shape[2:])


def centre(x: nd.NDArray) -> np.ndarray:  # numpydoc ignore=PR01,RT01
    """A Gaussian in the middle of the image, whose standard deviation is a quarter of each side."""
    rows, columns = (np.exp(-8 * ((np.arange(side) + 0.5) / side - 0.5) ** 2) for side in x.shape[2:])
    return np.tile(np.outer(rows, columns), (len(x), 1, 1))


def edges(x: nd.NDArray) -> np.ndarray:  # numpydoc ignore=PR01,RT01
    """The strength of the brightness's gradient: an edge filter."""
    return np.hypot(*np.gradient(x.asnumpy().mean(axis=1), axis=(1, 2)))


def image_itself(x: nd.NDArray) -> np.ndarray:  # numpydoc ignore=PR01,RT01
    """How far each pixel is from the mean colour: max over channels of |x|."""
    return np.abs(x.asnumpy()).max(axis=1)


def other_class(method: Callable) -> Callable:
    """A method that gives the map of the class before the one that is asked for: the right net, the wrong class.

    Parameters
    ----------
    method : any that is called as `cam.grad_cam` is

    Returns
    -------
    Function that is called so too, with a class as target
    """

    def of_other_class(net, x, *, target=None, layer=None, output=None):
        recording = record(net, x, [], image_gradient=False, output=output)
        others = [(one - 1) % recording.logits.shape[1] for one in recording.class_ids(target)]
        only = {} if output is None else {"output": output}  # a method of one's own need not know outputs
        return method(net, x, target=others, layer=layer, **only)

    return of_other_class
