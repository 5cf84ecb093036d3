"""What chance explains: counting, and the tail of the binomial."""

from __future__ import annotations

from math import exp, lgamma, log


def same(a: bytes, b: bytes) -> int:
    """How many bytes of two equally long strings are equal."""
    return (int.from_bytes(a, "little") ^ int.from_bytes(b, "little")).to_bytes(len(a), "little").count(0)


def at_least(k: int, n: int, p: float) -> float:
    """P(X >= k) for X ~ Binomial(n, p).

    >>> at_least(2, 2, 0.5)
    0.25
    """
    if k <= 0:
        return 1.0
    terms = (lgamma(n + 1) - lgamma(i + 1) - lgamma(n - i + 1) + i * log(p) + (n - i) * log(1 - p) for i in range(k, n + 1))
    return min(sum(map(exp, terms)), 1.0)


def improves(before: bytes, after: bytes, truth: bytes) -> tuple[int, int]:
    """(answers that were wrong and are right, answers that were right and are wrong): what McNemar's test looks at."""
    gained = sum(a == t != b for b, a, t in zip(before, after, truth, strict=True))
    lost = sum(b == t != a for b, a, t in zip(before, after, truth, strict=True))
    return gained, lost
