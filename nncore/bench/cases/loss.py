"""Cases of csrc/ops/loss.c. `depth`, `naive` and the errors of a row's sum are softmax.py's.

For the losses that are a sum over the outputs, a bound needs the size of a term, its own error, the derivative and its
error: the loss is then gamma_depth sum |terms| + their errors, the gradient |scale| times its error and two roundings
(the scale's and the product's).
"""

from __future__ import annotations

import math

from nncore.bench.cases import ELEMENTARY as E
from nncore.bench.cases import EXACT, SPILL, Bound, Call, Case, below, data, gamma, given, made, shapes, steps16
from nncore.bench.cases.softmax import NARROW, naive, row_error, rows

SCALE = 1 / 128
BENCH = ((128, 10),)
GRID = tuple(s for s in shapes((1, 4099)) if s[1])


def _labelled(size, kind, rng) -> Call:
    N, C = size
    z, labels = given(data(N * C, kind, rng)), given(below(N, C, rng), "i32")
    return Call([made(N), made(N * C), z, labels], size, (SCALE,))


def _targets(scalars, targets):
    """targets(n, rng) makes t."""

    def make(size, kind, rng) -> Call:
        N, C = size
        z = data(N * C, kind, rng)
        return Call([made(N), made(N * C), given(z), given(targets(N * C, rng))], size, (SCALE, *scalars))

    return make


def _normal(n, rng):
    return data(n, "normal", rng)


def _signs(n, rng):
    return [rng.choice((-1.0, 1.0)) for _ in range(n)]


def _bits(n, rng):
    return [rng.choice((0.0, 1.0)) for _ in range(n)]


def _shares(n, rng):
    """Mostly 0 and 1, some between."""
    return [rng.choice((0.0, 1.0, u)) for u in data(n, "uniform", rng) for u in (abs(u),)]


def _finite_logits(size, kind, rng) -> Call:
    """binary_xent's special values: t z of an infinite z is not a number for t = 0."""
    call = _targets((), _shares)(size, kind, rng)
    call.args[2].values = [math.nan if abs(v) == math.inf else v for v in call.values(2)]
    return call


def _xent(depth):
    """Loss: log's E |log s|, the sum's error, z_t - m, the subtraction. Gradient: see softmax; minus 1; scaled."""

    def of(call, exact):
        C, losses, dz = call.dims[1], [], []
        for i, (row, t) in enumerate(zip(rows(call.values(2), C), call.values(3), strict=True)):
            found = row_error(row, depth)
            if not found:
                losses.append(0.0)
                dz += [0.0] * C
                continue
            p, m, log_sum, sum_error = found
            shift = m - row[t] if row[t] > -math.inf else 0.0
            losses.append(E * abs(log_sum) + sum_error + 1.01 * (shift + abs(exact[0][i] if shift else log_sum)))
            for j, (a, v) in enumerate(zip(p, row, strict=True)):
                of_p = a * ((m - v) + E + sum_error + 1.01) if a else 0.0
                dz.append(SCALE * (of_p + 4 * SPILL + 3.03 * abs(a - (j == t))))
        return [losses, dz]

    return of


def _soft(size, kind, rng) -> Call:
    """Targets of some weight on every class, none on some, not of sum 1."""
    N, C = size
    t = given([max(v, 0.0) for v in data(N * C, "uniform", rng)])
    return Call([made(N), made(N * C), given(data(N * C, kind, rng)), t], size, (SCALE,))


def _soft_xent(depth):
    """As _xent, with the sums of t and of t (m - z), which is no longer a single term."""

    def of(call, exact):
        C, losses, dz = call.dims[1], [], []
        for i, (row, t) in enumerate(zip(rows(call.values(2), C), rows(call.values(3), C), strict=True)):
            found = row_error(row, depth)
            if not found:
                losses.append(0.0)
                dz += [0.0] * C
                continue
            p, m, log_sum, sum_error = found
            s, g = sum(t), gamma(depth(C))
            right = sum(a * (m - v) for a, v in zip(t, row, strict=True) if a)
            losses.append(s * (E * abs(log_sum) + sum_error + g * abs(log_sum)) + (g + 2.02) * right + 1.01 * abs(exact[0][i])
                          + C * SPILL)
            for a, b, v in zip(p, t, row, strict=True):
                of_p = a * ((m - v) + E + sum_error + 1.01 + g) if a else 0.0
                dz.append(SCALE * (s * of_p + (4 + s) * SPILL + 3.03 * abs(s * a - b)))
        return [losses, dz]

    return of


def _by_output(term):
    """term(z, t, scalars) -> (size, error, derivative, error of it)."""

    def bound(depth):
        def of(call, exact):
            C, losses, dz = call.dims[1], [], []
            for z, t in zip(rows(call.values(2), C), rows(call.values(3), C), strict=True):
                found = [term(a, b, call.scalars) for a, b in zip(z, t, strict=True)]
                size, error = sum(f[0] for f in found), sum(f[1] for f in found)
                losses.append(gamma(depth(C)) * size + error + C * SPILL)
                dz += [SCALE * (g_error + 2.02 * abs(g) + 4 * SPILL) for _, _, g, g_error in found]
            return [losses, dz]

        return of

    return bound


def _squared(z, t, s):
    """e is rounded, f too, then two products (the kernel squares in the fma and multiplies once: fewer)."""
    f, e = s[1], z - t
    return f * e * e, 5.05 * f * e * e, 2 * f * e, 3.03 * abs(2 * f * e)


def _absolute(z, t, s):
    """e is rounded; its sign is exact."""
    e = abs(z - t)
    return e, 1.01 * e, 1.0, 0.0


def _huber(z, t, s):
    """e and d move by u of themselves, the loss by at most d times that; two products. The pieces join smoothly."""
    d, e = s[1], abs(z - t)
    size = e * e / 2 if e <= d else d * (e - d / 2)
    return size, 4.04 * d * min(e, 1e30) + 3.03 * size if e > d else 4.04 * e * e, min(e, d), 1.01 * min(e, d)


def _binary(z, t, s):
    """max(z, 0) - t z in one rounding, softplus(-|z|) within 2 ulp, their sum; 1 - t, s within 2 ulp, a difference."""
    if z != z:
        return z, z, z, z
    line, tail = max(z, 0.0) - t * z, math.log1p(math.exp(-abs(z)))
    small = 1 / (1 + math.exp(min(abs(z), 700.0)))
    g = (1 - t) - small if z > 0 else small - t
    return line + tail, 2.02 * (line + tail) + E * tail, g, 1.01 * (1 - t) + E * small + 1.01 * abs(g)


def _logistic(z, t, s):
    """t z is exact; softplus and sigmoid within 2 ulp."""
    q = -t * z
    if q != q:
        return q, q, q, q
    size = max(q, 0.0) + math.log1p(math.exp(-abs(q)))
    e = math.exp(-abs(q))
    g = (1 if q >= 0 else e) / (1 + e)
    return size, E * size, g, E * g


def _hinge(z, t, s):
    """One rounding, which does not change the sign of the margin."""
    q = 1 - t * z
    return max(q, 0.0), 1.01 * max(q, 0.0), 1.0, 0.0


def _perceptron(z, t, s):
    """s - t is exact for targets of 0 and 1: the product is rounded once."""
    e = float(z >= 0) - t
    return e * z, 1.01 * abs(e * z), 1.0, 0.0


def _multi_hinge(depth):
    """Two roundings a margin: of z_j - z_t and of adding 1. The gradient is scale times a count: two roundings."""

    def of(call, exact):
        C, losses = call.dims[1], []
        for z, t in zip(rows(call.values(2), C), call.values(3), strict=True):
            q = [(max(v - z[t] + 1, 0.0), abs(v - z[t])) for j, v in enumerate(z) if j != t]
            losses.append(sum((gamma(depth(C)) + 1.01) * size + 1.01 * (size > 0) * gap for size, gap in q))
        return [losses, [2.02 * abs(g) for g in exact[1]]]

    return of


def _one_hot(size, kind, rng) -> Call:
    N, C = size
    return Call([made(N * C), given(below(N, C, rng), "i32")], size, (-0.1, 0.9))


def _case(op, make, bound, why, flop, sizes=GRID, variant=""):
    return Case(op, make, sizes, Bound(why, bound(steps16), tiny=8), naive=Bound(why, bound(naive), tiny=8),
                alias=((1, 2),), flop=lambda N, C: flop * N * C, bench=BENCH, variant=variant)  # fmt: skip


SUM = "gamma sum |terms| and the terms' own errors: "
CASES = [
    _case("softmax_xent", _labelled, _xent, "errors of log, the sum and the shifts", 20, GRID + NARROW),
    _case("softmax_xent_soft", _soft, _soft_xent, "errors of log, the sums and the shifts", 25),
    _case("squared_error", _targets((0.5,), _normal), _by_output(_squared), SUM + "five roundings", 4),
    _case("squared_error", _targets((0.1,), _normal), _by_output(_squared), SUM + "five roundings", 4, variant="mse"),
    _case("absolute_error", _targets((), _normal), _by_output(_absolute), SUM + "one rounding", 4),
    _case("huber", _targets((1.0,), _normal), _by_output(_huber), SUM + "those of e, d and two products", 8),
    _case("huber", _targets((0.3,), _normal), _by_output(_huber), SUM + "those of e, d and two products", 8,
          variant="delta"),
    _case("binary_xent", _finite_logits, _by_output(_binary), SUM + "softplus within 2 ulp, two roundings", 50),
    _case("logistic_loss", _targets((), _signs), _by_output(_logistic), SUM + "softplus within 2 ulp", 50),
    _case("hinge", _targets((), _signs), _by_output(_hinge), SUM + "one rounding", 4),
    _case("perceptron", _targets((), _bits), _by_output(_perceptron), SUM + "one rounding", 4),
    _case("multi_hinge", _labelled, _multi_hinge, SUM + "two roundings", 5),
    Case("one_hot", _one_hot, GRID, EXACT, kinds=("zero",), flop=lambda N, C: 0, bench=BENCH),
]  # fmt: skip
