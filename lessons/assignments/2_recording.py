# %% [markdown]
# # Problem set 2: a convolution that remembers
#
# **Learning goals.** You can write a layer that keeps its feature map and the gradient of its feature map, and that
# changes nothing else: not the output, not the gradient of the image, not the network's running statistics.
#
# **You need** lesson 2, and `cam`. **It takes** about 75 minutes. **Points:** 14 by the checks, 3 by hand.
#
# **How it works.** Write your code where it says `YOUR CODE HERE`. The cell below each task checks it: no message
# means that it is right for the numbers shown. When you hand in, the same cells check other numbers too, so write the
# rule and not the result. Do not rename functions. Before you hand in, restart the kernel and run all cells.

# %% nbgrader={"grade": false, "grade_id": "setup", "locked": true, "schema_version": 3, "solution": false, "task": false}
from cam.exercises import check

import mxnet as mx
import numpy as np
from mxnet import autograd, nd
from mxnet.gluon import nn

# %% [markdown]
# ## 1. The layer (11 points)
#
# Everything Grad-CAM needs of a layer is its output $A$ and $\partial y / \partial A$. MXNet keeps neither. Finish
# the layer below so that after a recorded forward pass and a backward pass
#
# - the output is the same as that of `nn.Conv2D` (2 points, together with the next),
# - `feature_map()` returns $A$,
# - `gradient()` returns $\partial y / \partial A$ (3 points),
# - the image's gradient is what it would be without you (4 points),
# - a second pass forgets the first, and a pass that nobody records works too (2 points).
#
# *Hint: `attach_grad()` makes an array a leaf, an end of the tape. Which array may be an end without harm? Lesson 2
# adds one whose value changes nothing.*


# %% nbgrader={"grade": false, "grade_id": "layer", "locked": false, "schema_version": 3, "solution": true, "task": false}
class RecordingConv2D(nn.Conv2D):
    """A convolution that keeps its output and its output's gradient."""

    def hybrid_forward(self, F, x, weight, bias=None):
        output = super().hybrid_forward(F, x, weight, bias)
        ### BEGIN SOLUTION
        self.kept = output.detach()
        self.tap = nd.zeros_like(output)
        self.tap.attach_grad()
        return output + self.tap
        ### END SOLUTION

    def feature_map(self):
        """The output of the last pass, numpy (N, K, h, w)."""
        ### BEGIN SOLUTION
        return self.kept.asnumpy()
        ### END SOLUTION

    def gradient(self):
        """The gradient of what `backward` was called on with respect to that output, numpy (N, K, h, w)."""
        ### BEGIN SOLUTION
        return self.tap.grad.asnumpy()
        ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "try_it", "locked": true, "schema_version": 3, "solution": false, "task": false}
def hand_made():
    """Your layer as a 1x1 convolution of one channel: every number times 2, plus 1."""
    layer = RecordingConv2D(1, kernel_size=1, in_channels=1)
    layer.initialize()
    layer.weight.set_data(nd.array([[[[2.0]]]]))
    layer.bias.set_data(nd.array([1.0]))
    return layer


def run(layer, x, w):
    """Record y = sum(w * layer(x)), go back, and return the output and the image's gradient, numpy."""
    x = nd.array(x)
    x.attach_grad()
    with autograd.record():
        output = layer(x)
        y = (output * nd.array(w)).sum()
    y.backward()
    return output.asnumpy(), x.grad.asnumpy()


def random_layers(seed, layer_class):
    """Two convolutions one after another, the second of a given class, with random weights; and that second one."""
    mx.random.seed(seed)
    last = layer_class(4, kernel_size=3, in_channels=5)
    net = nn.HybridSequential()
    net.add(nn.Conv2D(5, kernel_size=3, padding=1, in_channels=3), last)
    net.initialize(mx.init.Normal(0.5))
    return net, last


# %% nbgrader={"grade": true, "grade_id": "output_and_feature_map", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
layer = hand_made()
x, w = np.array([[[[1.0, -2.0], [0.0, 3.0]]]]), np.array([[[[1.0, 10.0], [0.0, -1.0]]]])
output, _ = run(layer, x, w)
check(
    "the output",
    output,
    [[[[3, -3], [1, 7]]]],
    {"The tap has to be zero, or the output changes.": [[[[4, -2], [2, 8]]]]},
)
check(
    "feature_map()",
    layer.feature_map(),
    [[[[3, -3], [1, 7]]]],
    likely={
        "This is the input of the layer.": x,
        "This is the gradient of the output, not the output.": w,
        "Nobody asked for a ReLU: keep the output as it is.": [[[[3, 0], [1, 7]]]],
    },
)
### BEGIN HIDDEN TESTS
net, last = random_layers(3, RecordingConv2D)
plain, _ = random_layers(3, nn.Conv2D)
x = np.random.default_rng(3).normal(size=(2, 3, 6, 7))
found, _ = run(net, x, np.ones((2, 4, 4, 5)))
expected, _ = run(plain, x, np.ones((2, 4, 4, 5)))
check("the output with other numbers", found, expected)
check("feature_map() with other numbers", last.feature_map(), expected)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "gradient_of_the_feature_map", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
layer = hand_made()
x, w = np.array([[[[1.0, -2.0], [0.0, 3.0]]]]), np.array([[[[1.0, 10.0], [0.0, -1.0]]]])
run(layer, x, w)
check(
    "gradient()",
    layer.gradient(),
    w,
    likely={
        "This is the gradient of the image: it has gone through the convolution.": 2 * w,
        "This is the feature map, not its gradient.": [[[[3, -3], [1, 7]]]],
        "All zero: is this the gradient of an array that the network goes on with?": 0 * w,
    },
)
### BEGIN HIDDEN TESTS
net, last = random_layers(4, RecordingConv2D)
rng = np.random.default_rng(4)
x, w = rng.normal(size=(2, 3, 6, 7)), rng.normal(size=(2, 4, 4, 5))
run(net, x, w)
check("gradient() with other numbers", last.gradient(), w)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "image_gradient_is_intact", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
layer = hand_made()
x, w = np.array([[[[1.0, -2.0], [0.0, 3.0]]]]), np.array([[[[1.0, 10.0], [0.0, -1.0]]]])
_, image_gradient = run(layer, x, w)
check(
    "the image's gradient",
    image_gradient,
    2 * w,
    likely={
        "All zero: attach_grad on the output cuts the tape, and nothing below gets a gradient.": 0 * w,
        "Twice too large: the output reaches the sum on two ways.": 4 * w,
    },
)
### BEGIN HIDDEN TESTS
rng = np.random.default_rng(5)
x, w = rng.normal(size=(2, 3, 6, 7)), rng.normal(size=(2, 4, 4, 5))
_, found = run(random_layers(5, RecordingConv2D)[0], x, w)
_, expected = run(random_layers(5, nn.Conv2D)[0], x, w)
cut = {"All zero: attach_grad on the output cuts the tape, and nothing below gets a gradient.": 0 * expected}
check("the image's gradient with other numbers", found, expected, cut)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "second_pass", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
layer = hand_made()
first, second = np.ones((1, 1, 2, 2)), np.full((1, 1, 2, 2), 5.0)
run(layer, first, first)
run(layer, second, second)
check(
    "gradient() after a second pass",
    layer.gradient(),
    second,
    likely={
        "The gradients of both passes were added up: keep that of the last one.": first + second,
        "This is the gradient of the first pass.": first,
    },
)
check(
    "feature_map() after a second pass", layer.feature_map(), 2 * second + 1, {"This is the first pass's.": 3 * first}
)
check("the output of a pass that is not recorded", layer(nd.array(first)), 3 * first)
### BEGIN HIDDEN TESTS
layer = hand_made()
for size in (2, 5, 3):
    x, w = np.random.default_rng(size).normal(size=(2, 1, 1, size, size))
    run(layer, x, w)
    check(f"gradient() of a later pass of size {size}", layer.gradient(), w)
    check(f"feature_map() of a later pass of size {size}", layer.feature_map(), 2 * x + 1)
### END HIDDEN TESTS

# %% [markdown]
# ## 2. What does the class want? (3 points)
#
# With the layer in a network, one number per channel says how much the class's logit would rise if the whole channel
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
    """A net of your layer, BatchNorm, ReLU, global pooling and Dense; and the layer."""
    mx.random.seed(seed)
    layer = RecordingConv2D(6, kernel_size=3, in_channels=3)
    net = nn.HybridSequential()
    net.add(layer, nn.BatchNorm(in_channels=6), nn.Activation("relu"), nn.GlobalAvgPool2D(), nn.Dense(4, in_units=6))
    net.initialize(mx.init.Normal(0.5))
    net[1].running_mean.set_data(nd.arange(6) / 10)
    net[1].running_var.set_data(1 + nd.arange(6))
    return net, layer


def from_the_formula(net, layer, x, class_ids):
    """The right answer for this particular net, worked out by hand: numpy (N, 6)."""
    norm, dense = net[1], net[4].weight.data().asnumpy()
    features = nd.Convolution(x, layer.weight.data(), layer.bias.data(), kernel=(3, 3), num_filter=6).asnumpy()
    scale = 1 / np.sqrt(norm.running_var.data().asnumpy() + 1e-5)
    passes = features > norm.running_mean.data().asnumpy()[:, None, None]
    positions = passes.shape[2] * passes.shape[3]
    return dense[class_ids] * scale * passes.mean(axis=(2, 3)) / positions


# %% nbgrader={"grade": false, "grade_id": "channel_weights", "locked": false, "schema_version": 3, "solution": true, "task": false}
def channel_weights(net, layer, x, class_ids):
    """Mean gradient per channel of each image's own logit: numpy (N, K). The net stays as it is.

    x is an NDArray (N, 3, H, W), class_ids a list of N numbers, layer a RecordingConv2D inside net.
    """
    ### BEGIN SOLUTION
    with autograd.record(train_mode=False):
        logits = net(x)
        total = nd.pick(logits, nd.array(class_ids)).sum()
    total.backward(train_mode=False)
    return layer.gradient().mean(axis=(2, 3))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "what_the_class_wants", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
net, layer = small_net(1)
x = nd.array(np.random.default_rng(1).normal(size=(2, 3, 8, 8)))
statistics = net[1].running_mean.data().asnumpy()
found = channel_weights(net, layer, x, [3, 0])
check(
    "the running statistics of the net after your function has run (see the option train_mode of record)",
    net[1].running_mean.data(),
    statistics,
)
expected = from_the_formula(net, layer, x, [3, 0])
check(
    "channel_weights (are record and backward both in inference mode?)",
    found,
    expected,
    likely={
        "Both images got the first one's class: each has its own.": from_the_formula(net, layer, x, [3, 3]),
        "Both images got the second one's class: each has its own.": from_the_formula(net, layer, x, [0, 0]),
        "This is the sum over the positions: take the mean.": 36 * expected,
        "This is the sum of all logits: pick one of each row.": sum(
            from_the_formula(net, layer, x, [c, c]) for c in range(4)
        ),
        "This is the mean of the feature map: take the gradient.": layer.feature_map().mean(axis=(2, 3)),
    },
)
### BEGIN HIDDEN TESTS
layer, head = RecordingConv2D(6, kernel_size=3, in_channels=3), nn.HybridSequential()
head.add(nn.BatchNorm(in_channels=6), nn.Activation("sigmoid"), nn.GlobalAvgPool2D(), nn.Dense(5, in_units=6))
net = nn.HybridSequential()
net.add(layer, *head)
net.initialize(mx.init.Normal(0.5))
x = nd.array(np.random.default_rng(2).normal(size=(3, 3, 7, 9)))
found = channel_weights(net, layer, x, [1, 4, 2])
features = layer(x).detach()
features.attach_grad()
with autograd.record(train_mode=False):
    total = nd.pick(head(features), nd.array([1, 4, 2])).sum()
total.backward(train_mode=False)
check("channel_weights of another net", found, features.grad.mean(axis=(2, 3)))
### END HIDDEN TESTS

# %% [markdown]
# ## 3. In your own words (3 points, read by your teacher)
#
# *Write your answer in the cell below, in place of what stands there: a new cell is not read.*
#
# (a) Why does `attach_grad()` on the output make the image's gradient zero, although the value of the output is still
# there? (b) Why is the gradient of an added zero the gradient of the feature map? One line of mathematics is enough.
# (c) When would you cut the tape on purpose?
#
# *Write into the cell below this one: what stands in a new cell is not read.*

# %% [markdown] nbgrader={"grade": true, "grade_id": "in_your_own_words", "locked": false, "points": 3, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# (a) It makes the array a leaf: the record of how it came about is dropped, so the backward pass ends there, and the
# image, which is only reached through that record, gets nothing. (b) With $B = A + t$ and $t = 0$: $\partial
# y/\partial t = \partial y/\partial B = \partial y/\partial A$, since both derivatives of the sum are one. (c) If
# only the feature map's gradient is wanted: everything below then costs no backward pass and no memory.
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
# - **Right for two images, wrong when handed in**: a size was typed in. Take shapes from the arrays.
# - **The shape should be (2, 6)**: the mean runs over the two axes of the positions, 2 and 3, and over no others.
