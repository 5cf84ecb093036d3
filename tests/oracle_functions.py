"""What the elementwise functions of elementwise.c and GELU should compute, in plain Python: rung 0, as tests/oracle.py."""

from __future__ import annotations

import math
from fractions import Fraction

from tests.oracle import INF, NAN, divide, exp, log


def quotient(call):
    return [[divide(a, b) for a, b in zip(call.values(1), call.values(2), strict=True)]]


def square_root(call):
    return [[x if x != x or x == INF else NAN if x < 0 else math.sqrt(x) for x in call.values(1)]]


def exponential(call):
    return [[exp(x) for x in call.values(1)]]


def logarithm(call):
    return [[x if x != x or x == INF else NAN if x < 0 else log(x) for x in call.values(1)]]


def error_function(call):
    return [[math.erf(x) for x in call.values(1)]]


ROOT_HALF = Fraction(7071067811865475244008443621048490, 10**34)


def normal_cdf(x: float) -> float:
    """erfc(-x / sqrt 2) / 2; how far the rounded argument lies from -x / sqrt 2 moves erfc by its derivative times that."""
    if not math.isfinite(x) or abs(x) > 40:
        return 1.0 if x > 0 else 0.0 if x < 0 else x
    t = -x * float(ROOT_HALF)
    lost = float(-Fraction(x) * ROOT_HALF - Fraction(t))
    return (math.erfc(t) - lost * 2 / math.sqrt(math.pi) * math.exp(-t * t)) / 2


def normal_density(x: float) -> float:
    """exp(-x^2 / 2) / sqrt(2 pi); as above for the rounded argument of exp."""
    if abs(x) > 40:
        return 0.0
    t = -x * x / 2
    lost = float(-Fraction(x) ** 2 / 2 - Fraction(t)) if math.isfinite(x) else 0.0
    return math.exp(t) * (1 + lost) / math.sqrt(2 * math.pi)


def gelu_fwd(call):
    return [[x * normal_cdf(x) if x != -INF else -0.0 for x in call.values(1)]]


def gelu_bwd(call):
    """At an infinity x phi(x) is its limit, 0."""
    pairs = zip(call.values(1), call.values(2), strict=True)
    return [[dy * (normal_cdf(x) + (x * normal_density(x) if abs(x) != INF else 0.0)) for dy, x in pairs]]
