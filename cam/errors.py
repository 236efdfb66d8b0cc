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
    """The layer holds one term of a residual block's sum: only what the block changes, or only its shortcut."""


class BeforeReLU(UserWarning):
    """A ReLU follows the layer: where a channel is negative, its absence counts as evidence too."""


class WeakMap(UserWarning):
    """The whole map is next to nothing beside the logit; drawn to its own scale it looks strong all the same."""


class PartlySeen(UserWarning):
    """The net saw less than half of the photograph."""


class ConvertedNet(UserWarning):
    """The net hides ReLUs or poolings from us: a converted copy was explained instead."""


class GradCamOnly(UserWarning):
    """The net hides ReLUs and cannot be converted: there is a Grad-CAM, and nothing that needs the image's gradient."""


class EmbeddedNet(UserWarning):
    """An embedded net knows the cut-outs of `cam.scenes` and gives every photograph one of their names."""


def in_one_line(error: Exception) -> str:
    """What an exception of other people's code says, without its traceback: its last line, or its type."""
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
