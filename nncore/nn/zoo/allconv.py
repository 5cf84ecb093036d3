"""The all convolutional net: strides in place of pooling, a 1x1 convolution and an average in place of dense layers.

    Springenberg, Dosovitskiy, Brox, Riedmiller 2015, "Striving for simplicity", All-CNN-C.

    28x28 -> conv 3x3, 32 -> conv 3x3, 32 -> conv 3x3/2, 32 (14x14) -> conv 3x3, 64 -> conv 3x3, 64 -> conv 3x3/2, 64 (7x7)
          -> conv 3x3, 64 -> conv 1x1, 64 -> conv 1x1, 10 -> global average;  ReLU after each

152,906 parameters. Fashion-MNIST, 5 of the 12 epochs: 88.51 %, 8 minutes of a core.
"""

from __future__ import annotations

from nncore.nn.base import Connection
from nncore.nn.conv import Conv2D
from nncore.nn.layers import Dropout, ReLU
from nncore.nn.pool import GlobalAvgPool2D
from nncore.nn.zoo.catalog import chain, model


@model("allconv", train={"epochs": 12, "batch": 128}, optimizer={"lr": 1.5e-3},
       augment={"preset": "default"})
def allconv(x: Connection, classes: int, *, maps: tuple[int, int] = (32, 64), dropout: float = 0.2) -> Connection:
    """maps: feature maps before and after the first reduction; dropout: behind each reduction (the paper: 1/2)."""
    for k in maps:
        x = chain(x, Conv2D(k, 3), ReLU(), Conv2D(k, 3), ReLU(), Conv2D(k, 3, stride=2), ReLU(), Dropout(dropout))
    x = chain(x, Conv2D(maps[1], 3), ReLU(), Conv2D(maps[1], 1), ReLU())
    return chain(x, Conv2D(classes, 1), GlobalAvgPool2D())
