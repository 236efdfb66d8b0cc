"""Explain both objects of a scene with VGG16 and ResNet50v2, and a photograph with an ImageNet net: `make demo`.

Usage: python examples/demo.py [FILE]
"""

import sys
from pathlib import Path

import cam
from cam import plot, scenes

import numpy as np

SEED = 7
PHOTOGRAPH = Path(__file__).parents[1] / "lessons/photographs/coffee.jpg"

COLUMNS = ["image", "Grad-CAM", "guided\nbackpropagation", "guided\nGrad-CAM", "saliency"]


def outlined(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The picture with the object's true outline drawn in white."""
    padded = np.pad(mask, 2)
    height, width = mask.shape
    neighbours = [padded[i : i + height, j : j + width] for i in range(5) for j in range(5)]
    edge = np.logical_or.reduce(neighbours) & ~mask
    return np.where(edge[..., None], np.uint8(255), picture)


def pictures_of(found: cam.Explanation, picture: np.ndarray) -> list[np.ndarray]:
    """A row of the panel; `picture` is what the net saw."""
    return [
        picture,
        plot.overlay(picture, cam.resize_map(found.grad_cam, picture.shape[:2])),
        plot.signed_image(found.guided_backprop),
        plot.signed_image(found.guided_grad_cam),
        plot.grey_image(found.saliency),
    ]


def row_for(net, scene: scenes.Scene, number: int) -> tuple[str, list[np.ndarray]]:
    """Title and pictures for one object of the scene."""
    label, mask = scene.labels[number], scene.masks[number]
    found = cam.explain(net, scene.image, target=label)
    image, overlay, *gradients = pictures_of(found, scene.image)
    return f"{label} ({found.probability:.0%})", [outlined(image, mask), outlined(overlay, mask), *gradients]


def row_of_photograph(net, path: Path) -> tuple[str, list[np.ndarray]]:
    """Title and pictures for the net's first choice in a photograph."""
    found = cam.explain(net, path)
    return f"{found.label} ({found.probability:.0%})", pictures_of(found, found.placement.view(found.photograph))


def main(path: Path) -> None:
    scene = scenes.draw(SEED)
    titles, rows = [], []
    for name, net in (("VGG16", cam.vgg16()), ("ResNet50v2", cam.resnet50_v2())):
        for number in range(len(scene.labels)):
            title, pictures = row_for(net, scene, number)
            titles.append(f"{name}\n{title}")
            rows.append(pictures)
    title, pictures = row_of_photograph(cam.efficientnet_lite0(), PHOTOGRAPH)
    titles.append(f"EfficientNet-Lite0\n{title}")
    rows.append(pictures)
    plot.grid(rows, titles, COLUMNS).savefig(path, dpi=110)
    print(
        f"wrote {path}: what VGG16 and ResNet50v2 see of the {' and the '.join(scene.labels)} in scene {SEED}, "
        f"and what EfficientNet-Lite0 sees in {PHOTOGRAPH.name}"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo.png").resolve())
