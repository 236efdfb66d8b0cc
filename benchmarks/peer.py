"""Maps of the embedded nets by Captum, a peer implementation in PyTorch, on identical weights.

`tests/test_peer.py` compares ours with what this script stored. To store it again (after `make train`), export in
this project's environment, then run the peer in one with torch and captum, which need not have MXNet:

    python benchmarks/peer.py export build/peer.npz
    python benchmarks/peer.py captum build/peer.npz tests/captum_reference.npz
"""

import argparse

import numpy as np

SEEDS = (0, 1)  # two-object scenes; each is explained for its first object
LAYERS = {
    "vgg16": ["features.22", "features.29"],
    "resnet50_v2": ["features.7.5.add", "features.8.2.conv3", "features.8.2.add", "features.9", "features.10"],
}
STRIDE = 4  # image gradients are stored at every fourth pixel in each direction


def export(target: str) -> None:
    """Write the embedded nets' parameters and the images and classes to explain."""
    import cam
    from cam import images, scenes

    drawn = [scenes.draw(seed) for seed in SEEDS]
    arrays = {
        "x": images.normalise(np.stack([scene.image for scene in drawn])),
        "class_ids": np.array([scene.class_ids[0] for scene in drawn]),
    }
    for name in LAYERS:
        for key, parameter in getattr(cam, name)()._collect_params_with_prefix().items():
            arrays[f"{name}/{key}"] = parameter.data().asnumpy()
    np.savez_compressed(target, **arrays)


def captum(source: str, target: str) -> None:
    """Build both nets in PyTorch and store Captum's maps."""
    import torch
    from captum.attr import Deconvolution, GuidedBackprop, GuidedGradCam, LayerGradCam, Saliency

    arrays = np.load(source)
    x, ids = torch.tensor(arrays["x"]), torch.tensor(arrays["class_ids"])
    found = {}
    for name, layers in LAYERS.items():
        values = {key.split("/")[1]: torch.tensor(arrays[key]) for key in arrays.files if key.startswith(f"{name}/")}
        net = {"vgg16": torch_vgg16, "resnet50_v2": torch_resnet50_v2}[name](values).eval()
        find = dict(net.named_modules())
        for layer in layers:
            explainer = LayerGradCam(net, find[layer.removeprefix("features.")])
            found[f"{name}/{layer}"] = explainer.attribute(x, ids, relu_attributions=True).squeeze(1)
        last = find[layers[-1].removeprefix("features.")]
        explainers = {
            "plain": lambda net=net: Saliency(net).attribute(x, ids, abs=False),
            "guided": lambda net=net: GuidedBackprop(net).attribute(x, ids),
            "deconvnet": lambda net=net: Deconvolution(net).attribute(x, ids),
            "guided_grad_cam": lambda net=net, last=last: GuidedGradCam(net, last).attribute(
                x, ids, interpolate_mode="bilinear"
            ),
        }
        for key, explain in explainers.items():
            x.requires_grad_()
            found[f"{name}/{key}"] = explain()[:, :, ::STRIDE, ::STRIDE]
    np.savez_compressed(target, **{key: value.detach().numpy() for key, value in found.items()})


def _convolution(values, key, stride=1, pad=0):
    from torch import nn

    weight = values[f"{key}.weight"]
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2], stride, pad, bias=f"{key}.bias" in values)
    return _filled(layer, values, key, {"weight": "weight", "bias": "bias"})


def _dense(values, key):
    from torch import nn

    rows, columns = values[f"{key}.weight"].shape
    return _filled(nn.Linear(columns, rows), values, key, {"weight": "weight", "bias": "bias"})


def _batch_norm(values, key, scale=True):
    from torch import nn

    layer = nn.BatchNorm2d(len(values[f"{key}.running_mean"]), eps=1e-5)
    names = {"weight": "gamma", "bias": "beta", "running_mean": "running_mean", "running_var": "running_var"}
    if not scale:
        del names["weight"]  # stays 1
    return _filled(layer, values, key, names)


def _filled(layer, values, key, names):
    """Copy values into a layer's tensors; `names` maps PyTorch's names to Gluon's."""
    for theirs, ours in names.items():
        if getattr(layer, theirs) is not None:
            getattr(layer, theirs).data = values[f"{key}.{ours}"]
    return layer


def torch_vgg16(values):
    from torch import nn

    layers, index = [], 0
    for convolutions in (2, 2, 3, 3, 3):
        for _ in range(convolutions):
            layers += [_convolution(values, f"features.{index}", pad=1), nn.ReLU()]
            index += 2
        layers.append(nn.MaxPool2d(2, 2))
        index += 1
    dense = [_dense(values, key) for key in ("features.31", "features.33", "output")]
    return nn.Sequential(*layers, nn.Flatten(), dense[0], nn.ReLU(), dense[1], nn.ReLU(), dense[2])


def torch_resnet50_v2(values):
    from torch import nn

    class Bottleneck(nn.Module):
        def __init__(self, key, stride):
            super().__init__()
            self.bn1, self.bn2, self.bn3 = (_batch_norm(values, f"{key}.bn{i}") for i in (1, 2, 3))
            self.relu1, self.relu2, self.relu3, self.add = nn.ReLU(), nn.ReLU(), nn.ReLU(), nn.Identity()
            self.conv1, self.conv3 = (_convolution(values, f"{key}.conv{i}") for i in (1, 3))
            self.conv2 = _convolution(values, f"{key}.conv2", stride, 1)
            shrinks = f"{key}.downsample.weight" in values
            self.downsample = _convolution(values, f"{key}.downsample", stride) if shrinks else None

        def forward(self, x):
            activated = self.relu1(self.bn1(x))
            shortcut = self.downsample(activated) if self.downsample else x
            y = self.conv2(self.relu2(self.bn2(self.conv1(activated))))
            return self.add(self.conv3(self.relu3(self.bn3(y))) + shortcut)

    stem = [_batch_norm(values, "features.0", scale=False), _convolution(values, "features.1", 2, 3)]
    stem += [_batch_norm(values, "features.2"), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    stages = [
        nn.Sequential(*(Bottleneck(f"features.{stage}.{i}", 2 if stage > 5 and i == 0 else 1) for i in range(blocks)))
        for stage, blocks in ((5, 3), (6, 4), (7, 6), (8, 3))
    ]
    end = [_batch_norm(values, "features.9"), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*stem, *stages, *end, _dense(values, "output"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    steps = parser.add_subparsers(dest="step", required=True)
    steps.add_parser("export").add_argument("target")
    peer = steps.add_parser("captum")
    peer.add_argument("source")
    peer.add_argument("target")
    arguments = parser.parse_args()
    if arguments.step == "export":
        export(arguments.target)
    else:
        captum(arguments.source, arguments.target)


if __name__ == "__main__":
    main()
