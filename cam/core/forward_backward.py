"""A forward pass and its way back: the steps of a graph in their order, then in reverse, each by its rule.

Nothing is put on the net, no tape runs over it, and all that a pass needs is held by the pass: threads do not meet.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext, suppress
from typing import TypeAlias

import numpy as np
from mxnet import MXNetError, autograd, nd

from . import rules
from .errors import NetError, NonFiniteError, in_one_line
from .graph import ADDS, LABELLED, PASSES_ON, RESHAPES, Entry, Graph, Step
from .mxnet import call
from .rules import is_float

Arrays: TypeAlias = Sequence[nd.NDArray]
Gradients: TypeAlias = Sequence[nd.NDArray | None]
Back: TypeAlias = Callable[[nd.NDArray, str], Gradients]  # of dy and the rule for ReLUs: dx for each input

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
    values : the arrays of the entries asked for, and of the end
    shapes : if nothing was asked for, the shapes of all arrays on the way by entry
    """

    def __init__(self, graph: Graph, images: Arrays, asked: Collection[Entry], end: Entry):
        self.graph, self.images, self.asked, self.end = graph, images, set(asked), end
        self.values: dict[Entry, nd.NDArray] = {}
        self.shapes: dict[Entry, tuple[int, ...]] = {}
        self._below = graph.fed_by(sorted(self.asked))  # only these steps are walked back
        self._backs: dict[int, Back | rules.Derivative] = {}
        means: list[nd.NDArray] = []
        needed, last_uses = graph.needed_for([end]), graph.last_uses([end])
        with autograd.pause(train_mode=False):
            for index, step in enumerate(graph.steps):
                if needed[index]:
                    outputs = {(index, place): one for place, one in enumerate(self._outputs(index, step, means))}
                    self.values.update(outputs)
                    if not self.asked:
                        self.shapes.update({entry: one.shape for entry, one in outputs.items()})
                    for entry in last_uses[index]:
                        if entry not in self.asked:
                            del self.values[entry]
            self._check(means)

    def _outputs(self, index: int, step: Step, means: list[nd.NDArray]) -> Arrays:
        """What a step gives; the means of what goes in are added to `means` where it could hide NaN or infinity."""
        if step.input is not None:
            return [self.images[step.input]]
        if step.parameter is not None:
            return [step.parameter.data(self.images[0].context)]
        if step.op == "null":  # a label, which an output operator ignores in prediction
            return [nd.zeros((len(self.images[0]),), ctx=self.images[0].context)]
        inputs = [self.values[entry] for entry in step.inputs]
        if self.graph.follows_image[index] and step.op not in CARRIES_ON:
            means += [mean_of(one) for one in inputs if is_float(one) and one.size]
        if "BatchNorm" in step.op:
            # It may write to its statistics, and two threads with the same ones can wait for each other for ever.
            inputs[3:] = [call("_copy", [one], {})[0] for one in inputs[3:]]
            means.append(inputs[4])  # an infinite variance makes a scale of 0
            if step.option("fix_gamma", True):  # MXNet would write ones into the net's own, also in prediction
                inputs[1] = nd.ones_like(inputs[1])
        options, below = step.options, self._below[index]
        if step.op in ("_zeros", "_ones", "_full") and 0 in step.option("shape"):  # left open, as an RNN's first state
            options = {**options, "shape": str(self._inferred_shape(step))}
        by_rule = below and has_rule(self.graph, index)
        try:
            if below and not by_rule and step.op not in LOSSES:
                wanted = [entry in self.asked or self._below[entry[0]] for entry in step.inputs]
                self._backs[index] = derivative = rules.Derivative(step.op, inputs, options, wanted)
                return derivative.outputs
            # The same function; in inference oneDNN is less exact, and keeps the net's weights in a layout of its own.
            with autograd.train_mode() if step.op in ("Convolution", "FullyConnected") else nullcontext():
                if step.op in PASSES_ON | LABELLED:
                    outputs = inputs[:1]
                elif step.op == "LogisticRegressionOutput":  # its label may have any shape that it likes
                    outputs = call("sigmoid", inputs[:1], {})
                else:
                    outputs = call(step.op, inputs, options)
        except MXNetError as error:
            raise NetError(f"{step.name} ({step.op}) cannot run: {in_one_line(error)}") from error
        if by_rule:
            self._backs[index] = back_by_rule(step, inputs, outputs[0])
        return outputs

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
        rows = [nd.concat(*some, dim=1 if some[0].ndim == 4 else 0) for some in alike.values()]
        if all(np.isfinite(to_numpy(one, "this net")).all() for one in rows):
            return
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
        """d target / d entry for each of the entries that a gradient reaches, of those asked for.

        `head` is d target / d `end`. The steps in `where` obey the rule if they are ReLUs; all others are plain. Raises
        NetError if an operator on the way has no derivative.
        """
        below = self.graph.fed_by(sorted(entries))
        arrived: dict[int, dict[int, nd.NDArray]] = {self.end[0]: {self.end[1]: head}}  # by step and output
        found: dict[Entry, nd.NDArray] = {}
        with autograd.pause(train_mode=False):
            for index in range(self.end[0], -1, -1):
                arriving = arrived.pop(index, {})
                found.update({(index, place): dy for place, dy in arriving.items() if (index, place) in entries})
                if not arriving or not below[index]:
                    continue
                gradients = self._back(index, arriving, rule if index in where else "plain")
                for (source, place), dx in zip(self.graph.steps[index].inputs, gradients):
                    if dx is not None and (below[source] or (source, place) in entries):
                        there = arrived.setdefault(source, {})
                        there[place] = nd.elemwise_add(there[place], dx) if place in there else dx
        return found

    def _back(self, index: int, arriving: dict[int, nd.NDArray], rule: str) -> Gradients:
        """dx for the inputs of a step."""
        step, back = self.graph.steps[index], self._backs.get(index)
        if step.op in LOSSES:
            raise NetError(f"{step.name} ({step.op}) is a loss, whose backward is not the derivative of its forward")
        if step.op in ("LayerNorm", "GroupNorm", "InstanceNorm") and set(arriving) != {0}:
            raise NetError(f"MXNet leaves out the derivative of the mean and deviation that {step.name} gives")
        kind = step.options.get("act_type", "")
        broken = {"LeakyReLU": kind == "rrelu", "SequenceLast": not step.option("use_sequence_length", False)}
        if broken.get(step.op):  # the second ends the process
            raise NetError(f"MXNet's derivative of {step.name} ({' '.join([step.op, kind]).strip()}) is wrong")
        if isinstance(back, rules.Derivative):
            return back.back(arriving)
        # Of a BatchNorm's outputs but the first, the running statistics, nothing goes back.
        return back(arriving[0], rule) if back and 0 in arriving else ()


def has_rule(graph: Graph, index: int) -> bool:
    """Whether a step goes back by one of our rules, and not by the derivative that MXNet has of its operator."""
    step = graph.steps[index]
    if step.relu is not None or step.op in ADDS or step.op in ("Concat", "concat"):
        return True
    if any(graph.follows_image[source] for source, _ in step.inputs[1:]):
        return False  # a weight that depends on the image has a gradient of its own
    if step.op == "Convolution":  # its gradient is a transposed convolution in MXNet, with oneDNN and without
        strided, dilated = (max(step.option(key) or (1,)) > 1 for key in ("stride", "dilate"))
        return len(step.option("kernel")) == 2 and not (strided and dilated)
    if step.op == "Pooling":
        average = step.option("pool_type") == "avg" and bool(step.option("global_pool", False))
        return average and step.option("layout") in (None, "NCW", "NCHW", "NCDHW")
    if step.op == "LeakyReLU":
        return step.option("act_type") == "selu"
    return step.op in RESHAPES or step.op in PASSES_ON or step.op in ("BatchNorm", "FullyConnected")


def back_by_rule(step: Step, inputs: Arrays, y: nd.NDArray) -> Back:
    """The way back through a step, given what goes in and what comes out.

    It holds no more of these than its rule needs: a weight, a shape, or y, and none of the maps that go in.
    """
    shape, others, top = inputs[0].shape, inputs[1:], step.relu
    if step.op == "_contrib_BatchNormWithReLU":
        options = step.options
        return lambda dy, rule: [rules.batch_norm_back(rules.relu_back(dy, y, rule), others[0], others[3], options)]
    if top is not None and top < float("inf"):
        return lambda dy, rule: [rules.relu6_back(dy, y, top, rule)]
    if top is not None:
        return lambda dy, rule: [rules.relu_back(dy, y, rule)]
    if step.op in ADDS:  # what arrives at an array that was repeated along some axes is the sum over them
        shapes = [one.shape for one in inputs]
        long = [(1,) * (y.ndim - len(one)) + one for one in shapes]  # MXNet repeats along axes that are missing, too
        sides = [tuple(axis for axis, side in enumerate(y.shape) if side != one[axis]) for one in long]
        return lambda dy, rule: [
            dx.sum(axis=axes, keepdims=True).reshape(one) if axes else dx
            for dx, axes, one in zip(rules.add_back(dy), sides, shapes)
        ]
    if step.op in ("Concat", "concat"):
        axis = step.option("dim", 1)
        sizes = [one.shape[axis] for one in inputs]
        return lambda dy, rule: rules.concat_back(dy, sizes, axis)
    if step.op == "Convolution":
        usual = {"stride": (1, 1), "pad": (0, 0), "dilate": (1, 1)}
        stride, pad, dilate = (step.option(key) or value for key, value in usual.items())
        groups = step.option("num_group", 1)
        return lambda dy, rule: [rules.convolution_back(dy, others[0], shape, stride, pad, dilate, groups)]
    if step.op == "BatchNorm":
        return lambda dy, rule: [rules.batch_norm_back(dy, others[0], others[3], step.options)]
    if step.op == "FullyConnected":
        return lambda dy, rule: [rules.dense_back(dy, others[0], shape)]
    if step.op == "Pooling":
        return lambda dy, rule: [rules.global_average_back(dy, shape)]
    if step.op == "LeakyReLU":
        return lambda dy, rule: [rules.selu_back(dy, y)]
    if step.op in RESHAPES:
        return lambda dy, rule: [dy.reshape(shape)]
    return lambda dy, rule: [None if step.op == "BlockGrad" else dy]


def mean_of(array: nd.NDArray) -> nd.NDArray:
    """One number, or one for each channel, that is not finite if the array is not; fast in every memory layout."""
    if array.ndim == 4 and array.dtype == np.float32:
        return nd.Pooling(array, global_pool=True, pool_type="avg", kernel=(1, 1))
    return array.mean()


def finite(array: nd.NDArray, name: str) -> np.ndarray:
    """The array as numpy, of the same shape and dtype; NonFiniteError, with its name, if it holds NaN or infinity."""
    values = to_numpy(array, name)
    if not np.isfinite(values).all():
        raise NonFiniteError(f"NaN or infinity in {name}; check weights and image")
    return values


def to_numpy(array: nd.NDArray, name: str) -> np.ndarray:
    """The array as numpy: only now MXNet's engine tells what has failed; the rest of it is waited for."""
    try:
        return array.asnumpy()
    except MXNetError as error:
        for _ in range(3):
            with suppress(MXNetError):
                nd.waitall()
        raise NetError(f"MXNet cannot compute {name}: {in_one_line(error)}") from error
