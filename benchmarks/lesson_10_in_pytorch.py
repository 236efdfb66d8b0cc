"""Grad-CAM and guided backpropagation by hand in PyTorch, on identical weights: the same numbers, and a trap.

`lesson_10_in_cam.py FILE` writes the numbers in this project's environment; `lesson_10_in_pytorch.py FILE` compares in
the peers', which has no MXNet. Lesson 10 shows the two functions.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from torch import nn
from torch_nets import Bottleneck, torch_net

CLOSE = 1e-3  # relative L2: in float32 a ReLU whose input is next to zero may fall on either side


def grad_cam(net, layer, x, number):
    kept = []
    handle = layer.register_forward_hook(lambda layer, inputs, output: kept.append(output))
    logit = net(x)[:, number].sum()
    handle.remove()
    (gradient,) = torch.autograd.grad(logit, kept[0])
    return (gradient.mean(dim=(2, 3), keepdim=True) * kept[0]).sum(dim=1)  # before the ReLU


def guided_backprop(net, x, number):
    relus = [module for module in net.modules() if isinstance(module, nn.ReLU)]  # the trap: modules only
    handles = [one.register_full_backward_hook(lambda relu, dx, dy: (dx[0].clamp(min=0),)) for one in relus]
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(net(x)[:, number].sum(), x)
    for handle in handles:
        handle.remove()
    return gradient


def with_functional_relus(net: nn.Module) -> nn.Module:
    """The same net as MXNet's zoo writes it, and many a net in PyTorch: the blocks call relu as a function."""
    for block in net.modules():
        if isinstance(block, Bottleneck):
            for name in ("relu1", "relu2", "relu3"):
                delattr(block, name)
                setattr(block, name, torch.relu)
    return net


def main(source: str) -> None:
    with np.load(source) as file:
        arrays = {key: torch.tensor(file[key]) for key in file.files}
    x, number = arrays["x"], int(arrays["number"])
    net = torch_net("resnet50_v2", {key[4:]: value for key, value in arrays.items() if key.startswith("net/")})
    count = [sum(isinstance(one, nn.ReLU) for one in net.modules())]
    found = {
        "logits": net(x).detach(),
        "grad_cam": grad_cam(net, net.get_submodule("10"), x, number).detach(),
        "guided": guided_backprop(net, x, number),
        "guided_blocks": guided_backprop(with_functional_relus(net), x, number),
    }
    count.insert(0, sum(isinstance(one, nn.ReLU) for one in net.modules()))
    assert count == arrays["relus"].tolist(), (count, arrays["relus"])
    titles = {"guided": f"guided, {count[1]} modules", "guided_blocks": f"guided, {count[0]} modules and functions"}
    for key, value in found.items():
        off = float((value - arrays[key]).norm() / arrays[key].norm())
        print(f"{titles.get(key, key):32} relative difference to cam {off:.0e}")
        assert off < CLOSE, f"{key} differs"
    apart = float((found["guided"] - found["guided_blocks"]).norm() / found["guided"].norm())
    print(f"the two guided gradients differ by {apart:.2f}: no warning, no error")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "build/same.npz")
