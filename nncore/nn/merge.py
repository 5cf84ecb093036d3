"""Layers that join, cut, pad and reshape, with several inputs in the functional form, and the activation penalty.

    x = Input((28, 28))
    a, b = Conv2D(16, 3, padding=1)(x), Conv2D(16, 5, padding=2)(x)
    y = Concat()(a, b)
"""

from __future__ import annotations

import math

from nncore.errors import ShapeError, UsageError
from nncore.graph import ops
from nncore.graph.node import Node
from nncore.nn.base import Builder, Layer
from nncore.nn.pool import pair

AXES = {2: ("batch", "features"), 3: ("batch", "width", "channels"), 4: ("batch", "height", "width", "channels")}


def _several(layer: Layer, inputs: tuple) -> None:
    if len(inputs) < 2:
        name = type(layer).__name__
        raise UsageError(f"{name} joins two or more connections: {name}()(a, b), in the functional form")


def _source(x: Node) -> str:
    """Where a tensor comes from: the layer that made it, through views."""
    return x.layer if x.layer and x.layer != "data" else "input"


def draw_shapes(inputs: tuple[Node, ...], but: int | None = None) -> str | None:
    """The inputs' shapes under each other with what made them, and a mark under each size that differs; None if all fit.

    Axis `but` may differ. The batch is drawn as N.
    """
    ranks = {len(x.shape) for x in inputs}
    columns = [["N", *map(str, x.shape[1:])] for x in inputs]
    if len(ranks) == 1:
        free = but % len(inputs[0].shape) if but is not None else None
        wrong = [len({x.shape[i] for x in inputs}) > 1 and i != free for i in range(len(inputs[0].shape))]
        if not any(wrong):
            return None
        widths = [max(len(c[i]) for c in columns) for i in range(len(wrong))]
        columns = [[v.rjust(w) for v, w in zip(c, widths, strict=True)] for c in columns]
        marks = "  ".join(("^" if bad else " ") * w for bad, w in zip(wrong, widths, strict=True))
        names = AXES.get(len(wrong), [f"axis {i}" for i in range(len(wrong))])
        marks += f"  {' and '.join(n for n, bad in zip(names, wrong, strict=True) if bad)} differ"
    else:
        marks = "numbers of axes differ"
    left = max(len(_source(x)) for x in inputs)
    lines = [f"  {_source(x):<{left}}  ({', '.join(c)})" for x, c in zip(inputs, columns, strict=True)]
    return "\n".join([*lines, f"  {'':<{left}}   {marks}"])


class Add(Layer):
    """y = a + b + ..., left to right: a residual connection. He et al. 2016, equation 1.

    All inputs of one shape, which is the output's. Raises ShapeError that draws the shapes and their layers, UsageError for
    a single input.
    """

    def build(self, builder: Builder, *inputs: Node) -> Node:
        _several(self, inputs)
        if drawn := draw_shapes(inputs):
            raise ShapeError(f"Add: its inputs must have one shape\n{drawn}\nA Conv2D of window 1 changes channels, its stride, "
                             "pooling or Pad2D the image")
        total = inputs[0]
        for x in inputs[1:]:
            total = ops.add(total, x)
        return total


class Concat(Layer):
    """y = the inputs side by side along the channels (for rows, the features). Szegedy et al. 2015, figure 2.

    Shapes: x_j (N, H, W, C_j), y (N, H, W, sum C_j). Raises ShapeError that draws the shapes and their layers, UsageError
    for a single input.
    """

    def build(self, builder: Builder, *inputs: Node) -> Node:
        _several(self, inputs)
        if drawn := draw_shapes(inputs, but=-1):
            raise ShapeError(f"Concat: its inputs may differ in the last size only\n{drawn}\nStride, padding, pooling or Pad2D "
                             "bring images to one size")
        return ops.concat(*inputs)


def _range(name: str, value) -> tuple[int, int | None] | None:
    """(begin, end) as a Python slice has them."""
    if value is None:
        return None
    whole = isinstance(value, (tuple, list)) and len(value) == 2 and all(
        v is None or (isinstance(v, int) and not isinstance(v, bool)) for v in value)
    if not whole:
        raise UsageError(f"Slice: {name} is a pair (begin, end) of whole numbers or None, got {value!r}")
    return tuple(value)


class Slice(Layer):
    """y = x[:, rows, columns, channels]; each a pair (begin, end) as in Python, or None for all.

    Shapes: x (N, H, W, C), or (N, C) by channels alone. Gradients outside the slice are 0. Raises UsageError for what is
    not a pair, ShapeError for a range that is empty or ends outside.
    """

    def __init__(self, rows: tuple | None = None, columns: tuple | None = None, channels: tuple | None = None):
        self.rows, self.columns, self.channels = (
            _range(name, v) for name, v in (("rows", rows), ("columns", columns), ("channels", channels)))

    def build(self, builder: Builder, *inputs: Node) -> Node:
        x = inputs[0]
        offset, extent = [], []
        for name, size in zip(("rows", "columns", "channels"), ops.as_image(x.shape)[1:], strict=True):
            begin, end = getattr(self, name) or (None, None)
            begin, end = begin or 0, size if end is None else end
            low, high = (v + size if v < 0 else v for v in (begin, end))
            if not 0 <= low < high <= size:
                raise ShapeError(f"Slice: {name} ({begin}, {end}) of {x.shape} holds nothing or ends outside; there are {size}")
            offset.append(low)
            extent.append(high - low)
        return ops.block_copy(x, extent=tuple(extent), offset=tuple(offset))


class Pad2D(Layer):
    """Zeros around an image: (N, H, W, C) -> (N, top + H + bottom, left + W + right, C).

    padding: one number, (height, width), or ((top, bottom), (left, right)). Raises UsageError unless they are >= 0.
    """

    def __init__(self, padding: int | tuple = 1):
        sides = padding if isinstance(padding, (tuple, list)) and len(padding) == 2 else (padding, padding)
        self._sides = tuple(pair("Pad2D", "padding", side, 0) for side in sides)
        self.padding = _tuples(padding)

    def build(self, builder: Builder, *inputs: Node) -> Node:
        x = inputs[0]
        if len(x.shape) != 4:
            raise ShapeError(f"Pad2D: pads images (N, H, W, C), got {x.shape}; pad before Flatten, or Reshape to (H, W, C) first")
        (top, bottom), (left, right) = self._sides
        extent = (x.shape[1] + top + bottom, x.shape[2] + left + right, x.shape[3])
        return ops.block_copy(x, extent=extent, offset=(-top, -left, 0))


def _tuples(value):
    """Lists, as a file gives them, as tuples."""
    return tuple(map(_tuples, value)) if isinstance(value, (list, tuple)) else value


class Reshape(Layer):
    """(N, ...) -> (N, *shape), the elements in their order: a view. One size may be -1: what is left over.

    Raises UsageError for sizes that are not positive, ShapeError if the number of elements differs.
    """

    def __init__(self, shape: tuple):
        sizes = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
        if not 1 <= len(sizes) <= 3 or sizes.count(-1) > 1 or not all(
                isinstance(v, int) and not isinstance(v, bool) and (v > 0 or v == -1) for v in sizes):
            raise UsageError(f"Reshape: the shape of a sample, (H, W, C) or fewer, positive or once -1, got {shape!r}")
        self.shape = sizes

    def build(self, builder: Builder, *inputs: Node) -> Node:
        x = inputs[0]
        have, known = x.size // x.shape[0], math.prod(v for v in self.shape if v != -1)
        shape = tuple(have // known if v == -1 else v for v in self.shape)
        if math.prod(shape) != have:
            raise ShapeError(f"Reshape: a sample {x.shape[1:]} has {have} elements, {self.shape} takes "
                             f"{'a multiple of ' * (-1 in self.shape)}{known}")
        return ops.reshape(x, (x.shape[0], *shape))


class ActivationPenalty(Layer):
    """The identity; in training it adds beta sum_j x_j^2, averaged over the batch, to the loss: activations stay small.

    reduction: "mean" over the batch (default) or "sum", to go with the loss's. Goodfellow et al. 2016, section 7.10, with
    the squared norm. Raises UsageError unless beta >= 0.
    """

    def __init__(self, beta: float, reduction: str = "mean"):
        if isinstance(beta, bool) or not isinstance(beta, (int, float)) or not 0 <= beta < math.inf:
            raise UsageError(f"ActivationPenalty: beta is a number >= 0, got {beta!r}")
        if reduction not in ("mean", "sum"):
            raise UsageError(f'ActivationPenalty: reduction is "mean" or "sum", got {reduction!r}')
        self.beta, self.reduction = beta, reduction

    def build(self, builder: Builder, *inputs: Node) -> Node:
        x = inputs[0]
        if builder.training and self.beta:
            scale = self.beta / x.shape[0] if self.reduction == "mean" else self.beta
            total = ops.sum_all(ops.mul(x, x), scale=scale)
            builder.penalties.append(ops.tree_sum(total) if total.shards > 1 else total)
        return x
