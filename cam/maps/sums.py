"""Maps that add up exactly: a sum of two maps, split in its terms, and the map whose mean is the logit."""

from __future__ import annotations

from math import prod

import numpy as np
from mxnet import nd
from mxnet.gluon import Block

from ..core import layers as choose
from ..core.checks import Images, ready
from ..core.errors import LayerError, NetError
from ..core.forward_backward import finite
from ..core.graph import ADDS, PASSES_ON, RESHAPES, Entry
from ..core.layers import LayerLike
from ..core.recording import record
from ..core.targets import Target
from .endings import averages
from .grad_cam import by_keyword, channel_weights


@by_keyword
def decompose(
    net: Block, x: Images, block: LayerLike, *, target: Target = None, output: int | None = None
) -> dict[str, np.ndarray]:
    """The Grad-CAM of a sum of two maps, split into the part of its branch and the part of its shortcut.

    For y = shortcut + branch the gradient arriving at y goes unchanged to both, so all three have the same weights
    alpha_k, and before the final ReLU of Grad-CAM map(y) = map(branch) + map(shortcut).

    Parameters
    ----------
    net, x : as for `cam.record`
    block : a block that ends in an addition, such as `net.features[8][2]`, its path or its name, or an addition itself;
        a ReLU or BatchNorm behind the addition is stepped back over
    target, output : as for `grad_cam`, whose errors this function raises too

    Returns
    -------
    dict of numpy (N, h, w), signed: "branch", "shortcut" and "sum"; the shortcut is the summand with fewer operators

    Raises
    ------
    LayerError
        If the block does not end in an addition of two maps of one shape.
    """
    prepared = ready(net, x, output)
    graph = prepared.graph
    name, entry = choose.find_map(prepared, block)
    while graph.steps[entry[0]].op in PASSES_ON | {"BatchNorm"} or graph.steps[entry[0]].relu is not None:
        entry = graph.steps[entry[0]].inputs[0]
    summands = graph.steps[entry[0]].inputs if graph.steps[entry[0]].op in ADDS else ()
    if len({prepared.shapes[one] for one in summands}) != 1 or not all(graph.follows_image[i] for i, _ in summands):
        raise LayerError(f"layer {name} does not end in an addition of two maps of one shape")

    def operators(one: Entry) -> int:
        return sum(needed and step.op != "null" for needed, step in zip(graph.needed_for([one]), graph.steps))

    shortcut, branch = sorted(summands[::-1], key=operators)
    parts = {"branch": branch, "shortcut": shortcut, "sum": entry}
    recording = record(net, x, list(parts.values()), image_gradient=False, output=output)
    alpha = channel_weights(recording.arrays(entry, target)[1])
    maps = {part: (alpha * recording.arrays(one, target)[0]).sum(axis=1) for part, one in parts.items()}
    return {part: finite(one, f"the map of the {part}") for part, one in maps.items()}


@by_keyword
def class_activation_map(net: Block, x: Images, *, target: Target = None, output: int | None = None) -> np.ndarray:
    """The class activation map sum_k w_k A_k (Zhou et al. 2016, equation 2), signed.

    w_k is the weight from channel k of the last feature map to the class's logit. It exists for nets whose graph ends
    in a global average pooling and one Dense layer, so that the map's mean plus the bias is the logit.

    Parameters
    ----------
    net, x, target, output : as for `grad_cam`, whose errors this function raises too

    Returns
    -------
    numpy (N, h, w) of the net's dtype

    Raises
    ------
    NetError
        If the net does not end that way; take `grad_cam`.
    """
    prepared = ready(net, x, output)
    graph, shapes_only = prepared.graph, PASSES_ON | RESHAPES
    dense = graph.steps[graph.back_over(prepared.end, shapes_only)[0]]
    pooled = graph.back_over(dense.inputs[0], shapes_only) if dense.inputs else prepared.end
    pooling = graph.steps[pooled[0]]
    weight = graph.steps[dense.inputs[1][0]].parameter if len(dense.inputs) > 1 else None
    before = prepared.shapes[pooling.inputs[0]] if pooling.inputs else ()
    means = averages(pooling, before) and "sum" not in (pooling.op, pooling.option("pool_type"))
    ends_so = dense.op in ("FullyConnected", "Convolution") and means and len(before) == prepared.images[0].ndim
    if not ends_so or prod(prepared.shapes[pooled][2:]) != 1 or weight is None or weight.shape[1] != before[1]:
        raise NetError("this net does not end in a global average pooling and one Dense layer; use grad_cam")
    recording = record(net, x, [pooling.inputs[0]], image_gradient=False, output=output)
    rows = weight.data(prepared.images[0].context).reshape((0, -1))  # (classes, K)
    chosen = nd.dot(recording.head(target).reshape((-1, len(rows))), rows)  # (N, K)
    return np.einsum("nk,nk...->n...", chosen.asnumpy(), recording.features())
