"""Convolution and transposed convolution over images (N, height, width, channels)."""

from __future__ import annotations

import warnings

from nncore.errors import ShapeError, UsageError
from nncore.graph import ops
from nncore.graph.node import Node, Parameter
from nncore.nn.base import Builder, Layer
from nncore.nn.init import Zeros, initialiser


def _pair(value) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


class _Window:
    """What both layers share: hyper-parameters, their checks, parameters."""

    def __init__(self, filters, kernel, stride, padding, dilation, groups, bias, init):
        self.filters, self.kernel, self.stride, self.padding = filters, _plain(kernel), _plain(stride), _plain(padding)
        self.dilation, self.groups, self.bias, self.init = _plain(dilation), groups, bias, init
        self._check("filters", filters, 1, pair=False)
        self._check("groups", groups, 1, pair=False)
        for name in ("kernel", "stride", "dilation"):
            self._check(name, getattr(self, name), 1)
        if not isinstance(padding, str):
            self._check("padding", self.padding, 0)
        elif padding not in ("same", "valid"):
            raise self._usage(f'padding is "same", "valid", a number or (rows, columns), got {padding!r}')
        if filters % groups:
            raise self._usage(f"groups={groups} does not divide filters={filters}: take a divisor of both filters and input "
                              "channels")
        initialiser(init)

    def _usage(self, what: str) -> UsageError:
        return UsageError(f"{type(self).__name__}: {what}")

    def _check(self, name: str, value, least: int, pair: bool = True) -> None:
        given = value if pair and isinstance(value, list) else [value]
        whole = all(isinstance(v, int) and not isinstance(v, bool) and v >= least for v in given)
        if not whole or (given is value and len(value) != 2):
            what = "a whole number" + (" or a pair (height, width) of such" if pair else "")
            raise self._usage(f"{name} must be {what} >= {least}, got {value!r}")

    def _image(self, x: Node) -> tuple[int, int, int]:
        """(H, W, C); ShapeError for what is no image or does not fit the groups."""
        name = type(self).__name__
        if len(x.shape) != 4:
            raise ShapeError(f"{name}: expects images (N, height, width, channels), got {x.shape}: put it before Flatten and "
                             "Dense, and give samples of shape (height, width, channels)")
        if x.shape[3] % self.groups:
            raise ShapeError(f"{name}: groups={self.groups} does not divide the {x.shape[3]} input channels of {x.shape}")
        return x.shape[1:]

    def _parameters(self, builder: Builder, shape: tuple, inputs: int) -> tuple[Parameter, Parameter | None]:
        """Weight and bias; the fans are those of one output: taps times channels that it sees, and that see one input."""
        taps = shape[0] * shape[1]
        fans = (taps * inputs // self.groups, taps * self.filters // self.groups)
        w = builder.parameter("weight", shape, self.init, fans, layout="rsck")
        b = builder.parameter("bias", (self.filters,), Zeros(), fans, kind="bias") if self.bias else None
        return w, b


def _plain(value):
    """As JSON keeps it, so that a layer read from a file equals the one written."""
    return list(value) if isinstance(value, tuple) else value


class Conv2D(_Window, Layer):
    """y[n,p,q,k] = b[k] + sum_{r,s,c} x[n, p stride - top + r dilation, q stride - left + s dilation, c] w[r,s,c,k].

    Cross-correlation, as torch and Keras have it; Goodfellow, Bengio, Courville 2016, eq. 9.6. A window shares its weights
    over the whole image, one bias a filter. Shapes: x (N, H, W, C), w (R, S, C / groups, K) with K = filters, b (K),
    y (N, P, Q, K), P = floor((H + padding - dilation (R - 1) - 1) / stride) + 1 with the padding of both sides, Q alike.

    kernel, stride, dilation: a number or (height, width). padding: "same" keeps the size for stride 1 and gives
    ceil(H / stride) otherwise, an odd rest of it below and to the right (Keras; torch has it for stride 1 only); "valid"
    none; or rows and columns of zeros on every side. groups cuts the channels into groups that do not see each other;
    groups = C is depthwise. init as in Dense. Where the size of y had to be rounded down, a warning says so, once a layer.
    Raises UsageError for bad arguments, ShapeError for no image, a window larger than it, groups that do not divide C.
    """

    def __init__(self, filters: int, kernel=3, stride=1, padding="same", dilation=1, groups: int = 1, bias: bool = True,
                 init: str = "he_normal"):
        super().__init__(filters, kernel, stride, padding, dilation, groups, bias, init)

    def build(self, builder: Builder, *inputs: Node) -> Node:
        x = inputs[0]
        H, W, C = self._image(x)
        axes = [self._axis(n, i, x.shape) for i, n in enumerate((H, W))]
        w, b = self._parameters(builder, (*_pair(self.kernel), C // self.groups, self.filters), C)
        self._warn(builder, x.shape, [rest for _, _, rest in axes])
        return ops.conv(x, w, b, size=tuple(n for n, _, _ in axes), stride=_pair(self.stride), groups=self.groups,
                        padding=tuple(before for _, before, _ in axes), dilation=_pair(self.dilation))

    def _axis(self, n: int, i: int, shape: tuple) -> tuple[int, int, int]:
        """(outputs, padding before, padded inputs that no window reaches at the end) of axis i."""
        stride = _pair(self.stride)[i]
        window = _pair(self.dilation)[i] * (_pair(self.kernel)[i] - 1) + 1
        if self.padding == "same":
            count = -(-n // stride)
            return count, max((count - 1) * stride + window - n, 0) // 2, 0
        before = 0 if self.padding == "valid" else _pair(self.padding)[i]
        if window > n + 2 * before:
            raise ShapeError(f"Conv2D: a window of {window} {('rows', 'columns')[i]} does not fit into {n} and {2 * before} of "
                             f'padding (input {shape}): take a smaller kernel or dilation, or padding="same"')
        count, rest = divmod(n + 2 * before - window, stride)
        return count + 1, before, rest

    def _warn(self, builder: Builder, shape: tuple, rests: list[int]) -> None:
        if any(rests) and not getattr(self, "_warned", False):
            self._warned = True
            lost = " and ".join(f"{n} {name}" for n, name in zip(rests, ("row(s)", "column(s)"), strict=True) if n)
            warnings.warn(f"layer {builder.layer}, {self!r}: the output size is not a whole number and was rounded down; "
                          f"stride {self.stride} leaves the last {lost} of the padded input {shape[1:3]} unseen, "
                          'padding="same" would not', stacklevel=2)


class ConvTranspose2D(_Window, Layer):
    """The transposed convolution: what Conv2D's gradient does to y, read forwards - each input pixel adds a weighted window
    to the output. Dumoulin and Visin 2016, arXiv 1603.07285, chapter 4.

    y[n,h,w,k] = b[k] + sum of x[n,p,q,c] w[r,s,k,c] over h = p stride - padding + r dilation, w alike. Shapes:
    x (N, H, W, C), w (R, S, K / groups, C), K = filters; y (N, P, Q, K) with
    P = (H - 1) stride - 2 padding + dilation (R - 1) + output_padding + 1.
    padding: what a Conv2D of these arguments would have, a number, (rows, columns), or "valid" for 0; "same" gives
    H stride, for odd windows and windows as wide as the stride asks. output_padding: rows and columns more at the end.
    Raises as Conv2D does.
    """

    def __init__(self, filters: int, kernel=3, stride=1, padding="same", dilation=1, groups: int = 1, bias: bool = True,
                 init: str = "he_normal", output_padding=0):
        super().__init__(filters, kernel, stride, padding, dilation, groups, bias, init)
        self.output_padding = _plain(output_padding)
        self._check("output_padding", self.output_padding, 0)
        for extra, step in zip(_pair(self.output_padding), _pair(self.stride), strict=True):
            if extra >= max(step, *_pair(self.dilation)):
                raise self._usage(f"output_padding {output_padding!r} must be smaller than the stride {stride!r} or the dilation")

    def build(self, builder: Builder, *inputs: Node) -> Node:
        x = inputs[0]
        H, W, C = self._image(x)
        axes = [self._axis(n, i, x.shape) for i, n in enumerate((H, W))]
        w, b = self._parameters(builder, (*_pair(self.kernel), self.filters // self.groups, C), C)
        return ops.conv_bwd_data(x, w, b, size=tuple(n for n, _ in axes), stride=_pair(self.stride), groups=self.groups,
                                 padding=tuple(before for _, before in axes), dilation=_pair(self.dilation))

    def _axis(self, n: int, i: int, shape: tuple) -> tuple[int, int]:
        """(outputs, padding before) of axis i."""
        stride = _pair(self.stride)[i]
        window = _pair(self.dilation)[i] * (_pair(self.kernel)[i] - 1) + 1
        extra = _pair(self.output_padding)[i]
        if self.padding == "same":
            return n * stride + extra, max((n - 1) * stride + window - n * stride, 0) // 2
        before = 0 if self.padding == "valid" else _pair(self.padding)[i]
        count = (n - 1) * stride - 2 * before + window + extra
        if count < 1:
            raise ShapeError(f"ConvTranspose2D: padding {before} leaves nothing of {n} {('rows', 'columns')[i]} (input {shape}): "
                             "take a smaller padding")
        return count, before
