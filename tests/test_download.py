"""A source that cuts, lies, waits or is not there: the file is right or it is not put in place."""

import hashlib
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cam
from cam import download
from cam.errors import CamError, InputError, WeightsError
from cam.labels import imagenet_labels
from cam.weights_commands import app

import foreign_files
import huggingface_hub.constants
import numpy as np
import pytest
from conftest import random_images, randomise
from typer.testing import CliRunner

NAME = "resnet50_v2"


class Server(ThreadingHTTPServer):
    """Serves `content` at every address. `heads` and `gets` say how the next answers go wrong.

    Each entry is a status code, or for a GET the number of bytes after which the connection is cut.
    """

    daemon_threads = True

    def __init__(self, content: bytes):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.heads, self.gets = content, [], []
        self.asked = []  # (method, first byte asked for)
        self.seconds, self.ranges = 0.0, True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.answer(self.server.heads, body=False)

    def do_GET(self):
        self.answer(self.server.gets, body=True)

    def answer(self, trouble, body):
        server = self.server
        first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        server.asked.append((self.command, first))
        threading.Event().wait(server.seconds)
        problem = trouble.pop(0) if trouble else None
        if problem in (404, 503):
            self.send_error(problem)
            return
        rest = server.content[first:] if server.ranges else server.content
        self.send_response(206 if first and server.ranges else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if body:
            self.wfile.write(rest[:problem])
        self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """A file of the zoo's very form with 1000 classes, and its net."""
    net = randomise(cam.resnet50_v2(weights=None, width=1 / 16))
    path = foreign_files.write("onnx", NAME, net, tmp_path_factory.mktemp("zoo"))
    return path.read_bytes(), net


@pytest.fixture
def server(content, monkeypatch):
    """A source for a stand-in, which takes the pinned file's place; nobody waits between attempts."""
    data, _ = content
    stand_in = download.Source("zoo/net", "net.onnx", len(data), hashlib.sha256(data).hexdigest(), "a stand-in")
    monkeypatch.setitem(download.SOURCES, NAME, stand_in)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 50_000)  # 10 MB, more than the stand-in has
    server = Server(data)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix != ".lock"}


def test_once(server, tmp_path):
    path = download.fetch(NAME, tmp_path / "new", server.url)
    assert path == tmp_path / "new" / "net.onnx" == download.find(NAME, tmp_path / "new")
    assert path.read_bytes() == server.content and files(path.parent) == {"net.onnx"}
    assert server.asked == [("HEAD", 0), ("GET", 0)]
    assert download.fetch(NAME, tmp_path / "new", server.url) == path
    assert len(server.asked) == 2  # nobody is asked for what is there


def test_goes_on_after_a_cut(server, tmp_path):
    server.gets = [100_000, 150_000]
    assert download.fetch(NAME, tmp_path, server.url).read_bytes() == server.content
    assert server.asked[1:] == [("GET", 0), ("GET", 100_000), ("GET", 250_000)]


def test_goes_on_in_a_later_call(server, tmp_path):
    server.gets = [100_000, 404]
    with pytest.raises(WeightsError, match="call again, which goes on where this ended"):
        download.fetch(NAME, tmp_path, server.url)
    assert files(tmp_path) == {"net.onnx.part"} and download.find(NAME, tmp_path) is None
    assert download.fetch(NAME, tmp_path, server.url).read_bytes() == server.content
    assert server.asked[-1] == ("GET", 100_000)


def test_a_source_that_cannot_go_on_begins_again(server, tmp_path):
    server.gets, server.ranges = [100_000], False
    assert download.fetch(NAME, tmp_path, server.url).read_bytes() == server.content


def test_a_wrong_file_is_thrown_away(server, tmp_path):
    server.content = server.content[:-1] + b"x"
    with pytest.raises(WeightsError, match=f"what came has the sha256 {hashlib.sha256(server.content).hexdigest()}"):
        download.fetch(NAME, tmp_path, server.url)
    assert files(tmp_path) == set()


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"x"])
def test_a_file_of_the_wrong_size_is_never_put_in_place(server, tmp_path, change):
    right, server.content = server.content, change(server.content)
    with pytest.raises(WeightsError, match="net.onnx could not be downloaded"):
        download.fetch(NAME, tmp_path, server.url)
    assert "net.onnx" not in files(tmp_path)
    server.content = right
    assert download.fetch(NAME, tmp_path, server.url).read_bytes() == right


def test_not_found(server, tmp_path):
    server.heads = [404]
    with pytest.raises(WeightsError, match="404") as raised:
        download.fetch(NAME, tmp_path, server.url)
    source = download.SOURCES[NAME]
    for part in (
        server.url,
        source.file,
        source.sha256,
        str(source.size),
        str(tmp_path / source.file),
        "path of another file",
    ):
        assert part in str(raised.value)
    assert server.asked == [("HEAD", 0)] and "\n" not in str(raised.value)


def test_a_busy_source_is_asked_again(server, tmp_path):
    server.heads, server.gets = [503, 503], [503, 1000, 503]
    assert download.fetch(NAME, tmp_path, server.url).read_bytes() == server.content
    assert [method for method, _ in server.asked] == ["HEAD"] * 3 + ["GET"] * 4


def test_a_source_that_stays_busy(server, tmp_path):
    server.gets = [503] * 20
    with pytest.raises(WeightsError, match="503"):
        download.fetch(NAME, tmp_path, server.url)
    assert len(server.asked) == 1 + download.ATTEMPTS


def test_a_slow_start(server, tmp_path):
    server.seconds = 1.5
    assert download.fetch(NAME, tmp_path, server.url).read_bytes() == server.content


def test_without_a_network_nobody_waits(server, tmp_path, monkeypatch):
    server.shutdown()
    server.server_close()

    def no_waiting(seconds):
        raise AssertionError("it waits, and nothing will come")

    monkeypatch.setattr(time, "sleep", no_waiting)
    with pytest.raises(WeightsError, match="refused.*call again.* put it at .*net.onnx"):
        download.fetch(NAME, tmp_path, server.url)


def test_a_damaged_file_is_not_used_but_replaced(server, tmp_path):
    (tmp_path / "net.onnx").write_bytes(server.content[:-1] + b"x")
    assert download.find(NAME, tmp_path) is None
    server.heads = [404]
    with pytest.raises(WeightsError, match="the file there now has another sha256"):
        download.fetch(NAME, tmp_path, server.url)
    assert download.fetch(NAME, tmp_path, server.url).read_bytes() == server.content


def test_two_at_once_download_once(server, tmp_path):
    server.seconds = 0.2
    threads = [threading.Thread(target=download.fetch, args=(NAME, tmp_path, server.url)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [method for method, _ in server.asked].count("GET") == 1
    assert (tmp_path / "net.onnx").read_bytes() == server.content


def test_a_folder_that_cannot_be_made(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(WeightsError, match="weights cannot be kept in .*file: .*choose another folder"):
        download.fetch(NAME, tmp_path / "file", server.url)


def test_a_folder_in_the_place_of_the_file(server, tmp_path):
    (tmp_path / download.SOURCES[NAME].file).mkdir()
    with pytest.raises(WeightsError, match="is a folder where the weights file should be"):
        download.fetch(NAME, tmp_path, server.url)


def test_where_files_are_kept(tmp_path, monkeypatch):
    monkeypatch.delenv("CAM_WEIGHTS_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert download.folder() == tmp_path / "cam"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert download.folder() == Path.home() / ".cache" / "cam"
    monkeypatch.setenv("CAM_WEIGHTS_DIR", str(tmp_path / "mine"))
    assert download.folder() == tmp_path / "mine"
    assert download.folder(tmp_path / "chosen") == tmp_path / "chosen"
    with pytest.raises(InputError, match="net is 'alexnet'; ImageNet weights are pinned for vgg16 and resnet50_v2"):
        download.fetch("alexnet")


def test_the_net(server, content, tmp_path, monkeypatch):
    monkeypatch.setenv("CAM_WEIGHTS_DIR", str(tmp_path))
    (tmp_path / "net.onnx").write_bytes(server.content)
    net, expected = cam.resnet50_v2(weights="imagenet"), content[1]
    x = random_images(1, size=64)
    assert np.array_equal(net(x).asnumpy(), expected(x).asnumpy())
    assert net.labels == imagenet_labels()
    assert np.array_equal(cam.grad_cam(net, x, "crane (bird)"), cam.grad_cam(expected, x, 134))
    assert server.asked == []


def run(*arguments) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.output


def refused(*arguments) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert isinstance(done.exception, CamError) and done.output == ""
    return str(done.exception)


def test_list_and_get(server, tmp_path):
    listed = run("list", "--weights-dir", tmp_path)
    for source in download.SOURCES.values():
        assert source.sha256 in listed and f"puts it at {tmp_path / source.file}" in listed
    (tmp_path / "net.onnx").write_bytes(server.content)
    assert f"here: {tmp_path / 'net.onnx'}" in run("list", "--weights-dir", tmp_path)
    assert run("get", NAME, "--weights-dir", tmp_path) == f"{NAME}: {tmp_path / 'net.onnx'}\n"
    (tmp_path / "net.onnx").write_bytes(b"x")
    assert f"damaged: {tmp_path / 'net.onnx'}" in run("list", "--weights-dir", tmp_path)
    assert "net is 'alexnet'" in refused("get", "alexnet", "--weights-dir", tmp_path)


def test_get_takes_another_server_from_the_environment(server, tmp_path):
    server.heads = [404]
    program = "from cam.weights_commands import app; app()"
    done = subprocess.run(
        [sys.executable, "-c", program, "get", "vgg16", "--weights-dir", tmp_path],
        env={**os.environ, "HF_ENDPOINT": server.url},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and done.stdout == ""
    assert f"from {server.url}/onnxmodelzoo/vgg16-7/resolve/" in done.stderr.splitlines()[-1]
    assert server.asked == [("HEAD", 0)]


def test_check_and_convert(server, content, tmp_path):
    path, out = tmp_path / "net", tmp_path / "net.params"
    path.write_bytes(server.content)
    told = run("check", path)
    assert "all 259 parameters of a resnet50_v2" in told and "1000, taken for those of ImageNet" in told
    assert f"sha256: {download.SOURCES[NAME].sha256}, the pinned file" in told
    assert f"{out}: a resnet50_v2" in run("convert", path, out)
    assert "not a pinned file" in run("check", out) and files(tmp_path) == {"net", "net.params"}
    x = random_images(1, size=64)
    assert np.array_equal(cam.resnet50_v2(out)(x).asnumpy(), content[1](x).asnumpy())
    assert "exists; give another name" in refused("convert", path, out)
    assert "there is no folder" in refused("convert", path, tmp_path / "nowhere" / "net.params")
    path.write_bytes(server.content[:-1])
    assert "is not a complete ONNX file" in refused("check", path)
    assert "No such file" in refused("check", tmp_path / "missing")
