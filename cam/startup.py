"""MXNet imported as it must be: on all physical cores, and with the names that numpy and Python have since removed.

Import cam before mxnet: how many threads MXNet uses is settled while it is imported. MXNet 1.9.1 is from 2022.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np

# What MXNet reads of numpy while it is imported. The six financial functions were stubs in numpy, too.
_READ_AT_IMPORT = {
    **{"NAN": np.nan, "NaN": np.nan, "NINF": -np.inf, "PINF": np.inf, "NZERO": -0.0, "PZERO": 0.0},
    **{"alltrue": np.all, "sometrue": np.any, "product": np.prod, "round_": np.round},
    "in1d": lambda first, second, **options: np.isin(np.ravel(first), second, **options),
    "msort": lambda a: np.sort(a, axis=0),
    "trapz": getattr(np, "trapezoid", None),  # numpy 2's name for it
    **dict.fromkeys(("mirr", "npv", "pmt", "ppmt", "pv", "rate")),
}
# And later: mx.np with masks and mx.test_utils read bool, its chi-square test int, Estimator's handlers Inf, mx.np.pad
# of a symbol compat.
_READ_LATER = {"bool": bool, "int": int, "Inf": np.inf, "compat": SimpleNamespace(basestring=str)}


@contextmanager
def removed_names() -> Iterator[None]:
    """Put back what numpy (bool and int in 1.24, the rest since 2.0) and Python 3.12 (distutils) have removed.

    Import MXNet inside. Afterwards what it reads only during its import is taken away again, so that other code meets
    numpy as it is; nothing that numpy has is touched. If MXNet cannot be imported all the same, the ImportError is one
    sentence with the cause and what to do.
    """
    if "mxnet" not in sys.modules and any(name.startswith("mxnet.") for name in sys.modules):
        raise ImportError(
            "MXNet is half imported: an earlier import failed, as it does without the names that numpy has removed and "
            "cam puts back; restart Python (in Jupyter: Kernel, Restart Kernel) and import cam before mxnet"
        )
    names = {name: value for name, value in (_READ_AT_IMPORT | _READ_LATER).items() if name not in vars(np)}
    modules = {} if sys.version_info < (3, 12) or "distutils" in sys.modules else _distutils()
    vars(np).update(names)
    sys.modules.update(modules)
    try:
        yield
    except (ModuleNotFoundError, AttributeError, OSError) as error:
        if cure := _cure(error):
            raise ImportError(f"MXNet cannot be imported ({error}): {cure}") from error
        raise
    finally:
        for name in names.keys() & _READ_AT_IMPORT.keys():
            delattr(np, name)
        for name in modules:
            del sys.modules[name]


def _cure(error: Exception) -> str | None:
    """What to do about a cause that is known."""
    if isinstance(error, AttributeError):
        return f"numpy {np.__version__} lacks a name that it reads; install numpy 2.5 or an older one"
    if isinstance(error, ModuleNotFoundError) and error.name == "mxnet":
        return "pip install --no-deps mxnet==1.9.1 (from Python 3.13 on it must be installed by itself)"
    if "libarmpl" in str(error):
        return "for ARM it needs the Arm Performance Libraries; take a container for x86-64 (docs/install.md says how)"
    if "libgomp" in str(error) or "libquadmath" in str(error):
        return (
            "install the two system libraries that it needs (Debian, Ubuntu: apt install libgomp1 libquadmath0; "
            "Fedora: dnf install libgomp libquadmath)"
        )
    return None


def _distutils() -> dict[str, ModuleType]:
    """The part of distutils that MXNet reads: two classes of version numbers, used for comparisons."""
    from packaging.version import Version

    package, version = ModuleType("distutils"), ModuleType("distutils.version")
    package.version, version.StrictVersion, version.LooseVersion = version, Version, Version
    return {"distutils": package, "distutils.version": version}


def physical_cores() -> int:
    """How many physical cores this process may use; logical processors where the system does not tell."""
    try:
        allowed = os.sched_getaffinity(0)
    except AttributeError:  # macOS
        return max(1, (os.cpu_count() or 2) // 2)
    cores = set()
    for processor in allowed:
        siblings = Path(f"/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list")
        try:
            cores.add(siblings.read_text())
        except OSError:
            cores.add(str(processor))
    return len(cores)


# MXNet takes half of the logical processors, which without hyperthreads is half of the machine.
if "mxnet" not in sys.modules and not {"MXNET_OMP_MAX_THREADS", "OMP_NUM_THREADS"} & set(os.environ):
    os.environ["MXNET_OMP_MAX_THREADS"] = str(physical_cores())

with removed_names():
    import mxnet  # noqa: F401 - for its effect
