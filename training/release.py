"""Put the trained networks into the package, and measure them on the test scenes.

Run from the repository's root after `training.train`: `python -m training.release`. Writes
`cam/assets/*.params` (float16), their checksums, and the figures reached.
"""

from __future__ import annotations

import hashlib
import json

from mxnet import nd

import cam
from cam import metrics, scenes
from cam.weights import ASSETS, CHECKSUMS
from training.train import STAGES, finished

FIGURES = ASSETS / "figures.json"
MAPPED = scenes.TEST_SEEDS[:200]


def write_weights(name: str) -> None:
    """Store a trained network's parameters as float16 in the package."""
    parameters = finished(name)._collect_params_with_prefix()
    halves = {key: parameter.data().astype("float16") for key, parameter in parameters.items()}
    nd.save(str(ASSETS / f"{name}_scenes.params"), halves)


def write_checksums() -> None:
    """List the sha256 of every weights file in the format of `sha256sum`."""
    files = sorted(ASSETS.glob("*.params"))
    CHECKSUMS.write_text("".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files))


def measure(net) -> dict[str, float]:
    """The figures of one embedded net on the test scenes: see `cam.metrics` for each."""
    evaluation = metrics.evaluate(net, MAPPED)
    return {
        "accuracy, one object": metrics.accuracy(net, scenes.TEST_SEEDS, objects=1),
        "accuracy, two objects": metrics.accuracy(net, scenes.TEST_SEEDS, objects=2),
        "share on the right object": evaluation.share.mean(),
        "energy in the mask": evaluation.energy.mean(),
        "energy over chance": evaluation.times_chance,
        "pointing game": evaluation.hit.mean(),
        "pointing game, 15 pixels": evaluation.near.mean(),
    }


def main() -> None:
    for name in STAGES:
        write_weights(name)
    write_checksums()
    figures = {name: measure(getattr(cam, name)()) for name in STAGES}
    rounded = {name: {key: round(float(value), 4) for key, value in row.items()} for name, row in figures.items()}
    FIGURES.write_text(json.dumps(rounded, indent=2) + "\n")
    print(FIGURES.read_text())


if __name__ == "__main__":
    main()
