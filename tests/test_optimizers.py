"""How the update rules behave over many steps: they descend, forget, correct and flush as their papers say; schedules
against their closed forms. That one step is the formula, on every ISA, is test_ops.py's; the rules run here one op at a
time, as a tape would run them.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator

import pytest

from nncore._ffi import lib
from nncore.bench.cases import Call, changed, given, made
from tests.harness import OpFault, isa, run_op  # noqa: F401

U = 2.0**-24
TINY = 2.0**-126  # the smallest normal float: states below it become +0

# ---- one optimizer --------------------------------------------------------------------------------------------------

#             states, rates behind the gradient, dims behind n, scalars
RULES = {
    "sgd": (0, (0.1,), (), ()),
    "momentum": (1, (0.02, 0.9), (), ()),
    "nesterov": (1, (0.02, 0.9), (), ()),
    "adagrad": (1, (0.5,), (0,), (1e-8,)),
    "rmsprop": (1, (0.01,), (0,), (0.9, 1e-8)),
    "adadelta": (2, (1.0,), (), (0.95, 1e-6)),
    "adam": (2, (0.05,), (), (0.9, 0.999, 1e-8, 0.0)),
}
EVERY = pytest.mark.parametrize("op", RULES)
REALS = pytest.mark.parametrize("real", ("f32", "f64"))


class Optimizer:
    """The parameters w of one optimizer and its states, all 0 at first; step(g) updates them by one op."""

    def __init__(self, op: str, w: list[float], real: str = "f32", level: str = "best", **replace):
        self.op, self.real, self.level, self.count = op, real, level, replace.get("count", 0)
        states, rates, dims, scalars = RULES[op]
        self.rates, self.dims = replace.get("rates", rates), replace.get("dims", dims)
        self.scalars = replace.get("scalars", scalars)
        self.values = [list(w), *(list(s) for s in replace.get("states", [[0.0] * len(w)] * states))]

    @property
    def w(self) -> list[float]:
        return self.values[0]

    def step(self, g: list[float]) -> list[float]:
        args = [changed(v) for v in self.values] + [given(g)] + [given([r], "f64") for r in self.rates]
        if self.op == "adam":
            args.append(given([self.count], "i64"))
        call = Call(args, (len(g), *self.dims), self.scalars)
        self.values = [list(v) for v in run_op(self.op, call, self.level, real=self.real)]
        self.count += 1
        return self.w


def f32(x: float) -> float:
    return array("f", [x])[0]


# ---- descent --------------------------------------------------------------------------------------------------------


@EVERY
@REALS
def test_finds_the_minimum_of_a_quadratic(op, real):
    """f = (w1^2 + 10 w2^2) / 2 from (1, -2), f = 20.5: 400 steps, adadelta 1500, which starts from steps of 1e-3."""
    optimizer = Optimizer(op, [1.0, -2.0], real)
    f = [20.5]
    for _ in range(1500 if op == "adadelta" else 400):
        w1, w2 = optimizer.w
        optimizer.step([w1, 10 * w2])
        f.append((optimizer.w[0] ** 2 + 10 * optimizer.w[1] ** 2) / 2)
    assert f[-1] < 1e-3 and min(f[: len(f) // 2]) < 0.1 * f[0]


@pytest.mark.parametrize("op", ("momentum", "nesterov"))
def test_velocity_speeds_up_a_narrow_valley(op):
    """Condition number 100, 100 steps: gradient descent contracts by 0.99 a step, a velocity by nearly sqrt(mu)."""

    def left(name: str, rates: tuple) -> float:
        optimizer = Optimizer(name, [1.0, 1.0], "f64", rates=rates)
        for _ in range(100):
            optimizer.step([0.01 * optimizer.w[0], optimizer.w[1]])
        return math.hypot(*optimizer.w)

    assert left("sgd", (1.0,)) == pytest.approx(0.99**100)
    assert left(op, (1.0, 0.8)) < 0.05


def test_momentum_is_a_sum_of_old_gradients():
    """A constant gradient: after k steps v = -rate g (1 - mu^k) / (1 - mu)."""
    optimizer = Optimizer("momentum", [0.0], "f64")
    for k in range(1, 60):
        optimizer.step([3.0])
        assert optimizer.values[1][0] == pytest.approx(-0.02 * 3 * (1 - 0.9**k) / 0.1, rel=1e-13)


def test_nesterov_is_the_looked_ahead_gradient():
    """Nesterov's own form, v' = mu v - rate g(theta + mu v), theta' = theta + v', walks where w = theta + mu v says."""
    a, mu, rate = (1.0, 10.0), 0.9, 0.02
    theta, v = [1.0, -2.0], [0.0, 0.0]
    optimizer = Optimizer("nesterov", theta, "f64", rates=(rate, mu))
    for _ in range(100):
        optimizer.step([ai * w for ai, w in zip(a, optimizer.w, strict=True)])
        for i in range(2):
            v[i] = mu * v[i] - rate * a[i] * (theta[i] + mu * v[i])
            theta[i] += v[i]
            assert optimizer.w[i] == pytest.approx(theta[i] + mu * v[i], abs=1e-13)


def test_no_velocity_is_gradient_descent():
    """mu = 0: the same value; momentum rounds twice where sgd's fma rounds once."""
    for op in ("momentum", "nesterov"):
        w = Optimizer(op, [0.3, -7.0, 1e-3], rates=(0.1, 0.0)).step([1.7, 0.3, -9.0])
        want = Optimizer("sgd", [0.3, -7.0, 1e-3], rates=(0.1,)).step([1.7, 0.3, -9.0])
        assert w == pytest.approx(want, rel=2 * U, abs=2 * U)


def test_adagrad_slows_down_as_one_over_the_root():
    """A constant gradient: r = k g^2, so step k is rate / sqrt(k), whatever the gradient's size."""
    optimizer = Optimizer("adagrad", [0.0, 0.0], "f64", rates=(0.5,), scalars=(0.0,))
    for k in range(1, 50):
        before = list(optimizer.w)
        optimizer.step([7.0, -1e-3])
        assert optimizer.w[0] - before[0] == pytest.approx(-0.5 / math.sqrt(k), rel=1e-11)
        assert optimizer.w[1] - before[1] == pytest.approx(0.5 / math.sqrt(k), rel=1e-11)


def test_rmsprop_forgets():
    """r tends to g^2 as 1 - rho^k: the step tends to the rate."""
    optimizer = Optimizer("rmsprop", [0.0], "f64")
    for k in range(1, 200):
        optimizer.step([4.0])
        assert optimizer.values[1][0] == pytest.approx(16 * (1 - 0.9**k), rel=1e-12)
    before = optimizer.w[0]
    assert before - optimizer.step([4.0])[0] == pytest.approx(0.01, rel=1e-8)


@pytest.mark.parametrize("op", ("adagrad", "rmsprop"))
def test_where_epsilon_stands(op):
    """Inside the root (the lectures) or outside (torch), told apart by a gradient as small as eps."""
    eps, g = 1e-4, 1e-4
    share = 1.0 if op == "adagrad" else 0.1
    scalars = (eps,) if op == "adagrad" else (0.9, eps)
    for outside, root in ((0, math.sqrt(share * g * g + eps)), (1, math.sqrt(share * g * g) + eps)):
        w = Optimizer(op, [0.0], "f64", rates=(1.0,), dims=(outside,), scalars=scalars).step([g])
        assert w[0] == pytest.approx(-g / root, rel=1e-12)


def test_adadelta_starts_from_epsilon():
    """Zeiler's first step: sqrt(eps) / sqrt((1 - rho) g^2 + eps) g; its rate is a plain factor."""
    want = -math.sqrt(1e-6) / math.sqrt(0.05 * 9 + 1e-6) * 3
    for rate in (1.0, 0.5):
        w = Optimizer("adadelta", [0.0], "f64", rates=(rate,)).step([3.0])
        assert w[0] == pytest.approx(rate * want, rel=1e-13)


# ---- Adam -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", (0, 1, 2, 9, 99, 999, 100_000))
def test_bias_corrections_cancel(count, isa):  # noqa: F811
    """States that a constant gradient has brought about, 1 - beta^count of it: the corrected step is rate sign(g).

    In float32 seven roundings are left (the cases' bound); with 1 - 0.999f in float the first step would be off by
    -6.4e-6, half of E13's -1.2875e-5, more than ten times what is allowed here.
    """
    for g in (1e-3, 1.0, -700.0):
        states = [[f32(g * (1 - 0.9**count))], [f32(g * g * (1 - 0.999**count))]]
        scalars = (0.9, 0.999, 0.0, 0.0)
        adam = Optimizer("adam", [0.0], level=isa, rates=(1.0,), scalars=scalars, states=states, count=count)
        assert adam.step([f32(g)])[0] == pytest.approx(-math.copysign(1, g), rel=9 * U)
    assert 9 * U < 6.4e-6 / 10


def test_adam_over_many_steps_is_the_paper():
    """200 steps in double against algorithm 1 as printed, with a gradient that changes."""
    alpha, b1, b2, eps = 0.05, 0.9, 0.999, 1e-8
    adam = Optimizer("adam", [1.0], "f64")
    w, m, v = 1.0, 0.0, 0.0
    for t in range(1, 201):
        g = math.sin(t) + 0.3 * w
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        w -= alpha * (m / (1 - b1**t)) / (math.sqrt(v / (1 - b2**t)) + eps)
        assert adam.step([math.sin(t) + 0.3 * adam.w[0]])[0] == pytest.approx(w, rel=1e-10, abs=1e-11)


@REALS
def test_adamw_decays_apart_from_the_gradient(real):
    """No gradient: w shrinks by rate * decay and nothing else; with one, the decay adds to the same step."""
    scalars = (0.9, 0.999, 1e-8, 0.25)
    u = 2.0**-53 if real == "f64" else U
    alone = Optimizer("adam", [2.0, -3.0], real, rates=(0.1,), scalars=scalars).step([0.0, 0.0])
    assert alone == pytest.approx([2.0 * 0.975, -3.0 * 0.975], rel=2 * u)
    both = Optimizer("adam", [2.0, -3.0], real, rates=(0.1,), scalars=scalars).step([5.0, -5.0])
    assert both == pytest.approx([2.0 * 0.975 - 0.1, -3.0 * 0.975 + 0.1], rel=1e-6 if real == "f32" else 1e-8)


def test_decay_has_no_bias():
    """w <- (1 - zeta) w, 5000 times: the error stays a random walk, not 5000 times the rounding of 1 - zeta.

    1 - 1e-5 rounded to float32 may be off by 3e-8, 5000 such factors by 1.5e-4. Here each step rounds once, by at most
    u and to either side: 5000 u = 3e-4 at the very worst, sqrt(5000) u = 4e-6 in practice, less over 64 weights.
    """
    w = [1.0 + i / 64 for i in range(64)]
    start = list(w)
    for _ in range(5000):
        w = list(run_op("decay", Call([changed(w)], (64,), (1e-5,)))[0])
    ratios = [a / b for a, b in zip(w, start, strict=True)]
    assert sum(ratios) / 64 == pytest.approx((1 - f32(1e-5)) ** 5000, rel=4e-6)


# ---- the flush ------------------------------------------------------------------------------------------------------

STATEFUL = [op for op, rule in RULES.items() if rule[0]]


def _bits(x: float) -> tuple[float, float]:
    return x, math.copysign(1, x)


@pytest.mark.parametrize("real", ("f32", "f64"))
def test_states_below_the_threshold_become_zero(real, isa):  # noqa: F811
    """mu = 1/2 halves exactly: 2^-126 stays, everything below it is +0, also on the twin, also if negative."""
    old = [2 * TINY, -2 * TINY, TINY, -TINY, 2.5 * TINY, 1.9 * TINY, -0.0, 1.0]
    want = [TINY, -TINY, 0.0, 0.0, 1.25 * TINY, 0.0, 0.0, 0.5]
    for level in (isa, "reference"):
        momentum = Optimizer("momentum", [0.0] * 8, real, level, rates=(0.1, 0.5), states=[old])
        momentum.step([0.0] * 8)
        assert list(map(_bits, momentum.values[1])) == list(map(_bits, want))
        assert list(map(_bits, momentum.w)) == list(map(_bits, want))


@pytest.mark.parametrize("op", STATEFUL)
@REALS
def test_no_state_is_ever_subnormal(op, real, isa):  # noqa: F811
    """A gradient that stops: states decay for 100 steps from just above the threshold and end at 0, or stay normal."""
    states = [[k * TINY for k in (1.0, 1.5, 3.0, 100.0, 3000.0)]] * RULES[op][0]
    optimizer = Optimizer(op, [1.0] * 5, real, isa, states=states)
    for _ in range(100):
        optimizer.step([0.0] * 5)
        for state in optimizer.values[1:]:
            assert all(s == 0 or abs(s) >= TINY for s in state)
    if op in ("momentum", "nesterov", "rmsprop"):
        assert optimizer.values[1] == [0.0] * 5


def test_tiny_gradients_leave_no_second_moment(isa):  # noqa: F811
    """g = 1e-20: g^2 is not representable, v stays +0, and the step is a m / eps, finite."""
    adam = Optimizer("adam", [0.0], level=isa)
    w = adam.step([1e-20])
    assert adam.values[2] == [0.0] and w[0] == pytest.approx(-0.05 * 1e-20 / 1e-8, rel=1e-5)


# ---- NaN and infinities ---------------------------------------------------------------------------------------------


@EVERY
@REALS
def test_nan_reaches_the_weight_and_only_it(op, real, isa):  # noqa: F811
    """A NaN gradient is not lost by the flush or a comparison, and its neighbours do not notice."""
    for level in (isa, "reference"):
        clean = Optimizer(op, [1.0] * 19, real, level)
        clean.step([0.5] * 19)
        for bad in (math.nan, math.inf, -math.inf):
            g = [0.5] * 19
            g[3] = g[17] = bad
            optimizer = Optimizer(op, [1.0] * 19, real, level)
            w = optimizer.step(g)
            for i in range(19):
                assert math.isfinite(w[i]) == (i not in (3, 17))
                assert i in (3, 17) or w[i] == clean.w[i]
            assert bad == bad or (w[3] != w[3] and all(s[3] != s[3] for s in optimizer.values[1:]))


# ---- rates ----------------------------------------------------------------------------------------------------------


def test_rates_are_rounded_once():
    """0.1 is rounded to float32 before the product, as for a float32 rate; the twin keeps all of it."""
    w = {real: Optimizer("sgd", [0.0], real).step([3.0])[0] for real in ("f32", "f64")}
    assert w["f32"] == f32(-f32(0.1) * 3.0) and w["f64"] == -0.1 * 3.0


# ---- schedules ------------------------------------------------------------------------------------------------------


def value(kind: int, t: int, scalars=(), n: int = 0, table=None, level: str = "best", threads: int = 1) -> float:
    extra = [given(table, "f64")] if table else []
    call = Call([made(1, "f64"), given([t], "i64"), *extra], (kind, n), scalars)
    return run_op("schedule", call, level, threads)[0][0]


def one_cycle(t: int, total: float, peak: float = 0.3) -> float:
    return value(lib.NN_SCHEDULE_ONE_CYCLE, t, (peak, 10.0, 10_000.0, 0.45, 0.45, float(total)))


def test_constant_and_power():
    assert [value(lib.NN_SCHEDULE_CONSTANT, t, (0.3,)) for t in (0, 7, 10**12)] == [0.3] * 3
    assert [value(lib.NN_SCHEDULE_POWER, t, (0.8, 100.0)) for t in (0, 100, 300, 700)] == [0.8, 0.4, 0.2, 0.1]


def test_exponential_loses_a_digit_every_s_steps():
    for t in (0, 50, 100, 200, 1000, 1234):
        assert value(lib.NN_SCHEDULE_EXPONENTIAL, t, (0.5, 100.0)) == pytest.approx(0.5 * 10 ** (-t / 100), rel=1e-14)
    assert value(lib.NN_SCHEDULE_EXPONENTIAL, 0, (0.5, 100.0)) == 0.5


def test_piecewise_changes_at_its_boundaries():
    """The value behind a boundary holds from that very step on; a table of any length, or the scalars."""
    want = {0: 1.0, 9: 1.0, 10: 0.1, 11: 0.1, 99: 0.1, 100: 0.01, 10**6: 0.01}
    for t, v in want.items():
        assert value(lib.NN_SCHEDULE_PIECEWISE, t, (10.0, 100.0, 1.0, 0.1, 0.01), 2) == v
        assert value(lib.NN_SCHEDULE_PIECEWISE, t, (), 2, [10.0, 100.0, 1.0, 0.1, 0.01]) == v
    table = [*map(float, range(1, 101)), *map(float, range(101))]
    assert [value(lib.NN_SCHEDULE_PIECEWISE, t, (), 100, table) for t in (0, 1, 50, 100, 101)] == [0, 1, 50, 100, 100]


def test_one_cycle_is_three_lines():
    """peak/10 -> peak over 45 %, back over 45 %, to peak/10000 over the last 10 %: corners, middles, end, monotone."""
    end = 0.00003
    corners = {0: 0.03, 225: 0.165, 450: 0.3, 675: 0.165, 900: 0.03, 950: (0.03 + end) / 2, 1000: end, 5000: end}
    for t, v in corners.items():
        assert one_cycle(t, 1000) == pytest.approx(v, rel=1e-13)
    v = [one_cycle(t, 1000) for t in range(0, 1010, 10)]
    assert v[:46] == sorted(v[:46]) and v[45:] == sorted(v[45:], reverse=True) and max(v) == v[45] == 0.3


def test_one_cycle_of_a_very_short_run():
    """Every total gives values between the ends, one step gives the first: no division by nothing."""
    assert one_cycle(0, 1) == pytest.approx(0.03)
    for total in (1, 2, 3, 7, 10):
        assert all(0.3 / 10_000 <= one_cycle(t, total) <= 0.3 for t in range(total + 2))
    flat = (0.3, 10.0, 100.0, 0.5, 0.5, 10.0)  # no last leg
    assert value(lib.NN_SCHEDULE_ONE_CYCLE, 9, flat) == pytest.approx(0.03 + 0.27 * 0.2)
    assert value(lib.NN_SCHEDULE_ONE_CYCLE, 10, flat) == pytest.approx(0.003)


def test_cosine():
    scalars = (0.4, 0.01, 200.0)
    for t in range(0, 201, 10):
        want = 0.01 + 0.39 * (1 + math.cos(math.pi * t / 200)) / 2
        assert value(lib.NN_SCHEDULE_COSINE, t, scalars) == pytest.approx(want, abs=1e-16)
    assert value(lib.NN_SCHEDULE_COSINE, 0, scalars) == 0.4
    assert [value(lib.NN_SCHEDULE_COSINE, t, scalars) for t in (200, 201, 10**9)] == [0.01] * 3
    assert value(lib.NN_SCHEDULE_COSINE, 199, (0.4, 0.0, 200.0)) > 0


def _all_kinds() -> Iterator[tuple[int, tuple, int]]:
    yield lib.NN_SCHEDULE_POWER, (0.3, 77.0), 0
    yield lib.NN_SCHEDULE_EXPONENTIAL, (0.3, 77.0), 0
    yield lib.NN_SCHEDULE_ONE_CYCLE, (0.3, 10.0, 10_000.0, 0.45, 0.45, 313.0), 0
    yield lib.NN_SCHEDULE_COSINE, (0.3, 0.001, 313.0), 0


def test_schedules_have_the_same_bits_everywhere(isa):  # noqa: F811
    for kind, scalars, n in _all_kinds():
        for t in range(0, 330, 7):
            want = value(kind, t, scalars, n)
            assert value(kind, t, scalars, n, level=isa, threads=3) == want
            assert value(kind, t, scalars, n, level="reference") == want


def test_unknown_schedules_are_refused():
    for kind, n in ((6, 0), (-1, 0), (lib.NN_SCHEDULE_PIECEWISE, -1), (lib.NN_SCHEDULE_PIECEWISE, lib.NN_MAX_SCALARS)):
        with pytest.raises(OpFault) as caught:
            value(kind, 0, (1.0,), n)
        assert caught.value.code == lib.NN_ERR_ARGUMENT


def test_count_counts():
    (count,) = run_op("increment", Call([changed([41], "i64")], ()), threads=3)
    assert list(count) == [42]
