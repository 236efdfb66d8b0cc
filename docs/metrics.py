"""Draw the pictures of docs/metrics.md, one for each measure, from one scene: `make figures`.

Usage: python docs/metrics.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import cam
from cam import evaluation, metrics, plot, rivals, scenes

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

SEED, TARGET, LAYER = 7, 0, "features.29"  # the zebra, at VGG16's relu5_3
RIGHT, WRONG, TOLERANCE = "#f5b041", "#7d9bd1", 15
SEEDS = scenes.TEST_SEEDS[:40]


def beside() -> tuple[Figure, list[Axes]]:
    """Room for a picture, and for what is beside it."""
    figure, axes = plt.subplots(1, 2, figsize=(5.6, 2.9), layout="constrained")
    axes[0].set(xticks=[], yticks=[])
    return figure, axes


def bars(axis: Axes, values: dict[str, float], colours: list[str]) -> None:
    """One bar a value, with the value above it."""
    drawn = axis.bar(list(values), list(values.values()), color=colours, width=0.6)
    axis.bar_label(drawn, fmt="%.2f")
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
    bars(right, {"energy\nin the mask": found, "the mask's share\nof the image": chance}, [RIGHT, "0.7"])
    right.set_title(f"{found:.2f} / {chance:.2f} = {found / chance:.1f} times chance", fontsize=10)
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


def deletion(scene: scenes.Scene, heat: np.ndarray, net) -> Figure:
    figure, (left, right) = beside()
    image, score = cam.load_image(scene.image).asnumpy()[0], evaluation.score_of(net, scene.labels[TARGET])
    large = cam.resize_map(heat, scene.image.shape[:2])
    left.imshow(np.where((large > np.quantile(large, 0.9))[..., None], 128, scene.image))
    left.set_xlabel("the highest tenth removed")
    for one, name, style in (
        (heat, "Grad-CAM", "-"),
        (rivals.random_map(cam.load_image(scene.image))[0], "random map", "--"),
    ):
        curve = metrics.deletion(one, image, score)
        right.plot(
            np.linspace(0, 1, len(curve)), curve, style, color="black", label=f"{name}, area {metrics.area(curve):.2f}"
        )
    right.set(xlabel="share removed", ylabel=f"probability of {scene.labels[TARGET]}", ylim=(0, None))
    right.legend(fontsize=8, frameon=False, loc="upper right")
    return figure


def edges(image: np.ndarray) -> np.ndarray:
    return rivals.edges(cam.load_image(image))[0]


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
        "pointing": pointing(scene, heat), "overlap": overlap(scene, heat), "deletion": deletion(scene, heat, net),
        "interval": interval(measured), "baseline": baseline(scene, measured),
    }  # fmt: skip
    for name, figure in figures.items():
        figure.savefig(folder / f"metric_{name}.png", dpi=85)
        plt.close(figure)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
