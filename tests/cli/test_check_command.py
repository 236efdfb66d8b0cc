"""python -m cam check: the embedded nets, an exported net of one's own, and one whose maps cannot be trusted."""

import sys

from cam.cli import app as command_line

import pytest
from helpers.nets import Net, conv, ending, ready, relu, sequence
from PIL import Image


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Exit code, stdout and stderr of `python -m cam check ...` in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["cam", "check", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            command_line.main()
        return stop.value.code, *capsys.readouterr()

    return call


def exported(folder, branch):
    """The options for a net with one sum that was exported to files; `branch(F, x)` is what is added."""
    block = Net(lambda F, net, x: F.relu(branch(F, net.branch(x)) + x), branch=conv(3))
    net, (x,) = ready(sequence(block, relu(), *ending()), (1, 3, 64, 64))
    net.hybridize()
    net(x)
    net.export(str(folder / "mine"))
    return "--params", folder / "mine-0000.params", "--symbol", folder / "mine-symbol.json"


def test_an_embedded_net(run):
    code, out, err = run("--model", "resnet50_v2")
    assert code == 0 and not err
    assert [line.split()[0] for line in out.splitlines()] == ["passed"] * 5 + ["all", "verdict:"]
    assert "50, of which 48 are function calls" in out


def test_an_exported_net_on_a_picture(run, scene, tmp_path):
    Image.fromarray(scene.image).save(tmp_path / "scene.png")
    code, out, _ = run("scene.png", *exported(tmp_path, lambda F, x: x))
    assert code == 0 and "all 5 tests passed" in out and "in 1 additions" in out
    code, _, err = run("nothing.png", "--model", "vgg16")
    assert code == 2 and "nothing.png" in err


def test_a_net_that_cuts_its_own_gradient(run, tmp_path):
    code, out, _ = run(*exported(tmp_path, lambda F, x: F.BlockGrad(x)))
    assert code == 1
    assert [line.split()[0] for line in out.splitlines()] == [*["passed"] * 3, "FAILED", "passed", "1", "verdict:"]
    assert "do not trust" in out.splitlines()[-1]


def test_a_net_of_ones_own_needs_both_files(run, tmp_path):
    code, _, err = run(*exported(tmp_path, lambda F, x: x)[:2])
    assert code == 2 and "--params and --symbol" in err
