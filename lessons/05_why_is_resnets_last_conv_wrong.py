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
# # 5. Why is ResNet's "last conv" wrong?
#
# **You will learn** what a residual block hides from Grad-CAM, why the map of a sum is the sum of two maps, and what it
# costs to take one of the two, in each of ResNet50v2's 16 blocks.
#
# **You need** lessons 2 and 3. **It takes** about 50 minutes.
#
# A learner ran MXNet's tutorial "Visualizing Decisions of CNNs" on VGG16 and got good pictures. With ResNet50v2 and
# `net.features[8][2].conv3`, the last convolution of the last block, they came out abnormal. Which layer is right?
# A reply in the forum said: a residual block computes only a *change*. Nobody measured it. You will.

# %%
# %matplotlib inline
import warnings

import cam  # before mxnet, so that MXNet uses every core
from cam import baselines, evaluation, exercises, metrics, plot, scenes
from course import Lesson, compare, draw_intervals, show, tutorials_picture
from diagrams import net_graph

import matplotlib.pyplot as plt
import numpy as np
from mxnet import autograd, nd

lesson = Lesson(5, globals())
warnings.simplefilter("ignore", cam.CamWarning)  # cam warns of the layers of this lesson: see exercise 1
vgg, net = cam.vgg16(), cam.resnet50_v2()
conv5_3, conv3 = "features.28", "features.8.2.conv3"  # the learner's two layers


# %%
def with_mxnets_pooling(x, number):
    """The signed map at VGG16's conv5_3 as the tutorial computes it, with MXNet's own max pooling: numpy (14, 14)."""
    A = vgg.features[:29](x)
    tap = nd.zeros_like(A)  # lesson 2
    tap.attach_grad()
    with autograd.record(train_mode=False):
        logit = vgg.output(vgg.features[29:](A + tap))[0, number]
    logit.backward(train_mode=False)
    return (tap.grad.mean(axis=(2, 3), keepdims=True) * A).sum(axis=1)[0].asnumpy()


# %%
four = [scenes.draw(seed) for seed in scenes.TEST_SEEDS[:4]]
rows = [[one.image for one in four], [], [], []]
strongest = 0
for one in four:
    x, number = cam.load_image(one.image), one.class_ids[0]
    of_vgg = cam.grad_cam(vgg, x, target=number, layer=conv5_3, relu=False)[0]
    of_resnet = cam.grad_cam(net, x, target=number, layer=conv3, relu=False)[0]
    for row, heat in zip(rows[1:], [with_mxnets_pooling(x, number), of_vgg, of_resnet]):
        row.append(tutorials_picture(one.image, heat))
    strongest = max(strongest, np.abs(of_vgg).max(), np.abs(of_resnet).max())
titles = ["scene", "VGG16 conv5_3\nMXNet's pooling", "VGG16 conv5_3\nright pooling", "ResNet50v2\nconv3"]
show(
    plot.grid(rows, titles, [one.labels[0] for one in four], size=1.8),
    alt="Four scenes of two animals, and under each three maps in the tutorial's colours for the animal named above. "
    "VGG16's map with the right pooling covers the animal; with MXNet's it may lie on the other one instead. ResNet50v2's "
    "is a small spot on the animal, or two; for the tiger one of them is on the hog above it.",
)

# %% [markdown]
# *What to see: the learner's pictures, drawn as the tutorial draws them, for the first four test scenes. Pink is the
# largest value of the map, light blue its smallest. VGG16 with the right pooling, third row, colours most of the named
# animal. ResNet50v2 marks a spot on it, or two, and for the tiger one on its neighbour. The second row has MXNet's
# faulty max pooling, whose gradient changes from run to run (lesson 4): the map may be nearly the third row's, or lie
# on the other animal.*
#
# ## What reproduces, and what does not
#
# Here is the share on the right object (lesson 3), for 40 scenes and both objects. Beside the learner's two layers stand
# later ones: VGG16's ReLU behind conv5_3, the **Add** that ends the block of `conv3`, and the input of ResNet50v2's
# global average pooling, one BatchNorm and one ReLU behind the Add.
#
# > **Predict.** By the figure's last two rows: whose maps put the larger share on the right object, those of VGG16's
# > conv5_3 or those of ResNet50v2's `conv3`?

# %%
places = [conv3, "features.8.2", "features.10"]
at_vgg = evaluation.evaluate(vgg, scenes.TEST_SEEDS[:40], [conv5_3, "features.29"])
at_resnet = evaluation.evaluate(net, scenes.TEST_SEEDS[:40], places)
forty = {
    "VGG16, conv5_3 (the learner's)": at_vgg[conv5_3],
    "VGG16, relu5_3": at_vgg["features.29"],
    "ResNet50v2, conv3 (the learner's)": at_resnet[conv3],
    "ResNet50v2, Add of the same block": at_resnet["features.8.2"],
    "ResNet50v2, input of the pooling": at_resnet["features.10"],
}
for title, one in forty.items():
    print(f"{title:34} share {one.interval('share')}, below one half: {(one.share < 0.5).mean():.0%}")
print(f"largest magnitude in the maps of the figure's last two rows: {strongest:.2f}; the tutorial adds 1")

# %%
shares = [round(one.share.mean(), 3) for one in forty.values()]
assert shares == [0.715, 0.947, 0.81, 0.942, 0.943]
assert [round((one.share < 0.5).mean(), 2) for one in forty.values()] == [0.14, 0.02, 0.11, 0, 0]
assert f"{strongest:.2f}" == "0.12"

# %% [markdown]
# - **It reproduces** that `conv3` shows spots, and that it fails: in 11 % of its maps more lies on the wrong object
#   than on the right one, or nothing on either.
# - **It does not reproduce** that VGG16's map is the better one. conv5_3 lacks its ReLU. Its share is 0.715, below
#   `conv3`'s 0.810, and 14 % of its maps fail; one step later, at relu5_3, the share is 0.947. The tutorial's drawing
#   hides this. It adds 1 before its ReLU, and these maps are at most 0.12. So nothing is cut off: it draws the signed
#   map, and only the highest values are pink.
# - **So do not compare the two networks.** Compare `conv3` with the Add of its own block, the sum that it goes into.
#   Between the two there is one addition and nothing else. The share goes from 0.810 to 0.942, and no map fails.
#
# Here are the four maps of the 80 where `conv3` does worst, drawn from zero upwards.

# %%
worst = [
    (int(at_resnet[conv3].seed[i]), int(at_resnet[conv3].target[i])) for i in np.argsort(at_resnet[conv3].share)[:4]
]
rows, titles = [[], [], []], []
for seed, target in worst:
    scene = scenes.draw(seed)
    maps = cam.grad_cam(net, cam.load_image(scene.image), target=scene.labels[target], layer=places[:2])
    rows[0].append(scene.image)
    for row, place in zip(rows[1:], places):
        row.append(plot.overlay(scene.image, maps[place][0]))
    titles.append(f"scene {seed}: {scene.labels[target]}")
show(
    plot.grid(rows, ["scene", "conv3", "its Add"], titles, size=1.9),
    alt="Four scenes. At conv3 two maps have a spot at the other object, and two are empty. At the Add of the same block "
    "each map lies on the object that is asked for.",
)
assert (10, 1) in worst and np.sort(at_resnet[conv3].share)[3] < 0.1

# %% [markdown]
# *What to see: the same block, the same pass. At `conv3` the evidence is at the other object, or there is none. At the
# Add it is on the named one. The network knew it all the time.*
#
# ## The idea in words
#
# A layer of VGG16 replaces its input. A residual block does not. It computes a *change* in its **branch** and adds it
# to what came in, which goes around the branch by the **shortcut**. `conv3` is the end of the branch. Asking it "where
# is the zebra?" is like asking for a story and getting its list of corrections.

# %%
show(
    net_graph(
        net, "features.8.1", "features.8.2",
        labels={"features.8.1": "block 8.1", conv3: "conv3", "features.8.2": "Add"},
        notes={"features.8.1": "the shortcut hands it on", conv3: "the end of the branch", "features.8.2": "the sum"},
    ),
    alt="The last residual block from left to right. Block 8.1's output goes along a shortcut straight to the addition, "
    "and through three rows of BatchNorm, ReLU and convolution, of which the last is conv3.",
)  # fmt: skip

# %% [markdown]
# *What to see: the last block of ResNet50v2, `features.8.2`, drawn from the operators that the network computes. Orange
# marks a map that everything passes through, blue a map with a way around it. `conv3` is blue.*
#
# ## The formula
#
# A block computes $z = s + f$ with the shortcut $s$ and the branch $f$
# ([He et al. 2016](https://arxiv.org/abs/1603.05027)). The derivative of a sum with respect to each of its terms is 1.
# So one and the same gradient of the logit $y^c$ reaches both:
#
# $$\frac{\partial y^c}{\partial s} = \frac{\partial y^c}{\partial f} = \frac{\partial y^c}{\partial z}$$
#
# Grad-CAM's weights $\alpha_k$ are means of that gradient. They are the same for all three, so before the final ReLU
#
# $$\underbrace{\sum_k \alpha_k z_k}_{\text{map(Add)}} \;=\; \underbrace{\sum_k \alpha_k f_k}_{\text{map(branch)}} \;+\;
# \underbrace{\sum_k \alpha_k s_k}_{\text{map(shortcut)}}$$
#
# ## By hand: two channels of 2x2
#
# In channel 0 the shortcut brings a zebra at the upper left. The branch corrects: a little less there, a little more at
# the lower right. The class wants channel 0 and dislikes channel 1, with the weights 1 and -1.

# %%
shortcut = np.array([[[8, 0], [0, 0]], [[0, 0], [2, 0]]], np.float32)
branch = np.array([[[-1, 0], [0, 2]], [[0, 0], [0, 0]]], np.float32)
alpha = np.array([1, -1], np.float32)[:, None, None]

# %% [markdown]
# > **Predict.** Where is the maximum of map(branch), and where that of map(Add)?
#
# Write the map before its ReLU, $\sum_k \alpha_k A_k$.


# %%
def signed_map(alpha, A):
    """alpha (..., K, 1, 1), A (..., K, h, w); the result is (..., h, w)."""
    return ...  # your code


# %% [markdown] tags=["solution-signed_map"]
# <details><summary>Hint</summary>
#
# Multiply, then add over the axis of the channels, which is the third from the end.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def signed_map(alpha, A):
#     return (alpha * A).sum(axis=-3)
# ```
#
# </details>

# %%
signed_map = lesson.fill("signed_map", signed_map)
for title, terms in {"branch": branch, "shortcut": shortcut, "sum": branch + shortcut}.items():
    print(f"{title:8} {signed_map(alpha, terms).tolist()}")
likely = {
    "you forgot the weights": [[7, 0], [2, 2]],
    "add up the channels, do not average them": [[3.5, 0], [-1, 1]],
    "this is the map before its ReLU: keep what is negative": [[7, 0], [0, 2]],
}
exercises.check("map(Add)", signed_map(alpha, branch + shortcut), [[7, 0], [-2, 2]], likely)
exercises.check("map(branch)", signed_map(alpha, branch), [[-1, 0], [0, 2]])
exercises.check("map(branch), one more axis in front", signed_map(alpha, branch[None]), [[[-1, 0], [0, 2]]])

# %% [markdown]
# map(branch) has its maximum at the lower right, the one place where the branch *adds* something. The zebra stands at
# the upper left, and there map(Add) has its maximum.
#
# ## The real network: three pictures that add up
#
# The last block, for the tiger beside the drake. One recording (lesson 2) holds the features and gradients of all three
# places. The shortcut carries the output of block 8.1, unchanged.

# %%
scene, target = scenes.draw(seed=10), 1
x, label = cam.load_image(scene.image), scene.labels[target]
three = {"branch": conv3, "shortcut": "features.8.1", "sum": "features.8.2"}
rec = cam.record(net, x, [*three.values(), "features.8.2.bn1"])
gradient = {title: rec.gradient(place, target=label) for title, place in three.items()}  # (1, 512, 7, 7) each
compare("gradient at the branch and at the sum", gradient["branch"], gradient["sum"])
assert np.array_equal(gradient["branch"], gradient["sum"])

# %% [markdown]
# Now the weights, from the gradient at the sum.

# %%
alpha = ...  # your code: one number per channel, shape (1, 512, 1, 1)

# %% [markdown] tags=["solution-alpha"]
# <details><summary>Hint</summary>
#
# Average over height and width, the axes 2 and 3, and keep them: `keepdims=True`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# alpha = gradient["sum"].mean(axis=(2, 3), keepdims=True)
# ```
#
# </details>

# %%
alpha = lesson.fill("alpha", alpha)
likely = {
    "that is the sum over the positions; take the mean": gradient["sum"].sum(axis=(2, 3), keepdims=True),
    "that is the mean over the channels; take it over the positions": gradient["sum"].mean(axis=1, keepdims=True),
    "keep the two axes, with keepdims=True": gradient["sum"].mean(axis=(2, 3)),
    "take the gradient at the sum, not at block 8.1": gradient["shortcut"].mean(axis=(2, 3), keepdims=True),
}
exercises.check("alpha", alpha, gradient["sum"].mean(axis=(2, 3), keepdims=True), likely)
mine = {title: signed_map(alpha, rec.features(place))[0] for title, place in three.items()}  # (7, 7) each
parts = cam.decompose(net, x, "features.8.2", target=label)
compare("branch + shortcut, and the sum", mine["branch"] + mine["shortcut"], mine["sum"])
for title, heat in mine.items():
    compare(f"{title}, mine and that of cam.decompose", heat, parts[title][0])

# %%
assert np.allclose(mine["branch"] + mine["shortcut"], mine["sum"], atol=1e-5)
assert all(np.allclose(heat, parts[title][0], atol=1e-5) for title, heat in mine.items())
at_conv3 = cam.grad_cam(net, x, target=label, layer=conv3)[0]
assert np.allclose(at_conv3, np.maximum(mine["branch"], 0), atol=1e-6)  # the learner's map is the branch's part
at_block = cam.grad_cam(net, x, target=label, layer=net.features[8][2])[0]
assert np.allclose(at_block, np.maximum(mine["sum"], 0), atol=1e-5)  # the output of a block is its Add

# %%
limit = max(np.abs(heat).max() for heat in mine.values())
figure, axes = plt.subplots(1, 4, figsize=(11.5, 3), layout="constrained")
axes[0].imshow(scene.image)
axes[0].set(title=f"scene, class '{label}'", xticks=[], yticks=[])
for axis, heat, title in zip(axes[1:], mine.values(), ("branch (conv3)", "+ shortcut", "= Add")):
    drawn = plot.draw_signed(axis, heat, 224, limit)
    axis.contour(scene.masks[target], [0.5], colors="black", linewidths=1)
    axis.set_title(title)
figure.colorbar(drawn, ax=axes, label=f"evidence for '{label}'", shrink=0.85)
show(
    figure,
    alt="A scene with a tiger and a drake, and three signed maps for the tiger: the branch's is nearly white, the "
    "shortcut's and the sum's are orange on the tiger and faintly purple elsewhere.",
)

# %% [markdown]
# *What to see: three maps with one common scale. Orange speaks for the tiger, purple against it, hatched where it is
# more than a trace; the black line is the tiger's true outline. The branch's map is next to nothing. The spot at the
# drake's feet, two figures above, is this nothing, stretched to the full range of colours.*
#
# By the formula the shortcut gets the gradient at the sum. But at block 8.1 you find another one. Its output goes two
# ways: along the shortcut, and through the BatchNorm `bn1` into the branch. Each way sends a gradient back, and they
# add up. A BatchNorm multiplies each channel by a factor, on the way back too. So you can take off what came through
# the branch.

# %%
norm = net.features[8][2].bn1
deviation = (norm.running_var.data() + norm._kwargs["eps"]).sqrt()
factor = (norm.gamma.data() / deviation).asnumpy()[:, None, None]  # one number per channel
from_the_branch = factor * rec.gradient("features.8.2.bn1", target=label)
by_the_shortcut = ...  # your code: what came to 8.1 along the shortcut alone

# %% [markdown] tags=["solution-by_the_shortcut"]
# <details><summary>Hint</summary>
#
# `gradient["shortcut"]` is all that arrives at 8.1, and `from_the_branch` is one of its two terms.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# by_the_shortcut = gradient["shortcut"] - from_the_branch
# ```
#
# </details>

# %%
by_the_shortcut = lesson.fill("by_the_shortcut", by_the_shortcut)
likely = {
    "this is all that arrives at 8.1": gradient["shortcut"],
    "this came through the branch": from_the_branch,
    "take the branch's term off": gradient["shortcut"] + from_the_branch,
}
exercises.check("gradient along the shortcut", by_the_shortcut, gradient["sum"], likely)
compare("by the shortcut alone, and the gradient at the sum", by_the_shortcut, gradient["sum"])
compare("all that arrives at 8.1, and the gradient at the sum", gradient["shortcut"], gradient["sum"])
assert not np.allclose(gradient["shortcut"], gradient["sum"], atol=1e-3)

# %% [markdown]
# The formula holds: along the shortcut came the gradient at the sum.
#
# ## Where does the evidence come in?
#
# > **Predict.** Of the evidence that the last Add has on the named object, how much comes through the branch: most of
# > it, a half, or less than a quarter?

# %%
twenty = [scenes.draw(seed) for seed in scenes.TEST_SEEDS[:20]]
batch = nd.concat(*(cam.load_image(one.image) for one in twenty), dim=0)  # (20, 3, 224, 224)
ids = [one.class_ids[0] for one in twenty]


def on_object(maps):
    """The mean of each map over its scene's first object: numpy (20,)."""
    return np.array([cam.resize_map(heat, 224)[one.masks[0]].mean() for heat, one in zip(maps, twenty)])


on_the_object = {
    title: on_object(maps) for title, maps in cam.decompose(net, batch, "features.8.2", target=ids).items()
}
for title, values in on_the_object.items():
    print(f"{title:8} mean evidence on the named object, 20 scenes: {metrics.bootstrap(values)}")
of_the_branch = on_the_object["branch"].mean() / on_the_object["sum"].mean()
print(f"the branch's part: {of_the_branch:.0%}")
assert f"{of_the_branch:.0%}" == "14%"
assert metrics.bootstrap(on_the_object["shortcut"] - on_the_object["branch"]).low > 0

# %% [markdown]
# Less than a quarter: 14 %. The rest passes by on the shortcut, and `conv3` does not contain it.
#
# ## What does it cost? All 16 blocks, 100 scenes, both objects
#
# Here are 200 maps for the `conv3` of each block and for its Add. The net has four stages, `features.5` to
# `features.8`. A map that shows nothing on either object counts as 0. The edges of lesson 3 do not know the class, so
# their share is one half.
#
# > **Predict.** Deeper layers know more about the class. Will the maps get better from block to block, up to the last
# > one? And will `conv3` be behind its Add in every block?

# %%
blocks = [f"features.{stage}.{index}" for stage, size in ((5, 3), (6, 4), (7, 6), (8, 3)) for index in range(size)]
seeds = scenes.TEST_SEEDS[:100]
conv3s = {name: f"{name}.conv3" for name in blocks}
measured = evaluation.evaluate(net, seeds, [*conv3s.values(), *blocks, "features.10"])
print(f"{'layer':18} {'share':20} {'energy in the mask':20} {'within 15 pixels':20} nothing  share of the others")
for name in [layer for block in blocks[-3:] for layer in (conv3s[block], block)] + ["features.10"]:
    one = measured[name]
    columns = [one.interval(measure) for measure in ("share", "energy", "near")]
    something = one.on_objects > 0
    print(f"{name:18}", *(f"{column!s:20}" for column in columns), end=" ")
    print(f"{1 - something.mean():.2f}     {one.share[something].mean():.3f}")
(edges,) = evaluation.compare(net, {"edges": baselines.edges}, None, seeds)
print(f"{'edges, no network':18}", *(f"{edges.interval(measure)!s:20}" for measure in ("share", "energy", "near")))
print(f"by chance: energy {edges.area.mean():.3f}, share about one half")

# %%
figure, axis = plt.subplots(figsize=(10, 3.4), layout="constrained")
at = np.arange(16)
of_conv3s = [measured[conv3s[name]].interval("share") for name in blocks]
of_adds = [measured[name].interval("share") for name in blocks]
draw_intervals(axis, at - 0.12, of_conv3s, fmt="o", color="tab:blue", label="conv3")
draw_intervals(axis, at + 0.12, of_adds, fmt="D", color="tab:orange", label="its Add")
axis.axhline(0.5, linestyle=":", color="grey", label="by chance")
short = [name.removeprefix("features.") for name in blocks]
axis.set_xticks(at, short)
axis.set(xlabel="block (8.2 is features.8.2)", ylabel="share on the right object", ylim=(0, 1))
axis.legend(loc="lower left", ncols=3, fontsize=8)
show(
    figure,
    alt="Share on the right object for the conv3 and the Add of 16 blocks. Up to block 6.3 all are between 0.5 and 0.6. "
    "From 7.1 on the Add is above conv3, except in 8.0; at 8.1 conv3 falls to one half while the Add is above 0.9.",
)

# %% [markdown]
# *What to see: means with 95 % intervals. Up to 6.3, the end of stage 2, both hardly know which object is meant. Then
# the Adds rise from stage to stage, to 0.93. `conv3` does not follow: it is behind in 7.1 to 7.5, in 8.1 and in 8.2,
# but not in 7.0 and 8.0. At 8.2 `conv3` has 0.801 and the Add 0.934; above it was 0.810 and 0.942, for the first 40 of
# these 100 scenes.*

# %%
behind = {name: measured[name].interval("share", minus=measured[conv3s[name]]) for name in blocks}
late = [name for name in blocks if name.startswith(("features.7", "features.8"))]
assert all(0.49 < one.mean < 0.6 for pair in zip(of_conv3s[:7], of_adds[:7]) for one in pair)
assert [name for name in late if behind[name].low > 0] == [name for name in late if not name.endswith(".0")]
assert all(-0.02 < behind[name].mean < 0 for name in late if name.endswith(".0"))
ends = [measured[f"features.{end}"].share.mean() for end in ("5.2", "6.3", "7.5", "8.2")]
assert ends == sorted(ends) and measured["features.7.5"].share.mean() < measured["features.7.0"].share.mean()

# %%
last, add, forum = (measured[name] for name in ("features.10", "features.8.2", conv3))
print("last Add minus last conv3, in pairs:")
for measure, title in {
    "share": "share on the right object",
    "near": "maximum within 15 pixels",
    "energy": "energy in the mask",
}.items():
    difference = add.interval(measure, minus=forum)
    print(f"  {title:26} {difference}")
    assert difference.low > 0
assert [round(one.share.mean(), 3) for one in (forum, add, last)] == [0.801, 0.934, 0.935]
assert [round(one.share[:80].mean(), 3) for one in (forum, add)] == [0.81, 0.942]  # the first 40 scenes, both objects

# %%
middle = measured[conv3s["features.8.1"]]
something = middle.on_objects > 0
print(f"conv3 of block 8.1: {1 - something.mean():.0%} of its maps show nothing on either object")
assert round(1 - something.mean(), 2) == 0.48
assert metrics.bootstrap(middle.share[something], clusters=middle.seed[something]).low > 0.9

# %% [markdown]
# Neither holds. The Adds get better from stage to stage, though not from block to block, and in the first block of
# stages 3 and 4 `conv3` is even a little better than its Add. In 8.1, 48 % of the maps at `conv3` show nothing on either
# object; the others are right. What decides?
#
# > **Predict.** Look at the graph of a block once more. When will `conv3` have most of what the Add has?

# %%
rec = cam.record(net, batch, [*conv3s.values(), *blocks], image_gradient=False)
through = {"branch": [], "shortcut": []}  # for each block: evidence on the object, in units of the map's mean magnitude
for name in blocks:
    alpha = rec.gradient(name, target=ids).mean(axis=(2, 3), keepdims=True)
    at_add = signed_map(alpha, rec.features(name))  # (20, h, w)
    of_branch = signed_map(alpha, rec.features(conv3s[name]))
    unit = np.abs(at_add).mean()
    through["branch"].append(on_object(of_branch).mean() / unit)
    through["shortcut"].append(on_object(at_add - of_branch).mean() / unit)

# %%
figure, axis = plt.subplots(figsize=(10, 3), layout="constrained")
axis.bar(at - 0.2, through["branch"], 0.4, color="tab:blue", label="through the branch")
axis.bar(at + 0.2, through["shortcut"], 0.4, color="tab:grey", label="by the shortcut", hatch="//")
axis.axhline(0, color="black", linewidth=0.8)
axis.set_xticks(at, short)
axis.set(xlabel="block", ylabel="evidence on the object")
axis.legend(loc="upper left", fontsize=8)
show(
    figure,
    alt="Two bars for each of 16 blocks. In 7.0 and 8.0 the branch brings most of the evidence, in all other blocks of "
    "these stages the shortcut. In block 8.1 the branch's bar is negative.",
)

# %% [markdown]
# *What to see: the evidence on the named object that reaches each Add through its branch and by its shortcut, over 20
# scenes, in units of the mean magnitude of the Add's map. In 7.0 and 8.0 the branch brings most of it. In the other
# blocks of these stages most passes by.*

# %%
part = {name: f / (f + s) for name, f, s in zip(blocks, through["branch"], through["shortcut"])}
for name in late:
    print(f"{name}  branch's part {part[name]:5.0%}   conv3 behind its Add by {behind[name]}")
assert all(0.7 < part[name] < 0.8 for name in late if name.endswith(".0"))
assert all(part[name] < 0.5 for name in late if not name.endswith(".0")) and part["features.8.1"] < 0

# %% [markdown]
# When the shortcut brings little. In stages 3 and 4 that decides *whether* `conv3` falls behind its Add, though not by
# how much. In their first blocks the shortcut is a convolution that changes the shape, and the branch brings about
# three quarters of the evidence. In all their other blocks the shortcut brings more than the branch, and `conv3` lacks
# that. In 8.1 the branch even speaks *against* the object: it takes back a part of what 8.0 had said.
#
# In VGG16 nothing passes by. "Take the last convolution" was always short for "take the last map that everything passes
# through". VGG16 just never told the two apart.
#
# For the learner the mend is to say less: `net.features[8][2]`, the block, in place of `net.features[8][2].conv3`. What a
# block puts out is its Add.
#
# ## On your own
#
# **1.** ★ Does `cam` let you fall into the trap? Call `cam.grad_cam` with the learner's layer and catch the warning.

# %% [markdown] tags=["solution-exercise_1"]
# <details><summary>Hint</summary>
#
# `warnings.catch_warnings(record=True)` gives a list; set the filter to "always" inside.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# with warnings.catch_warnings(record=True) as caught:
#     warnings.simplefilter("always")
#     cam.grad_cam(net, x, target=label, layer=net.features[8][2].conv3)
# print(caught[0].message)
# assert caught[0].category is cam.LayerWarning and "the whole map after it is features.8" in str(caught[0].message)
# # features.8 is stage 4. Its output is the Add of its last block, so features.8 and features.8.2 are one map.
# ```
#
# </details>

# %%
lesson.solution("exercise_1")  # or your own code

# %% [markdown]
# **2.** ★★ If the last branch only retouches, the network should do without it. Load the net once more, set the weights
# of the last `conv3` to zero, and compare the accuracy on scenes with two objects. Then do the same in 8.0.

# %% [markdown] tags=["solution-exercise_2"]
# <details><summary>Hint</summary>
#
# `again.features[8][2].conv3.weight.set_data(...)`, and `evaluation.accuracy(again, seeds[:40], objects=2)`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# accuracy = {"as it is": evaluation.accuracy(net, seeds[:40], objects=2)}
# for index in (2, 0):
#     again = cam.resnet50_v2()
#     weight = again.features[8][index].conv3.weight
#     weight.set_data(nd.zeros_like(weight.data()))
#     accuracy[f"without the branch of 8.{index}"] = evaluation.accuracy(again, seeds[:40], objects=2)
# for title, value in accuracy.items():
#     print(f"{title:26} {value:.2f}")
# assert accuracy["without the branch of 8.2"] > 0.9 > accuracy["without the branch of 8.0"]
# # The last branch can go. That of 8.0 cannot: it brings in what its own shortcut, a convolution, leaves out.
# ```
#
# </details>

# %%
lesson.solution("exercise_2")  # or your own code

# %% [markdown]
# **3.** ★★★ In the mean energy, `conv3` is close to the pooling's input, `features.10`. Split the 200 maps by whether
# `conv3`'s share is at least one half, and compare the energy in the two groups. What does the mean hide?

# %% [markdown] tags=["solution-exercise_3"]
# <details><summary>Hint</summary>
#
# `forum.share >= 0.5` gives one of the two groups; `forum.energy[group].mean()` is its energy.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# right = forum.share >= 0.5
# for title, group in (("conv3 has the right object", right), ("conv3 has it not", ~right)):
#     energy = [one.energy[group].mean() for one in (forum, last)]
#     print(f"{title:27} {group.sum():3} maps, energy: conv3 {energy[0]:.3f}, input of the pooling {energy[1]:.3f}")
# assert metrics.bootstrap((forum.energy - last.energy)[right], clusters=forum.seed[right]).low > 0
# # Where conv3 has the right object it puts even more of its energy inside the mask. In the other maps it puts far less,
# # as must be, since they were chosen by its failures. The mean averages the two away: look at the failures too.
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
# **1.** A residual block computes z = s + f. Which gradient does the addition hand to the branch f?
#
# - **A.** The part of it that the branch has caused.
# - **B.** The gradient at z times the last convolution's weights.
# - **C.** One half of it, since there are two terms.
# - **D.** The gradient that arrives at z, unchanged.
#
# <details><summary>Answer</summary>
#
# **D.** The derivative of a sum with respect to each term is 1. Nothing is shared out: both terms get all of it.
#
# </details>
#
# **2.** Grad-CAM at the `conv3` of a block is nearly empty on the animal. What do you know?
#
# - **A.** The gradient is wrong at this layer.
# - **B.** This block changes little there. The evidence may have come by the shortcut.
# - **C.** The class has a small probability.
# - **D.** The network does not see the animal.
#
# <details><summary>Answer</summary>
#
# **B.** The map of the sum is the map of the branch plus that of the shortcut. An empty branch says nothing about the sum.
#
# </details>
#
# **3.** Before the final ReLU, map(Add) = map(branch) + map(shortcut). Why does it hold only with one common set of weights?
#
# - **A.** Because the weights must all be positive.
# - **B.** Because a BatchNorm follows the addition.
# - **C.** The sum over the channels is linear in the features, but only for fixed weights.
# - **D.** It holds for any weights, also different ones.
#
# <details><summary>Answer</summary>
#
# **C.** Each map is the sum of alpha times features. If alpha is the same, the features may be added first.
#
# </details>
#
# **4.** Why does the comparison of VGG16's conv5_3 with ResNet50v2's conv3 say little about residual blocks?
#
# - **A.** VGG16 knows more classes.
# - **B.** Because conv5_3 has more channels.
# - **C.** Two networks and two kinds of layers differ in it at once.
# - **D.** It says much, since both are the last convolution.
#
# <details><summary>Answer</summary>
#
# **C.** conv5_3 lacks its ReLU, conv3 its shortcut. The Add of the same block differs from conv3 by one addition alone.
#
# </details>
#
# **5.** In block 8.0, the first of stage 4, conv3 is as good as its Add. Why?
#
# - **A.** Its map is finer than the later ones.
# - **B.** The first block has no ReLU.
# - **C.** Most of the evidence comes in through the branch there.
# - **D.** Its shortcut is empty.
#
# <details><summary>Answer</summary>
#
# **C.** Its shortcut is a convolution that changes the shape and brings only a quarter. What passes by is what conv3 lacks.
#
# </details>

# %% [markdown]
# **Rule of thumb.** A convolution inside a residual branch shows what its block *changes*, not what the network *has*.
# Ask the sum. Better, ask what the classifier is given.
#
# **Read more.** He, Zhang, Ren and Sun, [Identity mappings in deep residual networks](https://arxiv.org/abs/1603.05027),
# 2016. Veit, Wilber and Belongie, [Residual networks behave like ensembles of relatively shallow
# networks](https://arxiv.org/abs/1605.06431), 2016: what a network does without one of its branches, as in exercise 2.
#
# **Next:** [6. Which layer, then?](06_which_layer_then.ipynb)
