"""Cases of csrc/ops/dropout.c. Sizes are (rows, features), or (samples, pixels, channels)."""

from __future__ import annotations

from nncore.bench.cases import Call, Case, data, given, made, shapes, ulps


def _dropout(p: float, per_step: int):
    def make(size, kind, rng) -> Call:
        N, D = size
        run = {"seed": rng.randrange(2**64), "step": rng.randrange(2**40)}
        return Call([made(N * D), given(data(N * D, kind, rng))], (N, D, rng.randrange(2**24), per_step), (p,), run)

    return make


def _spatial(p: float):
    def make(size, kind, rng) -> Call:
        n = size[0] * size[1] * size[2]
        run = {"seed": rng.randrange(2**64), "step": rng.randrange(2**40)}
        return Call([made(n), given(data(n, kind, rng))], (*size, rng.randrange(2**24)), (p,), run)

    return make


MAPS = ((0, 2, 3), (1, 1, 1), (3, 4, 5), (2, 9, 16), (5, 3, 17), (7, 2, 33), (3, 5, 64), (4, 1, 65), (2, 3, 513), (1, 2, 1100))
WHY = "the scale's rounding and the product's"
BENCH = ((128, 256), (100, 100), (1000, 1000))
CASES = [
    Case("dropout", _dropout(0.5, 0), shapes((9, 64), (2, 257)), ulps(1, WHY), alias=((0, 1),), bench=BENCH),
    Case("dropout", _dropout(0.3, 1), shapes((9, 64), (2, 257)), ulps(1, WHY), alias=((0, 1),), variant="per_step",
         bench=((128, 256),)),
    Case("spatial_dropout", _spatial(0.3), MAPS, ulps(1, WHY), alias=((0, 1),), bench=((128, 784, 32), (128, 49, 128))),
    Case("dropout", _dropout(0.0, 0), ((3, 7),), ulps(1, WHY), variant="none"),
]  # fmt: skip
