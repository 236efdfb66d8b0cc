"""How far results in float32 are from those in float64: `make benchmark`.

A *flip* is a value of a map before a ReLU whose sign differs between the two runs: from there on the gradient takes
another path. The rest is rounding. So the flips are counted beside the distances.
"""

from __future__ import annotations

import argparse

import cam

import numpy as np
import report
from mxnet import nd
from mxnet.gluon.model_zoo import vision

NETS = ("resnet50_v2", "vgg16")
RULES = ("plain", "guided", "deconvnet")
CLASS = 5


def relative_l2(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def twins(name: str):
    """Two full-size nets with the same random values, in float32 and in float64."""
    first, second = (getattr(vision, name)() for _ in range(2))
    for net in (first, second):
        net.infer_shape(nd.zeros((1, 3, 224, 224)))
        net.initialize()
    second.cast("float64")
    values = first._collect_params_with_prefix()
    for key, parameter in second._collect_params_with_prefix().items():
        parameter.set_data(values[key].data().astype("float64"))
    return first, second


def everything(net, x: nd.NDArray) -> dict:
    """What is compared, by name, and the decisions of the ReLUs on maps."""
    maps = {layer.path for layer in cam.layers(net, x) if len(layer.shape) == 4}
    relus = [name for name in cam.relus(net) if name in maps]
    layer = cam.default_layer(net, x)
    recording = cam.record(net, x, [layer, *relus])
    found = {"logits": recording.logits, "Grad-CAM": cam.grad_cam_of(recording, target=CLASS, layer=layer)}
    for rule in RULES:
        found[f"image gradient, {rule}"] = recording.image_gradient(target=CLASS, rule=rule)
    return found | {"decisions": [recording.features(relu) > 0 for relu in relus]}


def row(name: str) -> list[str]:
    """The net, its flips, and the distances of its results."""
    first, second = twins(name)
    x = nd.array(np.random.default_rng(1).normal(size=(1, 3, 224, 224)))
    single, double = everything(first, x), everything(second, x.astype("float64"))
    flips = sum((one != two).sum() for one, two in zip(single.pop("decisions"), double.pop("decisions")))
    return [name, f"{flips:,}", *(f"{relative_l2(single[key], double[key]):.0e}" for key in single)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the table into benchmarks/README.md")
    arguments = parser.parse_args()
    head = ["net", "flips", "logits", "Grad-CAM", *(f"image gradient, {rule}" for rule in RULES)]
    text = report.table(head, [row(name) for name in NETS])
    print(text)
    if arguments.write:
        report.write("precision", text)


if __name__ == "__main__":
    main()
