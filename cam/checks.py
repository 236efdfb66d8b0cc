"""What must hold before and after a forward pass: each check is one sentence about one input."""

from __future__ import annotations

import mxnet as mx
import numpy as np
from mxnet import nd
from mxnet.gluon import Block, Parameter
from mxnet.util import is_np_array

from . import resolve
from .errors import InputError, NetError, NonFiniteError


def check_input(net: Block, x: nd.NDArray) -> nd.NDArray:
    """Return x if it is what the net takes: NDArray (N, 3, H, W) of its dtype, on its device.

    Raises
    ------
    InputError
        If x has the wrong type, shape, dtype or context, or MXNet's NumPy mode is on.
    NonFiniteError
        If x or a parameter of the net holds NaN or infinity.
    NetError
        If the net has parameters without values, or wants its channels last.
    """
    if not isinstance(x, nd.NDArray):
        kind = "a numpy array" if isinstance(x, np.ndarray) else f"a {type(x).__name__}"
        raise InputError(f"x is {kind}; expected mx.nd.array(...) of shape (N, 3, H, W), such as load_image returns")
    refuse_numpy_mode()
    if isinstance(x, mx.np.ndarray):
        raise InputError("x is an mx.np.ndarray; expected an mx.nd.array: take x.as_nd_ndarray()")
    if x.ndim != 4 or 0 in x.shape:
        raise InputError(f"x has shape {x.shape}; expected (N, 3, H, W) with at least one image")
    channels = resolve.input_channels(net)
    if channels is not None and x.shape[1] != channels:  # MXNet's BatchNorm would read beyond its parameters
        raise InputError(f"x has shape {x.shape}; this net takes (N, {channels}, H, W)")
    parameters = list(net.collect_params().values())
    uninitialised = [p.name for p in parameters if p._data is None and not p._deferred_init]
    if uninitialised:
        first = f"{len(uninitialised)} parameters, such as {uninitialised[0]}"
        raise NetError(f"{first}, have no values; load weights or initialize()")
    dtype = resolve.input_dtype(net)
    if dtype is not None and x.dtype != dtype:
        raise InputError(f"x has dtype {np.dtype(x.dtype).name}; this net takes {dtype.name}")
    parameters = [p for p in parameters if p._data is not None]
    if parameters:
        _check_context(parameters[0], x)
    if not np.isfinite(x.asnumpy()).all():
        raise NonFiniteError("x holds NaN or infinity")
    _check_parameters(parameters)
    return x


def _check_context(parameter: Parameter, x: nd.NDArray) -> None:
    try:
        parameter.data(x.context)
    except RuntimeError as error:
        home = parameter.list_ctx()[0]
        raise InputError(f"x is on {x.context}, the net on {home}; use x.as_in_context(mx.{home})") from error


def _check_parameters(parameters: list[Parameter]) -> None:
    """Refuse NaN and infinity here: a ReLU turns NaN into 0, so the logits may not show it."""
    for dtype in {np.dtype(parameter.dtype) for parameter in parameters}:
        alike = [parameter for parameter in parameters if parameter.dtype == dtype]
        values = [parameter.data(parameter.list_ctx()[0]) for parameter in alike]
        flat = [one.reshape(-1).astype(np.promote_types(dtype, np.float32), copy=False) for one in values]
        sums = nd.concat(*(nd.dot(one, one) for one in flat), dim=0).asnumpy()  # of squares: the fastest pass over all
        for parameter, array, total in zip(alike, values, sums):
            if not np.isfinite(total):  # or only large
                finite(array, f"parameter {parameter.name}")


def check_output(logits, x: nd.NDArray) -> None:
    """Raise NetError if what the net returned for x (N, ...) is no NDArray of logits (N, classes)."""
    if not isinstance(logits, nd.NDArray) or logits.ndim != 2 or logits.shape[0] != x.shape[0]:
        shape = getattr(logits, "shape", type(logits).__name__)
        raise NetError(f"the net returned {shape}; expected logits of shape ({x.shape[0]}, classes)")
    values = logits.asnumpy()
    if (values > 0).all() and values.shape[1] > 1 and np.allclose(values.sum(axis=1), 1, atol=1e-3):
        raise NetError("the net returned probabilities (each row sums to 1); give the net without its softmax")


def refuse_numpy_mode() -> None:
    """Raise InputError if MXNet was switched to its own NumPy arrays, in which Gluon nets run differently."""
    if is_np_array():
        raise InputError("MXNet's NumPy mode is on, and this package works with mx.nd; call mx.npx.reset_np() first")


def finite(array: nd.NDArray, name: str) -> np.ndarray:
    """The array as numpy, of the same shape and dtype; NonFiniteError, with its name, if it holds NaN or infinity."""
    values = array.asnumpy()
    if not np.isfinite(values).all():
        raise NonFiniteError(f"NaN or infinity in {name}; check weights and image")
    return values
