"""From a picture to what a network takes."""

from __future__ import annotations

import io
from numbers import Integral
from pathlib import Path

import numpy as np
from mxnet import nd
from PIL import Image, ImageOps, UnidentifiedImageError

from .errors import InputError

MEAN = np.array([0.485, 0.456, 0.406], np.float32)  # of ImageNet, RGB, for values in 0..1
STANDARD_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)

FITS = ("crop", "letterbox", "squash", None)
GREY = (124, 116, 104)  # the mean colour: zero after normalising


def load_image(source, size: int = 224, fit: str | None = "crop") -> nd.NDArray:
    """Read, fit and normalise one picture.

    Parameters
    ----------
    source : path, bytes of an image file, PIL image, or numpy uint8 (H, W, 3) or (H, W)
    size : height and width of the result in pixels
    fit : "crop" scales the short side to 8/7 of `size` and cuts out the centre, as ImageNet nets expect; a
        picture that already is size x size is taken as it is. "letterbox" shows the whole picture on grey,
        "squash" ignores its proportions, None keeps its size

    Returns
    -------
    NDArray (1, 3, size, size) float32, normalised; (1, 3, H, W) with fit=None

    Raises
    ------
    InputError
        If the source is no picture, or size or fit is out of range.
    """
    if fit not in FITS:
        raise InputError(f"fit is {fit!r}; expected crop, letterbox, squash or None")
    if isinstance(size, bool) or not isinstance(size, Integral) or size < 1:
        raise InputError(f"size is {size!r}; expected a positive int")
    image = _open(source)
    size = int(size)
    square = (size, size)
    if fit == "crop" and image.size != square:
        image = ImageOps.fit(image, (round(size * 8 / 7),) * 2, Image.Resampling.BILINEAR)
        margin = (image.width - size) // 2
        image = image.crop((margin, margin, margin + size, margin + size))
    elif fit == "letterbox":
        image = ImageOps.pad(image, square, Image.Resampling.BILINEAR, color=GREY)
    elif fit == "squash":
        image = image.resize(square, Image.Resampling.BILINEAR)
    return nd.array(normalise(np.asarray(image))[None])


def normalise(pixels: np.ndarray) -> np.ndarray:
    """(..., H, W, 3) uint8 RGB to (..., 3, H, W) float32: (pixels / 255 - MEAN) / STANDARD_DEVIATION."""
    scaled = (pixels.astype(np.float32) / 255 - MEAN) / STANDARD_DEVIATION
    return np.ascontiguousarray(np.moveaxis(scaled, -1, -3))


def _open(source) -> Image.Image:
    """The picture as RGB, upright."""
    if isinstance(source, np.ndarray):
        if (
            source.dtype != np.uint8
            or source.ndim not in (2, 3)
            or 0 in source.shape
            or source.shape[2:] not in ((), (3,))
        ):
            raise InputError(f"image is {source.dtype} {source.shape}; expected uint8 (H, W, 3) or (H, W)")
        return Image.fromarray(source).convert("RGB")
    if isinstance(source, Image.Image):
        return ImageOps.exif_transpose(source).convert("RGB")
    name = "the bytes given" if isinstance(source, bytes) else f"image {source}"
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else Path(source)) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except FileNotFoundError:
        raise InputError(f"{name} does not exist") from None
    except TypeError:
        raise InputError(f"image is {type(source).__name__}; expected a path, bytes, a PIL image or an array") from None
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{name} cannot be read as a picture: {error}") from None
