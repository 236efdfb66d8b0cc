"""A picture becomes what the network was trained on."""

import contextlib
import io
import os
import struct
import warnings
import zlib

import cam
from cam import InputError, InputWarning, NetError, NonFiniteError
from cam.nets.normalisation import MEAN, STANDARD_DEVIATION, USUAL, input_for, normalise
from cam.pictures import images

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn
from PIL import Image

GREY_LEVEL = USUAL.grey[0] / 255


def picture(width, height):
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def read(source):
    return images.read_image(source).pixels


def test_normalise_by_hand():
    pixels = np.array([[[255, 0, 127]]], np.uint8)
    expected = (np.array([1, 0, 127 / 255]) - MEAN) / STANDARD_DEVIATION
    assert np.allclose(normalise(pixels), expected[:, None, None], atol=1e-6)
    assert normalise(np.zeros((2, 5, 4, 3), np.uint8)).shape == (2, 3, 5, 4)


def test_the_input_goes_where_the_net_is():
    net = nn.HybridSequential()
    net.add(nn.BatchNorm(in_channels=3), nn.Conv2D(2, 3, in_channels=3))
    assert input_for(net, np.ones((1, 3, 8, 8))).dtype == np.float32  # no values yet: the run says so
    net.initialize(ctx=mx.cpu(1))
    net.cast("float16")
    x = input_for(net, np.ones((1, 3, 8, 8)))
    assert x.context == mx.cpu(1) and x.dtype == np.float16  # the BatchNorm's parameters stay float32
    with pytest.raises(NetError, match="net is str"):
        input_for("resnet", np.ones((1, 3, 8, 8)))


def test_a_picture_of_the_right_size_is_taken_as_it_is(scene):
    assert np.array_equal(cam.load_image(scene.image).asnumpy()[0], normalise(scene.image))


@pytest.mark.parametrize(
    ("fit", "shape"), [("crop", (224, 224)), ("letterbox", (224, 224)), ("squash", (224, 224)), (None, (80, 300))]
)
def test_fits(fit, shape):
    assert cam.load_image(picture(300, 80), fit=fit).shape == (1, 3, *shape)


def test_crop_takes_the_centre():
    image = Image.new("RGB", (512, 256), "black")
    image.paste("white", (128, 0, 384, 256))  # the central square
    assert np.ptp(cam.load_image(image).asnumpy()[0, 0]) == 0


def test_letterbox_shows_everything_on_the_mean_colour():
    found = cam.load_image(Image.new("RGB", (400, 100), "white"), fit="letterbox").asnumpy()[0]
    assert np.abs(found[:, 0]).max() < 0.02 and found[:, 112].min() > 2


def test_sources(tmp_path):
    image = picture(224, 224)
    image.save(tmp_path / "a.png")
    from_path = cam.load_image(tmp_path / "a.png").asnumpy()
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    theirs = mx.image.imread(str(tmp_path / "a.png"))  # an NDArray
    (entry,) = os.scandir(tmp_path)
    buffer.seek(0)
    for source in (str(tmp_path / "a.png"), buffer.getvalue(), image, np.asarray(image), theirs, entry, buffer):
        assert np.array_equal(cam.load_image(source).asnumpy(), from_path)
    grey = mx.image.imread(str(tmp_path / "a.png"), flag=0)
    expected = read(np.repeat(grey.asnumpy(), 3, axis=2))
    for source in (grey, grey.asnumpy()[..., 0]):
        assert np.array_equal(read(source), expected)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.jpg", "nowhere.jpg does not exist"),
        ("https://example.org/zebra.jpg", "zebra.jpg is an address and no file; download it first"),
        (f"{__file__}/a.jpg", "a.jpg cannot be read: Not a directory"),
        ("a" * 500, "cannot be read: File name too long"),
        (b"not a picture", "the picture given is not a picture, whatever its name says"),
        (np.zeros((4, 4, 3)), "image is float64"),
        (mx.nd.zeros((4, 4, 3)), r"image is float32 \(4, 4, 3\); expected uint8"),
        (np.zeros((1, 3, 9, 9), np.uint8), r"image is uint8 \(1, 3, 9, 9\)"),
        (np.zeros((0, 4, 3), np.uint8), "expected uint8"),
        (7, "image is int; expected a path"),
    ],
)
def test_what_is_no_picture(source, message):
    with pytest.raises(InputError, match=message):
        cam.load_image(source)


def test_wrong_options():
    with pytest.raises(InputError, match="fit is 'stretch'"):
        cam.load_image(picture(8, 8), fit="stretch")
    with pytest.raises(InputError, match="size is 0"):
        cam.load_image(picture(8, 8), size=0)


def saved(tmp_path, image, name, **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


def png_of_sixteen_bits(values):
    """A PNG of 16 bits a colour, which Pillow reads and does not write, of big-endian uint16 (H, W, 3)."""
    height, width, _ = values.shape
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in values))
    chunks = ((b"IHDR", head), (b"IDAT", rows), (b"IEND", b""))
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


class TestModes:
    """What a viewer shows is what the net gets."""

    def test_grey(self, tmp_path):
        path = saved(tmp_path, Image.new("L", (20, 10), 77), "grey.png")
        assert (read(path) == 77).all() and read(path).shape == (10, 20, 3)

    def test_black_and_white(self, tmp_path):
        path = saved(tmp_path, Image.new("1", (20, 10), 1), "bits.png")
        assert (read(path) == 255).all()

    def test_palette(self, tmp_path):
        image = picture(20, 10).quantize(16)
        path = saved(tmp_path, image, "palette.png")
        assert np.array_equal(read(path), np.asarray(image.convert("RGB")))

    @pytest.mark.parametrize("mode", ["RGBA", "LA", "palette"])
    def test_what_is_transparent_is_white(self, tmp_path, mode):
        image = Image.new("RGBA", (20, 10), (200, 0, 0, 255))
        image.paste((0, 0, 0, 0), (0, 0, 10, 10))  # black, and invisible
        if mode == "palette":
            path = saved(tmp_path, image.quantize(4), "a.png")
        else:
            path = saved(tmp_path, image.convert(mode), "a.png")
        found = read(path)
        assert (found[:, :10] == 255).all()
        visible = image.convert("LA" if mode == "LA" else "RGBA").convert("RGB").getpixel((15, 5))
        assert np.array_equal(found[:, 10:], np.full((10, 10, 3), visible))

    def test_half_transparent(self):
        found = read(Image.new("RGBA", (8, 8), (0, 0, 0, 127)))
        assert np.abs(found.astype(int) - 128).max() <= 1

    def test_cmyk(self, tmp_path):
        path = saved(tmp_path, Image.new("CMYK", (32, 16), (0, 255, 255, 0)), "a.jpg", quality=95)
        red, green, blue = read(path)[8, 16]
        assert red > 240 and green < 15 and blue < 15

    def test_sixteen_bits(self, tmp_path):
        values = np.linspace(0, 0xFFFF, 200).astype(np.uint16).reshape(10, 20)
        for name in ("a.png", "a.tiff"):
            found = read(saved(tmp_path, Image.fromarray(values), name))
            assert np.array_equal(found[..., 0], np.rint(values / 257))

    @pytest.mark.parametrize("bits", [8, 10, 12, 14])
    @pytest.mark.parametrize("kind", [np.uint16, np.int32])
    def test_fewer_bits_than_the_file_has_room_for(self, tmp_path, bits, kind):
        """Cameras and microscopes: read as 16 bits, all would be nearly black."""
        values = np.linspace(0, 2**bits - 1, 200).astype(kind).reshape(10, 20)
        path = saved(tmp_path, Image.fromarray(values), "a.tiff")
        found, (note,) = images.read_image(path)
        assert f"a.tiff holds numbers up to {2**bits - 1}: taken for {bits}-bit data" in str(note)
        assert np.array_equal(found[..., 1], np.rint(values * (255 / (2**bits - 1))))
        with pytest.warns(InputWarning, match=f"taken for {bits}-bit data"):
            cam.load_image(path)

    @pytest.mark.parametrize("bits", [10, 12, 14, 16])
    def test_sixteen_bits_of_each_colour(self, bits):
        """Pillow keeps the upper 8 of the 16."""
        values = np.random.default_rng(0).integers(0, 2**bits, (10, 20, 3)).astype(">u2")
        found, notes = images.read_image(png_of_sixteen_bits(values))
        assert np.abs(found - values * (255 / (2**bits - 1))).max() <= 256 / 2 ** (bits - 8)
        assert len(notes) == (bits < 16)
        assert all(f"only {bits - 8} bits of each colour could be read" in str(note) for note in notes)

    def test_floats_and_large_integers_have_no_black_and_white(self, tmp_path):
        with pytest.raises(InputError, match="holds floats, whose black and white are unknown"):
            read(saved(tmp_path, Image.fromarray(np.ones((9, 9), np.float32)), "a.tiff"))
        for value in (70000, -1):
            with pytest.raises(InputError, match=f"holds values from {value} to {value}; expected 8 or 16 bits"):
                read(saved(tmp_path, Image.fromarray(np.full((9, 9), value, np.int32)), "b.tiff"))

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_a_rotated_camera(self, tmp_path, orientation):
        """Every EXIF orientation of one scene reads as the same upright picture."""
        undo = {2: [0], 3: [3], 4: [1], 5: [5], 6: [2], 7: [6], 8: [4]}  # Pillow's transpositions
        upright = picture(20, 10)
        stored = upright
        for step in undo.get(orientation, []):
            stored = stored.transpose(step)
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = saved(tmp_path, stored, "a.png", exif=exif)
        assert np.array_equal(read(path), np.asarray(upright))

    @pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp"])
    def test_the_first_frame_of_an_animation(self, tmp_path, name):
        frames = [Image.new("RGB", (16, 16), colour) for colour in ("white", "black")]
        lossless = {"lossless": True} if name.endswith("webp") else {}
        path = saved(tmp_path, frames[0], name, save_all=True, append_images=frames[1:], **lossless)
        assert (read(path) == 255).all()


def written():
    """A small picture in every format that Pillow writes, by its name."""
    Image.init()
    found = {}
    for kind in Image.SAVE:
        for mode in ("RGB", "P", "1"):
            buffer = io.BytesIO()
            with contextlib.suppress(Exception):  # a writer, or one for this mode, that is not there
                picture(48, 40).convert(mode).save(buffer, kind, **({"sizes": [(16, 16)]} if kind == "ICO" else {}))
                found.setdefault(kind, buffer.getvalue())
    found.pop("ICNS", None)  # of 1024 x 1024 pixels, which takes seconds
    return {kind: data for kind, data in found.items() if data}


WRITTEN = written()
FUZZED = 200  # mutations of each


class TestBadFiles:
    def refuse(self, source, message):
        with pytest.raises(InputError, match=message) as caught:
            cam.load_image(source)
        assert "\n" not in str(caught.value)

    def test_missing(self, tmp_path):
        self.refuse(tmp_path / "a.jpg", "a.jpg does not exist")

    def test_folder(self, tmp_path):
        self.refuse(tmp_path, "is a folder; expected one picture")

    def test_text_named_jpg(self, tmp_path):
        (tmp_path / "a.jpg").write_text("hello")
        self.refuse(tmp_path / "a.jpg", "is not a picture, whatever its name says")

    def test_empty(self, tmp_path):
        (tmp_path / "a.png").touch()
        self.refuse(tmp_path / "a.png", "is an empty file")

    @pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.gif", "a.webp", "a.tiff", "a.bmp"])
    def test_truncated_anywhere(self, tmp_path, name):
        """Cut at any byte, a file is refused in words, or what can be seen of it is whole."""
        picture(24, 24).save(tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        for end in range(0, len(whole) - 16, max(1, len(whole) // 40)):
            with contextlib.suppress(InputError):
                assert read(whole[:end]).shape == (24, 24, 3)
        self.refuse(whole[: len(whole) // 2], "the picture given is (damaged or incomplete|not a picture)")

    @pytest.mark.parametrize("kind", sorted(WRITTEN))
    def test_whatever_a_decoder_raises(self, kind):
        """A damaged AVIF is a RuntimeError of Pillow's, a DDS a NotImplementedError, an IM a SyntaxError, and so on."""
        rng, whole = np.random.default_rng(0), WRITTEN[kind]
        for _ in range(FUZZED):
            data = bytearray(whole)
            for at in rng.integers(0, min(len(data), rng.choice([100, 400, len(data)])), rng.choice([1, 2, 8])):
                data[at] = rng.integers(256)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow's own
                try:
                    assert read(bytes(data)).shape[2] == 3
                except InputError as error:
                    assert (
                        str(error).startswith("the picture given ") and "\n" not in str(error) and len(str(error)) < 400
                    )

    def test_an_exception_without_words(self, monkeypatch):
        def decoder(*_):
            raise MemoryError

        monkeypatch.setattr(images.ImageOps, "exif_transpose", decoder)
        self.refuse(picture(9, 9), "the picture given is damaged or incomplete: MemoryError")

    def test_one_pixel(self):
        self.refuse(np.zeros((1, 1, 3), np.uint8), "the array given is 1x1 pixels; expected at least 8 on each side")
        self.refuse(Image.new("RGB", (1000, 3)), "the picture given is 1000x3 pixels")

    def test_decompression_bomb(self, tmp_path):
        path = saved(tmp_path, Image.new("1", (20_000, 20_000)), "a.png")
        assert path.stat().st_size < 100_000
        self.refuse(path, "would unpack to more pixels than is safe to open")


FITTED = ["crop", "letterbox", "squash", None]


class TestTheWayBack:
    """Masks go from the photograph to the net's view and back to where they were."""

    @pytest.mark.parametrize("fit", FITTED)
    @pytest.mark.parametrize("shape", [(300, 200), (90, 160), (224, 224), (501, 499), (64, 1000), (1200, 37)])
    def test_a_mask_through_and_back(self, shape, fit):
        rows, columns = np.ogrid[: shape[0], : shape[1]]
        radius = min(shape) * 0.3
        mask = (rows - shape[0] / 2) ** 2 + (columns - shape[1] / 2) ** 2 < radius**2
        photograph = np.repeat(np.where(mask, 255, 0).astype(np.uint8)[..., None], 3, axis=2)
        placement = images.place(shape, 224, fit)
        seen = placement.view(photograph)[..., 0] / 255.0  # what a perfect map would be
        back = placement.to_photograph(np.where(np.abs(seen - GREY_LEVEL) < 0.01, 0, seen)) > 0.5
        overlap = (back & mask).sum() / (back | mask).sum()
        assert overlap > (0.8 if min(shape) < 60 else 0.93), overlap

    @pytest.mark.parametrize("fit", FITTED)
    def test_it_agrees_with_load_image(self, fit):
        photograph = picture(300, 200)
        view = images.place((200, 300), 96, fit).view(np.asarray(photograph))
        assert np.array_equal(cam.load_image(photograph, 96, fit).asnumpy()[0], normalise(view))

    def test_crop_is_short_side_256_and_the_centre(self):
        photograph = picture(12, 9).resize((480, 360), Image.Resampling.BICUBIC)  # smooth
        expected = photograph.resize((round(480 * 256 / 360), 256), Image.Resampling.BILINEAR)
        left, top = (expected.width - 224) / 2, 16
        expected = np.asarray(expected, float)[top : top + 224, int(left) : int(left) + 224]
        found = images.place((360, 480)).view(np.asarray(photograph)).astype(float)
        assert np.abs(found - expected).mean() < 4  # up to half a pixel of rounding in the two-step way

    def test_what_was_not_seen_is_known_and_stays_empty(self):
        placement = images.place((100, 300), 224, "crop")
        back, seen = placement.to_photograph(np.ones((7, 7))), placement.seen()
        assert seen.shape == (100, 300) and np.array_equal(back > 0, seen)
        rows, columns = np.nonzero(seen)
        assert (rows.min(), rows.max(), columns.min(), columns.max()) == (6, 93, 106, 193)
        for fit in ("letterbox", "squash", None):
            assert images.place((100, 300), 224, fit).seen().all()

    def test_one_bright_cell_returns_to_its_place(self):
        heat = np.zeros((7, 7))
        heat[1, 5] = 1
        placement = images.place((448, 448), 224, "squash")
        row, column = np.unravel_index(placement.to_photograph(heat).argmax(), (448, 448))
        assert abs(row + 0.5 - 1.5 * 64) <= 1 and abs(column + 0.5 - 5.5 * 64) <= 1

    def test_without_a_change_of_frame_it_is_resize_map(self):
        heat = np.random.default_rng(0).normal(size=(7, 7))
        assert np.array_equal(images.place((224, 224)).to_photograph(heat), cam.resize_map(heat, 224))

    def test_channels_and_errors(self):
        placement = images.place((100, 300))
        assert placement.to_photograph(np.ones((3, 224, 224))).shape == (3, 100, 300)
        with pytest.raises(InputError, match=r"m is \(7,\); expected a numpy map"):
            placement.to_photograph(np.ones(7))
        with pytest.raises(NonFiniteError):
            placement.to_photograph(np.full((7, 7), np.nan))
