"""VGG16, ResNet50v2 and EfficientNet-Lite0 in PyTorch, from parameters under Gluon's names.

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
    nets = {"vgg16": vgg16, "resnet50_v2": resnet50_v2, "efficientnet_lite0": efficientnet_lite0}
    return nets[name](values).eval()


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


def efficientnet_lite0(values: Values) -> nn.Sequential:
    blocks = [_conv_norm(values, "features.0", 2)]
    for number in range(1, 17):
        stride = 2 if number in (2, 4, 6, 12) else 1  # the first block of a stage that halves the sides
        blocks.append(InvertedResidual(values, f"features.{number}", stride))
    end = [_conv_norm(values, "features.17"), nn.AdaptiveAvgPool2d(1), nn.Flatten(), _dense(values, "output")]
    return nn.Sequential(*blocks, *end)


class InvertedResidual(nn.Module):
    """`cam.nets.efficientnet.InvertedResidual`."""

    def __init__(self, values: Values, key: str, stride: int):
        super().__init__()
        wide = [_conv_norm(values, f"{key}.expand")] if f"{key}.expand.conv.weight" in values else []
        parts = [
            *wide,
            _conv_norm(values, f"{key}.depthwise", stride),
            _conv_norm(values, f"{key}.project", relu=False),
        ]
        self.branch = nn.Sequential(*parts)
        inputs = values[f"{key}.{'expand' if wide else 'depthwise'}.conv.weight"].shape[1 if wide else 0]
        self.adds = stride == 1 and inputs == len(values[f"{key}.project.conv.weight"])

    def forward(self, x: Tensor) -> Tensor:
        return self.branch(x) + x if self.adds else self.branch(x)


def _conv_norm(values: Values, key: str, stride: int = 1, relu: bool = True) -> nn.Sequential:
    """Convolution, padded as TensorFlow does, BatchNorm and ReLU6: a ReLU, which Captum knows, and a bound above it."""
    kernel = values[f"{key}.conv.weight"].shape[-1]
    before = kernel // 2 - (stride == 2)
    padding = [nn.ZeroPad2d((before, kernel // 2, before, kernel // 2))] if kernel > 1 else []
    convolution = _convolution(values, f"{key}.conv", stride)
    return nn.Sequential(
        *padding,
        convolution,
        _batch_norm(values, f"{key}.norm", eps=1e-3),
        *([nn.ReLU(), nn.Hardtanh(-1, 6)] if relu else []),
    )


def _convolution(values: Values, key: str, stride: int = 1, pad: int = 0) -> nn.Module:
    filters, channels, kernel, _ = values[f"{key}.weight"].shape
    groups = filters if "depthwise" in key else 1
    layer = nn.Conv2d(channels * groups, filters, kernel, stride, pad, groups=groups, bias=f"{key}.bias" in values)
    return _filled(layer, values, key, {"weight": "weight", "bias": "bias"})


def _dense(values: Values, key: str) -> nn.Module:
    rows, columns = values[f"{key}.weight"].shape
    return _filled(nn.Linear(columns, rows), values, key, {"weight": "weight", "bias": "bias"})


def _batch_norm(values: Values, key: str, scale: bool = True, eps: float = 1e-5) -> nn.Module:
    layer = nn.BatchNorm2d(len(values[f"{key}.running_mean"]), eps=eps)
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
