"""What csrc/ops/average.c should compute: clipped gradients, averaged weights. Rung 0, as tests/oracle.py."""

from __future__ import annotations

import math

from tests.oracle import dot


def clip(call):
    (c,) = call.scalars
    return [[x if x != x else max(-c, min(c, x)) for x in call.values(1)]]


def clip_factor(call):
    """Never more than 1; what has overflowed is scaled to nothing."""
    (s,), (c,) = call.values(1), call.scalars
    return [[1.0 if s <= c * c else c / math.sqrt(s)]]


def blend(call):
    """The convex combination (1 - rate) e + rate w, in the form that keeps e where they agree."""
    (rate,) = call.values(2)

    def mixed(e, w):
        difference = w - e
        return w if rate == 1 else dot((1.0, rate), (e, difference)) if math.isfinite(difference) else e + rate * difference

    return [[mixed(e, w) for e, w in zip(call.values(0), call.values(1), strict=True)]]
