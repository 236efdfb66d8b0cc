# %% [markdown]
# # Problem set 4: residual nets
#
# **Learning goals.** You can write the two operations that make ResNet50v2 special for Grad-CAM, addition and global
# average pooling, with their gradients; prove with numbers that the maps of branch and shortcut add up; and choose a
# layer by measuring.
#
# **You need** lessons 5 and 6, and `cam`. **It takes** about 90 minutes. **Points:** 15 by the checks, 3 by hand.
#
# **How it works.** Write your code where it says `YOUR CODE HERE`. The cell below each task checks it: no message
# means that it is right for the numbers shown. When you hand in, the same cells check other numbers too, so write the
# rule and not the result. Do not rename functions. Before you hand in, restart the kernel and run all cells.

# %% nbgrader={"grade": false, "grade_id": "setup", "locked": true, "schema_version": 3, "solution": false, "task": false}
import warnings

import cam
from cam import metrics, scenes
from cam.exercises import check

import numpy as np
from mxnet import autograd, nd

warnings.simplefilter("ignore", cam.InsideResidualBranch)  # here we look into branches on purpose

# %% [markdown]
# ## 1. Add (3 points)
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


# %% nbgrader={"grade": true, "grade_id": "add_both_ways", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
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
rec = cam.record(net, x, "features.10", image=False)
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
# ## 4. Branch + shortcut = sum (4 points)
#
# Every residual block of `cam.resnet50_v2` has the layers `conv3` (the last one of the branch), `shortcut` and `add`,
# such as `"features.8.2.conv3"`. One recording keeps all three. Compute the **signed** Grad-CAM map of each, and so
# prove that
#
# $$\text{map}(\text{Add}) = \text{map}(\text{branch}) + \text{map}(\text{shortcut}).$$
#
# Then say how much of the evidence the branch holds: the sum of $|\text{map}(\text{branch})|$ over the sum of the
# absolute values of both parts.


# %% nbgrader={"grade": false, "grade_id": "maps_of_block", "locked": false, "schema_version": 3, "solution": true, "task": false}
def maps_of_block(rec, block, label):
    """Signed maps of a block's parts: a dict with "branch", "shortcut" and "sum", each numpy (h, w).

    rec is a recording of block + ".conv3", ".shortcut" and ".add"; block is a path such as "features.8.2".
    """
    ### BEGIN SOLUTION
    maps = {}
    for part, name in (("branch", "conv3"), ("shortcut", "shortcut"), ("sum", "add")):
        layer = f"{block}.{name}"
        alpha = rec.gradient(layer, label)[0].mean(axis=(1, 2))
        maps[part] = (alpha[:, None, None] * rec.features(layer)[0]).sum(axis=0)
    return maps
    ### END SOLUTION


def share_of_branch(maps):
    """Share of the branch in the evidence, 0 to 1."""
    ### BEGIN SOLUTION
    branch, shortcut = (np.abs(maps[part]).sum() for part in ("branch", "shortcut"))
    return branch / (branch + shortcut)
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "record_block", "locked": true, "schema_version": 3, "solution": false, "task": false}
def record_block(block, seed):
    """A recording of a block's three parts, and the scene."""
    scene = scenes.draw(seed)
    layers = [f"{block}.{name}" for name in ("conv3", "shortcut", "add")]
    return cam.record(net, cam.load_image(scene.image), layers, image=False), scene


# %% nbgrader={"grade": true, "grade_id": "the_maps_add_up", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
block = "features.8.2"
rec, scene = record_block(block, seed=7)
maps = maps_of_block(rec, block, scene.labels[0])
for part, name in (("branch", "conv3"), ("shortcut", "shortcut"), ("sum", "add")):
    path = f"{block}.{name}"
    A, G = rec.features(path)[0], rec.gradient(path, scene.labels[0])[0]
    signed = cam.grad_cam_of(rec, scene.labels[0], path, relu=False)[0]
    check(
        f"the map of the {part}",
        maps[part],
        signed,
        likely={
            "A ReLU was applied: keep the sign, or the parts do not add up.": np.maximum(signed, 0),
            "The features were averaged in place of the gradient.": (A.mean(axis=(1, 2))[:, None, None] * A).sum(
                axis=0
            ),
            "The gradient stands where the features should.": (G.mean(axis=(1, 2))[:, None, None] * G).sum(axis=0),
            "The gradient was not averaged: that is HiResCAM.": (G * A).sum(axis=0),
        },
    )
check("branch + shortcut", maps["branch"] + maps["shortcut"], maps["sum"], tolerance=1e-3)
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
block = "features.7.4"
rec, scene = record_block(block, seed=21)
maps = maps_of_block(rec, block, scene.labels[1])
expected = {
    part: cam.grad_cam_of(rec, scene.labels[1], f"{block}.{name}", relu=False)[0]
    for part, name in (("branch", "conv3"), ("shortcut", "shortcut"), ("sum", "add"))
}
for part, signed in expected.items():
    check(f"the map of the {part} of another block, scene and class", maps[part], signed)
branch, shortcut = (np.abs(expected[part]).sum() for part in ("branch", "shortcut"))
check("its share_of_branch", share_of_branch(expected), branch / (branch + shortcut))
### END HIDDEN TESTS

# %% [markdown]
# ## 5. Choose the layer (2 points)
#
# Do not believe anybody's advice on layers, measure: which of some candidates has the highest mean *share on the
# right object*? `metrics.evaluate(net, seeds, candidates)` gives, for a list of layers, a dict by path; each entry's
# `.share` holds one number per scene and animal.


# %% nbgrader={"grade": false, "grade_id": "best_layer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def best_layer(net, seeds, candidates):
    """The path of the candidate whose maps lie best on their objects."""
    ### BEGIN SOLUTION
    found = metrics.evaluate(net, seeds, candidates)
    return max(candidates, key=lambda path: found[path].share.mean())
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "layer_choice", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
candidates = ["features.8.2.conv3", "features.7.5.conv3", "features.8.2.add"]
shares = {path: one.share.mean() for path, one in metrics.evaluate(net, range(6), candidates).items()}
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
candidates = ["features.6.3.add", "features.10", "features.7.0.conv3"]
shares = {path: one.share.mean() for path, one in metrics.evaluate(net, [30, 31, 32], candidates).items()}
check("the best of other layers", best_layer(net, [30, 31, 32], candidates), max(shares, key=shares.get))
candidates = ["features.7.5.conv3", "features.6.3.add"]
shares = {path: one.share.mean() for path, one in metrics.evaluate(net, [30, 31, 32], candidates).items()}
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
