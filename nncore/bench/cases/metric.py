"""Cases of csrc/ops/metric.c and loss_scale.c. Sizes are (rows, classes). Integers, and sums whose order is fixed: all exact."""

from __future__ import annotations

from nncore.bench.cases import EXACT, Call, Case, below, changed, data, given, made, shapes

KINDS = ("normal", "integer", "zero")  # integers and zeros for ties
SHAPES = shapes((33, 16), (17, 33), (40, 1))


def _metrics(given_labels: bool):
    def make(size, kind, rng) -> Call:
        N, C = size
        z = given(data(N * C, kind, rng)) if given_labels else None
        labels = given(below(N, C, rng), "i32") if given_labels else None
        loss = given(data(1, "lognormal", rng))
        return Call([changed([2.5, 7.0, 100.0, 0.0], "f64"), loss, z, labels], (N, C))

    return make


def _argmax(size, kind, rng) -> Call:
    N, C = size
    return Call([made(N, "i32"), given(data(N * C, kind, rng))], (N, C))


def _top_k(size, kind, rng) -> Call:
    N, C = size
    z, labels = given(data(N * C, kind, rng)), given(below(N, C, rng), "i32")
    return Call([changed([3.0], "f64"), z, labels], (N, C, min(C, 5)))


def _check_finite(size, kind, rng) -> Call:
    N, C = size
    return Call([given(data(N * C, kind, rng))], (N * C,))


def _all_finite(size, kind, rng) -> Call:
    N, C = size
    return Call([made(1), given(data(N * C, kind, rng)), given([float(rng.randrange(2))]) if N % 2 else None], (N * C,))


def _loss_scale(size, kind, rng) -> Call:
    good, interval = size
    counts = changed([good, rng.randrange(9), rng.randrange(2)], "i64")
    return Call([changed([2.0 ** rng.randrange(-9, 20)]), counts, given([float(rng.randrange(3) > 0)])], (interval,))


BENCH = ((128, 10), (10_000, 10))
CASES = [
    Case("metrics", _metrics(True), SHAPES, EXACT, kinds=KINDS, bench=BENCH),
    Case("metrics", _metrics(False), ((3, 2),), EXACT, kinds=("normal",), variant="loss_only"),
    Case("argmax", _argmax, SHAPES, EXACT, kinds=KINDS, bench=BENCH),
    Case("top_k", _top_k, SHAPES, EXACT, kinds=KINDS, bench=BENCH),
    Case("check_finite", _check_finite, SHAPES, EXACT, kinds=("normal", "zero"), special=False, bench=((128, 784),)),
    Case("all_finite", _all_finite, SHAPES, EXACT, kinds=("normal", "zero"), special=False, bench=((128, 784),)),
    Case("loss_scale", _loss_scale, ((0, 0), (3, 0), (3, 4), (1, 4), (4, 4), (7, 2)), EXACT, kinds=("normal", "zero"),
         special=False),
]
