"""Rows of csrc/ops/round.c: values rounded to an emulated format, in place of what they were or beside it."""

from __future__ import annotations

from nncore.graph.formats import ROUNDINGS, Arithmetic
from nncore.graph.node import Node, Op
from nncore.graph.ops.rules import first, nothing


def _dims(n: Node) -> tuple:
    a = Arithmetic.parse(n.attrs["to"])
    f = a.format
    numbers = f.precision, f.emin, f.emax, int(f.subnormals), int(f.saturate)
    return (n.inputs[0].size, *numbers, ROUNDINGS[a.rounding], n.attrs["id"])


def _scalars(n: Node) -> tuple:
    return (Arithmetic.parse(n.attrs["to"]).format.largest,)


# to: an Arithmetic or its text, "bf16:stochastic"; id: tells the random numbers of several such nodes apart. The gradient goes
# straight through.
round_to = Op("round_to", shape=first, defaults={"to": "bf16", "id": 0}, dims=_dims, scalars=_scalars, flop=lambda n: 0,
              vjp=lambda g, n: (g,))
_round_in_place = Op("round_to", shape=nothing, mutates=(0,), defaults={"to": "bf16", "id": 0}, dims=_dims, scalars=_scalars,
                     flop=lambda n: 0)


def round_in_place(x: Node, *, to: str | Arithmetic = "bf16", id: int = 0) -> Node:
    """The effect x := x rounded, of a parameter or a state behind its update."""
    return _round_in_place(x, x, to=to, id=id)
