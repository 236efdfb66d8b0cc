"""Helpers of the lessons that are not about Grad-CAM: they print and draw, which `cam` itself never does."""

from __future__ import annotations

import numpy as np


def compare(name: str, mine, reference) -> None:
    """Print whether two arrays are exactly equal, close, or different, and the largest difference.

    Parameters
    ----------
    name : what is compared
    mine, reference : arrays of one shape, numpy or NDArray
    """
    mine, reference = (np.asarray(a.asnumpy() if hasattr(a, "asnumpy") else a, np.float64) for a in (mine, reference))
    if mine.shape != reference.shape:
        print(f"{name}: different shapes, {mine.shape} and {reference.shape}")
        return
    largest = np.abs(mine - reference).max(initial=0.0)
    if largest == 0:
        verdict = "exact"
    elif largest <= 1e-5 * np.abs(reference).max():
        verdict = "close"
    else:
        verdict = "DIFFERENT"
    print(f"{name}: {verdict}, largest difference {largest:.1e}")
