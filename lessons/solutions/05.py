# %% signed_map
# Hint: Multiply, then add over the axis of the channels, which is the third from the end.
def signed_map(alpha, A):
    return (alpha * A).sum(axis=-3)


# %% alpha
# Hint: Average over height and width, the axes 2 and 3, and keep them: `keepdims=True`.
alpha = gradient["sum"].mean(axis=(2, 3), keepdims=True)

# %% by_the_shortcut
# Hint: `gradient["shortcut"]` is all that arrives at 8.1, and `from_the_branch` is one of its two terms.
by_the_shortcut = gradient["shortcut"] - from_the_branch

# %% exercise_1
# Hint: `warnings.catch_warnings(record=True)` gives a list; set the filter to "always" inside.
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    cam.grad_cam(net, x, target=label, layer=net.features[8][2].conv3)
print(caught[0].message)
assert caught[0].category is cam.LayerWarning and "the whole map after it is features.8" in str(caught[0].message)
# features.8 is stage 4. Its output is the Add of its last block, so features.8 and features.8.2 are one map.

# %% exercise_2
# Hint: `again.features[8][2].conv3.weight.set_data(...)`, and `evaluation.accuracy(again, seeds[:40], objects=2)`.
accuracy = {"as it is": evaluation.accuracy(net, seeds[:40], objects=2)}
for index in (2, 0):
    again = cam.resnet50_v2()
    weight = again.features[8][index].conv3.weight
    weight.set_data(nd.zeros_like(weight.data()))
    accuracy[f"without the branch of 8.{index}"] = evaluation.accuracy(again, seeds[:40], objects=2)
for title, value in accuracy.items():
    print(f"{title:26} {value:.2f}")
assert accuracy["without the branch of 8.2"] > 0.9 > accuracy["without the branch of 8.0"]
# The last branch can go. That of 8.0 cannot: it brings in what its own shortcut, a convolution, leaves out.

# %% exercise_3
# Hint: `forum.share >= 0.5` gives one of the two groups; `forum.energy[group].mean()` is its energy.
right = forum.share >= 0.5
for title, group in (("conv3 has the right object", right), ("conv3 has it not", ~right)):
    energy = [one.energy[group].mean() for one in (forum, last)]
    print(f"{title:27} {group.sum():3} maps, energy: conv3 {energy[0]:.3f}, input of the pooling {energy[1]:.3f}")
assert metrics.bootstrap((forum.energy - last.energy)[right], clusters=forum.seed[right]).low > 0
# Where conv3 has the right object it puts even more of its energy inside the mask. In the other maps it puts far less,
# as must be, since they were chosen by its failures. The mean averages the two away: look at the failures too.
