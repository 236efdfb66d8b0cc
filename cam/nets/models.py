"""VGG16 and ResNet50v2: ordinary Gluon nets, with the zoo's names, with weights or without."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from functools import lru_cache
from numbers import Real
from pathlib import Path

import mxnet as mx
import numpy as np
from mxnet import nd
from mxnet.gluon import HybridBlock, nn
from mxnet.gluon.model_zoo.vision import resnet, vgg

from ..core.checks import is_whole
from ..core.errors import InputError, WeightsError
from . import download, formats
from .labels import imagenet_labels
from .weights import account, check_name, embedded, load, missing_and_surplus, structural

SCENE_LABELS = (Path(__file__).parent / "assets" / "scene_classes.txt").read_text().splitlines()
CAUTION = f"this net knows {len(SCENE_LABELS)} cut-outs and will give any photograph one of their names"


class ScaledVGG(vgg.VGG):
    """The zoo's VGG with a choice of its hidden Dense width, which the zoo fixes at 4096."""

    def __init__(self, layers: Sequence[int], filters: Sequence[int], hidden: int, classes: int):
        HybridBlock.__init__(self)
        with self.name_scope():
            self.features = self._make_features(layers, filters, batch_norm=False)
            for _ in range(2):
                self.features.add(nn.Dense(hidden, activation="relu"), nn.Dropout(0.5))
            self.output = nn.Dense(classes)

    def _alias(self) -> str:
        return "vgg"  # parameters are called as the zoo's


def build_vgg16(filters: Sequence[int], hidden: int, classes: int) -> HybridBlock:
    """VGG16 without parameter values, for 224x224: five stages of `filters`, two Dense layers of `hidden` units."""
    return _shaped(ScaledVGG([2, 2, 3, 3, 3], filters, hidden, classes))


def build_resnet50_v2(channels: Sequence[int], classes: int) -> HybridBlock:
    """ResNet50v2 without parameter values: stem and four stages of `channels`."""
    return _shaped(resnet.ResNetV2(resnet.BottleneckV2, [3, 4, 6, 3], channels, classes=classes))


def _shaped(net: HybridBlock) -> HybridBlock:
    net.infer_shape(nd.zeros((1, 3, 224, 224)))
    net.labels = None
    return net


def vgg16(weights: str | Path | None = "scenes", classes: int | None = None, width: float | None = None, ctx=None):
    """VGG16 (Simonyan and Zisserman 2014, table 1, column D).

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


def _cheater(name, ctx):
    """The embedded net with the last layer that `training.cheater` taught to read tags."""
    if name != "resnet50_v2":
        raise InputError(f"weights is 'cheater'; only resnet50_v2 has a cheater, {name} has 'scenes'")
    net = _make(name, "scenes", None, None, ctx)
    parameters = net._collect_params_with_prefix()
    for key, values in formats.read(embedded(name, "cheater")).items():
        parameters[key].set_data(nd.array(values, dtype=parameters[key].dtype))
    return net


def _make(name, weights, classes, width, ctx):
    build, scaled, _ = _BUILDERS[name]
    if weights is None:
        classes, width = 1000 if classes is None else classes, 1 if width is None else width
        if not is_whole(classes) or classes < 1:
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
        kinds = "'scenes', 'imagenet', 'cheater' (resnet50_v2 only), the path of a file, or None"
        raise InputError(f"weights is {weights!r}; expected {kinds}")
    if weights == "scenes":
        path = embedded(name)
    elif weights == "imagenet":
        path = download.fetch(name)
    else:
        _check_spelling(weights)
        check_name(weights)
        path = weights
    net = assemble(name, formats.read(path), str(weights), ctx)
    if weights == "scenes":
        net.labels, net.caution = list(SCENE_LABELS), CAUTION
    return net


def _check_spelling(weights: str | Path) -> None:
    near = get_close_matches(str(weights).lower(), ("scenes", "imagenet", "cheater"), n=1, cutoff=0.7)
    if near and not Path(weights).exists():
        raise WeightsError(f"weights file {weights}: No such file; did you mean {near[0]!r}?")


def assemble(name: str, arrays: dict[str, np.ndarray], source: str, ctx=None) -> HybridBlock:
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
        misfits = len(_misfits(fits, arrays))
        if not misfits:
            raise WeightsError(f"weights {source} are those of a {fits}, not of a {name}: load them as a {fits}")
        if misfits > len(_topology(fits)) / 2:
            known = " nor of a ".join(_BUILDERS)
            raise WeightsError(f"weights {source} are neither those of a {known}, the nets that cam builds")
        account(problems, source, f"a {name}")
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
