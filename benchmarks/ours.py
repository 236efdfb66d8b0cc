"""Our side of the speed benchmark; `speed.py` starts it."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cam

import mxnet as mx
import numpy as np
from mxnet import nd
from mxnet.gluon.model_zoo import vision
from worker import LAYERS, Call, serve


class Ours:
    def about(self) -> dict[str, Any]:
        threads = os.environ.get("MXNET_OMP_MAX_THREADS") or os.environ["OMP_NUM_THREADS"]
        return {"versions": {"mxnet": mx.__version__}, "threads": int(threads)}

    def calls(self, net: str, folder: Path, images: np.ndarray, class_ids: list[int]) -> Mapping[str, Call]:
        zoo, x = zoo_net(net, folder), nd.array(images)
        assert cam.default_layer(zoo, x) == LAYERS[net]
        warnings.simplefilter("ignore", cam.CamWarning)  # some maps of random nets speak against the class
        return {
            "grad_cam": lambda: cam.grad_cam(zoo, x, target=class_ids),
            "guided_backprop": lambda: cam.guided_backprop(zoo, x, target=class_ids),
            "guided_grad_cam": lambda: cam.guided_grad_cam(zoo, x, target=class_ids),
        }

    def operators(self, call: Call) -> dict[str, float]:
        """By MXNet's profiler."""
        call()
        mx.profiler.set_config(profile_imperative=True, aggregate_stats=True, filename=os.devnull)
        mx.profiler.set_state("run")
        call()
        nd.waitall()
        mx.profiler.set_state("stop")
        found = json.loads(mx.profiler.dumps(reset=True, format="json"))["Time"]["operator"]
        return {name: row["Total"] for name, row in found.items()}


def zoo_net(net: str, folder: Path):
    """The model zoo's own net with the parameters that `random_parameters.py` wrote."""
    zoo = getattr(vision, net)()
    zoo.infer_shape(nd.zeros((1, 3, 224, 224)))
    zoo.initialize()
    with np.load(folder / f"{net}.npz") as values:
        for key, parameter in zoo._collect_params_with_prefix().items():
            parameter.set_data(nd.array(values[key]))
    return zoo


if __name__ == "__main__":
    serve(Ours())
