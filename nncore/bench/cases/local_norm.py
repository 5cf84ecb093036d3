"""Cases of csrc/ops/local_norm.c. Sizes are (rows, channels, channels of a window).

s is a sum of positive terms: size roundings of fma (and a product in the reference), those of alpha, k, the last fma.
s^-beta: beta times that; the logarithm's E and two products' roundings on beta |log s|; E for exp.
"""

from __future__ import annotations

import math

from nncore.bench.cases import ELEMENTARY as E
from nncore.bench.cases import SPILL, Bound, Call, Case, data, gamma, given, made
from nncore.bench.cases.softmax import rows

SHAPES = ((0, 8, 5), (1, 1, 5), (3, 4, 5), (7, 10, 3), (5, 16, 5), (3, 17, 1), (4, 33, 7), (2, 100, 129), (3, 257, 5),
          (2, 513, 9), (70, 65, 5), (1, 4100, 5), (1, 4001, 129))  # fmt: skip
BENCH = ((25_088, 64, 5), (6272, 96, 5))


def _forward_call(*scalars):
    def make(size, kind, rng) -> Call:
        N, C, _ = size
        return Call([made(N * C), made(N * C), given(data(N * C, kind, rng))], size, scalars)

    return make


def _power_error(s, beta, s_error):
    return 1.01 * (beta * s_error + (E + 2.1) * beta * abs(math.log(s)) + E + 1)


def _forward(call, exact):
    beta, s_error = call.scalars[2], gamma(call.dims[2] + 5)
    out = [[], []]
    for y, s in zip(*exact, strict=True):
        finite = 0 < s < math.inf
        out[0].append(abs(y) * (_power_error(s, beta, s_error) + 2) if finite else 0.0)
        out[1].append(s * s_error + SPILL if finite else 0.0)
    return out


def _backward_call(*scalars):
    def make(size, kind, rng) -> Call:
        n = size[0] * size[1]
        s = [scalars[0] + abs(v) for v in data(n, "normal", rng)]
        return Call([made(n), given(data(n, kind, rng)), given(data(n, "normal", rng)), given(s)], size, scalars)

    return make


def _backward(call, exact):
    """A term of the sum: the power's error, two products and a division (the reference: s^(-beta - 1) at once); gamma_size for
    the sum; the factor's rounding and two products. The direct part: the power's and a product. One fma or subtraction."""
    C, half, (_, alpha, beta), out = call.dims[1], call.dims[2] // 2, call.scalars, []
    for dy, x, s in zip(*(rows(call.values(i), C) for i in (1, 2, 3)), strict=True):
        error = [_power_error(v, beta + 1, 0) for v in s]
        term = [abs(a * b) * v ** (-beta - 1) for a, b, v in zip(dy, x, s, strict=True)]
        for c in range(C):
            window = range(max(0, c - half), min(C, c + half + 1))
            through = sum(term[j] * (gamma(len(window) + 8) + error[j]) for j in window) + len(window) * 2 * SPILL
            direct = abs(dy[c]) * s[c] ** -beta
            out.append(direct * (error[c] + 3) + 2 * alpha * beta * abs(x[c]) * through + 2 * SPILL)
    return [out]


def _case(op, make, bound, variant="", bench=()):
    return Case(op, make, SHAPES, Bound("the power's error on all it enters", bound, tiny=4), variant=variant, bench=bench,
                flop=lambda N, C, size: (40 + 2 * size) * N * C)  # fmt: skip


CASES = [
    _case("local_norm_fwd", _forward_call(2.0, 1e-4, 0.75), _forward, bench=BENCH),
    _case("local_norm_fwd", _forward_call(0.5, 0.3, 1.3), _forward, "strong"),
    _case("local_norm_bwd", _backward_call(2.0, 1e-4, 0.75), _backward, bench=BENCH),
    _case("local_norm_bwd", _backward_call(0.5, 0.3, 1.3), _backward, "strong"),
]  # fmt: skip
