"""Augmentation as the tape carries it out, between the gather of raw samples and their standardisation; and a look at it."""

from __future__ import annotations

from array import array

from nncore.data.augment import Augment
from nncore.errors import ShapeError, UsageError
from nncore.graph import ops
from nncore.graph.node import Input, Node, State
from nncore.graph.plan import Layout
from nncore.graph.tape import Executor, Memory, Position, compile_tape
from nncore.tensor import Tensor
from nncore.train.samples import samples

__all__ = ["augmented", "augment_nodes"]


def augment_nodes(x: Node, a: Augment, mean: Node, byte: bool) -> Node:
    """Raw samples (N, H, W, C), as a gather brought them, augmented. mean: what erased places may be filled with; byte:
    samples were bytes, so their range is 255. Raises ShapeError for what the samples' shape does not allow."""
    if a.moves:
        _check_image(x, a)
        d = ops.elastic_field(x, *a.elastic) if a.elastic else None
        x = ops.warp(x, d, shift=-1 if a.one_pixel else a.shift, crop=a.crop, flip=int(a.flip), rotate=a.rotate,
                     scale=a.scale, shear=a.shear)
    return x


def _check_image(x: Node, a: Augment) -> None:
    if len(x.shape) != 4:
        raise ShapeError(f"augment: {a} needs images (H, W) or (H, W, C), the samples have shape {x.shape[1:]}; noise and mixup "
                         "take any samples")
    H, W = x.shape[1:3]
    if max(a.shift, a.crop) >= min(H, W):
        raise UsageError(f"augment: a shift or crop by {max(a.shift, a.crop)} pixels moves images of {H} x {W} out of sight")
    if max(H, W) > 4096:
        raise ShapeError(f"augment: images of {H} x {W}; at most 4096 pixels a side")


def augmented(data, augment: Augment, n: int | None = None, seed: int = 0, epoch: int = 0) -> Tensor:
    """The first n samples of `data` as a training with these settings would see them in an epoch without shuffling, in raw
    units: (n, H, W, C) f32, before standardisation. To look at them; n defaults to all.

    The same (seed, epoch) give the same images; another epoch gives others. Raises UsageError, ShapeError.
    """
    data = samples(data)
    n = len(data) if n is None else n
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= len(data):
        raise UsageError(f"augmented: n is between 1 and the {len(data):,} samples, got {n!r}")
    layout, mean = Layout(), State("mean", (1,))
    rows = Input("rows", (), "i64", 1) if data.rows is not None else None
    images = Input("images", (), data.x.dtype, 0)
    x = augment_nodes(raw_nodes(images, rows, (n, *data.image_shape)), augment, mean, data.x.dtype == "u8")
    tape = compile_tape("augmented", n, [], {"x": x}, layout)
    memory = Memory(layout)
    memory.reserve(tape.nbytes)
    if "mean" in layout.leaves:
        memory.tensor(mean).flat()[:] = array("f", data.standardisation("global")[0])
    bound = {0: data.x} if data.rows is None else {0: data.x, 1: data.rows}
    Executor().run([(tape, 1)], memory, bound, Position(epoch=epoch), seed=seed, n_samples=len(data))
    return memory.output(tape, "x")


def raw_nodes(images: Input, rows: Input | None, shape: tuple) -> Node:
    """A gather that changes nothing: mean 0, scale 1."""
    gather = ops.gather_u8 if images.dtype == "u8" else ops.gather_f32
    return gather(images, rows, ops.filled((1,), 0.0), ops.filled((1,), 1.0), shape=shape)
