"""How a gradient passes back through an operator: one function each, with its equation.

Notation: x is the operator's input, y its output; dx and dy are the gradients of the target with respect to them.
All arrays are NDArrays. Which operator of a graph goes by which rule is said in `forward_backward`; operators
without a rule here go by `Derivative`, which is MXNet's own, for that operator alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mxnet import MXNetError, autograd, nd

from .errors import InputError, NetError, in_one_line
from .mxnet import call

RULES = ("plain", "guided", "deconvnet")
# The same functions in both modes, and right in train mode only: in inference oneDNN is less exact, keeps weights in a
# layout of its own, and goes back from a max pooling to positions that were never written. All others must compute what
# the net computes, so in predict mode.
IN_TRAIN_MODE = {"Convolution", "Deconvolution", "FullyConnected", "Pooling"}
SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def check_rule(rule: str) -> str:
    """Return `rule` if it is one of `RULES`, else raise InputError."""
    if rule not in RULES:
        raise InputError(f"rule is {rule!r}; expected one of {', '.join(RULES)}")
    return rule


def relu_back(dy: nd.NDArray, y: nd.NDArray, rule: str = "plain") -> nd.NDArray:
    """The gradient of y = max(x, 0), elementwise, any shape.

    =========  ==========================  =====================================
    plain      dx = dy [y > 0]             the derivative
    deconvnet  dx = max(dy, 0)             Zeiler and Fergus 2014, section 2.1
    guided     dx = max(dy, 0) [y > 0]     Springenberg et al. 2015
    =========  ==========================  =====================================
    """
    up = dy if rule == "plain" else nd.Activation(dy, act_type="relu")
    # dy [y > 0] by MXNet's own operator, which leaves both arrays in the memory layout that they have.
    return up if rule == "deconvnet" else call("_backward_Activation", [up, y], {"act_type": "relu"})[0]


def relu6_back(dy: nd.NDArray, y: nd.NDArray, top: float, rule: str = "plain") -> nd.NDArray:
    """The gradient of y = min(max(x, 0), top): that of a ReLU, and nothing where y has reached the top."""
    up = dy if rule == "plain" else nd.Activation(dy, act_type="relu")
    return up if rule == "deconvnet" else up * (y > 0) * (y < top)


def selu_back(dy: nd.NDArray, y: nd.NDArray) -> nd.NDArray:
    """dx = dy s [y > 0] + dy (y + s a) [y <= 0] (Klambauer et al. 2017, equation 2); MXNet's own is wrong below 0."""
    return dy * nd.where(y > 0, nd.ones_like(y) * SELU_SCALE, y + SELU_SCALE * SELU_ALPHA)


def convolution_back(
    dy: nd.NDArray,
    weight: nd.NDArray,
    shape: tuple[int, ...],
    stride: Sequence[int] = (1, 1),
    pad: Sequence[int] = (0, 0),
    dilate: Sequence[int] = (1, 1),
    groups: int = 1,
) -> nd.NDArray:
    """The gradient of y[n, o, i, j] = b[o] + sum_{c, u, v} w[o, c, u, v] x[n, c, s i + d u - p, s j + d v - p].

    dx[n, c, k, l] is the sum over all o, u, v, i, j with s i + d u - p = k and s j + d v - p = l of
    w[o, c, u, v] dy[n, o, i, j]: the same weights, walked the other way (a transposed convolution).

    `dy` is (N, O, H', W'), `weight` (O, C / groups, h, w), `shape` that of x, (N, C, H, W); `stride`, `pad` and
    `dilate` are s, p and d for height and width.
    """
    kernel = weight.shape[2:]
    rest = tuple(  # rows and columns of x that the last step of the kernel did not reach
        side + 2 * p - d * (k - 1) - 1 - (steps - 1) * s
        for side, steps, k, s, p, d in zip(shape[2:], dy.shape[2:], kernel, stride, pad, dilate)
    )
    with autograd.train_mode():
        return nd.Deconvolution(
            dy, weight, kernel=kernel, stride=stride, pad=pad, dilate=dilate, adj=rest, num_filter=shape[1],
            num_group=groups, no_bias=True,
        )  # fmt: skip


def add_back(dy: nd.NDArray) -> tuple[nd.NDArray, nd.NDArray]:
    """Of y = shortcut + branch: the gradient goes unchanged to both, d shortcut = d branch = dy.

    This is why the maps of branch and shortcut add up (He et al. 2016, "Identity mappings", equation 1).
    """
    return dy, dy


def global_average_back(dy: nd.NDArray, shape: tuple[int, ...]) -> nd.NDArray:
    """Of y[n, k] = (1 / (H W)) sum_{i, j} x[n, k, i, j]: every position receives the same, dx = dy / (H W).

    `dy` is (N, K, 1, 1), `shape` that of x, (N, K, H, W).
    """
    positions = int(np.prod(shape[2:]))
    return nd.broadcast_to(dy.reshape(shape[:2] + (1,) * (len(shape) - 2)) / positions, shape)


def batch_norm_back(dy: nd.NDArray, gamma: nd.NDArray, variance: nd.NDArray, options: dict[str, str]) -> nd.NDArray:
    """Of y = gamma (x - mean) / sqrt(variance + epsilon) + beta with running statistics: dx = dy gamma / sqrt(...).

    One factor per channel (Ioffe and Szegedy 2015, algorithm 2), which is the same operator on dy without mean and
    beta. `gamma` and `variance` are (K,), `options` the operator's own.
    """
    zero = nd.zeros_like(gamma)
    return call("BatchNorm", [dy, gamma, zero, zero, variance], options)[0]


def dense_back(dy: nd.NDArray, weight: nd.NDArray, shape: tuple[int, ...]) -> nd.NDArray:
    """Of y = x W^T + b, with `weight` (units, inputs): dx = dy W, in `shape`, that of x."""
    return nd.dot(dy, weight).reshape(shape)


def concat_back(dy: nd.NDArray, sizes: Sequence[int], axis: int) -> list[nd.NDArray]:
    """Of arrays put side by side: each gets its own piece of dy; `sizes` are their lengths along the axis."""
    ends = np.cumsum(sizes)
    return [nd.slice_axis(dy, axis=axis, begin=int(end - size), end=int(end)) for size, end in zip(sizes, ends)]


class Derivative:
    """MXNet's own derivative of one operator: a tape that holds this operator alone. `outputs` is what it gives."""

    def __init__(self, operator: str, inputs: Sequence[nd.NDArray], options: dict[str, str], wanted: Sequence[bool]):
        """Run the operator; `wanted` says for each input whether its dx will be asked for."""
        self._operator, self._train, self._inputs = operator, operator in IN_TRAIN_MODE, len(inputs)
        leaves = [x.detach() for x in inputs]
        self._marked = {k: leaf for k, leaf in enumerate(leaves) if wanted[k] and is_float(leaf)}
        room = [nd.empty(leaf.shape, ctx=leaf.context, dtype=leaf.dtype) for leaf in self._marked.values()]
        autograd.mark_variables(list(self._marked.values()), room)
        with autograd.record(train_mode=self._train):
            self._taped = call(operator, leaves, options)
        self.outputs: list[nd.NDArray] = [y.detach() for y in self._taped]

    def back(self, arriving: dict[int, nd.NDArray]) -> list[nd.NDArray | None]:
        """dx for each wanted input of a float type, None for the others; `arriving` is dy by the number of the output.

        Raises NetError if MXNet has no derivative of this operator.
        """
        heads = [k for k in sorted(arriving) if is_float(self._taped[k])]
        dxs: list[nd.NDArray] = []
        if heads and self._marked:
            ys = [self._taped[k] for k in heads]
            dys = [arriving[k].astype(y.dtype, copy=False) for k, y in zip(heads, ys)]
            try:
                dxs = autograd.grad(ys, [*self._marked.values()], dys, retain_graph=True, train_mode=self._train)
            except MXNetError as error:
                raise NetError(f"MXNet has no derivative of {self._operator} ({in_one_line(error)})") from error
        found = dict(zip(self._marked, dxs))
        return [found.get(k) for k in range(self._inputs)]


def is_float(array: nd.NDArray) -> bool:
    """Whether the array holds floating point numbers, through which a gradient can pass."""
    return np.dtype(array.dtype).kind == "f"
