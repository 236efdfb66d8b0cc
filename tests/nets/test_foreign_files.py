"""Other people's files: every form gives the identical net, and what does not fit is told by name."""

import gzip
import hashlib
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cam
from cam import InputError, WeightsError
from cam.nets import models, weights_files
from cam.nets.labels import imagenet_labels
from cam.nets.loading import structural

import mxnet as mx
import numpy as np
import onnx
import pytest
from conftest import random_images, randomise
from helpers import foreign_files
from mxnet import nd
from mxnet.gluon import nn
from mxnet.gluon.model_zoo import vision

NAMES = ["vgg16", "resnet50_v2"]


@pytest.mark.parametrize("name", NAMES)
def test_every_form_gives_the_identical_output(name, narrow_nets, tmp_path):
    x = random_images(1)
    expected = narrow_nets[name](x).asnumpy()
    for kind in foreign_files.KINDS:
        path = foreign_files.write(kind, name, narrow_nets[name], tmp_path)
        assert np.array_equal(getattr(cam, name)(weights=path)(x).asnumpy(), expected), kind
        assert models.nearest(weights_files.read(path)) == name


def test_the_onnx_files_of_these_tests_are_what_mxnet_exports(narrow_resnet, tmp_path, monkeypatch):
    # A module that onnx 1.19 removed and MXNet's export reads
    numbers = (onnx.TensorProto.FLOAT, onnx.TensorProto.INT64)
    types = {number: onnx.helper.tensor_dtype_to_np_dtype(number) for number in numbers}
    back = {dtype: number for number, dtype in types.items()}
    mapping = SimpleNamespace(TENSOR_TYPE_TO_NP_TYPE=types, NP_TYPE_TO_TENSOR_TYPE=back)
    monkeypatch.setattr(onnx, "mapping", mapping, raising=False)
    exported = foreign_files.write("export", "resnet50_v2", narrow_resnet, tmp_path)
    pair = f"{exported}-symbol.json", f"{exported}-0000.params"
    mx.onnx.export_model(*pair, [(1, 3, 224, 224)], np.float32, str(tmp_path / "theirs"))
    theirs = structural(weights_files.read(tmp_path / "theirs"), models._topology("resnet50_v2"))
    ours = foreign_files.arrays_of(narrow_resnet)
    assert set(theirs) == set(ours) and all(np.array_equal(theirs[key], ours[key]) for key in ours)


@pytest.mark.parametrize("prefix", ["", "resnetv24_", "mine_0_resnetv20_"])
def test_any_prefix(prefix, narrow_resnet):
    topology = models._topology("resnet50_v2")
    arrays = {prefix + gluon: foreign_files.arrays_of(narrow_resnet)[path] for gluon, path in topology.items()}
    assert list(structural(arrays, topology)) == list(foreign_files.arrays_of(narrow_resnet))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("inside", [True, False], ids=["in the name scope", "outside"])
def test_a_net_whose_output_layer_was_replaced(name, inside, narrow_nets, tmp_path):
    """As in the tutorials of MXNet and GluonCV; Gluon then counts the names of Dense layers on."""
    net = models.assemble(name, foreign_files.arrays_of(narrow_nets[name]), name)
    if inside:
        with net.name_scope():
            net.output = nn.Dense(2)
    else:
        net.output = nn.Dense(2)
    net.output.initialize()
    x = random_images(1)
    net.hybridize()
    expected = net(x).asnumpy()
    net.export(str(tmp_path / "net"))
    found = getattr(cam, name)(tmp_path / "net-0000.params")
    found.hybridize()
    assert np.array_equal(found(x).asnumpy(), expected) and found.output.weight.shape[0] == 2


def test_two_new_layers_are_not_guessed(narrow_resnet, tmp_path):
    arrays = foreign_files.by_gluon_name(narrow_resnet)
    stem = narrow_resnet.prefix
    for kind in ("weight", "bias"):
        arrays[f"{stem}dense1_{kind}"] = arrays[f"{stem}dense2_{kind}"] = arrays.pop(f"{stem}dense0_{kind}")
    nd.save(str(tmp_path / "a"), {key: nd.array(values) for key, values in arrays.items()})
    with pytest.raises(WeightsError, match="output.weight is missing; output.bias is missing; .*dense1_weight is surp"):
        cam.resnet50_v2(tmp_path / "a")


def test_a_file_with_1000_classes_has_imagenets_labels(tmp_path):
    net = randomise(cam.resnet50_v2(weights=None, width=1 / 16))
    loaded = cam.resnet50_v2(foreign_files.write("onnx", "resnet50_v2", net, tmp_path))
    assert loaded.labels == imagenet_labels()
    x = random_images(1, size=64)
    signed = cam.grad_cam(loaded, x, target="zebra", relu=False)
    assert signed.any() and np.array_equal(signed, cam.grad_cam(net, x, target=340, relu=False))


def test_missing_surplus_and_misshapen_parameters_are_told_by_our_names(narrow_vgg, tmp_path):
    arrays = foreign_files.arrays_of(narrow_vgg)

    def load_with(**changes):
        changed = {**arrays, **changes}
        foreign_files.write_onnx(tmp_path / "a", {key: values for key, values in changed.items() if values is not None})
        cam.vgg16(tmp_path / "a")

    with pytest.raises(WeightsError, match="features.33.bias is missing; features.9.bias is surplus$"):
        load_with(**{"features.33.bias": None, "features.9.bias": arrays["features.33.bias"]})
    with pytest.raises(WeightsError, match=r"features.2.weight has shape \(4, 1, 3, 3\) instead of \(4, 4, 3, 3\)$"):
        load_with(**{"features.2.weight": arrays["features.2.weight"][:, :1].copy()})
    with pytest.raises(WeightsError, match=r"features.0.bias has shape \(\)$"):
        load_with(**{"features.0.bias": np.zeros((), np.float32)})
    with pytest.raises(WeightsError, match="vgg0_conv0_bias .a second time. is surplus$"):
        load_with(vgg0_conv0_bias=arrays["features.0.bias"] + 1)


def test_negative_variances(narrow_resnet, tmp_path):
    arrays = foreign_files.arrays_of(narrow_resnet)
    arrays["features.2.running_var"] = -arrays["features.2.running_var"]
    foreign_files.write_onnx(tmp_path / "a", arrays)
    with pytest.raises(WeightsError, match="features.2.running_var has negative variances"):
        cam.resnet50_v2(tmp_path / "a")


def test_a_net_that_cam_does_not_build(tmp_path):
    theirs = vision.resnet18_v1(classes=3)
    theirs.initialize()
    theirs(nd.zeros((1, 3, 32, 32)))
    theirs.save_parameters(str(tmp_path / "a.params"))
    for make in (cam.vgg16, cam.resnet50_v2):
        with pytest.raises(WeightsError, match=f"a.params do not fit {make.__name__}: features.* is missing; .* more$"):
            make(tmp_path / "a.params")


@pytest.mark.parametrize("name", ["ImageNet", "imagnet", "scene"])
def test_a_slip_of_the_pen(name):
    with pytest.raises(
        InputError, match=f"weights is '{name}'; resnet50_v2 has 'scenes' and 'cheater' and 'imagenet'; or"
    ):
        cam.resnet50_v2(name)


def test_half_precision(narrow_vgg, tmp_path):
    arrays = {name: values.astype(np.float16) for name, values in foreign_files.arrays_of(narrow_vgg).items()}
    foreign_files.write_onnx(tmp_path / "half", arrays)
    found = foreign_files.arrays_of(cam.vgg16(tmp_path / "half"))
    assert all(values.dtype == np.float32 and np.array_equal(values, arrays[name]) for name, values in found.items())


def _graph(tmp_path, *tensors) -> Path:
    graph = onnx.helper.make_graph([], "graph", [], [], initializer=tensors)
    (tmp_path / "graph").write_bytes(onnx.helper.make_model(graph).SerializeToString())
    return tmp_path / "graph"


def test_an_onnx_file_never_leads_to_another_file(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(4))
    tensor = onnx.numpy_helper.from_array(np.zeros(1, np.float32), "elsewhere")
    onnx.external_data_helper.set_external_data(tensor, str(tmp_path / "secret"))
    with pytest.raises(WeightsError, match="the values of elsewhere are in another file, which is not read"):
        weights_files.read(_graph(tmp_path, tensor))


def test_what_an_onnx_file_may_hold(tmp_path):
    shape = onnx.helper.make_tensor("reshape_attr", onnx.TensorProto.INT64, [2], [1, -1])
    good = onnx.numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(2, 3), "good")
    assert list(weights_files.read(_graph(tmp_path, shape, good))) == ["good"]
    with pytest.raises(WeightsError, match="'good', a name that is no text, or that it has twice"):
        weights_files.read(_graph(tmp_path, good, good))
    path = _graph(tmp_path, good)
    path.write_bytes(path.read_bytes().replace(b"good", b"go\xffd"))  # no UTF-8
    with pytest.raises(WeightsError, match="a name that is no text"):
        weights_files.read(path)
    good.dims[0] = -1
    with pytest.raises(WeightsError, match=r"good announces the shape \(-1, 3\) and has \(2, 3\)"):
        weights_files.read(_graph(tmp_path, good))
    good.dims[0] = 3
    with pytest.raises(WeightsError, match="is not complete, or damaged: cannot reshape"):
        weights_files.read(_graph(tmp_path, good))
    good.data_type = onnx.TensorProto.BFLOAT16
    with pytest.raises(WeightsError, match="good is not of float16, float32 or float64"):
        weights_files.read(_graph(tmp_path, good))
    infinite = onnx.numpy_helper.from_array(np.full(1, np.inf, np.float32), "far")
    with pytest.raises(WeightsError, match="far holds NaN or infinity"):
        weights_files.read(_graph(tmp_path, infinite))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"x", mtime=0), "is compressed with gzip; unpack it first"),
        (b"PK\x03\x04", "is a zip archive, perhaps of PyTorch; take a .params or an .onnx file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        (b"<!DOCTYPE html>", "is a web page"),
        (b"\x80\x02}", "is neither a .params nor an .onnx file"),
    ],
)
def test_what_people_take_for_weights(content, message, tmp_path):
    (tmp_path / "net.params").write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        cam.vgg16(tmp_path / "net.params")


def test_the_sha1_in_the_name_of_a_zoo_file(narrow_resnet, tmp_path):
    path = foreign_files.write("gluon", "resnet50_v2", narrow_resnet, tmp_path)
    right = path.rename(tmp_path / f"resnet50_v2-{hashlib.sha1(path.read_bytes()).hexdigest()[:8]}.params")
    assert cam.resnet50_v2(right).output.weight.shape == narrow_resnet.output.weight.shape
    wrong = right.rename(tmp_path / "resnet50_v2-ecdde353.params")
    with pytest.raises(WeightsError, match="its name says that its sha1 begins with ecdde353, but it begins with"):
        cam.resnet50_v2(wrong)


def test_a_package_that_is_not_installed(narrow_vgg, tmp_path, monkeypatch):
    path = foreign_files.write("onnx", "vgg16", narrow_vgg, tmp_path)
    monkeypatch.setitem(sys.modules, "onnx", None)  # Python's way to say that it cannot be imported
    with pytest.raises(WeightsError, match=r"the package onnx, which is not installed.* '.\[imagenet"):
        cam.vgg16(path)


def test_importing_cam_needs_none_of_them():
    program = "import sys; sys.modules.update(onnx=None, pooch=None); import cam; cam.vgg16()"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_damaged_files_in_a_process_of_their_own():
    """A sample of `make fuzz`; the exit status tells a crash."""
    script = Path(foreign_files.__file__).parent / "fuzz_weights.py"
    done = subprocess.run([sys.executable, script, "50"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    reports = done.stdout.splitlines()
    assert [line.split(":")[0] for line in reports] == list(foreign_files.KINDS)
    for line in reports:
        refused, loaded = (int(part.split()[0]) for part in line.split(", ")[1:])
        assert refused + loaded == 50 and refused > 20  # the rest hit values, which only a checksum can tell
