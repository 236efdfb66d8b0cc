"""ReLU, Conv2D, Add and GlobalAvgPool2D as Gluon blocks whose way back is written out: autograd Functions.

These are what the lessons build, for nets of one's own and for scripts written for MXNet's tutorial. Under
`autograd.record()` each goes back by its function in `rules`; otherwise, and in a hybridized net, it is MXNet's own
operator. The rest of cam does not need them: it finds every operator of every net in the graph.
"""

from __future__ import annotations

import mxnet as mx
from mxnet import autograd, nd
from mxnet.gluon import HybridBlock, nn

from ..core import rules


class _Function(autograd.Function):
    """One operator on the tape, with a way back of its own: `forward(*inputs)` gives y, `back(dy)` gives dx or more."""

    def __init__(self, forward, back):
        super().__init__()
        self._forward, self._back = forward, back

    def forward(self, *inputs):
        return self._forward(*inputs)

    def backward(self, dy):
        return self._back(dy)


def _on_tape(forward, back, *inputs) -> nd.NDArray:
    # A convolution above passes its gradient back in oneDNN's own memory layout, which a Function can receive as
    # garbage. The gradient of `* 1` has the default layout again.
    if len(inputs) > 1:  # MXNet drops all gradients behind the first input that needs none, so let each need one
        zero = nd.zeros((1,), ctx=inputs[0].context, dtype=inputs[0].dtype)
        zero.attach_grad()
        inputs = tuple(nd.broadcast_add(one, zero.reshape((1,) * one.ndim)) for one in inputs)
    return _Function(forward, back)(*inputs) * 1


def relu(x: nd.NDArray, rule: str = "plain") -> nd.NDArray:
    """max(x, 0) with a choice of its way back (`rules.relu_back`), under `autograd.record()`.

    Parameters
    ----------
    x : NDArray of any shape
    rule : "plain", "guided" or "deconvnet", else InputError

    Returns
    -------
    NDArray of the shape of x
    """
    rules.check_rule(rule)
    y = nd.relu(x).detach()  # a Function that keeps its own output would never be freed
    return _on_tape(lambda x: nd.relu(x), lambda dy: rules.relu_back(dy, y, rule), x)


class ReLU(HybridBlock):
    """y = max(x, 0), elementwise, any shape, with the way back of `rule`: "plain", "guided" or "deconvnet"."""

    def __init__(self, rule: str = "plain", **kwargs):
        super().__init__(**kwargs)
        self.rule = rules.check_rule(rule)

    def hybrid_forward(self, F, x):
        return relu(x, self.rule) if _recorded(F) else F.Activation(x, act_type="relu")


class Conv2D(nn.Conv2D):
    """The convolution of `rules.convolution_back`, with Gluon's arguments and names; x (N, C, H, W), y (N, O, H', W').

    Its weights can be trained: their gradient is MXNet's own.
    """

    def hybrid_forward(self, F, x, weight, bias=None):
        if not _recorded(F):
            return super().hybrid_forward(F, x, weight, bias)
        own = self._kwargs
        shape = x.shape
        # Copies: a trainer's step that is queued before the way back runs would wait for it, and it for the step.
        inputs = [one.detach().copy() for one in (x, weight, bias) if one is not None]
        options = {key: str(value) for key, value in own.items()}

        def convolve(*inputs):
            return F.Convolution(*inputs, **own)

        def back(dy):
            dx = rules.convolution_back(
                dy, inputs[1], shape, own["stride"], own["pad"], own["dilate"], own["num_group"]
            )  # fmt: skip
            own_way = rules.Derivative("Convolution", inputs, options, [False] + [True] * (len(inputs) - 1))
            return (dx, *own_way.back({0: dy})[1:])

        y = _on_tape(convolve, back, *(one for one in (x, weight, bias) if one is not None))
        return y if self.act is None else self.act(y)


class Add(HybridBlock):
    """y = branch + shortcut, of one shape, with the way back of `rules.add_back`: the gradient goes to both."""

    def hybrid_forward(self, F, branch, shortcut):
        if not _recorded(F):
            return branch + shortcut
        return _on_tape(lambda a, b: a + b, rules.add_back, branch, shortcut)


class GlobalAvgPool2D(HybridBlock):
    """y[n, k] = (1 / (H W)) sum_{i, j} x[n, k, i, j], (N, K, 1, 1); back by `rules.global_average_back`."""

    def hybrid_forward(self, F, x):
        if not _recorded(F):
            return F.Pooling(x, kernel=(1, 1), global_pool=True, pool_type="avg")
        shape = x.shape
        return _on_tape(
            lambda x: x.mean(axis=(2, 3), keepdims=True), lambda dy: rules.global_average_back(dy, shape), x
        )


def Activation(activation: str, **kwargs) -> HybridBlock:
    """The tutorial's name for an activation block: `Activation("relu")` is a `ReLU()`, any other is MXNet's own.

    Parameters
    ----------
    activation : "relu", or another name that MXNet knows
    **kwargs : as for `ReLU` and MXNet's `Activation`

    Returns
    -------
    HybridBlock
    """
    return ReLU(**kwargs) if activation == "relu" else nn.Activation(activation, **kwargs)


def _recorded(F) -> bool:
    return F is mx.nd and autograd.is_recording()
