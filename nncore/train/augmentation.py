"""Augmentation as the tape carries it out, between the gather of raw samples and their standardisation; and a look at it."""

from __future__ import annotations

from array import array
from collections.abc import Callable

from nncore.data.augment import FILLS, Augment
from nncore.errors import ShapeError, UsageError
from nncore.graph import ops
from nncore.graph.node import Input, Node, State
from nncore.graph.plan import Layout
from nncore.graph.tape import Executor, Memory, Position, compile_tape
from nncore.tensor import Tensor
from nncore.train.samples import samples

Mix = Callable[[Node], Node]
__all__ = ["augment_nodes", "augmented", "raw_nodes"]


def augment_nodes(x: Node, a: Augment, mean: Node, byte: bool) -> tuple[Node, Mix | None]:
    """Raw samples (N, H, W, C), as a gather brought them, augmented; and what then has to be done to rows of targets.

    mean: what erased places may be filled with; byte: samples were bytes, so their range is 255. Raises ShapeError for what
    the samples' shape does not allow.
    """
    full, N = 255.0 if byte else 1.0, x.shape[0]
    if a.moves:
        _check_image(x, a)
        H, W = x.shape[1:3]
        d = ops.elastic_field(shape=(N, 2, H, W), alpha=a.elastic[0], sigma=a.elastic[1]) if a.elastic else None
        x = ops.warp(x, d, shift=-1 if a.one_pixel else a.shift, crop=a.crop, flip=int(a.flip), rotate=a.rotate,
                     scale=a.scale, shear=a.shear)
    if a.erase:
        _check_image(x, a)
        x = ops.erase(x, mean if a.fill == "mean" else None, p=a.erase, low=a.erase_area[0], high=a.erase_area[1],
                      aspect=a.erase_aspect, full=full, fill=FILLS.index(a.fill))
    if a.noise:
        x = ops.noise(x, sigma=a.noise * full)
    if a.mixup:
        share = ops.mix_draw(shape=(N,), shards=x.shards, alpha=a.mixup)
        return ops.mix_rows(x, share, share.output(1)), lambda rows: ops.mix_rows(rows, share, share.output(1))
    if a.cutmix:
        _check_image(x, a)
        x = ops.cutmix(x, alpha=a.cutmix)
        return x, lambda rows: ops.mix_rows(rows, x.output(1), x.output(2))
    return x, None


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
    x, _ = augment_nodes(raw_nodes(images, rows, (n, *data.image_shape)), augment, mean, data.x.dtype == "u8")
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
