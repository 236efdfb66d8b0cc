"""Every map that we and a peer have, on identical weights: `make crosscheck`.

Three nets, two scenes, the three classes that each net thinks most likely, several layers. This project's environment
exports and explains, the peers' environment, which has no MXNet, builds the nets in PyTorch and explains them too. All
maps are compared raw: before any resizing and stretching.
"""

from __future__ import annotations

import argparse
import copy
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

NETS = {
    "vgg16": ["features.22", "features.29"],
    "resnet50_v2": ["features.7.5", "features.8.2.conv3", "features.8.2", "features.10"],
    "efficientnet_lite0": ["features.11", "features.15", "features.17"],
}
TITLES = {"vgg16": "VGG16", "resnet50_v2": "ResNet50v2", "efficientnet_lite0": "EfficientNet-Lite0"}
SEEDS = (0, 1)
RANKS = 3  # how many of the likeliest classes
BEHIND_RELU = ("features.22", "features.29", "features.10", "features.17")  # where Grad-CAM++ is defined
TIMES = 1000  # what the target is multiplied by in "Grad-CAM++, target x 1000"


def ours(target: Path) -> None:
    """Store the nets' parameters, images and classes, and our maps, under "net/map/layer/rank"."""
    import cam
    from cam.nets.normalisation import normalisation_of, normalise

    from mxnet import nd

    warnings.simplefilter("ignore", cam.CamWarning)
    found: dict[str, np.ndarray] = {}
    images = np.stack([cam.scenes.draw(seed).image for seed in SEEDS])
    for name, layers in NETS.items():
        net = getattr(cam, name)()
        for key, parameter in net._collect_params_with_prefix().items():
            found[f"{name}:{key}"] = parameter.data().asnumpy()
        found[f"{name}:x"] = normalise(images, normalisation_of(net))
        x = nd.array(found[f"{name}:x"])
        logits = found[f"{name}/logits//0"] = net(x).asnumpy()
        found[f"{name}:ranks"] = np.argsort(-logits, axis=1)[:, :RANKS].T
        for rank, ids in enumerate(found[f"{name}:ranks"]):
            maps = {
                "Grad-CAM": cam.grad_cam(net, x, target=ids, layer=layers),
                "HiResCAM": cam.hires_cam(net, x, target=ids, layer=layers),
                "Grad-CAM++": cam.grad_cam_plus_plus(net, x, target=ids, layer=layers),
                "Grad-CAM++, target x 1000": cam.grad_cam_plus_plus(net, x, target=times(ids), layer=layers),
                "LayerCAM": cam.layer_cam(net, x, target=ids, layer=layers),
            }
            for kind, by_layer in maps.items():
                for layer, of_layer in zip(layers, by_layer.values()):
                    found[f"{name}/{kind}/{layer}/{rank}"] = of_layer
            for kind, rule in (("image gradient", "plain"), ("guided backpropagation", "guided"), ("deconvnet",) * 2):
                found[f"{name}/{kind}//{rank}"] = cam.image_gradient(net, x, target=ids, rule=rule)
            found[f"{name}/guided Grad-CAM/{layers[-1]}/{rank}"] = cam.guided_grad_cam(
                net, x, target=ids, layer=layers[-1]
            )
            if name != "vgg16":
                found[f"{name}/CAM/{layers[-1]}/{rank}"] = np.maximum(cam.class_activation_map(net, x, target=ids), 0)
        ids = found[f"{name}:ranks"][0]
        found[f"{name}/Score-CAM/{layers[0]}/0"] = cam.score_cam(net, x[:1], target=ids[:1], layer=layers[0])
    np.savez(target, **found)


def times(ids):
    """The logits of the classes, times TIMES."""
    from mxnet import nd

    return lambda logits: TIMES * nd.pick(logits, nd.array(ids))


def theirs(source: Path, target: Path) -> None:
    """Store the peers' maps under "peer/net/map/layer/rank"."""
    import torch
    from theirs import stand_in_for_torchvision
    from torch_nets import torch_net

    stand_in_for_torchvision()
    warnings.filterwarnings("ignore", message="Setting backward hooks on ReLU")
    found = {}
    with np.load(source) as arrays:
        for name, layers in NETS.items():
            parts = {key.partition(":")[2]: arrays[key] for key in arrays.files if key.startswith(f"{name}:")}
            x, ranks = torch.tensor(parts.pop("x")), parts.pop("ranks").tolist()
            net = torch_net(name, {key: torch.tensor(value) for key, value in parts.items()})
            found[f"PyTorch/{name}/logits//0"] = net(x)
            for rank, ids in enumerate(ranks):
                for peer in (captum, pytorch_grad_cam, torch_cam):
                    for key, heat in peer(net, x, ids, layers, name, rank == 0):
                        found[f"{peer.__name__}/{name}/{key}/{rank}"] = heat
    np.savez(target, **{key: np.asarray(torch.as_tensor(value).detach()) for key, value in found.items()})


def captum(net, x, ids, layers, name, first) -> Iterator:
    from captum.attr import (
        Deconvolution,
        GuidedBackprop,
        GuidedGradCam,
        LayerGradCam,
        LayerGradientXActivation,
        Saliency,
    )

    for layer in layers:
        block = net.get_submodule(layer.removeprefix("features."))
        yield f"Grad-CAM/{layer}", LayerGradCam(net, block).attribute(x, ids, relu_attributions=True)[:, 0]
        yield f"HiResCAM/{layer}", LayerGradientXActivation(net, block).attribute(x, ids).sum(1).clamp(min=0)
    x = x.clone().requires_grad_()
    yield "image gradient/", Saliency(net).attribute(x, ids, abs=False)
    yield "guided backpropagation/", GuidedBackprop(net).attribute(x, ids)
    yield "deconvnet/", Deconvolution(net).attribute(x, ids)
    product = GuidedGradCam(net, block).attribute(x, ids, interpolate_mode="bilinear")
    yield f"guided Grad-CAM/{layers[-1]}", product


def pytorch_grad_cam(net, x, ids, layers, name, first) -> Iterator:
    import torch
    from pytorch_grad_cam import GradCAM, GradCAMPlusPlus, GuidedBackpropReLUModel, HiResCAM, LayerCAM, ScoreCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    def raw(kind, layer, images, targets) -> np.ndarray:
        """The map before it is resized and stretched."""
        with kind(model=net, target_layers=[net.get_submodule(layer.removeprefix("features."))]) as explainer:
            kept, make = [], explainer.get_cam_image
            explainer.get_cam_image = lambda *given: kept.append(make(*given)) or kept[0]
            explainer(input_tensor=images, targets=targets)
        return np.maximum(kept[0], 0)

    targets = [ClassifierOutputTarget(one) for one in ids]
    large = [lambda logits, one=one: TIMES * logits[one] for one in ids]
    kinds = {"Grad-CAM": GradCAM, "HiResCAM": HiResCAM, "Grad-CAM++": GradCAMPlusPlus, "LayerCAM": LayerCAM}
    for layer in layers:
        for kind, maker in kinds.items():
            yield f"{kind}/{layer}", raw(maker, layer, x, targets)
        yield f"Grad-CAM++, target x 1000/{layer}", raw(GradCAMPlusPlus, layer, x, large)
    if first:
        yield f"Score-CAM/{layers[0]}", raw(ScoreCAM, layers[0], x[:1], targets[:1])
    guided = GuidedBackpropReLUModel(copy.deepcopy(net), device=torch.device("cpu"))
    gradients = [guided(x[i : i + 1].clone(), target_category=one) for i, one in enumerate(ids)]
    yield "guided backpropagation/", np.stack(gradients).transpose(0, 3, 1, 2)


def torch_cam(net, x, ids, layers, name, first) -> Iterator:
    from torchcam.methods import CAM, GradCAM, GradCAMpp, LayerCAM, ScoreCAM

    def raw(kind, layer, images, ids, **options):
        with kind(net, layer.removeprefix("features."), **options) as explainer:
            return explainer(class_idx=ids, scores=net(images), normalized=False)[0].clamp(min=0)

    for layer in layers:
        for kind, maker in {"Grad-CAM": GradCAM, "Grad-CAM++": GradCAMpp, "LayerCAM": LayerCAM}.items():
            yield f"{kind}/{layer}", raw(maker, layer, x, ids)
    if name != "vgg16":
        yield f"CAM/{layers[-1]}", raw(CAM, layers[-1], x, ids, fc_layer=str(len(net) - 1))
    if first:
        yield f"Score-CAM/{layers[0]}", raw(ScoreCAM, layers[0], x[:1], ids[:1])


def comparable(name: str, kind: str, layer: str) -> bool:
    """Whether both sides mean the same; no peer defines deconvnet for the ReLU6 of EfficientNet-Lite0."""
    if kind.startswith("Grad-CAM++"):
        return layer in BEHIND_RELU
    return (name, kind) != ("efficientnet_lite0", "deconvnet")


def compare(mine: Path, others: Path) -> list[list[str]]:
    """For each map and peer a row with the largest relative L2 distance of an image's map in each net."""
    distances: dict[tuple[str, str], dict[str, float]] = {}
    with np.load(mine) as ours, np.load(others) as theirs:
        for key in theirs.files:
            peer, name, kind, layer, rank = key.split("/")
            if not comparable(name, kind, layer):
                continue
            for found, expected in zip(ours[f"{name}/{kind}/{layer}/{rank}"], theirs[key]):
                distance = np.linalg.norm(found - expected) / (np.linalg.norm(expected) or 1)
                row = distances.setdefault((kind, peer.replace("_", "-")), {})
                row[name] = max(row.get(name, 0), distance)
    return [
        [*key, *(f"{row[name]:.0e}" if name in row else "" for name in NETS)] for key, row in sorted(distances.items())
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", help="the peers' python")
    parser.add_argument("--write", action="store_true", help="write the table into benchmarks/README.md")
    parser.add_argument("--theirs", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.theirs:
        theirs(*arguments.theirs)
        return
    import report

    with tempfile.TemporaryDirectory() as folder:
        mine, others = Path(folder) / "ours.npz", Path(folder) / "theirs.npz"
        ours(mine)
        subprocess.run([arguments.peers, __file__, "--theirs", mine, others], check=True, stdout=sys.stderr)
        text = report.table(["map", "peer", *TITLES.values()], compare(mine, others))
    print(text)
    if arguments.write:
        report.write("crosscheck", text)


if __name__ == "__main__":
    main()
