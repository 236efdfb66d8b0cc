"""Grad-CAM, guided backpropagation and relatives for Apache MXNet Gluon, to learn from and to use.

Import cam before mxnet, so that MXNet uses all physical cores.
"""

from . import startup  # noqa: F401 - before any import of MXNet  # isort: split
from .core.errors import (
    CamError,
    CamWarning,
    ClassError,
    InputError,
    InputWarning,
    LayerError,
    LayerWarning,
    MapWarning,
    NetError,
    NetWarning,
    NonFiniteError,
    WeightsError,
)
from .core.recording import Recording, record
from .maps.grad_cam import grad_cam, grad_cam_of, hires_cam
from .maps.gradients import guided_backprop, guided_grad_cam, guided_product, image_gradient, saliency
from .maps.layer_table import default_layer, layers, paths, relus
from .maps.relatives import grad_cam_plus_plus, layer_cam, score_cam, smooth_grad
from .maps.resizing import resize_map
from .maps.sums import class_activation_map, decompose
from .nets import blocks
from .nets.models import efficientnet_lite0, resnet50_v2, vgg16
from .nets.normalisation import Normalisation
from .pictures import gradcam, plot
from .pictures.explanation import Explanation
from .pictures.graph_drawing import draw_graph
from .pictures.images import load_image
from .pictures.pipeline import explain, explain_many
from .truth import baselines, evaluation, exercises, metrics, scenes
from .truth.sanity_checks import check

__all__ = [
    "CamError", "CamWarning", "ClassError", "Explanation", "InputError", "InputWarning", "LayerError", "LayerWarning",
    "MapWarning", "NetError", "NetWarning", "NonFiniteError", "Normalisation", "Recording", "WeightsError", "baselines",
    "blocks",
    "check", "class_activation_map", "decompose", "default_layer", "draw_graph", "efficientnet_lite0", "evaluation",
    "exercises", "explain", "explain_many", "grad_cam", "grad_cam_of", "grad_cam_plus_plus", "gradcam",
    "guided_backprop", "guided_grad_cam", "guided_product", "hires_cam", "image_gradient", "layer_cam", "layers",
    "load_image", "metrics", "paths", "plot", "record", "relus", "resize_map", "resnet50_v2", "saliency",
    "scenes", "score_cam", "smooth_grad", "vgg16",
]  # fmt: skip
