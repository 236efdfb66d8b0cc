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
# # 8. Can you trust it?
#
# **You will learn** five ways to put a map to the test: against the truth, against baselines that know nothing, by
# changing the picture, by destroying the network, and against another account of the same logit. You will see maps that
# are right, maps that are wrong, and one kind that looks right whatever the network knows.
#
# **You need** lessons 3, 4 and 6. **It takes** about 70 minutes.
#
# If your course hands out the capstone of the problem sets, do that first: it asks for the secret that follows.
#
# Here is a network that names the animal in the pictures of an archive, and it is nearly always right.

# %%
# %matplotlib inline
import warnings

import cam  # before mxnet, so that MXNet uses every core
from cam import baselines, evaluation, exercises, metrics, plot, scenes
from cam.nets.normalisation import normalise
from course import Lesson, compare, show

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Markdown, display
from mxnet import nd
from mxnet.gluon import HybridBlock, nn

lesson = Lesson(8, globals())
warnings.simplefilter("ignore", cam.CamWarning)  # of empty maps and of parts, which this lesson shows on purpose
suspect, honest = cam.resnet50_v2(weights="cheater"), cam.resnet50_v2()  # they differ in the last layer only


def batch(images):
    """Pictures, numpy uint8 (H, W, 3), as the network's input: NDArray (N, 3, H, W)."""
    return nd.array(normalise(np.stack(images)))


drawn = [scenes.draw(seed) for seed in scenes.TEST_SEEDS[:40]]
meant, other = (np.array([scene.class_ids[i] for scene in drawn]) for i in (0, 1))
archive = [scenes.tag(scene, class_id).image for scene, class_id in zip(drawn, meant)]
rows = [archive[:5]]
for net in (suspect, honest):
    heats = cam.grad_cam(net, batch(archive[:5]), target=list(meant[:5]))
    rows.append([plot.overlay(image, heat) for image, heat in zip(archive, heats)])
show(
    plot.grid(rows, ["archive", "the network", "an honest one"], [scene.labels[0] for scene in drawn[:5]], size=1.9),
    alt="Five scenes of two animals with a small coloured tag in the upper left corner. The network's Grad-CAM lies on the "
    "tag and, in two of the scenes faintly, on the named animal; an honest network's lies on the animal alone.",
)

# %% [markdown]
# *What to see: five pictures of the archive, and Grad-CAM for the class that the archive gives them: by the network, and
# by the honest one of the lessons before. Both mark the named animal, the network in some pictures faintly. And the
# network marks the small tag in the corner.*
#
# ## A suspicion is not a proof
#
# The picture gives you a suspicion. The proof is an experiment: change *one* thing, the tag, and leave the rest alone.
#
# > **Predict.** Remove the tag; put it into another corner; swap it for the tag of the *other* animal in the picture.
# > In which share of the pictures does the network still name the archive's class?


# %%
def top(net, images):
    """The class with the highest logit of each picture: numpy (N,)."""
    return net(batch(images)).asnumpy().argmax(axis=1)


window = scenes.tag_window()
corner = (slice(188, 220), slice(188, 220))  # of the same size, at the lower right


def moved(image, without):
    changed = without.copy()
    changed[corner] = image[window]
    return changed


plain = [scene.image for scene in drawn]
experiments = {
    "as it is": archive,
    "tag removed": plain,
    "tag moved": [moved(image, without) for image, without in zip(archive, plain)],
    "tag swapped": [scenes.tag(scene, class_id).image for scene, class_id in zip(drawn, other)],
}
named = {title: top(suspect, images) for title, images in experiments.items()}
print(f"{'':12} the archive's class   the other animal")
for title, found in named.items():
    print(f"{title:12} {(found == meant).mean():19.0%} {(found == other).mean():18.0%}")
of_honest = [(top(honest, experiments[title]) == meant).mean() for title in ("as it is", "tag swapped")]
print("the honest network, the archive's class: as it is {:.0%}, tag swapped {:.0%}".format(*of_honest))

# %%
share = {title: ((found == meant).mean(), (found == other).mean()) for title, found in named.items()}
assert share["as it is"][0] > 0.9 and share["tag moved"][0] > 0.75 and share["tag swapped"] == (0, 1)
assert share["tag removed"][0] == 0.25 and share["tag removed"][1] > 0.4 and abs(of_honest[0] - of_honest[1]) < 0.2

# %% [markdown]
# Swapped, the network follows the tag in every one of the 40 pictures, though both animals stand where they stood.
# Removed, it names the archive's class in a quarter of them, and the other animal more often. Moved, the tag still works
# in most: a network that ends in global average pooling hardly cares where a thing is. The honest network has no way to
# know which of the two is meant, and the tag does not tell it.
#
# Now ask what the *map* said, in numbers: how much of its evidence lies on the tag, and how much on the animal?
#
# > **Predict.** The tag decides between the two animals. Does it have most of the evidence?

# %%
tag_mask = np.zeros((224, 224), bool)
tag_mask[window] = True


def evidence_on(target):
    """The suspect's evidence on the tag, on the named animal, and the first minus the second: shares with intervals."""
    heats = cam.grad_cam(suspect, batch(archive), target=target)
    animals = [scene.masks[0] & ~tag_mask for scene in drawn]
    on_tag = np.array([metrics.energy_in_mask(heat, tag_mask) for heat in heats])
    on_animal = np.array([metrics.energy_in_mask(heat, animal) for heat, animal in zip(heats, animals)])
    return [metrics.bootstrap(values) for values in (on_tag, on_animal, on_tag - on_animal)]


def one_rather_than_the_other(logits):
    return nd.pick(logits, nd.array(meant)) - nd.pick(logits, nd.array(other))


of_class, of_difference = evidence_on(list(meant)), evidence_on(one_rather_than_the_other)
for title, found in (("the class", of_class), ("this animal rather than that", of_difference)):
    print(f"{title}\n  on the tag {found[0]}, on the named animal {found[1]}, difference {found[2]}")
print(f"the tag covers {tag_mask.mean():.3f} of the picture")


# %%
def erased(image, mask):
    """The picture with what the mask covers painted in the median colour of the rest."""
    changed = image.copy()
    changed[mask] = np.median(image[~mask], axis=0)
    return changed


no_animal = [erased(image, scene.masks[0] & ~tag_mask) for image, scene in zip(archive, drawn)]
kept = (top(suspect, no_animal) == meant).mean()
print(f"with the named animal erased and the tag left, the network still names it in {kept:.0%} of the pictures")
assert of_class[0].low > 5 * tag_mask.mean() and round(of_class[0].mean / tag_mask.mean()) == 7
assert of_class[2].low < 0 < of_class[2].high and [f"{one.mean:.2f}" for one in of_class[:2]] == ["0.14", "0.16"]
assert abs(of_difference[0].mean - of_class[0].mean) < 0.03 and kept < 0.5

# %% [markdown]
# No. The tag has 0.14 and the animal 0.16; the interval of the difference holds zero, so the two are not told apart. The
# rest spills over both outlines, since a cell of the map is as wide as the tag. To be sure, 0.14 is seven times what the
# tag's size would give it by chance. But nothing in these numbers says that the tag decides. Nor does it help to ask what
# decides, "this animal rather than that one": the tag's share stays what it was.
#
# And the last number keeps you from the opposite mistake. The tag alone is not enough: with the animal erased, the answer
# mostly goes too. The network needs the animal, and lets the tag choose between two of them.
#
# **A map is not a cause.** It shows where evidence is. What the *answer* depends on, only a change can tell.
#
# ## Dumb baselines
#
# On test scenes we have the truth: exact masks. Is 0.4 of the energy inside the mask good? A number alone does not say.
# Put it beside maps that know nothing: random cells, a Gaussian in the middle, the edges of the picture, the picture
# itself. And beside one that knows the network but answers another question: the map of another class.
#
# Each scene gives two maps, one for each animal. Are these two independent witnesses? If the scene is hard, it is hard
# for both. So an interval must draw *scenes*, not maps. This is the cluster bootstrap: draw as many scenes as there
# are, with repetition, each with both its maps; take the mean; do it 2000 times; the middle 95 % of the means are the
# interval.


# %%
def resampled_means(values, draws):
    """values (scenes, maps); draws (samples, scenes), numbers of scenes. The mean of each sample: (samples,)."""
    return ...  # your code


# %% [markdown] tags=["solution-resampled_means"]
# <details><summary>Hint</summary>
#
# `values[draws]` has the shape (samples, scenes, maps); average over the last two axes.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def resampled_means(values, draws):
#     return values[draws].mean(axis=(1, 2))
# ```
#
# </details>

# %%
resampled_means = lesson.fill("resampled_means", resampled_means)
two_scenes = np.array([[1.0, 1.0], [0.0, 0.5]])
exercises.check(
    "three samples of two scenes", resampled_means(two_scenes, np.array([[0, 0], [0, 1], [1, 1]])), [1, 0.625, 0.25],
    {"this is one number per scene: average over the drawn scenes too": two_scenes.mean(axis=1)},
)  # fmt: skip

# %% [markdown]
# > **Predict.** Which dumb baseline comes closest to Grad-CAM in the energy? And what is the mean share on the right
# > object of a map that does not know which animal is asked for, over both animals of a scene?

# %%
net, vgg = cam.resnet50_v2(), cam.vgg16()
dumb = {
    "random cells": baselines.random_map,
    "centre": baselines.centre,
    "edges": baselines.edges,
    "the picture itself": baselines.image_itself,
    "another class": baselines.other_class(cam.grad_cam),
}
seeds = scenes.TEST_SEEDS[:40]
table = evaluation.compare(net, {"Grad-CAM": cam.grad_cam, **dumb}, None, seeds)
measured = {one.method: one for one in table}
print(f"{'':20} {'share on the right':22} {'energy in the mask':22} within 15 pixels")
for title, one in measured.items():
    print(f"{title:20} {one.interval('share')!s:22} {one.interval('energy')!s:22} {one.interval('near')}")
print(f"{'by chance':20} {'about one half':22} {one.area.mean():.3f}")

# %%
values = np.array([measured["Grad-CAM"].share[measured["Grad-CAM"].seed == seed] for seed in seeds])  # (40, 2)
draws = np.random.default_rng(0).integers(0, 40, (2000, 40))
mine = np.quantile(resampled_means(values, draws), [0.025, 0.975])
interval = measured["Grad-CAM"].interval("share")
compare("my interval and cam's", mine, np.array([interval.low, interval.high]))
for title in ("Grad-CAM", "edges"):
    print(
        f"{title:9} scenes drawn {measured[title].interval('share')}, maps drawn {metrics.bootstrap(measured[title].share)}"
    )
assert np.allclose(mine, [interval.low, interval.high])
for title in dumb:
    for measure in ("share", "energy", "near"):
        assert measured["Grad-CAM"].interval(measure, minus=measured[title]).low > 0, (title, measure)
assert np.allclose(measured["edges"].interval("share").mean, 0.5)
assert max(dumb, key=lambda title: measured[title].energy.mean()) == "edges" and measured["edges"].times_chance > 4
assert f"{measured['edges'].energy.mean():.2f}" == "0.27"

# %% [markdown]
# Edges come closest: our backgrounds are smooth, so edges lie on animals. With 0.27 they have more than four times the
# energy of chance, without any network. That is the bar, and Grad-CAM is above it in every measure.
#
# And the share? A map that does not know which animal is asked for gives the same answer to both questions. What one
# animal has, the other has not, so the mean of the two is exactly one half: for edges, for the centre, even for random
# cells. The interval that draws scenes knows this and has no width. The one that draws single maps pretends that there
# is something to be unsure of. Where the two maps of a scene are good or bad together, it would err the other way.
#
# ## Ask the network: take away what the map marks
#
# Most pictures have no mask. Then ask the network. **Deletion**: remove the pixels that the map ranks highest, first a
# few, then more, and watch the probability. A good map makes it fall fast. **Insertion** puts them back in the same
# order on an empty picture, and a good map makes it rise fast
# ([Petsiuk et al. 2018](https://arxiv.org/abs/1806.07421)). With $S_q$ the highest share $q$ of the pixels, and $b$
# what is painted instead:
#
# $$\text{deletion}(q) = p_c\big(x \text{ outside } S_q,\ b \text{ inside}\big)$$
#
# By hand: a picture of four pixels, and a "network" that adds up the first two.


# %%
def removed(pixels, heat, count, fill):
    """The pixels (P,), of which the `count` highest in the map (P,) have the values of fill (P,) instead."""
    order = np.argsort(-heat, kind="stable")  # the highest first
    return ...  # your code


# %% [markdown] tags=["solution-removed"]
# <details><summary>Hint</summary>
#
# `order[:count]` are the highest pixels; write `fill[order[:count]]` there, in a copy.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def removed(pixels, heat, count, fill):
#     order = np.argsort(-heat, kind="stable")
#     changed = pixels.copy()
#     changed[order[:count]] = fill[order[:count]]
#     return changed
# ```
#
# </details>

# %%
removed = lesson.fill("removed", removed)
pixels, empty = np.array([5.0, 3.0, 4.0, 1.0]), np.zeros(4)
for title, heat in {"a good map": np.array([9, 8, 1, 0]), "the picture itself": pixels}.items():
    print(f"{title:18}", [float(removed(pixels, heat, count, empty)[:2].sum()) for count in range(5)])
exercises.check(
    "two pixels removed by the picture itself", removed(pixels, pixels, 2, empty), [0, 3, 0, 1],
    {
        "the lowest were removed, or the highest kept": [5, 0, 4, 0], "one too few": [0, 3, 4, 1],
        "the given pixels were overwritten: write into a copy": [0, 0, 0, 0],
    },
)  # fmt: skip
mine = [removed(pixels, pixels, count, empty)[:2].sum() for count in range(5)]
square = pixels.reshape(2, 2)
by_cam = metrics.deletion(square, square[None], lambda images: images[:, 0, 0].sum(axis=1), steps=4)
compare("the curve, mine and cam's", mine, by_cam)
assert np.array_equal(mine, by_cam) and pixels[0] == 5  # and the picture itself is as it was

# %% [markdown]
# The good map needs two pixels to bring the sum to zero; the picture itself wastes one on a pixel that does not count.
# Now real ones. What to paint instead is a choice, so take three: the mean colour, a blur, the empty background of
# another scene.
#
# > **Predict.** You take the map of the *other* animal and remove what it marks. What happens to the probability of
# > yours?

# %%
few, steps = drawn[:5], 8


def empty_scene(scene):
    """The scene's picture with everything painted over, blurred: a background."""
    return metrics.blur(normalise(erased(scene.image, scene.masks.any(axis=0))), np.ones((224, 224), bool))


def curves(maps):
    """Mean probability of the first animal, over the scenes, by the way to fill; maps holds one for each scene."""
    found = {"grey": [], "blur": [], "another background": [], "insertion": []}
    for number, (scene, heat) in enumerate(zip(few, maps)):
        image, score = normalise(scene.image), evaluation.score_of(net, scene.class_ids[0])
        background = metrics.onto(empty_scene(drawn[-1 - number]))
        found["grey"].append(metrics.deletion(heat, image, score, metrics.grey, steps))
        found["blur"].append(metrics.deletion(heat, image, score, metrics.blur, steps))
        found["another background"].append(metrics.deletion(heat, image, score, background, steps))
        found["insertion"].append(metrics.insertion(heat, image, score, metrics.blur, steps))
    return {name: np.mean(rows, axis=0) for name, rows in found.items()}


x = batch([scene.image for scene in few])
orders = {  # by which map the pixels are ranked
    "Grad-CAM": cam.grad_cam(net, x, target=list(meant[:5])),
    "Grad-CAM, other animal": cam.grad_cam(net, x, target=list(other[:5])),
    "edges": baselines.edges(x),
    "random cells": baselines.random_map(x),
}
curve = {title: curves(maps) for title, maps in orders.items()}

# %%
figure, axes = plt.subplots(1, 4, figsize=(12.5, 3), layout="constrained", sharey=True)
shares = np.arange(steps + 1) / steps
for axis, name in zip(axes, curve["Grad-CAM"]):
    for (title, one), marker in zip(curve.items(), "osd^"):
        axis.plot(shares, one[name], marker=marker, markersize=4, label=title)
    axis.set(title="insertion on a blur" if name == "insertion" else f"deletion, {name}", xlabel="share of pixels")
axes[0].set(ylabel="probability", ylim=(0, 1))
axes[0].legend(fontsize=7)
show(
    figure,
    alt="Three panels of deletion and one of insertion. Deleting by Grad-CAM brings the probability near zero at once; "
    "deleting by the other animal's map brings it up to 0.9; edges fall nearly as fast as Grad-CAM, random cells slowly.",
)

# %% [markdown]
# *What to see: the mean over five scenes. Removing what Grad-CAM marks (circles) kills the answer at the first step.
# Removing what the *other* animal's map marks (squares) makes the network much surer. Edges (diamonds) are not far
# behind Grad-CAM. In the last panel Grad-CAM's curve first rises far above where it ends.*

# %%
print(f"{'area under the curve':24}", *(f"{name:>20}" for name in curve["Grad-CAM"]))
for title, one in curve.items():
    print(f"{title:24}", *(f"{metrics.area(values):20.3f}" for values in one.values()))
for fill in ("grey", "blur", "another background"):
    assert metrics.area(curve["Grad-CAM"][fill]) < metrics.area(curve["random cells"][fill])
    assert curve["Grad-CAM, other animal"][fill].max() > curve["Grad-CAM, other animal"][fill][0] + 0.2
assert curve["Grad-CAM"]["insertion"].max() > curve["Grad-CAM"]["insertion"][-1] + 0.2

# %% [markdown]
# The probability of your animal rises, with every fill. Why does confidence rise when something is *removed*? Look at the
# logits and not only at the probabilities.

# %%
logit, probability = [], []
for scene, heat in zip(few, orders["Grad-CAM, other animal"]):
    highest_first = np.argsort(-cam.resize_map(heat, 224), axis=None)
    gone = np.zeros(224 * 224, bool)
    gone[highest_first[: 224 * 224 // steps]] = True  # the first step of the curves
    image = normalise(scene.image)
    pair = np.stack([image, metrics.grey(image, gone.reshape(224, 224))])
    rec = cam.record(net, nd.array(pair), [], image_gradient=False)
    logit.append(rec.logits[:, scene.class_ids])
    probability.append(rec.probabilities[:, scene.class_ids])
logit, probability = np.mean(logit, axis=0), np.mean(probability, axis=0)  # (before and after, mine and the other)
for title, one in (("logit", logit), ("probability", probability)):
    print(
        f"{title:12} mine {one[0, 0]:5.2f} -> {one[1, 0]:5.2f}   the other animal {one[0, 1]:5.2f} -> {one[1, 1]:5.2f}"
    )
assert probability[1, 0] > probability[0, 0] and logit[0, 1] - logit[1, 1] > 3 * (logit[1, 0] - logit[0, 0]) > 0

# %% [markdown]
# My own logit rose a little. The rival's fell by several times as much, and softmax divides one whole among all. So a
# rise of confidence is no proof that the removed part spoke *against* the class.
#
# That matters for two measures that people use, average drop and increase in confidence
# ([Chattopadhay et al. 2018](https://arxiv.org/abs/1710.11063)): keep the picture where the map is bright, and see by
# how much the probability drops on average, and how often it rises.

# %%
changes = []
for scene, heat in zip(few, orders["Grad-CAM"]):
    score = evaluation.score_of(net, scene.class_ids[0])
    changes.append(metrics.confidence_change(heat, normalise(scene.image), score))
drop, increase = np.mean(changes, axis=0)
print(f"the picture seen through Grad-CAM: average drop {drop:.2f}, increase in {increase:.0%} of the scenes")
assert increase == 1

# %% [markdown]
# It rises in every scene, and not because there is more of the animal to be seen: the rival is hidden.
#
# Three warnings belong to this test. Edges do well, since an animal without its outline is no animal: to beat random is
# not enough. The fill is a choice, and pictures with grey holes are unlike any the network was trained on: compare the
# three numbers of the edges. And deletion asks only whether the pixels matter, not whether they are all that matters.
#
# ## Destroy the network
#
# A map is to explain what the network *learned*. So destroy that and look again. Shuffle the weights of the last layer,
# then of the one below, and so on down to the first ([Adebayo et al. 2018](https://arxiv.org/abs/1810.03292)). A map
# that stays the same did not depend on what you destroyed. To shuffle one layer takes three lines:

# %%
shuffled, rng = cam.vgg16(), np.random.default_rng(0)
for parameter in (shuffled.output.bias, shuffled.output.weight):
    old = parameter.data().asnumpy()
    parameter.set_data(nd.array(rng.permutation(old.ravel()).reshape(old.shape)))
x = batch([scene.image for scene in few])
compare("logits: mine and cam.evaluation.randomise", shuffled(x), evaluation.randomise(vgg, "output")(x))
assert np.array_equal(shuffled(x).asnumpy(), evaluation.randomise(vgg, "output")(x).asnumpy())

# %% [markdown]
# > **Predict.** Four kinds of map for VGG16: Grad-CAM, the plain gradient, guided backpropagation, guided Grad-CAM. The
# > last layer is shuffled, and the network's answers are worthless. Which of the four notice?

# %%
ids = [scene.class_ids[0] for scene in few]
stages = ["output", "features.33", "features.31", "features.28", "features.24", "features.19", "features.14", "features.7", "features.0"]  # fmt: skip


def four_maps(net):
    """By kind, maps (N, 224, 224); of gradients the largest magnitude over the colours."""
    rec = cam.record(net, x)
    heat = cam.grad_cam_of(rec, target=ids)
    gradient, guided = (rec.image_gradient(target=ids, rule=rule) for rule in ("plain", "guided"))
    return {
        "Grad-CAM": cam.resize_map(heat, 224),
        "plain gradient": np.abs(gradient).max(axis=1),
        "guided backprop": np.abs(guided).max(axis=1),
        "guided Grad-CAM": np.abs(cam.guided_product(guided, heat)).max(axis=1),
    }


cascade = {"trained": four_maps(vgg)}
for stage in stages:
    cascade[f"down to\n{stage}"] = four_maps(evaluation.randomise(vgg, stage))

# %%
columns = ["trained"]
columns += [f"down to\n{stage}" for stage in ("output", "features.31", "features.24", "features.14", "features.0")]
rows = []
for kind in cascade["trained"]:
    heats = [cascade[column][kind][0] for column in columns]  # of the first scene
    if kind == "Grad-CAM":
        rows.append([plot.overlay(few[0].image, heat) for heat in heats])
    else:
        rows.append([plot.grey_image(heat) for heat in heats])
show(
    plot.grid(rows, list(cascade["trained"]), columns, size=1.8),
    alt="Four kinds of map in rows, from the trained network to a wholly shuffled one. Grad-CAM moves away as soon as the last "
    "layer is shuffled. Guided backpropagation shows both animals' outlines in all columns but one.",
)

# %% [markdown]
# *What to see: one scene; the class is the same in all columns. From the second column on the network knows less
# and less. Grad-CAM leaves the animal as soon as the last layer is shuffled. Guided backpropagation goes on drawing
# both animals, but for one column.*
#
# A picture may deceive; measure it. SSIM compares two pictures patch by patch, and the rank correlation the order of
# their values: 1 means the same.

# %%
compared = {"rank correlation": metrics.rank_correlation, "SSIM": metrics.structural_similarity}
alike = {name: {} for name in compared}
for name, measure in compared.items():
    for kind, trained in cascade["trained"].items():
        means = [np.mean([measure(*pair) for pair in zip(trained, maps[kind])]) for maps in cascade.values()]
        alike[name][kind] = np.array(means)

# %%
figure, axes = plt.subplots(1, 2, figsize=(11, 3.4), layout="constrained", sharey=True)
for axis, (name, kinds) in zip(axes, alike.items()):
    for (kind, values), marker in zip(kinds.items(), "osd^"):
        axis.plot(values, marker=marker, markersize=5, label=kind)
    axis.axhline(0, color="grey", linewidth=0.8)
    axis.set_xticks(range(len(cascade)), ["trained", *stages], rotation=60, fontsize=8)
    axis.set_title(f"{name} with the trained network's map")
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=8)
show(
    figure,
    alt="Rank correlation and SSIM of four kinds of map against the trained network's, as more layers are shuffled. "
    "Guided backpropagation stays near 1 for several layers in both. Grad-CAM falls at once, its rank correlation to zero; "
    "guided Grad-CAM falls with it in rank correlation only.",
)
for kind, values in alike["rank correlation"].items():
    print(f"{kind:16}", " ".join(f"{value:5.2f}" for value in values))
by_edges = [
    metrics.rank_correlation(one, edge) for one, edge in zip(cascade["trained"]["guided backprop"], baselines.edges(x))
]
print(f"guided backprop and an edge filter that knows no network: {np.mean(by_edges):.2f}")

# %%
ranks = {kind: values[1:] for kind, values in alike["rank correlation"].items()}  # after each shuffling
assert ranks["guided backprop"][0] > 0.95 and ranks["guided backprop"][3] > 0.85
assert ranks["Grad-CAM"][0] < 0.5 and abs(ranks["Grad-CAM"][3]) < 0.3
assert ranks["guided Grad-CAM"][0] < 0.6 and all(ranks["guided backprop"] > ranks["plain gradient"])
assert np.mean(by_edges) < 0.5 and all(alike["SSIM"]["guided Grad-CAM"][1:-2] > 0.8)

# %% [markdown]
# *What to see: the mean over five scenes. From left to right more and more layers are shuffled, from the logits down.
# On the left Grad-CAM and guided Grad-CAM fall at once, guided backpropagation late. On the right the order is
# another.*
#
# Grad-CAM notices at once. Guided backpropagation does not notice that the answers are worthless; with four layers
# shuffled its map is nearly the one of the trained network. The plain gradient lies in between: it keeps much of its
# look too. And guided Grad-CAM notices only because Grad-CAM is one of its two factors. What guided backpropagation
# draws so sharply comes from the *lower* layers. It is no plain edge filter of the picture, as the last number says. But
# it would be as sharp for a network that cannot tell a zebra from a drake.
#
# Two cautions. A measure can deceive as a picture can: by SSIM guided Grad-CAM hardly changes, though anybody sees
# that it does. Most of it is black, and two black patches are alike. That is why you look at both measures, and at the
# pictures. And to notice is necessary and not sufficient: random cells, drawn anew, would pass this test too.
#
# ## Two of one kind
#
# Mirror a scene's single animal into its other half: two of one class.
#
# > **Predict.** Will the map mark both? Then erase one of them, left or right. What happens to the probability, and
# > what to the logit?


# %%
def twins(seed):
    """Picture, left and right mask, class; None if the animal meets its mirror image."""
    scene = scenes.draw(seed, objects=1)
    mask, mirrored = scene.masks[0], scene.masks[0][:, ::-1]
    if (mask & mirrored).any():
        return None
    image = scene.image.copy()
    image[mirrored] = scene.image[:, ::-1][mirrored]
    left, right = (mask, mirrored) if np.nonzero(mask)[1].mean() < 112 else (mirrored, mask)
    return image, left, right, scene.class_ids[0]


pairs = [found for found in map(twins, scenes.TEST_SEEDS[:80]) if found][:12]
versions = []
for image, left, right, _ in pairs:
    versions += [image, erased(image, left), erased(image, right), erased(image, left | right)]
versions = batch(versions)  # (12 x 4, 3, 224, 224)
of_pairs = [class_id for *_, class_id in pairs]


def on_twins(maps):
    """In which share of the scenes a map has at least a quarter on each animal, and less than chance on both together."""
    share = np.array([metrics.share_on_object(heat, left, right) for heat, (_, left, right, _) in zip(maps, pairs)])
    energy = np.array([metrics.energy_in_mask(heat, left | right) for heat, (_, left, right, _) in zip(maps, pairs)])
    chance = np.array([(left | right).mean() for _, left, right, _ in pairs])
    return (np.abs(share - 0.5) <= 0.25).mean(), (energy < chance).mean()


marked, answers = {}, {}
for name, one in (("ResNet50v2", net), ("VGG16", vgg)):
    rec = cam.record(one, versions, [], image_gradient=False)
    chosen = np.arange(48), np.repeat(of_pairs, 4)  # of each of the 48 pictures, its own class
    answers[name] = [values[chosen].reshape(12, 4).mean(axis=0) for values in (rec.logits, rec.probabilities)]
    marked[name] = on_twins(cam.grad_cam(one, versions[::4], target=of_pairs))
    print("{}: both are marked in {:.0%} of the scenes, less than chance on them in {:.0%}".format(name, *marked[name]))
    for title, z, p in zip(("both", "right only", "left only", "neither"), *answers[name]):
        print(f"    {title:10} logit {z:5.2f}, probability {p:.2f}")

# %%
logit, probability = answers["ResNet50v2"]
assert marked["ResNet50v2"][0] == 1 and marked["VGG16"][0] < 0.5 and answers["VGG16"][1][:3].min() > 0.9
assert probability[:3].min() > 0.9 and probability[3] < 0.2 and all(np.abs(logit[1:3] / logit[0] - 0.5) < 0.1)

# %% [markdown]
# ResNet50v2 marks both in every scene. Erase either, and half of the logit goes, while the probability stays above 0.9.
# So neither of the two *causes* the answer by itself, although each has half of the evidence.
#
# VGG16's answers are as sure, with either animal alone, and yet its Grad-CAM marks both in fewer than half of the
# scenes. Here it is the map that fails. The next part shows one way in which that comes about.
#
# ## Grad-CAM failing on purpose
#
# Grad-CAM replaces a channel's gradient by its mean. What if the class weighs the same channel differently at different
# places? HiResCAM leaves the averaging out ([Draelos and Carin 2020](https://arxiv.org/abs/2011.08891)):
#
# $$\text{Grad-CAM} = \mathrm{ReLU}\Big(\sum_k \overline{g_k}\, A_k\Big) \qquad
# \text{HiResCAM} = \mathrm{ReLU}\Big(\sum_k g_k \odot A_k\Big), \qquad g_k = \frac{\partial y^c}{\partial A_k}$$
#
# Here $\odot$ multiplies position by position. By hand: one channel that sees a zebra at the upper left and a larger one at
# the lower right, and a class that counts the left column only.
#
# > **Predict.** Where is the maximum of each of the two maps?

# %%
A = np.array([[[1.0, 0.0], [0.0, 2.0]]])  # (K, h, w)
gradient = np.array([[[1.0, 0.0], [1.0, 0.0]]])


def grad_cam_map(gradient, A):
    return np.maximum((gradient.mean(axis=(1, 2), keepdims=True) * A).sum(axis=0), 0)


def hires_map(gradient, A):
    return ...  # your code


# %% [markdown] tags=["solution-hires_map"]
# <details><summary>Hint</summary>
#
# Multiply position by position, add up the channels, keep what is positive. No average.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def hires_map(gradient, A):
#     return np.maximum((gradient * A).sum(axis=0), 0)
# ```
#
# </details>

# %%
hires_map = lesson.fill("hires_map", hires_map)
print("the score", (gradient * A).sum())
print("Grad-CAM ", grad_cam_map(gradient, A).tolist())
print("HiResCAM ", hires_map(gradient, A).tolist())
exercises.check(
    "HiResCAM", hires_map(gradient, A), [[1, 0], [0, 0]], {"the gradient was averaged": grad_cam_map(gradient, A)}
)
against = {"the ReLU is missing": (-gradient * A).sum(axis=0)}
exercises.check("HiResCAM where all speaks against the class", hires_map(-gradient, A), np.zeros((2, 2)), against)

# %% [markdown]
# The score is 1, and all of it comes from the upper left. Grad-CAM has its maximum at the lower right, where the class
# does not look at all. Now the same with a real network: ResNet50v2 with one eye closed. Its Dense layer sees all 7x7
# positions, and the weights of the four columns at the right are zero.


# %%
class LeftEye(HybridBlock):
    """ResNet50v2 up to the input of its pooling, and a Dense layer that reads the three columns at the left."""

    def __init__(self, net):
        super().__init__()
        self.body, self.output = nn.HybridSequential(), nn.Dense(20, use_bias=False, in_units=512 * 49)
        self.body.add(*net.features[:11])
        self.output.initialize()
        sees = np.arange(7) < 3
        weight = net.output.weight.data().asnumpy()[:, :, None, None] / 49 * np.tile(sees, (7, 1))  # (20, 512, 7, 7)
        self.output.weight.set_data(nd.array(weight.reshape(20, -1)))

    def hybrid_forward(self, F, x):
        return self.output(self.body(x))


# %%
one_eyed, (image, left, right, class_id) = LeftEye(net), pairs[0]
maps = {
    "Grad-CAM": cam.grad_cam(one_eyed, batch([image]), target=class_id)[0],
    "HiResCAM": cam.hires_cam(one_eyed, batch([image]), target=class_id)[0],
}
rec = cam.record(one_eyed, batch([image, erased(image, left), erased(image, right)]), image_gradient=False)
compare("HiResCAM, mine and cam's", hires_map(rec.gradient(target=class_id)[0], rec.features()[0]), maps["HiResCAM"])
print("logit: both {:.2f}, left one erased {:.2f}, right one erased {:.2f}".format(*rec.logits[:, class_id]))
shares = {title: metrics.share_on_object(heat, left, right) for title, heat in maps.items()}
print("share of the map on the left one:", {title: round(value, 2) for title, value in shares.items()})
show(
    plot.grid(
        [[image, *(plot.overlay(image, heat) for heat in maps.values())]],
        [net.labels[class_id]],
        ["two of a kind", *maps],
        size=2.6,
    ),
    alt="An animal and its mirror image. Grad-CAM marks both, HiResCAM only the left one.",
)

# %% [markdown]
# *What to see: a network that is blind on its right side. Grad-CAM marks both animals, HiResCAM the left one.*

# %%
before, without_left, without_right = rec.logits[:, class_id]
assert abs(without_left) < 0.1 * before and abs(without_right - before) < 0.1 * before
assert shares["HiResCAM"] > 0.95 and 0.3 < shares["Grad-CAM"] < 0.7
by_hires = on_twins(cam.hires_cam(vgg, versions[::4], target=of_pairs))
for title, found in (("Grad-CAM", marked["VGG16"]), ("HiResCAM", by_hires)):
    print("VGG16, {}: both are marked in {:.0%}, less than chance on them in {:.0%}".format(title, *found))
assert by_hires[1] == 0 and marked["VGG16"][1] == 0.5

# %% [markdown]
# The intervention decides who is right: without the left animal the logit is gone, without the right one nothing
# changes. Where only an average and one Dense layer follow, the two maps are equal (lesson 6) and this cannot happen.
# VGG16's Dense layers weigh positions differently, without anybody having built it on purpose, and there the maps
# differ. On the twins of before, Grad-CAM has less than chance on the animals in half of the scenes, HiResCAM in none.
#
# Does it follow that HiResCAM is better? It is truer to what the network computes *behind* the layer. That is not the
# same as to lie on the object. Measure.
#
# ## Methods, layers, networks
#
# Grad-CAM has many successors. Here are four methods of one family, at two layers of each of three networks. One is the
# layer that `cam` recommends. The other is what people take for "the last convolution": in VGG16 before its ReLU, in the
# other two the end of a branch. Grad-CAM++ ([Chattopadhay et al. 2018](https://arxiv.org/abs/1710.11063)) and LayerCAM
# ([Jiang et al. 2021](https://doi.org/10.1109/TIP.2021.3089943)) keep only what speaks *for* the class, in two different
# ways.
#
# > **Predict.** Is there one winner? What moves the numbers more, the method or the layer?

# %%
methods = {
    "Grad-CAM": cam.grad_cam,
    "HiResCAM": cam.hires_cam,
    "Grad-CAM++": cam.grad_cam_plus_plus,
    "LayerCAM": cam.layer_cam,
}
places = {
    "VGG16": (vgg, ["features.28", "features.29"]),
    "ResNet50v2": (net, ["features.8.2.conv3", "features.10"]),
    "EfficientNet-Lite0": (cam.efficientnet_lite0(), ["features.15.project", "features.17"]),
}
shares_of, seeds = {}, scenes.TEST_SEEDS[:8]
print(f"{'share on the right object':40}", *(f"{title:21}" for title in methods))
for name, (one, layers) in places.items():
    found = evaluation.compare(one, methods, layers, seeds)
    for layer in layers:
        of_layer = {row.method: row for row in found if row.layer == layer}
        shares_of[name, layer] = {title: row.share.mean() for title, row in of_layer.items()}
        print(f"{name:20}{layer:20}", *(f"{row.interval('share')!s:21}" for row in of_layer.values()))
edge_rows = evaluation.compare(net, {"edges": baselines.edges}, None, seeds)
print(f"{'edges, no network':40} {edge_rows[0].interval('share')}")

# %%
for row in shares_of.values():
    assert max(row["Grad-CAM++"], row["LayerCAM"]) < row["Grad-CAM"]
assert shares_of["VGG16", "features.29"]["HiResCAM"] < shares_of["VGG16", "features.29"]["Grad-CAM"]
spread_of_methods = np.mean([max(row.values()) - min(row.values()) for row in shares_of.values()])
rows = list(shares_of.values())
between = {
    title: np.mean([abs(one[title] - two[title]) for one, two in zip(rows[::2], rows[1::2])]) for title in methods
}
between_layers = np.mean(list(between.values()))
winners = {max(row, key=row.get) for row in rows}
print(
    f"mean difference between the best and the worst method {spread_of_methods:.2f}, between the two layers {between_layers:.2f}"
)
print("between the two layers, by method:", ", ".join(f"{title} {value:.2f}" for title, value in between.items()))
print("best somewhere:", ", ".join(sorted(winners)))
assert winners == {"Grad-CAM", "HiResCAM"} and spread_of_methods > between_layers
assert max(between, key=between.get) == "Grad-CAM" and max(between["Grad-CAM++"], between["LayerCAM"]) < 0.05

# %% [markdown]
# No winner in every row, but two losers: Grad-CAM++ and LayerCAM are behind Grad-CAM in each, if only by a hair at
# EfficientNet-Lite0's branch. Often they have not much more than an edge filter. They were made to cover the whole of an
# object and all objects of a class. For that they drop what speaks *against* the class, and that is what tells the zebra
# from the drake: a likely reason, and you can test it on the scenes. The choice of the method moves the numbers more than
# that of the layer here. For the two losers no layer helps. For Grad-CAM the layer matters most.
#
# In VGG16's relu5_3 HiResCAM, which is truer to the network, has the *smaller* share: Grad-CAM's averaging smooths, and
# smooth happens to be good here. With eight scenes the intervals are wide; take more before you rely on a difference.
#
# Score-CAM is missing, since it takes a forward pass for every channel: see exercise 2.
#
# ## Three things that a map is not
#
# **Not a segmentation.** Cut the map at 15 % of its maximum, as the Grad-CAM paper does for its boxes, and compare with
# the mask: intersection over union. For comparison take a map that knows the truth: the mask itself,
# averaged into 7x7 cells.

# %%
ceiling = []
for scene in drawn[:40]:
    for mask in scene.masks:
        cells = mask.reshape(7, 32, 7, 32).mean(axis=(1, 3))
        ceiling.append(metrics.intersection_over_union(cells, mask))
print(f"Grad-CAM {measured['Grad-CAM'].interval('overlap')}, the true mask in 7x7 cells {np.mean(ceiling):.3f}")
assert measured["Grad-CAM"].overlap.mean() < np.mean(ceiling) < 0.5

# %% [markdown]
# Even the truth, seen through 49 cells, is a poor segmentation, and Grad-CAM is not far below it. A map tells the
# region and not the outline; it is the layer's grid that sets the limit.
#
# **Not a probability.** Softmax sees differences of logits only. So subtract the zebra's row of the last layer from
# *every* row: each probability of each picture is what it was.
#
# > **Predict.** What does the zebra's map look like afterwards?


# %%
def probabilities(net, x):
    return cam.record(net, x, [], image_gradient=False).probabilities


scene = scenes.draw(seed=7)
zebra, drake = scene.class_ids
shifted = cam.resnet50_v2()
for parameter in (shifted.output.weight, shifted.output.bias):
    rows = parameter.data()
    parameter.set_data(rows - rows[zebra : zebra + 1])
x = batch([scene.image])
print(f"largest difference of a probability {np.abs(probabilities(shifted, x) - probabilities(net, x)).max():.0e}")
emptied = cam.grad_cam(shifted, x, target=zebra)[0]
print(
    f"largest value of the zebra's map {cam.grad_cam(net, x, target=zebra).max():.3f}, and after the shift {emptied.max():.0e}"
)
difference = [cam.grad_cam(one, x, target=lambda z: z[:, zebra] - z[:, drake])[0] for one in (net, shifted)]
compare("maps of zebra minus drake", *difference)
assert np.allclose(probabilities(shifted, x), probabilities(net, x), atol=1e-5) and emptied.max() == 0
assert np.allclose(*difference, atol=1e-4)

# %% [markdown]
# It is empty. Two networks that agree on every probability can have different maps: a map explains a logit, and a logit
# by itself has no meaning to softmax. The map of a *difference* of two logits is the same in both. Ask "why zebra
# rather than drake?" when that is the question.
#
# **Not a cause.** You have seen it twice. The tag had no more evidence than the animal, and swapping it turned every
# answer. Of two twins each had half of the evidence, and neither was needed.
#
# ## The trust card
#
# Before you show a map to somebody, fill in one page. Here it is, empty:
#
# | question | answer |
# |---|---|
# | What is asked? | network, class, probability |
# | Is the layer whole? | path |
# | Does the map add up? | sum + bias against the logit |
# | Do Grad-CAM and HiResCAM agree? | rank correlation |
# | Does it beat the best dumb baseline? | energy in the mask, both (if there is a mask) |
# | Is it this class's map? | rank correlation with another class's map |
# | Does it notice a shuffled last layer? | rank correlation |
# | Does the network need what it marks? | probability without the highest eighth; without a random eighth |
# | Which suspicion did you test? | what you changed, and what happened |
# | So what may be said? | one sentence |
#
# The first line asks for the probability because every class has a map, even one that is not in the picture. In lesson 3
# VGG16's was the brighter one.
#
# And filled in, for the zebra of scene 7:


# %%
def trust_card(net, image, masks, class_ids):
    """The card's computed lines for the first of two objects, by question; masks are bool (2, H, W)."""
    target, rival = class_ids
    x, pixels = batch([image]), normalise(image)
    rec = cam.record(net, x, image_gradient=False)
    layer = rec.layers[0]
    whole = next(row.whole for row in cam.layers(net, x) if row.path == layer)
    heat = cam.grad_cam(net, x, target=target)[0]
    total = cam.grad_cam(net, x, target=target, relu=False).sum() + net.output.bias.data()[target].asscalar()

    hires = cam.hires_cam(net, x, target=target)[0]
    of_rival = cam.grad_cam(net, x, target=rival)[0]
    of_shuffled = cam.grad_cam(evaluation.randomise(net, "output"), x, target=target)[0]
    dumb = {"edges": baselines.edges(x), "centre": baselines.centre(x), "the picture": baselines.image_itself(x)}
    energy = {title: metrics.energy_in_mask(one[0], masks[0]) for title, one in dumb.items()}
    best = max(energy, key=energy.get)

    def without(heat, fill=metrics.grey):
        """The probability without the highest eighth of a map."""
        return metrics.deletion(heat, pixels, evaluation.score_of(net, target), fill, 8)[1]

    by_chance = np.mean([without(baselines.random_map(x, seed)[0]) for seed in range(3)])
    return {
        "What is asked?": f"{net.labels[target]}, probability {rec.probabilities[0, target]:.2f}",
        "Is the layer whole?": f"{layer}: {'yes' if whole else 'no, a part'}",
        "Does the map add up?": f"{total:.3f}; the logit is {rec.logits[0, target]:.3f}",
        "Do Grad-CAM and HiResCAM agree?": f"{metrics.rank_correlation(heat, hires):.2f}",
        "Does it beat the best dumb baseline?": f"energy {metrics.energy_in_mask(heat, masks[0]):.2f}; {best} {energy[best]:.2f}",
        "Is it this class's map?": f"correlation with {net.labels[rival]}'s: {metrics.rank_correlation(heat, of_rival):.2f}",
        "Does it notice a shuffled last layer?": f"correlation {metrics.rank_correlation(heat, of_shuffled):.2f}",
        "Does the network need what it marks?": f"without the highest eighth {without(heat):.2f} (grey), "
        f"{without(heat, metrics.blur):.2f} (blur); without a random one {by_chance:.2f}",
    }


def as_table(card):
    return "\n".join(["| question | answer |", "|---|---|", *(f"| {ask} | {answer} |" for ask, answer in card.items())])


# %%
card = trust_card(net, scene.image, scene.masks, scene.class_ids)
no_drake = probabilities(net, batch([erased(scene.image, scene.masks[1])]))[0, zebra]
no_zebra = probabilities(net, batch([erased(scene.image, scene.masks[0])]))[0, zebra]
card["Which suspicion did you test?"] = f"zebra erased: {no_zebra:.2f}; drake erased: {no_drake:.2f}"
card["So what may be said?"] = (
    "The network's evidence for 'zebra' is on the zebra, and it needs the zebra to say so. No word about its outline."
)
display(Markdown(as_table(card)))
assert card["Does it beat the best dumb baseline?"] == "energy 0.19; edges 0.17"
assert 0.015 < scene.masks[0].mean() < 0.025 and scene.masks[0].mean() * 49 < 1.5

# %% [markdown]
# Read it line by line. The layer is whole, and the map adds up to the logit. It is this class's map and nearly the
# opposite of the drake's. It forgets when the network forgets. The network needs what it marks, whatever is painted
# there. One line is weak: the edges of the picture have nearly as much energy in the mask. This zebra covers 2 % of
# the picture, less than a cell and a half of the map. So say "there", and not "exactly so".
#
# ## On your own
#
# **1.** ★ Fill in the card for the suspect of the beginning, with scene 7 and its zebra's tag. Which line gives it
# away?

# %% [markdown] tags=["solution-exercise_1"]
# <details><summary>Hint</summary>
#
# `trust_card(suspect, tagged.image, tagged.masks, tagged.class_ids)`, with `tagged = scenes.tag(scene, class_id)`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# tagged = scenes.tag(scene, scene.class_ids[0])
# card = trust_card(suspect, tagged.image, tagged.masks, tagged.class_ids)
# display(Markdown(as_table(card)))
# assert top(suspect, [scenes.tag(scene, scene.class_ids[1]).image])[0] == scene.class_ids[1]
# # One line fails, that of the baselines: an edge filter has more on the zebra than the map. So the evidence lies
# # elsewhere too. Another is weak: with the last layer shuffled the map is still much like the one before.
# # Where, and what it does, the card cannot tell. The experiment in the last line of the code can: with the other tag, and
# # both animals as they were, the answer is the other class. A card is as good as the experiments that somebody thinks of.
# ```
#
# </details>

# %%
lesson.solution("exercise_1")  # or your own code

# %% [markdown]
# **2.** ★★ Score-CAM ([Wang et al. 2020](https://arxiv.org/abs/1910.01279)) weighs each channel by what the network
# says to the picture seen through it. It needs no gradient. Run `cam.score_cam` for one scene and VGG16 beside
# Grad-CAM: what does it cost?

# %% [markdown] tags=["solution-exercise_2"]
# <details><summary>Hint</summary>
#
# `cam.score_cam(vgg, x, target=label)`; `metrics.share_on_object` measures it.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# import time
#
# one = scenes.draw(scenes.TEST_SEEDS[0])
# x, masks = cam.load_image(one.image), one.masks
# for title, method in (("Grad-CAM", cam.grad_cam), ("Score-CAM", cam.score_cam)):
#     started = time.perf_counter()
#     heat = method(vgg, x, target=one.labels[0])[0]
#     share = metrics.share_on_object(heat, *masks)
#     print(f"{title:9} share on the right object {share:.3f}, {time.perf_counter() - started:.2f} s")
# print(f"Score-CAM asked the network once for each of {cam.record(vgg, x).features().shape[1]} channels")
# # It needs no gradient, and pays for it with a forward pass for every channel. One scene tells nothing about which is better.
# ```
#
# </details>

# %%
lesson.solution("exercise_2")  # or your own code

# %% [markdown]
# **3.** ★★★ Bend the network, so that all its probabilities stay what they are and the map of "zebra" lies on the drake
# of scene 7.

# %% [markdown] tags=["solution-exercise_3"]
# <details><summary>Hint</summary>
#
# Subtract the zebra's row from every row of the weights, and add the drake's. Do the same with the biases.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# bent = cam.resnet50_v2()
# zebra, drake = (net.labels.index(label) for label in scene.labels)
# for parameter in (bent.output.weight, bent.output.bias):
#     rows = parameter.data()
#     parameter.set_data(rows - rows[zebra : zebra + 1] + rows[drake : drake + 1])
# x = batch([scene.image])
# print("largest difference of a probability:", np.abs(probabilities(bent, x) - probabilities(net, x)).max())
# for title, one in (("as trained", net), ("bent", bent)):
#     heat = cam.grad_cam(one, x, target=zebra)[0]
#     print(f"{title:10} share of the zebra's map on the zebra {metrics.share_on_object(heat, *scene.masks):.3f}")
# assert np.allclose(probabilities(bent, x), probabilities(net, x), atol=1e-5)
# assert np.allclose(cam.grad_cam(bent, x, target=zebra), cam.grad_cam(net, x, target=drake), atol=1e-4)
# # Every probability of every picture is what it was, and the zebra's map is now the drake's.
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
# **1.** A network is right in 98 % of the pictures, and its map lies partly on a tag. What proves that the tag decides?
#
# - **A.** The brightness of the map on the tag.
# - **B.** More pictures with the same tag.
# - **C.** A second method whose map lies on the tag too.
# - **D.** Swap the tag, leave all else as it is, and see whether the answer follows.
#
# <details><summary>Answer</summary>
#
# **D.** A map gives a suspicion. Only a change of one thing, with the rest held still, shows what the answer depends on.
#
# </details>
#
# **2.** Two maps come from each scene. How is an interval over all maps made?
#
# - **A.** Draw whole scenes, each with both of its maps.
# - **B.** Keep the better map of each scene.
# - **C.** Draw single maps, since there are more of them.
# - **D.** Take the interval of the first objects only and halve it.
#
# <details><summary>Answer</summary>
#
# **A.** Maps of one scene are no independent witnesses. Drawing single maps can make the interval too narrow or too wide.
#
# </details>
#
# **3.** You remove what the map of the other class marks, and the probability of your class rises. Why?
#
# - **A.** The rival's logit fell, and probabilities are shared.
# - **B.** The map of your class was wrong.
# - **C.** The removed region contained your object.
# - **D.** The fill looks like your class.
#
# <details><summary>Answer</summary>
#
# **A.** Softmax divides one whole among the classes. Look at the logit beside the probability before you explain a rise.
#
# </details>
#
# **4.** After the last layer was shuffled, a map looks the same as before. What do you know?
#
# - **A.** The network did not need its last layer.
# - **B.** The network has been trained well.
# - **C.** This kind of map does not tell what that layer had learned.
# - **D.** The map is robust, which is good.
#
# <details><summary>Answer</summary>
#
# **C.** A map that explains an answer must change when that which gives the answer is destroyed. Robust is the wrong word.
#
# </details>
#
# **5.** Grad-CAM marks two places, HiResCAM one of them, and the layer is the same. What may have happened?
#
# - **A.** HiResCAM has a lower resolution.
# - **B.** Grad-CAM has found an object that the network uses and HiResCAM overlooks.
# - **C.** The gradient differs from place to place, and its mean carried weight to where there was none.
# - **D.** The ReLU of Grad-CAM was forgotten.
#
# <details><summary>Answer</summary>
#
# **C.** Grad-CAM gives every position the mean gradient of its channel. Where the net weighs places differently, that is not what it computed.
#
# </details>

# %% [markdown]
# **Rule of thumb.** Believe a map as far as you have tried to break it: beat the dumb baselines, change the picture,
# shuffle the network, ask for another class. What survives is evidence about where. The cause you prove by changing it.
#
# **Read more.** Adebayo, Gilmer, Muelly, Goodfellow, Hardt and Kim, [Sanity checks for saliency
# maps](https://arxiv.org/abs/1810.03292), 2018. Petsiuk, Das and Saenko, [RISE: randomized input sampling for explanation
# of black-box models](https://arxiv.org/abs/1806.07421), 2018: deletion and insertion. Draelos and Carin, [Use HiResCAM
# instead of Grad-CAM](https://arxiv.org/abs/2011.08891), 2020.
#
# **Next:** [9. Does it work on photographs?](09_does_it_work_on_photographs.ipynb)
