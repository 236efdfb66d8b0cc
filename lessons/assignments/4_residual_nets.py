# %% [markdown]
# # Problem set 4: residual nets
#
# **Learning goals.** You can write the two operations that make ResNet50v2 special for Grad-CAM, addition and average
# pooling, with their gradients; find an addition in the graph of a network; prove with numbers that the maps of branch
# and shortcut add up; and choose a layer by measuring, or say that the measurement does not tell.
#
# **You need** lessons 5 and 6, and `cam`. **It takes** about 90 minutes. **Points:** 15 by the checks, 3 by hand.
#
# **How it works.** Write your code where it says `YOUR CODE HERE`. The cell below each task checks it: no message
# means that it is right for the numbers shown. When you hand in, the same cells check other numbers too, so write the
# rule and not the result. Do not rename functions. Before you hand in, restart the kernel and run all cells.

# %% nbgrader={"grade": false, "grade_id": "setup", "locked": true, "schema_version": 3, "solution": false, "task": false}
import warnings

import cam
from cam import evaluation, metrics, scenes
from cam.core.tracing import trace

import numpy as np
from mxnet import autograd, nd
from mxnet.gluon import nn
from mxnet.gluon.model_zoo.vision import BasicBlockV1

warnings.simplefilter("ignore", cam.LayerWarning)  # here we look into branches on purpose

# %% [markdown]
# ## 1. Add, with a weakened branch (2 points)
#
# Lesson 6 has $y = b + s$. In very deep networks the branch is made weaker, so that training is stable: $y = c\,b + s$,
# with $c$ between 0.1 and 0.3 in Inception-ResNet. `backward` of a function with two inputs returns two gradients.
#
# *Hint: what is $\partial y / \partial b$? And does it depend on $s$?*


# %% nbgrader={"grade": false, "grade_id": "add", "locked": false, "schema_version": 3, "solution": true, "task": false}
class ScaledAdd(autograd.Function):
    """scale * branch + shortcut, NDArrays of one shape."""

    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def forward(self, branch, shortcut):
        ### BEGIN SOLUTION
        return self.scale * branch + shortcut
        ### END SOLUTION

    def backward(self, dy):
        ### BEGIN SOLUTION
        return self.scale * dy, dy
        ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "through_add", "locked": true, "schema_version": 3, "solution": false, "task": false}
def through_add(scale, branch, shortcut, w):
    """Output of ScaledAdd, and both gradients of sum(w * output), numpy."""
    inputs = [nd.array(branch), nd.array(shortcut)]
    for one in inputs:
        one.attach_grad()
    add = ScaledAdd(scale)
    with autograd.record():
        y = add(*inputs)
        total = (y * nd.array(w)).sum()
    gradients = add.backward(nd.array(w))
    if not isinstance(gradients, (tuple, list)) or len(gradients) != 2:
        raise ValueError(
            "the addition has two inputs, so its backward has to return two gradients, one for each of them"
        )
    total.backward()
    return [y.asnumpy(), *(one.grad.asnumpy() for one in inputs)]


# %% nbgrader={"grade": true, "grade_id": "add_both_ways", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from cam.truth.exercises import check

import numpy as np

branch, shortcut, w = np.array([1.0, -2.0, 0.0]), np.array([3.0, 5.0, -1.0]), np.array([2.0, -1.0, 4.0])
output, d_branch, d_shortcut = through_add(0.5, branch, shortcut, w)
check(
    "the output with a scale of 0.5",
    output,
    [3.5, 4, -1],
    likely={
        "There is no ReLU in this addition.": [3.5, 4, 0],
        "The scale is missing.": [4, 3, -1],
        "The scale belongs to the branch alone.": [2, 1.5, -0.5],
    },
)
for name, found, right in (("branch", d_branch, w / 2), ("shortcut", d_shortcut, w)):
    check(
        f"the gradient of the {name}",
        found,
        right,
        likely={
            "The branch was multiplied with the scale, so its gradient is too.": w,
            "The shortcut was not multiplied with anything: it gets all that arrives.": w / 2,
            "All zero: both inputs get something.": 0 * w,
            "Only a product passes the other factor on; the shortcut is added.": w * shortcut,
        },
    )
### BEGIN HIDDEN TESTS
rng = np.random.default_rng([SECRET, 1])
branch, shortcut, w = rng.normal(size=(3, 2, 3, 4, 5))
scale = rng.uniform(0.1, 0.9)
output, d_branch, d_shortcut = through_add(scale, branch, shortcut, w)
check("the output with other numbers", output, scale * branch + shortcut)
check("the gradient of the branch with other numbers", d_branch, scale * w)
check("the gradient of the shortcut with other numbers", d_shortcut, w)
### END HIDDEN TESTS

# %% [markdown]
# ## 2. Average pooling, window by window (3 points)
#
# Lesson 6 averages the whole map. DenseNet and others also average inside: the map is cut into windows of $a \times b$
# that do not overlap, and each becomes its mean. With a window as large as the map it is the global pooling. Backward:
# what does one pixel add to the mean of its window, and so, what part of that window's $dy$ does it get?
#
# *Hint: `backward` needs the shape of x, and nothing else of it. `dy.repeat(n, axis)` writes each number n times.*


# %% nbgrader={"grade": false, "grade_id": "pool", "locked": false, "schema_version": 3, "solution": true, "task": false}
class AveragePool(autograd.Function):
    """The mean of each window of a x b: (N, K, H, W) to (N, K, H / a, W / b); H and W are multiples of a and b."""

    def __init__(self, a, b):
        super().__init__()
        self.a, self.b = a, b

    def forward(self, x):
        ### BEGIN SOLUTION
        n, k, height, width = x.shape
        windows = x.reshape((n, k, height // self.a, self.a, width // self.b, self.b))
        return windows.mean(axis=(3, 5))
        ### END SOLUTION

    def backward(self, dy):
        ### BEGIN SOLUTION
        return dy.repeat(self.a, axis=2).repeat(self.b, axis=3) / (self.a * self.b)
        ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "through_pool", "locked": true, "schema_version": 3, "solution": false, "task": false}
def through_pool(window, x, w):
    """Output of the pooling, and what its backward makes of w, numpy."""
    pool = AveragePool(*window)
    output = pool.forward(nd.array(x))
    return output.asnumpy(), pool.backward(nd.array(w)).asnumpy()


# %% nbgrader={"grade": true, "grade_id": "pool_forward", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
from cam.truth.exercises import check

import numpy as np

x, w = np.array([[[[1.0, 2.0, 0.0, 4.0], [3.0, 6.0, 0.0, 0.0]]]]), np.array([[[[8.0, -4.0]]]])
output, _ = through_pool((2, 2), x, w)
check(
    "the output of windows of 2x2",
    output,
    [[[[3, 1]]]],
    likely={
        "These are maxima: take the mean.": [[[[6, 4]]]],
        "These are sums: divide by the number of positions.": [[[[12, 4]]]],
        "This is the mean of the whole map: each window has its own.": [[[[2, 2]]]],
        "These windows take every other column: neighbours belong together.": [[[[1, 3]]]],
    },
)
### BEGIN HIDDEN TESTS
x = np.random.default_rng([SECRET, 2]).normal(size=(2, 3, 6, 4))
for a, b in ((3, 2), (2, 4), (6, 4)):
    blocks = x.reshape(2, 3, 6 // a, a, 4 // b, b).mean(axis=(3, 5))
    check(f"the output of windows of {a}x{b}", through_pool((a, b), x, blocks)[0], blocks)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "pool_backward", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from cam.truth.exercises import check

import numpy as np

x, w = np.array([[[[1.0, 2.0, 0.0, 4.0], [3.0, 6.0, 0.0, 0.0]]]]), np.array([[[[8.0, -4.0]]]])
_, gradient = through_pool((2, 2), x, w)
check(
    "the gradient through windows of 2x2",
    gradient,
    [[[[2, 2, -1, -1], [2, 2, -1, -1]]]],
    likely={
        "Each pixel adds only a part to the mean: divide by the number of positions.": [
            [[[8, 8, -4, -4], [8, 8, -4, -4]]]
        ],
        "This is max pooling's gradient: in a mean all pixels count the same.": [[[[0, 0, 0, -4], [0, 8, 0, 0]]]],
        "Divide by the positions of a window, not of the whole map.": [[[[1, 1, -0.5, -0.5], [1, 1, -0.5, -0.5]]]],
    },
)
### BEGIN HIDDEN TESTS
rng = np.random.default_rng([SECRET, 3])
x = rng.normal(size=(2, 3, 6, 4))
for a, b in ((3, 2), (2, 4), (6, 4)):
    w = rng.normal(size=(2, 3, 6 // a, 4 // b))
    expected = np.kron(w, np.ones((1, 1, a, b))) / (a * b)
    check(f"the gradient through windows of {a}x{b}", through_pool((a, b), x, w)[1], expected)
### END HIDDEN TESTS

# %% [markdown]
# ## 3. What decides between two classes? (3 points)
#
# ResNet50v2 ends: feature map $A$ (`features.10`), global average pooling, one Dense layer with weights $w_{ck}$ and
# biases $b_c$. With the gradient of the pooling you can write Grad-CAM's map at $A$ without any backward pass, and not
# only for a class: also for the *difference* of two logits, which shows what decides between the two. Do it, **signed**
# (no final ReLU).
#
# *Hint: the gradient of a logit at every position of channel $k$ is the same number. Which one? The second check adds
# up your map: what must the sum of the map plus the difference of the biases be?*

# %% nbgrader={"grade": false, "grade_id": "resnet", "locked": true, "schema_version": 3, "solution": false, "task": false}
net = cam.resnet50_v2()


def last_map(seed):
    """A scene, its input for the net, and a recording of the last feature map."""
    scene = scenes.draw(seed)
    x = cam.load_image(scene.image)
    return scene, x, cam.record(net, x, "features.10", image_gradient=False)


# %% nbgrader={"grade": false, "grade_id": "exact_map", "locked": false, "schema_version": 3, "solution": true, "task": false}
def map_of_difference(features, weights, first, second):
    """Signed Grad-CAM of logit `first` minus logit `second` at the input of the pooling: numpy (h, w).

    features is A, numpy (K, h, w); weights holds the Dense layer's, numpy (classes, K); first and second are numbers.
    """
    ### BEGIN SOLUTION
    positions = features.shape[1] * features.shape[2]
    weight = weights[first] - weights[second]
    return (weight[:, None, None] * features).sum(axis=0) / positions
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "the_map_of_a_difference", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from cam.truth.exercises import check

import numpy as np

features, weights = (
    np.array([[[1.0, 0.0], [2.0, 5.0]], [[3.0, 1.0], [0.0, 0.0]]]),
    np.array([[5.0, 1.0], [0, 0], [1, 9.0]]),
)
check(
    "the map of class 0 minus class 2, of two channels of 2x2",
    map_of_difference(features, weights, 0, 2),
    [[-5, -2], [2, 5]],
    likely={
        "This is CAM; Grad-CAM's gradient has passed the pooling: divide by the number of positions.": [
            [-20, -8],
            [8, 20],
        ],
        "Signed, please: no final ReLU here.": [[0, 0], [2, 5]],
        "This is the first class alone.": [[2, 0.25], [2.5, 6.25]],
        "The other way round: the first minus the second.": [[5, 2], [-2, -5]],
    },
)
### BEGIN HIDDEN TESTS
from cam.truth.exercises import unaided

scene, x, rec = last_map(4000 + SECRET % 1000)
one, other = scene.class_ids[::-1]
weights = net.output.weight.data().asnumpy()
expected = cam.grad_cam(net, x, target=lambda y: y[:, one] - y[:, other], layer="features.10", relu=False)[0]
with unaided(cam.grad_cam, cam.grad_cam_of, cam.class_activation_map):
    found = map_of_difference(rec.features()[0], weights, one, other)
check("the map of a difference in ResNet50v2, against a walk back", found, expected)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "the_map_adds_up", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
from cam.truth.exercises import check

import numpy as np

scene, _, rec = last_map(7)
one, other = (net.labels.index(label) for label in ("zebra", "drake"))
weights, bias = net.output.weight.data().asnumpy(), net.output.bias.data().asnumpy()
found = map_of_difference(rec.features()[0], weights, one, other)
check(
    "the sum of the map of 'zebra' minus 'drake' plus what the biases add",
    found.sum() + bias[one] - bias[other],
    1.184911,
)
### BEGIN HIDDEN TESTS
scene, _, rec = last_map(5000 + SECRET % 1000)
one, other = scene.class_ids
found = map_of_difference(rec.features()[0], weights, one, other)
difference = rec.logits[0][one] - rec.logits[0][other]
check("the same in another scene", found.sum() + bias[one] - bias[other], difference, tolerance=1e-3)
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
from cam.truth.exercises import check

import numpy as np

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
from cam.truth.exercises import check

import numpy as np

layers = {"branch": "features.8.2.conv3", "shortcut": "features.8.1", "sum": "features.8.2"}
rec, _ = record_block(layers, seed=7)
maps = maps_of_block(rec, layers, "zebra")
told = {"branch": 0.627594, "shortcut": -0.373175, "sum": 0.25442}
for part, right in told.items():
    check(
        f"the sum of the signed map of the {part}, for 'zebra' in the scene of seed 7",
        maps[part].sum(),
        right,
        likely={
            "A ReLU was applied: keep the sign, or the parts do not add up.": {
                "branch": 1.141239,
                "shortcut": 1.10109,
                "sum": 2.212152,
            }[part],
            "The branch starts there too: take the gradient at the sum, which both of its inputs get.": -1.74973,
            "These are sums of the gradient, not means: 49 times too large.": 49 * right,
            "The gradient stands where the features should.": 0.0053411,
            "The gradient was not averaged: that is HiResCAM.": {
                "branch": 2.180025,
                "shortcut": 1.297306,
                "sum": 3.477332,
            }[part],
        },
        tolerance=1e-3,
    )
check("branch + shortcut", maps["branch"] + maps["shortcut"], maps["sum"], tolerance=1e-3)
### BEGIN HIDDEN TESTS
from cam.truth.exercises import unaided

layers = {"branch": "features.7.4.conv3", "shortcut": "features.7.3", "sum": "features.7.4"}
rec, scene = record_block(layers, seed=6000 + SECRET % 1000)
label = scene.labels[SECRET % 2]
with unaided(cam.decompose, cam.grad_cam, cam.grad_cam_of):
    maps = maps_of_block(rec, layers, label)
expected = cam.decompose(net, cam.load_image(scene.image), "features.7.4", target=label)
for part, signed in expected.items():
    check(f"the map of the {part} of another block, scene and class", maps[part], signed[0], tolerance=1e-3)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "the_branchs_share", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
from cam.truth.exercises import check

import numpy as np

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
branch, shortcut = np.random.default_rng([SECRET, 4]).normal(size=(2, 3, 5))
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
# ## 5. Choose the layer, if you can (2 points)
#
# Do not believe anybody's advice on layers, measure. `evaluation.evaluate(net, seeds, candidates)` gives, for a list of
# layers, a dict by path; each entry's `.share` holds the share of the evidence on the right object, one number per scene
# and animal, in the same order for all layers. Which layer has the highest mean? And is it *clearly* ahead of the second
# best, or could other scenes have turned the two round? Say it by the differences, scene by scene:
# `metrics.bootstrap(differences)` gives the bounds of their mean (`.low`, `.high`). If they include zero, return None.


# %% nbgrader={"grade": false, "grade_id": "best_layer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def clear_winner(shares):
    """The layer with the highest mean share if it is clearly ahead of the second best, else None.

    shares is a dict: by path, numpy (measurements,).
    """
    ### BEGIN SOLUTION
    best, second = sorted(shares, key=lambda path: shares[path].mean(), reverse=True)[:2]
    return best if metrics.bootstrap(shares[best] - shares[second]).low > 0 else None
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "layer_choice", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from cam.truth.exercises import check

import numpy as np

scene_by_scene = np.array([0.9, 0.1, 0.5, 0.7, 0.3, 0.8])
clear = {"early": 0.3 * scene_by_scene, "branch": scene_by_scene, "late": scene_by_scene + 0.05}
check(
    "the clear winner of three: always 0.05 ahead of the next",
    str(clear_winner(clear)),
    "late",
    likely={
        "Compare scene by scene: the differences hardly vary, although the shares do.": "None",
        "This is the worst of them.": "early",
        "This is the second best.": "branch",
    },
)
turned = {"a": scene_by_scene, "b": scene_by_scene[::-1] - 0.01, "c": 0 * scene_by_scene}
check("whether there is a clear winner where the first two often change places", clear_winner(turned) is None, True)
### BEGIN HIDDEN TESTS
rng = np.random.default_rng([SECRET, 7])
base = rng.random(40)
names = [f"layer {number}" for number in rng.permutation(5)]
clear = {name: base + 0.02 * place + rng.normal(0, 0.001, 40) for place, name in enumerate(names)}
check("the clear winner of five", clear_winner(clear), names[-1])
even = rng.normal(0, 0.1, 40)
even -= even.mean() - 1e-4  # ahead by nothing to speak of
check(
    "whether there is one where the mean difference is as good as zero",
    clear_winner({"a": base + even, "b": base}) is None,
    True,
)
### END HIDDEN TESTS

# %%
# And in truth, on ten scenes. Take more of them, and other layers, for your answer below.
candidates = ["features.7.5.conv3", "features.8.2.conv3", "features.8.2", "features.10"]
measured = {path: one.share for path, one in evaluation.evaluate(net, range(10), candidates).items()}
print({path: round(float(share.mean()), 3) for path, share in measured.items()})
print("clearly ahead:", clear_winner(measured))

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
# to the logit exactly (section 3), and its maps lie on the objects as well as any other's (section 5). The network may be fine: look at
# its accuracy for that.
# ### END SOLUTION

# %% [markdown]
# ## If your test fails
#
# - **The gradient of one input is zero, or too large**: `backward` of the addition returns two gradients, and only the
#   branch was multiplied with the scale.
# - **The gradient of the pooling is too large**: it is a mean, so every position gets one part of the window's.
# - **branch + shortcut is not the sum**: a ReLU on the parts; or weights from the features; or the maps of two
#   classes.
# - **The sum of the map plus the bias is not the logit**: the division by the number of positions is missing, or the
#   ReLU is there.
# - **Wrong for other layers only**: a path or a size was typed in.
