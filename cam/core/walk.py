"""A net as a list of steps: forward in their order, back in reverse, by one table of rules.

Nothing is put on the net, no tape runs over it, and all that a pass needs is held by the pass: threads do not meet.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
from mxnet import autograd, nd

from . import rules
from .errors import NetError, NonFiniteError, in_one_line
from .graph import ADDS, PASSES_ON, RESHAPES, Entry, Graph, Step
from .mxnet import MXNetError, call
from .rules import is_float

# Operators after which a NaN or an infinity that went in is still there; what goes into any other is looked at.
CARRIES_ON = (ADDS | RESHAPES | PASSES_ON) | {
    "Convolution", "Deconvolution", "FullyConnected", "BatchNorm", "Concat", "concat", "transpose", "Cast", "mean",
    "add_n", "_plus_scalar", "_mul_scalar", "softmax", "log_softmax",
}  # fmt: skip
LOSSES = {
    "SoftmaxOutput", "Softmax", "LinearRegressionOutput", "LogisticRegressionOutput", "MAERegressionOutput",
    "SVMOutput", "MakeLoss", "make_loss",
}  # fmt: skip


class Pass:
    """One forward walk over a graph to `end`, which keeps what the gradients of the entries `asked` for need.

    Raises NonFiniteError if NaN or infinity arises or is in a parameter, NetError if an operator cannot run.

    Attributes
    ----------
    values : by entry, the arrays that were kept
    shapes : by entry, the shapes that the way back needs; if nothing was asked for, those of every array
    """

    def __init__(self, graph: Graph, images: Sequence[nd.NDArray], asked: Collection[Entry], end: Entry):
        self.graph, self.images, self.asked, self.end = graph, images, set(asked), end
        self.values: dict[Entry, nd.NDArray] = {}
        self.shapes: dict[Entry, tuple[int, ...]] = {}
        self._derivatives: dict[int, rules.Derivative] = {}  # by step, where no rule of ours holds
        means: list[nd.NDArray] = []
        self._below = self._fed_by(self.asked)
        needed, dying = graph.needed_for([end]), self._dying()
        with autograd.pause(train_mode=False):
            for index, step in enumerate(graph.steps):
                if needed[index]:
                    outputs = self._outputs(index, step, means)
                    self.values.update({(index, place): value for place, value in enumerate(outputs)})
                    if self._below[index] or not self.asked:
                        self.shapes.update({entry: self.values[entry].shape for entry in step.inputs})
                for entry in dying.get(index, ()):
                    del self.values[entry]
            self.shapes[end] = self.values[end].shape
            self._check(means)

    def _dying(self) -> dict[int, list[Entry]]:
        """By step, the entries that nothing needs after it."""
        steps, kept, last = self.graph.steps, self.asked | {self.end}, dict[Entry, int]()
        for index, (needed, below) in enumerate(zip(self.graph.needed_for([self.end]), self._below)):
            if needed:
                last.update(dict.fromkeys(steps[index].inputs, index))
                kept |= kept_by(self.graph, index) if below else set()
        found: dict[int, list[Entry]] = {}
        for entry, index in last.items():
            if entry not in kept and steps[entry[0]].op != "null":
                found.setdefault(index, []).append(entry)
        return found

    def _fed_by(self, entries: Collection[Entry]) -> list[bool]:
        """For each step, whether one of the entries goes into it, directly or not: only these are walked back."""
        found: list[bool] = []
        for step in self.graph.steps:
            found.append(any(entry in entries or found[entry[0]] for entry in step.inputs))
        return found

    def _outputs(self, index: int, step: Step, means: list[nd.NDArray]) -> list[nd.NDArray]:
        """What a step gives; the means of what goes in are added to `means` where it could hide NaN or infinity."""
        if step.input is not None:
            return [self.images[step.input]]
        if step.parameter is not None:
            value = step.parameter.data(self.images[0].context)
            # A BatchNorm may write to its statistics: two threads with the same ones can wait for each other for ever.
            return call("_copy", [value], {}) if index in self.graph.statistics else [value]
        if step.op == "null":  # a label, which an output operator ignores in prediction
            return [nd.zeros((len(self.images[0]),))]
        inputs = [self.values[entry] for entry in step.inputs]
        if self.graph.follows_image[index] and (step.op not in CARRIES_ON or step.is_max_pooling):
            means += [mean_of(one) for one in inputs if is_float(one) and one.size]
        if step.op == "BatchNorm":
            means.append(inputs[4])  # an infinite variance makes a scale of 0
            inputs[1] = _gamma(step, inputs[1])
        if step.op in PASSES_ON:
            return [inputs[0]]
        options = step.options
        if step.op in ("_zeros", "_ones", "_full") and 0 in step.option("shape"):  # left open, as an RNN's first state
            options = {**options, "shape": str(self._inferred_shape(step))}
        try:
            if self._below[index] and rule_of(self.graph, index) is None and step.op not in LOSSES:
                wanted = [entry in self.asked or self._below[entry[0]] for entry in step.inputs]
                self._derivatives[index] = rules.Derivative(step.op, inputs, options, wanted)
                return self._derivatives[index].outputs
            # In inference oneDNN keeps the weight in a layout of its own, which the way back would have to undo.
            lasting = step.op not in ("Convolution", "FullyConnected") or not self._below[index]
            with nullcontext() if lasting else autograd.train_mode():
                return call(step.op, inputs, options)
        except MXNetError as error:
            raise NetError(f"{step.name} ({step.op}) cannot run: {in_one_line(error)}") from error

    def _inferred_shape(self, step: Step) -> tuple[int, ...]:
        internals = self.graph.symbol.get_internals()
        sizes = {self.graph.steps[s].name: one.shape for s, one in zip(self.graph.inputs, self.images)}
        return internals.infer_shape(**sizes)[1][internals.list_outputs().index(f"{step.name}_output")]

    def _check(self, means: list[nd.NDArray]) -> None:
        """Look at the means that were taken on the way; only if one is not finite look for the culprit."""
        means = means + [mean_of(one) for one in (self.values[self.end], *self.images) if is_float(one)]
        alike: dict[tuple, list[nd.NDArray]] = {}  # those that can be put side by side as they are
        for one in means:
            alike.setdefault((one.ndim, one.dtype, one.shape[0] if one.ndim == 4 else 0), []).append(one)
        try:
            rows = [nd.concat(*some, dim=1 if some[0].ndim == 4 else 0).asnumpy() for some in alike.values()]
            if all(np.isfinite(one).all() for one in rows):
                return
        except MXNetError as error:
            raise NetError(f"MXNet cannot compute this net: {late(error)}") from error
        needed = self.graph.needed_for([self.end])  # once more, and all is kept: a mean may have overflowed
        for index, step in enumerate(self.graph.steps):
            for place, value in enumerate(self._outputs(index, step, []) if needed[index] else ()):
                self.values[index, place] = value
                name = step.name if step.parameter else "x" if step.op == "null" else self.graph.name((index, place))
                if is_float(value):
                    finite(value, f"{'the parameter ' if step.parameter else ''}{name}")

    def back(
        self, head: nd.NDArray, entries: Collection[Entry], rule: str = "plain", where: Collection[int] = ()
    ) -> dict[Entry, nd.NDArray]:
        """d target / d entry for each of the entries that a gradient reaches.

        Parameters
        ----------
        head : d target / d `end`, of its shape
        entries : of those asked for when the pass was made
        rule, where : how a gradient passes back through ReLUs, and the steps that obey this; all others are plain

        Raises
        ------
        NetError
            If an operator on the way has no derivative.
        NonFiniteError
            If a gradient is not finite.
        """
        wanted, below, steps = set(entries), self._fed_by(set(entries)), self.graph.steps
        arrived: dict[int, dict[int, nd.NDArray]] = {self.end[0]: {self.end[1]: head}}  # by step and output
        found: dict[Entry, nd.NDArray] = {}
        with autograd.pause(train_mode=False):
            for index in range(self.end[0], -1, -1):
                arriving = arrived.pop(index, {})
                found.update({(index, place): dy for place, dy in arriving.items() if (index, place) in wanted})
                if not arriving or not below[index]:
                    continue
                wants = [entry in wanted or below[entry[0]] for entry in steps[index].inputs]
                gradients = self._back(index, arriving, wants, rule if index in where else "plain")
                for (source, place), want, dx in zip(steps[index].inputs, wants, gradients):
                    if dx is not None and want:
                        there = arrived.setdefault(source, {})
                        there[place] = nd.elemwise_add(there[place], dx) if place in there else dx
            for entry, gradient in found.items():
                try:
                    if not np.isfinite(mean_of(gradient).asnumpy()).all():
                        finite(gradient, f"the gradient at {self.graph.name(entry)}")
                except MXNetError as error:
                    raise NetError(f"MXNet cannot compute this gradient: {late(error)}") from error
        return found

    def _back(self, index: int, arriving: dict[int, nd.NDArray], wants: list[bool], rule: str):
        """dx for each input of a step."""
        step, back = self.graph.steps[index], rule_of(self.graph, index)
        kind = step.options.get("act_type")
        if step.op in LOSSES:
            raise NetError(f"{step.name} ({step.op}) is a loss, whose backward is not the derivative of its forward")
        if step.op in ("LayerNorm", "GroupNorm", "InstanceNorm") and set(arriving) != {0}:
            raise NetError(f"MXNet leaves out the derivative of the mean and deviation that {step.name} gives")
        broken = {"LeakyReLU": kind == "rrelu", "SequenceLast": not step.option("use_sequence_length", False)}
        if broken.get(step.op):  # the second ends the process
            raise NetError(f"MXNet's derivative of {step.name} ({step.op}{' rrelu' if kind else ''}) is wrong")
        if back is None:
            return self._derivatives[index].back(arriving)
        if 0 not in arriving:  # only a BatchNorm's mean and variance, which are running statistics
            return [None] * len(wants)
        given = Given(step, self.values, [self.shapes[entry] for entry in step.inputs], self.values.get((index, 0)))
        return back.dx(given, arriving[0], rule)


class Given(NamedTuple):
    """What a rule may use of the forward walk: a weight, the shapes of what went in, and y where it was kept."""

    step: Step
    values: dict[Entry, nd.NDArray]
    shapes: list[tuple[int, ...]]
    y: nd.NDArray | None

    def weight(self, number: int) -> nd.NDArray:
        """An input that is no map."""
        return self.values[self.step.inputs[number]]

    def sides(self, option: str, otherwise: int) -> tuple[int, ...]:
        """An option that has one number for each side of the kernel."""
        return self.step.option(option) or (otherwise,) * len(self.step.option("kernel"))


class Back(NamedTuple):
    """The way back through an operator: dx for each input, from what is given, dy and the name of the rule.

    `applies` says for which steps this holds, `keeps_y` whether the output is needed; none needs the maps that go in.
    """

    dx: Callable[[Given, nd.NDArray, str], Sequence[nd.NDArray | None]]
    applies: Callable[[Step], bool] = lambda step: True
    keeps_y: bool = False


def rule_of(graph: Graph, index: int) -> Back | None:
    """The rule that a step goes by; None for the derivative that MXNet has of its operator."""
    step = graph.steps[index]
    back = _RELU if step.relu is not None else _TABLE.get(step.op)
    if back is None or not back.applies(step):
        return None
    joins = step.op in ADDS or step.op in ("Concat", "concat")
    # A weight that depends on the image has a gradient of its own.
    return None if not joins and any(graph.follows_image[source] for source, _ in step.inputs[1:]) else back


def kept_by(graph: Graph, index: int) -> set[Entry]:
    """The entries that the way back through a step needs: at most its output, and nothing of what a tape holds."""
    back = rule_of(graph, index)
    return {(index, 0)} if back is not None and back.keeps_y else set()


def _relu(given: Given, dy: nd.NDArray, rule: str):
    top = given.step.relu or 0
    return [rules.relu_back(dy, given.y, rule) if top == float("inf") else rules.relu6_back(dy, given.y, top, rule)]


def _convolution(given: Given, dy: nd.NDArray, rule: str):
    stride, pad, dilate = given.sides("stride", 1), given.sides("pad", 0), given.sides("dilate", 1)
    groups = given.step.option("num_group", 1)
    return [rules.convolution_back(dy, given.weight(1), given.shapes[0], stride, pad, dilate, groups), None, None]


def _transposes(step: Step) -> bool:
    """Whether a transposed convolution is this convolution's gradient in MXNet, with oneDNN and without."""
    strided, dilated = (max(step.option(key) or (1,)) > 1 for key in ("stride", "dilate"))
    return len(step.option("kernel")) == 2 and not (strided and dilated)


def _batch_norm(given: Given, dy: nd.NDArray, rule: str):
    gamma, variance = _gamma(given.step, given.weight(1)), given.weight(4)
    return [rules.batch_norm_back(dy, gamma, variance, given.step.options), None, None, None, None]


def _gamma(step: Step, gamma: nd.NDArray) -> nd.NDArray:
    """The scale that a BatchNorm uses. With fix_gamma MXNet would write ones into the net's own, also in prediction."""
    return nd.ones_like(gamma) if step.option("fix_gamma", True) else gamma


def _add(given: Given, dy: nd.NDArray, rule: str):
    """What arrives at an array that was repeated along some axes is the sum over them."""
    repeated = [tuple(axis for axis, side in enumerate(dy.shape) if side != shape[axis]) for shape in given.shapes]
    return [dx.sum(axis=axes, keepdims=True) if axes else dx for axes, dx in zip(repeated, rules.add_back(dy))]


def _concat(given: Given, dy: nd.NDArray, rule: str):
    axis = given.step.option("dim", 1)
    return rules.concat_back(dy, [shape[axis] for shape in given.shapes], axis)


_RELU = Back(_relu, keeps_y=True)
_TABLE = {
    "Convolution": Back(_convolution, _transposes),
    "BatchNorm": Back(_batch_norm),
    "FullyConnected": Back(
        lambda given, dy, rule: [rules.dense_back(dy, given.weight(1), given.shapes[0]), None, None]
    ),
    "Pooling": Back(
        lambda given, dy, rule: [rules.global_average_back(dy, given.shapes[0])],
        lambda step: step.options.get("pool_type") == "avg" and bool(step.option("global_pool", False)),
    ),
    "LeakyReLU": Back(
        lambda given, dy, rule: [rules.selu_back(dy, given.y)],
        lambda step: step.options.get("act_type") == "selu",
        keeps_y=True,
    ),
    **dict.fromkeys(ADDS, Back(_add)),
    **dict.fromkeys(("Concat", "concat"), Back(_concat)),
    **dict.fromkeys(RESHAPES, Back(lambda given, dy, rule: [dy.reshape(given.shapes[0]), None])),
    **dict.fromkeys(PASSES_ON, Back(lambda given, dy, rule: [dy])),
    "BlockGrad": Back(lambda given, dy, rule: [None]),
}


def mean_of(array: nd.NDArray) -> nd.NDArray:
    """One number, or one for each channel, that is not finite if the array is not; fast in every memory layout."""
    if array.ndim == 4 and array.dtype == np.float32:
        return nd.Pooling(array, global_pool=True, pool_type="avg", kernel=(1, 1))
    return array.mean()


def finite(array: nd.NDArray, name: str) -> np.ndarray:
    """The array as numpy, of the same shape and dtype; NonFiniteError, with its name, if it holds NaN or infinity."""
    values = array.asnumpy()
    if not np.isfinite(values).all():
        raise NonFiniteError(f"NaN or infinity in {name}; check weights and image")
    return values


def late(error: MXNetError) -> str:
    """What an error of MXNet's engine says, which comes at the first copy to numpy; the rest of it is waited for."""
    for _ in range(3):
        try:
            nd.waitall()
            break
        except MXNetError:
            continue
    return in_one_line(error)
