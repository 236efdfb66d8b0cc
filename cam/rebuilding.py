"""Nets of the zoo's kind, rebuilt block by block from `cam.blocks`.

The zoo's residual blocks call ReLU as a function and add with `+`: 48 of ResNet50v2's 50 ReLUs and
all 16 additions are invisible to hooks. Here each of them is a block. Parameters keep the zoo's
names, structural (`features.5.0.bn1.gamma`) and Gluon's (`resnetv20_stage1_batchnorm0_gamma`), so any
file of parameters fits.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import mxnet as mx
from mxnet.gluon import Block, HybridBlock, nn
from mxnet.gluon.model_zoo.vision import resnet, vgg

from . import blocks
from .errors import NetError


class BottleneckV2(blocks.Recordable, HybridBlock):
    """y = shortcut(x) + branch(x), the residual block of ResNet50v2 (He et al. 2016, figure 4e).

    branch = bn1, relu1, conv1 (1x1), bn2, relu2, conv2 (3x3, may halve the map), bn3, relu3, conv3 (1x1).
    `shortcut` is x itself, or where the shape changes a 1x1 convolution (`downsample`) of relu1's output.
    Input (N, C, H, W), output (N, C', H', W').
    """

    end_of_branch = "conv3"  # whose output is added to the shortcut's

    def hybrid_forward(self, F, x):
        activated = self.relu1(self.bn1(x))
        shortcut = self.shortcut(self.downsample(activated) if self.downsample else x)
        branch = self.conv1(activated)
        branch = self.conv2(self.relu2(self.bn2(branch)))
        branch = self.conv3(self.relu3(self.bn3(branch)))
        return self.add(branch, shortcut)


class BasicBlockV2(blocks.Recordable, HybridBlock):
    """y = shortcut(x) + branch(x) with two 3x3 convolutions: the residual block of ResNet18v2 and 34v2."""

    end_of_branch = "conv2"

    def hybrid_forward(self, F, x):
        activated = self.relu1(self.bn1(x))
        shortcut = self.shortcut(self.downsample(activated) if self.downsample else x)
        branch = self.conv2(self.relu2(self.bn2(self.conv1(activated))))
        return self.add(branch, shortcut)


class ResidualBlockV1(blocks.Recordable, HybridBlock):
    """y = relu(shortcut(x) + body(x)): the residual blocks of the v1 nets (He et al. 2015, equation 1)."""

    end_of_branch = "body"

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


class ScaledVGG(vgg.VGG):
    """The zoo's VGG with a choice of its hidden Dense width, which the zoo fixes at 4096."""

    def __init__(self, layers, filters, hidden, classes):
        HybridBlock.__init__(self)
        with self.name_scope():
            self.features = self._make_features(layers, filters, batch_norm=False)
            for _ in range(2):
                self.features.add(nn.Dense(hidden, activation="relu"), nn.Dropout(0.5))
            self.output = nn.Dense(classes)


def convert(net: Block) -> Block:
    """The same net built from our blocks, with its own copy of the parameters.

    Parameters
    ----------
    net : VGG or ResNet (v1, v2, any depth) of Gluon's zoo, a class of your own that computes output(features(x)),
        or a sequence of the blocks they are made of, with parameters initialised; it is not changed

    Returns
    -------
    A net with the same structural and Gluon names and the identical output. A block with parameters that the net
    uses in several places stays one block; one without, such as a ReLU, becomes one block for each place.

    Raises
    ------
    NetError
        If the net holds a block of another kind, or parameters without values.
    """
    if not isinstance(net, Block):
        raise NetError(f"net is {type(net).__name__}; expected a Gluon net")
    rebuilt = rebuilt_from(net)
    theirs, ours = net._collect_params_with_prefix(), rebuilt._collect_params_with_prefix()
    for name, source in theirs.items():
        if source._deferred_init and source.shape and 0 not in source.shape and -1 not in source.shape:
            source._finish_deferred_init()  # values were given; MXNet would place them at the first run
        if source._data is None:
            raise NetError(f"parameter {source.name} has no values yet; initialize the net and run it once")
        target = ours[name]
        target.shape, target.grad_req = source.shape, source.grad_req
        target.cast(source.dtype)
        target.initialize(init="zeros", ctx=source.list_ctx(), force_reinit=True)
        target.set_data(source.data(source.list_ctx()[0]))
    rebuilt.labels = getattr(net, "labels", None)
    return rebuilt


def rebuilt_from(block: Block, shared: dict[Block, Block] | None = None) -> Block:
    """The same block made of ours, with the same names and no parameter values yet.

    `shared` holds what became of the blocks with parameters of their own: each is rebuilt once, wherever it stands.
    """
    shared = {} if shared is None else shared
    if block not in shared:
        rebuilt = _rebuilder(block)(block, lambda child: rebuilt_from(child, shared))
        if not block._reg_params:
            return rebuilt
        shared[block] = rebuilt
    return shared[block]


def _rebuilder(block: Block):
    for kinds, rebuild in _REBUILDERS.items():
        if type(block) in kinds:  # a subclass may compute something else
            return rebuild
    if _is_classifier(block):
        return _with_children(Classifier)
    raise NetError(
        f"cannot convert {block.name} of type {type(block).__name__}; convert() knows the blocks of the zoo's "
        "VGG and ResNet (v1 and v2)"
    )


def convertible(net: Block) -> bool:
    """Whether `convert` knows every block of the net."""
    known = {kind for kinds in _REBUILDERS for kind in kinds}
    children = all(convertible(child) for child in net._children.values())
    return children and (type(net) in known or _is_classifier(net))


def _is_classifier(block: Block) -> bool:
    """Whether a person's own class computes output(features(x)) and nothing else, told by its graph of operators."""
    if not isinstance(block, HybridBlock) or set(block._children) != {"features", "output"}:
        return False
    try:
        return _operators(block) == _operators(block, block.features, block.output)
    except Exception:  # whatever the block's own forward raises: then it is not one
        return False


def _operators(net: Block, *steps: Block) -> list[tuple]:
    """The graph of `trace`; parameters by name, operators by what they do."""
    nodes = trace(net, *steps)
    return [(n["op"], n.get("attrs"), n["inputs"], n["name"] if n["op"] == "null" else None) for n in nodes]


def trace(net: Block, *steps: Block) -> list[dict]:
    """The graph of operators that the net, or only these blocks of it one after another, makes of a symbol.

    Returns
    -------
    The nodes of MXNet's JSON form of the graph, each with "op", "name", "inputs" and, where it has options, "attrs".
    What the net's own forward raises comes through.
    """
    symbol = mx.sym.var("data")
    with _no_hooks(net):
        for step in steps or (net,):
            symbol = step(symbol)
    return json.loads(symbol.tojson())["nodes"]


@contextmanager
def _no_hooks(net: Block) -> Iterator[None]:
    """Take all hooks of all blocks away for a while: they are written for arrays and would be called with symbols."""
    found: list[Block] = []
    net.apply(found.append)
    kept = [(block, block._forward_pre_hooks, block._forward_hooks) for block in dict.fromkeys(found)]
    for block, _, _ in kept:
        block._forward_pre_hooks, block._forward_hooks = OrderedDict(), OrderedDict()
    try:
        yield
    finally:
        for block, before, after in kept:
            block._forward_pre_hooks, block._forward_hooks = before, after


def _sequential(block, rebuild_child):
    rebuilt = blocks.Sequential(prefix=block.prefix)
    rebuilt.add(*(rebuild_child(child) for child in block))
    return rebuilt


def _with_children(kind, **additions):
    """A rebuilder for a block with named children; `additions` are parameterless blocks by name."""

    def rebuild(block, rebuild_child):
        rebuilt = kind(prefix=block.prefix)
        if additions:
            rebuilt.downsample = None  # where the zoo has a convolution, the loop puts it
        for name, child in block._children.items():
            setattr(rebuilt, name, rebuild_child(child))
        for name, make in additions.items():
            setattr(rebuilt, name, make(prefix=f"{block.prefix}{name}_"))
        return rebuilt

    return rebuild


def check_layout(convolution: nn.Conv2D) -> None:
    """Raise NetError if a convolution's layout is not NCHW."""
    layout = convolution._kwargs["layout"]
    if layout != "NCHW":
        raise NetError(f"{convolution.name} has the layout {layout}; this package works with nets of layout NCHW")


def _conv(block, rebuild_child):
    check_layout(block)
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
    rebuilt.act = block.act and rebuild_child(block.act)
    return rebuilt


def _dense(block, rebuild_child):
    rebuilt = nn.Dense(
        block._units,
        use_bias=block.bias is not None,
        flatten=block._flatten,
        weight_initializer=block.weight.init,
        in_units=block._in_units,
        prefix=block.prefix,
    )
    rebuilt.act = block.act and rebuild_child(block.act)
    return rebuilt


def _batch_norm(block, _):
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


def _max_pool(block, _):
    options = block._kwargs
    ceil = options["pooling_convention"] == "full"
    return blocks.MaxPool2D(options["kernel"], options["stride"], options["pad"], ceil_mode=ceil, prefix=block.prefix)


_V2_BLOCK = dict(relu1=blocks.ReLU, relu2=blocks.ReLU, shortcut=blocks.Identity, add=blocks.Add)
_BOTTLENECK_V2 = dict(_V2_BLOCK, relu3=blocks.ReLU)
_V1_BLOCK = dict(shortcut=blocks.Identity, add=blocks.Add, relu=blocks.ReLU)

# Each takes a block and what rebuilds a child of it.
_REBUILDERS = {
    (nn.HybridSequential, nn.Sequential, blocks.Sequential): _sequential,
    (vgg.VGG, ScaledVGG, resnet.ResNetV1, resnet.ResNetV2, Classifier): _with_children(Classifier),
    (resnet.BottleneckV2, BottleneckV2): _with_children(BottleneckV2, **_BOTTLENECK_V2),
    (resnet.BasicBlockV2, BasicBlockV2): _with_children(BasicBlockV2, **_V2_BLOCK),
    (resnet.BottleneckV1, resnet.BasicBlockV1, ResidualBlockV1): _with_children(ResidualBlockV1, **_V1_BLOCK),
    (nn.Conv2D, blocks.Conv2D): _conv,
    (nn.BatchNorm, blocks.BatchNorm): _batch_norm,
    (nn.MaxPool2D, blocks.MaxPool2D): _max_pool,
    (nn.GlobalAvgPool2D, blocks.GlobalAvgPool2D): lambda block, _: blocks.GlobalAvgPool2D(prefix=block.prefix),
    (nn.Activation,): lambda block, _: blocks.Activation(block._act_type, prefix=block.prefix),
    (blocks.ReLU, blocks.Add, blocks.Identity, nn.Flatten): lambda block, _: type(block)(prefix=block.prefix),
    (nn.Dropout,): lambda block, _: nn.Dropout(block._rate, block._axes, prefix=block.prefix),
    (nn.Dense,): _dense,
}

# Blocks whose every operation is a block: nets made of nothing else hide no ReLU and no pooling.
TRANSPARENT_BLOCKS = (
    *(Classifier, BottleneckV2, BasicBlockV2, ResidualBlockV1, blocks.Sequential, blocks.Conv2D, blocks.BatchNorm),
    *(blocks.MaxPool2D, blocks.GlobalAvgPool2D, blocks.ReLU, blocks.Add, blocks.Identity),
    *(nn.HybridSequential, nn.Sequential, nn.Dense, nn.Dropout, nn.Flatten),
)
