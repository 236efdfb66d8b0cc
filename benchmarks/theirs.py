"""The peers' sides of the speed benchmark: `theirs.py captum` or `theirs.py pytorch-grad-cam`; `speed.py` starts them.

Explainers are made as their documentation makes them, and the nets are what a user of PyTorch has: parameters that
require gradients, ReLUs that do not work in place (Captum's guided backpropagation needs that).
"""

from __future__ import annotations

import copy
import os
import sys
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch_nets import torch_net
from worker import LAYERS, Call, serve


class Peer:
    """What both peers have in common."""

    package: str

    def about(self) -> dict[str, Any]:
        return {
            "versions": {self.package: version(self.package), "torch": version("torch")},
            "threads": torch.get_num_threads(),
        }

    def operators(self, call: Call) -> dict[str, float]:
        """By PyTorch's profiler: the time of each operator without those that it calls."""
        call()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
            call()
        return {row.key: row.self_cpu_time_total / 1000 for row in profiler.key_averages()}


class Captum(Peer):
    package = "captum"

    def calls(self, net: str, folder: Path, images: np.ndarray, class_ids: list[int]) -> Mapping[str, Call]:
        from captum.attr import GuidedBackprop, GuidedGradCam, LayerGradCam

        warnings.filterwarnings("ignore", message="Setting backward hooks on ReLU")
        torchs, layer = read(net, folder)
        x, wanted = torch.tensor(images), torch.tensor(images, requires_grad=True)
        block = torchs.get_submodule(layer)
        grad_cam, guided, product = LayerGradCam(torchs, block), GuidedBackprop(torchs), GuidedGradCam(torchs, block)
        return {
            "grad_cam": lambda: numpy(grad_cam.attribute(x, class_ids, relu_attributions=True)[:, 0]),
            "guided_backprop": lambda: numpy(guided.attribute(wanted, class_ids)),
            "guided_grad_cam": lambda: numpy(product.attribute(wanted, class_ids, interpolate_mode="bilinear")),
        }


class PytorchGradCam(Peer):
    package = "grad-cam"

    def calls(self, net: str, folder: Path, images: np.ndarray, class_ids: list[int]) -> Mapping[str, Call]:
        stand_in_for_torchvision()
        from pytorch_grad_cam import GradCAM, GuidedBackpropReLUModel
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        torchs, layer = read(net, folder)
        x = torch.tensor(images)
        targets = [ClassifierOutputTarget(i) for i in class_ids]
        # Guided backpropagation puts other ReLUs into its net, one of them our layer: it gets a net of its own.
        guided = GuidedBackpropReLUModel(copy.deepcopy(torchs))

        def grad_cam() -> np.ndarray:
            with GradCAM(model=torchs, target_layers=[torchs.get_submodule(layer)]) as explainer:
                return explainer(input_tensor=x, targets=targets)

        def guided_backprop() -> np.ndarray:  # explains one image a call
            gradients = [guided(x[i : i + 1].clone(), target_category=id_) for i, id_ in enumerate(class_ids)]
            return np.stack(gradients).transpose(0, 3, 1, 2)

        return {
            "grad_cam": grad_cam,
            "guided_backprop": guided_backprop,
            "guided_grad_cam": lambda: grad_cam()[:, None] * guided_backprop(),
        }


def read(net: str, folder: Path) -> tuple[torch.nn.Sequential, str]:
    """The net with the parameters that `random_parameters.py` wrote, and the name of the layer to explain."""
    with np.load(folder / f"{net}.npz") as values:
        torchs = torch_net(net, {key: torch.tensor(values[key]) for key in values.files})
    return torchs, LAYERS[net].removeprefix("features.")


def numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().numpy()


def stand_in_for_torchvision() -> None:
    """pytorch-grad-cam imports torchvision for parts of it that we do not call: empty modules will do."""
    modules = {name: ModuleType(name) for name in ("torchvision", "torchvision.transforms")}
    functional = modules["torchvision.transforms.functional"] = ModuleType("torchvision.transforms.functional")
    transforms = modules["torchvision.transforms"]
    transforms.Compose = transforms.Normalize = transforms.ToTensor = functional.resize = None
    sys.modules.update(modules)


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    serve({"captum": Captum, "pytorch-grad-cam": PytorchGradCam}[sys.argv[1]]())
