# %% product
# Hint: The small map must first get the size of the picture: `cam.resize_map(heat, (height, width))`.
def product(guided, heat):
    return guided * cam.resize_map(heat, guided.shape[-2:])


# %% right_pool
# Hint: `autograd.train_mode()` and `autograd.predict_mode()` change the mode for the lines inside a `with`.
def right_pool(z):
    with autograd.train_mode():  # in which a pooling writes down where its maxima are
        return stock_pool(z)


# %% exercise_1
# Hint: `rec.image_gradient(target=first)[0]` has a number for each colour and pixel. Two signs differ where the smallest
#   of the three is negative and the largest positive.
gradient = rec.image_gradient(target=first)[0].reshape(3, -1)
strongest = np.argsort(-np.abs(gradient).max(axis=0))[:1000]
disagree = (gradient[:, strongest].min(axis=0) < 0) & (gradient[:, strongest].max(axis=0) > 0)
print(f"{disagree.sum()} of 1000: there, one colour should be brighter and another one darker")
assert 0 < disagree.sum() < 1000

# %% exercise_2
# Hint: Enlarge Grad-CAM to 224 first, as for the product. `np.abs(...).max(axis=0)` is the strength of the guided gradient.
added, multiplied = [], []
for seed in scenes.TEST_SEEDS[:10]:
    drawn = scenes.draw(seed)
    one = cam.record(net, cam.load_image(drawn.image))
    for c, mask, other in zip(drawn.class_ids, drawn.masks, drawn.masks[::-1]):
        strength = np.abs(one.image_gradient(target=c, rule="guided")[0]).max(axis=0)
        heat = cam.resize_map(cam.grad_cam_of(one, target=c)[0], 224)
        added.append(metrics.share_on_object(strength / strength.max() + heat / heat.max(), mask, other))
        multiplied.append(metrics.share_on_object(strength * heat, mask, other))
pairs = np.repeat(range(10), 2)  # both animals of a scene are drawn together
difference = metrics.bootstrap(np.subtract(multiplied, added), clusters=pairs)
print("added     ", metrics.bootstrap(added, clusters=pairs))
print("multiplied", metrics.bootstrap(multiplied, clusters=pairs))
print("multiplied minus added, picture by picture:", difference)
assert difference.low > 0  # a sum keeps what only one of the two says


# %% exercise_3
# Hint: Cut at relu5_3. Here nothing below it is needed, so a leaf there does no harm: run `net.features[30:]` from it.
def feature_gradient(pool):
    """The gradient at relu5_3, with a choice of the one pooling above it: numpy (K, h, w)."""
    leaf = nd.array(rec.features())
    leaf.attach_grad()
    with autograd.record(train_mode=False):
        y = leaf
        for block in net.features[30:]:
            y = pool(y) if isinstance(block, nn.MaxPool2D) else block(y)
        logit = net.output(y)[0, number]
    logit.backward(train_mode=False)
    return leaf.grad.asnumpy()[0]


A = rec.features()[0]
misplaced, true = feature_gradient(first_element_pool), feature_gradient(right_pool)
alphas = [gradient.mean(axis=(1, 2)) for gradient in (misplaced, true)]
hires = [np.maximum((gradient * A).sum(axis=0), 0) for gradient in (misplaced, true)]
compare("HiResCAM, right pooling and cam's", hires[1], cam.hires_cam(net, x, target=first)[0])
print(f"relative error of the gradient       {relative_error(misplaced, true):.2f}")
print(f"relative error of Grad-CAM's weights {relative_error(*alphas):.0e}")
print(f"relative error of HiResCAM           {relative_error(*hires):.2f}")
assert relative_error(*alphas) < 1e-4 and relative_error(*hires) > 0.2
# Grad-CAM averages the gradient over each channel: on the wrong element of the right window it counts the same. HiResCAM
# multiplies position by position, and there the wrong place matters.
