"""Folding a batch normalisation into the product before it."""

import random

import pytest

from nncore.bench.cases import UNIT
from nncore.bench.cases import gamma as gamma_n
from nncore.graph import ops
from nncore.graph.fold import fold
from nncore.graph.node import State
from nncore.graph.plan import Layout
from nncore.graph.tape import compile_tape
from tests.gradcheck import parameter, run_values

N, I, K = 9, 13, 6
U = UNIT["f32"]


def draw(n, seed, low=-1.0, high=1.0):
    rng = random.Random(seed)
    return [rng.uniform(low, high) for _ in range(n)]


def network(bias=True, affine=True):
    """(the input of the norm, its output, values of all leaves)."""
    x, w, b = State("x", (N, I)), parameter("w", I, K), parameter("b", K)
    mean, var, g, h = State("mean", (K,)), State("var", (K,)), parameter("gamma", K), parameter("beta", K)
    values = {x: draw(N * I, 1), w: draw(I * K, 2), b: draw(K, 3), mean: draw(K, 4, -5, 5), var: draw(K, 5, 1e-3, 4),
              g: draw(K, 6, -2, 2), h: draw(K, 7)}
    z = ops.dense(x, w, b if bias else None)
    return z, ops.batch_norm_fixed(z, mean, var, *((g, h) if affine else (None, None)), eps=1e-3), values


def names(node):
    return [i.op for i in compile_tape("t", 1, [], {"y": node}, Layout()).instructions]


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_folded_and_unfolded_agree_within_the_bound(bias, affine):
    """Let T = sum |x w|, a the factor of the channel (the same bits in both), z the product, c = (b - mean) a + beta. Unfolded:
    |a| (gamma_I T + u |z| for the bias + u |z - mean|) + u |y|. Folded: |a| (gamma_I + u) T for chain and scaled weights, |a| u
    |b - mean| + u |c| for the bias, u |y| for adding it. In float64 both are the same to 2^-29 of that."""
    z, y, values = network(bias, affine)
    (folded,) = fold([y])
    found = {real: run_values([], {"y": y, "f": folded, "z": z}, values, real=real)[2]() for real in ("f32", "f64")}
    leaf = {k.name: v for k, v in values.items()}
    for i in range(N):
        for k in range(K):
            at, b = i * K + k, leaf["b"][k] if bias else 0.0
            a = (leaf["gamma"][k] if affine else 1) / (leaf["var"][k] + 1e-3) ** 0.5
            T = sum(abs(leaf["x"][i * I + j] * leaf["w"][j * K + k]) for j in range(I))
            mean, shift = leaf["mean"][k], leaf["beta"][k] if affine else 0.0
            exact_z, exact_y = found["f64"]["z"][at], found["f64"]["y"][at]
            size = abs(a) * ((2 * gamma_n(I) + 1) * T + abs(exact_z) + abs(exact_z - mean) + abs(b - mean))
            bound = 1.01 * (size + abs((b - mean) * a + shift) + 2 * abs(exact_y)) * U
            assert abs(found["f32"]["y"][at] - found["f32"]["f"][at]) <= bound
            assert abs(found["f64"]["y"][at] - found["f64"]["f"][at]) <= bound * 2.0**-29
    assert found["f32"]["y"] != found["f32"]["f"]  # the bits do change


def test_the_normalisation_is_gone_and_the_activation_fused():
    _, y, _ = network()
    (folded,) = fold([ops.relu(y)])
    assert names(folded) == ["batch_norm_fixed_fwd", "batch_norm_fixed_fwd", "dense_fwd"]
    assert names(ops.relu(y)) == ["dense_fwd", "batch_norm_fixed_fwd", "relu_fwd"]


def test_what_cannot_be_folded_stays():
    z, y, _ = network()
    assert fold([y, z])[0] is y  # somebody else reads the product
    x = State("x", (N, K))
    alone = ops.batch_norm_fixed(x, State("mean", (K,)), State("var", (K,)), None, None)
    assert fold([alone]) == [alone]
    trained = ops.batch_norm(ops.dense(x, parameter("w", K, K), None), None, None)
    assert fold([trained]) == [trained]


def test_the_rest_of_the_graph_is_carried_over():
    """Views, further outputs and two pairs in a row."""
    _, y, values = network()
    w, mean, var = parameter("w2", K, 4), State("mean2", (4,)), State("var2", (4,))
    values.update({w: draw(K * 4, 8), mean: draw(4, 9), var: draw(4, 10, 0.5, 2)})
    z = ops.batch_norm_fixed(ops.dense(ops.reshape(ops.relu(y), (N, K)), w, None), mean, var, None, None)
    out = ops.layer_norm(z, None, None)
    folded = fold([out.output(1), out])
    assert sum(name == "dense_fwd" for name in names(folded[1])) == 2
    found = run_values([], {"y": out, "f": folded[1], "m": out.output(1), "n": folded[0]}, values)[2]()
    assert found["f"] == pytest.approx(found["y"], abs=1e-12) and found["n"] == pytest.approx(found["m"], abs=1e-12)
