"""Files of parameters of the very form that other people's have, made from a net of ours."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

from cam import models, rebuilding

import mxnet as mx
import numpy as np
import onnx
import safetensors.numpy
from mxnet import nd
from mxnet.gluon.model_zoo.vision import resnet

# By format, and by whose names the parameters have.
KINDS = {
    "vgg16": ("structural", "gluon", "export", "onnx", "timm", "torchvision"),
    "resnet50_v2": ("structural", "gluon", "export", "onnx"),
}


def zoo_twin(name: str, net):
    """The zoo's own net of the same size and values: its forward is MXNet's, its names have the zoo's prefix."""
    sizes, classes = models._BUILDERS[name][2](arrays_of(net)), net.output.weight.shape[0]
    if name == "vgg16":
        twin = rebuilding.ScaledVGG([2, 2, 3, 3, 3], *sizes, classes)
    else:
        twin = resnet.ResNetV2(resnet.BottleneckV2, [3, 4, 6, 3], *sizes, classes=classes)
    twin.initialize()
    twin(nd.zeros((1, 3, 224, 224)))
    for path, parameter in twin._collect_params_with_prefix().items():
        parameter.set_data(nd.array(arrays_of(net)[path]))
    return twin


def arrays_of(net) -> dict[str, np.ndarray]:
    """The values of a net by structural name."""
    return {path: parameter.data().asnumpy() for path, parameter in net._collect_params_with_prefix().items()}


def write(kind: str, name: str, net, folder: Path) -> Path:
    """Write the net's values as one of `KINDS`; the file's name tells nothing about its format."""
    path = folder / f"{name}_{kind}"
    if kind == "structural":
        net.save_parameters(str(path))
    elif kind == "gluon":  # the old zoo's: Gluon's names with the zoo's prefix
        nd.save(str(path), {p.name: p.data() for p in zoo_twin(name, net).collect_params().values()})
    elif kind in ("export", "onnx"):
        symbol, parameters = _export(zoo_twin(name, net), folder / f"{name}_exported")
        if kind == "onnx":
            with patch.object(onnx, "mapping", _types(), create=True):
                mx.onnx.export_model(symbol, parameters, [(1, 3, 224, 224)], np.float32, str(path))
        else:
            path.write_bytes(Path(parameters).read_bytes())
    else:
        renamed = {torch_name(kind, key): values for key, values in arrays_of(net).items()}
        if kind == "timm":
            for block, side in (("pre_logits.fc1", 7), ("pre_logits.fc2", 1)):  # Dense layers as convolutions
                values = renamed[f"{block}.weight"]
                renamed[f"{block}.weight"] = values.reshape(len(values), -1, side, side)
        safetensors.numpy.save_file(renamed, path)
    return path


def torch_name(kind: str, name: str) -> str:
    """What timm or torchvision call a parameter of VGG16."""
    blocks = {
        "timm": {"features.31": "pre_logits.fc1", "features.33": "pre_logits.fc2", "output": "head.fc"},
        "torchvision": {"features.31": "classifier.0", "features.33": "classifier.3", "output": "classifier.6"},
    }[kind]
    block, parameter = re.fullmatch(r"(.*)\.(\w+)", name).groups()
    return f"{blocks.get(block, block)}.{parameter}"


def _types() -> SimpleNamespace:
    """What MXNet's export to ONNX reads of `onnx.mapping`, a module that onnx 1.19 removed."""
    one = onnx.TensorProto
    numbers = (one.FLOAT, one.INT32, one.INT64, one.FLOAT16, one.DOUBLE)
    by_number = {number: onnx.helper.tensor_dtype_to_np_dtype(number) for number in numbers}
    return SimpleNamespace(
        TENSOR_TYPE_TO_NP_TYPE=by_number, NP_TYPE_TO_TENSOR_TYPE={dtype: number for number, dtype in by_number.items()}
    )


def _export(twin, stem: Path) -> tuple[str, str]:
    twin.hybridize()
    twin(nd.zeros((1, 3, 224, 224)))
    twin.export(str(stem))
    return f"{stem}-symbol.json", f"{stem}-0000.params"
