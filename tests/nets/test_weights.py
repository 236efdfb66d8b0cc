"""A file is read whole and right, or refused in one sentence; a net is never half loaded."""

import struct

import cam
from cam import WeightsError
from cam.core.layers import parameters
from cam.nets import loading, models, weights_files

import numpy as np
import pytest
from helpers import foreign_files
from mxnet import nd

EMBEDDED = {name for kind in models.KINDS.values() for names in kind.embedded.values() for name in names}


@pytest.fixture(scope="module")
def saved(narrow_resnet, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "narrow.params"
    narrow_resnet.save_parameters(str(path))
    return path


def test_a_params_file_is_read_as_by_mxnet(saved):
    found, expected = weights_files.read(saved), nd.load(str(saved))
    assert set(found) == set(expected)
    assert all(np.array_equal(values, expected[name].asnumpy()) for name, values in found.items())


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", "int32", "int8", "int64"])
def test_every_dtype(dtype, tmp_path):
    values = nd.array([[1, 2, 3]], dtype=dtype)
    nd.save(str(tmp_path / "one.params"), {"a": values})
    found = weights_files.read(tmp_path / "one.params")["a"]
    assert found.dtype == dtype and found.tolist() == [[1, 2, 3]]


def test_size_and_classes_are_read_from_the_file(saved, narrow_resnet):
    net = cam.resnet50_v2(weights=str(saved))
    assert net.output.weight.shape == narrow_resnet.output.weight.shape
    x = nd.random.normal(shape=(1, 3, 64, 64))
    assert np.array_equal(net(x).asnumpy(), narrow_resnet(x).asnumpy())
    assert net.labels is None


def test_missing_and_foreign_files(tmp_path, saved):
    with pytest.raises(WeightsError, match="nowhere.params: No such file"):
        cam.resnet50_v2(weights=tmp_path / "nowhere.params")
    text = tmp_path / "text.params"
    text.write_text("not weights at all, but long enough to be read as numbers")
    with pytest.raises(WeightsError, match="text.params is neither a .params nor an .onnx file"):
        cam.resnet50_v2(weights=text)
    with pytest.raises(WeightsError, match="are those of resnet50_v2, not of vgg16: load them with cam.resnet50_v2"):
        cam.vgg16(weights=saved)
    (tmp_path / "empty.params").write_bytes(b"")
    with pytest.raises(WeightsError, match="empty.params is empty"):
        cam.vgg16(weights=tmp_path / "empty.params")
    with pytest.raises(WeightsError, match="it is a folder"):
        cam.vgg16(weights=tmp_path)


def test_missing_surplus_and_misshapen_parameters_are_listed(saved, narrow_resnet):
    arrays, net = foreign_files.arrays_of(narrow_resnet), cam.resnet50_v2(saved)
    before = net.output.bias.data().asnumpy()
    arrays["output.bias"] = arrays["output.bias"] + 1
    arrays["extra"] = arrays["output.bias"]
    arrays["features.1.weight"] = arrays["features.1.weight"][:2]
    del arrays["features.9.beta"]
    with pytest.raises(WeightsError, match="features.9.beta is missing; extra is surplus; features.1.weight has"):
        loading.load(parameters(net), arrays, "made up")
    assert np.array_equal(net.output.bias.data().asnumpy(), before)


def test_values_that_are_no_numbers(tmp_path):
    nd.save(str(tmp_path / "nan.params"), {"features.0.weight": nd.array([1, np.nan])})
    with pytest.raises(WeightsError, match="features.0.weight holds NaN or infinity"):
        weights_files.read(tmp_path / "nan.params")


def test_truncated_files(saved, tmp_path):
    data = saved.read_bytes()
    for length in [*range(0, 200, 7), len(data) // 2, len(data) - 1]:
        (tmp_path / "cut.params").write_bytes(data[:length])
        with pytest.raises(WeightsError, match="is not complete|is empty"):
            weights_files.read(tmp_path / "cut.params")
    (tmp_path / "long.params").write_bytes(data + b"x")
    with pytest.raises(WeightsError, match="more bytes than it announces"):
        weights_files.read(tmp_path / "long.params")


def test_a_corrupt_header_never_crashes(saved, tmp_path):
    """MXNet's own reader can segfault on these. The first array's header lies at bytes 24 to 80."""
    data = bytearray(saved.read_bytes())
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        mutated = bytearray(data)
        at = int(rng.integers(0, 80))
        mutated[at : at + 8] = struct.pack("<Q", int(rng.integers(0, 2**63)))
        (tmp_path / "mutated.params").write_bytes(mutated)
        try:
            weights_files.read(tmp_path / "mutated.params")
        except WeightsError:
            refused += 1
    assert refused > 200  # the rest hit values, which only a checksum can tell


@pytest.mark.parametrize("name", sorted(EMBEDDED))
def test_the_embedded_weights_are_checked(name, tmp_path, monkeypatch):
    monkeypatch.setattr(weights_files, "ASSETS", tmp_path)
    with pytest.raises(WeightsError, match=f"{name} are missing or damaged"):
        weights_files.embedded(name)
    data = bytearray((weights_files.CHECKSUMS.parent / name).read_bytes())
    (tmp_path / name).write_bytes(data)
    assert weights_files.embedded(name)
    data[len(data) // 2] ^= 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(WeightsError, match=f"{name} are missing or damaged"):
        weights_files.embedded(name)
