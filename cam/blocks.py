"""Gluon blocks whose forward and backward rules are written out, and which can be recorded.

Each block is the zoo's block of the same name: same parameters, same names, same output. Two things
are added. Where MXNet's own gradient is wrong or slow in inference, the block brings the right one
(`MaxPool2D`, `BatchNorm`). And while a recorder is active (see `cam.recording`), each block hands it
its output, and `ReLU` asks it for the backward rule of the pass. Without a recorder, and inside a
hybridized net, every block is MXNet's own operator and can be trained as usual.

Notation: x is the input, y the output, dx and dy are the gradients of the class's logit.
"""

from __future__ import annotations

import atexit
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Protocol

import mxnet as mx
from mxnet import autograd, nd
from mxnet.base import MXNetError
from mxnet.gluon import HybridBlock, nn

from .errors import InputError

RULES = ("plain", "guided", "deconvnet")


class Recorder(Protocol):
    """What a block asks of the recorder while a forward pass is recorded.

    `rule` is read at backward time: one of `RULES`. `masks` is where each `Rectifier` keeps [x > 0] until then.
    """

    rule: str
    masks: dict[Rectifier, nd.NDArray]

    def visit(self, block: HybridBlock, output: nd.NDArray) -> nd.NDArray:
        """Take note of a block's output; return what the net goes on with."""


_recorder: ContextVar[Recorder | None] = ContextVar("recorder", default=None)


@contextmanager
def recorded_by(recorder: Recorder) -> Iterator[None]:
    """Let the blocks that run in this context (and thread) report to `recorder`."""
    token = _recorder.set(recorder)
    try:
        yield
    finally:
        _recorder.reset(token)


class Recordable:
    """Mixin: hand the block's output to the active recorder.

    A hybridized parent traces its children with symbols; these are not recorded.
    """

    def forward(self, *inputs):
        output = super().forward(*inputs)
        recorder = _recorder.get()
        if recorder is None or not isinstance(output, nd.NDArray):
            return output
        return recorder.visit(self, output)


class Rectifier(autograd.Function):
    """y = max(x, 0), with a choice of how a gradient passes back.

    =========  ==============================  ======================================
    plain      dx = dy * [x > 0]               the derivative
    deconvnet  dx = max(dy, 0)                 Zeiler and Fergus 2014, section 2.1
    guided     dx = max(dy, 0) * [x > 0]       Springenberg et al. 2015
    =========  ==============================  ======================================

    The rule is read from `chooser.rule` when the gradient arrives, so that one recorded pass can be
    replayed with each rule. Use `relu`, which makes the result safe beside oneDNN convolutions.
    """

    def __init__(self, chooser: Recorder):
        super().__init__()
        self._chooser = chooser

    def forward(self, x):
        # Float 0 or 1, the shape of x. The chooser keeps it, as MXNet's Functions outlive their graph until Python
        # collects its cycles; saving the output itself would leak for good.
        self._chooser.masks[self] = x > 0
        return nd.relu(x)

    def backward(self, dy):
        rule, positive = self._chooser.rule, self._chooser.masks[self]
        if rule == "plain":
            return dy * positive
        if rule == "deconvnet":
            return nd.relu(dy)
        return nd.relu(dy) * positive


class _Fixed:
    """The chooser that always gives the same rule."""

    def __init__(self, rule: str):
        self.rule, self.masks = check_rule(rule), {}


def check_rule(rule: str) -> str:
    """Return `rule` if it is one of `RULES`, else raise InputError."""
    if rule not in RULES:
        raise InputError(f"rule is {rule!r}; expected one of {', '.join(RULES)}")
    return rule


def relu(x: nd.NDArray, rule: str | Recorder = "plain") -> nd.NDArray:
    """max(x, 0) with one of the backward rules of `Rectifier`, for use under `autograd.record()`.

    Parameters
    ----------
    x : NDArray of any shape, float
    rule : "plain", "guided" or "deconvnet", or an object with `rule` and `masks` as in `Recorder`

    Returns
    -------
    NDArray, the shape and dtype of x

    Raises
    ------
    InputError
        If there is no such rule.
    """
    chooser = _Fixed(rule) if isinstance(rule, str) else rule
    # A convolution above passes its gradient back in oneDNN's own layout, which a Function can
    # receive as garbage. The gradient of `* 1` has the default layout again.
    return Rectifier(chooser)(x) * 1


@atexit.register
def _let_functions_go() -> None:
    """Wait, at most a second, until MXNet has deleted the Functions of graphs that were freed.

    It does so in threads of its own, and one that enters Python while Python shuts down aborts the process.
    Functions of a graph that a variable still holds are none of these: their number stands still.
    """
    with suppress(MXNetError):
        nd.waitall()
    alive = autograd.Function._registry.ref_holder  # by key, until MXNet calls back to delete
    unchanged, before = 0, len(alive)
    for _ in range(100):
        if before == 0 or unchanged == 10:
            break
        time.sleep(0.01)
        unchanged, before = (unchanged + 1, before) if len(alive) == before else (0, len(alive))


class ReLU(Recordable, HybridBlock):
    """y = max(x, 0), elementwise; the backward rule is the recorder's (see `Rectifier`).

    Takes and returns an NDArray of any shape. Without a recorder it is MXNet's `Activation`.
    """

    def hybrid_forward(self, F, x):
        recorder = _recorder.get()
        if F is not mx.nd or recorder is None or not autograd.is_recording():
            return F.Activation(x, act_type="relu")
        return relu(x, weakref.proxy(recorder))  # whoever holds the graph holds the recorder


def Activation(activation: str, **kwargs) -> HybridBlock:
    """The tutorial's name for an activation block: `Activation("relu")` is a `ReLU()`.

    Any other activation is MXNet's own.
    """
    return ReLU(**kwargs) if activation == "relu" else nn.Activation(activation, **kwargs)


class Conv2D(Recordable, nn.Conv2D):
    """y[n, o, i, j] = b[o] + sum_{c, u, v} w[o, c, u, v] x[n, c, s i + u - p, s j + v - p].

    dx[n, c, k, l] = sum over all o, u, v, i, j with s i + u - p = k and s j + v - p = l of
    w[o, c, u, v] dy[n, o, i, j]: the same weights, walked the other way. Stride s, padding p.
    Input (N, C, H, W), output (N, O, H', W').
    """


class Add(Recordable, HybridBlock):
    """y = shortcut + branch, so that d shortcut = dy and d branch = dy.

    The gradient arrives unchanged at both: this is why the maps of branch and shortcut add up
    (He et al. 2016, "Identity mappings", equation 1). Inputs and output: one common shape.
    """

    def hybrid_forward(self, F, branch, shortcut):
        return branch + shortcut


class Sequential(Recordable, nn.HybridSequential):
    """y = f_n(... f_2(f_1(x))): blocks one after another; its output is the last block's."""


class Identity(Recordable, HybridBlock):
    """y = x, dx = dy: gives the shortcut of a residual block a name, so that it can be recorded."""

    def hybrid_forward(self, F, x):
        return F.identity(x)


class GlobalAvgPool2D(Recordable, nn.GlobalAvgPool2D):
    """y[n, k] = (1 / (H W)) sum_{i, j} x[n, k, i, j], so that dx[n, k, i, j] = dy[n, k] / (H W).

    Every position receives the same gradient. Input (N, K, H, W), output (N, K, 1, 1).
    """


class MaxPool2D(Recordable, nn.MaxPool2D):
    """y[n, k, i, j] = max of x over window (i, j); dx is dy at each window's maximum, else 0.

    Windows that overlap add up. MXNet 1.9.1 with oneDNN reads positions that were never written when a
    forward is recorded with `train_mode=False`: the gradient goes to the first element of a window, elsewhere,
    or nowhere. With a view as input it is arbitrary in every mode. This block pools a copy, in train mode (max
    pooling is the same function in both).
    Input (N, K, H, W), output (N, K, H', W').
    """

    def hybrid_forward(self, F, x):
        if F is not mx.nd or not autograd.is_recording():
            return super().hybrid_forward(F, x)
        with autograd.train_mode():
            return super().hybrid_forward(F, x * 1)


class BatchNorm(Recordable, nn.BatchNorm):
    """In inference y = a x + b with a = gamma / sqrt(variance + epsilon), b = beta - a mean; dx = a dy.

    One a and b per channel (Ioffe and Szegedy 2015, algorithm 2). MXNet's own backward in inference is right, but
    between oneDNN convolutions slower than these two operations (`make benchmark` measures by how much). In
    training this block is MXNet's.
    Input and output (N, C, ...).
    """

    def hybrid_forward(self, F, x, gamma, beta, running_mean, running_var):
        if F is not mx.nd or not autograd.is_recording() or autograd.is_training():
            return super().hybrid_forward(F, x, gamma, beta, running_mean, running_var)
        scale = 1 / F.sqrt(running_var + self._kwargs["eps"])
        if not self._kwargs["fix_gamma"]:
            scale = scale * gamma
        shape = [1] * x.ndim
        shape[self._kwargs["axis"]] = -1
        # In a net cast to float16 only x is: Gluon leaves a BatchNorm's parameters in float32. And a and b get the
        # shape of x, because MXNet's backward of a multiplication that broadcasts is several times slower.
        a, b = (
            one.reshape(shape).astype(x.dtype, copy=False).broadcast_to(x.shape)
            for one in (scale, beta - running_mean * scale)
        )
        return F.elemwise_add(F.elemwise_mul(x, a), b)
