"""Grad-CAM, guided backpropagation and relatives for Apache MXNet Gluon, to learn from and to use."""

from .core import mxnet as _mxnet  # noqa: F401  # isort: skip  # before anything else imports MXNet
from .advice import layers
from .blocks import Activation, Conv2D
from .errors import (
    AllNegativeMap,
    BeforeReLU,
    CamError,
    ClassError,
    ConvertedNet,
    EmbeddedNet,
    FlatMap,
    GradCamOnly,
    InputError,
    InsideResidualBranch,
    LayerError,
    NetError,
    NonFiniteError,
    OnePixelMap,
    PartlySeen,
    WeakMap,
    WeightsError,
)
from .explanation import Explanation, explain, explain_many, show_images, visualize
from .images import load_image
from .maps import (
    class_activation_map,
    decompose,
    grad_cam,
    grad_cam_of,
    guided_backprop,
    guided_grad_cam,
    hires_cam,
    image_gradient,
    resize_map,
    saliency,
)
from .models import resnet50_v2, vgg16
from .rebuilding import convert
from .recording import Recording, record
from .resolve import default_layer, paths

__all__ = [
    "Activation",
    "AllNegativeMap",
    "BeforeReLU",
    "CamError",
    "ClassError",
    "Conv2D",
    "ConvertedNet",
    "EmbeddedNet",
    "Explanation",
    "FlatMap",
    "GradCamOnly",
    "InputError",
    "InsideResidualBranch",
    "LayerError",
    "NetError",
    "NonFiniteError",
    "OnePixelMap",
    "PartlySeen",
    "Recording",
    "WeakMap",
    "WeightsError",
    "class_activation_map",
    "convert",
    "decompose",
    "default_layer",
    "explain",
    "explain_many",
    "grad_cam",
    "grad_cam_of",
    "guided_backprop",
    "guided_grad_cam",
    "hires_cam",
    "image_gradient",
    "layers",
    "load_image",
    "paths",
    "record",
    "resize_map",
    "resnet50_v2",
    "saliency",
    "show_images",
    "vgg16",
    "visualize",
]
