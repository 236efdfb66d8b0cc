"""The command line: python -m cam explain | layers | check | scene | weights.

Exit codes: 0 all done; 1 of several pictures some, or all, could not be explained; 2 nothing could be done as asked;
130 interrupted, with every file that was written complete.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer
from PIL import Image
from rich.console import Console
from rich.progress import Progress

from ..core.errors import CamError, InputError
from ..maps.layer_table import blank
from ..maps.layer_table import layers as table_of_layers
from ..nets.exported import read_classes
from ..pictures.explanation import Explanation
from ..pictures.images import read_image
from ..pictures.pipeline import explain_many
from ..truth import scenes
from . import weights as weights_commands
from .background import beside, interrupted_between
from .check import check
from .options import ModelOption, ParamsOption, SymbolOption, WeightsOption, chosen_net
from .picture_files import names_of, pictures_of, write, write_picture
from .weights import WeightsDir

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Where does your network look? Grad-CAM and guided backpropagation for photographs, and for nets of your own.",
)
people = Console(stderr=True, highlight=False, soft_wrap=True)  # results go to stdout, everything else here
app.add_typer(weights_commands.app, name="weights")
app.command()(check)


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
    name, net = chosen_net(model, weights, weights_dir, params, symbol)
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
    notes: set[str] = set()  # each is said once
    failures = 0
    for path, explanations, files in _explained(names, batch, asked, written):
        try:
            for explanation, its_files in zip(explanations, files.result(), strict=True):
                _report(path, explanation, its_files, as_json, notes)
        except CamError as error:  # of this picture, or of writing its files
            failures += 1
            if as_json:
                typer.echo(json.dumps({"image": str(path), "error": str(error)}))
            if len(names) == 1:
                raise
            people.print(f"skipped: {error}", markup=False)
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
    typer.echo(table_of_layers(chosen_net(model, weights, weights_dir, params, symbol)[1]))


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


def _explained(
    names: dict[Path, str], batch: int, asked: Callable, written: Callable
) -> Iterator[tuple[Path, list[Explanation], Future]]:
    """Each path, its explanations, and what `written` will say of their files, or raise; with a bar if there are many.

    While the net has one batch, the process beside it draws the one before and reads the one after.
    """
    paths = list(names)
    terminal = sys.stdout.isatty()  # only there do results have to make room for the bar
    bar = Progress(console=people, transient=True, disable=len(paths) == 1, redirect_stdout=terminal)
    with interrupted_between() as strike, bar, beside(len(paths)) as process:
        task = bar.add_task("explaining", total=len(paths))
        drawn, read = [], {}
        for start in range(0, len(paths) + 2 * batch, batch):
            strike()
            here, read = read, {path: process.submit(read_image, path) for path in paths[start : start + batch]}
            good = {path: one.result() for path, one in here.items() if not one.exception()}
            explained = dict(zip(good, asked(list(good.values())))) if good else {}
            drawing = {path: process.submit(written, names[path], found) for path, found in explained.items()}
            for one in drawn:
                yield one
                strike()
                bar.advance(task)
            drawn = [(path, explained.get(path, []), drawing.get(path, one)) for path, one in here.items()]


def _report(path: Path, explanation: Explanation, written: dict[str, str], as_json: bool, notes: set[str]) -> None:
    """Say what came out; `notes` are the warnings that were already said."""
    said = [str(warning) for warning in explanation.warnings]
    if as_json:
        facts = {name: getattr(explanation, name) for name in ("label", "target", "probability", "logit", "layer")}
        seen = explanation.placement.box  # left, top, right, bottom in pixels of the picture
        typer.echo(json.dumps({"image": str(path), **facts, "seen": seen, "warnings": said, **written}))
        return
    typer.echo(f"{path}: {explanation}")
    typer.echo("\n".join(f"  {kind} {file}" for kind, file in written.items()))
    for note in said:
        if note not in notes:
            people.print(f"note: {note}", markup=False)
        notes.add(note)


def main() -> None:
    """Run the command line; an expected error is one sentence."""
    try:
        app(prog_name="python -m cam")
    except (CamError, OSError, BrokenExecutor) as error:  # of the system's, such as a full disk under standard output
        people.print(f"error: {getattr(error, 'strerror', None) or error}", markup=False)
        sys.exit(2)
