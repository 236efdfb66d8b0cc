"""The bootstrap interval beside the normal one, and of marks that belong together."""

from cam import InputError, metrics

import numpy as np
import pytest


def test_bootstrap():
    values = np.random.default_rng(0).normal(5, 2, 400)
    found = metrics.bootstrap(values)
    assert found.mean == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.15)
    assert found == metrics.bootstrap(values)
    assert str(metrics.bootstrap([0.5, 0.5])) == "0.500 [0.500, 0.500]"
    with pytest.raises(InputError):
        metrics.bootstrap([])
    with pytest.raises(InputError, match="confidence is 95"):
        metrics.bootstrap([1, 2], confidence=95)


def test_clusters_are_drawn_together():
    pairs = np.repeat(np.random.default_rng(0).normal(5, 2, 200), 2)  # both maps of a scene say the same
    alone, together = metrics.bootstrap(pairs), metrics.bootstrap(pairs, clusters=np.arange(400) // 2)
    width, wider = alone.high - alone.low, together.high - together.low
    assert together.mean == alone.mean and wider == pytest.approx(np.sqrt(2) * width, rel=0.1)
    assert metrics.bootstrap(pairs, clusters=np.arange(400)) == alone
    with pytest.raises(InputError, match="clusters has 2 marks for 3 values"):
        metrics.bootstrap([1, 2, 3], clusters=[0, 0])


def test_an_interval_as_text():
    assert str(metrics.Interval(-0.0004, -0.0031, 0.0029)) == "0.000 [-0.003, 0.003]"
