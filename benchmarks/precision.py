"""Why VGG16's float32 gradients differ from float64 more than ResNet50v2's: `make benchmark`.

A *flip* is a value before a ReLU whose sign differs between the float32 and the float64 run: from there on
the gradient takes another path. The rest is rounding. So we count the flips beside the distances.
"""

import cam
from cam import blocks

import numpy as np
from mxnet import nd


def relative_l2(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def decisions(net, x):
    """For every ReLU, in order: where its input is positive."""
    positive = []
    hooks = [
        block.register_forward_hook(lambda _, inputs, __: positive.append(inputs[0].asnumpy() > 0))
        for block in cam.paths(net).values()
        if isinstance(block, blocks.ReLU)
    ]
    try:
        net(x)
    finally:
        for hook in hooks:
            hook.detach()
    return positive


def main() -> None:
    for name in ("resnet50_v2", "vgg16"):
        x = nd.array(np.random.default_rng(1).normal(size=(1, 3, 224, 224)))
        net = getattr(cam, name)(weights=None)
        twin = cam.convert(net)
        twin.cast("float64")
        x64 = x.astype("float64")
        pairs = list(zip(decisions(net, x), decisions(twin, x64)))
        flips, total = sum((one != two).sum() for one, two in pairs), sum(one.size for one, _ in pairs)
        print(f"{name}: {flips} of {total} ReLU decisions differ between float32 and float64")
        one, two = cam.record(net, x), cam.record(twin, x64)
        for label, found, expected in (
            ("logits", one.logits, two.logits),
            ("Grad-CAM", cam.grad_cam_of(one, class_id=5), cam.grad_cam_of(two, class_id=5)),
            ("image gradient", one.image_gradient(5), two.image_gradient(5)),
            ("guided backpropagation", one.image_gradient(5, "guided"), two.image_gradient(5, "guided")),
        ):
            print(f"  relative L2 {relative_l2(found, expected):.1e}  {label}")


if __name__ == "__main__":
    main()
