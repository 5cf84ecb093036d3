"""The model zoo: networks of the lectures and of the literature, one readable file each, by name."""

from nncore.nn.zoo import (
    adaline,
    alexnet_small,
    allconv,
    cnn,
    inception_small,
    lenet1,
    lenet5,
    logistic,
    mlp,
    nielsen,
    perceptron,
    resnet_small,
    svm,
    vgg_small,
)
from nncore.nn.zoo.catalog import MODELS

__all__ = [
    "MODELS", "adaline", "alexnet_small", "allconv", "cnn", "inception_small", "lenet1", "lenet5", "logistic", "mlp",
    "nielsen", "perceptron", "resnet_small", "svm", "vgg_small",
]
