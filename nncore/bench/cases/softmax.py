"""Cases of csrc/ops/softmax.c.

`depth` is the number of additions a term goes through: steps16 for the kernels, all C for the reference's plain loop.
A bound's row sum s = sum exp(x - m) has relative error sum_k p_k |x_k - m| (the roundings of the shifted arguments,
through exp) + E (exp) + gamma_depth, in units of u.
"""

from __future__ import annotations

import math

from nncore.bench.cases import ELEMENTARY as E
from nncore.bench.cases import SPILL, Bound, Call, Case, data, gamma, given, made, shapes, steps16

WIDE = ((2, 4097), (1, 8200))  # more than one chunk of a row's sum
NARROW = ((37, 1), (16, 8), (19, 9), (32, 16))  # rows that go in blocks (csrc/ops/row_block.h), and some left over
BENCH = ((128, 10), (128, 1000))


def rows(values, C):
    """A flat list cut into rows of C."""
    return [values[i : i + C] for i in range(0, len(values), C)] if C else []


def row_error(row, depth):
    """(probabilities, maximum, log of the sum, relative error of the sum) of a row of finite logits, else None."""
    m = max(row)
    if not all(v < math.inf for v in row) or m == -math.inf:
        return None
    e = [math.exp(v - m) for v in row]
    s = sum(e)
    p = [v / s for v in e]
    return p, m, math.log(s), sum(a * (m - v) for a, v in zip(p, row, strict=True) if a) + E + gamma(depth(len(row)))


def forward(size, kind, rng) -> Call:
    N, C = size
    return Call([made(N * C), given(data(N * C, kind, rng))], size)


def backward(log):
    """y: any numbers for softmax's formula; for log_softmax's, logarithms of probabilities."""

    def make(size, kind, rng) -> Call:
        n = size[0] * size[1]
        y = data(n, kind, rng)
        return Call([made(n), given(data(n, kind, rng)), given([-abs(v) for v in y] if log else y)], size)

    return make


def _softmax(depth):
    def of(call, exact):
        out = []
        for row in rows(call.values(1), call.dims[1]):
            found = row_error(row, depth)
            if not found:
                out += [0.0] * len(row)
                continue
            p, m, _, sum_error = found
            out += [a * ((m - v) + E + sum_error + 1.01) if a else 0.0 for a, v in zip(p, row, strict=True)]
        return [out]

    return of


def _log_softmax(depth):
    def of(call, exact):
        out = []
        for row in rows(call.values(1), call.dims[1]):
            found = row_error(row, depth)
            if not found:
                out += [0.0] * len(row)
                continue
            _, m, log_sum, sum_error = found
            shared = E * abs(log_sum) + sum_error
            out += [1.01 * ((m - v) + abs(v - m - log_sum)) + shared if v > -math.inf else 0.0 for v in row]
        return [out]

    return of


def _softmax_bwd(depth):
    def of(call, exact):
        C, out = call.dims[1], []
        for dy, y, dx in zip(rows(call.values(1), C), rows(call.values(2), C), rows(exact[0], C), strict=True):
            s = gamma(depth(C)) * sum(abs(a * b) for a, b in zip(dy, y, strict=True)) + C * SPILL
            out += [abs(b) * s + 2.02 * abs(d) for b, d in zip(y, dx, strict=True)]
        return [out]

    return of


def _log_softmax_bwd(depth):
    def of(call, exact):
        C, out = call.dims[1], []
        for dy, y, dx in zip(rows(call.values(1), C), rows(call.values(2), C), rows(exact[0], C), strict=True):
            s = sum(map(abs, dy))
            s, lost = (gamma(depth(C)) + E + 1.01) * s + SPILL, SPILL * s  # exp(y) may underflow before s multiplies it
            out += [math.exp(b) * s + 1.01 * abs(d) + lost for b, d in zip(y, dx, strict=True)]
        return [out]

    return of


def naive(C):
    """Additions of the reference's loop, and the product that it rounds apart."""
    return C + 1


def _case(op, make, bound, why, flop):
    return Case(op, make, shapes(*WIDE, *NARROW), Bound(why, bound(steps16), tiny=4), naive=Bound(why, bound(naive), tiny=4),
                alias=((0, 1),), flop=lambda N, C: flop * N * C, bench=BENCH)  # fmt: skip


CASES = [
    _case("softmax_fwd", forward, _softmax, "|x - m| + E for a term, the sum's error, the division", 20),
    _case("softmax_bwd", backward(False), _softmax_bwd, "gamma sum |dy y|, a subtraction, a product", 4),
    _case("log_softmax_fwd", forward, _log_softmax, "|x - m|, log's E |log s|, the sum's error, a subtraction", 20),
    _case("log_softmax_bwd", backward(True), _log_softmax_bwd, "(gamma + E + 1) exp(y) sum |dy|, a subtraction", 20),
]
