"""From a net to its graph: the net is called once with a symbol in the place of an image."""

from __future__ import annotations

import json
import threading
import weakref

import mxnet as mx
from mxnet import autograd
from mxnet.gluon import Block, Parameter
from mxnet.util import is_np_array

from .errors import InputError, NetError, in_one_line
from .graph import Entry, Graph, Step
from .mxnet import blocks_of, listening, parameters, settings

_lock = threading.RLock()
_known: weakref.WeakKeyDictionary[Block, dict[int, tuple[tuple, Graph]]] = weakref.WeakKeyDictionary()

# What the output operators of MXNet's modules compute in prediction, where their labels play no part.
PREDICTS = {
    "LinearRegressionOutput": "_copy", "MAERegressionOutput": "_copy", "SVMOutput": "_copy",
    "LogisticRegressionOutput": "sigmoid", "SoftmaxOutput": "softmax",
}  # fmt: skip


def trace(net: Block, inputs: int = 1) -> Graph:
    """The graph of a net that takes so many arrays, from an earlier trace if nothing has changed since.

    The net is called with symbols, in predict mode, by this thread; its hooks stay silent, and it is left as it was.
    Hybridizing it changes nothing. A child, a setting or a parameter that was exchanged since is noticed. Raises
    NetError if the net cannot be called with symbols; the sentence says what keeps it from that.
    """
    refuse_numpy_mode()
    with _lock:
        # What a trace depends on: the blocks in their order, their settings, and which parameters they have.
        blocks = [(path, weakref.ref(block), settings(block)) for path, block in blocks_of(net)]
        mark = blocks, {path: id(parameter) for path, parameter in parameters(net).items()}
        kept = _known.setdefault(net, {})
        if inputs not in kept or kept[inputs][0] != mark:
            kept[inputs] = mark, _trace(net, inputs)
        return kept[inputs][1]


def refuse_numpy_mode() -> None:
    """Raise InputError if MXNet was switched to its own NumPy arrays, in which Gluon nets run differently."""
    if is_np_array():
        raise InputError("MXNet's NumPy mode is on, and this package works with mx.nd; call mx.npx.reset_np() first")


def _trace(net: Block, inputs: int) -> Graph:
    first_path = {block: path for path, block in reversed(list(blocks_of(net)))}
    runs: list[tuple[str, list]] = []
    failed: list[Block] = []  # the innermost first

    def heard(block, forward):
        def run(*arguments, **options):
            given = {id(one) for one in flat(arguments) if isinstance(one, mx.sym.Symbol)}

            def own(one):  # a block that returns its input gets a step of its own, for a gradient of its own
                return mx.sym.identity(one, name=f"{block.name}_output") if id(one) in given else one

            try:
                output = _each(forward(*arguments, **options), own)
            except Exception:
                failed.append(block)
                raise
            symbols = [one for one in flat(output) if isinstance(one, mx.sym.Symbol) and len(one.list_outputs()) == 1]
            runs.append((first_path[block], symbols))
            return output

        return run

    images = [mx.sym.var(f"x[{number}]") for number in range(inputs)]  # a name that no parameter has
    with autograd.pause(train_mode=False), listening(net, heard):
        try:
            outputs = flat(net(*images))
        except Exception as error:  # whatever the net's own forward raises
            theirs = [one for one in failed if not type(one).__module__.startswith("mxnet.")]
            block = (theirs or failed or [net])[0]  # MXNet's own blocks can be traced, all but one, and hold others
            raise NetError(_why_not(block, first_path[block], inputs, error)) from error
    if not all(isinstance(one, mx.sym.Symbol) for one in outputs):
        kinds = ", ".join(sorted({type(one).__name__ for one in outputs}))
        expected = "expected an array, or a list or tuple of nothing but arrays"
        raise NetError(f"{type(net).__name__} returns {kinds}; {expected}")
    return _read(outputs, runs, list(parameters(net).values()), images)


def _read(outputs: list, runs: list[tuple[str, list]], owned: list[Parameter], images: list) -> Graph:
    """Find the steps in MXNet's own description; the heads of one grouped symbol tell exactly which is which."""
    by_name = {parameter.name: parameter for parameter in owned}  # a SymbolBlock has variables of its own
    named = [symbol for _, symbols in runs for symbol in symbols]
    symbol = mx.sym.Group([*outputs, *named, *(parameter.var() for parameter in owned), *images])
    description = json.loads(symbol.tojson())  # once: it leaks inside MXNet
    steps = []
    for node in description["nodes"]:
        if node.get("subgraphs"):
            kind = f"{node['name']} ({node['op']})"
            raise NetError(f"{kind} holds a graph of its own, as control flow does: no gradient is followed through it")
        options = {key: value for key, value in node.get("attrs", {}).items() if not key.startswith("__")}
        inputs = tuple((index, place) for index, place, *_ in node["inputs"])
        parameter = by_name.get(node["name"]) if node["op"] == "null" else None
        step = Step(node["op"], node["name"], inputs, options, parameter)
        if step.op in PREDICTS:
            axis = {"axis": "1"} if step.option("multi_output", False) else {}
            step = Step(PREDICTS[step.op], step.name, inputs[:1], axis)
        steps.append(step)
    heads = iter([(index, place) for index, place, *_ in description["heads"]])
    ends: list[Entry] = [next(heads) for one in outputs for _ in one.list_outputs()]
    by_path: dict[str, list[list[Entry]]] = {}
    for path, symbols in runs:
        found = [next(heads) for _ in symbols]
        if path and found:
            by_path.setdefault(path, []).append(found)
    for parameter in owned:
        steps[next(heads)[0]].parameter = parameter
    graph = Graph(steps, [index for index, _ in heads], ends, by_path, mx.sym.Group(outputs))
    for number, index in enumerate(graph.inputs):
        steps[index].input = number
    for step, needed in zip(steps, graph.needed_for(ends)):
        if needed and step.op == "null" and step.parameter is None and step.input is None:
            raise NetError(f"the net needs an array called {step.name!r}, which is none of its parameters")
    return graph


def flat(value) -> list:
    """The members of nested lists and tuples in one list."""
    return [one for part in value for one in flat(part)] if isinstance(value, (list, tuple)) else [value]


def _each(value, change):
    if not isinstance(value, (list, tuple)):
        return change(value)
    changed = [_each(one, change) for one in value]
    return type(value)(*changed) if hasattr(value, "_fields") else type(value)(changed)  # a named tuple


def _why_not(block: Block, path: str, inputs: int, error: Exception) -> str:
    """One sentence on why a net has no graph, by what the forward of one of its blocks raised."""
    said, kind = in_one_line(error), f"{type(block).__name__}{path and f' at {path}'}"
    if ("positional argument" in said or "Invalid input format" in said) and not path:
        takers = "cam.record, cam.layers and cam.grad_cam take a list of them as x"
        return f"{kind} takes more or fewer arrays than {inputs}; {takers} ({said})"
    cause = "needs arrays"
    if "NDArray" in said and "not implemented for Symbol" not in said:
        cause = "mixes in an array of its own"
    elif "Symbol" in said or isinstance(error, (TypeError, IndexError)):
        cause = "reads the values or the shape of an array, slices it by [] or writes to it"
    return f"{kind} cannot be traced, because its forward {cause}: write it as a hybrid_forward with F alone ({said})"
