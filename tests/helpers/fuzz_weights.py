"""Damaged files of parameters: each must load whole or be refused in words, without a crash or a hang.

    python tests/helpers/fuzz_weights.py 1000

tries as many mutated and truncated files of each kind on a very narrow VGG16, and prints what became of them. File
number i of a kind is always the same. A crash of the process shows in its exit status, together with the file's number.
"""

from __future__ import annotations

import faulthandler
import sys
import tempfile
from pathlib import Path

from cam import WeightsError
from cam.nets import models, weights_files
from cam.nets.loading import structural

import foreign_files
import mxnet as mx
import numpy as np

SECONDS = 30  # no file of this size may take longer
NAME = "vgg16"


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """One damaged copy: cut off, bits flipped, bytes overwritten, inserted, removed or repeated.

    Half of the damage falls on the first 400 bytes, where a format says how to read the rest.
    """
    at = int(rng.integers(min(400, len(data)) if rng.random() < 0.5 else len(data)))
    length = int(rng.integers(1, 40))
    noise = rng.bytes(length)
    kind = rng.integers(6)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + bytes([data[at] ^ 1 << int(rng.integers(8))]) + data[at + 1 :]
    if kind == 2:
        return data[:at] + noise + data[at + length :]
    if kind == 3:
        return data[:at] + noise + data[at:]
    if kind == 4:
        return data[:at] + data[at + length :]
    return data[: at + length] + data[at:]


def attempt(path: Path) -> str:
    """Load a file: "loaded" if every value of the net is the file's, "refused" if WeightsError says why not."""
    try:
        arrays = weights_files.read(path)
        net = models.assemble(NAME, arrays, str(path))
    except WeightsError as error:
        assert str(path) in str(error) and "Traceback" not in str(error)
        return "refused"
    expected = structural(arrays, models._topology(NAME))
    found = foreign_files.arrays_of(net)
    assert set(found) == set(expected)
    for name, values in found.items():
        assert np.array_equal(values, expected[name].astype(np.float32)), name
    return "loaded"


def main(count: int) -> None:
    faulthandler.enable()
    mx.random.seed(0)
    net = models.KINDS[NAME].build([1, 1, 2, 2, 2, 3], 4)
    net.initialize(mx.init.Xavier())
    with tempfile.TemporaryDirectory() as folder:
        for number, kind in enumerate(foreign_files.KINDS):
            data = foreign_files.write(kind, NAME, net, Path(folder)).read_bytes()
            damaged = Path(folder) / "damaged"
            counts = {"loaded": 0, "refused": 0}
            for index in range(count):
                damaged.write_bytes(mutate(data, np.random.default_rng([number, index])))
                print(f"{kind}: file {index}", file=sys.stderr)  # what a crash leaves behind
                faulthandler.dump_traceback_later(SECONDS, exit=True)
                counts[attempt(damaged)] += 1
                faulthandler.cancel_dump_traceback_later()
            refused, loaded = counts["refused"], counts["loaded"]
            print(f"{kind}: {count} damaged files of {len(data)} bytes, {refused} refused, {loaded} loaded")


if __name__ == "__main__":
    main(int(sys.argv[1]))
