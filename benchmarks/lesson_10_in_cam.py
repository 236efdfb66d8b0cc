"""ResNet50v2's parameters, a scene and our maps, for `lesson_10_in_pytorch.py`: `lesson_10_in_cam.py FILE`."""

from __future__ import annotations

import sys
from pathlib import Path

import cam
from cam import scenes

import numpy as np
from mxnet.gluon import nn


def main(target: Path) -> None:
    net, scene = cam.resnet50_v2(), scenes.draw(seed=7)
    x, number = cam.load_image(scene.image), scene.class_ids[0]
    blocks = [name for name in cam.relus(net) if isinstance(cam.paths(net).get(name), nn.Activation)]
    arrays = {
        "x": x.asnumpy(),
        "number": number,
        "logits": net(x).asnumpy(),
        "relus": [len(blocks), len(cam.relus(net))],
        "grad_cam": cam.grad_cam(net, x, target=number, relu=False),
        "guided": cam.guided_backprop(net, x, target=number),
        "guided_blocks": cam.guided_backprop(net, x, target=number, where=blocks),
    }
    for key, parameter in net._collect_params_with_prefix().items():
        arrays[f"net/{key}"] = parameter.data().asnumpy()
    target.parent.mkdir(parents=True, exist_ok=True)
    np.savez(target, **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/same.npz"))
