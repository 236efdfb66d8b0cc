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
# **You will learn** Grad-CAM, until you can write it in three lines; how to tell a good map from a bad one with a number;
# whether to take the layer before or after its ReLU, and the logit or the probability.
#
# **You need** lessons 1 and 2. **It takes** about 55 minutes.

# %%
# %matplotlib inline
# cam comes before mxnet: it sees to it that MXNet uses every core
import cam
from cam import baselines, evaluation, exercises, metrics, plot, scenes
from course import Lesson, compare, show

import matplotlib.pyplot as plt
import numpy as np

lesson = Lesson(3, globals())
scene = scenes.draw(seed=7)
first, second = scene.labels
x = cam.load_image(scene.image)
net = cam.vgg16()
layer = "features.29"  # relu5_3, the last feature map: 128 channels of 14x14
heat = cam.grad_cam(net, x, target=first)[0]
show(
    plot.grid([[scene.image, plot.overlay(scene.image, heat)]], [""], ["scene", f"'{first}'"], size=2.8),
    alt="A scene with a zebra and a drake, and the same scene with a heat map that is bright on the zebra.",
)

# %% [markdown]
# *What to see: where VGG16 finds evidence for "zebra"; bright is strong. Nobody ever told it where a zebra is. It was
# trained with the names of what is in a picture, nothing else.*
#
# ## The idea in words
#
# Each channel of a feature map is a detector. Ask for every channel how much the class's logit would rise if the channel
# were larger. Add up the channels with these numbers as weights. The sum is a map of the evidence. Where it is negative it
# is set to zero, because we ask what speaks *for* the class.
#
# ## The formula
#
# [Selvaraju et al. 2017](https://arxiv.org/abs/1610.02391), equations 1 and 2. $A_k$ is channel $k$ of the feature map,
# with $h \times w$ numbers, and $y^c$ the logit of class $c$:
#
# $$\alpha_k^c = \frac{1}{hw} \sum_{i,j} \frac{\partial y^c}{\partial A_{k,ij}} \qquad\qquad
# L^c = \mathrm{ReLU}\Big(\sum_k \alpha_k^c A_k\Big)$$

# %% [markdown]
# ## By hand: three channels of 2x2
#
# The gradients of the three channels have the means $1$, $-2$ and $0$.

# %%
A = np.array([[[1, 0], [2, 5]], [[3, 1], [0, 0]], [[0, 4], [0, 4]]], np.float32)
gradient = np.array([[[4, 0], [0, 0]], [[-2, -2], [-2, -2]], [[1, -1], [-1, 1]]], np.float32)

# %% [markdown]
# > **Predict.** What is the sum before the ReLU, and which of its four positions survive? Then write the three lines.


# %%
def my_grad_cam(A, gradient):
    """The map (h, w) of a feature map and its gradient, both (K, h, w)."""
    alpha = ...  # your code: one weight per channel
    signed = ...  # your code: the weighted sum of the channels
    return ...  # your code


# %% [markdown] tags=["solution-my_grad_cam"]
# <details><summary>Hint</summary>
#
# `mean(axis=(1, 2))` leaves one number per channel; `alpha[:, None, None]` has the shape (K, 1, 1), which fits A.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def my_grad_cam(A, gradient):
#     alpha = gradient.mean(axis=(1, 2))
#     signed = (alpha[:, None, None] * A).sum(axis=0)
#     return np.maximum(signed, 0)
# ```
#
# </details>

# %%
my_grad_cam = lesson.fill("my_grad_cam", my_grad_cam)
likely = {
    "the negative values are still there": [[-5, -2], [2, 5]],
    "average over the positions, not over the channels": np.maximum((gradient.mean(axis=0) * A).sum(axis=0), 0),
    "average the gradient first, then multiply": np.maximum((gradient * A).sum(axis=0), 0),
    "the mean of the gradient, not its sum": [[0, 0], [8, 20]],
    "add up the channels, do not average them": np.array([[0, 0], [2, 5]]) / 3,
}
exercises.check("the map", my_grad_cam(A, gradient), [[0, 0], [2, 5]], likely)
print(my_grad_cam(A, gradient))

# %% [markdown]
# The sum is $-5, -2$ above and $2, 5$ below, and the lower two survive. The second channel counts against the class and
# wins on the upper row. The third is the strongest at the upper right, and does not count at all.
#
# ## The real network
#
# `cam.record` gives both terms from one pass, as in lesson 2.

# %%
rec = cam.record(net, x, layer)
A = rec.features()[0]  # (128, 14, 14)
gradient = rec.gradient(target=first)[0]  # (128, 14, 14)
alpha = gradient.mean(axis=(1, 2))  # (128,)
mine = my_grad_cam(A, gradient)  # (14, 14)
compare("Grad-CAM, mine and cam's", mine, cam.grad_cam(net, x, target=first)[0])
assert np.allclose(mine, cam.grad_cam(net, x, target=first)[0], rtol=1e-4, atol=1e-6)

# %%
figure, axis = plt.subplots(figsize=(9, 2.2), layout="constrained")
axis.bar(range(len(alpha)), np.sort(alpha)[::-1], width=1)
axis.axhline(0, color="black", linewidth=0.8)
axis.set(xlabel="channel, sorted", ylabel="alpha", title=f"what '{first}' wants of the 128 channels")
positive = (alpha > 0).sum()
show(figure, alt=f"The {len(alpha)} weights as sorted bars: {positive} positive ones on the left, the others not.")
print(f"{positive} of {len(alpha)} channels speak for '{first}'")
assert 0 < positive < len(alpha) / 2

# %% [markdown]
# *What to see: most weights are negative. The channels on the left speak for the class; a stronger channel on the right
# would lower its logit.*
#
# ## Two animals, two maps
#
# > **Predict.** Now the second animal. Picture, network and feature map stay; only the class changes. Will its map be the
# > first one with other colours, or another map?

# %%
maps = {label: cam.grad_cam(net, x, target=label)[0] for label in scene.labels}
for label, mask, other in zip(scene.labels, scene.masks, scene.masks[::-1]):
    assert metrics.share_on_object(maps[label], mask, other) > 0.9  # what this measures: see below
figure, axes = plt.subplots(1, 2, figsize=(6.2, 3.3), layout="constrained")
for axis, label, mask in zip(axes, scene.labels, scene.masks):
    axis.imshow(plot.overlay(scene.image, maps[label]))
    axis.contour(mask, [0.5], colors="white", linewidths=1)
    axis.set(title=f"Grad-CAM for '{label}'", xticks=[], yticks=[])
show(figure, alt="Two maps over the same scene: one bright on the outlined zebra, the other on the outlined drake.")

# %% [markdown]
# *What to see: another map. The white line is the true outline of the animal that the class names. We know it, since the
# scene is composed of cut-outs: `scene.masks` holds which pixels belong to which animal.*
#
# ## Is it a good map?
#
# "It looks right" is how bad maps survive. With the masks we can measure:
#
# - **energy in the mask**: of the sum of the map, the share inside the mask. A map without any idea gets the mask's share
#   of the image: that is **chance**.
# - **share on the right object**: of what falls on either animal, the share on the right one. Chance is about one half.
# - **pointing game** ([Zhang et al. 2018](https://arxiv.org/abs/1608.00507)): is the maximum on the object, or at most 15
#   pixels away?
#
# A map with nothing on either animal has the share 0. Write the first measure. The map has 14x14 numbers and the mask
# 224x224, so it is enlarged first.

# %%
mask, other = scene.masks
heat = cam.resize_map(maps[first], 224)
energy = ...  # your code

# %% [markdown] tags=["solution-energy"]
# <details><summary>Hint</summary>
#
# `heat[mask]` are the values inside the mask.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# energy = heat[mask].sum() / heat.sum()
# ```
#
# </details>

# %%
energy = lesson.fill("energy", energy)
likely = {
    "that is the mean inside the mask; take sums": heat[mask].mean(),
    "divide by the sum over the whole map": heat[mask].sum(),
    "divide by the whole map, not by what lies outside the mask": heat[mask].sum() / heat[~mask].sum(),
    "that is the share on the right object": metrics.share_on_object(maps[first], mask, other),
    "that is the mask's share of the image": mask.mean(),
}
exercises.check("energy in the mask", energy, metrics.energy_in_mask(maps[first], mask), likely)
print(f"energy in the mask {energy:.2f}, by chance {mask.mean():.2f}")
print(f"share on the right object {metrics.share_on_object(maps[first], mask, other):.2f}")
print(f"pointing game {metrics.pointing_game(maps[first], mask)}")
coarse = mask.reshape(14, 16, 14, 16).mean(axis=(1, 3))
of_coarse = metrics.energy_in_mask(coarse, mask)
print(f"energy in the mask of the mask itself, drawn on a grid of 14x14: {of_coarse:.2f}")
assert 2 * mask.mean() < energy < of_coarse and round(of_coarse, 1) == 0.5

# %% [markdown]
# Why is the energy far from 1, when the map looks so right? One number of the map covers 16x16 pixels, and what spills
# over the outline counts as outside. On such a grid even the mask itself loses half, and the map spreads further.
#
# One scene proves nothing. Here are forty that the network was not trained on, with both animals of each. The brackets
# come from a **bootstrap**: draw as many scenes as there are, with replacement, and take the mean; repeat. 95 % of these
# means lie in between. Whole scenes are drawn, since the two maps of one scene are no independent witnesses.
#
# > **Predict.** An edge filter, which takes the strength of the brightness's gradient, also makes a "map" of the scene,
# > without any network. What will it reach?

# %%
seeds = scenes.TEST_SEEDS[:40]
of_maps = evaluation.evaluate(net, seeds)
(of_edges,) = evaluation.compare(net, {"edges": baselines.edges}, None, seeds)  # None: edges have no layer
titles = {"energy": "energy in the mask", "share": "share on the right object", "near": "pointing game"}
for measure, title in titles.items():
    print(f"{title:25} Grad-CAM {of_maps.interval(measure)}  edges {of_edges.interval(measure)}")
    assert of_maps.interval(measure, minus=of_edges).low > 0
print(f"energy by chance {of_maps.area.mean():.3f}")
assert of_maps.interval("share").low > 0.5
assert of_edges.energy.mean() > 4 * of_maps.area.mean() and abs(of_edges.share.mean() - 0.5) < 1e-9

# %% [markdown]
# Edges reach more than four times chance in energy: animals have more edges than the background. So "far above chance"
# proves little. But edges do not know the class: their share is one half, as each animal is the right one once. Grad-CAM
# beats them in all three.

# %% [markdown]
# ## A class that is not in the picture
#
# > **Predict.** There is no lion in the scene. Will the map for "lion" be weaker than the one for "zebra"?

# %%
absent = "lion"
shown = {label: cam.grad_cam(net, x, target=label)[0] for label in (first, absent)}
logits = {label: rec.logits[0][net.labels.index(label)] for label in shown}
brightest = max(heat.max() for heat in shown.values())
figure, axes = plt.subplots(1, 2, figsize=(6.2, 3.3), layout="constrained")
for axis, (label, heat) in zip(axes, shown.items()):
    axis.imshow(plot.overlay(scene.image, heat, maximum=brightest))
    logit = logits[label]
    axis.set(title=f"'{label}': logit {logit:.2f}\nlargest value of the map {heat.max():.3f}", xticks=[], yticks=[])
show(
    figure,
    alt="The maps for zebra and lion on one scale of colours. Both are bright at the zebra; the lion's spreads further.",
)
assert absent not in scene.labels and shown[absent].max() > 0.8 * shown[first].max()
assert metrics.pointing_game(shown[absent], scene.masks[0]) and round(logits[first] - logits[absent]) == 6

# %% [markdown]
# *What to see: both maps on one common scale. The lion's is nearly as strong, and at the zebra, though its logit is 6
# lower.*
#
# Is it an accident of this scene? Here are twenty, with VGG16 and with ResNet50v2, each at the layer that `cam` takes by
# itself. `cam.grad_cam_of` makes the maps of all classes from one recording:

# %%
ratios = {}
for name, one_net in {"VGG16": net, "ResNet50v2": cam.resnet50_v2()}.items():
    ratios[name] = []
    for seed in seeds[:20]:
        drawn = scenes.draw(seed)
        one = cam.record(one_net, cam.load_image(drawn.image), image_gradient=False)
        largest = {label: cam.grad_cam_of(one, target=label).max() for label in one_net.labels}
        present = np.mean([largest.pop(label) for label in drawn.labels])
        ratios[name].append(np.mean(list(largest.values())) / present)
    print(f"{name:10} largest value, absent classes over present ones: {metrics.bootstrap(ratios[name])}")
assert metrics.bootstrap(ratios["VGG16"]).low > 1 and metrics.bootstrap(ratios["ResNet50v2"]).high < 0.1

# %% [markdown]
# No. In VGG16 the absent classes' maps are on average the *stronger* ones. Three Dense layers stand between the map and
# the logit, so the map does not add up to it. The map answers "where is what speaks for the lion?", the logit "is there a
# lion?". In ResNet50v2 the absent classes' maps are nearly empty. There the map and the logit are tied to each other, and
# lesson 6 finds the tie.

# %% [markdown]
# ## Before or after the ReLU?
#
# MXNet's tutorial took VGG16's last convolution: conv5_3, here `features.28`. We took the ReLU behind it: relu5_3,
# `features.29`.
#
# > **Predict.** The map is made of features and of gradients. Both change at the ReLU. Which of the two will matter?

# %%
before_after = ("features.28", "features.29")
shares = {(f, g): [] for f in before_after for g in before_after}
for seed in seeds:
    drawn = scenes.draw(seed)
    one = cam.record(net, cam.load_image(drawn.image), list(before_after), image_gradient=False)
    for label, right, wrong in zip(drawn.labels, drawn.masks, drawn.masks[::-1]):
        for f, g in shares:
            heat = my_grad_cam(one.features(f)[0], one.gradient(g, target=label)[0])
            shares[f, g].append(metrics.share_on_object(heat, right, wrong))
print("share on the right object  gradient before  gradient after")
for f, title in zip(before_after, ("features before (conv5_3)", "features after  (relu5_3)")):
    print(f"{title}  {np.mean(shares[f, before_after[0]]):15.3f}  {np.mean(shares[f, before_after[1]]):14.3f}")
gains = np.subtract(shares["features.29", "features.29"], shares["features.28", "features.28"])
gain = metrics.bootstrap(gains, clusters=np.repeat(seeds, 2))
print(f"relu5_3 minus conv5_3, scene by scene: {gain}")
assert gain.low > 0
for g in before_after:
    assert np.mean(shares["features.29", g]) - np.mean(shares["features.28", g]) > 0.2
assert abs(np.mean(shares["features.29", "features.28"]) - np.mean(shares["features.29", "features.29"])) < 0.01

# %% [markdown]
# The features. Before the ReLU a detector that does not fire has a negative value. Times a negative weight, that becomes
# positive "evidence". The ReLU sets it to zero, and then either gradient gives the same share. So take the layer after its
# ReLU.
#
# The last line is **paired**: two shares of the same scene and class are subtracted first. So easy and hard scenes do not
# blur the result.

# %% [markdown]
# Now you can repair the upper row of lesson 1's first figure:

# %%
forum = scenes.draw(seed=10)
one = cam.record(net, cam.load_image(forum.image), list(before_after), image_gradient=False)
repaired = {f: my_grad_cam(one.features(f)[0], one.gradient(f, target="tiger")[0]) for f in before_after}
right, wrong = (forum.masks[forum.labels.index(label)] for label in ("tiger", "drake"))
of_tiger = {f: metrics.share_on_object(heat, right, wrong) for f, heat in repaired.items()}
show(
    plot.grid(
        [[forum.image, *(plot.overlay(forum.image, heat) for heat in repaired.values())]],
        ["tiger"],
        ["scene", *(f"{title}: share {of_tiger[f]:.2f}" for f, title in zip(before_after, ("conv5_3", "relu5_3")))],
        size=2.4,
    ),
    alt="A tiger above a duck, and two maps for the tiger: at conv5_3 bright on both animals, at relu5_3 on the tiger alone.",
)
assert of_tiger["features.28"] < 0.6 and of_tiger["features.29"] > 0.99

# %% [markdown]
# *What to see: at conv5_3 the duck is about as bright as the tiger; behind the ReLU it is dark.*
#
# ## Logit or probability?
#
# Softmax turns the logits $y$ into probabilities $p$. Why explain the logit? By the chain rule, with $j$ running over all
# classes,
#
# $$\frac{\partial p_c}{\partial A} = p_c \Big(\frac{\partial y^c}{\partial A} - \sum_j p_j \frac{\partial y^j}{\partial A}\Big).$$
#
# > **Predict.** One animal in the scene, and the network is nearly certain of it: $p_c \approx 1$. What becomes of the
# > gradient of the probability?

# %%
print("one animal in the scene      1 - p    |grad of p| / |grad of logit|")
for seed in seeds[:8]:
    single = scenes.draw(seed, objects=1)
    one = cam.record(net, cam.load_image(single.image), image_gradient=False)
    p, c = one.probabilities[0], single.class_ids[0]
    of_logits = [one.gradient(target=j)[0] for j in range(len(p))]
    of_probability = p[c] * (of_logits[c] - sum(q * g for q, g in zip(p, of_logits)))
    ratio = np.linalg.norm(of_probability) / np.linalg.norm(of_logits[c])
    print(f"{single.labels[0]:25} {1 - p[c]:8.4f} {ratio:10.4f}")
    assert 0.9 < ratio / (1 - p[c]) < 1.5

# %% [markdown]
# It fades: the ratio is about $1 - p$. Nothing can raise a probability that is nearly 1. The sum also mixes in the other
# classes: less evidence for "zebra" raises the probability of "drake". The logit has neither problem, so the paper takes
# it, and so does `cam`.

# %% [markdown]
# ## On your own
#
# **1.** ★ Leave out the final ReLU, with `relu=False`, and draw the signed map of `first`. Where is the negative evidence?

# %% [markdown] tags=["solution-exercise_1"]
# <details><summary>Hint</summary>
#
# `plot.draw_signed(axis, heat, 224)` draws it: white is zero, orange speaks for the class, purple against it.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# signed = cam.grad_cam(net, x, target=first, layer=layer, relu=False)[0]
# figure, axis = plt.subplots(figsize=(3.6, 3), layout="constrained")
# shown = plot.draw_signed(axis, signed, 224)
# for one_mask, style in zip(scene.masks, ("solid", "dashed")):
#     axis.contour(one_mask, [0.5], colors="black", linewidths=1, linestyles=style)
# figure.colorbar(shown, label=f"evidence for '{first}'")
# show(figure, alt="A signed map: orange inside the solid outline of the zebra, purple and hatched at the dashed drake.")
# on_right, on_other = (cam.resize_map(signed, 224)[one_mask].mean() for one_mask in scene.masks)
# print(f"mean evidence on the {first} {on_right:.3f}, on the {second} {on_other:.3f}")
# assert on_right > 0 > on_other
# ```
#
# </details>

# %%
lesson.solution("exercise_1")  # or your own code

# %% [markdown]
# *What to see: the negative evidence, purple and hatched, is strongest at the other animal, the dashed outline.*
#
# **2.** ★★ A common mistake is `gradient.mean(axis=0)`, of shape (14, 14), which broadcasts without complaint. What share on
# the right object does this "map" have, in this scene and in twenty?

# %% [markdown] tags=["solution-exercise_2"]
# <details><summary>Hint</summary>
#
# Record each scene with `image_gradient=False`, which is faster.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def shares(drawn):
#     """Share on the right object of the wrong and of the right map, for the scene's first animal."""
#     one = cam.record(net, cam.load_image(drawn.image), layer, image_gradient=False)
#     gradient, A = one.gradient(target=drawn.labels[0])[0], one.features()[0]
#     wrong = np.maximum((gradient.mean(axis=0) * A).sum(axis=0), 0)  # all channels summed, weighted by position
#     return [metrics.share_on_object(heat, *drawn.masks) for heat in (wrong, my_grad_cam(A, gradient))]
#
#
# print("this scene:    wrong {:.2f}, right {:.2f}".format(*shares(scene)))
# twenty = np.array([shares(scenes.draw(seed)) for seed in seeds[:20]])
# print("twenty scenes: wrong", metrics.bootstrap(twenty[:, 0]), "right", metrics.bootstrap(twenty[:, 1]))
# assert twenty[:, 0].mean() < twenty[:, 1].mean()
# # It asks where all channels together fire and the mean gradient is positive. One scene would not have told the two apart.
# ```
#
# </details>

# %%
lesson.solution("exercise_2")  # or your own code

# %% [markdown]
# **3.** ★★ Which layer has the best maps: `features.15` (relu3_3), `features.22` (relu4_3) or `features.29` (relu5_3)? Do
# share and energy agree?

# %% [markdown] tags=["solution-exercise_3"]
# <details><summary>Hint</summary>
#
# `evaluation.evaluate(net, seeds, [...])` takes a list of layers and returns a dict with an evaluation for each.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# three = evaluation.evaluate(net, seeds, ["features.15", "features.22", "features.29"])
# for name, one in three.items():
#     empty = int((one.on_objects == 0).sum())
#     print(f"{name} share {one.interval('share')}  energy {one.interval('energy')}  nothing on either: {empty}")
# # Both put relu5_3 first. But in energy the earlier layers are far above chance, as edges are; their share near one half
# # says that they hardly tell one animal from the other. Their channels see parts that many animals have, such as fur or a
# # leg. An empty map counts as 0, so a share below one half need not mean that the map points at the wrong animal: count the
# # empty ones, as here.
# for measure in ("share", "energy"):
#     means = [getattr(one, measure).mean() for one in three.values()]
#     assert means == sorted(means)
# ```
#
# </details>

# %%
lesson.solution("exercise_3")  # or your own code

# %% [markdown] tags=["quiz"]
# ## Five questions
#
# Choose first, then unfold the answer.
#
# **1.** The feature map has the shape (128, 14, 14). What shape has alpha?
#
# - **A.** (128, 14, 14)
# - **B.** one number
# - **C.** (128,)
# - **D.** (14, 14)
#
# <details><summary>Answer</summary>
#
# **C.** Grad-CAM averages the gradient over all positions of a channel, so it keeps one weight per channel.
#
# </details>
#
# **2.** Two animals are in the scene, and the network gives one of them probability 0.40. What does its Grad-CAM tell?
#
# - **A.** whether the animal is there
# - **B.** where the evidence for this class lies
# - **C.** where both animals are
# - **D.** how sure the network is
#
# <details><summary>Answer</summary>
#
# **B.** A class that is absent has a map too, sometimes a brighter one. Whether the animal is there is a question for the logit.
#
# </details>
#
# **3.** A map has 0.27 of its energy in the mask, which covers 0.06 of the image. Is that good?
#
# - **A.** Not yet known; an edge filter without any network reaches as much on these scenes.
# - **B.** Yes, since the animals are small.
# - **C.** No, a good map has more than 0.5.
# - **D.** Yes, it is four times chance.
#
# <details><summary>Answer</summary>
#
# **A.** Chance is a weak opponent. The objects have more edges than the background, and an edge filter profits from that. Compare with a baseline that needs no network, and look at the share on the right object, where edges reach one half.
#
# </details>
#
# **4.** Why does the layer before its ReLU give a worse map in VGG16?
#
# - **A.** The gradient before the ReLU is wrong.
# - **B.** Its negative values, times a negative weight, count as evidence where a detector did not fire.
# - **C.** The map there has fewer positions.
# - **D.** The ReLU removes small positive values.
#
# <details><summary>Answer</summary>
#
# **B.** The experiment exchanged features and gradients separately. The features made the difference: with those after the ReLU either gradient gave the same share.
#
# </details>
#
# **5.** Why does Grad-CAM explain the logit and not the probability?
#
# - **A.** The probability has no gradient.
# - **B.** The probability's gradient fades as the network becomes certain, and mixes in all other classes.
# - **C.** Softmax is not part of the network.
# - **D.** The logit is always positive.
#
# <details><summary>Answer</summary>
#
# **B.** With one animal in the scene its gradient is about 1 − p times the logit's. At p = 0.999 that is a thousandth.
#
# </details>

# %% [markdown]
# **Rule of thumb.** Grad-CAM: the gradient of the logit, averaged per channel, times the channel, summed, and what is
# negative set to zero. At the last feature map, after its ReLU. Then measure, beside a baseline without a network.
#
# **Read more.** Selvaraju, Cogswell, Das, Vedantam, Parikh and Batra, [Grad-CAM](https://arxiv.org/abs/1610.02391), 2017.
# Zhang, Bargal, Lin, Brandt, Shen and Sclaroff, [Top-down neural attention by excitation
# backprop](https://arxiv.org/abs/1608.00507), 2018: the pointing game. Wang and others,
# [Score-CAM](https://arxiv.org/abs/1910.01279), 2020: energy in the mask.
#
# **Next:** [4. Which pixels?](04_which_pixels.ipynb)
