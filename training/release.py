"""Put the trained networks into the package, and measure them on the test scenes.

Run from the repository's root after `training.train`: `python -m training.release`. Writes `cam/nets/assets/*.params`
(float16), their checksums, and the figures reached. `python -m training.release cheater` makes only the net that cheats
(see `training.cheater`), from the embedded ResNet50v2, in two minutes.
"""

from __future__ import annotations

import hashlib
import json
import sys

import cam
from cam import evaluation, scenes
from cam.core import layers
from cam.nets.weights_files import ASSETS, CHECKSUMS
from training import cheater
from training.train import STAGES, finished

from mxnet import nd

FIGURES = ASSETS / "figures.json"
MAPPED = scenes.TEST_SEEDS[:200]


def write_weights(name: str) -> None:
    """Store a trained network's parameters as float16 in the package."""
    parameters = layers.parameters(finished(name))
    halves = {key: parameter.data().astype("float16") for key, parameter in parameters.items()}
    nd.save(str(ASSETS / f"{name}_scenes.params"), halves)


def write_checksums() -> None:
    """List the sha256 of every weights file in the format of `sha256sum`."""
    files = sorted(ASSETS.glob("*.params"))
    CHECKSUMS.write_text("".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files))


def measure(net) -> dict[str, float]:
    """The figures of one embedded net on the test scenes: see `cam.evaluation` and `cam.metrics` for each."""
    found = evaluation.evaluate(net, MAPPED)
    return {
        "accuracy, one object": evaluation.accuracy(net, scenes.TEST_SEEDS, objects=1),
        "accuracy, two objects": evaluation.accuracy(net, scenes.TEST_SEEDS, objects=2),
        "share on the right object": found.share.mean(),
        "energy in the mask": found.energy.mean(),
        "energy over chance": found.times_chance,
        "pointing game": found.hit.mean(),
        "pointing game, 15 pixels": found.near.mean(),
    }


def write_cheater() -> None:
    """Train the last layer of the net that cheats on the embedded ResNet50v2, and store it."""
    nd.save(str(ASSETS / "resnet50_v2_cheater.params"), cheater.train())
    write_checksums()


def write_figures(figures: dict[str, dict[str, float]]) -> None:
    """Put what some nets reach beside what is known of the others."""
    rounded = {name: {key: round(float(value), 4) for key, value in row.items()} for name, row in figures.items()}
    known = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    FIGURES.write_text(json.dumps({**known, **rounded}, indent=2) + "\n")
    print(FIGURES.read_text())


def main() -> None:
    if sys.argv[1:] != ["cheater"]:
        for name in STAGES:
            write_weights(name)
        write_checksums()
        write_figures({name: measure(getattr(cam, name)()) for name in STAGES})
    write_cheater()
    write_figures({"cheater": cheater.measure(cam.resnet50_v2(weights="cheater"))})


if __name__ == "__main__":
    main()
