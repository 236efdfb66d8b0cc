"""The command line: python -m cam explain | layers | check | scene | weights.

Exit codes: 0 all done; 1 of several pictures some, or all, could not be explained; 2 nothing could be done as asked;
130 interrupted, with every file that was written complete.
"""

from __future__ import annotations

import json
import re
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer
from mxnet.gluon import Block
from PIL import Image
from rich.console import Console
from rich.progress import Progress

from ..core.errors import CamError, InputError, InputWarning, MapWarning
from ..maps.layer_table import layers as table_of_layers
from ..nets import download, models
from ..nets.exported import imported, read_classes
from ..nets.normalisation import blank
from ..pictures.explanation import Explanation
from ..pictures.images import load_image, read_image
from ..pictures.pipeline import explain_many
from ..truth import scenes
from ..truth.sanity_checks import check as verdicts_of
from . import weights as weights_commands
from .background import explained
from .picture_files import EXPORTED, names_of, pictures_of, write, write_picture
from .weights import WeightsDir

app = typer.Typer(
    add_completion=False,
    rich_markup_mode="markdown",  # paragraphs without the source's line ends
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Where does your network look? Grad-CAM and guided backpropagation for photographs, and for nets of your own.",
)
# Results go to stdout, everything else here.
people = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
app.add_typer(weights_commands.app, name="weights")

# Which net: what every command with a net takes.
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
ParamsOption = Annotated[Path | None, typer.Option(help="A net of your own: the .params file of export().")]
SymbolOption = Annotated[Path | None, typer.Option(help="And its graph: the .json file of export().")]


@app.command()
def explain(
    sources: Annotated[list[Path], typer.Argument(metavar="IMAGE|FOLDER...", help="Pictures, or folders of them.")],
    model: ModelOption = None,
    weights: WeightsOption = None,
    weights_dir: WeightsDir = None,
    params: ParamsOption = None,
    symbol: SymbolOption = None,
    classes: Annotated[Path | None, typer.Option(help="Names of the net's classes, one a line.")] = None,
    layer: Annotated[str | None, typer.Option(help="Layer of the Grad-CAM; see the command layers.")] = None,
    target: Annotated[
        str | None, typer.Option("--class", "--target", help="A label or number, instead of the top class.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, max=20, help="Explain this many of the top classes.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder for the panels; it is made if need be.")] = Path("explanations"),
    overlay: Annotated[bool, typer.Option(help="Also write the Grad-CAM over the picture at its full size.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per explanation or failure.")] = False,
    batch: Annotated[int, typer.Option(min=1, help="Pictures per forward pass.")] = 4,
    fit: Annotated[Literal["crop", "letterbox", "squash"], typer.Option(help="How a picture becomes square.")] = "crop",
) -> None:
    """Explain what a network sees in pictures, one by one or in folders.

    Writes one panel per picture and class, OUT/PICTURE.CLASS.MODEL.LAYER.png; where two pictures of different folders
    have the same name, FOLDER.PICTURE. A picture that is given twice is explained once. A picture that cannot be read,
    or whose results cannot be written, is reported and skipped.
    """
    names = names_of(path for source in sources for path in pictures_of(source))
    if not any(path.exists() for path in names):  # before weights are downloaded
        read_image(next(iter(names)))
    name, net = _chosen_net(model, weights, weights_dir, params, symbol)
    if classes:
        net.labels = read_classes(classes)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {out}: {error.strerror}") from None
    numeric = target and re.fullmatch(r"-?[0-9]{1,9}", target)  # int() takes other digits, and refuses thousands
    wanted = int(target) if numeric else target
    asked = partial(explain_many, net, target=wanted, layer=layer, top=top, fit=fit, size=blank(net).shape[2])
    written = partial(write, out=out, model=name, overlay=overlay)
    quiet = len(names) == 1 or not people.is_terminal  # elsewhere a bar is an empty line
    terminal = sys.stdout.isatty()  # only there do results have to make room for the bar
    bar = Progress(console=people, transient=True, disable=quiet, redirect_stdout=terminal)
    notes: set[str] = set()  # each is said once
    failures = 0
    with bar:
        task = bar.add_task("explaining", total=len(names))
        for path, results in explained(names, batch, asked, written):
            try:
                for explanation, files in results.result():
                    _report(path, explanation, files, as_json, notes)
            except CamError as error:  # of this picture, or of writing its files
                failures += 1
                if as_json:
                    typer.echo(json.dumps({"image": str(path), "error": str(error)}))
                if len(names) == 1:
                    raise
                people.print(f"skipped: {error}")
            bar.advance(task)
    if failures:
        people.print(f"{failures} of {len(names)} pictures could not be explained")
        raise typer.Exit(1)


@app.command()
def layers(
    model: ModelOption = None,
    weights: WeightsOption = None,
    weights_dir: WeightsDir = None,
    params: ParamsOption = None,
    symbol: SymbolOption = None,
) -> None:
    """List a network's layers with their output shapes, and which one to take."""
    typer.echo(table_of_layers(_chosen_net(model, weights, weights_dir, params, symbol)[1]))


@app.command()
def check(
    image: Annotated[Path | None, typer.Argument(help="A picture; a scene of cut-outs if not given.")] = None,
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
    _, net = _chosen_net(model, weights, weights_dir, params, symbol)
    verdicts = verdicts_of(net, load_image(image, size=blank(net).shape[2], net=net) if image else None)
    typer.echo(verdicts)
    typer.echo("verdict: explain it" if verdicts.passed else "verdict: do not trust its maps before this is mended")
    raise typer.Exit(0 if verdicts.passed else 1)


@app.command()
def scene(
    seed: Annotated[int, typer.Option(min=0, help="Which scene; the same seed draws the same scene.")],
    objects: Annotated[int, typer.Option(min=1, max=3, help="How many objects.")] = 2,
    size: Annotated[int, typer.Option(min=32, help="Height and width in pixels.")] = 224,
    out: Annotated[Path | None, typer.Option(help="The picture's file; scene-SEED.png if not given.")] = None,
    masks: Annotated[bool, typer.Option(help="Also write the mask of each object, black and white.")] = False,
) -> None:
    """Draw a scene of cut-outs."""
    drawn = scenes.draw(seed, objects, size)
    path = out or Path(f"scene-{seed}.png")
    write_picture(path, Image.fromarray(drawn.image))
    typer.echo(f"{path}: {' and '.join(drawn.labels)}")
    for label, mask in zip(drawn.labels, drawn.masks) if masks else ():
        file = path.with_name(f"{path.stem}-{label.replace(' ', '_')}.png")
        write_picture(file, Image.fromarray(mask))
        typer.echo(f"{file}: the mask of the {label}")


def _chosen_net(
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


def _report(path: Path, explanation: Explanation, files: dict[str, str], as_json: bool, notes: set[str]) -> None:
    """Say what came out; `notes` are those that were already said. What is not about the net names its picture."""
    if as_json:
        facts = {name: getattr(explanation, name) for name in ("label", "target", "probability", "logit", "layer")}
        seen = explanation.placement.box  # left, top, right, bottom in pixels of the picture
        said = [str(warning) for warning in explanation.warnings]
        typer.echo(json.dumps({"image": str(path), **facts, "seen": seen, "warnings": said, **files}))
        return
    typer.echo(f"{path}: {explanation}")
    for kind, file in files.items():
        typer.echo(f"  {kind} {file}")
    subjects = {InputWarning: f"{path}: ", MapWarning: f"{path}, {explanation.name}: "}
    for warning in explanation.warnings:
        named = str(warning).startswith(f"image {path} ")  # by what read it
        note = f"note: {'' if named else subjects.get(type(warning), '')}{warning}"
        if note not in notes:
            people.print(note)
        notes.add(note)


def main() -> None:
    """Run the command line; an expected error is one sentence, and so is a warning."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: people.print(f"note: {message}")
            app(prog_name="python -m cam")
    except CamError as error:
        people.print(f"error: {error}")
        sys.exit(2)
    except OSError as error:  # of a folder that may not be read, or of a full disk, which has no name
        where = f"{error.filename}: " if error.filename else ""
        people.print(f"error: {where}{error.strerror or error}")
        sys.exit(2)
