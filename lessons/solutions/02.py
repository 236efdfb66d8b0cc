# %% convolve_backward
# Hint: Output (i, j) was made from one window of x. Hand its gradient to this window, times the weights.
def convolve_backward(dy, w):
    dx = np.zeros((dy.shape[0] + w.shape[0] - 1, dy.shape[1] + w.shape[1] - 1), dy.dtype)
    for i in range(dy.shape[0]):
        for j in range(dy.shape[1]):
            dx[i : i + w.shape[0], j : j + w.shape[1]] += dy[i, j] * w
    return dx


# %% tap
# Hint: `nd.zeros_like` makes the zeros, `attach_grad` makes them a leaf. The network goes on with a sum.
def tap(A):
    zero = nd.zeros_like(A)
    zero.attach_grad()
    return A + zero, zero


# %% exercise_1
untouched = net(picture)[0, net.labels.index(target)]
compare("logit with and without tap", logit, untouched)
assert logit.asscalar() == untouched.asscalar()  # adding zero is exact


# %% exercise_2
# Hint: `rec.gradient(layer, target=other)[0]` is the other one. Sum over all axes, as a dot product does.
def cosine(a, b):
    return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))


similarity = cosine(dA, rec.gradient(layer, target=other)[0])
print(f"cosine between {target} and {other}: {similarity:.2f}")
# Neither alike nor unrelated: a small step that raises the logit of one class raises the other's too.
assert 0 < similarity < 0.9

# %% exercise_3
# Hint: The score is the sum of squares, so its gradient depends on where you stand.
A = convolution(small_image())
ones = nd.ones_like(A)
ones.attach_grad()
with autograd.record(train_mode=False):
    result = score(convolution(small_image()) + ones)
result.backward(train_mode=False)
compare("2A", ones.grad, 2 * A)  # it is 2 (A + 1): the gradient at another point
assert np.array_equal(ones.grad.asnumpy(), 2 * (A.asnumpy() + 1))
