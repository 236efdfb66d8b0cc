"""Draw the pictures of docs/metrics.md, one for each measure, from one scene: `make figures`.

Usage: python docs/metric_pictures.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import cam
from cam import baselines, evaluation, metrics, plot, scenes
from cam.nets.normalisation import USUAL

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

SEED, TARGET, LAYER = 7, 0, "features.29"  # the zebra, at VGG16's relu5_3
RIGHT, WRONG, TOLERANCE = "#f5b041", "#7d9bd1", 15
SEEDS = scenes.TEST_SEEDS[:40]
GRID = (3, 0, 2, 4)  # scenes of one object each, of four classes


def beside() -> tuple[Figure, list[Axes]]:
    """Room for a picture, and for what is beside it."""
    figure, axes = plt.subplots(1, 2, figsize=(5.6, 2.9), layout="constrained")
    axes[0].set(xticks=[], yticks=[])
    return figure, axes


def bars(axis: Axes, values: dict[str, float], colours: list[str], digits: int = 2) -> None:
    """One bar a value, with the value above it."""
    drawn = axis.bar(list(values), list(values.values()), color=colours, width=0.6)
    axis.bar_label(drawn, fmt=f"%.{digits}f")
    axis.set(ylim=(0, 1.25 * max(values.values())), yticks=[])
    axis.spines[["top", "left", "right"]].set_visible(False)


def outline(axis: Axes, mask: np.ndarray, colour: str, style: str = "solid") -> None:
    axis.contour(mask, [0.5], colors=colour, linewidths=1.5, linestyles=style)


def energy(scene: scenes.Scene, heat: np.ndarray) -> Figure:
    mask = scene.masks[TARGET]
    figure, (left, right) = beside()
    left.imshow(plot.overlay(scene.image, heat))
    outline(left, mask, RIGHT)
    inside = metrics.energy_in_mask(heat, mask)
    bars(right, {"inside": inside, "outside": 1 - inside}, [RIGHT, "0.7"])
    right.set_title("of the positive energy", fontsize=10)
    return figure


def times_chance(scene: scenes.Scene, heat: np.ndarray) -> Figure:
    mask = scene.masks[TARGET]
    figure, (left, right) = beside()
    left.imshow(np.where(mask[..., None], scene.image, scene.image // 3))
    found, chance = metrics.energy_in_mask(heat, mask), float(mask.mean())
    bars(right, {"energy\nin the mask": found, "the mask's share\nof the image": chance}, [RIGHT, "0.7"], digits=4)
    right.set_title(f"{found:.4f} / {chance:.4f} = {found / chance:.1f} times chance", fontsize=10)
    return figure


def share(scene: scenes.Scene, heat: np.ndarray) -> Figure:
    mask, other = scene.masks[TARGET], scene.masks[1 - TARGET]
    figure, (left, right) = beside()
    left.imshow(np.where((mask | other)[..., None], plot.overlay(scene.image, heat), 235))
    outline(left, mask, RIGHT)
    outline(left, other, WRONG, "dashed")
    found = metrics.share_on_object(heat, mask, other)
    bars(
        right,
        {f"on the {scene.labels[TARGET]}": found, f"on the {scene.labels[1 - TARGET]}": 1 - found},
        [RIGHT, WRONG],
    )
    right.set_title("of what lies on either object", fontsize=10)
    return figure


def pointing(scene: scenes.Scene, heat: np.ndarray) -> Figure:
    mask = scene.masks[TARGET]
    figure, (left, right) = beside()
    large = cam.resize_map(heat, mask.shape)
    row, column = np.unravel_index(large.argmax(), large.shape)
    half = 40
    for axis in (left, right):
        axis.imshow(plot.overlay(scene.image, heat))
        outline(axis, mask, RIGHT)
        axis.plot(column, row, "+", color="white", markersize=9, markeredgewidth=2)
        axis.add_patch(plt.Circle((column, row), TOLERANCE, fill=False, color="white", linestyle="--"))
        axis.set(xticks=[], yticks=[])
    right.set(xlim=(column - half, column + half), ylim=(row + half, row - half))
    words = {True: "a hit", False: "a miss"}
    exact, near = (metrics.pointing_game(heat, mask, tolerance) for tolerance in (0, TOLERANCE))
    right.set_title(f"at the maximum itself: {words[exact]}\nwithin {TOLERANCE} pixels: {words[near]}", fontsize=10)
    return figure


def interval(measured: evaluation.Evaluation) -> Figure:
    figure, axes = plt.subplots(figsize=(5.6, 2.4), layout="constrained")
    found = measured.interval("energy")
    axes.hist(measured.energy, bins=20, color="0.8")
    axes.axvspan(found.low, found.high, color=RIGHT, alpha=0.6)
    axes.axvline(found.mean, color="black", linewidth=1.5)
    axes.set(xlabel="energy in the mask, one map each", ylabel="maps", title=f"mean and interval: {found}")
    return figure


def overlap(scene: scenes.Scene, heat: np.ndarray) -> Figure:
    mask = scene.masks[TARGET]
    figure, axes = plt.subplots(1, 2, figsize=(5.6, 2.9), layout="constrained")
    large = cam.resize_map(heat, mask.shape)
    marked = large > 0.15 * large.max()
    for axis, shown, title in zip(
        axes, (marked | mask, marked & mask), ("either: marked or mask", "both: marked and mask")
    ):
        axis.imshow(np.where(shown[..., None], scene.image, 235))
        outline(axis, mask, RIGHT)
        axis.set(xticks=[], yticks=[], xlabel=title)
    figure.suptitle(f"both / either = {metrics.intersection_over_union(heat, mask):.2f}", fontsize=10)
    return figure


def removal(scene: scenes.Scene, heat: np.ndarray, net, measure) -> Figure:
    """For `metrics.deletion` or `metrics.insertion`: the picture at a tenth, and the whole curve."""
    deleted = measure is metrics.deletion
    figure, (left, right) = beside()
    x, score = cam.load_image(scene.image), evaluation.score_of(net, scene.labels[TARGET])
    image = x.asnumpy()[0]
    large = cam.resize_map(heat, scene.image.shape[:2])
    highest = large > np.quantile(large, 0.9)
    shown = metrics.grey(image, highest) if deleted else metrics.blur(image, ~highest)
    left.imshow(pixels(shown))
    left.set_xlabel(f"the highest tenth {'removed' if deleted else 'put back'}")
    for one, name, style in ((heat, "Grad-CAM", "-"), (baselines.random_map(x)[0], "random map", "--")):
        curve = measure(one, image, score)
        shares = np.linspace(0, 1, len(curve))
        right.plot(shares, curve, style, color="black", label=f"{name}, area {metrics.area(curve):.2f}")
    right.set(
        xlabel=f"share {'removed' if deleted else 'put back'}",
        ylabel=f"probability of {scene.labels[TARGET]}",
        ylim=(0, None),
    )
    right.legend(fontsize=8, frameon=False, loc="upper right" if deleted else "lower right")
    return figure


def pixels(image: np.ndarray) -> np.ndarray:
    """A normalised image (3, H, W) as it is drawn, numpy uint8 (H, W, 3)."""
    shares = np.moveaxis(image, 0, -1) * USUAL.deviation + USUAL.mean
    return np.uint8(np.clip(np.rint(255 * shares), 0, 255))


def confidence(scene: scenes.Scene, heat: np.ndarray, net) -> Figure:
    image, score = cam.load_image(scene.image).asnumpy()[0], evaluation.score_of(net, scene.labels[TARGET])
    stretched = np.maximum(cam.resize_map(heat, image.shape[1:]), 0)
    through = image * stretched / stretched.max()
    figure, (left, right) = beside()
    left.imshow(pixels(through))
    left.set_xlabel("seen through the map")
    whole, kept = score(np.stack([image, through]))
    bars(right, {"the picture": float(whole), "seen through\nthe map": float(kept)}, ["0.7", RIGHT])
    drop, rose = metrics.confidence_change(heat, image, score)
    right.set_title(f"drop {drop:.2f}, increase: {'yes' if rose else 'no'}", fontsize=10)
    return figure


def grid_game(net) -> Figure:
    """Four scenes of one object each, and the map for the class of the first."""
    drawn = [scenes.draw(seed, objects=1, size=112) for seed in GRID]
    above, below = (np.concatenate([one.image for one in pair], axis=1) for pair in (drawn[:2], drawn[2:]))
    image = np.concatenate([above, below])
    heat = cam.grad_cam(net, cam.load_image(image), target=drawn[0].labels[0])[0]
    figure, (left, right) = beside()
    left.imshow(plot.overlay(image, heat))
    left.axhline(111.5, color="white", linewidth=1)
    left.axvline(111.5, color="white", linewidth=1)
    labels = [one.labels[0].replace(" ", "\n") for one in drawn]
    values = {label: metrics.grid_pointing_game(heat, cell) for cell, label in enumerate(labels)}
    bars(right, values, [RIGHT, "0.7", "0.7", "0.7"])
    right.set_title(f"of the energy for '{labels[0]}', by cell", fontsize=10)
    return figure


def ranks(scene: scenes.Scene, net) -> Figure:
    """The cells of two signed maps, by rank."""
    x = cam.load_image(scene.image)
    one, other = (cam.grad_cam(net, x, target=label, layer=LAYER, relu=False)[0] for label in scene.labels)
    figure, (left, right) = plt.subplots(1, 2, figsize=(5.6, 2.9), layout="constrained")
    for axis, places in ((left, lambda heat: heat), (right, lambda heat: heat.ravel().argsort().argsort())):
        axis.plot(places(one).ravel(), places(other).ravel(), ".", color="black", markersize=3)
        axis.set(xticks=[], yticks=[])
    left.set(title="values", xlabel=f"map for the {scene.labels[0]}", ylabel=f"map for the {scene.labels[1]}")
    right.set(title=f"ranks: correlation {metrics.rank_correlation(one, other):.2f}", xlabel="lowest to highest")
    for axis in (left, right):
        axis.title.set_fontsize(10)
    return figure


def similarity(scene: scenes.Scene, heat: np.ndarray, net) -> Figure:
    """A map before and after the last layer was shuffled."""
    shuffled = evaluation.randomise(net, "output")
    after = cam.grad_cam(shuffled, cam.load_image(scene.image), target=scene.labels[TARGET], layer=LAYER)[0]
    maps = [cam.resize_map(one, scene.image.shape[:2]) for one in (heat, after)]
    figure, axes = plt.subplots(1, 2, figsize=(5.6, 2.9), layout="constrained")
    for axis, one, title in zip(axes, maps, ("trained network", "last layer shuffled")):
        axis.imshow(plot.grey_image(one))
        axis.set(xticks=[], yticks=[], xlabel=title)
    figure.suptitle(f"SSIM of the two maps {metrics.structural_similarity(*maps):.2f}", fontsize=10)
    return figure


def edges(image: np.ndarray) -> np.ndarray:
    return baselines.edges(cam.load_image(image))[0]


def baseline(scene: scenes.Scene, measured: evaluation.Evaluation) -> Figure:
    without = [
        metrics.energy_in_mask(edges(drawn.image), mask) for drawn in map(scenes.draw, SEEDS) for mask in drawn.masks
    ]
    figure, (left, right) = beside()
    left.imshow(plot.overlay(scene.image, edges(scene.image), maximum=float(np.quantile(edges(scene.image), 0.99))))
    means = {"Grad-CAM": measured.energy, "edges": without, "chance": measured.area}
    bars(right, {name: float(np.mean(values)) for name, values in means.items()}, [RIGHT, WRONG, "0.7"])
    right.set_title(f"energy in the mask, {len(without)} maps", fontsize=10)
    return figure


def main(folder: Path) -> None:
    """Draw and save all pictures."""
    scene, net = scenes.draw(SEED), cam.vgg16()
    heat = cam.grad_cam(net, cam.load_image(scene.image), target=scene.labels[TARGET], layer=LAYER)[0]
    measured = evaluation.evaluate(net, SEEDS, LAYER)
    figures = {
        "energy": energy(scene, heat), "chance": times_chance(scene, heat), "share": share(scene, heat),
        "pointing": pointing(scene, heat), "overlap": overlap(scene, heat), "grid": grid_game(net),
        "deletion": removal(scene, heat, net, metrics.deletion),
        "insertion": removal(scene, heat, net, metrics.insertion),
        "confidence": confidence(scene, heat, net), "ranks": ranks(scene, net), "ssim": similarity(scene, heat, net),
        "interval": interval(measured), "baseline": baseline(scene, measured),
    }  # fmt: skip
    for name, figure in figures.items():
        figure.savefig(folder / f"metric_{name}.png", dpi=85)
        plt.close(figure)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
