"""The module `gradcam` of MXNet's tutorial "Visualizing Decisions of Convolutional Neural Networks", done right.

A script written for the tutorial's gradcam.py works after one change, from `import gradcam` to
`from cam import gradcam`, for any layer and any net that `cam.explain` takes. New code has `cam.explain`.
"""

from __future__ import annotations

import warnings

import numpy as np
from mxnet import nd
from mxnet.gluon import Block

from .blocks import Activation, Conv2D
from .errors import InputError
from .explanation import explain_views
from .images import Placement, read_image
from .resolve import LayerLike

__all__ = ["Activation", "Conv2D", "visualize"]


def visualize(net: Block, preprocessed_img: nd.NDArray, orig_img: np.ndarray, conv_layer_name: LayerLike):
    """Grad-CAM over the picture, guided Grad-CAM, and guided Grad-CAM in grey, for the net's top class.

    Parameters
    ----------
    net : as for `cam.explain`
    preprocessed_img : NDArray (1, 3, h, w), normalised: the whole of orig_img, scaled
    orig_img : numpy uint8 (H, W, 3), for display
    conv_layer_name : any layer, by name, path or block

    Returns
    -------
    Three pictures, numpy uint8 (H, W, 3)

    Raises
    ------
    CamError
        As `cam.explain`; InputError also if there is not exactly one image.

    Warns
    -----
    Each of `Explanation.warnings`.
    """
    if not isinstance(preprocessed_img, nd.NDArray) or preprocessed_img.ndim != 4 or len(preprocessed_img) != 1:
        shape = getattr(preprocessed_img, "shape", type(preprocessed_img).__name__)
        raise InputError(f"preprocessed_img is {shape}; expected an NDArray (1, 3, h, w)")
    photograph = read_image(orig_img)
    height, width = photograph.shape[:2]
    placement = Placement((height, width), preprocessed_img.shape[2:], (0, 0, width, height))
    ((explanation,),) = explain_views(net, preprocessed_img, [photograph], [placement], layer=conv_layer_name)
    pictures = explanation.pictures()
    for warning in explanation.warnings:
        warnings.warn(warning, stacklevel=2)
    return pictures
