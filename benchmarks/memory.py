"""Memory: that no public function keeps any from call to call, and the peak of guided Grad-CAM: `make benchmark`.

Resident memory is read after every call but the first ten of each function: its highest value in the second half must
not lie above that in the first. The peak, at batch 8, stands beside that of MXNet's own recorded forward and backward
pass of the same net. Every net, and every peak, has a process of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import warnings
from collections.abc import Callable
from functools import partial

import cam

import numpy as np
import psutil
import report
from mxnet import autograd, nd
from mxnet.gluon import nn
from mxnet.gluon.model_zoo import vision

FIRST = 10  # calls after which everything that is kept once is there
SLACK = 8  # megabytes that are not yet growth
CLASS = 5


def zoo(name: str):
    """A net of the model zoo, with random values that are in memory."""
    net = getattr(vision, name)()
    net.infer_shape(nd.zeros((1, 3, 224, 224)))
    net.initialize()
    nd.waitall()
    return net


def densenet121():
    """The zoo's, with a global pooling at its end: the same at 224 pixels, and it takes fewer."""
    net = vision.densenet121()
    *features, _, flatten = net.features
    net.features = nn.HybridSequential()
    net.features.add(*features, nn.GlobalAvgPool2D(), flatten)
    net.initialize()
    return net


NETS = {
    "densenet121": densenet121,
    "resnet50_v2": partial(zoo, "resnet50_v2"),
    "cam.resnet50_v2()": cam.resnet50_v2,
    "cam.vgg16()": cam.vgg16,
}
SIZES = {"cam.vgg16()": 224}  # pixels; it takes no others
SMALL = 64  # pixels of all others: what is kept from call to call does not hang on the size, and a thousand calls do
NO_SUMS = ("densenet121", "cam.vgg16()")  # nets without an addition; the others have "features.8.2"
PEAKS = ("resnet50_v2", "vgg16", "densenet121")


def functions(name: str, net, x: nd.NDArray) -> dict[str, Callable[[], object]]:
    """Every public function that makes a map or reads a net, but Score-CAM: a call of it is hundreds of passes."""

    size = x.shape[2]
    picture = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)

    def everything_recorded():
        recording = cam.record(net, x)
        recording.features(), recording.gradient(target=CLASS), recording.class_ids(CLASS)
        cam.grad_cam_of(recording, target=CLASS)
        for rule in ("plain", "guided", "deconvnet"):
            recording.image_gradient(target=CLASS, rule=rule)

    found = {
        "record, all of it": everything_recorded,
        "grad_cam": lambda: cam.grad_cam(net, x, target=CLASS),
        "grad_cam, a function as target": lambda: cam.grad_cam(net, x, target=lambda logits: logits[:, CLASS]),
        "hires_cam": lambda: cam.hires_cam(net, x, target=CLASS),
        "grad_cam_plus_plus": lambda: cam.grad_cam_plus_plus(net, x, target=CLASS),
        "layer_cam": lambda: cam.layer_cam(net, x, target=CLASS),
        "smooth_grad": lambda: cam.smooth_grad(net, x, target=CLASS, samples=2),
        "class_activation_map": lambda: cam.class_activation_map(net, x, target=CLASS),
        "decompose": lambda: cam.decompose(net, x, "features.8.2", target=CLASS),
        "image_gradient": lambda: cam.image_gradient(net, x, target=CLASS, rule="deconvnet"),
        "saliency": lambda: cam.saliency(net, x, target=CLASS),
        "guided_backprop": lambda: cam.guided_backprop(net, x, target=CLASS),
        "guided_grad_cam": lambda: cam.guided_grad_cam(net, x, target=CLASS),
        "explain": lambda: cam.explain(net, picture, target=CLASS, size=size),
        "explain_many": lambda: cam.explain_many(net, [picture, picture], size=size),
        "layers": lambda: cam.layers(net, x),
        "default_layer": lambda: cam.default_layer(net, x),
        "paths": lambda: cam.paths(net),
        "relus": lambda: cam.relus(net),
    }
    if name in NO_SUMS:
        del found["decompose"]
    if name == "cam.vgg16()":  # its logits are not sums of a map
        del found["class_activation_map"]
    return found


def megabytes() -> float:
    """What this process has in memory now."""
    return psutil.Process().memory_info().rss / 1e6


def peak_megabytes() -> float:
    """The most that this process ever had in memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def growth(name: str, calls: int) -> list[list[str]]:
    """A row for each function of one net."""
    warnings.simplefilter("ignore", cam.CamWarning)
    size = SIZES.get(name, SMALL)
    net, x = NETS[name](), nd.random.normal(shape=(1, 3, size, size))
    rows = []
    for label, call in functions(name, net, x).items():
        for _ in range(FIRST):
            call()
        found = []
        for _ in range(calls - FIRST):
            call()
            found.append(megabytes())
        first, second = max(found[: len(found) // 2]), max(found[len(found) // 2 :])
        rows.append([name, label, f"{first:.0f}", f"{second:.0f}", "flat" if second - first < SLACK else "grows"])
        print("  ".join(rows[-1]), flush=True)
    return rows


def peak(name: str, explain: bool) -> tuple[float, float]:
    """Megabytes before a call at batch 8, and at its peak; of guided Grad-CAM, or of MXNet's own two passes."""
    warnings.simplefilter("ignore", cam.CamWarning)
    net, x = zoo(name), nd.random.normal(shape=(8, 3, 224, 224))
    nd.waitall()
    before = megabytes()
    if explain:
        cam.guided_grad_cam(net, x, target=CLASS)
    else:
        x.attach_grad()
        with autograd.record(train_mode=False):
            logits = net(x)[:, CLASS]
        logits.backward(train_mode=False)
        x.grad.asnumpy()
    return before, peak_megabytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=1000, help="calls of every function")
    parser.add_argument("--nets", nargs="*", choices=list(NETS), default=list(NETS))
    parser.add_argument("--write", action="store_true", help="write the tables into benchmarks/README.md")
    arguments = parser.parse_args()
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        rows = []
        for name in arguments.nets:
            rows += pool.apply(growth, (name, arguments.calls))
        peaks = []
        for name in PEAKS:
            (before, ours), (_, plain) = (pool.apply(peak, (name, explain)) for explain in (True, False))
            peaks.append([name, f"{before:.0f}", f"{ours:.0f}", f"{plain:.0f}", f"{ours / plain:.2f}"])
    head = ["net", "guided_grad_cam at batch 8: MB before", "peak", "peak of a recorded forward and backward", "ratio"]
    text = "\n\n".join(
        [
            f"{report.machine()}.",
            report.table(head, peaks),
            f"Resident memory during {arguments.calls} calls of each function, but for the first {FIRST}, with images "
            f"of {SMALL} pixels ({', '.join(f'{name}: {size}' for name, size in SIZES.items())}):",
            report.table(["net", "function", "first half, highest MB", "second half", ""], rows),
        ]
    )
    print(f"\n{text}")
    if arguments.write:
        report.write("memory", text)


if __name__ == "__main__":
    main()
