"""Rows of csrc/ops/conv.c. A transposed convolution is conv_bwd_data read forwards: its derivatives are the other two."""

from __future__ import annotations

from nncore.errors import ShapeError
from nncore.graph.node import Node, Op, View
from nncore.graph.ops.elementwise import spread, sum_rows
from nncore.graph.ops.rules import partial

# padding is what is added above and to the left; below and to the right it is what the output's size needs.
_GEOMETRY = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}


def _geometry(n: Node) -> dict:
    return {k: n.attrs[k] for k in _GEOMETRY}


def _image(x: Node, name: str) -> tuple[int, int, int, int]:
    if len(x.shape) != 4:
        raise ShapeError(f"{name}: expects images (N, height, width, channels), got {x.shape}")
    return x.shape


def _dims(n: Node, x: tuple, w: tuple, y: tuple, last: int) -> tuple:
    """N H W C R S K P Q sh sw pt pl dh dw G act, or shards."""
    return (*x, *w[:2], y[3], *y[1:3], *n.attrs["stride"], *n.attrs["padding"], *n.attrs["dilation"], n.attrs["groups"], last)


def _flop(w: tuple, y: Node) -> int:
    return 2 * y.size * w[0] * w[1] * w[2]


def _narrow(n: Node) -> int:
    """Channels of the narrower side of a convolution without groups."""
    w = n.shape if n.op is conv_bwd_weight else n.inputs[1].shape
    return min(w[-2:]) if n.attrs["groups"] == 1 else 0


def _fwd_shape(n: Node) -> tuple:
    x, w, b = n.inputs
    N, H, W, C = _image(x, "conv")
    R, S, c, K = w.shape
    groups = n.attrs["groups"]
    if c * groups != C or K % groups:
        raise ShapeError(f"conv: weight {w.shape} in {groups} groups expects {c * groups} input channels, got x {x.shape}")
    if b is not None and b.shape != (K,):
        raise ShapeError(f"conv: bias {b.shape} does not fit weight {w.shape}")
    return (N, *n.attrs["size"], K)


def _fwd_vjp(g: Node, n: Node) -> tuple:
    x, w, b = n.inputs
    g = spread(g, n)
    return (conv_bwd_data(g, w, None, size=x.shape[1:3], **_geometry(n)),
            conv_bwd_weight(x, g, window=w.shape[:2], **_geometry(n)), None if b is None else _channel_sums(g))


def _channel_sums(g: Node) -> Node:
    """Bias gradient: sums over all pixels."""
    return sum_rows(View(g, (g.size // g.shape[3], g.shape[3])))


def _data_shape(n: Node) -> tuple:
    dy, w, b = n.inputs
    N, _, _, K = _image(dy, "conv_transpose")
    groups = n.attrs["groups"]
    if w.shape[3] != K or K % groups:
        raise ShapeError(f"conv_transpose: weight {w.shape} in {groups} groups expects {w.shape[3]} channels, got {dy.shape}")
    if b is not None and b.shape != (w.shape[2] * groups,):
        raise ShapeError(f"conv_transpose: bias {b.shape} does not fit weight {w.shape}")
    return (N, *n.attrs["size"], w.shape[2] * groups)


def _data_vjp(g: Node, n: Node) -> tuple:
    dy, w, b = n.inputs
    g = spread(g, n)
    return (conv(g, w, None, size=dy.shape[1:3], **_geometry(n)),
            conv_bwd_weight(g, dy, window=w.shape[:2], **_geometry(n)), None if b is None else _channel_sums(g))


# size: height and width of what is computed.
conv = Op("conv_fwd", product=_narrow, shape=_fwd_shape, vjp=_fwd_vjp, defaults={**_GEOMETRY, "size": ()}, fuses=True,
          dims=lambda n: _dims(n, n.inputs[0].shape, n.inputs[1].shape, n.shape, -1),
          flop=lambda n: _flop(n.inputs[1].shape, n))
conv_bwd_data = Op("conv_bwd_data", product=_narrow, shape=_data_shape, vjp=_data_vjp, fuses=True,
                   defaults={**_GEOMETRY, "size": ()},
                   dims=lambda n: _dims(n, n.shape, n.inputs[1].shape, n.inputs[0].shape, -1),
                   flop=lambda n: _flop(n.inputs[1].shape, n.inputs[0]))
conv_bwd_weight = Op("conv_bwd_weight", product=_narrow, defaults={**_GEOMETRY, "window": ()},
                     shape=lambda n: partial(n, (*n.attrs["window"], n.inputs[0].shape[3] // n.attrs["groups"],
                                                 n.inputs[1].shape[3])),
                     dims=lambda n: _dims(n, n.inputs[0].shape, n.attrs["window"], n.inputs[1].shape, n.shards),
                     flop=lambda n: _flop(n.shape[-4:], n.inputs[1]))
