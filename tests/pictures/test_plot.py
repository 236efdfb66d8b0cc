"""Display never invents evidence."""

from cam import InputError, NonFiniteError, plot

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

IMAGE = np.full((8, 8, 3), 100, np.uint8)


def test_a_map_without_evidence_stays_blank():
    blank = plot.overlay(IMAGE, np.zeros((2, 2)))
    assert np.ptp(blank.reshape(-1, 3), axis=0).max() == 0
    assert np.array_equal(plot.overlay(IMAGE, -np.ones((2, 2))), blank)
    assert set(np.unique(plot.signed_image(np.zeros((3, 4, 4))))) == {128}
    assert not plot.grey_image(np.zeros((4, 4))).any()


def test_the_maximum_is_brightest():
    heat = np.zeros((8, 8))
    heat[2, 5] = 1e-9  # scale does not matter
    shown = plot.overlay(IMAGE, heat).sum(axis=2)
    assert np.unravel_index(shown.argmax(), shown.shape) == (2, 5)


def test_two_maps_can_share_a_scale():
    weak, strong = np.full((2, 2), 0.1), np.ones((2, 2))
    assert np.array_equal(plot.overlay(IMAGE, weak), plot.overlay(IMAGE, strong))
    assert plot.overlay(IMAGE, weak, maximum=1.0).sum() < plot.overlay(IMAGE, strong, maximum=1.0).sum()
    assert np.array_equal(plot.overlay(IMAGE, 2 * strong, maximum=1.0), plot.overlay(IMAGE, strong, maximum=1.0))
    blank = plot.overlay(IMAGE, np.zeros((2, 2)))
    assert np.array_equal(plot.overlay(IMAGE, weak, maximum=0), blank)  # the scale of a map without evidence


@pytest.mark.parametrize("maximum", [-1.0, -1e-9, float("nan"), float("inf")])
def test_a_maximum_that_is_no_scale_is_refused(maximum):
    with pytest.raises(InputError, match="maximum is .*; expected a finite number of at least 0"):
        plot.overlay(IMAGE, np.ones((2, 2)), maximum=maximum)


def test_colours_are_laid_over_grey():
    """By its equation, pixel by pixel; a map as large as the picture is taken as it is."""
    image = np.random.default_rng(0).integers(0, 256, (60, 12, 3), dtype=np.uint8)
    heat = np.random.default_rng(1).normal(size=(60, 12))
    colours = matplotlib.colormaps[plot.HEAT](heat / heat.max())[..., :3]  # which takes what is less than 0 for 0
    for opacity in (0.6, 0.0, 1.0):
        expected = opacity * 255 * colours + (1 - opacity) * image.mean(axis=2, keepdims=True)
        assert np.abs(plot.overlay(image, heat, opacity=opacity) - expected).max() < 1


def test_what_was_not_seen_keeps_its_colours():
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    seen = np.zeros((8, 8), bool)
    seen[2:6, 3:7] = True
    shown = plot.overlay(image, np.ones((2, 2)), seen=seen)
    assert np.array_equal(shown[~seen], image[~seen])
    assert np.array_equal(shown[seen], plot.overlay(image, np.ones((2, 2)))[seen])


def test_a_batch_is_refused_in_words():
    with pytest.raises(InputError, match=r"heat is \(1, 4, 4\); expected a numpy map \(h, w\), such as heat\[0\]"):
        plot.overlay(IMAGE, np.ones((1, 4, 4)))
    with pytest.raises(InputError, match=r"such as gradient\[0\]"):
        plot.signed_image(np.ones((1, 3, 4, 4)))
    with pytest.raises(InputError, match=r"such as values\[0\]"):
        plot.grey_image(np.ones((1, 4, 4)))
    with pytest.raises(NonFiniteError):
        plot.grey_image(np.full((4, 4), np.nan))


def test_values_out_of_range_do_not_wrap_around():
    assert plot.grey_image(np.array([[-1.0, 0.0, 1.0]]))[0, :, 0].tolist() == [0, 0, 255]
    assert not plot.grey_image(np.full((2, 2), -3.0)).any()
    heat = np.array([[1.0]])
    for opacity in (2.0, -0.1, float("nan"), "1", None):
        with pytest.raises(InputError, match="opacity is .*; expected a number from 0 to 1"):
            plot.overlay(IMAGE, heat, opacity=opacity)
    assert np.array_equal(plot.overlay(IMAGE, heat, opacity=0), IMAGE)
    for image in (IMAGE / 255, IMAGE[..., :1], IMAGE[..., 0], IMAGE.tolist()):
        with pytest.raises(InputError, match=r"image is .*; expected numpy uint8 \(H, W, 3\)"):
            plot.overlay(image, heat)


def test_signed_image_is_symmetric():
    gradient = np.zeros((3, 4, 4))
    gradient[0, 0, 0], gradient[0, 3, 3] = 2, -2
    shown = plot.signed_image(gradient)
    assert shown[0, 0].tolist() == [255, 128, 128] and shown[3, 3].tolist() == [0, 128, 128]


def test_a_row_of_the_grid_is_as_high_as_its_pictures():
    square, wide = (plot.grid([[picture]], [""], [""]).get_figheight() for picture in (IMAGE, IMAGE[: len(IMAGE) // 2]))
    assert square - wide == pytest.approx(1)  # half of the two inches of a square one


def test_grid_needs_a_title_per_row(tmp_path):
    figure = plot.grid([[IMAGE, IMAGE]], ["row"], ["a", "b"])
    figure.savefig(tmp_path / "grid.png")
    assert (tmp_path / "grid.png").stat().st_size > 1000
    with pytest.raises(ValueError, match="zip"):
        plot.grid([[IMAGE]], [], ["a"])


def lightness(name):
    """Of a colour map's colours, from 0 (black) to 1, as a grey print shows them (Rec. 709 weights, linear light)."""
    colours = matplotlib.colormaps[name](np.linspace(0, 1, 64))[:, :3]
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ [0.2126, 0.7152, 0.0722])


def test_more_evidence_is_lighter_without_colours_too():
    assert (np.diff(lightness(plot.HEAT)) > 0).all()
    middle = lightness(plot.SIGNED)
    assert middle.argmax() in (31, 32) and (np.diff(middle[:32]) > 0).all() and (np.diff(middle[32:]) < 0).all()


def test_signed_maps_diverge_around_zero_and_minus_is_hatched():
    figure = Figure()
    left, right = figure.subplots(1, 2)
    drawn = plot.draw_signed(left, np.array([[-1.0, 0], [0, 4]]), 8)
    assert drawn.get_clim() == (-4, 4)
    assert [collection.hatches for collection in left.collections] == [["////"]]
    plot.draw_signed(right, np.array([[0.0, 1], [2, 4]]), 8)
    assert not right.collections
    figure.draw_without_rendering()


def test_a_signed_map_of_zeros_is_white():
    axis = Figure().subplots()
    drawn = plot.draw_signed(axis, np.zeros((2, 2)), 4)
    assert drawn.get_clim() == (-1, 1) and not axis.collections
