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
# # 9. Does it work on photographs?
#
# **You will learn** to explain a photograph with a network that knows ImageNet's 1000 classes; what a wrong
# normalisation does; how to ask one photograph two questions; and whether the answer of lessons 5 and 6 holds for a network
# that nobody made for this course.
#
# **You need** lessons 3 to 6. **It takes** about 40 minutes.

# %%
# %matplotlib inline
from pathlib import Path

import cam  # before mxnet, so that MXNet uses every core
from cam import baselines, evaluation, exercises, metrics, plot, scenes
from cam.nets.labels import imagenet_labels
from course import Lesson, imagenet_weights, show

import numpy as np

lesson = Lesson(9, globals())
net = cam.efficientnet_lite0()  # embedded, with weights for ImageNet
names = ("astronaut", "camera", "chelsea", "coffee", "grace_hopper", "rocket")
files = [Path("photographs", f"{name}.jpg") for name in names]
found = {file.stem: cam.explain(net, file) for file in files}
one = found["coffee"]
one_row = [[one.photograph, one.overlay()]]
show(
    plot.grid(one_row, [f"{one.label}, {one.probability:.0%}"], ["the photograph", "Grad-CAM"], size=3.4),
    alt="A cup of coffee on a saucer, and the same photograph with the map of the class espresso, bright on the coffee.",
)

# %% [markdown]
# *What to see: a photograph, and where the network finds its espresso: on the coffee, inside the cup. The square is what
# the network is shown.*
#
# So far each network knew 20 cut-outs. EfficientNet-Lite0 knows 1000 classes and real photographs. It is an ordinary
# Gluon net of 16 blocks, nine of which add their input with a plain `+`. Its ReLU6, a ReLU that stops at 6, is a plain
# `clip`. Nothing was rewritten to explain it.
#
# ## What does it say?
#
# > **Predict.** The photographs show a cat, a cup of coffee, a rocket, a man with a camera on a tripod, an astronaut
# > with a flag and a model of the shuttle, and a naval officer before a flag. ImageNet has no class "person", no
# > "astronaut" and no "flag". What will the network say to the last two?

# %%
xs = {file.stem: cam.load_image(file, net=net) for file in files}


def first_five(x):
    """The five most probable classes: [(label, probability)]."""
    p = cam.record(net, x, image_gradient=False).probabilities[0]
    return [(net.labels[number], p[number]) for number in np.argsort(-p)[:5]]


firsts = {name: first_five(x) for name, x in xs.items()}
for name, five in firsts.items():
    print(f"{name:13}", ", ".join(f"{label} {p:.2f}" for label, p in five))
first_p = {name: five[0][1] for name, five in firsts.items()}
assert min(first_p["coffee"], first_p["camera"]) > 0.9
assert max(first_p[name] for name in ("rocket", "astronaut", "grace_hopper")) < 0.25
assert firsts["rocket"][3][0] == "space shuttle" and firsts["grace_hopper"][2][0] == "military uniform"

# %% [markdown]
# Of coffee and tripod it is sure. The cat is three cats at once, with nothing wrong in that: the photograph does not
# tell which. The rocket is a missile or a drilling platform; "space shuttle" comes fourth. For the astronaut herself
# there is no class among the 1000, and the network says "bobsled" and "football helmet". The officer is given an
# academic gown and a mortarboard; "military uniform" would be right, and comes third. In these three the first
# probability is small, and that is the only sign of it.
#
# ## What the network is shown
#
# A network wants its pixels as it got them in training. Most ImageNet networks subtract a mean colour; this one was
# trained with (pixel - 127) / 128. In `cam` this belongs to the net (`net.normalisation`), and `cam.explain` and
# `cam.load_image(..., net=net)` ask for it. Do it by hand:

# %%
pixels = one.placement.view(one.photograph, net.normalisation)  # (224, 224, 3), 0 to 255: the middle of the photograph
by_hand = ...  # your code: (3, 224, 224)

# %% [markdown] tags=["solution-by_hand"]
# <details><summary>Hint</summary>
#
# Subtract 127, divide by 128, and move the channels to the front.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# by_hand = np.moveaxis((pixels.astype(np.float32) - 127) / 128, -1, 0)
# ```
#
# </details>

# %%
by_hand = lesson.fill("by_hand", by_hand)
exercises.check(
    "the net's input", by_hand, xs["coffee"][0].asnumpy(),
    {"that is what other nets take; this one has 127 and 128": cam.load_image(pixels)[0].asnumpy()},
)  # fmt: skip

# %% [markdown]
# > **Predict.** What happens with the mean and deviation that other networks use? An error, nonsense, or nothing much?

# %%
renamed = []
for file in files:
    (right, p), (wrong, q) = firsts[file.stem][0], first_five(cam.load_image(file))[0]  # without net=
    print(f"{file.stem:13} right: {right:15} {p:.2f}   wrong: {wrong:18} {q:.2f}")
    renamed += [file.stem] if right != wrong else []
assert renamed == ["astronaut"]

# %% [markdown]
# No error. Five of the six first names stay, the probabilities shift up or down, and only the astronaut gets another name.
# That is why a wrong normalisation is found so late: nothing breaks. Compare the numbers with published ones, or ask the
# net.
#
# ## The maps

# %%
shown = ["coffee", "camera", "grace_hopper", "astronaut"]


def gradient_on_photograph(explanation, values):
    """A picture of what the net saw, grey or in colour, carried to the photograph's size."""
    values = values if values.ndim == 3 else np.stack([values] * 3, axis=-1)
    back = explanation.placement.to_photograph(np.moveaxis(values.astype(np.float32), -1, 0))
    return np.moveaxis(back, 0, -1).astype(np.uint8)


rows = []
for name in shown:
    one = found[name]
    rows.append([
        one.photograph,
        one.overlay(),
        gradient_on_photograph(one, plot.signed_image(one.guided_grad_cam)),
        gradient_on_photograph(one, plot.grey_image(one.saliency)),
    ])  # fmt: skip
titles = [f"{name}\n{found[name].label} ({found[name].probability:.0%})" for name in shown]
show(
    plot.grid(rows, titles, ["photograph", "Grad-CAM", "guided Grad-CAM", "saliency"], size=2.2),
    alt="Four photographs in rows, each with Grad-CAM, guided Grad-CAM and saliency at its full size. Grad-CAM lies on the "
    "coffee, on the tripod, on the officer's cap and jacket, and on the collar and helmet of the astronaut's suit.",
)

# %% [markdown]
# *What to see: each row is a photograph, and what lies outside the network's view is plain or black. In Grad-CAM the
# espresso is on the coffee and the tripod on the tripod. Guided Grad-CAM draws the man's face too, where the map is not
# quite zero. The two below surprise. "Academic gown" is on the cap more than on the cloth, and "bobsled" on the rim of
# the suit, on the helmet and beside it: the network shows you what it takes for a bobsled. A map of a wrong answer
# explains the wrong answer. Saliency is the same cloud of speckles as ever.*
#
# ## Two questions to one photograph
#
# The first choice is one question among 1000. Three of the photographs show two things that ImageNet has classes for.
#
# > **Predict.** The astronaut stands before a model of the shuttle. "Space shuttle" gets a probability of 0.0005. Where will
# > its map lie: on the model, on the suit, or anywhere?

# %%
questions = {
    "camera": ["tripod", "reflex camera"],
    "astronaut": ["football helmet", "space shuttle"],
    "grace_hopper": ["Windsor tie", "military uniform"],
}
seen = {name: one.placement.view(one.photograph, net.normalisation) for name, one in found.items()}
rows, brightest, said = [], {}, {}
for name, asked in questions.items():
    rec = cam.record(net, xs[name], image_gradient=False)
    rows.append([seen[name]])
    for label in asked:
        number, heat = net.labels.index(label), cam.grad_cam_of(rec, target=label)[0]
        rows[-1].append(plot.overlay(seen[name], heat))
        brightest[label] = np.unravel_index(heat.argmax(), heat.shape)  # row and column, 0 to 6
        place = 1 + (rec.logits[0] > rec.logits[0, number]).sum()
        said[label] = rec.probabilities[0, number], place
        print(f"{name:13} {label:16} probability {said[label][0]:.4f}, number {place} of 1000")
show(
    plot.grid(rows, [f"{name}\n{', '.join(asked)}" for name, asked in questions.items()], ["seen", "first", "second"], size=2.3),
    alt="Three photographs in rows, each with the maps of two classes: tripod on its legs and reflex camera on the camera and "
    "below; football helmet on the helmet and space shuttle on the model; Windsor tie on the tie and military uniform on the "
    "cap and the jacket.",
)  # fmt: skip
assert f"{said['space shuttle'][0]:.4f}" == "0.0005" and said["space shuttle"][1] == 176
assert (
    brightest["space shuttle"] == (1, 5) and brightest["football helmet"][0] == 6 and brightest["Windsor tie"] == (5, 3)
)
assert brightest["reflex camera"][0] < 3 < brightest["tripod"][0]

# %% [markdown]
# *What to see: one photograph, two questions, two places. The helmet is found on the helmet, the tie on the tie, the uniform
# on cap and jacket. The camera's map is brightest at the camera, and covers the tripod as well.*
#
# On the model. 175 classes are more probable than "space shuttle", and still its map finds the model. So a map answers
# "where would you see one here?", whether or not the network would say the name. The probability stands in no map: read
# both.

# %% [markdown]
# ## The branch, the sum, and the input of the pooling
#
# Lesson 6 calls a map *whole* if every path from the image to the logits crosses it. Of this network's last addition,
# `features.15`, the branch ends at `features.15.project` and the shortcut is `features.14`. Then come one more block
# without an addition, a last convolution, and GAP. `features.17` is GAP's input.

# %%
layers = {
    "branch's end": "features.15.project",
    "shortcut": "features.14",
    "Add": "features.15",
    "GAP's input": "features.17",
}
table = cam.layers(net)
print("\n".join(f"{row.path:22} {row.advice or 'whole'}" for row in table if row.path in layers.values()))
ends = [row.whole for row in table if row.path.endswith("project")]  # one for each block
assert len(ends) == 16 and ends.count(False) == 9  # nine blocks add what came in
rows = []
for name in xs:
    rec = cam.record(net, xs[name], list(layers.values()), image_gradient=False)
    maps = [cam.grad_cam_of(rec, layer=layer)[0] for layer in layers.values()]
    rows.append([seen[name], *(plot.overlay(seen[name], heat) for heat in maps)])
show(
    plot.grid(rows, [f"{name}\n{found[name].label}" for name in xs], ["seen", *layers], size=1.8),
    alt="Six photographs in rows; Grad-CAM of the first choice at the branch's end, shortcut, Add and GAP's input. At the "
    "first three there are spots, some in corners; at GAP's input broad patches, on the object except beside the rocket.",
)

# %% [markdown]
# *What to see: at GAP's input the map lies on the coffee and on the tripod. The cat fills the view, and there it lies on
# the face. For the rocket it is brightest on the sky at both sides, while the other three mark its tip. Elsewhere those
# show spots, some on the object and some in corners and on the background: for the coffee the shortcut has almost nothing
# on the cup. So far it is six photographs and our eyes.*
#
# ## Measured
#
# Photographs have no masks, so looking is all that they allow. Our scenes have masks, and their 20 classes are classes
# of ImageNet. So the same network can be measured: 100 test scenes with two objects, both explained.
#
# > **Predict.** Which of the four layers has the largest share on the right object? And will the branch's end be behind
# > its Add, as in lesson 5?

# %%
seeds = scenes.TEST_SEEDS[:100]
measured = dict(zip(layers, evaluation.evaluate(net, seeds, layer=list(layers.values())).values()))
accuracy = evaluation.accuracy(net, seeds, objects=2)
print(f"first choice among the scene's two objects: {accuracy:.0%}")


def by_scene(layer, measure):
    """A measure's mean of both objects, for each scene: (100,). Scenes are independent, their two objects are not."""
    values, of_scene = getattr(measured[layer], measure), measured[layer].seed
    return np.array([values[of_scene == seed].mean() for seed in seeds])


(edges,) = evaluation.compare(net, {"edges": baselines.edges}, None, seeds)
measures = {"energy": "energy in the mask", "share": "share on the right object", "near": "pointing, 15 pixels"}
for measure, title in measures.items():
    print(title)
    for layer in layers:
        print(f"  {layer:13} {metrics.bootstrap(by_scene(layer, measure))}")
    print(f"  {'edges alone':13} {edges.interval(measure)}")
print(f"energy by chance {measured['Add'].energy.mean() / measured['Add'].times_chance:.3f}")
assert measured["branch's end"].energy.mean() < measured["GAP's input"].energy.mean() < edges.energy.mean()
assert edges.energy.mean() < measured["shortcut"].energy.mean() < measured["Add"].energy.mean()
assert all(metrics.bootstrap(by_scene(layer, "share")).low > 0.5 for layer in layers)

# %% [markdown]
# "Edges alone" is the picture's edges, without any network, as in lessons 3 and 8: what a map of this network must beat to
# be worth its price. In energy the edges beat the branch's end *and* GAP's input. In share they have one half by
# construction, and here every layer is above it: the network's part is to know *which* object.
#
# Each interval above is wide, because some scenes are harder than others. But all layers saw the same scenes, so
# compare scene by scene: the interval of the *difference* is what counts.


# %%
def paired(better, worse, measure):
    """Mean and interval of the difference between two layers on the same scenes."""
    return ...  # your code


# %% [markdown] tags=["solution-paired"]
# <details><summary>Hint</summary>
#
# `by_scene` of one layer minus `by_scene` of the other, then `metrics.bootstrap`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def paired(better, worse, measure):
#     return metrics.bootstrap(by_scene(better, measure) - by_scene(worse, measure))
# ```
#
# </details>

# %%
paired = lesson.fill("paired", paired)
expected = by_scene("Add", "share").mean() - by_scene("branch's end", "share").mean()
came = paired("Add", "branch's end", "share").mean
exercises.check("Add minus branch's end, mean of the share", came, expected, {"the other way round": -expected})
pairs = [("shortcut", "branch's end"), ("Add", "branch's end"), ("GAP's input", "branch's end"), ("GAP's input", "Add")]
for measure, title in measures.items():
    print(title)
    for better, worse in pairs:
        difference = paired(better, worse, measure)
        verdict = "more" if difference.low > 0 else "less" if difference.high < 0 else "not told apart"
        print(f"  {better:11} minus {worse:12} {difference}  {verdict}")
assert accuracy < 0.5 and all(paired(one, "branch's end", measure).low > 0 for one, _ in pairs for measure in measures)
assert paired("GAP's input", "Add", "share").low > 0 > paired("GAP's input", "Add", "energy").high

# %% [markdown]
# GAP's input has the largest share, and the branch's end is behind its Add. **The argument of lessons 5 and 6 holds on a
# network that was made by others, for ImageNet**: the end of the branch is the worst of the four in all three measures.
#
# But "the later, the better" does not hold in every measure. The Add has more of its energy inside the mask than GAP's
# input. Four convolutions lie between them. They make the map more certain of *which* object and spread it over more
# than the object. That is a likely reason and not a proven one. And on the photographs above, judge for yourself which
# of the two you would show to somebody. What a layer is worth depends on the pictures; whether it is whole does not.
#
# The network's first choice is one of the two objects in fewer than half of the scenes. Cut-outs on smooth colours are
# no photographs. The maps were asked for the objects all the same, as the shuttle was.
#
# ## Full-size VGG16 and ResNet50v2, for those who have the files
#
# MXNet's own model zoo is gone: `vgg16(pretrained=True)` ends in an error. The same networks were once exported to the
# ONNX model zoo, and `cam` knows one file for each by its sha256:
#
#     python -m cam weights list
#     python -m cam weights get resnet50_v2    # 102 MB
#     python -m cam weights get vgg16          # 553 MB
#
# Or set `CAM_IMAGENET_VGG16` or `CAM_IMAGENET_RESNET50_V2` to the path of a file that you have. Then the next cell
# repeats the comparison with them.

# %%
candidates = {"vgg16": ["features.28", "features.29"], "resnet50_v2": ["features.8.2.conv3", "features.10"]}
for name, compared in candidates.items():
    path = imagenet_weights(name)
    if not path:
        print(f"{name}: no ImageNet weights here")
        continue
    large = getattr(cam, name)(weights=path)
    large.labels = imagenet_labels()
    print(f"{name}: ImageNet weights from {path.name}")
    for photograph in files:
        of_large = cam.explain(large, photograph)
        print(f"  {photograph.stem:13} {of_large.label} {of_large.probability:.2f}")
    results = evaluation.evaluate(large, seeds[:20], layer=compared)
    chance = results[compared[-1]].energy.mean() / results[compared[-1]].times_chance
    print(f"{name}, ImageNet weights; energy by chance {chance:.3f}")
    for layer, result in results.items():
        some = result.on_objects > 0  # a map with nothing on either object has no share
        share = metrics.bootstrap(result.share[some], clusters=result.seed[some])
        print(f"  {layer:20} share {share}  energy {result.interval('energy')}")

# %% [markdown]
# ## On your own
#
# **1.** ★ Which part of the rocket's photograph does the network see with `fit="crop"`? Explain it with "letterbox"
# too. What changes?

# %% [markdown] tags=["solution-exercise_1"]
# <details><summary>Hint</summary>
#
# `cam.explain(net, "photographs/rocket.jpg", fit="letterbox")`; `placement.seen()` says what was seen.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# for fit in ("crop", "letterbox"):
#     rocket = cam.explain(net, "photographs/rocket.jpg", fit=fit)
#     seen = rocket.placement.seen().mean()
#     print(f"{fit:9} sees {seen:.0%} of the picture: {rocket.label} {rocket.probability:.2f}")
# assert rocket.label == "drilling platform" and seen == 1
# # "crop" sees the middle half, where the rocket stands. With "letterbox" the tall towers at both sides come in, and the
# # first name is another one. Nothing is lost, at the price of a smaller object and of grey bars, on which the network was
# # not trained.
# ```
#
# </details>

# %%
lesson.solution("exercise_1")  # or your own code

# %% [markdown]
# **2.** ★★ Explain the cat for "tabby", "Egyptian cat" and "tiger cat". How alike are the three maps?

# %% [markdown] tags=["solution-exercise_2"]
# <details><summary>Hint</summary>
#
# `cam.grad_cam_of(rec, target=label, relu=False)` and `np.corrcoef`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# cats = ["tabby", "Egyptian cat", "tiger cat"]
# rec = cam.record(net, xs["chelsea"], image_gradient=False)
# maps = np.array([cam.grad_cam_of(rec, target=cat, relu=False)[0].ravel() for cat in cats])
# for cat, row in zip(cats, np.corrcoef(maps)):
#     print(f"{cat:13}", "correlation with the three:", " ".join(f"{value:5.2f}" for value in row))
# # A map says where the evidence is, and rarely why one name won over its neighbour.
# ```
#
# </details>

# %%
lesson.solution("exercise_2")  # or your own code

# %% [markdown]
# **3.** ★★★ At GAP's input the signed map and the bias add up to the logit, exactly. Show it for the coffee, with the
# network as it is. The map of `cam.grad_cam(..., relu=False)` is already divided by the 49 positions.

# %% [markdown] tags=["solution-exercise_3"]
# <details><summary>Hint</summary>
#
# The bias is `net.output.bias.data()`, the class `found["coffee"].target`; compare with `found["coffee"].logit`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# one = found["coffee"]
# signed = cam.grad_cam(net, xs["coffee"], target=one.target, relu=False)[0]
# bias = net.output.bias.data()[one.target].asscalar()
# print(f"map {signed.sum():.4f} + bias {bias:.4f} = {signed.sum() + bias:.4f}; the logit is {one.logit:.4f}")
# assert np.isclose(signed.sum() + bias, one.logit, rtol=1e-4)
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
# **1.** A network gets its pixels with another network's normalisation. What do you notice?
#
# - **A.** MXNet raises an error about the range.
# - **B.** Often nothing at once; names and probabilities shift.
# - **C.** The map is empty.
# - **D.** All probabilities become equal.
#
# <details><summary>Answer</summary>
#
# **B.** The input has the right shape and a similar range, so everything runs. Only the results are worse.
#
# </details>
#
# **2.** The first of five classes has a probability of 0.24. What does that suggest about an astronaut's photograph?
#
# - **A.** The normalisation must be wrong.
# - **B.** The network has found an astronaut and is modest.
# - **C.** There may be no right class among the 1000.
# - **D.** The map must be wrong.
#
# <details><summary>Answer</summary>
#
# **C.** ImageNet has no class astronaut. A network has no answer "something else" and spreads its probability.
#
# </details>
#
# **3.** Why compare two layers by the difference in each scene, and not by their two intervals?
#
# - **A.** Because the intervals of one layer cannot be computed.
# - **B.** Both saw the same scenes, so what makes a scene hard cancels.
# - **C.** Because an interval needs at least 1000 scenes.
# - **D.** Because the difference is always positive.
#
# <details><summary>Answer</summary>
#
# **B.** Two wide intervals can overlap although one layer is better in nearly every scene. The paired difference shows it.
#
# </details>
#
# **4.** The Add has more energy in the mask, the input of GAP the larger share on the right object. Which conclusion is sound?
#
# - **A.** One of the two measures has a bug.
# - **B.** The Add is always the better layer.
# - **C.** The two measures ask different things, and both maps are whole.
# - **D.** The end of the branch is as good as either.
#
# <details><summary>Answer</summary>
#
# **C.** Energy asks how much lies inside a mask, share asks which of two objects gets it. A wider map loses in one only.
#
# </details>
#
# **5.** On a photograph without a mask, what can be said about a map?
#
# - **A.** That the layer is the best one for all pictures.
# - **B.** Its energy in the mask.
# - **C.** Where the evidence lies, for somebody to look at and judge.
# - **D.** That the network is right.
#
# <details><summary>Answer</summary>
#
# **C.** Measures need the truth. That is what the scenes are for.
#
# </details>

# %% [markdown]
# **Rule of thumb.** Before a map of a photograph, check in this order: the picture as the network gets it, its
# normalisation, the first five names. Then explain at a whole map. What has no mask can be looked at, not measured.
#
# **A photograph of your own:** `cam.explain(net, "mine.jpg").overlay()` gives the map over the picture, and
# `python -m cam explain mine.jpg` a whole panel.
#
# **Read more.** Tan and Le, [EfficientNet: rethinking model scaling for convolutional neural
# networks](https://arxiv.org/abs/1905.11946), 2019: the family that EfficientNet-Lite0 comes from.
#
# **Next:** [10. Does it work on your network?](10_does_it_work_on_your_network.ipynb)
