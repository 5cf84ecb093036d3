"""The lectures' worked examples (definitions.md) and hand-set networks, through the public door."""

import random
from array import array
from math import sqrt

import pytest

import nncore as nn
from nncore.graph import ops
from nncore.tensor import Tensor
from tests.gradcheck import flat, parameter, run_values


def rows(*values, width):
    return Tensor((len(values) // width, width), "f32", array("f", values))


def test_the_neuron_whose_first_rounding_error_a_student_meets():
    """L = 1/2 (y - d)^2, y = sigmoid(w x + b): dL/dw1 = (y - d) y (1 - y) x1. With the lectures' rounded factors the
    gradient is -3.7 * 0.2 * 1 * 1 * 2 = -1.48 and w1 becomes 0.48 after one step of rate 1; unrounded, with
    p = sigmoid(-1), -1.46212 and 0.46212."""
    # d - y = 3.7311 where y = sigmoid(-1) = 0.26894: the target is 4; x1 = 2.
    w = parameter("w", 1, 1)
    z = ops.dense(x := parameter("x", 1, 1), w, None)
    y = ops.sigmoid(z)
    t = parameter("t", 1, 1)
    loss = ops.sum_all(ops.squared_error(y, t, factor=0.5))
    from nncore.graph.autodiff import gradients

    grad = gradients(loss, [w])[w]
    _, _, rerun = run_values([], {"g": grad, "y": y}, {w: [-0.5], x: [2.0], t: [4.0]})
    found = rerun()
    assert found["y"][0] == pytest.approx(0.2689414213699951, rel=1e-15)
    assert round(-3.7 * 0.2 * 1 * 1 * 2, 2) == -1.48
    assert found["g"][0] == pytest.approx((0.2689414213699951 - 4) * 0.2689414213699951 * (1 - 0.2689414213699951) * 2, rel=1e-14)


def test_least_squares_on_three_points():
    """((1,2),1), ((1,3),2), ((1,4),5) gives w = (-10/3, 2): full-batch descent finds it to 1e-5."""
    x, y = rows(1, 2, 1, 3, 1, 4, width=2), rows(1, 2, 5, width=1)
    model = nn.Sequential([nn.Dense(1, bias=False)], seed=1)
    model.fit((x, y), epochs=4000, batch=3, optimizer=nn.Momentum(0.02, 0.95), loss=nn.SquaredError())
    assert flat(model.parameter("0.weight")) == pytest.approx([-10 / 3, 2], abs=1e-5)


def test_adaline_finds_the_least_squares_solution():
    """Linear regression in four dimensions against the normal equations solved in exact rationals."""
    from fractions import Fraction

    rng = random.Random(4)
    data = [[float(round(rng.gauss(0, 1), 3)) for _ in range(3)] + [1.0] for _ in range(60)]
    target = [round(2 * r[0] - r[1] + 0.5 * r[2] + 0.25 + rng.gauss(0, 0.3), 3) for r in data]
    a = [[sum(Fraction(r[i]) * Fraction(r[j]) for r in data) for j in range(4)] for i in range(4)]
    b = [sum(Fraction(r[i]) * Fraction(t) for r, t in zip(data, target, strict=True)) for i in range(4)]
    for i in range(4):  # Gauss-Jordan
        for k in range(4):
            if k != i:
                f = a[k][i] / a[i][i]
                a[k] = [p - f * q for p, q in zip(a[k], a[i], strict=True)]
                b[k] -= f * b[i]
    exact = [float(b[i] / a[i][i]) for i in range(4)]
    x = Tensor((60, 3), "f32", array("f", [v for r in data for v in r[:3]]))
    y = Tensor((60, 1), "f32", array("f", target))
    model = nn.Sequential([nn.Dense(1)], seed=0)
    model.fit((x, y), epochs=600, batch=60, optimizer=nn.Momentum(0.2, 0.8), loss=nn.SquaredError())
    assert flat(model.parameter("0.weight")) + flat(model.parameter("0.bias")) == pytest.approx(exact, abs=1e-5)


def test_logistic_regression_agrees_with_newtons_method():
    """An independent oracle: Newton's iteration in double on the same 80 points (Bishop 2006, section 4.3.3)."""
    import numpy as np

    rng = random.Random(6)
    data = [(rng.gauss(0, 1), rng.gauss(0, 1)) for _ in range(80)]
    labels = [int(1.5 * a - b + rng.gauss(0, 1) > 0.3) for a, b in data]
    X = np.array([[np.float32(a), np.float32(b), 1] for a, b in data], dtype=float)
    w, t = np.zeros(3), np.array(labels)
    for _ in range(30):
        p = 1 / (1 + np.exp(-X @ w))
        w -= np.linalg.solve(X.T @ (X * (p * (1 - p))[:, None]), X.T @ (p - t))
    x = Tensor((80, 2), "f32", array("f", [v for r in data for v in r]))
    y = Tensor((80, 1), "f32", array("f", labels))
    model = nn.Sequential([nn.Dense(1)], seed=0)
    model.fit((x, y), epochs=1500, batch=80, optimizer=nn.Momentum(1.0, 0.9), loss=nn.BinaryCrossEntropy())
    assert flat(model.parameter("0.weight")) + flat(model.parameter("0.bias")) == pytest.approx(list(w), abs=2e-4)


def test_the_coin():
    """The maximum-likelihood estimate of 1,1,0,0,1 is 3/5: a bias alone under cross-entropy learns it."""
    x, y = rows(0, 0, 0, 0, 0, width=1), rows(1, 1, 0, 0, 1, width=1)
    model = nn.Sequential([nn.Dense(1)], seed=0)
    model.fit((x, y), epochs=400, batch=5, optimizer=nn.SGD(2.0), loss=nn.BinaryCrossEntropy())
    logit = flat(model.logits(rows(0, width=1)))[0]
    from math import exp

    assert 1 / (1 + exp(-logit)) == pytest.approx(3 / 5, abs=1e-6)


def test_the_matrix_product_of_the_lectures():
    w, x = parameter("w", 3, 4), parameter("x", 1, 3)
    columns = [(2, -1, -1), (0, 2, 0), (-1, 0, 0), (1, 1, 0)]
    values = {x: [1, 0, 3], w: [columns[j][i] for i in range(3) for j in range(4)]}
    _, _, rerun = run_values([], {"y": ops.dense(x, w, None)}, values, real="f32")
    assert rerun()["y"] == [-1.0, 0.0, -1.0, 1.0]


def test_the_deviation_of_a_potential():
    """Weights U(-w, w) on n standardised inputs: the potential's deviation is sqrt(n/3) w."""
    n, w, units = 400, 0.3, 2000
    model = nn.Sequential([nn.Dense(units, bias=False, init=nn.init.Uniform(w))], seed=3, standardise="none")
    model.build((n,))
    x = Tensor((1, n), "f32", array("f", [1.0 if i % 2 else -1.0 for i in range(n)]))
    z = flat(model.logits(x))
    found = sqrt(sum(v * v for v in z) / units)
    # The deviation of a sample deviation is 1 / sqrt(2 units) = 1.6 %: four of them.
    assert found == pytest.approx(sqrt(n / 3) * w, rel=0.064)


def test_three_unit_steps_compute_xor():
    model = nn.examples.xor()
    assert model.predict(rows(0, 0, 0, 1, 1, 0, 1, 1, width=2)).tolist() == [[0.0], [1.0], [1.0], [0.0]]


def test_every_boolean_function_of_four_inputs():
    """All 65,536, as outputs of networks over the same sixteen hidden neurons, and a few as networks of their own."""
    x = Tensor((16, 4), "f32", array("f", [i >> (3 - k) & 1 for i in range(16) for k in range(4)]))
    for start in range(0, 1 << 16, 1 << 14):
        tables = [[f >> i & 1 for i in range(16)] for f in range(start, start + (1 << 14))]
        y = nn.examples.boolean(tables).logits(x).view()
        flat_y = y.cast("B").cast("f")
        for i in range(16):
            assert flat_y[i << 14 : (i + 1) << 14].tolist() == [t[i] for t in tables]
    for f in (0, 1, 0x6996, 0x8000, 0xFFFF, 0x1234):
        table = [f >> i & 1 for i in range(16)]
        assert [v for (v,) in nn.examples.boolean(table).predict(x).tolist()] == table


@pytest.mark.parametrize("table", [[], [0], [0, 1, 1], [0, 2]])
def test_a_table_that_is_none_is_refused(table):
    with pytest.raises(nn.UsageError, match="truth table"):
        nn.examples.boolean(table)


XOR = ([0, 0, 0, 1, 1, 0, 1, 1], [0, 1, 1, 0])
ACTIVATIONS = [nn.ReLU(), nn.LeakyReLU(), nn.ELU(), nn.SELU(), nn.Softplus(), nn.GELU(), nn.Sigmoid(), nn.Tanh(),
               nn.Tanh(a=1.7159, b=2 / 3), nn.SaturatedLinear()]


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 42])
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
def test_xor_is_learned(activation, seed):
    """2-8-1 solves XOR from each of the five seeds."""
    x, y = Tensor((4, 2), "f32", array("f", XOR[0])), Tensor((4, 1), "f32", array("f", XOR[1]))
    model = nn.Sequential([nn.Dense(8), activation, nn.Dense(1)], seed=seed, standardise="feature")
    model.fit((x, y), epochs=1000, batch=4, optimizer=nn.Adam(nn.OneCycle(0.1)), loss=nn.MSE(), executor=nn.Executor(threads=1))
    assert [round(v) for (v,) in model.predict(x).tolist()] == XOR[1]
    assert flat(model.logits(x)) == pytest.approx(XOR[1], abs=1e-3)


