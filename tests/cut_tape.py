"""A second way to every gradient, without a Function and without a tap: the cut tape.

Each ReLU's output is detached and marked as a leaf, so that the tape falls into pieces; each piece is then
walked back by hand, and the rule applied in between. Shares no code with `cam.recording`.
"""

from cam import blocks

from mxnet import autograd, nd


def image_gradient(net, x, ids, rule):
    """d logit / d image of VGG or ResNetV2 built from our blocks: NDArray (N, 3, H, W)."""
    pieces = []  # (input of the ReLU, leaf that the net went on with)

    def cut(z):
        leaf = nd.relu(z).detach()
        leaf.attach_grad()
        pieces.append((z, leaf))
        return leaf

    x = x.copy()
    x.attach_grad()
    # Pieces of a residual net meet at the additions, so gradients accumulate in the leaves.
    x.grad[:] = 0
    with autograd.record(train_mode=False):
        logits = _run(net, x, cut)
        head = sum(logits[image, number] for image, number in enumerate(ids))
    heads, weights = [head], [nd.ones_like(head)]
    leaves = [leaf for _, leaf in pieces]
    gradients = {}
    for index in range(len(pieces) - 1, -1, -1):
        z, leaf = pieces[index]
        arriving = _gradient(heads, weights, leaf)
        gradients[index] = arriving
        positive = (z > 0).astype(z.dtype)
        passed = {"plain": arriving * positive, "guided": nd.relu(arriving) * positive, "deconvnet": nd.relu(arriving)}
        heads.append(z)
        weights.append(passed[rule])
    assert len(leaves) == len(gradients)
    return _gradient(heads, weights, x)


def _gradient(heads, weights, leaf):
    """Sum of the gradients of all heads that depend on `leaf`."""
    (found,) = autograd.grad(heads, [leaf], head_grads=weights, retain_graph=True, train_mode=False)
    return found


def _run(block, x, cut):
    """The forward pass of a net of ours with `cut` in the place of every ReLU."""
    if isinstance(block, blocks.ReLU):
        return cut(x)
    if hasattr(block, "conv3"):
        activated = cut(block.bn1(x))
        shortcut = block.downsample(activated) if block.downsample else x
        y = block.conv2(cut(block.bn2(block.conv1(activated))))
        return block.conv3(cut(block.bn3(y))) + shortcut
    if type(block).__name__ == "Dense" and block.act is not None:
        weight, bias = block.weight.data(), block.bias.data()
        return cut(nd.FullyConnected(x, weight, bias, num_hidden=weight.shape[0]))
    if hasattr(block, "features"):
        return block.output(_run(block.features, x, cut))
    if isinstance(block, blocks.Sequential):
        for child in block:
            x = _run(child, x, cut)
        return x
    return block(x)
