"""A mean over scenes, and how far it can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..core.errors import InputError


@dataclass(frozen=True)
class Interval:
    """A mean with a bootstrap interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        mean, low, high = (round(one, 3) + 0.0 for one in (self.mean, self.low, self.high))  # no -0.000
        return f"{mean:.3f} [{low:.3f}, {high:.3f}]"


def bootstrap(
    values: Sequence[float], confidence: float = 0.95, samples: int = 2000, seed: int = 0, clusters=None
) -> Interval:
    """Mean of values with its percentile bootstrap interval (Efron 1979).

    Parameters
    ----------
    values : numbers, in one dimension
    confidence : of the interval
    samples : how often to draw
    seed : of the draws
    clusters : one mark per value: those of one mark, such as a scene's two maps, are drawn together, since they are no
        independent witnesses (cluster bootstrap: Davison and Hinkley 1997, section 3.8). None if all are independent

    Returns
    -------
    Interval

    Raises
    ------
    InputError
        If there are no values, not as many marks, or confidence is no share.
    """
    values = np.asarray(values, float)
    if values.ndim != 1 or len(values) == 0:
        raise InputError(f"values has shape {values.shape}; expected at least one number in one dimension")
    if not 0 < confidence < 1:
        raise InputError(f"confidence is {confidence!r}; expected a share between 0 and 1, such as 0.95")
    marks = np.arange(len(values)) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    if len(marks) != len(values):
        raise InputError(f"clusters has {len(marks)} marks for {len(values)} values; give one for each")
    sums, counts = np.bincount(marks, values), np.bincount(marks)
    rows = np.random.default_rng(seed).integers(0, len(sums), (samples, len(sums)))
    means = sums[rows].sum(axis=1) / counts[rows].sum(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(values.mean()), float(low), float(high))
