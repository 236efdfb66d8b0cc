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
# # 4. Which pixels?
#
# **You will learn** four pictures at the resolution of the image (saliency, deconvnet, guided backpropagation, guided
# Grad-CAM), what each of them can and cannot tell, and why the pixels in the official MXNet tutorial's pictures
# are wrong.
#
# **You need** lessons 1 to 3. **It takes** about 40 minutes.

# %%
# %matplotlib inline
import cam
from cam import blocks, metrics, plot, scenes
from course import compare

import matplotlib.pyplot as plt
import numpy as np
from mxnet import autograd, nd
from mxnet.gluon import nn

# %% [markdown]
# ## The idea in words
#
# Grad-CAM has 14x14 numbers: it can say *where*, but not *what*. To come down to pixels we follow the gradient all the
# way to the image. Which picture we get depends only on the rule at the ReLUs (lesson 1):
#
# - **plain**: the true gradient. Its largest absolute value over the three colours is the *saliency map* (Simonyan et
#   al. 2014).
# - **deconvnet** (Zeiler and Fergus 2014) and **guided backpropagation** (Springenberg et al. 2015).
# - **guided Grad-CAM** (Selvaraju et al. 2017): guided backpropagation times the enlarged Grad-CAM.
#
# ## The formula
#
# $$S_{ij} = \max_{\text{colours}} \Big|\frac{\partial y^c}{\partial x_{ij}}\Big| \qquad\qquad
# \text{guided Grad-CAM} = (\text{guided gradient}) \cdot \mathrm{enlarge}(L^c)$$
#
# ## By hand: the smallest guided Grad-CAM
#
# Four pixels in a row. The guided gradient finds two edges; Grad-CAM says that the class's evidence is on the left.

# %%
guided = np.array([[3, 0, 0, 2]], np.float32)
grad_cam = np.array([[4, 0]], np.float32)
enlarged = cam.resize_map(grad_cam, (1, 4))
print("enlarged ", enlarged)
print("product  ", guided * enlarged)
assert (guided * enlarged).tolist() == [[12, 0, 0, 0]]

# %% [markdown]
# (Why 4, 3, 1, 0 and not 4, 4, 0, 0? A number of the small map belongs to the *middle* of its two pixels; in between it
# is interpolated.) The edge on the right is gone: Grad-CAM brings the class, guided backpropagation brings the detail.
#
# ## The real network
#
# One scene, one network, one forward pass.

# %%
scene = scenes.draw(seed=7)
x = cam.load_image(scene.image)
net = cam.vgg16()
rec = cam.record(net, x)

# %% [markdown]
# > **Predict.** Four pictures for the first animal, then the same four for the second. Which of the four will change
# > when the class changes?


# %%
def four_pictures(rec, label):
    """Saliency, deconvnet, guided backpropagation, guided Grad-CAM, each as a picture."""
    guided = rec.image_gradient(label, "guided")[0]
    heat = cam.resize_map(cam.grad_cam_of(rec, class_id=label)[0], 224)
    return [
        plot.grey_image(np.abs(rec.image_gradient(label)[0]).max(axis=0)),
        plot.signed_image(rec.image_gradient(label, "deconvnet")[0]),
        plot.signed_image(guided),
        plot.signed_image(guided * heat),
    ]


rows = [[scene.image, *four_pictures(rec, label)] for label in scene.labels]
titles = ["scene", "saliency", "deconvnet", "guided backprop", "guided Grad-CAM"]
plot.grid(rows, scene.labels, titles, size=1.7)

# %% [markdown]
# *What to see: one row per class. In the saliency map black is zero; in the three to its right
# grey is zero, and brighter or darker means more or less of a colour. Guided backpropagation is the sharpest, and it is
# nearly the same in both rows. Only the last one
# changes completely with the class.*
#
# The package's functions are these pictures' numbers:

# %%
first = scene.labels[0]
guided = rec.image_gradient(first, "guided")
compare("saliency", np.abs(rec.image_gradient(first)).max(axis=1), cam.saliency(net, x, first))
compare("guided", guided, cam.guided_backprop(net, x, first))
product = guided * cam.resize_map(cam.grad_cam_of(rec, class_id=first), 224)[:, None]
compare("guided Grad-CAM", product, cam.guided_grad_cam(net, x, first))
assert np.allclose(product, cam.guided_grad_cam(net, x, first), atol=1e-6 * np.abs(product).max())

# %% [markdown]
# ## Built inline, once
#
# `rec.image_gradient` uses lesson 1's ReLU in all fifteen places. Here is the same pass written out, with the ReLU of
# the convolutions, the ReLU of the Dense layers and the pooling as parameters. We shall need them separately.


# %%
def run_vgg(x, relu, dense_relu, pool):
    """VGG16's forward pass with a choice of its three non-linear parts; returns logits (N, classes)."""
    for block in net.features:
        if isinstance(block, blocks.ReLU):
            x = relu(x)
        elif isinstance(block, blocks.MaxPool2D):
            x = pool(x)
        elif isinstance(block, nn.Dense):
            weight, bias = block.weight.data(), block.bias.data()
            x = dense_relu(nd.FullyConnected(x, weight, bias, num_hidden=weight.shape[0]))
        else:
            x = block(x)
    return net.output(x)


def image_gradient(x, class_id, relu, dense_relu, pool):
    leaf = x.copy()
    leaf.attach_grad()
    with autograd.record(train_mode=False):
        logit = run_vgg(leaf, relu, dense_relu, pool)[0, class_id]
    logit.backward(train_mode=False)
    return leaf.grad.asnumpy()


def guided_relu(z):
    return blocks.relu(z, "guided")


def relative_error(found, expected):
    """The length of the difference over the length of what was expected: 0 is equal, 1 is as bad as all zeros."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


right_pool = blocks.MaxPool2D(2, 2)
number = net.labels.index(first)
mine = image_gradient(x, number, guided_relu, guided_relu, right_pool)
compare("guided, written out", mine, guided)
assert relative_error(mine, guided) < 1e-4

# %% [markdown]
# ## The MaxPool trap
#
# Now with Gluon's own pooling block instead of `cam`'s. The forward pass is the same function, so the gradient should
# be too. A 4x4 example first, with the numbers 0 to 15. Every 2x2 window has its maximum at the lower right.

# %%
numbers = nd.array(np.arange(16.0).reshape(1, 1, 4, 4))


def pooling_gradient(pool, x, train_mode):
    leaf = x.copy()
    leaf.attach_grad()
    with autograd.record(train_mode=train_mode):
        y = pool(leaf).sum()
    y.backward(train_mode=train_mode)
    return leaf.grad.asnumpy()[0, 0]


# %% [markdown]
# > **Predict.** Where will the four ones be?

# %%
stock_pool = nn.MaxPool2D(2, 2)
print("Gluon's block, train_mode=False")
print(pooling_gradient(stock_pool, numbers, train_mode=False))
print("Gluon's block, train_mode=True")
print(pooling_gradient(stock_pool, numbers, train_mode=True))

# %% [markdown]
# And a larger example, in which chance plays no part: 32x32 random numbers.

# %%
maxima = np.zeros((4, 4))
maxima[1::2, 1::2] = 1
assert np.array_equal(pooling_gradient(stock_pool, numbers, train_mode=True), maxima)
assert np.array_equal(pooling_gradient(right_pool, numbers, train_mode=False), maxima)
larger = nd.random.normal(shape=(1, 1, 32, 32))
true = pooling_gradient(stock_pool, larger, train_mode=True)
misled = pooling_gradient(stock_pool, larger, train_mode=False)
first_elements = np.zeros((32, 32))
first_elements[::2, ::2] = 1
print(f"of {true.sum():.0f} windows, {(misled * true).sum():.0f} send their gradient to the maximum")
print(
    f"(64 would be chance), {(misled * first_elements).sum():.0f} to the first element, and {true.sum() - misled.sum():.0f} nowhere"
)
assert not np.array_equal(misled, true)
assert np.array_equal(pooling_gradient(right_pool, larger, train_mode=False), true)

# %% [markdown]
# In inference mode, which is the mode for explaining, the gradient does not go to the maximum, except by chance. The
# block looks up each window's winner in a memory that nobody has written to, because in inference nobody expected a
# backward pass. What it finds there depends on what the memory held before: often zeros, which means the *first*
# element, but also anything else. Run the cells again, and the numbers change. This is MXNet 1.9.1 with its default
# oneDNN; nothing warns you. `cam.blocks.MaxPool2D` lets the pooling's forward believe that it is in training, where it
# writes the winners down.
#
# The [official tutorial](https://github.com/apache/mxnet/blob/v1.4.x/docs/tutorials/vision/cnn_visualization.md)
# records with `train_mode=False` and uses Gluon's block. What does that do to its pictures? Lesson 3's Grad-CAM lies
# below one pooling, pool5, and the image below five.


# %%
def feature_gradient(rec, class_id, pool):
    """The gradient at relu5_3, with a choice of pool5: numpy (K, h, w)."""
    leaf = nd.array(rec.features())
    leaf.attach_grad()
    with autograd.record(train_mode=False):
        y = leaf * 1
        for block in net.features[30:]:
            y = pool(y) if isinstance(block, blocks.MaxPool2D) else block(y)
        logit = net.output(y)[0, class_id]
    logit.backward(train_mode=False)
    return leaf.grad.asnumpy()[0]


def as_map(alpha, A):
    return np.maximum((alpha[:, None, None] * A).sum(axis=0), 0)


errors = {"feature gradient": [], "Grad-CAM": [], "image gradient": [], "guided backprop": []}
for seed in scenes.TEST_SEEDS[:10]:
    drawn = scenes.draw(seed)
    one_x, c = cam.load_image(drawn.image), drawn.class_ids[0]
    one = cam.record(net, one_x)
    A, wrong, true = one.features()[0], feature_gradient(one, c, stock_pool), one.gradient(class_id=c)[0]
    errors["feature gradient"].append(relative_error(wrong, true))
    errors["Grad-CAM"].append(relative_error(as_map(wrong.mean(axis=(1, 2)), A), as_map(true.mean(axis=(1, 2)), A)))
    plain = image_gradient(one_x, c, nd.relu, nd.relu, stock_pool)
    errors["image gradient"].append(relative_error(plain, one.image_gradient(c)))
    with_rule = image_gradient(one_x, c, guided_relu, guided_relu, stock_pool)
    errors["guided backprop"].append(relative_error(with_rule, one.image_gradient(c, "guided")))

# %% [markdown]
# > **Predict.** Four relative errors (1 is as bad as all zeros). Which of the four will be the smallest, and why?

# %%
for name, values in errors.items():
    print(f"{name:17} relative error {metrics.bootstrap(values)}")
assert min(np.mean(errors[name]) for name in ("feature gradient", "image gradient", "guided backprop")) > 0.5

# %% [markdown]
# The feature gradient and both image gradients are useless. Grad-CAM is hurt too, but less, and how much changes from
# run to run. That deserves an explanation. Suppose that the pooling always hands its gradient to the *first* element of
# the window. We can build exactly this pooling: its value is the maximum, its gradient goes to the first element.


# %%
def first_element_pool(x):
    first = nd.slice(x, begin=(None, None, 0, 0), end=(None, None, None, None), step=(1, 1, 2, 2))
    return nd.BlockGrad(right_pool(x) - first) + first


misplaced = feature_gradient(rec, number, first_element_pool)
true = rec.gradient(class_id=first)[0]
A = rec.features()[0]
print(f"relative error of the feature gradient {relative_error(misplaced, true):.2f}")
print(f"relative error of alpha {relative_error(misplaced.mean(axis=(1, 2)), true.mean(axis=(1, 2))):.0e}")

# %%
assert relative_error(misplaced, true) > 0.5
assert relative_error(as_map(misplaced.mean(axis=(1, 2)), A), as_map(true.mean(axis=(1, 2)), A)) < 1e-4

# %% [markdown]
# Grad-CAM uses only the *mean* of the gradient over each channel. A gradient that lands on the wrong element of the
# *right window* does not change the sum, so the weights, and the map, are exactly right. Only what gets lost altogether
# hurts Grad-CAM.
#
# So a Grad-CAM that looks fine is no evidence that the pass was right. And the guided pictures?
#
# > **Predict.** Will you see at a glance which of the next three pictures is right?

# %%
three = {
    "Gluon's pooling": stock_pool,
    "first element": first_element_pool,
    "right pooling": right_pool,
}
pictures = {name: image_gradient(x, number, guided_relu, guided_relu, pool)[0] for name, pool in three.items()}
plot.grid([[plot.signed_image(picture) for picture in pictures.values()]], [first], list(pictures))

# %% [markdown]
# *What to see: guided backpropagation for the same class through the same network, with three ways to send the gradient
# through the poolings. Left, as stock MXNet does in inference; this one changes from run to run, from torn pieces and
# dots to something like the middle. Middle, always to the first element of the window. Right, to the maximum. Each is
# scaled to its own maximum. The middle one shows both animals, a little displaced; nobody would suspect it. But
# measure:*

# %%
for name, picture in pictures.items():
    print(f"{name:16} relative error {relative_error(picture, guided[0]):.3f}")
assert relative_error(pictures["first element"], guided[0]) > 0.5
assert relative_error(pictures["right pooling"], guided[0]) < 1e-4

# %% [markdown]
# Guided backpropagation draws edges of whatever excites the network, and it does so even when the gradient is wrong.
# Being pretty is no test.

# %% [markdown]
# ## Thirteen of fifteen ReLUs
#
# The tutorial rewrites the ReLU blocks of the convolutions. VGG16 has two more ReLUs, inside its Dense layers
# (`nn.Dense(..., activation="relu")`); they keep the plain rule.
#
# > **Predict.** Two of fifteen, and both near the output. Will the picture change a lot, a little, or not at all?

# %%
thirteen, drift = [], []
for seed in scenes.TEST_SEEDS[:10]:
    drawn = scenes.draw(seed)
    one_x, c = cam.load_image(drawn.image), drawn.class_ids[0]
    fifteen = cam.guided_backprop(net, one_x, c)
    partly = image_gradient(one_x, c, guided_relu, nd.relu, right_pool)
    drift.append(relative_error(partly, fifteen))
    thirteen.append(float((partly * fifteen).sum() / np.linalg.norm(partly) / np.linalg.norm(fifteen)))
print("relative error", metrics.bootstrap(drift))
print("cosine        ", metrics.bootstrap(thirteen))
assert np.mean(drift) > 0.01

# %% [markdown]
# The two pictures point the same way but are not the same. In VGG16 the omission is small enough to overlook. In
# ResNet50v2 the same recipe reaches 2 of 50 ReLUs, and nobody overlooks that.

# %% [markdown]
# ## Does guided backpropagation know the class?
#
# In the figure above, the two rows looked alike. Now with numbers, for each rule, over several scenes with two animals:
#
# - the **cosine** between the pictures of the two classes (1: the same picture),
# - the **share on the right object** of the absolute gradient (0.5: it does not care which animal),
# - the **energy** on *any* object, as a share of all (by chance: the share of the image that objects cover).


# %%
def cosine(a, b):
    return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))


covered = []
rows = {name: {"cosine": [], "share": [], "energy": []} for name in ("plain", "deconvnet", "guided", "guided Grad-CAM")}
for seed in scenes.TEST_SEEDS[:15]:
    drawn = scenes.draw(seed)
    one = cam.record(net, cam.load_image(drawn.image))
    covered.append(drawn.masks.any(axis=0).mean())
    pictures = {rule: [one.image_gradient(c, rule)[0] for c in drawn.class_ids] for rule in blocks.RULES}
    heats = [cam.resize_map(cam.grad_cam_of(one, class_id=c)[0], 224) for c in drawn.class_ids]
    pictures["guided Grad-CAM"] = [g * heat for g, heat in zip(pictures["guided"], heats)]
    for name, pair in pictures.items():
        rows[name]["cosine"].append(cosine(*pair))
        for picture, mask, other in zip(pair, drawn.masks, drawn.masks[::-1]):
            strength = np.abs(picture).max(axis=0)
            rows[name]["share"].append(metrics.share_on_object(strength, mask, other))
            rows[name]["energy"].append(metrics.energy_in_mask(strength, drawn.masks.any(axis=0)))

# %% [markdown]
# > **Predict.** Which of the four has the highest energy on the animals? Which has the highest share on the *right*
# > one?

# %%
for name, values in rows.items():
    print(f"{name:15}", "  ".join(f"{key} {metrics.bootstrap(value)}" for key, value in values.items()))
print(f"energy by chance {np.mean(covered):.2f}")

# %%
mean = {name: {key: np.mean(value) for key, value in values.items()} for name, values in rows.items()}
assert mean["guided"]["energy"] > mean["plain"]["energy"]
assert mean["guided"]["cosine"] > 0.8 and abs(mean["guided"]["share"] - 0.5) < 0.15
assert mean["plain"]["cosine"] < mean["guided"]["cosine"] and abs(mean["plain"]["share"] - 0.5) < 0.15
assert min(mean["guided"]["energy"], mean["plain"]["energy"]) > np.mean(covered)
assert mean["guided Grad-CAM"]["share"] > mean["guided"]["share"] + 0.2

# %%
figure, axis = plt.subplots(figsize=(6, 2.4), layout="constrained")
for index, values in enumerate(rows.values()):
    interval = metrics.bootstrap(values["share"])
    axis.plot([interval.low, interval.high], [index, index], "k-", linewidth=2)
    axis.plot(interval.mean, index, "o", color="tab:blue", markersize=8)
axis.axvline(0.5, color="grey", linestyle="--")
axis.set(yticks=range(4), yticklabels=rows, xlim=(0.4, 1), xlabel="share on the right object")
axis.invert_yaxis()
plt.show()

# %% [markdown]
# *What to see: the share of each picture on the animal that the class names, with 95 % bootstrap intervals; the dashed
# line is "does not care". Deconvnet is a little on the right side of it, guided Grad-CAM far.*
#
# The table says the rest. Guided backpropagation puts most of its energy on the animals, far more than chance and more
# than the true gradient, but hardly cares which animal was asked for. The true gradient's two pictures differ, and yet
# it is no better at naming the place: a pixel of one animal changes the other's logit too. And a class that is not
# there?

# %%
asked = rec.image_gradient(first, "guided")
others = [cosine(asked, rec.image_gradient(label, "guided")) for label in net.labels if label not in scene.labels]
print(
    f"guided picture of '{first}' against those of the {len(others)} absent classes: cosine {min(others):.3f} to {max(others):.3f}"
)
assert min(others) > 0.8

# %% [markdown]
# Guided backpropagation shows what the network's units respond to in this image, whatever the class. As an answer to
# "why *this* class?" it fails. That is the reason for guided Grad-CAM.

# %% [markdown]
# ## On your own
#
# **1.** Guided Grad-CAM multiplies. Could one *add* the two pictures instead, each scaled to its maximum? Measure the
# share on the right object over ten scenes.

# %% jupyter={"source_hidden": true} tags=["solution"]
added, multiplied = [], []
for seed in scenes.TEST_SEEDS[:10]:
    drawn = scenes.draw(seed)
    one = cam.record(net, cam.load_image(drawn.image))
    for c, mask, other in zip(drawn.class_ids, drawn.masks, drawn.masks[::-1]):
        strength = np.abs(one.image_gradient(c, "guided")[0]).max(axis=0)
        heat = cam.resize_map(cam.grad_cam_of(one, class_id=c)[0], 224)
        added.append(metrics.share_on_object(strength / strength.max() + heat / heat.max(), mask, other))
        multiplied.append(metrics.share_on_object(strength * heat, mask, other))
print("added     ", metrics.bootstrap(added))
print("multiplied", metrics.bootstrap(multiplied))
assert np.mean(multiplied) > np.mean(added)  # a sum keeps what only one of the two says

# %% [markdown]
# **2.** HiResCAM multiplies gradient and feature map *before* averaging over positions. Is it as immune to the pooling
# trap as Grad-CAM to a gradient that lands on the wrong element of the right window? Compute it with
# `first_element_pool`.

# %% jupyter={"source_hidden": true} tags=["solution"]
A = rec.features()[0]
hires = {
    name: np.maximum((feature_gradient(rec, number, pool) * A).sum(axis=0), 0)
    for name, pool in (("first element", first_element_pool), ("right", right_pool))
}
compare("HiResCAM, right pooling", hires["right"], cam.hires_cam(net, x, first)[0])
print(f"relative error {relative_error(hires['first element'], hires['right']):.2f}")
assert relative_error(hires["first element"], hires["right"]) > 0.2  # position by position, the wrong place matters

# %% [markdown]
# **3.** The saliency map takes the maximum over colours of the absolute value, so it cannot tell "more of this" from
# "less of this". For how many of the 1000 strongest pixels do the three colours disagree about the sign?

# %% jupyter={"source_hidden": true} tags=["solution"]
gradient = rec.image_gradient(first)[0].reshape(3, -1)
strongest = np.argsort(-np.abs(gradient).max(axis=0))[:1000]
disagree = (gradient[:, strongest].min(axis=0) < 0) & (gradient[:, strongest].max(axis=0) > 0)
print(f"{disagree.sum()} of 1000: there, one colour should be brighter and another one darker")
assert 0 < disagree.sum() < 1000

# %% [markdown]
# **Rule of thumb.** For *where*, Grad-CAM. For *what the network responds to*, guided backpropagation. For *which
# pixels, for this class*, their product. And check the pass, not only the picture: a wrong gradient can hide behind an
# average.
#
# **Next:** [5. Why is ResNet's "last conv" wrong?](05_why_is_resnets_last_conv_wrong.ipynb)
