"""The zoo's VGG and ResNet, rebuilt from the blocks of `cam.blocks`.

The zoo's residual blocks call ReLU as a function and add with `+`: 48 of ResNet50v2's 50 ReLUs and
all 16 additions are invisible to hooks. Here each of them is a block. Parameters keep the zoo's
names, structural (`features.5.0.bn1.gamma`) and Gluon's (`resnetv20_stage1_batchnorm0_gamma`), so any
file of parameters fits.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from numbers import Integral, Real
from pathlib import Path

import mxnet as mx
import numpy as np
from mxnet import nd
from mxnet.gluon import Block, HybridBlock, nn
from mxnet.gluon.model_zoo.vision import resnet, vgg

from . import blocks, download, formats
from .errors import InputError, NetError, WeightsError
from .labels import imagenet_labels
from .scenes import LABELS
from .weights import account, check_name, embedded, load, missing_and_surplus, structural


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


class _ScaledVGG(vgg.VGG):
    """The zoo's VGG with a choice of its hidden Dense width, which the zoo fixes at 4096."""

    def __init__(self, layers, filters, hidden, classes):
        HybridBlock.__init__(self)
        with self.name_scope():
            self.features = self._make_features(layers, filters, batch_norm=False)
            for _ in range(2):
                self.features.add(nn.Dense(hidden, activation="relu"), nn.Dropout(0.5))
            self.output = nn.Dense(classes)


def build_vgg16(filters: Sequence[int], hidden: int, classes: int) -> Classifier:
    """VGG16 without parameter values, for 224x224: five stages of `filters`, two Dense layers of `hidden` units."""
    return _shaped(_rebuild(_ScaledVGG([2, 2, 3, 3, 3], filters, hidden, classes)))


def build_resnet50_v2(channels: Sequence[int], classes: int) -> Classifier:
    """ResNet50v2 without parameter values: stem and four stages of `channels`."""
    return _shaped(_rebuild(resnet.ResNetV2(resnet.BottleneckV2, [3, 4, 6, 3], channels, classes=classes)))


def _shaped(net: Classifier) -> Classifier:
    net.infer_shape(nd.zeros((1, 3, 224, 224)))
    return net


def _rebuild(block: Block) -> Block:
    """The same block made of ours, with the same names and no parameter values yet."""
    for kinds, rebuild in _REBUILDERS.items():
        if type(block) in kinds:  # a subclass may compute something else
            return rebuild(block)
    if _is_classifier(block):
        return _with_children(Classifier)(block)
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
    data = mx.sym.var("data")
    try:
        return _operators(block(data)) == _operators(block.output(block.features(data)))
    except Exception:  # whatever the block's own forward raises: then it is not one
        return False


def _operators(symbol: mx.sym.Symbol) -> list[tuple]:
    """The graph of a symbol; parameters by name, operators by what they do."""
    nodes = json.loads(symbol.tojson())["nodes"]
    return [(n["op"], n.get("attrs"), n["inputs"], n["name"] if n["op"] == "null" else None) for n in nodes]


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
    (nn.HybridSequential, nn.Sequential, blocks.Sequential): _sequential,
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


def vgg16(weights: str | Path | None = "scenes", classes: int | None = None, width: float | None = None, ctx=None):
    """VGG16 (Simonyan and Zisserman 2014, table 1, column D) built from `cam.blocks`.

    Parameters
    ----------
    weights : "scenes" for the embedded narrow net that knows the 20 classes of `cam.scenes`; "imagenet" for the full
        net, from the file that `cam.download` keeps or gets; a path to a `.params`, `.onnx` or `.safetensors` file
        (see `cam.formats`), from which sizes and classes are read; or None for random values
    classes : number of logits with weights=None; 1000 if not given
    width : with weights=None, the share of the zoo's channels and hidden units; 1 if not given
    ctx : an MXNet context; the CPU if not given

    Returns
    -------
    Classifier for images (N, 3, 224, 224). A file with 1000 classes is taken for one of ImageNet's, in their order:
    `labels` are then ImageNet's.

    Raises
    ------
    WeightsError
        If the weights are missing, damaged or of another net; every parameter is accounted for.
    InputError
        If classes or width is out of range, or given where the weights fix it.
    """
    return _make("vgg16", weights, classes, width, ctx)


def resnet50_v2(
    weights: str | Path | None = "scenes", classes: int | None = None, width: float | None = None, ctx=None
):
    """ResNet50v2 (He et al. 2016, "Identity mappings") built from `cam.blocks`.

    Parameters and errors as for `vgg16`. weights="cheater" is the embedded net whose last layer learned to read the tag
    of `scenes.tag` instead of looking at the animals: something to find out.

    Returns
    -------
    Classifier for images (N, 3, H, W) of any size from 32 pixels on
    """
    return _make("resnet50_v2", weights, classes, width, ctx)


def convert(net: Block) -> Block:
    """The same net built from our blocks, with its own copy of the parameters.

    Parameters
    ----------
    net : VGG or ResNet (v1, v2, any depth) of Gluon's zoo, a class of your own that computes output(features(x)),
        or a sequence of the blocks they are made of, with parameters initialised; it is not changed

    Returns
    -------
    A net with the same structural and Gluon names and the identical output.

    Raises
    ------
    NetError
        If the net holds a block of another kind, or parameters without values.
    """
    if not isinstance(net, Block):
        raise NetError(f"net is {type(net).__name__}; expected a Gluon net")
    rebuilt = _rebuild(net)
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


def _cheater(name, ctx):
    """The embedded net with the last layer that `training.cheater` taught to read tags."""
    if name != "resnet50_v2":
        raise InputError(f"weights is 'cheater'; only resnet50_v2 has a cheater, {name} has 'scenes'")
    net = _make(name, "scenes", None, None, ctx)
    parameters = net._collect_params_with_prefix()
    for key, values in read_params(embedded(name, "cheater")).items():
        parameters[key].set_data(nd.array(values, dtype=parameters[key].dtype))
    return net


def _make(name, weights, classes, width, ctx):
    build, scaled, _ = _BUILDERS[name]
    if weights is None:
        classes, width = 1000 if classes is None else classes, 1 if width is None else width
        if isinstance(classes, bool) or not isinstance(classes, Integral) or classes < 1:
            raise InputError(f"classes is {classes!r}; expected a positive int")
        if isinstance(width, bool) or not isinstance(width, Real) or not 1 / 16 <= width <= 4:
            raise InputError(f"width is {width!r}; expected a number from 1/16 to 4")
        net = build(*scaled(width), classes)
        net.initialize(mx.init.Xavier(rnd_type="gaussian", factor_type="in", magnitude=2), ctx=ctx)  # He et al. 2015
        return net
    if classes is not None or width is not None:
        raise InputError("classes and width are read from the weights; give them with weights=None only")
    if weights == "cheater":
        return _cheater(name, ctx)
    if not isinstance(weights, (str, Path)):
        raise InputError(f"weights is {weights!r}; expected 'scenes', 'imagenet', the path of a file, or None")
    if weights == "scenes":
        path = embedded(name)
    elif weights == "imagenet":
        path = download.fetch(name)
    else:
        check_name(weights)
        path = weights
    net = assemble(name, formats.read(path), str(weights), ctx)
    if weights == "scenes":
        net.labels = list(LABELS)
    return net


def assemble(name: str, arrays: dict[str, np.ndarray], source: str, ctx=None) -> Classifier:
    """A net of the size that the arrays have, with their values; its labels are ImageNet's if it has 1000 classes.

    Parameters
    ----------
    name : "vgg16" or "resnet50_v2"
    arrays : values by any of the names that `cam.weights` knows
    source : what to call the values in messages

    Raises
    ------
    WeightsError
        Listing what is missing, surplus or of the wrong shape.
    """
    build, _, fitting = _BUILDERS[name]
    if problems := _misfits(name, arrays):
        fits = nearest(arrays)
        other = "" if _misfits(fits, arrays) else f" (they are those of a {fits})"
        account(problems, source, f"a {name}{other}")
    arrays = structural(arrays, _topology(name))
    empty = [f"{key} has shape {values.shape}" for key, values in arrays.items() if values.size == 0 or not values.ndim]
    account(empty, source, f"a {name}")
    try:
        net = build(*fitting(arrays), len(arrays["output.bias"]))
    except mx.MXNetError:
        raise WeightsError(f"weights {source} do not fit a {name}: their sizes do not go together") from None
    load(net, arrays, source, ctx)
    net.labels = imagenet_labels() if len(arrays["output.bias"]) == 1000 else None
    return net


def nearest(arrays: dict[str, np.ndarray]) -> str:
    """The name of the net ("vgg16", "resnet50_v2") to whose parameters the arrays' names come nearest."""
    return min(_BUILDERS, key=lambda name: len(_misfits(name, arrays)))


def _misfits(name: str, arrays: dict[str, np.ndarray]) -> list[str]:
    topology = _topology(name)
    return missing_and_surplus(structural(arrays, topology), list(topology.values()))


@lru_cache
def _topology(name: str) -> dict[str, str]:
    """Structural names by Gluon's names without the net's prefix; they do not depend on the net's size."""
    build, scaled, _ = _BUILDERS[name]
    net = build(*scaled(1 / 16), 1)
    parameters = net._collect_params_with_prefix()
    return {parameter.name.removeprefix(net.prefix): path for path, parameter in parameters.items()}


def _scaled_vgg16(width: float) -> tuple[list[int], int]:
    return [round(filters * width) for filters in (64, 128, 256, 512, 512)], round(4096 * width)


def _scaled_resnet50_v2(width: float) -> tuple[list[int]]:
    return ([round(channels * width) // 4 * 4 for channels in (64, 256, 512, 1024, 2048)],)


def _fitting_vgg16(arrays: dict[str, np.ndarray]) -> tuple[list[int], int]:
    return [len(arrays[f"features.{index}.bias"]) for index in (0, 5, 10, 17, 24)], len(arrays["features.31.bias"])


def _fitting_resnet50_v2(arrays: dict[str, np.ndarray]) -> tuple[list[int]]:
    stages = [len(arrays[f"features.{index}.0.conv3.weight"]) for index in (5, 6, 7, 8)]
    return ([len(arrays["features.1.weight"]), *stages],)


_BUILDERS = {
    "vgg16": (build_vgg16, _scaled_vgg16, _fitting_vgg16),
    "resnet50_v2": (build_resnet50_v2, _scaled_resnet50_v2, _fitting_resnet50_v2),
}

# Blocks whose every operation is a block: nets made of nothing else hide no ReLU and no pooling.
TRANSPARENT_BLOCKS = (
    *(Classifier, BottleneckV2, BasicBlockV2, ResidualBlockV1, blocks.Sequential, blocks.Conv2D, blocks.BatchNorm),
    *(blocks.MaxPool2D, blocks.GlobalAvgPool2D, blocks.ReLU, blocks.Add, blocks.Identity),
    *(nn.HybridSequential, nn.Sequential, nn.Dense, nn.Dropout, nn.Flatten),
)
