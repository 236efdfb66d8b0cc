"""A decision tree over a net's graph: how it ends behind the recommended layer, and what its last convolution is."""

from __future__ import annotations

import numpy as np

from .checks import Ready
from .graph import ADDS, GATES, PASSES_ON, RESHAPES, Entry, Step

ENDINGS = {  # what it means for a map of the recommended layer
    "GAP": "exact: a class's channel is its map and sums to its logit; behind a ReLU nothing speaks against a class",
    "GAP and Dense": "exact: signed map + bias = logit, and Grad-CAM = HiResCAM = CAM; GAP's output has one position",
    "GAP and more": "not exact: the gradient is the same everywhere, but the map does not add up to the logit",
    "one Dense layer": "HiResCAM is exact: map + bias = logit; Grad-CAM averages a gradient that differs by position",
    "several layers": "not exact: Grad-CAM averages a gradient that differs by position; absent classes show too",
}
JOINTS = {  # what it means for a map of the last convolution
    "adds": "ends a branch that is added to a shortcut: one term of a sum, take the sum",
    "concatenates": "is one side of a concatenation: take what all sides make",
    "gates": "is one factor of a product: a gate says how much passes, not what",
    "goes around": "has a way around it: take the whole map after it",
}


def ending(prepared: Ready, best: Entry) -> str:
    """Which of `ENDINGS` follows the recommended layer."""
    ways = zip(prepared.graph.steps, prepared.graph.fed_by([best]), prepared.graph.needed_for([prepared.end]))
    left = [step for step, *both in ways if all(both) and step.op not in PASSES_ON | RESHAPES]
    linear = [step.op in ("FullyConnected", "Convolution") for step in left]
    if left and averages(left[0], prepared.shapes[best]):
        return {(): "GAP", (True,): "GAP and Dense"}.get(tuple(linear[1:]), "GAP and more")
    return "one Dense layer" if linear == [True] and left[0].op == "FullyConnected" else "several layers"


def averages(step: Step, shape: tuple[int, ...]) -> bool:
    """Whether a step is the mean over all positions of a map of this shape, (N, K, h, w)."""
    if step.op == "mean":
        return sorted(np.atleast_1d(step.option("axis", ())) % len(shape)) == list(range(2, len(shape)))
    whole = step.option("global_pool", False) or step.option("kernel") == shape[2:]
    return step.op == "_contrib_AdaptiveAvgPooling2D" or (step.option("pool_type") == "avg" and bool(whole))


def joint(prepared: Ready) -> str | None:
    """Which of `JOINTS` makes the last convolution of more than one position a part; None if it is whole."""
    graph, whole, needed = prepared.graph, prepared.graph.whole(prepared.end), prepared.graph.needed_for([prepared.end])
    for entry in sorted(prepared.shapes, reverse=True):
        if graph.steps[entry[0]].op == "Convolution" and needed[entry[0]] and np.prod(prepared.shapes[entry][2:]) > 1:
            op = graph.steps[next(index for index, _ in whole if index >= entry[0])].op
            kinds = {"adds": ADDS, "concatenates": {"Concat"}, "gates": GATES}
            known = next((kind for kind, operators in kinds.items() if op in operators), "goes around")
            return None if entry in whole else known
    return None
