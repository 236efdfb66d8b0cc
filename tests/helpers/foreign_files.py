"""Files of parameters of the very form that other people's have, made from a net of ours."""

from __future__ import annotations

from pathlib import Path

from cam.core import layers
from cam.nets import models

import numpy as np
import onnx
from mxnet import nd

KINDS = ("structural", "gluon", "export", "onnx")  # by format, and by whose names the parameters have


def arrays_of(net) -> dict[str, np.ndarray]:
    """The values of a net by structural name."""
    return {path: parameter.data().asnumpy() for path, parameter in layers.parameters(net).items()}


def by_gluon_name(net) -> dict[str, np.ndarray]:
    """The values of a net by Gluon's names, as the zoo's files have them: "vgg0_conv0_weight"."""
    return {parameter.name: parameter.data().asnumpy() for parameter in layers.parameters(net).values()}


def write(kind: str, name: str, net, folder: Path) -> Path:
    """Write the net's values as one of `KINDS`; the file's name tells nothing about its format."""
    path = folder / f"{name}_{kind}"
    if kind == "structural":
        net.save_parameters(str(path))
    elif kind == "gluon":  # the old zoo's
        nd.save(str(path), {key: nd.array(values) for key, values in by_gluon_name(net).items()})
    elif kind == "onnx":
        write_onnx(path, by_gluon_name(net))
    else:
        twin = models.assemble(name, arrays_of(net), name)  # a net that is exported stays hybridized
        twin.hybridize()
        twin(nd.zeros((1, 3, 224, 224)))
        twin.export(str(path))
        path.write_bytes(Path(f"{path}-0000.params").read_bytes())
    return path


def write_onnx(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """What MXNet's own export writes, as far as `cam` reads it: initialisers, and a shape among them."""
    tensors = [onnx.numpy_helper.from_array(values, name) for name, values in arrays.items()]
    tensors.append(onnx.helper.make_tensor("reshape_attr", onnx.TensorProto.INT64, [2], [1, -1]))
    graph = onnx.helper.make_graph([], "graph", [], [], initializer=tensors)
    path.write_bytes(onnx.helper.make_model(graph).SerializeToString())
