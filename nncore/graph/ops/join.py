"""Rows of csrc/ops/upsample.c and join.c: images enlarged, put together, cut apart and padded."""

from __future__ import annotations

from nncore.errors import ShapeError
from nncore.graph.node import Node, Op
from nncore.graph.ops.elementwise import spread

# ---- upsampling ------------------------------------------------------------------------------------------------------

LARGEST_FACTOR = 64  # NN_MAX_UPSAMPLE


def _enlarged(n: Node) -> tuple:
    x, factor = n.inputs[0], n.attrs["factor"]
    if len(x.shape) != 4:
        raise ShapeError(f"{n.layer or n.op.name}: enlarges images (N, H, W, C), got {x.shape}; Reshape to (H, W, C) first")
    if not all(1 <= f <= LARGEST_FACTOR for f in factor):
        raise ShapeError(f"{n.layer or n.op.name}: factors go from 1 to {LARGEST_FACTOR}, got {factor}; upsample in two steps")
    return (x.shape[0], x.shape[1] * factor[0], x.shape[2] * factor[1], x.shape[3])


def _upsample(name: str, flop: int) -> tuple[Op, Op]:
    bwd = Op(f"{name}_bwd", shape=lambda n: n.attrs["image"], defaults={"factor": (2, 2), "image": ()},
             dims=lambda n: (*n.shape, *n.attrs["factor"]), flop=lambda n: flop * n.inputs[0].size)
    fwd = Op(f"{name}_fwd", shape=_enlarged, defaults={"factor": (2, 2)}, flop=lambda n: (flop - 1) * n.size,
             dims=lambda n: (*n.inputs[0].shape, *n.attrs["factor"]),
             vjp=lambda g, n: (bwd(spread(g, n), image=n.inputs[0].shape, **n.attrs),))
    return fwd, bwd


upsample_nearest, upsample_nearest_bwd = _upsample("upsample_nearest", 1)
upsample_bilinear, upsample_bilinear_bwd = _upsample("upsample_bilinear", 8)

# ---- blocks ----------------------------------------------------------------------------------------------------------

_MOST = 11  # inputs of one concat instruction: NN_MAX_ARGS without the output


def as_image(shape: tuple) -> tuple[int, int, int, int]:
    """A shape (N, ..., C) of up to four axes as (N, H, W, C)."""
    return (shape[0], *(1,) * (4 - len(shape)), *shape[1:])


def _block_shape(n: Node) -> tuple:
    x, extent = n.inputs[0], n.attrs["extent"]
    if not 2 <= len(x.shape) <= 4:
        raise ShapeError(f"{n.layer or n.op.name}: takes (N, C) to (N, H, W, C), got {x.shape}")
    if any(v < 1 for v in extent):
        raise ShapeError(f"{n.layer or n.op.name}: nothing would be left of {x.shape}: {extent}")
    return (x.shape[0], *extent[4 - len(x.shape):])


def _block_vjp(g: Node, n: Node) -> tuple:
    extent, offset = as_image(n.inputs[0].shape)[1:], tuple(-v for v in n.attrs["offset"])
    return (block_copy(spread(g, n), extent=extent, offset=offset),)


# y[n,p,q,k] = x[n, p + a, q + b, k + c], 0 outside: extent (P, Q, K), offset (a, b, c); for (N, C) only the last counts.
block_copy = Op("block_copy", shape=_block_shape, vjp=_block_vjp, defaults={"extent": (), "offset": (0, 0, 0)},
                dims=lambda n: (*as_image(n.inputs[0].shape), *n.attrs["extent"], *n.attrs["offset"]), flop=lambda n: 0)


def _concat_shape(n: Node) -> tuple:
    front = n.inputs[0].shape[:-1]
    for x in n.inputs[1:]:
        if x.shape[:-1] != front:
            raise ShapeError(f"{n.layer or 'concat'}: only the last sizes may differ, got {n.inputs[0].shape} and {x.shape}")
    return (*front, sum(x.shape[-1] for x in n.inputs))


def _concat_vjp(g: Node, n: Node) -> tuple:
    g, start, parts = spread(g, n), 0, []
    for x in n.inputs:
        parts.append(block_copy(g, extent=as_image(x.shape)[1:], offset=(0, 0, start)))
        start += x.shape[-1]
    return tuple(parts)


concat_row = Op("concat", shape=_concat_shape, vjp=_concat_vjp, flop=lambda n: 0,
                dims=lambda n: (n.size // n.shape[-1], len(n.inputs), *(x.shape[-1] for x in n.inputs)))


def concat(*inputs: Node) -> Node:
    """Tensors side by side along their last axis. More than one instruction takes are joined in groups first."""
    while len(inputs) > _MOST:
        inputs = tuple(concat(*inputs[i : i + _MOST]) for i in range(0, len(inputs), _MOST))
    return concat_row(*inputs) if len(inputs) > 1 else inputs[0]
