"""Cases of csrc/ops/schedule.c. The size is (count,)."""

from __future__ import annotations

import math

from nncore.bench.cases import Bound, Call, Case, given, made, ulps

CONSTANT, POWER, EXPONENTIAL, PIECEWISE, ONE_CYCLE, COSINE, RESTARTS, GEOMETRIC, WARM, MEAN = range(10)  # nn_schedule
STEPS = tuple((t,) for t in (0, 1, 2, 44, 45, 46, 89, 90, 91, 99, 100, 101, 5000))


def _schedule(kind: int, scalars: tuple = (), n: int = 0, table: tuple = ()):
    def make(size, kind_of_data, rng) -> Call:
        extra = [given(table, "f64")] if table else []
        return Call([made(1, "f64"), given(size, "i64"), *extra], (kind, n), scalars)

    return make


def _exponential(call, exact):
    """The exponent t / s is off by u, so the power by t / s ln 10 u; pow 2 (1 ulp) and the product 1 more."""
    e = call.values(1)[0] / call.scalars[1]
    return [[(4 + e * math.log(10)) * abs(y) for y in exact[0]]]


def _geometric(call, exact):
    """The ratio's rounding and the exponent's, by the power rule; pow 2 and the product 1 more."""
    e0, e1, T = call.scalars
    x = min(call.values(1)[0] / T, 1)
    return [[(4 + x * (1 + abs(math.log(e1 / e0)))) * abs(y) for y in exact[0]]]


def _straight(call, exact):
    """A few sums and products of numbers no larger than the first parameter."""
    return [[8 * abs(call.scalars[0])]]


def _case(variant: str, make, bound: Bound) -> Case:
    return Case("schedule", make, STEPS, bound, kinds=("normal",), special=False, variant=variant, flop=lambda t: 1)


CASES = [
    _case("constant", _schedule(CONSTANT, (0.1,)), Bound("copied")),
    _case("power", _schedule(POWER, (0.1, 30.0)), ulps(2, "two quotients and a sum")),
    _case("exponential", _schedule(EXPONENTIAL, (0.1, 30.0)), Bound("pow", _exponential)),
    _case("piecewise", _schedule(PIECEWISE, (2.0, 90.0, 0.1, 0.01, 0.001), 2), Bound("copied")),
    _case("piecewise_table", _schedule(PIECEWISE, (), 5, (1.0, 45.0, 46.0, 99.0, 101.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0)),
          Bound("copied")),
    _case("one_cycle", _schedule(ONE_CYCLE, (0.1, 10.0, 1e4, 0.45, 0.45, 100.0)),
          Bound("lines below the peak", _straight)),
    _case("cosine", _schedule(COSINE, (0.1, 0.001, 100.0)), Bound("cos and sums below e0", _straight)),
    _case("restarts", _schedule(RESTARTS, (0.1, 0.001, 45.0, 1.0)), Bound("cos and sums below e0", _straight)),
    _case("growing", _schedule(RESTARTS, (0.1, 0.001, 15.0, 2.0)), Bound("cos and sums below e0", _straight)),
    _case("geometric", _schedule(GEOMETRIC, (1e-6, 1.0, 100.0)), Bound("pow", _geometric)),
    _case("warm_average", _schedule(WARM, (0.125,)), ulps(4, "1 - (1 + t) / (10 + t) at its largest, and the quotient")),
    _case("running_mean", _schedule(MEAN, (45.0, 1.0)), ulps(0.5, "one quotient")),
    _case("running_mean_of_some", _schedule(MEAN, (44.0, 28.0)), ulps(0.5, "one quotient")),
]  # fmt: skip
