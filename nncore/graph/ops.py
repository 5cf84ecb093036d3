"""The op registry: one row per op, its local gradient beside it, written as graph nodes - the way the lectures teach it.

A gradient that is the same number everywhere arrives as a `Constant` and is folded into what the rule builds. Formulas and
sources stand in csrc/ops/<family>.c; argument order, dims and scalars in csrc/nncore.h.
"""

from __future__ import annotations

from nncore.errors import GraphError, ShapeError
from nncore.graph.node import Constant, Node, Op, View

# ---- shape rules -----------------------------------------------------------------------------------------------------


def same(n: Node) -> tuple:
    """All inputs of one shape; so is the output."""
    shape = n.inputs[0].shape
    for x in n.inputs[1:]:
        if x.shape != shape:
            raise ShapeError(f"{n.op.name}: shapes differ: {shape} and {x.shape}")
    return shape


def first(n: Node) -> tuple:
    """The first input's shape."""
    return n.inputs[0].shape


def nothing(n: Node) -> tuple:
    """An effect: no output."""
    return ()


def rows(n: Node) -> tuple[int, int]:
    """(N, the rest): a tensor as rows."""
    x = n.inputs[0]
    return (x.shape[0], x.size // x.shape[0] if x.shape[0] else 0)


def matrix(x: Node, name: str) -> tuple[int, int]:
    """The shape of a matrix; ShapeError for anything else."""
    if len(x.shape) != 2:
        raise ShapeError(f"{name}: expects a matrix (N, features), got {x.shape}; flatten it first")
    return x.shape


def partial(n: Node, shape: tuple) -> tuple:
    """A sum over the batch: one partial sum per shard when there are several."""
    return (n.shards, *shape) if n.shards > 1 else shape


# ---- elementwise -----------------------------------------------------------------------------------------------------


def scaled(g: Node, c: float) -> Node:
    """c g, folded when g is a constant."""
    return Constant(g.value * c) if isinstance(g, Constant) else scale(g, c=c)


def spread(g: Node, like: Node) -> Node:
    """A gradient as a tensor: a Constant becomes memory filled with it."""
    return fill(like, c=g.value) if isinstance(g, Constant) else g


def times(g: Node, x: Node) -> Node:
    """g x, for g a constant, a tensor of one element, or of x's shape."""
    if isinstance(g, Constant):
        return x if g.value == 1 else scale(x, c=g.value)
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
# fill takes the tensor whose shape it copies as a mere pattern: it reads nothing.
_fill = Op("fill", shape=lambda n: n.attrs["shape"], defaults={"c": 0.0, "shape": ()}, scalars=lambda n: (n.attrs["c"],),
           flop=lambda n: 0)


def fill(like: Node, c: float) -> Node:
    """A tensor of like's shape with every element c."""
    node = _fill(c=c, shape=like.shape)
    node.shards = like.shards
    return node


def flatten(x: Node) -> Node:
    """(N, ...) -> (N, features): a view."""
    return x if len(x.shape) == 2 else View(x, (x.shape[0], x.size // x.shape[0]))


def reshape(x: Node, shape: tuple) -> Node:
    """The same elements under another shape: a view."""
    view = View(x, shape)
    if view.size != x.size:
        raise ShapeError(f"reshape: {x.shape} has {x.size} elements, {tuple(shape)} has {view.size}")
    return view


# ---- dense -----------------------------------------------------------------------------------------------------------


def _dense_shape(n: Node) -> tuple:
    x, w, b = n.inputs
    N, I = matrix(x, "dense")
    if len(w.shape) != 2 or w.shape[0] != I:
        raise ShapeError(f"dense: weight {w.shape} expects {w.shape[0]} inputs, got x {x.shape}")
    if b is not None and b.shape != w.shape[1:]:
        raise ShapeError(f"dense: bias {b.shape} does not fit weight {w.shape}")
    return (N, w.shape[1])


def _dense_vjp(g: Node, n: Node) -> tuple:
    x, w, b = n.inputs
    g = spread(g, n)
    return (dense_bwd_data(g, w), dense_bwd_weight(x, g), sum_rows(g) if b is not None else None)


dense = Op("dense_fwd", shape=_dense_shape, vjp=_dense_vjp,
           dims=lambda n: (n.shape[0], n.inputs[0].shape[1], n.shape[1], -1),
           flop=lambda n: 2 * n.size * n.inputs[0].shape[1])
dense_bwd_data = Op("dense_bwd_data", shape=lambda n: (n.inputs[0].shape[0], n.inputs[1].shape[0]),
                    dims=lambda n: (*n.shape, n.inputs[0].shape[1]), flop=lambda n: 2 * n.size * n.inputs[0].shape[1])
dense_bwd_weight = Op("dense_bwd_weight", shape=lambda n: partial(n, (n.inputs[0].shape[1], n.inputs[1].shape[1])),
                      dims=lambda n: (n.inputs[0].shape[0], n.inputs[0].shape[1], n.inputs[1].shape[1], n.shards),
                      flop=lambda n: 2 * n.inputs[0].size * n.inputs[1].shape[1])

# ---- reductions ------------------------------------------------------------------------------------------------------

sum_rows = Op("sum_rows", shape=lambda n: partial(n, n.inputs[0].shape[1:]),
              dims=lambda n: (*rows(n), n.shards), flop=lambda n: n.inputs[0].size)
sum_all = Op("sum_all", shape=lambda n: partial(n, ()), defaults={"scale": 1.0}, scalars=lambda n: (n.attrs["scale"],),
             dims=lambda n: (n.inputs[0].size, n.shards), flop=lambda n: n.inputs[0].size,
             vjp=lambda g, n: (_uniform(g, n.attrs["scale"]),))
sum_squares = Op("sum_squares", shape=nothing, defaults={"scale": 1.0}, scalars=lambda n: (n.attrs["scale"],),
                 dims=lambda n: (n.inputs[0].size,), flop=lambda n: 2 * n.inputs[0].size,
                 vjp=lambda g, n: (scale(n.inputs[0], c=2 * _uniform(g, n.attrs["scale"]).value),))
sum_abs = Op("sum_abs", shape=nothing, defaults={"scale": 1.0}, scalars=lambda n: (n.attrs["scale"],),
             dims=lambda n: (n.inputs[0].size,), flop=lambda n: n.inputs[0].size,
             vjp=lambda g, n: (add_sign(fill(n.inputs[0], 0.0), n.inputs[0], c=_uniform(g, n.attrs["scale"]).value),))


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
    return Constant(g.value * c)


# ---- activations: derivative in terms of the output y wherever it can be ---------------------------------------------


def _by_output(bwd: Op, *names: str):
    return lambda g, n: (bwd(spread(g, n), n, **{k: n.attrs[k] for k in names}),)


def _scalars(*names: str):
    return lambda n: tuple(n.attrs[k] for k in names)


# d/dx [x >= 0] = 0 wherever it exists: the unit step passes no gradient (the perceptron rule is not one).
step = Op("step_fwd", shape=first, epilogue=True)
satlin_bwd = Op("satlin_bwd", shape=same)
satlin = Op("satlin_fwd", shape=first, vjp=_by_output(satlin_bwd), epilogue=True)
sigmoid_bwd = Op("sigmoid_bwd", shape=same, defaults={"lam": 1.0}, scalars=_scalars("lam"), flop=lambda n: 4 * n.size)
sigmoid = Op("sigmoid_fwd", shape=first, defaults={"lam": 1.0}, scalars=_scalars("lam"), flop=lambda n: 20 * n.size,
             vjp=_by_output(sigmoid_bwd, "lam"), epilogue=True)
tanh_bwd = Op("tanh_bwd", shape=same, defaults={"a": 1.0, "b": 1.0}, scalars=_scalars("a", "b"), flop=lambda n: 5 * n.size)
tanh = Op("tanh_fwd", shape=first, defaults={"a": 1.0, "b": 1.0}, scalars=_scalars("a", "b"), flop=lambda n: 20 * n.size,
          vjp=_by_output(tanh_bwd, "a", "b"), epilogue=True)
relu_bwd = Op("relu_bwd", shape=same)
relu = Op("relu_fwd", shape=first, vjp=_by_output(relu_bwd), epilogue=True)
leaky_relu_bwd = Op("leaky_relu_bwd", shape=same, defaults={"slope": 0.01}, scalars=_scalars("slope"))
leaky_relu = Op("leaky_relu_fwd", shape=first, defaults={"slope": 0.01}, scalars=_scalars("slope"),
                vjp=_by_output(leaky_relu_bwd, "slope"), epilogue=True)
elu_bwd = Op("elu_bwd", shape=same, defaults={"lam": 1.0, "alpha": 1.0}, scalars=_scalars("lam", "alpha"))
elu = Op("elu_fwd", shape=first, defaults={"lam": 1.0, "alpha": 1.0}, scalars=_scalars("lam", "alpha"),
         flop=lambda n: 20 * n.size, vjp=_by_output(elu_bwd, "lam", "alpha"), epilogue=True)
softplus_bwd = Op("softplus_bwd", shape=same, flop=lambda n: 20 * n.size)
softplus = Op("softplus_fwd", shape=first, flop=lambda n: 30 * n.size,
              vjp=lambda g, n: (softplus_bwd(spread(g, n), n.inputs[0]),))
softmax_bwd = Op("softmax_bwd", shape=same, dims=rows, flop=lambda n: 4 * n.size)
softmax = Op("softmax_fwd", shape=first, dims=rows, flop=lambda n: 20 * n.size, vjp=_by_output(softmax_bwd))
log_softmax_bwd = Op("log_softmax_bwd", shape=same, dims=rows, flop=lambda n: 20 * n.size)
log_softmax = Op("log_softmax_fwd", shape=first, dims=rows, flop=lambda n: 20 * n.size, vjp=_by_output(log_softmax_bwd))
dropout = Op("dropout", shape=first, defaults={"p": 0.5, "layer": 0, "per_step": 0}, scalars=_scalars("p"),
             dims=lambda n: (*rows(n), n.attrs["layer"], n.attrs["per_step"]),
             vjp=lambda g, n: (dropout(spread(g, n), **n.attrs),))

# ---- losses: (loss per row, dz); dz holds scale dloss/dz, so the gradient of the scaled sum is dz itself ---------------


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
    return (scaled(n.output(1), g.value / n.attrs["scale"]) if g.value != n.attrs["scale"] else n.output(1), None)


def _loss(name: str, flop: float, **extra) -> Op:
    return Op(name, shape=_loss_shape, dtypes=("real", "real"), dims=lambda n: n.inputs[0].shape,
              defaults={"scale": 1.0, **extra}, scalars=_scalars("scale", *extra), vjp=_loss_vjp,
              flop=lambda n: flop * n.inputs[0].size)


softmax_xent = _loss("softmax_xent", 25)
squared_error = _loss("squared_error", 4, factor=0.5)
absolute_error = _loss("absolute_error", 3)
huber = _loss("huber", 5, delta=1.0)
binary_xent = _loss("binary_xent", 50)
logistic_loss = _loss("logistic_loss", 50)
hinge = _loss("hinge", 4)
multi_hinge = _loss("multi_hinge", 4)
one_hot = Op("one_hot", shape=lambda n: (*n.inputs[0].shape, n.attrs["classes"]), dims=lambda n: n.shape,
             defaults={"classes": 10, "low": 0.0, "high": 1.0}, scalars=_scalars("low", "high"), flop=lambda n: 0)

# ---- data ------------------------------------------------------------------------------------------------------------


def _gather(name: str) -> Op:
    """(images, rows, mean, scale) -> (batch, *image): rows of the step, standardised."""
    return Op(name, shape=lambda n: n.attrs["shape"], defaults={"shape": ()},
              dims=lambda n: (n.shape[0], n.size // n.shape[0], n.inputs[2].size), flop=lambda n: 2 * n.size)


gather_u8, gather_f32 = _gather("gather_u8"), _gather("gather_f32")
gather_labels = Op("gather_labels", shape=lambda n: n.attrs["shape"], dtypes=("i32",), defaults={"shape": (), "classes": 10},
                   dims=lambda n: (n.shape[0], n.attrs["classes"]), flop=lambda n: 0)
gather_targets = Op("gather_targets", shape=lambda n: n.attrs["shape"], defaults={"shape": ()},
                    dims=lambda n: (n.shape[0], n.size // n.shape[0]), flop=lambda n: 0)

# ---- effects: updates, initial values, metrics -------------------------------------------------------------------------


def _update(name: str, mutates: int, flop: int, *scalars: str, **defaults) -> Op:
    """An optimizer's update: (w, its `mutates` - 1 states, gradient, rates...)."""
    return Op(name, shape=nothing, mutates=tuple(range(mutates)), defaults=defaults, scalars=_scalars(*scalars),
              dims=lambda n: (n.inputs[0].size, *([int(n.attrs["outside"])] if "outside" in n.attrs else [])),
              flop=lambda n: flop * n.inputs[0].size)


sgd = _update("sgd", 1, 2)
momentum = _update("momentum", 2, 4)
nesterov = _update("nesterov", 2, 6)
adagrad = _update("adagrad", 2, 6, "eps", eps=1e-8, outside=False)
rmsprop = _update("rmsprop", 2, 8, "rho", "eps", rho=0.9, eps=1e-8, outside=False)
adadelta = _update("adadelta", 3, 12, "rho", "eps", rho=0.95, eps=1e-6)
adam = _update("adam", 3, 12, "beta1", "beta2", "eps", "decay", beta1=0.9, beta2=0.999, eps=1e-8, decay=0.0)
decay = _update("decay", 1, 1, "zeta", zeta=0.0)
increment = Op("increment", shape=nothing, mutates=(0,), dims=lambda n: (), flop=lambda n: 0)
assign = Op("assign", shape=nothing, mutates=(0,), dims=lambda n: (n.inputs[0].size,), flop=lambda n: 0)
schedule = Op("schedule", shape=lambda n: (1,), dtypes=("f64",), flop=lambda n: 0,
              defaults={"kind": 0, "legs": 0, "values": ()},
              dims=lambda n: (n.attrs["kind"], n.attrs["legs"]), scalars=lambda n: n.attrs["values"])
init_uniform = Op("init_uniform", shape=nothing, mutates=(0,), defaults={"id": 0, "limit": 1.0}, scalars=_scalars("limit"),
                  dims=lambda n: (n.inputs[0].size, n.attrs["id"]), flop=lambda n: 0)
init_normal = Op("init_normal", shape=nothing, mutates=(0,), defaults={"id": 0, "deviation": 1.0},
                 scalars=_scalars("deviation"), dims=lambda n: (n.inputs[0].size, n.attrs["id"]), flop=lambda n: 0)
init_constant = Op("fill", shape=nothing, mutates=(0,), defaults={"c": 0.0}, scalars=_scalars("c"),
                   dims=lambda n: (n.inputs[0].size,), flop=lambda n: 0)
metrics = Op("metrics", shape=nothing, mutates=(0,), flop=lambda n: 0,
             dims=lambda n: (n.attrs["batch"], n.inputs[2].shape[1] if n.inputs[2] is not None else 0), defaults={"batch": 1})
check_finite = Op("check_finite", shape=nothing, dims=lambda n: (n.inputs[0].size,), flop=lambda n: 0)
argmax = Op("argmax", shape=lambda n: n.inputs[0].shape[:1], dtypes=("i32",), dims=lambda n: n.inputs[0].shape,
            flop=lambda n: n.inputs[0].size)
top_k = Op("top_k", shape=nothing, mutates=(0,), defaults={"k": 5}, dims=lambda n: (*n.inputs[1].shape, n.attrs["k"]),
           flop=lambda n: n.inputs[1].size)

OPS = {op.name: op for op in list(globals().values()) if isinstance(op, Op)}
