"""A source that cuts, lies, waits or is not there: the file is right or it is not put in place."""

import hashlib
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cam
from cam import InputError, WeightsError
from cam.nets import download
from cam.nets.labels import imagenet_labels

import numpy as np
import pytest
from conftest import random_images, randomise
from helpers import foreign_files

NAME = "resnet50_v2"


class Server(ThreadingHTTPServer):
    """Serves `content` at every address; `trouble` is a status code, or the bytes after which an answer is cut."""

    daemon_threads = True

    def __init__(self, content: bytes):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.trouble, self.seconds = content, None, 0.0
        self.asked = []  # the paths

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.asked.append(self.path)
        threading.Event().wait(server.seconds)
        if server.trouble in (404, 503):
            self.send_error(server.trouble)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(server.content)))
        self.end_headers()
        self.wfile.write(server.content[: server.trouble])
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
    """A source for a stand-in, which takes the pinned file's place."""
    data, _ = content
    stand_in = download.Source("zoo/net", "net.onnx", len(data), hashlib.sha256(data).hexdigest(), "a stand-in")
    monkeypatch.setitem(download.SOURCES, NAME, stand_in)
    server = Server(data)
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_once(server, tmp_path, capfd):
    path = download.fetch(NAME, tmp_path / "new")
    assert path == tmp_path / "new" / "net.onnx" == download.find(NAME, tmp_path / "new")
    assert path.read_bytes() == server.content and files(path.parent) == {"net.onnx"}
    assert server.asked == ["/zoo/net/resolve/main/net.onnx"]
    assert download.fetch(NAME, tmp_path / "new") == path
    assert len(server.asked) == 1  # nobody is asked for what is there
    assert capfd.readouterr() == ("", "")  # nor is anything said


@pytest.mark.parametrize("change", [lambda data: data[:-1] + b"x", lambda data: data[:-1], lambda data: data + b"x"])
def test_a_wrong_file_is_never_put_in_place(server, tmp_path, change):
    right, server.content = server.content, change(server.content)
    with pytest.raises(WeightsError, match=f"does not match .*{hashlib.sha256(server.content).hexdigest()[:8]}"):
        download.fetch(NAME, tmp_path)
    assert files(tmp_path) == set()
    server.content = right
    assert download.fetch(NAME, tmp_path).read_bytes() == right


def test_a_connection_that_is_cut_leaves_nothing(server, tmp_path):
    server.trouble = 100_000
    with pytest.raises(WeightsError, match="net.onnx could not be downloaded"):
        download.fetch(NAME, tmp_path)
    assert files(tmp_path) == set()


@pytest.mark.parametrize("code", [404, 503])
def test_an_answer_that_is_no_file(server, tmp_path, code):
    server.trouble = code
    with pytest.raises(WeightsError, match=str(code)) as raised:
        download.fetch(NAME, tmp_path)
    source, said = download.SOURCES[NAME], str(raised.value)
    told = (server.url, source.file, source.sha256, str(source.size), str(tmp_path / source.file), "another file")
    assert all(part in said for part in told) and "\n" not in said


def test_a_source_that_says_nothing(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "SECONDS", 0.2)
    server.seconds = 2.0
    with pytest.raises(WeightsError, match="timed out"):
        download.fetch(NAME, tmp_path)


def test_without_a_network(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # where nobody listens
    with pytest.raises(
        WeightsError,
        match=r"downloaded \(\[Errno 111\] Connection refused\): call again.* put it at .*resnet50-v2-7.onnx",
    ):
        download.fetch(NAME, tmp_path)


def test_a_damaged_file_is_not_used_but_replaced(server, tmp_path):
    (tmp_path / "net.onnx").write_bytes(server.content[:-1] + b"x")
    assert download.find(NAME, tmp_path) is None
    server.trouble = 404
    with pytest.raises(WeightsError, match="404"):
        download.fetch(NAME, tmp_path)
    server.trouble = None
    assert download.fetch(NAME, tmp_path).read_bytes() == server.content


def test_two_at_once(server, tmp_path):
    server.seconds = 0.2
    found = []
    threads = [threading.Thread(target=lambda: found.append(download.fetch(NAME, tmp_path))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [tmp_path / "net.onnx"] * 3 and files(tmp_path) == {"net.onnx"}
    assert (tmp_path / "net.onnx").read_bytes() == server.content


def test_a_place_where_nothing_can_be_put(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "net.onnx").mkdir()
    for folder in (tmp_path / "file", tmp_path):
        with pytest.raises(
            WeightsError, match="could not be downloaded .*: call again.* Another folder is chosen with"
        ):
            download.fetch(NAME, folder)


def test_where_files_are_kept(tmp_path, monkeypatch):
    def folder(chosen=None):
        return download.place_of(NAME, chosen).parent

    monkeypatch.delenv("CAM_WEIGHTS_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert folder() == tmp_path / "cam"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert folder() == Path.home() / ".cache" / "cam"
    monkeypatch.setenv("CAM_WEIGHTS_DIR", str(tmp_path / "mine"))
    assert folder() == tmp_path / "mine"
    assert folder(tmp_path / "chosen") == tmp_path / "chosen"
    with pytest.raises(InputError, match="net is 'alexnet'; ImageNet weights are pinned for vgg16 and resnet50_v2"):
        download.fetch("alexnet")


def test_the_net(server, content, tmp_path, monkeypatch):
    monkeypatch.setenv("CAM_WEIGHTS_DIR", str(tmp_path))
    (tmp_path / "net.onnx").write_bytes(server.content)
    net, expected = cam.resnet50_v2(weights="imagenet"), content[1]
    x = random_images(1, size=64)
    assert np.array_equal(net(x).asnumpy(), expected(x).asnumpy())
    assert net.labels == imagenet_labels() and server.asked == []
    signed = cam.grad_cam(net, x, target="crane (bird)", relu=False)
    assert signed.any() and np.array_equal(signed, cam.grad_cam(expected, x, target=134, relu=False))


def test_the_command_line_downloads(server, tmp_path):
    """Of the real pinned file only the address is asked for."""
    server.trouble = 404
    done = subprocess.run(
        [sys.executable, "-m", "cam", "weights", "get", "vgg16", "--weights-dir", tmp_path],
        env={**os.environ, "HF_ENDPOINT": server.url},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and done.stdout == "" and "Traceback" not in done.stderr
    assert f"from {server.url}/onnxmodelzoo/vgg16-7/resolve/main/vgg16-7.onnx" in done.stderr
    assert server.asked == ["/onnxmodelzoo/vgg16-7/resolve/main/vgg16-7.onnx"]
