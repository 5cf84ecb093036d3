"""Layers that normalise."""

from __future__ import annotations

from nncore.errors import UsageError
from nncore.graph import ops
from nncore.graph.node import Node, Parameter
from nncore.nn.base import Builder, Layer
from nncore.nn.init import Constant, Zeros


def _between(layer: Layer, name: str, low: float, high: float) -> None:
    """Raises UsageError unless low <= the argument <= high; low itself is out where it is 0."""
    value = getattr(layer, name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high or value == 0 == low:
        raise UsageError(f"{type(layer).__name__}: {name} must be {f'above {low}' if low == 0 else f'at least {low}'}"
                         f"{'' if high == float('inf') else f' and at most {high:g}'}, got {value!r}")


def _affine(builder: Builder, shape: tuple, wanted: bool) -> tuple[Parameter | None, Parameter | None]:
    """gamma, from 1, and beta, from 0, under torch's names; both of kind "bias": penalties and decays leave them alone."""
    if not wanted:
        return None, None
    return (builder.parameter("weight", shape, Constant(1.0), (1, 1), kind="bias"),
            builder.parameter("bias", shape, Zeros(), (1, 1), kind="bias"))


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
        _between(self, "momentum", 0, 1)
        _between(self, "eps", 0, float("inf"))

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
