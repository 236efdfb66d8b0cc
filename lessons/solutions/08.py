# %% resampled_means
# Hint: `values[draws]` has the shape (samples, scenes, maps); average over the last two axes.
def resampled_means(values, draws):
    return values[draws].mean(axis=(1, 2))


# %% removed
# Hint: `order[:count]` are the highest pixels; write `fill[order[:count]]` there, in a copy.
def removed(pixels, heat, count, fill):
    order = np.argsort(-heat, kind="stable")
    changed = pixels.copy()
    changed[order[:count]] = fill[order[:count]]
    return changed


# %% hires_map
# Hint: Multiply position by position, add up the channels, keep what is positive. No average.
def hires_map(gradient, A):
    return np.maximum((gradient * A).sum(axis=0), 0)


# %% exercise_1
# Hint: `trust_card(suspect, tagged.image, tagged.masks, tagged.class_ids)`, with `tagged = scenes.tag(scene, class_id)`.
tagged = scenes.tag(scene, scene.class_ids[0])
card = trust_card(suspect, tagged.image, tagged.masks, tagged.class_ids)
display(Markdown(as_table(card)))
assert top(suspect, [scenes.tag(scene, scene.class_ids[1]).image])[0] == scene.class_ids[1]
# One line fails, that of the baselines: an edge filter has more on the zebra than the map. So the evidence lies
# elsewhere too. Another is weak: with the last layer shuffled the map is still much like the one before.
# Where, and what it does, the card cannot tell. The experiment in the last line of the code can: with the other tag, and
# both animals as they were, the answer is the other class. A card is as good as the experiments that somebody thinks of.

# %% exercise_2
# Hint: `cam.score_cam(vgg, x, target=label)`; `metrics.share_on_object` measures it.
import time

one = scenes.draw(scenes.TEST_SEEDS[0])
x, masks = cam.load_image(one.image), one.masks
for title, method in (("Grad-CAM", cam.grad_cam), ("Score-CAM", cam.score_cam)):
    started = time.perf_counter()
    heat = method(vgg, x, target=one.labels[0])[0]
    share = metrics.share_on_object(heat, *masks)
    print(f"{title:9} share on the right object {share:.3f}, {time.perf_counter() - started:.2f} s")
print(f"Score-CAM asked the network once for each of {cam.record(vgg, x).features().shape[1]} channels")
# It needs no gradient, and pays for it with a forward pass for every channel. One scene tells nothing about which is better.

# %% exercise_3
# Hint: Subtract the zebra's row from every row of the weights, and add the drake's. Do the same with the biases.
bent = cam.resnet50_v2()
zebra, drake = (net.labels.index(label) for label in scene.labels)
for parameter in (bent.output.weight, bent.output.bias):
    rows = parameter.data()
    parameter.set_data(rows - rows[zebra : zebra + 1] + rows[drake : drake + 1])
x = batch([scene.image])
print("largest difference of a probability:", np.abs(probabilities(bent, x) - probabilities(net, x)).max())
for title, one in (("as trained", net), ("bent", bent)):
    heat = cam.grad_cam(one, x, target=zebra)[0]
    print(f"{title:10} share of the zebra's map on the zebra {metrics.share_on_object(heat, *scene.masks):.3f}")
assert np.allclose(probabilities(bent, x), probabilities(net, x), atol=1e-5)
assert np.allclose(cam.grad_cam(bent, x, target=zebra), cam.grad_cam(net, x, target=drake), atol=1e-4)
# Every probability of every picture is what it was, and the zebra's map is now the drake's.
