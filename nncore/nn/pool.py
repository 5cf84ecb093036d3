"""Pooling and upsampling layers on images (N, H, W, C), channel by channel.

Output size of a pooling per axis: floor((size - window + 2 padding) / stride) + 1. Where the division leaves a remainder
the end of the padded image is in no window; the layer warns once. Window, stride and padding are numbers or pairs
(height, width).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

from nncore.errors import UsageError
from nncore.graph import ops
from nncore.graph.node import Node
from nncore.nn.base import Builder, Layer


def pair(layer: str, name: str, value, least: int) -> tuple[int, int]:
    """(height, width) of a number or a pair of numbers, each at least `least`. Raises UsageError."""
    both = (value, value) if isinstance(value, int) else value
    if not isinstance(both, (tuple, list)) or len(both) != 2 or not all(
            isinstance(v, int) and not isinstance(v, bool) and v >= least for v in both):
        raise UsageError(f"{layer}: {name} is a whole number >= {least} or a pair (height, width) of them, got {value!r}")
    return (both[0], both[1])


class _Windows:
    """What the pooling layers share: window, stride (the window's size by default), padding (left out, never counted).

    Raises UsageError for sizes that are not positive or a padding not smaller than the window; building raises ShapeError
    if the input is no image or smaller than the window.
    """

    _op: Callable

    def __init__(self, window: int | tuple = 2, stride: int | tuple | None = None, padding: int | tuple = 0):
        name = type(self).__name__
        self.window, self.stride, self.padding = (tuple(v) if isinstance(v, list) else v for v in (window, stride, padding))
        self._window = pair(name, "window", window, 1)
        self._stride = self._window if stride is None else pair(name, "stride", stride, 1)
        self._padding = pair(name, "padding", padding, 0)
        self._warned = False
        if any(p >= w for p, w in zip(self._padding, self._window, strict=True)):
            raise UsageError(f"{name}: padding {padding!r} must be smaller than the window {window!r}, "
                             "or windows would lie outside the image; pad with Pad2D instead")

    def build(self, builder: Builder, *inputs: Node) -> Node:
        y = self._op(inputs[0], window=self._window, stride=self._stride, padding=self._padding)
        self._warn(inputs[0], y.layer or type(self).__name__)
        return y

    def _warn(self, x: Node, label: str) -> None:
        axes = zip(("height", "width"), x.shape[1:3], self._window, self._stride, self._padding, strict=True)
        uneven = [f"{axis} ({n} - {w} + 2 * {p}) / {s} + 1" for axis, n, w, s, p in axes if (n + 2 * p - w) % s]
        if uneven and not self._warned:
            self._warned = True
            warnings.warn(f"layer {label}: the output's {' and '.join(uneven)} is not a whole number and is rounded down: "
                          "the end of the padded image is in no window. Another window, stride or Pad2D would use it",
                          stacklevel=3)


class MaxPool2D(_Windows, Layer):
    """y = max over the window; of equal values the first counts, and gets the gradient; NaN propagates.

    Shapes: x (N, H, W, C), y (N, P, Q, C). Goodfellow, Bengio, Courville 2016, section 9.3. Same as torch and Keras.
    """

    _op = staticmethod(ops.max_pool)


class AvgPool2D(_Windows, Layer):
    """y = mean over the window, padding not counted (torch: count_include_pad=False). LeCun et al. 1998, section II.B.

    Shapes: x (N, H, W, C), y (N, P, Q, C).
    """

    _op = staticmethod(ops.avg_pool)


class L2Pool2D(_Windows, Layer):
    """y = sqrt(sum of squares over the window); gradient 0 at 0. Boureau, Ponce, LeCun 2010.

    Shapes: x (N, H, W, C), y (N, P, Q, C). Torch's LPPool2d(2, ...) is the same without padding. Squares of values above
    1.8e19 overflow, below 1e-19 they underflow.
    """

    _op = staticmethod(ops.l2_pool)


class GlobalAvgPool2D(Layer):
    """y = mean over the whole image: (N, H, W, C) -> (N, C). Lin, Chen, Yan 2014, section 3.2.

    Raises ShapeError for anything but images.
    """

    def build(self, builder: Builder, *inputs: Node) -> Node:
        x = inputs[0]
        whole = tuple(x.shape[1:3])
        y = ops.avg_pool(x, window=whole, stride=whole, padding=(0, 0))
        return ops.reshape(y, (x.shape[0], x.shape[3]))


class Upsample2D(Layer):
    """Images enlarged by whole factors: (N, H, W, C) -> (N, fh H, fw W, C).

    factor: a number or a pair (height, width). mode "nearest" repeats pixels; "bilinear" interpolates between their centres,
    as torch with align_corners=False and Keras. Raises UsageError for other modes or factors, ShapeError but for images.
    """

    def __init__(self, factor: int | tuple = 2, mode: str = "nearest"):
        if mode not in ("nearest", "bilinear"):
            raise UsageError(f'Upsample2D: mode is "nearest" or "bilinear", got {mode!r}')
        self._factor = pair("Upsample2D", "factor", factor, 1)
        if max(self._factor) > ops.LARGEST_FACTOR:
            raise UsageError(f"Upsample2D: factor {max(self._factor)} is larger than {ops.LARGEST_FACTOR}; upsample in two steps")
        self.factor, self.mode = tuple(factor) if isinstance(factor, list) else factor, mode

    def build(self, builder: Builder, *inputs: Node) -> Node:
        op = ops.upsample_nearest if self.mode == "nearest" else ops.upsample_bilinear
        return op(inputs[0], factor=self._factor)
