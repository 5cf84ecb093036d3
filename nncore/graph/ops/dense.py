"""Rows of csrc/ops/gemm.c."""

from __future__ import annotations

from nncore.errors import ShapeError
from nncore.graph.node import Node, Op
from nncore.graph.ops.elementwise import spread, sum_rows
from nncore.graph.ops.rules import matrix, partial


def _dense_shape(n: Node) -> tuple:
    x, w, b = n.inputs
    N, I = matrix(x, "dense")
    if len(w.shape) != 2 or w.shape[0] != I:
        raise ShapeError(f"dense: weight {w.shape} expects {w.shape[0]} inputs, got x {x.shape}")
    if b is not None and b.shape != w.shape[1:]:
        raise ShapeError(f"dense: bias {b.shape} does not fit weight {w.shape}")
    return (N, w.shape[1])


def _dense_vjp(g: Node, n: Node) -> tuple:
    x, w, b = n.inputs
    g = spread(g, n)
    return (dense_bwd_data(g, w), dense_bwd_weight(x, g), sum_rows(g) if b is not None else None)


dense = Op("dense_fwd", product=lambda n: min(n.inputs[1].shape), shape=_dense_shape, vjp=_dense_vjp, fuses=True,
           dims=lambda n: (n.shape[0], n.inputs[0].shape[1], n.shape[1], -1),
           flop=lambda n: 2 * n.size * n.inputs[0].shape[1])
dense_bwd_data = Op("dense_bwd_data", product=lambda n: min(n.inputs[1].shape),
                    shape=lambda n: (n.inputs[0].shape[0], n.inputs[1].shape[0]),
                    dims=lambda n: (*n.shape, n.inputs[0].shape[1]), flop=lambda n: 2 * n.size * n.inputs[0].shape[1])
dense_bwd_weight = Op("dense_bwd_weight", product=lambda n: min(n.shape[-2:]),
                      shape=lambda n: partial(n, (n.inputs[0].shape[1], n.inputs[1].shape[1])),
                      dims=lambda n: (n.inputs[0].shape[0], n.inputs[0].shape[1], n.inputs[1].shape[1], n.shards),
                      flop=lambda n: 2 * n.inputs[0].size * n.inputs[1].shape[1])
