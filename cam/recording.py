"""One recorded forward pass, and everything that can be asked of it afterwards.

The mechanism is the *zero tap*. A block whose output f is wanted adds a zero that is a leaf of the
autograd graph, w = f + t with t = 0, and the net goes on with w. Since dw/dt = 1, the gradient of t is
the gradient of the feature map; and since nothing is cut, the same recorded pass still leads down to
the image. Recording starts at the image, or, where the image's gradient is not wanted, at the first
tap: Grad-CAM alone needs no backward pass below its layer, so nothing below is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
from mxnet import autograd, nd
from mxnet.base import MXNetError
from mxnet.gluon import Block, nn

from . import blocks, resolve
from .checks import check_input, check_output, finite
from .errors import CamError, LayerError, NetError, in_one_line
from .rebuilding import convertible
from .resolve import LayerLike, find_layers, hides_nothing, paths


def record(
    net: Block, x: nd.NDArray, layers: LayerLike | Sequence[LayerLike] | None = None, image: bool = True
) -> Recording:
    """Run `net` on `x` once, in inference, and keep what its maps need.

    The net is left as it was: parameters, their gradients, running statistics, hybridization.

    Parameters
    ----------
    net : a Gluon net that returns logits (N, classes); from `cam.vgg16`, `cam.resnet50_v2` or
        `cam.convert`, or with some limits any other
    x : NDArray (N, 3, H, W) of the net's dtype, normalised as `load_image` does
    layers : block, path or name, or a list of them (an empty list for none); None takes the recommended layer
        (`cam.default_layer`, or what a first run on one image shows to be the last feature map)
    image : whether the image's gradient will be asked for; without it the pass is cheaper

    Raises
    ------
    InputError, NonFiniteError
        If x has the wrong type, shape, dtype or context, MXNet's NumPy mode is on, or x, a parameter or a result
        holds NaN or infinity.
    LayerError
        If there is no such layer, it did not run exactly once, or it has no height and width. A block that the net
        uses twice runs twice; `cam.convert` makes two of it if it has no parameters.
    NetError
        If the net fails on x, it returns probabilities in place of logits, its gradients would be wrong (max pooling
        that is not ours), or it holds blocks that are not ours and MXNet cannot trace it to find out.
    """
    if not isinstance(net, Block):
        raise NetError(f"net is {type(net).__name__}; expected a Gluon block that returns logits")
    leaf = check_input(net, x).copy()  # a copy: marking it leaves the caller's array alone
    found = find_layers(net, _default_layer(net, leaf) if layers is None else layers)
    recorder = _Recorder(found, net)
    with ExitStack() as stack:
        stack.enter_context(autograd.pause(train_mode=False))
        stack.callback(autograd.set_recording, False)
        stack.enter_context(recorder.listening())
        if image:
            leaf.attach_grad()
            recorder.start()
        logits = _run(net, leaf)
    check_output(logits, x)
    for path in found:
        _check_tap(path, recorder.taps.get(path))
    recorder.check_max_pools()
    return Recording(net, leaf if image else None, logits, recorder)


class Recording:
    """A forward pass: logits, feature maps, and the gradients of any class with respect to them.

    Made by `record`. All arrays are numpy copies. Gradients are of the logit, not of the probability.
    Ask for them before the net's parameters change: a later gradient would mix the features of the old parameters
    with the new parameters, and MXNet gives no sign of it. After a training step, record again.

    Attributes
    ----------
    logits : numpy (N, classes)
    layers : the structural paths of the recorded layers, as asked
    """

    def __init__(self, net: Block, image: nd.NDArray | None, logits: nd.NDArray, recorder: _Recorder):
        self._net, self._image, self._logits, self._recorder = net, image, logits, recorder
        self.logits: np.ndarray = finite(logits, "the logits")
        self.layers: list[str] = list(recorder.paths.values())
        self._gradients: tuple[tuple[int, ...], list[nd.NDArray]] | None = None

    def class_ids(self, class_id=None) -> tuple[int, ...]:
        """One class number per image; see `cam.resolve.class_ids`."""
        return resolve.class_ids(self._net, class_id, self.logits)

    def features(self, layer: LayerLike | None = None) -> np.ndarray:
        """The feature map A of a recorded layer, numpy (N, K, h, w)."""
        path = self._recorded(layer)
        return finite(self._recorder.taps[path].features, f"the feature map of {path}")

    def gradient(self, layer: LayerLike | None = None, class_id=None) -> np.ndarray:
        """d logit / d A for each image's class, numpy (N, K, h, w).

        `layer` may be left out if one layer was recorded; `class_id` as in `cam.resolve.class_ids`.
        """
        path = self._recorded(layer)
        ids = self.class_ids(class_id)
        if self._gradients is None or self._gradients[0] != ids:  # one backward pass serves all layers
            self._gradients = (ids, self._backward(ids, [tap.leaf for tap in self._recorder.taps.values()]))
        index = list(self._recorder.taps).index(path)
        return finite(self._gradients[1][index], f"the gradient at {path}")

    def image_gradient(self, class_id=None, rule: str = "plain", partial: bool = False) -> np.ndarray:
        """d logit / d image for each image's class, numpy (N, 3, H, W), signed.

        Parameters
        ----------
        rule : "plain" (Simonyan et al. 2014), "guided" (Springenberg et al. 2015) or "deconvnet" (Zeiler and
            Fergus 2014): how a gradient passes back through every ReLU
        partial : go on even if some ReLUs (but not all) are not blocks and keep the plain rule

        Raises
        ------
        NetError
            If a rule other than plain cannot reach all ReLUs, or the image was not recorded.
        """
        blocks.check_rule(rule)
        if self._image is None:
            raise NetError("this recording holds no image gradient; record with image=True")
        if any(tap.cuts for tap in self._recorder.taps.values()):
            way_out = _way_out(self._net, "record the image with layers=[]")
            raise NetError(f"recording a layer of MXNet's own cuts the path to the image; {way_out}")
        if rule != "plain":
            self._recorder.check_relus(rule, partial)
        return finite(self._backward(self.class_ids(class_id), [self._image], rule)[0], "the image gradient")

    def _recorded(self, layer: LayerLike | None) -> str:
        if layer is None and len(self.layers) == 1:
            return self.layers[0]
        if layer is None:
            raise LayerError(f"layer is None, but {len(self.layers)} layers were recorded; say which one")
        (path,) = find_layers(self._net, layer)
        if path not in self.layers:
            raise LayerError(f"layer {path} was not recorded; recorded: {', '.join(self.layers) or 'none'}")
        return path

    def _backward(self, ids: tuple[int, ...], leaves: list[nd.NDArray], rule: str = "plain") -> list[nd.NDArray]:
        """Gradients of the sum of one logit per image; images do not mix, so each gets its own."""
        one_hot = nd.one_hot(nd.array(ids, ctx=self._logits.context), self.logits.shape[1], dtype=self._logits.dtype)
        self._recorder.rule = rule
        try:
            found = autograd.grad(
                [self._logits], leaves, head_grads=[one_hot], retain_graph=True, create_graph=False, train_mode=False
            )
            for gradient in found:
                gradient.wait_to_read()  # backward runs asynchronously and reads the rule as it goes
        except MXNetError as error:
            if "unreachable" not in str(error) and "computation graph" not in str(error):
                raise
            raise LayerError("a recorded layer does not influence the logits: its gradient does not exist") from error
        finally:
            nd.waitall()
            self._recorder.rule = "plain"
        return found


@dataclass(frozen=True)
class _Tap:
    """A recorded layer: its output, the leaf whose gradient is the output's, and whether the leaf cuts the tape."""

    features: nd.NDArray
    leaf: nd.NDArray
    cuts: bool


class _Recorder:
    """Listens to one forward pass (see `blocks.Recorder`) and keeps the taps."""

    def __init__(self, layers: dict[str, Block], net: Block):
        self.rule, self.masks = "plain", {}
        self.taps: dict[str, _Tap] = {}
        self.paths = {block: path for path, block in layers.items()}
        self.relus = 0  # that obey the rule
        self._max_pools = 0  # whose gradient is right
        self._foreign_max_pools: dict[bool, int] = {False: 0, True: 0}  # by whether they were recorded
        self._net, self._transparent = net, hides_nothing(net)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear every block of the net that runs, and leave no hook or flag behind."""
        targets = set(self.paths)
        hooks = [(block, self._foreign) for block in _with_descendants(self._net) if _is_foreign(block, targets)]
        with _hooked(self._net, hooks) as active, blocks.recorded_by(self):
            self._still_hybrid = active
            # A compiled graph hides its blocks. Below the first tap that is welcome, unless they must be counted.
            _set_active([b for b in active if not self._transparent or targets & set(_with_descendants(b))], False)
            yield

    def start(self) -> None:
        """Record from here on, block by block: a hybridized block would hide what is inside."""
        if not autograd.is_recording():
            autograd.set_recording(True)
            _set_active(self._still_hybrid, False)

    def visit(self, block: Block, output: nd.NDArray) -> nd.NDArray:
        if autograd.is_recording():
            self.relus += isinstance(block, blocks.ReLU)
        self._max_pools += isinstance(block, blocks.MaxPool2D)
        path = self.paths.get(block)
        if path is None:
            return output
        self._refuse_second_run(path, block)
        self.start()
        zero = nd.zeros_like(output)
        zero.attach_grad()
        self.taps[path] = _Tap(output.detach(), zero, cuts=False)
        return output + zero

    def _foreign(self, block: Block, inputs, output) -> None:
        """Forward hook for a block that is not ours: its output itself becomes the leaf.

        That cuts the path to everything below, so it can serve one layer and no image gradient.
        """
        if isinstance(block, nn.MaxPool2D) and isinstance(output, nd.NDArray):
            self._foreign_max_pools[autograd.is_recording()] += 1
        path = self.paths.get(block)
        if path is None:
            return
        if not isinstance(output, nd.NDArray):
            raise LayerError(f"layer {path} returned a {type(output).__name__}; a map needs a layer with one array")
        self._refuse_second_run(path, block)
        if len(self.paths) > 1:
            way_out = _way_out(self._net, "make one recording for each layer")
            raise LayerError(f"{path} is a block of MXNet's own: record it alone; to record several, {way_out}")
        self.start()
        output.attach_grad()
        self.taps[path] = _Tap(output.detach(), output, cuts=True)

    def _refuse_second_run(self, path: str, block: Block) -> None:
        if path not in self.taps:
            return
        way_out = "take another layer"
        if convertible(self._net) and not block._reg_params:
            way_out = "cam.convert(net) makes a block of its own for each run"
        raise LayerError(f"layer {path} runs more than once in this net and has no single feature map; {way_out}")

    def check_max_pools(self) -> None:
        """Refuse if a max pooling with a wrong gradient (see `blocks.MaxPool2D`) was recorded."""
        if self._transparent:
            return
        seen = self._max_pools + sum(self._foreign_max_pools.values())
        if self._foreign_max_pools[True] or resolve.count_operators(self._net)[1] > seen:
            way_out = _way_out(self._net, "take grad_cam at a layer above its last max pooling")
            raise NetError(f"MXNet's gradient of max pooling is wrong in inference, and needed; {way_out}")

    def check_relus(self, rule: str, partial: bool) -> None:
        """Refuse if some ReLUs would keep the plain rule; with `partial`, only if all would."""
        if self._transparent:
            return
        total = resolve.count_operators(self._net)[0]
        if self.relus == 0 or (self.relus < total and not partial):
            way_out = _way_out(self._net, "take the plain rule, saliency or grad_cam")
            raise NetError(f"{self.relus} of {total} ReLUs are blocks that know the {rule} rule; {way_out}")


def _default_layer(net: Block, x: nd.NDArray) -> str:
    """The recommended layer; where the net's blocks do not tell their order, one image is run to see it."""
    try:
        return resolve.default_layer(net)
    except LayerError:
        path = resolve.last_feature_map(net, _shapes(net, x[:1]))
        if path is None:
            raise
        return path


def _way_out(net: Block, otherwise: str) -> str:
    return "use cam.convert(net)" if convertible(net) else f"cam.convert does not know this net: {otherwise}"


def output_shapes(net: Block, x: nd.NDArray) -> dict[str, tuple[int, ...]]:
    """The output shape of every block that runs, by structural path, for an input like x; in the order they ended.

    Raises
    ------
    CamError
        If x is not what the net takes, as in `record`.
    """
    return _shapes(net, check_input(net, x))


def _shapes(net: Block, x: nd.NDArray) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}

    def listen(path):
        def note(_block, _inputs, output):
            found.pop(path, None)  # the order is that of the last runs
            found[path] = getattr(output, "shape", ())

        return note

    hooks = [(block, listen(path)) for path, block in paths(net).items()]
    with _hooked(net, hooks) as active, autograd.pause(train_mode=False):
        _set_active(active, False)
        _run(net, x)
    return found


@contextmanager
def _hooked(net: Block, hooks: Iterable[tuple[Block, Callable]]) -> Iterator[list[Block]]:
    """Put forward hooks on blocks of the net for a while; gives the blocks whose compiled graphs are in use.

    These may be switched off (`_set_active`) inside. No hook and no flag is left behind.
    """
    active = [block for block in _with_descendants(net) if getattr(block, "_active", False)]
    handles = [block.register_forward_hook(hook) for block, hook in hooks]
    try:
        yield active
    finally:
        _set_active(active, True)
        for handle in handles:
            handle.detach()


def _run(net: Block, x: nd.NDArray):
    try:
        output = net(x)
        if isinstance(output, nd.NDArray):
            output.wait_to_read()  # MXNet runs asynchronously: some failures only show here
        return output
    except CamError:
        raise
    except Exception as error:  # whatever the net's own forward raises
        reason = in_one_line(error)
        hint = "; a VGG takes images of 224x224 only" if "nconsistent" in reason else ""
        hint = "; take net.cast('float32'), as MXNet has no float16 on the CPU" if "FP16" in reason else hint
        raise NetError(f"the net cannot run on x of shape {x.shape}{hint} ({reason})") from error


def _with_descendants(block: Block) -> list[Block]:
    return list(dict.fromkeys([block, *paths(block).values()]))  # once each, however many paths lead there


def _is_foreign(block: Block, targets: set[Block]) -> bool:
    """Whether only a hook can hear this block, and we want to."""
    return not isinstance(block, blocks.Recordable) and (block in targets or isinstance(block, nn.MaxPool2D))


def _set_active(hybrid_blocks: list[Block], active: bool) -> None:
    """Switch the use of compiled graphs, keeping the graphs."""
    for block in hybrid_blocks:
        block._active = active


def _check_tap(path: str, tap: _Tap | None) -> None:
    if tap is None:
        raise LayerError(f"layer {path} did not run in this forward pass")
    if tap.features.ndim != 4:
        raise LayerError(f"layer {path} has an output of shape {tap.features.shape}: no height and width, so no map")
