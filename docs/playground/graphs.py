"""The embedded nets as ONNX graphs for the browser: forward alone, and forward with backward.

Both are written from the graph that `cam.core.tracing.trace` finds: `FORWARD` says for each operator which ONNX nodes
compute it, `BACK` which nodes bring its gradient back. Both graphs of a net read one file of float16 weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import cam
from cam.core.graph import ADDS, Entry, Graph, Step
from cam.core.tracing import trace

import numpy as np
import onnx
from mxnet.gluon import Block
from onnx import TensorProto, helper, numpy_helper

SIDE = 224
ALIGNMENT = 64  # bytes


class Weights:
    """One file of float16 arrays that several graphs read.

    Attributes
    ----------
    data : the bytes of the file
    places : by name, where an array begins and how many bytes it has
    """

    def __init__(self, location: str):
        self.location = location
        self.data = bytearray()
        self.places: dict[str, tuple[int, int]] = {}

    def tensor(self, name: str, values: np.ndarray) -> TensorProto:
        """An ONNX tensor that points into the file, where `values` are stored once; ValueError if they do not fit."""
        stored = values.astype(np.float16)
        if (stored.astype(np.float32) != values).any():
            raise ValueError(f"{name} holds values that float16 does not have: the file would change the net")
        if name not in self.places:
            self.data += bytes(-len(self.data) % ALIGNMENT)
            self.places[name] = len(self.data), stored.nbytes
            self.data += stored.tobytes()
        offset, length = self.places[name]
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT16, dims=values.shape)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", self.location), ("offset", offset), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))
        return tensor


class Writer:
    """Nodes and constants of one ONNX graph of a net.

    Attributes
    ----------
    shapes : by entry, the shape of the array
    names : by entry, the name of the array in the ONNX graph
    relus : the steps that are a ReLU, in the order in which they run: the positions of the graph's input "floor"
    """

    def __init__(self, graph: Graph, shapes: dict[Entry, tuple[int, ...]], weights: Weights):
        self.graph, self.shapes, self.weights = graph, shapes, weights
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []
        self.names: dict[Entry, str] = {}
        self.relus = graph.relus()

    def node(self, operator: str, *inputs: str, name: str = "", outputs: int = 1, **attributes) -> str:
        """Append a node; the name of its first output, the second's ends in ":1"."""
        name = name or f"{operator}:{len(self.nodes)}"
        names = [name, *(f"{name}:{place}" for place in range(1, outputs))]
        self.nodes.append(helper.make_node(operator, inputs, names, name=name, **attributes))
        return name

    def constant(self, values, dtype=np.int64) -> str:
        """Numbers that belong to the graph and not to the net."""
        name = f"constant:{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def write(self) -> None:
        """The net, forward: its logits are the output "logits"."""
        (end, place), _ = self.graph.logits(0)
        needed = self.graph.needed_for([(end, place)])
        for index, step in enumerate(self.graph.steps):
            if not needed[index]:
                continue
            if step.input is not None:
                name = "image"
            elif step.parameter is not None:
                values = step.parameter.data().asnumpy()
                self.constants.append(self.weights.tensor(f"weight:{index}", values))
                name = self.node("Cast", f"weight:{index}", to=TensorProto.FLOAT)
            else:
                name = FORWARD[step.op](self, index, step, *(self.names[entry] for entry in step.inputs))
            self.names[index, 0] = name
        self.node("Identity", self.names[end, place], name="logits")

    def write_back(self) -> dict[Entry, str]:
        """The way back from the input "class", a weight for each logit; the names of the gradients by entry."""
        arriving: dict[Entry, list[str]] = {self.graph.logits(0)[0]: ["class"]}
        found: dict[Entry, str] = {}
        for index in range(len(self.graph.steps) - 1, -1, -1):
            if (index, 0) not in arriving:
                continue
            parts = arriving[index, 0]
            found[index, 0] = gradient = parts[0] if len(parts) == 1 else self.node("Sum", *parts)
            step = self.graph.steps[index]
            sources = [entry for entry in step.inputs if self.graph.follows_image[entry[0]]]
            for entry in sources:
                arriving.setdefault(entry, []).append(BACK[step.op](self, index, step, gradient))
        return found

    def weighted_sum(self, gradient: str, features: Entry, name: str) -> None:
        """Grad-CAM before its ReLU as an output (1, h, w): the spatial mean of a gradient times the features."""
        rows = self.node("ReduceMean", gradient, axes=[3], keepdims=1)  # in two steps: what cancels is rounded less
        alpha = self.node("ReduceMean", rows, axes=[2], keepdims=1)
        products = self.node("Mul", alpha, self.names[features])
        self.node("ReduceSum", products, self.constant([1]), name=name, keepdims=0)

    def model(self, inputs: dict[str, list[int]], outputs: list[str]) -> bytes:
        """The graph as the bytes of an ONNX file."""
        given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()]
        wanted = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "cam", given, wanted, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="cam")
        return model.SerializeToString()


def _convolution(w: Writer, index: int, step: Step, *inputs: str) -> str:
    sides = dict(kernel_shape=step.option("kernel"), strides=step.option("stride"), pads=step.option("pad") * 2)
    return w.node("Conv", *inputs, **sides)


def _convolution_back(w: Writer, index: int, step: Step, gradient: str) -> str:
    weight, kernel = w.names[step.inputs[1]], step.option("kernel")
    pads, strides = step.option("pad"), step.option("stride")
    if set(strides) == {1}:  # a convolution with the turned kernel, which is faster than ConvTranspose
        swapped = w.node("Transpose", weight, perm=[1, 0, 2, 3])
        minus, end = w.constant([-1, -1]), w.constant([-1 - side for side in kernel])
        turned = w.node("Slice", swapped, minus, end, w.constant([2, 3]), minus)
        opposite = [side - 1 - pad for side, pad in zip(kernel, pads)]
        return w.node("Conv", gradient, turned, kernel_shape=kernel, pads=opposite * 2)
    before, after = w.shapes[step.inputs[0]][2:], w.shapes[index, 0][2:]
    lost = [b - ((a - 1) * s - 2 * p + k) for b, a, s, p, k in zip(before, after, strides, pads, kernel)]
    options = dict(kernel_shape=kernel, strides=strides, pads=pads * 2, output_padding=lost)
    return w.node("ConvTranspose", gradient, weight, **options)


def _scale(w: Writer, step: Step) -> str:
    """Of a BatchNorm, what its gamma is: MXNet takes 1 if it is fixed, whatever the file says."""
    shape = w.shapes[step.inputs[1]]
    return w.constant(np.ones(shape), np.float32) if step.option("fix_gamma", True) else w.names[step.inputs[1]]


def _batch_norm(w: Writer, index: int, step: Step, x: str, gamma: str, *others: str) -> str:
    return w.node("BatchNormalization", x, _scale(w, step), *others, epsilon=step.option("eps"))


def _batch_norm_back(w: Writer, index: int, step: Step, gradient: str) -> str:
    variance = w.node("Add", w.names[step.inputs[4]], w.constant(step.option("eps"), np.float32))
    factor = w.node("Div", _scale(w, step), w.node("Sqrt", variance))
    return w.node("Mul", gradient, w.node("Reshape", factor, w.constant([1, -1, 1, 1])))


def _relu(w: Writer, index: int, step: Step, x: str) -> str:
    return w.node("Relu", x)


def _relu_back(w: Writer, index: int, step: Step, gradient: str) -> str:
    """Plain if the ReLU's number in "floor" is hugely negative, guided if it is 0: the rule is an input."""
    floor = w.node("Gather", "floor", w.constant(w.relus.index(index)))
    is_open = w.node("Greater", w.names[index, 0], w.constant(0, np.float32))
    return w.node("Mul", w.node("Max", gradient, floor), w.node("Cast", is_open, to=TensorProto.FLOAT))


def _pooling(w: Writer, index: int, step: Step, x: str) -> str:
    if step.options["pool_type"] == "avg":  # in these nets over the whole map
        return w.node("GlobalAveragePool", x)
    sides = dict(kernel_shape=step.option("kernel"), strides=step.option("stride"), pads=step.option("pad") * 2)
    return w.node("MaxPool", x, outputs=2, **sides)


def _pooling_back(w: Writer, index: int, step: Step, gradient: str) -> str:
    shape = w.shapes[step.inputs[0]]
    if step.options["pool_type"] == "avg":
        return w.node("Expand", w.node("Div", gradient, w.constant(np.prod(shape[2:]), np.float32)), w.constant(shape))
    zeros, flat = w.node("ConstantOfShape", w.constant([np.prod(shape)])), w.constant([-1])
    winners = w.node("Reshape", f"{w.names[index, 0]}:1", flat)
    spread = w.node("ScatterElements", zeros, winners, w.node("Reshape", gradient, flat), axis=0, reduction="add")
    return w.node("Reshape", spread, w.constant(shape))


def _dense(w: Writer, index: int, step: Step, x: str, *others: str) -> str:
    return w.node("Gemm", w.node("Flatten", x), *others, transB=1)


def _dense_back(w: Writer, index: int, step: Step, gradient: str) -> str:
    return _reshape_back(w, index, step, w.node("MatMul", gradient, w.names[step.inputs[1]]))


def _reshape_back(w: Writer, index: int, step: Step, gradient: str) -> str:
    return w.node("Reshape", gradient, w.constant(w.shapes[step.inputs[0]]))


def _unchanged(w: Writer, index: int, step: Step, one: str) -> str:
    return one


FORWARD = {
    "Convolution": _convolution,
    "BatchNorm": _batch_norm,
    "Activation": _relu,
    "Pooling": _pooling,
    "FullyConnected": _dense,
    "Flatten": lambda w, index, step, x: w.node("Flatten", x),
    "Dropout": _unchanged,  # in inference
    "elemwise_add": lambda w, index, step, a, b: w.node("Add", a, b),
}
BACK = {
    "Convolution": _convolution_back,
    "BatchNorm": _batch_norm_back,
    "Activation": _relu_back,
    "Pooling": _pooling_back,
    "FullyConnected": _dense_back,
    "Flatten": _reshape_back,
    "Dropout": _unchanged,
    "elemwise_add": _unchanged,  # both summands get the whole gradient
}


@dataclass(frozen=True)
class Written:
    """One net for the browser: two ONNX files, the file of weights, and what the page must know of its layers."""

    forward: bytes
    full: bytes
    weights: bytes
    layers: list[dict]
    relus: list[str]


def write(net: Block, location: str) -> Written:
    """Both graphs of a net over one file of weights, which will lie beside them under the name `location`.

    The forward graph takes "image" (1, 3, 224, 224) and gives "logits". The full one takes also "class", a weight for
    each logit (1, classes), and "floor", a rule for each ReLU (ReLUs,): -3e38 for plain, 0 for guided. It gives also
    "gradient", of the image, and for each map of the net its Grad-CAM (1, h, w), signed, as "map:" and the number of
    its step; of each sum also the parts "branch:" and "shortcut:". Maps mean something only if all rules are plain.
    """
    graph = trace(net)
    shapes = _shapes(graph)
    weights = Weights(location)
    forward = Writer(graph, shapes, weights)
    forward.write()
    full = Writer(graph, shapes, weights)
    full.write()
    gradients = full.write_back()
    full.node("Identity", gradients[graph.inputs[0], 0], name="gradient")
    outputs = ["logits", "gradient"]
    layers = _layers(graph, shapes, gradients)
    for layer in layers:
        entry = layer["step"], 0
        of_parts = {"map": entry}
        if layer["kind"] == "addition":
            of_parts |= dict(zip(("branch", "shortcut"), summands(graph, entry)))
        for part, features in of_parts.items():
            outputs.append(f"{part}:{layer['step']}")
            full.weighted_sum(gradients[entry], features, outputs[-1])
    image = {"image": [1, 3, SIDE, SIDE]}
    classes = {"class": list(shapes[graph.logits(0)[0]]), "floor": [len(full.relus)]}
    return Written(
        forward.model(image, ["logits"]),
        full.model(image | classes, outputs),
        bytes(weights.data),
        layers,
        [_plain_name(graph, (index, 0)) for index in full.relus],
    )


def summands(graph: Graph, entry: Entry) -> tuple[Entry, Entry]:
    """Branch and shortcut of a sum: the branch is the one that more operators of its own lead to, as in `decompose`."""
    one, other = graph.steps[entry[0]].inputs
    lengths = [sum(graph.needed_for([end])) for end in (one, other)]
    return (one, other) if lengths[0] > lengths[1] else (other, one)


def _shapes(graph: Graph) -> dict[Entry, tuple[int, ...]]:
    inside = graph.symbol.get_internals()
    outputs = inside.list_outputs()
    known = dict(zip(outputs, inside.infer_shape(**{graph.steps[graph.inputs[0]].name: (1, 3, SIDE, SIDE)})[1]))
    names = {(i, 0): step.name if step.op == "null" else f"{step.name}_output" for i, step in enumerate(graph.steps)}
    return {entry: known[name] for entry, name in names.items() if name in known}


def _layers(graph: Graph, shapes: dict[Entry, tuple[int, ...]], gradients: dict[Entry, str]) -> list[dict]:
    """The maps with height and width, in the order in which they run; a row of the drawing ends in a sum or pooling."""
    whole, found, row = set(graph.whole(graph.logits(0)[0])), [], 0
    for entry in sorted(gradients):
        step, shape = graph.steps[entry[0]], shapes[entry]
        if step.op == "null" or len(shape) != 4 or shape[2:] == (1, 1):
            continue
        layer = {"step": entry[0], "name": _plain_name(graph, entry), "kind": step.kind, "shape": shape[1:]}
        found.append(layer | {"whole": entry in whole, "row": row})
        row += step.op in ADDS or step.op == "Pooling"
    return found


def _plain_name(graph: Graph, entry: Entry) -> str:
    """A layer's name, of several blocks that end in it the innermost's; without the net's own prefix, which counts."""
    name = next((name for name, known in graph.entries.items() if known == entry), graph.name(entry))
    return name if name.startswith(("features", "output")) else name.partition("_")[2]


def embedded() -> dict[str, Block]:
    """The three nets of the page."""
    return {"resnet50_v2": cam.resnet50_v2(), "vgg16": cam.vgg16(), "cheater": cam.resnet50_v2(weights="cheater")}
