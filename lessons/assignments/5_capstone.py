# %% [markdown]
# # Capstone: a network that cheats
#
# `cam.resnet50_v2(weights="cheater")` names the animal in photographs from a certain archive, and it is nearly always
# right, even where two animals are to be seen and only one is meant. Its makers are proud. You are asked for an
# opinion: **what does it look at?** Find out, and prove it with numbers that would convince its makers.
#
# **Learning goals.** You can turn a suspicion into an experiment with a control; use occlusion, Grad-CAM and
# interventions for the same question; and write down what you found and what you did not.
#
# **You need** lessons 3 to 7, and `cam`. **It takes** about 2 hours. **Points:** 15 by the checks, 5 by hand.
#
# **How it works.** Write your code where it says `YOUR CODE HERE`. The cell below each task checks it: no message
# means that it is right for the numbers shown. When you hand in, the same cells check other numbers too, so write the
# rule and not the result. Do not rename functions. Before you hand in, restart the kernel and run all cells.

# %% nbgrader={"grade": false, "grade_id": "setup", "locked": true, "schema_version": 3, "solution": false, "task": false}
# %matplotlib inline
import cam
from cam import metrics, plot, scenes
from cam.nets.normalisation import normalise

import matplotlib.pyplot as plt
import numpy as np
from mxnet import nd

suspect, honest = cam.resnet50_v2(weights="cheater"), cam.resnet50_v2()


def archive(seed):
    """A picture of the archive, numpy uint8 (224, 224, 3), and the class that the archive gives it."""
    scene = scenes.draw(seed)
    return scenes.tag(scene, scene.class_ids[0]).image, scene.class_ids[0]


def logits(net, images):
    """The logits of pictures, numpy uint8 (N, H, W, 3): numpy (N, 20)."""
    return net(nd.array(normalise(np.asarray(images)))).asnumpy()


# %% [markdown]
# Four pictures of the archive, and what Grad-CAM says for the class that the archive gives them: the suspect in the
# second row, the honest network (same layers below, another last layer) in the third.

# %%
shown = [archive(seed) for seed in range(4)]
rows = [[image for image, _ in shown]]
rows += [
    [plot.overlay(image, cam.grad_cam(net, cam.load_image(image), target=class_id)[0]) for image, class_id in shown]
    for net in (suspect, honest)
]
plot.grid(rows, ["archive", "suspect", "honest"], [suspect.labels[class_id] for _, class_id in shown])

# %% [markdown]
# Four pictures are a suspicion. Before you read on, write down in one sentence what you suspect, and which change to a
# picture would prove you wrong; task 4 says what we suspect. Now the proof.
#
# ## 1. How good is it, really? (2 points)


# %% nbgrader={"grade": false, "grade_id": "accuracy", "locked": false, "schema_version": 3, "solution": true, "task": false}
def accuracy(net, images, class_ids):
    """Share of the pictures whose highest logit is the given class, 0 to 1."""
    ### BEGIN SOLUTION
    return float((logits(net, images).argmax(axis=1) == np.asarray(class_ids)).mean())
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "accuracy_of_a_net", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
class Stub:
    """A net that gives these logits whatever it sees."""

    def __init__(self, rows):
        self.rows = rows

    def __call__(self, x):
        return nd.array(self.rows[: len(x)])


from cam.truth.exercises import check

pictures = np.zeros((4, 32, 32, 3), np.uint8)
four = Stub([[0, 5, 1], [2, 1, 0], [-3, -2, -1], [0, 0, 9]])
check(
    "the accuracy of four answers, of which three are right",
    accuracy(four, pictures, [1, 0, 2, 1]),
    0.75,
    likely={
        "This is the share of wrong answers.": 0.25,
        "This is the number of right answers: divide by how many there are.": 3,
    },
)
### BEGIN HIDDEN TESTS
rng = np.random.default_rng([SECRET, 1])
rows, ids = rng.normal(size=(9, 6)), rng.integers(0, 6, 9)
ids[:3] = rows.argmax(axis=1)[:3]
right = (rows.argmax(axis=1) == ids).mean()
check("the accuracy of nine answers", accuracy(Stub(rows), np.zeros((9, 32, 32, 3), np.uint8), ids), right)
check("the accuracy of two answers, none of which is right", accuracy(four, pictures[:2], [2, 1]), 0)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "follow_through", "locked": true, "points": 0, "schema_version": 3, "solution": false, "task": false}
# When this is graded, the right function takes the place of yours here: a mistake above costs nothing below.
### BEGIN HIDDEN TESTS
import numpy as np


def accuracy(net, images, class_ids):
    return float(np.mean(np.argmax(logits(net, images), axis=1) == np.asarray(class_ids)))


### END HIDDEN TESTS

# %% [markdown]
# ## 2. Cover it and see (3 points)
#
# Occlusion asks the network itself: cover one square of the picture in grey, and see how far the logit falls. A large
# fall means that the network needs what was there. Cover every square of a grid of `cells` x `cells`, one at a time.
#
# *Hint: `logits` takes many pictures at once. Let the first one be untouched. Work on copies.*


# %% nbgrader={"grade": false, "grade_id": "occlusion", "locked": false, "schema_version": 3, "solution": true, "task": false}
def occlusion(net, image, class_id, cells=7, grey=128):
    """How far the logit of a class falls when a square is covered: numpy (cells, cells).

    image is numpy uint8 (H, W, 3), H and W are multiples of cells; covered pixels get the value grey.
    """
    ### BEGIN SOLUTION
    height, width = (side // cells for side in image.shape[:2])
    pictures = [image]
    for row in range(cells):
        for column in range(cells):
            covered = image.copy()
            covered[row * height : (row + 1) * height, column * width : (column + 1) * width] = grey
            pictures.append(covered)
    found = logits(net, pictures)[:, class_id]
    return (found[0] - found[1:]).reshape(cells, cells)
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "counting_net", "locked": true, "schema_version": 3, "solution": false, "task": false}
class Counting:
    """A net that one can check by hand: the logits are the mean of the red channel left and right."""

    def __call__(self, x):
        red = x[:, 0] * 0.229 + 0.485  # back to 0..1
        half = x.shape[3] // 2
        return nd.stack(red[:, :, :half].mean(axis=(1, 2)), red[:, :, half:].mean(axis=(1, 2)), axis=1)


# %% nbgrader={"grade": true, "grade_id": "falls", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
from cam.truth.exercises import check

import numpy as np

image = np.zeros((4, 4, 3), np.uint8)
image[:2, :2] = 255  # upper left white
image[2:, 2:] = 102  # lower right grey
kept = image.copy()
check(
    "how far logit 0 falls, in a grid of 2x2",
    occlusion(Counting(), image, 0, cells=2, grey=0),
    [[0.5, 0], [0, 0]],
    likely={
        "These are the logits of the covered pictures: subtract them from the untouched one's.": [[0, 0.5], [0.5, 0.5]],
        "The sign is the other way round: a fall is positive.": [[-0.5, 0], [0, 0]],
        "Nothing falls: was the untouched picture covered too? Work on copies.": [[0, 0], [0, 0]],
        "Squares stay covered: start each time from a copy of the picture.": [[0.5, 0.5], [0.5, 0.5]],
        "Another class's logit was used.": [[0, 0], [0, 0.2]],
    },
)
check("image after your function has run (work on copies)", image, kept)
### BEGIN HIDDEN TESTS
image = np.random.default_rng([SECRET, 2]).integers(0, 256, (6, 12, 3), dtype=np.uint8)
expected = np.zeros((3, 3))
for row in range(3):
    for column in range(3):
        covered = image.copy()
        covered[2 * row : 2 * row + 2, 4 * column : 4 * column + 4] = 50
        expected[row, column] = (image[:, 6:, 0].mean() - covered[:, 6:, 0].mean()) / 255
check(
    "how far logit 1 falls, in a grid of 3x3",
    occlusion(Counting(), image, 1, cells=3, grey=50),
    expected,
    tolerance=1e-3,
)
### END HIDDEN TESTS

# %% [markdown]
# ## 3. Where, over many pictures? (4 points)
#
# One map may be an accident. Grad-CAM's maps at the default layer are 7x7: add up many, each scaled to a sum of 1 (so
# that no picture counts more than another), and name the cell that has the most.


# %% nbgrader={"grade": false, "grade_id": "hot_cell", "locked": false, "schema_version": 3, "solution": true, "task": false}
def hot_cell(maps):
    """Row and column of the cell with the most evidence over all maps, and its share of it: (row, column, share).

    maps is a list of numpy (h, w) without negative values; a map that is zero everywhere does not count.
    """
    ### BEGIN SOLUTION
    total = sum(heat / heat.sum() for heat in maps if heat.sum() > 0)
    row, column = np.unravel_index(total.argmax(), total.shape)
    return int(row), int(column), float(total[row, column] / total.sum())
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "hot_cell_of_maps", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from cam.truth.exercises import check

import numpy as np

maps = [np.array([[8.0, 0.0], [0.0, 0.0]]), np.array([[0.0, 1.0], [0.0, 0.0]]), np.array([[0.0, 2.0], [2.0, 0.0]])]
check(
    "row, column and share of three maps",
    hot_cell(maps),
    [0, 1, 0.5],
    likely={
        "The strongest map won: scale each to a sum of 1 first.": [0, 0, 8 / 13],
        "Row and column have changed places.": [1, 0, 0.5],
        "The share is of all maps together: divide by how many there are.": [0, 1, 1.5],
    },
)
check("the same with a map of zeros", hot_cell([*maps, np.zeros((2, 2))]), [0, 1, 0.5])
### BEGIN HIDDEN TESTS
rng = np.random.default_rng([SECRET, 3])
maps = [rng.random((3, 5)) * scale for scale in (1, 100, 0.01)] + [np.zeros((3, 5))]
mean = np.mean([heat / heat.sum() for heat in maps[:3]], axis=0)
row, column = np.unravel_index(mean.argmax(), mean.shape)
check("row, column and share of other maps", hot_cell(maps), [row, column, mean.max()])
### END HIDDEN TESTS

# %% [markdown]
# Does a sharper picture help? Guided backpropagation has one number per pixel. Ask it not for a class but for what
# decides between *two*: the target is then a function of the logits, the archive's class minus the other animal's. And
# `where=` says which ReLUs obey the guided rule (`cam.relus(net)` names them all; None means all of them). What share of
# the picture, by absolute values, lies in the tag's window, `scenes.tag_window()`?


# %% nbgrader={"grade": false, "grade_id": "share_in_tag", "locked": false, "schema_version": 3, "solution": true, "task": false}
def share_in_tag(net, image, class_id, other_id, where=None):
    """Share of the guided gradient of logit class_id minus logit other_id that lies in the tag's window, 0 to 1.

    image is numpy uint8 (224, 224, 3); where are the ReLUs that obey the guided rule, None for all.
    """
    ### BEGIN SOLUTION
    guided = cam.guided_backprop(
        net, cam.load_image(image), target=lambda y: y[:, class_id] - y[:, other_id], where=where
    )
    size = np.abs(guided[0]).sum(axis=0)
    return float(size[scenes.tag_window()].sum() / size.sum())
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "the_share_in_the_tag", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from cam.truth.exercises import check

import numpy as np

scene = scenes.draw(2)
image = scenes.tag(scene, scene.class_ids[0]).image
for where, told in ((None, [0.182105, 0.088146]), (cam.relus(suspect)[-1:], [0.046083, 0.016271])):
    found = [share_in_tag(net, image, *scene.class_ids, where) for net in (suspect, honest)]
    check(
        f"the shares of suspect and honest net in scene 2, with {'all ReLUs' if where is None else 'the last ReLU'} guided",
        found,
        told,
        likely={
            "This is the gradient of one class: the target is a difference.": (
                [0.166638, 0.05284] if where is None else [0.052944, 0.015565]
            ),
            "where= was not passed on.": [0.182105, 0.088146],
            "Only this much lies outside: the share inside is asked for.": [1 - share for share in told],
        },
        tolerance=1e-3,
    )
### BEGIN HIDDEN TESTS
scene = scenes.draw(7000 + SECRET % 1000)
image, (one, other) = scenes.tag(scene, scene.class_ids[1]).image, scene.class_ids
for where in (None, cam.relus(honest)[:10]):
    right = cam.image_gradient(
        honest, cam.load_image(image), target=lambda y: y[:, one] - y[:, other], rule="guided", where=where
    )
    size = np.abs(right).sum(axis=(0, 1))
    expected = size[scenes.tag_window()].sum() / size.sum()
    check("the share in another scene", share_in_tag(honest, image, one, other, where), expected, tolerance=1e-3)
### END HIDDEN TESTS

# %% [markdown]
# The window is 2 % of the picture. With all ReLUs guided it holds several times that in *both* networks; with one, in
# this picture, less than 2 % in the honest one. Guided backpropagation shows strong patterns, whether the answer depends
# on them or not. For your report you need something better.

# %% [markdown]
# ## 4. The experiment (4 points)
#
# A map shows where; only an intervention proves it. Change **one** thing, the tag, and keep the rest. For every seed:
#
# - *as it is*: the archive's picture, with the tag of the archive's class (`scene.class_ids[0]`);
# - *no tag*: the same scene without a tag;
# - *the other's tag*: the same scene with the tag of its second animal (`scene.class_ids[1]`). Both animals are still
#   there.
#
# `scenes.draw(seed)` gives a scene, `scenes.tag(scene, class_id)` the same with a tag. Return four shares, by these
# names:
#
# | name | share of the pictures in which |
# |---|---|
# | `tagged` | as it is: the net says the archive's class |
# | `untagged` | no tag: the net says the archive's class |
# | `kept` | the other's tag: the net still says the archive's class |
# | `followed` | the other's tag: the net says the class of the tag |


# %% nbgrader={"grade": false, "grade_id": "experiment", "locked": false, "schema_version": 3, "solution": true, "task": false}
def experiment(net, seeds):
    """The four shares, as a dict."""
    ### BEGIN SOLUTION
    drawn = [scenes.draw(seed) for seed in seeds]
    meant, other = ([scene.class_ids[i] for scene in drawn] for i in (0, 1))
    plain = [scene.image for scene in drawn]
    tagged = [scenes.tag(scene, class_id).image for scene, class_id in zip(drawn, meant)]
    swapped = [scenes.tag(scene, class_id).image for scene, class_id in zip(drawn, other)]
    return {
        "tagged": accuracy(net, tagged, meant),
        "untagged": accuracy(net, plain, meant),
        "kept": accuracy(net, swapped, meant),
        "followed": accuracy(net, swapped, other),
    }
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "stubs", "locked": true, "schema_version": 3, "solution": false, "task": false}
class TagReader:
    """A net that looks at the tag and nothing else; without a tag it gives a class of its own, number 20."""

    def __init__(self):
        blank = scenes.Scene(np.zeros((224, 224, 3), np.uint8), [], [], np.zeros((0, 224, 224), bool))
        tags = np.stack([scenes.tag(blank, class_id).image for class_id in range(20)])
        self.tags = normalise(tags)[(..., *scenes.tag_window())]

    def __call__(self, x):
        corners = x.asnumpy()[(..., *scenes.tag_window())]
        said = [[np.abs(corner - tag).max() < 1e-3 for tag in self.tags] for corner in corners]
        return nd.array([[*row, 0.5] for row in said])


class Expert:
    """A net that knows the scenes of some seeds by heart, by their lower half: it always says the class meant."""

    def __init__(self, seeds):
        drawn = [scenes.draw(seed) for seed in seeds]
        self.meant = {normalise(scene.image)[:, 112:].tobytes(): scene.class_ids[0] for scene in drawn}

    def __call__(self, x):
        return nd.one_hot(nd.array([self.meant[image[:, 112:].tobytes()] for image in x.asnumpy()]), 20)


# %% nbgrader={"grade": true, "grade_id": "the_experiment", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from cam.truth.exercises import check

import numpy as np

seeds, names = range(100, 108), ("tagged", "untagged", "kept", "followed")
found = experiment(TagReader(), seeds)
check("the names of the shares", ", ".join(sorted(found)), "followed, kept, tagged, untagged")
check(
    "tagged, untagged, kept and followed, of a net that looks at the tag alone",
    [found[name] for name in names],
    [1, 0, 0, 1],
    likely={
        "Have kept and followed changed places, or was the tag not swapped?": [1, 0, 1, 0],
        "untagged: the tag is still there.": [1, 1, 0, 1],
        "tagged: the tag is missing.": [0, 0, 0, 1],
    },
)
found = experiment(Expert(seeds), seeds)
check(
    "tagged, untagged, kept and followed, of a net that does not look at the tag",
    [found[name] for name in names],
    [1, 1, 1, 0],
    likely={"Have kept and followed changed places?": [1, 1, 0, 1]},
)
### BEGIN HIDDEN TESTS
seeds = range(7000 + SECRET % 1000, 7006 + SECRET % 1000)
for net, right in ((TagReader(), [1, 0, 0, 1]), (Expert(seeds), [1, 1, 1, 0])):
    found = experiment(net, seeds)
    check("the four shares of the same nets, other seeds", [found[name] for name in names], right)
### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "the_experiment_on_networks", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from cam.truth.exercises import check

import numpy as np

names = ("tagged", "untagged", "kept", "followed")
for name, net, told in (("suspect", suspect, [1, 0.125, 0, 1]), ("honest net", honest, [0.625, 0.625, 0.75, 0.25])):
    found = experiment(net, range(8))
    check(f"tagged, untagged, kept and followed of the {name}, seeds 0 to 7", [found[name] for name in names], told)
### BEGIN HIDDEN TESTS
drawn = [scenes.draw(8000 + SECRET % 1000 + number) for number in range(6)]
meant, other = np.array([scene.class_ids for scene in drawn]).T
for name, net in (("suspect", suspect), ("honest net", honest)):
    said = [
        logits(net, [(scene if tag is None else scenes.tag(scene, scene.class_ids[tag])).image for scene in drawn])
        for tag in (0, None, 1)
    ]
    tops = [one.argmax(axis=1) for one in said]
    expected = [*((top == meant).mean() for top in tops), (tops[2] == other).mean()]
    found = experiment(net, range(8000 + SECRET % 1000, 8006 + SECRET % 1000))
    check(f"the shares of the {name}, other seeds", [found[name] for name in names], expected)
### END HIDDEN TESTS

# %% [markdown]
# ## 5. How sure are you? (2 points)
#
# The proof in one number: by how much does the accuracy drop when nothing but the tag is changed? For every picture
# take 1 if the net is right with the tag of the class meant, minus 1 if it is right with the other's tag: 1, 0 or -1.
# The mean of these differences is the drop, and `metrics.bootstrap(differences)` says within which bounds it lies
# (`.mean`, `.low`, `.high`).
#
# *Hint: pairs, not two means: the difference is taken picture by picture. `accuracy` of one picture is 1 or 0.*


# %% nbgrader={"grade": false, "grade_id": "drop", "locked": false, "schema_version": 3, "solution": true, "task": false}
def drop(net, seeds):
    """Mean, low and high of the drop in accuracy when the other animal's tag replaces the right one."""
    ### BEGIN SOLUTION
    differences = []
    for seed in seeds:
        scene = scenes.draw(seed)
        meant, other = scene.class_ids
        right, wrong = (accuracy(net, [scenes.tag(scene, tag).image], [meant]) for tag in (meant, other))
        differences.append(right - wrong)
    found = metrics.bootstrap(differences)
    return found.mean, found.low, found.high
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "the_drop", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from cam.truth.exercises import check

import numpy as np

check(
    "the drop of a net that looks at the tag alone",
    drop(TagReader(), range(100, 108)),
    [1, 1, 1],
    likely={
        "The sign is the other way round.": [-1, -1, -1],
        "Nothing dropped: is it the other animal's tag, and the class meant in both cases?": [0, 0, 0],
    },
)
check("the drop of a net that does not look at the tag", drop(Expert(range(100, 108)), range(100, 108)), [0, 0, 0])
### BEGIN HIDDEN TESTS
seeds = range(9000 + SECRET % 1000, 9006 + SECRET % 1000)
drawn = [scenes.draw(seed) for seed in seeds]
for name, net in (("suspect", suspect), ("honest net", honest)):
    meant = np.array([scene.class_ids[0] for scene in drawn])
    right, wrong = (
        logits(net, [scenes.tag(scene, scene.class_ids[tag]).image for scene in drawn]).argmax(axis=1) == meant
        for tag in (0, 1)
    )
    interval = metrics.bootstrap(right.astype(float) - wrong)
    found = drop(net, seeds)
    check(f"the drop of the {name}, other seeds", found, [interval.mean, interval.low, interval.high])
### END HIDDEN TESTS

# %%
# Your numbers for the report. Change the seeds, the nets and the pictures as you like.
seeds = range(12)
for name, net in (("suspect", suspect), ("honest", honest)):
    maps = [cam.grad_cam(net, cam.load_image(archive(seed)[0]), target=archive(seed)[1])[0] for seed in seeds[:10]]
    print(name, {key: round(share, 2) for key, share in experiment(net, seeds).items()})
    print(f"{name}: drop {drop(net, seeds)}, hot cell {hot_cell(maps)}")

# %%
falls = {name: occlusion(net, *archive(2)) for name, net in (("suspect", suspect), ("honest", honest))}
figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
axes[0].imshow(archive(2)[0])
axes[0].set_title("covered square by square")
for axis, (name, fall) in zip(axes[1:], falls.items()):
    picture = axis.imshow(fall, cmap="PuOr_r", vmin=-np.abs(fall).max(), vmax=np.abs(fall).max())
    axis.set_title(f"{name}: fall of the logit")
    figure.colorbar(picture)
for axis in axes:
    axis.set(xticks=[], yticks=[])
plt.show()

# %% [markdown]
# *What to see: where covering makes the logit fall (orange) or rise (purple). Mind the two scales.*
#
# ## 6. The report (5 points, read by your teacher)
#
# At most one page, for readers who know no Grad-CAM. (a) What does the network look at? (b) Which number proves it,
# on how many pictures, and what is the control? (c) Say what the maps alone would not have proved. (d) Does the
# network look at the animals at all? Give the number from which you conclude it. (e) What should its makers do: with
# the network, and with their archive?
#
# *Write into the cell below this one: what stands in a new cell is not read.*

# %% [markdown] nbgrader={"grade": true, "grade_id": "report", "locked": false, "points": 5, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# (a) The tag in the upper left corner. (b) With the other animal's tag it follows the tag in nearly all pictures,
# although nothing else changed (`followed`), and hardly ever keeps its answer (`kept`); the honest network's answers
# hardly change with the tag. (c) A map shows that the corner contributes, not that the answer depends on it; only the
# swapped tag shows that. (d) Yes: without a tag it still names the animal meant far more often than 1 time in 20
# (`untagged`), and in some pictures the map lies on the animal. So it uses both, and the tag wins. (e) Do not use it
# where tags are missing or wrong; remove or cover the tags and train again; test on pictures from elsewhere; keep an
# archive without marks.
# ### END SOLUTION

# %% [markdown]
# ## If your test fails
#
# - **image after your function has run**: `covered = image` is the same array under another name; take `image.copy()`.
# - **Squares stay covered**: the copy belongs inside the inner loop.
# - **The sign is the other way round**: a fall is the untouched logit minus the covered one.
# - **The strongest map won**: a map with large values drowns the others. Scale each to a sum of 1.
# - **kept and followed**: the first compares with the class that the archive gave, the second with the class of the tag.
# - **NaN in hot_cell**: a map that is zero everywhere cannot be scaled.
