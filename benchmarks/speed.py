"""How long maps take, as multiples of one forward pass of the same net: `make benchmark`.

Full-size nets, random weights, one 224x224 image. Machines and moments differ; ratios of one run compare.
"""

import statistics
import time

import cam
from cam import blocks

from mxnet import autograd, nd
from mxnet.gluon import nn
from mxnet.gluon.model_zoo import vision


def seconds(*jobs, rounds=7):
    """The median time of each job; the jobs take turns, so that a drift of the machine meets all of them."""
    for job in jobs:
        job()
    times = [[] for _ in jobs]
    for _ in range(rounds):
        for job, found in zip(jobs, times):
            nd.waitall()
            start = time.perf_counter()
            job()
            nd.waitall()
            found.append(time.perf_counter() - start)
    return [statistics.median(found) for found in times]


def native_gradient(net, x):
    """The image gradient by MXNet's own blocks and autograd, which for a max pooling is wrong, but timed."""
    x.attach_grad()

    def job():
        with autograd.record(train_mode=False):
            logit = net(x)[0, 5]
        autograd.grad(logit, [x], train_mode=False)[0].wait_to_read()

    return job


def batch_norms(shape=(1, 256, 56, 56)) -> None:
    """Forward and backward of a BatchNorm between two convolutions in inference: ours against MXNet's."""
    x, head = nd.random.normal(shape=shape), nd.random.normal(shape=shape)
    x.attach_grad()
    channels = shape[1]
    weight = nd.random.normal(scale=0.1, shape=(channels, channels, 1, 1))

    def chain(norm):
        norm.initialize()

        def convolve(x):
            return nd.Convolution(x, weight, num_filter=channels, kernel=(1, 1), no_bias=True)

        def job():
            with autograd.record(train_mode=False):
                y = convolve(norm(convolve(x)))
            autograd.grad([y], [x], head_grads=[head], train_mode=False)[0].wait_to_read()

        return job

    ours, theirs = seconds(*(chain(kind(in_channels=channels)) for kind in (blocks.BatchNorm, nn.BatchNorm)), rounds=21)
    print(f"BatchNorm between two convolutions, ours over MXNet's: {ours / theirs:.2f}")


def main() -> None:
    batch_norms()
    x = nd.random.normal(shape=(1, 3, 224, 224))
    for name in ("resnet50_v2", "vgg16"):
        net = getattr(cam, name)(weights=None)
        hybrid = cam.convert(net)
        hybrid.hybridize(static_alloc=True, static_shape=True)
        jobs = {
            "forward": lambda net=net: net(x).wait_to_read(),
            "forward, hybridized": lambda net=hybrid: net(x).wait_to_read(),
            "Grad-CAM": lambda net=net: cam.grad_cam(net, x, 5),
            "Grad-CAM, hybridized below the layer": lambda net=hybrid: cam.grad_cam(net, x, 5),
            "image gradient": lambda net=net: cam.image_gradient(net, x, 5),
            "image gradient by stock autograd": native_gradient(_stock(net, name), x.copy()),
            "guided backpropagation": lambda net=net: cam.guided_backprop(net, x, 5),
            "guided Grad-CAM": lambda net=net: cam.guided_grad_cam(net, x, 5),
        }
        times = seconds(*jobs.values())
        print(f"{name}: forward {1000 * times[0]:.0f} ms")
        for label, time_taken in zip(jobs, times):
            print(f"  {time_taken / times[0]:5.2f}  {label}")


def _stock(net, name):
    """The zoo's own net with the same values."""
    zoo = getattr(vision, name)()
    zoo.initialize()
    zoo(nd.zeros((1, 3, 224, 224)))
    ours = net._collect_params_with_prefix()
    for key, parameter in zoo._collect_params_with_prefix().items():
        parameter.set_data(ours[key].data())
    return zoo


if __name__ == "__main__":
    main()
