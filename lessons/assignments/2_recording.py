# %% [markdown]
# # Problem set 2: a layer that remembers
#
# **Learning goals.** You can make a network keep a feature map and the gradient of that map, and change nothing else:
# not the output, not the gradient of the image, not the running statistics. And you can do without a tape: walk back
# over the graph of a network by hand, and get the same numbers.
#
# **You need** lesson 2, and `cam`. **It takes** about 75 minutes. **Points:** 14 by the checks, 3 by hand.
#
# **How it works.** Write your code where it says `YOUR CODE HERE`. The cell below each task checks it: no message
# means that it is right for the numbers shown. When you hand in, the same cells check other numbers too, so write the
# rule and not the result. Do not rename functions. Before you hand in, restart the kernel and run all cells.

# %% nbgrader={"grade": false, "grade_id": "setup", "locked": true, "schema_version": 3, "solution": false, "task": false}
from functools import partial

from cam.core.tracing import trace

import mxnet as mx
import numpy as np
from mxnet import autograd, nd
from mxnet.gluon import nn

# %% [markdown]
# ## 1. The layer (8 points)
#
# Lesson 2 keeps the *output* of a convolution. Here the *input* of any block is wanted, such as that of a global
# average pooling, which is where Grad-CAM is exact. Finish the block below so that after a recorded forward pass and a
# backward pass
#
# - the output is the same as that of the block inside, and `feature_map()` returns what went into it, $A$ (2 points),
# - `gradient()` returns $\partial y / \partial A$ (2 points),
# - the image's gradient is what it would be without you (2 points),
# - a second pass forgets the first, and a pass that nobody records works too (2 points).
#
# *Hint: `attach_grad()` makes an array a leaf, an end of the tape. Which array may be an end without harm? Lesson 2
# adds one whose value changes nothing.*


# %% nbgrader={"grade": false, "grade_id": "layer", "locked": false, "schema_version": 3, "solution": true, "task": false}
class RememberInput(nn.Block):
    """A block that keeps what goes into another block, and the gradient of that."""

    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, x):
        ### BEGIN SOLUTION
        self.kept = x.detach()
        self.tap = nd.zeros_like(x)
        self.tap.attach_grad()
        return self.block(x + self.tap)
        ### END SOLUTION

    def feature_map(self):
        """What went into the block in the last pass, numpy."""
        ### BEGIN SOLUTION
        return self.kept.asnumpy()
        ### END SOLUTION

    def gradient(self):
        """The gradient of what `backward` was called on with respect to that, numpy of its shape."""
        ### BEGIN SOLUTION
        return self.tap.grad.asnumpy()
        ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "try_it", "locked": true, "schema_version": 3, "solution": false, "task": false}
def one_by_one(weight, bias):
    """A 1x1 convolution of one channel: every number times a weight, plus a bias."""
    layer = nn.Conv2D(1, kernel_size=1, in_channels=1)
    layer.initialize()
    layer.weight.set_data(nd.array([[[[weight]]]]))
    layer.bias.set_data(nd.array([bias]))
    return layer


def hand_made():
    """A net that takes numbers times 3, and those times 2 plus 1; and the block that remembers what lies between."""
    net, layer = nn.Sequential(), RememberInput(one_by_one(2.0, 1.0))
    net.add(one_by_one(3.0, 0.0), layer)
    return net, layer


def run(net, x, w):
    """Record y = sum(w * net(x)), go back, and return the output and the image's gradient, numpy."""
    x = nd.array(x)
    x.attach_grad()
    with autograd.record():
        output = net(x)
        y = (output * nd.array(w)).sum()
    y.backward()
    return output.asnumpy(), x.grad.asnumpy()


def random_net(seed, remembers):
    """Two convolutions with random weights, the second inside a RememberInput or not."""
    mx.random.seed(seed)
    first, last = nn.Conv2D(5, 3, padding=1, in_channels=3), nn.Conv2D(4, 3, in_channels=5)
    for layer in (first, last):
        layer.initialize(mx.init.Normal(0.5))
    net = nn.Sequential()
    net.add(first, RememberInput(last) if remembers else last)
    return net


# %% nbgrader={"grade": true, "grade_id": "output_and_feature_map", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from cam.truth.exercises import check

import numpy as np
from mxnet import nd

net, layer = hand_made()
x, w = np.array([[[[1.0, -2.0], [0.0, 3.0]]]]), np.array([[[[1.0, 10.0], [0.0, -1.0]]]])
output, _ = run(net, x, w)
check(
    "the output",
    output,
    [[[[7, -11], [1, 19]]]],
    likely={
        "The tap has to be zero, or the output changes.": [[[[9, -9], [3, 21]]]],
        "The input came back: call the block.": 3 * x,
    },
)
check(
    "feature_map()",
    layer.feature_map(),
    [[[[3, -6], [0, 9]]]],
    likely={
        "This is the output of the block: its input is asked for.": output,
        "This is the image, not what goes into this block.": x,
        "This is the gradient, not the input.": 2 * w,
    },
)
### BEGIN HIDDEN TESTS
x = np.random.default_rng([SECRET, 1]).normal(size=(2, 3, 6, 7))
net = random_net(SECRET, True)
found, _ = run(net, x, np.ones((2, 4, 4, 5)))
plain = random_net(SECRET, False)
expected, _ = run(plain, x, np.ones((2, 4, 4, 5)))
check("the output with other numbers", found, expected)
check("feature_map() with other numbers", net[1].feature_map(), plain[0](nd.array(x)))
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "gradient_of_the_feature_map", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from cam.truth.exercises import check

import numpy as np
from mxnet import nd

net, layer = hand_made()
x, w = np.array([[[[1.0, -2.0], [0.0, 3.0]]]]), np.array([[[[1.0, 10.0], [0.0, -1.0]]]])
run(net, x, w)
check(
    "gradient()",
    layer.gradient(),
    [[[[2, 20], [0, -2]]]],
    likely={
        "This is the gradient of the block's output: it has not yet gone back through the block.": w,
        "This is the gradient of the image: it has gone through the layer below too.": 6 * w,
        "This is the feature map, not its gradient.": 3 * x,
        "All zero: is this the gradient of an array that the block goes on with?": 0 * w,
    },
)
### BEGIN HIDDEN TESTS
rng = np.random.default_rng([SECRET, 2])
x, w = rng.normal(size=(2, 3, 6, 7)), rng.normal(size=(2, 4, 4, 5))
net, plain = random_net(SECRET, True), random_net(SECRET, False)
run(net, x, w)
_, expected = run(plain[1], plain[0](nd.array(x)).asnumpy(), w)
check("gradient() with other numbers", net[1].gradient(), expected)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "image_gradient_is_intact", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from cam.truth.exercises import check

import numpy as np
from mxnet import nd

net, layer = hand_made()
x, w = np.array([[[[1.0, -2.0], [0.0, 3.0]]]]), np.array([[[[1.0, 10.0], [0.0, -1.0]]]])
_, image_gradient = run(net, x, w)
check(
    "the image's gradient",
    image_gradient,
    [[[[6, 60], [0, -6]]]],
    likely={
        "All zero: attach_grad on the input cuts the tape, and nothing below gets a gradient.": 0 * w,
        "Twice too large: the input reaches the block on two ways.": 12 * w,
    },
)
### BEGIN HIDDEN TESTS
rng = np.random.default_rng([SECRET, 3])
x, w = rng.normal(size=(2, 3, 6, 7)), rng.normal(size=(2, 4, 4, 5))
_, found = run(random_net(SECRET, True), x, w)
_, expected = run(random_net(SECRET, False), x, w)
check("the image's gradient with other numbers", found, expected)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "second_pass", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from cam.truth.exercises import check

import numpy as np
from mxnet import nd

net, layer = hand_made()
first, second = np.ones((1, 1, 2, 2)), np.full((1, 1, 2, 2), 5.0)
run(net, first, first)
run(net, second, second)
check(
    "gradient() after a second pass",
    layer.gradient(),
    2 * second,
    likely={
        "The gradients of both passes were added up: keep that of the last one.": 2 * (first + second),
        "This is the gradient of the first pass.": 2 * first,
    },
)
check("feature_map() after a second pass", layer.feature_map(), 3 * second, {"This is the first pass's.": 3 * first})
check("the output of a pass that is not recorded", net(nd.array(first)), 7 * first)
### BEGIN HIDDEN TESTS
net, layer = hand_made()
for size in (2, 5, 3):
    x, w = np.random.default_rng([SECRET, size]).normal(size=(2, 1, 1, size, size))
    run(net, x, w)
    check(f"gradient() of a later pass of size {size}", layer.gradient(), 2 * w)
    check(f"feature_map() of a later pass of size {size}", layer.feature_map(), 3 * x)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "follow_through", "locked": true, "points": 0, "schema_version": 3, "solution": false, "task": false}
# When this is graded, the right block takes the place of yours here: a mistake above costs nothing below.
### BEGIN HIDDEN TESTS
from mxnet import nd
from mxnet.gluon import nn


class RememberInput(nn.Block):
    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, x):
        self.kept, self.tap = x.detach(), nd.zeros_like(x)
        self.tap.attach_grad()
        return self.block(x + self.tap)

    def feature_map(self):
        return self.kept.asnumpy()

    def gradient(self):
        return self.tap.grad.asnumpy()


### END HIDDEN TESTS

# %% [markdown]
# ## 2. What does the class want? (3 points)
#
# With the block in a network, one number per channel says how much the class's logit would rise if the whole channel
# were a little larger: the mean of the gradient over all positions. Write the function that computes it for a batch,
# each image for its own class.
#
# The network has a BatchNorm. Explaining a network must not change it: record and go back in *inference mode* (see
# `help(autograd.record)`, and do not forget that `backward` has such an option too).
#
# *Hint: `nd.pick` takes one number of each row. The sum over the images is one number to go back from, and images do
# not mix.*


# %% nbgrader={"grade": false, "grade_id": "net", "locked": true, "schema_version": 3, "solution": false, "task": false}
def small_net(seed):
    """A net of a convolution, BatchNorm, ReLU, global pooling and Dense; and the block that remembers BatchNorm's input."""
    mx.random.seed(seed)
    norm, net = nn.BatchNorm(in_channels=6), nn.Sequential()
    layer = RememberInput(norm)
    net.add(nn.Conv2D(6, 3, in_channels=3), layer, nn.Activation("relu"), nn.GlobalAvgPool2D(), nn.Dense(4, in_units=6))
    net.initialize(mx.init.Normal(0.5))
    norm.running_mean.set_data(nd.arange(6) / 10)
    norm.running_var.set_data(1 + nd.arange(6))
    return net, layer, norm


def from_the_formula(net, norm, x, class_ids):
    """The right answer for this particular net, worked out by hand: numpy (N, 6)."""
    dense, features = net[4].weight.data().asnumpy(), net[0](x).asnumpy()
    scale = 1 / np.sqrt(norm.running_var.data().asnumpy() + 1e-5)
    passes = features > norm.running_mean.data().asnumpy()[:, None, None]
    positions = passes.shape[2] * passes.shape[3]
    return dense[class_ids] * scale * passes.mean(axis=(2, 3)) / positions


# %% nbgrader={"grade": false, "grade_id": "channel_weights", "locked": false, "schema_version": 3, "solution": true, "task": false}
def channel_weights(net, layer, x, class_ids):
    """Mean gradient per channel of each image's own logit: numpy (N, K). The net stays as it is.

    x is an NDArray (N, 3, H, W), class_ids a list of N numbers, layer a RememberInput inside net.
    """
    ### BEGIN SOLUTION
    with autograd.record(train_mode=False):
        logits = net(x)
        total = nd.pick(logits, nd.array(class_ids)).sum()
    total.backward(train_mode=False)
    return layer.gradient().mean(axis=(2, 3))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "what_the_class_wants", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
from cam.truth.exercises import check

import numpy as np
from mxnet import nd

net, layer, norm = small_net(1)
x = nd.array(np.random.default_rng(1).normal(size=(2, 3, 8, 8)))
statistics = norm.running_mean.data().asnumpy()
found = channel_weights(net, layer, x, [3, 0])
check(
    "the running statistics of the net after your function has run (see the option train_mode of record)",
    norm.running_mean.data(),
    statistics,
)
expected = from_the_formula(net, norm, x, [3, 0])
check(
    "channel_weights (are record and backward both in inference mode?)",
    found,
    expected,
    likely={
        "Both images got the first one's class: each has its own.": from_the_formula(net, norm, x, [3, 3]),
        "Both images got the second one's class: each has its own.": from_the_formula(net, norm, x, [0, 0]),
        "This is the sum over the positions: take the mean.": 36 * expected,
        "This is the sum of all logits: pick one of each row.": sum(
            from_the_formula(net, norm, x, [c, c]) for c in range(4)
        ),
        "This is the mean of the feature map: take the gradient.": layer.feature_map().mean(axis=(2, 3)),
    },
)
### BEGIN HIDDEN TESTS
from mxnet import autograd
from mxnet.gluon import nn

rng = np.random.default_rng([SECRET, 4])
conv, head = nn.Conv2D(6, 3, in_channels=3), nn.Sequential()
layer = RememberInput(nn.Activation("sigmoid"))
head.add(nn.BatchNorm(in_channels=6), nn.GlobalAvgPool2D(), nn.Dense(5, in_units=6))
net = nn.Sequential()
net.add(conv, layer, head)
mx.random.seed(SECRET)
net.initialize(mx.init.Normal(0.5))
x, ids = nd.array(rng.normal(size=(3, 3, 7, 9))), rng.permutation(5)[:3].tolist()
found = channel_weights(net, layer, x, ids)
features = conv(x).detach()
features.attach_grad()
with autograd.record(train_mode=False):
    total = nd.pick(head(nd.sigmoid(features)), nd.array(ids)).sum()
total.backward(train_mode=False)
check("channel_weights of another net", found, features.grad.mean(axis=(2, 3)))
### END HIDDEN TESTS

# %% [markdown]
# ## 3. Without a tape: the walk back (3 points)
#
# `cam` puts no tap into a network. It knows the network as a list of *steps* in the order in which they ran, and walks
# over it in reverse. What has *arrived* at a step, d target / d its output, goes back through the step, and arrives at
# the steps whose outputs went in. Write that walk.
#
# *Hint: an output that went into two steps gets something from both. When you come to a step in reverse order, all that
# can arrive has arrived. A step that nothing arrived at passes nothing on.*


# %% nbgrader={"grade": false, "grade_id": "walk", "locked": false, "schema_version": 3, "solution": true, "task": false}
def walk_back(steps, dy):
    """What arrives at every step: a list, with None for a step that nothing arrives at.

    steps is a list of pairs (inputs, back): the numbers of the steps whose outputs went in, and a function that takes
    what arrived at the output and returns a list with the gradient of each of these inputs. An array that was given,
    such as the image, has no inputs, and None for `back`. dy is what arrives at the last step.
    """
    ### BEGIN SOLUTION
    arrived = [None] * len(steps)
    arrived[-1] = dy
    for number in range(len(steps) - 1, -1, -1):
        inputs, back = steps[number]
        if inputs and arrived[number] is not None:
            for source, dx in zip(inputs, back(arrived[number])):
                arrived[source] = dx if arrived[source] is None else arrived[source] + dx
    return arrived
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "the_walk_back", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from cam.truth.exercises import check

import numpy as np
from mxnet import nd

steps = [
    ((), None),  # 0: the image
    ((0,), lambda dy: [3 * dy]),  # 1: three times the image
    ((1, 0), lambda dy: [dy, dy]),  # 2: that plus the image
    ((2,), lambda dy: [100 * dy]),  # 3: a side branch whose output nobody uses
    ((2,), lambda dy: [-2 * dy]),  # 4
    ((4, 1), lambda dy: [dy, 5 * dy]),  # 5: the end
]
found = walk_back(steps, 1.0)
check("how many entries", len(found), 6)
check("whether anything arrives at the side branch", found[3] is None, True)
check(
    "what arrives at the other steps",
    [found[number] for number in (0, 1, 2, 4, 5)],
    [7, 3, -2, 1, 1],
    likely={
        "What arrives on two ways adds up: the second must not replace the first.": [-6, -2, -2, 1, 1],
        "The first that arrives is not all: add what comes later.": [-2, 5, -2, 1, 1],
    },
)
### BEGIN HIDDEN TESTS
rng = np.random.default_rng([SECRET, 5])
matrices = rng.normal(size=(6, 6)) * (np.tri(6, k=-1) > 0)  # step i is the sum of matrices[i, j] times step j
steps = [((), None)]
for i in range(1, 6):
    steps.append((tuple(range(i)), lambda dy, row=matrices[i]: [weight * dy for weight in row]))
expected = np.linalg.inv(np.eye(6) - matrices)[5]  # all ways from each step to the last
check("what arrives in another graph", walk_back(steps, 1.0), expected)
### END HIDDEN TESTS

# %% [markdown]
# And on a real graph? `steps_of` turns the traced graph of a network into such steps, each with MXNet's own derivative of
# that one operator. Your walk should give the numbers that your block of section 1 got from the tape.


# %% nbgrader={"grade": false, "grade_id": "steps_of", "locked": true, "schema_version": 3, "solution": false, "task": false}
def steps_of(net, x):
    """The steps of a net that runs on x, for walk_back; and by each layer's path the number of its step."""
    graph, values, steps = trace(net), [], []
    for step in graph.steps:
        inputs = tuple(number for number, _ in step.inputs)
        if step.op == "null":
            values.append(x if step.parameter is None else step.parameter.data())
            steps.append(((), None))
            continue
        leaves = [values[number].copy() for number in inputs]
        for leaf in leaves:
            leaf.attach_grad()
        with autograd.record(train_mode=False):
            values.append(getattr(nd, step.op)(*leaves, **step.options))
        steps.append((inputs, partial(back_through, values[-1], leaves)))
    return steps, {path: number for path, (number, _) in graph.entries.items()}


def back_through(value, leaves, dy):
    return autograd.grad(value, leaves, dy, retain_graph=True, train_mode=False)


def pooled_net(seed, last):
    """A net of a convolution, a ReLU, a pooling and a Dense layer, whose pooling may be inside another block."""
    mx.random.seed(seed)
    layers = [nn.Conv2D(6, 3, in_channels=3), nn.Activation("relu"), nn.GlobalAvgPool2D(), nn.Dense(4, in_units=6)]
    for layer in layers:
        layer.initialize(mx.init.Normal(0.5))
    net = nn.Sequential()
    net.add(*layers[:2], last(layers[2]), layers[3])
    return net


# %% nbgrader={"grade": true, "grade_id": "the_same_numbers", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
from cam.truth.exercises import check

import numpy as np
from mxnet import autograd, nd

x = nd.array(np.random.default_rng(6).normal(size=(1, 3, 8, 8)))
net = pooled_net(6, RememberInput)
with autograd.record(train_mode=False):
    logit = nd.pick(net(x), nd.array([2]))
logit.backward(train_mode=False)  # your block's pass, for class 2
steps, numbers = steps_of(pooled_net(6, lambda layer: layer), x)
found = walk_back(steps, nd.one_hot(nd.array([2]), 4))
check("what arrives at the ReLU's output, against the tape", found[numbers["1"]], net[2].gradient())
### BEGIN HIDDEN TESTS
from mxnet.gluon import nn


class Twice(nn.HybridBlock):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2D(3, 3, padding=1, in_channels=3)

    def hybrid_forward(self, F, x):
        return F.relu(self.conv(x)) + x + self.conv(x) * x


net = Twice()
mx.random.seed(SECRET)
net.initialize(mx.init.Normal(0.5))
rng = np.random.default_rng([SECRET, 6])
x, dy = nd.array(rng.normal(size=(1, 3, 5, 6))), nd.array(rng.normal(size=(1, 3, 5, 6)))
steps, numbers = steps_of(net, x)
found = walk_back(steps, dy)
x.attach_grad()
with autograd.record(train_mode=False):
    y = net(x)
y.backward(dy, train_mode=False)
image = next(number for number, step in enumerate(trace(net).steps) if step.input == 0)
check("what arrives at the image of a net that uses it five times", found[image], x.grad)
### END HIDDEN TESTS

# %% [markdown]
# ## 4. In your own words (3 points, read by your teacher)
#
# (a) Why does `attach_grad()` on a feature map make the image's gradient zero, although the value of the map is still
# there? (b) Why is the gradient of an added zero the gradient of the feature map? One line of mathematics is enough.
# (c) Name one thing that the walk over the graph can do and the tap cannot, or the other way round.
#
# *Write into the cell below this one: what stands in a new cell is not read.*

# %% [markdown] nbgrader={"grade": true, "grade_id": "in_your_own_words", "locked": false, "points": 3, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# (a) It makes the array a leaf: the record of how it came about is dropped, so the backward pass ends there, and the
# image, which is only reached through that record, gets nothing. (b) With $B = A + t$ and $t = 0$: $\partial
# y/\partial t = \partial y/\partial B = \partial y/\partial A$, since both derivatives of the sum are one. (c) The
# walk needs nothing in the network: no layer has to be built for it, it stops at the layer that is asked for, and the
# rule of a ReLU can be another one for one pass. The tap needs no graph, so it also works where the network cannot be
# traced.
# ### END SOLUTION

# %% [markdown]
# ## If your test fails
#
# - **All zero** for the image: the tape was cut. Look for `attach_grad()` on an array that was computed from the
#   image.
# - **NoneType has no attribute asnumpy**: the gradient of an array without `attach_grad()` is None; the order matters
#   too: mark it before you go on computing with it.
# - **Twice too large**: `output + output`, or a gradient kept with `grad_req="add"`.
# - **The running statistics changed**: `record()` and `backward()` are in train mode unless told otherwise.
# - **channel_weights is off, but not by a simple factor**: only one of the two was told; BatchNorm then has another
#   gradient.
# - **The walk's numbers are too small**: what arrived on a second way has replaced the first.
# - **Right for two images, wrong when handed in**: a size was typed in. Take shapes from the arrays.
# - **The shape should be (2, 6)**: the mean runs over the two axes of the positions, 2 and 3, and over no others.
