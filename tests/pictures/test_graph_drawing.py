"""Nets as drawings: what stands in the boxes, their colours, and what is folded."""

import itertools

import cam
from cam.pictures.graph_drawing import PART, TAKE, WHOLE

import numpy as np
import pytest
from helpers.nets import Net, conv, ending, ready, sequence, two_heads
from matplotlib.colors import to_hex
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from mxnet.gluon.model_zoo import vision

COLOURS = {TAKE: "take", WHOLE: "whole", PART: "part"}


def drawn(figure):
    """What stands in each box with its colour, in the order of drawing; the places of the boxes; how many arrows."""
    (axis,) = figure.axes
    boxes = [one for one in axis.patches if isinstance(one, FancyBboxPatch)]
    corners = [(round(one.get_x(), 3), round(one.get_y(), 3)) for one in boxes]
    middles = {text.get_position(): text.get_text() for text in axis.texts if text.get_va() == "center"}
    texts = [next(t for p, t in middles.items() if np.allclose(p, (x + 0.75, y + 0.31))) for x, y in corners]
    kinds = [COLOURS[to_hex(one.get_facecolor())] for one in boxes]
    notes = [text.get_text() for text in axis.texts if text.get_va() != "center" and text.get_text()]
    return list(zip(texts, kinds)), corners, sum(isinstance(one, FancyArrowPatch) for one in axis.patches), notes


@pytest.fixture
def small():
    def forward(F, net, x):
        x = F.relu(net.first(x))
        return net.head(F.relu(x + net.second(x)) * 2)

    return ready(Net(forward, first=conv(3), second=conv(3), head=sequence(*ending())), (1, 3, 8, 8))


def test_every_operator_with_its_colour(small):
    net, (x,) = small
    boxes, places, arrows, notes = drawn(cam.draw_graph(net, x=x))
    assert boxes == [
        ("image", "whole"), ("Convolution", "whole"), ("ReLU", "whole"), ("Convolution", "part"), ("addition", "whole"),
        ("ReLU", "whole"), ("mul_scalar", "take"), ("Pooling", "whole"), ("Dense", "whole"),
    ]  # fmt: skip
    assert arrows == len(boxes)  # one into each but the image, two into the addition
    assert len(set(places)) == len(places) and len({up for _, up in places}) == 2 and not notes
    unasked, *_ = drawn(cam.draw_graph(net, recommended=False))
    assert [kind for _, kind in unasked].count("whole") == 8 and "take" not in dict(unasked).values()


def test_a_piece_with_names_and_notes(small):
    net, _ = small
    figure = cam.draw_graph(net, "second", "head", labels={"second": "mine"}, notes={"second": "the end of the branch"})
    boxes, _, arrows, notes = drawn(figure)
    assert boxes[0] == ("mine", "part") and boxes[-1] == ("Dense", "whole") and arrows == len(boxes) - 1 == 5
    assert [note.replace("\n", " ") for note in notes] == ["the end of the branch"]
    with pytest.raises(cam.LayerError, match="no layer 'seccond'"):
        cam.draw_graph(net, "seccond")
    with pytest.raises(cam.LayerError, match="give the one that runs earlier first"):
        cam.draw_graph(net, "head", "second")


def test_one_output_of_several():
    net, (x,) = ready(two_heads(), (1, 3, 8, 8))
    for options in ({"x": x}, {"recommended": False}):
        first, second = (dict(drawn(cam.draw_graph(net, output=output, **options))[0]) for output in (0, 1))
        assert "mean" in first and "max" in second and "max" not in first
        with pytest.raises(cam.NetError, match="the net has 2 outputs; say which to explain"):
            cam.draw_graph(net, **options)


def test_a_large_net_is_folded_to_its_blocks(narrow_nets):
    boxes, places, arrows, notes = drawn(cam.draw_graph(narrow_nets["resnet50_v2"]))
    front = [one for one in boxes if one != ("", "part")]
    assert [text for text, _ in front] == [
        *("image", "BatchNorm", "Convolution", "BatchNorm", "ReLU", "Pooling"),
        *(f"features.{stage}" for stage in (5, 6, 7, 8)),
        *("BatchNorm", "ReLU", "Pooling", "Flatten", "Dense"),
    ]
    assert boxes.count(("", "part")) == 4 and [kind for _, kind in front].count("take") == 1 and front[11][1] == "take"
    assert notes == ["10 conv, 3 +", "13 conv, 4 +", "19 conv, 6 +", "10 conv, 3 +"]
    assert arrows == len(front) - 1 and len({right for right, _ in places}) <= 12  # 8 in a row, some with one behind


@pytest.mark.parametrize("name", ["vgg16", "exported", "inceptionv3"])
def test_where_blocks_do_not_help_the_end_is_drawn(name, narrow_nets, exported):
    net = {"exported": exported, "inceptionv3": vision.inception_v3(classes=3)}.get(name) or narrow_nets[name]
    net.initialize() if name == "inceptionv3" else None
    boxes, places, *_ = drawn(cam.draw_graph(net))
    assert boxes[-1] == ("Dense", "whole") and [kind for _, kind in boxes].count("take") == 1
    assert 6 <= len({place for place, one in zip(places, boxes) if one[0]}) <= 24


@pytest.fixture
def exported(narrow_nets, tmp_path):
    from mxnet import nd
    from mxnet.gluon import SymbolBlock

    net = vision.resnet18_v2(classes=4)
    net.initialize()
    net.hybridize()
    net(nd.zeros((1, 3, 32, 32)))
    net.export(str(tmp_path / "net"))
    return SymbolBlock.imports(str(tmp_path / "net-symbol.json"), ["data"], str(tmp_path / "net-0000.params"))


def many_sums():
    """Parts that are taken again far behind, over others."""
    summands = ((0, None), (0, 1), (2, 1), (3, 2), (3, 2), (4, 1), (4, 1), (4, 2), (1, 4))

    def forward(F, net, x):
        maps = [x]
        for number, (taken, added) in enumerate(summands):
            found = getattr(net, f"conv{number}")(maps[taken])
            maps.append(F.relu(found) if added is None else found + maps[added])
        return net.head(F.add_n(*maps[-3:]))

    return Net(forward, head=sequence(*ending()), **{f"conv{number}": conv(3) for number in range(len(summands))})


@pytest.mark.parametrize(("make", "first"), [("inception", "features.16"), ("many_sums", None)])
def test_no_box_lies_on_another_or_on_an_arrow(make, first):
    net = vision.inception_v3(classes=3) if make == "inception" else many_sums()
    net.initialize()
    figure = cam.draw_graph(net, first, recommended=False)
    _, places, *_ = drawn(figure)
    assert len(set(places)) == len(places) > 14
    lanes = {}
    for right, up in places:
        lanes.setdefault(up, []).append(right)
    arrows = [one.get_path().vertices for one in figure.axes[0].patches if isinstance(one, FancyArrowPatch)]
    level = [pair for way in arrows for pair in itertools.pairwise(way) if np.ptp(np.array(pair)[:, 1]) < 1e-6]
    assert sum(end - start > 2 for (start, _), (end, _) in level) > 2  # those that could run over a box
    for (start, up), (end, _) in level:
        boxes = lanes.get(round(up - 0.31, 3), [])
        assert not [one for one in boxes if start + 0.01 < one + 0.75 < end]


def test_a_single_box(small):
    boxes, _, arrows, _ = drawn(cam.draw_graph(small[0], "second", "second", recommended=False))
    assert boxes == [("Convolution", "part")] and not arrows


def test_shown_in_a_notebook(small, monkeypatch):
    net, (x,) = small
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    cam.draw_graph(net, x=x)._ipython_display_()
    assert shown[0].data.startswith(b"\x89PNG") and shown[0].format == "png"
