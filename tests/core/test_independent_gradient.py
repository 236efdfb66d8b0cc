"""The image gradients of all three rules by a second way, in which every rule is applied by hand between the ReLUs."""

import cam

import pytest
from conftest import random_images, relative_l2
from helpers import independent_gradient


@pytest.mark.parametrize("rule", ["plain", "guided", "deconvnet"])
@pytest.mark.parametrize("name", ["vgg16", "resnet50_v2"])
def test_image_gradients(narrow_nets, name, rule):
    net, x = narrow_nets[name], random_images(2)
    found = cam.image_gradient(net, x, target=[3, 5], rule=rule)
    assert relative_l2(found, independent_gradient.image_gradient(net, x, [3, 5], rule).asnumpy()) < 1e-5
