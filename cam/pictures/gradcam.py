"""The module `gradcam` of MXNet's tutorial "Visualizing Decisions of Convolutional Neural Networks", done right.

A script written for the tutorial's gradcam.py works after one change, from `import gradcam` to
`from cam import gradcam`, for any layer of any net that `cam.explain` takes. New code has `cam.explain`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from mxnet import nd
from mxnet.gluon import Block

from ..core.errors import InputError, NetError, tell, telling
from ..maps.grad_cam import grad_cam
from ..maps.gradients import guided_grad_cam
from ..maps.resizing import resize_map
from ..nets.blocks import Activation, Conv2D
from . import plot
from .images import read_image
from .pipeline import explain

__all__ = ["Activation", "Conv2D", "show_images", "visualize"]


@telling
def visualize(net: Block, image: nd.NDArray | str | Path | np.ndarray, *rest):
    """What the tutorial's two functions of this name show for the net's top class, at any layer.

    `visualize(net, preprocessed_img, orig_img, conv_layer_name)` is that of its module gradcam.py, and
    `visualize(net, img_path, conv_layer_name)` that of its notebook.

    Parameters
    ----------
    net : any net with a ReLU; errors and warnings are those of `cam.guided_grad_cam` and of `cam.explain`
    image : NDArray (1, 3, h, w), normalised: the whole of orig_img, scaled; or a picture, as for `cam.load_image`
    *rest : behind an array orig_img, numpy uint8 (H, W, 3), for display; and any layer, by name, path or block, or None
        for the recommended one

    Returns
    -------
    The first: Grad-CAM over the picture, guided Grad-CAM, and guided Grad-CAM in grey, numpy uint8 (H, W, 3) each. The
    second: the prediction, and the photograph with these three, as `show_images` takes them

    Raises
    ------
    InputError, NetError
        If the arguments are those of neither function, or the net has no ReLU.
    """
    layer = rest[-1] if rest else None
    if isinstance(layer, (list, tuple)) or len(rest) > 1 + isinstance(image, nd.NDArray):
        raise InputError("visualize takes (net, preprocessed_img, orig_img, layer) or (net, img_path, layer)")
    if len(rest) == 2:
        if image.ndim != 4 or len(image) != 1:
            raise InputError(f"preprocessed_img is {image.shape}; expected an NDArray (1, 3, h, w)")
        photograph = read_image(rest[0]).pixels
        (heat,), (product,) = grad_cam(net, image, layer=layer), guided_grad_cam(net, image, layer=layer)
        return plot.overlay(photograph, heat), *_signed_and_grey(resize_map(product, photograph.shape[:2]))
    found = explain(net, image, layer=layer)
    tell(found.warnings)
    if found.guided_grad_cam is None:
        raise NetError("there is no guided Grad-CAM: this net has no ReLU")
    number = "" if getattr(net, "labels", None) is None else f" ({found.target})"
    product = found.placement.to_photograph(found.guided_grad_cam)
    return f"{found.label}{number}", (found.photograph, found.overlay(), *_signed_and_grey(product))


def _signed_and_grey(product: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return plot.signed_image(product), plot.grey_image(np.maximum(product, 0).sum(axis=0))


def show_images(pred_str: str, images: Sequence[np.ndarray]) -> Figure:
    """Draw the four pictures of `visualize(net, img_path, layer)` in a row.

    Parameters
    ----------
    pred_str : the prediction
    images : the four pictures

    Returns
    -------
    A matplotlib Figure: a notebook shows it, a script writes it with `savefig`

    Raises
    ------
    InputError
        If these are not four pictures.
    """
    titles = [pred_str, "Grad-CAM", "guided Grad-CAM", "guided Grad-CAM, grey"]
    if not isinstance(images, (tuple, list)) or len(images) != len(titles):
        raise InputError("images are not the four pictures that visualize returns")
    return plot.grid([list(images)], [""], titles, size=3.2)
