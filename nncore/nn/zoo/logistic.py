"""Logistic regression with several classes (softmax regression): the linear classifier of maximum likelihood.

    Bishop 2006, section 4.3.4.

    image 28x28 -> dense 10 -> softmax -> cross-entropy

7,850 parameters, a convex problem. MNIST: 92.6 %; Fashion-MNIST: 84.5 %; two seconds.
"""

from __future__ import annotations

from nncore.nn.base import Connection
from nncore.nn.layers import Dense
from nncore.nn.zoo.catalog import model


@model("logistic", optimizer={"lr": 2e-3})
def logistic(x: Connection, classes: int) -> Connection:
    """Potentials; train with CrossEntropy."""
    return Dense(classes, init="zeros")(x)
