"""LeNet-5, with the parts that have proved better since: ReLU and max-pooling.

    LeCun, Bottou, Bengio, Haffner 1998, "Gradient-based learning applied to document recognition", section II.B.

    28x28 -> conv 5x5, 6 maps, padded (28x28) -> pool 2x2 (14x14) -> conv 5x5, 16 maps (10x10) -> pool 2x2 (5x5)
          -> dense 120 -> dense 84 -> dense 10

61,706 parameters. `original=True` gives 1.7159 tanh(2/3 x) and average pooling. (In 1998 the second convolution joined only
some of the maps and the outputs were distances to drawn digits.) MNIST: 99.05 to 99.27 % after 5 epochs (4 s
on two cores), 99.24 to 99.27 % after 15.
"""

from __future__ import annotations

from nncore.nn.base import Connection
from nncore.nn.conv import Conv2D
from nncore.nn.layers import Dense, ReLU, Tanh
from nncore.nn.pool import AvgPool2D, MaxPool2D
from nncore.nn.zoo.catalog import chain, model


@model("lenet5", train={"epochs": 5, "batch": 64}, optimizer={"lr": 4e-3})
def lenet5(x: Connection, classes: int, *, original: bool = False) -> Connection:
    """Two convolutions, each followed by pooling, and three dense layers."""

    def activation():
        return Tanh(a=1.7159, b=2 / 3) if original else ReLU()

    pool, init = (AvgPool2D, "lecun_normal") if original else (MaxPool2D, "he_normal")
    x = chain(x, Conv2D(6, 5, padding=2, init=init), activation(), pool(2))
    x = chain(x, Conv2D(16, 5, padding="valid", init=init), activation(), pool(2))
    return chain(x, Dense(120, init=init), activation(), Dense(84, init=init), activation(), Dense(classes))
