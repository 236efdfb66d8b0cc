"""What can go wrong, as one exception class per cause, and what deserves a warning."""

from __future__ import annotations


class CamError(ValueError):
    """Base of all errors that this package raises about its input."""


class InputError(CamError):
    """An image, array, size or option that cannot be used."""


class LayerError(CamError):
    """No such layer, or one that has no feature map."""


class ClassError(CamError):
    """No such class."""


class NetError(CamError):
    """A network that cannot be used as asked."""


class WeightsError(CamError):
    """A weights file that is missing, damaged or of another network."""


class NonFiniteError(CamError):
    """NaN or infinity where numbers are needed."""


class AllNegativeMap(UserWarning):
    """Every value of the map before its ReLU is negative: nothing speaks for the class here."""


class FlatMap(UserWarning):
    """The map has the same value everywhere: it says nothing about where."""


class OnePixelMap(UserWarning):
    """The map has a single pixel: it says nothing about where."""


class InsideResidualBranch(UserWarning):
    """The layer lies inside a residual branch: its map shows only what that block changes."""


class ConvertedNet(UserWarning):
    """The net hides ReLUs or poolings from us: a converted copy was explained instead."""


class GradCamOnly(UserWarning):
    """The net hides ReLUs and cannot be converted: there is a Grad-CAM, and nothing that needs the image's gradient."""


class EmbeddedNet(UserWarning):
    """An embedded net knows the cut-outs of `cam.scenes` and gives every photograph one of their names."""
