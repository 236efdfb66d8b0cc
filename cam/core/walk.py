"""A net as a list of steps: forward in their order, back in reverse, by one table of rules.

Nothing is put on the net, no tape runs over it, and all that a pass needs is held by the pass: threads do not meet.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np
from mxnet import autograd, nd

from . import rules
from .errors import NetError, NonFiniteError, in_one_line
from .graph import ADDS, PASSES_ON, Entry, Graph, Step
from .mxnet import MXNetError, call
from .rules import is_float

# Operators after which a NaN or an infinity that went in is still there; what goes into any other is looked at.
CARRIES_ON = {
    "Convolution", "FullyConnected", "elemwise_add", "_plus", "_Plus", "broadcast_add", "BatchNorm", "Concat", "concat",
    "Flatten", "Reshape", "reshape", "transpose", "identity", "_copy", "Dropout", "Cast", "expand_dims", "squeeze",
    "mean", "_plus_scalar", "_mul_scalar", "add_n", "Deconvolution", "softmax", "log_softmax",
}  # fmt: skip
IS_A_LOSS = {
    "SoftmaxOutput", "Softmax", "LinearRegressionOutput", "LogisticRegressionOutput", "MAERegressionOutput", "SVMOutput",
    "MakeLoss", "make_loss",
}  # fmt: skip


class Pass:
    """One forward walk over a graph.

    Attributes
    ----------
    values : by entry, the arrays that were kept: those asked for, and those that the way back needs
    shapes : by entry, the shape of every array
    """

    def __init__(
        self,
        graph: Graph,
        images: Sequence[nd.NDArray],
        asked: Collection[Entry],
        end: Entry,
    ):
        """Walk forward to `end` and keep what the gradients of the entries `asked` for need.

        Raises
        ------
        NonFiniteError
            If NaN or infinity arises, or is in a parameter.
        NetError
            If an operator cannot run.
        """
        self.graph, self.end, self.asked = graph, end, set(asked)
        self.values: dict[Entry, nd.NDArray] = {}
        self.shapes: dict[Entry, tuple[int, ...]] = {}
        self._below = self._fed_by(self.asked)
        self._images = images
        self._forward()

    def _fed_by(self, entries: Collection[Entry]) -> list[bool]:
        """For each step, whether one of the entries goes into it, directly or not: only these are walked back."""
        found = [False] * len(self.graph.steps)
        for index, step in enumerate(self.graph.steps):
            found[index] = any(entry in entries or found[entry[0]] for entry in step.inputs)
        return found

    def _forward(self) -> None:
        steps, needed = self.graph.steps, self.graph.needed_for([self.end])
        kept = self.asked | {self.end}
        last: dict[Entry, int] = {}
        for index, step in enumerate(steps):
            if needed[index]:
                last.update(dict.fromkeys(step.inputs, index))
                if self._below[index]:
                    kept |= kept_by(self.graph, index)
        dying: dict[int, list[Entry]] = {}
        for entry, index in last.items():
            if entry not in kept and steps[entry[0]].op != "null":
                dying.setdefault(index, []).append(entry)
        means: list[nd.NDArray] = []
        with autograd.pause(train_mode=False):
            for index, step in enumerate(steps):
                if not needed[index]:
                    continue
                for place, value in enumerate(self._outputs(index, step, means)):
                    self.values[index, place] = value
                    self.shapes[index, place] = value.shape
                for entry in dying.get(index, ()):
                    del self.values[entry]
            self._check(means)

    def _outputs(self, index: int, step: Step, means: list[nd.NDArray]) -> list[nd.NDArray]:
        if step.input is not None:
            return [self._images[step.input]]
        if step.parameter is not None:
            return [step.parameter.data(self._images[0].context)]
        if step.op == "null":  # a label, which an output operator ignores in prediction
            return [nd.zeros((len(self._images[0]),))]
        inputs = [self.values[entry] for entry in step.inputs]
        if self.graph.follows_image[index] and (step.op not in CARRIES_ON or step.is_max_pooling):
            means += [mean_of(one) for one in inputs if is_float(one) and one.size]
        if step.op == "BatchNorm":
            means.append(inputs[4])  # an infinite variance makes a scale of 0
            inputs[1] = _gamma(step, inputs[1])
        if step.op in PASSES_ON:
            return [inputs[0]]
        options = step.options
        if step.op in ("_zeros", "_ones", "_full") and 0 in step.option("shape"):
            options = {**options, "shape": str(self._inferred_shape(step))}
        try:
            if step.op in ("Convolution", "FullyConnected"):
                with autograd.train_mode():  # in inference oneDNN would rewrite the weight into a layout of its own
                    return call(step.op, inputs, options)
            return call(step.op, inputs, options)
        except MXNetError as error:
            raise NetError(f"{step.name} ({step.op}) cannot run: {in_one_line(error)}") from error

    def _inferred_shape(self, step: Step) -> tuple[int, ...]:
        """The shape of an array of constants that the net left open, such as an RNN's first state."""
        internals = self.graph.symbol.get_internals()
        sizes = {self.graph.steps[s].name: one.shape for s, one in zip(self.graph.inputs, self._images)}
        _, shapes, _ = internals.infer_shape(**sizes)
        return shapes[internals.list_outputs().index(f"{step.name}_output")]

    # ------------------------------------------------------------------ NaN and infinity

    def _check(self, means: list[nd.NDArray]) -> None:
        """Look at the means that were taken on the way; only if one is not finite look for the culprit."""
        ends = [self.values[self.end], *self._images]
        try:
            flat = nd.concat(*(_line(one) for one in means + [mean_of(one) for one in ends if is_float(one)]), dim=0)
            finite = np.isfinite(flat.asnumpy()).all()
        except MXNetError as error:
            raise NetError(f"MXNet cannot compute this net: {late(error)}") from error
        if not finite:
            self._name_culprit()

    def _name_culprit(self) -> None:
        for number, image in enumerate(self._images):
            if is_float(image):
                finite(image, "x" if len(self._images) == 1 else f"x[{number}]")
        for index, step in enumerate(self.graph.steps):
            if step.parameter is not None and (index, 0) in self.values:
                finite(self.values[index, 0], f"the parameter {step.parameter.name}")
        for entry, value in self.values.items():
            if is_float(value):
                finite(value, f"the output of {self.graph.name(entry)}")

    # ------------------------------------------------------------------ back

    def back(
        self, head: nd.NDArray, entries: Collection[Entry], rule: str = "plain", where: Collection[int] | None = None
    ) -> dict[Entry, nd.NDArray]:
        """d target / d entry, for each of the entries.

        Parameters
        ----------
        head : d target / d `end`, of its shape
        entries : of those asked for when the pass was made
        rule : how a gradient passes back through the ReLUs `where` (steps; all if None)

        Raises
        ------
        NetError
            If an operator on the way has no derivative.
        NonFiniteError
            If a gradient is not finite.
        """
        wanted, steps = set(entries), self.graph.steps
        below = self._fed_by(wanted)
        arrived: dict[Entry, nd.NDArray] = {self.end: head}
        waiting: dict[int, set[int]] = {self.end[0]: {self.end[1]}}  # by step, the outputs that a gradient has reached
        found: dict[Entry, nd.NDArray] = {}
        with autograd.pause(train_mode=False):
            for index in range(self.end[0], -1, -1):
                arriving = {place: arrived.pop((index, place)) for place in waiting.pop(index, ())}
                found.update({(index, k): dy for k, dy in arriving.items() if (index, k) in wanted})
                if not arriving or not below[index]:
                    continue
                obeyed = rule if where is None or index in where else "plain"
                wants = [entry in wanted or below[entry[0]] for entry in steps[index].inputs]
                for entry, want, dx in zip(steps[index].inputs, wants, self._back(index, arriving, wants, obeyed)):
                    if dx is not None and want:
                        arrived[entry] = dx if entry not in arrived else nd.elemwise_add(arrived[entry], dx)
                        waiting.setdefault(entry[0], set()).add(entry[1])
            self._check_gradients(found)
        return found

    def _back(self, index: int, arriving: dict[int, nd.NDArray], wants: list[bool], rule: str):
        """dx for each input of a step."""
        step, back = self.graph.steps[index], rule_of(self.graph, index)
        if step.op in IS_A_LOSS:
            raise NetError(f"{step.name} ({step.op}) is a loss, whose backward is not the derivative of its forward")
        if back is not None:
            given = Given(step, index, self.values, self.shapes)
            dx = back.dx(given, arriving[0], rule) if 0 in arriving else None
            return [None] * len(wants) if dx is None else dx
        if step.op in ("LayerNorm", "GroupNorm", "InstanceNorm") and set(arriving) != {0}:
            raise NetError(f"MXNet leaves out the derivative of the mean and deviation that {step.name} gives")
        if step.op == "LeakyReLU" and step.options.get("act_type") == "rrelu":
            raise NetError(f"{step.name} is an RReLU, for which MXNet has no right derivative")
        inputs = [self.values[entry] for entry in step.inputs]
        return rules.derivative(step.op, inputs, step.options, arriving, wants)

    def _check_gradients(self, found: dict[Entry, nd.NDArray]) -> None:
        for entry, gradient in found.items():
            try:
                if np.isfinite(mean_of(gradient).asnumpy()).all():
                    continue
                finite(gradient, f"the gradient at {self.graph.name(entry)}")
            except MXNetError as error:
                raise NetError(f"MXNet cannot compute this gradient: {late(error)}") from error


class Given(NamedTuple):
    """What a rule may ask of the forward walk."""

    step: Step
    index: int
    values: dict[Entry, nd.NDArray]
    shapes: dict[Entry, tuple[int, ...]]

    def value(self, number: int) -> nd.NDArray:
        """An input that is no map, such as a weight."""
        return self.values[self.step.inputs[number]]

    def shape(self, number: int = 0) -> tuple[int, ...]:
        """The shape of an input."""
        return self.shapes[self.step.inputs[number]]

    @property
    def output(self) -> nd.NDArray:
        return self.values[self.index, 0]

    def sides(self, option: str, otherwise: int) -> tuple[int, ...]:
        """An option that has one number for each side of the kernel."""
        return self.step.option(option) or (otherwise,) * len(self.step.option("kernel"))


class Back(NamedTuple):
    """How `_back` treats an operator.

    Attributes
    ----------
    dx : from what is given, dy and the rule's name to the dx of each input (those left out are None)
    applies : whether this holds for the step, whose input alone follows the image
    keeps_output : whether the output is needed for it; no rule needs the maps that go in
    """

    dx: Callable[[Given, nd.NDArray, str], Sequence[nd.NDArray | None] | None]
    applies: Callable[[Step], bool] = lambda step: True
    keeps_output: bool = False


def rule_of(graph: Graph, index: int) -> Back | None:
    """The rule that a step goes by; None for the derivative that MXNet has of its operator."""
    step = graph.steps[index]
    back = _RELU if step.relu is not None else _TABLE.get(step.op)
    if back is None or not back.applies(step):
        return None
    if step.op in ADDS or step.op in ("Concat", "concat"):
        return back
    # A weight that depends on the image has a gradient of its own.
    return None if any(graph.follows_image[source] for source, _ in step.inputs[1:]) else back


def _relu(given: Given, dy: nd.NDArray, rule: str):
    if given.step.relu == float("inf"):
        return [rules.relu_back(dy, given.output, rule)]
    return [rules.relu6_back(dy, given.output, given.step.relu, rule)]


def _convolution(given: Given, dy: nd.NDArray, rule: str):
    stride, pad, dilate = given.sides("stride", 1), given.sides("pad", 0), given.sides("dilate", 1)
    groups = given.step.option("num_group", 1)
    return [rules.convolution_back(dy, given.value(1), given.shape(), stride, pad, dilate, groups), None, None]


def _transposes(step: Step) -> bool:
    """Whether a transposed convolution is this convolution's gradient in MXNet, on every path that it may take."""
    strided, dilated = (max(step.option(key) or (1,)) > 1 for key in ("stride", "dilate"))
    return len(step.option("kernel")) == 2 and not (strided and dilated) and step.option("layout") in (None, "NCHW")


def _batch_norm(given: Given, dy: nd.NDArray, rule: str):
    gamma = _gamma(given.step, given.value(1))
    return [rules.batch_norm_back(dy, gamma, given.value(4), given.step.options), None, None, None, None]


def _gamma(step: Step, gamma: nd.NDArray) -> nd.NDArray:
    """The scale that a BatchNorm uses. With fix_gamma MXNet would write ones into the net's own, also in prediction."""
    return nd.ones_like(gamma) if step.option("fix_gamma", True) else gamma


def _add(given: Given, dy: nd.NDArray, rule: str):
    if given.shape(0) == given.shape(1):
        return rules.add_back(dy)
    return [_summed_to(dy, given.shape(0)), _summed_to(dy, given.shape(1))]


def _summed_to(dy: nd.NDArray, shape: tuple[int, ...]) -> nd.NDArray:
    """What arrives at an array that was repeated along some axes is the sum over them."""
    repeated = tuple(axis for axis, (now, was) in enumerate(zip(dy.shape, shape)) if now != was)
    return dy.sum(axis=repeated, keepdims=True) if repeated else dy


def _concat(given: Given, dy: nd.NDArray, rule: str):
    axis = given.step.option("dim", 1)
    return rules.concat_back(dy, [given.shape(number)[axis] for number in range(len(given.step.inputs))], axis)


def _averages_all(step: Step) -> bool:
    return step.options.get("pool_type") == "avg" and bool(step.option("global_pool", False))


_RELU = Back(_relu, keeps_output=True)
_SAME_NUMBERS = Back(lambda given, dy, rule: [dy.reshape(given.shape()), None])
_UNCHANGED = Back(lambda given, dy, rule: [dy])
_TABLE = {
    "Convolution": Back(_convolution, _transposes),
    "BatchNorm": Back(_batch_norm),
    "FullyConnected": Back(lambda given, dy, rule: [rules.dense_back(dy, given.value(1), given.shape()), None, None]),
    "Pooling": Back(lambda given, dy, rule: [rules.global_average_back(dy, given.shape())], _averages_all),
    "LeakyReLU": Back(
        lambda given, dy, rule: [rules.selu_back(dy, given.output)],
        lambda step: step.options.get("act_type") == "selu",
        keeps_output=True,
    ),
    "BlockGrad": Back(lambda given, dy, rule: [None]),
    **dict.fromkeys(ADDS, Back(_add)),
    **dict.fromkeys(("Concat", "concat"), Back(_concat)),
    **dict.fromkeys(("Flatten", "Reshape", "reshape", "squeeze", "expand_dims", "reshape_like"), _SAME_NUMBERS),
    **dict.fromkeys(PASSES_ON - {"BlockGrad"}, _UNCHANGED),
}


def kept_by(graph: Graph, index: int) -> set[Entry]:
    """The entries that the way back through a step needs: of a rule at most the output, else all that goes in."""
    back = rule_of(graph, index)
    if back is None:
        return set(graph.steps[index].inputs)
    return {(index, 0)} if back.keeps_output else set()


def mean_of(array: nd.NDArray) -> nd.NDArray:
    """One number, or one for each channel, that is not finite if the array is not; fast in every memory layout."""
    if array.ndim == 4 and array.dtype == np.float32:
        return nd.Pooling(array, global_pool=True, pool_type="avg", kernel=(1, 1))
    return array.mean().reshape(1)


def _line(array: nd.NDArray) -> nd.NDArray:
    return array.reshape(-1).astype(np.float64 if array.dtype == np.float64 else np.float32, copy=False)


def finite(array: nd.NDArray, name: str) -> np.ndarray:
    """The array as numpy, of the same shape and dtype; NonFiniteError, with its name, if it holds NaN or infinity."""
    values = array.asnumpy()
    if not np.isfinite(values).all():
        raise NonFiniteError(f"NaN or infinity in {name}; check weights and image")
    return values


def late(error: MXNetError) -> str:
    """What an error of MXNet's engine says; it comes at the first copy to numpy, and waiting keeps the rest of it here."""
    for _ in range(3):
        try:
            nd.waitall()
            break
        except MXNetError:
            continue
    return in_one_line(error)
