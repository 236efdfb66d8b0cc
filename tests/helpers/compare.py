"""Numbers to compare with: MXNet's own tape, and differences of the forward in float64."""

from collections.abc import Callable
from contextlib import contextmanager

from mxnet import autograd, nd


@contextmanager
def changed_output(block, change: Callable):
    """Let the net go on with `change(output)` of this block, which must not be part of a hybridized net."""
    original = block.forward
    block.__dict__["forward"] = lambda *inputs: change(original(*inputs))
    try:
        yield
    finally:
        del block.__dict__["forward"]


def fixed_statistics(net):
    """Make train mode the same function as predict mode: running statistics in BatchNorm, no Dropout."""

    def fix(block):
        if type(block).__name__ == "BatchNorm":
            block._kwargs["use_global_stats"] = True
        if type(block).__name__ == "Dropout":
            block._rate = 0

    return net.apply(fix)


def by_tape(net, inputs, head, block=None):
    """The gradients of <head, net(*inputs)> by MXNet's tape in train mode; the net has `fixed_statistics`.

    Returns those at the inputs and, where a block is given, that at its output (by a zero that is added there) as the
    last one.
    """
    leaves, taps = [one.copy() for one in inputs], []
    for leaf in leaves:
        leaf.attach_grad()

    def tap(output):
        taps.append(nd.zeros_like(output))
        taps[-1].attach_grad()
        return output + taps[-1]

    def run():
        with autograd.record(train_mode=True):
            return net(*leaves)

    if block is None:
        outputs = run()
    else:
        with changed_output(block, tap):
            outputs = run()
    outputs.backward(head, train_mode=True)
    return [one.grad.asnumpy() for one in leaves + taps]


def one_sided(function: Callable[[float], float], step: float = 1e-6) -> tuple[float, float]:
    """The slopes of a function of one number to the left and to the right of 0; they differ at a kink."""
    before, here, after = (function(at) for at in (-step, 0, step))
    return (here - before) / step, (after - here) / step


def slope(function: Callable[[float], float], step: float = 1e-6) -> float:
    """The slope at 0 of a function of one number, by a central difference."""
    return (function(step) - function(-step)) / (2 * step)
