"""What the elementwise functions of elementwise.c should compute, in plain Python: rung 0, as tests/oracle.py."""

from __future__ import annotations

import math

from tests.oracle import INF, NAN, divide, exp, log


def quotient(call):
    return [[divide(a, b) for a, b in zip(call.values(1), call.values(2), strict=True)]]


def square_root(call):
    return [[x if x != x or x == INF else NAN if x < 0 else math.sqrt(x) for x in call.values(1)]]


def exponential(call):
    return [[exp(x) for x in call.values(1)]]


def logarithm(call):
    return [[x if x != x or x == INF else NAN if x < 0 else log(x) for x in call.values(1)]]
