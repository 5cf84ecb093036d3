"""Rows of csrc/ops/optimizer.c, average.c, schedule.c, init.c and metric.c: updates, initial values, metrics."""

from __future__ import annotations

from nncore.graph.node import Op
from nncore.graph.ops.rules import attributes, first, nothing


def _update(name: str, mutates: int, flop: int, *scalars: str, **defaults) -> Op:
    """An optimizer's update: (w, its `mutates` - 1 states, gradient, rates...)."""
    return Op(name, shape=nothing, mutates=tuple(range(mutates)), defaults=defaults, scalars=attributes(*scalars),
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
clip = Op("clip", shape=first, defaults={"c": 1.0}, scalars=attributes("c"))
clip_factor = Op("clip_factor", shape=nothing, defaults={"c": 1.0}, scalars=attributes("c"), dims=lambda n: (), flop=lambda n: 2)
blend = Op("blend", shape=nothing, mutates=(0,), dims=lambda n: (n.inputs[0].size,), flop=lambda n: 3 * n.inputs[0].size)
assign = Op("assign", shape=nothing, mutates=(0,), dims=lambda n: (n.inputs[0].size,), flop=lambda n: 0)
schedule = Op("schedule", shape=lambda n: (1,), dtypes=("f64",), flop=lambda n: 0,
              defaults={"kind": 0, "legs": 0, "values": ()},
              dims=lambda n: (n.attrs["kind"], n.attrs["legs"]), scalars=lambda n: n.attrs["values"])
init_uniform = Op("init_uniform", shape=nothing, mutates=(0,), defaults={"id": 0, "limit": 1.0}, scalars=attributes("limit"),
                  dims=lambda n: (n.inputs[0].size, n.attrs["id"]), flop=lambda n: 0)
init_normal = Op("init_normal", shape=nothing, mutates=(0,), defaults={"id": 0, "deviation": 1.0},
                 scalars=attributes("deviation"), dims=lambda n: (n.inputs[0].size, n.attrs["id"]), flop=lambda n: 0)
init_constant = Op("fill", shape=nothing, mutates=(0,), defaults={"c": 0.0}, scalars=attributes("c"),
                   dims=lambda n: (n.inputs[0].size,), flop=lambda n: 0)
metrics = Op("metrics", shape=nothing, mutates=(0,), flop=lambda n: 0,
             dims=lambda n: (n.attrs["batch"], n.inputs[2].shape[1] if n.inputs[2] is not None else 0), defaults={"batch": 1})
check_finite = Op("check_finite", shape=nothing, dims=lambda n: (n.inputs[0].size,), flop=lambda n: 0)
# Whether x is finite, and was so before: a chain of them over all gradients.
all_finite = Op("all_finite", shape=lambda n: (1,), dims=lambda n: (n.inputs[0].size,), flop=lambda n: 0)
# (scale, counts, finite): behind it the step ends where finite is 0. interval: good steps until the scale doubles, 0 never.
loss_scale = Op("loss_scale", shape=nothing, mutates=(0, 1), defaults={"interval": 0}, dims=lambda n: (n.attrs["interval"],),
                flop=lambda n: 0)
argmax = Op("argmax", shape=lambda n: n.inputs[0].shape[:1], dtypes=("i32",), dims=lambda n: n.inputs[0].shape,
            flop=lambda n: n.inputs[0].size)
top_k = Op("top_k", shape=nothing, mutates=(0,), defaults={"k": 5}, dims=lambda n: (*n.inputs[1].shape, n.attrs["k"]),
           flop=lambda n: n.inputs[1].size)
