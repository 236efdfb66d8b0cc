"""The panel shows what it says: read from the arrays of its figure, and every mutation of it is noticed.

The explanations are made by hand: a white square in a dark photograph, a Grad-CAM that is the square as a net saw it,
and for each other map a block of its own, in a corner of its own.
"""

import cam
from cam import plot, scenes
from cam.pictures import explanation as module
from cam.pictures import images, pipeline
from cam.pictures.explanation import Explanation
from cam.pictures.images import Placement

import matplotlib.axes
import numpy as np
import pytest
from matplotlib.colors import Normalize
from PIL import Image

SHAPES = {"as the net": (224, 224), "wide": (300, 900), "tall": (1000, 260), "over 640 pixels": (960, 1280)}
FITS = ["crop", "letterbox", "squash", None]
PEAK, GUIDED, PRODUCT, SALIENCY = 3.7, 0.25, 0.5, 2.0  # the largest values of the four maps


def square(shape):
    """Where the white square lies: above the middle, to the right of it, inside of every crop; centre and half side."""
    shortest = min(shape)
    return shape[0] / 2 - 0.2 * shortest, shape[1] / 2 + 0.15 * shortest, 0.1 * shortest


def made(shape, fit="crop", **changes) -> Explanation:
    height, width = shape
    row, column, half = square(shape)
    rows, columns = np.ogrid[:height, :width]
    white = (np.abs(rows + 0.5 - row) < half) & (np.abs(columns + 0.5 - column) < half)
    photograph = np.where(white[..., None], 255, np.array([40, 50, 60])).astype(np.uint8)
    placement = images.place(shape, 224, fit)
    seen = (placement.view(photograph)[..., 0] > 200).astype(np.float32)
    heat = np.asarray(Image.fromarray(seen).resize((14, 14), Image.Resampling.BOX))
    h, w = placement.shape
    guided, product, saliency = np.zeros((3, h, w)), np.zeros((3, h, w)), np.zeros((h, w))
    guided[0, : h // 4, : w // 4] = GUIDED  # red speaks for the class in the upper left corner
    guided[1, -h // 4 :, -w // 4 :] = -GUIDED  # and green against it in the lower right one
    product[2, : h // 4, -w // 4 :] = PRODUCT
    saliency[-h // 4 :, : w // 4] = SALIENCY
    maps = {"guided_backprop": guided, "guided_grad_cam": product, "saliency": saliency}
    facts = {"label": "square", "target": 1, "logit": 5.0, "probability": 0.9, "layer": "features.10", "warnings": ()}
    values = {"grad_cam": heat / heat.max() * PEAK, "photograph": photograph, "placement": placement, **maps, **facts}
    return Explanation(**{**values, **changes})


def check(figure, shape, fit) -> None:
    """Everything that can be read from the panel of `made(shape, fit)`."""
    titled = {axis.get_title(): axis for axis in figure.axes if axis.get_title()}
    shown = {title: np.asarray(axis.images[0].get_array()) for title, axis in titled.items()}
    titles = ["picture", "Grad-CAM", "guided backpropagation", "guided Grad-CAM", "saliency"]
    assert list(titled) == titles, "the titles"
    assert all(axis.get_ylim()[0] > axis.get_ylim()[1] for axis in titled.values()), "row 0 is above"
    assert all(axis.get_xlim()[0] < axis.get_xlim()[1] for axis in titled.values()), "column 0 is at the left"
    _check_place(shown, shape, fit)
    _check_frame(titled, shape, fit)
    _check_pixel_maps(titled, shown)
    bars = {axis.get_xlabel(): axis.get_xlim() for axis in figure.axes if not axis.get_title()}
    assert list(bars) == ["evidence, in units of the logit"], "the scales"
    assert bars["evidence, in units of the logit"] == pytest.approx((0, PEAK)), "the scales"


def _check_place(shown, shape, fit) -> None:
    """The picture is there, and the heat on its white square."""
    scale = min(1, 640 / max(shape))
    assert shown["picture"].shape == shown["Grad-CAM"].shape == (*(round(scale * side) for side in shape), 3), "size"
    row, column, half = (scale * number for number in square(shape))
    white = (shown["picture"] > 200).all(axis=2)
    assert white.sum() == pytest.approx((2 * half) ** 2, rel=0.15), "the picture"
    for weights in (white.astype(float), _warmth(shown["Grad-CAM"])):
        assert weights.any(), "the heat"
        found = [(weights.sum(axis=1 - axis) @ (np.arange(side) + 0.5)) for axis, side in enumerate(weights.shape)]
        found = np.array(found) / weights.sum()
        assert np.abs(found - (row, column)).max() < 0.03 * scale * max(shape), "the heat over the square"
    red, green, blue = max(shown["Grad-CAM"][white].tolist(), key=sum)  # yellow on white, where the map has its maximum
    assert red > 240 and green > 225 and blue < 215, "the colour of the maximum"
    if fit == "crop":  # around the frame nothing is covered
        assert np.array_equal(shown["Grad-CAM"][0, 0], shown["picture"][0, 0]) or shape == (224, 224), "the unseen rest"


def _warmth(picture):
    """How much of the colours of heat each pixel has: they are yellow and orange, and the greyed picture is neither."""
    return np.maximum(picture[..., 0].astype(float) - picture[..., 2] - 5, 0)


def _check_frame(titled, shape, fit) -> None:
    for title in ("picture", "Grad-CAM"):
        boxes = {patch.get_linestyle(): patch.get_bbox().bounds for patch in titled[title].patches}
        if fit != "crop" or shape == (224, 224):
            assert not boxes, "a frame where all was seen"
            continue
        scale, side = min(1, 640 / max(shape)), 7 / 8 * min(shape)
        expected = [(shape[1] - side) / 2, (shape[0] - side) / 2, side, side]
        assert set(boxes) == {"-", "--"}, "the frame is dashed, on a dark line"
        for bounds in boxes.values():
            assert bounds == pytest.approx([scale * number for number in expected], abs=1), "the frame"
    said = titled["picture"].get_xlabel()
    assert said == ("dashed: what the network saw" if titled["picture"].patches else ""), "what the frame means"


def _check_pixel_maps(titled, shown) -> None:
    """Signs, colours and scales, in the corners."""
    corners = {"upper left": (0.1, 0.1), "upper right": (0.1, 0.9), "lower left": (0.9, 0.1), "lower right": (0.9, 0.9)}
    grey = (128, 128, 128)
    expected = {
        "guided backpropagation": {"upper left": (255, 128, 128), "lower right": (128, 0, 128)},
        "guided Grad-CAM": {"upper right": (128, 128, 255)},
        "saliency": {**dict.fromkeys(corners, (0, 0, 0)), "lower left": (255, 255, 255)},
    }
    for title, colours in expected.items():
        height, width = shown[title].shape[:2]
        for corner, (down, across) in corners.items():
            came = tuple(shown[title][int(down * height), int(across * width)])
            assert came == colours.get(corner, grey), f"{title}, {corner}"
    for title, scale in (("guided backpropagation", GUIDED), ("guided Grad-CAM", PRODUCT)):
        assert titled[title].get_xlabel() == f"grey: 0, full colour: \N{PLUS-MINUS SIGN}{scale}", "the scale"
    assert titled["saliency"].get_xlabel() == f"black: 0, white: |gradient| of {SALIENCY:.2g}", "the scale"


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_fit_of_wide_and_tall_pictures(shape, fit):
    check(made(shape, fit).plot(), shape, fit)


def flipped(function, axis):
    return lambda *arguments, **options: np.flip(function(*arguments, **options), axis)


def moved(placement, *_):
    left, top, right, bottom = placement.box
    return Placement(placement.photograph, placement.shape, (left + 60, top, right + 60, bottom))


def unscaled(placement, longest):
    """A smaller photograph, with the box of the large one."""
    return Placement(SHRUNK(placement, longest).photograph, placement.shape, placement.box)


SHRUNK, OVERLAY, SIGNED, GREY = Placement.shrunk, plot.overlay, plot.signed_image, plot.grey_image
IMSHOW = matplotlib.axes.Axes.imshow
MUTATIONS = {
    "upside down": (plot, "overlay", flipped(OVERLAY, 0), "the heat over the square"),
    "left for right": (plot, "overlay", flipped(OVERLAY, 1), "the heat over the square"),
    "the map upside down": (Placement, "to_photograph", flipped(Placement.to_photograph, 0), "the heat over the squ"),
    "all drawn from below": (
        matplotlib.axes.Axes,
        "imshow",
        lambda axis, picture: IMSHOW(axis, picture, origin="lower"),
        "row 0 is above",
    ),
    "no map": (plot, "overlay", lambda image, heat, seen: image, "the colour of the maximum|the heat"),
    "scaled to something else": (
        plot,
        "overlay",
        lambda image, heat, seen: OVERLAY(image, heat, maximum=2 * heat.max(), seen=seen),
        "the colour of the maximum",
    ),
    "the unseen covered": (plot, "overlay", lambda image, heat, seen: OVERLAY(image, heat), "the unseen rest"),
    "the guided gradient for the product": (
        plot,
        "signed_image",
        lambda _: SIGNED(made((600, 900)).guided_backprop),
        "guided Grad-CAM, upper left",
    ),
    "signs turned": (plot, "signed_image", lambda gradient: SIGNED(-gradient), "guided backpropagation, upper left"),
    "signs lost": (plot, "signed_image", lambda gradient: SIGNED(abs(gradient)), "guided backpropagation, lower right"),
    "gradients upside down": (plot, "signed_image", flipped(SIGNED, 0), "guided backpropagation, upper left"),
    "a blank saliency": (plot, "grey_image", lambda values: GREY(0 * values), "saliency, lower left"),
    "saliency upside down": (plot, "grey_image", flipped(GREY, 0), "saliency, upper left"),
    "no frame": (matplotlib.axes.Axes, "add_patch", lambda axis, patch: patch, "the frame is dashed"),
    "a frame that is beside it": (Placement, "shrunk", lambda one, _: moved(SHRUNK(one, 640)), "the heat|the frame"),
    "the frame of the large photograph": (Placement, "shrunk", unscaled, "the heat|the frame"),
    "a photograph that is not made smaller": (module, "LONGEST_SIDE", 10_000, "size"),
    "a scale of another map": (module, "Normalize", lambda low, high: Normalize(low, 2 * high), "the scales"),
    "another full scale": (
        plot,
        "full_scale",
        lambda values: 2 * np.abs(values).max(),
        "guided backpropagation, upper",
    ),
    "swapped titles": (
        matplotlib.axes.Axes,
        "set_title",
        lambda axis, title: axis.title.set_text({"saliency": "picture", "picture": "saliency"}.get(title, title)),
        "the titles",
    ),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_wrong_panel_is_noticed(mutation, monkeypatch):
    place, name, replacement, noticed = MUTATIONS[mutation]
    explanation = made((600, 900))
    monkeypatch.setattr(place, name, replacement)
    with pytest.raises(AssertionError, match=noticed):
        check(explanation.plot(), (600, 900), "crop")


def test_a_map_without_evidence():
    figure = made((224, 224), grad_cam=np.zeros((7, 7))).plot()
    heat = next(axis for axis in figure.axes if axis.get_title() == "Grad-CAM")
    assert heat.get_xlabel() == "no evidence for this class"
    assert all(axis.get_title() for axis in figure.axes)  # no scale
    assert _warmth(np.asarray(heat.images[0].get_array())).max() == 0


def test_a_net_without_relus_has_three_pictures():
    figure = made((224, 224), guided_backprop=None, guided_grad_cam=None).plot()
    assert [axis.get_title() for axis in figure.axes if axis.get_title()] == ["picture", "Grad-CAM", "saliency"]


def test_what_is_written_around_it():
    warnings = (cam.NetWarning("a $fi^$ {note}"), cam.MapWarning("a second"))
    figure = made((224, 224), label="$x^$ of {a}", warnings=warnings).plot()
    assert figure.get_suptitle() == "$x^$ of {a}: probability 90.0%, logit 5.00; Grad-CAM at features.10"
    assert figure.get_supxlabel().splitlines() == ["a $fi^$ {note}", "a second"]
    figure.draw_without_rendering()  # as text: as formulas they would be wrong
    assert "probability" not in made((224, 224), probability=None).plot().get_suptitle()


@pytest.mark.filterwarnings("error")  # matplotlib's about missing letters
def test_letters_that_the_font_lacks_are_written_by_their_numbers():
    figure = made((224, 224), label="\u732b\nor \xfc").plot()
    assert figure.get_suptitle().startswith("\\u732b or \xfc: probability")
    assert "letters that matplotlib's font lacks are written by their numbers" in figure.get_supxlabel()
    figure.draw_without_rendering()
    assert not made((224, 224), label="\xfc").plot().get_supxlabel()


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_nothing_written_lies_over_anything_else(shape):
    notes = tuple(cam.NetWarning(f"note {number} " + "of many words " * 40) for number in range(3))
    figure = made(shape, label="a long name " * 20, warnings=notes).plot()
    figure.draw_without_rendering()
    texts = [figure._suptitle, figure._supxlabel]
    texts += [one for axis in figure.axes for one in (axis.title, axis.xaxis.label) if one.get_text()]
    boxes = [text.get_window_extent() for text in texts] + [axis.bbox for axis in figure.axes]
    for number, box in enumerate(boxes):
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
        for other in boxes[:number]:
            assert not box.shrunk(0.98, 0.98).overlaps(other), (box, other)


class TestOfANet:
    """From the photograph to the figure: a scene in a larger photograph."""

    @pytest.fixture
    def photograph(self):
        scene = scenes.draw(0)
        photograph, mask = np.zeros((600, 900, 3), np.uint8), np.zeros((600, 900), bool)
        photograph[100:548, 300:748] = np.asarray(Image.fromarray(scene.image).resize((448, 448)))
        mask[100:548, 300:748] = np.kron(scene.masks[0], np.ones((2, 2))) > 0
        return photograph, mask, scene.labels[0]

    def check(self, net, photograph, mask, label):
        found = cam.explain(net, photograph, target=label, fit="letterbox")
        x = cam.load_image(photograph, fit="letterbox")
        guided, heat = cam.guided_backprop(net, x, target=label)[0], cam.grad_cam(net, x, target=label)[0]
        saliency = np.abs(cam.image_gradient(net, x, target=label)[0]).max(axis=0)
        figure = found.plot()
        shown = {axis.get_title(): axis.images[0].get_array() for axis in figure.axes if axis.get_title()}
        assert np.array_equal(shown["guided backpropagation"], plot.signed_image(guided)), "the guided gradient"
        product = plot.signed_image(guided * cam.resize_map(heat, 224))
        assert np.array_equal(shown["guided Grad-CAM"], product), "the product"
        assert np.array_equal(shown["saliency"], plot.grey_image(saliency)), "the saliency"
        warmth = _warmth(np.asarray(shown["Grad-CAM"]))
        mask = np.asarray(Image.fromarray(mask).resize((640, 427)))
        assert warmth[mask].mean() > 3 * warmth.mean(), "the heat on the object"
        full = found.overlay()
        assert full.shape == photograph.shape
        assert np.abs(np.asarray(Image.fromarray(full).resize((640, 427))).astype(int) - shown["Grad-CAM"]).mean() < 4

    @pytest.mark.parametrize("name", ["vgg16", "resnet50_v2"])
    def test_each_map_is_what_the_functions_return(self, embedded_nets, photograph, name):
        self.check(embedded_nets[name], *photograph)

    @pytest.mark.parametrize(
        ("name", "replacement", "noticed"),
        [
            ("guided_product", lambda guided, heat: guided, "the product"),
            (
                "guided_product",
                lambda guided, heat: guided * cam.resize_map(heat[:, ::-1], 224)[:, None],
                "the product",
            ),
            ("grad_cam_of", lambda *a, **b: cam.grad_cam_of(*a, **b)[:, ::-1], "the product"),
        ],
    )
    def test_a_wrong_map_is_noticed(self, embedded_nets, photograph, monkeypatch, name, replacement, noticed):
        monkeypatch.setattr(pipeline, name, replacement)
        with pytest.raises(AssertionError, match=noticed):
            self.check(embedded_nets["resnet50_v2"], *photograph)
