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
# **You will learn** to rewrite an addition and a global average pooling as blocks with their own backward rules; which
# layer of a residual net is the right one, measured against all others; and why, at that layer, Grad-CAM is not an
# approximation but an exact account of the logit.
#
# **You need** lessons 2, 3 and 5. **It takes** about 45 minutes.
#
# The thread in the forum went on: *take the whole map, just before the global average pooling (GAP). But the tutorial's
# `gradcam.py` only records its own `Conv2D` blocks: must I modify it? Overwrite GAP? GAP's output is 1x1, too small:
# should it be the last Add, and how does one rewrite an add operation?* There the thread ends. At the end of this
# lesson stand the answers, with numbers.

# %%
# %matplotlib inline
import warnings

import cam
from cam import metrics, plot, scenes
from course import compare, zoo_resnet50_v2

import matplotlib.pyplot as plt
import mxnet as mx
import numpy as np
from mxnet import autograd, nd
from mxnet.gluon import HybridBlock, nn
from mxnet.gluon.model_zoo import vision

# %% [markdown]
# ## Two blocks by hand: Add and GAP
#
# In words: an addition passes the gradient on, unchanged, to both of its inputs. An average passes each of its $HW$
# inputs an equal share of it.
#
# $$y = s + f:\quad ds = dy,\ \ df = dy \qquad\qquad
# y_k = \frac{1}{HW}\sum_{i,j} x_{k,ij}:\quad dx_{k,ij} = \frac{dy_k}{HW}$$
#
# As `autograd.Function`s (lesson 1):


# %%
class AddFunction(autograd.Function):
    def forward(self, branch, shortcut):
        return branch + shortcut

    def backward(self, dy):
        return dy, dy


class AverageFunction(autograd.Function):
    def forward(self, x):
        self._shape = x.shape
        return x.mean(axis=(2, 3), keepdims=True)  # (N, K, 1, 1)

    def backward(self, dy):
        height, width = self._shape[2:]
        return dy.broadcast_to(self._shape) / (height * width)


# %% [markdown]
# > **Predict.** Two inputs of 2x2, added, then averaged; the result is multiplied by 8. Which gradient arrives at each
# > of the inputs?

# %%
branch, shortcut = nd.array([[[[1, 2], [3, 4]]]]), nd.array([[[[10, 20], [30, 40]]]])
for one in (branch, shortcut):
    one.attach_grad()
with autograd.record(train_mode=False):
    result = 8 * AverageFunction()(AddFunction()(branch, shortcut))
result.backward(train_mode=False)
print("result", result.asnumpy().ravel())
print("gradient at the branch  ", branch.grad.asnumpy()[0, 0].tolist())
print("gradient at the shortcut", shortcut.grad.asnumpy()[0, 0].tolist())

# %%
assert result.asscalar() == 8 * 27.5
assert (branch.grad == 2).asnumpy().all() and (shortcut.grad == 2).asnumpy().all()

# %% [markdown]
# ## How does one rewrite an add operation?
#
# In the zoo's `BottleneckV2` the addition is a plain `+` in the middle of `hybrid_forward`, and its ReLUs are function
# calls. There is no block whose output we could record. So write the block's forward once more, with a block where the
# `+` was; the old block is kept inside, because it holds the parameters. The zero tap of lesson 2 does the recording:
# $w = y + 0$, and the gradient of that zero is the gradient of $y$.


# %%
class Tapped(HybridBlock):
    """Keeps its output in `.features`, and its gradient, after a backward pass, in `.tap.grad`."""

    def keep(self, y):
        self.features, self.tap = y.detach(), nd.zeros_like(y)
        self.tap.attach_grad()
        return y + self.tap


class MyAdd(Tapped):
    def forward(self, branch, shortcut):
        return self.keep(AddFunction()(branch, shortcut) * 1)  # * 1: lesson 1


class MyGlobalAvgPool2D(Tapped):
    def forward(self, x):
        return self.keep(AverageFunction()(x) * 1)


class MyBottleneck(HybridBlock):
    """The zoo's BottleneckV2 once more, with an Add block in place of its `+`."""

    def __init__(self, original):
        super().__init__(prefix=original.prefix)
        self.original = original
        self.add = MyAdd()

    def forward(self, x):
        b = self.original
        activated = nd.relu(b.bn1(x))
        shortcut = b.downsample(activated) if b.downsample else x
        branch = b.conv1(activated)
        branch = b.conv2(nd.relu(b.bn2(branch)))
        branch = b.conv3(nd.relu(b.bn3(branch)))
        return self.add(branch, shortcut)


# %% [markdown]
# Swapped into the zoo's own net, in a copy of its sequence of blocks:

# %%
net = cam.resnet50_v2()
zoo = zoo_resnet50_v2(net)  # MXNet's blocks, the same parameters
last = MyBottleneck(zoo.features[8][2])
gap = MyGlobalAvgPool2D()
swapped = nn.Sequential()
swapped.add(*zoo.features[:8], zoo.features[8][0], zoo.features[8][1], last)
swapped.add(zoo.features[9], zoo.features[10], gap, zoo.features[12], zoo.output)

scene = scenes.draw(seed=7)
x, label = cam.load_image(scene.image), scene.labels[0]
number = net.labels.index(label)
with autograd.record(train_mode=False):
    logits = swapped(x)
    logit = logits[0, number]
logit.backward(train_mode=False)
compare("logits, swapped and zoo", logits, zoo(x))

# %%
alpha = last.add.tap.grad.mean(axis=(2, 3), keepdims=True)  # (1, 512, 1, 1)
at_add = (alpha * last.add.features).sum(axis=1)[0].asnumpy()  # (7, 7)
compare("signed map at the Add, mine and cam's", at_add, cam.grad_cam(net, x, label, "features.8.2.add", relu=False)[0])
assert np.allclose(logits.asnumpy(), zoo(x).asnumpy(), atol=1e-4)
assert np.allclose(at_add, cam.grad_cam(net, x, label, "features.8.2.add", relu=False)[0], atol=1e-4)

# %% [markdown]
# That is how to rewrite an add operation: about thirty lines, and not one of them in somebody else's file. Strictly,
# the Add needs no backward rule of its own, because `+` has the right one; what was missing is a place to put the tap.
# (All that we look at lies above the max pooling, so the wrong gradient of lesson 4 does not reach it.)
#
# ## GAP's output: one pixel
#
# > **Predict.** The thread asked whether to overwrite GAP. What will a map of its *output* look like?

# %%
alpha = gap.tap.grad.mean(axis=(2, 3), keepdims=True)
at_output = (alpha * gap.features).sum(axis=1)[0].asnumpy()
print("map at GAP's output:", at_output, "of shape", at_output.shape)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    cam.grad_cam(net, x, label, "features.11")
print(caught[0].message)

# %%
assert at_output.shape == (1, 1) and caught[0].category is cam.OnePixelMap
bias = net.output.bias.data().asnumpy()[number]
compare("that one number, and the logit less its bias", at_output[0, 0], logit.asscalar() - bias)
assert np.isclose(at_output[0, 0], logit.asscalar() - bias, rtol=1e-3)

# %% [markdown]
# One number: all of the evidence, and nothing about where. GAP is where the "where" ends. Its *input* is the last place
# that has it.
#
# ## Every candidate, measured
#
# Around the last block there are: the branch, the shortcut, their sum (Add), the BatchNorm after it, the ReLU after
# that, which is GAP's input, and GAP's output. And there are the ends of the earlier stages.
#
# > **Predict.** Which one has the largest share on the right object? And is there *one* winner?

# %%
candidates = {
    "features.5": "end of stage 1",
    "features.6": "end of stage 2",
    "features.7": "end of stage 3",
    "features.8.2.conv3": "branch (the forum's conv3)",
    "features.8.2.shortcut": "shortcut",
    "features.8.2.add": "Add",
    "features.9": "BatchNorm",
    "features.10": "ReLU = GAP input",
    "features.11": "GAP output",
}
measured = metrics.evaluate(net, scenes.TEST_SEEDS[:100], list(candidates))
for name, title in candidates.items():
    one = measured[name]
    print(
        f"{title:27} share {metrics.bootstrap(one.share)}  energy {metrics.bootstrap(one.energy)}  within 15 px {one.near.mean():.2f}"
    )
print(f"{'by chance':27} share about one half         energy {one.area.mean():.3f}")

# %%
constant = measured["features.11"]
assert np.allclose(constant.energy, constant.area) and np.isclose(constant.share.mean(), 0.5)

# %%
figure, axis = plt.subplots(figsize=(10, 3.2), layout="constrained")
for measure, marker, title in (("share", "o", "share on the right object"), ("energy", "s", "energy in the mask")):
    found = [metrics.bootstrap(getattr(measured[name], measure)) for name in candidates]
    middle = np.array([one.mean for one in found])
    spread = np.array([[one.mean - one.low, one.high - one.mean] for one in found]).T
    axis.errorbar(range(len(candidates)), middle, spread, fmt=marker, capsize=3, label=title)
ticks = [
    "stage 1",
    "stage 2",
    "stage 3",
    "branch\n(conv3)",
    "shortcut",
    "Add",
    "BatchNorm",
    "GAP\ninput",
    "GAP\noutput",
]
axis.set_xticks(range(len(candidates)), ticks)
axis.set_ylim(0, 1)
axis.legend(fontsize=8)
plt.show()

# %% [markdown]
# *What to see: means over 200 maps with 95 % intervals. Shortcut, Add, BatchNorm and GAP's input are close together,
# near the top; the branch falls behind; the ends of stages 1 and 2 are finer, but hardly know which object is meant.
# GAP's output is one value everywhere, so one half and the mask's area follow by arithmetic (and its "maximum" is the
# upper left corner). Note the shortcut: without anything that the last block adds, it is nearly as good as the sum.
# That is lesson 5 once more.*

# %%
best = measured["features.10"]
for name, title in candidates.items():
    difference = metrics.bootstrap(best.share - measured[name].share)
    print(f"GAP input minus {title:27} share {difference}")
for name in ("features.5", "features.6", "features.7", "features.8.2.conv3", "features.11"):
    assert metrics.bootstrap(best.share - measured[name].share).low > 0
add = measured["features.8.2.add"]
print("GAP input minus Add, energy", metrics.bootstrap(best.energy - add.energy))
assert abs(metrics.bootstrap(best.share - add.share).mean) < 0.02
assert metrics.bootstrap(best.energy - add.energy).high < 0

# %% [markdown]
# So the measures do not make GAP's input the winner. In the share it and the Add differ by nothing one would see, and
# in energy the Add is a little *ahead*. Both are whole feature maps, and for a picture either will do. What sets GAP's
# input apart is something else.
#
# ## Why GAP's input: there Grad-CAM is exact
#
# ResNet50v2 ends ReLU, GAP, Dense. With $A$ the input of GAP, the logit is
#
# $$y^c = b^c + \sum_k w^c_k \frac{1}{HW}\sum_{i,j} A_{k,ij}
# \qquad\text{so}\qquad \frac{\partial y^c}{\partial A_{k,ij}} = \frac{w^c_k}{HW},$$
#
# the same at every position. Averaging it (Grad-CAM) changes nothing; leaving out the averaging, which gives the method
# called HiResCAM, changes nothing; and both are the class activation map $\sum_k w^c_k A_k$ of Zhou et al. 2016, over
# $HW$. Sum the map over all positions, add the bias, and there is the logit.
#
# > **Predict.** To how many digits?

# %%
signed = cam.grad_cam(net, x, label, "features.10", relu=False)[0]  # (7, 7)
compare("Grad-CAM and HiResCAM", signed, cam.hires_cam(net, x, label, "features.10", relu=False)[0])
compare("Grad-CAM and CAM / (HW)", signed, cam.class_activation_map(net, x, label)[0] / signed.size)
print(
    f"sum of the map {signed.sum():.5f} + bias {bias:.5f} = {signed.sum() + bias:.5f}; the logit is {logit.asscalar():.5f}"
)

# %%
assert np.allclose(signed, cam.hires_cam(net, x, label, "features.10", relu=False)[0], atol=1e-5)
assert np.allclose(signed, cam.class_activation_map(net, x, label)[0] / signed.size, atol=1e-5)
assert np.isclose(signed.sum() + bias, logit.asscalar(), atol=1e-4)

# %% [markdown]
# Before its final ReLU (`relu=False`) nothing is approximated and nothing is lost: each of the 49 positions has its
# exact share of the logit. Is it the same at the Add?
#
# In a v2 net BatchNorm and ReLU stand between the last Add and GAP. BatchNorm multiplies each channel and shifts it:
# the factor is part of the gradient, but the shift is in no feature of the Add. The ReLU passes some positions on and
# not others, so the gradient is no longer the same everywhere, and averaging it loses something (exercise 4 takes the
# two apart).
#
# The sum of the map, over 30 scenes and all 20 classes: two are in the scene, 18 are not.
#
# > **Predict.** At GAP's input this sum is the logit less the bias. Will the one at the Add at least be larger for the
# > classes that are there?

# %%
places = ["features.8.2.add", "features.10"]
biases = net.output.bias.data().asnumpy()
sums, evidence, present = {place: [] for place in places}, [], []
for start in range(0, 30, 10):
    drawn = [scenes.draw(seed) for seed in scenes.TEST_SEEDS[start : start + 10]]
    batch = nd.concat(*(cam.load_image(one.image) for one in drawn), dim=0)  # (10, 3, 224, 224)
    rec = cam.record(net, batch, places, image=False)
    for class_id in range(len(net.labels)):
        for place in places:
            sums[place] += list(cam.grad_cam_of(rec, class_id, place, relu=False).sum(axis=(1, 2)))
        evidence += list(rec.logits[:, class_id] - biases[class_id])
        present += [class_id in one.class_ids for one in drawn]
evidence, present = np.array(evidence), np.array(present)
at = {place: np.array(values) for place, values in sums.items()}
print("                          present  absent   correlation with (logit - bias)")
for title, values in (
    ("logit - bias", evidence),
    ("sum at the Add", at[places[0]]),
    ("sum at GAP's input", at[places[1]]),
):
    related = np.corrcoef(values, evidence)[0, 1]
    print(f"{title:24} {values[present].mean():7.2f} {values[~present].mean():7.2f}   {related:5.2f}")
off_gap = np.abs(at[places[1]] - evidence).max()
off_add = metrics.bootstrap(np.abs(at[places[0]] - evidence)[present] / np.abs(evidence[present]))
print(f"largest difference of the sum at GAP's input and (logit - bias): {off_gap:.0e}")
print(f"difference at the Add, relative, classes that are there: {off_add}")

# %%
assert off_gap < 1e-4 and off_add.low > 0.5
assert at[places[0]][present].mean() < at[places[0]][~present].mean()

# %% [markdown]
# No: at the Add the sum does not follow the logit; on average it is even larger for classes that are not in the
# picture. And the maps themselves?

# %%
from_hires, alike = [], []
for seed in scenes.TEST_SEEDS[:30]:
    one = scenes.draw(seed)
    rec = cam.record(net, cam.load_image(one.image), places, image=False)
    for class_id in one.class_ids:
        at_sum, at_input = (cam.grad_cam_of(rec, class_id, place, relu=False)[0] for place in places)
        hires = (rec.gradient(places[0], class_id) * rec.features(places[0])).sum(axis=1)[0]
        from_hires.append(np.linalg.norm(at_sum - hires) / np.linalg.norm(hires))
        alike.append(np.corrcoef(at_sum.ravel(), at_input.ravel())[0, 1])
print(f"Grad-CAM and HiResCAM at the Add differ by (relative L2) {metrics.bootstrap(from_hires)}")
print(f"correlation of the two maps, Add and GAP's input         {metrics.bootstrap(alike)}")

# %%
assert min(from_hires) > 0.1
assert metrics.bootstrap(alike).low > 0.8

# %% [markdown]
# So the map at the Add looks much the same as the one at GAP's input, and says *where* just as well. But only at GAP's
# input can you say "so much of the score comes from here". `cam` takes it when you name no layer.
#
# (In a v1 net the last block ends Add, ReLU: there the block's *output* is GAP's input; exercise 2.)
#
# ## "In my net GAP's output *is* the logits"
#
# Another remark of the thread: in a net whose last convolution has one channel for each class, followed by GAP, one can
# simply read the class's channel. True, and ResNet50v2 becomes such a net by exchanging two linear steps. Averaging and
# a Dense layer commute: apply the Dense layer at every position first (that is a 1x1 convolution), then average.

# %%
dense = net.output
per_position = nn.Conv2D(len(net.labels), kernel_size=1, in_channels=dense.weight.shape[1], use_bias=False)
per_position.initialize()
per_position.weight.set_data(dense.weight.data().expand_dims(2).expand_dims(3))  # (20, 512, 1, 1)
A = nd.array(cam.record(net, x, "features.10").features())  # (1, 512, 7, 7)
channels = per_position(A)  # (1, 20, 7, 7): one map for each class
exchanged = channels.mean(axis=(2, 3)) + dense.bias.data()
compare("logits, exchanged and as they were", exchanged, net(x))
compare("the class's channel, and its CAM", channels[0, number], cam.class_activation_map(net, x, label)[0])

# %%
assert np.allclose(exchanged.asnumpy(), net(x).asnumpy(), atol=1e-4)
assert np.allclose(channels[0, number].asnumpy(), cam.class_activation_map(net, x, label)[0], atol=1e-4)
figure, axes = plt.subplots(1, 3, figsize=(9, 3), layout="constrained")
for axis, heat, title in zip(
    axes,
    (at_add, signed, channels[0, number].asnumpy() / signed.size),
    ("Grad-CAM, Add", "Grad-CAM, GAP input", "channel / (HW), no gradient"),
):
    drawn = plot.draw_signed(axis, heat, 224)
    axis.contour(scene.masks[0], [0.5], colors="black", linewidths=1)
    axis.contour(scene.masks[1], [0.5], colors="black", linewidths=1, linestyles="dotted")
    axis.set_title(title)
    figure.colorbar(drawn, ax=axis, shrink=0.8)
plt.show()

# %% [markdown]
# *What to see: signed maps for the class "zebra" (solid outline; the drake's is dotted), each with its own scale. The
# second and the third are the same picture, though the third needed no gradient at all. The first, at the Add, is
# similar, but in places its signs differ: look at the drake.*
#
# ## By hand, in the zoo's own net, with nothing rewritten
#
# The input of GAP is the output of the ReLU before it, and that one *is* a block in the zoo's net. A zero tap between
# the two is all it takes.

# %%
A = x
for part in zoo.features[:11]:
    A = part(A)  # up to and including the ReLU before GAP: (1, 512, 7, 7)
tap = nd.zeros_like(A)
tap.attach_grad()
with autograd.record(train_mode=False):
    rest = A + tap
    for part in (*zoo.features[11:], zoo.output):
        rest = part(rest)
    logit = rest[0, number]
logit.backward(train_mode=False)
by_hand = nd.relu((tap.grad.mean(axis=(2, 3), keepdims=True) * A).sum(axis=1))[0].asnumpy()
compare("by hand, in the unmodified zoo net", by_hand, cam.grad_cam(net, x, label)[0])
compare("cam, in the unmodified zoo net    ", cam.grad_cam(zoo, x, label)[0], cam.grad_cam(net, x, label)[0])

# %%
assert np.allclose(by_hand, cam.grad_cam(net, x, label)[0], atol=1e-4)
assert np.allclose(cam.grad_cam(zoo, x, label)[0], cam.grad_cam(net, x, label)[0], atol=1e-4)

# %% [markdown]
# ## The answers

# %%
share = {name: one.share.mean() for name, one in measured.items()}
energy = {name: one.energy.mean() for name, one in measured.items()}
print(f"""Which layer is the right one?
  The last whole feature map, the input of GAP ("features.10"): share on the right object {share["features.10"]:.3f},
  at the last conv3 {share["features.8.2.conv3"]:.3f}. There the signed map plus the bias is the logit (off by at most {off_gap:.0e}).
Must I modify gradcam.py?
  No. Leave the file as it is, and do not use it for this layer: it can record nothing but its own Conv2D. The ten
  lines of "By hand, in the zoo's own net" do it with nothing rewritten, and so does cam.grad_cam(net, x).
Overwrite GAP?
  No. Its output is one pixel. What you want is its input, and that is the output of a block.
Should it be the last Add?
  You may take it: as a picture it is just as good (share {share["features.8.2.add"]:.3f}, energy {energy["features.8.2.add"]:.3f} against {energy["features.10"]:.3f}). You need not:
  the input of GAP is the output of a block already, and only there is the map exact (at the Add it is off by {off_add.mean:.0%}).
How does one rewrite an add op?
  Write the block's forward with an Add block in place of `+`, as above; cam.convert(net) does it for all 16. It is
  needed only if you want to look at an Add.""")

# %% [markdown]
# ## On your own
#
# **1.** Why can plain CAM not be used at an inner layer, such as the end of stage 3, while Grad-CAM can? And why not
# for VGG16? Try `cam.class_activation_map` there and read what it says.

# %% jupyter={"source_hidden": true} tags=["solution"]
try:
    cam.class_activation_map(cam.vgg16(), x, label)
except cam.NetError as error:
    message = str(error)
print(message)
assert "does not end in a global average pooling and one Dense layer" in message
# CAM reads its weights from the Dense layer, and those belong to the channels that this layer averages. An inner layer has other
# channels: only a gradient can say what the class wants of them. VGG16 has no such layer at all: three Dense layers follow its last one.

# %% [markdown]
# **2.** A v1 net ends Add, ReLU, GAP, Dense. Take `resnet50_v1` of the zoo with random weights, convert it, and check
# that the signed map at the output of its last block adds up to the logit (less the bias), while the one at the Add
# before the ReLU does not.

# %% jupyter={"source_hidden": true} tags=["solution"]
mx.random.seed(0)
v1 = vision.resnet50_v1(classes=5)
v1.initialize()
v1(x)
v1 = cam.convert(v1)
rec = cam.record(v1, x, ["features.7.2", "features.7.2.add"], image=False)
evidence = rec.logits[0, 3] - v1.output.bias.data().asnumpy()[3]
sums = [cam.grad_cam_of(rec, 3, layer, relu=False).sum() for layer in rec.layers]
print(f"logit less bias {evidence:.5f}, sum of the map after the ReLU {sums[0]:.5f}, at the Add {sums[1]:.5f}")
assert cam.default_layer(v1) == "features.7.2"
assert np.isclose(sums[0], evidence, rtol=1e-3) and not np.isclose(sums[1], evidence, rtol=1e-3)

# %% [markdown]
# **3.** In VGG16, three Dense layers stand between relu5_3 and the logit. Are Grad-CAM and HiResCAM equal there? Which
# has the larger share on the right object over ten scenes, both objects?

# %% jupyter={"source_hidden": true} tags=["solution"]
vgg = cam.vgg16()
found = {"Grad-CAM": [], "HiResCAM": []}
for seed in scenes.TEST_SEEDS[:10]:
    one = scenes.draw(seed)
    picture = cam.load_image(one.image)
    for index, class_id in enumerate(one.class_ids):
        masks = one.masks[index], one.masks[1 - index]
        found["Grad-CAM"].append(metrics.share_on_object(cam.grad_cam(vgg, picture, class_id)[0], *masks))
        found["HiResCAM"].append(metrics.share_on_object(cam.hires_cam(vgg, picture, class_id)[0], *masks))
for name, values in found.items():
    print(f"{name} share {metrics.bootstrap(values)}")
paired = metrics.bootstrap(np.array(found["Grad-CAM"]) - np.array(found["HiResCAM"]))
print(f"Grad-CAM minus HiResCAM, paired: {paired}")
assert not np.allclose(found["Grad-CAM"], found["HiResCAM"], atol=1e-3)
assert paired.low > 0
# They are not equal: the gradient varies over the 14x14 positions. Grad-CAM's share is the larger one; with ten scenes the
# interval is wide.

# %% [markdown]
# **4.** At the Add, what of the logit is missing in the map? Let $g$ be the gradient at the Add, $h$ the one at the
# output of the BatchNorm after it (`features.9`), and $t_k = \beta_k - a_k \mu_k$ its shift ($a_k$ is its factor
# $\gamma_k / \sqrt{\sigma_k^2 + \epsilon}$). Show that $\sum g A + \sum h\, t$ is the logit less the bias, and split
# what is missing into the shift's part and the averaging's part.

# %% jupyter={"source_hidden": true} tags=["solution"]
rec = cam.record(net, x, ["features.8.2.add", "features.9"], image=False)
gradient, features = rec.gradient("features.8.2.add", label)[0], rec.features("features.8.2.add")[0]  # (512, 7, 7)
norm = net.features[9]
gamma, beta, mean, variance = (
    one.data().asnumpy() for one in (norm.gamma, norm.beta, norm.running_mean, norm.running_var)
)
shift = beta - mean * gamma / np.sqrt(variance + norm._kwargs["eps"])
of_the_shift = (rec.gradient("features.9", label)[0] * shift[:, None, None]).sum()
exact = (gradient * features).sum()  # HiResCAM's sum
averaged = (gradient.mean(axis=(1, 2), keepdims=True) * features).sum()  # Grad-CAM's sum
evidence_here = rec.logits[0, number] - bias
print(f"logit less bias {evidence_here:.4f} = {exact:.4f} (sum of g A) + {of_the_shift:.4f} (shift)")
print(
    f"Grad-CAM's sum {averaged:.4f}: missing {of_the_shift:.4f} for the shift and {exact - averaged:.4f} for the averaging"
)
assert np.isclose(exact + of_the_shift, evidence_here, rtol=1e-4)
# A ReLU is linear where it passes and 0 where it does not, so gradient times input is exact for all that follows the
# BatchNorm. What Grad-CAM's sum lacks is the shift, and what the averaging loses.

# %% [markdown]
# **Rule of thumb.** In a net that ends in global average pooling and one Dense layer, take the input of the pooling:
# there Grad-CAM, HiResCAM and CAM agree, and the signed map plus the bias is the logit. In another net take the last
# whole feature map, after its ReLU, and measure.
#
# **Next:** [7. Why is ResNet's image gradient unclear?](07_why_is_resnets_image_gradient_unclear.ipynb)
