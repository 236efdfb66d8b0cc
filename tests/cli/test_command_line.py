"""python -m cam, as a person or a script calls it."""

import dataclasses
import errno
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cam
from cam import scenes
from cam.cli import app as command_line
from cam.cli import background
from cam.nets import download
from cam.pictures import plot

import mxnet as mx
import numpy as np
import pytest
from helpers import foreign_files
from helpers.nets import conv, ready, relu, sequence
from mxnet.gluon import nn
from mxnet.gluon.model_zoo import vision
from PIL import Image

COFFEE = Path(__file__).parents[2] / "lessons/photographs/coffee.jpg"


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Run a command in an empty folder, with ResNet50v2 if no net is named; exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments, net=("--model", "resnet50_v2")):
        if arguments[0] in ("explain", "layers") and "--model" not in arguments:
            arguments = (arguments[0], *net, *arguments[1:])
        monkeypatch.setattr(sys, "argv", ["cam", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            command_line.main()
        written = capsys.readouterr()
        return stop.value.code, written.out, written.err

    return call


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in (0, 1, 2):
        Image.fromarray(scenes.draw(seed).image).save(folder / f"{seed}.png")
    return folder


@pytest.fixture
def quick(monkeypatch):
    """Panels of one small picture each, where a test is not about them: drawing takes most of the time."""

    def small(explanation):
        figure = plot.Picture(figsize=(1, 1))
        figure.figimage(explanation.overlay())
        return figure

    monkeypatch.setattr(cam.Explanation, "plot", small)


def test_one_picture(run, pictures, tmp_path):
    code, out, err = run("explain", pictures / "0.png", "--overlay")
    expected = cam.explain(cam.resnet50_v2(), pictures / "0.png")
    panel = f"explanations/0.png.{expected.label.replace(' ', '_')}.resnet50_v2.features.10.png"
    assert code == 0
    assert out.splitlines() == [
        f"{pictures / '0.png'}: {expected.label}, {expected.score}",
        f"  panel {panel}",
        f"  overlay {panel.removesuffix('.png')}.overlay.png",
    ]
    assert err.count("note: this net knows 20 cut-outs") == 1
    assert Image.open(tmp_path / panel).width > 1000
    overlay = Image.open(tmp_path / f"{panel.removesuffix('.png')}.overlay.png")
    assert np.array_equal(np.asarray(overlay), expected.overlay())


def test_a_folder_with_a_broken_file(run, pictures, tmp_path, quick):
    (pictures / "1.jpg").write_text("no picture")
    code, out, err = run("explain", pictures, "--batch", "2", "--json", "--top", "2", "--model", "vgg16")
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 1
    failed = [line for line in lines if "error" in line]
    assert [line["image"] for line in failed] == [str(pictures / "1.jpg")] and "is not a picture" in failed[0]["error"]
    done = [line for line in lines if "label" in line]
    assert sorted({line["image"] for line in done}) == [str(pictures / f"{seed}.png") for seed in (0, 1, 2)]
    assert len(done) == 6 and all((tmp_path / line["panel"]).is_file() for line in done)
    assert all(line["layer"] == "features.29" and 0 < line["probability"] <= 1 for line in done)
    assert len({line["panel"] for line in done}) == 6 and done[0]["seen"] == [0, 0, 224, 224]
    assert err.splitlines()[-1] == "1 of 4 pictures could not be explained"
    assert "skipped: image" in err and "" not in err.splitlines()


@pytest.mark.parametrize("kind", ["avif", "dds", "im", "spider", "blp"])
def test_whatever_a_decoder_raises_the_folder_goes_on(run, pictures, quick, kind):
    """What Pillow says of these is no OSError; of SPIDER's floats nobody knows black and white."""
    buffer = io.BytesIO()
    Image.new("P" if kind == "blp" else "RGB", (48, 40)).save(buffer, kind.upper())
    (pictures / "a.png").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    code, out, err = run("explain", pictures)
    assert code == 1 and out.count("  panel ") == 3 and "1 of 4 pictures could not be explained" in err
    assert err.count("skipped: image") == 1 and "Traceback" not in err


def test_what_lies_beside_pictures_in_a_folder(run, pictures, quick):
    for name in ("paper.pdf", "model.h5", "film.mpg", "figure.eps", "notes.txt", "NET.PARAMS", "._0.png", ".a.jpg"):
        (pictures / name).write_bytes(b"%PDF-1.4 x")
    (pictures / "scans.png").mkdir()
    (pictures / "0.png").rename(pictures / "0.PNG")
    code, out, err = run("explain", pictures)
    assert code == 0 and out.count("  panel ") == 3 and "skipped" not in err


def test_panels_of_an_earlier_run_are_not_explained(run, pictures, quick):
    arguments = ("explain", pictures, "--out", pictures, "--overlay", "--class", "king penguin")
    assert run(*arguments)[0] == 0
    written = sorted(path.name for path in pictures.iterdir())
    assert len(written) == 9
    code, out, _ = run(*arguments)
    assert code == 0 and out.count("  panel ") == 3 and sorted(path.name for path in pictures.iterdir()) == written
    panel = next(name for name in written if name.endswith(".overlay.png"))
    assert run("explain", pictures / panel, "--out", "elsewhere")[0] == 0  # named, it is a picture as any other
    (pictures / "only").mkdir()
    (pictures / panel).rename(pictures / "only" / panel)
    assert run("explain", pictures / "only")[0] == 2


def test_a_result_that_cannot_be_written_is_skipped(run, pictures, tmp_path, quick):
    label = cam.explain(cam.resnet50_v2(), pictures / "0.png").label.replace(" ", "_")
    (tmp_path / f"explanations/0.png.{label}.resnet50_v2.features.10.png").mkdir(parents=True)
    code, out, err = run("explain", pictures)
    assert code == 1 and "Is a directory" in err and "1 of 3 pictures could not be explained" in err
    assert out.count("  panel ") == 2


@pytest.mark.parametrize("letter", ["x", "\N{CJK UNIFIED IDEOGRAPH-732B}", "\udcff"])  # the last is a byte, no letter
def test_file_names_as_long_as_can_be(run, pictures, letter, quick):
    long = letter * ((255 - len("0.png")) // len(os.fsencode(letter)))
    for seed in (0, 1):
        (pictures / f"{seed}.png").rename(pictures / f"{long}{seed}.png")
    for _ in range(2):  # the second time their panels lie beside them
        code, out, err = run("explain", pictures, "--out", pictures, "--overlay", "--json")
        lines = [json.loads(line) for line in out.splitlines()]
        assert code == 0 and not err.count("skipped") and len({line["panel"] for line in lines}) == 3
        for line in lines:
            assert Path(line["panel"]).is_file() and Path(line["overlay"]).is_file()


def test_names_of_classes_with_any_letters(run, pictures, tmp_path, quick):
    names = ["$a$", "{b}", "c/d\\e", "\N{CJK UNIFIED IDEOGRAPH-732B}", "../f", "g" * 300]
    net = vision.resnet18_v1(classes=len(names))
    net.initialize()
    net.hybridize()
    net(cam.load_image(pictures / "0.png"))
    net.export("mine")
    (tmp_path / "names.txt").write_text("\n".join(names), encoding="utf-8")
    options = ("--params", "mine-0000.params", "--symbol", "mine-symbol.json", "--classes", "names.txt", "--top", "6")
    code, out, _ = run("explain", "pictures/0.png", *options, "--json", net=())
    found = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and sorted(one["label"] for one in found) == sorted(names)
    assert all(Path(one["panel"]).is_file() for one in found)
    assert len(list((tmp_path / "explanations").iterdir())) == 6


def test_class_and_layer(run, pictures, quick):
    code, out, _err = run("explain", pictures / "0.png", "--class", "zebra", "--layer", "features.8.2.conv3", "--json")
    found = json.loads(out)
    assert code == 0 and found["label"] == "zebra" and found["layer"] == "features.8.2.conv3"
    assert "the whole map after it is features.8" in found["warnings"][1] and found["target"] == 19
    assert json.loads(run("explain", pictures / "0.png", "--class", "19", "--json")[1])["label"] == "zebra"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.jpg"], "error: image nowhere.jpg does not exist"),
        (["https://example.org/zebra.jpg"], "is an address and no file;"),
        (["pictures/0.png", "--layer", "feature.10"], "error: the net has no layer 'feature.10'; did you mean"),
        (["pictures/0.png", "--class", "20"], "error: target is 20; this net has the classes 0 to 19"),
        (["pictures/0.png", "--class", "-1"], "error: target is -1"),
        (["pictures/0.png", "--class=--5"], "error: no class is called '--5'"),
        (["pictures/0.png", "--class=\N{SUPERSCRIPT TWO}"], "error: no class is called '\N{SUPERSCRIPT TWO}'"),
        (["pictures/0.png", "--class", "zebras"], "error: no class is called 'zebras'; did you mean zebra"),
        (["pictures/0.png", "--class", "zebra", "--top", "2"], "error: target is 'zebra' and top is 2"),
        (["pictures/0.png", "--weights", "a.params"], "error: weights file a.params: No such file"),
        (["pictures/0.png", "--out", "pictures/0.png"], "error: cannot make the folder pictures/0.png"),
        (["pictures/empty"], "error: folder pictures/empty holds no pictures"),
        (["pictures/0.png", "--top", "0"], "Invalid value"),
        (["pictures/0.png", "--model", "alexnet"], "Invalid value"),
        ([], "Missing argument"),
    ],
)
def test_what_cannot_be_done(run, pictures, arguments, message):
    (pictures / "empty").mkdir()
    code, _, err = run("explain", *arguments)
    assert code == 2 and message in " ".join(err.split()) and "Traceback" not in err


def test_a_folder_that_may_not_be_read_is_named(run, pictures, monkeypatch):
    def refuse(folder):
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", refuse)
    code, _, err = run("explain", pictures)
    assert code == 2 and err == f"error: {pictures}: Permission denied\n"


def test_several_pictures_at_once(run, pictures, quick):
    code, out, err = run("explain", pictures / "0.png", pictures / "1.png", pictures / "no.png", "--json")
    assert code == 1 and len(out.splitlines()) == 3 and "1 of 3 pictures could not be explained" in err


@pytest.fixture
def two_folders(tmp_path):
    for folder, seed in (("a", 0), ("b", 1)):
        (tmp_path / folder).mkdir()
        Image.fromarray(scenes.draw(seed).image).save(tmp_path / folder / "x.png")


def test_pictures_of_one_name_in_two_folders(run, two_folders, tmp_path, quick):
    code, out, _err = run("explain", "a/x.png", "b", "--class", "zebra", "--json")
    panels = [json.loads(line)["panel"] for line in out.splitlines()]
    ending = "x.png.zebra.resnet50_v2.features.10.png"
    assert code == 0 and panels == [f"explanations/a.{ending}", f"explanations/b.{ending}"]
    assert (tmp_path / panels[0]).read_bytes() != (tmp_path / panels[1]).read_bytes()


def test_pictures_whose_folders_are_named_alike_too(run, two_folders, tmp_path, quick):
    (tmp_path / "c").mkdir()
    (tmp_path / "b").rename(tmp_path / "c" / "a")
    code, out, _err = run("explain", "a/x.png", "c/a/x.png", "--json")
    panels = [json.loads(line)["panel"] for line in out.splitlines()]
    assert code == 0 and [panel.split(".x.png")[0] for panel in panels] == ["explanations/a", "explanations/c.a"]
    (tmp_path / "A").mkdir()
    (tmp_path / "c" / "a" / "x.png").rename(tmp_path / "A" / "x.png")
    code, out, err = run("explain", "a/x.png", "A/x.png", "--out", "elsewhere")
    assert code == 2 and not out and not (tmp_path / "elsewhere").exists()
    assert "error: some panels would have the same name" in " ".join(err.split())


def test_a_picture_given_twice_is_explained_once(run, two_folders, tmp_path, quick):
    code, out, _err = run("explain", "a/x.png", "a", tmp_path / "b" / ".." / "a" / "x.png", "--json")
    (line,) = out.splitlines()
    assert code == 0 and json.loads(line)["panel"].startswith("explanations/x.png.")


def test_a_crop_that_shows_little_is_mentioned(run, tmp_path, quick):
    for name in ("a.png", "b.png"):
        Image.fromarray(np.tile(scenes.draw(0).image, (1, 5, 1))).save(tmp_path / name)
    err = run("explain", "a.png", "b.png", "--top", "2")[2]
    for name in ("a.png", "b.png"):
        assert err.count(f"note: {name}: the network saw the middle 196x196 of 1120x224 pixels") == 1
    assert err.count("note: this net knows 20 cut-outs") == 1
    assert "the network saw" not in run("explain", "a.png", "--fit", "letterbox")[2]


def test_notes_name_what_they_are_about(narrow_resnet, scene, capsys):
    found = cam.explain(narrow_resnet, scene.image)
    about = cam.NetWarning("net"), cam.LayerWarning("layer"), cam.InputWarning("picture"), cam.MapWarning("map")
    told = set()
    for path in (Path("a.png"), Path("b.png")):
        for label in ("king penguin", "two\nlines"):
            explanation = dataclasses.replace(found, label=label, warnings=about)
            command_line._report(path, explanation, {"panel": "c.png"}, False, told)
    assert capsys.readouterr().err.splitlines() == [
        "note: net",
        "note: layer",
        "note: a.png: picture",
        "note: a.png, king penguin: map",
        "note: a.png, two lines: map",
        "note: b.png: picture",
        "note: b.png, king penguin: map",
        "note: b.png, two lines: map",
    ]


def test_what_reading_a_picture_tells_is_a_note_that_names_it_once(run, tmp_path, quick):
    Image.fromarray(np.arange(60 * 60, dtype=np.uint16).reshape(60, 60) % 1000).save(tmp_path / "scan.png")
    said = "note: image scan.png holds numbers up to 999: taken for 10-bit data, whose white is 1023"
    for command in ("explain", "check"):
        code, _, err = run(command, "scan.png", "--model", "efficientnet_lite0")
        assert code == 0 and err.splitlines() == [said]


def test_a_photograph_gets_its_name(run, quick):
    code, out, err = run("explain", COFFEE, "--json", net=())
    found = json.loads(out)
    assert code == 0 and found["label"] == "espresso" and found["layer"] == "features.17" and not err
    assert found["panel"] == "explanations/coffee.jpg.espresso.efficientnet_lite0.features.17.png"
    assert json.loads(run("explain", COFFEE, "--json", "--weights", "imagenet", net=())[1])["label"] == "espresso"
    code, out, err = run("explain", COFFEE, "--model", "vgg16")
    assert "note: this net knows 20 cut-outs" in err
    assert ".resnet50_v2." in run("explain", COFFEE, "--weights", "cheater", net=())[1]
    table = run("layers", net=())[1]
    assert next(line for line in table.splitlines() if line.endswith("recommended")).split()[0] == "features.17"


def test_a_net_of_ones_own(run, pictures, tmp_path, quick):
    net = vision.resnet18_v1(classes=3)
    net.initialize()
    net.hybridize()
    expected = net(cam.load_image(pictures / "0.png")).asnumpy()[0]
    net.export("mine")
    (tmp_path / "names.txt").write_text("rose\nlily\nt\N{LATIN SMALL LETTER U WITH DIAERESIS}lip\n", encoding="utf-8")
    pair = ("--params", "mine-0000.params", "--symbol", "mine-symbol.json")
    code, out, _ = run("explain", "pictures/0.png", *pair, "--classes", "names.txt", "--json", net=())
    found = json.loads(out)
    assert (
        code == 0 and found["target"] == expected.argmax() and found["logit"] == pytest.approx(expected.max(), rel=1e-3)
    )
    assert found["label"] == ["rose", "lily", "t\N{LATIN SMALL LETTER U WITH DIAERESIS}lip"][expected.argmax()]
    assert ".exported." in found["panel"]
    assert json.loads(run("explain", "pictures/0.png", *pair, "--json", net=())[1])["label"].startswith("class ")
    assert "recommended" in run("layers", *pair, net=())[1]
    (tmp_path / "two.txt").write_text("rose\nlily\n")
    (tmp_path / "gap.txt").write_text("rose\n\nlily\n")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    cam.resnet50_v2(weights=None, classes=2, width=1 / 16).save_parameters("other.params")
    for arguments, message in (
        (pair[:2], "give both: --params and --symbol"),
        ((*pair, "--weights", "scenes"), "give them without --model and --weights"),
        ((*pair, "--classes", "two.txt"), "net.labels is 2 names; this net has 3 classes"),
        ((*pair, "--classes", "gap.txt"), "has an empty line"),
        ((*pair, "--classes", "bytes.txt"), "is no text in UTF-8"),
        ((*pair, "--classes", "no.txt"), "classes file no.txt: No such file"),
        ((*pair[:2], "--symbol", "no.json"), "symbol file no.json: No such file"),
        ((*pair[:2], "--symbol", "names.txt"), "is no graph of MXNet's"),
        (("--params", "other.params", *pair[2:]), "do not belong together"),
    ):
        code, _, err = run("explain", "pictures/0.png", *arguments, net=())
        assert code == 2 and message in " ".join(err.split()) and "Traceback" not in err, err


@pytest.mark.parametrize(("size", "kind"), [(32, "float32"), (100, "float32"), (150, "float32"), (36, "float64")])
def test_a_net_of_another_size(run, pictures, quick, size, kind):
    net, (x,) = ready(sequence(conv(strides=4), relu(), nn.Dense(3)), (1, 3, size, size), dtype=kind)
    net.hybridize()
    net(x)
    net.export("small")
    pair = ("--params", "small-0000.params", "--symbol", "small-symbol.json")
    code, out, err = run("explain", "pictures/0.png", *pair, "--target", "1", "--json", net=())
    assert code == 0 and json.loads(out)["target"] == 1, err  # and nothing else is printed


@pytest.mark.parametrize(("loss", "label"), [("SoftmaxOutput", (1,)), ("LogisticRegressionOutput", (1, 3))])
def test_a_checkpoint_of_a_module(run, pictures, quick, loss, label):
    """It ends in a loss, whose label is in no file."""
    end = mx.sym.Activation(mx.sym.Convolution(mx.sym.var("data"), kernel=(3, 3), num_filter=4), act_type="relu")
    end = mx.sym.FullyConnected(mx.sym.Pooling(end, global_pool=True, kernel=(1, 1), pool_type="avg"), num_hidden=3)
    module = mx.mod.Module(getattr(mx.sym, loss)(end, name="end"), label_names=["end_label"])
    module.bind([("data", (1, 3, 224, 224))], [("end_label", label)])
    module.init_params(mx.init.Xavier())
    module.save_checkpoint("module", 1)
    pair = ("--params", "module-0001.params", "--symbol", "module-symbol.json")
    code, out, err = run("explain", "pictures/0.png", *pair, "--json", net=())
    assert code == 0, err
    module.forward(mx.io.DataBatch([cam.load_image(pictures / "0.png")]), is_train=False)
    assert json.loads(out)["probability"] == pytest.approx(module.get_outputs()[0].asnumpy().max(), rel=1e-4)


def test_layers(run):
    code, out, _ = run("layers")
    assert code == 0
    assert next(line for line in out.splitlines() if line.endswith("recommended")).split()[0] == "features.10"


def test_scene(run, tmp_path):
    code, out, _ = run("scene", "--seed", "7", "--masks")
    scene = scenes.draw(7)
    assert code == 0 and out.splitlines() == [
        "scene-7.png: zebra and drake",
        "scene-7-zebra.png: the mask of the zebra",
        "scene-7-drake.png: the mask of the drake",
    ]
    assert np.array_equal(np.asarray(Image.open(tmp_path / "scene-7.png")), scene.image)
    for label, mask in zip(scene.labels, scene.masks):
        assert np.array_equal(np.asarray(Image.open(tmp_path / f"scene-7-{label}.png")), mask)
    for name in ("a.xyz", "a.blp"):  # the second takes no colours
        code, _, err = run("scene", "--seed", "7", "--out", name)
        assert code == 2 and err.startswith(f"error: cannot write {name}: ") and not (tmp_path / name).exists()
    assert run("scene", "--seed", "-7")[0] == 2


class TestManyPictures:
    """A thread beside the net's reads and draws them."""

    def test_they_come_as_they_would_one_after_another(self, run, pictures, tmp_path, monkeypatch, quick):
        for name in ("-0", "-1", "1x", "3"):  # a whole batch, one of a batch, the last
            (pictures / f"{name}.png").write_text("no picture")
        advanced = []
        monkeypatch.setattr(command_line.Progress, "advance", lambda bar, task: advanced.append(task))
        code, out, err = run("explain", pictures, "--json", "--batch", "2")
        lines = [json.loads(line) for line in out.splitlines()]
        assert code == 1 and err.count("skipped") == 4 and len(advanced) == 7
        assert [Path(line["image"]).stem for line in lines] == ["-0", "-1", "0", "1", "1x", "2", "3"]
        alone = [json.loads(run("explain", line["image"], "--json", "--out", "alone")[1]) for line in lines]
        for one, other in zip(lines, alone):
            assert one.keys() == other.keys() and one.get("error") == other.get("error")
            if "error" not in one:
                assert one["label"] == other["label"] and one["logit"] == pytest.approx(other["logit"], rel=1e-4)
                panels = (np.asarray(Image.open(tmp_path / which["panel"]), int) for which in (one, other))
                assert np.abs(np.subtract(*panels)).max() <= 3  # a step of the colours

    def test_while_the_net_computes_pictures_are_drawn(self, pictures):
        for number in range(16):
            shutil.copyfile(pictures / "0.png", pictures / f"x{number}.png")
        computed = []

        def sleep(_name, _explanations):
            """A stand-in for drawing that takes its time and no processor: when it began and ended."""
            begun = time.monotonic()
            time.sleep(0.1)
            return begun, time.monotonic()

        def net(photographs):
            computed.append(sleep("", photographs))
            return [[] for _ in photographs]

        names = {path: path.name for path in pictures.iterdir()}
        drawn = [files.result() for _, files in background.explained(names, 1, net, sleep)]
        meet = [any(start < ended and begun < end for begun, ended in drawn) for start, end in computed]
        assert len(drawn) == len(computed) == len(names)
        assert sum(meet) >= len(names) / 2  # all but the first, on a machine that has nothing else to do

    def start(self, folder, tmp_path):
        process = subprocess.Popen(
            [sys.executable, "-m", "cam", "explain", folder, "--model", "resnet50_v2", "--batch", "1", "--top", "20"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            text=True,
            start_new_session=True,  # a group of its own, as a terminal gives it
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a run in the background ignores it
        )
        out = tmp_path / "explanations"
        deadline = time.monotonic() + 60
        while not (out.is_dir() and len(os.listdir(out)) >= 3):
            assert process.poll() is None and time.monotonic() < deadline, "no panels came"
            time.sleep(0.005)
        return process, out

    def test_interrupted_it_leaves_complete_files_only(self, pictures, tmp_path):
        process, out = self.start(pictures, tmp_path)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130 and "Traceback" not in err, err
        written = list(out.iterdir())
        assert 2 <= len(written) < 60 and all(path.name.endswith(".png") and path.name[0] != "." for path in written)
        for path in written:
            Image.open(path).load()


def test_weights(run, tmp_path, narrow_resnet):
    listed = run("weights", "list", "--weights-dir", tmp_path)[1]
    for name, source in download.SOURCES.items():
        assert source.sha256 in listed and f"get {name} --weights-dir {tmp_path}` puts it at" in listed
    place = tmp_path / download.SOURCES["vgg16"].file
    place.write_bytes(b"x")
    assert f"damaged: {place} is another file" in run("weights", "list", "--weights-dir", tmp_path)[1]
    assert "error: net is 'alexnet'" in run("weights", "get", "alexnet", "--weights-dir", tmp_path)[2]


def test_a_pinned_file(run, tmp_path, narrow_resnet, monkeypatch):
    path = foreign_files.write("onnx", "resnet50_v2", narrow_resnet, tmp_path).rename(tmp_path / "net.onnx")
    code, told, _ = run("weights", "check", path)
    assert code == 0 and "all 259 parameters of a resnet50_v2 (0.1 million numbers)" in told
    assert "classes: 7\n" in told and "not a pinned file" in told
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    pinned = download.Source("zoo/net", "net.onnx", path.stat().st_size, checksum, "a stand-in")
    monkeypatch.setitem(download.SOURCES, "resnet50_v2", pinned)
    assert f"sha256: {checksum}, the pinned file" in run("weights", "check", path)[1]
    assert run("weights", "get", "resnet50_v2", "--weights-dir", tmp_path)[1] == f"resnet50_v2: {path}\n"
    assert f"here: {path}" in run("weights", "list", "--weights-dir", tmp_path)[1]
    path.write_bytes(path.read_bytes()[:-1])
    code, told, err = run("weights", "check", path)
    assert code == 2 and not told and "is not complete" in err
