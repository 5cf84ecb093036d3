"""Rung 0 for ops on images: csrc/ops/pool.c, upsample.c, join.c. Images are dicts from (n, h, w, c) to a value."""

from __future__ import annotations

import math
from fractions import Fraction

from tests.oracle import divide, dot, rows, total


def image(values, N, H, W, C):
    """A flat list as {(n, h, w, c): value}."""
    places = [(n, h, w, c) for n in range(N) for h in range(H) for w in range(W) for c in range(C)]
    return dict(zip(places, values, strict=True))


def pooling(call):
    """[((n, p, q, c), [((n, h, w, c), tap)])] of every window, padding left out."""
    N, H, W, C, R, S, sh, sw, ph, pw = call.dims
    P, Q = (H + 2 * ph - R) // sh + 1, (W + 2 * pw - S) // sw + 1
    found = []
    for n in range(N):
        for p in range(P):
            for q in range(Q):
                for c in range(C):
                    taps = [((n, p * sh - ph + r, q * sw - pw + s, c), r * S + s) for r in range(R) for s in range(S)]
                    inside = [(e, tap) for e, tap in taps if 0 <= e[1] < H and 0 <= e[2] < W]
                    found.append(((n, p, q, c), inside))
    return found


def max_pool_fwd(call):
    x, y, index = image(call.values(2), *call.dims[:4]), [], []
    for _, taps in pooling(call):
        values = [x[e] for e, _ in taps]
        nan = [i for i, v in enumerate(values) if v != v]
        best = nan[0] if nan else values.index(max(values))
        y.append(values[best])
        index.append(taps[best][1])
    return [y, index]


def _gather(call, term):
    """dx[e] = the sum of term(i, tap, taps of the window) over all windows i that e is in; None where it is in none."""
    terms = {e: [] for e in image(range(call.args[0].count), *call.dims[:4])}
    for i, (_, taps) in enumerate(pooling(call)):
        for e, tap in taps:
            terms[e].append(term(i, tap, len(taps)))
    return [total(t) if t else None for t in terms.values()]


def max_pool_bwd(call):
    dy, index = call.values(1), call.values(2)
    return [[v or 0.0 for v in _gather(call, lambda i, tap, n: dy[i] if index[i] == tap else 0.0)]]


def avg_pool_fwd(call):
    x = image(call.values(1), *call.dims[:4])
    return [[total(x[e] for e, _ in taps) / len(taps) for _, taps in pooling(call)]]


def avg_pool_bwd(call):
    dy = call.values(1)
    return [[v or 0.0 for v in _gather(call, lambda i, tap, n: dy[i] / n)]]


def l2_pool_fwd(call):
    x = image(call.values(1), *call.dims[:4])
    return [[math.sqrt(dot(v, v)) for v in ([x[e] for e, _ in taps] for _, taps in pooling(call))]]


def l2_pool_bwd(call):
    dy, y = call.values(1), call.values(3)
    sums = _gather(call, lambda i, tap, n: divide(dy[i], y[i]) if y[i] != 0 else 0.0)
    return [[x * s if s is not None else 0.0 for x, s in zip(call.values(2), sums, strict=True)]]


# ---- upsample.c ----------------------------------------------------------------------------------------------------


def upsample_nearest_fwd(call):
    N, H, W, C, fh, fw = call.dims
    x = image(call.values(1), N, H, W, C)
    return [[x[n, o // fh, u // fw, c] for n, o, u, c in image(range(call.args[0].count), N, H * fh, W * fw, C)]]


def upsample_nearest_bwd(call):
    N, H, W, C, fh, fw = call.dims
    dy = image(call.values(1), N, H * fh, W * fw, C)
    return [[total(dy[n, h * fh + i, w * fw + j, c] for i in range(fh) for j in range(fw))
             for n, h, w, c in image(range(call.args[0].count), N, H, W, C)]]


def _tent(o, i, factor, size):
    """Exactly, the weight of input i in output o: the distance of the place of o, held within the image, from i."""
    place = min(max(Fraction(2 * o + 1, 2 * factor) - Fraction(1, 2), Fraction(0)), Fraction(size - 1))
    return max(Fraction(0), 1 - abs(place - i))


def _bilinear(call, transposed):
    N, H, W, C, fh, fw = call.dims
    small, large = (N, H, W, C), (N, H * fh, W * fw, C)
    v = image(call.values(1), *(large if transposed else small))
    rows = [[_tent(o, i, fh, H) for i in range(H)] for o in range(H * fh)]
    columns = [[_tent(u, j, fw, W) for j in range(W)] for u in range(W * fw)]
    out = []
    for n, p, q, c in image(range(call.args[0].count), *(small if transposed else large)):
        taps = []
        for r in range(H * fh if transposed else H):
            for s in range(W * fw if transposed else W):
                weight = rows[r][p] * columns[s][q] if transposed else rows[p][r] * columns[q][s]
                if weight:
                    taps.append((float(weight), v[n, r, s, c]))
        out.append(dot([w for w, _ in taps], [x for _, x in taps]))
    return [out]


def upsample_bilinear_fwd(call):
    return _bilinear(call, False)


def upsample_bilinear_bwd(call):
    return _bilinear(call, True)


# ---- join.c --------------------------------------------------------------------------------------------------------


def concat(call):
    count, _, *widths = call.dims
    inputs = [rows(call.values(1 + j), w, count) for j, w in enumerate(widths)]
    return [[v for i in range(count) for x in inputs for v in x[i]]]


def block_copy(call):
    N, H, W, C, P, Q, K, a, b, k0 = call.dims
    x = image(call.values(1), N, H, W, C)
    return [[x.get((n, p + a, q + b, k + k0), 0.0) for n, p, q, k in image(range(call.args[0].count), N, P, Q, K)]]
