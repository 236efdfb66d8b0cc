"""A second way to every gradient of the image: the cut tape, which shares no code with `cam`.

Each ReLU's output is detached and marked as a leaf, so that the tape falls into pieces; each piece is then walked back
by hand, and the rule applied in between. For VGG16 and ResNet50v2 of the zoo's own blocks.
"""

from mxnet import autograd, nd
from mxnet.gluon import nn
from mxnet.gluon.model_zoo.vision.resnet import BottleneckV2


def image_gradient(net, x, ids, rule):
    """d logit / d image, NDArray (N, 3, H, W), of the class `ids[n]` for each image."""
    pieces = []  # (input of the ReLU, leaf that the net went on with)

    def cut(z):
        leaf = nd.relu(z).detach()
        leaf.attach_grad()
        pieces.append((z, leaf))
        return leaf

    x = x.copy()
    x.attach_grad()
    with autograd.record(train_mode=False):
        logits = _run(net, x, cut)
        head = sum(logits[image, number] for image, number in enumerate(ids))
    heads, weights = [head], [nd.ones_like(head)]
    for z, leaf in reversed(pieces):
        arriving = _gradient(heads, weights, leaf)
        positive = (z > 0).astype(z.dtype)
        passed = {"plain": arriving * positive, "guided": nd.relu(arriving) * positive, "deconvnet": nd.relu(arriving)}
        heads.append(z)
        weights.append(passed[rule])
    return _gradient(heads, weights, x)


def _gradient(heads, weights, leaf):
    """Sum of the gradients of all heads that depend on `leaf`: pieces of a residual net meet at the additions."""
    (found,) = autograd.grad(heads, [leaf], head_grads=weights, retain_graph=True, train_mode=False)
    return found


def _run(block, x, cut):
    """The forward pass of a net with `cut` in the place of every ReLU."""
    if isinstance(block, nn.Activation):
        return cut(x)
    if isinstance(block, nn.MaxPool2D):
        with autograd.train_mode():  # in predict mode its gradient reads positions that were never written
            return block(x)
    if isinstance(block, BottleneckV2):
        activated = cut(block.bn1(x))
        shortcut = block.downsample(activated) if block.downsample else x
        y = block.conv2(cut(block.bn2(block.conv1(activated))))
        return block.conv3(cut(block.bn3(y))) + shortcut
    if isinstance(block, nn.Dense) and block.act is not None:
        weight, bias = block.weight.data(), block.bias.data()
        return cut(nd.FullyConnected(x, weight, bias, num_hidden=weight.shape[0]))
    if hasattr(block, "features"):
        return block.output(_run(block.features, x, cut))
    if isinstance(block, nn.HybridSequential):
        for child in block:
            x = _run(child, x, cut)
        return x
    return block(x)
