# %% exact
# Hint: The green leaves of the tree. AlexNet flattens and has three Dense layers; SqueezeNet ends in a pooling alone.
exact = ["resnet18_v1", "resnet18_v2", "squeezenet1.0", "densenet121", "inceptionv3", "mobilenet0.25"]


# %% either
# Hint: `z[:, first]` is (N,): one number per image.
def either(z):
    return z[:, first] + z[:, second]


# %% slope
# Hint: `net(x + step * direction)[0, number].asscalar()` is the logit a step ahead; take one behind too.
def slope(net, x, number, direction, step):
    ahead, behind = (net(x + side * step * direction)[0, number].asscalar() for side in (1, -1))
    return (ahead - behind) / (2 * step)


# %% exercise_1
# Hint: `cam.draw_graph(inception, "features.16")` draws from there to the end; count the arrows into the green box.
inception = zoo["inceptionv3"]
show(
    cam.draw_graph(inception, "features.16"),
    alt="The last block of Inception: many blue convolutions in lanes, of which four arrows end in the green Concat.",
)
block = [row for row in cam.layers(inception) if row.advice.endswith("features.17")]
print(f"four sides, and {len(block)} maps of the block are parts: not one convolution of it is whole")
assert not any(row.whole for row in block if row.kind == "Conv2D")

# %% exercise_2
# Hint: Go line by line: colours, axes, normalisation; layer; train mode, twice; softmax.


def mended(net, image, number):
    x = cam.load_image(image)  # RGB, (1, 3, H, W), normalised
    A = net.features[:11](x)  # the input of GAP
    A.attach_grad()  # here the tape begins: nothing is cut that we need
    with autograd.record(train_mode=False):
        logit = net.output(net.features[11:](A))[0, number]
    logit.backward(train_mode=False)
    alpha = A.grad.mean(axis=(2, 3), keepdims=True)
    return nd.relu((alpha * A).sum(axis=1))[0].asnumpy()


fresh = cam.resnet50_v2()
came, wanted = mended(fresh, zebra.image, number), cam.grad_cam(fresh, x, target=number)[0]
compare("mended, and cam", came, wanted)
assert np.allclose(came, wanted, atol=1e-5)

# %% exercise_3
# Hint: `F.BlockGrad(y)` is y on the way forward, and lets nothing pass on the way back.


class Cut(Mine):
    def hybrid_forward(self, F, x):
        x = F.relu(self.stem(x))
        x = F.relu(x + F.BlockGrad(self.branch(x)))
        return self.output(F.mean(x, axis=(2, 3)))


mx.random.seed(0)
cut = Cut()
cut.initialize(mx.init.Xavier())
verdicts = cam.check(cut, x, target=0)
print(verdicts)
assert [one.passed for one in verdicts] == [True, True, True, False, True]
# The other four cannot see it: the logit is what it was, the sums are sums, the map at the end is exact, and the ReLUs
# are there. And along the gradient itself, for five initialisations?
for seed in range(5):
    mx.random.seed(seed)
    cut = Cut()
    cut.initialize(mx.init.Xavier())
    gradient = cam.image_gradient(cut, x, target=0)
    length = np.linalg.norm(gradient)
    along = slope(cut, x, 0, nd.array(gradient / length), 0.01)
    passed = [one.passed for one in cam.check(cut, x, target=0)]
    print(
        f"along the gradient off by {abs(along - length) / length:4.0%}; random directions {'pass' if passed[3] else 'fail'}"
    )
    assert not passed[3]
# What is missing need not show in the direction in which what is left points. In random directions it does.
