"""Random parameters of full-size VGG16 and ResNet50v2, and random images: `random_parameters.py FOLDER [NET ...]`.

They come from one seed, under Gluon's names, so that every side of the speed benchmark has the same numbers.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cam  # noqa: F401 (MXNet needs what it puts back)

import numpy as np
from mxnet import nd
from mxnet.gluon.model_zoo import vision

NETS = ("resnet50_v2", "vgg16")
SEED = 0


def draw(kind: str, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """Values of a size that neither vanishes nor overflows on its way through the net."""
    if kind == "weight":
        return random.standard_normal(shape, dtype=np.float32) * np.sqrt(2 / np.prod(shape[1:]), dtype=np.float32)
    if kind in ("gamma", "running_var"):
        return random.uniform(0.5, 1.5, shape).astype(np.float32)
    return random.normal(0, 0.1, shape).astype(np.float32)  # bias, beta, running_mean


def main(folder: Path, nets: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "images.npy", np.random.default_rng(SEED).standard_normal((8, 3, 224, 224), dtype=np.float32))
    for name in nets:
        random = np.random.default_rng(SEED)
        net = getattr(vision, name)()
        net.infer_shape(nd.zeros((1, 3, 224, 224)))
        parameters = sorted(net._collect_params_with_prefix().items())
        np.savez(folder / name, **{key: draw(key.split(".")[-1], p.shape, random) for key, p in parameters})


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or list(NETS))
