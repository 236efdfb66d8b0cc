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
# # 6. Which layer, then?
#
# **You will learn** one definition that names the right layer in any network; to rewrite an addition and a global
# average pooling by hand; and why, at the input of that pooling, Grad-CAM is an exact account of the logit.
#
# **You need** lessons 2, 3 and 5. **It takes** about 60 minutes.
#
# The thread in the forum went on: *take the whole map, just before the global average pooling, GAP. But the tutorial's
# `visualize()` takes only the name of its own `Conv2D`: must I modify gradcam.py? Overwrite GAP? GAP's output is 1x1,
# too small: should it be the last Add, and how does one rewrite an add operation?* There the thread ends. At the end of
# this lesson stand the answers, with numbers.

# %%
# %matplotlib inline
import warnings

import cam  # before mxnet, so that MXNet uses every core
from cam import baselines, evaluation, exercises, gradcam, metrics, plot, scenes
from cam.core.tracing import trace
from course import Lesson, compare, draw_intervals, show
from diagrams import net_graph

import matplotlib.pyplot as plt
import mxnet as mx
import numpy as np
from mxnet import autograd, nd
from mxnet.gluon import HybridBlock, nn
from mxnet.gluon.model_zoo import vision

lesson = Lesson(6, globals())
net = cam.resnet50_v2()  # the zoo's own ResNetV2, narrow, with weights for the scenes
conv3 = "features.8.2.conv3"
show(
    net_graph(
        net, conv3, "output",
        labels={conv3: "conv3", "features.8.2": "Add", "features.11": "GAP"},
        notes={
            conv3: "the learner's", "features.8.2": "the last Add?", "features.10": "just before GAP?",
            "features.11": "overwrite it?",
        },
    ),
    alt="The end of ResNet50v2 as boxes from left to right: conv3, Add, BatchNorm, ReLU, GAP, Flatten, Dense. The "
    "thread's proposals stand beside conv3, Add, ReLU and GAP.",
)  # fmt: skip

# %% [markdown]
# *What to see: the end of ResNet50v2, from the last convolution to the logits, with the thread's proposals. As in
# lesson 5 everything passes through an orange map, and there is a way around `conv3`: the shortcut, which reaches the
# Add from further left.*
#
# ## How an addition is found
#
# In the zoo's code the addition is a plain `+` inside a function. No block stands for it. But call the network with a
# symbol in the place of an image, and MXNet writes down every operator and what goes into it: the *graph*.
#
# `trace` does that. The graph's `steps` stand in the order in which they run. Weights are steps too, so
# `follows_image` says which steps come from the image. A step can have several outputs, so a map is two numbers: its
# step, and which output it is, here always 0. `graph.name` turns the two into a name.

# %%
graph = trace(net)
inputs_of = {}  # for each map that comes from the image, the maps that go into it
for index, step in enumerate(graph.steps):
    if graph.follows_image[index]:
        name = graph.name((index, 0))
        inputs_of[name] = [graph.name(source) for source in step.inputs if graph.follows_image[source[0]]]
for name, inputs in list(inputs_of.items())[-9:]:
    print(f"{name:30} <- {', '.join(inputs)}")
additions = [graph.name((index, 0)) for index, step in enumerate(graph.steps) if step.kind == "addition"]
print(f"{len(inputs_of)} maps, of which {len(additions)} are additions")
assert len(additions) == 16 and all(len(inputs_of[name]) == 2 for name in additions)
assert set(inputs_of["features.8"]) == {"features.8.1", conv3}

# %% [markdown]
# Each line is a step: the map that it makes, and the maps that go into it. An addition has two, the branch and the
# shortcut. So it is found though no block stands for it, and with nothing rewritten. The last one stands here as
# `features.8`, since it is the output of stage 4 as it is of block `features.8.2`. A step that is no block's output
# has a name of its own, such as `resnetv20_stage4_activation8`.
#
# ## Whole and part
#
# **A map is whole if every path from the image to the logits crosses it.** All that the network knows of the image
# passes through a whole map. A **part** has a way around it. What takes that way, the part does not show.
#
# How do you find the whole maps? Walk through the graph in the order in which it runs. Every path to a map crosses the
# map itself, and whatever the paths to all of its inputs have in common.
#
# > **Predict.** In this small net, which maps are whole?

# %%
small = {
    "image": [],
    "first": ["image"],
    "branch": ["first"],
    "sum": ["branch", "first"],
    "relu": ["sum"],
    "logits": ["relu"],
}


def crossed(inputs_of):
    """For each map the set of maps that every path to it crosses, itself included."""
    found = {}
    for name, inputs in inputs_of.items():
        before = [found[one] for one in inputs]  # a set for each input; none for the image
        found[name] = ...  # your code
    return found


# %% [markdown] tags=["solution-crossed"]
# <details><summary>Hint</summary>
#
# `set.intersection(*before)` is what several sets have in common; the image has no inputs, and `before` is empty.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def crossed(inputs_of):
#     found = {}
#     for name, inputs in inputs_of.items():
#         before = [found[one] for one in inputs]
#         found[name] = {name} | (set.intersection(*before) if before else set())
#     return found
# ```
#
# </details>

# %%
crossed = lesson.fill("crossed", crossed)
whole = crossed(small)["logits"]
exercises.check(
    "the whole maps of the small net", ", ".join(sorted(whole)), "first, image, logits, relu, sum",
    {
        "a map that some path crosses is not yet whole: take what the inputs have in common": ", ".join(sorted(small)),
        "every path to a map crosses the map itself too": "",
    },
)  # fmt: skip

# %% [markdown]
# All but the branch, since `sum` also gets `first` directly. Now ResNet50v2, and beside your walk `cam.layers`, which
# makes the same walk, gives each map a row, and says what to beware of:

# %%
whole = crossed(inputs_of)["output"]
print(f"{len(whole)} of {len(inputs_of)} maps are whole")
table = cam.layers(net)
for row in table[-7:]:
    print(
        f"{row.path:22} {row.kind:16} {'x'.join(map(str, row.shape)):12} {'whole' if row.whole else 'part':6} {row.advice}"
    )
with_positions = [row.path for row in table if row.whole and len(row.shape) == 4 and row.shape[2] > 1]
print("the last whole map of more than one position:", with_positions[-1])

# %%
image = next(iter(inputs_of))  # the first map; cam's table has no row for it
assert whole - {image} == {graph.name(graph.entries[row.path]) for row in table if row.whole}
assert with_positions[-1] == cam.default_layer(net) == "features.10"

# %% [markdown]
# **So this is the layer: the last whole map that still has more than one position.** In ResNet50v2 that is
# `features.10`, the input of GAP. `cam` takes it when you name none. Where that map comes out of a pooling, as in
# VGG16, it takes the one before the pooling. Here are the ends of three families:

# %%
vgg = cam.vgg16()
mx.random.seed(0)
v1 = vision.resnet50_v1(classes=5)
v1.initialize()
last_sum = next(row.path for row in reversed(cam.layers(v1)) if row.kind == "addition")
v1_branch = "features.7.2.body.7"
chosen = {network: cam.default_layer(network) for network in (vgg, v1, net)}
assert list(chosen.values()) == ["features.29", "features.7", "features.10"]
assert all(row.whole for row in cam.layers(vgg))
show(
    net_graph(vgg, "features.28", "features.31", labels={"features.28": "conv5_3"}, notes={"features.29": "take this"}),
    alt="The end of VGG16: conv5_3, ReLU, pooling, Dense, ReLU. All are orange; the ReLU after conv5_3 is marked.",
)
show(
    net_graph(
        v1, v1_branch, "output", labels={last_sum: "Add", "features.8": "GAP"},
        notes={"features.7": "take this", v1_branch: "the branch's end"},
    ),
    alt="The end of ResNet50v1: the branch's BatchNorm is blue; then Add, ReLU, GAP, Dense. The ReLU is marked.",
)  # fmt: skip
show(
    net_graph(
        net, conv3, "output", labels={conv3: "conv3", "features.8.2": "Add", "features.11": "GAP"},
        notes={"features.10": "take this", conv3: "the branch's end"},
    ),
    alt="The end of ResNet50v2: conv3 is blue; then Add, BatchNorm, ReLU, GAP, Flatten, Dense. The ReLU is marked.",
)  # fmt: skip

# %% [markdown]
# *What to see: the ends of VGG16, up to its first Dense layer, of ResNet50v1 and of ResNet50v2. In VGG16 every map is
# whole, so the recipe "take the last convolution" never met a part. In v1 a ReLU follows the Add, and the
# last block's output is GAP's input. In v2 BatchNorm and ReLU stand in between.*
#
# A definition is no proof that its layer is good. That needs numbers. First the thread's question about rewriting.
#
# ## Two blocks by hand: Add and GAP
#
# An addition passes the gradient on, unchanged, to both of its inputs. An average passes an equal share of it to each
# of its $HW$ inputs.
#
# $$y = s + f:\quad ds = dy,\ \ df = dy \qquad\qquad
# y_k = \frac{1}{HW}\sum_{i,j} x_{k,ij}:\quad dx_{k,ij} = \frac{dy_k}{HW}$$


# %%
def add_back(dy):
    """The gradients of (branch, shortcut), where dy is the gradient of their sum."""
    return ...  # your code


# %% [markdown] tags=["solution-add_back"]
# <details><summary>Hint</summary>
#
# Two gradients, and nothing to compute.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def add_back(dy):
#     return dy, dy
# ```
#
# </details>


# %%
def average_back(dy, shape):
    """The gradient of x, of this shape (N, K, H, W), where dy is that of its mean, (N, K, 1, 1)."""
    return ...  # your code: dy.broadcast_to(shape) repeats it


# %% [markdown] tags=["solution-average_back"]
# <details><summary>Hint</summary>
#
# Every position gets the same, and together they get dy.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def average_back(dy, shape):
#     return dy.broadcast_to(shape) / (shape[2] * shape[3])
# ```
#
# </details>

# %%
add_back, average_back = lesson.fill("add_back", add_back), lesson.fill("average_back", average_back)
assert len(add_back(nd.ones((1, 1, 2, 2)))) == 2, "add_back returns two gradients: the branch's and the shortcut's"


class AddFunction(autograd.Function):  # lesson 1
    def forward(self, branch, shortcut):
        return branch + shortcut

    def backward(self, dy):
        return add_back(dy)


class AverageFunction(autograd.Function):
    def forward(self, x):
        self._shape = x.shape
        return x.mean(axis=(2, 3), keepdims=True)

    def backward(self, dy):
        return average_back(dy, self._shape)


# %% [markdown]
# > **Predict.** Two inputs of 2x2 are added, then averaged; the result is multiplied by 8. Which gradient arrives at
# > each of the inputs?

# %%
branch, shortcut = nd.array([[[[1, 2], [3, 4]]]]), nd.array([[[[10, 20], [30, 40]]]])
for one in (branch, shortcut):
    one.attach_grad()
with autograd.record(train_mode=False):
    result = 8 * AverageFunction()(AddFunction()(branch, shortcut))
result.backward(train_mode=False)
for title, one in (("branch", branch), ("shortcut", shortcut)):
    print(f"gradient at the {title:8} {one.grad.asnumpy()[0, 0].tolist()}")
    likely = {
        "average_back: each of the 4 positions gets a fourth": np.full((1, 1, 2, 2), 8),
        "add_back: nothing is shared out, both get all of it": np.full((1, 1, 2, 2), 1),
    }
    exercises.check(f"gradient at the {title}", one.grad, np.full((1, 1, 2, 2), 2), likely)

# %% [markdown]
# 8 arrives at the mean, a fourth of it at each position, and the same at both inputs: 2 everywhere.
#
# ## How does one rewrite an add operation?
#
# Write the residual block's forward once more, with a block where the `+` was. Keep the old block inside, because it
# holds the parameters. The zero tap of lesson 2 does the recording: the gradient of a zero that is added to $y$ is the
# gradient of $y$.


# %%
class Tap(HybridBlock):
    """Keeps what passes in `.features`, and its gradient, after a backward pass, in `.zero.grad`."""

    def forward(self, y):
        self.features, self.zero = y.detach(), nd.zeros_like(y)
        self.zero.attach_grad()
        return y + self.zero

    def signed_map(self):
        return (self.zero.grad.mean(axis=(2, 3), keepdims=True) * self.features).sum(axis=1)[0].asnumpy()


class MyAdd(HybridBlock):
    def forward(self, branch, shortcut):
        return AddFunction()(branch, shortcut) * 1  # * 1: lesson 1


class MyGlobalAvgPool2D(HybridBlock):
    def forward(self, x):
        return AverageFunction()(x) * 1


class MyBottleneck(HybridBlock):
    """The zoo's BottleneckV2 once more, with an Add block in place of its `+`."""

    def __init__(self, original, add):
        super().__init__()
        self.original, self.add, self.tap = original, add, Tap()

    def forward(self, x):
        b = self.original
        activated = nd.relu(b.bn1(x))
        shortcut = b.downsample(activated) if b.downsample else x
        branch = b.conv1(activated)
        branch = b.conv2(nd.relu(b.bn2(branch)))
        branch = b.conv3(nd.relu(b.bn3(branch)))
        return self.tap(self.add(branch, shortcut))


def rebuilt(add, pool):
    """The net with these two in place of its last addition and its pooling, and the taps behind the two."""
    features, last, after_pool = net.features, MyBottleneck(net.features[8][2], add), Tap()
    new = nn.Sequential()
    new.add(*features[:8], features[8][0], features[8][1], last, features[9], features[10], pool, after_pool)
    new.add(features[12], net.output)
    return new, last.tap, after_pool


# %%
scene = scenes.draw(seed=7)
x, label = cam.load_image(scene.image), scene.labels[0]
number = net.labels.index(label)
at_add = cam.grad_cam(net, x, target=label, layer="features.8.2", relu=False)[0]  # (7, 7)
for title, add, pool in (
    ("my Add and GAP", MyAdd(), MyGlobalAvgPool2D()),
    ("cam.blocks", cam.blocks.Add(), cam.blocks.GlobalAvgPool2D()),
):
    swapped, after_add, after_pool = rebuilt(add, pool)
    with autograd.record(train_mode=False):
        logits = swapped(x)
        logit = logits[0, number]
    logit.backward(train_mode=False)
    compare(f"{title:14} logits, and the net's own", logits, net(x))
    compare(f"{title:14} signed map at the Add, and cam's", after_add.signed_map(), at_add)
    assert np.allclose(logits.asnumpy(), net(x).asnumpy(), atol=1e-4)
    assert np.allclose(after_add.signed_map(), at_add, atol=1e-4)

# %% [markdown]
# That is how to rewrite an add operation. `cam.blocks.Add` is the same block, ready-made. But look at the line `at_add
# = ...`: nothing was rewritten there. `cam` finds the addition in the graph and goes back through it by the rule that
# you have just written. Strictly, the Add needs no rule of its own, because `+` has the right one. What was missing is
# a place to look.
#
# ## GAP's output: one pixel
#
# > **Predict.** The thread asked whether to overwrite GAP. What will a map of its *output* look like?

# %%
at_output = after_pool.signed_map()  # by the tap behind the pooling, above
print("map at GAP's output:", at_output, "of shape", at_output.shape)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    cam.grad_cam(net, x, target=label, layer="features.11")
print(caught[0].message)
bias = net.output.bias.data().asnumpy()[number]
compare("that one number, and the logit less its bias", at_output[0, 0], logit.asscalar() - bias)

# %%
assert at_output.shape == (1, 1) and caught[0].category is cam.LayerWarning
assert np.isclose(at_output[0, 0], logit.asscalar() - bias, rtol=1e-3)

# %% [markdown]
# One number: all of the evidence, and nothing about where. GAP's output is whole, and has no positions. Its *input* is
# the last place that has both.
#
# ## Every candidate, measured
#
# Here is everything from the block before, whose output the last shortcut carries, to GAP's output, and the ends of the
# earlier stages. The measures are those of lessons 3 and 5.
#
# > **Predict.** Which one has the largest share on the right object? And is there *one* winner?

# %%
candidates = {
    "features.5": "end of stage 1",
    "features.6": "end of stage 2",
    "features.7": "end of stage 3",
    "features.8.1": "block before",
    conv3: "branch (conv3)",
    "features.8.2": "Add",
    "features.9": "BatchNorm",
    "features.10": "GAP's input",
    "features.11": "GAP's output",
}
with warnings.catch_warnings():
    warnings.simplefilter("ignore", cam.CamWarning)
    measured = evaluation.evaluate(net, scenes.TEST_SEEDS[:100], list(candidates))
print(f"{'':15} {'share':20} {'less than GAP input by':22} {'energy in the mask':20} within 15 pixels")
for name, title in candidates.items():
    one = measured[name]
    behind = measured["features.10"].interval("share", minus=one)
    print(f"{title:15} {one.interval('share')!s:20} {behind!s:22} {one.interval('energy')!s:20} {one.near.mean():.2f}")
(edges,) = evaluation.compare(net, {"edges": baselines.edges}, None, scenes.TEST_SEEDS[:100])
print(f"{'no network':15} {edges.interval('share')!s:43} {edges.interval('energy')!s:20} {edges.near.mean():.2f}")
print(f"{'by chance':15} {'about one half':43} {edges.area.mean():.3f}")

# %%
figure, axis = plt.subplots(figsize=(10, 3.2), layout="constrained")
for measure, marker, title in (("share", "o", "share on the right object"), ("energy", "s", "energy in the mask")):
    found = [measured[name].interval(measure) for name in candidates]
    draw_intervals(axis, range(len(candidates)), found, fmt=marker, label=title)
axis.set_xticks(range(len(candidates)), [title.replace(" ", "\n", 1) for title in candidates.values()], fontsize=8)
axis.set_ylim(0, 1)
axis.legend(fontsize=8)
show(
    figure,
    alt="Two measures for nine layers. The share is near 0.93 at the block before, the Add and GAP's input, a little lower "
    "at the BatchNorm, 0.80 at conv3, and lower still at the ends of stages 1 to 3. In energy the Add and the block before "
    "lead, and conv3 is level with the BatchNorm. GAP's output is last in both.",
)

# %% [markdown]
# *What to see: means over 200 maps with 95 % intervals. The last whole maps are close together near the top, and the
# branch, between two of them, falls behind in the share. The ends of stages 1 and 2 are whole too, but too early: they
# hardly know which object is meant. GAP's output is one value everywhere, so chance follows by arithmetic. In the
# table, "no network" is the edges of the picture, as in lesson 5.*

# %%
best, add = measured["features.10"], measured["features.8.2"]
for name in ("features.5", "features.6", "features.7", conv3, "features.11"):
    assert best.interval("share", minus=measured[name]).low > 0
for name in ("features.8.1", "features.8.2"):
    assert abs(best.interval("share", minus=measured[name]).mean) < 0.005
assert best.interval("energy", minus=add).high < 0
assert np.allclose(measured["features.11"].energy, measured["features.11"].area)

# %% [markdown]
# There is no one winner. In the share GAP's input, the Add and the block before differ by nothing one would see. In
# energy the Add is a little *ahead*. They are late whole maps, and for a picture any of them will do. What sets GAP's
# input apart is something else.
#
# ## Why GAP's input: there Grad-CAM is exact
#
# ResNet50v2 ends ReLU, GAP, Dense. With $A$ the input of GAP, the logit is
#
# $$y^c = b^c + \sum_k w^c_k \frac{1}{HW}\sum_{i,j} A_{k,ij}
# \qquad\text{so}\qquad \frac{\partial y^c}{\partial A_{k,ij}} = \frac{w^c_k}{HW},$$
#
# the same at every position. So averaging it, as Grad-CAM does, changes nothing. Grad-CAM without the averaging is
# called HiResCAM ([Draelos and Carin 2020](https://arxiv.org/abs/2011.08891)); here the two are one. Both are the class
# activation map, CAM, $\sum_k w^c_k A_k$ of [Zhou et al. 2016](https://arxiv.org/abs/1512.04150), over $HW$. Sum the
# signed map over all positions, add the bias, and there is the logit.
#
# > **Predict.** To how many digits?

# %%
signed = cam.grad_cam(net, x, target=label, relu=False)[0]  # (7, 7)
compare("Grad-CAM and HiResCAM", signed, cam.hires_cam(net, x, target=label, relu=False)[0])
compare("Grad-CAM and CAM / (HW)", signed, cam.class_activation_map(net, x, target=label)[0] / signed.size)
print(f"sum of the map {signed.sum():.5f} + bias {bias:.5f} = {signed.sum() + bias:.5f}")
print(f"the logit      {logit.asscalar():.5f}")

# %%
assert np.allclose(signed, cam.hires_cam(net, x, target=label, relu=False)[0], atol=1e-5)
assert np.allclose(signed, cam.class_activation_map(net, x, target=label)[0] / signed.size, atol=1e-5)
assert np.isclose(signed.sum() + bias, logit.asscalar(), atol=1e-4)

# %% [markdown]
# To all that float32 has. Before Grad-CAM's final ReLU nothing is approximated and nothing is lost: each of the 49
# positions has its exact share of the logit less the bias.
#
# At the Add it is not so. BatchNorm and ReLU come in between. BatchNorm multiplies each channel, which is part of the
# gradient, and shifts it, which is in no feature of the Add. The ReLU passes some positions on and not others, so the
# gradient is no longer the same everywhere, and averaging it loses something.
#
# ## A class that is not there
#
# Lesson 3 found that VGG16's map for an absent class can be brighter than that of a present one, and ResNet50v2's is
# nearly empty. Now you can say why. Take 30 scenes and all 20 classes: two are in the scene, 18 are not.
#
# > **Predict.** At GAP's input the map's sum is the logit less the bias, so it must be small for absent classes. Will
# > the sum at the Add be larger for the classes that are there, at least?

# %%
places = ["features.8.2", "features.10"]
biases = net.output.bias.data().asnumpy()
sums, peaks = {place: [] for place in places}, {place: [] for place in places}
evidence, present, of_scene = [], [], []
for start in range(0, 30, 10):
    drawn = [scenes.draw(seed) for seed in scenes.TEST_SEEDS[start : start + 10]]
    batch = nd.concat(*(cam.load_image(one.image) for one in drawn), dim=0)  # (10, 3, 224, 224)
    rec = cam.record(net, batch, places, image_gradient=False)
    for class_id in range(len(net.labels)):
        for place in places:
            maps = cam.grad_cam_of(rec, target=class_id, layer=place, relu=False)  # (10, 7, 7)
            sums[place] += list(maps.sum(axis=(1, 2)))
            peaks[place] += list(np.maximum(maps, 0).max(axis=(1, 2)))
        evidence += list(rec.logits[:, class_id] - biases[class_id])
        present += [class_id in one.class_ids for one in drawn]
        of_scene += range(start, start + 10)
evidence, present, of_scene = np.array(evidence), np.array(present), np.array(of_scene)

# %%
at = {"logit - bias": evidence} | {f"sum at {place}": np.array(values) for place, values in sums.items()}
print(f"{'':20} present  absent   correlation with (logit - bias)")
for title, values in at.items():
    correlation = np.corrcoef(values, evidence)[0, 1]
    print(f"{title:20} {values[present].mean():7.2f} {values[~present].mean():7.2f}   {correlation:5.2f}")
peaks = {place: np.array(values) for place, values in peaks.items()}
ratio = {place: values[~present].mean() / values[present].mean() for place, values in peaks.items()}
for place, value in ratio.items():
    print(f"largest value of the map at {place}, absent over present: {value:.2f}")
off_gap = np.abs(at["sum at features.10"] - evidence).max()
off_add = np.abs(at["sum at features.8.2"] - evidence)[present] / np.abs(evidence[present])
print(f"largest difference of the sum at GAP's input and (logit - bias): {off_gap:.0e}")
by_scenes = metrics.bootstrap(off_add, clusters=of_scene[present])
print(f"difference at the Add, relative, classes that are there: {by_scenes}")

# %%
assert off_gap < 1e-5 and f"{off_add.mean():.0%}" == "105%"
assert at["sum at features.8.2"][present].mean() < at["sum at features.8.2"][~present].mean()
assert np.corrcoef(at["sum at features.8.2"], evidence)[0, 1] < 0
assert [f"{value:.2f}" for value in ratio.values()] == ["0.10", "0.03"]

# %% [markdown]
# No: at the Add the sum does not follow the logit. On average it is even larger for classes that are not in the
# picture. At GAP's input it *is* the logit less the bias, and a small logit leaves no room for a bright map, unless as
# much speaks against the class elsewhere. So the largest value of an absent class's map is 0.03 of a present one's. At
# the Add it happens to be small too, 0.10, but nothing ties it to the logit. Nor does anything in VGG16, where three
# Dense layers stand in between.
#
# Does the map at the Add look different too, for the classes that are there?

# %%
from_hires, alike, of_scene = [], [], []
for seed in scenes.TEST_SEEDS[:30]:
    one = scenes.draw(seed)
    rec = cam.record(net, cam.load_image(one.image), places, image_gradient=False)
    for class_id in one.class_ids:
        at_sum, at_input = (cam.grad_cam_of(rec, target=class_id, layer=place, relu=False)[0] for place in places)
        hires = (rec.gradient(places[0], target=class_id) * rec.features(places[0])).sum(axis=1)[0]
        from_hires.append(np.linalg.norm(at_sum - hires) / np.linalg.norm(hires))
        alike.append(np.corrcoef(at_sum.ravel(), at_input.ravel())[0, 1])
        of_scene.append(seed)
from_hires, alike = (metrics.bootstrap(values, clusters=of_scene) for values in (from_hires, alike))
print(f"length of (Grad-CAM - HiResCAM) at the Add, over that of HiResCAM: {from_hires}")
print(f"correlation of Grad-CAM at the Add and at GAP's input:             {alike}")
assert f"{from_hires.mean:.2f}" == "0.58" and alike.low > 0.98

# %% [markdown]
# Hardly: the two maps correlate by more than 0.98, so the Add says *where* just as well. But it does not say *how
# much*. There the averaging costs 0.58 of HiResCAM's length, and only at GAP's input can you say "so much of the score
# comes from here".
#
# ## "In my net GAP's output *is* the logits"
#
# Another remark of the thread: in a net whose last convolution has one channel for each class, followed by GAP, one can
# simply read the class's channel. True, and ResNet50v2 becomes such a net by exchanging two linear steps. Apply the
# Dense layer at every position first, as a 1x1 convolution, and then average.

# %%
dense = net.output
per_position = nn.Conv2D(len(net.labels), kernel_size=1, in_channels=dense.weight.shape[1], use_bias=False)
per_position.initialize()
per_position.weight.set_data(dense.weight.data().expand_dims(2).expand_dims(3))  # (20, 512, 1, 1)
A = nd.array(cam.record(net, x).features())  # (1, 512, 7, 7)
channels = per_position(A)  # (1, 20, 7, 7): one map for each class
exchanged = channels.mean(axis=(2, 3)) + dense.bias.data()
compare("logits, exchanged and as they were", exchanged, net(x))
compare("the class's channel, and its CAM", channels[0, number], cam.class_activation_map(net, x, target=label)[0])

# %%
assert np.allclose(exchanged.asnumpy(), net(x).asnumpy(), atol=1e-4)
assert np.allclose(channels[0, number].asnumpy(), cam.class_activation_map(net, x, target=label)[0], atol=1e-4)
figure, axes = plt.subplots(1, 3, figsize=(9, 3), layout="constrained")
three = {
    "Grad-CAM, Add": at_add,
    "Grad-CAM, GAP's input": signed,
    "channel / (HW), no gradient": channels[0, number].asnumpy() / signed.size,
}
for axis, (title, heat) in zip(axes, three.items()):
    drawn = plot.draw_signed(axis, heat, 224)
    axis.contour(scene.masks[0], [0.5], colors="black", linewidths=1)
    axis.contour(scene.masks[1], [0.5], colors="black", linewidths=1, linestyles="dotted")
    axis.set_title(title)
    figure.colorbar(drawn, ax=axis, shrink=0.8)
show(
    figure,
    alt="Three signed maps for the zebra, all orange on it. The second and the third are the same picture; at the drake "
    "they are faintly purple, while the first has an orange spot there.",
)

# %% [markdown]
# *What to see: signed maps for the zebra, solid outline, each with its own scale. The second and the third are the same
# picture, though the third needed no gradient at all. The first, at the Add, is alike, but not in its signs: look at
# the drake, dotted outline.*
#
# ## By hand, in the zoo's own net, with nothing rewritten
#
# GAP's input is the output of the ReLU before it, and that one *is* a block of the zoo's net. A zero tap between the
# two is all it takes, in eight lines. The tape begins behind the max pooling, so its wrong gradient (lesson 4) plays no
# part.

# %%
A = net.features[:11](x)  # up to and including the ReLU before GAP: (1, 512, 7, 7)
tap = nd.zeros_like(A)
tap.attach_grad()
with autograd.record(train_mode=False):
    logit = net.output(net.features[11:](A + tap))[0, number]
logit.backward(train_mode=False)
alpha = tap.grad.mean(axis=(2, 3), keepdims=True)
by_hand = nd.relu((alpha * A).sum(axis=1))[0].asnumpy()
compare("by hand, and cam", by_hand, cam.grad_cam(net, x, target=label)[0])
assert np.allclose(by_hand, cam.grad_cam(net, x, target=label)[0], atol=1e-5)

# %% [markdown]
# And if you have a script for the tutorial's gradcam.py? Put `from cam import gradcam` in the place of
# `import gradcam`. Its `visualize` then takes any layer of any net.

# %%
with warnings.catch_warnings():
    warnings.simplefilter("ignore", cam.NetWarning)  # it says that this net knows the scenes' cut-outs only
    four = gradcam.visualize(net, scene.image, "features.10")
show(
    gradcam.show_images(*four),
    alt="The scene, titled zebra; Grad-CAM on the zebra, and guided Grad-CAM of the zebra in colour and in grey.",
)

# %% [markdown]
# *What to see: the tutorial's own four pictures for the network's first choice, at GAP's input. The map and both guided
# pictures are on the zebra.*
#
# ## The answers
#
# **Which layer is the right one?** The last whole map that has positions; where a pooling made it, the map before that
# pooling. In ResNet50v2 it is the input of GAP, `features.10`. Its maps have a share of 0.935 on the right object. At
# `conv3`, which is only a part, it is 0.801: what the shortcut carries is missing there.
#
# **A block computes only a change: should I take the map just before GAP?** Yes. That map holds everything, and it is
# the one of the first answer.
#
# **Can it be done without modifying gradcam.py?** Yes, but not by its functions: they record nothing but their own
# `Conv2D`. The eight lines above do it in the zoo's own net. So does `cam.grad_cam(net, x)`, and `cam.gradcam` keeps
# the tutorial's calls.
#
# **Overwrite GAP?** No. Its output is a single position. What you want is its input, and that is the output of a block.
#
# **Should it be the last Add?** You may take it. As a picture it is just as good: share 0.934 against 0.935, energy in
# the mask 0.398 against 0.373. But only at GAP's input does the signed map plus the bias give the logit, to within
# 0.00001. At the Add the map's sum misses the logit less the bias by 105 % of it.
#
# **How does one rewrite an add operation?** Write the residual block's forward with an Add block in place of `+`, as
# above; its way back is `return dy, dy`. But there is no need for it: `cam` finds the addition in the graph,
# `layer="features.8.2"` shows its map, and `cam.decompose` the two maps that it is the sum of (lesson 5).
#
# **And why is the image gradient still unclear?** That is lesson 7.

# %%
share, energy = (
    {name: f"{getattr(one, key).mean():.3f}" for name, one in measured.items()} for key in ("share", "energy")
)  # what the answers say
assert (share["features.10"], share[conv3], share["features.8.2"]) == ("0.935", "0.801", "0.934")
assert (energy["features.8.2"], energy["features.10"]) == ("0.398", "0.373")

# %% [markdown]
# ## On your own
#
# **1.** ★ What does the definition choose elsewhere? Make `densenet121`, `squeezenet1_0` and `inception_v3` of the zoo,
# untrained, and print how many of their maps are whole and which layer is recommended. In which of them is the last
# convolution a part?

# %% [markdown] tags=["solution-exercise_1"]
# <details><summary>Hint</summary>
#
# `cam.layers(theirs)` has a row for each map. `inception_v3` needs images of 299 pixels; run it once on zeros first.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# is_whole = {}
# for name in ("densenet121", "squeezenet1_0", "inception_v3"):
#     theirs = getattr(vision, name)(classes=5)
#     theirs.initialize()
#     theirs(nd.zeros((1, 3, 299, 299) if name == "inception_v3" else (1, 3, 224, 224)))
#     rows = [row for row in cam.layers(theirs) if len(row.shape) == 4]  # maps: what has a height and a width
#     convolution = [row for row in rows if row.kind == "Conv2D"][-1]
#     is_whole[name] = convolution.whole
#     recommended = next(row.path for row in rows if row.advice == "recommended")
#     print(
#         f"{name:13} {sum(row.whole for row in rows):3} of {len(rows)} maps are whole; recommended {recommended}; "
#         f"the last convolution, {convolution.path}, is {'whole' if convolution.whole else 'a part'}"
#     )
# assert is_whole == {"densenet121": False, "squeezenet1_0": True, "inception_v3": False}
# # DenseNet and Inception end in a concatenation, and their last convolution is one side of it: a part, as in a residual
# # net. In SqueezeNet it is whole.
# ```
#
# </details>

# %%
lesson.solution("exercise_1")  # or your own code

# %% [markdown]
# **2.** ★★ A v1 net ends Add, ReLU, GAP, Dense. For `v1` above, and a class of your choice, check that the signed map
# at the output of its last block adds up to the logit less the bias, while the one at the Add before the ReLU does not.

# %% [markdown] tags=["solution-exercise_2"]
# <details><summary>Hint</summary>
#
# Record the layers "features.7.2" and `last_sum`, and sum `cam.grad_cam_of(..., relu=False)`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# v1_rec = cam.record(v1, x, ["features.7.2", last_sum], image_gradient=False)
# v1_evidence = v1_rec.logits[0, 3] - v1.output.bias.data().asnumpy()[3]
# v1_sums = [cam.grad_cam_of(v1_rec, target=3, layer=layer, relu=False).sum() for layer in v1_rec.layers]
# print(f"logit less bias {v1_evidence:.5f}, sum of the map after the ReLU {v1_sums[0]:.5f}, at the Add {v1_sums[1]:.5f}")
# assert np.isclose(v1_sums[0], v1_evidence, rtol=1e-3) and not np.isclose(v1_sums[1], v1_evidence, rtol=1e-3)
# ```
#
# </details>

# %%
lesson.solution("exercise_2")  # or your own code

# %% [markdown]
# **3.** ★★ In VGG16 three Dense layers stand between relu5_3 and the logit. Are Grad-CAM and HiResCAM equal there?
# Which has the larger share on the right object over 20 scenes, both objects? And what does
# `cam.class_activation_map(vgg, x)` say?

# %% [markdown] tags=["solution-exercise_3"]
# <details><summary>Hint</summary>
#
# `evaluation.compare(vgg, {"Grad-CAM": cam.grad_cam, ...}, None, seeds)`, then `.interval("share", minus=...)`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# methods = {"Grad-CAM": cam.grad_cam, "HiResCAM": cam.hires_cam}
# averaged, hires = evaluation.compare(vgg, methods, None, scenes.TEST_SEEDS[:20])
# for one in (averaged, hires):
#     print(f"{one.method} share {one.interval('share')}")
# paired = averaged.interval("share", minus=hires)
# print(f"Grad-CAM minus HiResCAM, paired: {paired}")
# assert paired.low > 0
# try:
#     cam.class_activation_map(vgg, x)
# except cam.NetError as error:
#     print(error)
# # They are not equal: the gradient varies over the 14x14 positions. Grad-CAM's share is larger, though with 20 scenes the
# # interval is wide. CAM reads its weights from the one Dense layer behind a GAP, and VGG16 has neither.
# ```
#
# </details>

# %%
lesson.solution("exercise_3")  # or your own code

# %% [markdown]
# **4.** ★★★ What of the logit is missing in the map at the Add? Let $A$ be the output of the Add, $g$ the gradient
# there, $h$ the one at the output of the BatchNorm after it (`features.9`), and $t_k = \beta_k - a_k \mu_k$ its shift,
# where $a_k = \gamma_k / \sqrt{\sigma_k^2 + \epsilon}$ is its factor. Show that $\sum g A + \sum h\, t$ is the logit
# less the bias. Split what is missing into the shift's part and the averaging's part.

# %% [markdown] tags=["solution-exercise_4"]
# <details><summary>Hint</summary>
#
# `norm.gamma`, `.beta`, `.running_mean` and `.running_var` are the parameters of `net.features[9]`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# rec = cam.record(net, x, ["features.8.2", "features.9"], image_gradient=False)
# gradient, features_there = rec.gradient("features.8.2", target=label)[0], rec.features("features.8.2")[0]  # (512, 7, 7)
# norm = net.features[9]
# gamma, beta, running_mean, variance = (
#     one.data().asnumpy() for one in (norm.gamma, norm.beta, norm.running_mean, norm.running_var)
# )
# shift = beta - running_mean * gamma / np.sqrt(variance + norm._kwargs["eps"])
# of_the_shift = (rec.gradient("features.9", target=label)[0] * shift[:, None, None]).sum()
# exact = (gradient * features_there).sum()  # HiResCAM's sum
# averaged = (gradient.mean(axis=(1, 2), keepdims=True) * features_there).sum()  # Grad-CAM's sum
# evidence_here = rec.logits[0, number] - bias
# print(f"logit less bias {evidence_here:.4f} = {exact:.4f} (sum of g A) + {of_the_shift:.4f} (shift)")
# print(
#     f"Grad-CAM's sum {averaged:.4f} misses {of_the_shift:.4f} for the shift, {exact - averaged:.4f} for the averaging"
# )
# assert np.isclose(exact + of_the_shift, evidence_here, rtol=1e-4)
# # A ReLU is linear where it passes and 0 where it does not, so gradient times input is exact for all that follows the
# # BatchNorm. What Grad-CAM's sum lacks is the shift, and what the averaging loses.
# ```
#
# </details>

# %%
lesson.solution("exercise_4")  # or your own code

# %% [markdown] tags=["quiz"]
# ## Five questions
#
# Choose first, then unfold the answer.
#
# **1.** When is a map whole?
#
# - **A.** When it has more than one position.
# - **B.** When every path from the image to the logits crosses it.
# - **C.** When a ReLU follows it.
# - **D.** When it has all channels of its stage.
#
# <details><summary>Answer</summary>
#
# **B.** A part has a way around it, and what takes that way is missing in the part. Positions are asked for in addition.
#
# </details>
#
# **2.** Which map does the rule choose in ResNet50v2?
#
# - **A.** The input of the global average pooling.
# - **B.** The last convolution, conv3.
# - **C.** The output of the global average pooling.
# - **D.** The output of the first stage, which is whole and fine.
#
# <details><summary>Answer</summary>
#
# **A.** It is the last whole map that has positions. GAP's output has one position, conv3 is a part, and stage 1 is too early.
#
# </details>
#
# **3.** At the input of GAP the gradient of a logit is the same at all positions. What follows?
#
# - **A.** The gradient of the image is constant too.
# - **B.** The map has the same value everywhere.
# - **C.** Grad-CAM and HiResCAM are the same there.
# - **D.** The class is in the middle of the picture.
#
# <details><summary>Answer</summary>
#
# **C.** Averaging a constant changes nothing. The features still differ from position to position, and so does the map.
#
# </details>
#
# **4.** The map at the Add is as good as the one at GAP's input, by share and energy. What can you say at GAP's input only?
#
# - **A.** How much of the logit comes from a position.
# - **B.** Which of two objects is meant.
# - **C.** Where the object lies.
# - **D.** Which channels the class wants.
#
# <details><summary>Answer</summary>
#
# **A.** Only there the signed map sums to the logit less the bias. At the Add the sum does not even follow the logit.
#
# </details>
#
# **5.** In the zoo's code the addition is a `+`. How can its two inputs be found?
#
# - **A.** Put a hook on every block.
# - **B.** Subtract the outputs of neighbouring blocks.
# - **C.** They cannot be found without rewriting the block.
# - **D.** Call the network with a symbol and read the graph.
#
# <details><summary>Answer</summary>
#
# **D.** A `+` is no block, so no hook hears it. In the graph it is a step with two inputs.
#
# </details>

# %% [markdown]
# **Rule of thumb.** Take the last whole map that has positions, before any pooling. Where GAP and one Dense layer
# follow, the signed map plus the bias is the logit.
#
# **Next:** [7. Why is ResNet's image gradient unclear?](07_why_is_resnets_image_gradient_unclear.ipynb)
