"""Gradients made smaller before the update: builders of graphs. `fit(..., clip=ClipNorm(1.0))`."""

from __future__ import annotations

from nncore.graph import ops
from nncore.graph.autodiff import add_all
from nncore.graph.node import Node, Parameter
from nncore.optim.schedules import _number


class ClipValue:
    """Each element into [-bound, bound]: g <- min(max(g, -bound), bound). The direction changes."""

    def __init__(self, bound: float):
        self.bound = _number("ClipValue", "bound", bound, strict=True)

    def __call__(self, gradients: dict[Parameter, Node]) -> dict[Parameter, Node]:
        """The clipped gradients."""
        return {w: _named(ops.clip(g, c=self.bound), w) for w, g in gradients.items()}

    def __repr__(self) -> str:
        return f"ClipValue({self.bound!r})"


class ClipNorm:
    """All gradients by one factor, so that their common norm is at most `norm`: g <- g min(1, norm / ||g||), ||g|| over all
    parameters. The direction stays; a factor of 1 changes no bit. Pascanu, Mikolov, Bengio 2013, algorithm 1.

    ||g||^2 is a sum in 16 lanes per gradient (csrc/ops/reduce.c), added in the order of the parameters. Torch adds 1e-6 to
    the norm. A norm beyond 1.8e19, whose square overflows, counts as infinite: the step is then dropped.
    """

    def __init__(self, norm: float):
        self.norm = _number("ClipNorm", "norm", norm, strict=True)

    def __call__(self, gradients: dict[Parameter, Node]) -> dict[Parameter, Node]:
        """The scaled gradients."""
        squares = add_all([ops.sum_squares(g) for g in gradients.values()])
        factor = ops.clip_factor(squares, c=self.norm)
        return {w: _named(ops.scale_by(g, factor), w) for w, g in gradients.items()}

    def __repr__(self) -> str:
        return f"ClipNorm({self.norm!r})"


def _named(g: Node, w: Parameter) -> Node:
    g.gradient_of = w
    return g
