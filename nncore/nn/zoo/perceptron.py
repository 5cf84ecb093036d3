"""The perceptron: unit-step neurons and the perceptron rule, w <- w + rate (d - step(w x)) x.

    Rosenblatt 1958; the rule as gradient descent on the perceptron criterion: Bishop 2006, section 4.1.7.

    image 28x28 -> dense 10 -> unit step;  only wrong neurons learn

7,850 parameters. MNIST: 90.9 % after 5 epochs. The classes are not linearly separable, so with a constant rate the rule
never comes to rest; under one cycle, whose rate falls to nothing, it settles.
"""

from __future__ import annotations

from nncore.nn.base import Connection
from nncore.nn.layers import Dense
from nncore.nn.zoo.catalog import model


@model("perceptron", train={"loss": "PerceptronCriterion"}, optimizer={"name": "SGD", "lr": 1e-2})
def perceptron(x: Connection, classes: int) -> Connection:
    """Potentials z: the neurons fire where z >= 0, the class is the neuron with the largest. Train with PerceptronCriterion,
    whose gradient is step(z) - d: the rule."""
    return Dense(classes, init="zeros")(x)
