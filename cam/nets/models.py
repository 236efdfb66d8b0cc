"""VGG16, ResNet50v2 and EfficientNet-Lite0: ordinary Gluon nets, with weights or without; the zoo has the first two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import lru_cache
from numbers import Real
from pathlib import Path
from typing import NamedTuple

import mxnet as mx
import numpy as np
from mxnet import nd
from mxnet.gluon import HybridBlock, nn
from mxnet.gluon.model_zoo.vision import resnet, vgg

from ..core import layers
from ..core.checks import is_whole
from ..core.errors import InputError, WeightsError
from ..core.inputs import Normalisation
from . import download, formats
from .efficientnet import EfficientNetLite0
from .labels import imagenet_labels
from .weights import account, check_name, embedded, load, missing_and_surplus, structural

SCENE_LABELS = (Path(__file__).parent / "assets" / "scene_classes.txt").read_text().splitlines()
CAUTION = f"this net knows {len(SCENE_LABELS)} cut-outs and will give any photograph one of their names"
PARTS = ("imagenet_features", "imagenet_output")  # of the embedded efficientnet_lite0


class VGG(vgg.VGG):
    """The zoo's VGG16 with a choice of its hidden Dense width, which the zoo fixes at 4096."""

    def __init__(self, filters: Sequence[int], hidden: int, classes: int):
        HybridBlock.__init__(self)
        with self.name_scope():
            self.features = self._make_features([2, 2, 3, 3, 3], filters, batch_norm=False)
            for _ in range(2):
                self.features.add(nn.Dense(hidden, activation="relu"), nn.Dropout(0.5))
            self.output = nn.Dense(classes)


def build_vgg16(sizes: Sequence[int], classes: int) -> HybridBlock:
    """VGG16 without parameter values, for 224x224; `sizes`: channels of the five stages, units of the Dense layers."""
    *filters, hidden = sizes
    return _shaped(VGG(filters, hidden, classes))


def build_resnet50_v2(sizes: Sequence[int], classes: int) -> HybridBlock:
    """ResNet50v2 without parameter values; `sizes`: channels of the stem and the four stages."""
    return _shaped(resnet.ResNetV2(resnet.BottleneckV2, [3, 4, 6, 3], sizes, classes=classes))


def build_efficientnet_lite0(sizes: Sequence[int], classes: int) -> HybridBlock:
    """EfficientNet-Lite0 without parameter values; `sizes`: channels of the head."""
    net = _shaped(EfficientNetLite0(*sizes, classes))
    mean, deviation = np.full(3, 127 / 255, np.float32), np.full(3, 128 / 255, np.float32)
    net.normalisation = Normalisation(mean, deviation, "bicubic")  # (pixel - 127) / 128
    return net


def _shaped(net: HybridBlock) -> HybridBlock:
    net.infer_shape(nd.zeros((1, 3, 224, 224)))
    net.labels = None
    return net


class Kind(NamedTuple):
    """How to build a net: from which sizes, the zoo's own, and which parameters of a file have these lengths."""

    build: Callable[[Sequence[int], int], HybridBlock]
    sizes: tuple[int, ...]
    told_by: tuple[str, ...]

    def scaled(self, width: float) -> list[int]:
        """The sizes of a net of this share of the zoo's width."""
        return [round(size * width) // 4 * 4 for size in self.sizes]


KINDS = {
    "vgg16": Kind(
        build=build_vgg16,
        sizes=(64, 128, 256, 512, 512, 4096),
        told_by=tuple(f"features.{index}.bias" for index in (0, 5, 10, 17, 24, 31)),
    ),
    "resnet50_v2": Kind(
        build=build_resnet50_v2,
        sizes=(64, 256, 512, 1024, 2048),
        told_by=("features.1.weight", *(f"features.{stage}.0.conv3.weight" for stage in (5, 6, 7, 8))),
    ),
    "efficientnet_lite0": Kind(
        build=build_efficientnet_lite0,
        sizes=(1280,),
        told_by=("features.17.conv.weight",),
    ),
}


def vgg16(weights: str | Path | None = "scenes", classes: int | None = None, width: float | None = None, ctx=None):
    """VGG16 (Simonyan and Zisserman 2014, table 1, column D).

    Parameters
    ----------
    weights : "scenes" for the embedded narrow net that knows the 20 classes of `cam.scenes`; "imagenet" for the full
        net, from a pinned file that is downloaded if need be; a path to a `.params` or `.onnx` file, from which sizes
        and classes are read; or None for random values
    classes : number of logits with weights=None; 1000 if not given
    width : with weights=None, the share of the zoo's channels and hidden units; 1 if not given
    ctx : an MXNet context; the CPU if not given

    Returns
    -------
    HybridBlock for images (N, 3, 224, 224). A file with 1000 classes is taken for one of ImageNet's, in their order:
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
    """ResNet50v2 (He et al. 2016, "Identity mappings").

    Parameters and errors as for `vgg16`. weights="cheater" is the embedded net whose last layer learned to read the tag
    of `scenes.tag` instead of looking at the animals: something to find out.

    Returns
    -------
    HybridBlock for images (N, 3, H, W) of any size from 32 pixels on
    """
    return _make("resnet50_v2", weights, classes, width, ctx)


def efficientnet_lite0(weights: str | Path | None = "imagenet", classes: int | None = None, ctx=None):
    """EfficientNet-Lite0 (Tan and Le 2019; the Lite variant is Google's of 2020: ReLU6, no gates).

    The net for photographs: its weights for ImageNet's 1000 classes are embedded, so nothing is downloaded. It has its
    own `normalisation`, (pixel - 127) / 128, which `cam.explain` and `cam.load_image(..., net=net)` ask for; it sees
    the same part of a photograph as other ImageNet nets, the middle 224/256 of the shorter side.

    Parameters
    ----------
    weights : "imagenet" for the embedded ones; a path to a `.params` file; or None for random values
    classes : number of logits with weights=None; 1000 if not given
    ctx : an MXNet context; the CPU if not given

    Returns
    -------
    HybridBlock for images (N, 3, H, W) of sides that are multiples of 32

    Raises
    ------
    WeightsError, InputError
        As for `vgg16`.
    """
    return _make("efficientnet_lite0", weights, classes, None, ctx)


def _make(name, weights, classes, width, ctx):
    if weights is None:
        return _untrained(KINDS[name], 1000 if classes is None else classes, 1 if width is None else width, ctx)
    if classes is not None or width is not None:
        raise InputError("classes and width are read from the weights; give them with weights=None only")
    if not isinstance(weights, (str, Path)):
        kinds = "'scenes', 'imagenet', 'cheater' (resnet50_v2 only), the path of a file, or None"
        raise InputError(f"weights is {weights!r}; expected {kinds}")
    own = "imagenet" if name == "efficientnet_lite0" else "scenes"
    if weights == "cheater" and name != "resnet50_v2":
        raise InputError(f"weights is 'cheater'; only resnet50_v2 has a cheater, {name} has {own!r}")
    if name == "efficientnet_lite0" and weights == "scenes":
        raise InputError("weights is 'scenes'; efficientnet_lite0 has 'imagenet', vgg16 and resnet50_v2 have 'scenes'")
    if name == "efficientnet_lite0" and weights == "imagenet":  # in two files, since one would be large
        arrays = {key: value for part in PARTS for key, value in formats.read(embedded(name, part)).items()}
        return assemble(name, arrays, weights, ctx)
    if weights in ("scenes", "cheater"):
        arrays = formats.read(embedded(name))
        if weights == "cheater":  # the same net, but for the last layer, which `training.cheater` taught to read tags
            arrays.update(formats.read(embedded(name, "cheater")))
        net = assemble(name, arrays, weights, ctx)
        net.labels, net.caution = list(SCENE_LABELS), CAUTION
        return net
    path = download.fetch(name) if weights == "imagenet" else Path(weights)
    near = get_close_matches(str(weights).lower(), ("scenes", "imagenet", "cheater"), n=1, cutoff=0.7)
    if near and not path.exists():
        raise WeightsError(f"weights file {weights}: No such file; did you mean {near[0]!r}?")
    check_name(path)
    return assemble(name, formats.read(path), str(weights), ctx)


def _untrained(kind: Kind, classes: int, width: float, ctx) -> HybridBlock:
    if not is_whole(classes) or classes < 1:
        raise InputError(f"classes is {classes!r}; expected a positive int")
    if isinstance(width, bool) or not isinstance(width, Real) or not 1 / 16 <= width <= 4:
        raise InputError(f"width is {width!r}; expected a number from 1/16 to 4")
    net = kind.build(kind.scaled(width), classes)
    net.initialize(mx.init.Xavier(rnd_type="gaussian", factor_type="in", magnitude=2), ctx=ctx)  # He et al. 2015
    return net


def assemble(name: str, arrays: dict[str, np.ndarray], source: str, ctx=None) -> HybridBlock:
    """A net of the size that the arrays have, with their values; its labels are ImageNet's if it has 1000 classes.

    Parameters
    ----------
    name : "vgg16", "resnet50_v2" or "efficientnet_lite0"
    arrays : values by any of the names that `cam.weights` knows
    source : what to call the values in messages

    Raises
    ------
    WeightsError
        Listing what is missing, surplus or of the wrong shape.
    """
    if problems := _misfits(name, arrays):
        fits = nearest(arrays)
        misfits = len(_misfits(fits, arrays))
        if not misfits:
            raise WeightsError(
                f"weights {source} are those of {_one(fits)}, not of {_one(name)}: load them as {_one(fits)}"
            )
        if misfits > len(_topology(fits)) / 2:
            known = " nor of ".join(map(_one, KINDS))
            raise WeightsError(f"weights {source} are neither those of {known}, the nets that cam builds")
        account(problems, source, _one(name))
    arrays = structural(arrays, _topology(name))
    empty = [f"{key} has shape {values.shape}" for key, values in arrays.items() if values.size == 0 or not values.ndim]
    account(empty, source, _one(name))
    try:
        net = KINDS[name].build([len(arrays[key]) for key in KINDS[name].told_by], len(arrays["output.bias"]))
    except mx.MXNetError:
        raise WeightsError(f"weights {source} do not fit {_one(name)}: their sizes do not go together") from None
    load(net, arrays, source, ctx)
    net.labels = imagenet_labels() if len(arrays["output.bias"]) == 1000 else None
    return net


def _one(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def nearest(arrays: dict[str, np.ndarray]) -> str:
    """The name of the net, of those in KINDS, to whose parameters the arrays' names come nearest."""
    return min(KINDS, key=lambda name: len(_misfits(name, arrays)))


def _misfits(name: str, arrays: dict[str, np.ndarray]) -> list[str]:
    topology = _topology(name)
    return missing_and_surplus(structural(arrays, topology), list(topology.values()))


@lru_cache
def _topology(name: str) -> dict[str, str]:
    """Structural names by Gluon's names without the net's prefix; they do not depend on the net's size."""
    net = KINDS[name].build(KINDS[name].scaled(1 / 16), 1)
    return {parameter.name.removeprefix(net.prefix): path for path, parameter in layers.parameters(net).items()}
