"""Layers that normalise, and dropout of whole channels."""

from __future__ import annotations

from math import inf

from nncore.errors import UsageError
from nncore.graph import ops
from nncore.graph.node import Node, Parameter
from nncore.nn.base import Builder, Layer
from nncore.nn.init import Constant, Zeros


def _positive(layer: Layer, name: str, high: float = inf) -> None:
    """Raises UsageError unless the argument is a finite number above 0 and at most `high`."""
    value = getattr(layer, name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= high or value == inf:
        most = f" and at most {high:g}" if high < inf else ""
        raise UsageError(f"{type(layer).__name__}: {name} must be above 0{most}, got {value!r}")


def _whole(layer: Layer, name: str, low: int) -> None:
    """Raises UsageError unless the argument is a whole number >= low."""
    value = getattr(layer, name)
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise UsageError(f"{type(layer).__name__}: {name} must be a whole number of at least {low}, got {value!r}")


def _affine(builder: Builder, shape: tuple, wanted: bool) -> tuple[Parameter | None, Parameter | None]:
    """gamma, from 1, and beta, from 0, under torch's names; both of kind "bias": penalties and decays leave them alone."""
    if not wanted:
        return None, None
    layout = "hwc" if len(shape) == 3 else ""
    return (builder.parameter("weight", shape, Constant(1.0), (1, 1), kind="bias", layout=layout),
            builder.parameter("bias", shape, Zeros(), (1, 1), kind="bias", layout=layout))


class BatchNorm(Layer):
    """y = gamma (x - mean) / sqrt(var + eps) + beta, a mean and a variance per channel. Ioffe and Szegedy 2015, algorithm 1.

    Shapes: x (N, C) or (N, H, W, C), gamma and beta (C). In training mean and (biased) variance are those of the batch, of
    each shard its own; the running statistics, which start at 0 and 1, become r <- (1 - momentum) r + momentum s, s being
    the batch's mean and *unbiased* variance (the average of the shards'). Prediction uses them; the model file keeps them.
    As torch's BatchNorm1d and 2d, with their names; Keras calls 1 - momentum momentum, and takes the biased variance.

    affine=False: no gamma and beta. frozen=True (or layer.frozen = True before a fit): training too uses the running
    statistics and leaves them as they are. Raises UsageError for arguments out of range; ShapeError at training if a
    shard has one value per channel.
    """

    def __init__(self, momentum: float = 0.1, eps: float = 1e-5, affine: bool = True, frozen: bool = False):
        self.momentum, self.eps, self.affine, self.frozen = momentum, eps, affine, frozen
        _positive(self, "momentum", 1)
        _positive(self, "eps")

    def build(self, builder: Builder, *inputs: Node) -> Node:
        x, shape = inputs[0], inputs[0].shape[-1:]
        gamma, beta = _affine(builder, shape, self.affine)
        mean, var = builder.state("running_mean", shape, init=0.0), builder.state("running_var", shape, init=1.0)
        if self.frozen or not builder.training:
            return ops.batch_norm_fixed(x, mean, var, gamma, beta, eps=self.eps)
        y = ops.batch_norm(x, gamma, beta, eps=self.eps)
        rows = x.size // shape[0] // y.shards
        builder.updates.append(ops.running_stats(mean, var, y.output(1), y.output(2), momentum=self.momentum, rows=rows))
        return y


class LayerNorm(Layer):
    """y = gamma (x - mean) / sqrt(var + eps) + beta, a mean and a biased variance per sample. Ba, Kiros, Hinton 2016, eq. 3, 4.

    Shapes: x (N, ...), normalised over the last `axes` axes together, over all of a sample if None; gamma and beta have
    the shape of these axes. Training and prediction are the same. As torch's LayerNorm(x.shape[-axes:]); Keras takes the
    last axis alone. affine=False: no gamma and beta. Raises UsageError for arguments out of range, ShapeError if x has
    too few axes.
    """

    def __init__(self, eps: float = 1e-5, axes: int | None = None, affine: bool = True):
        self.eps, self.axes, self.affine = eps, axes, affine
        _positive(self, "eps")
        if axes is not None:
            _whole(self, "axes", 1)

    def build(self, builder: Builder, *inputs: Node) -> Node:
        x = inputs[0]
        axes = self.axes or len(x.shape) - 1
        gamma, beta = _affine(builder, x.shape[-axes:], self.affine)
        return ops.layer_norm(x, gamma, beta, eps=self.eps, axes=axes)


class LocalResponseNorm(Layer):
    """y_c = x_c (k + alpha sum_j x_j^2)^-beta over the `size` channels j around c at the same place. Krizhevsky, Sutskever,
    Hinton 2012, section 3.3, with its numbers by default.

    Shapes: x (N, C) or (N, H, W, C), y the same; fewer channels at the edges. torch divides alpha by size: its alpha is
    size times this one, and its k is 1 by default. Raises UsageError unless size is odd and at most 129, k, alpha, beta > 0.
    """

    def __init__(self, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0):
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k
        _whole(self, "size", 1)
        if size % 2 == 0 or size > 129:
            raise UsageError(f"LocalResponseNorm: size must be odd, as many channels on either side, at most 129, got {size}")
        for name in ("alpha", "beta", "k"):
            _positive(self, name)

    def build(self, builder: Builder, *inputs: Node) -> Node:
        return ops.local_norm(inputs[0], size=self.size, k=self.k, alpha=self.alpha, beta=self.beta)


class SpatialDropout2D(Layer):
    """In training, each channel of each sample is dropped with probability p and kept ones are scaled by 1/(1-p); nothing at
    prediction. Tompson, Goroshin, Jain, LeCun, Bregler 2015, section 3.2.

    Shapes: x (N, H, W, C), y the same; for (N, C) it is Dropout. As torch's Dropout2d and Keras' SpatialDropout2D. Raises
    UsageError unless 0 <= p < 1.
    """

    def __init__(self, p: float = 0.5):
        if isinstance(p, bool) or not isinstance(p, (int, float)) or not 0 <= p < 1:
            raise UsageError(f"SpatialDropout2D: p is the probability of dropping, 0 <= p < 1, got {p!r}")
        self.p = p

    def build(self, builder: Builder, *inputs: Node) -> Node:
        if not builder.training or self.p == 0:
            return inputs[0]
        return ops.spatial_dropout(inputs[0], p=self.p, layer=builder.number)
