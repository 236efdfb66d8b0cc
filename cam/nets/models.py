"""VGG16, ResNet50v2 and EfficientNet-Lite0: ordinary Gluon nets, with weights or without; the zoo has the first two."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from numbers import Real
from pathlib import Path
from typing import NamedTuple

import mxnet as mx
import numpy as np
from mxnet import nd
from mxnet.gluon import HybridBlock, nn
from mxnet.gluon.model_zoo.vision import resnet, vgg

from ..core.checks import is_whole
from ..core.errors import InputError, WeightsError
from ..core.layers import parameters
from ..core.tracing import refuse_numpy_mode
from . import download, weights_files
from .efficientnet import EfficientNetLite0
from .labels import imagenet_labels
from .loading import load, misfits, refuse, structural

SCENE_LABELS = (weights_files.ASSETS / "scene_classes.txt").read_text().splitlines()
CAUTION = f"this net knows {len(SCENE_LABELS)} cut-outs and will give any photograph one of their names"


class VGG(vgg.VGG):  # under the zoo's name, with which Gluon begins the names of parameters and layers ("vgg0_")
    """The zoo's VGG16 with a choice of its hidden Dense width, which the zoo fixes at 4096."""

    def __init__(self, *sizes: int, classes: int):
        *filters, hidden = sizes
        HybridBlock.__init__(self)
        with self.name_scope():
            self.features = self._make_features([2, 2, 3, 3, 3], filters, batch_norm=False)
            for _ in range(2):
                self.features.add(nn.Dense(hidden, activation="relu"), nn.Dropout(0.5))
            self.output = nn.Dense(classes)


def resnet50(*sizes: int, classes: int) -> HybridBlock:
    """The zoo's ResNet50v2 with a choice of its channels."""
    return resnet.ResNetV2(resnet.BottleneckV2, [3, 4, 6, 3], sizes, classes=classes)


class Kind(NamedTuple):
    """A net that cam builds."""

    net: Callable[..., HybridBlock]
    sizes: tuple[int, ...]  # channels and hidden units of the net at full width
    told_by: tuple[str, ...]  # the parameters in a weights file that have these lengths
    embedded: dict[str, tuple[str, ...]]  # files; the values in one replace those in the files before it

    def build(self, sizes: Sequence[int], classes: int) -> HybridBlock:
        """The net without parameter values."""
        net = self.net(*sizes, classes=classes)
        net.infer_shape(nd.zeros((1, 3, 224, 224)))
        net.labels = None
        return net

    def scaled(self, width: float) -> list[int]:
        """The sizes of a net of this share of the full width."""
        return [round(size * width) // 4 * 4 for size in self.sizes]


KINDS = {
    "vgg16": Kind(
        VGG,
        sizes=(64, 128, 256, 512, 512, 4096),
        told_by=tuple(f"features.{index}.bias" for index in (0, 5, 10, 17, 24, 31)),
        embedded={"scenes": ("vgg16_scenes.params",)},
    ),
    "resnet50_v2": Kind(
        resnet50,
        sizes=(64, 256, 512, 1024, 2048),
        told_by=("features.1.weight", *(f"features.{stage}.0.conv3.weight" for stage in (5, 6, 7, 8))),
        embedded={
            "scenes": ("resnet50_v2_scenes.params",),
            "cheater": ("resnet50_v2_scenes.params", "resnet50_v2_cheater.params"),  # another last layer
        },
    ),
    "efficientnet_lite0": Kind(
        EfficientNetLite0,
        sizes=(1280,),
        told_by=("features.17.conv.weight",),
        embedded={"imagenet": tuple(f"efficientnet_lite0_imagenet_{part}.params" for part in ("features", "output"))},
    ),
}


def vgg16(
    weights: str | Path | None = "scenes", classes: int | None = None, width: float | None = None, ctx=None
) -> HybridBlock:
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
    HybridBlock
        For images (N, 3, 224, 224). Its `labels` are ImageNet's if a file has 1000 classes, which are taken for those.

    Raises
    ------
    WeightsError
        If the weights are missing, damaged or of another net; every parameter is accounted for.
    InputError
        If weights is none of these, classes or width is out of range, or given where the weights fix it.
    """
    return _make("vgg16", weights, classes, width, ctx)


def resnet50_v2(
    weights: str | Path | None = "scenes", classes: int | None = None, width: float | None = None, ctx=None
) -> HybridBlock:
    """ResNet50v2 (He et al. 2016, "Identity mappings").

    Parameters
    ----------
    weights : as for `vgg16`, or "cheater": the embedded net whose last layer learned to read the tag of `scenes.tag`
        instead of looking at the animals, something to find out
    classes, width, ctx : as for `vgg16`, whose errors this function raises

    Returns
    -------
    HybridBlock
        For images (N, 3, H, W) of any size from 32 pixels on.
    """
    return _make("resnet50_v2", weights, classes, width, ctx)


def efficientnet_lite0(weights: str | Path | None = "imagenet", classes: int | None = None, ctx=None) -> HybridBlock:
    """EfficientNet-Lite0 (Tan and Le 2019; the Lite variant is Google's of 2020: ReLU6, no gates).

    It is the net for photographs. It has its own `normalisation`, (pixel - 127) / 128, which `cam.explain` and
    `cam.load_image(..., net=net)` ask for; it sees the same part of a photograph as other ImageNet nets, the middle
    224/256 of the shorter side.

    Parameters
    ----------
    weights : "imagenet", which are embedded, a path or None, as for `vgg16`
    classes, ctx : as for `vgg16`, whose errors this function raises

    Returns
    -------
    HybridBlock
        For images (N, 3, H, W) of sides that are multiples of 32.
    """
    return _make("efficientnet_lite0", weights, classes, None, ctx)


def _make(name: str, weights, classes: int | None, width: float | None, ctx) -> HybridBlock:
    refuse_numpy_mode()
    embedded = KINDS[name].embedded
    if weights is None:
        return _untrained(KINDS[name], 1000 if classes is None else classes, 1 if width is None else width, ctx)
    if classes is not None or width is not None:
        raise InputError("classes and width are read from the weights; give them with weights=None only")
    if isinstance(weights, str) and weights in embedded:
        arrays: dict[str, np.ndarray] = {}
        for file in embedded[weights]:
            arrays.update(weights_files.embedded(file))
    elif weights == "imagenet":
        arrays = weights_files.read(download.fetch(name))
    elif isinstance(weights, (str, Path)) and (Path(weights).suffix or Path(weights).exists()):
        arrays = weights_files.read(weights)
    else:
        known = dict.fromkeys([*embedded, "imagenet"])
        raise InputError(
            f"weights is {weights!r}; {name} has {' and '.join(map(repr, known))}; or give the path of a file, or None"
        )
    net = assemble(name, arrays, str(weights), ctx)
    if weights in embedded and weights != "imagenet":
        net.labels, net.caution = list(SCENE_LABELS), CAUTION
    return net


def _untrained(kind: Kind, classes: int, width: float, ctx) -> HybridBlock:
    if not is_whole(classes) or classes < 1:
        raise InputError(f"classes is {classes!r}; expected a positive int")
    if isinstance(width, bool) or not isinstance(width, Real) or not 1 / 16 <= width <= 4:
        raise InputError(f"width is {width!r}; expected a number from 1/16 to 4")
    net = kind.build(kind.scaled(width), classes)
    net.initialize(mx.init.Xavier(rnd_type="gaussian", factor_type="in", magnitude=2), ctx=ctx)  # He et al. 2015
    return net


def assemble(name: str, arrays: Mapping[str, np.ndarray], source: str, ctx=None) -> HybridBlock:
    """A net of the size that the arrays have, with their values; its labels are ImageNet's if it has 1000 classes.

    The arrays' names are structural or Gluon's. Raises WeightsError if any is missing, surplus or of the wrong shape;
    `source` is what to call the values then.
    """
    found, problems = _named(name, arrays)
    if problems and not _named(fits := nearest(arrays), arrays)[1]:
        raise WeightsError(f"weights {source} are those of {fits}, not of {name}: load them with cam.{fits}")
    empty = [f"{key} has shape {values.shape}" for key, values in found.items() if values.size == 0 or not values.ndim]
    refuse(problems or empty, source, name)
    sizes, classes = [len(found[key]) for key in KINDS[name].told_by], len(found["output.bias"])
    try:
        net = KINDS[name].build(sizes, classes)
    except mx.MXNetError:
        raise WeightsError(f"weights {source} do not fit {name}: their sizes do not go together") from None
    load(parameters(net), found, source, ctx)
    net.labels = imagenet_labels() if classes == 1000 else None
    return net


def nearest(arrays: Mapping[str, np.ndarray]) -> str:
    """The name of the net, of those in KINDS, to whose parameters the arrays' names come nearest."""
    return min(KINDS, key=lambda name: len(_named(name, arrays)[1]))


def _named(name: str, arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays by structural name, and in words which are missing and which are surplus."""
    topology = _topology(name)
    found = structural(arrays, topology)
    return found, misfits(found, topology.values())


@lru_cache
def _topology(name: str) -> dict[str, str]:
    """Structural names by Gluon's names without the net's prefix; they do not depend on the net's size."""
    with mx.name.NameManager():  # so that Gluon does not count this one: the user's first is resnetv20_, as in the zoo
        net = KINDS[name].build(KINDS[name].scaled(1 / 16), 1)
    return {parameter.name.removeprefix(net.prefix): path for path, parameter in parameters(net).items()}
