"""Picture files: read as a person sees them, fitted to what a network takes, and maps carried back onto them."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from mxnet import nd
from mxnet.gluon import Block
from PIL import Image, ImageOps, UnidentifiedImageError

from ..core.checks import is_whole
from ..core.errors import InputError, InputWarning, in_one_line, tell, telling
from ..maps.resizing import bilinear, check_map
from ..nets.normalisation import USUAL, Normalisation, normalisation_of, normalise

FITS = ("crop", "letterbox", "squash", None)
MINIMUM_SIDE = 8  # pixels; less is no picture that a net could see anything in
SIXTEEN_BITS = ("I", "I;16", "I;16B", "I;16L", "I;16N")  # Pillow's names for grey pictures of 16 bits


class Photograph(NamedTuple):
    """A picture as a person sees it: upright, RGB, transparent parts on white, the first frame.

    Attributes
    ----------
    pixels : numpy uint8 (H, W, 3)
    notes : what to know of how its values were read
    """

    pixels: np.ndarray
    notes: tuple[InputWarning, ...] = ()


@telling
def load_image(source, size: int = 224, fit: str | None = "crop", net: Block | None = None) -> nd.NDArray:
    """Read a picture and make it the array that a net takes: fitted and normalised.

    Parameters
    ----------
    source : path, open file or bytes of a picture, PIL image, or uint8 (H, W, 3) or (H, W), numpy or an NDArray
    size : height and width of the result in pixels
    fit : "crop" scales the short side to 8/7 of `size` and cuts out the centre, as ImageNet nets expect; a
        picture that already is size x size is taken as it is. "letterbox" shows the whole picture on grey,
        "squash" ignores its proportions, None keeps its size
    net : whose normalisation to take, if it has its own (`net.normalisation`, as `cam.efficientnet_lite0()` has); the
        one that most ImageNet nets share if not given

    Returns
    -------
    NDArray (1, 3, size, size) float32, normalised; (1, 3, H, W) with fit=None

    Raises
    ------
    InputError
        If the source is no picture, is smaller than 8 pixels, or size or fit is out of range.

    Warns
    -----
    InputWarning
        If the picture has 16 bits a value and uses fewer: it is scaled to those.
    """
    photograph = read_image(source)
    tell(photograph.notes)
    how = normalisation_of(net)
    view = place(photograph.pixels.shape[:2], size, fit).view(photograph.pixels, how)
    return nd.array(normalise(view, how)[None])


@dataclass(frozen=True)
class Placement:
    """Where the square that a net takes lies in the photograph, and the way back.

    Attributes
    ----------
    photograph : height and width of the photograph in pixels
    shape : height and width of what the net takes
    box : (left, top, right, bottom) of what the net takes, in pixels of the photograph; with "letterbox" it reaches
        beyond the photograph
    """

    photograph: tuple[int, int]
    shape: tuple[int, int]
    box: tuple[float, float, float, float]

    def view(self, photograph: np.ndarray, how: Normalisation = USUAL) -> np.ndarray:
        """The pixels that the net takes: numpy uint8 (H, W, 3) to uint8 (h, w, 3), grey beyond the edges."""
        (height, width), (left, top, right, bottom) = self.shape, self.box
        across, down = (right - left) / width, (bottom - top) / height  # pixels of the photograph for one of the view
        inside = max(left, 0), max(top, 0), min(right, self.photograph[1]), min(bottom, self.photograph[0])
        size = round((inside[2] - inside[0]) / across), round((inside[3] - inside[1]) / down)
        part = Image.fromarray(photograph)
        if (inside, size) != ((0, 0, *part.size), part.size):
            part = part.resize(size, Image.Resampling[how.resampling.upper()], box=inside)
        canvas = Image.new("RGB", (width, height), how.grey)
        canvas.paste(part, (round((inside[0] - left) / across), round((inside[1] - top) / down)))
        return np.array(canvas)

    def seen(self) -> np.ndarray:
        """Which pixels of the photograph the net saw: numpy bool (H, W)."""
        left, top, right, bottom = self.box
        down, across = (np.arange(side) + 0.5 for side in self.photograph)  # centres of the pixels
        return ((down > top) & (down < bottom))[:, None] & ((across > left) & (across < right))

    def to_photograph(self, m: np.ndarray) -> np.ndarray:
        """Carry a map back to the photograph's pixels: bilinear, zero where the net saw nothing.

        Parameters
        ----------
        m : numpy (..., h, w), a map of what the net took, at any resolution

        Returns
        -------
        numpy float32 (..., H, W)

        Raises
        ------
        InputError, NonFiniteError
            If m is no map, or holds NaN or infinity.
        """
        check_map(m)
        left, top, right, bottom = self.box
        rows = bilinear(m.shape[-2], self.photograph[0], top, bottom)  # (H, h)
        columns = bilinear(m.shape[-1], self.photograph[1], left, right)  # (W, w)
        return (rows @ m @ columns.T * self.seen()).astype(np.float32)

    def shrunk(self, longest: int) -> Placement:
        """The same placement in a photograph scaled down to a longest side of at most `longest` pixels."""
        height, width = self.photograph
        scale = min(1, longest / max(height, width))
        smaller = max(1, round(height * scale)), max(1, round(width * scale))
        down, across = smaller[0] / height, smaller[1] / width
        left, top, right, bottom = self.box
        return Placement(smaller, self.shape, (left * across, top * down, right * across, bottom * down))


def place(photograph: tuple[int, ...], size: int = 224, fit: str | None = "crop") -> Placement:
    """Where a net's view of size x size lies in a photograph (height, width); `size` and `fit` as in `load_image`.

    Raises
    ------
    InputError
        If size or fit is out of range.
    """
    if fit not in FITS:
        raise InputError(f"fit is {fit!r}; expected crop, letterbox, squash or None")
    if not is_whole(size) or size < 1:
        raise InputError(f"size is {size!r}; expected a positive int")
    height, width = photograph
    square = (int(size), int(size))
    if fit is None or photograph == square:
        return Placement(photograph, photograph, (0, 0, width, height))
    if fit == "squash":
        return Placement(photograph, square, (0, 0, width, height))
    if fit == "crop":
        side = min(photograph) * 7 / 8  # of a short side scaled to 256, 224 are kept
        left, top = (width - side) / 2, (height - side) / 2
        return Placement(photograph, square, (left, top, left + side, top + side))
    shown = [max(1, round(side * size / max(photograph))) for side in photograph]  # whole pixels, (height, width)
    down, across = height / shown[0], width / shown[1]
    top, left = (-((size - side) // 2) for side in shown)
    return Placement(photograph, square, (left * across, top * down, (left + size) * across, (top + size) * down))


def read_image(source) -> Photograph:
    """Read a picture; source and errors as for `load_image`. A Photograph is given back as it is."""
    if isinstance(source, Photograph):
        return source
    if isinstance(source, nd.NDArray):
        source = source.asnumpy()
    name, file = "the picture given", source
    if isinstance(source, np.ndarray):
        name = "the array given"
        valid = source.dtype == np.uint8 and source.ndim in (2, 3) and source.shape[2:] in ((), (1,), (3,))
        if not valid or 0 in source.shape:
            raise InputError(f"image is {source.dtype} {source.shape}; expected uint8 (H, W, 3) or (H, W)")
        source = Image.fromarray(source[..., 0] if source.shape[2:] == (1,) else source)
    elif isinstance(source, (str, os.PathLike)):
        name, file = f"image {source}", Path(source)
    elif isinstance(source, bytes):
        file = io.BytesIO(source)
    elif not isinstance(source, Image.Image) and not hasattr(source, "read"):
        raise InputError(
            f"image is {type(source).__name__}; expected a path, bytes, an open file, a PIL image or an array"
        )
    try:
        with nullcontext(source) if isinstance(source, Image.Image) else Image.open(file) as image:
            if min(image.size) < MINIMUM_SIDE:
                size = f"{image.width}x{image.height} pixels"
                raise InputError(f"{name} is {size}; expected at least {MINIMUM_SIDE} on each side")
            return _decoded(image, name)
    except InputError:
        raise
    except Exception as error:  # whatever a decoder says of damage
        raise InputError(f"{name} {_failure(error, file)}") from None


def _failure(error: Exception, file) -> str:
    """What is wrong with a picture, to follow its name."""
    if isinstance(error, UnidentifiedImageError):
        if isinstance(file, Path) and file.stat().st_size == 0:
            return "is an empty file"
        return "is not a picture, whatever its name says, or of a kind that cannot be read"
    if isinstance(error, Image.DecompressionBombError):
        return f"would unpack to more pixels than is safe to open: {error}"
    if isinstance(error, FileNotFoundError) and ":/" in str(file):
        return "is an address and no file; download it first"
    words = {FileNotFoundError: "does not exist", IsADirectoryError: "is a folder; expected one picture"}
    if isinstance(error, OSError) and error.strerror:  # the system's, not a decoder's
        return words.get(type(error), f"cannot be read: {error.strerror}")
    return f"is damaged or incomplete: {in_one_line(error)}"


def _decoded(image: Image.Image, name: str) -> Photograph:
    half = image.mode == "RGB" and ";16" in str(getattr(image, "tile", ""))  # of 16 bits a colour Pillow keeps 8
    image, notes = ImageOps.exif_transpose(image), ()
    if image.mode == "F":
        raise InputError(f"{name} holds floats, whose black and white are unknown; save it with 8 or 16 bits")
    if half or image.mode in SIXTEEN_BITS:
        values = np.asarray(image).astype(np.int64) << 8 * half
        top = values.max()
        if values.min() < 0 or top > 0xFFFF:
            raise InputError(f"{name} holds values from {values.min()} to {top}; expected 8 or 16 bits")
        bits = next(bits for bits in (8, 10, 12, 14, 16) if top < 1 << bits)
        if bits < 16 and top:
            said = f"{name} holds numbers up to {top}: taken for {bits}-bit data, whose white is {2**bits - 1}"
            notes = (InputWarning(f"{said}; only {bits - 8} bits of each colour could be read" if half else said),)
        white = max(0xFF00 >> (16 - bits) & 0xFF00, 1) if half else 2**bits - 1
        image = Image.fromarray(np.rint(values * (255 / white)).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return Photograph(np.array(image.convert("RGB")), notes)


@contextmanager
def whole_file(path: str | Path) -> Iterator[BinaryIO]:
    """A file to write that appears under its name when it is complete; interrupted, it leaves nothing behind.

    Raises
    ------
    InputError
        If nothing can be written there.
    """
    path = Path(path)
    part = path.with_name(f".{os.getpid()}-{threading.get_ident()}.part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            part.unlink()
