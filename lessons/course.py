"""Helpers of the lessons that are not about Grad-CAM: they print and draw, which `cam` itself never does."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from cam import download

import numpy as np
from mxnet.gluon.model_zoo.vision import resnet


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


def zoo_resnet50_v2(net):
    """The zoo's own ResNet50v2 (MXNet's blocks, nothing of ours) with the parameters of `net`.

    Parameters
    ----------
    net : what `cam.resnet50_v2` returns, of any width

    Returns
    -------
    mxnet.gluon.model_zoo.vision.ResNetV2 with the same parameters, labels and logits
    """
    stem, *stages = net.features[1], *(net.features[index][0].conv3 for index in (5, 6, 7, 8))
    channels = [convolution.weight.shape[0] for convolution in (stem, *stages)]
    zoo = resnet.ResNetV2(resnet.BottleneckV2, [3, 4, 6, 3], channels, classes=net.output.weight.shape[0])
    with tempfile.TemporaryDirectory() as folder:
        net.save_parameters(f"{folder}/copy.params")
        zoo.load_parameters(f"{folder}/copy.params")
    zoo.labels = net.labels
    return zoo


def imagenet_weights(name: str) -> Path | None:
    """A file with ImageNet weights for "vgg16" or "resnet50_v2" if there is one on this machine, and None if not.

    That is the file that the variable CAM_IMAGENET_VGG16 or CAM_IMAGENET_RESNET50_V2 names, if it is set, or else the pinned
    one in the cache (`cam.download`). Nothing is downloaded.
    """
    chosen = os.environ.get(f"CAM_IMAGENET_{name.upper()}")
    return Path(chosen) if chosen else download.find(name)
