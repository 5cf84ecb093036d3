"""Cases of csrc/ops/layer_norm.c. Sizes are (rows, elements of one) or, for the weights, (rows, elements, shards)."""

from __future__ import annotations

from nncore.bench.cases import SPILL, Bound, Call, Case, data, gamma, given, made, shapes, steps16
from nncore.bench.cases.batch_norm import EPS, inverse_error, two_passes
from nncore.bench.cases.softmax import rows

WIDE = ((2, 4097), (1, 8200))  # more than one chunk of a row's sum
BENCH = ((128, 256), (8192, 64), (128, 25_088))


def _forward_call(affine):
    def make(size, kind, rng) -> Call:
        N, D = size
        parameters = [given(data(D, "normal", rng)) if affine else None for _ in range(2)]
        return Call([made(N * D), made(N), made(N), given(data(N * D, kind, rng)), *parameters], size, (EPS,))

    return make


def _forward(depth):
    """The statistics by two passes; y: those of z = (x - mean) inverse, three roundings, and the product and sum with beta."""

    def of(call, exact):
        D, out = call.dims[1], ([], [], [])
        g, b = (a.values if a else d for a, d in zip(call.args[4:6], ([1.0] * D, [0.0] * D), strict=True))
        for row, ys, mean, inverse in zip(rows(call.values(3), D), rows(exact[0], D), exact[1], exact[2], strict=True):
            dm, dS = two_passes(row, mean, depth(D))
            di = inverse_error(sum((v - mean) ** 2 for v in row) / D, 1.01 * dS / D)[1]
            out[0].extend(abs(c) * 1.01 * inverse * (dm + abs(v - mean) * (di + 4)) + abs(y - d) * 1.01 + abs(y) + SPILL
                          for v, c, d, y in zip(row, g, b, ys, strict=True))  # fmt: skip
            out[1].append(dm)
            out[2].append((di + 1) * inverse)
        return [*out]

    return of


def _gradient_args(size, kind, rng):
    """dy, x, mean, inverse: any positive number for the last."""
    N, D = size[:2]
    inverse = [abs(v) + 0.125 for v in data(N, "normal", rng)]
    return [given(data(N * D, kind, rng)), given(data(N * D, "normal", rng)), given(data(N, "normal", rng)), given(inverse)]


def _backward_call(affine):
    def make(size, kind, rng) -> Call:
        weights = given(data(size[1], "normal", rng)) if affine else None
        return Call([made(size[0] * size[1]), *_gradient_args(size, kind, rng), weights], size)

    return make


def _backward(depth):
    """g one rounding, z two; each sum gamma_depth and the division; dx: three roundings on top of theirs."""

    def of(call, exact):
        D, out = call.dims[1], []
        weights = call.args[5].values if call.args[5] else [1.0] * D
        tables = [rows(v, D) for v in (call.values(1), call.values(2), exact[0])]
        for dy, x, dx, mean, inverse in zip(*tables, call.values(3), call.values(4), strict=True):
            g = [abs(a * b) for a, b in zip(dy, weights, strict=True)]
            z = [abs(v - mean) * inverse for v in x]
            p, q = sum(g) / D, sum(a * b for a, b in zip(g, z, strict=True)) / D
            dp, dq = (gamma(depth(D) + 3) * p + SPILL, gamma(depth(D) + 6) * q + 3 * SPILL)
            out += [inverse * (4 * a + dp + 3 * p + b * (dq + 5 * q)) + abs(w) + SPILL * (1 + inverse)
                    for a, b, w in zip(g, z, dx, strict=True)]  # fmt: skip
        return [out]

    return of


def _weight_call(size, kind, rng) -> Call:
    N, D, shards = size
    return Call([made(shards * D), made(shards * D), *_gradient_args(size, kind, rng)], size)


def _weight(call, exact):
    """One chain a column: gamma_rows, and for dgamma the two roundings of z and one of a product (the reference's)."""
    N, D, shards = call.dims
    n, out = N // shards, ([], [])
    for s in range(shards):
        for j in range(D):
            at = range(s * n, (s + 1) * n)
            dy = [abs(call.values(2)[i * D + j]) for i in at]
            z = [abs(call.values(3)[i * D + j] - call.values(4)[i]) * call.values(5)[i] for i in at]
            out[0].append(gamma(n + 3) * sum(a * b for a, b in zip(dy, z, strict=True)) + n * SPILL)
            out[1].append(gamma(n) * sum(dy))
    return [*out]


def _plain(D):
    return D


def _case(op, make, bound, why, flop, variant=""):
    return Case(op, make, shapes(*WIDE), Bound(why, bound(steps16), tiny=4), naive=Bound(why, bound(_plain), tiny=4),
                alias=ALIAS[op], flop=lambda N, D: flop * N * D, bench=() if variant else BENCH, variant=variant)  # fmt: skip


ALIAS = {"layer_norm_fwd": ((0, 3),), "layer_norm_bwd": ((0, 1),)}
FWD, BWD = "two passes in 16 lanes, then five roundings", "two sums in 16 lanes, then three roundings"

CASES = [
    _case("layer_norm_fwd", _forward_call(True), _forward, FWD, 8),
    _case("layer_norm_fwd", _forward_call(False), _forward, FWD, 8, "plain"),
    _case("layer_norm_bwd", _backward_call(True), _backward, BWD, 13),
    _case("layer_norm_bwd", _backward_call(False), _backward, BWD, 13, "plain"),
    Case("layer_norm_bwd_weight", _weight_call, ((1, 1, 1), (3, 10, 1), (7, 16, 1), (8, 33, 2), (12, 101, 3), (64, 17, 4)),
         Bound("one chain of additions a column", _weight, tiny=4), flop=lambda N, D, shards: 5 * N * D,
         bench=tuple((*size, 1) for size in BENCH)),
]  # fmt: skip
