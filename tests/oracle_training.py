"""What the ops around a network should compute, in plain Python: fetching samples, random numbers, updates, schedules,
initial values, metrics. Rung 0 of the ladder of trust, as tests/oracle.py: the textbook's formulas, nothing clever,
nothing shared with csrc/. One function per op; the counter RNG and the shuffle are written out once more, since what
they draw is part of the definition.
"""

from __future__ import annotations

import math
import struct
from fractions import Fraction

from tests.oracle import dot, rows

SHUFFLE, INIT, DROPOUT = 1, 3, 4  # nn_stream
RUN_SHUFFLE = 1  # NN_RUN_SHUFFLE
MASK = 0xFFFFFFFF
MASK64 = 0xFFFFFFFFFFFFFFFF

# ---- random.h, rng.c ------------------------------------------------------------------------------------------------


def philox4x32(counter, key, rounds: int = 10) -> list[int]:
    """Salmon, Moraes, Dror, Shaw 2011, section 3.3 and figure 3: four words from a counter of four and a key of two."""
    (x0, x1, x2, x3), (k0, k1) = counter, key
    for _ in range(rounds):
        p0, p1 = 0xD2511F53 * x0, 0xCD9E8D57 * x2
        x0, x1, x2, x3 = (p1 >> 32) ^ x1 ^ k0, p1 & MASK, (p0 >> 32) ^ x3 ^ k1, p0 & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return [x0, x1, x2, x3]


def block(seed: int, stream: int, index: int, number: int) -> list[int]:
    """nn_philox: the counter is (block, index low, index high, stream), the key the seed."""
    return philox4x32((number, index & MASK, index >> 32, stream), (seed & MASK, seed >> 32))


def uniform(high: int, low: int) -> float:
    """The midpoint of one of 2^52 equal cells of (0, 1)."""
    return (((high << 32 | low) >> 12) + 0.5) * 2.0**-52


def shuffle(seed: int, epoch: int, n: int, i: int) -> int:
    """Eight Feistel rounds on the smallest even number of bits that covers n, walked until the result is below n."""
    key = block(seed, SHUFFLE, epoch, 0) + block(seed, SHUFFLE, epoch, 1)
    half = 1
    while half < 31 and 4**half < n:
        half += 1
    mask = 2**half - 1
    while True:
        left, right = i >> half, i & mask
        for k in key:
            h = (right + k) * 0x9E3779B97F4A7C15 & MASK64
            h = (h ^ h >> 32) * 0xD6E8FEB86659FD93 & MASK64
            left, right = right, left ^ (h >> 32 & mask)
        i = left << half | right
        if i < n:
            return i


def as_float(x: float) -> float:
    """The nearest float32."""
    return struct.unpack("f", struct.pack("f", x))[0]


# ---- gather.c -------------------------------------------------------------------------------------------------------


def _row(call, r: int) -> int:
    run = call.run
    p = run.get("cursor", 0) + r
    if run.get("flags", 0) & RUN_SHUFFLE:
        p = shuffle(run.get("seed", 0), run.get("epoch", 0), run["n_samples"], p)
    return call.values(2)[p] if call.args[2] else p


def _standardised(call):
    N, D, n = call.dims
    data, mean, scale = call.values(1), call.values(3), call.values(4)
    x = []
    for r in range(N):
        row = _row(call, r)
        x += [(data[row * D + j] - mean[j % n]) * scale[j % n] for j in range(D)]
    return [x]


gather_u8 = gather_f32 = _standardised


def gather_labels(call):
    return [[call.values(1)[_row(call, r)] for r in range(call.dims[0])]]


def gather_targets(call):
    N, D = call.dims
    return [[float(call.values(1)[_row(call, r) * D + j]) for r in range(N) for j in range(D)]]


# ---- dropout.c ------------------------------------------------------------------------------------------------------


def dropped(call, layer: int, e: int) -> bool:
    """Element e of the step: one word of a Philox block against the share p of all 2^32 words."""
    (p,) = call.scalars
    step = call.run.get("step", 0)
    index, number = step + (e // 2**34) * 2**48, e // 4 % 2**32
    word = block(call.run.get("seed", 0), DROPOUT + 256 * layer, index, number)[e % 4]
    return word < min(math.floor(p * 2**32 + 0.5), 2**32 - 1)


def dropout(call):
    N, D, layer, per_step = call.dims
    scale = 1 / (1 - call.scalars[0])
    drop = [dropped(call, layer, e) for e in range(D if per_step else N * D)]
    return [[0.0 if drop[i % len(drop)] else x * scale for i, x in enumerate(call.values(1))]]


def spatial_dropout(call):
    N, P, C, layer = call.dims
    scale = 1 / (1 - call.scalars[0])
    drop = [dropped(call, layer, e) for e in range(N * C)]
    return [[0.0 if drop[i // (P * C) * C + i % C] else x * scale for i, x in enumerate(call.values(1))]]


# ---- optimizer.c ----------------------------------------------------------------------------------------------------


def flush(s: float) -> float:
    return 0.0 if abs(s) < 2.0**-126 else s


def _less(w: float, rate: float, x: float) -> float:
    """w - rate x"""
    return dot((1.0, -rate), (w, x))


def _update(call, states: int, rule):
    """rule(w, state, ..., g) returns the new (w, state, ...)."""
    columns = zip(*(call.values(i) for i in range(states + 2)), strict=True)
    new = [rule(*c) for c in columns]
    return [[n[i] for n in new] for i in range(states + 1)]


def sgd(call):
    (rate,) = call.values(2)
    return _update(call, 0, lambda w, g: (_less(w, rate, g),))


def momentum(call):
    (rate,), (mu,) = call.values(3), call.values(4)

    def rule(w, v, g):
        v = flush(dot((mu, -rate), (v, g)))
        return w + v, v

    return _update(call, 1, rule)


def nesterov(call):
    """In the form for the looked-ahead weights; test_optimizers.py holds it against Nesterov's own."""
    (rate,), (mu,) = call.values(3), call.values(4)

    def rule(w, v, g):
        v = flush(dot((mu, -rate), (v, g)))
        return dot((1.0, mu, -rate), (w, v, g)), v

    return _update(call, 1, rule)


def _root(call, r: float, eps: float) -> float:
    return math.sqrt(r) + eps if call.dims[1] else math.sqrt(r + eps)


def adagrad(call):
    (rate,), (eps,) = call.values(3), call.scalars

    def rule(w, r, g):
        r = flush(dot((1.0, g), (r, g)))
        return _less(w, rate, g / _root(call, r, eps)), r

    return _update(call, 1, rule)


def rmsprop(call):
    (rate,), (rho, eps) = call.values(3), call.scalars

    def rule(w, r, g):
        r = flush(dot((rho, 1 - rho), (r, g * g)))
        return _less(w, rate, g / _root(call, r, eps)), r

    return _update(call, 1, rule)


def adadelta(call):
    """Zeiler 2012, algorithm 1."""
    (rate,), (rho, eps) = call.values(4), call.scalars

    def rule(w, r, s, g):
        r = flush(dot((rho, 1 - rho), (r, g * g)))
        dx = -math.sqrt(s + eps) / math.sqrt(r + eps) * g
        s = flush(dot((rho, 1 - rho), (s, dx * dx)))
        return _less(w, -rate, dx), r, s

    return _update(call, 2, rule)


def adam(call):
    """Kingma and Ba 2015, algorithm 1; the decay of Loshchilov and Hutter 2019, algorithm 2."""
    (rate,), (count,) = call.values(4), call.values(5)
    beta1, beta2, eps, decay = call.scalars
    t = count + 1
    c1, c2 = float(1 - Fraction(beta1) ** t), float(1 - Fraction(beta2) ** t)

    def rule(w, m, v, g):
        m = flush(dot((beta1, 1 - beta1), (m, g)))
        v = flush(dot((beta2, 1 - beta2), (v, g * g)))
        m_hat, v_hat = m / c1, v / c2
        return _less(_less(w, rate * decay, w) if decay else w, rate, m_hat / (math.sqrt(v_hat) + eps)), m, v

    return _update(call, 2, rule)


def decay(call):
    (zeta,) = call.scalars
    return [[_less(w, zeta, w) for w in call.values(0)]]


def increment(call):
    return [[call.values(0)[0] + 1]]


# ---- schedule.c -----------------------------------------------------------------------------------------------------

CONSTANT, POWER, EXPONENTIAL, PIECEWISE, ONE_CYCLE, COSINE, RESTARTS, GEOMETRIC, WARM, MEAN = range(10)  # nn_schedule


def schedule(call):
    kind, n = call.dims
    s, (t,) = call.scalars, call.values(1)
    if kind == CONSTANT:
        return [[s[0]]]
    if kind == POWER:
        return [[s[0] / (1 + t / s[1])]]
    if kind == EXPONENTIAL:
        return [[s[0] * 0.1 ** (t / s[1])]]
    if kind == PIECEWISE:
        table = call.values(2) if len(call.args) > 2 else s
        return [[table[n + sum(b <= t for b in table[:n])]]]
    if kind == ONE_CYCLE:
        peak, a, b, up, down, T = s
        corners = [(0.0, peak / a), (up * T, peak), ((up + down) * T, peak / a), (T, peak / b)]
        for (t0, y0), (t1, y1) in zip(corners, corners[1:], strict=False):
            if t < t1:
                return [[y0 + (y1 - y0) * (t - t0) / (t1 - t0)]]
        return [[peak / b]]
    if kind == RESTARTS:
        e0, e1, T, growth = s
        while t >= T:
            t, T = t - T, T * growth
    elif kind == GEOMETRIC:
        return [[s[0] * (s[1] / s[0]) ** min(t / s[2], 1)]]
    elif kind == WARM:
        return [[1 - min(1 - s[0], (1 + t) / (10 + t))]]
    elif kind == MEAN:
        late = t + 1 - s[0]
        return [[1.0 if late <= 0 else 0.0 if late % s[1] else 1 / (late / s[1] + 1)]]
    else:
        e0, e1, T = s
    return [[e1 + (e0 - e1) * (1 + math.cos(math.pi * min(t / T, 1))) / 2]]


# ---- init.c ---------------------------------------------------------------------------------------------------------


def _draw(call, i: int) -> tuple[float, float]:
    """The two uniforms that element i shares with its neighbour."""
    number, ident = i // 2, call.dims[1]
    words = block(call.run.get("seed", 0), INIT, ident + number // 2**32 * 2**32, number % 2**32)
    return uniform(words[0], words[1]), uniform(words[2], words[3])


def init_uniform(call):
    (limit,) = call.scalars
    return [[as_float(limit * (2 * _draw(call, i)[i % 2] - 1)) for i in range(call.dims[0])]]


def init_normal(call):
    """Box and Muller 1958."""

    def normal(i):
        u0, u1 = _draw(call, i)
        radius, angle = math.sqrt(-2 * math.log(u0)), 2 * math.pi * u1
        return radius * (math.sin(angle) if i % 2 else math.cos(angle))

    return [[as_float(call.scalars[0] * normal(i)) for i in range(call.dims[0])]]


# ---- metric.c -------------------------------------------------------------------------------------------------------


def _first_maximum(row) -> int:
    for j, z in enumerate(row):
        if z != z:
            return j
    return row.index(max(row)) if row else 0


def argmax(call):
    N, C = call.dims
    return [[_first_maximum(call.values(1)[i * C : (i + 1) * C]) for i in range(N)]]


def metrics(call):
    N, C = call.dims
    sums, correct = list(call.values(0)), 0
    if call.args[2] and call.args[3]:
        for row, label in zip(rows(call.values(2), C), call.values(3), strict=True):
            correct += all(z == z for z in row) and _first_maximum(row) == label
    for i, more in enumerate((N * call.values(1)[0], correct, N, 0)):
        sums[i] += more
    return [sums]


def check_finite(call):
    assert all(map(math.isfinite, call.values(0)))
    return []


def all_finite(call):
    before = call.values(2)[0] if call.args[2] else 1
    return [[float(bool(before) and all(map(math.isfinite, call.values(1))))]]


def loss_scale(call):
    (scale,), (good, skipped, _), (finite,), (interval,) = call.values(0), call.values(1), call.values(2), call.dims
    if not finite:
        return [[scale / 2 if interval else scale], [0, skipped + 1, 1]]
    grown = interval and good + 1 >= interval
    return [[scale * 2 if grown else scale], [0 if grown else good + 1, skipped, 0]]


def top_k(call):
    """Sort by value, largest first, equals by index; look for the label among the first k."""
    C, k = call.dims[1:]
    hits = call.values(0)[0]
    for row, label in zip(rows(call.values(1), C), call.values(2), strict=True):
        if all(z == z for z in row):
            hits += label in sorted(range(C), key=lambda j: (-row[j], j))[:k]
    return [[hits]]


def round_to(call):
    """On the twin nothing is rounded; what float32 gives stands against fractions in tests/lab/test_arithmetic.py."""
    return [call.values(1)]
