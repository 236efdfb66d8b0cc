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
# # 1. How does a gradient pass through a ReLU?
#
# **You will learn** three rules by which a gradient can go back through a ReLU. You will write them, and find out which
# of them is a derivative.
#
# **You need** Python, numpy and the chain rule. **It takes** about 40 minutes.

# %%
# %matplotlib inline
# cam comes before mxnet: it sees to it that MXNet uses every core
import cam
from cam import blocks, exercises, scenes
from course import Lesson, compare, forum_pictures, show

import matplotlib.pyplot as plt
import numpy as np
from mxnet import autograd, nd

lesson = Lesson(1, globals())
show(
    forum_pictures(),
    alt="Two rows: VGG16 and ResNet50v2. A scene with a tiger and a duck, Grad-CAM and guided Grad-CAM for the tiger. "
    "VGG16 lights up both animals; ResNet50v2 only a spot at the duck's feet, with coloured specks.",
)

# %% [markdown]
# *What to see: both networks were asked what speaks for the tiger. Grad-CAM answers with a region, guided Grad-CAM with
# pixels. VGG16 lights up both animals, ResNet50v2 a spot at the feet of the duck, and its guided picture is nothing but
# specks. A learner followed MXNet's tutorial on Grad-CAM and asked in a forum: which layer is right for ResNet, and why is
# the guided picture unclear? Here are the tutorial's layers and rules with this course's two networks, which were trained
# on scenes like this one. By lesson 7 you can repair both rows, and say what was wrong.*
#
# A network gives each class a score, its **logit**. A backward pass computes the **gradient** of one logit: for every
# number in the network, how fast the logit changes with it. It goes from the logit through one layer after the other, back
# to the image. The guided pictures change this pass in a single place: at the ReLU.

# %% [markdown]
# ## The idea in words
#
# A ReLU lets positive numbers through and replaces negative ones by zero. On the way back, what should it do with the
# gradient that arrives from above? Three answers:
#
# - **plain**: what calculus says. The gradient passes where the ReLU was open.
# - **deconvnet** ([Zeiler and Fergus 2014](https://arxiv.org/abs/1311.2901)): the gradient passes where *the gradient*
#   is positive.
# - **guided** ([Springenberg et al. 2015](https://arxiv.org/abs/1412.6806)): both conditions at once.
#
# ## The formula
#
# With $y = \max(x, 0)$, and $dy$ for the gradient that arrives:
#
# $$\text{plain: } dx = dy\,[x > 0] \qquad \text{deconvnet: } dx = \max(dy, 0) \qquad
# \text{guided: } dx = \max(dy, 0)\,[x > 0]$$
#
# $[x > 0]$ is 1 where the condition holds and 0 elsewhere.

# %% [markdown]
# ## Five numbers by hand

# %%
x = np.array([-2.0, -1.0, 0.0, 1.0, 3.0], np.float32)
dy = np.array([5.0, -4.0, 3.0, -2.0, 1.0], np.float32)
print("x ", x)
print("y ", np.maximum(x, 0))
print("dy", dy)

# %% [markdown]
# > **Predict.** Write down the five numbers $dx$ for each rule. Which rule lets the first gradient, 5, through? Which
# > one lets $-2$ through?
#
# Then write the rules: replace each `...`. While one is left the solution stands in for it, so every cell runs.


# %%
def relu_back(dy, x, rule):
    """The gradient that leaves a ReLU; dy has arrived, x is what the ReLU received: both are numpy arrays."""
    if rule == "plain":
        return ...  # your code
    if rule == "deconvnet":
        return ...  # your code
    return ...  # your code: guided


# %% [markdown] tags=["solution-relu_back"]
# <details><summary>Hint</summary>
#
# A comparison such as `x > 0` gives 1 where it holds and 0 elsewhere, and you can multiply by it.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def relu_back(dy, x, rule):
#     if rule == "plain":
#         return dy * (x > 0)
#     if rule == "deconvnet":
#         return dy * (dy > 0)
#     return dy * (dy > 0) * (x > 0)
# ```
#
# </details>

# %%
relu_back = lesson.fill("relu_back", relu_back)
expected = {"plain": [0, 0, 0, -2, 1], "deconvnet": [5, 0, 3, 0, 1], "guided": [0, 0, 0, 0, 1]}
likely = {
    "this asks only whether dy is positive": dy * (dy > 0),
    "this asks only whether x is positive": dy * (x > 0),
    "at x = 0 the ReLU is shut: x > 0, not x >= 0": dy * (x >= 0),
    "that is the mask; multiply the gradient by it": 1.0 * (x > 0),
}
by_hand = {rule: relu_back(dy, x, rule) for rule in expected}
for rule, dx in by_hand.items():
    exercises.check(f"relu_back, {rule}", dx, expected[rule], likely)
    print(f"{rule:10}", dx)

# %% [markdown]
# Deconvnet alone lets 5 through a ReLU that was shut. The plain rule alone sends the negative gradient $-2$ on. And `-0.`
# is a zero: it is $-4 \cdot 0$ or $-2 \cdot 0$.


# %%
def stems(axis, values, title):
    axis.stem(range(5), values, basefmt="k-")
    axis.set(title=title, xticks=range(5), xticklabels=[f"{v:g}" for v in x], xlabel="x", ylim=(-5, 6))


figure, axes = plt.subplots(1, 4, figsize=(11, 2.4), sharey=True, layout="constrained")
stems(axes[0], dy, "arrives: dy")
for axis, (rule, dx) in zip(axes[1:], by_hand.items()):
    stems(axis, dx, f"leaves: {rule}")
show(
    figure,
    alt="Four stem plots over x: the arriving gradient 5, -4, 3, -2, 1. Plain keeps -2 and 1, deconvnet 5, 3 and 1, guided 1.",
)

# %% [markdown]
# *What to see: plain erases by the sign of the input, deconvnet by the sign of the gradient, guided by both.*

# %% [markdown]
# ## As a Function of MXNet
#
# An `autograd.Function` has a forward and a backward of its own: MXNet calls yours on the way back, whatever it computes.
# We keep the mask $[x > 0]$, because by then the input is gone.


# %%
class MyReLU(autograd.Function):
    def __init__(self, rule):
        super().__init__()
        self.rule = rule

    def forward(self, x):
        self.positive = x > 0
        return nd.relu(x)

    def backward(self, dy):
        if self.rule == "plain":
            return dy * self.positive
        if self.rule == "deconvnet":
            return nd.relu(dy)
        return nd.relu(dy) * self.positive


# %% [markdown]
# `attach_grad` tells MXNet to keep the gradient of an array. Such an array is called a **leaf**: the tape that records
# the forward pass begins there. `train_mode=False` stands in two places: we explain a finished network, and MXNet's
# default is training.
#
# `compare` is this course's helper. It says whether two arrays are exactly equal, close or different, and by how much.


# %%
def gradient_through(function, x, dy):
    x = nd.array(x, dtype=x.dtype)
    x.attach_grad()
    with autograd.record(train_mode=False):
        y = function(x)
    y.backward(nd.array(dy, dtype=dy.dtype), train_mode=False)
    return x.grad.asnumpy()


for rule in by_hand:
    mine = gradient_through(MyReLU(rule), x, dy)
    compare(f"{rule}, Function and by hand", mine, by_hand[rule])
    assert np.array_equal(mine, by_hand[rule])
mxnets_own = gradient_through(nd.relu, x, dy)
compare("plain and MXNet's own ReLU", by_hand["plain"], mxnets_own)
assert np.array_equal(by_hand["plain"], mxnets_own)

# %% [markdown]
# ## Which rule is a derivative?
#
# Push the input up a little, push it down a little, and look at what the output does. This is a **finite difference**:
#
# $$\frac{\partial \langle dy, f(x)\rangle}{\partial x_i} \approx
# \frac{\langle dy, f(x + \varepsilon e_i)\rangle - \langle dy, f(x - \varepsilon e_i)\rangle}{2 \varepsilon}$$
#
# $\langle dy, f(x)\rangle$ is the sum of $dy_i f(x)_i$, and $e_i$ is 1 at position $i$. We do it in float64, so that
# rounding does not drown the small difference. We leave out $x = 0$, where a ReLU has no derivative.
#
# > **Predict.** Which of the three rules will agree with the finite difference?
#
# Then write the quotient.


# %%
def central_difference(f, x, dy, step):
    """The quotient above, for one i; `step` is epsilon at position i and 0 elsewhere."""
    return ...  # your code


# %% [markdown] tags=["solution-central_difference"]
# <details><summary>Hint</summary>
#
# Push x up by `step` and look at the sum of dy f(x). Do the same downwards. Divide the difference by the whole way, which is twice the sum of `step`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def central_difference(f, x, dy, step):
#     return ((dy * f(x + step)).sum() - (dy * f(x - step)).sum()) / (2 * step.sum())
# ```
#
# </details>


# %%
central_difference = lesson.fill("central_difference", central_difference)
step = np.array([0, 1e-3])
exercises.check(
    "the slope of 3 x^2 at x = 2",
    central_difference(np.square, np.array([1.0, 2.0]), np.array([1.0, 3.0]), step),
    12,
    likely={
        "from x - step to x + step is twice epsilon": 24,
        "divide by 2 epsilon": 12 * 2e-3,
        "the divisor needs brackets: / (2 * ...)": 12 * 1e-6,
        "that pushes up only; push down, too": 12.003,
        "multiply f by dy before you add up": 4,
    },
)


# %%
def finite_difference(f, x, dy, epsilon=1e-6):
    return np.array([central_difference(f, x, dy, epsilon * row) for row in np.eye(len(x))])


x64, dy64 = x[x != 0].astype(np.float64), dy[x != 0].astype(np.float64)
numeric = finite_difference(lambda v: np.maximum(v, 0), x64, dy64)
print("x                ", x64)
print("finite difference", numeric.round(6))
agrees = {}
for rule in by_hand:
    dx = gradient_through(MyReLU(rule), x64, dy64)
    compare(rule, dx, numeric)
    agrees[rule] = np.allclose(dx, numeric, atol=1e-6)
assert agrees == {"plain": True, "deconvnet": False, "guided": False}

# %% [markdown]
# Only the plain rule. Could the guided rule be the derivative of some *other* function? No. A derivative is **linear**
# in $dy$: the gradient of a sum is the sum of the gradients. Send $+1$ and $-1$ through the guided rule, then their sum:

# %%
one = np.ones(1, np.float32)
separately = gradient_through(MyReLU("guided"), one, one) + gradient_through(MyReLU("guided"), one, -one)
together = gradient_through(MyReLU("guided"), one, one - one)
print("guided(+1) + guided(-1) =", separately[0], "  guided(+1 - 1) =", together[0])
assert separately[0] == 1 and together[0] == 0

# %% [markdown]
# So the guided rule gives the gradient of nothing. It makes useful pictures. But do not read its numbers as "how much the
# logit would change".

# %% [markdown]
# ## From one ReLU to a stack
#
# In a network the rule is applied at *every* ReLU. Here are ten layers, each a random matrix and a ReLU:


# %%
def stack(x, rule, depth):
    """`depth` layers, each a random matrix and a ReLU; the same matrices in every call."""
    rng = np.random.default_rng(1)
    for _ in range(depth):
        weight = nd.array(rng.normal(0, np.sqrt(2 / 200), (200, 200)))
        x = MyReLU(rule)(nd.dot(x, weight))  # a Function remembers one call's mask, so every ReLU gets a new one
    return x


start = np.random.default_rng(2).normal(size=(1, 200)).astype(np.float32)
head = np.ones((1, 200), np.float32)  # the gradient of the sum of all outputs


def back_through_stack(rule, depth=10):
    return gradient_through(lambda x: stack(x, rule, depth), start, head)[0]


reached = {rule: back_through_stack(rule) for rule in by_hand}

# %% [markdown]
# The **cosine** tells how alike two lists of numbers are: 1 if they point the same way, 0 if they have nothing in common.


# %%
def cosine(a, b):
    return float(np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b))


similarity = {rule: cosine(values, reached["plain"]) for rule, values in reached.items()}

# %% [markdown]
# > **Predict.** Plot the 200 guided values against the true ones. Will the points lie on a line, in a cloud around a line,
# > or anywhere? Will some of them be negative?

# %%
figure, axes = plt.subplots(1, 3, figsize=(10, 3.3), sharey=True, layout="constrained")
for axis, (rule, values) in zip(axes, reached.items()):
    axis.scatter(reached["plain"] / np.abs(reached["plain"]).max(), values / np.abs(values).max(), s=8)
    axis.plot([-1, 1], [-1, 1], "k--", linewidth=0.8)
    axis.set(title=f"{rule}: cosine {similarity[rule]:.2f}", xlabel="true gradient, largest = 1", aspect="equal")
axes[0].set_ylabel("gradient under the rule, largest = 1")
show(
    figure,
    alt="Three scatter plots against the true gradient: plain on the diagonal, deconvnet a round cloud, guided a cloud along it.",
)

# %% [markdown]
# *What to see: a point per input of the stack; to the right its true gradient, upward its gradient under the rule. Guided
# is a cloud that leans with the line. Deconvnet, which never asks what the input was, keeps less of the truth.*

# %%
assert abs(similarity["plain"] - 1) < 1e-6
assert similarity["deconvnet"] < similarity["guided"] < 0.9
negative = (reached["guided"] < 0).mean()
print(f"{negative:.0%} of the guided values are negative")
assert 0.3 < negative < 0.7

# %% [markdown]
# About half of the guided values are negative, although the rule sends only positive gradients on. The reason: below the
# lowest ReLU stands one more matrix, and its weights have both signs.
#
# Does the distance from the truth grow with the depth?

# %%
by_depth = {}
for depth in (1, 2, 5, 10, 20):
    by_depth[depth] = cosine(back_through_stack("guided", depth), back_through_stack("plain", depth))
    print(f"{depth:2} layers: cosine between guided and true gradient {by_depth[depth]:.2f}")
assert abs(by_depth[1] - 1) < 1e-5 and list(by_depth.values()) == sorted(by_depth.values(), reverse=True)

# %% [markdown]
# It does. With one layer the two agree, since the gradient that we send in is positive everywhere. Each further layer has
# negative sums to cut away.
#
# ## The real network
#
# VGG16 has fifteen ReLUs. `cam.record` runs it, and `image_gradient` goes back to the image. This is the tiger of the
# first figure:

# %%
scene, vgg = scenes.draw(seed=10), cam.vgg16()
assert len(cam.relus(vgg)) == 15
recording = cam.record(vgg, cam.load_image(scene.image))
of_tiger = {rule: recording.image_gradient(target="tiger", rule=rule).ravel() for rule in by_hand}
for rule, gradient in of_tiger.items():
    print(
        f"{rule:10} cosine to the true gradient {cosine(gradient, of_tiger['plain']):.2f}, "
        f"negative {(gradient < 0).mean():.0%}"
    )
    assert rule == "plain" or abs(cosine(gradient, of_tiger["plain"])) < 0.1
    assert 0.3 < (gradient < 0).mean() < 0.7

# %% [markdown]
# Under the other two rules nothing is left of the true gradient, number by number. And again many values are negative:
# the lowest layer is a convolution, with weights of both signs. So a guided picture says "brighter here" and "darker
# there".

# %% [markdown]
# ## What `cam` does
#
# `cam.blocks.relu` is your Function, and `cam.blocks.ReLU` the same as a layer, for networks that you build yourself. One
# thing is new, a multiplication: `function(x) * 1`. MXNet's fast convolutions have a memory layout of their own. One
# above the ReLU can hand its gradient down in that layout, and Python code then reads garbage, without an error. On the
# way back the multiplication receives the gradient first and puts it into the ordinary layout.

# %%
for rule in by_hand:
    theirs = gradient_through(lambda v, r=rule: blocks.relu(v, r), x, dy)
    compare(f"{rule}, cam.blocks.relu", theirs, by_hand[rule])
    assert np.array_equal(theirs, by_hand[rule])

# %% [markdown]
# ## On your own
#
# **1.** ★ What does each rule do with $x = 0$? Is that the only possible choice? Look at the third of the five numbers.

# %% [markdown] tags=["solution-exercise_1"]
# <details><summary>Solution</summary>
#
# ```python
# # At zero the ReLU has a kink: any slope between 0 and 1 would do. The mask [x > 0] chooses 0.
# # The deconvnet rule never asks about x, so the gradient 3 passes.
# assert by_hand["plain"][2] == by_hand["guided"][2] == 0
# assert by_hand["deconvnet"][2] == 3
# ```
#
# </details>

# %%
lesson.solution("exercise_1")  # or your own code

# %% [markdown]
# **2.** ★★ Write the *leaky* ReLU, $y = \max(x, 0) + 0.1 \min(x, 0)$, as an `autograd.Function` with its plain rule. Check
# it with `finite_difference`.

# %% [markdown] tags=["solution-exercise_2"]
# <details><summary>Hint</summary>
#
# The slope is 1 where x is positive and 0.1 elsewhere. Save it in `forward`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# class LeakyReLU(autograd.Function):
#     def forward(self, x):
#         self.slope = (x > 0) + 0.1 * (x <= 0)
#         return x * self.slope
#
#     def backward(self, dy):
#         return dy * self.slope
#
#
# leaky = finite_difference(lambda v: np.maximum(v, 0) + 0.1 * np.minimum(v, 0), x64, dy64)
# compare("leaky", gradient_through(LeakyReLU(), x64, dy64), leaky)
# assert np.allclose(gradient_through(LeakyReLU(), x64, dy64), leaky, atol=1e-6)
# ```
#
# </details>

# %%
lesson.solution("exercise_2")  # or your own code

# %% [markdown]
# **3.** ★★★ Show with numbers that the deconvnet rule is not linear either. Then show that its result does not depend on
# what the ReLU received.

# %% [markdown] tags=["solution-exercise_3"]
# <details><summary>Hint</summary>
#
# For the first part send +1 and -1 through, for the second part x and -x.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# parts = gradient_through(MyReLU("deconvnet"), one, one) + gradient_through(MyReLU("deconvnet"), one, -one)
# whole = gradient_through(MyReLU("deconvnet"), one, one - one)
# print("deconvnet(+1) + deconvnet(-1) =", parts[0], "  deconvnet(+1 - 1) =", whole[0])
# assert parts[0] == 1 and whole[0] == 0
# # The rule never uses x: two images that open different ReLUs get the same treatment here.
# assert np.array_equal(gradient_through(MyReLU("deconvnet"), x, dy), gradient_through(MyReLU("deconvnet"), -x, dy))
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
# **1.** A ReLU received x = −1. From above arrives the gradient 5. Which rule sends something other than 0 on?
#
# - **A.** none of them
# - **B.** deconvnet
# - **C.** plain
# - **D.** guided
#
# <details><summary>Answer</summary>
#
# **B.** Deconvnet looks at the sign of the gradient only. Plain and guided both ask whether x was positive, and it was not.
#
# </details>
#
# **2.** A ReLU received x = 3. From above arrives the gradient −2. What does the guided rule send on?
#
# - **A.** −2
# - **B.** 0
# - **C.** 3
# - **D.** 2
#
# <details><summary>Answer</summary>
#
# **B.** The guided rule cuts negative gradients. The plain rule would send −2 on, since the ReLU was open.
#
# </details>
#
# **3.** How do you find out whether a backward rule is the derivative of its forward function?
#
# - **A.** Look whether its pictures show the object.
# - **B.** Train a network with it and look at the loss.
# - **C.** Compare it with finite differences of the forward function.
# - **D.** Compare it with the guided rule on many inputs.
#
# <details><summary>Answer</summary>
#
# **C.** A finite difference needs the forward function only. A clear picture proves nothing, as lesson 4 will show.
#
# </details>
#
# **4.** Why can the guided rule not be the derivative of any function?
#
# - **A.** It needs the input, which is gone on the way back.
# - **B.** A ReLU has no derivative at 0.
# - **C.** It is not linear in the gradient that arrives.
# - **D.** It is zero for half of all inputs.
#
# <details><summary>Answer</summary>
#
# **C.** The gradient of a sum is the sum of the gradients. Guided gives 1 for +1 and −1 separately, and 0 for their sum. The plain rule is zero for many inputs too, and is a derivative.
#
# </details>
#
# **5.** A value of a guided picture is negative at some pixel. How can that be, if the rule lets only positive gradients pass?
#
# - **A.** The picture shows the plain gradient there.
# - **B.** There is an error in the code.
# - **C.** The logit of the class is negative.
# - **D.** Below the lowest ReLU stands a layer whose weights have both signs.
#
# <details><summary>Answer</summary>
#
# **D.** The rule acts at the ReLUs. The first convolution lies between the lowest ReLU and the image, and mixes signs again.
#
# </details>

# %% [markdown]
# **Rule of thumb.** To know how the score would change, take the plain rule. For a clean picture of the pixels that
# excite, take the guided rule, and call it a picture.
#
# **Read more.** Zeiler and Fergus, [Visualizing and understanding convolutional
# networks](https://arxiv.org/abs/1311.2901), 2014. Springenberg, Dosovitskiy, Brox and Riedmiller, [Striving for
# simplicity: the all convolutional net](https://arxiv.org/abs/1412.6806), 2015. Nie, Zhang and Patel, [A theoretical
# explanation for perplexing behaviors of backpropagation-based visualizations](https://arxiv.org/abs/1805.07039), 2018:
# why guided pictures look like the image.
#
# **Next:** [2. What did a convolution see, and what does the class want from it?](02_what_did_a_convolution_see.ipynb)
