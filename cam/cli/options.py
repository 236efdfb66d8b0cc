"""Which net: the options that every command with a net takes, and the net that they choose."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from mxnet.gluon import Block

from ..core.errors import InputError
from ..nets import download, models
from ..nets.exported import imported

EXPORTED = "exported"  # what a net of --params and --symbol is called

ModelOption = Annotated[
    Literal["efficientnet_lite0", "resnet50_v2", "vgg16"] | None,
    typer.Option(help="Which network; efficientnet_lite0 knows photographs.", show_default="efficientnet_lite0"),
]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        help="imagenet (embedded for efficientnet_lite0, else downloaded), scenes (embedded for the other two: 20 "
        "cut-outs), cheater (lesson in mistrust), or a file.",
        show_default="imagenet for efficientnet_lite0, else scenes",
    ),
]
WeightsDir = Annotated[
    Path | None,
    typer.Option(
        "--weights-dir", help="Where ImageNet weights are kept; CAM_WEIGHTS_DIR, or the user's cache, if not given."
    ),
]
ParamsOption = Annotated[Path | None, typer.Option(help="A net of your own: the .params file of export().")]
SymbolOption = Annotated[Path | None, typer.Option(help="And its graph: the .json file of export().")]


def chosen_net(
    model: str | None, weights: str | None, weights_dir: Path | None, params: Path | None, symbol: Path | None
) -> tuple[str, Block]:
    """What the net is called, and the net; one that nobody names is the one for photographs."""
    if params or symbol:
        if model or weights:
            raise InputError("--params and --symbol are a net of your own; give them without --model and --weights")
        if not (params and symbol):
            raise InputError("export() writes two files, give both: --params and --symbol")
        return EXPORTED, imported(symbol, params)
    photographs = "efficientnet_lite0"
    model = model or (photographs if weights in (None, "imagenet") else "resnet50_v2")
    weights = weights or ("imagenet" if model == photographs else "scenes")
    pinned = weights == "imagenet" and model in download.SOURCES
    return model, getattr(models, model)(download.fetch(model, weights_dir) if pinned else weights)
