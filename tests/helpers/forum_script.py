"""What the forum's user ran, in short: VGG16 built from the tutorial's blocks, weights copied by name, two calls.

The tutorial's `import gradcam` is the one line that changes.
"""

TUTORIAL = """
from cam import gradcam
import mxnet as mx
from mxnet.gluon import nn

class Net(mx.gluon.HybridBlock):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.features = nn.HybridSequential(prefix="")
            for convolutions, channels in zip([2, 2, 3, 3, 3], [4, 4, 8, 8, 8]):
                for _ in range(convolutions):
                    self.features.add(gradcam.Conv2D(channels, kernel_size=3, padding=1))
                    self.features.add(gradcam.Activation("relu"))
                self.features.add(nn.MaxPool2D(strides=2))
            for _ in range(2):
                self.features.add(nn.Dense(32, activation="relu"))
                self.features.add(nn.Dropout(rate=0.5))
            self.output = nn.Dense(classes)

    def hybrid_forward(self, F, x):
        return self.output(self.features(x))

network = Net()
network.initialize()
for name, parameter in weights.collect_params().items():  # stands for the zoo's pretrained net
    network.collect_params()[network.prefix + name.replace(weights.prefix, "")].set_data(parameter.data())
layer_name = network.features[28]._name
"""

ONE_CALL = "result = gradcam.visualize(network, path, layer_name)\ngradcam.show_images(*result)"

OWN_HELPERS = """
original = mx.image.imread(path)
data = mx.image.imresize(original, 224, 224).astype("float32") / 255
mean, deviation = mx.nd.array([0.485, 0.456, 0.406]), mx.nd.array([0.229, 0.224, 0.225])
data = mx.image.color_normalize(data, mean=mean, std=deviation).transpose((2, 0, 1)).expand_dims(0)
result = gradcam.visualize(network, data, original.asnumpy(), layer_name)
"""
