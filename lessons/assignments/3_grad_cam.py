# %% [markdown]
# # Problem set 3: Grad-CAM from the equation
#
# **Learning goals.** You can write Grad-CAM from its two equations for a batch of images, for a class and against it,
# use it on VGG16 for any class, and say with numbers, not with a feeling, whether a map is good.
#
# **You need** lesson 3, and `cam`. **It takes** about 75 minutes. **Points:** 15 by the checks, 3 by hand.
#
# **How it works.** Write your code where it says `YOUR CODE HERE`. The cell below each task checks it: no message
# means that it is right for the numbers shown. When you hand in, the same cells check other numbers too, so write the
# rule and not the result. Do not rename functions. Before you hand in, restart the kernel and run all cells.
#
# `cam.record` and `cam.resize_map` are yours to use, and so is `numpy`. The functions of `cam` that give a finished
# map or measure are what you are to write.

# %% nbgrader={"grade": false, "grade_id": "setup", "locked": true, "schema_version": 3, "solution": false, "task": false}
import cam
from cam import scenes

import numpy as np

# %% [markdown]
# ## 1. The weights (2 points)
#
# $$\alpha_{nk} = \frac{1}{hw} \sum_{i,j} \frac{\partial y^c_n}{\partial A_{nk,ij}}$$
#
# One number per image and channel, for a batch of images. *Hint: which axes does the sum run over, and which are left?*


# %% nbgrader={"grade": false, "grade_id": "channel_weights", "locked": false, "schema_version": 3, "solution": true, "task": false}
def channel_weights(gradient):
    """alpha of equation 1: numpy (N, K). gradient is d logit / d A, numpy (N, K, h, w)."""
    ### BEGIN SOLUTION
    return gradient.mean(axis=(2, 3))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "weights", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from cam.truth.exercises import check

import numpy as np

gradient = np.array(
    [
        [[[1.0, 3.0], [0.0, 0.0]], [[-2.0, -2.0], [-2.0, -2.0]], [[0.0, 8.0], [0.0, -4.0]]],
        [[[0.0, 0.0], [0.0, 4.0]], [[1.0, 2.0], [3.0, 6.0]], [[-1.0, 0.0], [-1.0, -2.0]]],
    ]
)
check(
    "the weights of two images, with three channels of 2x2",
    channel_weights(gradient),
    [[1, -2, 1], [1, 3, -1]],
    likely={
        "These are sums: divide by the number of positions.": [[4, -8, 4], [4, 12, -4]],
        "These are maxima: the equation has a mean.": [[3, -2, 8], [4, 6, 0]],
        "A weight may be negative: there is no ReLU in equation 1.": [[1, 0, 1], [1, 3, 0]],
        "The mean ran over the images too: each has its own weights.": [1, 0.5, 0],
        "The mean ran over the channels: it is the positions that are averaged.": gradient.mean(axis=1),
        "The mean ran over one axis of the positions only.": gradient.mean(axis=3),
    },
)
### BEGIN HIDDEN TESTS
gradient = np.random.default_rng([SECRET, 1]).normal(size=(3, 6, 4, 7))
check("the weights with other numbers", channel_weights(gradient), gradient.sum(axis=(2, 3)) / 28)
### END HIDDEN TESTS

# %% [markdown]
# ## 2. The map, for the class and against it (5 points)
#
# $$L_n = \mathrm{ReLU}\Big(\sum_k \alpha_{nk} A_{nk}\Big)$$
#
# And what speaks *against* the class? The same with every weight turned round, $-\alpha_{nk}$: Selvaraju and colleagues
# call it the counterfactual explanation, what would have to go for the class to gain.
#
# *Hint: `alpha` has to stand in front of two more axes before it multiplies `features`. And a ReLU of a sum is not
# the sum of ReLUs.*


# %% nbgrader={"grade": false, "grade_id": "grad_cam", "locked": false, "schema_version": 3, "solution": true, "task": false}
def grad_cam(features, gradient, against=False):
    """Equation 2, or the map against the class: numpy (N, h, w).

    features is A and gradient is d logit / d A, both numpy (N, K, h, w).
    """
    ### BEGIN SOLUTION
    alpha = gradient.mean(axis=(2, 3), keepdims=True)
    signed = (alpha * features).sum(axis=1)
    return np.maximum(-signed if against else signed, 0)
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "small_example", "locked": true, "schema_version": 3, "solution": false, "task": false}
def small_example():
    """Features and gradient of two images, with three channels of 2x2."""
    features = [
        [[[1, 0], [2, 6]], [[3, 1], [0, 1]], [[0, 4], [0, 4]]],
        [[[2, 0], [1, 0]], [[0, 1], [0, 3]], [[4, 0], [1, 1]]],
    ]
    gradient = [
        [[[1, 3], [0, 0]], [[-2, -2], [-2, -2]], [[0, 0.5], [0, -0.5]]],
        [[[0, 0], [0, 4]], [[1, 2], [3, 6]], [[-1, 0], [-3, -4]]],
    ]
    return np.array(features, float), np.array(gradient, float)


# %% nbgrader={"grade": true, "grade_id": "map", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
from cam.truth.exercises import check

import numpy as np

features, gradient = small_example()
check(
    "the maps of two images",
    grad_cam(features, gradient),
    [[[0, 0], [2, 4]], [[0, 3], [0, 7]]],
    likely={
        "These are sums of the gradient, not means: four times too large.": [[[0, 0], [8, 16]], [[0, 12], [0, 28]]],
        "The final ReLU is missing: what speaks against the class becomes zero.": [
            [[-5, -2], [2, 4]],
            [[-6, 3], [-1, 7]],
        ],
        "Here the gradient was averaged and multiplied with itself: the features are missing.": [
            [[5, 7], [4, 4]],
            [[5, 6], [15, 30]],
        ],
        "The ReLU was applied to every channel: it belongs around the sum.": [[[1, 0], [2, 6]], [[2, 3], [1, 9]]],
        "This is the gradient times the features without averaging: that is HiResCAM.": [
            [[0, 0], [0, 0]],
            [[0, 2], [0, 14]],
        ],
        "Add up the channels: this is their mean.": [[[0, 0], [2 / 3, 4 / 3]], [[0, 1], [0, 7 / 3]]],
        "The mean ran over the channels: it is the positions that are averaged.": np.maximum(
            (gradient.mean(axis=1, keepdims=True) * features).sum(axis=1), 0
        ),
        "Both images got the same weights: each has its own.": [[[2.5, 0], [2, 2.5]], [[0, 0.5], [0, 0.5]]],
        "Grad-CAM is not scaled to 1: leave that to the picture.": [[[0, 0], [0.5, 1]], [[0, 3 / 7], [0, 1]]],
    },
)
### BEGIN HIDDEN TESTS
rng = np.random.default_rng([SECRET, 2])
features, gradient = np.maximum(rng.normal(size=(3, 6, 4, 7)), 0), rng.normal(size=(3, 6, 4, 7))
check(
    "the maps with other numbers",
    grad_cam(features, gradient),
    np.maximum(np.einsum("nk,nkhw->nhw", gradient.mean(axis=(2, 3)), features), 0),
    likely={
        "These are sums of the gradient, not means: 28 times too large.": np.maximum(
            np.einsum("nk,nkhw->nhw", gradient.sum(axis=(2, 3)), features), 0
        ),
        "The mean ran over the channels: it is the positions that are averaged.": np.maximum(
            (gradient.mean(axis=1, keepdims=True) * features).sum(axis=1), 0
        ),
        "This is the gradient times the features without averaging: that is HiResCAM.": np.maximum(
            (gradient * features).sum(axis=1), 0
        ),
    },
)
check("a map against which everything speaks", grad_cam(features, -np.ones_like(gradient)), np.zeros((3, 4, 7)))
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "map_against", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from cam.truth.exercises import check

import numpy as np

features, gradient = small_example()
check(
    "the maps of what speaks against the class",
    grad_cam(features, gradient, against=True),
    [[[5, 2], [0, 0]], [[6, 0], [1, 0]]],
    likely={
        "This is the map for the class.": [[[0, 0], [2, 4]], [[0, 3], [0, 7]]],
        "This is what was negative, with its sign: turn it round.": [[[-5, -2], [0, 0]], [[-6, 0], [-1, 0]]],
        "The ReLU came before the sign: nothing can be left.": np.zeros((2, 2, 2)),
    },
)
### BEGIN HIDDEN TESTS
rng = np.random.default_rng([SECRET, 3])
features, gradient = np.maximum(rng.normal(size=(2, 5, 3, 4)), 0), rng.normal(size=(2, 5, 3, 4))
expected = np.maximum(np.einsum("nk,nkhw->nhw", -gradient.mean(axis=(2, 3)), features), 0)
check("the maps against the class with other numbers", grad_cam(features, gradient, against=True), expected)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "follow_through", "locked": true, "points": 0, "schema_version": 3, "solution": false, "task": false}
# When this is graded, the right function takes the place of yours here: a mistake above costs nothing below.
### BEGIN HIDDEN TESTS
import numpy as np


def grad_cam(features, gradient, against=False):
    signed = np.einsum("nk,nkhw->nhw", gradient.mean(axis=(2, 3)), features)
    return np.maximum(-signed if against else signed, 0)


### END HIDDEN TESTS

# %% [markdown]
# ## 3. VGG16, for the class you name (2 points)
#
# A recording answers three questions: `rec.features(layer)`, `rec.gradient(layer, target=label)`, `rec.logits`; features
# and gradient have the shape (N, K, h, w), one entry per image. The layer is relu5_3, `"features.29"`. From here on your
# functions are to call each other: an answer that calls the function of `cam` that it should write gets no points.

# %% nbgrader={"grade": false, "grade_id": "vgg", "locked": true, "schema_version": 3, "solution": false, "task": false}
net = cam.vgg16()


def record(seed, layers):
    """A recording of layers of VGG16 on a scene, and the scene."""
    scene = scenes.draw(seed)
    return cam.record(net, cam.load_image(scene.image), layers, image_gradient=False), scene


# %% nbgrader={"grade": false, "grade_id": "map_of_class", "locked": false, "schema_version": 3, "solution": true, "task": false}
def map_of_class(rec, layer, label, against=False):
    """Your Grad-CAM of the first image of a recording, for a class by its label, or against it: numpy (h, w)."""
    ### BEGIN SOLUTION
    return grad_cam(rec.features(layer), rec.gradient(layer, target=label), against)[0]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "map_on_vgg16", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from cam.truth.exercises import check

import numpy as np

rec, scene = record(7, "features.29")
told = {"zebra": [0.049643, 9, 4, 0.74584], "drake": [0.01251, 4, 10, 0.201647]}  # the scene has both
for label, other in (("zebra", "drake"), ("drake", "zebra")):
    heat = map_of_class(rec, "features.29", label)
    check("the number of axes (one image's map has two)", heat.ndim, 2)
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    check(
        f"of the map of '{label}' in the scene of seed 7 the maximum, its row, its column, and the sum",
        [heat.max(), row, column, heat.sum()],
        told[label],
        likely={
            "This is the map of the net's first choice: explain the class that was asked for.": told[other],
            "The final ReLU is missing.": {"zebra": [0.049643, 9, 4, -0.614574], "drake": [0.01251, 4, 10, -1.093769]}[
                label
            ],
        },
    )
### BEGIN HIDDEN TESTS
import cam
from cam.truth.exercises import unaided

rec, scene = record(1000 + SECRET % 1000, ["features.22", "features.29"])
label = scene.labels[SECRET % 2]
for path in ("features.22", "features.29"):
    signed = cam.grad_cam_of(rec, target=label, layer=path, relu=False)[0]
    with unaided(cam.grad_cam, cam.grad_cam_of, cam.hires_cam):
        found = map_of_class(rec, path, label), map_of_class(rec, path, label, True)
    check(f"the map of another scene at {path}", found[0], np.maximum(signed, 0))
    check(f"the map against the class in another scene at {path}", found[1], np.maximum(-signed, 0))
### END HIDDEN TESTS

# %% [markdown]
# ## 4. Where does the evidence lie? (4 points)
#
# The scene's masks say which pixels are which animal. Of the map's positive values, what share lies in each mask, and
# what share in none? The map has 14x14 numbers and a mask 224x224: resize the map first, with `cam.resize_map(heat,
# shape)`, and take the positive values of what comes out. A map without any positive value gets zeros.
#
# *Hint: masks of a scene do not overlap.*


# %% nbgrader={"grade": false, "grade_id": "energy_shares", "locked": false, "schema_version": 3, "solution": true, "task": false}
def energy_shares(heat, masks):
    """Shares of the map's positive values in each mask, and in none of them, last: numpy (M + 1,).

    heat is numpy (h, w), masks is numpy bool (M, H, W).
    """
    ### BEGIN SOLUTION
    positive = np.maximum(cam.resize_map(heat, masks.shape[1:]), 0)
    total = positive.sum()
    sums = np.array([positive[mask].sum() for mask in (*masks, ~masks.any(axis=0))])
    return sums / total if total > 0 else np.zeros(len(masks) + 1)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "energy", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from cam.truth.exercises import check

import numpy as np

heat = np.array([[3.0, 1.0], [4.0, -2.0]])
masks = np.array([[[True, False], [False, True]], [[False, True], [False, False]]])
check(
    "the shares of a map of 2x2 in two masks and in none",
    energy_shares(heat, masks),
    [3 / 8, 1 / 8, 4 / 8],
    likely={
        "Negative values count as no evidence: set them to zero, once the map is resized.": [1 / 6, 1 / 6, 4 / 6],
        "These are the masks' shares of the image: use the map.": [1 / 2, 1 / 4, 1 / 4],
        "Divide by the map's whole energy, not by the number of pixels.": [0.75, 0.25, 1],
        "Divide by the map's whole energy: these are sums.": [3, 1, 4],
        "None of them comes last.": [4 / 8, 3 / 8, 1 / 8],
    },
)
### BEGIN HIDDEN TESTS
import cam
from cam.truth.exercises import unaided

rng = np.random.default_rng([SECRET, 4])
heat, numbers = rng.normal(size=(5, 7)), rng.integers(0, 4, (5, 7))
masks = np.array([numbers == number for number in (0, 1, 2)])
positive = np.maximum(heat, 0)
with unaided(cam.metrics.energy_in_mask, cam.metrics.share_on_object):
    found = energy_shares(heat, masks)
    nothing = energy_shares(-np.ones((3, 3)), np.ones((2, 3, 3), bool))
check("the shares of another map", found, [positive[numbers == n].sum() / positive.sum() for n in (0, 1, 2, 3)])
check("the shares of a map without any positive value (0, not a division by zero)", nothing, [0, 0, 0])
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "energy_of_a_small_map", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from cam.truth.exercises import check

import numpy as np

heat, masks = np.array([[1.0, 0.0], [0.0, -3.0]]), np.zeros((1, 8, 8), bool)
masks[0, :4, :4] = True
check(
    "the shares of a map of 2x2 in a mask of 8x8, and outside",
    energy_shares(heat, masks),
    [0.840547, 0.159453],
    likely={
        "The order matters: resize first, then set negative values to zero.": [0.765625, 0.234375],
        "Set negative values to zero.": [-1.125, 2.125],
    },
)
### BEGIN HIDDEN TESTS
import cam

rng = np.random.default_rng([SECRET, 5])
heat, mask = rng.normal(size=(4, 3)), rng.random((28, 21)) < 0.3
inside = cam.metrics.energy_in_mask(heat, mask)
with unaided(cam.metrics.energy_in_mask, cam.metrics.share_on_object):
    found = energy_shares(heat, mask[None])
check("the shares of another map in a larger mask", found, [inside, 1 - inside])
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "follow_through_2", "locked": true, "points": 0, "schema_version": 3, "solution": false, "task": false}
# When this is graded, the right functions take the place of yours here: a mistake above costs nothing below.
### BEGIN HIDDEN TESTS
import cam

import numpy as np


def map_of_class(rec, layer, label, against=False):
    return grad_cam(rec.features(layer), rec.gradient(layer, target=label), against)[0]


def energy_shares(heat, masks):
    positive = np.maximum(cam.resize_map(heat, masks.shape[1:]), 0)
    sums = [(positive * mask).sum() for mask in (*masks, ~masks.any(axis=0))]
    return np.array(sums) / (positive.sum() or 1)


### END HIDDEN TESTS

# %% [markdown]
# ## 5. One scene proves nothing (2 points)
#
# Measure many: for every seed draw the scene, and for **both** of its animals take the map of *that* class. Return the
# mean shares of its energy on the right animal, on the other animal, and on neither.


# %% nbgrader={"grade": false, "grade_id": "measure", "locked": false, "schema_version": 3, "solution": true, "task": false}
def measure(net, seeds, layer):
    """Mean shares of the maps' energy on the right animal, on the other, and on neither: numpy (3,)."""
    ### BEGIN SOLUTION
    found = []
    for seed in seeds:
        scene = scenes.draw(seed)
        rec = cam.record(net, cam.load_image(scene.image), layer, image_gradient=False)
        for number, label in enumerate(scene.labels):
            shares = energy_shares(map_of_class(rec, layer, label), scene.masks)
            found.append([shares[number], shares[1 - number], shares[2]])
    return np.mean(found, axis=0)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "many_scenes", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from cam.truth.exercises import check

import numpy as np

check(
    "mean shares of the scenes 0, 1 and 2, on the right animal, on the other and on neither",
    measure(net, [0, 1, 2], "features.29"),
    [0.488590, 0.034378, 0.477031],
    likely={
        "Only the first animal of each scene was measured.": [0.412065, 0.019207, 0.568728],
        "Only the last scene was measured.": [0.605523, 0.018121, 0.376356],
    },
    tolerance=1e-3,
)
### BEGIN HIDDEN TESTS
import cam
from cam.truth.exercises import unaided

seeds = [2000 + SECRET % 1000, 3000 + SECRET % 1000]
truth = cam.evaluation.evaluate(net, seeds, "features.22")
with unaided(cam.evaluation.evaluate, cam.grad_cam, cam.grad_cam_of, cam.metrics.energy_in_mask):
    found = measure(net, seeds, "features.22")
right, either, any_at_all = truth.energy.mean(), truth.on_objects.mean(), (truth.on_objects > 0).mean()
check("the same of other scenes, at relu4_3", found, [right, either - right, any_at_all - either], tolerance=1e-3)
### END HIDDEN TESTS

# %% [markdown]
# ## 6. In your own words (3 points, read by your teacher)
#
# (a) Measure `"features.28"` (before the ReLU) and `"features.29"` (after it) on 20 scenes of your choice. Write both
# numbers down. Which layer would you take, and why does the other one differ? (b) An energy of 0.4 sounds like
# failure. Why is it not, and what is the highest value you would expect at this layer? (c) Is 20 scenes enough to be
# sure? Say how you would find out.
#
# *Write into the cell below this one: what stands in a new cell is not read.*

# %% [markdown] nbgrader={"grade": true, "grade_id": "in_your_own_words", "locked": false, "points": 3, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# (a) After the ReLU. Before it, a channel that is negative and has a negative weight counts as evidence, although its
# pattern is absent there. The numbers are those of `measure`. (b) The mask covers some 5 % of the image, so 0.4 is
# several times chance; one number of the map covers 16x16 pixels and resizing blurs it further, so that even a
# perfect map spills over the outline. (c) Bootstrap the paired differences of the two layers, scene by scene; if the
# interval contains zero, 20 scenes are not enough.
# ### END SOLUTION

# %% [markdown]
# ## If your test fails
#
# - **The shape should be (2, 3), not (2, 2, 2)**: the mean ran over axis 1, the channels. The positions are axes 2 and 3.
# - **Negative values in the map**: the ReLU is missing, or it comes before the sum.
# - **Right by hand, wrong on VGG16**: a batch axis too many, or the class of the net's first choice in place of the
#   one asked for.
# - **The shares do not add up to 1**: they were divided by something else than the map's whole energy.
# - **NaN**: a map without a positive value has no energy to divide by. Say 0.
