"""A small convolutional network: two convolutions, under 100,000 parameters. Where to begin on Fashion-MNIST.

    LeCun et al. 1998 brought up to date: batch normalisation (Ioffe and Szegedy 2015), dropout.

    28x28 -> conv 5x5, 32 maps -> batch norm -> ReLU -> max 2x2 (14x14)
          -> conv 5x5, 64 maps -> batch norm -> ReLU -> max 2x2 (7x7) -> dropout -> dense 10

83,562 parameters. Accuracy with the recipe is still to be measured; published nets of this kind reach 92.5 % on
Fashion-MNIST.
"""

from __future__ import annotations

from nncore.nn.base import Connection
from nncore.nn.conv import Conv2D
from nncore.nn.layers import Dense, Dropout, ReLU
from nncore.nn.norm import BatchNorm
from nncore.nn.pool import MaxPool2D
from nncore.nn.zoo.catalog import chain, model


@model("cnn", train={"epochs": 20, "batch": 128}, optimizer={"lr": 5e-3}, augment={"preset": "default"})
def cnn(x: Connection, classes: int, *, maps: tuple[int, int] = (32, 64), dropout: float = 0.3) -> Connection:
    """maps: feature maps of the two convolutions; dropout: before the last layer."""
    for k in maps:
        x = chain(x, Conv2D(k, 5, bias=False), BatchNorm(), ReLU(), MaxPool2D(2))
    return chain(x, Dropout(dropout), Dense(classes))
