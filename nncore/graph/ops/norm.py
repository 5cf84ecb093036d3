"""Rows of csrc/ops/batch_norm.c, layer_norm.c and local_norm.c."""

from __future__ import annotations

from math import prod

from nncore.errors import ShapeError
from nncore.graph.node import Node, Op
from nncore.graph.ops.elementwise import spread
from nncore.graph.ops.rules import attributes, first, nothing, partial


def chunk_rows(C: int) -> int:
    """Rows of one chunk of the statistics: about 4096 values, which stay in the first-level cache. Part of the numerics."""
    return max(16, 4096 // max(C, 1) // 4 * 4)


def _check(n: Node, x: Node, *channels: Node | None) -> int:
    """The channels of x, (N, C) or (N, H, W, C). Raises ShapeError if a parameter or statistic has others."""
    if len(x.shape) < 2:
        raise ShapeError(f"{n.op.name}: expects (N, C) or (N, H, W, C), got {x.shape}")
    for v in channels:
        if v is not None and v.shape != x.shape[-1:]:
            raise ShapeError(f"{n.op.name}: {v!r} does not fit the {x.shape[-1]} channels of x {x.shape}")
    return x.shape[-1]


def _rows(x: Node) -> int:
    return x.size // x.shape[-1]


def _batch_norm_shape(n: Node) -> list:
    x, gamma, beta = n.inputs
    C = _check(n, x, gamma, beta)
    rows = _rows(x) // n.shards
    if rows < 2:
        raise ShapeError(f"batch_norm_fwd: x {x.shape} in {n.shards} shards has one value per channel and so no variance: "
                         "train with a batch that leaves at least 2 samples, also at the end of an epoch, or freeze the layer")
    work = n.shards * C * (2 * -(-rows // chunk_rows(C)) + 1)
    return [x.shape, partial(n, (C,)), partial(n, (C,)), (work,)]


def _batch_norm_vjp(g: Node, n: Node) -> tuple:
    x, gamma, beta = n.inputs
    return _given(batch_norm_bwd(spread(g, n), x, n.output(1), n.output(2), gamma, eps=n.attrs["eps"]), gamma, beta)


def _fixed_shape(n: Node) -> tuple:
    _check(n, *n.inputs)
    return first(n)


def _fixed_vjp(g: Node, n: Node) -> tuple:
    x, mean, var, gamma, beta = n.inputs
    d = batch_norm_bwd(spread(g, n), x, mean, var, gamma, eps=n.attrs["eps"], fixed=1)
    dx, dgamma, dbeta = _given(d, gamma, beta)
    return (dx, None, None, dgamma, dbeta)


def _given(d: Node, gamma: Node | None, beta: Node | None) -> tuple:
    return (d, d.output(1) if gamma is not None else None, d.output(2) if beta is not None else None)


def _bwd_shape(n: Node) -> list:
    dy, C = n.inputs[0], n.inputs[0].shape[-1]
    chunks = -(-(_rows(dy) // n.shards) // chunk_rows(C))
    return [dy.shape, partial(n, (C,)), partial(n, (C,)), (n.shards * C * (2 * chunks + 3),)]


def _dims(n: Node) -> tuple:
    x = n.inputs[0]
    return (_rows(x), x.shape[-1], n.shards, chunk_rows(x.shape[-1]))


batch_norm = Op("batch_norm_fwd", shape=_batch_norm_shape, dtypes=("real",) * 4, dims=_dims, defaults={"eps": 1e-5},
                scalars=attributes("eps"), flop=lambda n: 8 * n.size, vjp=_batch_norm_vjp)
batch_norm_fixed = Op("batch_norm_fixed_fwd", shape=_fixed_shape, dims=lambda n: _dims(n)[:2], defaults={"eps": 1e-5},
                      scalars=attributes("eps"), flop=lambda n: 3 * n.size, vjp=_fixed_vjp)
batch_norm_bwd = Op("batch_norm_bwd", shape=_bwd_shape, dtypes=("real",) * 4, dims=lambda n: (*_dims(n), n.attrs["fixed"]),
                    defaults={"eps": 1e-5, "fixed": 0}, scalars=attributes("eps"), flop=lambda n: 9 * n.size)
running_stats = Op("running_stats", shape=nothing, mutates=(0, 1), defaults={"momentum": 0.1, "rows": 2},
                   dims=lambda n: (n.inputs[0].size, n.inputs[2].size // n.inputs[0].size, n.attrs["rows"]),
                   scalars=attributes("momentum"), flop=lambda n: 0)


# ---- layer_norm.c ----------------------------------------------------------------------------------------------------


def _last(n: Node, x: Node) -> tuple[int, int]:
    """(rows, elements of one): the last `axes` axes of x are normalised together."""
    D = prod(x.shape[-n.attrs["axes"] :])
    return (x.size // D if D else 0, D)


def _layer_norm_shape(n: Node) -> list:
    x, gamma, beta = n.inputs
    axes = n.attrs["axes"]
    if not 0 < axes < len(x.shape):
        raise ShapeError(f"layer_norm_fwd: cannot normalise the last {axes} axes of x {x.shape}; the batch stays: "
                         f"choose 1 to {len(x.shape) - 1}")
    if (gamma is None) != (beta is None) or any(v is not None and v.shape != x.shape[-axes:] for v in (gamma, beta)):
        raise ShapeError(f"layer_norm_fwd: {gamma!r} and {beta!r} must have the shape {x.shape[-axes:]}, or both be absent")
    return [x.shape, x.shape[:-axes], x.shape[:-axes]]


def _layer_norm_vjp(g: Node, n: Node) -> tuple:
    x, gamma, beta = n.inputs
    g, stats, axes = spread(g, n), (n.output(1), n.output(2)), n.attrs["axes"]
    dx = layer_norm_bwd(g, x, *stats, gamma, axes=axes)
    if gamma is None:
        return (dx, None, None)
    weights = layer_norm_bwd_weight(g, x, *stats, axes=axes)
    return (dx, weights, weights.output(1))


layer_norm = Op("layer_norm_fwd", shape=_layer_norm_shape, dtypes=("real",) * 3, dims=lambda n: _last(n, n.inputs[0]),
                defaults={"eps": 1e-5, "axes": 1}, scalars=attributes("eps"), flop=lambda n: 8 * n.size, vjp=_layer_norm_vjp)
layer_norm_bwd = Op("layer_norm_bwd", shape=first, dims=lambda n: _last(n, n), defaults={"axes": 1}, flop=lambda n: 13 * n.size)
layer_norm_bwd_weight = Op("layer_norm_bwd_weight", dtypes=("real",) * 2, defaults={"axes": 1},
                           shape=lambda n: [partial(n, n.inputs[0].shape[-n.attrs["axes"] :])] * 2,
                           dims=lambda n: (*_last(n, n.inputs[0]), n.shards), flop=lambda n: 5 * n.inputs[0].size)

# ---- local_norm.c ----------------------------------------------------------------------------------------------------

_LOCAL = {"size": 5, "k": 2.0, "alpha": 1e-4, "beta": 0.75}


def _local_dims(n: Node) -> tuple:
    return (_rows(n), n.shape[-1], n.attrs["size"])


local_norm_bwd = Op("local_norm_bwd", shape=first, dims=_local_dims, defaults=_LOCAL, scalars=attributes("k", "alpha", "beta"),
                    elementary=True, flop=lambda n: (70 + n.attrs["size"]) * n.size)
local_norm = Op("local_norm_fwd", shape=lambda n: [first(n)] * 2, dtypes=("real",) * 2, dims=_local_dims, defaults=_LOCAL,
                scalars=attributes("k", "alpha", "beta"), elementary=True, flop=lambda n: (35 + 2 * n.attrs["size"]) * n.size,
                vjp=lambda g, n: (local_norm_bwd(spread(g, n), n.inputs[0], n.output(1), **n.attrs),))
