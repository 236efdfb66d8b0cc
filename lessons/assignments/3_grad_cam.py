# %% [markdown]
# # Problem set 3: Grad-CAM from the equation
#
# **Learning goals.** You can write Grad-CAM from its two equations, use it on VGG16 for any class, and say with a
# number, not with a feeling, whether a map is good.
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
from cam import metrics, scenes
from cam.exercises import check

import numpy as np

# %% [markdown]
# ## 1. The weights (3 points)
#
# $$\alpha_k = \frac{1}{hw} \sum_{i,j} \frac{\partial y^c}{\partial A_{k,ij}}$$
#
# One number per channel. *Hint: which axes does the sum run over, and which one is left?*


# %% nbgrader={"grade": false, "grade_id": "channel_weights", "locked": false, "schema_version": 3, "solution": true, "task": false}
def channel_weights(gradient):
    """alpha of equation 1: numpy (K,). gradient is d logit / d A, numpy (K, h, w)."""
    ### BEGIN SOLUTION
    return gradient.mean(axis=(1, 2))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "weights", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
gradient = np.array([[[1.0, 3.0], [0.0, 0.0]], [[-2.0, -2.0], [-2.0, -2.0]], [[0.0, 8.0], [0.0, -4.0]]])
check(
    "the weights of three channels of 2x2",
    channel_weights(gradient),
    [1, -2, 1],
    likely={
        "These are sums: divide by the number of positions.": [4, -8, 4],
        "These are maxima: the equation has a mean.": [3, -2, 8],
        "A weight may be negative: there is no ReLU in equation 1.": [1, 0, 1],
        "The mean ran over the channels: it is the positions that are averaged.": gradient.mean(axis=0),
        "The mean ran over one axis of the positions only.": gradient.mean(axis=2),
    },
)
### BEGIN HIDDEN TESTS
gradient = np.random.default_rng(1).normal(size=(6, 4, 7))
check("the weights with other numbers", channel_weights(gradient), gradient.sum(axis=(1, 2)) / 28)
### END HIDDEN TESTS

# %% [markdown]
# ## 2. The map (4 points)
#
# $$L = \mathrm{ReLU}\Big(\sum_k \alpha_k A_k\Big)$$
#
# *Hint: `alpha` has to stand in front of two more axes before it multiplies `features`. And a ReLU of a sum is not
# the sum of ReLUs.*


# %% nbgrader={"grade": false, "grade_id": "grad_cam", "locked": false, "schema_version": 3, "solution": true, "task": false}
def grad_cam(features, gradient):
    """Equation 2: numpy (h, w). features is A and gradient is d logit / d A, both numpy (K, h, w)."""
    ### BEGIN SOLUTION
    alpha = gradient.mean(axis=(1, 2))
    return np.maximum((alpha[:, None, None] * features).sum(axis=0), 0)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "map", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
features = np.array([[[1.0, 0.0], [2.0, 6.0]], [[3.0, 1.0], [0.0, 1.0]], [[0.0, 4.0], [0.0, 4.0]]])
gradient = np.array([[[1.0, 3.0], [0.0, 0.0]], [[-2.0, -2.0], [-2.0, -2.0]], [[0.0, 0.5], [0.0, -0.5]]])
check(
    "the map of three channels of 2x2",
    grad_cam(features, gradient),
    [[0, 0], [2, 4]],
    likely={
        "The final ReLU is missing: what speaks against the class becomes zero.": [[-5, -2], [2, 4]],
        "Here the gradient was averaged and multiplied with itself: the features are missing.": [[5, 7], [4, 4]],
        "The ReLU was applied to every channel: it belongs around the sum.": [[1, 0], [2, 6]],
        "This is the gradient times the features without averaging: that is HiResCAM.": [[0, 0], [0, 0]],
        "Add up the channels: this is their mean.": [[0, 0], [2 / 3, 4 / 3]],
        "The mean ran over the channels: it is the positions that are averaged.": np.maximum(
            (gradient.mean(axis=0) * features).sum(axis=0), 0
        ),
        "Grad-CAM is not scaled to 1: leave that to the picture.": [[0, 0], [0.5, 1]],
    },
)
### BEGIN HIDDEN TESTS
rng = np.random.default_rng(2)
features, gradient = np.maximum(rng.normal(size=(6, 4, 7)), 0), rng.normal(size=(6, 4, 7))
expected = np.maximum(np.einsum("k,khw->hw", gradient.mean(axis=(1, 2)), features), 0)
check(
    "the map with other numbers",
    grad_cam(features, gradient),
    expected,
    likely={
        "The mean ran over the channels: it is the positions that are averaged.": np.maximum(
            (gradient.mean(axis=0) * features).sum(axis=0), 0
        ),
        "This is the gradient times the features without averaging: that is HiResCAM.": np.maximum(
            (gradient * features).sum(axis=0), 0
        ),
    },
)
check("a map against which everything speaks", grad_cam(features, -np.ones_like(gradient)), np.zeros((4, 7)))
### END HIDDEN TESTS

# %% [markdown]
# ## 3. VGG16, for the class you name (2 points)
#
# A recording answers three questions: `rec.features(layer)`, `rec.gradient(layer, class_id)`, `rec.logits`; features
# and gradient have the shape (N, K, h, w), one entry per image. The layer is relu5_3, `"features.29"`.

# %% nbgrader={"grade": false, "grade_id": "vgg", "locked": true, "schema_version": 3, "solution": false, "task": false}
net = cam.vgg16()
layer = "features.29"
scene = scenes.draw(seed=7)
rec = cam.record(net, cam.load_image(scene.image), layer, image=False)


# %% nbgrader={"grade": false, "grade_id": "map_of_class", "locked": false, "schema_version": 3, "solution": true, "task": false}
def map_of_class(rec, layer, label):
    """Your Grad-CAM of the first image of a recording, for a class by its label: numpy (h, w)."""
    ### BEGIN SOLUTION
    return grad_cam(rec.features(layer)[0], rec.gradient(layer, label)[0])
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "map_on_vgg16", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
wrong_class = "This is the map of the net's first choice: explain the class that was asked for."
first, second = sorted(scene.labels, key=lambda label: rec.logits[0][net.labels.index(label)], reverse=True)
for label, other in ((first, second), (second, first)):
    check(
        f"the map of '{label}' in the scene of seed 7",
        map_of_class(rec, layer, label),
        cam.grad_cam_of(rec, label, layer)[0],
        likely={
            wrong_class: cam.grad_cam_of(rec, other, layer)[0],
            "The batch axis is still there: take the first image.": cam.grad_cam_of(rec, label, layer),
            "The final ReLU is missing.": cam.grad_cam_of(rec, label, layer, relu=False)[0],
        },
    )
### BEGIN HIDDEN TESTS
hidden_rec = cam.record(net, cam.load_image(scenes.draw(seed=11).image), ["features.22", layer], image=False)
for path in ("features.22", layer):
    expected = cam.grad_cam_of(hidden_rec, "koala", path)[0]
    check(f"the map of another scene at {path}", map_of_class(hidden_rec, path, "koala"), expected)
### END HIDDEN TESTS

# %% [markdown]
# ## 4. Is it a good map? (4 points)
#
# The scene's masks say which pixels are the animal. *Energy in the mask*: of the map's positive values, the share
# inside the mask. The map has 14x14 numbers and the mask 224x224: resize the map first, with `cam.resize_map(heat,
# mask.shape)`, and take the positive values of what comes out. A map without any positive value gets 0.


# %% nbgrader={"grade": false, "grade_id": "energy_in_mask", "locked": false, "schema_version": 3, "solution": true, "task": false}
def energy_in_mask(heat, mask):
    """Share of the map's positive values inside the mask, 0 to 1. heat is numpy (h, w), mask numpy bool (H, W)."""
    ### BEGIN SOLUTION
    positive = np.maximum(cam.resize_map(heat, mask.shape), 0)
    total = positive.sum()
    return float(positive[mask].sum() / total) if total > 0 else 0.0
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "energy", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
heat = np.array([[3.0, 1.0], [4.0, -2.0]])
mask = np.array([[True, False], [False, True]])
check(
    "the energy of a map of 2x2",
    energy_in_mask(heat, mask),
    3 / 8,
    likely={
        "Negative values count as no evidence: set them to zero, once the map is resized.": 1 / 6,
        "This is the mask's share of the image: use the map.": 1 / 2,
        "This is the share outside the mask.": 5 / 8,
        "Divide by the map's whole energy, not by the number of pixels in the mask.": 1.5,
        "Divide by the map's whole energy, not by the number of all pixels.": 0.75,
        "Divide by the map's whole energy: this is a sum.": 3,
    },
)
heat = np.array([[1.0, 0.0], [0.0, -3.0]])
mask = np.zeros((8, 8), bool)
mask[:4, :4] = True
check(
    "the energy of a map of 2x2 in a mask of 8x8",
    energy_in_mask(heat, mask),
    metrics.energy_in_mask(heat, mask),
    likely={
        "The order matters: resize first, then set negative values to zero.": metrics.energy_in_mask(
            np.maximum(heat, 0), mask
        ),
    },
)
### BEGIN HIDDEN TESTS
rng = np.random.default_rng(4)
heat, mask = rng.normal(size=(5, 7)), rng.random((35, 21)) < 0.3
check("the energy of another map", energy_in_mask(heat, mask), metrics.energy_in_mask(heat, mask))
heat = -np.ones((3, 3))
check(
    "the energy of a map without any positive value (0, not a division by zero)",
    energy_in_mask(heat, np.ones((3, 3), bool)),
    0,
)
### END HIDDEN TESTS

# %% [markdown]
# ## 5. One scene proves nothing (2 points)
#
# Measure many: for every seed draw the scene, and for **both** of its animals take the map of *that* class and its
# energy in *that* animal's mask. Return the mean of all of them, and the mean share of the image that the masks
# cover, which is what a map without any idea would get.


# %% nbgrader={"grade": false, "grade_id": "measure", "locked": false, "schema_version": 3, "solution": true, "task": false}
def measure(net, seeds, layer):
    """Mean energy in the mask, and mean share of the image covered by the mask: two numbers."""
    ### BEGIN SOLUTION
    energies, areas = [], []
    for seed in seeds:
        scene = scenes.draw(seed)
        rec = cam.record(net, cam.load_image(scene.image), layer, image=False)
        for label, mask in zip(scene.labels, scene.masks):
            energies.append(energy_in_mask(map_of_class(rec, layer, label), mask))
            areas.append(mask.mean())
    return np.mean(energies), np.mean(areas)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "many_scenes", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
truth = metrics.evaluate(net, [0, 1, 2], layer)
energies = truth.energy.reshape(2, 3)  # animals, scenes
check(
    "mean energy and mean area of the scenes 0, 1 and 2",
    measure(net, [0, 1, 2], layer),
    [truth.energy.mean(), truth.area.mean()],
    likely={
        "Only the first animal of each scene was measured.": [energies[0].mean(), truth.area.reshape(2, 3)[0].mean()],
        "Only the last scene was measured.": [energies[:, 2].mean(), truth.area.reshape(2, 3)[:, 2].mean()],
    },
    tolerance=1e-3,
)
### BEGIN HIDDEN TESTS
truth = metrics.evaluate(net, [12, 13], "features.22")
found = measure(net, [12, 13], "features.22")
check("the same of other scenes, at relu4_3", found, [truth.energy.mean(), truth.area.mean()], tolerance=1e-3)
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
# - **The shape should be (3,), not (2, 2)**: the mean ran over axis 0, the channels. The positions are axes 1 and 2.
# - **Negative values in the map**: the ReLU is missing, or it comes before the sum.
# - **Right by hand, wrong on VGG16**: a batch axis too many, or the class of the net's first choice in place of the
#   one asked for.
# - **The energy is far too small**: the map was not resized, or divided by the number of pixels.
# - **NaN**: a map without a positive value has no energy to divide by. Say 0.
