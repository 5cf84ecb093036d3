"""Cases of csrc/ops/round.c. The float64 twin keeps x, so an output of float32 may differ from it by the format's spacing."""

from __future__ import annotations

import math

from nncore.bench.cases import UNIT, Bound, Call, Case, counts, data, given, made

NEAREST, UP, STOCHASTIC = 0, 2, 4
# precision, emin, emax, subnormals, saturate, rounding; the largest value
BF16 = (8, -126, 127, 1, 0, NEAREST)
BF16_SR = (8, -126, 127, 1, 0, STOCHASTIC)
FP16_UP = (11, -14, 15, 1, 0, UP)
FLUSHED = (24, -126, 127, 0, 0, NEAREST)


def _round(dims: tuple, largest: float):
    def make(size, kind, rng) -> Call:
        (n,) = size
        run = {"seed": rng.randrange(2**64), "step": rng.randrange(2**40)}
        return Call([made(n), given(data(n, kind, rng))], (n, *dims, rng.randrange(2**24)), (largest,), run)

    return make


def _spacing(call: Call, exact):
    """The distance of neighbours at x, of zero and 2^emin where subnormals are flushed; half of it to nearest."""
    precision, emin, _, subnormals, _, rounding = call.dims[1:7]
    share = 0.5 if rounding == NEAREST and subnormals else 1.0

    def at(x: float) -> float:
        if not math.isfinite(x):
            return 0.0
        exponent = math.frexp(x)[1] - 1 if x else emin
        below = 0 if subnormals else 2.0**emin if exponent < emin else 0
        return max(2.0 ** (max(exponent, emin) - precision + 1), below) * share / UNIT["f32"]

    return [[at(x) for x in exact[0]]]


BOUND = Bound("half the spacing to nearest, all of it in another direction", _spacing)
BENCH = ((200_704,),)
CASES = [
    Case("round_to", _round(BF16, 0.0), counts(), BOUND, alias=((0, 1),), variant="bf16", flop=lambda n: 0, bench=BENCH),
    Case("round_to", _round(BF16_SR, 0.0), counts(), BOUND, alias=((0, 1),), variant="bf16_stochastic", flop=lambda n: 0,
         bench=BENCH),
    Case("round_to", _round(FP16_UP, 65504.0), counts(), BOUND, alias=((0, 1),), variant="fp16_up", flop=lambda n: 0),
    Case("round_to", _round(FLUSHED, 0.0), counts(), BOUND, alias=((0, 1),), variant="fp32_flushed", flop=lambda n: 0),
]  # fmt: skip
