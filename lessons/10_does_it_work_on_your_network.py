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
# # 10. Does it work on your network?
#
# **You will learn** to explain a network of your own: which layer it wants, how exact a map there is, five tests that
# tell whether to believe it, and seven mistakes by what they look like.
#
# **You need** lessons 5 to 7. **It takes** about 60 minutes.
#
# Two questions sort nearly every network that looks at pictures.

# %%
# %matplotlib inline
import json
import tempfile
import warnings

import cam  # before mxnet, so that MXNet uses every core
from cam import exercises, metrics, plot, scenes
from course import Lesson, compare, show
from diagrams import decision_tree

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon, nd
from mxnet.gluon import HybridBlock, SymbolBlock, nn
from mxnet.gluon.model_zoo import vision

lesson = Lesson(10, globals())
show(
    decision_tree(),
    alt="A tree of two questions. How does it end: GAP, GAP and Dense, GAP and more, one Dense layer, several layers. What "
    "becomes of the last convolution: nothing goes around it, adds, concatenates, gates, goes around. Each leaf has a "
    "sentence of advice, and families that end so.",
)

# %% [markdown]
# *What to see: each box is a leaf of the tree. Beside it stands which layer to take, whether the map there is an exact
# account of the logit, what to beware of, and which families of networks belong there. Green: exact, with HiResCAM at
# least. Blue: the last convolution is only a part. Orange: not exact, or nothing goes around the last convolution.*
#
# You need not climb the tree by hand. `cam.layers` reads the graph and prints your two leaves below its table:

# %%
net = cam.resnet50_v2()
print("\n".join(str(cam.layers(net)).splitlines()[-5:]))

# %% [markdown]
# And `cam.draw_graph` draws it. A large network is folded to its blocks.

# %%
show(
    cam.draw_graph(net),
    alt="ResNet50v2 as fifteen boxes in two rows. All are orange, one is green: the ReLU before the pooling. Behind the four "
    "stages stands a blue box each, and below them is written how many convolutions and additions they hold.",
)

# %% [markdown]
# *What to see: orange maps are whole, the green one is the layer that `cam` takes by itself. A blue box behind an orange
# one means that parts are folded into it, here 16 additions in four stages. `cam.draw_graph(net, "features.8.1")` unfolds
# the rest from there.*
#
# ## The zoo's families
#
# MXNet's zoo has no weights any more, so these nets are random. **Random weights say nothing about evidence**: a map of
# such a net is noise, and no picture of one stands here. But shapes, identities and counts hold for any weights, and
# they can be checked.
#
# > **Predict.** In which of these families do the signed map and the bias add up to the logit: `alexnet`,
# > `resnet18_v1`, `resnet18_v2`, `squeezenet1.0`, `densenet121`, `inceptionv3`, `mobilenet0.25`?

# %%
exact = ...  # your code: a list of their names

# %% [markdown] tags=["solution-exact"]
# <details><summary>Hint</summary>
#
# The green leaves of the tree. AlexNet flattens and has three Dense layers; SqueezeNet ends in a pooling alone.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# exact = ["resnet18_v1", "resnet18_v2", "squeezenet1.0", "densenet121", "inceptionv3", "mobilenet0.25"]
# ```
#
# </details>

# %%
exact = lesson.fill("exact", exact)
families = ["alexnet", "resnet18_v1", "resnet18_v2", "squeezenet1.0", "densenet121", "inceptionv3", "mobilenet0.25"]
mx.random.seed(0)
zoo = {name: vision.get_model(name, classes=3) for name in families}
leaf = {}
print(
    f"{'family':14} {'whole':>11}  {'take':12} {'ends in':16} {'last convolution':17} {'logit - map for two pictures'}"
)
for name, one in zoo.items():
    one.initialize(mx.init.Xavier(magnitude=3))
    size = 299 if name == "inceptionv3" else 224
    pictures = nd.concat(*(cam.load_image(scenes.draw(seed, size=size).image, size=size) for seed in range(2)), dim=0)
    table = cam.layers(one, pictures)
    rest = cam.record(one, pictures, image_gradient=False).logits[:, 1]
    rest = rest - cam.grad_cam(one, pictures, target=1, relu=False).sum(axis=(1, 2))
    leaf[name] = table.ending
    share = f"{sum(row.whole for row in table)} of {len(table)}"
    print(
        f"{name:14} {share:>11}  {cam.default_layer(one, pictures):12} {table.ending:16} {table.joint or 'is whole':17} "
        + " ".join(f"{value:10.3g}" for value in rest)
    )

# %%
adds_up = [name for name in families if leaf[name].startswith("GAP")]
exercises.check(
    "where map + bias = logit", ", ".join(sorted(exact)), ", ".join(sorted(adds_up)),
    {"SqueezeNet belongs to them too: its logits are means of its last map": ", ".join(sorted(set(adds_up) - {"squeezenet1.0"}))},
)  # fmt: skip
assert set(adds_up) == set(families) - {"alexnet"}

# %% [markdown]
# In all but AlexNet. There `logit - map` differs from picture to picture; in the others it is the same number for
# both, and that number is the bias of class 1: zero, in a network that was only just made. AlexNet flattens its last
# map and has three Dense layers, as VGG has.
#
# So the advice holds where it must. What the maps themselves show is another matter. Here are five initialisations of
# one family, explained on one picture:

# %%
maps = []
for seed in range(5):
    mx.random.seed(seed)
    one = vision.resnet18_v2(classes=3)
    one.initialize(mx.init.Xavier(magnitude=3))
    maps.append(cam.grad_cam(one, cam.load_image(scenes.draw(7).image), target=1, relu=False)[0].ravel())
correlations = np.corrcoef(maps)[np.triu_indices(5, 1)]
print("correlations of the ten pairs:", " ".join(f"{value:.2f}" for value in sorted(correlations)))
assert correlations.min() < 0 < correlations.max() < 0.9

# %% [markdown]
# Same net, same picture, same class: some pairs are alike, others have nothing in common. What they do have in common
# comes from the picture and not from any knowledge. Do not look for evidence in a network that was never trained.

# %% [markdown]
# ## A net of your own
#
# Write it as you like: with `+`, `F.relu`, `F.concat`. This one adds, and it puts a gate on a map. Nothing is prepared
# for being explained.


# %%
class Mine(HybridBlock):
    def __init__(self):
        super().__init__()
        with self.name_scope():
            self.stem = nn.Conv2D(16, 7, strides=8, padding=3)
            self.branch = nn.Conv2D(16, 3, padding=1)
            self.gate = nn.Conv2D(16, 1)
            self.output = nn.Dense(3)

    def hybrid_forward(self, F, x):
        x = F.relu(self.stem(x))
        x = F.relu(x + self.branch(x))
        x = x * F.sigmoid(self.gate(x))
        return self.output(F.mean(x, axis=(2, 3)))


zebra = scenes.draw(seed=7)
x, number = cam.load_image(zebra.image), zebra.class_ids[0]
mx.random.seed(0)
mine = Mine()
mine.initialize(mx.init.Xavier())
mine(x)
show(
    cam.draw_graph(mine, notes={"branch": "one term", "gate": "the gate"}),
    alt="Boxes from the image to Dense. The branch's convolution, the gate's convolution and its sigmoid are blue and lie "
    "beside the line; the product that they meet in is green, then come mean and Dense.",
)

# %% [markdown]
# *What to see: what you wrote as `+` and `*` are boxes like all others. The branch and the gate are parts. The green
# product is the last map that everything passes through.*
#
# > **Predict.** Which two leaves will `cam.layers` print? And where in the table is `branch`?

# %%
table = cam.layers(mine, x)
print(table)
assert (table.ending, table.joint) == ("GAP and Dense", "gates")
assert {row.path: row.whole for row in table}["branch"] is False

# %% [markdown]
# "GAP and Dense", though there is neither a block called GAP nor a Pooling: a mean over height and width is one. And
# the last convolution is the gate's. It says how much of each channel passes at each position, and not what passes.
# `branch` is a part, and its row names the sum to take in its place.
#
# ## An exported net
#
# `export()` writes a graph and its values. What `SymbolBlock.imports` makes of them has no blocks any more, and it is
# explained all the same.

# %%
original = cam.resnet50_v2()
original.hybridize()
original(x)
with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MXNet cannot tell the type of the input, and does not need it
    original.export(f"{folder}/mine")
    imported = SymbolBlock.imports(f"{folder}/mine-symbol.json", ["data"], f"{folder}/mine-0000.params")
print("\n".join(str(cam.layers(imported, x)).splitlines()[-5:]))
by_both = [cam.grad_cam(one, x, target=number)[0] for one in (imported, net)]
compare("map of the imported net, and of the net itself", *by_both)
assert np.allclose(*by_both, atol=1e-5)

# %% [markdown]
# A layer is called by its operator's name now. The graph is the same, so the advice and the map are.
#
# ## A net that you train further
#
# The usual case: somebody's network, your classes. EfficientNet-Lite0, the net of lesson 9 with its weights of ImageNet,
# gets a new head with three labels. Each has a sigmoid of its own, since a picture can show several of them. Only the
# head is trained, on features that are computed once. Its pictures are scenes from the seeds for training.

# %%
lite = cam.efficientnet_lite0()
three = ["zebra", "tiger", "fire engine"]


def with_any(seeds, count):
    """The first scenes that show at least one of the three."""
    found = []
    for seed in seeds:
        one = scenes.draw(seed)
        if set(one.labels) & set(three):
            found.append(one)
        if len(found) == count:
            return found


def inputs(drawn):
    """The scenes as the network's input: (N, 3, 224, 224)."""
    return nd.concat(*(cam.load_image(one.image, net=lite) for one in drawn), dim=0)


def features(drawn):
    """What comes out of the body, ten scenes at a time: (N, 1280)."""
    return nd.concat(*(lite.features(inputs(drawn[i : i + 10])) for i in range(0, len(drawn), 10)), dim=0)


def shown(drawn):
    """Which of the three labels each scene shows: 0 or 1, (N, 3)."""
    return nd.array([[label in one.labels for label in three] for one in drawn])


train, test = with_any(scenes.TRAIN_SEEDS, 60), with_any(scenes.TEST_SEEDS, 30)
of_train, of_test = features(train), features(test)

# %%
head = nn.Dense(3, in_units=of_train.shape[1])
mx.random.seed(0)
head.initialize()
trainer = gluon.Trainer(head.collect_params(), "adam", {"learning_rate": 0.01})
loss = gluon.loss.SigmoidBCELoss()
for _ in range(60):
    with autograd.record():
        mean = loss(head(of_train), shown(train)).mean()
    mean.backward()
    trainer.step(1)
right = ((head(of_test) > 0) == shown(test)).asnumpy()
print("right on test scenes:", ", ".join(f"{label} {share:.0%}" for label, share in zip(three, right.mean(axis=0))))
print(f"all three, mean: {right.mean():.0%}; by saying no to everything {1 - shown(test).mean().asscalar():.0%}")


# %%
class ThreeLabels(HybridBlock):
    def __init__(self):
        super().__init__()
        self.features, self.output = lite.features, head

    def hybrid_forward(self, F, x):
        return F.sigmoid(self.output(self.features(x)))


tuned = ThreeLabels()
tuned.normalisation, tuned.labels = lite.normalisation, three
print("\n".join(str(cam.layers(tuned)).splitlines()[-2:]))

# %%
shares, of_scene = {"ImageNet's head": [], "your head": []}, []
with warnings.catch_warnings():
    warnings.simplefilter("ignore", cam.CamWarning)
    for which, one in enumerate(test):
        for place, label in enumerate(one.labels):
            if label in three:
                of_scene.append(which)
                for title, network in zip(shares, (lite, tuned)):
                    heat = cam.grad_cam(network, inputs([one]), target=label)[0]
                    shares[title].append(metrics.share_on_object(heat, one.masks[place], one.masks[1 - place]))
for title, values in shares.items():
    print(f"{title:16} share on the right object {metrics.bootstrap(values, clusters=of_scene)}")
paired = metrics.bootstrap(np.subtract(shares["your head"], shares["ImageNet's head"]), clusters=of_scene)
print(f"your head minus ImageNet's, paired: {paired}")
assert paired.low > 0 and right.mean() > 0.9 and of_train.shape[1] == 1280

# %% [markdown]
# A few seconds for the features, a moment for the head, and nothing to prepare. `cam` saw that the net ends in a sigmoid
# and explains the logits before it. It says so in a `NetWarning`, which the cell above ignores. The body is the same in
# both rows, and so are the 1280 channels at GAP's input. Only their weights are new, and they put more of the map on the
# right object. The network had all that was needed; its old head had to tell a zebra from 999 other things.
#
# ## Any number can be the target
#
# A multi-label head answers several questions at once, and you may ask for any function of the logits that gives one
# number per image. In a scene with two of the three labels, what speaks for "one or the other"?
#
# > **Predict.** How does the signed map of a sum of two logits relate to the maps of the two?

# %%
both = next(one for one in map(scenes.draw, scenes.TEST_SEEDS) if len(set(one.labels) & set(three)) == 2)
first, second = (three.index(label) for label in both.labels)
print("the first test scene with two of the three:", " and ".join(both.labels))


def either(z):
    """One number per image, from the logits z (N, 3): what speaks for the label `first` or for `second`."""
    return ...  # your code


# %% [markdown] tags=["solution-either"]
# <details><summary>Hint</summary>
#
# `z[:, first]` is (N,): one number per image.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def either(z):
#     return z[:, first] + z[:, second]
# ```
#
# </details>

# %%
either = lesson.fill("either", either)
targets = {
    both.labels[0]: first, both.labels[1]: second, "either": either, "the difference": lambda z: z[:, first] - z[:, second]
}  # fmt: skip
with warnings.catch_warnings():
    warnings.simplefilter("ignore", cam.CamWarning)
    maps = {title: cam.grad_cam(tuned, inputs([both]), target=one, relu=False)[0] for title, one in targets.items()}
one, other = (maps[label] for label in both.labels)
exercises.check(
    "map of the sum", maps["either"], one + other,
    {"that is the difference": one - other, "that is their mean": (one + other) / 2},
)  # fmt: skip
compare("map of the difference, and the difference of the maps", maps["the difference"], one - other)
assert np.allclose(maps["the difference"], one - other, atol=1e-5)

# %%
limit = max(np.abs(heat).max() for heat in maps.values())
figure = plot.Picture(figsize=(11, 2.6), layout="constrained")
axes = figure.subplots(1, 5)
axes[0].imshow(both.image)
axes[0].set(xticks=[], yticks=[], title=" and ".join(both.labels))
for axis, (title, heat) in zip(axes[1:], maps.items()):
    drawn = plot.draw_signed(axis, heat, 224, limit)
    axis.set_title(title)
figure.colorbar(drawn, ax=axes, shrink=0.85)
show(
    figure,
    alt="A scene with a zebra and a fire engine close together, and four signed maps: orange on the zebra; orange on the fire "
    "engine and hatched on the zebra; orange on both; orange on the zebra and hatched on the fire engine.",
)

# %% [markdown]
# *What to see: four questions to one picture, on one scale. The signed map of a sum is the sum of the maps, since a
# gradient is linear in what it is the gradient of. The difference shows most: what speaks for the one **rather than** for
# the other. After Grad-CAM's final ReLU nothing would add up any more, hence `relu=False`.*
#
# ## Five tests to paste
#
# They hold for any net and any weights. Paste them into your own tests, with your net and one of your pictures.

# %%
before = net(x).asnumpy()
cam.guided_grad_cam(net, x, target=number)
assert np.array_equal(net(x).asnumpy(), before)  # 1. logits unchanged, to the bit

parts = cam.decompose(net, x, "features.8.2", target=number)
assert np.allclose(parts["branch"] + parts["shortcut"], parts["sum"], atol=1e-5)  # 2. branch + shortcut = Add

signed = cam.grad_cam(net, x, target=number, relu=False)
bias = net.output.bias.data()[number].asscalar()
assert np.isclose(signed.sum() + bias, before[0, number], rtol=1e-4)  # 3. map + bias = logit, where it must

nodes = json.loads(net(mx.sym.var("data")).tojson())["nodes"]
assert len(cam.relus(net)) == sum(node["op"] == "Activation" for node in nodes)  # 4. the count of ReLUs

# %% [markdown]
# The fifth is a finite difference. Move the picture a little in a random direction, forward and back. Per step the logit
# must change by the gradient times the direction.
#
# > **Predict.** Which steps will agree with the gradient: large ones, small ones, or those in between?


# %%
def slope(net, x, number, direction, step):
    """How fast the logit rises along a direction, measured with two forward passes; x and direction (1, 3, H, W)."""
    return ...  # your code


# %% [markdown] tags=["solution-slope"]
# <details><summary>Hint</summary>
#
# `net(x + step * direction)[0, number].asscalar()` is the logit a step ahead; take one behind too.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def slope(net, x, number, direction, step):
#     ahead, behind = (net(x + side * step * direction)[0, number].asscalar() for side in (1, -1))
#     return (ahead - behind) / (2 * step)
# ```
#
# </details>

# %%
slope = lesson.fill("slope", slope)
ones = nd.ones((1, 3, 2, 2))
exercises.check(
    "slope of the sum of squares, at ones, along ones", slope(lambda x: (x * x).sum(axis=(1, 2, 3)).reshape((1, 1)), ones, 0, ones, 0.5), 24,
    {"take one picture behind as well": 30, "the two pictures are two steps apart": 48},
)  # fmt: skip
random = np.random.default_rng(0)
directions = random.choice([-1, 1], size=(4, *x.shape))  # every value a little up or down
said = (cam.image_gradient(net, x, target=number) * directions).reshape(4, -1).sum(axis=1)
print("by the gradient  " + " ".join(f"{value:8.4f}" for value in said))
off = {}
for step in (1, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6):
    measured = np.array([slope(net, x, number, nd.array(direction), step) for direction in directions])
    off[step] = np.linalg.norm(measured - said) / np.linalg.norm(said)
    print(f"a step of {step:<7g}" + " ".join(f"{value:8.4f}" for value in measured) + f"   off by {off[step]:.0%}")
assert min(off, key=off.get) in (1e-3, 1e-4) and min(off.values()) < 0.2 < min(off[1], off[1e-6])

# %% [markdown]
# Those in between. On a large step ReLUs switch on and off, and the network is another one at its end. On a tiny step the
# logit changes by less than float32 can tell. So a finite difference never agrees to all digits, and is still the one
# test that compares the gradient with what the network *does*. It takes random directions for a reason: exercise 3.
#
# `cam.check(net)` runs all five, and so does the command line for the two files of an exported net:
#
#     python -m cam check PHOTO.jpg --params mine-0000.params --symbol mine-symbol.json

# %%
verdicts = cam.check(imported, x)
print(verdicts)
assert [one.passed for one in verdicts] == [True] * 5 and "16 additions" in str(verdicts)

# %% [markdown]
# ## Seven broken notebooks
#
# Each has one mistake, a common one, and none of them raises an error. Softmax explained in place of the logit; another
# normalisation; blue and red exchanged to BGR, as OpenCV reads pictures; height and width exchanged; the pass recorded in
# train mode; the wrong layer; and a tape that is cut.


# %%
def by_tape(net, x, number, train_mode=False):
    """Grad-CAM at the input of GAP by a zero tap (lesson 6): numpy (7, 7)."""
    with autograd.record(train_mode=train_mode):
        A = net.features[:11](x)
        tap = nd.zeros_like(A)
        tap.attach_grad()
        logit = net.output(net.features[11:](A + tap))[0, number]
    logit.backward(train_mode=train_mode)
    return nd.relu((tap.grad.mean(axis=(2, 3), keepdims=True) * A).sum(axis=1))[0].asnumpy()


victim = cam.resnet50_v2()  # this one will not be the same afterwards


def as_shown(mistake, image):
    """What a notebook with this mistake shows to the net: NDArray (1, 3, 224, 224)."""
    if mistake == "normalisation":
        return nd.array(image.transpose(2, 0, 1)[None] / 255)
    if mistake == "BGR":
        return cam.load_image(image[..., ::-1].copy())
    if mistake == "axes":
        return cam.load_image(image).transpose((0, 1, 3, 2))
    return cam.load_image(image)


def heat_of(mistake, image, number):
    """The map that a notebook with this mistake makes: numpy (7, 7)."""
    x = as_shown(mistake, image)
    if mistake == "softmax":
        return cam.grad_cam(net, x, target=lambda z: nd.softmax(z)[:, number])[0]
    if mistake == "train mode":
        return by_tape(victim, x, number, train_mode=True)
    if mistake == "layer":
        return cam.grad_cam(net, x, target=number, layer="features.8.2.conv3")[0]
    return cam.grad_cam(net, x, target=number)[0]


# %% [markdown]
# > **Predict.** Ten test scenes, both objects explained. Which mistakes cost the map most? Is there one that costs
# > nothing?

# %%
mistakes = ["right", "softmax", "normalisation", "BGR", "axes", "train mode", "layer"]
ten = [scenes.draw(seed) for seed in scenes.TEST_SEEDS[:10]]
found = {mistake: [] for mistake in mistakes}
with warnings.catch_warnings():
    warnings.simplefilter("ignore", cam.CamWarning)
    for one in ten:
        for mistake in mistakes:
            for place in (0, 1):
                heat = heat_of(mistake, one.image, one.class_ids[place])
                share = metrics.share_on_object(heat, one.masks[place], one.masks[1 - place])
                found[mistake].append((share, metrics.pointing_game(heat, one.masks[place]), heat.max()))
table = {mistake: np.array(rows, float).T for mistake, rows in found.items()}  # (3, 20) each

in_scene = {}  # how often the first choice is in the scene
for mistake in mistakes:
    network = victim if mistake == "train mode" else net
    choices = [network(as_shown(mistake, one.image)).argmax(axis=1).asscalar() for one in ten]
    in_scene[mistake] = np.mean([choice in one.class_ids for choice, one in zip(choices, ten)])

# %%
both = np.repeat(range(10), 2)  # two maps of each scene, which are drawn together
print(f"{'':14} {'share on the right object':26} within 15 pixels  median of the map's maximum  top class in the scene")
for mistake, (share, near, strongest) in table.items():
    interval = metrics.bootstrap(share, clusters=both)
    print(f"{mistake:14} {interval!s:26} {near.mean():<17.2f} {np.median(strongest):<28.3g} {in_scene[mistake]:.0%}")
worse = [
    mistake for mistake in mistakes if metrics.bootstrap(table["right"][0] - table[mistake][0], clusters=both).low > 0
]  # paired, on the same maps
print("share told apart from the right one's:", ", ".join(worse))
assert worse == ["normalisation", "BGR", "axes", "layer"]
assert all(0.525 < table[mistake][0].mean() < 0.725 and in_scene[mistake] <= 0.5 for mistake in worse[:3])
assert table["softmax"][0].mean() >= table["right"][0].mean() > table["layer"][0].mean() > 0.85

# %% [markdown]
# What the net is *shown* costs most. With a wrong normalisation, exchanged colours or exchanged axes the share falls to
# between 0.53 and 0.72, where a coin gives one half. The first choice is then in the scene in half of the cases or fewer.
# So look at the first choice before you look at a map. The wrong layer lies in between: often well, sometimes not.
#
# Softmax costs the map nothing here. It asks another question, "what makes it this class *rather than* the others?", and
# with two objects in a scene that is even a good one. The price stands in another column, and in the next figure. Train
# mode cannot be told apart from right by these maps either; its price is paid by the net.
#
# ## What they look like
#
# For the three mistakes of the input, and for the layer, these are the scenes where they cost most.

# %%
pairs = {}
with warnings.catch_warnings():
    warnings.simplefilter("ignore", cam.CamWarning)
    for mistake in ("normalisation", "BGR", "axes", "layer"):
        worst = int(table[mistake][0].argmin())
        one, place = ten[worst // 2], worst % 2
        heats = [heat_of(kind, one.image, one.class_ids[place]) for kind in ("right", mistake)]
        pairs[f"{mistake}\n{one.labels[place]}"] = [plot.overlay(one.image, heat) for heat in heats]

# %%
sure = scenes.draw(seed=7, objects=1)
heats = [heat_of(kind, sure.image, sure.class_ids[0]) for kind in ("right", "softmax")]
pairs[f"softmax\n{sure.labels[0]}"] = [plot.overlay(sure.image, heat, maximum=heats[0].max()) for heat in heats]
p = cam.record(net, cam.load_image(sure.image), []).probabilities.max()
print(
    f"softmax: probability {p:.3f}; the map's maximum is {heats[0].max():.3g} for the logit, {heats[1].max():.3g} for it"
)
assert heats[1].max() < heats[0].max()

# %%
heats = [cam.grad_cam(one, x, target=number)[0] for one in (net, victim)]  # both in predict mode
pairs["train mode\nzebra"] = [plot.overlay(zebra.image, heat, maximum=heats[0].max()) for heat in heats]
z = [one(x)[0, number].asscalar() for one in (net, victim)]
print(f"train mode: the zebra's logit was {z[0]:.2f}; after the 20 passes above the same net says {z[1]:.2f}")
assert abs(z[0] - z[1]) > 0.5

# %%
image = x.copy()
image.attach_grad()
with autograd.record(train_mode=False):
    A = net.features[:11](image)
    A.attach_grad()  # the cut: what came before A is forgotten
    logit = net.output(net.features[11:](A))[0, number]
logit.backward(train_mode=False)
gradients = [cam.image_gradient(net, x, target=number)[0], image.grad[0].asnumpy()]
pairs["cut tape\nimage gradient"] = [plot.signed_image(one) for one in gradients]
assert not image.grad.asnumpy().any()

# %%
show(
    plot.grid([list(row) for row in zip(*pairs.values())], ["as it should be", "broken"], list(pairs), size=1.7),
    alt="Seven columns of two pictures, above as it should be and below broken. With wrong input the map is empty or somewhere else; at "
    "the wrong layer partly on the other object; with softmax nearly black; after train mode fainter; after a cut plain grey.",
)

# %% [markdown]
# *What to see: each mistake has a face. **Normalisation, BGR**: the map is somewhere or nowhere, and the first choice is
# often wrong. **Axes**: the map is mirrored at the diagonal. **Layer**: spots, some on the other object. **Softmax**: on one scale
# with the logit's, the map is nearly black; the surer the net, the fainter, because the probability can hardly rise any more.
# **Train mode**: the map you make looks fine, and the net is another one afterwards; shown is its next map, in predict
# mode. **Cut tape**: the gradient of the image is plain zero.*
#
# | what you see | likely | cure |
# |---|---|---|
# | first choice wrong, map anywhere | normalisation, BGR | `cam.load_image(path, net=net)`; say the net's own as `net.normalisation` |
# | map mirrored at the diagonal | height and width exchanged | `image.transpose(2, 0, 1)`, not `(2, 1, 0)` |
# | map faint or black where the net is sure | softmax explained | the logit; `cam` steps back over a softmax by itself |
# | predictions move from run to run | train mode | `autograd.record(train_mode=False)`; load the weights again |
# | the image's gradient is zero | `attach_grad` in the middle of a tape | a zero tap (lesson 2), or `cam.image_gradient` |
# | spots, some on the other object | a part of a sum or concatenation | the whole map after it: `cam.layers(net)` |
#
# [The troubleshooting page](../docs/troubleshooting.md) has the same list, and more.
#
# ## The same in PyTorch
#
# Nothing in this course is special to MXNet. On identical weights these lines give the same numbers, to what float32
# rounds:
#
# ```python
# def grad_cam(net, layer, x, number):
#     kept = []
#     handle = layer.register_forward_hook(lambda layer, inputs, output: kept.append(output))
#     logit = net(x)[:, number].sum()
#     handle.remove()
#     (gradient,) = torch.autograd.grad(logit, kept[0])
#     return (gradient.mean(dim=(2, 3), keepdim=True) * kept[0]).sum(dim=1)  # before the ReLU
#
#
# def guided_backprop(net, x, number):
#     relus = [module for module in net.modules() if isinstance(module, nn.ReLU)]  # the trap: modules only
#     handles = [one.register_full_backward_hook(lambda relu, dx, dy: (dx[0].clamp(min=0),)) for one in relus]
#     x = x.clone().requires_grad_()
#     (gradient,) = torch.autograd.grad(net(x)[:, number].sum(), x)
#     for handle in handles:
#         handle.remove()
#     return gradient
# ```
#
# Clamping is enough for the guided rule, because PyTorch's own derivative has done the other half: $dy\,[y > 0]$.
#
# The trap is in the first line of `guided_backprop`. A ReLU that the net calls as a function, `torch.relu(x)` or
# `F.relu(x)`, is no module, and no hook hears it. Written as MXNet's zoo writes it, ResNet50v2 has 2 modules and 48
# function calls, and PyTorch says as little about it as MXNet did in lesson 7. In the repository `make crosscheck` runs
# these lines on the net written with 50 modules and written with 2, and finds what `cam` gives for all 50 ReLUs and for
# those two.

# %% [markdown]
# ## On your own
#
# **1.** ★ How many sides has Inception's last concatenation? Draw it.

# %% [markdown] tags=["solution-exercise_1"]
# <details><summary>Hint</summary>
#
# `cam.draw_graph(inception, "features.16")` draws from there to the end; count the arrows into the green box.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# inception = zoo["inceptionv3"]
# show(
#     cam.draw_graph(inception, "features.16"),
#     alt="The last block of Inception: many blue convolutions in lanes, of which four arrows end in the green Concat.",
# )
# block = [row for row in cam.layers(inception) if row.advice.endswith("features.17")]
# print(f"four sides, and {len(block)} maps of the block are parts: not one convolution of it is whole")
# assert not any(row.whole for row in block if row.kind == "Conv2D")
# ```
#
# </details>

# %%
lesson.solution("exercise_1")  # or your own code

# %% [markdown]
# **2.** ★★ This notebook has five of the seven mistakes at once, and shows a picture all the same. It also stops at the last
# Add, which is no mistake but not what `cam` takes. Mend it, until it gives what `cam` gives.


# %%
def broken(net, image, number):
    x = nd.array(image[..., ::-1].transpose(2, 1, 0)[None] / 255)
    A = net.features[:9](x)
    A.attach_grad()
    with autograd.record():
        p = nd.softmax(net.output(net.features[9:](A)))[0, number]
    p.backward()
    alpha = A.grad.mean(axis=(2, 3), keepdims=True)
    return nd.relu((alpha * A).sum(axis=1))[0].asnumpy()


fresh = cam.resnet50_v2()
show(
    plot.grid(
        [[zebra.image, plot.overlay(zebra.image, broken(fresh, zebra.image, number))]], ["zebra"], ["scene", "broken"]
    ),
    alt="A scene with a zebra and a drake, and the broken notebook's map for the zebra over it.",
)

# %% [markdown] tags=["solution-exercise_2"]
# <details><summary>Hint</summary>
#
# Go line by line: colours, axes, normalisation; layer; train mode, twice; softmax.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def mended(net, image, number):
#     x = cam.load_image(image)  # RGB, (1, 3, H, W), normalised
#     A = net.features[:11](x)  # the input of GAP
#     A.attach_grad()  # here the tape begins: nothing is cut that we need
#     with autograd.record(train_mode=False):
#         logit = net.output(net.features[11:](A))[0, number]
#     logit.backward(train_mode=False)
#     alpha = A.grad.mean(axis=(2, 3), keepdims=True)
#     return nd.relu((alpha * A).sum(axis=1))[0].asnumpy()
#
#
# fresh = cam.resnet50_v2()
# came, wanted = mended(fresh, zebra.image, number), cam.grad_cam(fresh, x, target=number)[0]
# compare("mended, and cam", came, wanted)
# assert np.allclose(came, wanted, atol=1e-5)
# ```
#
# </details>

# %%
lesson.solution("exercise_2")  # or your own code

# %% [markdown]
# **3.** ★★★ Build a net whose gradient is wrong: let `Mine` add its branch through `F.BlockGrad`. Which of the five tests
# finds it, and why do the others not?

# %% [markdown] tags=["solution-exercise_3"]
# <details><summary>Hint</summary>
#
# `F.BlockGrad(y)` is y on the way forward, and lets nothing pass on the way back.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# class Cut(Mine):
#     def hybrid_forward(self, F, x):
#         x = F.relu(self.stem(x))
#         x = F.relu(x + F.BlockGrad(self.branch(x)))
#         return self.output(F.mean(x, axis=(2, 3)))
#
#
# mx.random.seed(0)
# cut = Cut()
# cut.initialize(mx.init.Xavier())
# verdicts = cam.check(cut, x, target=0)
# print(verdicts)
# assert [one.passed for one in verdicts] == [True, True, True, False, True]
# # The other four cannot see it: the logit is what it was, the sums are sums, the map at the end is exact, and the ReLUs
# # are there. And along the gradient itself, for five initialisations?
# for seed in range(5):
#     mx.random.seed(seed)
#     cut = Cut()
#     cut.initialize(mx.init.Xavier())
#     gradient = cam.image_gradient(cut, x, target=0)
#     length = np.linalg.norm(gradient)
#     along = slope(cut, x, 0, nd.array(gradient / length), 0.01)
#     passed = [one.passed for one in cam.check(cut, x, target=0)]
#     print(
#         f"along the gradient off by {abs(along - length) / length:4.0%}; random directions {'pass' if passed[3] else 'fail'}"
#     )
#     assert not passed[3]
# # What is missing need not show in the direction in which what is left points. In random directions it does.
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
# **1.** A net ends in an average pooling over all positions, then two Dense layers with a ReLU between them. What holds at the input of the pooling?
#
# - **A.** The signed map and the bias add up to the logit.
# - **B.** There is no map, because of the two Dense layers.
# - **C.** The gradient is the same at every position, but the map does not add up to the logit.
# - **D.** Grad-CAM and HiResCAM differ there.
#
# <details><summary>Answer</summary>
#
# **C.** The pooling makes the gradient the same everywhere, so Grad-CAM and HiResCAM agree. The ReLU between the Dense layers is what keeps the sum from being the logit.
#
# </details>
#
# **2.** You make a net of the zoo without weights and get a spot in the middle of the picture. What does it tell you?
#
# - **A.** Nothing about evidence; with random weights only shapes, identities and counts can be checked.
# - **B.** The net has learned a bias to the middle.
# - **C.** The object lies in the middle.
# - **D.** The layer is wrong.
#
# <details><summary>Answer</summary>
#
# **A.** Another initialisation gives another map. That a branch and a shortcut add up holds for any weights, and that is what can be tested.
#
# </details>
#
# **3.** Your map looks well, but every time you run the cell the net's predictions have moved a little. What is the likely cause?
#
# - **A.** The pass was recorded in train mode, and BatchNorm's running statistics follow.
# - **B.** Blue and red are exchanged.
# - **C.** The layer is one term of a sum.
# - **D.** Softmax was explained in place of the logit.
#
# <details><summary>Answer</summary>
#
# **A.** Only train mode changes the net itself. Record with train_mode=False, and load the weights again.
#
# </details>
#
# **4.** Which of the five tests finds a branch whose gradient was cut inside the net?
#
# - **A.** The count of ReLUs.
# - **B.** The finite difference.
# - **C.** Branch + shortcut = Add.
# - **D.** Logits unchanged.
#
# <details><summary>Answer</summary>
#
# **B.** The logit depends on that branch, and the gradient does not know it. The other tests never compare the gradient with what the net does.
#
# </details>
#
# **5.** In PyTorch guided backpropagation by hooks on nn.ReLU runs without an error, and the picture is as unclear as the plain gradient. Why?
#
# - **A.** Most ReLUs of that net are function calls, which hooks on modules do not hear.
# - **B.** Hooks work on the first image of a batch only.
# - **C.** The net must be put in train mode first.
# - **D.** Guided backpropagation does not exist in PyTorch.
#
# <details><summary>Answer</summary>
#
# **A.** As in lesson 7: count the ReLUs in the graph, not the modules. Two of fifty is no guided backpropagation.
#
# </details>

# %% [markdown]
# **Rule of thumb.** Draw the graph, read the two leaves, run the five tests. Then look at the first choice, and then at the
# map.
#
# **Read more**, on the families of the tree: Huang, Liu, van der Maaten and Weinberger, [Densely connected convolutional
# networks](https://arxiv.org/abs/1608.06993), 2017. Szegedy, Vanhoucke, Ioffe, Shlens and Wojna, [Rethinking the Inception
# architecture for computer vision](https://arxiv.org/abs/1512.00567), 2016. Howard and others,
# [MobileNets](https://arxiv.org/abs/1704.04861), 2017. Iandola and others,
# [SqueezeNet](https://arxiv.org/abs/1602.07360), 2016. Hu, Shen and Sun, [Squeeze-and-excitation
# networks](https://arxiv.org/abs/1709.01507), 2018: gates.
#
# This is the last lesson. What is left is your own network: `python -m cam check --params FILE --symbol FILE`.
