"""Cases of csrc/ops/average.c."""

from __future__ import annotations

from nncore.bench.cases import Bound, Call, Case, changed, counts, data, given, made, pointwise, ulps

BENCH = ((200_704,),)
CEILING = 0.7


def _clip(call, exact):
    """c's rounding where c is the answer, nothing where x is."""
    c = call.scalars[0]
    return [[1.01 * c if abs(y) >= c else 0.0 for y in exact[0]]]


def _factor(size, kind, rng) -> Call:
    return Call([made(1), given([size[0] / 16.0])], (), (2.0,))


def _blend(rate: float):
    def make(size, kind, rng) -> Call:
        (n,) = size
        return Call([changed(data(n, kind, rng)), given(data(n, kind, rng)), given([rate], "f64")], size)

    return make


def _blended(call, exact):
    (rate,) = call.values(2)
    rows = zip(call.values(0), call.values(1), exact[0], strict=True)
    return [[1.02 * (2 * rate * abs(w - e) + abs(y)) if rate != 1 else 0.0 for e, w, y in rows]]


WHY = "the difference and the rate, each over rate |w - e|, and the sum"
CASES = [
    Case("clip", pointwise(1, (CEILING,)), counts(), Bound("c, rounded once", _clip), alias=((0, 1),), bench=BENCH),
    Case("clip_factor", _factor, tuple((n,) for n in (0, 1, 16, 63, 64, 65, 100, 10**6)), ulps(1.01, "one quotient"),
         kinds=("normal",), special=False, flop=lambda n: 2),
    *(Case("blend", _blend(rate), counts(), Bound(WHY, _blended), variant=name, bench=() if name else BENCH,
           flop=lambda n: 3 * n) for name, rate in (("", 0.001), ("quarter", 0.25), ("copy", 1.0))),
]  # fmt: skip
