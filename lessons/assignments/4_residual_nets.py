# %% [markdown]
# # Problem set 4: residual nets
#
# **Learning goals.** You can write the two operations that make ResNet50v2 special for Grad-CAM, addition and global
# average pooling, with their gradients; find an addition in the graph of a network; prove with numbers that the maps
# of branch and shortcut add up; and choose a layer by measuring.
#
# **You need** lessons 5 and 6, and `cam`. **It takes** about 90 minutes. **Points:** 15 by the checks, 3 by hand.
#
# **How it works.** Write your code where it says `YOUR CODE HERE`. The cell below each task checks it: no message
# means that it is right for the numbers shown. When you hand in, the same cells check other numbers too, so write the
# rule and not the result. Do not rename functions. Before you hand in, restart the kernel and run all cells.

# %% nbgrader={"grade": false, "grade_id": "setup", "locked": true, "schema_version": 3, "solution": false, "task": false}
import warnings

import cam
from cam import evaluation, scenes
from cam.core.tracing import trace
from cam.truth.exercises import check

import numpy as np
from mxnet import autograd, nd
from mxnet.gluon import nn
from mxnet.gluon.model_zoo.vision import BasicBlockV1

warnings.simplefilter("ignore", cam.LayerWarning)  # here we look into branches on purpose

# %% [markdown]
# ## 1. Add (2 points)
#
# $y = b + s$. What arrives from above goes to both inputs. `backward` of a function with two inputs returns two
# gradients.
#
# *Hint: what is $\partial y / \partial b$? And does it depend on $s$?*


# %% nbgrader={"grade": false, "grade_id": "add", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Add(autograd.Function):
    """branch + shortcut, NDArrays of one shape."""

    def forward(self, branch, shortcut):
        ### BEGIN SOLUTION
        return branch + shortcut
        ### END SOLUTION

    def backward(self, dy):
        ### BEGIN SOLUTION
        return dy, dy
        ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "through_add", "locked": true, "schema_version": 3, "solution": false, "task": false}
def through_add(branch, shortcut, w):
    """Output of Add, and both gradients of sum(w * output), numpy."""
    inputs = [nd.array(branch), nd.array(shortcut)]
    for one in inputs:
        one.attach_grad()
    add = Add()
    with autograd.record():
        y = add(*inputs)
        total = (y * nd.array(w)).sum()
    gradients = add.backward(nd.array(w))
    if not isinstance(gradients, (tuple, list)) or len(gradients) != 2:
        raise ValueError("Add has two inputs, so its backward has to return two gradients, one for each of them")
    total.backward()
    return [y.asnumpy(), *(one.grad.asnumpy() for one in inputs)]


# %% nbgrader={"grade": true, "grade_id": "add_both_ways", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
branch, shortcut, w = np.array([1.0, -2.0, 0.0]), np.array([3.0, 5.0, -1.0]), np.array([2.0, -1.0, 4.0])
output, d_branch, d_shortcut = through_add(branch, shortcut, w)
check("the output", output, [4, 3, -1], {"There is no ReLU in this addition.": [4, 3, 0], "Only one input.": branch})
for name, found in (("branch", d_branch), ("shortcut", d_shortcut)):
    check(
        f"the gradient of the {name}",
        found,
        w,
        likely={
            "The gradient is not shared out: each input gets all of it.": w / 2,
            "All zero: both inputs get what arrives.": 0 * w,
            "Only a product passes the other factor on; in a sum the derivative is 1.": w * (branch + shortcut),
        },
    )
### BEGIN HIDDEN TESTS
branch, shortcut, w = np.random.default_rng(1).normal(size=(3, 2, 3, 4, 5))
output, d_branch, d_shortcut = through_add(branch, shortcut, w)
check("the output with other numbers", output, branch + shortcut)
check("the gradient of the branch with other numbers", d_branch, w)
check("the gradient of the shortcut with other numbers", d_shortcut, w)
### END HIDDEN TESTS

# %% [markdown]
# ## 2. Global average pooling (3 points)
#
# $y_{nk} = \frac{1}{HW} \sum_{ij} x_{nk,ij}$. Backward: what does one pixel add to the mean, and so, what part of
# $dy$ does it get?
#
# *Hint: `backward` needs the shape of x, and nothing else of it. `nd.broadcast_to` or a product with ones spreads a
# number.*


# %% nbgrader={"grade": false, "grade_id": "pool", "locked": false, "schema_version": 3, "solution": true, "task": false}
class GlobalAveragePool(autograd.Function):
    """The mean of each channel: (N, K, H, W) to (N, K)."""

    def forward(self, x):
        ### BEGIN SOLUTION
        self.shape = x.shape
        return x.mean(axis=(2, 3))
        ### END SOLUTION

    def backward(self, dy):
        ### BEGIN SOLUTION
        height, width = self.shape[2:]
        return dy.reshape((0, 0, 1, 1)).broadcast_to(self.shape) / (height * width)
        ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "through_pool", "locked": true, "schema_version": 3, "solution": false, "task": false}
def through_pool(x, w):
    """Output of the pooling, and the gradient of sum(w * output), numpy."""
    x = nd.array(x)
    x.attach_grad()
    with autograd.record():
        y = GlobalAveragePool()(x)
        total = (y * nd.array(w)).sum()
    total.backward()
    return y.asnumpy(), x.grad.asnumpy()


# %% nbgrader={"grade": true, "grade_id": "pool_both_ways", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
x, w = np.array([[[[1.0, 2.0], [3.0, 6.0]], [[0.0, 0.0], [-4.0, 0.0]]]]), np.array([[8.0, -4.0]])
output, gradient = through_pool(x, w)
check(
    "the output",
    output,
    [[3, -1]],
    likely={
        "This is the maximum: take the mean.": [[6, 0]],
        "This is the sum: divide by the number of positions.": [[12, -4]],
        "The mean ran over the channels too: keep them apart.": [1],
    },
)
check(
    "the gradient",
    gradient,
    [[[[2, 2], [2, 2]], [[-1, -1], [-1, -1]]]],
    likely={
        "Each pixel adds only a part to the mean: divide by the number of positions.": w[:, :, None, None] * (x == x),
        "This is max pooling's gradient: in a mean all pixels count the same.": [[[[0, 0], [0, 8]], [[-4, 0], [0, 0]]]],
    },
)
### BEGIN HIDDEN TESTS
rng = np.random.default_rng(2)
x, w = rng.normal(size=(2, 3, 4, 7)), rng.normal(size=(2, 3))
output, gradient = through_pool(x, w)
check("the output with other numbers", output, x.mean(axis=(2, 3)))
check("the gradient with other numbers", gradient, np.ones_like(x) * w[:, :, None, None] / 28)
### END HIDDEN TESTS

# %% [markdown]
# ## 3. Why the last feature map is exact (3 points)
#
# ResNet50v2 ends: feature map $A$ (`features.10`), global average pooling, one Dense layer with weights $w_k$ and
# bias $b$. With the gradient of the pooling you can write Grad-CAM's map at $A$ without any backward pass. Do it,
# **signed** (no final ReLU).
#
# *Hint: the gradient of the logit at every position of channel $k$ is the same number. Which one? The check below
# also adds up your map: what must the sum of the map plus the bias be?*

# %% nbgrader={"grade": false, "grade_id": "resnet", "locked": true, "schema_version": 3, "solution": false, "task": false}
net = cam.resnet50_v2()
scene = scenes.draw(seed=7)
x = cam.load_image(scene.image)


# %% nbgrader={"grade": false, "grade_id": "exact_map", "locked": false, "schema_version": 3, "solution": true, "task": false}
def exact_map(features, weight):
    """Signed Grad-CAM at the input of the pooling: numpy (h, w).

    features is A, numpy (K, h, w); weight holds the Dense layer's weights of one class, numpy (K,).
    """
    ### BEGIN SOLUTION
    positions = features.shape[1] * features.shape[2]
    return (weight[:, None, None] * features).sum(axis=0) / positions
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "the_map_adds_up", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
features, weight = np.array([[[1.0, 0.0], [2.0, 5.0]], [[3.0, 1.0], [0.0, 0.0]]]), np.array([4.0, -8.0])
check(
    "the map of two channels of 2x2",
    exact_map(features, weight),
    [[-5, -2], [2, 5]],
    likely={
        "This is CAM; Grad-CAM's gradient has passed the pooling: divide by the number of positions.": [
            [-20, -8],
            [8, 20],
        ],
        "Signed, please: no final ReLU here.": [[0, 0], [2, 5]],
    },
)
rec = cam.record(net, x, "features.10", image_gradient=False)
for label in scene.labels:
    number = net.labels.index(label)
    found = exact_map(rec.features()[0], net.output.weight.data()[number].asnumpy())
    logit = rec.logits[0][number]
    check(
        f"the sum of the map of '{label}' plus the bias", found.sum() + net.output.bias.data()[number].asscalar(), logit
    )
### BEGIN HIDDEN TESTS
rng = np.random.default_rng(3)
features, weight = rng.normal(size=(5, 3, 4)), rng.normal(size=5)
check("the map with other numbers", exact_map(features, weight), np.einsum("k,khw->hw", weight, features) / 12)
### END HIDDEN TESTS

# %% [markdown]
# ## 4. Branch + shortcut = sum (5 points)
#
# A residual block ends in an addition. Where are its two inputs? No block has the shortcut as its output: it is a line
# in the *graph* of the network. `trace(net)` gives that graph, with
#
# - `graph.entries[path]`: for a layer's path its *entry*, a pair (number of the step, number of its output),
# - `graph.steps[number]`: the step, with `.op` (such as `"Convolution"`, `"Activation"`, `"elemwise_add"`) and
#   `.inputs`, the entries that go in,
# - `graph.name(entry)`: what the layer with this entry is called.
#
# Find the names of the two layers that a block adds. In some networks a ReLU stands behind the addition and is the
# block's output: step back over it.
#
# *Hint: print the step of `"features.8.2"`, its `op` and its `inputs`. A ReLU has one input.*


# %% nbgrader={"grade": false, "grade_id": "summands", "locked": false, "schema_version": 3, "solution": true, "task": false}
def summands(graph, block):
    """The names of the two layers that the last addition of a block adds: a list of two, in any order.

    graph is a traced net; block is the path of a residual block, such as "features.8.2".
    """
    ### BEGIN SOLUTION
    step = graph.steps[graph.entries[block][0]]
    while step.op != "elemwise_add":
        step = graph.steps[step.inputs[0][0]]
    return [graph.name(entry) for entry in step.inputs]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "the_two_inputs", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
graph = trace(net)
for block, names in (
    ("features.8.2", ["features.8.1", "features.8.2.conv3"]),
    ("features.8.0", ["features.8.0.conv3", "features.8.0.downsample"]),
):
    found = summands(graph, block)
    check(f"how many layers {block} adds", len(found), 2)
    check(
        f"the layers that {block} adds",
        ", ".join(sorted(found)),
        ", ".join(names),
        likely={"This is the block itself: its step's inputs are asked for.": f"{block}, {block}"},
    )
### BEGIN HIDDEN TESTS
other = nn.HybridSequential()
other.add(nn.Conv2D(4, 3, in_channels=3), BasicBlockV1(4, 1), BasicBlockV1(8, 2, downsample=True, in_channels=4))
graph = trace(other)
for block, names in (("1", "0, 1.body"), ("2", "2.body, 2.downsample")):
    found = ", ".join(sorted(summands(graph, block)))
    check(f"the layers that block {block} of another net adds, before its ReLU", found, names)
### END HIDDEN TESTS

# %% [markdown]
# Now compute the **signed** Grad-CAM map of the sum, split into the part of the branch and the part of the shortcut,
# and so prove that
#
# $$\text{map}(\text{Add}) = \text{map}(\text{branch}) + \text{map}(\text{shortcut}).$$
#
# *Hint: section 1 says which gradient arrives at either input. Do not ask the recording for the gradient at the
# shortcut: its layer is where the branch starts too, so it gets the gradient of both ways.*
#
# Then say how much of the evidence the branch holds: the sum of $|\text{map}(\text{branch})|$ over the sum of the
# absolute values of both parts.


# %% nbgrader={"grade": false, "grade_id": "maps_of_block", "locked": false, "schema_version": 3, "solution": true, "task": false}
def maps_of_block(rec, layers, label):
    """Signed maps of a block's parts: a dict with "branch", "shortcut" and "sum", each numpy (h, w).

    rec is a recording of the three layers; layers is a dict of their names with the same three keys.
    """
    ### BEGIN SOLUTION
    alpha = rec.gradient(layers["sum"], target=label)[0].mean(axis=(1, 2))
    return {part: (alpha[:, None, None] * rec.features(layer)[0]).sum(axis=0) for part, layer in layers.items()}
    ### END SOLUTION


def share_of_branch(maps):
    """Share of the branch in the evidence, 0 to 1."""
    ### BEGIN SOLUTION
    branch, shortcut = (np.abs(maps[part]).sum() for part in ("branch", "shortcut"))
    return branch / (branch + shortcut)
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "record_block", "locked": true, "schema_version": 3, "solution": false, "task": false}
def record_block(layers, seed):
    """A recording of a block's three layers, and the scene."""
    scene = scenes.draw(seed)
    return cam.record(net, cam.load_image(scene.image), list(layers.values()), image_gradient=False), scene


# %% nbgrader={"grade": true, "grade_id": "the_maps_add_up", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
block, label = "features.8.2", scenes.draw(seed=7).labels[0]
layers = {"branch": "features.8.2.conv3", "shortcut": "features.8.1", "sum": block}
rec, scene = record_block(layers, seed=7)
maps, signed = maps_of_block(rec, layers, label), cam.decompose(net, cam.load_image(scene.image), block, target=label)
G = rec.gradient(block, target=label)[0]
for part, path in layers.items():
    A, total = rec.features(path)[0], rec.gradient(path, target=label)[0]
    check(
        f"the map of the {part}",
        maps[part],
        signed[part][0],
        likely={
            "A ReLU was applied: keep the sign, or the parts do not add up.": np.maximum(signed[part][0], 0),
            "The branch starts there too: take the gradient at the sum, which both of its inputs get.": (
                total.mean(axis=(1, 2))[:, None, None] * A
            ).sum(axis=0),
            "The features were averaged in place of the gradient.": (A.mean(axis=(1, 2))[:, None, None] * A).sum(
                axis=0
            ),
            "The gradient stands where the features should.": (G.mean(axis=(1, 2))[:, None, None] * G).sum(axis=0),
            "The gradient was not averaged: that is HiResCAM.": (G * A).sum(axis=0),
        },
    )
check("branch + shortcut", maps["branch"] + maps["shortcut"], maps["sum"], tolerance=1e-3)
### BEGIN HIDDEN TESTS
layers = {"branch": "features.7.4.conv3", "shortcut": "features.7.3", "sum": "features.7.4"}
rec, scene = record_block(layers, seed=21)
maps = maps_of_block(rec, layers, scene.labels[1])
expected = cam.decompose(net, cam.load_image(scene.image), "features.7.4", target=scene.labels[1])
for part, signed in expected.items():
    check(f"the map of the {part} of another block, scene and class", maps[part], signed[0])
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "the_branchs_share", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check(
    "share_of_branch of a small example",
    share_of_branch(
        {"branch": np.array([[1.0, -2.0]]), "shortcut": np.array([[3.0, 6.0]]), "sum": np.array([[4.0, 4.0]])}
    ),
    0.25,
    likely={
        "Take absolute values before adding up: -2 is evidence too.": -0.125,
        "Divide by the absolute values of both parts, not by the sum map.": 0.375,
        "Divide by both parts, not by the shortcut alone.": 1 / 3,
    },
)
### BEGIN HIDDEN TESTS
branch, shortcut = np.random.default_rng(4).normal(size=(2, 3, 5))
found = share_of_branch({"branch": branch, "shortcut": shortcut, "sum": branch + shortcut})
expected = np.abs(branch).sum() / (np.abs(branch).sum() + np.abs(shortcut).sum())
check("share_of_branch of another example", found, expected)
### END HIDDEN TESTS

# %%
# The share of the branch in some blocks of this net: numbers for your answer below.
for block, before in (
    ("features.8.2", "features.8.1"),
    ("features.8.1", "features.8.0"),
    ("features.7.4", "features.7.3"),
):
    layers = {"branch": f"{block}.conv3", "shortcut": before, "sum": block}
    rec, scene = record_block(layers, seed=7)
    print(block, "holds", share_of_branch(maps_of_block(rec, layers, scene.labels[0])), "in its branch")

# %% [markdown]
# ## 5. Choose the layer (2 points)
#
# Do not believe anybody's advice on layers, measure: which of some candidates has the highest mean *share on the
# right object*? `evaluation.evaluate(net, seeds, candidates)` gives, for a list of layers, a dict by path; each entry's
# `.share` holds one number per scene and animal.


# %% nbgrader={"grade": false, "grade_id": "best_layer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def best_layer(net, seeds, candidates):
    """The path of the candidate whose maps lie best on their objects."""
    ### BEGIN SOLUTION
    found = evaluation.evaluate(net, seeds, candidates)
    return max(candidates, key=lambda path: found[path].share.mean())
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "layer_choice", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
candidates = ["features.8.2.conv3", "features.7.5.conv3", "features.8.2"]
shares = {path: one.share.mean() for path, one in evaluation.evaluate(net, range(6), candidates).items()}
check(
    "the best of three layers by six scenes",
    best_layer(net, range(6), candidates),
    max(shares, key=shares.get),
    likely={
        "This is the worst of them.": min(shares, key=shares.get),
        "This is the first candidate: compare the mean shares.": candidates[0],
    },
)
### BEGIN HIDDEN TESTS
candidates = ["features.6.3", "features.10", "features.7.0.conv3"]
shares = {path: one.share.mean() for path, one in evaluation.evaluate(net, [30, 31, 32], candidates).items()}
check("the best of other layers", best_layer(net, [30, 31, 32], candidates), max(shares, key=shares.get))
candidates = ["features.7.5.conv3", "features.6.3"]
shares = {path: one.share.mean() for path, one in evaluation.evaluate(net, [30, 31, 32], candidates).items()}
check("the better of two", best_layer(net, [30, 31, 32], candidates), max(shares, key=shares.get))
### END HIDDEN TESTS

# %% [markdown]
# ## 6. In your own words (3 points, read by your teacher)
#
# Somebody asks in a forum: "I use Grad-CAM on ResNet50v2 with the last convolution, as the tutorial says for VGG16. The
# map is on the wrong place. Is my network bad?" Answer in at most ten sentences, so that they understand what their layer
# shows, what it leaves out, and which layer to take. Use numbers that you measured in this notebook.
#
# *Write into the cell below this one: what stands in a new cell is not read.*

# %% [markdown] nbgrader={"grade": true, "grade_id": "in_your_own_words", "locked": false, "points": 3, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# The last convolution of a residual block is the end of its branch: its map shows what this block changes, and the
# part that comes by the shortcut is left out. Both parts get the same gradient, so their maps add up to the map of
# the addition (section 4; the branch held the share that `share_of_branch` gave). In VGG16 there is no shortcut, and
# the last convolution holds everything. Take the input of the global pooling (`features.10`): there Grad-CAM adds up
# to the logit exactly (section 3), and its maps lie best on the objects (section 5). The network may be fine: look at
# its accuracy for that.
# ### END SOLUTION

# %% [markdown]
# ## If your test fails
#
# - **The gradient of one input is zero, or half**: `backward` of Add returns `dy` twice, once for each input.
# - **The gradient of the pooling is too large**: it is a mean, so every position gets one part of $HW$.
# - **branch + shortcut is not the sum**: a ReLU on the parts; or weights from the features; or the maps of two
#   classes.
# - **The sum of the map plus the bias is not the logit**: the division by the number of positions is missing, or the
#   ReLU is there.
# - **Wrong for other layers only**: a path or a size was typed in.
