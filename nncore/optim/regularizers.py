"""Penalties added to the loss. Weights only unless asked: biases move the decision, they do not bend it."""

from __future__ import annotations

from nncore.graph import ops
from nncore.graph.node import Node, Parameter
from nncore.optim.schedules import _number


class L2:
    """strength/2 sum w^2: gradient strength w. Goodfellow, Bengio, Courville 2016, eq. 7.1."""

    def __init__(self, strength: float, biases: bool = False):
        self.strength, self.biases = _number(type(self).__name__, "strength", strength), biases

    def term(self, w: Parameter) -> Node:
        """The penalty of one parameter as a scalar node."""
        return ops.sum_squares(w, scale=self.strength / 2)

    def terms(self, parameters: list[Parameter]) -> list[Node]:
        """One scalar node per penalised parameter."""
        return [self.term(w) for w in parameters if self.biases or w.kind == "weight"]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(strength={self.strength!r}, biases={self.biases!r})"


class L1(L2):
    """strength sum |w|: gradient strength sign(w), 0 at 0. Goodfellow, Bengio, Courville 2016, eq. 7.18."""

    def term(self, w: Parameter) -> Node:
        return ops.sum_abs(w, scale=self.strength)


class ElasticNet:
    """Both: l1 sum |w| + l2/2 sum w^2. Zou and Hastie 2005, eq. 3, its l2 halved."""

    def __init__(self, l1: float, l2: float, biases: bool = False):
        self.l1, self.l2 = L1(l1, biases), L2(l2, biases)

    def terms(self, parameters: list[Parameter]) -> list[Node]:
        """Two scalar nodes per penalised parameter."""
        return [*self.l1.terms(parameters), *self.l2.terms(parameters)]

    def __repr__(self) -> str:
        return f"ElasticNet(l1={self.l1.strength!r}, l2={self.l2.strength!r}, biases={self.l1.biases!r})"
