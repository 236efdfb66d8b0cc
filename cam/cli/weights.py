"""`python -m cam weights`: list, get, check and convert files of parameters.

What goes wrong is raised as a `CamError`; the command line turns it into one sentence.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import mxnet as mx
import typer
from mxnet.gluon import HybridBlock
from mxnet.gluon.model_zoo import model_store

from ..core.errors import WeightsError
from ..nets import download, formats, models
from ..nets.weights import check_name, digest

app = typer.Typer(
    help="List, get, check and convert files of parameters.", no_args_is_help=True, pretty_exceptions_enable=False
)

WeightsDir = Annotated[
    Path | None,
    typer.Option(
        "--weights-dir", help="Where ImageNet weights are kept; CAM_WEIGHTS_DIR, or the user's cache, if not given."
    ),
]
File = Annotated[Path, typer.Argument(help="A .params, .onnx or .safetensors file, whatever its name.")]


@app.command("list")
def list_files(weights_dir: WeightsDir = None) -> None:
    """Say which ImageNet weights are pinned, and whether they are here."""
    for name, source in download.SOURCES.items():
        place = download.folder(weights_dir) / source.file
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
def check(file: File) -> None:
    """Say what a file of parameters is, and whether every parameter is there and fits."""
    kind = formats.kind_of(file)
    name, net = _net(file)
    checksum = digest(file)
    pinned = any(source.sha256 == checksum for source in download.SOURCES.values())
    parameters = net._collect_params_with_prefix()
    numbers = sum(parameter.data().size for parameter in parameters.values())
    typer.echo(f"{file}: .{kind}, all {len(parameters)} parameters of a {name} ({numbers / 1e6:.1f} million numbers)")
    typer.echo(f"classes: {net.output.weight.shape[0]}{', taken for those of ImageNet' if net.labels else ''}")
    typer.echo(f"sha256: {checksum}{', the pinned file' if pinned else ', not a pinned file'}")
    if model_store._model_sha1.get(name) == digest(file, "sha1"):
        typer.echo("sha1: that of MXNet's own model zoo, undamaged")


@app.command()
def convert(
    file: File, out: Annotated[Path, typer.Argument(help="The .params file to write; it must not exist yet.")]
) -> None:
    """Write any file of parameters as a Gluon .params file with structural names."""
    if out.suffix != ".params":
        raise WeightsError(f"{out} would be a .params file; give it that ending")
    if out.exists():
        raise WeightsError(f"{out} exists; give another name, or remove it first")
    if not out.parent.is_dir():
        raise WeightsError(f"{out} cannot be written: there is no folder {out.parent}")
    name, net = _net(file)
    part = out.with_name(f"{out.name}.part")
    try:
        net.save_parameters(str(part))
        os.replace(part, out)
    except (OSError, mx.MXNetError) as error:  # such as a full disk
        part.unlink(missing_ok=True)
        reason = str(error).strip().splitlines()[-1].rpartition(": ")[2]  # after MXNet's own words
        raise WeightsError(f"{out} cannot be written: {reason}") from error
    typer.echo(f"{out}: a {name}, sha256 {digest(out)}")


def _net(file: Path) -> tuple[str, HybridBlock]:
    """The net whose parameters a file holds, and the net's name."""
    check_name(file)
    arrays = formats.read(file)
    name = models.nearest(arrays)
    return name, models.assemble(name, arrays, str(file))
