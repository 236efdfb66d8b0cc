"""`python -m cam weights`: list, get and check weights files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..core import layers
from ..nets import download, models, weights_files

app = typer.Typer(help="List, get and check weights files.", no_args_is_help=True, pretty_exceptions_enable=False)

KEPT = "Where ImageNet weights are kept; CAM_WEIGHTS_DIR, or the user's cache, if not given."
WeightsDir = Annotated[Path | None, typer.Option(help=KEPT)]


@app.command("list")
def list_files(weights_dir: WeightsDir = None) -> None:
    """Say which ImageNet weights are pinned, and whether they are here."""
    for name, source in download.SOURCES.items():
        place = download.place_of(name, weights_dir)
        get_it = f"`python -m cam weights get {name}{f' --weights-dir {weights_dir}' if weights_dir else ''}`"
        if download.find(name, weights_dir):
            state = f"here: {place}"
        elif place.is_file():
            state = f"damaged: {place} is another file; {get_it} replaces it"
        else:
            state = f"not here; {get_it} puts it at {place}"
        typer.echo(f"{name}\n  {source.file}, {source.size / 1e6:.0f} MB, from {source.repository} on Hugging Face")
        typer.echo(f"  sha256 {source.sha256}\n  {source.about}\n  {state}")


@app.command()
def get(
    nets: Annotated[list[str] | None, typer.Argument(help="vgg16, resnet50_v2; both if not given.")] = None,
    weights_dir: WeightsDir = None,
) -> None:
    """Download ImageNet weights, unless they are here, and say where they are."""
    for name in nets or download.SOURCES:
        typer.echo(f"{name}: {download.fetch(name, weights_dir)}")


@app.command()
def check(file: Annotated[Path, typer.Argument(help="A .params or .onnx file, whatever its name.")]) -> None:
    """Say what a weights file is, and whether every parameter is there and fits."""
    arrays = weights_files.read(file)
    name = models.nearest(arrays)
    net = models.assemble(name, arrays, str(file))
    parameters = layers.parameters(net).values()
    millions = sum(parameter.data().size for parameter in parameters) / 1e6
    typer.echo(f"{file}: all {len(parameters)} parameters of a {name} ({millions:.1f} million numbers)")
    typer.echo(f"classes: {net.output.weight.shape[0]}{', taken for those of ImageNet' if net.labels else ''}")
    checksum = weights_files.sha256(file)
    pinned = any(source.sha256 == checksum for source in download.SOURCES.values())
    typer.echo(f"sha256: {checksum}{', the pinned file' if pinned else ', not a pinned file'}")
