"""Draw the answer to the forum's question: three layers above, three counts of guided ReLUs below.

Usage: python examples/answer.py FILE
"""

import sys
import warnings
from pathlib import Path

import cam
from cam import blocks, plot, scenes

import demo
from mxnet.gluon import nn

sys.path.append(str(Path(__file__).parent.parent / "lessons"))
from course import zoo_resnet50_v2

SEED, TARGET = 10, 1
LAYERS = {
    "features.8.2.conv3": "the last conv3\n(end of a residual branch)",
    "features.8.2.add": "the last Add",
    "features.10": "the input of GAP",
}


def with_two_relus(net) -> nn.Sequential:
    """The zoo's own net with its 2 ReLU blocks replaced, as in the tutorial, and a pooling with a right gradient."""
    zoo, partly = zoo_resnet50_v2(net), nn.Sequential()
    ours = {nn.Activation: lambda: cam.Activation("relu"), nn.MaxPool2D: lambda: blocks.MaxPool2D(3, 2, 1)}
    partly.add(*(ours.get(type(block), lambda same=block: same)() for block in zoo.features), zoo.output)
    return partly


def main(path: Path) -> None:
    scene = scenes.draw(SEED)
    label, mask = scene.labels[TARGET], scene.masks[TARGET]
    x, net = cam.load_image(scene.image), cam.resnet50_v2()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cam.InsideResidualBranch)  # it is what the picture is about
        maps = cam.grad_cam(net, x, label, list(LAYERS))
    number = net.labels.index(label)
    gradients = {
        "plain: 0 of 50 ReLUs guided": cam.image_gradient(net, x, number),
        "2 of 50: what replacing blocks reaches": cam.guided_backprop(with_two_relus(net), x, number, partial=True),
        "50 of 50": cam.guided_backprop(net, x, number),
    }
    above = [demo.outlined(plot.overlay(scene.image, maps[layer][0]), mask) for layer in LAYERS]
    below = [plot.signed_image(gradient[0]) for gradient in gradients.values()]
    figure = plot.grid([above, below], [f"Grad-CAM, {label}", "image gradient"], list(LAYERS.values()), size=2.8)
    for axis, title in zip(figure.axes[3:], gradients):
        axis.set_title(title, fontsize=10)
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
