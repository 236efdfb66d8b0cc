"""Explain both objects of one scene with VGG16 and with ResNet50v2, and write one panel: `make demo`.

Usage: python examples/demo.py [FILE]
"""

import sys
from pathlib import Path

import cam
from cam import plot, scenes

import numpy as np

SEED = 7

COLUMNS = ["image", "Grad-CAM", "guided\nbackpropagation", "guided\nGrad-CAM", "saliency"]


def outlined(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The picture with the object's true outline drawn in white."""
    padded = np.pad(mask, 2)
    height, width = mask.shape
    neighbours = [padded[i : i + height, j : j + width] for i in range(5) for j in range(5)]
    edge = np.logical_or.reduce(neighbours) & ~mask
    return np.where(edge[..., None], np.uint8(255), picture)


def row_for(net, x, scene: scenes.Scene, target: int) -> tuple[str, list[np.ndarray]]:
    """Title and pictures for one object, all from one forward pass."""
    label, mask = scene.labels[target], scene.masks[target]
    recording = cam.record(net, x)
    heat = cam.grad_cam_of(recording, class_id=label)[0]
    guided = recording.image_gradient(label, "guided")[0]
    gradient = recording.image_gradient(label)[0]
    logits = recording.logits[0]
    probability = np.exp(logits - logits.max())[net.labels.index(label)] / np.exp(logits - logits.max()).sum()
    pictures = [
        outlined(scene.image, mask),
        outlined(plot.overlay(scene.image, heat), mask),
        plot.signed_image(guided),
        plot.signed_image(guided * cam.resize_map(heat, x.shape[2:])),
        plot.grey_image(np.abs(gradient).max(axis=0)),
    ]
    return f"{label} ({probability:.0%})", pictures


def main(path: Path) -> None:
    scene = scenes.draw(SEED)
    x = cam.load_image(scene.image)
    titles, rows = [], []
    for name, net in (("VGG16", cam.vgg16()), ("ResNet50v2", cam.resnet50_v2())):
        for target in range(len(scene.labels)):
            title, pictures = row_for(net, x, scene, target)
            titles.append(f"{name}\n{title}")
            rows.append(pictures)
    plot.grid(rows, titles, COLUMNS).savefig(path, dpi=110)
    print(f"wrote {path}: what VGG16 and ResNet50v2 see of the {' and the '.join(scene.labels)} in scene {SEED}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo.png").resolve())
