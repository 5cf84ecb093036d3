"""Rows of csrc/ops/activation.c, softmax.c and dropout.c: derivatives in terms of the output y wherever they can be."""

from __future__ import annotations

from nncore.graph.node import Node, Op
from nncore.graph.ops.elementwise import spread
from nncore.graph.ops.rules import attributes, first, rows, same


def _by_output(bwd: Op, *names: str):
    return lambda g, n: (bwd(spread(g, n), n, **{k: n.attrs[k] for k in names}),)


def _relu_vjp(g: Node, n: Node) -> tuple:
    """dy [y > 0]. If y is only pooled by its maxima, their gradient is masked instead: what passes the pooling is the value
    at its place, so the bits are the same, on a quarter of the elements or fewer, and y itself is not read again."""
    pool = g.inputs[1].inputs[0] if isinstance(g, Node) and g.op and g.op.name == "max_pool_bwd" else None
    if pool is None or pool.inputs[0] is not n:
        return (relu_bwd(spread(g, n), n),)
    return (g.op(relu_bwd(g.inputs[0], pool), g.inputs[1], **g.attrs),)


# d/dx [x >= 0] = 0 wherever it exists: the unit step passes no gradient (the perceptron rule is not one).
step = Op("step_fwd", shape=first, epilogue=True)
satlin_bwd = Op("satlin_bwd", shape=same)
satlin = Op("satlin_fwd", shape=first, vjp=_by_output(satlin_bwd), epilogue=True)
sigmoid_bwd = Op("sigmoid_bwd", shape=same, defaults={"lam": 1.0}, scalars=attributes("lam"), flop=lambda n: 4 * n.size)
sigmoid = Op("sigmoid_fwd", shape=first, defaults={"lam": 1.0}, scalars=attributes("lam"), flop=lambda n: 20 * n.size,
             vjp=_by_output(sigmoid_bwd, "lam"), epilogue=True, elementary=True)
tanh_bwd = Op("tanh_bwd", shape=same, defaults={"a": 1.0, "b": 1.0}, scalars=attributes("a", "b"), flop=lambda n: 5 * n.size)
tanh = Op("tanh_fwd", shape=first, defaults={"a": 1.0, "b": 1.0}, scalars=attributes("a", "b"), flop=lambda n: 20 * n.size,
          vjp=_by_output(tanh_bwd, "a", "b"), epilogue=True, elementary=True)
relu_bwd = Op("relu_bwd", shape=same)
relu = Op("relu_fwd", shape=first, vjp=_relu_vjp, epilogue=True)
leaky_relu_bwd = Op("leaky_relu_bwd", shape=same, defaults={"slope": 0.01}, scalars=attributes("slope"))
leaky_relu = Op("leaky_relu_fwd", shape=first, defaults={"slope": 0.01}, scalars=attributes("slope"),
                vjp=_by_output(leaky_relu_bwd, "slope"), epilogue=True)
elu_bwd = Op("elu_bwd", shape=same, defaults={"lam": 1.0, "alpha": 1.0}, scalars=attributes("lam", "alpha"))
elu = Op("elu_fwd", shape=first, defaults={"lam": 1.0, "alpha": 1.0}, scalars=attributes("lam", "alpha"),
         flop=lambda n: 20 * n.size, vjp=_by_output(elu_bwd, "lam", "alpha"), epilogue=True, elementary=True)
softplus_bwd = Op("softplus_bwd", shape=same, flop=lambda n: 20 * n.size, elementary=True)
softplus = Op("softplus_fwd", shape=first, flop=lambda n: 30 * n.size, elementary=True,
              vjp=lambda g, n: (softplus_bwd(spread(g, n), n.inputs[0]),))
gelu_bwd = Op("gelu_bwd", shape=same, flop=lambda n: 110 * n.size, elementary=True)
gelu = Op("gelu_fwd", shape=first, flop=lambda n: 80 * n.size, elementary=True,
          vjp=lambda g, n: (gelu_bwd(spread(g, n), n.inputs[0]),))
softmax_bwd = Op("softmax_bwd", shape=same, dims=rows, flop=lambda n: 4 * n.size)
softmax = Op("softmax_fwd", shape=first, dims=rows, flop=lambda n: 20 * n.size, vjp=_by_output(softmax_bwd), elementary=True)
log_softmax_bwd = Op("log_softmax_bwd", shape=same, dims=rows, flop=lambda n: 20 * n.size, elementary=True)
log_softmax = Op("log_softmax_fwd", shape=first, dims=rows, flop=lambda n: 20 * n.size, vjp=_by_output(log_softmax_bwd),
                 elementary=True)
dropout = Op("dropout", shape=first, defaults={"p": 0.5, "layer": 0, "per_step": 0}, scalars=attributes("p"),
             dims=lambda n: (*rows(n), n.attrs["layer"], n.attrs["per_step"]),
             vjp=lambda g, n: (dropout(spread(g, n), **n.attrs),))
spatial_dropout = Op("spatial_dropout", shape=first, defaults={"p": 0.5, "layer": 0}, scalars=attributes("p"),
                     dims=lambda n: (n.shape[0], n.size // (n.shape[0] * n.shape[-1]), n.shape[-1], n.attrs["layer"]),
                     vjp=lambda g, n: (spatial_dropout(spread(g, n), **n.attrs),))
