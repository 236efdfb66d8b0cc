"""What `cam.record` returns: one forward pass, and everything that can be asked of it afterwards."""

from __future__ import annotations

import numpy as np
from mxnet import nd
from mxnet.gluon import Block

from . import layers as choose
from . import rules, targets
from .checks import Images, Ready, ready
from .errors import LayerError, NetError, NetWarning, tell, telling
from .forward_backward import Pass, finite
from .graph import Entry
from .layers import LayerLike, Layers
from .targets import Target


@telling
def record(
    net: Block, x: Images, layers: Layers = None, *, image_gradient: bool = True, output: int | None = None
) -> Recording:
    """Run `net` on `x` once, in inference, and keep what its maps need. Nothing is left on the net.

    A softmax or sigmoid at its end is taken off, with a NetWarning: the logits before it are explained.

    Parameters
    ----------
    net : any Gluon net that can be called with symbols, hybridized or not, also an imported one
    x : NDArray (N, 3, H, W) of the net's dtype, normalised as the net wants it; a list of arrays, the image first, for
        a net of several inputs
    layers : block, path or name (see `cam.layers`), or a list of them (an empty list for none); None takes the
        recommended layer
    image_gradient : whether the image's gradient will be asked for; without it the pass needs less time and memory
    output : which output to explain, of a net that has several

    Returns
    -------
    Recording

    Raises
    ------
    InputError, NonFiniteError
        If x has the wrong type, shape, dtype or context, or x, a parameter or a result holds NaN or infinity.
    LayerError
        If there is no such layer, or it has nothing to do with the logits.
    NetError
        If the net has no graph, or its graph computes something else than the net.
    """
    prepared = ready(net, x, output)
    entries = dict(choose.find_map(prepared, one) for one in _listed(layers))
    image = [(prepared.graph.inputs[0], 0)] if image_gradient else []
    copies = [one.copy() for one in prepared.images]
    recording = Recording(prepared, Pass(prepared.graph, copies, [*entries.values(), *image], prepared.end), entries)
    tell(recording.notes)
    return recording


class Recording:
    """A forward pass: logits, feature maps, and the gradients of any target with respect to them.

    Made by `record`. All arrays are numpy copies. Gradients are of logits, not of probabilities. Ask for them before
    the net's parameters change: a later gradient would mix the features of the old parameters with the new ones.

    Attributes
    ----------
    logits : numpy (N, classes), before any softmax or sigmoid of the net
    probabilities : numpy (N, classes), by the sigmoid that the net ends in, else by softmax; None if a net without
        sigmoid gives one number, or if the logits are no (N, classes)
    layers : the paths of the recorded layers, as asked
    entries : by path, where each of them is in the graph
    prepared : the net, its graph and its inputs
    notes : what to know about the net's logits, as warnings
    """

    def __init__(self, prepared: Ready, walked: Pass, entries: dict[str, Entry]):
        self.prepared, self._graph, self._walked, self.entries = prepared, prepared.graph, walked, entries
        self._gradients: tuple[bytes, dict[Entry, nd.NDArray]] = b"", {}
        self.layers: list[str] = list(entries)
        self.logits: np.ndarray = finite(walked.values[walked.end], "the logits")
        _, ending = self._graph.logits(prepared.output)
        temperature = self._graph.last(prepared.output).option("temperature")
        self.probabilities, said = _probabilities(self.logits, ending, temperature)
        self.notes: list[NetWarning] = [NetWarning(said)] if said else []

    def class_ids(self, target: Target = None) -> tuple[int, ...]:
        """One class number per image.

        Parameters
        ----------
        target : as for `cam.grad_cam`, but no function; ClassError if there is no such class

        Returns
        -------
        tuple of int
        """
        return targets.class_ids(self.prepared.net, target, self.logits)

    def head(self, target: Target = None) -> nd.NDArray:
        """The derivative of the target with respect to the logits.

        Parameters
        ----------
        target : as for `cam.grad_cam`; ClassError if it is none

        Returns
        -------
        NDArray of the logits' shape
        """
        return targets.head_of(self.prepared.net, target, self._walked.values[self._walked.end])

    def features(self, layer: LayerLike | None = None) -> np.ndarray:
        """The feature map A of a recorded layer.

        Parameters
        ----------
        layer : may be left out if only one was recorded; LayerError if it was not

        Returns
        -------
        numpy (N, K, h, w)
        """
        return finite(self._walked.values[self._recorded(layer)], "the feature map")

    def gradient(self, layer: LayerLike | None = None, *, target: Target = None) -> np.ndarray:
        """The derivative d target / d A with respect to the feature map of a recorded layer, for each image.

        Parameters
        ----------
        layer : as for `features`
        target : as for `cam.grad_cam`

        Returns
        -------
        numpy (N, K, h, w)
        """
        return finite(self.arrays(layer, target)[1], f"the gradient at {self._graph.name(self._recorded(layer))}")

    def arrays(self, layer: LayerLike | None = None, target: Target = None) -> tuple[nd.NDArray, nd.NDArray]:
        """A and d target / d A of a recorded layer, as MXNet holds them; to be read only.

        Parameters
        ----------
        layer, target : as for `gradient`

        Returns
        -------
        tuple of two NDArrays (N, K, h, w)

        Raises
        ------
        LayerError
            If the layer was not recorded, or no gradient flows back to it.
        """
        entry, head = self._recorded(layer), self.head(target)
        key = head.asnumpy().tobytes()
        kept = self._gradients  # read once: another thread may ask for another target meanwhile
        if kept[0] != key:  # one walk back serves all layers
            kept = self._gradients = key, self._walked.back(head, set(self.entries.values()))
        if entry not in kept[1]:
            raise LayerError(f"no gradient flows from the target back to {self._graph.name(entry)}")
        return self._walked.values[entry], kept[1][entry]

    @telling
    def image_gradient(self, *, target: Target = None, rule: str = "plain", where: Layers = None) -> np.ndarray:
        """The derivative d target / d image for each image, signed.

        Parameters
        ----------
        target : as for `cam.grad_cam`
        rule : "plain" (Simonyan et al. 2014), "guided" (Springenberg et al. 2015) or "deconvnet" (Zeiler and
            Fergus 2014): how a gradient passes back through the ReLUs
        where : the ReLUs that obey the rule, of `cam.relus(net)`; None for all. LeakyReLU, PReLU, ELU and other
            relatives keep their derivative, as the rules are defined for ReLU

        Returns
        -------
        numpy (N, 3, H, W)

        Raises
        ------
        InputError
            If the rule is none of these.
        LayerError
            If `where` holds something else than a ReLU.
        NetError
            If the image was not recorded, or the net has no ReLU that could obey the rule.

        Warns
        -----
        NetWarning
            If relatives of ReLU keep their derivative and `where` does not say that this is meant.
        """
        rules.check_rule(rule)
        image = (self._graph.inputs[0], 0)
        if image not in self._walked.asked:
            raise NetError("this recording holds no image gradient; record with image_gradient=True")
        found = self._walked.back(self.head(target), {image}, rule, self._obeying(rule, where))
        if image not in found:
            raise NetError("no gradient flows from the target back to the image")
        # Times one: the first convolution's gradient has oneDNN's own layout, which is slow to copy out of.
        return finite(found[image] * 1, "the image's gradient")

    def _obeying(self, rule: str, where: Layers) -> set[int]:
        """The steps that obey the rule; NetWarning of those to which it leaves their derivative."""
        if rule == "plain":
            return set()
        graph, said = self._graph, f"the {rule} rule is defined for ReLU"
        known = set(graph.relus(self.prepared.output))
        if where is not None:
            chosen = {choose.find(self.prepared.net, graph, one)[1][0] for one in _listed(where)}
            for index in chosen - known:
                name = graph.name((index, 0))
                raise LayerError(f"{name} is no ReLU, for which alone the {rule} rule is defined: see cam.relus(net)")
            return chosen
        ways = zip(graph.steps, graph.needed_for([self._walked.end]))
        kin = sorted({step.kin_of_relu for step, needed in ways if needed and step.kin_of_relu})
        if not known:
            raise NetError(f"{said}, and this net has {' and '.join([*kin, 'no ReLU'])}; take rule='plain'")
        if kin:
            keep = f"the net's {' and '.join(kin)} keep their derivative"
            tell([NetWarning(f"{said}: {keep} (where=cam.relus(net) says that this is meant)")])
        return known

    def _recorded(self, layer: LayerLike | None) -> Entry:
        if layer is None and len(self.layers) != 1:
            raise LayerError(f"layer is None, but {len(self.layers)} layers were recorded; say which one")
        name, entry = choose.find(self.prepared.net, self._graph, self.layers[0] if layer is None else layer)
        if entry not in self.entries.values():
            raise LayerError(f"layer {name} was not recorded; recorded: {', '.join(self.layers) or 'none'}")
        return entry


def _listed(layers) -> list:
    return list(layers) if isinstance(layers, (list, tuple)) else [layers]


def _probabilities(logits: np.ndarray, ending: str | None, temperature: float | None) -> tuple[np.ndarray | None, str]:
    """The probabilities of the logits, None if they have none, and what to know about the logits."""
    said = f"the net ends in {ending}: the logits before it are explained" if ending else ""
    if ending == "sigmoid":
        return np.exp(-np.logaddexp(0, -logits)), said  # 1 / (1 + e^-z), without overflow
    if logits.ndim != 2 or logits.shape[1] == 1:
        return None, said
    shifted = np.exp((logits - logits.max(axis=1, keepdims=True)) / (temperature or 1))
    probabilities = shifted / shifted.sum(axis=1, keepdims=True)
    if logits.min() >= 0 and np.allclose(logits.sum(axis=1), 1, atol=1e-4):  # also of a softmax behind another
        said = "the net's outputs add up to 1, as probabilities do: their gradient fades where the net is sure"
        return probabilities if ending else logits, f"{said}; return logits"
    return probabilities, said
