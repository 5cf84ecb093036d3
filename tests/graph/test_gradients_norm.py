"""Rung 4 for the normalising ops: local gradients against central differences on the float64 twin."""

import random

import pytest

from nncore.errors import ShapeError
from nncore.graph import ops
from nncore.graph.node import State
from tests.gradcheck import check, parameter, weighted_sum

COVERED = {"batch_norm", "batch_norm_fixed", "layer_norm", "local_norm", "spatial_dropout"}


def draw(n, seed, low=-2.0, high=2.0):
    rng = random.Random(seed)
    return [rng.uniform(low, high) for _ in range(n)]


def compare(y, values, wrt):
    loss = weighted_sum(y, values)
    assert check(ops.tree_sum(loss) if y.shards > 1 else loss, values, wrt=wrt) == sum(w.size for w in wrt)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(("shape", "shards"), [((7, 4), 1), ((6, 3), 3), ((4, 2, 3, 5), 1), ((4, 2, 3, 5), 2)])
def test_batch_norm(shape, shards, affine):
    x, C = parameter("x", *shape), shape[-1]
    x.shards = shards
    gamma, beta = (parameter("gamma", C), parameter("beta", C)) if affine else (None, None)
    values = {x: draw(x.size, 1)}
    if affine:
        values.update({gamma: draw(C, 2), beta: draw(C, 3)})
    compare(ops.batch_norm(x, gamma, beta, eps=1e-3), values, list(values))


@pytest.mark.parametrize("shards", [1, 2])
def test_batch_norm_with_fixed_statistics(shards):
    x, gamma, beta = parameter("x", 4, 3, 5), parameter("gamma", 5), parameter("beta", 5)
    x.shards = shards
    mean, var = State("mean", (5,)), State("var", (5,))
    values = {x: draw(60, 1), gamma: draw(5, 2), beta: draw(5, 3), mean: draw(5, 4), var: draw(5, 5, 0.5, 2.0)}
    compare(ops.batch_norm_fixed(x, mean, var, gamma, beta, eps=1e-3), values, [x, gamma, beta])


def test_a_layer_used_twice_adds_its_gradients():
    x, gamma, beta = parameter("x", 6, 3), parameter("gamma", 3), parameter("beta", 3)
    x.shards = 2
    values = {x: draw(18, 1), gamma: draw(3, 2), beta: draw(3, 3)}
    y = ops.batch_norm(ops.tanh(ops.batch_norm(x, gamma, beta)), gamma, beta)
    compare(y, values, list(values))


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(("shape", "axes", "shards"), [((5, 7), 1, 1), ((4, 6), 1, 2), ((3, 2, 2, 3), 3, 1), ((4, 3, 5), 1, 2)])
def test_layer_norm(shape, axes, shards, affine):
    x = parameter("x", *shape)
    x.shards = shards
    gamma, beta = (parameter("gamma", *shape[-axes:]), parameter("beta", *shape[-axes:])) if affine else (None, None)
    values = {x: draw(x.size, 1)}
    if affine:
        values.update({gamma: draw(gamma.size, 2), beta: draw(beta.size, 3)})
    compare(ops.layer_norm(x, gamma, beta, eps=1e-3, axes=axes), values, list(values))


@pytest.mark.parametrize("attrs", [{}, {"size": 3, "k": 0.5, "alpha": 0.4, "beta": 1.3}, {"size": 1, "alpha": 0.1},
                                   {"size": 15, "alpha": 0.05, "beta": 0.5}])
def test_local_norm(attrs):
    x = parameter("x", 2, 2, 9)
    compare(ops.local_norm(x, **attrs), {x: draw(36, 1)}, [x])


def test_spatial_dropout():
    x = parameter("x", 4, 2, 3, 5)
    compare(ops.spatial_dropout(x, p=0.4, layer=2), {x: draw(120, 1)}, [x])


def test_shapes_are_refused_by_name():
    x = parameter("x", 4, 3)
    with pytest.raises(ShapeError, match=r"gamma\[2\] does not fit the 3 channels"):
        ops.batch_norm(x, parameter("gamma", 2), None)
    with pytest.raises(ShapeError, match=r"expects \(N, C\)"):
        ops.batch_norm(parameter("x", 4), None, None)
    with pytest.raises(ShapeError, match=r"mean\[4\] does not fit"):
        ops.batch_norm_fixed(x, State("mean", (4,)), State("var", (3,)), None, None)
    with pytest.raises(ShapeError, match="cannot normalise the last 2 axes .* choose 1 to 1"):
        ops.layer_norm(x, None, None, axes=2)
    with pytest.raises(ShapeError, match=r"must have the shape \(3,\), or both be absent"):
        ops.layer_norm(x, parameter("gamma", 3), None)
    x.shards = 4
    with pytest.raises(ShapeError, match="one value per channel"):
        ops.batch_norm(x, None, None)
