"""Cases of csrc/ops/pool.c: sizes are (N, H, W, C); window, stride and padding are the case's variant.

The backward bounds need sum |term| of every element of dx: `covering` walks the windows as the definition does.
"""

from __future__ import annotations

import math
from array import array

from nncore.bench.cases import EXACT, SPILL, Bound, Call, Case, data, gamma, given, made

# variant: (window, stride, padding). "2x2" tiles the image; "3x3s2p1" overlaps; "1x2s3x3" leaves gaps.
WINDOWS = {
    "2x2": ((2, 2), (2, 2), (0, 0)), "3x3s2p1": ((3, 3), (2, 2), (1, 1)), "3x2s1x2p2x0": ((3, 2), (1, 2), (2, 0)),
    "1x2s3x3": ((1, 2), (3, 3), (0, 1)), "3x3s3p1": ((3, 3), (3, 3), (1, 1)),
}  # fmt: skip
WIDE = {"17x16": ((17, 16), (5, 16), (8, 3))}  # more taps than a byte counts
SIZES = ((0, 4, 4, 3), (1, 4, 4, 0), (1, 2, 2, 1), (2, 4, 6, 3), (1, 5, 4, 6), (3, 3, 5, 7), (1, 7, 5, 8), (2, 4, 5, 15),
         (1, 6, 5, 16), (2, 5, 5, 17), (1, 4, 7, 20), (1, 3, 3, 33), (1, 5, 6, 40), (1, 5, 41, 1), (1, 4, 23, 3),
         (2, 5, 11, 6))  # fmt: skip
WIDE_SIZES = ((1, 11, 14, 1), (2, 12, 17, 3), (1, 20, 11, 9), (1, 9, 30, 17))
BENCH = ((128, 28, 28, 32), (128, 14, 14, 64), (128, 28, 28, 20), (128, 28, 28, 6), (8, 14, 14, 64))


def spans(size, window, stride, padding):
    """Ranges of rows or columns that the windows cover."""
    count = (size + 2 * padding - window) // stride + 1
    begins = [p * stride - padding for p in range(count)]
    return [range(max(b, 0), min(b + window, size)) for b in begins]


def windows(call):
    """(element of y without channel, elements of x without channel, their taps) of every window, in order."""
    N, H, W, _, R, S, sh, sw, ph, pw = call.dims
    rows, columns = spans(H, R, sh, ph), spans(W, S, sw, pw)
    y = 0
    for n in range(N):
        for p, h in enumerate(rows):
            for q, w in enumerate(columns):
                taps = [((n * H + i) * W + j, (i - p * sh + ph) * S + j - q * sw + pw) for i in h for j in w]
                yield y, taps
                y += 1


def outputs(size, geometry):
    N, H, W, C = size
    P, Q = (len(spans(n, *axis)) for n, axis in zip((H, W), zip(*geometry, strict=True), strict=True))
    return N * P * Q * C


def dims(size, geometry):
    return (*size, *(v for pair in geometry for v in pair))


def index_type(geometry):
    return "u8" if geometry[0][0] * geometry[0][1] <= 256 else "i32"


def max_fwd(geometry):
    def make(size, kind, rng):
        n = outputs(size, geometry)
        x = given(data(math.prod(size), kind, rng))
        return Call([made(n), made(n, index_type(geometry)), x], dims(size, geometry))

    return make


def max_bwd(geometry):
    def make(size, kind, rng):
        n = outputs(size, geometry)
        call = Call([made(math.prod(size)), given(data(n, kind, rng)), None], dims(size, geometry))
        if n > 200_000:  # benches: any tap inside every window
            R, S = geometry[0]
            index = [rng.randrange(1, R) * S + rng.randrange(1, S) for _ in range(1009)]
            index = (index * (n // 1009 + 1))[:n]
        else:
            index = [rng.choice(taps)[1] for _, taps in windows(call) for _ in range(size[3])]
        call.args[2] = given(index, index_type(geometry))
        return call

    return make


def avg_fwd(geometry):
    def make(size, kind, rng):
        return Call([made(outputs(size, geometry)), given(data(math.prod(size), kind, rng))], dims(size, geometry))

    return make


def avg_bwd(geometry):
    def make(size, kind, rng):
        return Call([made(math.prod(size)), given(data(outputs(size, geometry), kind, rng))], dims(size, geometry))

    return make


def l2_bwd(geometry):
    """y is the norm of x's windows, as on a tape: 0 or at least 2^-74.5, with every NaN and infinity in it."""

    def make(size, kind, rng):
        n = outputs(size, geometry)
        x = data(math.prod(size), kind, rng)
        call = Call([made(math.prod(size)), given(data(n, kind, rng)), given(x), None], dims(size, geometry))
        if n > 200_000:
            y = [abs(v) + 1.0 for v in data(n, kind, rng)]
        else:
            C = size[3]
            squares = [sum(x[e * C + k] * x[e * C + k] for e, _ in taps) for _, taps in windows(call) for k in range(C)]
            y = [math.sqrt(s) for s in array("f", squares)]
        call.args[3] = given(array("f", y))
        return call

    return make


# ---- bounds --------------------------------------------------------------------------------------------------------


def forward(call, term):
    """(element, sum of term(x), taps) of every element of y, x being the last argument."""
    C, x = call.dims[3], call.values(len(call.args) - 1)
    return [(sum(term(x[e * C + k]) for e, _ in taps), len(taps)) for _, taps in windows(call) for k in range(C)]


def covering(call, term):
    """(sum of term(y's element, tap, taps of its window), number of terms) for every element of dx."""
    C, found = call.dims[3], [(0.0, 0)] * call.args[0].count
    for y, taps in windows(call):
        for e, tap in taps:
            for k in range(C):
                t = term(y * C + k, tap, len(taps))
                found[e * C + k] = (found[e * C + k][0] + t, found[e * C + k][1] + (t != 0))
    return found


def max_back(call, exact):
    dy, index = call.values(1), call.values(2)
    terms = covering(call, lambda y, tap, n: abs(dy[y]) if index[y] == tap else 0.0)
    return [[gamma(max(k - 1, 0)) * s for s, k in terms]]


def avg(call, exact):
    return [[(gamma(n - 1) + 2.02) * s / n for s, n in forward(call, abs)]]


def avg_back(call, exact):
    dy = call.values(1)
    return [[(gamma(k) + 1.01) * s for s, k in covering(call, lambda y, tap, n: abs(dy[y]) / n)]]


def l2(call, exact):
    """A lost square is at most 2^-150, so n of them move the root by min(sqrt(n 2^-150), n 2^-150 / y)."""
    out = []
    for (_, n), y in zip(forward(call, abs), exact[0], strict=True):
        lost = n * 2.0**-150
        out.append((gamma(n) / 2 + 1.01) * y + (min(math.sqrt(lost), lost / y) if y else 0.0) * 2**24)
    return [out]


def l2_back(call, exact):
    dy, x, y = (call.values(i) for i in (1, 2, 3))
    terms = covering(call, lambda e, tap, n: abs(dy[e] / y[e]) if y[e] else 0.0)
    return [[abs(v) * ((gamma(k) + 1.01) * s + k * SPILL) if k else 0.0 for (s, k), v in zip(terms, x, strict=True)]]


def _cases():
    kinds = {
        "max_pool_fwd": (max_fwd, EXACT, 1),
        "max_pool_bwd": (max_bwd, Bound("gamma_{k-1} sum |dy| of the k windows it was the maximum of", max_back), 1),
        "avg_pool_fwd": (avg_fwd, Bound("gamma_{n-1} of the sum, 1/n and the product rounded", avg), 1),
        "avg_pool_bwd": (avg_bwd, Bound("gamma_k sum |dy| / n, 1/n rounded", avg_back, tiny=8), 2),
        "l2_pool_fwd": (avg_fwd, Bound("half of gamma_n, the root, squares that underflow", l2), 2),
        "l2_pool_bwd": (l2_bwd, Bound("gamma_k of the sum with its quotients, the product", l2_back, tiny=4), 2),
    }  # fmt: skip
    for op, (make, bound, flop) in kinds.items():
        for variant, geometry in {**WINDOWS, **(WIDE if op.startswith("max") else {})}.items():
            R, S = geometry[0]
            yield Case(op, make(geometry), WIDE_SIZES if variant in WIDE else SIZES, bound, variant=variant,
                       flop=lambda N, H, W, C, g=geometry, f=flop: f * outputs((N, H, W, C), g) * g[0][0] * g[0][1],
                       bench=BENCH if variant in ("2x2", "3x3s2p1") else ())


CASES = list(_cases())
