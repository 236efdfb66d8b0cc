"""A forward pass and its way back: the steps of a graph in their order, then in reverse, each by its rule.

Nothing is put on the net, no tape runs over it, and all that a pass needs is held by the pass: threads do not meet.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from typing import TypeAlias

import numpy as np
from mxnet import MXNetError, autograd, nd

from . import rules
from .errors import LayerError, NetError, NonFiniteError, in_one_line
from .graph import ADDS, CHANNELS_FIRST, PASSES_ON, RESHAPES, Entry, Graph, Step
from .mxnet import call

Arrays: TypeAlias = Sequence[nd.NDArray]
Gradients: TypeAlias = Sequence[nd.NDArray | None]
Back: TypeAlias = Callable[..., nd.NDArray | Gradients]  # of dy, and of a ReLU's rule: dx, or one for each input

# Operators after which a NaN or an infinity that went in is still there; what goes into any other is looked at. Softmax
# is one of them but for -inf, by which nets mask scores: its 0 is right, and so is the derivative.
CARRIES_ON = (ADDS | RESHAPES | PASSES_ON) | {
    "Convolution", "Deconvolution", "FullyConnected", "BatchNorm", "Concat", "transpose", "Cast", "mean", "add_n",
    "_plus_scalar", "_mul_scalar", "softmax", "log_softmax",
}  # fmt: skip


class Pass:
    """One forward walk over a graph to `end`, which keeps what the gradients of the entries `asked` for need.

    Raises NonFiniteError if NaN or infinity arises or is in a parameter, NetError if an operator cannot run.
    """

    def __init__(self, graph: Graph, images: Arrays, asked: Collection[Entry], end: Entry):
        self.graph, self.images, self.asked, self.end = graph, images, set(asked), end
        self.values: dict[Entry, nd.NDArray] = {}  # of the entries asked for, and of the end
        self.shapes: dict[Entry, tuple[int, ...]] = {}  # of all entries on the way, if none was asked for
        self._below = graph.fed_by(sorted(self.asked))  # only these steps are walked back
        self._backs: dict[int, Back | rules.Derivative] = {}
        means: list[nd.NDArray] = []
        with autograd.pause(train_mode=False):
            for entry, value in self._walk(means):
                if not self.asked:
                    self.shapes[entry] = value.shape
            if not self._all_finite(means):  # once more, to find the culprit; there is none if a mean has overflowed
                for entry, value in self._walk([]):
                    step = graph.steps[entry[0]]
                    name = f"the parameter {step.name}" if step.parameter else graph.name(entry)
                    if rules.is_float(value):
                        finite(value, "x" if step.input is not None else name)

    def _walk(self, means: list[nd.NDArray]) -> Iterator[tuple[Entry, nd.NDArray]]:
        """Run the steps one by one and give each of their arrays; `values` holds them as long as they are needed."""
        needed, uses, kept = self.graph.needed_for([self.end]), self.graph.uses([self.end]), self.asked | {self.end}
        for index, step in enumerate(self.graph.steps):
            if needed[index]:
                for place, value in enumerate(self._outputs(index, step, means)):
                    entry = index, place
                    if entry in uses or entry in kept:
                        self.values[entry] = value
                    yield entry, value
                for entry in step.inputs:
                    if uses[entry][-1] == index and entry not in kept:
                        self.values.pop(entry, None)

    def _outputs(self, index: int, step: Step, means: list[nd.NDArray]) -> Arrays:
        """What a step gives; the means of what goes in are added to `means` where it could hide NaN or infinity."""
        if step.input is not None:
            return [self.images[step.input]]
        if step.parameter is not None:
            return [step.parameter.data(self.images[0].context)]
        inputs = [self.values[entry] for entry in step.inputs]
        if self.graph.follows_image[index] and step.op not in CARRIES_ON:
            means += [mean_of(one) for one in inputs if rules.is_float(one) and one.size]
        if "BatchNorm" in step.op:
            # It may write to its statistics, and two threads with the same ones can wait for each other for ever.
            inputs[3:] = [call("_copy", [one], {})[0] for one in inputs[3:]]
            means.append(inputs[4])  # an infinite variance makes a scale of 0
            if step.option("fix_gamma", True):  # MXNet would write ones into the net's own, also in prediction
                inputs[1] = nd.ones_like(inputs[1])
        options, below = step.options, self._below[index]
        rows, *row = np.atleast_1d(step.option("shape") or 1) if step.op == "Reshape" else (1,)
        if rows == -1 and min(row, default=0) > 0 and inputs[0].size % np.prod(row):
            # MXNet rounds down, and copies beyond the end of the new array, which can end the process.
            raise NetError(f"{step.name} cannot make rows of {np.prod(row)} of {inputs[0].shape}: x has a wrong size")
        if step.op in ("_zeros", "_ones", "_full") and 0 in step.option("shape"):  # left open, as an RNN's first state
            options = {**options, "shape": str(self._inferred_shape(step))}
        back = back_by_rule(self.graph, index, inputs) if below else None
        try:
            if below and not back:
                wanted = [entry in self.asked or self._below[entry[0]] for entry in step.inputs]
                self._backs[index] = derivative = rules.Derivative(step.op, inputs, options, wanted)
                return derivative.outputs
            with autograd.train_mode() if step.op in rules.IN_TRAIN_MODE else nullcontext():
                outputs = inputs if step.op in PASSES_ON else call(step.op, inputs, options)
        except MXNetError as error:
            raise NetError(f"{step.name} ({step.op}) cannot run: {in_one_line(error)}") from error
        if back:
            of_y = step.relu is not None or step.op == "LeakyReLU"
            self._backs[index] = partial(back, y=outputs[0]) if of_y else back
        return outputs

    def _inferred_shape(self, step: Step) -> tuple[int, ...]:
        internals = self.graph.symbol.get_internals()
        sizes = {self.graph.steps[s].name: one.shape for s, one in zip(self.graph.inputs, self.images)}
        return internals.infer_shape(**sizes)[1][internals.list_outputs().index(f"{step.name}_output")]

    def _all_finite(self, means: list[nd.NDArray]) -> bool:
        """Look at the means that were taken on the way, and at both ends of it."""
        means = means + [mean_of(one) for one in (self.values[self.end], *self.images) if rules.is_float(one)]
        alike: dict[tuple, list[nd.NDArray]] = {}  # those that can be put side by side as they are
        for one in means:
            alike.setdefault((one.ndim, one.dtype, one.shape[0] if one.ndim == 4 else 0), []).append(one)
        rows = [nd.concat(*some, dim=1 if some[0].ndim == 4 else 0) for some in alike.values()]
        return all(np.isfinite(to_numpy(one, "this net")).all() for one in rows)

    def back(
        self, head: nd.NDArray, entries: Collection[Entry], rule: str = "plain", where: Collection[int] = ()
    ) -> dict[Entry, nd.NDArray]:
        """d target / d entry for each of the entries that a gradient reaches, of those asked for.

        `head` is d target / d `end`. The ReLUs in `where` obey the rule; all other steps are plain. Raises LayerError
        if an entry was not asked for, NetError if an operator on the way has no derivative.
        """
        for entry in set(entries) - self.asked:
            raise LayerError(f"this pass was not asked for {self.graph.name(entry)}; ask for it when the pass is made")
        below = self.graph.fed_by(sorted(entries))
        arrived: dict[int, dict[int, nd.NDArray]] = {self.end[0]: {self.end[1]: head}}  # by step and output
        found: dict[Entry, nd.NDArray] = {}
        with autograd.pause(train_mode=False):
            for index in range(self.end[0], -1, -1):
                arriving = arrived.pop(index, {})
                found.update({(index, place): dy for place, dy in arriving.items() if (index, place) in entries})
                if not arriving or not below[index]:
                    continue
                gradients = self._back(index, arriving, {"rule": rule} if index in where else {})
                for (source, place), dx in zip(self.graph.steps[index].inputs, gradients):
                    if dx is not None and (below[source] or (source, place) in entries):
                        there = arrived.setdefault(source, {})
                        there[place] = nd.elemwise_add(there[place], dx) if place in there else dx
        return found

    def _back(self, index: int, arriving: dict[int, nd.NDArray], rule: dict[str, str]) -> Gradients:
        """dx for the inputs of a step."""
        step, back = self.graph.steps[index], self._backs[index]
        if isinstance(back, rules.Derivative):
            kind = f"{step.op} {step.option('act_type', '')}".strip()
            if step.op in ("MakeLoss", "make_loss"):
                raise NetError(f"{step.name} ({kind}) is a loss, whose backward is not the derivative of its forward")
            if step.op in ("LayerNorm", "GroupNorm", "InstanceNorm") and set(arriving) != {0}:
                raise NetError(f"MXNet leaves out the derivative of the mean and deviation that {step.name} gives")
            ends_the_process = step.op == "SequenceLast" and not step.option("use_sequence_length", False)
            if ends_the_process or kind == "LeakyReLU rrelu":
                raise NetError(f"MXNet's derivative of {step.name} ({kind}) is wrong")
            return back.back(arriving)
        if 0 not in arriving:  # a BatchNorm's other outputs are its running statistics
            return ()
        found = back(arriving[0], **rule)
        return [found] if isinstance(found, nd.NDArray) else found


def back_by_rule(graph: Graph, index: int, x: Arrays) -> Back | None:
    """How a step goes back by one of our rules, given what goes in; None if by MXNet's derivative of its operator.

    It holds no more of what goes in than the rule needs: a weight or a shape, and none of the maps.
    """
    step, shape = graph.steps[index], x[0].shape
    if step.op in ADDS:
        return rules.add_back if x[1].shape == shape else None
    if step.op == "Concat":
        axis = step.option("dim", 1)
        return partial(rules.concat_back, sizes=[one.shape[axis] for one in x], axis=axis)
    if any(graph.follows_image[source] for source, _ in step.inputs[1:]):
        return None  # a weight that depends on the image has a gradient of its own
    if step.op in ("BatchNorm", "_contrib_BatchNormWithReLU"):
        norm_back = partial(rules.batch_norm_back, gamma=x[1], variance=x[4], options=step.options)
        return norm_back if step.relu is None else lambda dy, **options: norm_back(rules.relu_back(dy, **options))
    if step.relu is not None:
        return rules.relu_back if step.relu == float("inf") else partial(rules.relu6_back, top=step.relu)
    if step.op == "LeakyReLU" and step.option("act_type") == "selu":
        return rules.selu_back
    if step.op == "Convolution" and len(step.option("kernel")) == 2:
        sides = {key: step.option(key) for key in ("stride", "pad", "dilate") if step.option(key)}
        strided, dilated = (max(sides.get(key, (1,))) > 1 for key in ("stride", "dilate"))
        if not (strided and dilated):  # for both MXNet has a transposed convolution under oneDNN alone
            groups = step.option("num_group", 1)
            return partial(rules.convolution_back, weight=x[1], shape=shape, groups=groups, **sides)
    if step.op == "FullyConnected":
        return partial(rules.dense_back, weight=x[1], shape=shape)
    average = step.op == "Pooling" and step.option("pool_type") == "avg" and step.option("global_pool", False)
    if average and step.option("layout") in CHANNELS_FIRST:
        return partial(rules.global_average_back, shape=shape)
    if step.op in RESHAPES:
        return lambda dy: dy.reshape(shape)
    if step.op in PASSES_ON:
        return lambda dy: [None] if step.op == "BlockGrad" else dy
    return None


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
