# %% by_hand
# Hint: Subtract 127, divide by 128, and move the channels to the front.
by_hand = np.moveaxis((pixels.astype(np.float32) - 127) / 128, -1, 0)


# %% paired
# Hint: `by_scene` of one layer minus `by_scene` of the other, then `metrics.bootstrap`.
def paired(better, worse, measure):
    return metrics.bootstrap(by_scene(better, measure) - by_scene(worse, measure))


# %% exercise_1
# Hint: `cam.explain(net, "photographs/rocket.jpg", fit="letterbox")`; `placement.seen()` says what was seen.
for fit in ("crop", "letterbox"):
    rocket = cam.explain(net, "photographs/rocket.jpg", fit=fit)
    seen = rocket.placement.seen().mean()
    print(f"{fit:9} sees {seen:.0%} of the picture: {rocket.label} {rocket.probability:.2f}")
assert rocket.label == "drilling platform" and seen == 1
# "crop" sees the middle half, where the rocket stands. With "letterbox" the tall towers at both sides come in, and the
# first name is another one. Nothing is lost, at the price of a smaller object and of grey bars, on which the network was
# not trained.

# %% exercise_2
# Hint: `cam.grad_cam_of(rec, target=label, relu=False)` and `np.corrcoef`.
cats = ["tabby", "Egyptian cat", "tiger cat"]
rec = cam.record(net, xs["chelsea"], image_gradient=False)
maps = np.array([cam.grad_cam_of(rec, target=cat, relu=False)[0].ravel() for cat in cats])
for cat, row in zip(cats, np.corrcoef(maps)):
    print(f"{cat:13}", "correlation with the three:", " ".join(f"{value:5.2f}" for value in row))
# A map says where the evidence is, and rarely why one name won over its neighbour.

# %% exercise_3
# Hint: The bias is `net.output.bias.data()`, the class `found["coffee"].target`; compare with `found["coffee"].logit`.
one = found["coffee"]
signed = cam.grad_cam(net, xs["coffee"], target=one.target, relu=False)[0]
bias = net.output.bias.data()[one.target].asscalar()
print(f"map {signed.sum():.4f} + bias {bias:.4f} = {signed.sum() + bias:.4f}; the logit is {one.logit:.4f}")
assert np.isclose(signed.sum() + bias, one.logit, rtol=1e-4)
