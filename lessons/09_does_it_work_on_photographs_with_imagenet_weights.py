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
# # 9. Does it work on photographs with ImageNet weights?
#
# **You will learn** where weights for the full-size networks can still be had, and how to know that a file is the right
# one; how to explain your own photograph; what a network without any training shows, and why that is a test of your
# method; and what to check before you look at a map.
#
# **You need** lessons 3 to 6. **It takes** about 35 minutes.
#
# **This lesson runs in two ways.** With ImageNet weights on your machine it explains photographs. Without them it does
# everything that can be done honestly: the same code on full-size networks with random values, and the measurements on
# the embedded networks. The second cell says which way it went.

# %%
# %matplotlib inline
# %config InlineBackend.figure_formats = ["jpeg"]
import tempfile
from pathlib import Path

import cam
from cam import evaluation, metrics, plot, scenes
from cam.core.inputs import MEAN, STANDARD_DEVIATION
from cam.nets import weights
from cam.nets.labels import imagenet_labels
from course import compare, imagenet_weights

import matplotlib.pyplot as plt
import mxnet as mx
import numpy as np
from PIL import Image

mx.random.seed(0)

# %% [markdown]
# ## The idea in words
#
# So far each network knew 20 cut-outs. A network that was trained on ImageNet knows 1000 classes, and real photographs.
# Nothing else changes: same layers, same gradients, same code. What changes is what can go wrong before the first
# gradient: the wrong file, the wrong preparation of the picture, the wrong list of names.
#
# ## Where the weights are
#
# MXNet's own model zoo is gone: `vgg16(pretrained=True)` ends in an error. But the same networks were once exported to
# the ONNX model zoo, and those files still exist. `cam` knows one file per network, by its sha256:
#
#     python -m cam weights list               # which files, how large, and whether they are here
#     python -m cam weights get resnet50_v2    # 102 MB; goes on where it was cut off
#     python -m cam weights get vgg16          # 553 MB
#
# After that, `cam.resnet50_v2(weights="imagenet")` works without a network. `CAM_WEIGHTS_DIR` says where files are
# kept. If you have another file, `weights=PATH` takes it: the old zoo's `.params`, what Gluon's `export` wrote, an
# `.onnx` file of a Gluon net, and for VGG16 the `.safetensors` files of timm and torchvision. `python -m cam weights
# check FILE` says what a file is. To let this lesson use such a file, set `CAM_IMAGENET_VGG16` or
# `CAM_IMAGENET_RESNET50_V2` to its path.

# %%
makers = {"vgg16": cam.vgg16, "resnet50_v2": cam.resnet50_v2}
files = {name: imagenet_weights(name) for name in makers}
nets = {name: make(weights=files[name]) for name, make in makers.items()}  # None: random values
for name, path in files.items():
    nets[name].labels = imagenet_labels()  # a net with random values gets the names, but it has learnt nothing
    print(
        f"{name}: ImageNet weights from {path.name}" if path else f"{name}: no ImageNet weights here, so random values"
    )
trained = [name for name, path in files.items() if path]

# %%
assert all(net.output.weight.shape[0] == len(net.labels) == len(set(net.labels)) for net in nets.values())

# %% [markdown]
# ## What the network is shown
#
# ImageNet networks are used to one preparation: the short side scaled to 256 pixels, the central 224x224 cut out,
# colours normalised. `cam.load_image` does that. Always look at the result: what is cut off here, no map can find.


# %%
def seen(x):
    """What the network sees, as a picture: numpy uint8 (H, W, 3)."""
    pixels = np.moveaxis(x[0].asnumpy(), 0, -1) * STANDARD_DEVIATION + MEAN
    return np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)


names = ("chelsea", "coffee", "rocket")
photographs = {name: Image.open(f"photographs/{name}.jpg") for name in names}
xs = {name: cam.load_image(image) for name, image in photographs.items()}
figure, axes = plt.subplots(2, 3, figsize=(7, 4.2), layout="constrained")
for column, name in zip(axes.T, names):
    column[0].imshow(photographs[name])
    column[0].set_title(name)
    column[1].imshow(seen(xs[name]))
for axis in axes.flat:
    axis.set(xticks=[], yticks=[])
plt.show()

# %% [markdown]
# *What to see: above, the photographs (their origin is in `photographs/ORIGIN.md`); below, what the network gets. The
# cat loses its ear, the saucer its rim, and the rocket its two large towers.*

# %%
whole = np.asarray(xs["coffee"].asnumpy()[0])
assert whole.shape == (3, 224, 224) and whole.dtype == np.float32
again = cam.load_image(seen(xs["coffee"]))  # a picture that already has the right size is taken as it is
assert np.abs(again.asnumpy()[0] - whole).max() < 1 / 255 / STANDARD_DEVIATION.min()

# %% [markdown]
# ## What does it say?
#
# > **Predict.** If your networks have random values: how sure can a network be that has learnt nothing? Will its first
# > choice among 1000 classes have a probability of about 1/1000, or more?


# %%
def probabilities(net, x):
    """Softmax of the logits: numpy float64 (classes,)."""
    logits = net(x)[0].asnumpy().astype(np.float64)
    p = np.exp(logits - logits.max())
    return p / p.sum()


top = {}
for net_name, net in nets.items():
    print(f"{net_name}, {'ImageNet weights' if net_name in trained else 'random values'}")
    for name, x in xs.items():
        p = probabilities(net, x)
        best = np.argsort(-p)[:5]
        top[net_name, name] = int(best[0])
        print(f"  {name:8}", ", ".join(f"{net.labels[number]} {p[number]:.3f}" for number in best))

# %% [markdown]
# With ImageNet weights: is one of the five names right for each photograph? If not, do not go on to the maps. A list of
# names in another order, BGR for RGB, or a forgotten normalisation all show here, and no map tells you.
#
# With random values: the names mean nothing. But look at ResNet50v2's probabilities.

# %%
untrained = cam.resnet50_v2(weights=None)
sureness = [probabilities(untrained, x).max() for x in xs.values()]
print("an untrained ResNet50v2, probability of its first choice:", " ".join(f"{p:.3f}" for p in sureness))
assert min(sureness) > 10 / 1000

# %% [markdown]
# It is far surer than 1/1000. Where does that come from?

# %%
ends = [f"features.{stage}" for stage in (5, 6, 7, 8)]
rec = cam.record(untrained, xs["chelsea"], ends, image_gradient=False)
spread = [rec.features(end).std() for end in ends]
print("standard deviation of the feature map after each stage:", " ".join(f"{value:.1f}" for value in spread))
first, second = np.sort(rec.logits[0])[:-3:-1]
print(f"the two largest logits: {first:.0f} and {second:.0f}")
assert spread == sorted(spread) and spread[-1] > 10 * spread[0] and first - second > 5

# %% [markdown]
# Each of the 16 Adds makes the numbers larger, and a BatchNorm that has seen no data does not scale them back. So the
# logits grow, and so do the *differences* between them; softmax turns a large difference into a probability near 1. A
# high probability says that one logit is far above the others. It does not say that the network knows what it sees.

# %% [markdown]
# ## All maps of one photograph

# %%
subject = "chelsea"


def pictures(net, x, class_id):
    """Grad-CAM, guided backpropagation, guided Grad-CAM and saliency, from one recorded forward."""
    rec = cam.record(net, x)
    heat = cam.grad_cam_of(rec, target=class_id)[0]
    guided = rec.image_gradient(target=class_id, rule="guided")[0]
    return [
        plot.overlay(seen(x), heat),
        plot.signed_image(guided),
        plot.signed_image(guided * cam.resize_map(heat, 224)),
        plot.grey_image(np.abs(rec.image_gradient(target=class_id)[0]).max(axis=0)),
    ]


rows = [[seen(xs[subject]), *pictures(net, xs[subject], top[name, subject])] for name, net in nets.items()]
row_titles = [f"{name}\n{net.labels[top[name, subject]]}" for name, net in nets.items()]
plot.grid(rows, row_titles, ["seen", "Grad-CAM", "guided backprop", "guided Grad-CAM", "saliency"], size=1.7)

# %% [markdown]
# *What to see: one row per network, for the class it prefers. With ImageNet weights, Grad-CAM should lie on the part of
# the cat that speaks for the class. With random values Grad-CAM is a map of nothing. It looks plausible all the same:
# it is brightest somewhere in the middle, and in the middle of a photograph is what was photographed. And guided
# backpropagation draws the cat, whiskers included. None of this is knowledge; we come back to it.*

# %%
for name, shape in (("vgg16", (14, 14)), ("resnet50_v2", (7, 7))):
    signed = cam.grad_cam(nets[name], xs[subject], target=top[name, subject], relu=False)
    assert signed.shape == (1, *shape) and np.abs(signed).max() > 0
    guided, plain = (
        cam.image_gradient(nets[name], xs[subject], target=top[name, subject], rule=rule)
        for rule in ("guided", "plain")
    )
    assert not np.allclose(guided, plain, atol=1e-3 * np.abs(plain).max())

# %% [markdown]
# ## conv3 or the input of the global pooling?
#
# The forum's user took the last convolution of ResNet50v2. It lies inside a residual branch: its map shows what the
# last block *changes*. The input of the global pooling has everything.
#
# > **Predict.** Two statements hold for any values of the weights, trained or not. Which?
# > (a) The map of conv3 plus the map of the shortcut is the map of their sum.
# > (b) conv3's map lies on the object.
# > (c) At the input of the pooling the signed map of Grad-CAM, summed over all positions, plus the bias, is the logit.

# %%
resnet = nets["resnet50_v2"]
if "resnet50_v2" not in trained:
    resnet.output.bias.set_data(
        mx.nd.random.normal(shape=resnet.output.bias.shape)
    )  # else all zeros, and (c) no test of it
block = "features.8.2"  # the last bottleneck
layers = [f"{block}.conv3", block, "features.10"]
recs = {name: cam.record(resnet, x, layers, image_gradient=False) for name, x in xs.items()}
for name, rec in recs.items():
    target = top["resnet50_v2", name]
    branch, both, signed = (cam.grad_cam_of(rec, target=target, layer=layer, relu=False)[0] for layer in layers)
    shortcut = cam.decompose(resnet, xs[name], block, target=target)["shortcut"][0]
    logit = rec.logits[0, target]
    bias = resnet.output.bias.data().asnumpy()[target]
    scale = np.abs(both).max()
    compare(f"(a) {name}", (branch + shortcut) / scale, both / scale)
    compare(f"(c) {name}", (signed.sum() + bias) / logit, 1)
    assert np.allclose(branch + shortcut, both, atol=1e-4 * scale)
    assert np.isclose(signed.sum() + bias, logit, rtol=1e-3, atol=1e-3 * np.abs(signed).max())

# %%
rows = [
    [seen(x)]
    + [
        plot.overlay(seen(x), cam.grad_cam_of(recs[name], target=top["resnet50_v2", name], layer=layer)[0])
        for layer in layers[::2]
    ]
    for name, x in xs.items()
]
plot.grid(rows, [f"{name}\n{resnet.labels[top['resnet50_v2', name]]}" for name in xs], ["seen", "conv3", "GAP input"])

# %% [markdown]
# *What to see: three photographs, each with the map of the forum's layer and of the right one, for ResNet50v2's first
# choice. With ImageNet weights, judge whether they differ; below we measure it. With random values both are arbitrary,
# and both look as if they were not.*
#
# (a) and (c) are arithmetic, so they hold even for a network that knows nothing. Such identities test your *code*. They
# cannot tell whether a map is worth anything: (b) needs a mask, and a trained network.

# %% [markdown]
# ## A map of an untrained network means nothing
#
# > **Predict.** We take the embedded VGG16 and replace all its values by random ones. Of what its Grad-CAM puts on
# > either of two objects, which share will fall on the right one? And what will guided backpropagation look like?

# %%
embedded = {name: make() for name, make in makers.items()}
blank = cam.vgg16()
blank.initialize(mx.init.Xavier(rnd_type="gaussian", factor_type="in", magnitude=2), force_reinit=True)
seeds = scenes.TEST_SEEDS[:30]
shares = {}
print(f"{'':8} share on the right object  nothing  share of the others")
for title, net in (("trained", embedded["vgg16"]), ("random", blank)):
    one = evaluation.evaluate(net, seeds)
    something = one.on_objects > 0
    shares[title] = metrics.bootstrap(one.share[something])
    print(f"{title:8} {metrics.bootstrap(one.share)!s:26} {1 - something.mean():.2f}     {shares[title]}")

# %%
assert shares["random"].high < shares["trained"].low
assert abs(shares["random"].mean - 0.5) < 0.15  # one half is chance

# %% [markdown]
# A map with nothing on either object has no share and counts as 0, as in lesson 5; "nothing" says how many there are.
# The last column leaves them out, so that chance is one half there.
#
# Grad-CAM passes this test (Adebayo et al. 2018 call it model randomisation): without training, nothing is left of
# *which object*. Now guided backpropagation, of the same network that has learnt nothing.


# %%
def edges(picture):
    """How much each pixel differs from its neighbours, without any network: numpy (H, W)."""
    grey = picture.mean(axis=2)
    return np.hypot(*np.gradient(grey))


drawn = {name: cam.guided_backprop(blank, x, target=0)[0] for name, x in xs.items()}
figure, axes = plt.subplots(1, 3, figsize=(7, 2.6), layout="constrained")
for axis, picture, title in (
    (axes[0], seen(xs[subject]), "seen"),
    (axes[1], plot.signed_image(drawn[subject]), "guided backprop, random values"),
    (axes[2], plot.grey_image(edges(seen(xs[subject]))), "edges, no network"),
):
    axis.imshow(picture)
    axis.set(xticks=[], yticks=[])
    axis.set_title(title, fontsize=9)
plt.show()

# %%
print("correlation of each guided picture with the edges of", ", ".join(xs))
for name, guided in drawn.items():
    strength = np.abs(guided).max(axis=0).ravel()
    likeness = {other: np.corrcoef(strength, edges(seen(x)).ravel())[0, 1] for other, x in xs.items()}
    print(f"{name:8}", " ".join(f"{value:5.2f}" for value in likeness.values()))
    assert max(likeness, key=likeness.get) == name  # each most like its own photograph

# %% [markdown]
# *What to see: in the middle, guided backpropagation of the VGG16 with random values, for class 0. It draws the cat.
# More or less strongly it is like the edges of its own photograph (right; the numbers above), and of no other. A sharp
# picture is no evidence that a network has seen anything.*

# %% [markdown]
# ## What do the embedded networks say to a photograph?
#
# They know 20 cut-outs and have no answer "something else".

# %%
sureness = []
for name, net in embedded.items():
    for photograph, x in xs.items():
        p = probabilities(net, x)
        sureness.append(p.max())
        print(f"{name:12} {photograph:8} {net.labels[p.argmax()]:15} {p.max():.2f}")
possible = {"tabby", "tiger cat", "Egyptian cat", "espresso", "cup", "missile", "projectile"}
assert not possible & set(embedded["vgg16"].labels)  # none of the answers could be right
assert max(sureness) > 0.9

# %% [markdown]
# Every answer is wrong, and at least one is given with confidence. A network never says "I was not trained on this".

# %% [markdown]
# ## The scenes again, with masks
#
# The 20 classes of our scenes are ImageNet classes, so ImageNet networks can be measured against our masks too:
# cut-outs on a smooth background are unusual pictures for them, but the names are the same. Where ImageNet weights are
# here, the next cell measures those networks; otherwise it measures the embedded ones, with the same code.
#
# > **Predict.** For ResNet50v2: which layer puts more of its evidence on the right animal, conv3 or the input of the
# > pooling?

# %%
subjects = {name: nets[name] for name in trained} or embedded
candidates = {"vgg16": ["features.29"], "resnet50_v2": [f"{block}.conv3", "features.10"]}


def measure(net, layers, seeds):
    """Share on the right object and energy in the mask for both objects of each scene: {layer: (results, 2)}."""
    found = {layer: [] for layer in layers}
    for seed in seeds:
        scene = scenes.draw(seed)
        rec = cam.record(net, cam.load_image(scene.image), layers, image_gradient=False)
        for label, mask, other in zip(scene.labels, scene.masks, scene.masks[::-1]):
            for layer in layers:
                heat = cam.grad_cam_of(rec, target=label, layer=layer)[0]
                found[layer].append((metrics.share_on_object(heat, mask, other), metrics.energy_in_mask(heat, mask)))
    return {layer: np.array(results) for layer, results in found.items()}


seeds = scenes.TEST_SEEDS[:20]
area = np.mean([scenes.draw(seed).masks.mean(axis=(1, 2)) for seed in seeds])
measured = {}
for name, net in subjects.items():
    print(f"{name}, {'ImageNet weights' if name in trained else 'embedded'}; energy by chance {area:.3f}")
    measured[name] = measure(net, candidates[name], seeds)
    for layer, results in measured[name].items():
        share, energy = (metrics.bootstrap(column) for column in results.T)
        print(f"  {layer:20} share {share}  energy {energy}")

# %%
if "resnet50_v2" in subjects:
    conv3, pooled = measured["resnet50_v2"].values()
    difference = metrics.bootstrap((pooled - conv3)[:, 0])
    print("share, input of the pooling minus conv3:", difference)
    if difference.low > 0:
        print("the input of the pooling puts more on the right object")
    elif difference.high < 0:
        print("conv3 puts more on the right object")
    else:
        print("twenty scenes do not tell the two layers apart")
    assert "resnet50_v2" in trained or difference.low > 0  # of the embedded net we know it

# %% [markdown]
# The label is all that `measure` needs: `cam` finds "african elephant" among ImageNet's "African elephant, Loxodonta
# africana", takes synset ids ("n02391049" is the zebra) and refuses a name that several classes share:

# %%
try:
    cam.grad_cam(resnet, xs["coffee"], target="crane")
    raise RuntimeError("two classes are called crane")
except cam.ClassError as error:
    print(error)
zebra = [cam.grad_cam(resnet, xs["coffee"], target=name, relu=False) for name in ("zebra", "n02391049", 340)]
assert all(np.array_equal(heat, zebra[0]) for heat in zebra)

# %% [markdown]
# ## On your own
#
# **1.** A cat has several names. Explain the photograph for "tabby", "Egyptian cat" and "tiger cat" with ResNet50v2.
# How similar are the three maps, and what does that say about the three classes?

# %% jupyter={"source_hidden": true} tags=["solution"]
cats = ["tabby", "Egyptian cat", "tiger cat"]
rec = cam.record(resnet, xs["chelsea"], image_gradient=False)
maps = np.array([cam.grad_cam_of(rec, target=cat, relu=False)[0].ravel() for cat in cats])
wanted = resnet.output.weight.data().asnumpy()[[resnet.labels.index(cat) for cat in cats]]  # (3, 2048)
pairs = np.triu_indices(3, 1)
alike = {"their weights": np.corrcoef(wanted)[pairs], "their maps": np.corrcoef(maps)[pairs]}
for what, values in alike.items():
    print(f"{what:14} tabby-Egyptian {values[0]:5.2f}, tabby-tiger {values[1]:5.2f}, Egyptian-tiger {values[2]:5.2f}")
assert alike["their maps"].max() < 1 - 1e-6  # three maps, not three times the same
assert "resnet50_v2" in trained or np.abs(alike["their weights"]).max() < 0.1 < np.abs(alike["their maps"]).max()
# What to expect (and to check, if you have the weights): a trained net uses much the same channels for classes that look
# alike, so their maps are alike as well. A map says where the evidence is, and rarely why one name won over its neighbour.
# With random values the weights of two classes have nothing in common, and still two maps can be alike, or opposite: both
# are made of the same 2048 channels, and those have much in common.

# %% [markdown]
# **2.** `fit="crop"` shows the network only the middle. Which part of the rocket's photograph does it see? Compare with
# "letterbox" and "squash": which of the three would you choose if the object were at the edge?

# %% jupyter={"source_hidden": true} tags=["solution"]
width, height = photographs["rocket"].size
print(f"crop sees {(224 / 256 * min(width, height)) ** 2 / (width * height):.0%} of the picture")
fits = {fit: cam.load_image(photographs["rocket"], fit=fit) for fit in ("crop", "letterbox", "squash")}
figure, axes = plt.subplots(1, 3, figsize=(7, 2.6), layout="constrained")
for axis, (fit, x) in zip(axes, fits.items()):
    p = probabilities(resnet, x)
    axis.imshow(seen(x))
    axis.set(xticks=[], yticks=[])
    axis.set_title(f"{fit}: {resnet.labels[p.argmax()]} {p.max():.2f}", fontsize=9)
plt.show()
assert len({x.shape for x in fits.values()}) == 1
assert not np.array_equal(fits["letterbox"].asnumpy(), fits["squash"].asnumpy())

# %% [markdown]
# *What to see: the same photograph in three fits, with ResNet50v2's first choice. For an object at the edge take
# "letterbox": nothing is lost or distorted, at the price of a smaller object and grey bars that the network was not
# trained on.*

# %% [markdown]
# **3.** Damage a file of weights: cut it in half; then change one byte in the middle of its numbers. Which of the two
# is noticed, and what would notice the other one?

# %% jupyter={"source_hidden": true} tags=["solution"]
source = weights.embedded("vgg16")
data = bytearray(source.read_bytes())
with tempfile.TemporaryDirectory() as folder:
    damaged = Path(folder) / "damaged.params"
    damaged.write_bytes(data[: len(data) // 2])
    try:
        cam.vgg16(weights=damaged)
        raise RuntimeError("half a file was loaded")
    except cam.WeightsError as error:
        print(str(error).replace(folder, "..."))
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    changed = cam.vgg16(weights=damaged)  # loads without a word
    checksums = [weights.digest(path)[:16] for path in (source, damaged)]
print("sha256 of the right file and of the damaged one:", *checksums)
assert checksums[0] != checksums[1]
parameters = zip(changed.collect_params().values(), embedded["vgg16"].collect_params().values())
assert sum((one.data() != other.data()).sum().asscalar() for one, other in parameters) == 1  # one number is wrong
# No reader can tell one number from another. That is why `weights="imagenet"` and the embedded files are compared with
# their sha256 first, and why the old zoo wrote a part of the checksum into each file's name.

# %% [markdown]
# **Rule of thumb.** Before a map of a photograph, check in this order: the file (its sha256), the picture as the
# network gets it, the first five names. Then compare the map with the same network's without training. What looks the
# same there, the network has not learnt.
#
# **Next** (planned): does it work on *your* network?
