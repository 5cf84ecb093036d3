"""Rows of csrc/ops/elementwise.c and reduce.c, and the views."""

from __future__ import annotations

from nncore.errors import GraphError, ShapeError
from nncore.graph.node import Constant, Node, Op, View
from nncore.graph.ops.rules import first, nothing, partial, rows, same


def scaled(g: Node, c: float) -> Node:
    """c g, folded when g is a constant."""
    return g.times(c) if isinstance(g, Constant) else scale(g, c=c)


def spread(g: Node, like: Node) -> Node:
    """A gradient as a tensor: a Constant becomes memory filled with it."""
    return weighed(fill(like, c=g.value), g) if isinstance(g, Constant) else g


def weighed(x: Node, g: Constant) -> Node:
    """x, a tensor that already holds g's number, times what g is still to be multiplied by."""
    return x if g.by is None else scale_by(x, g.by)


def times(g: Node, x: Node) -> Node:
    """g x, for g a constant, a tensor of one element, or of x's shape."""
    if isinstance(g, Constant):
        return weighed(x if g.value == 1 else scale(x, c=g.value), g)
    return scale_by(x, g) if g.size == 1 and x.size != 1 else mul(g, x)


add = Op("add", shape=same, vjp=lambda g, n: (g, g))
sub = Op("sub", shape=same, vjp=lambda g, n: (g, scaled(g, -1.0)))
mul = Op("mul", shape=same, vjp=lambda g, n: (times(g, n.inputs[1]), times(g, n.inputs[0])))
scale = Op("scale", shape=first, defaults={"c": 1.0}, scalars=lambda n: (n.attrs["c"],),
           vjp=lambda g, n: (scaled(g, n.attrs["c"]),))
scale_by = Op("scale_by", shape=first)
add_scaled = Op("add_scaled", shape=same, defaults={"c": 1.0}, scalars=lambda n: (n.attrs["c"],), flop=lambda n: 2 * n.size,
                vjp=lambda g, n: (g, scaled(g, n.attrs["c"])))
add_sign = Op("add_sign", shape=same, defaults={"c": 1.0}, scalars=lambda n: (n.attrs["c"],))
quotient = Op("quotient", shape=same, vjp=lambda g, n: _quotient_rule(spread(g, n), n))
square_root = Op("square_root", shape=first, vjp=lambda g, n: (scale(quotient(spread(g, n), n), c=0.5),))
exponential = Op("exponential", shape=first, flop=lambda n: 12 * n.size, vjp=lambda g, n: (times(g, n),), elementary=True)
logarithm = Op("logarithm", shape=first, flop=lambda n: 22 * n.size, vjp=lambda g, n: (quotient(spread(g, n), n.inputs[0]),),
               elementary=True)
error_function = Op("error_function", shape=first, flop=lambda n: 80 * n.size, vjp=lambda g, n: (times(g, _bell(n.inputs[0])),),
                    elementary=True)
# fill takes the tensor whose shape it copies as a mere pattern: it reads nothing.
_fill = Op("fill", shape=lambda n: n.attrs["shape"], defaults={"c": 0.0, "shape": ()}, scalars=lambda n: (n.attrs["c"],),
           flop=lambda n: 0)


def fill(like: Node, c: float) -> Node:
    """A tensor of like's shape with every element c."""
    node = _fill(c=c, shape=like.shape)
    node.shards = like.shards
    return node


def filled(shape: tuple, c: float) -> Node:
    """A tensor of that shape with every element c."""
    return _fill(c=c, shape=shape)


def _bell(x: Node) -> Node:
    """erf'(x) = 2 / sqrt(pi) exp(-x^2)."""
    return scale(exponential(scale(mul(x, x), c=-1.0)), c=1.1283791670955126)


def _quotient_rule(g: Node, n: Node) -> tuple[Node, Node]:
    """d(a / b): 1 / b and -(a / b) / b."""
    by_a = quotient(g, n.inputs[1])
    return by_a, scale(mul(by_a, n), c=-1.0)


def flatten(x: Node) -> Node:
    """(N, ...) -> (N, features): a view."""
    return x if len(x.shape) == 2 else View(x, (x.shape[0], x.size // x.shape[0]))


def flattened_channels(x: Node) -> int:
    """The channels of the image whose pixels are x's features, 1 if they are no image's: how files order the weights."""
    while len(x.shape) != 4 and x.inputs and x.inputs[0] is not None:
        source = x.inputs[0]
        if not isinstance(x, View) and source.shape != x.shape:
            return 1
        x = source
    return x.shape[3] if len(x.shape) == 4 and x.shape[1] * x.shape[2] > 1 else 1


def reshape(x: Node, shape: tuple) -> Node:
    """The same elements under another shape: a view."""
    view = View(x, shape)
    if view.size != x.size:
        raise ShapeError(f"reshape: {x.shape} has {x.size} elements, {tuple(shape)} has {view.size}")
    return view


# ---- reductions ------------------------------------------------------------------------------------------------------

sum_rows = Op("sum_rows", shape=lambda n: partial(n, n.inputs[0].shape[1:]),
              dims=lambda n: (*rows(n), n.shards), flop=lambda n: n.inputs[0].size)
sum_all = Op("sum_all", shape=lambda n: partial(n, ()), defaults={"scale": 1.0}, scalars=lambda n: (n.attrs["scale"],),
             dims=lambda n: (n.inputs[0].size, n.shards), flop=lambda n: n.inputs[0].size,
             vjp=lambda g, n: (_uniform(g, n.attrs["scale"]),))
sum_squares = Op("sum_squares", shape=nothing, defaults={"scale": 1.0}, scalars=lambda n: (n.attrs["scale"],),
                 dims=lambda n: (n.inputs[0].size,), flop=lambda n: 2 * n.inputs[0].size,
                 vjp=lambda g, n: (weighed(scale(n.inputs[0], c=2 * _uniform(g, n.attrs["scale"]).value), g),))
sum_abs = Op("sum_abs", shape=nothing, defaults={"scale": 1.0}, scalars=lambda n: (n.attrs["scale"],),
             dims=lambda n: (n.inputs[0].size,), flop=lambda n: n.inputs[0].size,
             vjp=lambda g, n: (weighed(add_sign(fill(n.inputs[0], 0.0), n.inputs[0], c=_uniform(g, n.attrs["scale"]).value), g),))


def _tree_shape(n: Node) -> tuple:
    shards = n.shards
    n.shards = 1  # the batch axis is summed away
    n.attrs["parts"] = shards
    return n.inputs[0].shape[1:]


tree_sum = Op("tree_sum", shape=_tree_shape, dims=lambda n: (n.size, n.attrs["parts"]), defaults={"parts": 1},
              flop=lambda n: n.inputs[0].size, vjp=lambda g, n: (g,))


def _uniform(g: Node, c: float) -> Constant:
    if not isinstance(g, Constant):
        raise GraphError("a loss can be scaled and added to others, but not fed into further tensors")
    return g.times(c)
