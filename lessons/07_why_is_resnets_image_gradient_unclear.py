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
# # 7. Why is ResNet's image gradient unclear?
#
# **You will learn** why replacing "the ReLUs" of ResNet50v2 does not help, how many ReLUs a network computes, and what
# guided backpropagation looks like once it reaches all of them.
#
# **You need** lessons 1, 4 and 6. **It takes** about 50 minutes.
#
# The forum's question had an update, never answered: *I rewrote only the ReLU, as in the tutorial. With VGG16 the image
# gradient is clean. With ResNet50v2 it is still unclear. Why?*

# %%
# %matplotlib inline
from functools import partial

import cam  # before mxnet, so that MXNet uses every core
from cam import evaluation, exercises, metrics, plot, scenes
from cam.nets.normalisation import normalise
from course import Lesson, draw_intervals, reached_by_recipe, show
from diagrams import net_graph

import matplotlib.pyplot as plt
import numpy as np
from mxnet import autograd, nd
from mxnet.gluon import HybridBlock, nn
from PIL import Image

lesson = Lesson(7, globals())
vgg, net = cam.vgg16(), cam.resnet50_v2()
scene = scenes.draw(seed=7)
x, label = cam.load_image(scene.image), scene.labels[0]
thirteen, two = reached_by_recipe(vgg), reached_by_recipe(net)  # the learner's ReLUs
pictures = {
    "VGG16, 13 of 15": cam.guided_backprop(vgg, x, target=label, where=thirteen)[0],
    "ResNet50v2, 2 of 50": cam.guided_backprop(net, x, target=label, where=two)[0],
    "ResNet50v2, all 50": cam.guided_backprop(net, x, target=label)[0],
}
show(
    plot.grid(
        [[scene.image, *(plot.signed_image(one) for one in pictures.values())]],
        [f"class '{label}'"],
        ["scene", *pictures],
        size=2.6,
    ),
    alt="A scene with a zebra and a drake, and three guided gradients. VGG16's draws both animals in clean lines. "
    "ResNet50v2's with 2 of 50 ReLUs is full of specks, the one with all 50 shows outlines on a plain ground.",
)

# %% [markdown]
# *What to see: guided backpropagation for the zebra; grey is zero. In the first two the learner's ReLUs obey the guided
# rule: clean lines for VGG16, specks for ResNet50v2. The third is where you will arrive. The argument `where=` of
# `cam.guided_backprop` says which ReLUs obey. The max pooling is right in all three (lesson 4).*
#
# ## Count
#
# The tutorial's recipe replaces each `Activation` *block* by one that knows the guided rule. So count twice.
# `cam.relus(net)` lists every ReLU that the network computes, from its graph (lesson 6). `cam.paths(net)` holds every
# block, by its path.
#
# > **Predict.** ResNet50v2 has 49 convolutions, and 4 more on its shortcuts. How many ReLUs does it compute, and how
# > many of them are blocks?

# %%
every_relu = cam.relus(net)
print(every_relu[:4], "...", every_relu[-1])
reached = ...  # your code: the paths of those blocks that are an nn.Activation

# %% [markdown] tags=["solution-reached"]
# <details><summary>Hint</summary>
#
# Go through `cam.paths(net).items()`, and ask `isinstance(block, nn.Activation)`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# reached = [path for path, block in cam.paths(net).items() if isinstance(block, nn.Activation)]
# ```
#
# </details>

# %%
reached = lesson.fill("reached", reached)
likely = {"these are all ReLUs; ask which of the blocks are one": ", ".join(every_relu)}
exercises.check("the ReLUs that are blocks", ", ".join(reached), ", ".join(two), likely)
for title, recipe, every in (("ResNet50v2", reached, every_relu), ("VGG16", thirteen, cam.relus(vgg))):
    print(f"{title:10} computes {len(every)} ReLUs, and the recipe reaches {len(recipe)}")
assert (len(reached), len(every_relu), len(thirteen), len(cam.relus(vgg))) == (2, 50, 13, 15)
assert sum(isinstance(block, nn.Conv2D) for block in cam.paths(net).values()) == 49 + 4

# %%
inside = [name for name in every_relu if "stage4" in name][6:9]
show(
    net_graph(
        net, "features.8.1", "features.8.2",
        labels={"features.8.1": "block 8.1", "features.8.2": "Add"},
        notes=dict.fromkeys(inside, "a function call"),
    ),
    alt="The last residual block: a shortcut, and a branch of three times BatchNorm, ReLU and convolution. Each of the "
    "three ReLUs is marked as a function call.",
)  # fmt: skip

# %% [markdown]
# *What to see: the last residual block in the graph. Its three ReLUs are function calls,
# `F.Activation(x, act_type="relu")`, in the middle of the zoo's `BottleneckV2`. There are 16 such blocks, so 48 such
# ReLUs. No exchange of blocks can reach them.*
#
# The network computes **50** ReLUs, and **2** of them are blocks: one after the first convolution, one before the
# global pooling. Whoever "rewrites the ReLU" of this net gets guided backpropagation on 2 of 50, and MXNet says
# nothing. VGG16 computes 15, and the recipe reaches 13: the other two sit inside Dense layers, which the tutorial
# leaves as they are.
#
# ## The smallest case by hand
#
# Does it matter *where* a guided ReLU sits? Take two ReLUs, one weight of $-1$ and a bias of 3:
# $y = \mathrm{relu}(-1 \cdot \mathrm{relu}(x) + 3)$ at $x = 2$. The gradient is $-1$.
#
# > **Predict.** What is the gradient of x with the first ReLU guided, with the second, with both?


# %%
def gradient_of_x(first, second):
    x = nd.array([2.0])
    x.attach_grad()
    with autograd.record(train_mode=False):
        y = cam.blocks.relu(-1 * cam.blocks.relu(x, first) + 3, second)
    y.backward(train_mode=False)
    return x.grad.asscalar()


results = {(a, b): gradient_of_x(a, b) for a in ("plain", "guided") for b in ("plain", "guided")}
for rules, value in results.items():
    print(f"first {rules[0]:7} second {rules[1]:7} gradient {value:+.0f}")

# %%
assert results["plain", "plain"] == results["plain", "guided"] == -1
assert results["guided", "plain"] == results["guided", "guided"] == 0

# %% [markdown]
# It matters. With the first guided the gradient is 0, with the second alone it stays $-1$. The second ReLU receives
# $+1$ and lets it through. On the way back the sign changes at the weight, and only the first ReLU can stop what is
# negative then. In a deep net signs change at every convolution, so each of the 50 may have something to stop.
#
# ## Is this what the learner computed?
#
# Do what the tutorial does: exchange the `Activation` blocks, leave all else, and let MXNet go back. Once with its own
# max pooling, and once with the pooling mended as in lesson 4.


# %%
class RightPooling(HybridBlock):
    def __init__(self, original):
        super().__init__()
        self.original = original

    def forward(self, x):
        with autograd.train_mode():
            return self.original(x)


def exchanged(features, mend):
    """The net with its Activation blocks exchanged for guided ones and, if asked, with the pooling mended."""
    new = nn.Sequential()
    for block in (*features, net.output):
        if isinstance(block, nn.Activation):
            block = cam.blocks.ReLU("guided")  # an autograd Function, as in lesson 1
        elif isinstance(block, nn.MaxPool2D) and mend:
            block = RightPooling(block)
        new.add(block)
    return new


def by_mxnet(network, x, ids):
    """The gradient of the given classes' logits with respect to the images, by MXNet's autograd: numpy (N, 3, H, W)."""
    leaf = x.copy()
    leaf.attach_grad()
    with autograd.record(train_mode=False):
        logits = nd.pick(network(leaf), nd.array(ids))
    logits.backward(train_mode=False)
    return leaf.grad.asnumpy()


def relative_error(one, other):  # lesson 2
    return np.linalg.norm(one - other) / np.linalg.norm(other)


def cosine(one, other):  # lesson 1
    return one.ravel() @ other.ravel() / np.linalg.norm(one) / np.linalg.norm(other)


number = net.labels.index(label)
as_the_learner, mended = (by_mxnet(exchanged(net.features, mend), x, [number])[0] for mend in (False, True))
with_where = pictures["ResNet50v2, 2 of 50"]
for title, gradient in (("pooling mended", mended), ("MXNet's pooling", as_the_learner)):
    print(f"{title:15} and cam with where=two: relative error {relative_error(gradient, with_where):.0e}")
assert relative_error(mended, with_where) < 2e-3  # in inference MXNet's convolutions are less exact

# %%
show(
    plot.grid(
        [[plot.signed_image(as_the_learner), plot.signed_image(mended)]],
        [f"class '{label}'"],
        ["2 of 50, MXNet's pooling", "2 of 50, right pooling"],
        size=2.6,
    ),
    alt="Two guided gradients of ResNet50v2 with 2 of 50 ReLUs. Both are full of specks.",
)

# %% [markdown]
# *What to see: on the left what the learner's code computes, which changes from run to run; on the right the same with
# the pooling mended. Both are unclear, so the pooling alone is not the answer.*
#
# There were two faults. From here on the pooling is right, and only the number of guided ReLUs changes.
#
# ## How unclear is it?
#
# "Unclear" means specks: neighbouring pixels that have nothing to do with each other. Measure that first. The
# **smoothness** of a gradient is the correlation of each value with its right and its lower neighbour.


# %%
def smoothness(gradient):
    """The mean of two correlations: of each value with its right neighbour, and with its lower one; (K, H, W)."""
    return ...  # your code: np.corrcoef(a.ravel(), b.ravel())[0, 1] is the correlation of two arrays


# %% [markdown] tags=["solution-smoothness"]
# <details><summary>Hint</summary>
#
# `gradient[:, :, :-1]` is all but the last column, `gradient[:, :, 1:]` all but the first.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def smoothness(gradient):
#     pairs = (gradient[:, :, :-1], gradient[:, :, 1:]), (gradient[:, :-1], gradient[:, 1:])
#     return np.mean([np.corrcoef(one.ravel(), other.ravel())[0, 1] for one, other in pairs])
# ```
#
# </details>

# %%
smoothness = lesson.fill("smoothness", smoothness)
ramp = np.add.outer(np.arange(8.0), np.arange(8.0))[None]
board = np.indices((1, 8, 8)).sum(axis=0) % 2.0
stripes = np.indices((1, 8, 8))[1] % 2.0  # rows of zeros and rows of ones in turn
exercises.check("a ramp", smoothness(ramp), 1, {"take the mean of the two, not their sum": 2}, tolerance=0.02)
exercises.check("a chessboard", smoothness(board), -1, tolerance=0.02)
likely = {"the lower neighbour is missing": 1, "the right neighbour is missing": -1}
exercises.check("stripes", smoothness(stripes), 0, likely, tolerance=0.02)

# %% [markdown]
# A smooth picture can still be in the wrong place. So here are three more numbers, of the magnitude of the gradient:
# how much of it lies on either object, which share of that on the right one, and the energy in the right one's mask,
# which is the product of the two. And there is a baseline without any network: the edges of the picture.


# %%
def measure(gradients, drawn, target):
    """Smoothness, energy on either object, share on the right one, energy in its mask: numpy (4, N)."""
    rows = []
    for gradient, one in zip(gradients, drawn):
        mask, other = one.masks[target], one.masks[1 - target]
        strength = np.abs(gradient).sum(axis=0)
        on_either, in_mask = (metrics.energy_in_mask(strength, m) for m in (mask | other, mask))
        rows.append((smoothness(gradient), on_either, in_mask / on_either, in_mask))
    return np.array(rows).T


kinds = {
    "ResNet50v2, 0 of 50": (net, "plain", None),
    "ResNet50v2, 2 of 50": (net, "guided", reached),
    "ResNet50v2, 50 of 50": (net, "guided", None),
    "VGG16, 0 of 15": (vgg, "plain", None),
    "VGG16, 13 of 15": (vgg, "guided", thirteen),
    "VGG16, 15 of 15": (vgg, "guided", None),
}
later = {"VGG16, only the last 2": (vgg, "guided", [name for name in cam.relus(vgg) if name not in thirteen])}

# %%
found = {kind: [] for kind in (*kinds, *later, "edges, no network")}
between = {kind: [] for kind in (*kinds, *later)}  # how alike the gradients for a scene's two objects are
area, of_scene = [], []
for start in range(0, 40, 10):
    drawn = [scenes.draw(seed) for seed in scenes.TEST_SEEDS[start : start + 10]]
    batch = nd.concat(*(cam.load_image(one.image) for one in drawn), dim=0)  # (10, 3, 224, 224)
    both = [[one.class_ids[target] for one in drawn] for target in (0, 1)]
    recordings = {network: cam.record(network, batch) for network in (net, vgg)}
    for kind, (network, rule, where) in (kinds | later).items():
        pair = [recordings[network].image_gradient(target=ids, rule=rule, where=where) for ids in both]
        between[kind] += [cosine(one, other) for one, other in zip(*pair)]
        for target in (0, 1):
            found[kind].append(measure(pair[target], drawn, target))
    edges = [np.stack(np.gradient(one.image.mean(axis=2))) for one in drawn]  # (2, 224, 224) each
    for target in (0, 1):
        found["edges, no network"].append(measure(edges, drawn, target))
        area += [one.masks[target].mean() for one in drawn]
        of_scene += range(start, start + 10)
found = {kind: np.concatenate(several, axis=1) for kind, several in found.items()}  # (4, 80) each


def interval(values):
    """Mean and interval of one value for each scene and object: whole scenes are drawn."""
    return metrics.bootstrap(values, clusters=of_scene)


# %% [markdown]
# > **Predict.** Which number will show that 2 of 50 is not enough? And will VGG16 with all 15 be better than with 13?

# %%
print(f"{'40 scenes, both objects':23} {'smoothness':21} {'on either object':21} {'share on the right':21} in the mask")
for kind in (*kinds, "edges, no network"):
    print(f"{kind:23}", *(f"{interval(row)!s:21}" for row in found[kind]))
print(f"{'by chance':23} {0:.3f} {'':15} {2 * np.mean(area):.3f} {'':15} {0.5:.3f} {'':15} {np.mean(area):.3f}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3), layout="constrained")
for axis, row, title in zip(axes, (0, 3), ("smoothness", "energy in the mask")):
    means = [interval(found[kind][row]) for kind in kinds]
    axis.bar(range(3), [one.mean for one in means[:3]], color="tab:blue")
    axis.bar(range(3, 6), [one.mean for one in means[3:]], color="tab:orange", hatch="//")
    draw_intervals(axis, range(6), means, fmt="none", color="black")
    axis.axhline(found["edges, no network"][row].mean(), linestyle="--", color="black", label="edges, no network")
    axis.set_xticks(range(6), [kind.split(", ")[1] for kind in kinds], fontsize=8)
    axis.set(title=title, ylim=(0, 0.8))
    axis.legend(fontsize=8, loc="upper left")
figure.supxlabel("guided ReLUs: ResNet50v2 blue, VGG16 orange and hatched", fontsize=9)
show(
    figure,
    alt="Two bar charts of six bars. Smoothness: ResNet50v2 0.20, 0.25, 0.32, VGG16 0.24, 0.41, 0.41, edges 0.60. "
    "Energy in the mask: ResNet50v2 0.33, 0.35, 0.60, VGG16 0.18, 0.49, 0.42, edges 0.27.",
)

# %% [markdown]
# *What to see: means over 40 scenes and both objects, with 95 % intervals. In ResNet50v2 little changes from 0 to 2
# guided ReLUs, and much from 2 to 50. VGG16 with 13 is as smooth as with 15. The dashed line needs no network at all.*

# %%
mean = {kind: found[kind].mean(axis=1) for kind in (*kinds, "edges, no network")}
assert [f"{one[0]:.2f}" for one in mean.values()] == ["0.20", "0.25", "0.32", "0.24", "0.41", "0.41", "0.60"]
assert [f"{one[3]:.3f}" for one in mean.values()] == ["0.329", "0.352", "0.595", "0.180", "0.487", "0.420", "0.273"]
plain_of = {
    "ResNet50v2, 2 of 50": "ResNet50v2, 0 of 50",
    "ResNet50v2, 50 of 50": "ResNet50v2, 0 of 50",
    "VGG16, 13 of 15": "VGG16, 0 of 15",
}
gain = {kind: interval(found[kind][0] - found[plain][0]) for kind, plain in plain_of.items()}
for kind, one in gain.items():
    print(f"gain of smoothness over the plain gradient: {kind:21} {one}")
assert gain["ResNet50v2, 50 of 50"].mean > 2 * gain["ResNet50v2, 2 of 50"].mean
assert gain["VGG16, 13 of 15"].low > 2 * gain["ResNet50v2, 2 of 50"].high
assert mean["VGG16, 0 of 15"][3] < mean["edges, no network"][3]
assert abs(mean["VGG16, 13 of 15"][0] - mean["VGG16, 15 of 15"][0]) < 0.01
assert abs(mean["ResNet50v2, 2 of 50"][0] - mean["VGG16, 0 of 15"][0]) < 0.02

# %% [markdown]
# Smoothness shows it: with 2 of 50, ResNet50v2's gradient is about as rough as VGG16's plain one. So does the energy
# in the mask. And VGG16 with all 15 is no better than with 13: as smooth, with less in the mask.
#
# **The answer to the forum's update.** The recipe is right, but it exchanges blocks, and 48 of ResNet50v2's 50 ReLUs
# are function calls. It reached 2 of 50: the smoothness went from 0.20 to 0.25, the energy in the mask from 0.329 to
# 0.352. In VGG16 it reached 13 of 15: from 0.24 to 0.41, and from 0.180 to 0.487. Let all 50 obey, with
# `cam.guided_backprop(net, x)` or by hand as at the end of this lesson, and ResNet50v2 has 0.32 and 0.595. That is much
# clearer, and more of it lies on the object than in VGG16, though it is not as smooth.
#
# Smoothness alone is no quality: the edges reach 0.60, and do not know which object is meant.
#
# ## Why has 13 of 15 more energy in the mask than 15 of 15?
#
# Take the number apart. On either object the two are alike. What 15 of 15 loses is the share on the right one: 0.603
# with 13, and 0.517 with 15, where one half is chance. Lesson 4 suspected the two ReLUs of the Dense layers, and guided
# them alone.
#
# > **Predict.** How alike are the two pictures that a scene has, one for each of its objects? With the plain rule, with
# > 13, with 15, with the two alone? And in ResNet50v2?

# %%
alike = {kind: metrics.bootstrap(values) for kind, values in between.items()}
for kind, value in alike.items():
    print(f"{kind:23} cosine of the pictures for the two objects: {value}")
assert f"{mean['VGG16, 13 of 15'][2]:.3f} {mean['VGG16, 15 of 15'][2]:.3f}" == "0.603 0.517"
assert abs(mean["VGG16, 13 of 15"][1] - mean["VGG16, 15 of 15"][1]) < 0.01
assert alike["VGG16, 15 of 15"].low > 0.98 > 0.95 > alike["VGG16, 13 of 15"].high
assert alike["VGG16, 0 of 15"].high < alike["VGG16, 13 of 15"].low
assert alike["ResNet50v2, 0 of 50"].high < alike["ResNet50v2, 50 of 50"].low
assert alike["VGG16, only the last 2"].low > alike["VGG16, 13 of 15"].high
assert [f"{alike[f'ResNet50v2, {count} of 50'].mean:.2f}" for count in (0, 2, 50)] == ["-0.14", "0.72", "0.67"]

# %% [markdown]
# With the plain rule the two pictures differ most, in both networks. With all 15 of VGG16's they are nearly the same.
# The last two ReLUs alone do more to that than the other thirteen together. In the Dense layers the classes part, by
# negative weights: *this* speaks for the zebra and against the drake. A guided ReLU throws the "against" away. In
# ResNet50v2 one of the two blocks is the last ReLU, with nothing but the pooling between it and the only Dense layer.
# The two alone take the likeness from -0.14 to 0.72, and the other 48 add none: with all 50 it is 0.67, further from 1
# than in VGG16.
#
# ## Everything together
#
# Both networks, the same scene, each of its animals.

# %%
rows, titles = [], []
for name, network in (("VGG16", vgg), ("ResNet50v2", net)):
    rec = cam.record(network, x)
    for animal in scene.labels:
        heat = cam.grad_cam_of(rec, target=animal)[0]
        guided = rec.image_gradient(target=animal, rule="guided", where=thirteen if network is vgg else None)[0]
        both = plot.signed_image(guided), plot.signed_image(guided * cam.resize_map(heat, 224))
        rows.append([plot.overlay(scene.image, heat), *both])
        titles.append(f"{name}\n{animal}")
show(
    plot.grid(rows, titles, ["Grad-CAM", "guided backpropagation", "guided Grad-CAM"], size=2.3),
    alt="Four rows: VGG16 and ResNet50v2, each for the zebra and for the drake. Grad-CAM lies on the animal that is asked "
    "for, the guided gradient draws both animals, and their product draws the right one.",
)

# %% [markdown]
# *What to see: Grad-CAM finds the animal that is asked for, guided backpropagation draws both animals, and the product
# shows the right one. VGG16 is guided at 13 of 15 ReLUs, ResNet50v2 at all 50.*
#
# One scene is no measurement. Here are the 40 of before:

# %%
methods = {vgg: partial(cam.guided_grad_cam, where=thirteen), net: cam.guided_grad_cam}
energies = []
for network, method in methods.items():
    (one,) = evaluation.compare(network, {"guided Grad-CAM": method}, None, scenes.TEST_SEEDS[:40])
    print(f"{type(network).__name__:10} guided Grad-CAM, energy in the mask: {one.interval('energy')}")
    energies.append(one.energy.mean())
assert [f"{energy:.2f}" for energy in energies] == ["0.81", "0.83"]

# %% [markdown]
# Over the 40 scenes 0.81 of VGG16's guided Grad-CAM lies in the mask, and 0.83 of ResNet50v2's.
#
# ## Why are VGG16's lines finer?
#
# Look at the stripes. ResNet50v2's lines are coarser. A suspect: it halves the picture's size twice before its first
# block, VGG16 only after its second and fourth convolution. Test it. Enlarge the picture to 448x448, so that the
# halvings leave twice as many positions on each side, and average the gradient back to 224x224.
#
# > **Predict.** If the suspect is guilty, what happens to the correlation of a pixel with the one four steps away? Fine
# > lines make it small.


# %%
def at_distance(gradient, steps):
    """Correlation of a gradient's magnitude with itself, some steps to the right and downwards."""
    m = np.abs(gradient).sum(axis=0)
    pairs = (m[:, :-steps], m[:, steps:]), (m[:-steps], m[steps:])
    return np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs])


ten = [scenes.draw(seed) for seed in scenes.TEST_SEEDS[:10]]
batch = nd.concat(*(cam.load_image(one.image) for one in ten), dim=0)  # (10, 3, 224, 224)
ids = [one.class_ids[0] for one in ten]
larger = np.stack([np.asarray(Image.fromarray(one.image).resize((448, 448), Image.Resampling.BICUBIC)) for one in ten])
rec = cam.record(net, nd.array(normalise(larger)))
still_right = np.mean([row.argmax() in one.class_ids for row, one in zip(rec.logits, ten)])
averaged = rec.image_gradient(target=ids, rule="guided").reshape(10, 3, 224, 2, 224, 2).mean(axis=(3, 5))
lines = {
    "VGG16, 13 of 15": cam.guided_backprop(vgg, batch, target=ids, where=thirteen),
    "ResNet50v2, 50 of 50": cam.guided_backprop(net, batch, target=ids),
    "ResNet50v2, picture enlarged": averaged,
}
wide = {kind: np.array([at_distance(one, 4) for one in gradients]) for kind, gradients in lines.items()}
for kind, values in wide.items():
    print(f"{kind:29} correlation at four steps: {metrics.bootstrap(values)}")
print(f"of the enlarged scenes, {still_right:.0%} are still recognised")
assert metrics.bootstrap(wide["ResNet50v2, 50 of 50"] - wide["VGG16, 13 of 15"]).low > 0
assert metrics.bootstrap(wide["VGG16, 13 of 15"] - wide["ResNet50v2, picture enlarged"]).low > 0
assert still_right >= 0.9

# %% [markdown]
# It falls, and below VGG16's. The same weights draw finer lines once the halvings bite less. Enlarging also shows the
# network larger objects, so this is strong evidence and no proof.
#
# Wider lines, and yet less smooth? Smoothness compares signed values. Look at the signs inside the lines.


# %%
def sign_changes(gradient):
    """Of neighbours that are both among the largest 3 % by magnitude, the share whose signs differ; (K, H, W)."""
    m = np.abs(gradient)
    signs = np.sign(gradient) * (m > np.quantile(m, 0.97))
    pairs = (signs[:, :, :-1] * signs[:, :, 1:]), (signs[:, :-1] * signs[:, 1:])
    return sum((product < 0).sum() for product in pairs) / sum((product != 0).sum() for product in pairs)


changes = {kind: np.array([sign_changes(one) for one in gradients]) for kind, gradients in lines.items()}
for kind in ("VGG16, 13 of 15", "ResNet50v2, 50 of 50"):
    print(f"{kind:21} share of strong neighbours that differ in sign: {metrics.bootstrap(changes[kind])}")
assert metrics.bootstrap(changes["ResNet50v2, 50 of 50"] - changes["VGG16, 13 of 15"]).low > 0

# %% [markdown]
# In ResNet50v2 they change more often. Its lines are wide by their magnitude, and rough by their signs.
#
# ## Are the additions to blame?
#
# The thread wondered about the Adds: should they have a rule of their own? Suppose an Add stops negative gradients, as
# a guided ReLU does. For this the block must be rewritten, as in lesson 6.
#
# > **Predict.** Does it help in the learner's net, where 2 of 50 ReLUs are guided? And where all 50 are?


# %%
class ClippedAdd(autograd.Function):
    def forward(self, branch, shortcut):
        return branch + shortcut

    def backward(self, dy):
        return nd.relu(dy), nd.relu(dy)


class Rewritten(HybridBlock):
    """The zoo's BottleneckV2 once more, with a rule for its ReLUs and an addition of our choice."""

    def __init__(self, original, rule, add):
        super().__init__()
        self.original, self.rule, self.add = original, rule, add

    def forward(self, x):
        b = self.original
        activated = cam.blocks.relu(b.bn1(x), self.rule)
        shortcut = b.downsample(activated) if b.downsample else x
        branch = b.conv1(activated)
        branch = b.conv2(cam.blocks.relu(b.bn2(branch), self.rule))
        branch = b.conv3(cam.blocks.relu(b.bn3(branch), self.rule))
        return self.add(branch, shortcut)


def rewritten(rule, add):
    residual = [Rewritten(block, rule, add) for stage in net.features[5:9] for block in stage]
    return exchanged([*net.features[:5], *residual, *net.features[9:]], mend=True)


plus = cam.blocks.Add()  # an autograd Function too: the gradient goes to both, unchanged


def clipped(branch, shortcut):
    return ClippedAdd()(branch, shortcut) * 1  # * 1: lesson 1


adds = {
    "2 of 50": by_mxnet(rewritten("plain", plus), batch, ids),
    "2 of 50, Adds clipped": by_mxnet(rewritten("plain", clipped), batch, ids),
    "50 of 50": by_mxnet(rewritten("guided", plus), batch, ids),
    "50 of 50, Adds clipped": by_mxnet(rewritten("guided", clipped), batch, ids),
}
off = [
    relative_error(adds[kind], cam.guided_backprop(net, batch, target=ids, where=where))
    for kind, where in (("2 of 50", reached), ("50 of 50", None))
]
print(f"rewritten by hand, and cam: relative error {off[0]:.0e} and {off[1]:.0e}")
in_mask = {kind: measure(gradients, ten, 0)[3] for kind, gradients in adds.items()}
for kind, values in in_mask.items():
    print(f"{kind:23} energy in the mask, ten scenes {metrics.bootstrap(values)}")
after_add = [block.gamma for path, block in cam.paths(net).items() if path.endswith("bn1") or path == "features.9"]
smallest = min(gamma.data().min().asscalar() for gamma in after_add)
print(f"smallest factor of the BatchNorms that follow an Add: {smallest:.2f}")

# %%
assert max(off) < 2e-3
assert metrics.bootstrap(in_mask["2 of 50, Adds clipped"] - in_mask["2 of 50"]).low > 0
assert metrics.bootstrap(in_mask["50 of 50"] - in_mask["2 of 50, Adds clipped"]).low > 0
assert smallest > 0 and np.allclose(in_mask["50 of 50, Adds clipped"], in_mask["50 of 50"], atol=1e-3)
assert [f"{in_mask[kind].mean():.3f}" for kind in ("2 of 50", "2 of 50, Adds clipped")] == ["0.366", "0.501"]

# %% [markdown]
# With all 50 ReLUs guided it changes nothing. What arrives at an Add came through a guided ReLU, so it was not
# negative. Then it came through a BatchNorm, whose factors are all positive here, or along the shortcut from the next
# Add. There is nothing left to clip. In the learner's net it helps a good part of the way, from 0.366 to 0.501, because
# an Add meets the negative gradients that 48 ReLUs let through. So the addition is not at fault. It is one more place
# where the missing rule can be made up for.
#
# ## On your own
#
# **1.** ★ Count the ReLUs of other nets of the zoo, and how many of them the recipe reaches: `vgg16`, `resnet50_v1`,
# `mobilenet1_0`, `densenet121`. Where would it have worked?

# %% [markdown] tags=["solution-exercise_1"]
# <details><summary>Hint</summary>
#
# `getattr(vision, name)()` makes a net, which need not be initialised; `reached_by_recipe` is imported above. It leaves out the ReLUs inside Dense layers.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# from mxnet.gluon.model_zoo import vision
#
# counts = {}
# for name in ("vgg16", "resnet50_v1", "resnet50_v2", "mobilenet1_0", "densenet121"):
#     theirs = getattr(vision, name)()
#     counts[name] = len(reached_by_recipe(theirs)), len(cam.relus(theirs))
#     print(f"{name:13} {counts[name][0]:3} of {counts[name][1]:3} ReLUs are reached")
# assert counts["resnet50_v2"] == (2, 50) and counts["resnet50_v1"] == (33, 49) and counts["vgg16"] == (13, 15)
# assert all(counts[name][0] == counts[name][1] for name in ("mobilenet1_0", "densenet121"))
# # The recipe reaches all ReLUs of MobileNet and of DenseNet, and two thirds of ResNet50v1's. There, too, the ReLU after
# # each addition is a function call.
# ```
#
# </details>

# %%
lesson.solution("exercise_1")  # or your own code

# %% [markdown]
# **2.** ★★ Which of the 50 matter? With `where=`, let the guided rule act in one stage only, and measure the energy in
# the mask for the ten scenes. How many ReLUs has each stage?

# %% [markdown] tags=["solution-exercise_2"]
# <details><summary>Hint</summary>
#
# The names of the steps tell the stage: "stage1" to "stage4".
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# by_stage = {"none": (0, cam.image_gradient(net, batch, target=ids))}
# for stage in ("stage1", "stage2", "stage3", "stage4"):
#     chosen = [name for name in every_relu if stage in name]
#     by_stage[stage] = len(chosen), cam.guided_backprop(net, batch, target=ids, where=chosen)
# by_stage["all"] = 50, cam.guided_backprop(net, batch, target=ids)
# by_stage = {stage: (count, measure(gradients, ten, 0)[3]) for stage, (count, gradients) in by_stage.items()}
# for stage, (count, values) in by_stage.items():
#     print(f"{stage:7} {count:2} ReLUs, energy in the mask {metrics.bootstrap(values)}")
# none, all_of_them = by_stage["none"][1], by_stage["all"][1]
# for stage in ("stage1", "stage2", "stage3", "stage4"):
#     assert none.mean() < by_stage[stage][1].mean() < all_of_them.mean()
# # On average each stage helps, and none does what all together do. The stages have different numbers of ReLUs, and with
# # ten scenes the intervals overlap.
# ```
#
# </details>

# %%
lesson.solution("exercise_2")  # or your own code

# %% [markdown]
# **3.** ★★★ Smoothness is cheap. Average the learner's gradient (2 of 50) over 2x2 pixels, and compare its smoothness
# and its energy in the mask with those of 50 of 50. What has blurring mended?

# %% [markdown] tags=["solution-exercise_3"]
# <details><summary>Hint</summary>
#
# `gradient.reshape(3, 112, 2, 112, 2).mean(axis=(2, 4))` averages; `.repeat(2, axis=1)` makes it large again.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# blurred = [
#     gradient.reshape(3, 112, 2, 112, 2).mean(axis=(2, 4)).repeat(2, axis=1).repeat(2, axis=2)
#     for gradient in adds["2 of 50"]
# ]
# for title, gradients in {"2 of 50": adds["2 of 50"], "averaged": blurred, "50 of 50": adds["50 of 50"]}.items():
#     smooth, _, _, energy = measure(gradients, ten, 0)
#     print(f"{title:9} smoothness {smooth.mean():.2f}, energy in the mask {energy.mean():.3f}")
# assert measure(blurred, ten, 0)[0].mean() > measure(adds["50 of 50"], ten, 0)[0].mean()
# assert measure(blurred, ten, 0)[3].mean() < measure(adds["50 of 50"], ten, 0)[3].mean() - 0.1
# # It looks clearer, and is still in the wrong places. Specks are a symptom; the cause is the 48 ReLUs.
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
# **1.** You exchange every `Activation` block of the zoo's ResNet50v2 for a guided one. How many of its ReLUs obey?
#
# - **A.** 16 of 50
# - **B.** 48 of 50
# - **C.** all 50
# - **D.** 2 of 50
#
# <details><summary>Answer</summary>
#
# **D.** 48 ReLUs are function calls inside the residual blocks. An exchange of blocks reaches the first and the last only.
#
# </details>
#
# **2.** How do you find out how many ReLUs a network computes?
#
# - **A.** Look how clear the guided picture is.
# - **B.** Count its convolutions.
# - **C.** Count its `Activation` blocks.
# - **D.** Trace its graph and count the operators.
#
# <details><summary>Answer</summary>
#
# **D.** The graph holds every operator, however it was written. `cam.relus(net)` lists them.
#
# </details>
#
# **3.** In VGG16, why is the guided picture with all 15 ReLUs less specific to the class than with 13?
#
# - **A.** The two ReLUs of the Dense layers have a wrong gradient in MXNet.
# - **B.** It is smoother, and smooth pictures are never specific.
# - **C.** The two ReLUs of the Dense layers throw away what speaks against a class, and there the classes part.
# - **D.** Because 15 is an odd number of sign changes.
#
# <details><summary>Answer</summary>
#
# **C.** Guiding these two alone makes the pictures for two classes nearly the same. The smoothness is equal in both.
#
# </details>
#
# **4.** A picture has a high smoothness. What follows?
#
# - **A.** Nothing about where it lies, or whether the network matters. An edge filter is smooth too.
# - **B.** It lies on the object.
# - **C.** All ReLUs obeyed the guided rule.
# - **D.** The network has learned well.
#
# <details><summary>Answer</summary>
#
# **A.** Smoothness measures specks. An edge filter, which needs no network, has a higher one than any gradient here.
#
# </details>
#
# **5.** All ReLUs are guided. Why does it change nothing to clip negative gradients at the additions too?
#
# - **A.** An addition has no gradient.
# - **B.** What arrives there is never negative.
# - **C.** Because the shortcut goes around it.
# - **D.** The two clips cancel each other.
#
# <details><summary>Answer</summary>
#
# **B.** It came through a guided ReLU, then through a BatchNorm with positive factors, or along the shortcut of the next Add.
#
# </details>

# %% [markdown]
# **Rule of thumb.** Before you trust a guided gradient, count: how many ReLUs does the net compute, and how many did
# your rule reach?
#
# **Next:** [8. Can you trust it?](08_can_you_trust_it.ipynb)
