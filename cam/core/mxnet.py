"""The one door to MXNet: what must be set before its import, and every private name of it that we use.

Import cam before mxnet: how many threads MXNet uses is settled while it is imported.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path


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

import mxnet as mx  # noqa: E402
from mxnet import nd  # noqa: E402
from mxnet._ctypes.ndarray import _imperative_invoke  # noqa: E402
from mxnet.base import _LIB, MXNetError, c_str, check_call  # noqa: E402
from mxnet.gluon import Block, Parameter, SymbolBlock  # noqa: E402
from mxnet.gluon.parameter import DeferredInitializationError  # noqa: E402
from mxnet.util import is_np_array  # noqa: E402

PLAIN = {int, float, str, bool, bytes, type(None)}


@cache
def _handle(operator: str) -> int:
    handle = ctypes.c_void_p()
    check_call(_LIB.NNGetOpHandle(c_str(operator), ctypes.byref(handle)))
    return handle.value


def call(operator: str, inputs: Sequence[nd.NDArray], options: dict[str, str]) -> list[nd.NDArray]:
    """All outputs of any registered operator, also of those that have no public name (`_backward_Activation`)."""
    return _imperative_invoke(_handle(operator), inputs, list(options), list(options.values()), None, False, True)


def numpy_mode() -> bool:
    """Whether MXNet's own NumPy mode is on, in which Gluon nets run differently."""
    return is_np_array()


def blocks_of(net: Block) -> Iterator[tuple[str, Block]]:
    """The net and every block below it by structural path ("features.8.2.conv3"), parents first; the net's is ""."""
    pending = [("", net)]
    while pending:
        path, block = pending.pop()
        yield path, block
        prefix = f"{path}." if path else ""
        pending += [(prefix + name, child) for name, child in reversed(block._children.items())]


def own_parameters(block: Block) -> list[Parameter]:
    """The parameters of this block alone, not of its children."""
    if isinstance(block, SymbolBlock):
        return list(block.params.values())
    return list(block._reg_params.values())


def state_of(parameter: Parameter) -> str:
    """ "ready"; "deferred" if values were promised and wait for a shape that was left open; "empty"."""
    return "ready" if parameter._data is not None else "deferred" if parameter._deferred_init else "empty"


def finish(parameter: Parameter, shape: tuple[int, ...]) -> None:
    """Give a deferred parameter its shape and values, as the net's first prediction would."""
    parameter.shape = shape
    parameter._finish_deferred_init()


def computes_compiled(net: Block) -> bool:
    """Whether some block of the net runs as a compiled graph, which only one thread may call."""
    return any(getattr(block, "_active", False) or isinstance(block, SymbolBlock) for _, block in blocks_of(net))


NOT_SETTINGS = {
    "_active",
    "_cached_graph",
    "_cached_op",
    "_cached_op_args",
    "_flags",
    "_forward_hooks",
    "_forward_pre_hooks",
    "_children",
    "_reg_params",
    "_params",
    "_scope",
    "_in_format",
    "_out_format",
    "_prefix",
    "_name",
    "labels",
    "caution",
}  # fmt: skip - the last two are ours: what a net knows


def settings(block: Block) -> list:
    """What a block's forward may depend on: its plain settings and those in its collections, and its functions."""
    return [_setting(value) for name, value in block.__dict__.items() if name not in NOT_SETTINGS]


def _setting(value):
    kind = type(value)
    if kind in PLAIN:
        return value
    if kind is dict:
        return [_setting(one) for one in value.values()]
    return [_setting(one) for one in value] if kind in (list, tuple) else id(value)


class _HooksOfOthers(OrderedDict):
    """A block's hooks during a trace: none for the thread that traces, the user's own for every other."""

    def __init__(self, hooks, thread: int):
        super().__init__(hooks)
        self._thread = thread

    def values(self):
        return () if threading.get_ident() == self._thread else super().values()


@contextmanager
def listening(net: Block, heard: Callable | None = None) -> Iterator[None]:
    """Let this thread run the net without the user's hooks; `heard(block, inputs, output)` may replace each output.

    Other threads see the net as it is. Afterwards it is as it was, whatever happened.
    """
    thread = threading.get_ident()
    seen = list(dict.fromkeys(block for _, block in blocks_of(net)))
    hooks = [(block, block._forward_hooks, block._forward_pre_hooks) for block in seen]
    try:
        for block, after, before in hooks:
            block.__dict__["_forward_hooks"] = _HooksOfOthers(after, thread)
            block.__dict__["_forward_pre_hooks"] = _HooksOfOthers(before, thread)
            if heard is not None:
                block.__dict__["forward"] = _heard_forward(block, block.forward, heard, thread)
        yield
    finally:
        for block, after, before in hooks:
            block.__dict__["_forward_hooks"], block.__dict__["_forward_pre_hooks"] = after, before
            forward = block.__dict__.get("forward")
            if forward is not None and hasattr(forward, "cam_original"):
                _restore_forward(block, forward.cam_original)


def _heard_forward(block: Block, original: Callable, heard: Callable, thread: int) -> Callable:
    def forward(*inputs, **options):
        output = original(*inputs, **options)
        return heard(block, inputs, output) if threading.get_ident() == thread else output

    forward.cam_original = original
    return forward


def _restore_forward(block: Block, original: Callable) -> None:
    if getattr(original, "__self__", None) is block and getattr(original, "__func__", None) is type(block).forward:
        del block.__dict__["forward"]
    else:  # somebody had put a forward of their own on this block
        block.__dict__["forward"] = original


__all__ = ["Block", "DeferredInitializationError", "MXNetError", "Parameter", "mx", "nd"]
