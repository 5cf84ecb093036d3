"""VGG for small images: pairs of 3x3 convolutions, twice as many maps after each pooling.

    Simonyan and Zisserman 2015, "Very deep convolutional networks"; with batch normalisation (Ioffe and Szegedy 2015).

    28x28 -> [conv 3x3, 32] x 2 -> max 2x2 (14x14) -> [conv 3x3, 64] x 2 -> max 2x2 (7x7) -> [conv 3x3, 128] x 2
          -> global average -> dense 10;  batch norm and ReLU after each convolution

288,170 parameters. MNIST, 8 epochs, weights averaged, images turned and bent more than by default (the command is in the
README): 99.64, 99.70, 99.65, 99.65, 99.67 % with seeds 0 to 4, 6 to 12 minutes of a core each. Fashion-MNIST, 8 epochs: 92.93 %.
"""

from __future__ import annotations

from nncore.nn.base import Connection
from nncore.nn.conv import Conv2D
from nncore.nn.layers import Dense, Dropout, ReLU
from nncore.nn.norm import BatchNorm
from nncore.nn.pool import GlobalAvgPool2D, MaxPool2D
from nncore.nn.zoo.catalog import chain, model


@model("vgg-small", train={"epochs": 15, "batch": 128}, optimizer={"lr": 4e-3},
       augment={"preset": "default"})
def vgg_small(x: Connection, classes: int, *, maps: tuple[int, ...] = (32, 64, 128), dropout: float = 0.2) -> Connection:
    """maps: feature maps of each pair of convolutions; dropout: before the last layer."""
    for i, k in enumerate(maps):
        x = MaxPool2D(2)(x) if i else x
        for _ in range(2):
            x = chain(x, Conv2D(k, 3, bias=False), BatchNorm(), ReLU())
    return chain(x, GlobalAvgPool2D(), Dropout(dropout), Dense(classes))
