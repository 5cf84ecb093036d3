"""Linear support vector machine: one hyperplane per class with the largest margin.

    Cortes and Vapnik 1995; several classes: Weston and Watkins 1999; training by subgradients: Shalev-Shwartz et al. 2007.

    image 28x28 -> dense 10 -> sum_j!=t max(0, 1 + z_j - z_t) + lambda/2 |w|^2

7,850 parameters. MNIST: 92.2 %; Fashion-MNIST: 84.2 %; two seconds.
"""

from __future__ import annotations

from nncore.nn.base import Connection
from nncore.nn.layers import Dense
from nncore.nn.zoo.catalog import model


@model("svm", train={"loss": "MultiHinge"}, optimizer={"lr": 1e-3}, penalty={"l2": 1e-4})
def svm(x: Connection, classes: int) -> Connection:
    """Margins z; train with MultiHinge (or Hinge: one against the rest) and an L2 penalty, which makes the margin wide."""
    return Dense(classes, init="zeros")(x)
