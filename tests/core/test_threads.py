"""Several threads and one net: every number as in a single thread, and no error.

One thread predicts: two that predict with a net that has a BatchNorm can bring MXNet's engine to a stop, also without
this package, as both hand it the same running statistics to write to.
"""

import threading
import warnings
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

import cam
from cam import evaluation, scenes
from cam.core import tracing

import numpy as np
import pytest
from conftest import random_images, randomise
from mxnet import autograd, nd
from mxnet.gluon.model_zoo.vision import resnet

ROUNDS = 5
JOBS = {
    "grad_cam": lambda net, x: cam.grad_cam(net, x, target=1, relu=False),
    "another target": lambda net, x: cam.grad_cam(net, x, target=3, relu=False),
    "layers": lambda net, x: cam.grad_cam(net, x, target=1, layer=["features.5", "features.8"])["features.5"],
    "guided": lambda net, x: cam.guided_backprop(net, x, target=1),
    "deconvnet": lambda net, x: cam.image_gradient(net, x, target=1, rule="deconvnet"),
    "saliency": lambda net, x: cam.saliency(net, x, target=2),
    "both": lambda net, x: cam.guided_grad_cam(net, x, target=1),
    "parts": lambda net, x: cam.decompose(net, x, "features.8.1", target=1)["branch"],
}


def narrow_resnet18():
    net = resnet.ResNetV2(resnet.BasicBlockV2, [2, 2, 2, 2], [8, 8, 16, 32, 64], classes=5)
    net.initialize()
    net(random_images(1, 32))
    return randomise(net)


def together(*jobs):
    """Run the jobs at once, each in a thread of its own, and give their results; an error in one is raised."""
    barrier = threading.Barrier(len(jobs))

    def started(job):
        barrier.wait()
        with warnings.catch_warnings():
            return job()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return [one.result() for one in [pool.submit(started, job) for job in jobs]]


def test_what_one_thread_keeps_silent_another_says():
    """`check` and `evaluation` say nothing of single maps; Python's own filters are one for all threads."""
    net, x, part = narrow_resnet18(), random_images(1, 32), "features.8.1.conv2"
    net.labels = ["brown bear", "zebra", "tiger", "balloon", "duck"]

    def measured():
        scene = scenes.Scene(np.zeros((32, 32, 3), np.uint8), ["tiger"], [2], np.ones((1, 32, 32), bool))
        return evaluation.compare(net, {"Grad-CAM": cam.grad_cam}, part, [scene])

    silent = [lambda: cam.check(net, x), measured]
    with warnings.catch_warnings(record=True) as heard, ThreadPoolExecutor(4) as pool:
        warnings.simplefilter("always")
        said = [pool.submit(cam.grad_cam, net, x, target=1, layer=part) for _ in range(8)]
        unsaid = [pool.submit(job) for job in silent * 4]
        for one in said + unsaid:
            one.result()
    assert sum(one.category is cam.LayerWarning for one in heard) == len(said)


@pytest.mark.filterwarnings("ignore::cam.CamWarning")
@pytest.mark.parametrize("hybrid", [False, True])
def test_four_threads_explain_and_predict(hybrid):
    net, x = narrow_resnet18(), random_images(2, 32)
    if hybrid:
        net.hybridize()
    truth, expected = net(x).asnumpy(), {name: job(net, x) for name, job in JOBS.items()}

    def explaining(names):
        def run():
            return [(name, JOBS[name](net, x)) for _ in range(ROUNDS) for name in names]

        return run

    def predicting():
        found = []
        for _ in range(4 * ROUNDS):
            found.append(("logits", net(x).asnumpy()))
            assert not autograd.is_recording() and not autograd.is_training()
        return found

    names = list(JOBS)
    found = together(explaining(names[:3]), explaining(names[3:6]), explaining(names[6:]), predicting)
    for name, values in (one for many in found for one in many):
        assert np.array_equal(values, truth if name == "logits" else expected[name]), name


@pytest.mark.filterwarnings("ignore::cam.CamWarning")
def test_threads_that_meet_a_net_for_the_first_time():
    """They all trace it and try it out at a moment when it predicts and a hook of the user's listens."""
    for _ in range(5):
        net, x, heard = narrow_resnet18(), random_images(1, 32), []
        truth = net(x).asnumpy()
        net.features[8].register_forward_hook(lambda block, inputs, output, heard=heard: heard.append(type(output)))
        predict = lambda net=net, x=x: [net(x).asnumpy() for _ in range(10)]  # noqa: E731
        explain = lambda net=net, x=x: [cam.grad_cam(net, x, target=1)]  # noqa: E731
        predicted, *found = together(predict, explain, explain, explain)
        assert all(np.array_equal(logits, truth) for logits in predicted)
        expected = cam.grad_cam(net, x, target=1)
        assert all(np.array_equal(one, expected) for (one,) in found)
        assert heard == [nd.NDArray] * 10
        for block in (net, *cam.paths(net).values()):
            assert "forward" not in vars(block) and type(block._forward_hooks) is OrderedDict


def test_one_recording_answers_several_threads():
    net, x = narrow_resnet18(), random_images(1, 32)
    recording = cam.record(net, x)
    asked = [(target, rule) for target in range(3) for rule in cam.core.rules.RULES]

    def ask(target, rule):
        return recording.image_gradient(target=target, rule=rule)

    expected = [ask(*one) for one in asked]
    found = together(*(lambda one=one: ask(*one) for one in asked))
    assert all(np.array_equal(one, two) for one, two in zip(found, expected))
    gradients = [recording.gradient(target=target) for target in range(4)]
    for _ in range(10):
        found = together(*(lambda target=target: recording.gradient(target=target) for target in range(4)))
        assert all(np.array_equal(one, two) for one, two in zip(found, gradients))


def test_two_nets_in_two_threads():
    nets, x = [narrow_resnet18(), narrow_resnet18()], random_images(1, 32)
    randomise(nets[1], seed=7)
    expected = [cam.grad_cam(net, x, target=1) for net in nets]
    tracing._known.clear()
    found = together(*(lambda net=net: [cam.grad_cam(net, x, target=1) for _ in range(ROUNDS)] for net in nets))
    assert all(np.array_equal(one, expected[number]) for number, many in enumerate(found) for one in many)
