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
# **You will learn** what a residual block hides from Grad-CAM; why the map of a sum is the sum of two maps; how large the
# part is that a convolution sees; and what that costs, in numbers, for every one of ResNet50v2's 16 blocks.
#
# **You need** lessons 2 and 3. **It takes** about 35 minutes.
#
# A learner ran MXNet's tutorial on VGG16 and got good pictures. Then the same with ResNet50v2 and the layer
# `net.features[8][2].conv3`, the last convolution before the classifier, as the recipe says. The pictures came out abnormal.
# The learner asked in the forum which layer is right. One reply gave the idea of this lesson: a residual block computes only a *change* to the
# feature map. Nobody showed it, or measured it. This lesson does; the next one finds the right layer.

# %%
# %matplotlib inline
import warnings

import matplotlib.pyplot as plt
import numpy as np
from course import compare
from mxnet import nd

import cam
from cam import metrics, plot, scenes

# %% [markdown]
# ## The forum's picture
#
# > **Predict.** Both networks recognise the animals in these scenes. We take VGG16's last convolution, after its ReLU as in lesson 3, and
# > ResNet50v2's last convolution, which has no ReLU after it. Will the maps look alike?

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
# *What to see: the first four test scenes and, for the animal named above each column, Grad-CAM at VGG16's last convolution
# (after its ReLU) and at ResNet50v2's last one. VGG16's evidence covers the named animal. ResNet50v2's last `conv3` finds a spot on it, and
# in the third scene half of its evidence is on the hog.*
#
# Four pictures could be chance, good or bad. Here are the shares on the right object for forty scenes and both animals, and the scenes where
# `conv3` does worst, with the whole feature map of the same network (`features.10`, just before the global average pooling) below it.

# %%
layers = ["features.8.2.conv3", "features.10"]
forty = {"VGG16, relu5_3": metrics.evaluate(vgg, scenes.TEST_SEEDS[:40])}
both = metrics.evaluate(net, scenes.TEST_SEEDS[:40], layers)
forty["ResNet50v2, last conv3"], forty["ResNet50v2, whole map"] = (both[layer] for layer in layers)
for name, one in forty.items():
    wrong = (one.share < 0.5).mean()
    print(
        f"{name:23} share {metrics.bootstrap(one.share)}, most of the evidence on the wrong animal or none: {wrong:.0%}"
    )

# %%
# Rows of an evaluation: ten scenes' first animals, then their second ones, and so on.
where = [(start + scene, target) for start in range(0, 40, 10) for target in (0, 1) for scene in range(10)]
worst = [where[row] for row in np.argsort(both["features.8.2.conv3"].share)[:4]]
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
        share = metrics.share_on_object(maps[layers[0]][0], scene.masks[target], scene.masks[1 - target])
        assert np.isclose(share, both[layers[0]].share[where.index((seed, target))], atol=1e-3)
plot.grid(rows, ["scene", "last conv3", "whole map"], titles, size=2.2)

# %% [markdown]
# *What to see: of forty scenes and both animals, the four where the map at the last `conv3` (second row) does worst, and the whole feature map of the same
# pass (third row). These are abnormal pictures as the forum saw them: `conv3` shows the other object, or nothing at all, while
# the network knows very well where the named one is.* (An empty map did not look empty in the tutorial: its code adds 1 to every map before the
# ReLU, and stretches whatever is there to the full range of colours.)

# %%
failures = {name: (one.share < 0.5).mean() for name, one in forty.items()}
assert failures["ResNet50v2, last conv3"] > 0.05 + max(failures["ResNet50v2, whole map"], failures["VGG16, relu5_3"])

# %% [markdown]
# ## The idea in words
#
# A layer of VGG16 replaces its input by something new. A residual block does not: it computes a *change* and adds it to what
# came in. What goes on to the classifier is the sum. `conv3` is the end of the branch that computes the change, so it has
# never seen the whole. Asking it "where is the zebra?" is like asking an editor where the story is, and getting the
# corrections of the last draft.
#
# ## The formula
#
# A block of ResNet50v2 computes (He et al. 2016) $y = s + f$ with the shortcut $s$ (the block's input, where its shape allows)
# and the branch $f$ (the output of `conv3`). Of an addition both terms have derivative 1, so one gradient arrives at all three:
#
# $$\frac{\partial y^c}{\partial s} = \frac{\partial y^c}{\partial f} = \frac{\partial y^c}{\partial y}$$
#
# The weights $\alpha_k$ of Grad-CAM are means of that gradient, so they are the same for all three, and before the final ReLU
#
# $$\underbrace{\sum_k \alpha_k y_k}_{\text{map(Add)}} \;=\; \underbrace{\sum_k \alpha_k f_k}_{\text{map(branch)}} \;+\;
# \underbrace{\sum_k \alpha_k s_k}_{\text{map(shortcut)}}$$

# %% [markdown]
# ## By hand: two channels of 2x2
#
# The shortcut brings a zebra at the upper left (channel 0). The branch corrects: a little less there, a little more at the
# lower right. The class wants channel 0 (weight 1) and dislikes channel 1 (weight -1).

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
# The last block of ResNet50v2, for the same scene as in lesson 3. First with what lesson 2 built, a recording: one
# forward pass gives the features and the gradients of all three.

# %%
scene = scenes.draw(seed=7)
x, label = cam.load_image(scene.image), scene.labels[0]
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
    axis.contour(scene.masks[0], [0.5], colors="black", linewidths=1)
    axis.set_title(title)
figure.colorbar(drawn, ax=axes, label=f"evidence for '{label}'", shrink=0.85)
plt.show()

# %% [markdown]
# *What to see: three maps with one common scale; orange speaks for the class, purple and hatched against it, and the black line
# is the true outline of the animal. Branch plus shortcut gives the sum, pixel by pixel. `conv3` can show the first picture only. In this scene it
# happens to look like the sum. How much of the evidence does it hold in general?*

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
# Most of the evidence on the object comes in through the shortcut, and `conv3` never sees it.
#
# And so the forum's map, Grad-CAM at `conv3`, is one of these pictures:

# %%
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    at_conv3 = cam.grad_cam(net, x, label, conv3)[0]
compare("Grad-CAM at conv3, and the branch's part after the ReLU", at_conv3, np.maximum(mine[0], 0))
assert np.allclose(at_conv3, np.maximum(mine[0], 0), atol=1e-6)

# %% [markdown]
# ## What does it cost? All 16 blocks, 100 scenes, both animals
#
# Here are 200 maps for the `conv3` of each block, with the measures of lesson 3 (the pointing game with and without its tolerance of 15 pixels), and beside them the
# whole feature map before the global average pooling (GAP), the layer that `cam` takes when you name none.
#
# > **Predict.** Deeper layers know more about the class. Will the maps get better from block to block, up to the last one?

# %%
blocks = [f"features.{stage}.{index}" for stage, size in ((5, 3), (6, 4), (7, 6), (8, 3)) for index in range(size)]
seeds = scenes.TEST_SEEDS[:100]
measured = metrics.evaluate(net, seeds, [*(f"{name}.conv3" for name in blocks), "features.10"])
print(f"{'layer':19}{'share':22}{'energy in the mask':22}{'pointing game':22}{'within 15 pixels':22}empty")
for name, one in measured.items():
    columns = (metrics.bootstrap(values) for values in (one.share, one.energy, one.hit, one.near))
    print(f"{name:19}{''.join(f'{column!s:22}' for column in columns)}{(one.energy == 0).mean():.2f}")
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
axis.axvline(len(names) - 1.5, color="black", linewidth=0.8)
axis.set_xticks(range(len(names)), [*(name.removeprefix("features.") for name in blocks), "GAP\ninput"])
axis.set(xlabel="conv3 of block (stage.index)", ylim=(0, 1))
axis.legend(loc="upper left", ncols=3, fontsize=8)
plt.show()

# %% [markdown]
# *What to see: each mean with its 95 % interval. In the first two stages the share is near one half: these layers hardly tell one
# animal from the other. Later it rises, but not steadily: within the last stage, block 8.1 falls back to chance, and the very
# last `conv3` (8.2) stays clearly below the whole feature map at the right.*

# %%
whole, forum = measured["features.10"], measured["features.8.2.conv3"]
loss = metrics.bootstrap(whole.share - forum.share)
print("GAP input minus last conv3, share on the right object:", loss)
print(
    "                            maximum within 15 pixels: ", metrics.bootstrap(whole.near.astype(float) - forum.near)
)
print("                            energy in the mask:       ", metrics.bootstrap(whole.energy - forum.energy))
assert loss.low > 0
assert all(metrics.bootstrap(whole.share - measured[f"{name}.conv3"].share).low > 0 for name in blocks)
assert metrics.bootstrap(whole.near.astype(float) - forum.near).low > 0

# %% [markdown]
# At each of the 16 `conv3` the share on the right object is lower than at the whole feature map, and the difference is no accident
# of the scenes: the paired interval does not reach zero. The mean energy in the mask hardly differs. Why?

# %%
wrong = forum.share < 0.5
for title, chosen in (("where conv3 has the right animal", ~wrong), ("where it has not", wrong)):
    print(
        f"{title:33} {chosen.sum():3} maps, energy in the mask: conv3 {forum.energy[chosen].mean():.3f}, whole map {whole.energy[chosen].mean():.3f}"
    )
assert (
    forum.energy[~wrong].mean() > whole.energy[~wrong].mean()
    and forum.energy[wrong].mean() < whole.energy[wrong].mean()
)

# %% [markdown]
# Where `conv3` is right, its map is even sharper than the whole one; where it is wrong, it fails badly. A mean hides that. Look at more
# than one measure, and at the failures.
#
# ## How large is the branch's part?
#
# > **Predict.** Where is the branch's part of map(Add) largest: in the first block of a stage, whose shortcut is a convolution,
# > or in the later ones, whose shortcut is the unchanged input?

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
# *What to see: the magnitude $|\text{map(branch)}|$ as a share of $|\text{map(branch)}| + |\text{map(shortcut)}|$, summed over the positions. In each
# stage the first block, whose shortcut must change the shape, does the most. The last block of the net only
# retouches.*

# %%
print(f"the last block's branch: {part['features.8.2']}; the first block of that stage: {part['features.8.0']}")
for stage, size in ((5, 3), (6, 4), (7, 6), (8, 3)):
    means = [part[f"features.{stage}.{index}"].mean for index in range(size)]
    assert np.argmax(means) == 0
assert part["features.8.2"].high < 0.5

# %% [markdown]
# That is the reason. Seen from the last `conv3`, three quarters of what makes up the map are missing, because they pass by on the shortcut. The size
# alone does not tell how bad a map is: block 8.1 has a large part and the worst maps of its stage, because its change goes against the evidence
# (exercise 2). A change can be of any sign and anywhere.
#
# In VGG16 nothing passes by: there is one path, and its last convolution has it all. "Take the last conv layer" was always short for
# "take the last whole feature map"; VGG16 just never told the two apart.
#
# ## On your own
#
# **1.** Does `cam` let you fall into the trap? Call `cam.grad_cam` with the forum's layer by its Gluon name and catch the warning.

# %% jupyter={"source_hidden": true} tags=["solution"]
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    cam.grad_cam(net, x, label, conv3.name)
print(conv3.name, "->", caught[0].message)
assert caught[0].category is cam.InsideResidualBranch and "take features.10" in str(caught[0].message)

# %% [markdown]
# **2.** At block 8.1 many maps have no evidence at all. Decompose the sum there for a few scenes: what does the branch say where the
# animal is, and is the sum right?

# %% jupyter={"source_hidden": true} tags=["solution"]
on_the_animal = {"branch": [], "shortcut": [], "sum": []}
for one in some[:10]:
    parts = cam.decompose(net, cam.load_image(one.image), "features.8.1", one.labels[0])
    for name, heat in parts.items():
        on_the_animal[name].append(cam.resize_map(heat[0], 224)[one.masks[0]].mean())
for name, values in on_the_animal.items():
    print(f"{name:8} mean evidence on the animal {metrics.bootstrap(values)}")
empty = (measured["features.8.1.conv3"].energy == 0).mean()
print(f"maps of this branch with no evidence anywhere: {empty:.0%}")
assert metrics.bootstrap(on_the_animal["branch"]).high < 0 < metrics.bootstrap(on_the_animal["sum"]).low
# On average the correction of this block lowers the evidence on the animal, and Grad-CAM at its conv3 is then
# empty or elsewhere. That is right for the change, and wrong for the whole.

# %% [markdown]
# **3.** If the last branch only retouches, the network should do without it. Make a copy of the net with `cam.convert`, set the weights
# of the last `conv3` to zero, and compare the accuracy on scenes with two objects. Then do the same with the first block of the stage.

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
# **Rule of thumb.** A convolution inside a residual branch shows what its block *changes*, never what the network *has*. Ask
# the sum, or better, ask what the classifier is given.
#
# **Next:** [6. Which layer, then?](06_which_layer_then.ipynb)
