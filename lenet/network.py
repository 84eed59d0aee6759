"""LeNet5 (LeCun et al. 1998, "Gradient-based learning applied to document recognition").

Input: float32 (batch, 28, 28), normalised by MEAN and DEVIATION. Output: (batch, 10), the
logarithms of the class probabilities. BigDL counts classes from 1.
"""

from __future__ import annotations

from bigdl.dllib.nn.layer import (
    Layer,
    Linear,
    LogSoftMax,
    Model,
    Reshape,
    Sequential,
    SpatialConvolution,
    SpatialMaxPooling,
    Tanh,
)

from lenet.idx import CLASSES, IMAGE_SIZE

NAME = "lenet"
"""BigDL finds an optimiser's state by the model's name."""

# Of MNIST's training images, scaled to 0 to 1.
MEAN = 0.13066047740239506
DEVIATION = 0.3081078


def build_network(kind: str) -> Layer:
    """The network of that kind ("lenet5" or "seed") with random weights."""
    network = {"lenet5": _lenet5, "seed": _seed}[kind]()
    return network.set_name(NAME)


def _seed() -> Layer:
    """BigDL's stock LeNet5: 6 and 12 maps, 100 hidden units."""
    network = Sequential()
    for layer in (
        Reshape([1, IMAGE_SIZE, IMAGE_SIZE]),
        SpatialConvolution(1, 6, 5, 5),
        Tanh(),
        SpatialMaxPooling(2, 2, 2, 2),
        SpatialConvolution(6, 12, 5, 5),
        Tanh(),
        SpatialMaxPooling(2, 2, 2, 2),
        Reshape([12 * 4 * 4]),
        Linear(12 * 4 * 4, 100),
        Tanh(),
        Linear(100, CLASSES),
        LogSoftMax(),
    ):
        network.add(layer)
    return network


def _lenet5() -> Layer:
    """The paper's widths (6 and 16 maps, 120 and 84 units), arranged for speed.

    Pooling comes before tanh: tanh is monotonic, so the function is the same, at a quarter of
    the work. The first convolution computes no gradient with respect to the image; that breaks
    the Reshape before it, unless the graph stops there.
    """
    image = Reshape([1, IMAGE_SIZE, IMAGE_SIZE]).set_name("image")()
    node = SpatialConvolution(1, 6, 5, 5, propagate_back=False)(image)
    node = Tanh()(SpatialMaxPooling(2, 2, 2, 2)(node))
    node = SpatialConvolution(6, 16, 5, 5)(node)
    node = Tanh()(SpatialMaxPooling(2, 2, 2, 2)(node))
    node = Reshape([16 * 4 * 4])(node)
    node = Tanh()(Linear(16 * 4 * 4, 120)(node))
    node = Tanh()(Linear(120, 84)(node))
    output = LogSoftMax()(Linear(84, CLASSES)(node))
    network = Model([image], [output])
    network.stop_gradient(["image"])
    return network
