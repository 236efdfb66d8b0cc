"""`python -m cam check`: five tests of an explanation, for a net of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..maps.layer_table import blank
from ..pictures.images import load_image
from ..truth.sanity_checks import check as verdicts_of
from .options import ModelOption, ParamsOption, SymbolOption, WeightsOption, chosen_net
from .weights import WeightsDir


def check(
    image: Annotated[
        Path | None, typer.Argument(help="A picture to explain; a scene of cut-outs if not given.")
    ] = None,
    model: ModelOption = None,
    weights: WeightsOption = None,
    weights_dir: WeightsDir = None,
    params: ParamsOption = None,
    symbol: SymbolOption = None,
) -> None:
    """Run five tests that the explanation of any net should pass; exit code 1 if one fails.

    The net predicts the same afterwards; branch and shortcut of each addition add up; the map and the bias are the
    logit, where that must hold; a finite difference agrees with the gradient; the guided rule reaches every ReLU.
    """
    net = chosen_net(model, weights, weights_dir, params, symbol)[1]
    x = load_image(image, size=blank(net).shape[2], net=net) if image else None
    verdicts = verdicts_of(net, x)
    typer.echo(verdicts)
    typer.echo("verdict: explain it" if verdicts.passed else "verdict: do not trust its maps before this is mended")
    raise typer.Exit(0 if verdicts.passed else 1)
