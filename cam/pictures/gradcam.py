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
from ..core.layers import LayerLike
from ..nets.blocks import Activation, Conv2D
from . import plot
from .explanation import Explanation
from .images import Placement, read_image
from .pipeline import explain, explain_views

__all__ = ["Activation", "Conv2D", "show_images", "visualize"]


@telling
def visualize(net: Block, image: nd.NDArray | str | Path | np.ndarray, *rest):
    """What the tutorial's two functions of this name show for the net's top class, at any layer.

    `visualize(net, preprocessed_img, orig_img, conv_layer_name)` is that of its module gradcam.py, and
    `visualize(net, img_path, conv_layer_name)` that of its notebook.

    Parameters
    ----------
    net : any net with a ReLU, as for `cam.explain`, whose errors and warnings this function raises
    image : NDArray (1, 3, h, w), normalised: the whole of orig_img, scaled; or a picture, as for `cam.load_image`
    *rest : behind an array orig_img, numpy uint8 (H, W, 3), for display; and any layer, by name, path or block, or None
        for the recommended one

    Returns
    -------
    The first: Grad-CAM over the picture, guided Grad-CAM, and guided Grad-CAM in grey, numpy uint8 (H, W, 3) each. The
    second: the prediction, and the photograph with these three, as `show_images` takes them

    Raises
    ------
    InputError
        If the arguments are those of neither function.
    """
    if isinstance(image, nd.NDArray) and len(rest) == 2:
        explanation = _of_array(net, image, *rest)
        shown = _pictures(explanation)
    elif len(rest) <= 1:
        explanation = explain(net, image, layer=rest[0] if rest else None)
        number = "" if getattr(net, "labels", None) is None else f" ({explanation.target})"
        shown = f"{explanation.label}{number}", (explanation.photograph, *_pictures(explanation))
    else:
        raise InputError("visualize takes (net, preprocessed_img, orig_img, layer) or (net, img_path, layer)")
    tell(explanation.warnings)
    return shown


def _of_array(net: Block, preprocessed: nd.NDArray, original: np.ndarray, layer: LayerLike | None) -> Explanation:
    if preprocessed.ndim != 4 or len(preprocessed) != 1:
        raise InputError(f"preprocessed_img is {preprocessed.shape}; expected an NDArray (1, 3, h, w)")
    photograph = read_image(original)
    height, width = photograph.pixels.shape[:2]
    placement = Placement((height, width), preprocessed.shape[2:], (0, 0, width, height))
    ((explanation,),) = explain_views(net, preprocessed, [photograph], [placement], layer=layer)
    return explanation


def _pictures(found: Explanation) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Grad-CAM over the photograph, guided Grad-CAM, and guided Grad-CAM in grey."""
    if found.guided_grad_cam is None:
        raise NetError("there is no guided Grad-CAM: this net has no ReLU")
    product = found.placement.to_photograph(found.guided_grad_cam)  # (3, H, W)
    return found.overlay(), plot.signed_image(product), plot.grey_image(np.maximum(product, 0).sum(axis=0))


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
