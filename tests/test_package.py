"""What a wheel and an sdist hold: the package with its assets, and nothing else; and learners' images no solutions."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BUILD = "from setuptools import build_meta; build_meta.build_sdist({0!r}); build_meta.build_wheel({0!r})"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with wheel and sdist, built from the files that git knows."""
    copy, folder = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("built")
    for name in known_files():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    subprocess.run([sys.executable, "-c", BUILD.format(str(folder))], cwd=copy, check=True, capture_output=True)
    return folder


def known_files(*folders):
    if not (ROOT / ".git").exists():
        pytest.skip("only git tells which files belong to the project")
    listed = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return {name for name in listed.splitlines() if (ROOT / name).is_file()}


def test_the_wheel(built):
    (wheel,) = built.glob("*.whl")
    assert {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name} == known_files("cam")


def test_the_sdist(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    beside = {"pyproject.toml", "constraints.txt", "MANIFEST.in", "README.md"}
    written = {name for name in names if name.startswith("cam.egg-info/")} | {"PKG-INFO", "setup.cfg"}
    assert names - written == known_files("cam", "LICENSES") | beside


def test_the_learners_images_hold_no_solutions():
    """Docker's leaves out what .dockerignore names, mybinder.org's what postBuild removes in the end."""
    marks = ("### BEGIN SOLUTION", "### BEGIN HIDDEN TESTS")
    left_out = set((ROOT / ".dockerignore").read_text().partition("# Solutions")[2].splitlines()[1:])
    *_, last = (ROOT / ".binder" / "postBuild").read_text().splitlines()
    assert last.startswith("rm -rf ") and left_out <= set(last.split())
    telling = [
        name for name in known_files() if any(mark in (ROOT / name).read_text(errors="replace") for mark in marks)
    ]
    assert telling and all(any(name.startswith(f"{folder}/") for folder in left_out) for name in telling)
