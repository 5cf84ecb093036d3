"""What figures of several rounds say: medians, their intervals, geometric means, and tests of a change.

Nothing is assumed of how times scatter. An interval of a median is one between two order statistics: it holds the median
of what was drawn from with a probability that the binomial distribution gives exactly (Conover 1999, section 3.2), and
that is stated. Of fewer than six rounds none reaches 95 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, exp, fsum, log
from statistics import median

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A median with the bounds that hold it with probability `level`."""

    middle: float
    low: float
    high: float
    level: float


def interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """The median and the narrowest symmetric order-statistic interval of at least `level`, or from least to most.

    >>> interval([3, 1, 2, 5, 4, 6, 9, 8, 7])
    Interval(middle=5, low=2, high=8, level=0.9609375)
    """
    x, n, cut = sorted(values), len(values), 0
    while cut + 1 <= (n - 1) // 2 and covers(n, cut + 1) >= level:
        cut += 1
    return Interval(median(x), x[cut], x[n - 1 - cut], covers(n, cut))


def covers(n: int, cut: int) -> float:
    """Probability that the median lies between the order statistics cut and n - 1 - cut, counted from 0."""
    return 1 - 2 * sum(comb(n, i) for i in range(cut + 1)) / 2**n


def geometric_mean(values: Sequence[float]) -> float:
    """exp of the mean of the logarithms."""
    return exp(fsum(map(log, values)) / len(values))


def mean_interval(rounds: Sequence[Sequence[float]], level: float = LEVEL) -> Interval:
    """The geometric mean over cases, once for each round, and its interval over rounds. rounds[case][round]."""
    return interval([geometric_mean(values) for values in zip(*rounds, strict=True)], level)


def wilcoxon(differences: Sequence[float]) -> float:
    """Two-sided p of the signed-rank test that the differences lie around 0; zeros dropped, ties share ranks.

    Exact: the distribution of the rank sum is counted over all signs (Wilcoxon 1945; Hollander and Wolfe 1999, 3.1), in
    half ranks so that shared ranks stay whole.

    >>> wilcoxon([1, 2, 3, 4, 5])
    0.0625
    """
    found = sorted((d for d in differences if d), key=abs)
    ranks = _doubled_ranks([abs(d) for d in found])
    total = sum(ranks)
    ways = [1] + [0] * total
    for rank in ranks:
        for s in range(total, rank - 1, -1):
            ways[s] += ways[s - rank]
    positive = sum(r for r, d in zip(ranks, found, strict=True) if d > 0)
    tail = sum(ways[: min(positive, total - positive) + 1])
    return min(1.0, 2 * tail / 2 ** len(ranks))


def _doubled_ranks(ordered: list[float]) -> list[int]:
    """Twice the rank of each, the mean rank where several are equal."""
    ranks, at = [], 0
    while at < len(ordered):
        end = at
        while end < len(ordered) and ordered[end] == ordered[at]:
            end += 1
        ranks += [at + 1 + end] * (end - at)
        at = end
    return ranks


def relative_error(found: Sequence[float], exact: Sequence[float]) -> float:
    """|found - exact| / |exact|, Euclidean norms; the norm of the difference alone where exact is 0."""
    difference = fsum((a - b) ** 2 for a, b in zip(found, exact, strict=True))
    size = fsum(b * b for b in exact)
    return (difference / size if size else difference) ** 0.5
