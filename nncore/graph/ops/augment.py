"""Rows of csrc/ops/augment.c and mix.c: they act on data, so no gradient goes through them."""

from __future__ import annotations

from nncore.errors import ShapeError
from nncore.graph.node import Node, Op
from nncore.graph.ops.rules import attributes, first, rows

MOST_PIXELS = 1 << 22  # a float32 counts no further when it names a pixel


def _image(n: Node) -> tuple[int, int, int, int]:
    """(N, H, W, C) of the first input. Raises ShapeError for anything that is not an image of a sane size."""
    shape = n.inputs[0].shape
    if len(shape) != 4 or shape[1] * shape[2] > MOST_PIXELS:
        raise ShapeError(f"{n.op.name}: takes images (N, H, W, C) of at most {MOST_PIXELS:,} pixels, got {shape}")
    return shape


def _warp_shape(n: Node) -> tuple:
    N, H, W, _ = _image(n)
    d = n.inputs[1]
    if d is not None and d.shape != (N, 2, H, W):
        raise ShapeError(f"warp: a displacement of shape {d.shape} does not fit images {n.inputs[0].shape}; expected "
                         f"{(N, 2, H, W)}")
    return n.inputs[0].shape


warp = Op("warp", shape=_warp_shape, dims=lambda n: (*n.shape, n.attrs["shift"], n.attrs["crop"], n.attrs["flip"]),
          scalars=attributes("rotate", "scale", "shear"), flop=lambda n: 30 * n.size,
          defaults={"shift": 0, "crop": 0, "flip": 0, "rotate": 0.0, "scale": 0.0, "shear": 0.0})
# A field of shape (N, 2, H, W) for images (N, H, W, C); it reads nothing.
elastic_field = Op("elastic_field", shape=lambda n: n.attrs["shape"], defaults={"shape": (), "alpha": 36.0, "sigma": 6.0},
                   dims=lambda n: (n.shape[0], *n.shape[2:]), scalars=attributes("alpha", "sigma"),
                   flop=lambda n: n.size * 12 * n.attrs["sigma"])
# Of a mean of one element or as many as a sample has; None unless that is what erased places are filled with.
erase = Op("erase", shape=lambda n: (_image(n), n.inputs[0].shape)[1],
           dims=lambda n: (*n.shape, n.inputs[1].size if n.inputs[1] is not None else 1, n.attrs["fill"]),
           scalars=attributes("p", "low", "high", "aspect", "full"), flop=lambda n: 0,
           defaults={"p": 0.5, "low": 0.02, "high": 0.4, "aspect": 0.3, "full": 255.0, "fill": 0})
noise = Op("noise", shape=first, dims=rows, defaults={"sigma": 0.1}, scalars=attributes("sigma"), flop=lambda n: 30 * n.size)
mix_draw = Op("mix_draw", shape=lambda n: [n.attrs["shape"]] * 2, dtypes=("real", "i32"), scalars=attributes("alpha"),
              defaults={"shape": (), "shards": 1, "alpha": 1.0}, dims=lambda n: (*n.shape, n.attrs["shards"]), flop=lambda n: 0)
mix_rows = Op("mix_rows", shape=first, dims=rows, flop=lambda n: 2 * n.size)
cutmix = Op("cutmix", shape=lambda n: [_image(n), _image(n)[:1], _image(n)[:1]], dtypes=("real", "real", "i32"),
            dims=lambda n: (*n.shape, n.shards), scalars=attributes("alpha"), defaults={"alpha": 1.0}, flop=lambda n: 0)
standardise = Op("standardise", shape=first, dims=lambda n: (*rows(n), n.inputs[1].size), flop=lambda n: 2 * n.size)
