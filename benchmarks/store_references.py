"""Maps of the embedded nets by peer implementations in PyTorch, on identical weights.

`tests/core/test_peer.py` compares ours with what this script stored of Captum in `tests/captum_reference.npz`,
`tests/maps/test_relatives.py` with what it stored of the other peers in `tests/maps/relatives_reference.npz`. After
`make train` store them again with `make reference`: this project's environment exports, the peers' environment, which
has no MXNet, explains.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np

SEEDS = (0, 1)  # two-object scenes; each is explained for its first object
LAYERS = {
    "vgg16": ["features.22", "features.29"],
    "resnet50_v2": ["features.7.5", "features.8.2.conv3", "features.8.2", "features.9", "features.10"],
}
STRIDE = 4  # image gradients are stored at every fourth pixel in each direction
METHODS = ("Grad-CAM++, target x 1000", "HiResCAM", "LayerCAM", "Score-CAM")


def export(target: str) -> None:
    """Write the embedded nets' parameters and the images and classes to explain."""
    import cam
    from cam import scenes
    from cam.pictures.images import normalise

    drawn = [scenes.draw(seed) for seed in SEEDS]
    arrays = {
        "x": normalise(np.stack([scene.image for scene in drawn])),
        "class_ids": np.array([scene.class_ids[0] for scene in drawn]),
    }
    for name in LAYERS:
        for key, parameter in getattr(cam, name)()._collect_params_with_prefix().items():
            arrays[f"{name}/{key}"] = parameter.data().asnumpy()
    np.savez_compressed(target, **arrays)


def exported(source: str) -> Iterator[tuple]:
    """For each net its name, layers, the net in PyTorch, images and classes."""
    import torch
    from torch_nets import torch_net

    arrays = np.load(source)
    x, ids = torch.tensor(arrays["x"]), torch.tensor(arrays["class_ids"])
    for name, layers in LAYERS.items():
        keys = [key for key in arrays.files if key.startswith(f"{name}/")]
        yield name, layers, torch_net(name, {key.split("/")[1]: torch.tensor(arrays[key]) for key in keys}), x, ids


def captum(source: str, target: str) -> None:
    """Store Captum's maps."""
    from captum.attr import Deconvolution, GuidedBackprop, GuidedGradCam, LayerGradCam, Saliency

    found = {}
    for name, layers, net, x, ids in exported(source):
        blocks = [net.get_submodule(layer.removeprefix("features.")) for layer in layers]
        for layer, block in zip(layers, blocks):
            explained = LayerGradCam(net, block).attribute(x, ids, relu_attributions=True)
            found[f"{name}/{layer}"] = explained.squeeze(1)
        x.requires_grad_()
        gradients = {
            "plain": Saliency(net).attribute(x, ids, abs=False),
            "guided": GuidedBackprop(net).attribute(x, ids),
            "deconvnet": Deconvolution(net).attribute(x, ids),
            "guided_grad_cam": GuidedGradCam(net, blocks[-1]).attribute(x, ids, interpolate_mode="bilinear"),
        }
        for key, gradient in gradients.items():
            found[f"{name}/{key}"] = gradient[:, :, ::STRIDE, ::STRIDE]
    np.savez_compressed(target, **{key: value.detach().numpy() for key, value in found.items()})


def methods(source: str, target: str) -> None:
    """Store the maps of pytorch-grad-cam and torch-cam that Captum does not have: "peer/net/method/layer"."""
    from crosscheck import comparable, pytorch_grad_cam, torch_cam
    from theirs import stand_in_for_torchvision

    stand_in_for_torchvision()
    found = {}
    for name, layers, net, x, ids in exported(source):
        for peer in (pytorch_grad_cam, torch_cam):
            for key, heat in peer(net, x, ids.tolist(), layers, name, name == "vgg16" and peer is torch_cam):
                kind, layer = key.split("/")
                if kind in METHODS and comparable(name, kind, layer):
                    found[f"{peer.__name__}/{name}/{key}"] = np.asarray(heat)
    np.savez_compressed(target, **found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    steps = parser.add_subparsers(dest="step", required=True)
    steps.add_parser("export").add_argument("target")
    for name in ("captum", "methods"):
        peer = steps.add_parser(name)
        peer.add_argument("source")
        peer.add_argument("target")
    arguments = parser.parse_args()
    if arguments.step == "export":
        export(arguments.target)
    else:
        {"captum": captum, "methods": methods}[arguments.step](arguments.source, arguments.target)


if __name__ == "__main__":
    main()
