"""Cases of csrc/ops/elementwise.c."""

from __future__ import annotations

from nncore.bench.cases import EXACT, Bound, Call, Case, counts, data, given, made, pointwise, ulps

IN_PLACE = ((0, 1),)
EITHER = ((0, 1), (0, 2))
BENCH = ((200_704,),)  # the weights of 784-256


def _scale_by(size, kind, rng) -> Call:
    (n,) = size
    return Call([made(n), given(data(n, kind, rng)), given(data(1, "normal", rng))], (n,))


def _positive(size, kind, rng) -> Call:
    """Arguments of either sign only among the special values: elsewhere they lie where the function does."""
    (n,) = size
    values = data(n, kind, rng)
    return Call([made(n), given(values if kind == "special" else [abs(v) for v in values])], (n,))


def _fill(size, kind, rng) -> Call:
    return Call([made(size[0])], size, (0.1,))


def _add_scaled(call, exact):
    """One rounding of the sum (u |y|), and c's own, which the product carries over: u |c b|."""
    c = abs(call.scalars[0])
    return [[1.01 * (abs(y) + c * abs(b)) for y, b in zip(exact[0], call.values(2), strict=True)]]


def _add_sign(call, exact):
    c = abs(call.scalars[0])
    return [[1.01 * (abs(y) + c) for y in exact[0]]]


CASES = [
    Case("add", pointwise(2), counts(), ulps(0.5, "one rounding"), alias=EITHER, bench=BENCH),
    Case("sub", pointwise(2), counts(), ulps(0.5, "one rounding"), alias=EITHER, bench=BENCH),
    Case("mul", pointwise(2), counts(), ulps(0.5, "one rounding"), alias=EITHER, bench=BENCH),
    Case("scale", pointwise(1, (-0.3,)), counts(), ulps(1, "the constant's rounding and the product's"),
         alias=IN_PLACE, bench=BENCH),
    Case("scale_by", _scale_by, counts(), ulps(0.5, "one rounding"), alias=IN_PLACE, bench=BENCH),
    Case("add_scaled", pointwise(2, (0.1,)), counts(), Bound("u |y| for the fma, u |c b| for c", _add_scaled),
         alias=EITHER, bench=BENCH, flop=lambda n: 2 * n),
    Case("add_sign", pointwise(2, (0.1,)), counts(), Bound("u |y| for the sum, u |c| for c", _add_sign),
         alias=EITHER, bench=BENCH),
    Case("assign", pointwise(1), counts(), EXACT, alias=IN_PLACE, flop=lambda n: 0, bench=BENCH),
    Case("quotient", pointwise(2), counts(), ulps(0.5, "one rounding"), alias=EITHER, bench=BENCH),
    Case("square_root", _positive, counts(), ulps(0.5, "one rounding"), alias=IN_PLACE, bench=BENCH),
    Case("exponential", pointwise(1), counts(), ulps(2, "within 2 ulp"), alias=IN_PLACE, bench=BENCH,
         flop=lambda n: 12 * n),
    Case("logarithm", _positive, counts(), ulps(2, "within 2 ulp"), alias=IN_PLACE, bench=BENCH,
         flop=lambda n: 22 * n),
    Case("error_function", pointwise(1), counts(), ulps(2, "within 2 ulp"), alias=IN_PLACE, bench=BENCH,
         flop=lambda n: 80 * n),
    Case("fill", _fill, counts(), EXACT, kinds=("zero",), flop=lambda n: 0, bench=BENCH),
]  # fmt: skip
