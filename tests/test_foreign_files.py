"""Other people's files: every form gives the identical net, and what does not fit is told by name."""

import gzip
import hashlib
import subprocess
import sys
from pathlib import Path

import cam
from cam import formats, models, weights
from cam.errors import WeightsError
from cam.labels import imagenet_labels

import foreign_files
import numpy as np
import onnx
import pytest
import safetensors.numpy
from conftest import random_images, randomise
from mxnet import nd
from mxnet.gluon.model_zoo import vision

FORMS = [(name, kind) for name, kinds in foreign_files.KINDS.items() for kind in kinds]
FORMATS = {"onnx": "onnx", "timm": "safetensors", "torchvision": "safetensors"}


@pytest.mark.parametrize(("name", "kind"), FORMS)
def test_every_form_gives_the_identical_output(name, kind, narrow_nets, tmp_path):
    path = foreign_files.write(kind, name, narrow_nets[name], tmp_path)
    assert formats.kind_of(path) == FORMATS.get(kind, "params")
    net = getattr(cam, name)(weights=path)
    x = random_images(1)
    assert np.array_equal(net(x).asnumpy(), narrow_nets[name](x).asnumpy())
    assert np.array_equal(net(x).asnumpy(), foreign_files.zoo_twin(name, narrow_nets[name])(x).asnumpy())
    assert models.nearest(formats.read(path)) == name


@pytest.mark.parametrize("prefix", ["", "resnetv24_", "mine_0_resnetv20_"])
def test_any_prefix(prefix, narrow_resnet):
    arrays = {
        prefix + gluon: foreign_files.arrays_of(narrow_resnet)[path]
        for gluon, path in models._topology("resnet50_v2").items()
    }
    found = weights.structural(arrays, models._topology("resnet50_v2"))
    assert list(found) == list(foreign_files.arrays_of(narrow_resnet))


def test_a_file_with_1000_classes_has_imagenets_labels(tmp_path):
    net = randomise(cam.resnet50_v2(weights=None, width=1 / 16))
    assert net.labels is None  # it was trained on nothing
    loaded = cam.resnet50_v2(foreign_files.write("onnx", "resnet50_v2", net, tmp_path))
    assert loaded.labels == imagenet_labels()
    x = random_images(1, size=64)
    assert np.array_equal(cam.grad_cam(loaded, x, "zebra"), cam.grad_cam(net, x, 340))


def test_missing_surplus_and_misshapen_parameters_are_told_by_our_names(narrow_vgg, tmp_path):
    path = foreign_files.write("torchvision", "vgg16", narrow_vgg, tmp_path)
    arrays = safetensors.numpy.load_file(path)
    arrays["classifier.9.bias"] = arrays.pop("classifier.3.bias")
    safetensors.numpy.save_file(arrays, path)
    with pytest.raises(WeightsError, match="features.33.bias is missing; classifier.9.bias is surplus$"):
        cam.vgg16(path)
    arrays["classifier.3.bias"] = arrays.pop("classifier.9.bias")
    arrays["features.2.weight"] = arrays["features.2.weight"][:, :1].copy()
    safetensors.numpy.save_file(arrays, path)
    with pytest.raises(WeightsError, match=r"features.2.weight has shape \(4, 1, 3, 3\) instead of \(4, 4, 3, 3\)$"):
        cam.vgg16(path)
    arrays["features.0.bias"] = np.zeros((), np.float32)
    safetensors.numpy.save_file(arrays, path)
    with pytest.raises(WeightsError, match=r"features.0.bias has shape \(\)$"):
        cam.vgg16(path)


def test_one_parameter_under_two_names(narrow_vgg, tmp_path):
    arrays = foreign_files.arrays_of(narrow_vgg)
    arrays["vgg0_conv0_bias"] = arrays["features.0.bias"] + 1
    safetensors.numpy.save_file(arrays, tmp_path / "twice")
    with pytest.raises(WeightsError, match="a second time. is surplus$"):
        cam.vgg16(tmp_path / "twice")


def test_the_other_net_is_recognised(narrow_resnet, tmp_path):
    path = foreign_files.write("onnx", "resnet50_v2", narrow_resnet, tmp_path)
    with pytest.raises(WeightsError, match="are those of a resnet50_v2, not of a vgg16: load them as a resnet50_v2$"):
        cam.vgg16(path)


def test_a_net_that_cam_does_not_build(tmp_path):
    theirs = vision.resnet18_v1(classes=3)
    theirs.initialize()
    theirs(nd.zeros((1, 3, 32, 32)))
    theirs.save_parameters(str(tmp_path / "a.params"))
    for make in (cam.vgg16, cam.resnet50_v2):
        with pytest.raises(WeightsError, match="are neither those of a vgg16 nor of a resnet50_v2"):
            make(tmp_path / "a.params")


def test_negative_variances(narrow_resnet, tmp_path):
    arrays = foreign_files.arrays_of(narrow_resnet)
    arrays["features.2.running_var"] = -arrays["features.2.running_var"]
    safetensors.numpy.save_file(arrays, tmp_path / "a")
    with pytest.raises(WeightsError, match="features.2.running_var has negative variances"):
        cam.resnet50_v2(tmp_path / "a")


@pytest.mark.parametrize("name", ["ImageNet", "imagnet", "scene"])
def test_a_slip_of_the_pen(name):
    with pytest.raises(WeightsError, match=f"weights file {name}: No such file; did you mean"):
        cam.resnet50_v2(name)


def test_half_precision(narrow_vgg, tmp_path):
    arrays = {name: values.astype(np.float16) for name, values in foreign_files.arrays_of(narrow_vgg).items()}
    safetensors.numpy.save_file(arrays, tmp_path / "half")
    found = foreign_files.arrays_of(cam.vgg16(tmp_path / "half"))
    assert all(values.dtype == np.float32 and np.array_equal(values, arrays[name]) for name, values in found.items())


def test_numbers_that_numpy_does_not_know(tmp_path):
    header = b'{"a":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}'
    (tmp_path / "bfloat16").write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    with pytest.raises(WeightsError, match="numbers of type 'BF16', which numpy does not know"):
        formats.read(tmp_path / "bfloat16")


def _graph(tmp_path, *tensors) -> Path:
    graph = onnx.helper.make_graph([], "graph", [], [], initializer=tensors)
    (tmp_path / "graph").write_bytes(onnx.helper.make_model(graph).SerializeToString())
    return tmp_path / "graph"


def test_an_onnx_file_never_leads_to_another_file(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(4))
    tensor = onnx.numpy_helper.from_array(np.zeros(1, np.float32), "elsewhere")
    onnx.external_data_helper.set_external_data(tensor, str(tmp_path / "secret"))
    with pytest.raises(WeightsError, match="the values of elsewhere are in another file, which is not read"):
        formats.read(_graph(tmp_path, tensor))


def test_what_an_onnx_file_may_hold(tmp_path):
    shape = onnx.helper.make_tensor("reshape_attr", onnx.TensorProto.INT64, [2], [1, -1])
    good = onnx.numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(2, 3), "good")
    assert list(formats.read(_graph(tmp_path, shape, good))) == ["good"]
    with pytest.raises(WeightsError, match="'good', a name that is no text, or that it has twice"):
        formats.read(_graph(tmp_path, good, good))
    path = _graph(tmp_path, good)
    path.write_bytes(path.read_bytes().replace(b"good", b"go\xffd"))  # no UTF-8
    with pytest.raises(WeightsError, match="a name that is no text"):
        formats.read(path)
    good.dims[0] = -1
    with pytest.raises(WeightsError, match=r"good announces the shape \(-1, 3\) and has \(2, 3\)"):
        formats.read(_graph(tmp_path, good))
    good.dims[0] = 3
    with pytest.raises(WeightsError, match="is not a complete ONNX file: good: cannot reshape"):
        formats.read(_graph(tmp_path, good))
    good.data_type = onnx.TensorProto.BFLOAT16
    with pytest.raises(WeightsError, match="good is not of float16, float32 or float64"):
        formats.read(_graph(tmp_path, good))


@pytest.mark.parametrize("kind", ["onnx", "timm"])
def test_infinity(kind, tmp_path):
    net = models.build_vgg16([1, 1, 2, 2, 2], 3, 4)
    net.initialize()
    net.output.bias.set_data(net.output.bias.data() + np.inf)
    path = foreign_files.write(kind, "vgg16", net, tmp_path)
    with pytest.raises(WeightsError, match="(output_bias|dense2_bias|head.fc.bias) holds NaN or infinity"):
        formats.read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"x", mtime=0), "is compressed with gzip; unpack it first"),
        (b"PK\x03\x04", "take the .safetensors file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        (b"<!DOCTYPE html>", "is a web page"),
        (b"\x80\x02}", "is neither a .params, an .onnx nor a .safetensors file"),
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


@pytest.mark.parametrize(("kind", "package"), [("onnx", "onnx"), ("timm", "safetensors")])
def test_a_package_that_is_not_installed(kind, package, narrow_vgg, tmp_path, monkeypatch):
    path = foreign_files.write(kind, "vgg16", narrow_vgg, tmp_path)
    monkeypatch.setitem(sys.modules, package, None)  # Python's way to say that it cannot be imported
    with pytest.raises(WeightsError, match=rf"the package {package}, which is not installed.* '.\[imagenet"):
        cam.vgg16(path)


def test_importing_cam_needs_none_of_them():
    program = (
        "import sys; sys.modules.update(onnx=None, safetensors=None, huggingface_hub=None); import cam; cam.vgg16()"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_damaged_files_in_a_process_of_their_own():
    """A sample of `make fuzz`; the exit status tells a crash."""
    done = subprocess.run(
        [sys.executable, Path(__file__).parent / "fuzz_weights.py", "50"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    reports = done.stdout.splitlines()
    assert [line.split(":")[0] for line in reports] == list(foreign_files.KINDS["vgg16"])
    for line in reports:
        refused, loaded = (int(part.split()[0]) for part in line.split(", ")[1:])
        assert refused + loaded == 50 and refused > 20  # the rest hit values, which only a checksum can tell
