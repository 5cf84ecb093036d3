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
