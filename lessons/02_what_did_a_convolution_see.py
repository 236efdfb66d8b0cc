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
# # 2. What did a convolution see, and what does the class want from it?
#
# **You will learn** how a convolution sends a gradient back, how to keep a layer's output *and* its gradient from
# one forward pass, and why the obvious way to do it breaks the image gradient.
#
# **You need** lesson 1. **It takes** about 30 minutes.
#
# Grad-CAM needs two things from one layer: its **feature map** $A$ (what the convolution saw) and the gradient of the
# class's score with respect to it, $\partial y^c / \partial A$ (what the class wants more of). MXNet keeps neither.
# In this lesson we make it keep both.

# %%
# %matplotlib inline
import cam
from cam import scenes
from course import compare

import matplotlib.pyplot as plt
import numpy as np
from mxnet import autograd, nd
from mxnet.gluon import nn

# %% [markdown]
# ## The idea in words
#
# A convolution slides a small window of weights over its input and writes one number per position: the sum of the
# products. On the way back, each output's gradient is handed to exactly those inputs that were in its window, times
# the weight each of them met there. An input that was in several windows adds up what it gets.
#
# ## The formula
#
# For one channel, a kernel $w$, stride 1 and no padding:
#
# $$y_{ij} = \sum_{u,v} w_{uv}\, x_{i+u,\,j+v} \qquad\qquad
# dx_{kl} = \sum_{i+u=k,\; j+v=l} w_{uv}\, dy_{ij}$$
#
# The same weights, walked the other way.

# %% [markdown]
# ## By hand: a 3x3 input and a 2x2 kernel

# %%
x = np.array([[1, 0, 2], [0, 1, 0], [3, 0, 1]], np.float32)
w = np.array([[1, 2], [3, 4]], np.float32)

# %% [markdown]
# The window fits in four positions, so the output is 2x2. The first number is $1\cdot1 + 0\cdot2 + 0\cdot3 + 1\cdot4 =
# 5$.


# %%
def convolve(x, w):
    rows, columns = x.shape[0] - w.shape[0] + 1, x.shape[1] - w.shape[1] + 1
    y = np.zeros((rows, columns), x.dtype)
    for i in range(rows):
        for j in range(columns):
            y[i, j] = (w * x[i : i + w.shape[0], j : j + w.shape[1]]).sum()
    return y


print(convolve(x, w))
assert convolve(x, w).tolist() == [[5, 7], [11, 5]]

# %% [markdown]
# Now backward. Suppose the class wants more of the first output and ten times as much of the last:
# $dy = \begin{pmatrix}1 & 0\\ 0 & 10\end{pmatrix}$.
#
# > **Predict.** Which input receives gradient from both outputs, and how much in all?


# %%
def convolve_backward(dy, w):
    dx = np.zeros((dy.shape[0] + w.shape[0] - 1, dy.shape[1] + w.shape[1] - 1), dy.dtype)
    for i in range(dy.shape[0]):
        for j in range(dy.shape[1]):
            dx[i : i + w.shape[0], j : j + w.shape[1]] += dy[i, j] * w
    return dx


dy = np.array([[1, 0], [0, 10]], np.float32)
dx = convolve_backward(dy, w)
print(dx)

# %%
assert dx[1, 1] == 4 * 1 + 1 * 10  # the centre: weight 4 in the first window, weight 1 in the last
assert dx.tolist() == [[1, 2, 0], [3, 14, 20], [0, 30, 40]]

# %% [markdown]
# Is it a derivative? Lesson 1's test, a finite difference, and Gluon's own convolution both have a say.

# %%
numeric = np.zeros((3, 3))
for k in range(3):
    for m in range(3):
        step = np.zeros((3, 3))
        step[k, m] = 1e-6
        up, down = convolve(x.astype(float) + step, w), convolve(x.astype(float) - step, w)
        numeric[k, m] = (dy * (up - down)).sum() / 2e-6
compare("by hand, finite difference", dx, numeric)

convolution = nn.Conv2D(1, 2, in_channels=1)
convolution.initialize()
convolution.weight.set_data(nd.array(w[None, None]))
leaf = nd.array(x[None, None])
leaf.attach_grad()
with autograd.record(train_mode=False):
    y = convolution(leaf)
y.backward(nd.array(dy[None, None]), train_mode=False)
compare("by hand, Gluon forward", convolve(x, w), y[0, 0])
compare("by hand, Gluon backward", dx, leaf.grad[0, 0])
assert np.array_equal(leaf.grad[0, 0].asnumpy(), dx)

# %% [markdown]
# ## A convolution in the middle of a network
#
# So far the convolution was the whole network. Now put something above it. Two layers are enough to show the problem:
# a convolution, then the sum of squares as the "score".


# %%
def score(feature_map):
    return (feature_map**2).sum()


def small_image():
    leaf = nd.array(x[None, None])
    leaf.attach_grad()
    return leaf


image = small_image()
with autograd.record(train_mode=False):
    result = score(convolution(image))
result.backward(train_mode=False)
image_gradient = image.grad[0, 0].asnumpy()
print("the true gradient of the score with respect to the image:")
print(image_gradient)

# %% [markdown]
# By the chain rule the gradient at the convolution's output $A$ is $2A$. But MXNet did not keep it: gradients are
# stored for leaves only, and $A$ is an intermediate result.
#
# ### The obvious way, and what it breaks
#
# `attach_grad()` makes any array keep its gradient. So we call it on the convolution's output:

# %%
image = small_image()
with autograd.record(train_mode=False):
    A = convolution(image)
    A.attach_grad()
    result = score(A)
result.backward(train_mode=False)
print("gradient at the convolution:", A.grad[0, 0].asnumpy().tolist())
compare("it should be 2A", A.grad, 2 * A)

# %% [markdown]
# > **Predict.** We did not touch the image. What is its gradient now?

# %%
print(image.grad[0, 0].asnumpy())
assert not image.grad.asnumpy().any()

# %% [markdown]
# All zeros. `attach_grad()` declares that $A$ is a *leaf*, a place where history begins. MXNet forgets how $A$ was
# made, so the gradient stops there: the tape is **cut**. Grad-CAM at this layer would be right, and every image
# gradient from the same pass would silently be zero. (This trap has its own bug report:
# [apache/mxnet #11865](https://github.com/apache/mxnet/issues/11865).)

# %% [markdown]
# ### The zero tap
#
# Here is a way that cuts nothing. Add a zero to the feature map, and let *the zero* be the leaf:
#
# $$W = A + T, \qquad T = 0$$
#
# The network goes on with $W$, which equals $A$. And since $\partial W / \partial T = 1$, the gradient of $T$ is the
# gradient of the feature map. Electricians measure a voltage the same way: with a tap that draws no current.


# %%
class RecordingConv2D(nn.Conv2D):
    """A convolution that keeps its output, and a zero whose gradient is its output's gradient."""

    def forward(self, x):
        self.feature_map = super().forward(x)
        self.zero = nd.zeros_like(self.feature_map)
        self.zero.attach_grad()
        return self.feature_map + self.zero


recording = RecordingConv2D(1, 2, in_channels=1)
recording.initialize()
recording.weight.set_data(nd.array(w[None, None]))

image = small_image()
with autograd.record(train_mode=False):
    result = score(recording(image))
result.backward(train_mode=False)

# %% [markdown]
# > **Predict.** With the zero tap, which of the two gradients is right: the feature map's, the image's, or both?

# %%
compare("gradient at the convolution", recording.zero.grad, 2 * recording.feature_map)
compare("gradient at the image", image.grad[0, 0], image_gradient)
assert np.array_equal(image.grad[0, 0].asnumpy(), image_gradient)
assert np.array_equal(recording.zero.grad.asnumpy(), 2 * recording.feature_map.asnumpy())

# %% [markdown]
# Both, from one pass. This is the one mechanism behind everything in `cam`. (The `cam` blocks do not keep the arrays in
# themselves, as this one does, but hand them to a recorder that exists for one pass only. So a network that was
# explained looks exactly as before.)

# %% [markdown]
# ## The real network
#
# `cam.vgg16()` is VGG16 with fewer channels, trained on scenes like this one. It works offline and knows twenty
# classes.

# %%
scene = scenes.draw(seed=2)
picture = cam.load_image(scene.image)
net = cam.vgg16()
print("in the scene:", scene.labels)
print("last convolution:", net.features[28])

# %% [markdown]
# `cam.record` runs the network once and puts a zero tap behind each layer that we name. Then we can ask for the feature
# map and for the gradient of any class, as often as we like.

# %%
layer = "features.28"  # conv5_3, the layer that MXNet's tutorial took
rec = cam.record(net, picture, layer)
target = scene.labels[0]
A, dA = rec.features(layer)[0], rec.gradient(layer, target)[0]  # (K, h, w) each
print("feature map ", A.shape)
print("gradient    ", dA.shape, "of the logit of", target)

# %% [markdown]
# Is the gradient right? We ask a second way, without `cam.record`: run the lower half of the network, make its
# output a leaf (here nothing below is needed, so cutting is harmless), and run the upper half. The upper half contains
# a max pooling; its gradient needs care, which is the trap of lesson 4. So we take `cam`'s pooling block here too.

# %%
lower = picture
for block in net.features[:29]:
    lower = block(lower)
lower.attach_grad()
with autograd.record(train_mode=False):
    upper = lower
    for block in net.features[29:]:
        upper = block(upper)
    logit = net.output(upper)[0, net.labels.index(target)]
logit.backward(train_mode=False)
compare("feature map", A, lower[0])
compare("gradient", dA, lower.grad[0])
assert np.allclose(dA, lower.grad[0].asnumpy(), atol=1e-5 * np.abs(dA).max())

# %% [markdown]
# What did the convolution see? Here are the four channels that the class wants most, by the mean of their gradient.

# %%
wanted = np.argsort(-dA.mean(axis=(1, 2)))[:4]
figure, axes = plt.subplots(1, 5, figsize=(11, 2.5), layout="constrained")
axes[0].imshow(scene.image)
axes[0].set_title("scene")
for axis, channel in zip(axes[1:], wanted):
    axis.imshow(np.maximum(A[channel], 0), cmap="inferno", vmin=0, extent=(0, 224, 224, 0))
    axis.contour(scene.masks[0], [0.5], colors="white", linewidths=1)
    axis.set_title(f"channel {channel}\nmean gradient {dA[channel].mean():.4f}", fontsize=9)
for axis in axes:
    axis.set(xticks=[], yticks=[])
print(f"white outline: the {target}")
large = cam.resize_map(np.maximum(A[wanted], 0), 224)
prefers = []
for channel, seen in zip(wanted, large):
    on_target, on_other = (seen[mask].mean() for mask in scene.masks)
    prefers.append(on_target > on_other)
    print(f"channel {channel:3}: mean {on_target:.1f} on the {target}, {on_other:.1f} on the {scene.labels[1]}")
assert any(prefers) and not all(prefers)

# %% [markdown]
# *What to see: the scene, and the four channels of conv5_3 (14x14 numbers each, positive part, black is zero, each
# scaled to its own maximum) that the class wants most. The white line is the true outline of the object that the class
# names. Not every channel stays inside it: a channel detects a pattern, and the other animal may have it too.*

# %% [markdown]
# A channel is a detector with a map of where it fired; its gradient says whether the class wants that. Neither alone is
# an explanation. Lesson 3 multiplies them.

# %% [markdown]
# > **Predict.** The image gradient came from the same recorded pass. Is it zero, as after `attach_grad`?

# %%
gradient = rec.image_gradient(target)
print("largest image gradient:", np.abs(gradient).max())
assert np.abs(gradient).max() > 0

# %% [markdown]
# ## On your own
#
# **1.** The zero tap adds a zero to every number. Does the network's output change at all? Compare `rec.logits` with
# `net(picture)`.

# %% jupyter={"source_hidden": true} tags=["solution"]
compare("logits", rec.logits, net(picture))
assert np.array_equal(rec.logits, net(picture).asnumpy())  # adding zero is exact

# %% [markdown]
# **2.** Ask the same recording for two classes, `scene.labels[0]` and `scene.labels[1]`. How similar are the two
# gradients at this layer? Use the cosine of lesson 1.


# %% jupyter={"source_hidden": true} tags=["solution"]
def cosine(a, b):
    return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))


other = rec.gradient(layer, scene.labels[1])[0]
print(f"cosine between {scene.labels[0]} and {scene.labels[1]}: {cosine(dA, other):.2f}")
assert cosine(dA, dA) > 0.999 > cosine(dA, other)

# %% [markdown]
# **3.** Add the gradient of a *tap of ones*: $W = A + T$ with $T = 1$ would shift the feature map. Why must the tap be
# zero? Show with the small convolution that a tap of ones changes the gradient that you want to measure.

# %% jupyter={"source_hidden": true} tags=["solution"]
ones = nd.ones_like(recording.feature_map)
ones.attach_grad()
with autograd.record(train_mode=False):
    result = score(convolution(small_image()) + ones)
result.backward(train_mode=False)
compare("2A", ones.grad, 2 * recording.feature_map)  # it is 2 (A + 1): the gradient at another point
assert np.array_equal(ones.grad.asnumpy(), 2 * (recording.feature_map.asnumpy() + 1))

# %% [markdown]
# **Rule of thumb.** To watch a number inside a network, add a zero to it and watch the zero. Whatever you mark with
# `attach_grad` has no past.
#
# **Next:** [3. Where does VGG16 look?](03_where_does_vgg16_look.ipynb)
