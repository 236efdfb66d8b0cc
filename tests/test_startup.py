"""MXNet 1.9.1 on numpy and Python of today: the names that it reads are there when it reads them, and no longer."""

import subprocess
import sys

import pytest

CLEAN = """
import sys
import numpy as np
before, numbers = set(vars(np)), {"distutils", "distutils.version"} & set(sys.modules)
import cam
from cam import startup as door
ours = door._READ_AT_IMPORT.keys() | door._READ_LATER.keys()
assert (set(vars(np)) - before) & ours <= door._READ_LATER.keys()
assert {"distutils", "distutils.version"} & set(sys.modules) == numbers or sys.version_info < (3, 12)
"""
RUNS = """
import cam
import mxnet as mx
x = mx.nd.array([[1, -2]])
x.attach_grad()
with mx.autograd.record():
    y = mx.nd.relu(x).sum()
y.backward()
assert x.grad.asnumpy().tolist() == [[1, 0]]
"""


def last_line(code: str) -> str:
    """Run this code in a process of its own; returns the last line that it wrote to stderr, "" if it ended well."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return done.stderr.strip().splitlines()[-1] if done.returncode else ""


@pytest.mark.parametrize("code", [CLEAN, RUNS], ids=["clean", "runs"])
def test_in_a_new_process(code):
    assert last_line(code) == ""


def test_names_that_are_read_later():
    import mxnet as mx  # cam has been imported, by the tests' own fixtures
    from mxnet.gluon.contrib.estimator import EarlyStoppingHandler

    a = mx.np.arange(4)
    assert a[a > 1].asnumpy().tolist() == [2, 3]
    mx.test_utils.assert_almost_equal(a, a)
    assert mx.sym.np.pad(mx.sym.var("a").as_np_ndarray(), ((1, 1),), mode="constant").list_arguments() == ["a"]
    handler = EarlyStoppingHandler(mx.metric.Accuracy(), mode="max")
    handler.train_begin(None)
    assert handler.best == -float("inf")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("sys.modules['mxnet'] = None", "pip install --no-deps mxnet==1.9.1"),
        (
            "import ctypes; ctypes.CDLL = lambda *a, **k: exec('raise OSError(\"libgomp.so.1: cannot open\")')",
            "apt install libgomp1 libquadmath0",
        ),
        (
            "import ctypes; ctypes.CDLL = lambda *a, **k: exec('raise OSError(\"libarmpl_lp64_mp.so: cannot open\")')",
            "a container for x86-64",
        ),
        ("sys.modules['mxnet.base'] = None", "restart Python"),
        ("import numpy; del numpy.int8", " lacks a name that it reads"),
    ],
)
def test_the_cause_is_named(broken, said):
    line = last_line(f"import sys; {broken}; import cam")
    assert line.startswith("ImportError: MXNet ") and said in line
