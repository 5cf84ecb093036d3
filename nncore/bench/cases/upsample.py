"""Cases of csrc/ops/upsample.c: sizes are (N, H, W, C) of the small image; the factors are the case's variant."""

from __future__ import annotations

import math

from nncore.bench.cases import EXACT, Bound, Call, Case, data, gamma, given, made

FACTORS = {"2x2": (2, 2), "3x1": (3, 1), "1x4": (1, 4), "5x3": (5, 3)}
SIZES = ((0, 3, 3, 5), (1, 2, 2, 1), (2, 3, 1, 3), (1, 1, 4, 6), (1, 3, 3, 8), (1, 3, 2, 15), (2, 2, 3, 16), (1, 2, 3, 17),
         (1, 3, 3, 20), (1, 2, 2, 65))  # fmt: skip
BENCH = ((128, 14, 14, 32), (128, 7, 7, 64), (128, 14, 14, 20), (8, 14, 14, 64))


def forward(factors):
    def make(size, kind, rng):
        n = math.prod(size)
        return Call([made(n * math.prod(factors)), given(data(n, kind, rng))], (*size, *factors))

    return make


def backward(factors):
    def make(size, kind, rng):
        n = math.prod(size)
        return Call([made(n), given(data(n * math.prod(factors), kind, rng))], (*size, *factors))

    return make


def weights(size, factor):
    """For every output the {input: weight} along one axis."""
    found = []
    for o in range(size * factor):
        s = min(max((o + 0.5) / factor - 0.5, 0.0), size - 1.0)
        i = min(int(s), size - 1)
        found.append({i: 1 - (s - i), **({i + 1: s - i} if s > i else {})})
    return found


def reach(call, by_output):
    """(sum |weight value|, number of taps) for every element of the output, value being the input's."""
    N, H, W, C, fh, fw = call.dims
    found, value = [[0.0, 0] for _ in range(call.args[0].count)], call.values(1)
    for n in range(N):
        for o, rows in enumerate(weights(H, fh)):
            for u, columns in enumerate(weights(W, fw)):
                y = ((n * H * fh + o) * W * fw + u) * C
                for i, a in rows.items():
                    for j, b in columns.items():
                        x = ((n * H + i) * W + j) * C
                        to, of = (y, x) if by_output else (x, y)
                        for k in range(C):
                            found[to + k][0] += a * b * abs(value[of + k])
                            found[to + k][1] += 1
    return found


def copies(call, exact):
    N, H, W, C, fh, fw = call.dims
    sums, dy = [0.0] * (N * H * W * C), call.values(1)
    for y, v in enumerate(dy):
        row, u, k = y // (C * W * fw), y // C % (W * fw), y % C
        sums[(row // fh * W + u // fw) * C + k] += abs(v)  # rows of an image are a multiple of fh
    return [[gamma(fh * fw - 1) * s for s in sums]]


def linear(by_output):
    return lambda call, exact: [[(gamma(n) + 1.02) * s for s, n in reach(call, by_output)]]


def _cases():
    kinds = {
        "upsample_nearest_fwd": (forward, EXACT, 0),
        "upsample_nearest_bwd": (backward, Bound("gamma_{n-1} sum |dy| over n copies", copies), 1),
        "upsample_bilinear_fwd": (forward, Bound("gamma_n, the weight rounded", linear(True), tiny=8), 8),
        "upsample_bilinear_bwd": (backward, Bound("gamma_n, the weight rounded", linear(False), tiny=64), 8),
    }  # fmt: skip
    for op, (make, bound, flop) in kinds.items():
        for variant, factors in FACTORS.items():
            per_pixel = flop * math.prod(factors)
            yield Case(op, make(factors), SIZES, bound, variant=variant, bench=BENCH if variant == "2x2" else (),
                       flop=lambda *size, n=per_pixel: n * math.prod(size))


CASES = list(_cases())
