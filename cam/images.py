"""From pixels to what a network takes."""

from __future__ import annotations

import numpy as np

MEAN = np.array([0.485, 0.456, 0.406], np.float32)  # of ImageNet, RGB, for values in 0..1
STANDARD_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


def normalise(pixels: np.ndarray) -> np.ndarray:
    """(..., H, W, 3) uint8 RGB to (..., 3, H, W) float32: (pixels / 255 - MEAN) / STANDARD_DEVIATION."""
    scaled = (pixels.astype(np.float32) / 255 - MEAN) / STANDARD_DEVIATION
    return np.ascontiguousarray(np.moveaxis(scaled, -1, -3))
