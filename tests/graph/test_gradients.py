"""Rung 4: the local gradient of every op, and three whole networks, on the float64 twin."""

import random
from importlib import import_module
from pathlib import Path

import pytest

import nncore as nn
from nncore.graph import ops
from nncore.graph.autodiff import add_all, gradients
from nncore.graph.node import Input
from nncore.nn.base import Builder
from nncore.tensor import Tensor
from tests.gradcheck import check, parameter, weighted_sum


def draw(n, seed=1, away=0.05, low=-2.0, high=2.0):
    """Values no nearer than `away` to the kinks at -1, 0, 1."""
    rng = random.Random(seed)
    found = []
    while len(found) < n:
        x = rng.uniform(low, high)
        if all(abs(abs(x) - k) > away for k in (0.0, 1.0)):
            found.append(x)
    return found


UNARY = {
    "relu": ops.relu, "leaky_relu": lambda x: ops.leaky_relu(x, slope=0.1), "satlin": ops.satlin,
    "sigmoid": lambda x: ops.sigmoid(x, lam=1.7), "tanh": lambda x: ops.tanh(x, a=1.7159, b=2 / 3),
    "elu": lambda x: ops.elu(x, lam=1.05, alpha=1.67), "softplus": ops.softplus, "softmax": ops.softmax,
    "log_softmax": ops.log_softmax, "scale": lambda x: ops.scale(x, c=-3.0), "reshape": lambda x: ops.reshape(x, (4, 3)),
    "dropout": lambda x: ops.dropout(x, p=0.4, layer=3), "exponential": ops.exponential,
    "error_function": ops.error_function, "gelu": ops.gelu,
}
POSITIVE = {"logarithm": ops.logarithm, "square_root": ops.square_root}
BINARY = {
    "add": ops.add, "sub": ops.sub, "mul": ops.mul, "quotient": ops.quotient,
    "add_scaled": lambda a, b: ops.add_scaled(a, b, c=0.7),
}
ROW_LOSSES = {
    "squared_error": ops.squared_error, "absolute_error": ops.absolute_error,
    "huber": lambda z, t, scale: ops.huber(z, t, scale=scale, delta=0.7),
    "binary_xent": ops.binary_xent, "logistic_loss": ops.logistic_loss, "hinge": ops.hinge,
    "perceptron": ops.perceptron,
}


@pytest.mark.parametrize("name", UNARY)
def test_unary(name):
    x, values = parameter("x", 3, 4), {}
    values[x] = draw(12)
    assert check(weighted_sum(UNARY[name](x), values), values) == 12


@pytest.mark.parametrize("name", POSITIVE)
def test_of_positive_numbers(name):
    x, values = parameter("x", 3, 4), {}
    values[x] = draw(12, low=0.3)
    assert check(weighted_sum(POSITIVE[name](x), values), values) == 12


@pytest.mark.parametrize("name", BINARY)
def test_binary(name):
    a, b, values = parameter("a", 3, 4), parameter("b", 3, 4), {}
    values.update({a: draw(12, 1), b: draw(12, 2, away=0.3)})  # not near 0, where a quotient bends too much for differences
    assert check(weighted_sum(BINARY[name](a, b), values), values) == 24


@pytest.mark.parametrize("name", ["sum_squares", "sum_abs", "sum_all"])
def test_reductions_to_a_scalar(name):
    x = parameter("x", 5, 7)
    loss = ops.OPS[name](x, scale=0.3)
    assert check(loss, {x: draw(35)}) == 35


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shards", [1, 2, 3])
def test_dense(bias, shards):
    x, w, b, values = parameter("x", 6, 5), parameter("w", 5, 4), parameter("b", 4), {}
    x.shards = shards
    values.update({x: draw(30, 1), w: draw(20, 2), b: draw(4, 3)})
    y = ops.dense(x, w, b if bias else None)
    values_r = {}
    loss = weighted_sum(y, values_r)
    values.update(values_r)
    loss = ops.tree_sum(loss) if shards > 1 else loss
    assert check(loss, values, wrt=[x, w, *([b] if bias else [])]) == 50 + 4 * bias


@pytest.mark.parametrize("scale", [1.0, 0.25])
@pytest.mark.parametrize("name", ROW_LOSSES)
def test_losses_with_targets(name, scale):
    z, t = parameter("z", 4, 3), parameter("t", 4, 3)
    low = 0.0 if name in ("binary_xent", "perceptron") else -1.0
    targets = draw(12, 5) if name in ("squared_error", "absolute_error", "huber") else [(low, 1.0)[i % 2] for i in range(12)]
    loss = ops.sum_all(ROW_LOSSES[name](z, t, scale=scale), scale=scale)
    assert check(loss, {z: draw(12, 4), t: targets}, wrt=[z]) == 12


@pytest.mark.parametrize("name", ["softmax_xent", "multi_hinge"])
def test_losses_with_labels(name):
    z = parameter("z", 4, 3)
    images = Tensor((4,), "u8", bytes([0, 2, 1, 2]))
    t = ops.gather_labels(Input("labels", (), "u8", 2), None, shape=(4,), classes=3)
    loss = ops.sum_all(ops.OPS[name](z, t, scale=0.25), scale=0.25)
    assert check(loss, {z: draw(12, 6)}, externals={2: images}, n_samples=4, batch=4) == 12


def test_every_op_with_a_derivative_is_checked():
    sums = {"sum_all", "sum_squares", "sum_abs", "tree_sum"}
    covered = {*UNARY, *POSITIVE, *BINARY, *ROW_LOSSES, *sums, "softmax_xent", "multi_hinge", "dense"}
    for file in Path(__file__).parent.glob("test_gradients_*.py"):
        covered |= import_module(f"tests.graph.{file.stem}").COVERED
    have = {name.removesuffix("_fwd") for name, op in ops.OPS.items() if op.vjp is not None}
    assert have <= covered, f"without a gradient check: {have - covered}"


NETWORKS = {
    "tanh-sigmoid-softmax": ([nn.Dense(6), nn.Tanh(a=1.7159, b=2 / 3), nn.Dense(5), nn.Sigmoid(), nn.Dense(3)],
                             nn.CrossEntropy()),
    "selu-softplus-mse": ([nn.Dense(7), nn.SELU(), nn.Dense(4, bias=False), nn.Softplus(), nn.Dense(2)], nn.MSE()),
    "relu-dropout-huber": ([nn.Dense(8), nn.ELU(), nn.Dropout(0.3), nn.Dense(5), nn.LeakyReLU(), nn.Dense(2)], nn.Huber(0.5)),
    "gelu": ([nn.Dense(8), nn.GELU(), nn.Dense(5), nn.GELU(), nn.Dense(3)], nn.CrossEntropy()),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_whole_networks(name):
    layers, loss = NETWORKS[name]
    model = nn.Sequential(layers)
    x, rng, parameters = parameter("x", 6, 4), random.Random(3), {}
    z = x
    builder = Builder(parameters, training=True)
    for i, layer in enumerate(layers):
        builder.layer, builder.number = str(i), i
        z = layer.build(builder, z)
    values = {x: draw(24, 8)}
    values.update({w: [rng.gauss(0, 0.6) for _ in range(w.size)] for w in parameters.values()})
    externals = {}
    if isinstance(loss, nn.CrossEntropy):
        t = ops.gather_labels(Input("labels", (), "u8", 2), None, shape=(6,), classes=3)
        externals[2] = Tensor((6,), "u8", bytes([0, 1, 2, 2, 1, 0]))
    else:
        t = parameter("t", 6, 2)
        values[t] = draw(12, 9)
    total = add_all([loss(z, t), *nn.L2(0.1).terms(list(parameters.values())), *nn.L1(0.01).terms(list(parameters.values()))])
    wrt = [x, *parameters.values()]
    assert check(total, values, wrt=wrt, externals=externals, n_samples=6, batch=6) == sum(w.size for w in wrt)
    assert model.layers == layers


def test_a_gradient_through_an_op_without_derivative_is_refused():
    x = parameter("x", 2, 3)
    with pytest.raises(nn.GraphError, match="step_fwd: has no derivative"):
        gradients(ops.sum_all(ops.step(x)), [x])
