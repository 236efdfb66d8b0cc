"""The command line: python -m cam explain | layers | check | scene | weights.

Exit codes: 0 all done; 1 some pictures could not be explained, the others are; 2 nothing could be done as asked;
130 interrupted, with every file that was written complete.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal

import typer
from mxnet.gluon import Block
from PIL import Image
from rich.console import Console
from rich.progress import Progress

from ..core.errors import CamError, InputError
from ..core.layers import layers as table_of_layers
from ..nets import models
from ..nets.exported import read_classes
from ..pictures.explanation import Explanation
from ..pictures.images import read_image, whole_file
from ..pictures.pipeline import explain_many
from ..truth import scenes
from . import weights as weights_commands
from .check import check
from .options import EXPORTED, ModelOption, ParamsOption, SymbolOption, WeightsOption, chosen_net
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

NO_PICTURES = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "PDF", "WMF"}  # Pillow names these kinds, and shows none of them
PANEL = re.compile(rf".+\.\w+\..+\.({'|'.join((*models.KINDS, EXPORTED))})\..+\.png")  # what `_write` calls its files


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
    target: Annotated[str | None, typer.Option("--class", help="A label or number, instead of the top class.")] = None,
    top: Annotated[int, typer.Option(min=1, help="Explain this many of the top classes.")] = 1,
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
    names = _names(path for source in sources for path in _pictures(source))
    paths = list(names)
    if not any(path.exists() for path in paths):  # before weights are downloaded
        raise InputError(f"image {paths[0]} does not exist")
    name, net = chosen_net(model, weights, weights_dir, params, symbol)
    if classes:
        net.labels = read_classes(classes)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {out}: {error.strerror}") from None
    notes: set[str] = set()  # each is said once
    numeric = target and re.fullmatch(r"-?[0-9]{1,9}", target)  # int() takes other digits, and refuses thousands
    wanted = int(target) if numeric else target
    failures = 0
    for path, result in _explained(net, paths, batch, target=wanted, layer=layer, top=top, fit=fit):
        try:
            if isinstance(result, CamError):
                raise result
            for explanation in result:
                written = _write(names[path], explanation, out, name, overlay)
                _report(path, explanation, written, as_json, notes)
        except CamError as error:  # of this picture, or of writing its files
            failures += 1
            if as_json:
                typer.echo(json.dumps({"image": str(path), "error": str(error)}))
            if len(paths) == 1:
                raise
            people.print(f"skipped: {error}", markup=False)
    if failures:
        people.print(f"{failures} of {len(paths)} pictures could not be explained")
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
    _write_picture(path, Image.fromarray(drawn.image))
    typer.echo(f"{path}: {' and '.join(drawn.labels)}")
    for label, mask in zip(drawn.labels, drawn.masks) if masks else ():
        beside = path.with_name(f"{path.stem}-{label.replace(' ', '_')}.png")
        _write_picture(beside, Image.fromarray(mask))
        typer.echo(f"{beside}: the mask of the {label}")


def _pictures(source: Path) -> list[Path]:
    """The files to explain; in a folder those whose ending says picture, but for panels of an earlier run."""
    if not source.is_dir():
        return [source]
    endings = {ending for ending, kind in Image.registered_extensions().items() if kind not in NO_PICTURES}
    found = (path for path in source.iterdir() if path.suffix.lower() in endings and path.is_file())
    found = sorted(path for path in found if not PANEL.fullmatch(path.name))
    if not found:
        raise InputError(f"folder {source} holds no pictures")
    return found


def _names(paths: Iterable[Path]) -> dict[Path, str]:
    """What the files of each picture begin with, by its path; no two alike, whatever their upper and lower case."""
    once = {os.path.abspath(path): path for path in paths}
    alike = Counter(path.name.casefold() for path in once.values())
    names = {
        path: path.name if alike[path.name.casefold()] == 1 else f"{Path(place).parent.name}.{path.name}"
        for place, path in once.items()
    }
    for name, count in Counter(name.casefold() for name in names.values()).items():
        if count > 1:
            of_these = " and ".join(str(path) for path in names if names[path].casefold() == name)
            raise InputError(
                f"panels of {of_these} would have the same name; explain them one by one, each with its --out"
            )
    return names


def _explained(
    net: Block, paths: list[Path], batch: int, **options
) -> Iterator[tuple[Path, list[Explanation] | CamError]]:
    """Each path with its explanations, or with what is wrong with that picture; with a bar if there are many."""
    terminal = sys.stdout.isatty()  # only there do results have to make room for the bar
    with Progress(console=people, transient=True, disable=len(paths) == 1, redirect_stdout=terminal) as progress:
        task = progress.add_task("explaining", total=len(paths))
        for start in range(0, len(paths), batch):
            readable = {}
            for path in paths[start : start + batch]:
                try:
                    readable[path] = read_image(path)
                except InputError as error:
                    yield path, error
            if readable:
                yield from zip(readable, explain_many(net, list(readable.values()), **options))
            progress.advance(task, len(paths[start : start + batch]))


def _write(name: str, explanation: Explanation, out: Path, model: str, overlay: bool) -> dict[str, str]:
    """The files written, by what they are; their names begin with `name`."""
    label = explanation.label.replace(" ", "_").replace("/", "_")
    stem = f"{name}.{label}.{model}.{explanation.layer}"
    written = {"panel": str(explanation.save(out / f"{stem}.png"))}
    if overlay:
        _write_picture(out / f"{stem}.overlay.png", Image.fromarray(explanation.overlay()))
        written["overlay"] = str(out / f"{stem}.overlay.png")
    return written


def _write_picture(path: Path, picture: Image.Image) -> None:
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind not in Image.SAVE:
        raise InputError(f"cannot write {path}: its ending names no kind of picture, such as .png")
    with whole_file(path) as file:
        picture.save(file, kind)


def _report(path: Path, explanation: Explanation, written: dict[str, str], as_json: bool, notes: set[str]) -> None:
    """Say what came out; `notes` are the warnings that were already said."""
    said = [str(warning) for warning in explanation.warnings]
    if as_json:
        facts = {name: getattr(explanation, name) for name in ("label", "target", "probability", "logit", "layer")}
        seen = explanation.placement.box  # left, top, right, bottom in pixels of the picture
        typer.echo(json.dumps({"image": str(path), **facts, "seen": seen, "warnings": said, **written}))
        return
    typer.echo(f"{path}: {explanation.label}, {explanation.score}")
    typer.echo("\n".join(f"  {kind} {file}" for kind, file in written.items()))
    for note in said:
        if note not in notes:
            people.print(f"note: {note}", markup=False)
        notes.add(note)


def main() -> None:
    """Run the command line; an expected error is one sentence."""
    try:
        app(prog_name="python -m cam")
    except (CamError, OSError) as error:  # of the system's, such as a full disk under standard output
        people.print(f"error: {getattr(error, 'strerror', None) or error}", markup=False)
        sys.exit(2)
