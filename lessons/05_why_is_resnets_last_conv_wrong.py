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
# **You will learn** what a residual block hides from Grad-CAM; why the map of a sum is the sum of two maps; how large
# the part is that a convolution sees; and what that costs, in numbers, for every one of ResNet50v2's 16 blocks.
#
# **You need** lessons 2 and 3. **It takes** about 35 minutes.
#
# A learner ran MXNet's tutorial on VGG16 and got good pictures. Then the same with ResNet50v2 and the layer
# `net.features[8][2].conv3`, the last convolution before the classifier, as the recipe says. The pictures came out
# abnormal. The learner asked in the forum which layer is right. One reply gave the idea of this lesson: a residual
# block computes only a *change* to the feature map. Nobody showed it, or measured it. This lesson does; the next one
# finds the right layer.

# %%
# %matplotlib inline
import warnings

import cam
from cam import metrics, plot, scenes
from course import compare

import matplotlib.pyplot as plt
import numpy as np
from mxnet import nd

# %% [markdown]
# ## The forum's picture
#
# > **Predict.** Both networks recognise the objects in these scenes. We take VGG16's last convolution, after its ReLU
# > as in lesson 3, and ResNet50v2's last convolution, which has no ReLU after it. Will the maps look alike?

# %%
vgg, net = cam.vgg16(), cam.resnet50_v2()
conv3 = net.features[8][2].conv3
shown = [scenes.draw(seed) for seed in scenes.TEST_SEEDS[:4]]
rows = [[], [], []]
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # cam warns about this layer, as exercise 1 shows
    for scene in shown:
        x, label = cam.load_image(scene.image), scene.labels[0]
        rows[0].append(scene.image)
        rows[1].append(plot.overlay(scene.image, cam.grad_cam(vgg, x, label)[0]))
        rows[2].append(plot.overlay(scene.image, cam.grad_cam(net, x, label, conv3)[0]))
plot.grid(rows, ["scene", "VGG16\nrelu5_3", "ResNet50v2\nlast conv3"], [scene.labels[0] for scene in shown], size=2.2)

# %% [markdown]
# *What to see: the first four test scenes and, for the object named above each column, Grad-CAM at VGG16's last
# convolution (after its ReLU) and at ResNet50v2's last one. VGG16's evidence covers the named object. ResNet50v2's last
# `conv3` finds a spot on it, and in the third scene half of its evidence is on the hog.*
#
# Four pictures could be chance, good or bad. Here are the shares on the right object for forty scenes and both objects,
# and the scenes where `conv3` does worst. Below it stands Grad-CAM at the whole last feature map of the same network:
# `features.10`, the input of the global average pooling (GAP).

# %%
layers = ["features.8.2.conv3", "features.10"]
forty = {"VGG16, relu5_3": metrics.evaluate(vgg, scenes.TEST_SEEDS[:40])}
both = metrics.evaluate(net, scenes.TEST_SEEDS[:40], layers)
forty["ResNet50v2, last conv3"], forty["ResNet50v2, GAP's input"] = (both[layer] for layer in layers)
for name, one in forty.items():
    wrong = (one.share < 0.5).mean()
    print(
        f"{name:23} share {metrics.bootstrap(one.share)}, most of the evidence on the wrong object or none: {wrong:.0%}"
    )

# %%
at_branch = both["features.8.2.conv3"]
worst = [(int(at_branch.seed[row]), int(at_branch.target[row])) for row in np.argsort(at_branch.share)[:4]]
rows, titles = [[], [], []], []
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    for seed, target in worst:
        scene = scenes.draw(seed)
        maps = cam.grad_cam(net, cam.load_image(scene.image), scene.labels[target], layers)
        rows[0].append(scene.image)
        for row, layer in zip(rows[1:], layers):
            row.append(plot.overlay(scene.image, maps[layer][0]))
        titles.append(f"scene {seed}: {scene.labels[target]}")
plot.grid(rows, ["scene", "last conv3", "GAP's input"], titles, size=2.2)

# %% [markdown]
# *What to see: of forty scenes and both objects, the four where the map at the last `conv3` (second row) does worst,
# and the map at GAP's input of the same pass (third row). Such pictures are abnormal in the way the learner may have
# meant: `conv3` shows the other object, or nothing at all, while the network knows very well where the named one is.*
# (An empty map did not look empty in the tutorial: its code adds 1 to every map before the ReLU, and stretches whatever
# is there to the full range of colours.)

# %%
failures = {name: (one.share < 0.5).mean() for name, one in forty.items()}
assert failures["ResNet50v2, last conv3"] > 0.05 + max(failures["ResNet50v2, GAP's input"], failures["VGG16, relu5_3"])

# %% [markdown]
# ## The idea in words
#
# A layer of VGG16 replaces its input by something new. A residual block does not: it computes a *change* and adds it to
# what came in. What goes on to the classifier is the sum. `conv3` is the end of the branch that computes the change.
# The branch reads the whole of its input, but what it hands on is only the correction. Asking `conv3` "where is the
# zebra?" is like asking for a story and getting the list of its corrections.
#
# ## The formula
#
# A block of ResNet50v2 computes (He et al. 2016) $y = s + f$ with the shortcut $s$ (the block's input, where its shape
# allows) and the branch $f$ (the output of `conv3`). The derivative of a sum with respect to each of its terms is 1, so
# one gradient arrives at all three:
#
# $$\frac{\partial y^c}{\partial s} = \frac{\partial y^c}{\partial f} = \frac{\partial y^c}{\partial y}$$
#
# The weights $\alpha_k$ of Grad-CAM are means of that gradient, so they are the same for all three, and before the
# final ReLU
#
# $$\underbrace{\sum_k \alpha_k y_k}_{\text{map(Add)}} \;=\; \underbrace{\sum_k \alpha_k f_k}_{\text{map(branch)}} \;+\;
# \underbrace{\sum_k \alpha_k s_k}_{\text{map(shortcut)}}$$

# %% [markdown]
# ## By hand: two channels of 2x2
#
# The shortcut brings a zebra at the upper left (channel 0). The branch corrects: a little less there, a little more at
# the lower right. The class wants channel 0 (weight 1) and dislikes channel 1 (weight -1).

# %%
shortcut = np.array([[[8, 0], [0, 0]], [[0, 0], [2, 0]]], np.float32)
branch = np.array([[[-1, 0], [0, 2]], [[0, 0], [0, 0]]], np.float32)
alpha = np.array([1, -1], np.float32)[:, None, None]

# %% [markdown]
# > **Predict.** Where is the maximum of map(branch), and where that of map(Add)?

# %%
by_hand = {
    "branch": (alpha * branch).sum(axis=0),
    "shortcut": (alpha * shortcut).sum(axis=0),
    "sum": (alpha * (branch + shortcut)).sum(axis=0),
}
for name, heat in by_hand.items():
    print(f"{name:8} {heat.tolist()}")

# %%
assert np.array_equal(by_hand["branch"] + by_hand["shortcut"], by_hand["sum"])
assert by_hand["branch"].argmax() == 3 and by_hand["sum"].argmax() == 0

# %% [markdown]
# The branch points at the lower right, the one place where it *adds* something. The zebra stands at the upper left.
#
# ## The real network: three pictures that add up
#
# The last block of ResNet50v2, for one of the four scenes above. First with what lesson 2 built, a recording: one
# forward pass gives the features and the gradients of all three.

# %%
scene = scenes.draw(seed=10)
target = scene.labels.index("tiger")
assert (10, target) in worst
x, label = cam.load_image(scene.image), scene.labels[target]
block = "features.8.2"
rec = cam.record(net, x, [f"{block}.conv3", f"{block}.shortcut", f"{block}.add"])
gradients = [rec.gradient(layer, label) for layer in rec.layers]
compare("gradient at the branch and at the sum  ", gradients[0], gradients[2])
compare("gradient at the shortcut and at the sum", gradients[1], gradients[2])
alpha = gradients[2].mean(axis=(2, 3), keepdims=True)  # (1, 512, 1, 1)
mine = [(alpha * rec.features(layer)).sum(axis=1)[0] for layer in rec.layers]  # three of (7, 7)

# %%
assert np.array_equal(gradients[0], gradients[2]) and np.array_equal(gradients[1], gradients[2])
compare("branch + shortcut, and the sum", mine[0] + mine[1], mine[2])
assert np.allclose(mine[0] + mine[1], mine[2], atol=1e-5)

# %% [markdown]
# `cam.decompose` does just that.

# %%
parts = cam.decompose(net, x, net.features[8][2], label)
for name, heat in zip(("branch", "shortcut", "sum"), mine):
    compare(name, heat, parts[name][0])
    assert np.allclose(heat, parts[name][0], atol=1e-6)

# %%
limit = max(np.abs(heat).max() for heat in mine)
figure, axes = plt.subplots(1, 4, figsize=(11.5, 3), layout="constrained")
axes[0].imshow(scene.image)
axes[0].set(title=f"scene, class '{label}'", xticks=[], yticks=[])
for axis, heat, title in zip(axes[1:], mine, ("branch (conv3)", "+ shortcut", "= Add")):
    drawn = plot.draw_signed(axis, heat, 224, limit)
    axis.contour(scene.masks[target], [0.5], colors="black", linewidths=1)
    axis.set_title(title)
figure.colorbar(drawn, ax=axes, label=f"evidence for '{label}'", shrink=0.85)
plt.show()

# %% [markdown]
# *What to see: three maps with one common scale; orange speaks for the class, purple and hatched against it, and the
# black line is the true outline of the tiger. Branch plus shortcut gives the sum, pixel by pixel. `conv3` can show the
# first picture only, and for the tiger that is next to nothing: the spot under the drake in the figure before is this
# nothing, stretched to the full range of colours. How much of the evidence does the branch hold in general?*

# %%
on_the_object = {"branch": [], "shortcut": [], "sum": []}
for seed in scenes.TEST_SEEDS[:20]:
    one = scenes.draw(seed)
    parts = cam.decompose(net, cam.load_image(one.image), block, one.labels[0])
    for name, heat in parts.items():
        on_the_object[name].append(cam.resize_map(heat[0], 224)[one.masks[0]].mean())
for name, values in on_the_object.items():
    print(f"{name:8} mean evidence on the named object, 20 scenes: {metrics.bootstrap(values)}")
assert metrics.bootstrap(np.array(on_the_object["shortcut"]) - np.array(on_the_object["branch"])).low > 0

# %% [markdown]
# Most of the evidence on the object comes in through the shortcut, and the output of `conv3` does not contain it.
#
# And so the forum's map, Grad-CAM at `conv3`, is one of these pictures:

# %%
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    at_conv3 = cam.grad_cam(net, x, label, conv3)[0]
compare("Grad-CAM at conv3, and the branch's part after the ReLU", at_conv3, np.maximum(mine[0], 0))
assert np.allclose(at_conv3, np.maximum(mine[0], 0), atol=1e-6)

# %% [markdown]
# ## What does it cost? All 16 blocks, 100 scenes, both objects
#
# Here are 200 maps for the `conv3` of each block, with the measures of lesson 3 (the pointing game with and without its
# tolerance of 15 pixels), and beside them two whole feature maps: the last Add, which differs from the last `conv3` by
# the shortcut and nothing else, and the input of GAP, the layer that `cam` takes when you name none. The four stages of
# the net are `features.5` to `features.8`.
#
# A map that shows nothing on either object has no share; it counts as 0. The last two columns say how many there are
# ("nothing"), and what the share is without them ("else").
#
# > **Predict.** Deeper layers know more about the class. Will the maps get better from block to block, up to the last
# > one?

# %%
blocks = [f"features.{stage}.{index}" for stage, size in ((5, 3), (6, 4), (7, 6), (8, 3)) for index in range(size)]
seeds = scenes.TEST_SEEDS[:100]
measured = metrics.evaluate(net, seeds, [*(f"{name}.conv3" for name in blocks), "features.8.2.add", "features.10"])
print(
    f"{'layer':18}",
    *(f"{title:20}" for title in ("share", "energy in the mask", "pointing game", "within 15 pixels")),
    end="",
)
print(" nothing else")
for name, one in measured.items():
    columns = [metrics.bootstrap(values) for values in (one.share, one.energy, one.hit, one.near)]
    something = one.on_objects > 0
    print(f"{name:18}", *(f"{column!s:20}" for column in columns), end="")
    print(f" {1 - something.mean():.2f}    {one.share[something].mean():.3f}")
print(f"by chance: energy {one.area.mean():.3f}, share about one half")

# %%
figure, axis = plt.subplots(figsize=(10, 3.4), layout="constrained")
names = list(measured)
for name, marker, measure in (("share on the right object", "o", "share"), ("energy in the mask", "s", "energy")):
    found = [metrics.bootstrap(getattr(measured[layer], measure)) for layer in names]
    middle = np.array([one.mean for one in found])
    spread = np.array([[one.mean - one.low, one.high - one.mean] for one in found]).T
    axis.errorbar(range(len(names)), middle, spread, fmt=marker, capsize=3, label=name)
axis.axhline(0.5, linestyle=":", color="grey", label="share by chance")
axis.axvline(len(names) - 2.5, color="black", linewidth=0.8)
axis.set_xticks(range(len(names)), [*(name.removeprefix("features.") for name in blocks), "last\nAdd", "GAP\ninput"])
axis.set(xlabel="conv3 of block (8.2 is features.8.2)", ylim=(0, 1))
axis.legend(loc="upper left", ncols=3, fontsize=8)
plt.show()

# %% [markdown]
# *What to see: each mean with its 95 % interval. In the first two stages (5 and 6) the share is near one half: these
# layers hardly tell one object from the other. Later it rises, but not steadily. Block 8.1 drops to one half, though
# not because it points at the wrong object: about half of its maps are empty and count as 0. The very last `conv3`
# (8.2) stays clearly below the two whole feature maps at the right.*

# %%
whole, add, forum = (measured[name] for name in ("features.10", "features.8.2.add", "features.8.2.conv3"))
for title, one in (("GAP input", whole), ("Add", add)):
    print(f"{title:9} minus last conv3: share on the right object {metrics.bootstrap(one.share - forum.share)}")
    print(f"{'':28}maximum within 15 pixels  {metrics.bootstrap(one.near.astype(float) - forum.near)}")
    print(f"{'':28}energy in the mask        {metrics.bootstrap(one.energy - forum.energy)}")
    assert metrics.bootstrap(one.share - forum.share).low > 0
    assert metrics.bootstrap(one.near.astype(float) - forum.near).low > 0
for name in blocks:
    assert metrics.bootstrap(whole.share - measured[f"{name}.conv3"].share).low > 0
middle = measured["features.8.1.conv3"]
something = middle.on_objects > 0
print(f"block 8.1, where its map shows something: share {metrics.bootstrap(middle.share[something])}")
assert 0.4 < something.mean() < 0.6 and metrics.bootstrap(middle.share[something]).low > 0.9

# %% [markdown]
# At each of the 16 `conv3` the share on the right object is lower than at GAP's input, and the difference is no
# accident of the scenes: the paired interval does not reach zero. (At block 8.1 the empty maps make the difference.)
# Against the Add, which has the shortcut and is otherwise the same place, it is just as large. In the mean energy
# `conv3` is closer. Why?

# %%
wrong = forum.share < 0.5
for title, chosen in (("where conv3 has the right object", ~wrong), ("where it has not", wrong)):
    print(
        f"{title:33} {chosen.sum():3} maps, energy in the mask: conv3 {forum.energy[chosen].mean():.3f}, "
        f"GAP input {whole.energy[chosen].mean():.3f}"
    )
assert metrics.bootstrap(forum.energy[~wrong] - whole.energy[~wrong]).low > 0

# %% [markdown]
# Where `conv3` has the right object, it even puts a little more of its energy inside the mask than GAP's input does. In
# the other maps it puts far less there, as must be, since we chose them by its failures. The mean averages the two
# away. Look at more than one measure, and at the failures.
#
# ## How large is the branch's part?
#
# > **Predict.** Where is the branch's part of map(Add) largest: in the first block of a stage, whose shortcut is a
# > convolution, or in the later ones, whose shortcut is the unchanged input?

# %%
some = [scenes.draw(seed) for seed in seeds[:20]]
batch = nd.concat(*(cam.load_image(one.image) for one in some), dim=0)  # (20, 3, 224, 224)
ids = [one.class_ids[0] for one in some]
rec = cam.record(net, batch, [f"{name}.{end}" for name in blocks for end in ("conv3", "shortcut", "add")], image=False)
part = {}
for name in blocks:
    alpha = rec.gradient(f"{name}.add", ids).mean(axis=(2, 3), keepdims=True)
    size = [
        np.abs((alpha * rec.features(f"{name}.{end}")).sum(axis=1)).sum(axis=(1, 2)) for end in ("conv3", "shortcut")
    ]
    part[name] = metrics.bootstrap(size[0] / (size[0] + size[1]))
figure, axis = plt.subplots(figsize=(10, 2.6), layout="constrained")
middle = np.array([one.mean for one in part.values()])
spread = np.array([[one.mean - one.low, one.high - one.mean] for one in part.values()]).T
firsts = [name.endswith(".0") for name in blocks]
axis.bar(range(16), middle, yerr=spread, color=np.where(firsts, "tab:orange", "tab:blue"), capsize=3)
axis.set_xticks(range(16), [name.removeprefix("features.") for name in blocks])
axis.set(xlabel="block (orange: the first of a stage)", ylabel="branch's part of the map", ylim=(0, 1))
plt.show()

# %% [markdown]
# *What to see: the magnitude $|\text{map(branch)}|$ as a share of $|\text{map(branch)}| + |\text{map(shortcut)}|$,
# summed over the positions. In each stage the first block, whose shortcut must change the shape, does the most. The
# last block of the net only retouches.*

# %%
print(f"the last block's branch: {part['features.8.2']}; the first block of that stage: {part['features.8.0']}")
for stage, size in ((5, 3), (6, 4), (7, 6), (8, 3)):
    means = [part[f"features.{stage}.{index}"].mean for index in range(size)]
    assert np.argmax(means) == 0
assert 0.2 < part["features.8.2"].mean < 0.3

# %% [markdown]
# That is the reason. Seen from the last `conv3`, three quarters of what makes up the map are missing, because they pass
# by on the shortcut. The size alone does not tell how bad a map is: block 8.1 has a larger part than 8.2, and half of
# its maps are empty, because its change goes against the evidence (exercise 2). A change can be of any sign and
# anywhere.
#
# In VGG16 nothing passes by: there is one path, and its last convolution has it all. "Take the last conv layer" was
# always short for "take the last whole feature map"; VGG16 just never told the two apart.
#
# ## On your own
#
# **1.** Does `cam` let you fall into the trap? Call `cam.grad_cam` with the forum's layer by its Gluon name and catch
# the warning.

# %% jupyter={"source_hidden": true} tags=["solution"]
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    cam.grad_cam(net, x, label, conv3.name)
print(conv3.name, "->", caught[0].message)
assert caught[0].category is cam.InsideResidualBranch and "take features.10" in str(caught[0].message)

# %% [markdown]
# **2.** At block 8.1 many maps have no evidence at all. Decompose the sum there for a few scenes: what does the branch
# say where the object is, and is the sum right?

# %% jupyter={"source_hidden": true} tags=["solution"]
there = {"branch": [], "shortcut": [], "sum": []}
for one in some[:10]:
    parts = cam.decompose(net, cam.load_image(one.image), "features.8.1", one.labels[0])
    for name, heat in parts.items():
        there[name].append(cam.resize_map(heat[0], 224)[one.masks[0]].mean())
for name, values in there.items():
    print(f"{name:8} mean evidence on the object {metrics.bootstrap(values)}")
nothing = (measured["features.8.1.conv3"].on_objects == 0).mean()
print(f"maps of this branch with no evidence on either object, 200 maps: {nothing:.0%}")
assert metrics.bootstrap(there["branch"]).high < 0 < metrics.bootstrap(there["sum"]).low
# On average the correction of this block lowers the evidence on the object, and Grad-CAM at its conv3 is then
# empty. That is right for the change, and wrong for the whole.

# %% [markdown]
# **3.** If the last branch only retouches, the network should do without it. Make a copy of the net with `cam.convert`,
# set the weights of the last `conv3` to zero, and compare the accuracy on scenes with two objects. Then do the same
# with the first block of the stage.

# %% jupyter={"source_hidden": true} tags=["solution"]
accuracy = {"as it is": metrics.accuracy(net, seeds[:40], objects=2)}
for index in (2, 0):
    copy = cam.convert(net)
    weight = copy.features[8][index].conv3.weight
    weight.set_data(nd.zeros_like(weight.data()))
    accuracy[f"without the branch of 8.{index}"] = metrics.accuracy(copy, seeds[:40], objects=2)
for name, value in accuracy.items():
    print(f"{name:26} {value:.2f}")
assert accuracy["without the branch of 8.2"] > 0.9 > accuracy["without the branch of 8.0"]
# The last branch can go. The first of the stage cannot: it brings in what its own shortcut, a convolution, leaves out.

# %% [markdown]
# **Rule of thumb.** A convolution inside a residual branch shows what its block *changes*, never what the network
# *has*. Ask the sum, or better, ask what the classifier is given.
#
# **Next:** [6. Which layer, then?](06_which_layer_then.ipynb)
