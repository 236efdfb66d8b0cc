"""Curves and fills of one small image, computed by hand."""

from cam import metrics

import numpy as np
import pytest

IMAGE = np.array([[[1.0, 2.0], [3.0, 4.0]]])  # (1, 2, 2)
HEAT = np.array([[0.1, 0.4], [0.3, 0.2]])  # so the order is 2, 3, 4, 1


def total(images):
    return images.sum(axis=(1, 2, 3)) / 10


def test_deletion_and_insertion_by_hand():
    deleted = metrics.deletion(HEAT, IMAGE, total, steps=4)
    assert np.allclose(deleted, [1, 0.8, 0.5, 0.1, 0])
    assert metrics.area(deleted) == pytest.approx((0.5 + 0.8 + 0.5 + 0.1 + 0) / 4)
    assert np.allclose(metrics.insertion(HEAT, IMAGE, total, metrics.grey, steps=4), [0, 0.2, 0.5, 0.9, 1])
    assert np.allclose(metrics.deletion(HEAT, IMAGE, total, metrics.grey, steps=2), [1, 0.5, 0])
    assert np.allclose(metrics.deletion(HEAT, IMAGE, total, metrics.onto(5 + IMAGE), steps=4), [1, 1.5, 2, 2.5, 3])


def test_blur_by_hand():
    weight = np.exp(-1 / 2) / (1 + np.exp(-1 / 2))  # of the neighbour, at a distance of one sigma
    removed = np.array([[True, False], [False, False]])
    filled = metrics.blur(IMAGE, removed, sigma=1)
    assert filled[0, 0, 0] == pytest.approx(1 + 1 * weight + 2 * weight)
    assert np.array_equal(filled[:, ~removed], IMAGE[:, ~removed])


def test_confidence_change_by_hand():
    heat = np.array([[0.0, 2.0], [1.0, -1.0]])  # keeps 2 and half of 3
    assert metrics.confidence_change(heat, IMAGE, total) == (pytest.approx(0.65), 0.0)
    assert metrics.confidence_change(heat, IMAGE, lambda images: 1.1 - total(images)) == (0.0, 1.0)
