"""Before a pass: net and images are checked, and what does not fit is said in one sentence."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from numbers import Integral
from typing import NamedTuple, TypeAlias

import mxnet as mx
import numpy as np
from mxnet import MXNetError, autograd, nd
from mxnet.gluon import Block

from .errors import InputError, NetError, in_one_line
from .forward_backward import Pass
from .graph import PASSES_ON, Entry, Graph
from .mxnet import apart, computes_compiled, finish, listening, shape_of, state_of
from .tracing import flat, refuse_numpy_mode, trace

SIZES = (224, 299, 256, 227, 192, 160, 128, 112, 96, 64, 48, 32, 28, 331, *range(50, 601, 50), *range(8, 641, 4))
SCALED = PASSES_ON | {"Cast", "_mul_scalar", "_plus_scalar", "_minus_scalar", "_div_scalar"}
Shape: TypeAlias = tuple[int, ...]
Images: TypeAlias = nd.NDArray | Sequence[nd.NDArray]  # of a net of several inputs, the image first
_first = threading.RLock()  # two threads must not both give a deferred parameter its values


class Ready(NamedTuple):
    """A net and its inputs, checked."""

    net: Block
    images: list[nd.NDArray]
    graph: Graph
    output: int
    end: Entry  # the logits of the output with this number
    shapes: dict[Entry, Shape]  # of all entries, for one image


def ready(net: Block, x, output: int | None = None) -> Ready:
    """Check the net and its input, and trace the net; the first time for each size of image, run one image."""
    images = check_arrays(x)
    graph = trace(net, len(images))
    number = output_of(graph, output)
    _check_types(graph, images)
    tried, sizes = graph.answers.setdefault(ready, {}), tuple(image.shape[1:] for image in images)
    with _first:
        if sizes not in tried:
            _check_shapes(graph, [image.shape for image in images])
            tried[sizes] = _try_out(net, graph, [image[:1].copy() for image in images], compare=not tried)
    return Ready(net, images, graph, number, graph.logits(number)[0], tried[sizes])


def output_of(graph: Graph, output: int | None) -> int:
    """The number of the output to explain, if there is such a one; it need not be said if there is only one."""
    count = len(graph.outputs)
    if output is None and count > 1:
        raise NetError(f"the net has {count} outputs; say which to explain: output=0 to output={count - 1}")
    if output is not None and (not is_whole(output) or not 0 <= output < count):
        outputs = f"the outputs 0 to {count - 1}" if count > 1 else "one output, 0"
        raise InputError(f"output is {output!r}; this net has {outputs}")
    return int(output or 0)


def _try_out(net: Block, graph: Graph, images: list[nd.NDArray], compare: bool) -> dict[Entry, Shape]:
    """The shapes of all entries; refuse a net that computes something else from arrays than from symbols."""
    walks = [Pass(graph, images, (), end) for end in graph.outputs]
    if compare and not computes_compiled(net):  # such a net computes with its symbol, and for one thread only
        with autograd.pause(train_mode=False), listening(net, apart):
            outputs = [one.asnumpy() for one in flat(net(*images))]
        for theirs, walk in zip(outputs, walks):
            ours, scale = walk.values[walk.end].asnumpy(), np.abs(theirs).max(initial=0)
            if ours.shape != theirs.shape or not np.allclose(ours, theirs, rtol=1e-3, atol=1e-4 * scale):
                other = "something else from arrays than from symbols, or something else in every call"
                raise NetError(f"{type(net).__name__} computes {other}: its graph does not explain it")
    return {entry: shape for walk in walks for entry, shape in walk.shapes.items()}


def is_whole(value) -> bool:
    """Whether the value is a whole number, of Python or numpy, and no truth value."""
    return isinstance(value, Integral) and not isinstance(value, (bool, np.bool_))


def check_arrays(x) -> list[nd.NDArray]:
    """x, or each of several inputs, if they are NDArrays of one batch, else raise InputError."""
    refuse_numpy_mode()
    images = list(x) if isinstance(x, (list, tuple)) and x else [x]
    for number, image in enumerate(images):
        name = "x" if len(images) == 1 else f"x[{number}]"
        if isinstance(image, mx.np.ndarray):
            raise InputError(f"{name} is an mx.np.ndarray; expected an mx.nd array: take {name}.as_nd_ndarray()")
        if not isinstance(image, nd.NDArray):
            kind = "a numpy array" if isinstance(image, np.ndarray) else f"a {type(image).__name__}"
            raise InputError(f"{name} is {kind}; expected mx.nd.array(...), (N, 3, H, W), as load_image returns")
        if image.ndim < 1 + (number == 0) or 0 in image.shape:
            raise InputError(f"{name} has shape {image.shape}; expected (N, 3, H, W) with at least one image")
        if len(image) != len(images[0]):
            raise InputError(f"{name} holds {len(image)} images and x[0] {len(images[0])}; expected as many in each")
    return images


def _check_types(graph: Graph, images: Sequence[nd.NDArray]) -> None:
    """Values, number type and device of the parameters and the images must go together."""
    empty = [one.name for one in graph.parameters if state_of(one) == "empty"]
    if empty:
        raise NetError(f"{len(empty)} parameters, such as {empty[0]}, have no values; load weights or initialize()")
    expected, came = type_of(graph), np.dtype(images[0].dtype)
    if expected == np.float16 and images[0].context.device_type == "cpu":
        raise NetError("the net is in float16, in which MXNet cannot compute on the CPU; take net.cast('float32')")
    if came != expected:
        raise InputError(f"x has dtype {came.name}; this net takes {expected.name}: x.astype('{expected.name}')")
    homes = graph.parameters[0].list_ctx() if graph.parameters else [images[0].context]
    if images[0].context not in homes:
        raise InputError(f"x is on {images[0].context}, the net on {homes[0]}; use x.as_in_context(mx.{homes[0]})")


def type_of(graph: Graph) -> np.dtype:
    """The type of number that the net computes with; a net in float16 keeps its BatchNorms in float32."""
    types = (np.dtype(parameter.dtype) for parameter in graph.parameters)
    return min((one for one in types if one.kind == "f"), key=lambda one: one.itemsize, default=np.dtype(np.float32))


def _check_shapes(graph: Graph, shapes: Sequence[Shape]) -> None:
    """The shapes must be the net's; parameters whose own were left open get them from the images."""
    for step in graph.steps:
        if step.op == "Convolution" and step.options.get("layout", "None")[:2] not in ("No", "NC"):
            raise NetError(f"{step.name} wants its channels last, which MXNet cannot compute here; build it with NCHW")
    names = graph.symbol.list_inputs()
    if len(names) != len(set(names)):
        return  # two arrays bear one name, and MXNet's inference goes by names
    try:
        found = infer(graph, shapes)
    except MXNetError as error:
        raise InputError(_misfit(graph, shapes, error)) from error
    for parameter in graph.parameters:
        if state_of(parameter) == "deferred":
            finish(parameter, found[parameter.name])


def infer(graph: Graph, shapes: Sequence[Shape]) -> dict[str, Shape]:
    """The shape of every array that the net is given, by name, for inputs of these shapes; MXNetError if none fits."""
    known = {one.name: shape_of(one) for one in graph.parameters if min(shape_of(one), default=0) > 0}
    known.update({graph.steps[source].name: shape for source, shape in zip(graph.inputs, shapes)})
    names, states = graph.symbol.list_arguments(), graph.symbol.list_auxiliary_states()
    given, _, kept = graph.symbol.infer_shape_partial(**{name: known[name] for name in names if name in known})
    return dict(zip([*names, *states], [*given, *kept]))


def fits(graph: Graph, shapes: Sequence[Shape]) -> bool:
    """Whether inputs of these shapes go through the net."""
    try:
        infer(graph, shapes)
    except MXNetError:
        return False
    return True


def channels_of(graph: Graph) -> int | None:
    """How many channels the image must have, told by the first convolution or BatchNorm on it; None if neither is."""
    for step in graph.steps:
        if step.op in ("Convolution", "BatchNorm") and graph.back_over(step.inputs[0], SCALED)[0] == graph.inputs[0]:
            weight = graph.steps[step.inputs[1][0]].parameter
            shape = () if weight is None else shape_of(weight)
            if shape:
                return (shape[0] if step.op == "BatchNorm" else shape[1] * step.option("num_group", 1)) or None
    return None


def _misfit(graph: Graph, shapes: Sequence[Shape], error: MXNetError) -> str:
    """One sentence on what the net takes instead of these shapes."""
    if fits(graph, [(1, *shape[1:]) for shape in shapes]):
        return f"the net's graph is for one image, as of len(x) in its forward, and x holds {shapes[0][0]}: one by one"
    shape, *others = shapes
    if not others and channels_of(graph) not in (None, shape[1]):
        return f"x has shape {shape}; this net takes (N, {channels_of(graph)}, H, W)"
    usual = SIZES if not others and len(shape) == 4 else ()
    size = next((side for side in usual if fits(graph, [(1, shape[1], side, side)])), None)
    if size is not None:
        return f"x has shape {shape}; this net takes images of {size}x{size}: {(*shape[:2], size, size)}"
    return f"the net cannot take x of shape {shapes if others else shape}: {in_one_line(error)}"
