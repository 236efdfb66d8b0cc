"""From what a person writes to what a net has: layers by block, path or name; classes by number or label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from numbers import Integral

import numpy as np
from mxnet.gluon import Block, nn
from mxnet.gluon.model_zoo.vision import resnet
from mxnet.gluon.nn.basic_layers import _BatchNorm
from mxnet.gluon.nn.conv_layers import _Conv, _Pooling

from . import blocks, rebuilding
from .errors import ClassError, LayerError, NetError, in_one_line
from .labels import find_classes

LayerLike = str | Block  # a block, its path or its name

RESIDUAL_BLOCKS = (
    rebuilding.BottleneckV2,
    rebuilding.BasicBlockV2,
    rebuilding.ResidualBlockV1,
    resnet.BottleneckV1,
    resnet.BottleneckV2,
    resnet.BasicBlockV1,
    resnet.BasicBlockV2,
)

_SEQUENCES = (nn.Sequential, nn.HybridSequential, blocks.Sequential)


def paths(net: Block) -> dict[str, Block]:
    """Every block below `net` by its structural path ("features.8.2.conv3"), in order of creation."""
    found = {}

    def walk(block: Block, prefix: str) -> None:
        for name, child in block._children.items():
            found[prefix + name] = child
            walk(child, f"{prefix}{name}.")

    walk(net, "")
    return found


def find_layers(net: Block, layers: LayerLike | Sequence[LayerLike] | None) -> dict[str, Block]:
    """The blocks that `layers` names, by structural path; a block with several paths goes by its first.

    Parameters
    ----------
    layers : a block of the net, its path ("features.8.2.add"), its Gluon name
        ("resnetv20_stage4_conv9"), a list of these, or None for `default_layer`

    Raises
    ------
    LayerError
        If the net has no such layer; the message offers the nearest names.
    """
    by_path = paths(net)
    if layers is None:
        layers = default_layer(net)
    asked = list(layers) if isinstance(layers, (list, tuple)) else [layers]
    return {path: by_path[path] for path in (_path_of(layer, by_path) for layer in asked)}


def _path_of(layer: LayerLike, by_path: dict[str, Block]) -> str:
    if isinstance(layer, Block):
        for path, block in by_path.items():
            if block is layer:
                return path
        raise LayerError(f"layer {layer.name} is not a block of this net; take one of its own, such as net.features[0]")
    if not isinstance(layer, str):
        raise LayerError(f"layer is {layer!r}; expected a block, its path or its name")
    if layer in by_path:
        return _path_of(by_path[layer], by_path)
    for path, block in by_path.items():
        if block.name == layer:
            return path
    known = [*by_path, *(block.name for block in by_path.values())]
    near = get_close_matches(layer, known, n=3, cutoff=0.4)
    hint = f"; did you mean {' or '.join(near)}?" if near else "; list the layers with cam.paths(net)"
    if any(isinstance(block, RESIDUAL_BLOCKS) and not hasattr(block, "add") for block in by_path.values()):
        hint += " (cam.convert(net) gives additions and shortcuts a name)"
    raise LayerError(f"the net has no layer {layer!r}{hint}")


def default_layer(net: Block) -> str:
    """The path of the recommended layer: the input of the net's last pooling.

    In a net that ends in a global pooling this is the whole last feature map (ResNet50v2:
    `features.10`); in VGG16 it is relu5_3 (`features.29`).

    Raises
    ------
    LayerError
        If the net has no such pooling, or is no sequence of blocks, so that only a run tells their order
        (`last_feature_map`).
    """
    chain = list(_chain(net)) if type(net) in _SEQUENCES or set(net._children) <= {"features", "output"} else []
    for index in range(len(chain) - 1, 0, -1):
        block = chain[index][1]
        if isinstance(block, _Pooling):
            return chain[index - 1][0]
        if isinstance(block, _Conv) and not any(_is_global(before) for _, before in chain[:index]):
            break  # a feature map above the last pooling
    raise LayerError("the layers of this net do not tell which of them is its last feature map: say which you mean")


def _is_global(block: Block) -> bool:
    return isinstance(block, _Pooling) and block._kwargs["global_pool"]


def last_feature_map(net: Block, shapes: dict[str, tuple[int, ...]]) -> str | None:
    """The path of the block that gives the net's last feature map, told by a run: the rule behind `default_layer`.

    Parameters
    ----------
    shapes : the blocks' output shapes by path, in the order in which they ended

    Returns
    -------
    The last one with height and width that is no pooling, no Dropout and no sequence of others; None if there is none
    """
    by_path = paths(net)
    for path, shape in reversed(shapes.items()):
        passes_on = isinstance(by_path[path], (_Pooling, nn.Dropout)) or type(by_path[path]) in _SEQUENCES
        if len(shape) == 4 and shape[2:] != (1, 1) and not passes_on:
            return path
    return None


def _chain(net: Block, prefix: str = "") -> Iterator[tuple[str, Block]]:
    """The blocks that run one after another: sequences are opened, everything else is one step."""
    for name, child in net._children.items():
        if type(child) in _SEQUENCES:
            yield from _chain(child, f"{prefix}{name}.")
        else:
            yield prefix + name, child


def last_step(net: Block) -> Block:
    """The block that the net runs last."""
    return list(_chain(net))[-1][1]


def input_channels(net: Block) -> int | None:
    """How many channels an image must have, where the net's first step is known and tells; else None.

    Raises
    ------
    NetError
        If the first convolution wants the channels last.
    """
    first = net
    while type(first) in _SEQUENCES or "features" in first._children:
        children = first._children
        if not children:
            return None
        first = children["features"] if "features" in children else next(iter(children.values()))
    channels = 0  # open: MXNet writes 0, or -1 in its NumPy mode
    if isinstance(first, nn.BatchNorm):
        channels = first.gamma.shape[0]
    elif isinstance(first, nn.Conv2D):
        rebuilding.check_layout(first)
        channels = first.weight.shape[1] * first._kwargs["num_group"]
    return channels if channels > 0 else None


def input_dtype(net: Block) -> np.dtype | None:
    """The float type that an image must have, where the net's parameters tell; else None.

    BatchNorms do not tell: they keep float32 in a net that was cast to float16.
    """
    for block in [net, *paths(net).values()]:
        for parameter in block.params.values():
            if not isinstance(block, _BatchNorm) and np.dtype(parameter.dtype).kind == "f":
                return np.dtype(parameter.dtype)
    return None


def next_step(net: Block, path: str) -> str | None:
    """The path of the block that runs right after this one in a sequence of blocks, if there is one."""
    chain = [path for path, _ in _chain(net)]
    following = chain[chain.index(path) + 1 :] if path in chain else []
    return following[0] if following else None


def inside_residual_branch(net: Block, path: str) -> bool:
    """Whether a shortcut leads past this layer, so that it holds only what its block changes."""
    by_path = paths(net)
    parts = path.split(".")
    for depth in range(1, len(parts)):
        parent = by_path[".".join(parts[:depth])]
        if not isinstance(parent, RESIDUAL_BLOCKS):
            continue
        inside = parts[depth]
        before_the_fork = inside in ("bn1", "relu1") and getattr(parent, "downsample", None) is not None
        return inside not in ("add", "relu", "shortcut", "downsample") and not before_the_fork
    return False


def class_ids(net: Block, class_id, logits: np.ndarray) -> tuple[int, ...]:
    """One class number per image.

    Parameters
    ----------
    class_id : None for each image's top class; an int or a label for all images; or a list, one per image
    logits : numpy (N, classes)

    Raises
    ------
    ClassError
        If a class does not exist or the list has another length than the batch.
    NetError
        If a label is given and the net has not one label per class.
    """
    images, classes = logits.shape
    if class_id is None:
        return tuple(int(i) for i in logits.argmax(axis=1))
    if isinstance(class_id, (list, tuple)) or (isinstance(class_id, np.ndarray) and class_id.ndim == 1):
        if len(class_id) != images:
            raise ClassError(f"class_id has {len(class_id)} entries for {images} images; give one class per image")
        return tuple(class_number(net, one, classes) for one in class_id)
    return (class_number(net, class_id, classes),) * images


def labels_of(net: Block, classes: int) -> list[str] | None:
    """The names of the net's classes, from `net.labels`; None if it has none.

    Raises
    ------
    NetError
        If `net.labels` is no sequence with one name per class.
    """
    labels = getattr(net, "labels", None)
    if labels is None:
        return None
    if isinstance(labels, str) or not isinstance(labels, (Sequence, np.ndarray)):
        raise NetError(f"net.labels is {type(labels).__name__}; expected a list of {classes} names, one per class")
    if len(labels) != classes:
        raise NetError(
            f"net.labels has {len(labels)} names; this net has {classes} classes and needs one name for each"
        )
    return [str(label) for label in labels]


def class_number(net: Block, class_id, classes: int) -> int:
    """The number of one class, given by number or label, in a net with so many classes; errors as in `class_ids`."""
    if isinstance(class_id, str):
        labels = labels_of(net, classes)
        if labels is None:
            raise ClassError(f"class_id is the label {class_id!r}, but this net has no labels; give a number")
        if labels.count(class_id) == 1:
            return labels.index(class_id)
        meant = find_classes(labels, class_id)
        if len(meant) == 1:
            return meant[0]
        if meant:
            choices = " or ".join(f"{labels[number]!r} ({number})" for number in meant)
            raise ClassError(f"{class_id!r} can mean several classes; say {choices}")
        near = get_close_matches(class_id, labels, n=3, cutoff=0.4)
        hint = f"; did you mean {' or '.join(near)}?" if near else "; the labels are in net.labels"
        raise ClassError(f"no class is called {class_id!r}{hint}")
    if isinstance(class_id, (bool, np.bool_)) or not isinstance(class_id, Integral):
        kind = f"{type(class_id).__name__} {' '.join(str(class_id).split())[:40]}"
        raise ClassError(
            f"class_id is {kind}; expected None, an int or a label for all images, or a list, one per image"
        )
    if not 0 <= class_id < classes:
        raise ClassError(f"class_id is {class_id}; this net has the classes 0 to {classes - 1}")
    return int(class_id)


def hides_nothing(net: Block) -> bool:
    """Whether every operation of the net is a block of ours, so that a recorder hears all of them."""
    return all(type(block) in rebuilding.TRANSPARENT_BLOCKS for block in [net, *paths(net).values()])


def count_operators(net: Block) -> tuple[int, int]:
    """How many ReLUs and how many max poolings the net computes, blocks or not: (relus, max_pools).

    ReLU6 and the leaky kinds count as ReLUs. The net is traced with a symbol, as MXNet's hybridize does, so
    functional calls are seen too.

    Raises
    ------
    NetError
        If the net cannot be traced.
    """
    try:
        nodes = rebuilding.trace(net)
    except Exception as error:  # whatever the net's own forward raises
        raise NetError(
            f"MXNet cannot trace this net ({in_one_line(error)}), so hidden ReLUs and max poolings cannot be counted; "
            "make each of its blocks a HybridBlock whose hybrid_forward uses F alone"
        ) from error
    max_pools = sum(node["op"] == "Pooling" and node["attrs"].get("pool_type", "max") == "max" for node in nodes)
    return sum(_is_rectifier(node["op"], node.get("attrs", {})) for node in nodes), max_pools


def _is_rectifier(operator: str, options: dict[str, str]) -> bool:
    """Whether an operator of a graph is a ReLU or one of its kin, such as ReLU6 and the leaky ones."""
    if operator == "Activation":
        return options["act_type"] == "relu"
    if operator in ("clip", "_maximum_scalar"):
        return float(options.get("a_min", options.get("scalar", 0))) == 0
    return operator in ("relu", "LeakyReLU", "_contrib_BatchNormWithReLU")
