"""EfficientNet-Lite0, written as people write nets: sums with +, ReLU6 by clip."""

from __future__ import annotations

import numpy as np
from mxnet.gluon import HybridBlock, nn

from .normalisation import Normalisation

# Of each stage: blocks, kernel, stride of the first block, expansion, channels.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class ConvNorm(HybridBlock):
    """Convolution, BatchNorm and, if wanted, ReLU6.

    For stride 2 and an even side TensorFlow pads one row less at the top and at the left than at the bottom and at the
    right. That is what the weights were trained with; the operator itself pads both sides alike.
    """

    def __init__(self, inputs: int, channels: int, kernel: int, stride: int = 1, groups: int = 1, relu: bool = True):
        super().__init__()
        uneven, self.relu = stride == 2, relu
        self.padding = (0, 0, 0, 0, *(kernel // 2 - 1, kernel // 2) * 2) if uneven else None
        with self.name_scope():
            around = 0 if uneven else kernel // 2
            self.conv = nn.Conv2D(channels, kernel, stride, around, groups=groups, use_bias=False, in_channels=inputs)
            self.norm = nn.BatchNorm(epsilon=1e-3, in_channels=channels)

    def hybrid_forward(self, F, x):
        """Map (N, inputs, H, W) to (N, channels, H / stride, W / stride)."""
        if self.padding:
            x = F.pad(x, mode="constant", pad_width=self.padding)
        x = self.norm(self.conv(x))
        return F.clip(x, 0, 6) if self.relu else x


class InvertedResidual(HybridBlock):
    """Widen, look around in each channel by itself, narrow without a ReLU; add the input where the shapes allow it."""

    def __init__(self, inputs: int, channels: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        wide, self.adds = inputs * expansion, stride == 1 and inputs == channels
        with self.name_scope():
            self.expand = ConvNorm(inputs, wide, 1) if expansion > 1 else None
            self.depthwise = ConvNorm(wide, wide, kernel, stride, groups=wide)
            self.project = ConvNorm(wide, channels, 1, relu=False)

    def hybrid_forward(self, F, x):
        """Map (N, inputs, H, W) to (N, channels, H / stride, W / stride)."""
        branch = self.project(self.depthwise(self.expand(x) if self.expand else x))
        return branch + x if self.adds else branch


class EfficientNetLite0(HybridBlock):
    """`features`: stem, 16 blocks, head, GAP, Flatten; `output`: Dense."""

    # (pixel - 127) / 128
    normalisation = Normalisation(np.full(3, 127 / 255, np.float32), np.full(3, 128 / 255, np.float32), "bicubic")

    def __init__(self, head: int, classes: int):
        super().__init__()
        with self.name_scope():
            self.features = nn.HybridSequential()
            self.features.add(ConvNorm(3, 32, 3, 2))
            inputs = 32
            for blocks, kernel, stride, expansion, channels in STAGES:
                for number in range(blocks):
                    self.features.add(InvertedResidual(inputs, channels, kernel, 1 if number else stride, expansion))
                    inputs = channels
            self.features.add(ConvNorm(inputs, head, 1), nn.GlobalAvgPool2D(), nn.Flatten())
            self.output = nn.Dense(classes, in_units=head)

    def hybrid_forward(self, F, x):
        """Logits (N, classes) of images (N, 3, H, W)."""
        return self.output(self.features(x))
