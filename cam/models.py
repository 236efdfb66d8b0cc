"""The zoo's VGG and ResNet, rebuilt from the blocks of `cam.blocks`.

The zoo's residual blocks call ReLU as a function and add with `+`: 48 of ResNet50v2's 50 ReLUs and
all 16 additions are invisible to hooks. Here each of them is a block. Parameters keep the zoo's
names, structural (`features.5.0.bn1.gamma`) and Gluon's (`resnetv20_stage1_batchnorm0_gamma`), so any
file of parameters fits.
"""

from __future__ import annotations

from mxnet.gluon import Block, HybridBlock, nn
from mxnet.gluon.model_zoo.vision import resnet, vgg

from . import blocks
from .errors import NetError

VGG16_FILTERS = (64, 128, 256, 512, 512)
VGG16_HIDDEN = 4096
RESNET50_CHANNELS = (64, 256, 512, 1024, 2048)


class BottleneckV2(blocks.Recordable, HybridBlock):
    """y = shortcut(x) + branch(x), the residual block of ResNet50v2 (He et al. 2016, figure 4e).

    branch = bn1, relu1, conv1 (1x1), bn2, relu2, conv2 (3x3, may halve the map), bn3, relu3, conv3 (1x1).
    `shortcut` is x itself, or where the shape changes a 1x1 convolution (`downsample`) of relu1's output.
    Input (N, C, H, W), output (N, C', H', W').
    """

    def hybrid_forward(self, F, x):
        activated = self.relu1(self.bn1(x))
        shortcut = self.shortcut(self.downsample(activated) if self.downsample else x)
        branch = self.conv1(activated)
        branch = self.conv2(self.relu2(self.bn2(branch)))
        branch = self.conv3(self.relu3(self.bn3(branch)))
        return self.add(branch, shortcut)


class BasicBlockV2(blocks.Recordable, HybridBlock):
    """y = shortcut(x) + branch(x) with two 3x3 convolutions: the residual block of ResNet18v2 and 34v2."""

    def hybrid_forward(self, F, x):
        activated = self.relu1(self.bn1(x))
        shortcut = self.shortcut(self.downsample(activated) if self.downsample else x)
        branch = self.conv2(self.relu2(self.bn2(self.conv1(activated))))
        return self.add(branch, shortcut)


class ResidualBlockV1(blocks.Recordable, HybridBlock):
    """y = relu(shortcut(x) + body(x)): the residual blocks of the v1 nets (He et al. 2015, equation 1)."""

    def hybrid_forward(self, F, x):
        shortcut = self.shortcut(self.downsample(x) if self.downsample else x)
        return self.relu(self.add(self.body(x), shortcut))


class Classifier(HybridBlock):
    """logits = output(features(x)): a zoo net. x (N, 3, H, W), logits (N, classes).

    Attributes
    ----------
    features : the blocks up to the last Dense layer
    output : Dense, the class scores (logits), no softmax
    labels : list of class names, or None if they are unknown
    """

    labels: list[str] | None = None

    def hybrid_forward(self, F, x):
        return self.output(self.features(x))


class _ScaledVGG(vgg.VGG):
    """The zoo's VGG with a choice of its hidden Dense width, which the zoo fixes at 4096."""

    def __init__(self, layers, filters, hidden, classes, batch_norm=False):
        HybridBlock.__init__(self)
        with self.name_scope():
            self.features = self._make_features(layers, filters, batch_norm)
            for _ in range(2):
                self.features.add(nn.Dense(hidden, activation="relu"), nn.Dropout(0.5))
            self.output = nn.Dense(classes)


def build_vgg16(filters=VGG16_FILTERS, hidden=VGG16_HIDDEN, classes=1000, batch_norm=False) -> Classifier:
    """VGG16 without parameter values; five stages of `filters`, two Dense layers of `hidden` units."""
    return _rebuild(_ScaledVGG([2, 2, 3, 3, 3], filters, hidden, classes, batch_norm))


def build_resnet50_v2(channels=RESNET50_CHANNELS, classes=1000) -> Classifier:
    """ResNet50v2 without parameter values; stem and four stages of `channels`."""
    return _rebuild(resnet.ResNetV2(resnet.BottleneckV2, [3, 4, 6, 3], list(channels), classes=classes))


def _rebuild(block: Block) -> Block:
    """The same block made of ours, with the same names and no parameter values yet."""
    for kinds, rebuild in _REBUILDERS.items():
        if type(block) in kinds:  # a subclass may compute something else
            return rebuild(block)
    raise NetError(
        f"cannot convert {block.name} of type {type(block).__name__}; convert() knows the blocks of the zoo's "
        "VGG and ResNet (v1 and v2)"
    )


def _sequential(block):
    rebuilt = blocks.Sequential(prefix=block.prefix)
    rebuilt.add(*(_rebuild(child) for child in block))
    return rebuilt


def _with_children(kind, **additions):
    """A rebuilder for a block with named children; `additions` are parameterless blocks by name."""

    def rebuild(block):
        rebuilt = kind(prefix=block.prefix)
        if additions:
            rebuilt.downsample = None  # where the zoo has a convolution, the loop puts it
        for name, child in block._children.items():
            setattr(rebuilt, name, _rebuild(child))
        for name, make in additions.items():
            setattr(rebuilt, name, make(prefix=f"{block.prefix}{name}_"))
        return rebuilt

    return rebuild


def _conv(block):
    options = block._kwargs
    rebuilt = blocks.Conv2D(
        block._channels,
        kernel_size=options["kernel"],
        strides=options["stride"],
        padding=options["pad"],
        dilation=options["dilate"],
        groups=options["num_group"],
        use_bias=block.bias is not None,
        weight_initializer=block.weight.init,
        in_channels=block._in_channels,
        prefix=block.prefix,
    )
    rebuilt.act = block.act and _rebuild(block.act)
    return rebuilt


def _dense(block):
    rebuilt = nn.Dense(
        block._units,
        use_bias=block.bias is not None,
        flatten=block._flatten,
        weight_initializer=block.weight.init,
        in_units=block._in_units,
        prefix=block.prefix,
    )
    rebuilt.act = block.act and _rebuild(block.act)
    return rebuilt


def _batch_norm(block):
    options = block._kwargs
    return blocks.BatchNorm(
        axis=options["axis"],
        momentum=options["momentum"],
        epsilon=options["eps"],
        scale=not options["fix_gamma"],
        use_global_stats=options["use_global_stats"],
        in_channels=block.gamma.shape[0],
        prefix=block.prefix,
    )


def _max_pool(block):
    options = block._kwargs
    ceil = options["pooling_convention"] == "full"
    return blocks.MaxPool2D(options["kernel"], options["stride"], options["pad"], ceil_mode=ceil, prefix=block.prefix)


_V2_BLOCK = dict(relu1=blocks.ReLU, relu2=blocks.ReLU, shortcut=blocks.Identity, add=blocks.Add)
_BOTTLENECK_V2 = dict(_V2_BLOCK, relu3=blocks.ReLU)
_V1_BLOCK = dict(shortcut=blocks.Identity, add=blocks.Add, relu=blocks.ReLU)

_REBUILDERS = {
    (nn.HybridSequential, blocks.Sequential): _sequential,
    (vgg.VGG, _ScaledVGG, resnet.ResNetV1, resnet.ResNetV2, Classifier): _with_children(Classifier),
    (resnet.BottleneckV2, BottleneckV2): _with_children(BottleneckV2, **_BOTTLENECK_V2),
    (resnet.BasicBlockV2, BasicBlockV2): _with_children(BasicBlockV2, **_V2_BLOCK),
    (resnet.BottleneckV1, resnet.BasicBlockV1, ResidualBlockV1): _with_children(ResidualBlockV1, **_V1_BLOCK),
    (nn.Conv2D, blocks.Conv2D): _conv,
    (nn.BatchNorm, blocks.BatchNorm): _batch_norm,
    (nn.MaxPool2D, blocks.MaxPool2D): _max_pool,
    (nn.GlobalAvgPool2D, blocks.GlobalAvgPool2D): lambda block: blocks.GlobalAvgPool2D(prefix=block.prefix),
    (nn.Activation,): lambda block: blocks.Activation(block._act_type, prefix=block.prefix),
    (blocks.ReLU, blocks.Add, blocks.Identity, nn.Flatten): lambda block: type(block)(prefix=block.prefix),
    (nn.Dropout,): lambda block: nn.Dropout(block._rate, block._axes, prefix=block.prefix),
    (nn.Dense,): _dense,
}
