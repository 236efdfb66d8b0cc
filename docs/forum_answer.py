"""Draw the answer to the forum's question: three layers above, three counts of guided ReLUs below.

Usage: python docs/forum_answer.py FILE
"""

import sys
import warnings
from pathlib import Path

import cam
from cam import plot, scenes

sys.path.append(str(Path(__file__).parent.parent / "examples"))
import demo

SEED, TARGET = 10, 1
LAYERS = {
    "features.8.2.conv3": "the last conv3\n(end of a residual branch)",
    "features.8.2": "the last Add",
    "features.10": "the input of GAP",
}


def main(path: Path) -> None:
    scene = scenes.draw(SEED)
    label, mask = scene.labels[TARGET], scene.masks[TARGET]
    x, net = cam.load_image(scene.image), cam.resnet50_v2()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cam.LayerWarning)  # it is what the picture is about
        maps = cam.grad_cam(net, x, target=label, layer=list(LAYERS))
    names, every = cam.paths(net), cam.relus(net)
    blocks = [relu for relu in every if relu in names]  # the others are function calls
    assert (len(blocks), len(every)) == (2, 50)
    gradients = {
        "plain: 0 of 50 ReLUs guided": cam.image_gradient(net, x, target=label),
        "2 of 50: what replacing blocks reaches": cam.guided_backprop(net, x, target=label, where=blocks),
        "50 of 50": cam.guided_backprop(net, x, target=label),
    }
    above = [demo.outlined(plot.overlay(scene.image, maps[layer][0]), mask) for layer in LAYERS]
    below = [plot.signed_image(gradient[0]) for gradient in gradients.values()]
    figure = plot.grid([above, below], [f"Grad-CAM, {label}", "image gradient"], list(LAYERS.values()), size=2.8)
    for axis, title in zip(figure.axes[3:], gradients):
        axis.set_title(title, fontsize=10)
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
