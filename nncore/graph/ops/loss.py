"""Rows of csrc/ops/loss.c: (loss per row, dz); dz holds scale dloss/dz, so the gradient of the scaled sum is dz itself."""

from __future__ import annotations

from nncore.errors import GraphError, ShapeError
from nncore.graph.node import Constant, Node, Op
from nncore.graph.ops.elementwise import scaled, weighed
from nncore.graph.ops.rules import attributes, matrix


def _loss_shape(n: Node) -> list:
    z, t = n.inputs
    N, _ = matrix(z, n.op.name)
    by_label = n.op.name in ("softmax_xent", "multi_hinge")
    if t.shape != ((N,) if by_label else z.shape):
        want = f"labels ({N},)" if by_label else f"targets {z.shape}"
        raise ShapeError(f"{n.op.name}: predictions {z.shape} need {want}, got {t.shape}")
    return [(N,), z.shape]


def _loss_vjp(g: Node, n: Node) -> tuple:
    if not isinstance(g, Constant):
        raise GraphError(f"{n.op.name}: its rows can only be averaged or summed")
    dz = scaled(n.output(1), g.value / n.attrs["scale"]) if g.value != n.attrs["scale"] else n.output(1)
    return (weighed(dz, g), None)


def _loss(name: str, flop: float, elementary: bool = False, **extra) -> Op:
    return Op(name, shape=_loss_shape, dtypes=("real", "real"), dims=lambda n: n.inputs[0].shape,
              defaults={"scale": 1.0, **extra}, scalars=attributes("scale", *extra), vjp=_loss_vjp,
              flop=lambda n: flop * n.inputs[0].size, elementary=elementary)


softmax_xent = _loss("softmax_xent", 25, elementary=True)
softmax_xent_soft = _loss("softmax_xent_soft", 30, elementary=True)
squared_error = _loss("squared_error", 4, factor=0.5)
absolute_error = _loss("absolute_error", 3)
huber = _loss("huber", 5, delta=1.0)
binary_xent = _loss("binary_xent", 50, elementary=True)
logistic_loss = _loss("logistic_loss", 50, elementary=True)
hinge = _loss("hinge", 4)
multi_hinge = _loss("multi_hinge", 4)
perceptron = _loss("perceptron", 4)
one_hot = Op("one_hot", shape=lambda n: (*n.inputs[0].shape, n.attrs["classes"]), dims=lambda n: n.shape,
             defaults={"classes": 10, "low": 0.0, "high": 1.0}, scalars=attributes("low", "high"), flop=lambda n: 0)
