# %% reached
# Hint: Go through `cam.paths(net).items()`, and ask `isinstance(block, nn.Activation)`.
reached = [path for path, block in cam.paths(net).items() if isinstance(block, nn.Activation)]


# %% smoothness
# Hint: `gradient[:, :, :-1]` is all but the last column, `gradient[:, :, 1:]` all but the first.
def smoothness(gradient):
    pairs = (gradient[:, :, :-1], gradient[:, :, 1:]), (gradient[:, :-1], gradient[:, 1:])
    return np.mean([np.corrcoef(one.ravel(), other.ravel())[0, 1] for one, other in pairs])


# %% exercise_1
# Hint: `getattr(vision, name)()` makes a net, which need not be initialised; `reached_by_recipe` is imported above. It
#   leaves out the ReLUs inside Dense layers.
from mxnet.gluon.model_zoo import vision

counts = {}
for name in ("vgg16", "resnet50_v1", "resnet50_v2", "mobilenet1_0", "densenet121"):
    theirs = getattr(vision, name)()
    counts[name] = len(reached_by_recipe(theirs)), len(cam.relus(theirs))
    print(f"{name:13} {counts[name][0]:3} of {counts[name][1]:3} ReLUs are reached")
assert counts["resnet50_v2"] == (2, 50) and counts["resnet50_v1"] == (33, 49) and counts["vgg16"] == (13, 15)
assert all(counts[name][0] == counts[name][1] for name in ("mobilenet1_0", "densenet121"))
# The recipe reaches all ReLUs of MobileNet and of DenseNet, and two thirds of ResNet50v1's. There, too, the ReLU after
# each addition is a function call.

# %% exercise_2
# Hint: The names of the steps tell the stage: "stage1" to "stage4".
by_stage = {"none": (0, cam.image_gradient(net, batch, target=ids))}
for stage in ("stage1", "stage2", "stage3", "stage4"):
    chosen = [name for name in every_relu if stage in name]
    by_stage[stage] = len(chosen), cam.guided_backprop(net, batch, target=ids, where=chosen)
by_stage["all"] = 50, cam.guided_backprop(net, batch, target=ids)
by_stage = {stage: (count, measure(gradients, ten, 0)[3]) for stage, (count, gradients) in by_stage.items()}
for stage, (count, values) in by_stage.items():
    print(f"{stage:7} {count:2} ReLUs, energy in the mask {metrics.bootstrap(values)}")
none, all_of_them = by_stage["none"][1], by_stage["all"][1]
for stage in ("stage1", "stage2", "stage3", "stage4"):
    assert none.mean() < by_stage[stage][1].mean() < all_of_them.mean()
# On average each stage helps, and none does what all together do. The stages have different numbers of ReLUs, and with
# ten scenes the intervals overlap.

# %% exercise_3
# Hint: `gradient.reshape(3, 112, 2, 112, 2).mean(axis=(2, 4))` averages; `.repeat(2, axis=1)` makes it large again.
blurred = [
    gradient.reshape(3, 112, 2, 112, 2).mean(axis=(2, 4)).repeat(2, axis=1).repeat(2, axis=2)
    for gradient in adds["2 of 50"]
]
for title, gradients in {"2 of 50": adds["2 of 50"], "averaged": blurred, "50 of 50": adds["50 of 50"]}.items():
    smooth, _, _, energy = measure(gradients, ten, 0)
    print(f"{title:9} smoothness {smooth.mean():.2f}, energy in the mask {energy.mean():.3f}")
assert measure(blurred, ten, 0)[0].mean() > measure(adds["50 of 50"], ten, 0)[0].mean()
assert measure(blurred, ten, 0)[3].mean() < measure(adds["50 of 50"], ten, 0)[3].mean() - 0.1
# It looks clearer, and is still in the wrong places. Specks are a symptom; the cause is the 48 ReLUs.
