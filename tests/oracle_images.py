"""Rung 0 for ops on images: csrc/ops/pool.c, upsample.c, join.c. Images are dicts from (n, h, w, c) to a value."""

from __future__ import annotations

import math

from tests.oracle import divide, dot, total


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
