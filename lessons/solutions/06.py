# %% crossed
# Hint: `set.intersection(*before)` is what several sets have in common; the image has no inputs, and `before` is empty.
def crossed(inputs_of):
    found = {}
    for name, inputs in inputs_of.items():
        before = [found[one] for one in inputs]
        found[name] = {name} | (set.intersection(*before) if before else set())
    return found


# %% add_back
# Hint: Two gradients, and nothing to compute.
def add_back(dy):
    return dy, dy


# %% average_back
# Hint: Every position gets the same, and together they get dy.
def average_back(dy, shape):
    return dy.broadcast_to(shape) / (shape[2] * shape[3])


# %% exercise_1
# Hint: `cam.layers(theirs)` has a row for each map. `inception_v3` needs images of 299 pixels; run it once on zeros first.
is_whole = {}
for name in ("densenet121", "squeezenet1_0", "inception_v3"):
    theirs = getattr(vision, name)(classes=5)
    theirs.initialize()
    theirs(nd.zeros((1, 3, 299, 299) if name == "inception_v3" else (1, 3, 224, 224)))
    rows = [row for row in cam.layers(theirs) if len(row.shape) == 4]  # maps: what has a height and a width
    convolution = [row for row in rows if row.kind == "Conv2D"][-1]
    is_whole[name] = convolution.whole
    recommended = next(row.path for row in rows if row.advice == "recommended")
    print(
        f"{name:13} {sum(row.whole for row in rows):3} of {len(rows)} maps are whole; recommended {recommended}; "
        f"the last convolution, {convolution.path}, is {'whole' if convolution.whole else 'a part'}"
    )
assert is_whole == {"densenet121": False, "squeezenet1_0": True, "inception_v3": False}
# DenseNet and Inception end in a concatenation, and their last convolution is one side of it: a part, as in a residual
# net. In SqueezeNet it is whole.

# %% exercise_2
# Hint: Record the layers "features.7.2" and `last_sum`, and sum `cam.grad_cam_of(..., relu=False)`.
v1_rec = cam.record(v1, x, ["features.7.2", last_sum], image_gradient=False)
v1_evidence = v1_rec.logits[0, 3] - v1.output.bias.data().asnumpy()[3]
v1_sums = [cam.grad_cam_of(v1_rec, target=3, layer=layer, relu=False).sum() for layer in v1_rec.layers]
print(f"logit less bias {v1_evidence:.5f}, sum of the map after the ReLU {v1_sums[0]:.5f}, at the Add {v1_sums[1]:.5f}")
assert np.isclose(v1_sums[0], v1_evidence, rtol=1e-3) and not np.isclose(v1_sums[1], v1_evidence, rtol=1e-3)

# %% exercise_3
# Hint: `evaluation.compare(vgg, {"Grad-CAM": cam.grad_cam, ...}, None, seeds)`, then `.interval("share", minus=...)`.
methods = {"Grad-CAM": cam.grad_cam, "HiResCAM": cam.hires_cam}
averaged, hires = evaluation.compare(vgg, methods, None, scenes.TEST_SEEDS[:20])
for one in (averaged, hires):
    print(f"{one.method} share {one.interval('share')}")
paired = averaged.interval("share", minus=hires)
print(f"Grad-CAM minus HiResCAM, paired: {paired}")
assert paired.low > 0
try:
    cam.class_activation_map(vgg, x)
except cam.NetError as error:
    print(error)
# They are not equal: the gradient varies over the 14x14 positions. Grad-CAM's share is larger, though with 20 scenes the
# interval is wide. CAM reads its weights from the one Dense layer behind a GAP, and VGG16 has neither.

# %% exercise_4
# Hint: `norm.gamma`, `.beta`, `.running_mean` and `.running_var` are the parameters of `net.features[9]`.
rec = cam.record(net, x, ["features.8.2", "features.9"], image_gradient=False)
gradient, features_there = rec.gradient("features.8.2", target=label)[0], rec.features("features.8.2")[0]  # (512, 7, 7)
norm = net.features[9]
gamma, beta, running_mean, variance = (
    one.data().asnumpy() for one in (norm.gamma, norm.beta, norm.running_mean, norm.running_var)
)
shift = beta - running_mean * gamma / np.sqrt(variance + norm._kwargs["eps"])
of_the_shift = (rec.gradient("features.9", target=label)[0] * shift[:, None, None]).sum()
exact = (gradient * features_there).sum()  # HiResCAM's sum
averaged = (gradient.mean(axis=(1, 2), keepdims=True) * features_there).sum()  # Grad-CAM's sum
evidence_here = rec.logits[0, number] - bias
print(f"logit less bias {evidence_here:.4f} = {exact:.4f} (sum of g A) + {of_the_shift:.4f} (shift)")
print(
    f"Grad-CAM's sum {averaged:.4f} misses {of_the_shift:.4f} for the shift, {exact - averaged:.4f} for the averaging"
)
assert np.isclose(exact + of_the_shift, evidence_here, rtol=1e-4)
# A ReLU is linear where it passes and 0 where it does not, so gradient times input is exact for all that follows the
# BatchNorm. What Grad-CAM's sum lacks is the shift, and what the averaging loses.
