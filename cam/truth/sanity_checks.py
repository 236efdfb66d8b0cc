"""Five tests of an explanation that any net should pass, whatever it was trained for: no masks are needed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from mxnet import nd
from mxnet.gluon import Block, nn

from ..core.checks import output_of
from ..core.errors import LayerError, collected
from ..core.recording import record
from ..core.tracing import flat, trace
from ..maps.grad_cam import grad_cam
from ..maps.layer_table import layers, paths
from ..maps.sums import decompose
from ..nets.normalisation import blank, input_for, normalisation_of, normalise
from . import scenes

CLOSE, SUMS = 1e-3, 1e-2  # relative, in float32; of sums, two passes are compared, in which single ReLUs may differ
STEPS = (2e-4, 6e-5, 2e-5)  # of a finite difference, as shares of the picture's range
SQUARE = 16  # pixels
SLOPE = 0.2  # relative: what ReLUs that switch on the way may cost; a missing part costs more


@dataclass(frozen=True)
class Verdict:
    """What one test found: `passed` is None where the net has nothing to test; `said` tells the numbers."""

    test: str
    passed: bool | None
    said: str

    def __str__(self) -> str:
        return f"{ {True: 'passed', False: 'FAILED', None: '-'}[self.passed]:6}  {self.test}: {self.said}"


class Verdicts(tuple):
    """One `Verdict` per test; printed, one line each, and a last line on all of them."""

    @property
    def passed(self) -> bool:
        """Whether no test failed."""
        return not any(one.passed is False for one in self)

    def __str__(self) -> str:
        failed, idle = (sum(one.passed is outcome for one in self) for outcome in (False, None))
        tested = len(self) - idle
        last = f"{failed} of {tested} tests failed" if failed else f"all {tested} tests passed"
        return "\n".join([*map(str, self), f"{last}, {idle} had nothing to test" if idle else last])


def check(
    net: Block, x: nd.NDArray | None = None, *, target: int | str | None = None, output: int | None = None
) -> Verdicts:
    """Whether explaining a net leaves it alone, and whether what is said of its logit is so.

    Parameters
    ----------
    net : as for `cam.record`, with one input; CamError as there
    x : NDArray (1, C, H, W), a picture as the net takes it; a scene of two cut-outs if not given
    target : the class to explain; the top class if not given
    output : which output to explain, of a net that has several

    Returns
    -------
    Verdicts
    """
    x = _scene(net) if x is None else x[:1]
    with collected():  # of layers and maps; what is to be said here is said in the verdicts
        output = output_of(trace(net), output)
        number = record(net, x, [], output=output).class_ids(target)[0]
        tests = (logits_unchanged, branch_and_shortcut, map_and_bias, finite_difference, relus_reached)
        return Verdicts(test(net, x, number, output) for test in tests)


def logits_unchanged(net: Block, x: nd.NDArray, target: int, output: int) -> Verdict:
    """The net predicts the same, to the bit, before and after it was explained."""
    before = [one.asnumpy() for one in flat(net(x))]
    grad_cam(net, x, target=target, output=output)
    record(net, x, [], output=output).image_gradient(target=target)
    off = max(np.abs(one - other.asnumpy()).max() for one, other in zip(before, flat(net(x))))
    return Verdict("logits unchanged", bool(off == 0), f"largest difference {off:.1g} after three explanations")


def branch_and_shortcut(net: Block, x: nd.NDArray, target: int, output: int) -> Verdict:
    """At every addition of two maps, map(branch) + map(shortcut) = map(Add)."""
    graph, found = trace(net), []
    for entry in (entry for entry in graph.uses(graph.outputs) if graph.steps[entry[0]].kind == "addition"):
        path = graph.name(entry)
        try:
            parts = decompose(net, x, path, target=target, output=output)
        except LayerError:  # of arrays that are no maps, or not of one shape
            continue
        whole = grad_cam(net, x, target=target, layer=path, relu=False, output=output)
        off = np.linalg.norm(parts["branch"] + parts["shortcut"] - whole)
        found.append(off / (sum(map(np.linalg.norm, parts.values())) or 1))
    if not found:
        return Verdict("branch + shortcut = Add", None, "this net adds no two maps")
    said = f"largest relative difference {max(found):.1g} in {len(found)} additions"
    return Verdict("branch + shortcut = Add", bool(max(found) < SUMS), said)


def map_and_bias(net: Block, x: nd.NDArray, target: int, output: int) -> Verdict:
    """Where the net ends in GAP, or in GAP and Dense, logit less map is one number for all images: the bias."""
    ending = layers(net, x, output=output).ending
    if ending not in ("GAP", "GAP and Dense"):
        return Verdict("map + bias = logit", None, f"need not hold, since the net ends in {ending or 'no map'}")
    several = nd.concat(x, x.flip(axis=x.ndim - 1), x / 2, dim=0)
    logits = record(net, several, [], output=output).logits.reshape(3, -1)[:, target]
    maps = grad_cam(net, several, target=target, relu=False, output=output)
    rest = logits - maps.sum(axis=tuple(range(1, maps.ndim)))
    said = f"logit - map is {rest.mean():.4g} for three pictures, to {np.ptp(rest):.1g}"
    return Verdict("map + bias = logit", bool(np.ptp(rest) <= CLOSE * np.abs(logits).max()), said)


def finite_difference(net: Block, x: nd.NDArray, target: int, output: int) -> Verdict:
    """Small steps in four random directions change the logit as the image's gradient says.

    Not along the gradient itself: of a derivative that lacks a part, that direction shows little. Of a large step ReLUs
    switch on the way, of a small one rounding is left; the best of three sizes counts. A faint gradient drowns in both:
    then the directions are drawn for squares of pixels, along which its parts add up.
    """
    gradient, found = record(net, x, [], output=output).image_gradient(target=target), {}
    for side in (1, SQUARE):
        directions = _directions(x.shape[1:], side)
        said = (gradient * directions).reshape(4, -1).sum(axis=1)
        length = float(np.linalg.norm(said))
        if not length > 1e-12:
            return Verdict("finite difference", None, "the logit does not depend on the image, or next to nothing")
        for size in STEPS:
            step = size * float(np.ptp(x.asnumpy()) or 1)
            there = nd.array(step * directions, ctx=x.context, dtype=x.dtype)
            moved = nd.concat(x + there, x - there, dim=0)
            logits = record(net, moved, [], output=output).logits.reshape(8, -1)[:, target].reshape(2, 4)
            slopes = (logits[0] - logits[1]) / (2 * step)
            found[float(np.linalg.norm(slopes - said)) / length] = slopes, said
        if min(found) < SLOPE:
            break
    off = min(found)
    measured, expected = (", ".join(f"{one:.2g}" for one in four) for four in found[off])
    said = f"slopes in four directions {measured}; by the gradient {expected}"
    return Verdict("finite difference", off < SLOPE, f"{said}; relative error of the four {off:.1%}, limit {SLOPE:.0%}")


def _directions(shape: tuple[int, ...], side: int) -> np.ndarray:
    """Four random images of ones and minus ones, each for a square of pixels of this side."""
    drawn = np.random.default_rng(0).choice([-1.0, 1.0], size=(4, shape[0], *(-(-one // side) for one in shape[1:])))
    squares = np.kron(drawn, np.ones((side,) * len(shape[1:])))
    return squares[(..., *map(slice, shape[1:]))]


def relus_reached(net: Block, x: nd.NDArray, target: int, output: int) -> Verdict:
    """The guided rule reaches every activation, also those that are function calls."""
    graph, blocks = trace(net), paths(net)
    activations = [path for path, block in blocks.items() if isinstance(block, nn.Activation)]
    ends = {entry for path in activations for run in graph.runs.get(path, ()) for entry in run}
    every = graph.relus(output)
    said = f"{len(every)}, of which {sum((index, 0) not in ends for index in every)} are function calls"
    if not every:
        return Verdict("count of ReLUs", None, "the net has no ReLU")
    recording = record(net, x, [], output=output)
    with collected() as left:
        recording.image_gradient(target=target, rule="guided")
    rest = map(str, left) if left else ["all obey the guided rule"]
    return Verdict("count of ReLUs", not left, "; ".join([said, *rest]))


def _scene(net: Block) -> nd.NDArray:
    """A scene of two cut-outs of the size that the net takes; noise where it takes no pictures in colour."""
    like = blank(net)
    if like.ndim == 4 and like.shape[1] == 3 and min(like.shape[2:]) >= 32:
        return input_for(net, normalise(scenes.draw(0, size=like.shape[2]).image[None], normalisation_of(net)))
    return input_for(net, np.random.default_rng(0).normal(size=like.shape))
