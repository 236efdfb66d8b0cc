# %% [markdown]
# # Problem set 1: three rules, one derivative
#
# **Learning goals.** You can write the three ways in which a gradient passes back through a ReLU, check a gradient
# without trusting anybody, and say which of the three is a derivative and what the other two are.
#
# **You need** lesson 1, and `cam`. **It takes** about 60 minutes. **Points:** 14 by the checks, 3 by hand.
#
# **How it works.** Write your code where it says `YOUR CODE HERE`. The cell below each task checks it: no message
# means that it is right for the numbers shown. When you hand in, the same cells check other numbers too, so write the
# rule and not the result. Do not rename functions. Before you hand in, restart the kernel and run all cells.

# %% nbgrader={"grade": false, "grade_id": "setup", "locked": true, "schema_version": 3, "solution": false, "task": false}

import cam  # before mxnet

import numpy as np
from mxnet import autograd, nd

# %% [markdown]
# ## 1. The rules, under a lid (6 points)
#
# Small networks for telephones use a ReLU with a lid: $y = \min(\max(x, 0), t)$, with $t = 6$ in most of them. From
# above comes the gradient $dy$. What goes on below? Lesson 1 has the rules for a ReLU without a lid; find out what they
# must be with one.
#
# | rule | in words |
# |---|---|
# | plain | the derivative: passes where $y$ moves with $x$ (not at zero, and not at the lid) |
# | deconvnet | passes where the gradient is positive, whatever the input was |
# | guided | passes where both say so |
#
# *Hint: a comparison of arrays gives zeros and ones when you multiply with it. Leave `x` and `dy` as they are. Without a
# lid, `top` is infinite.*


# %% nbgrader={"grade": false, "grade_id": "relu_backward", "locked": false, "schema_version": 3, "solution": true, "task": false}
def relu_backward(x, dy, rule, top=np.inf):
    """The gradient below min(max(x, 0), top): numpy, the shape of x.

    x is the ReLU's input and dy the gradient from above, numpy arrays of one shape;
    rule is "plain", "deconvnet" or "guided".
    """
    ### BEGIN SOLUTION
    moves = (x > 0) & (x < top)
    if rule == "plain":
        return dy * moves
    if rule == "deconvnet":
        return np.maximum(dy, 0)
    return np.maximum(dy, 0) * moves
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "plain_rule", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from cam.truth.exercises import check

import numpy as np

x = np.array([[1.0, -1.0, 2.0], [4.0, -2.0, 0.0]])
dy = np.array([[5.0, 4.0, -3.0], [1.0, -2.0, 7.0]])
kept = x.copy(), dy.copy()
check(
    "the plain rule with a lid of 3",
    relu_backward(x, dy, "plain", 3),
    [[5, 0, -3], [0, 0, 0]],
    likely={
        "Above the lid nothing moves: the condition is also x < top.": [[5, 0, -3], [1, 0, 0]],
        "At x = 0 nothing passes: the condition is x > 0.": [[5, 0, -3], [0, 0, 7]],
        "This is the guided rule: plain lets negative gradients pass.": [[5, 0, 0], [0, 0, 0]],
        "This is the deconvnet rule: it looks at dy, plain looks at x.": [[5, 4, 0], [1, 0, 7]],
        "This is the ReLU itself, not what it passes back.": [[1, 0, 2], [3, 0, 0]],
    },
)
check("x after your function has run (work on copies)", x, kept[0])
check("dy after your function has run (work on copies)", dy, kept[1])
### BEGIN HIDDEN TESTS
import cam
from cam.truth.exercises import unaided

x, dy = np.random.default_rng([SECRET, 1]).normal(size=(2, 4, 3, 5))
with unaided(cam.core.rules.relu_back, cam.core.rules.relu6_back):
    for top in (0.5, np.inf):
        found = relu_backward(x, dy, "plain", top)
        check(f"the plain rule with other numbers and a lid of {top}", found, np.where((x > 0) & (x < top), dy, 0))
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "deconvnet_rule", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from cam.truth.exercises import check

import numpy as np

x = np.array([[1.0, -1.0, 2.0], [4.0, -2.0, 0.0]])
dy = np.array([[5.0, 4.0, -3.0], [1.0, -2.0, 7.0]])
check(
    "the deconvnet rule with a lid of 3",
    relu_backward(x, dy, "deconvnet", 3),
    [[5, 4, 0], [1, 0, 7]],
    likely={
        "This is the plain rule: deconvnet does not look at x.": [[5, 0, -3], [0, 0, 0]],
        "This is the guided rule: deconvnet does not look at x.": [[5, 0, 0], [0, 0, 0]],
        "The lid is for x: deconvnet looks at dy alone.": [[3, 3, 0], [1, 0, 3]],
        "Deconvnet does not look at x, so no lid either.": [[5, 4, 0], [0, 0, 7]],
        "Negative gradients are set to zero, not made positive.": [[5, 4, 3], [1, 2, 7]],
    },
)
### BEGIN HIDDEN TESTS
x, dy = np.random.default_rng([SECRET, 2]).normal(size=(2, 4, 3, 5))
found = relu_backward(x, dy, "deconvnet", 0.5)
check("the deconvnet rule with other numbers", found, np.where(dy > 0, dy, 0))
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "guided_rule", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from cam.truth.exercises import check

import numpy as np

x = np.array([[1.0, -1.0, 2.0], [4.0, -2.0, -0.5]])
dy = np.array([[5.0, 4.0, -3.0], [1.0, -2.0, 7.0]])
check(
    "the guided rule with a lid of 3",
    relu_backward(x, dy, "guided", 3),
    [[5, 0, 0], [0, 0, 0]],
    likely={
        "Above the lid nothing moves: plain would stop that too.": [[5, 0, 0], [1, 0, 0]],
        "This is the plain rule: guided also stops negative gradients.": [[5, 0, -3], [0, 0, 0]],
        "This is the deconvnet rule: guided also asks whether the output moved.": [[5, 4, 0], [1, 0, 7]],
    },
)
### BEGIN HIDDEN TESTS
x, dy = np.random.default_rng([SECRET, 3]).normal(size=(2, 4, 3, 5))
for top in (0.5, np.inf):
    found = relu_backward(x, dy, "guided", top)
    right = np.where((x > 0) & (x < top) & (dy > 0), dy, 0)
    check(f"the guided rule with other numbers and a lid of {top}", found, right)
### END HIDDEN TESTS

# %% [markdown]
# ## 2. A gradient that needs no rule (3 points)
#
# A derivative says by how much a number changes when one input changes a little. So change it a little, in both
# directions:
#
# $$\frac{\partial f}{\partial x_i} \approx \frac{f(x + \epsilon e_i) - f(x - \epsilon e_i)}{2 \epsilon}$$
#
# where $e_i$ is one at position $i$ and zero elsewhere.
#
# *Hint: `np.ndindex(x.shape)` walks over all positions of an array of any rank.*


# %% nbgrader={"grade": false, "grade_id": "finite_difference", "locked": false, "schema_version": 3, "solution": true, "task": false}
def finite_difference(f, x, epsilon=1e-4):
    """The gradient of f at x by central differences: numpy, the shape of x.

    f takes an array like x and returns a number; x is numpy float64 of any shape.
    """
    ### BEGIN SOLUTION
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[index] = epsilon
        gradient[index] = (f(x + step) - f(x - step)) / (2 * epsilon)
    return gradient
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "central_difference", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
from cam.truth.exercises import check

import numpy as np

x = np.array([[1.0, 2.0], [-1.0, 0.5]])
kept = x.copy()
check(
    "the gradient of the sum of x ** 3",
    finite_difference(lambda x: (x**3).sum(), x),
    [[3, 12], [3, 0.75]],
    likely={
        "This is a difference in one direction: step both ways, the error is then far smaller.": [
            [3.0003, 12.0006],
            [2.9997, 0.75015],
        ],
        "Twice too large: the two steps are 2 epsilon apart.": [[6, 24], [6, 1.5]],
        "All positions moved at once: move one at a time.": [[18.75, 18.75], [18.75, 18.75]],
    },
    tolerance=1e-6,
)
check("x after your function has run (work on copies)", x, kept)
### BEGIN HIDDEN TESTS
x, w = np.random.default_rng([SECRET, 4]).normal(size=(2, 2, 3, 4))
kept = x.copy()
found = finite_difference(lambda x: float((w * np.sin(x)).sum()), x, epsilon=1e-3)
check("the gradient of another function, of rank 3", found, w * np.cos(x), tolerance=1e-5)
check("x after your function has run (work on copies)", x, kept)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "follow_through", "locked": true, "points": 0, "schema_version": 3, "solution": false, "task": false}
# When this is graded, the right functions take the place of yours here: a mistake above costs nothing below.
### BEGIN HIDDEN TESTS
import numpy as np


def relu_backward(x, dy, rule, top=np.inf):
    passed = dy if rule == "plain" else np.where(dy > 0, dy, 0)
    return passed if rule == "deconvnet" else np.where((x > 0) & (x < top), passed, 0)


def finite_difference(f, x, epsilon=1e-4):
    steps = epsilon * np.eye(x.size).reshape(-1, *x.shape)
    return np.array([(f(x + step) - f(x - step)) / (2 * epsilon) for step in steps]).reshape(x.shape)


### END HIDDEN TESTS

# %% [markdown]
# ## 3. Which rule is a derivative? (2 points)
#
# Take $f(x) = \sum_i w_i \min(\max(x_i, 0), t)$: the gradient that arrives at the ReLU is $dy = w$. How far is what a rule
# passes back from the truth? Measure it as the *relative error* $\lVert g - t \rVert / \lVert t \rVert$, with $g$
# from the rule, $t$ the true gradient by finite differences and $\lVert\cdot\rVert$ the root of the sum of squares.


# %% nbgrader={"grade": false, "grade_id": "rule_error", "locked": false, "schema_version": 3, "solution": true, "task": false}
def rule_error(rule, x, w, top):
    """How far the rule's gradient of sum(w * min(max(x, 0), top)) is from the true one: a number, 0 for a derivative."""
    ### BEGIN SOLUTION
    true = finite_difference(lambda x: (w * np.clip(x, 0, top)).sum(), x)
    return np.linalg.norm(relu_backward(x, w, rule, top) - true) / np.linalg.norm(true)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "errors", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from cam.truth.exercises import check

import numpy as np

x, w = np.array([1.0, 2.0, -3.0, 5.0]), np.array([1.0, -1.0, 2.0, 3.0])
found = [rule_error(rule, x, w, 4) for rule in ("plain", "deconvnet", "guided")]
check(
    "the errors of plain, deconvnet and guided, under a lid of 4",
    found,
    [0, 7**0.5, 0.5**0.5],
    likely={
        "Divide by the length of the true gradient.": [0, 14**0.5, 1],
        "These are squares: take the root.": [0, 7, 0.5],
        "Divide by the length of the true gradient, not of the rule's.": [0, 1, 1],
    },
)
### BEGIN HIDDEN TESTS
rng = np.random.default_rng([SECRET, 5])
x, w = rng.uniform(0.1, 2, (2, 3, 7)) * rng.choice([-1, 1], (2, 3, 7))  # away from zero and from the lid
true = w * ((x > 0) & (x < 2.5))
expected = [0, *(np.linalg.norm(g - true) / np.linalg.norm(true) for g in (w * (w > 0), true * (w > 0)))]
found = [rule_error(rule, x, w, 2.5) for rule in ("plain", "deconvnet", "guided")]
check("the errors with other numbers", found, expected, tolerance=1e-3)
### END HIDDEN TESTS

# %% [markdown]
# ## 4. A rule inside a network (3 points)
#
# `autograd.Function` lets you write both directions of an operation. Finish this one. `forward` and `backward` take
# and return NDArrays; what `backward` needs later, `forward` keeps in `self`. It has the lid too.
#
# *Hint: stay with MXNet's operations (`nd.relu`, `nd.clip`, comparisons, products). Keep what you need from x, not the result
# itself.*


# %% nbgrader={"grade": false, "grade_id": "ruled_relu", "locked": false, "schema_version": 3, "solution": true, "task": false}
class RuledReLU(autograd.Function):
    """min(max(x, 0), top) that passes its gradient back by one of the three rules."""

    def __init__(self, rule, top):
        super().__init__()
        self.rule, self.top = rule, top

    def forward(self, x):
        ### BEGIN SOLUTION
        self.moves = (x > 0) * (x < self.top)
        return nd.clip(x, 0, self.top)
        ### END SOLUTION

    def backward(self, dy):
        ### BEGIN SOLUTION
        if self.rule == "plain":
            return dy * self.moves
        if self.rule == "deconvnet":
            return nd.relu(dy)
        return nd.relu(dy) * self.moves
        ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "through_a_layer", "locked": true, "schema_version": 3, "solution": false, "task": false}
def through(rule, x, w, top):
    """Output and image gradient of sum(w * RuledReLU(x)), numpy."""
    x = nd.array(x)
    x.attach_grad()
    with autograd.record():
        y = RuledReLU(rule, top)(x)
        total = (y * nd.array(w)).sum()
    total.backward()
    return y.asnumpy(), x.grad.asnumpy()


# %% nbgrader={"grade": true, "grade_id": "function", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
from cam.truth.exercises import check

import numpy as np

x, w = np.array([[1.0, -1.0, 2.0], [0.5, -2.0, 1.0]]), np.array([[-4.0, 3.0, 5.0], [6.0, -6.0, -1.0]])
check(
    "the output under a lid of 1.5",
    through("plain", x, w, 1.5)[0],
    [[1, 0, 1.5], [0.5, 0, 1]],
    likely={"The output is the input: apply the ReLU.": x, "The lid is missing.": [[1, 0, 2], [0.5, 0, 1]]},
)
for rule, expected in (
    ("plain", [[-4, 0, 0], [6, 0, -1]]),
    ("deconvnet", [[0, 3, 5], [6, 0, 0]]),
    ("guided", [[0, 0, 0], [6, 0, 0]]),
):
    check(
        f"the image gradient with the {rule} rule",
        through(rule, x, w, 1.5)[1],
        expected,
        likely={
            "dy itself came back: apply the rule.": w,
            "This is the plain rule: look at self.rule.": [[-4, 0, 0], [6, 0, -1]],
            "This is the guided rule: look at self.rule.": [[0, 0, 0], [6, 0, 0]],
            "Above the lid nothing moves.": [[-4, 0, 5], [6, 0, -1]],
        },
    )
### BEGIN HIDDEN TESTS
import cam
from cam.truth.exercises import unaided

x, w = np.random.default_rng([SECRET, 6]).normal(size=(2, 2, 3, 4, 4))
moves = (x > 0) & (x < 0.7)
masks = {"plain": moves, "deconvnet": w > 0, "guided": moves & (w > 0)}
with unaided(cam.core.rules.relu_back, cam.core.rules.relu6_back):
    for rule, mask in masks.items():
        check(f"the image gradient with the {rule} rule, other numbers", through(rule, x, w, 0.7)[1], w * mask)
### END HIDDEN TESTS

# %% [markdown]
# ## 5. In your own words (3 points, read by your teacher)
#
# Guided backpropagation gives the cleanest pictures of the three, and section 3 showed that it is not a derivative.
# (a) Is there any function of $x$ whose derivative it could be, for every $w$? Give a reason or an example. (b) What
# does a picture made with it tell you about the network, and what does it not? (c) Name one experiment that would
# show the difference.
#
# *Write into the cell below this one: what stands in a new cell is not read.*

# %% [markdown] nbgrader={"grade": true, "grade_id": "in_your_own_words", "locked": false, "points": 3, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# (a) No. With $f = \sum_i w_i \max(x_i, 0)$, where $x_i > 0$ and $w_i < 0$ the value falls when $x_i$ rises, but the
# rule says that nothing happens. It depends on the sign of what arrives from above, so it is no linear function of
# it, and the chain rule is linear. (b) It shows which patterns of the image positive paths lead to; it does not show
# what raises or lowers the class's score, and hardly depends on the class. (c) Give the last layers random weights:
# the picture hardly changes. Or explain two classes of one image: the pictures are alike.
# ### END SOLUTION

# %% [markdown]
# ## If your test fails
#
# - **The shape should be ..., not ()**: you returned a sum. The gradient has the shape of the input.
# - **Right for the numbers shown, wrong when handed in**: the result was typed in, or holds for one shape only.
# - **x after your function has run**: `dy[x <= 0] = 0` changes the caller's array. `dy * (x > 0)` makes a new one.
# - **The gradient is all zero in section 4**: `backward` must *return* the gradient.
# - **The kernel hangs in section 4**: `asnumpy()` inside `backward` can wait for itself. Stay with NDArrays.
# - **A difference around 1e-4 in section 2**: a step in one direction only, or a loop that forgets to undo its step.
