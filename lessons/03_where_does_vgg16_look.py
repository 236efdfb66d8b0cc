# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     notebook_metadata_filter: -jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 3. Where does VGG16 look?
#
# **You will learn** Grad-CAM, term by term, until you can write it in three lines; why one picture has as many maps as
# classes; whether to explain the logit or the probability, and the layer before or after its ReLU; and how to tell a
# good map from a bad one with a number.
#
# **You need** lessons 1 and 2. **It takes** about 40 minutes.

# %%
# %matplotlib inline
import cam
from cam import metrics, plot, scenes
from course import compare

import matplotlib.pyplot as plt
import numpy as np

# %% [markdown]
# ## The idea in words
#
# Deep in the network, each channel of a feature map is a detector: it is large where "its" pattern is. The class's
# score depends on all of them. So: ask for every channel how much the score would rise if the channel were larger (one
# number per channel), and add up the channels with these numbers as weights. What remains is a map of where the
# evidence for the class lies. Negative evidence is set to zero, because we ask what speaks *for* the class.
#
# ## The formula
#
# Selvaraju et al. 2017, equations 1 and 2. $A_k$ is channel $k$ of the feature map (of $h \times w$ numbers), $y^c$ the
# logit of class $c$:
#
# $$\alpha_k^c = \frac{1}{hw} \sum_{i,j} \frac{\partial y^c}{\partial A_{k,ij}} \qquad\qquad
# L^c = \mathrm{ReLU}\Big(\sum_k \alpha_k^c A_k\Big)$$

# %% [markdown]
# ## By hand: three channels of 2x2
#
# Suppose the feature map has three channels, and the gradient of the score is constant on each of them: $1$, $-2$, $0$.

# %%
A = np.array([[[1, 0], [2, 5]], [[3, 1], [0, 0]], [[0, 4], [0, 4]]], np.float32)
gradient = np.ones_like(A) * np.array([1, -2, 0], np.float32)[:, None, None]

# %% [markdown]
# > **Predict.** What is the map before the ReLU, and which of its four positions survive?

# %%
alpha = gradient.mean(axis=(1, 2))
signed = (alpha[:, None, None] * A).sum(axis=0)
print("alpha ", alpha)
print("signed", signed.tolist())
print("map   ", np.maximum(signed, 0).tolist())

# %%
assert signed.tolist() == [[-5, -2], [2, 5]]

# %% [markdown]
# The third channel is the strongest at the upper right, and does not count at all: the class does not care. The second
# counts against the class, and wins on the upper row.
#
# ## The real network, term by term
#
# One scene with two animals. `scene.masks` says exactly which pixels belong to which; the network has never seen a
# mask.

# %%
scene = scenes.draw(seed=7)
x = cam.load_image(scene.image)
net = cam.vgg16()
layer = "features.29"  # relu5_3, the last feature map: 128 channels of 14x14
rec = cam.record(net, x, layer)
probability = np.exp(rec.logits[0]) / np.exp(rec.logits[0]).sum()
for label in scene.labels:
    number = net.labels.index(label)
    print(f"{label:8} logit {rec.logits[0][number]:.2f}, probability {probability[number]:.2f}")

# %% [markdown]
# **Term 1: the feature map** $A$, and **term 2: the gradient** of one class's logit. Both from the same pass (lesson
# 2).

# %%
first, second = scene.labels
A = rec.features(layer)[0]  # (128, 14, 14)
gradient = rec.gradient(layer, first)[0]  # (128, 14, 14)
print(A.shape, gradient.shape)

# %% [markdown]
# **Term 3: the weights** $\alpha_k$, one per channel.

# %%
alpha = gradient.mean(axis=(1, 2))  # (128,)
figure, axis = plt.subplots(figsize=(9, 2.2), layout="constrained")
axis.bar(range(len(alpha)), np.sort(alpha)[::-1], width=1)
axis.axhline(0, color="black", linewidth=0.8)
axis.set(xlabel="channel, sorted", ylabel="alpha", title=f"what '{first}' wants of the 128 channels")
plt.show()
print(f"{(alpha > 0).sum()} of {len(alpha)} channels speak for '{first}'")

# %% [markdown]
# *What to see: the 128 weights, sorted. The channels on the left speak for the class. Where alpha is
# negative, a stronger channel would lower its logit.*
#
# **Term 4: the weighted sum**, and the ReLU.

# %%
signed = (alpha[:, None, None] * A).sum(axis=0)  # (14, 14)
mine = np.maximum(signed, 0)

# %% [markdown]
# That is all of Grad-CAM. Is it what the package computes?

# %%
compare("Grad-CAM, mine and cam's", mine, cam.grad_cam(net, x, first, layer)[0])
assert np.allclose(mine, cam.grad_cam(net, x, first, layer)[0], rtol=1e-4, atol=1e-6)

# %% [markdown]
# ## Two animals, two maps
#
# > **Predict.** The picture, the network and the feature map stay the same; only the class changes. Will the second map
# > be the first one with other colours, or another map?

# %%
maps = {label: cam.grad_cam(net, x, label, layer)[0] for label in scene.labels}
figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
axes[0].imshow(scene.image)
axes[0].set_title("scene")
for axis, label, mask in zip(axes[1:], scene.labels, scene.masks):
    axis.imshow(plot.overlay(scene.image, maps[label]))
    axis.contour(mask, [0.5], colors="white", linewidths=1)
    axis.set_title(f"Grad-CAM for '{label}'")
for axis in axes:
    axis.set(xticks=[], yticks=[])
plt.show()

# %% [markdown]
# *What to see: the scene, and the two maps laid over it (bright is strong evidence; the white line is the true outline
# of the animal that the class names). One forward pass, two classes, two different maps.*

# %%
for label, mask, other in zip(scene.labels, scene.masks, scene.masks[::-1]):
    assert metrics.share_on_object(maps[label], mask, other) > 0.5

# %% [markdown]
# ## Is it a good map?
#
# "It looks right" is how bad maps survive. We know the mask, so we can measure:
#
# - **energy in the mask**: of the map's positive values, the share inside the object's mask. A map without any idea
#   gets the mask's share of the image, so that is what *chance* means here.
# - **share on the right object**: of what falls on either animal, the share on the one that the class names. Chance is
#   about one half.
# - **pointing game** (Zhang et al. 2018): is the map's maximum on the object?
#
# The first one by hand. The map has 14x14 numbers and the mask 224x224, so the map is enlarged first.

# %%
mask, other = scene.masks
heat = cam.resize_map(maps[first], 224)
by_hand = heat[mask].sum() / heat.sum()
compare("energy in the mask", by_hand, metrics.energy_in_mask(maps[first], mask))
print(f"energy in the mask {by_hand:.2f}, by chance {mask.mean():.2f}")
print(f"share on the right object {metrics.share_on_object(maps[first], mask, other):.2f}")
print(
    f"pointing game {metrics.pointing_game(maps[first], mask, tolerance=0)}, within 15 pixels {metrics.pointing_game(maps[first], mask)}"
)
assert abs(by_hand - metrics.energy_in_mask(maps[first], mask)) < 1e-6

# %% [markdown]
# Why is the energy far from 1, when the map looks so right? One number of the map covers 16x16 pixels of the picture,
# and the object has an outline: what spills over is counted as outside. For the same reason the maximum may lie a few
# pixels beside a slim object, so the pointing game is usually played with a tolerance of 15 pixels.
#
# One scene proves nothing. `metrics.evaluate` does the same for many scenes and both classes of each. The numbers in
# brackets come from a **bootstrap**: from the list of results (one per scene and class) draw as many with replacement,
# take the mean, repeat; 95 % of these means lie between them.

# %%
seeds = scenes.TEST_SEEDS[:40]
evaluation = metrics.evaluate(net, seeds, layer)
print("share on the right object", metrics.bootstrap(evaluation.share))
print("energy in the mask       ", metrics.bootstrap(evaluation.energy), f"by chance {evaluation.area.mean():.3f}")
print("pointing game            ", metrics.bootstrap(evaluation.hit))
assert metrics.bootstrap(evaluation.share).low > 0.5
assert metrics.bootstrap(evaluation.energy - evaluation.area).low > 0

# %% [markdown]
# ## A class that is not in the picture
#
# > **Predict.** There is no lion in the scene. What will the map for "lion" look like?

# %%
absent = "lion"
assert absent not in scene.labels
shown = {label: cam.grad_cam(net, x, label, layer)[0] for label in (first, absent)}
figure, axes = plt.subplots(1, 2, figsize=(6.2, 3.3), layout="constrained")
for axis, (label, heat) in zip(axes, shown.items()):
    axis.imshow(plot.overlay(scene.image, heat))
    logit = rec.logits[0][net.labels.index(label)]
    axis.set(title=f"'{label}': logit {logit:.2f}\nlargest value of the map {heat.max():.3f}", xticks=[], yticks=[])
plt.show()

# %% [markdown]
# *What to see: the map of a class that is in the scene, and of one that is not, each scaled to its own maximum. The
# second one is not empty.*

# %%
assert shown[absent].max() > 0
assert rec.logits[0][net.labels.index(absent)] < min(rec.logits[0][net.labels.index(label)] for label in scene.labels)

# %% [markdown]
# Grad-CAM answers "where is what speaks for the lion?", never "is there a lion?". Some of what a lion needs is in many
# places, so there is always something to show, and a picture that is scaled to its own maximum shows it brightly. The
# logit answers the second question. Look at it first.

# %% [markdown]
# ## Before or after the ReLU?
#
# MXNet's tutorial took conv5_3 (`features.28`), the output of the convolution *before* its ReLU. We took relu5_3
# (`features.29`). Both are "the last layer".
#
# > **Predict.** Before the ReLU, channels have negative values too. A channel that is negative somewhere, times a
# > negative weight, gives positive "evidence". Will that help the map or hurt it?

# %%
both = metrics.evaluate(net, seeds, ["features.28", "features.29"])
for name, title in (("features.28", "before (conv5_3)"), ("features.29", "after (relu5_3)")):
    print(f"{title:17} share {metrics.bootstrap(both[name].share)}  energy {metrics.bootstrap(both[name].energy)}")
difference = metrics.bootstrap(both["features.29"].share - both["features.28"].share)
print(f"{'difference':17} share {difference}")

# %% [markdown]
# The comparison is *paired*: for each scene and class the two shares are subtracted first, so that easy and hard scenes
# do not blur the result.

# %%
assert difference.low > 0

# %% [markdown]
# Before the ReLU, "the detector did not fire at all here" counts as evidence wherever the class dislikes the detector.
# After the ReLU a silent detector is silent. Take the layer after its ReLU.

# %% [markdown]
# ## Logit or probability?
#
# The network's last step turns logits $y$ into probabilities $p$ by softmax. Why explain the logit?
#
# By the chain rule, with $c$ the class and $j$ running over all classes,
# $$\frac{\partial p_c}{\partial A} = p_c \Big(\frac{\partial y^c}{\partial A} - \sum_j p_j \frac{\partial y^j}{\partial A}\Big).$$
#
# > **Predict.** A scene with one animal, and the network is nearly certain of it: $p_c \approx 1$. What does the
# > formula say about the gradient of the probability?


# %%
def probability_gradient(rec, layer, number):
    """The gradient of a class's probability, from the gradients of all logits: (K, h, w)."""
    p = np.exp(rec.logits[0] - rec.logits[0].max())
    p /= p.sum()
    of_logits = [rec.gradient(layer, j)[0] for j in range(len(p))]
    return p[number] * (of_logits[number] - sum(q * g for q, g in zip(p, of_logits))), p[number]


print("one animal in the scene      p     |grad of p| / |grad of logit|")
ratios, certainties = [], []
for seed in scenes.TEST_SEEDS[:8]:
    single = scenes.draw(seed, objects=1)
    one = cam.record(net, cam.load_image(single.image), layer, image=False)
    of_probability, p = probability_gradient(one, layer, single.class_ids[0])
    ratios.append(np.linalg.norm(of_probability) / np.linalg.norm(one.gradient(layer, single.class_ids[0])))
    certainties.append(p)
    print(f"{single.labels[0]:25} {p:6.3f} {ratios[-1]:10.4f}")

# %%
most, least = np.argmax(certainties), np.argmin(certainties)
assert ratios[most] < ratios[least]  # the more certain, the less the probability can still rise

# %% [markdown]
# The gradient of the probability fades as the network becomes certain: nothing can raise it any more. In float32, and
# with a network more certain than this one, it drowns in rounding. And it mixes in the other classes: "more drake" and
# "less zebra" are the same to it. The logit has neither problem, and the paper takes it. So does `cam`.

# %% [markdown]
# ## On your own
#
# **1.** Leave out the final ReLU (`relu=False`) and draw the signed map of `first` with a colour map that diverges
# around zero. Where is the negative evidence?

# %% jupyter={"source_hidden": true} tags=["solution"]
signed = cam.grad_cam(net, x, first, layer, relu=False)[0]
limit = np.abs(signed).max()
figure, axis = plt.subplots(figsize=(3.4, 3), layout="constrained")
shown = axis.imshow(cam.resize_map(signed, 224), cmap="PuOr_r", vmin=-limit, vmax=limit)
for mask, style in zip(scene.masks, ("solid", "dashed")):
    axis.contour(mask, [0.5], colors="black", linewidths=1, linestyles=style)
figure.colorbar(shown, label=f"evidence for '{first}'")
axis.set(xticks=[], yticks=[])
plt.show()

# %% [markdown]
# *What to see: orange speaks for the class, purple against it. The solid outline is the animal of the class, the dashed
# one the other animal.*

# %% jupyter={"source_hidden": true} tags=["solution"]
on_right, on_other = (cam.resize_map(signed, 224)[mask].mean() for mask in scene.masks)
print(f"mean evidence on the {first} {on_right:.3f}, on the {second} {on_other:.3f}")
assert on_right > 0 and on_other < on_right

# %% [markdown]
# **2.** A common mistake is to average over the wrong axes: `gradient.mean(axis=0)` has shape (14, 14) and broadcasts
# without complaint. What does the wrong "map" measure? Compare its share on the right object with the right map's,
# first in this scene, then in twenty.


# %% jupyter={"source_hidden": true} tags=["solution"]
def shares(drawn):
    """Share on the right object of the wrong and of the right map, for the scene's first animal."""
    one = cam.record(net, cam.load_image(drawn.image), layer, image=False)
    gradient, A = one.gradient(layer, drawn.labels[0])[0], one.features(layer)[0]
    wrong = np.maximum((gradient.mean(axis=0) * A).sum(axis=0), 0)  # all channels summed, weighted by position
    right = cam.grad_cam_of(one, drawn.labels[0], layer)[0]
    return [metrics.share_on_object(heat, *drawn.masks) for heat in (wrong, right)]


print("this scene:    wrong {:.2f}, right {:.2f}".format(*shares(scene)))
twenty = np.array([shares(scenes.draw(seed)) for seed in seeds[:20]])
print("twenty scenes: wrong", metrics.bootstrap(twenty[:, 0]), "right", metrics.bootstrap(twenty[:, 1]))
assert twenty[:, 0].mean() < twenty[:, 1].mean()
# It asks where all channels together fire and the mean gradient is positive. One scene would not have told the two apart.

# %% [markdown]
# **3.** Which layer has the best maps: `features.15` (relu3_3), `features.22` (relu4_3) or `features.29` (relu5_3)? Use
# `metrics.evaluate` with a list and compare share and energy. Do the two measures agree?

# %% jupyter={"source_hidden": true} tags=["solution"]
three = metrics.evaluate(net, seeds, ["features.15", "features.22", "features.29"])
for name, one in three.items():
    empty = int((one.energy == 0).sum())
    print(
        f"{name} share {metrics.bootstrap(one.share)}  energy {metrics.bootstrap(one.energy)}  nothing on the object: {empty}"
    )
# Earlier layers have a finer grid, but their channels see parts that many animals share (fur, an edge, a leg): with a
# share near one half, the map hardly tells one animal from the other. A map with nothing on either object counts as 0,
# so a share slightly below one half is no sign of pointing at the wrong animal; count such maps, as here.
assert three["features.29"].share.mean() > max(three[name].share.mean() for name in ("features.15", "features.22"))

# %% [markdown]
# **Rule of thumb.** Grad-CAM is: gradient of the logit, averaged per channel, times the channel, summed, and what is
# negative set to zero. At the last feature map, after its ReLU. Then measure.
#
# **Next:** [4. Which pixels?](04_which_pixels.ipynb)
