"""Cases of csrc/ops/batch_norm.c. Sizes are (rows, channels, shards, rows of a chunk).

Statistics. With x_0 the shard's first row, D = sum (x - x_0)^2, S = sum (x - mean)^2, A = sum |x - x_0| / n and L levels of
chunks, one term of a chunk's sum goes through k = ceil(chunk / 4) + 2 additions. To first order, in u:
  mean   of x - x_0: one rounding of each term, k additions, a division, and four roundings a merge, each at most those of
         A, since the earlier part is never the smaller one: K A with K = k + 2 + 4 L; then one rounding of x_0 + it;
  S      each squared deviation: 2 |e| (|d| + |e|) for the roundings of d = x - x_0 and e = d - mean, k + 1 for the
         additions; each merge 6 roundings of parts of S; and the errors K A of the two means in a merge's d^2 n_a n_b / n, whose
         sum over the tree is at most S: by Cauchy and Schwarz 2 sqrt(L S) K sqrt(D); second order (L + 2) (K u)^2 D.
The plain loop of the reference sums x itself: K = n + 1 on avg |x|, and its mean's error enters S only squared.
"""

from __future__ import annotations

from math import ceil, sqrt

from nncore.bench.cases import SPILL, UNIT, Bound, Call, Case, changed, data, gamma, given, made, rounding
from nncore.graph.ops.norm import chunk_rows

U = UNIT["f32"]
EPS = 1e-5


def levels(n: int, chunk: int) -> int:
    """Levels of the tree over the chunks of n rows."""
    return (-(-n // chunk) - 1).bit_length()


def additions(n: int, chunk: int) -> int:
    """Additions that a term of a plain sum goes through: its chain, the chains, the chunks."""
    return ceil(min(n, chunk) / 4) + 2 + levels(n, chunk)


def columns(values, C, shards):
    """One list per shard and channel, in the order of the statistics."""
    n = len(values) // shards
    return [values[s * n + j : (s + 1) * n : C] for s in range(shards) for j in range(C)]


def spread_back(lists, C, shards):
    """The inverse of `columns`."""
    n = len(lists[0])
    out = [0.0] * (n * C * shards)
    for k, values in enumerate(lists):
        s, j = divmod(k, C)
        out[s * n * C + j : (s + 1) * n * C : C] = values
    return out


def _kernel_statistics(x, mean, chunk):
    """Errors of mean and S in u: the first part of the derivation above."""
    n, d = len(x), [v - x[0] for v in x]
    L, D, S = levels(n, chunk), sum(v * v for v in d), sum((v - mean) ** 2 for v in x)
    K = gamma(ceil(min(n, chunk) / 4) + 4 + 4 * L)
    mean_error = K * sum(map(abs, d)) / n + 1.01 * abs(mean) + 4 * (L + 1) * SPILL
    terms = 2 * sum(abs(v - mean) * (abs(w) + abs(v - mean)) for v, w in zip(x, d, strict=True))
    first = terms + (K + 6 * L) * S + 2 * sqrt((L + 1) * S * D) * K
    return mean_error, 1.01 * first + (L + 3) * (K * K * U * D) + n * SPILL


def two_passes(x, mean, depth):
    """Errors of mean and S in u, of plain sums whose terms go through `depth` additions: the mean's enters S squared."""
    n, S = len(x), sum((v - mean) ** 2 for v in x)
    mean_error = gamma(depth + 1) * sum(map(abs, x)) / n + SPILL
    cross = 2 * sum(abs(v - mean) for v in x) * mean_error * U
    return mean_error, 1.01 * (gamma(depth + 4) * S + cross + n * mean_error**2 * U) + n * SPILL


def _plain_statistics(x, mean, chunk):
    return two_passes(x, mean, len(x))


def inverse_error(var, var_error):
    """(1 / sqrt(var + eps), its relative error in u): eps rounded, an addition, a square root, a division."""
    v = var + EPS
    return 1 / sqrt(v), 0.51 * (var_error + rounding(EPS)) / v + 2.6


def _forward(statistics):
    def of(call, exact):
        N, C, shards, chunk = call.dims
        g, b = (a.values if a else None for a in call.args[5:7])
        y_error, mean_error, var_error = [], [], []
        x, y = columns(call.values(4), C, shards), columns(exact[0], C, shards)
        for k, (xs, ys, mean, var) in enumerate(zip(x, y, exact[1], exact[2], strict=True)):
            dm, dS = statistics(xs, mean, chunk)
            dv = 1.01 * (dS / len(xs) + abs(var)) + SPILL
            inverse, di = inverse_error(var, dv)
            a = abs(inverse * (g[k % C] if g else 1))
            shift = abs(b[k % C]) if b else 0.0
            y_error.append([1.01 * a * (dm + abs(v - mean) * (di + 3)) + 1.01 * abs(w) + shift * U + SPILL * (a + 1)
                            for v, w in zip(xs, ys, strict=True)])  # fmt: skip
            mean_error.append(dm)
            var_error.append(dv)
        return [spread_back(y_error, C, shards), mean_error, var_error, [float("inf")] * len(exact[3])]

    return of


def _both(*bounds):
    """How far two ways of computing may be apart: the sum of their errors."""

    def of(call, exact):
        return [[sum(e) for e in zip(*outs, strict=True)] for outs in zip(*(b(call, exact) for b in bounds), strict=True)]

    return of


def _forward_call(affine=True):
    def make(size, kind, rng) -> Call:
        N, C, shards, chunk = size
        work = shards * C * (2 * -(-(N // shards) // chunk) + 1)
        parameters = [given(data(C, "normal", rng)) if affine else None for _ in range(2)]
        stats = [made(shards * C), made(shards * C)]
        return Call([made(N * C), *stats, made(work), given(data(N * C, kind, rng)), *parameters], size, (EPS,))

    return make


def _fixed_call(absent=()):
    def make(size, kind, rng) -> Call:
        N, C = size
        stats = [data(C, "normal", rng), [abs(v) for v in data(C, "normal", rng)], data(C, "normal", rng), data(C, "normal", rng)]
        args = [None if i in absent else given(v) for i, v in enumerate(stats)]
        return Call([made(N * C), given(data(N * C, kind, rng)), *args], size, (EPS,))

    return make


def _fixed(call, exact):
    C, out = call.dims[1], []
    mean, var, g, b = (a.values if a else None for a in call.args[2:6])
    for i, (v, w) in enumerate(zip(call.values(1), exact[0], strict=True)):
        inverse, di = inverse_error(var[i % C], 0.0)
        a, d = abs(inverse * (g[i % C] if g else 1)), abs(v - (mean[i % C] if mean else 0))
        out.append(1.01 * a * d * (di + 3) + 1.01 * abs(w) + SPILL * (a + 1))
    return [out]


def _backward_call(fixed=0, affine=True):
    def make(size, kind, rng) -> Call:
        N, C, shards, chunk = size
        m = C if fixed else shards * C
        work = shards * C * (2 * -(-(N // shards) // chunk) + 3)
        stats = [given(data(m, "normal", rng)), given([abs(v) for v in data(m, "normal", rng)])]
        tensors = [given(data(N * C, kind, rng)), given(data(N * C, "normal", rng))]
        return Call([made(N * C), made(shards * C), made(shards * C), made(work), *tensors, *stats,
                     given(data(C, "normal", rng)) if affine else None], (*size, fixed), (EPS,))  # fmt: skip

    return make


def _backward(steps):
    """dbeta: gamma over its additions. dgamma: one rounding of x - mean, one fma chain, the inverse and its product. dx: the
    two factors, which cost a division each and dgamma's second inverse, then four roundings and a's."""

    def of(call, exact):
        N, C, shards, chunk, fixed = call.dims
        n = N // shards
        g, outs = call.args[8], ([], [], [])
        dy, x, dx = columns(call.values(4), C, shards), columns(call.values(5), C, shards), columns(exact[0], C, shards)
        for k, (ds, xs, gs) in enumerate(zip(dy, x, dx, strict=True)):
            stat = k % C if fixed else k
            mean, (inverse, di) = call.values(6)[stat], inverse_error(call.values(7)[stat], 0.0)
            depth, a = gamma(steps(n, chunk) + 3), abs(inverse * (g.values[k % C] if g else 1))
            beta_size, size = sum(map(abs, ds)), sum(abs(d * (v - mean)) for d, v in zip(ds, xs, strict=True))
            beta_error = depth * beta_size
            gamma_error = inverse * ((depth + di + 1) * size + n * SPILL) + SPILL
            p_error = 0 if fixed else (beta_error + beta_size) / n + SPILL
            q_error = 0 if fixed else inverse * (gamma_error + (di + 3) * inverse * size) / n + SPILL
            p, q = (0, 0) if fixed else (abs(exact[2][k]) / n, inverse * abs(exact[1][k]) / n)
            outs[0].append([1.01 * a * (p_error + abs(v - mean) * (q_error + 3 * q) + (di + 4) * (abs(d) + p + q * abs(v - mean)))
                            + abs(w) + SPILL * (a + 1) for d, v, w in zip(ds, xs, gs, strict=True)])  # fmt: skip
            outs[1].append(gamma_error)
            outs[2].append(beta_error)
        return [spread_back(outs[0], C, shards), outs[1], outs[2], [float("inf")] * len(exact[3])]

    return of


def _running_call(size, kind, rng) -> Call:
    C, shards, _ = size
    var = [abs(v) for v in data(C, kind, rng)]
    batch = [given(data(shards * C, kind, rng)), given([abs(v) for v in data(shards * C, kind, rng)])]
    return Call([changed(data(C, kind, rng)), changed(var), *batch], size, (0.1,))


def _running(call, exact):
    """(1 - m) r: m's rounding, a subtraction, a product; m s: m's rounding, tree, division, the factor and its product."""
    C, shards, n = call.dims
    m, out = call.scalars[0], []
    for k, steps in ((0, 3), (1, 5)):
        size = [sum(map(abs, call.values(k + 2)[j::C])) / shards * n / (n - 1) for j in range(C)]
        depth = gamma((shards - 1).bit_length() + steps)
        out.append([3 * abs(r) + m * depth * v + abs(e) + 2 * SPILL
                    for r, v, e in zip(call.values(k), size, exact[k], strict=True)])  # fmt: skip
    return out


def _plain(n, chunk):
    return n


SHAPES = ((2, 1, 1, 16), (7, 3, 1, 16), (33, 10, 1, 16), (20, 16, 2, 4), (9, 17, 1, 4), (50, 5, 1, 8), (30, 33, 3, 4),
          (21, 8, 1, 1), (26, 15, 2, 3), (40, 7, 1, 5))  # fmt: skip
FIXED = ((0, 4), (1, 1), (7, 3), (33, 10), (20, 16), (9, 17), (30, 33), (3, 257), (2, 600))
WHY = "chunks' means and squared deviations, merged pairwise; derived above"
_images = tuple((128 * p * p, C, 1, chunk_rows(C)) for p, C in ((28, 16), (28, 32), (14, 64), (7, 128), (28, 17)))
BENCH = (*_images, (128, 256, 1, chunk_rows(256)))


def _bn(op, make, bound, naive, flop, **more):
    return Case(op, make, SHAPES, Bound(WHY, bound, tiny=4), naive=Bound(WHY, naive, tiny=4), special=False,
                flop=lambda N, C, *rest: flop * N * C, **more)  # fmt: skip


_FORWARD = (_forward(_kernel_statistics), _both(_forward(_kernel_statistics), _forward(_plain_statistics)))
_BACKWARD = (_backward(additions), _both(_backward(additions), _backward(_plain)))

CASES = [
    _bn("batch_norm_fwd", _forward_call(), *_FORWARD, 8, alias=((0, 4),), bench=BENCH),
    _bn("batch_norm_fwd", _forward_call(False), *_FORWARD, 8, variant="plain"),
    Case("batch_norm_fixed_fwd", _fixed_call(), FIXED, Bound("the factor, then three roundings", _fixed, tiny=4), alias=((0, 1),),
         special=False, flop=lambda N, C: 3 * N * C, bench=tuple(size[:2] for size in BENCH)),
    Case("batch_norm_fixed_fwd", _fixed_call((0, 3)), FIXED, Bound("the factor, then three roundings", _fixed, tiny=4),
         special=False, variant="fold"),
    Case("batch_norm_fixed_fwd", _fixed_call((2, 3)), FIXED, Bound("the factor, then three roundings", _fixed, tiny=4),
         special=False, variant="plain"),
    _bn("batch_norm_bwd", _backward_call(), *_BACKWARD, 9, alias=((0, 4),), bench=BENCH),
    _bn("batch_norm_bwd", _backward_call(affine=False), *_BACKWARD, 9, variant="plain"),
    _bn("batch_norm_bwd", _backward_call(fixed=1), *_BACKWARD, 9, variant="fixed"),
    Case("running_stats", _running_call, ((1, 1, 2), (7, 1, 9), (16, 2, 3), (33, 3, 5), (257, 5, 100)),
         Bound("three roundings of (1 - m) r, those of m s", _running, tiny=8), special=False, flop=lambda C, *rest: 6 * C),
]  # fmt: skip
