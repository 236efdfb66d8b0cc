"""A picture becomes what the network was trained on."""

import io

import numpy as np
import pytest
from PIL import Image

import cam
from cam.errors import InputError
from cam.images import MEAN, STANDARD_DEVIATION, normalise


def picture(width, height):
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_normalise_by_hand():
    pixels = np.array([[[255, 0, 127]]], np.uint8)
    expected = (np.array([1, 0, 127 / 255]) - MEAN) / STANDARD_DEVIATION
    assert np.allclose(normalise(pixels), expected[:, None, None], atol=1e-6)
    assert normalise(np.zeros((2, 5, 4, 3), np.uint8)).shape == (2, 3, 5, 4)


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
    for source in (str(tmp_path / "a.png"), buffer.getvalue(), image, np.asarray(image)):
        assert np.array_equal(cam.load_image(source).asnumpy(), from_path)
    assert cam.load_image(np.zeros((224, 224), np.uint8)).shape == (1, 3, 224, 224)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.jpg", "nowhere.jpg does not exist"),
        (b"not a picture", "the bytes given cannot be read as a picture"),
        (np.zeros((4, 4, 3)), "image is float64"),
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


def test_a_truncated_file(tmp_path):
    picture(64, 64).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:700])
    with pytest.raises(InputError, match="cannot be read as a picture"):
        cam.load_image(tmp_path / "a.jpg")
