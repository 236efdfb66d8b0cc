"""Methods x layers x nets over scenes, with the dumb baselines beside them: `make crosscheck` writes the table.

Each number is a mean over the maps of both objects of every scene, with a 95 % interval that draws whole scenes.
"""

from __future__ import annotations

import argparse

import cam
from cam import baselines, evaluation, scenes

import report
from tqdm import tqdm

NETS = {
    "VGG16": (cam.vgg16, ["features.22", "features.29"]),
    "ResNet50v2": (cam.resnet50_v2, ["features.7.5", "features.8.2", "features.10"]),
    "EfficientNet-Lite0": (cam.efficientnet_lite0, ["features.11", "features.15", "features.17"]),
}
METHODS = {
    "Grad-CAM": cam.grad_cam,
    "HiResCAM": cam.hires_cam,
    "Grad-CAM++": cam.grad_cam_plus_plus,
    "LayerCAM": cam.layer_cam,
    "Score-CAM": cam.score_cam,
    "saliency": cam.saliency,
    "SmoothGrad": lambda net, x, target: cam.smooth_grad(net, x, target=target, samples=10),
    "guided backpropagation": cam.guided_backprop,
    "Grad-CAM of another class": baselines.other_class(cam.grad_cam),
    "edges": baselines.edges,
    "the image itself": baselines.image_itself,
    "centre": baselines.centre,
    "random": baselines.random_map,
}
MEASURES = {"share": "share on the right object", "energy": "energy in the mask", "near": "pointing game, 15 pixels"}
MEASURES["overlap"] = "overlap at 15 %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=30)
    parser.add_argument("--nets", nargs="*", choices=list(NETS), default=list(NETS))
    parser.add_argument("--score-cam", action="store_true", help="Score-CAM too: a forward pass for every channel")
    parser.add_argument("--write", action="store_true", help="write the table into benchmarks/README.md")
    arguments = parser.parse_args()
    methods = {name: one for name, one in METHODS.items() if name != "Score-CAM" or arguments.score_cam}
    rows = []
    for name in arguments.nets:
        make, layers = NETS[name]
        seeds = scenes.TEST_SEEDS[: arguments.scenes]
        for one in evaluation.compare(make(), methods, layers, seeds, progress=tqdm):
            rows.append([name, one.method, one.layer, *(str(one.interval(measure)) for measure in MEASURES)])
    text = f"{arguments.scenes} scenes.\n\n{report.table(['net', 'method', 'layer', *MEASURES.values()], rows)}"
    print(text)
    if arguments.write:
        report.write("methods", text)


if __name__ == "__main__":
    main()
