"""A net as the graph of its operators: which map every path crosses, which addition joins which two.

An *entry* is one array of the graph, (number of the step, number of its output). Steps stand in the order in which they
run. After `tracing.trace` nothing changes in a graph, so threads can share it, and it keeps what it was asked.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias, TypeVar

import mxnet as mx
import numpy as np
from mxnet.gluon import Parameter

Entry: TypeAlias = tuple[int, int]
R = TypeVar("R")

# Operators by the one name that MXNet writes into a graph, by whichever of its names it was called.
PASSES_ON = {"_copy", "Dropout", "amp_cast", "BlockGrad"}  # what goes in comes out
RESHAPES = {"Flatten", "Reshape", "squeeze", "expand_dims", "reshape_like"}
ADDS = {"elemwise_add", "broadcast_add", "_grad_add"}
# Operators after which the axes are batch, channel, height, width; and those after which they are no longer known.
OF_MAPS = {
    "Convolution", "Deconvolution", "Pooling", "UpSampling", "InstanceNorm", "GroupNorm", "LRN",
    "_contrib_BilinearResize2D", "_contrib_AdaptiveAvgPooling2D",
}  # fmt: skip
MIXES_AXES = RESHAPES | {
    "null", "transpose", "stack", "batch_dot", "dot", "one_hot", "take", "Embedding", "SwapAxis", "tile",
    "FullyConnected", "RNN", "_linalg_gemm2",
}  # fmt: skip
CHANNELS_FIRST = {None, "NCW", "NCHW", "NCDHW"}  # a layout that is not said is one of these
REDUCES = {"mean", "sum", "max", "min", "prod", "norm", "argmax", "argmin", "argmax_channel"}
PROBABILITIES = {"softmax": "softmax", "log_softmax": "softmax", "SoftmaxActivation": "softmax", "sigmoid": "sigmoid"}


@dataclass(eq=False)
class Step:
    """One operator, or one array that the graph is given."""

    op: str  # "null" for an array that is given
    name: str  # unique in most nets, not in all
    inputs: tuple[Entry, ...]
    options: dict[str, str]  # as MXNet writes them
    parameter: Parameter | None = None  # if the array is one of the net's
    input: int | None = None  # if the array is an input of the net, its number

    def option(self, key: str, otherwise=None):
        """The value of an option, which MXNet writes as text: a number, True, (3, 3), a word."""
        return _value(self.options[key]) if key in self.options else otherwise

    @cached_property
    def relu(self) -> float | None:
        """The top of a ReLU, infinity, or of a ReLU6, a number; None for every other step.

        In MXNet a ReLU is spelled Activation, relu, maximum(x, 0), clip(x, 0, top) or LeakyReLU of slope 0. Not told
        are x * (x > 0), where(x > 0, x, 0), maximum with an array of zeros, and ELU of slope 0.
        """
        kind = self.options.get("act_type")
        if self.op == "clip" and self.option("a_min") == 0 and self.option("a_max") > 0:
            return float(np.float32(self.option("a_max")))  # as MXNet keeps it, also in a float64 net
        spelled = {
            "relu": True,
            "_contrib_BatchNormWithReLU": True,
            "Activation": kind == "relu",
            "_maximum_scalar": self.option("scalar") == 0,
            "LeakyReLU": kind in (None, "leaky") and self.option("slope", 0.25) == 0,
        }
        return float("inf") if spelled.get(self.op) else None

    @property
    def kin_of_relu(self) -> str | None:
        """The name of an activation that is like a ReLU and is none: the rules say nothing about it."""
        kind = self.options.get("act_type", "leaky")
        if self.op == "LeakyReLU" and self.relu is None:
            return {"leaky": "LeakyReLU", "prelu": "PReLU"}.get(kind, kind.upper())
        return "softplus" if self.op == "Activation" and kind == "softrelu" else None

    @property
    def kind(self) -> str:
        """What to call the step in a table."""
        if self.relu is not None:
            return "ReLU" if self.relu == float("inf") else f"ReLU up to {self.relu:g}"
        return "addition" if self.op in ADDS else self.op.strip("_")


def once(question: Callable[..., R]) -> Callable[..., R]:
    """Keep what a graph answers, by what it is asked for: entries."""

    @functools.wraps(question)
    def answer(graph: Graph, entries: Iterable) -> R:
        key = question, tuple(entries)
        if key not in graph.answers:
            graph.answers[key] = question(graph, key[1])
        return graph.answers[key]

    return answer


@dataclass(eq=False)
class Graph:
    """All steps of a net, as `tracing.trace` found them."""

    steps: list[Step]  # in the order in which they run
    inputs: list[int]  # the steps that are the net's inputs, the image first
    outputs: list[Entry]  # what the net returns
    runs: dict[str, list[list[Entry]]]  # for each block's structural path, the outputs of each of its runs
    symbol: mx.sym.Symbol = field(repr=False)  # MXNet's own form of the graph, which can infer shapes
    answers: dict = field(default_factory=dict, repr=False)  # to what was asked before: alone changes after a trace

    @cached_property
    def parameters(self) -> list[Parameter]:
        """The parameters that the net's outputs need."""
        steps = zip(self.steps, self.needed_for(self.outputs))
        return [step.parameter for step, needed in steps if needed and step.parameter is not None]

    @cached_property
    def follows_image(self) -> list[bool]:
        """For each step, whether an input of the net goes into it, or it is one."""
        fed = self.fed_by((index, 0) for index in self.inputs)
        return [fed[index] or step.input is not None for index, step in enumerate(self.steps)]

    @once
    def fed_by(self, entries: Iterable[Entry]) -> list[bool]:
        """For each step, whether one of the entries goes into it, directly or not."""
        found: list[bool] = []
        for step in self.steps:
            found.append(any(entry in entries or found[entry[0]] for entry in step.inputs))
        return found

    @once
    def needed_for(self, ends: Iterable[Entry]) -> list[bool]:
        """For each step, whether one of the ends depends on it."""
        needed = {index for index, _ in ends}
        for index in reversed(range(len(self.steps))):
            if index in needed:
                needed.update(source for source, _ in self.steps[index].inputs)
        return [index in needed for index in range(len(self.steps))]

    @once
    def uses(self, ends: Iterable[Entry]) -> dict[Entry, list[int]]:
        """By entry, the steps that it goes into, of those that the ends need, in their order."""
        found: dict[Entry, list[int]] = {}
        for index, needed in enumerate(self.needed_for(ends)):
            for entry in self.steps[index].inputs if needed else ():
                found.setdefault(entry, []).append(index)
        return found

    def back_over(self, entry: Entry, operators: set[str]) -> Entry:
        """The entry before a row of such operators that ends in `entry`."""
        while self.steps[entry[0]].op in operators:
            entry = self.steps[entry[0]].inputs[0]
        return entry

    def last(self, output: int) -> Step:
        """The last step that decides anything: what follows it keeps the order of the classes."""
        keeps = PASSES_ON | RESHAPES | {"Cast", "log", "exp", "clip"}
        return self.steps[self.back_over(self.outputs[output], keeps)[0]]

    def logits(self, output: int) -> tuple[Entry, str | None]:
        """Where the net's scores before any softmax or sigmoid stand, and which of the two was at the end."""
        step = self.last(output)
        kind = PROBABILITIES.get(step.op)
        if step.op == "Activation" and step.options["act_type"] in ("sigmoid", "log_sigmoid"):
            kind = "sigmoid"
        if step.op in ("softmax", "log_softmax") and step.option("axis", -1) not in (1, -1):
            kind = None  # not over classes
        return (step.inputs[0], kind) if kind else (self.outputs[output], None)

    @once
    def whole(self, end: Entry) -> list[Entry]:
        """The entries that every path from the image to `end` crosses, in order: its dominators.

        All that the net knows of the image passes through each of these maps, as nothing from before one is used after
        it. The end of a residual branch, one side of a concatenation, a gate and a second output's maps are parts.
        """
        image, uses = self.inputs[0], self.uses([end])
        follows = self.fed_by([(image, 0)])  # of a second input nothing is asked
        found: list[Entry] = []
        reach = 0  # the last step that takes in any of the entries so far
        for entry in sorted(uses):
            if follows[entry[0]] or entry[0] == image:
                if reach <= entry[0]:
                    found.append(entry)
                elif found and found[-1][0] == entry[0]:  # the step's other output leads on, too
                    found.pop()
                reach = max(reach, uses[entry][-1])
        return [*found, end]

    @cached_property
    def axes(self) -> list[tuple[int, ...] | None]:
        """What each step's axes are: () for batch, channel, height, width, a permutation of these, or None: unknown."""
        found: list[tuple[int, ...] | None] = []
        for step in self.steps:
            known = {found[source] for source, _ in step.inputs} - {None}
            axes = known.pop() if len(known) == 1 else None
            order = step.option("axes") if step.op == "transpose" else None
            if step.op in OF_MAPS or (step.op == "BatchNorm" and step.option("axis", 1) == 1):
                axes = () if step.option("layout") in CHANNELS_FIRST else axes
            elif step.op == "reshape_like":
                axes = found[step.inputs[1][0]]
            elif order and axes is not None:
                axes = tuple(axes[axis] for axis in order) if axes else order
                axes = () if axes == tuple(sorted(axes)) else axes
            elif axes == () and step.option("shape") in ((0, 0, -1), (0, 0, -3)):
                pass  # the positions in a row
            elif step.op in MIXES_AXES or (step.op in REDUCES and not step.option("keepdims", False)):
                axes = None
            found.append(axes)
        return found

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """Every layer that can be asked for by the name it goes by, in the order in which they run.

        A block's path, with #1, #2 if it runs more than once and [1] for its second output; for a step that is no
        block's output its own name. Of several blocks that end in one entry the innermost comes first.
        """
        found: dict[str, Entry] = {}
        for path, runs in self.runs.items():
            for number, outputs in enumerate(runs, 1):
                for place, entry in enumerate(outputs):
                    found[_numbered(path, number, len(runs), place)] = entry
        alike: dict[str, list[int]] = {}
        for index, step in enumerate(self.steps):
            if step.op != "null":
                alike.setdefault(step.name, []).append(index)
        for index, place in sorted({*self.uses(self.outputs), *self.outputs} - set(found.values())):
            name = self.steps[index].name
            if index in alike.get(name, ()):
                found[_numbered(name, alike[name].index(index) + 1, len(alike[name]), place)] = index, place
        return dict(sorted(found.items(), key=lambda item: item[1]))

    @cached_property
    def _names(self) -> dict[Entry, str]:
        return {entry: name for name, entry in self.entries.items()}

    def name(self, entry: Entry) -> str:
        """What an entry is called: the path of the outermost block that ends in it, or its step's own name."""
        return self._names.get(entry, self.steps[entry[0]].name)

    def relus(self, output: int = 0) -> list[int]:
        """The steps that are a ReLU or ReLU6 on the way to an output's logits."""
        on_the_way = zip(self.steps, self.follows_image, self.needed_for([self.logits(output)[0]]))
        return [i for i, (step, *both) in enumerate(on_the_way) if all(both) and step.relu is not None]


@functools.cache
def _value(text: str):
    try:  # not by ast: Python 3.11's must not be used from two threads
        words = text.lower().replace("none", "null").replace("inf", "Infinity")
        value = json.loads(words.replace("(", "[").replace(")", "]").replace(",]", "]"))
    except ValueError:
        return text
    return tuple(value) if isinstance(value, list) else value


def _numbered(name: str, run: int, runs: int, place: int) -> str:
    return f"{name}{f'#{run}' if runs > 1 else ''}{f'[{place}]' if place else ''}"
