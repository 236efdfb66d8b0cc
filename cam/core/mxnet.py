"""The one door to what is private in MXNet. `cam.startup` has imported MXNet as it must be."""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache

from mxnet import nd
from mxnet._ctypes.ndarray import _imperative_invoke
from mxnet.base import _LIB, c_str, check_call
from mxnet.gluon import Block, HybridBlock, Parameter, SymbolBlock

from .errors import NetError


@cache
def _handle(operator: str) -> int:
    handle = ctypes.c_void_p()
    check_call(_LIB.NNGetOpHandle(c_str(operator), ctypes.byref(handle)))
    return int(handle.value or 0)


def call(operator: str, inputs: Sequence[nd.NDArray], options: dict[str, str]) -> list[nd.NDArray]:
    """All outputs of any registered operator, also of those that have no public name (`_backward_Activation`)."""
    return _imperative_invoke(_handle(operator), inputs, list(options), list(options.values()), None, False, True)


def blocks_of(net: Block) -> Iterator[tuple[str, Block]]:
    """The net and every block below it by structural path ("features.8.2.conv3"), parents first; the net's is "".

    Raises NetError if it is no net of Gluon's.
    """
    if not isinstance(net, Block):
        raise NetError(f"net is {type(net).__name__}; expected a Gluon net that returns logits")
    yield "", net
    for name, child in net._children.items():
        for path, block in blocks_of(child):
            yield f"{name}.{path}" if path else name, block


def parameters(net: Block) -> dict[str, Parameter]:
    """Every parameter of `net` by its structural path ("features.8.2.conv3.weight")."""
    return net._collect_params_with_prefix()


def state_of(parameter: Parameter) -> str:
    """One of "ready", "deferred" (values were promised and wait for a shape that was left open) and "empty"."""
    return "ready" if parameter._data is not None else "deferred" if parameter._deferred_init else "empty"


def shape_of(parameter: Parameter) -> tuple[int, ...]:
    """The parameter's shape, () if it is open; an imported net tells it by its values only."""
    return parameter.shape or (parameter.list_data()[0].shape if parameter._data is not None else ())


def finish(parameter: Parameter, shape: tuple[int, ...]) -> None:
    """Give a deferred parameter its shape and values, as the net's first prediction would."""
    parameter.shape = shape
    parameter._finish_deferred_init()


def computes_compiled(net: Block) -> bool:
    """Whether some block of the net runs as a compiled graph, which only one thread may call."""
    return any(getattr(block, "_active", False) or isinstance(block, SymbolBlock) for _, block in blocks_of(net))


NOT_SETTINGS = {
    "_active", "_cached_graph", "_cached_op", "_cached_op_args", "_flags", "_forward_hooks", "_forward_pre_hooks",
    "_children", "_reg_params", "_params", "_scope", "_in_format", "_out_format", "_prefix", "_name",
    "_counter", "_init_counter",  # a recurrent cell's, of its runs
    "labels", "caution",  # ours: what a net knows
}  # fmt: skip
PLAIN = {int, float, str, bool, bytes, type(None)}


def settings(block: Block) -> list:
    """What a block's forward may depend on: its plain settings and those in its collections, and its functions."""
    return [_setting(value) for name, value in vars(block).items() if name not in NOT_SETTINGS]


def _setting(value):
    if type(value) in PLAIN:
        return value
    if isinstance(value, (dict, list, tuple, set, deque)):
        return [_setting(one) for one in (value.values() if isinstance(value, dict) else value)]
    try:
        same: tuple = id(value), weakref.ref(value)  # a later object may get the number of one that is gone
    except TypeError:  # of a kind that cannot be referred to weakly
        same = id(value), None
    if isinstance(value, (Block, Parameter)) or not hasattr(value, "__dict__"):
        return same
    return [same, *(one for one in list(vars(value).values()) if type(one) in PLAIN)]  # an object that holds settings


class _HooksOfOthers(OrderedDict):
    """A block's hooks during a trace: none for the thread that traces, the user's own for every other."""

    def __init__(self, hooks, thread: int):
        super().__init__(hooks)
        self._thread = thread

    def values(self):
        return () if threading.get_ident() == self._thread else super().values()


_listeners = threading.RLock()


@contextmanager
def listening(net: Block, instead: Callable[[Block, Callable], Callable]) -> Iterator[None]:
    """Let this thread run the net without the user's hooks, and `instead(block, forward)` for each block's forward.

    Other threads see the net as it is, and wait for their turn to listen. Afterwards it is as it was, come what may.
    """
    thread = threading.get_ident()

    def by_thread(ours: Callable, theirs: Callable) -> Callable:
        return lambda *inputs, **options: (ours if threading.get_ident() == thread else theirs)(*inputs, **options)

    hooks = "_forward_hooks", "_forward_pre_hooks"
    with _listeners:
        blocks = list(dict.fromkeys(block for _, block in blocks_of(net)))
        before = [{name: vars(block)[name] for name in (*hooks, "forward") if name in vars(block)} for block in blocks]
        try:
            for block in blocks:
                own, forward = vars(block), block.forward
                own.update({name: _HooksOfOthers(own[name], thread) for name in hooks})
                own["forward"] = by_thread(instead(block, forward), forward)
            yield
        finally:
            for block, attributes in zip(blocks, before):
                vars(block).update(attributes)
                if "forward" not in attributes:
                    vars(block).pop("forward", None)


def apart(block: Block, forward: Callable) -> Callable:
    """The forward, of a BatchNorm with copies of its parameters.

    It may write to its statistics, and two threads that hand MXNet the same ones can wait for each other for ever.
    """
    own = block._reg_params
    if "running_var" not in own or getattr(forward, "__func__", None) is not HybridBlock.forward:
        return forward

    def on_copies(x, *rest):
        return block.hybrid_forward(nd, x, *rest, **{name: one.data(x.context).copy() for name, one in own.items()})

    return on_copies
