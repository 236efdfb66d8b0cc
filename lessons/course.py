"""Helpers of the lessons that are not about Grad-CAM: they print and draw, which `cam` itself never does."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from cam import download


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


def imagenet_weights(name: str) -> Path | None:
    """A file with ImageNet weights for "vgg16" or "resnet50_v2" if there is one on this machine, and None if not.

    That is the file that the variable CAM_IMAGENET_VGG16 or CAM_IMAGENET_RESNET50_V2 names, if it is set, or else the pinned
    one in the cache (`cam.download`). Nothing is downloaded.
    """
    chosen = os.environ.get(f"CAM_IMAGENET_{name.upper()}")
    return Path(chosen) if chosen else download.find(name)
