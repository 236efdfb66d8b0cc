"""A decision tree over a net's graph: how it ends behind the recommended layer, and what its last convolution is."""

from __future__ import annotations

from itertools import dropwhile
from math import prod

import numpy as np

from ..core.checks import Ready
from ..core.graph import ADDS, PASSES_ON, RESHAPES, Entry, Step

ENDINGS = {  # what it means for a map of the recommended layer
    "GAP": "exact: a class's channel is its map and sums to its logit; behind a ReLU nothing speaks against a class",
    "GAP and Dense": "exact: signed map + bias = logit, and Grad-CAM = HiResCAM = CAM; GAP's output has one position",
    "GAP and more": "not exact: the gradient is the same everywhere, but the map does not add up to the logit",
    "one Dense layer": "HiResCAM is exact: map + bias = logit; Grad-CAM averages a gradient that differs by position",
    "several layers": "not exact: Grad-CAM averages a gradient that differs by position; absent classes show too",
}
JOINTS = {  # what it means for a map of the last convolution
    "adds": "is one term of a sum: what the other adds is left out",
    "concatenates": "is one side of a concatenation: what the others hold is left out",
    "gates": "is one factor of a product: a gate says how much passes, not what",
    "goes around": "has a way around it: what goes around is left out",
}
GATES = {"elemwise_mul", "broadcast_mul"}
SUMS = ADDS | {"elemwise_sub", "broadcast_sub", "Concat"}
# What is made of these is, in inference, one Dense layer: of products, if the image goes into one factor alone.
AFFINE = SUMS | GATES | {
    "FullyConnected", "Convolution", "dot", "BatchNorm", "_mul_scalar", "_div_scalar", "_plus_scalar", "_minus_scalar",
    "_rminus_scalar",
}  # fmt: skip


def ending(prepared: Ready, best: Entry) -> str:
    """Which of `ENDINGS` follows the recommended layer."""
    graph, shapes, whole = prepared.graph, prepared.shapes, set(prepared.graph.whole(prepared.end))
    after = graph.fed_by([best])

    def linear(step: Step) -> bool:
        moves = [i == best[0] or after[i] for i, _ in step.inputs if graph.follows_image[i]]  # or another input does
        return step.op in AFFINE and all(moves) and (len(moves) == 1 or step.op in SUMS)

    ways = zip(graph.steps, after, graph.needed_for([prepared.end]))
    left = [(i, step) for i, (step, *both) in enumerate(ways) if all(both) and step.op not in PASSES_ON | RESHAPES]
    rest = [*dropwhile(lambda one: (one[0], 0) in whole and averages(one[1], shapes[one[1].inputs[0]]), left)]
    affine = all(linear(step) for _, step in rest)
    pooled = shapes[rest[0][1].inputs[0] if rest else prepared.end]
    if len(rest) < len(left) and prod(pooled) == prod(shapes[best][:2]):
        return "GAP and more" if not affine else "GAP and Dense" if rest else "GAP"
    return "one Dense layer" if affine and rest and left[0][1].op in ("FullyConnected", "dot") else "several layers"


def averages(step: Step, shape: tuple[int, ...]) -> bool:
    """Whether a step is a mean or a sum over positions alone of a map of this shape, each of which counts the same."""
    if step.op in ("mean", "sum"):
        named = {int(axis) % len(shape) for axis in np.atleast_1d(step.option("axis") or ())}
        axes = set(range(len(shape))) - named if step.option("exclude", False) else named
        return min(axes, default=0) > 1
    if step.op == "_contrib_AdaptiveAvgPooling2D":
        return True
    kernel, padded = step.option("kernel") or (), any(step.option("pad") or ())
    tiles = step.option("stride") == kernel and not any(n % k for n, k in zip(shape[2:], kernel))
    whole = step.option("global_pool", False) or ((tiles or kernel == shape[2:]) and not padded)
    return step.op == "Pooling" and step.option("pool_type") in ("avg", "sum") and bool(whole)


def joint(prepared: Ready) -> str | None:
    """Which of `JOINTS` makes the last convolution of more than one position a part; None if it is whole."""
    graph, whole, needed = prepared.graph, prepared.graph.whole(prepared.end), prepared.graph.needed_for([prepared.end])
    for entry in sorted(prepared.shapes, reverse=True):
        if graph.steps[entry[0]].op == "Convolution" and needed[entry[0]] and prod(prepared.shapes[entry][2:]) > 1:
            op = graph.steps[next(index for index, _ in whole if index >= entry[0])].op
            kinds = {"adds": ADDS, "concatenates": {"Concat"}, "gates": GATES}
            known = next((kind for kind, operators in kinds.items() if op in operators), "goes around")
            return None if entry in whole else known
    return None
