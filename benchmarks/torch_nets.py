"""VGG16 and ResNet50v2 in PyTorch, from parameters under Gluon's names; the layers have Gluon's numbers.

`net.get_submodule("8.2")` is Gluon's `net.features[8][2]`, for VGG16 up to the last pooling. Dropout, which does
nothing in prediction, is left out.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

Values = Mapping[str, Tensor]


def torch_net(name: str, values: Values) -> nn.Sequential:
    """The net of that name, ready to predict."""
    return {"vgg16": vgg16, "resnet50_v2": resnet50_v2}[name](values).eval()


def vgg16(values: Values) -> nn.Sequential:
    layers: list[nn.Module] = []
    for convolutions in (2, 2, 3, 3, 3):
        for _ in range(convolutions):
            layers += [_convolution(values, f"features.{len(layers)}", pad=1), nn.ReLU()]
        layers.append(nn.MaxPool2d(2, 2))
    first, second, output = (_dense(values, key) for key in ("features.31", "features.33", "output"))
    return nn.Sequential(*layers, nn.Flatten(), first, nn.ReLU(), second, nn.ReLU(), output)


def resnet50_v2(values: Values) -> nn.Sequential:
    stem = [_batch_norm(values, "features.0", scale=False), _convolution(values, "features.1", 2, 3)]
    stem += [_batch_norm(values, "features.2"), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    stages = [
        nn.Sequential(*(Bottleneck(values, f"features.{stage}.{i}", stride if i == 0 else 1) for i in range(blocks)))
        for stage, blocks, stride in ((5, 3, 1), (6, 4, 2), (7, 6, 2), (8, 3, 2))
    ]
    end = [_batch_norm(values, "features.9"), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*stem, *stages, *end, _dense(values, "output"))


class Bottleneck(nn.Module):
    """Gluon's BottleneckV2: BatchNorm and ReLU before each of three convolutions, and the sum with the shortcut."""

    def __init__(self, values: Values, key: str, stride: int):
        super().__init__()
        self.bn1, self.bn2, self.bn3 = (_batch_norm(values, f"{key}.bn{i}") for i in (1, 2, 3))
        self.relu1, self.relu2, self.relu3 = nn.ReLU(), nn.ReLU(), nn.ReLU()
        self.conv1, self.conv3 = (_convolution(values, f"{key}.conv{i}") for i in (1, 3))
        self.conv2 = _convolution(values, f"{key}.conv2", stride, 1)
        shrinks = f"{key}.downsample.weight" in values
        self.downsample = _convolution(values, f"{key}.downsample", stride) if shrinks else None

    def forward(self, x: Tensor) -> Tensor:
        activated = self.relu1(self.bn1(x))
        shortcut = self.downsample(activated) if self.downsample else x
        y = self.conv2(self.relu2(self.bn2(self.conv1(activated))))
        return self.conv3(self.relu3(self.bn3(y))) + shortcut


def _convolution(values: Values, key: str, stride: int = 1, pad: int = 0) -> nn.Module:
    filters, channels, kernel, _ = values[f"{key}.weight"].shape
    layer = nn.Conv2d(channels, filters, kernel, stride, pad, bias=f"{key}.bias" in values)
    return _filled(layer, values, key, {"weight": "weight", "bias": "bias"})


def _dense(values: Values, key: str) -> nn.Module:
    rows, columns = values[f"{key}.weight"].shape
    return _filled(nn.Linear(columns, rows), values, key, {"weight": "weight", "bias": "bias"})


def _batch_norm(values: Values, key: str, scale: bool = True) -> nn.Module:
    layer = nn.BatchNorm2d(len(values[f"{key}.running_mean"]), eps=1e-5)
    names = {"weight": "gamma", "bias": "beta", "running_mean": "running_mean", "running_var": "running_var"}
    if not scale:
        del names["weight"]  # stays 1
    return _filled(layer, values, key, names)


def _filled(layer: nn.Module, values: Values, key: str, names: Mapping[str, str]) -> nn.Module:
    """Copy values into a layer's tensors; `names` maps PyTorch's names to Gluon's."""
    with torch.no_grad():
        for theirs, ours in names.items():
            if getattr(layer, theirs) is not None:
                getattr(layer, theirs).copy_(values[f"{key}.{ours}"])
    return layer
