"""Rivals on images whose maps are known without computing."""

import cam
from cam import baselines

import numpy as np
from helpers.nets import ready, two_heads
from mxnet import nd


def test_shapes_and_signs():
    x = nd.random.normal(shape=(2, 3, 12, 16))
    for baseline in (baselines.random_map, baselines.centre, baselines.edges, baselines.image_itself):
        heat = baseline(x)
        assert heat.shape == (2, 12, 16) and heat.min() >= 0 and heat.max() > 0


def test_values_by_hand():
    image = np.zeros((1, 3, 4, 6), np.float32)
    image[0, 0, :, 3:], image[0, 2, 1, 1] = 3, -5
    x = nd.array(image)
    assert baselines.image_itself(x)[0, 1].tolist() == [0, 5, 0, 3, 3, 3]
    assert baselines.edges(x)[0, 3].tolist() == [0, 0, 0.5, 0.5, 0, 0]  # a step of 1 in the mean over channels
    middle = baselines.centre(x)[0]
    assert np.allclose(middle, middle[::-1, ::-1]) and middle.argmax() in (8, 9, 14, 15)
    assert np.isclose(middle[0, 2], np.exp(-8 * ((1 / 8 - 1 / 2) ** 2 + (5 / 12 - 1 / 2) ** 2)))
    assert not np.array_equal(*baselines.random_map(nd.zeros((2, 3, 4, 6))))


def test_other_class(narrow_resnet):
    x = nd.random.normal(shape=(2, 3, 64, 64))
    found = baselines.other_class(cam.hires_cam)(narrow_resnet, x, target=[0, 3], layer="features.8")
    assert np.array_equal(found, cam.hires_cam(narrow_resnet, x, target=[6, 2], layer="features.8"))
    net, (x,) = ready(two_heads(), (2, 3, 8, 8))
    found = baselines.other_class(cam.grad_cam)(net, x, target=0, output=1)
    assert np.array_equal(found, cam.grad_cam(net, x, target=1, output=1))
