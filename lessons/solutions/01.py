# %% relu_back
# Hint: A comparison such as `x > 0` gives 1 where it holds and 0 elsewhere, and you can multiply by it.
def relu_back(dy, x, rule):
    if rule == "plain":
        return dy * (x > 0)
    if rule == "deconvnet":
        return dy * (dy > 0)
    return dy * (dy > 0) * (x > 0)


# %% central_difference
# Hint: Push x up by `step` and look at the sum of dy f(x). Do the same downwards. Divide the difference by the whole way,
#   which is twice the sum of `step`.
def central_difference(f, x, dy, step):
    return ((dy * f(x + step)).sum() - (dy * f(x - step)).sum()) / (2 * step.sum())


# %% exercise_1
# At zero the ReLU has a kink: any slope between 0 and 1 would do. The mask [x > 0] chooses 0.
# The deconvnet rule never asks about x, so the gradient 3 passes.
assert by_hand["plain"][2] == by_hand["guided"][2] == 0
assert by_hand["deconvnet"][2] == 3


# %% exercise_2
# Hint: The slope is 1 where x is positive and 0.1 elsewhere. Save it in `forward`.
class LeakyReLU(autograd.Function):
    def forward(self, x):
        self.slope = (x > 0) + 0.1 * (x <= 0)
        return x * self.slope

    def backward(self, dy):
        return dy * self.slope


leaky = finite_difference(lambda v: np.maximum(v, 0) + 0.1 * np.minimum(v, 0), x64, dy64)
compare("leaky", gradient_through(LeakyReLU(), x64, dy64), leaky)
assert np.allclose(gradient_through(LeakyReLU(), x64, dy64), leaky, atol=1e-6)

# %% exercise_3
# Hint: For the first part send +1 and -1 through, for the second part x and -x.
parts = gradient_through(MyReLU("deconvnet"), one, one) + gradient_through(MyReLU("deconvnet"), one, -one)
whole = gradient_through(MyReLU("deconvnet"), one, one - one)
print("deconvnet(+1) + deconvnet(-1) =", parts[0], "  deconvnet(+1 - 1) =", whole[0])
assert parts[0] == 1 and whole[0] == 0
# The rule never uses x: two images that open different ReLUs get the same treatment here.
assert np.array_equal(gradient_through(MyReLU("deconvnet"), x, dy), gradient_through(MyReLU("deconvnet"), -x, dy))
