"""Sums by every method in fractions of integers, each operation exact and then rounded: what csrc/accumulate.h is held against.

Written from the formulas of csrc/sums.c, not from its text: pairwise as a recursion over halves of a power of two, blocks and
lanes as slices. Values are normal numbers of the format and 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import ceil, floor, isqrt

from nncore.graph.formats import Arithmetic


def rounded(x: Fraction, bits: int, direction: str = "nearest") -> Fraction:
    """x to so many bits of significand; Python rounds fractions half to even."""
    if x == 0:
        return x
    e = abs(x).numerator.bit_length() - abs(x).denominator.bit_length()
    e -= abs(x) < Fraction(2) ** e
    spacing = Fraction(2) ** (e - bits + 1)
    to = {"nearest": round, "up": ceil, "down": floor, "zero": lambda q: floor(q) if q > 0 else ceil(q)}[direction]
    return to(x / spacing) * spacing


class Sums:
    """An arithmetic: to nearest each result is float32's first."""

    def __init__(self, arithmetic: Arithmetic):
        self.bits, self.direction = arithmetic.format.precision, arithmetic.rounding

    def fl(self, x: Fraction) -> Fraction:
        if self.direction == "nearest":
            x = rounded(x, 24)
        return rounded(x, self.bits, self.direction)

    def total(self, method: str, terms: Sequence[tuple]) -> Fraction:
        """The sum of the terms, (x,) or (a, b) for a product."""
        if method == "exact":
            return rounded(sum(map(_value, terms), Fraction(0)), self.bits, self.direction)
        return getattr(self, method)([tuple(map(Fraction, t)) for t in terms])

    def chain(self, terms) -> Fraction:
        s = Fraction(0)
        for t in terms:
            s = self.fl(_value(t) + s)
        return s

    naive = chain

    def add(self, values) -> Fraction:
        return self.chain([(v,) for v in values])

    def pairwise(self, terms) -> Fraction:
        if len(terms) < 2:
            return self.chain(terms)
        half = 1 << (len(terms) - 1).bit_length() - 1
        return self.fl(self.pairwise(terms[:half]) + self.pairwise(terms[half:]))

    def blocked(self, terms) -> Fraction:
        b = isqrt(max(len(terms) - 1, 0)) + 1
        return self.add([self.chain(terms[i : i + b]) for i in range(0, len(terms), b)])

    def lanes(self, terms) -> Fraction:
        lane = [self.chain(terms[i::16]) for i in range(16)]
        while len(lane) > 1:
            half = len(lane) // 2
            lane = [self.fl(a + b) for a, b in zip(lane[:half], lane[half:], strict=True)]
        return lane[0]

    def _compensated(self, terms, lost: Callable) -> Fraction:
        s = c = Fraction(0)
        for t in terms:
            p = self.fl(_value(t)) if len(t) == 2 else t[0]
            s, c = lost(s, c, p, t)
        return s, c

    def kahan(self, terms) -> Fraction:
        def step(s, c, p, t):
            y = self.fl(p - c)
            new = self.fl(s + y)
            return new, self.fl(self.fl(new - s) - y)

        return self._compensated(terms, step)[0]

    def neumaier(self, terms) -> Fraction:
        def step(s, c, p, t):
            new, (large, small) = self.fl(s + p), (s, p) if abs(s) >= abs(p) else (p, s)
            return new, self.fl(c + self.fl(self.fl(large - new) + small))

        return self.fl(sum(self._compensated(terms, step)))

    def dot2(self, terms) -> Fraction:
        def step(s, c, p, t):
            new = self.fl(s + p)
            z = self.fl(new - s)
            error = self.fl(self.fl(s - self.fl(new - z)) + self.fl(p - z))
            if len(t) == 2:
                error = self.fl(error + self.fl(_value(t) - p))
            return new, self.fl(c + error)

        return self.fl(sum(self._compensated(terms, step)))


def _value(t: tuple) -> Fraction:
    return Fraction(t[0]) * Fraction(t[1]) if len(t) == 2 else Fraction(t[0])
