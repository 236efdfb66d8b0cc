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
# **You will learn** the three rules by which a gradient can be sent back through a ReLU (plain, deconvnet,
# guided), write each of them as a block that MXNet can differentiate, and find out which of them is a
# derivative of anything.
#
# **You need** Python, numpy, and the chain rule. **It takes** about 25 minutes.
#
# Why begin here? Grad-CAM and guided backpropagation are both made of one backward pass. Guided
# backpropagation changes that pass in a single place: the ReLU. Understand one ReLU, and the rest of the
# course is bookkeeping.

# %%
# %matplotlib inline
from cam import blocks
from course import compare

import matplotlib.pyplot as plt
import numpy as np
from mxnet import autograd, nd

# %% [markdown]
# ## The idea in words
#
# A ReLU lets positive numbers through and replaces negative ones by zero. On the way back it has to decide what
# to do with the gradient that arrives from above. Three answers have been given:
#
# - **plain**: what calculus says. Where the ReLU let the number through, the gradient passes; elsewhere it stops.
# - **deconvnet** (Zeiler and Fergus 2014): treat the gradient like a signal. Let it pass where *the gradient* is
#   positive, whatever the input was.
# - **guided** (Springenberg et al. 2015): both conditions at once.
#
# ## The formula
#
# With $y = \max(x, 0)$, and $dy$ for the gradient that arrives:
#
# $$\text{plain: } dx = dy\,[x > 0] \qquad \text{deconvnet: } dx = \max(dy, 0) \qquad
# \text{guided: } dx = \max(dy, 0)\,[x > 0]$$
#
# where $[x > 0]$ is 1 where the condition holds and 0 elsewhere.

# %% [markdown]
# ## Five numbers by hand
#
# Five pairs: negative, zero and positive inputs, with gradients of both signs.

# %%
x = np.array([-2.0, -1.0, 0.0, 1.0, 3.0], np.float32)
dy = np.array([5.0, -4.0, 3.0, -2.0, 1.0], np.float32)
y = np.maximum(x, 0)
print("x ", x)
print("y ", y)
print("dy", dy)

# %% [markdown]
# > **Predict.** Write down the five numbers $dx$ for each rule before you run the next cell. Which rule lets the
# > first gradient, 5, through? Which one lets $-2$ through?

# %%
positive = (x > 0).astype(np.float32)
by_hand = {
    "plain": dy * positive,
    "deconvnet": np.maximum(dy, 0),
    "guided": np.maximum(dy, 0) * positive,
}
for rule, dx in by_hand.items():
    print(f"{rule:10}", dx)

# %%
assert by_hand["plain"].tolist() == [0, 0, 0, -2, 1]
assert by_hand["deconvnet"].tolist() == [5, 0, 3, 0, 1]
assert by_hand["guided"].tolist() == [0, 0, 0, 0, 1]

# %% [markdown]
# (The `-0.` is a zero: it is $-4 \cdot 0$.) Only the last number survives all three rules: positive input, positive
# gradient. The plain rule alone can send a negative gradient on; the deconvnet rule alone sends a gradient through a
# ReLU that was shut.


# %%
def stems(axis, values, title):
    axis.stem(range(5), values, basefmt="k-")
    axis.set(title=title, xticks=range(5), xticklabels=[f"{v:g}" for v in x], xlabel="x", ylim=(-5, 6))


figure, axes = plt.subplots(1, 4, figsize=(11, 2.4), sharey=True, layout="constrained")
stems(axes[0], dy, "arrives: dy")
for axis, (rule, dx) in zip(axes[1:], by_hand.items()):
    stems(axis, dx, f"leaves: {rule}")

# %% [markdown]
# *What to see: the arriving gradient on the left, and what each rule lets pass, over the five inputs x. "Plain"
# erases by input, "deconvnet" by sign of the gradient, and "guided" keeps only what both would keep.*

# %% [markdown]
# ## The same thing as a block that MXNet can differentiate
#
# `autograd.Function` is MXNet's way to say: this is my forward, and this is my backward. The backward method
# receives $dy$ and returns $dx$. We save the mask $[x > 0]$ on the way forward, because on the way back the
# input is gone.


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
# To use it we mark the input as a leaf (`attach_grad`), record the forward pass, and send `dy` back. Two details
# matter and will matter in every lesson. `train_mode=False`: we explain a finished network, we do not train it.
# And MXNet's defaults are the other way round, so we say it twice, for `record` and for `backward`.


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
    compare(rule, mine, by_hand[rule])
    assert np.array_equal(mine, by_hand[rule])

# %% [markdown]
# `compare` is a helper of this course (`lessons/course.py`). It prints whether two arrays are exactly equal, close, or
# different, and by how much at the worst place. You will see it whenever something made by hand meets something
# made by a library:

# %%
compare("plain, Gluon's own ReLU", gradient_through(MyReLU("plain"), x, dy), gradient_through(nd.relu, x, dy))
assert np.array_equal(gradient_through(MyReLU("plain"), x, dy), gradient_through(nd.relu, x, dy))
compare("guided, Gluon's own ReLU", gradient_through(MyReLU("guided"), x, dy), gradient_through(nd.relu, x, dy))

# %% [markdown]
# ## Which rule is a derivative?
#
# A derivative can be checked without any theory. Push the input up a little, push it down a little, and look at
# what the output does. This is called a *finite difference*:
#
# $$\frac{\partial \langle dy, f(x)\rangle}{\partial x_i} \approx
# \frac{\langle dy, f(x + \varepsilon e_i)\rangle - \langle dy, f(x - \varepsilon e_i)\rangle}{2 \varepsilon}$$
#
# Here $\langle dy, f(x)\rangle$ is the sum of $dy_i f(x)_i$, and $e_i$ is 1 at position $i$. We do it in float64,
# so that rounding does not drown the small difference, and leave out $x = 0$, where a ReLU has no derivative.


# %%
def finite_difference(f, x, dy, epsilon=1e-6):
    numeric = np.zeros_like(x)
    for i in range(len(x)):
        step = np.zeros_like(x)
        step[i] = epsilon
        numeric[i] = ((dy * f(x + step)).sum() - (dy * f(x - step)).sum()) / (2 * epsilon)
    return numeric


away_from_zero = x != 0
x64, dy64 = x[away_from_zero].astype(np.float64), dy[away_from_zero].astype(np.float64)
numeric = finite_difference(lambda v: np.maximum(v, 0), x64, dy64)
print("x      ", x64)
print("numeric", numeric.round(6))

# %% [markdown]
# > **Predict.** Which of the three rules will agree with the finite difference? If you think "more than one", find
# > a number among the five on which they differ.

# %%
agrees = {}
for rule in by_hand:
    dx = gradient_through(MyReLU(rule), x64, dy64)
    compare(rule, dx, numeric)
    agrees[rule] = np.allclose(dx, numeric, atol=1e-6)

# %%
assert agrees == {"plain": True, "deconvnet": False, "guided": False}

# %% [markdown]
# Only the plain rule is a derivative of the ReLU. Could the guided rule be the derivative of some *other* function?
#
# No. A derivative is **linear** in $dy$: twice the gradient in, twice the gradient out, and the gradient of a sum
# is the sum of the gradients. The guided rule fails this already for one number: send $+1$ and $-1$ through it,
# then their sum.

# %%
one = np.ones(1, np.float32)
separately = gradient_through(MyReLU("guided"), one, one) + gradient_through(MyReLU("guided"), one, -one)
together = gradient_through(MyReLU("guided"), one, one - one)
print("guided(+1) + guided(-1) =", separately[0], "  guided(+1 - 1) =", together[0])
assert separately[0] == 1 and together[0] == 0

# %% [markdown]
# So guided backpropagation is the gradient of nothing. It is a picture-making procedure, and a useful one: at each unit
# it goes on only where the unit was active and where what arrives is, summed up, positive. But do not read its numbers
# as "how much the score would change". Lesson 4 asks what such a picture can prove.

# %% [markdown]
# ## From one ReLU to a stack
#
# In a network the rule is applied at *every* ReLU on the way down. Here are ten layers, each a random matrix and a
# ReLU, and the gradient that reaches the input under each rule.


# %%
def stack(relu, x, depth=10, width=200):
    rng = np.random.default_rng(1)
    for _ in range(depth):
        weight = nd.array(rng.normal(0, np.sqrt(2 / width), (width, width)))
        x = relu(nd.dot(x, weight))
    return x


start = np.random.default_rng(2).normal(size=(1, 200)).astype(np.float32)
head = np.ones((1, 200), np.float32)  # the gradient of the sum of all outputs
reached = {}
for rule in by_hand:
    through = gradient_through(lambda v, r=rule: stack(lambda z: MyReLU(r)(z), v), start, head)
    reached[rule] = through[0]

# %% [markdown]
# The network is the same and the input is the same; only the rule differs. (A `Function` object serves one call,
# because it remembers that call's mask; so every ReLU of the stack gets its own.)
#
# > **Predict.** Plot each of the 200 gradient values under the guided rule against the true one. Will the points lie on
# > a line, in a cloud around a line, or anywhere?


# %%
def cosine(a, b):
    """1 if two lists of numbers point the same way, 0 if they have nothing in common."""
    return float(np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b))


similarity = {rule: cosine(values, reached["plain"]) for rule, values in reached.items()}
figure, axes = plt.subplots(1, 3, figsize=(10, 3.3), sharey=True, layout="constrained")
for axis, (rule, values) in zip(axes, reached.items()):
    axis.scatter(reached["plain"] / np.abs(reached["plain"]).max(), values / np.abs(values).max(), s=8)
    axis.plot([-1, 1], [-1, 1], "k--", linewidth=0.8)
    axis.set(title=f"{rule}: cosine {similarity[rule]:.2f}", xlabel="true gradient, largest = 1", aspect="equal")
_ = axes[0].set_ylabel("gradient under the rule, largest = 1")

# %% [markdown]
# *What to see: one point per input of the stack, its true gradient to the right and its gradient under each rule
# upward. The plain rule lies on the dashed line; guided is a cloud that leans with the line; deconvnet, which never
# asks what the input was, has little left in common with the truth.*

# %%
assert abs(similarity["plain"] - 1) < 1e-6
assert similarity["deconvnet"] < similarity["guided"] < 0.9

# %% [markdown]
# Does it depend on the depth?

# %%
by_depth = {}
for depth in (1, 2, 5, 10, 20):
    both = [
        gradient_through(lambda v, r=rule, d=depth: stack(lambda z: MyReLU(r)(z), v, d), start, head)[0]
        for rule in ("guided", "plain")
    ]
    by_depth[depth] = cosine(*both)
    print(f"{depth:2} layers: cosine between guided and true gradient {by_depth[depth]:.2f}")
assert abs(by_depth[1] - 1) < 1e-5 and by_depth[20] < by_depth[10] < by_depth[2]

# %% [markdown]
# With one layer the two agree, because the gradient that we send in is positive everywhere. Each further layer has
# negative sums to cut away, and the guided picture drifts from the true gradient.

# %% [markdown]
# ## What `cam` does
#
# The package has the same function as `cam.blocks.relu`, and a block `cam.blocks.ReLU` for use inside a network.
# One line is new:
#
# ```python
# return Rectifier(chooser)(x) * 1
# ```
#
# Why multiply by one? MXNet's fast convolutions (oneDNN) keep gradients in a memory layout of their own. If such a
# convolution stands above our ReLU, its gradient can reach our Python code as garbage. Multiplication by one is
# an ordinary operation; its backward turns the gradient back into the ordinary layout before we see it.

# %%
for rule in by_hand:
    theirs = gradient_through(lambda v, r=rule: blocks.relu(v, r), x, dy)
    compare(f"{rule}, cam.blocks.relu", theirs, by_hand[rule])
    assert np.array_equal(theirs, by_hand[rule])

# %% [markdown]
# ## On your own
#
# **1.** What does each rule do with $x = 0$? Is it the only possible choice? Look at the third of the five numbers.

# %% jupyter={"source_hidden": true} tags=["solution"]
# At zero the ReLU has a kink: any slope between 0 and 1 would do. The mask [x > 0] chooses 0.
# The deconvnet rule never asks about x, so the gradient 3 passes.
assert by_hand["plain"][2] == by_hand["guided"][2] == 0
assert by_hand["deconvnet"][2] == 3

# %% [markdown]
# **2.** Write the *leaky* ReLU, $y = \max(x, 0) + 0.1 \min(x, 0)$, as an `autograd.Function` with its plain rule, and
# check it with `finite_difference`.


# %% jupyter={"source_hidden": true} tags=["solution"]
class LeakyReLU(autograd.Function):
    def forward(self, x):
        self.slope = (x > 0) + 0.1 * (x <= 0)
        return x * self.slope

    def backward(self, dy):
        return dy * self.slope


leaky = finite_difference(lambda v: np.maximum(v, 0) + 0.1 * np.minimum(v, 0), x64, dy64)
compare("leaky", gradient_through(LeakyReLU(), x64, dy64), leaky)
assert np.allclose(gradient_through(LeakyReLU(), x64, dy64), leaky, atol=1e-6)

# %% [markdown]
# **3.** Show with numbers that the deconvnet rule is not linear either. Then explain why it is not even a function of
# the network's *input* at this ReLU.

# %% jupyter={"source_hidden": true} tags=["solution"]
parts = gradient_through(MyReLU("deconvnet"), one, one) + gradient_through(MyReLU("deconvnet"), one, -one)
assert parts[0] == 1 and gradient_through(MyReLU("deconvnet"), one, one - one)[0] == 0
# The rule never uses x: two images that open different ReLUs get the same treatment here.
assert np.array_equal(gradient_through(MyReLU("deconvnet"), x, dy), gradient_through(MyReLU("deconvnet"), -x, dy))

# %% [markdown]
# **Rule of thumb.** If you need to know how the score would change, take the plain rule. If you need a clean picture of
# the pixels that excite, take the guided rule, and call it a picture.
#
# **Next:** [2. What did a convolution see, and what does the class want from it?](02_what_did_a_convolution_see.ipynb)
