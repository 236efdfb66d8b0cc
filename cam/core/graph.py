"""A net as the graph of its operators: which map every path crosses, which addition joins which two.

An *entry* is one array of the graph, (number of the step, number of its output). Steps stand in the order in which they
run. After `tracing.trace` nothing writes to a graph, so threads can share it.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from .mxnet import Parameter, mx

Entry = tuple[int, int]

PASSES_ON = {"identity", "_copy", "Dropout", "amp_cast", "BlockGrad"}  # what goes in comes out
RESHAPES = {"Flatten", "Reshape", "reshape", "squeeze", "expand_dims", "reshape_like"}
ADDS = {"elemwise_add", "_plus", "_Plus", "broadcast_add", "broadcast_plus", "_grad_add"}
# Operators after which the axes are no longer those that went in.
MIXES_AXES = RESHAPES | {
    "stack", "batch_dot", "dot", "one_hot", "take", "Embedding", "SwapAxis", "swapaxes", "FullyConnected", "RNN", "tile",
    "_linalg_gemm2", "_contrib_interleaved_matmul_selfatt_qk", "_contrib_interleaved_matmul_selfatt_valatt",
}  # fmt: skip
REDUCES = {"mean", "sum", "max", "min", "prod", "norm", "argmax", "argmin", "argmax_channel"}
ENDS_IN_PROBABILITIES = {
    "softmax": "softmax", "log_softmax": "softmax", "SoftmaxActivation": "softmax", "SoftmaxOutput": "softmax",
    "Softmax": "softmax", "sigmoid": "sigmoid", "LogisticRegressionOutput": "sigmoid",
}  # fmt: skip


@dataclass(eq=False)
class Step:
    """One operator, or one array that the graph is given.

    Attributes
    ----------
    op : the operator's name; "null" for an array that is given
    name : unique in most nets, not in all
    inputs : the entries that go in
    options : the operator's options, as MXNet writes them
    parameter : where the array is a parameter of the net
    input : where it is an input of the net, its number
    """

    op: str
    name: str
    inputs: tuple[Entry, ...]
    options: dict[str, str]
    parameter: Parameter | None = None
    input: int | None = None

    def option(self, key: str, otherwise=None):
        """The value of an option."""
        text = self.options.get(key)
        if text is None:
            return otherwise
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError):
            return {"true": True, "false": False}.get(text.lower(), text)

    @cached_property
    def relu(self) -> float | None:
        """The top of a ReLU, infinity, or of a ReLU6, a number; None for every other step.

        In MXNet a ReLU is spelled Activation, relu, maximum(x, 0), clip(x, 0, top) or LeakyReLU of slope 0. Not told are
        x * (x > 0), where(x > 0, x, 0), maximum with an array of zeros, and ELU of slope 0.
        """
        kind = self.options.get("act_type")
        if self.op == "clip" and self.option("a_min") == 0 and self.option("a_max") > 0:
            return float(np.float32(self.option("a_max")))  # as MXNet keeps it, also in a float64 net
        spelled = (
            self.op == "relu"
            or (self.op == "Activation" and kind == "relu")
            or (self.op == "_maximum_scalar" and self.option("scalar") == 0)
            or (self.op == "LeakyReLU" and (kind or "leaky") == "leaky" and self.option("slope", 0.25) == 0)
        )
        return float("inf") if spelled else None

    @property
    def kin_of_relu(self) -> str | None:
        """The name of an activation that is like a ReLU and is none: the rules say nothing about it."""
        if self.op == "LeakyReLU" and self.relu is None:
            return {"leaky": "LeakyReLU", "prelu": "PReLU"}.get(self.options.get("act_type", "leaky")) or str(
                self.options["act_type"]
            ).upper()
        return "softrelu" if self.op == "Activation" and self.options.get("act_type") == "softrelu" else None

    @property
    def is_max_pooling(self) -> bool:
        return self.op == "Pooling" and self.options.get("pool_type", "max") == "max"

    def averages(self, shape: tuple[int, ...]) -> bool:
        """Whether the step is the mean over all positions of a map of this shape (N, K, h, w)."""
        if self.op == "Pooling" and self.options.get("pool_type") == "avg":
            return bool(self.option("global_pool", False)) or self.option("kernel") == shape[2:]
        axes = self.option("axis")
        axes = (axes,) if isinstance(axes, int) else axes
        last = tuple(range(2, len(shape)))
        return self.op == "_contrib_AdaptiveAvgPooling2D" or (
            self.op == "mean" and axes is not None and tuple(sorted(axis % len(shape) for axis in axes)) == last
        )

    @property
    def kind(self) -> str:
        """What to call the step in a table."""
        if self.relu is not None:
            return "ReLU" if self.relu == float("inf") else f"clip to {self.relu:g}"
        return "addition" if self.op in ADDS else self.op.strip("_")


@dataclass(eq=False)
class Graph:
    """All steps of a net, as `tracing.trace` found them.

    Attributes
    ----------
    steps : in the order in which they run
    outputs : the entries that the net returns
    runs : for each block's structural path, the outputs of each of its runs
    symbol : MXNet's own form of the graph, which can infer shapes
    """

    steps: list[Step]
    outputs: list[Entry]
    runs: dict[str, list[list[Entry]]]
    symbol: mx.sym.Symbol = field(repr=False)

    @cached_property
    def inputs(self) -> list[int]:
        """The steps that are the net's inputs, the image first."""
        found = [index for index, step in enumerate(self.steps) if step.input is not None]
        return sorted(found, key=lambda index: self.steps[index].input)

    @cached_property
    def follows_image(self) -> list[bool]:
        """For each step, whether an input of the net goes into it."""
        found = [step.input is not None for step in self.steps]
        for index, step in enumerate(self.steps):
            found[index] |= any(found[source] for source, _ in step.inputs)
        return found

    def needed_for(self, ends: Iterable[Entry]) -> list[bool]:
        """For each step, whether one of the ends depends on it."""
        needed = [False] * len(self.steps)
        for index, _ in ends:
            needed[index] = True
        for index in range(len(self.steps) - 1, -1, -1):
            if needed[index]:
                for source, _ in self.steps[index].inputs:
                    needed[source] = True
        return needed

    def back_over(self, entry: Entry, operators: set[str]) -> Entry:
        """The entry before a row of such operators that ends in `entry`."""
        while self.steps[entry[0]].op in operators:
            entry = self.steps[entry[0]].inputs[0]
        return entry

    def logits(self, output: int) -> tuple[Entry, str | None]:
        """Where the net's scores before any softmax or sigmoid stand, and which of the two was at the end."""
        end = self.outputs[output]
        entry = self.back_over(end, PASSES_ON | RESHAPES | {"Cast"})
        step = self.steps[entry[0]]
        kind = ENDS_IN_PROBABILITIES.get(step.op)
        if step.op == "Activation" and step.options["act_type"] in ("sigmoid", "log_sigmoid"):
            kind = "sigmoid"
        over_classes = step.op not in ("softmax", "log_softmax") or step.option("axis", -1) in (1, -1)
        return (step.inputs[0], kind) if kind and over_classes else (end, None)

    def whole(self, end: Entry) -> list[Entry]:
        """The entries that every path from the net's inputs to `end` crosses, in order: its dominators.

        Everything that the net knows of the image passes through each of these maps. The end of a residual branch, one
        side of a concatenation, a gate and a second output's maps are not among them: they are parts.
        """
        needed = self.needed_for([end])
        bit: dict[Entry, int] = {}
        crossed: dict[int, int] = {}  # by step, the entries that every path to it crosses, as bits
        for index, step in enumerate(self.steps):
            if not needed[index] or not self.follows_image[index]:
                continue
            ways = [crossed[e[0]] | 1 << bit.setdefault(e, len(bit)) for e in step.inputs if e[0] in crossed]
            common = ways[0] if ways else 0
            for way in ways[1:]:
                common &= way
            crossed[index] = common
        on_all = crossed.get(end[0], 0)
        return sorted([entry for entry, number in bit.items() if on_all >> number & 1] + [end])

    @cached_property
    def axes(self) -> list[tuple[int, ...] | None]:
        """What each step's axes are: () for batch, channel, height, width, a permutation of these, or None: unknown."""
        found: list[tuple[int, ...] | None] = [None] * len(self.steps)
        for index, step in enumerate(self.steps):
            known = {found[source] for source, _ in step.inputs} - {None}
            layout = step.options.get("layout", "None")
            if (
                (step.op in ("Convolution", "Deconvolution", "Pooling") and layout[:2] in ("No", "NC"))
                or step.op in ("UpSampling", "InstanceNorm", "GroupNorm", "LRN")
                or step.op.startswith("_contrib_Bilinear")
                or (step.op == "BatchNorm" and step.option("axis", 1) == 1)
            ):
                found[index] = ()
            elif step.op == "transpose" and len(known) == 1 and step.option("axes"):
                before, order = known.pop() or tuple(range(len(step.option("axes")))), step.option("axes")
                after = tuple(before[axis] for axis in order)
                found[index] = () if after == tuple(sorted(after)) else after
            elif (
                step.op in MIXES_AXES
                or step.op in ("transpose", "null")
                or (step.op in REDUCES and not step.option("keepdims", False))
            ):
                continue
            elif len(known) == 1:
                found[index] = known.pop()
        return found

    @cached_property
    def consumers(self) -> dict[Entry, list[int]]:
        """By entry, the steps that it goes into, of those that the net's outputs need."""
        found: dict[Entry, list[int]] = {}
        for index, needed in enumerate(self.needed_for(self.outputs)):
            for entry in self.steps[index].inputs if needed else ():
                found.setdefault(entry, []).append(index)
        return found

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """Every layer that can be asked for by the name it goes by, in the order in which they run.

        A block's path, with #1, #2 if it runs more than once and [1] for its second output; for a step that is no
        block's output its own name.
        """
        found: dict[str, Entry] = {}
        for path, runs in self.runs.items():
            for number, outputs in enumerate(runs, 1):
                for place, entry in enumerate(outputs):
                    run = f"#{number}" if len(runs) > 1 else ""
                    found[f"{path}{run}{f'[{place}]' if place else ''}"] = entry
        named = set(found.values())
        steps = [(index, step) for index, step in enumerate(self.steps) if step.op != "null"]
        alike = Counter(step.name for _, step in steps)
        seen: Counter[str] = Counter()
        used = set(self.consumers) | set(self.outputs)
        for index, step in steps:
            seen[step.name] += 1
            run = f"#{seen[step.name]}" if alike[step.name] > 1 else ""
            for place in sorted({place for source, place in used if source == index}):
                if (index, place) not in named:
                    found[f"{step.name}{run}{f'[{place}]' if place else ''}"] = (index, place)
        order = {name: position for position, name in enumerate(found)}
        return dict(sorted(found.items(), key=lambda item: (item[1], order[item[0]])))

    @cached_property
    def names(self) -> dict[Entry, str]:
        """What each entry is called: of several blocks that end in it, the outermost."""
        return {entry: name for name, entry in self.entries.items()}

    def relus(self, output: int = 0) -> list[int]:
        """The steps that are a ReLU or ReLU6 on the way to an output's logits."""
        needed = self.needed_for([self.logits(output)[0]])
        return [i for i, step in enumerate(self.steps) if needed[i] and self.follows_image[i] and step.relu is not None]

    def additions(self) -> list[Entry]:
        """The sums of two maps that both come from the image: where a branch and its shortcut meet."""
        needed = self.needed_for(self.outputs)
        return [
            (index, 0)
            for index, step in enumerate(self.steps)
            if needed[index] and step.op in ADDS and all(self.follows_image[source] for source, _ in step.inputs)
        ]
