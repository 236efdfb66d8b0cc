# %% my_grad_cam
# Hint: `mean(axis=(1, 2))` leaves one number per channel; `alpha[:, None, None]` has the shape (K, 1, 1), which fits A.
def my_grad_cam(A, gradient):
    alpha = gradient.mean(axis=(1, 2))
    signed = (alpha[:, None, None] * A).sum(axis=0)
    return np.maximum(signed, 0)


# %% energy
# Hint: `heat[mask]` are the values inside the mask.
energy = heat[mask].sum() / heat.sum()

# %% exercise_1
# Hint: `plot.draw_signed(axis, heat, 224)` draws it: white is zero, orange speaks for the class, purple against it.
signed = cam.grad_cam(net, x, target=first, layer=layer, relu=False)[0]
figure, axis = plt.subplots(figsize=(3.6, 3), layout="constrained")
shown = plot.draw_signed(axis, signed, 224)
for one_mask, style in zip(scene.masks, ("solid", "dashed")):
    axis.contour(one_mask, [0.5], colors="black", linewidths=1, linestyles=style)
figure.colorbar(shown, label=f"evidence for '{first}'")
show(figure, alt="A signed map: orange inside the solid outline of the zebra, purple and hatched at the dashed drake.")
on_right, on_other = (cam.resize_map(signed, 224)[one_mask].mean() for one_mask in scene.masks)
print(f"mean evidence on the {first} {on_right:.3f}, on the {second} {on_other:.3f}")
assert on_right > 0 > on_other


# %% exercise_2
# Hint: Record each scene with `image_gradient=False`, which is faster.
def shares(drawn):
    """Share on the right object of the wrong and of the right map, for the scene's first animal."""
    one = cam.record(net, cam.load_image(drawn.image), layer, image_gradient=False)
    gradient, A = one.gradient(target=drawn.labels[0])[0], one.features()[0]
    wrong = np.maximum((gradient.mean(axis=0) * A).sum(axis=0), 0)  # all channels summed, weighted by position
    return [metrics.share_on_object(heat, *drawn.masks) for heat in (wrong, my_grad_cam(A, gradient))]


print("this scene:    wrong {:.2f}, right {:.2f}".format(*shares(scene)))
twenty = np.array([shares(scenes.draw(seed)) for seed in seeds[:20]])
print("twenty scenes: wrong", metrics.bootstrap(twenty[:, 0]), "right", metrics.bootstrap(twenty[:, 1]))
assert twenty[:, 0].mean() < twenty[:, 1].mean()
# It asks where all channels together fire and the mean gradient is positive. One scene would not have told the two apart.

# %% exercise_3
# Hint: `evaluation.evaluate(net, seeds, [...])` takes a list of layers and returns a dict with an evaluation for each.
three = evaluation.evaluate(net, seeds, ["features.15", "features.22", "features.29"])
for name, one in three.items():
    empty = int((one.on_objects == 0).sum())
    print(f"{name} share {one.interval('share')}  energy {one.interval('energy')}  nothing on either: {empty}")
# Both put relu5_3 first. But in energy the earlier layers are far above chance, as edges are; their share near one half
# says that they hardly tell one animal from the other. Their channels see parts that many animals have, such as fur or a
# leg. An empty map counts as 0, so a share below one half need not mean that the map points at the wrong animal: count the
# empty ones, as here.
for measure in ("share", "energy"):
    means = [getattr(one, measure).mean() for one in three.values()]
    assert means == sorted(means)
