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
# **You will learn** how a convolution sends a gradient back, how to keep a layer's output *and* its gradient from one
# pass, and why the obvious way breaks the image gradient.
#
# **You need** lesson 1. **It takes** about 45 minutes.

# %%
# %matplotlib inline
# cam comes before mxnet: it sees to it that MXNet uses every core
import cam
import diagrams
from cam import exercises, scenes
from course import Lesson, compare, show

import matplotlib.pyplot as plt
import numpy as np
from mxnet import autograd, nd
from mxnet.gluon import nn

lesson = Lesson(2, globals())
scene = scenes.draw(seed=2)
picture, (target, other) = cam.load_image(scene.image), scene.labels
net = cam.vgg16()
layer = "features.28"  # conv5_3, the last convolution (third of the fifth group): the layer that MXNet's tutorial took
rec = cam.record(net, picture, layer)
A, dA = rec.features(layer)[0], rec.gradient(layer, target=target)[0]  # (K, h, w) each

by_wish = np.argsort(-dA.mean(axis=(1, 2)))
channels = [*by_wish[:2], *by_wish[-2:]]
figure, axes = plt.subplots(1, 5, figsize=(11, 2.7), layout="constrained")
axes[0].imshow(scene.image)
axes[0].set_title(f"scene: {target} and {other}", fontsize=9)
for axis, channel in zip(axes[1:], channels):
    axis.imshow(np.maximum(A[channel], 0), cmap="inferno", vmin=0, extent=(0, 224, 224, 0))
    for mask, style in zip(scene.masks, ("solid", "dashed")):
        axis.contour(mask, [0.5], colors="white", linewidths=1, linestyles=style)
    axis.set_title(
        f"channel {channel}: up to {A[channel].max():.1f}\nmean gradient {dA[channel].mean():+.4f}", fontsize=9
    )
for axis in axes:
    axis.set(xticks=[], yticks=[])
show(
    figure,
    alt="A scene with a tiger and a hog, and four channels of 14x14 numbers: the first brightest on the tiger, the second on "
    "the hog's head, the third beside both animals, the fourth on the tiger and above the hog.",
)

# %% [markdown]
# *What to see: four of the 128 channels of a convolution in VGG16. Each is a detector with a map of where it fired. Black
# is zero or less, and each has its own brightest value. The solid outline is the tiger, the dashed one the hog. The class
# "tiger" wants more of the first two channels and less of the last two. The third fires beside the animals, not on them.*
#
# Grad-CAM needs two things from one layer. Its **feature map** $A$ is what the convolution saw. The gradient of the
# class's logit, $\partial y^c / \partial A$, is what the class wants: where it is positive, a larger number would raise the
# logit. MXNet keeps neither; here we make it keep both.
#
# How strongly does each channel fire on the two animals?

# %%
fired = {channel: cam.resize_map(np.maximum(A[channel], 0), 224) for channel in channels}
means = {channel: [heat[mask].mean() for mask in scene.masks] for channel, heat in fired.items()}
for channel, (on_target, on_other) in means.items():
    print(f"channel {channel:3}: mean {on_target:.1f} on the {target}, {on_other:.1f} on the {other}")
assert len(A) == 128
second, third = channels[1:3]
assert dA[second].mean() > 0 > dA[third].mean()
assert means[second][0] < means[second][1] and max(means[third]) < 0.05 < A[third].max()

# %% [markdown]
# ## The idea in words
#
# A convolution slides a window of weights over its input. At each position it writes one number: the sum of the
# products. On the way back, each output's gradient goes to the inputs that were in its window, times the weight that each
# of them met. An input that was in several windows adds up what it gets.
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
# The window fits in four positions. The first number is $1\cdot1 + 0\cdot2 + 0\cdot3 + 1\cdot4 = 5$.
#
# Now backward. Suppose the class wants more of the first output, and ten times as much of the last:
# $dy = \begin{pmatrix}1 & 0\\ 0 & 10\end{pmatrix}$.
#
# > **Predict.** Which input receives gradient from both outputs, and how much in all? Then write the line.


# %%
def convolve_backward(dy, w):
    dx = np.zeros((dy.shape[0] + w.shape[0] - 1, dy.shape[1] + w.shape[1] - 1), dy.dtype)
    for i in range(dy.shape[0]):
        for j in range(dy.shape[1]):
            dx[i : i + w.shape[0], j : j + w.shape[1]] += ...  # your code
    return dx


# %% [markdown] tags=["solution-convolve_backward"]
# <details><summary>Hint</summary>
#
# Output (i, j) was made from one window of x. Hand its gradient to this window, times the weights.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def convolve_backward(dy, w):
#     dx = np.zeros((dy.shape[0] + w.shape[0] - 1, dy.shape[1] + w.shape[1] - 1), dy.dtype)
#     for i in range(dy.shape[0]):
#         for j in range(dy.shape[1]):
#             dx[i : i + w.shape[0], j : j + w.shape[1]] += dy[i, j] * w
#     return dx
# ```
#
# </details>

# %%
convolve_backward = lesson.fill("convolve_backward", convolve_backward)
dy = np.array([[1, 0], [0, 10]], np.float32)
dx = convolve_backward(dy, w)
likely = {
    "each input gets the gradient times the weight that it met": [[1, 1, 0], [1, 11, 10], [0, 10, 10]],
    "the gradient of one output is one number, dy[i, j]": [[1, 1, 0], [1, 41, 40], [0, 40, 40]],
    "the weights stay as they are; they are not turned round": [[4, 3, 0], [2, 41, 30], [0, 20, 10]],
}
exercises.check("the gradient of the input", dx, [[1, 2, 0], [3, 14, 20], [0, 30, 40]], likely)
print(dx)

# %% [markdown]
# The centre: weight 4 in the first window and weight 1 in the last, $4 \cdot 1 + 1 \cdot 10 = 14$. Is it a derivative?
# Ask a finite difference:

# %%
numeric = np.zeros((3, 3))
for k, m in np.ndindex(3, 3):
    step = np.zeros((3, 3))
    step[k, m] = 1e-6
    numeric[k, m] = (dy * (convolve(x + step, w) - convolve(x - step, w))).sum() / 2e-6
compare("by hand and finite difference", dx, numeric)
assert np.allclose(dx, numeric, atol=1e-6)

# %% [markdown]
# And Gluon's own convolution, with the same weights:

# %%
convolution = nn.Conv2D(channels=1, kernel_size=2, in_channels=1)
convolution.initialize()
convolution.weight.set_data(nd.array(w[None, None]))


def small_image():
    """The 3x3 input as a leaf, (1, 1, 3, 3)."""
    leaf = nd.array(x[None, None])
    leaf.attach_grad()
    return leaf


image = small_image()
with autograd.record(train_mode=False):
    y = convolution(image)
y.backward(nd.array(dy[None, None]), train_mode=False)
compare("by hand and Gluon, backward", dx, image.grad[0, 0])
assert np.array_equal(image.grad[0, 0].asnumpy(), dx)

# %% [markdown]
# ## A convolution in the middle of a network
#
# Put something above it: the sum of squares, as the "score".


# %%
def score(feature_map):
    return (feature_map**2).sum()


image = small_image()
with autograd.record(train_mode=False):
    result = score(convolution(image))
result.backward(train_mode=False)
true_gradient = image.grad[0, 0].asnumpy()
print("the true gradient of the score with respect to the image:")
print(true_gradient)

# %% [markdown]
# By the chain rule the gradient at the convolution's output $A$ is $2A$. But MXNet keeps gradients of leaves only. So we
# make $A$ a leaf too:

# %%
image = small_image()
with autograd.record(train_mode=False):
    feature_map = convolution(image)
    feature_map.attach_grad()
    result = score(feature_map)
result.backward(train_mode=False)
compare("gradient at the convolution and 2A", feature_map.grad, 2 * feature_map)
assert np.array_equal(feature_map.grad.asnumpy(), 2 * feature_map.asnumpy())

# %% [markdown]
# > **Predict.** We did not touch the image. What is its gradient now?

# %%
print(image.grad[0, 0].asnumpy())
assert not image.grad.asnumpy().any()

# %% [markdown]
# All zeros, and no warning. MXNet forgets how a leaf was made, so the gradient stops at $A$: the tape is **cut**. Grad-CAM
# at this layer would be right, and every image gradient of the same pass would be zero.
# This trap has its own bug report: [apache/mxnet #11865](https://github.com/apache/mxnet/issues/11865).

# %%
show(
    diagrams.cut_and_tap(),
    alt="Two rows of boxes: image, convolution, A, score. Above, the gradient's arrows end at A behind scissors. Below, a "
    "box T = 0 joins by a plus behind A, and the arrows reach both T and the image.",
)

# %% [markdown]
# *What to see: above, the cut. Below, a way that cuts nothing: a zero is added to the feature map. Orange is the leaf whose
# gradient we read.*
#
# ### The zero tap
#
# $$W = A + T, \qquad T = 0$$
#
# The network goes on with $W$, which equals $A$. Since $\partial W / \partial T = 1$, the gradient of $T$ is the gradient
# of the feature map. Write it:


# %%
def tap(A):
    """What the network goes on with, and a zero whose gradient is that of A."""
    zero = ...  # your code, and one more line that makes it a leaf
    passed_on = ...  # your code
    return passed_on, zero


# %% [markdown] tags=["solution-tap"]
# <details><summary>Hint</summary>
#
# `nd.zeros_like` makes the zeros, `attach_grad` makes them a leaf. The network goes on with a sum.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def tap(A):
#     zero = nd.zeros_like(A)
#     zero.attach_grad()
#     return A + zero, zero
# ```
#
# </details>

# %% [markdown]
# > **Predict.** With the tap, which gradient will be right: the feature map's, the image's, or both?

# %%
tap = lesson.fill("tap", tap)
image = small_image()
with autograd.record(train_mode=False):
    feature_map = convolution(image)
    passed_on, zero = tap(feature_map)
    result = score(passed_on)
result.backward(train_mode=False)
assert zero.grad is not None, "MXNet keeps the gradient of a leaf only: the zero needs attach_grad"
apart = {"the network must go on with the sum of A and the zero": np.zeros((1, 1, 2, 2))}
exercises.check("the zero's gradient", zero.grad, 2 * feature_map, apart)
cut = {"A must not become a leaf itself": np.zeros((3, 3))}
exercises.check("the image's gradient", image.grad[0, 0], true_gradient, cut)
print("both are right")

# %% [markdown]
# Both, from one pass.
#
# ## The real network
#
# For the first figure `cam.record` ran VGG16 once, and gave the feature map and the gradient of a class. Does it put a tap
# into the network? Let us do that ourselves and compare. We run the blocks one after the other, with our tap behind block
# 28. Only max pooling needs care: it must believe that it is in training. Lesson 4 says why.

# %%
image = picture.copy()
image.attach_grad()
with autograd.record(train_mode=False):
    y = image
    for number, block in enumerate(net.features):
        mode = autograd.train_mode() if isinstance(block, nn.MaxPool2D) else autograd.predict_mode()
        with mode:
            y = block(y)
        if number == 28:
            feature_map = y
            y, zero = tap(y)
    logit = net.output(y)[0, net.labels.index(target)]
logit.backward(train_mode=False)


# %%
def relative_error(found, expected):
    """The length of the difference over the length of what was expected: 0 is equal, 1 is as bad as all zeros."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


tapped = {
    "feature map": (A, feature_map[0].asnumpy()),
    "its gradient": (dA, zero.grad[0].asnumpy()),
    "image gradient": (rec.image_gradient(target=target), image.grad.asnumpy()),
}
for name, (recorded, by_tap) in tapped.items():
    print(f"{name:14} cam.record and tap, relative error {relative_error(recorded, by_tap):.0e}")
    assert relative_error(recorded, by_tap) < 1e-5

# %% [markdown]
# The same numbers, up to rounding. But `cam.record` needs no tap, and leaves nothing on the network. It asks for the
# **graph**: the list of the network's operators, and which feeds which. It runs them in order and keeps what it needs.
# Then it walks back, and each operator turns the gradient that arrives into the gradients of its inputs. Your `relu_back`
# and `convolve_backward` are two of these rules.
#
# Here is the graph of a small network, drawn from the same list:


# %%
class Small(nn.HybridBlock):
    """Two convolutions, the second of them in a branch, and a classifier."""

    def __init__(self):
        super().__init__()
        with self.name_scope():
            self.conv1 = nn.Conv2D(4, 3, padding=1, in_channels=3)
            self.conv2 = nn.Conv2D(4, 3, padding=1, in_channels=4)
            self.output = nn.Dense(2, in_units=4)

    def hybrid_forward(self, F, x):
        x = F.relu(self.conv1(x))
        x = F.relu(x + self.conv2(x))
        return self.output(F.Pooling(x, global_pool=True, pool_type="avg"))


small = Small()
small.initialize()
show(
    diagrams.net_graph(small, labels={"conv1": "conv1", "conv2": "conv2"}),
    alt="Boxes from image to Dense. All are orange except conv2, which lies beside the main line and meets it in an addition.",
)

# %% [markdown]
# *What to see: every operator, in the order in which it runs. The walk back takes every arrow the other way. Orange maps
# are **whole**: every path from the image to the logits crosses them. Blue is a **part**: something goes around it. What
# that means for Grad-CAM is the question of lesson 5.*
#
# A channel says what was seen, its gradient what the class wants. Neither alone is an explanation: the second channel in
# the first figure is wanted, and fires more on the hog than on the tiger. Lesson 3 multiplies the two.

# %% [markdown]
# ## On your own
#
# **1.** ★ The tap adds a zero to every number. Does the network's output change at all? Compare the logit that we recorded
# with the one in `net(picture)`.

# %% [markdown] tags=["solution-exercise_1"]
# <details><summary>Solution</summary>
#
# ```python
# untouched = net(picture)[0, net.labels.index(target)]
# compare("logit with and without tap", logit, untouched)
# assert logit.asscalar() == untouched.asscalar()  # adding zero is exact
# ```
#
# </details>

# %%
lesson.solution("exercise_1")  # or your own code

# %% [markdown]
# **2.** ★★ Ask the same recording `rec` for both classes, `target` and `other`. How similar are the two gradients at this
# layer? Use the cosine of lesson 1.

# %% [markdown] tags=["solution-exercise_2"]
# <details><summary>Hint</summary>
#
# `rec.gradient(layer, target=other)[0]` is the other one. Sum over all axes, as a dot product does.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def cosine(a, b):
#     return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))
#
#
# similarity = cosine(dA, rec.gradient(layer, target=other)[0])
# print(f"cosine between {target} and {other}: {similarity:.2f}")
# # Neither alike nor unrelated: a small step that raises the logit of one class raises the other's too.
# assert 0 < similarity < 0.9
# ```
#
# </details>

# %%
lesson.solution("exercise_2")  # or your own code

# %% [markdown]
# **3.** ★★★ Why must the tap be zero? Show with the small convolution that a tap of *ones* changes the gradient that you
# want to measure.

# %% [markdown] tags=["solution-exercise_3"]
# <details><summary>Hint</summary>
#
# The score is the sum of squares, so its gradient depends on where you stand.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# A = convolution(small_image())
# ones = nd.ones_like(A)
# ones.attach_grad()
# with autograd.record(train_mode=False):
#     result = score(convolution(small_image()) + ones)
# result.backward(train_mode=False)
# compare("2A", ones.grad, 2 * A)  # it is 2 (A + 1): the gradient at another point
# assert np.array_equal(ones.grad.asnumpy(), 2 * (A.asnumpy() + 1))
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
# **1.** A convolution with a 2x2 kernel and stride 1 sees a 3x3 input. How many outputs was the input's centre part of?
#
# - **A.** 1
# - **B.** 2
# - **C.** 4
# - **D.** 9
#
# <details><summary>Answer</summary>
#
# **C.** The window fits in four positions, and the centre lies in each of them. So on the way back it adds up four gradients.
#
# </details>
#
# **2.** You call `attach_grad()` on the output of a convolution while recording. What becomes wrong?
#
# - **A.** the convolution's output
# - **B.** the logits
# - **C.** the image's gradient
# - **D.** the gradient at the convolution's output
#
# <details><summary>Answer</summary>
#
# **C.** The output becomes a leaf, and the tape below it is cut. Everything above stays right, which is why the fault is so easily overlooked.
#
# </details>
#
# **3.** Why does the zero of a zero tap have the feature map's gradient?
#
# - **A.** MXNet copies gradients to the nearest leaf.
# - **B.** A zero has no gradient of its own.
# - **C.** The network goes on with their sum, and the derivative of a sum with respect to each term is 1.
# - **D.** The zero and the feature map share their memory.
#
# <details><summary>Answer</summary>
#
# **C.** W = A + T. A small change of T changes W exactly as the same change of A would.
#
# </details>
#
# **4.** Why must the tap be zero, and not one?
#
# - **A.** Only zeros have the right memory layout.
# - **B.** Ones cannot be leaves.
# - **C.** The derivative of a sum with ones is 2.
# - **D.** With ones the network would compute something else, so the gradient would be one at another point.
#
# <details><summary>Answer</summary>
#
# **D.** The derivative of the sum is 1 in any case. But the layers above would see A + 1.
#
# </details>
#
# **5.** A channel is large on the tiger, and the mean gradient of the class "tiger" on this channel is negative. What does that mean?
#
# - **A.** The channel detects tigers.
# - **B.** The detector fires on the tiger, and a weaker firing would raise the logit of "tiger".
# - **C.** The channel is not used for "tiger".
# - **D.** The feature map is negative there.
#
# <details><summary>Answer</summary>
#
# **B.** The feature map says what was seen, the gradient what the class wants. Only both together are an explanation.
#
# </details>

# %% [markdown]
# **Rule of thumb.** Whatever you mark with `attach_grad` has no past. To watch a number inside a network, add a zero and
# watch the zero; or know the graph, and walk back over it.
#
# **Read more.** Baydin, Pearlmutter, Radul and Siskind, [Automatic differentiation in machine learning: a
# survey](https://arxiv.org/abs/1502.05767), 2018: what a tape is. Dumoulin and Visin, [A guide to convolution arithmetic
# for deep learning](https://arxiv.org/abs/1603.07285), 2016: the way back of a convolution, in pictures.
#
# **Next:** [3. Where does VGG16 look?](03_where_does_vgg16_look.ipynb)
