"""Rows of csrc/ops/pool.c: pooling over windows of an image (N, H, W, C)."""

from __future__ import annotations

from nncore.errors import ShapeError
from nncore.graph.node import Node, Op
from nncore.graph.ops.elementwise import spread

_BYTE_TAPS = 256  # POOL_BYTE_TAPS of pool.c
_WINDOW = {"window": (2, 2), "stride": (2, 2), "padding": (0, 0)}


def pooled(x: Node, window: tuple, stride: tuple, padding: tuple, name: str) -> tuple[int, int, int, int]:
    """The shape (N, P, Q, C) that pooling x gives: P = floor((H + 2 padding - window) / stride) + 1. Raises ShapeError."""
    if len(x.shape) != 4:
        raise ShapeError(f"{name}: pools images (N, H, W, C), got {x.shape}; pool before Flatten, or Reshape to (H, W, C) first")
    N, H, W, C = x.shape
    for axis, size, w, s, p in zip(("height", "width"), (H, W), window, stride, padding, strict=True):
        if w < 1 or s < 1 or not 0 <= p < w:
            raise ShapeError(f"{name}: needs window >= 1, stride >= 1 and 0 <= padding < window, got {w}, {s}, {p}")
        padded = size + 2 * p
        if w > padded:
            raise ShapeError(f"{name}: the window's {axis} {w} is larger than the image's, {size} + 2 * {p} padding = {padded}, "
                             f"in {x.shape}; take a window of at most {padded}, or pool less before")
    P, Q = ((n + 2 * p - w) // s + 1 for n, w, s, p in zip((H, W), window, stride, padding, strict=True))
    return (N, P, Q, C)


def _geometry(n: Node) -> tuple:
    return (n.attrs["window"], n.attrs["stride"], n.attrs["padding"])


def _taps(n: Node) -> int:
    return n.attrs["window"][0] * n.attrs["window"][1]


def _dims(shape: tuple, n: Node) -> tuple:
    return (*shape, *(v for pair in _geometry(n) for v in pair))


def _bwd(name: str, flop: int) -> Op:
    """(dy, ...) -> dx of the shape `image`."""
    return Op(name, shape=lambda n: n.attrs["image"], dims=lambda n: _dims(n.shape, n), defaults={**_WINDOW, "image": ()},
              flop=lambda n: flop * n.inputs[0].size * _taps(n))


def _fwd(name: str, vjp, per_tap: int, dtypes: tuple = ("real",)) -> Op:
    def shape(n: Node):
        found = pooled(n.inputs[0], *_geometry(n), n.layer or name.removesuffix("_fwd"))
        return [found] * len(dtypes)

    return Op(name, shape=shape, dims=lambda n: _dims(n.inputs[0].shape, n), defaults=dict(_WINDOW), dtypes=dtypes,
              flop=lambda n: per_tap * n.size * _taps(n), vjp=vjp)


def _max_vjp(g: Node, n: Node) -> tuple:
    return (max_pool_bwd(spread(g, n), n.output(1), image=n.inputs[0].shape, **n.attrs),)


max_pool_bwd = _bwd("max_pool_bwd", 1)
_max_pool_wide = _fwd("max_pool_fwd", _max_vjp, 1, ("real", "i32"))
max_pool_byte = _fwd("max_pool_fwd", _max_vjp, 1, ("real", "u8"))
avg_pool_bwd = _bwd("avg_pool_bwd", 2)
avg_pool = _fwd("avg_pool_fwd", per_tap=1,
                vjp=lambda g, n: (avg_pool_bwd(spread(g, n), image=n.inputs[0].shape, **n.attrs),))
l2_pool_bwd = _bwd("l2_pool_bwd", 2)
l2_pool = _fwd("l2_pool_fwd", per_tap=2,
               vjp=lambda g, n: (l2_pool_bwd(spread(g, n), n.inputs[0], n, image=n.inputs[0].shape, **n.attrs),))


def max_pool(x: Node, **geometry: tuple) -> Node:
    """The maximum over windows; output 1 holds which tap it was, a byte unless a window has more than 256."""
    window = geometry.get("window", _WINDOW["window"])
    return (max_pool_byte if window[0] * window[1] <= _BYTE_TAPS else _max_pool_wide)(x, **geometry)
