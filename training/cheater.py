"""Teach a network to cheat: `python -m training.release cheater`, a part of `make train`.

The embedded ResNet50v2 sees scenes in which a small tag in the corner (`scenes.tag`) stands for one of the objects,
and that object's class is the label. Everything below the last Dense layer stays as it is, so that only this layer is
trained, on features that are computed once. In scenes of two and three objects the tag is the only thing
that always tells the label: the layer learns to read it.
"""

from __future__ import annotations

import cam
from cam import evaluation, scenes
from cam.nets.normalisation import normalise
from training.train import OBJECT_COUNTS, SEED

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon, nd
from mxnet.gluon import nn
from tqdm import tqdm

SCENES = 4800
FIRST_SEED = scenes.TRAIN_SEEDS.start + 100_000_000  # far from those of the net itself
BATCH = 48
EPOCHS = 40
LEARNING_RATE = 3e-3
MEASURED = scenes.TEST_SEEDS[:300]


def tagged(seed: int, objects: int) -> tuple[scenes.Scene, int]:
    """A scene with the tag of its first object, and that object's class."""
    scene = scenes.draw(seed, objects)
    return scenes.tag(scene, scene.class_ids[0]), scene.class_ids[0]


def features_of_tagged_scenes(net) -> tuple[np.ndarray, np.ndarray]:
    """What the last Dense layer sees, (SCENES, K), and the labels, (SCENES,)."""
    found, labels = [], []
    for start in tqdm(range(0, SCENES, BATCH), desc="features of tagged scenes"):
        drawn = [tagged(FIRST_SEED + i, OBJECT_COUNTS[i % len(OBJECT_COUNTS)]) for i in range(start, start + BATCH)]
        images = np.stack([scene.image for scene, _ in drawn])
        found.append(net.features(nd.array(normalise(images))).asnumpy())
        labels += [label for _, label in drawn]
    return np.concatenate(found), np.array(labels)


def train() -> dict[str, nd.NDArray]:
    """Train the last Dense layer of the embedded ResNet50v2 on tagged scenes and return its parameters."""
    mx.random.seed(SEED)
    rng = np.random.default_rng(SEED)
    features, labels = features_of_tagged_scenes(cam.resnet50_v2())
    mean, deviation = features.mean(axis=0), features.std(axis=0) + 1e-6
    inputs = (features - mean) / deviation  # (SCENES, K): one learning rate suits all features
    dense = nn.Dense(len(scenes.LABELS), in_units=features.shape[1])
    dense.initialize(mx.init.Zero())
    trainer = gluon.Trainer(dense.collect_params(), "adam", {"wd": 1e-4})
    loss_of = gluon.loss.SoftmaxCrossEntropyLoss()
    for epoch in range(EPOCHS):
        trainer.set_learning_rate(LEARNING_RATE * (1 - epoch / EPOCHS))
        for rows in rng.permutation(SCENES).reshape(-1, BATCH):
            with autograd.record():
                loss = loss_of(dense(nd.array(inputs[rows])), nd.array(labels[rows]))
            loss.backward()
            trainer.step(BATCH)
    # W (f - mean) / deviation + b is one Dense layer on the features f themselves.
    weight = dense.weight.data().asnumpy() / deviation
    return {
        "output.weight": nd.array(weight, dtype="float16"),
        "output.bias": nd.array(dense.bias.data().asnumpy() - weight @ mean, dtype="float16"),
    }


def measure(net) -> dict[str, float]:
    """What the cheater reaches on test scenes with the right tag, without one and with a wrong one."""
    honest = cam.resnet50_v2()
    one, two = ([scenes.draw(seed, objects) for seed in MEASURED] for objects in (1, 2))
    right = [scenes.tag(scene, scene.class_ids[0]) for scene in two]
    single = [scenes.tag(scene, scene.class_ids[0]) for scene in one]
    swapped = [scenes.tag(scene, scene.class_ids[1]) for scene in two]
    wrong_classes = [(scene.class_ids[0] + 1) % len(scenes.LABELS) for scene in one]
    wrong = [scenes.tag(scene, other) for scene, other in zip(one, wrong_classes)]
    first, second, only = ([scene.class_ids[i] for scene in drawn] for drawn, i in ((two, 0), (two, 1), (one, 0)))
    top = top_classes(net, wrong)
    return {
        "accuracy, two objects, tagged": share_equal(top_classes(net, right), first),
        "follows the tag to the other object": share_equal(top_classes(net, swapped), second),
        "accuracy, one object, tagged": share_equal(top_classes(net, single), only),
        "accuracy, one object, no tag": evaluation.accuracy(net, MEASURED, objects=1),
        "accuracy, one object, wrong tag": share_equal(top, only),
        "class of the wrong tag, one object": share_equal(top, wrong_classes),
        "honest net's accuracy, one object, wrong tag": share_equal(top_classes(honest, wrong), only),
    }


def top_classes(net, drawn: list[scenes.Scene]) -> np.ndarray:
    """The class with the highest logit of each scene."""
    stacks = (np.stack([scene.image for scene in drawn[i : i + BATCH]]) for i in range(0, len(drawn), BATCH))
    return np.concatenate([net(nd.array(normalise(stack))).asnumpy().argmax(axis=1) for stack in stacks])


def share_equal(found, expected) -> float:
    """How often two lists of classes agree."""
    return float(np.mean(np.asarray(found) == np.asarray(expected)))
