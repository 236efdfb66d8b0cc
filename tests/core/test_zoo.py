"""Every family of MXNet's model zoo, as it is: gradients, the default layer, additions, class activation maps."""

import re

import cam
from cam.core.tracing import trace

import numpy as np
import pytest
from conftest import random_images, relative_l2
from helpers.compare import by_tape, fixed_statistics
from helpers.nets import random_statistics
from mxnet import init, nd
from mxnet.gluon.model_zoo import vision

# Family: the default layer, the ReLUs, the additions, and whether the graph ends in global pooling and Dense.
ZOO = {
    "alexnet": ("features.6", 7, 0, False),
    "vgg16": ("features.29", 15, 0, False),
    "vgg11_bn": ("features.27", 10, 0, False),
    "resnet18_v1": ("features.7", 17, 8, True),
    "resnet50_v1": ("features.7", 49, 16, True),
    "resnet18_v2": ("features.10", 18, 8, True),
    "resnet50_v2": ("features.10", 50, 16, True),
    "squeezenet1.0": ("output.1", 26, 0, False),
    "densenet121": ("features.12", 121, 0, True),
    "inceptionv3": ("features.17", 94, 0, True),
    "mobilenet0.25": ("features.80", 27, 0, True),
    "mobilenetv2_0.25": ("features.22", 36, 10, True),
}
# The rest of the zoo: another depth or width of a family above, told by its graph alone, which needs no parameters.
OTHERS = {
    "resnet34_v1": ("features.7", 33, 16),
    "resnet101_v1": ("features.7", 100, 33),
    "resnet152_v1": ("features.7", 151, 50),
    "resnet34_v2": ("features.10", 34, 16),
    "resnet101_v2": ("features.10", 101, 33),
    "resnet152_v2": ("features.10", 152, 50),
    "vgg11": ("features.19", 10, 0),
    "vgg13": ("features.23", 12, 0),
    "vgg19": ("features.35", 18, 0),
    "vgg13_bn": ("features.33", 12, 0),
    "vgg16_bn": ("features.42", 15, 0),
    "vgg19_bn": ("features.51", 18, 0),
    "squeezenet1.1": ("output.1", 26, 0),
    "densenet161": ("features.12", 161, 0),
    "densenet169": ("features.12", 169, 0),
    "densenet201": ("features.12", 201, 0),
    "mobilenet1.0": ("features.80", 27, 0),
    "mobilenet0.75": ("features.80", 27, 0),
    "mobilenet0.5": ("features.80", 27, 0),
    "mobilenetv2_1.0": ("features.22", 36, 10),
    "mobilenetv2_0.75": ("features.22", 36, 10),
    "mobilenetv2_0.5": ("features.22", 36, 10),
}
CLASSES = 10
SIZES = {"inceptionv3": 299, "densenet121": 224, "squeezenet1.0": 224}  # their last poolings are made for these


@pytest.fixture(scope="module", params=ZOO)
def family(request):
    name = request.param
    net = vision.get_model(name, classes=CLASSES)
    net.initialize(init.MSRAPrelu())
    x = random_images(1, SIZES.get(name, 96))
    net(x)
    return (*ZOO[name], fixed_statistics(random_statistics(net)), x)


def test_the_gradients_are_those_of_mxnets_own_tape(family):
    """The net is hybridized for the image's: `+` of arrays is another operator than `+` of symbols, whose rounding can
    flip a ReLU. The layer's is heard through its block, which a hybridized net does not call."""
    layer, *_, net, x = family
    head = nd.one_hot(nd.array([4]), CLASSES)
    recording = cam.record(net, x)
    assert recording.layers == [layer]
    _, at_layer = by_tape(net, [x], head, cam.paths(net)[layer])
    assert relative_l2(recording.gradient(target=4), at_layer) < 1e-5
    net.hybridize()
    image, logits = by_tape(net, [x], head), net(x).asnumpy()
    net.hybridize(False)
    assert relative_l2(recording.logits, logits) < 1e-5
    assert relative_l2(recording.image_gradient(target=4), image[0]) < 1e-5


def test_every_addition_is_the_sum_of_its_two_maps(family):
    _, _, additions, _, net, x = family
    graph = trace(net)
    sums = [graph.name((index, 0)) for index, step in enumerate(graph.steps) if step.kind == "addition"]
    assert len(sums) == additions
    whole = cam.record(net, x, sums, image_gradient=False) if sums else None
    for path in sums:
        parts = cam.decompose(net, x, path, target=4)
        assert relative_l2(parts["branch"] + parts["shortcut"], parts["sum"]) < 1e-5, path
        assert relative_l2(parts["sum"], cam.grad_cam_of(whole, target=4, layer=path, relu=False)) < 1e-5, path
        assert all(np.linalg.norm(part) > 0 for part in parts.values()), path


def test_class_activation_maps_where_the_graph_ends_so(family):
    """Their mean and the bias are the logit, and where the gradient is the same everywhere Grad-CAM is the same map."""
    *_, ends_so, net, x = family
    if not ends_so:
        with pytest.raises(cam.NetError, match="does not end in a global average pooling and one Dense layer"):
            cam.class_activation_map(net, x)
        return
    found = cam.class_activation_map(net, x, target=4)
    bias = net.output.bias.data().asnumpy()[4] if hasattr(net.output, "bias") else 0
    assert np.isclose(found.mean() + bias, net(x).asnumpy()[0, 4], rtol=1e-4, atol=1e-6)
    signed = cam.grad_cam(net, x, target=4, relu=False)
    assert relative_l2(found / found[0].size, signed) < 1e-5
    assert relative_l2(cam.hires_cam(net, x, target=4, relu=False), signed) < 1e-5


def test_relus_and_the_table_of_layers(family):
    layer, relus, *_, net, x = family
    assert len(cam.relus(net)) == relus
    assert cam.default_layer(net, x) == layer
    table = cam.layers(net, x)
    assert [(row.path, row.whole) for row in table if row.advice == "recommended"] == [(layer, True)]
    # No layer is advised against that another layer's advice is to take.
    advice = {row.path: row.advice for row in table}
    named = {said.rpartition(" ")[2] for said in advice.values() if ";" in said}
    assert layer in named and {advice[path] for path in named} <= {"", "recommended"}


@pytest.mark.parametrize("name", OTHERS)
def test_the_rest_of_the_zoo_by_its_graph(name):
    """The layer is whole, and of the whole maps after it none is the end of a convolution, an addition or a Concat."""
    layer, relus, additions = OTHERS[name]
    net = vision.get_model(name, classes=CLASSES)
    graph = trace(net)
    assert (len(cam.relus(net)), [step.kind for step in graph.steps].count("addition")) == (relus, additions)
    whole = graph.whole(graph.logits(0)[0])
    assert graph.entries[layer] in whole
    after = [graph.steps[index] for index, _ in whole if index > graph.entries[layer][0]]
    makes = {"Convolution", "elemwise_add", "Concat"}
    assert name.startswith("mobilenetv2") or not makes & {
        step.op for step in after
    }  # whose Dense layer is a convolution
    assert after[0].op in {"Pooling", "Flatten"}


def test_no_net_of_the_zoo_is_left_out():
    with pytest.raises(ValueError) as refused:
        vision.get_model("none of them")
    known = set(re.findall(r"^\t(\S+)$", str(refused.value), re.MULTILINE))
    assert known == set(ZOO) | set(OTHERS)
