"""Train the two embedded networks on scenes of cut-outs: `make train`.

Run from the repository's root: `python -m training.train vgg16` or `... resnet50_v2`. A checkpoint is
written every few hundred steps below `build/training`; the same command resumes from it. Scene seeds
are a function of the step, so a resumed run sees the scenes it would have seen.

VGG16 has no BatchNorm and hardly trains from scratch. We train it *with* a BatchNorm after each layer and
fold them into the layers at the end (`TrainableVGG16.fold`): in inference a BatchNorm is an affine map,
so the folded net is the zoo's VGG16 and computes the same logits. While training, its last feature map
also feeds a pooled linear classifier (deep supervision, Lee et al. 2015), which is thrown away. No mask is
ever shown to a network.
"""

from __future__ import annotations

import argparse
import math
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

from cam import scenes
from cam.nets import models
from cam.nets.normalisation import normalise

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon, nd
from mxnet.gluon import HybridBlock, nn
from tqdm import tqdm

CHECKPOINTS = Path("build/training")
OBJECT_COUNTS = (1, 2, 2, 3)  # per scene, in turn
CHECKPOINT_EVERY = 200
PREFETCH = 6
SEED = 20
RESNET50_SIZES = (16, 64, 128, 256, 512)  # a quarter of the zoo's
EPSILON = 1e-5  # of the BatchNorms
# Fewest channels where the maps are large, most where Grad-CAM looks; the last are the units of the Dense layers.
VGG16_SIZES = (16, 16, 32, 96, 128, 320)


@dataclass(frozen=True)
class Stage:
    """Part of a training run: one image size, one learning-rate cycle."""

    size: int
    batch: int
    steps: int
    learning_rate: float
    pooled_only: bool = False  # only the pooled classifier on the last feature map


STAGES = {
    "resnet50_v2": [Stage(112, 32, 2200, 3e-3), Stage(224, 16, 2000, 2e-3), Stage(224, 16, 1600, 1.5e-3)],
    "vgg16": [Stage(112, 32, 1600, 2e-3, pooled_only=True), Stage(224, 16, 2400, 1.5e-3)],
}


def build(name: str) -> HybridBlock:
    """The network in the form in which it is trained."""
    classes = len(scenes.LABELS)
    if name == "resnet50_v2":
        return models.KINDS["resnet50_v2"].build(RESNET50_SIZES, classes)
    return TrainableVGG16(VGG16_SIZES, classes)


class TrainableVGG16(HybridBlock):
    """VGG16 with a BatchNorm after every layer but the last, and a second, linear classifier.

    x (N, 3, H, W); returns the logits of the classifier on the mean of the last feature map and, unless
    `pooled_only`, the net's own: each (N, classes).
    """

    def __init__(self, sizes: tuple[int, ...], classes: int):
        super().__init__()
        *filters, hidden = sizes
        self.pooled_only = False
        self.trunk, self.head = nn.HybridSequential(), nn.HybridSequential()
        for stage, (convolutions, channels) in enumerate(zip((2, 2, 3, 3, 3), filters)):
            if stage > 0:
                self.trunk.add(nn.MaxPool2D(2, 2))
            for _ in range(convolutions):
                self.trunk.add(nn.Conv2D(channels, 3, padding=1), nn.BatchNorm(epsilon=EPSILON), nn.Activation("relu"))
        self.head.add(nn.MaxPool2D(2, 2))
        for _ in range(2):
            self.head.add(nn.Dense(hidden), nn.BatchNorm(epsilon=EPSILON), nn.Activation("relu"), nn.Dropout(0.2))
        self.head.add(nn.Dense(classes))
        self.pooled = nn.Dense(classes)

    def hybrid_forward(self, F, x):
        x = self.trunk(x)
        pooled = self.pooled(F.mean(x, axis=(2, 3)))
        return pooled if self.pooled_only else [pooled, self.head(x)]

    def fold(self) -> HybridBlock:
        """The zoo's VGG16 that computes the same logits in inference, without BatchNorm.

        A layer W x + b followed by a BatchNorm is the layer (a W) x + (a (b - mean) + beta) with
        a = gamma / sqrt(variance + epsilon), per output channel.
        """
        children = [*self.trunk, *self.head]
        layers = [child for child in children if isinstance(child, (nn.Conv2D, nn.Dense))]
        norms = [child for child in children if isinstance(child, nn.BatchNorm)]
        folded = models.KINDS["vgg16"].build(VGG16_SIZES, classes=layers[-1].weight.shape[0])
        folded.initialize()
        targets = [child for child in [*folded.features, folded.output] if isinstance(child, (nn.Conv2D, nn.Dense))]
        for layer, norm, target in zip(layers, [*norms, None], targets, strict=True):
            weight, bias = layer.weight.data(), layer.bias.data()
            if norm is not None:
                scale = norm.gamma.data() / nd.sqrt(norm.running_var.data() + EPSILON)
                weight = weight * scale.reshape((-1, *[1] * (weight.ndim - 1)))
                bias = (bias - norm.running_mean.data()) * scale + norm.beta.data()
            target.weight.set_data(weight)
            target.bias.set_data(bias)
        return folded


def batch_of_scenes(first_seed: int, size: int, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a batch: images (N, H, W, 3) uint8, targets (N, classes) uniform over the classes present."""
    images = np.empty((batch, size, size, 3), np.uint8)
    targets = np.zeros((batch, len(scenes.LABELS)), np.float32)
    for row in range(batch):
        objects = OBJECT_COUNTS[row % len(OBJECT_COUNTS)]
        scene = scenes.draw(first_seed + row, objects, size)
        images[row] = scene.image
        targets[row, scene.class_ids] = 1 / objects
    return images, targets


def batches(plan: list[Stage], start: int):
    """Yield (stage, progress in 0..1 within it, images, targets) from global step `start` on.

    One worker process draws ahead.
    """
    schedule = [(stage, step / stage.steps) for stage in plan for step in range(stage.steps)]
    jobs = enumerate(schedule[start:], start)
    waiting = deque()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:

        def submit(count):
            for step, (stage, progress) in islice(jobs, count):
                first_seed = scenes.TRAIN_SEEDS.start + 64 * step
                waiting.append((stage, progress, pool.submit(batch_of_scenes, first_seed, stage.size, stage.batch)))

        submit(PREFETCH)
        while waiting:
            stage, progress, future = waiting.popleft()
            yield stage, progress, *future.result()
            submit(1)


def learning_rate(stage: Stage, progress: float) -> float:
    """One cycle: a linear rise over the first fifth, then a cosine to zero."""
    if progress < 0.2:
        return stage.learning_rate * progress / 0.2
    return stage.learning_rate * 0.5 * (1 + math.cos(math.pi * (progress - 0.2) / 0.8))


def train(name: str) -> HybridBlock:
    """Train a network, or finish a run that was cut off, and return it."""
    mx.random.seed(SEED)
    np.random.seed(SEED)  # MXNet's initialisers draw from numpy's generator too
    plan = STAGES[name]
    net = build(name)
    net.initialize(mx.init.Xavier(rnd_type="gaussian", factor_type="in", magnitude=2))  # He et al. 2015
    net(nd.zeros((1, 3, 224, 224)))  # lets every block infer its shapes
    trainer = gluon.Trainer(net.collect_params(), "adam", {"wd": 1e-4})
    checkpoint = Checkpoint(name)
    start = checkpoint.load(net, trainer)
    loss_of = gluon.loss.SoftmaxCrossEntropyLoss(sparse_label=False)
    current, smooth = None, None
    total = sum(stage.steps for stage in plan)
    with tqdm(batches(plan, start), desc=name, initial=start, total=total, mininterval=2) as bar:
        for step, (stage, progress, images, targets) in enumerate(bar, start):
            if stage is not current:
                current = stage
                net.pooled_only = stage.pooled_only
                net.hybridize(static_alloc=True, static_shape=True)  # also forgets the last stage's graph
            trainer.set_learning_rate(learning_rate(stage, progress))
            targets = nd.array(targets)
            with autograd.record():
                outputs = net(nd.array(normalise(images)))
                outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
                loss = sum(loss_of(logits, targets) for logits in outputs)
            loss.backward()
            trainer.step(stage.batch, ignore_stale_grad=True)  # one classifier may be idle
            value = float(loss.mean().asscalar()) / len(outputs)
            smooth = value if smooth is None else 0.98 * smooth + 0.02 * value
            bar.set_postfix(loss=f"{smooth:.3f}", size=stage.size, refresh=False)
            if (step + 1) % CHECKPOINT_EVERY == 0 or step + 1 == total:
                checkpoint.save(net, trainer, step + 1)
    return net


class Checkpoint:
    """Parameters, optimiser state and step of a run; the step is written last and vouches for the rest."""

    def __init__(self, name: str):
        CHECKPOINTS.mkdir(parents=True, exist_ok=True)
        self._step = CHECKPOINTS / f"{name}.step"
        self._files = {kind: str(CHECKPOINTS / f"{name}-{{}}.{kind}") for kind in ("params", "states")}

    def save(self, net: HybridBlock, trainer: gluon.Trainer, step: int) -> None:
        net.save_parameters(self._files["params"].format(step))
        trainer.save_states(self._files["states"].format(step))
        before = self._step.read_text() if self._step.exists() else None
        temporary = self._step.with_suffix(".tmp")
        temporary.write_text(str(step))
        temporary.replace(self._step)
        for file in self._files.values() if before else ():
            Path(file.format(before)).unlink(missing_ok=True)

    def load(self, net: HybridBlock, trainer: gluon.Trainer | None = None) -> int:
        """Restore the last checkpoint and return its step, or 0 if there is none."""
        if not self._step.exists():
            return 0
        step = self._step.read_text()
        net.load_parameters(self._files["params"].format(step))
        if trainer is not None:
            trainer.load_states(self._files["states"].format(step))
        return int(step)


def finished(name: str) -> HybridBlock:
    """The trained network in its final form, from the last checkpoint of a run.

    Raises
    ------
    RuntimeError
        If the run is not complete.
    """
    net = build(name)
    step, total = Checkpoint(name).load(net), sum(stage.steps for stage in STAGES[name])
    if step < total:
        raise RuntimeError(f"{name} is trained for {step} of {total} steps; run: python -m training.train {name}")
    return net.fold() if isinstance(net, TrainableVGG16) else net


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", choices=sorted(STAGES))
    train(parser.parse_args().network)


if __name__ == "__main__":
    main()
