"""Statistics of the bench against counting by hand."""

from __future__ import annotations

import random
from itertools import product
from math import isclose

import pytest

from nncore.bench.stats import covers, geometric_mean, interval, mean_interval, relative_error, wilcoxon


@pytest.mark.parametrize("n", range(1, 13))
def test_coverage_is_that_of_all_sign_patterns(n):
    """Each value falls below or above the median with one half: count the patterns where the bounds enclose it."""
    for cut in range((n + 1) // 2):
        inside = sum(cut < sum(below) < n - cut for below in product((0, 1), repeat=n))
        assert isclose(covers(n, cut), inside / 2**n, abs_tol=1e-15)


def test_interval_is_the_narrowest_that_reaches_the_level():
    x = random.Random(3).sample(range(1000), 9)
    found = interval(x)
    assert (found.low, found.middle, found.high) == (sorted(x)[1], sorted(x)[4], sorted(x)[7])
    assert 0.95 <= found.level == covers(9, 1) and covers(9, 2) < 0.95


@pytest.mark.parametrize("n, level", ((1, 0.0), (2, 0.5), (5, 0.9375), (6, 0.96875)))
def test_few_rounds_reach_from_least_to_most_and_say_how_sure_that_is(n, level):
    found = interval(list(range(n)))
    assert (found.low, found.high, found.level) == (0, n - 1, level)


def test_interval_covers_as_often_as_it_says():
    draw = random.Random(1)
    hits = sum((f := interval([draw.expovariate(1) for _ in range(9)])).low <= 0.6931471805599453 <= f.high for _ in range(4000))
    assert abs(hits / 4000 - covers(9, 1)) < 4 * (0.04 * 0.96 / 4000) ** 0.5


def test_geometric_means():
    assert isclose(geometric_mean([2.0, 8.0]), 4.0)
    found = mean_interval([[1.0, 2.0, 3.0], [4.0, 8.0, 12.0]])
    assert isclose(found.middle, 4.0) and isclose(found.low, 2.0) and isclose(found.high, 6.0)


def _by_counting(differences: list[float]) -> float:
    """All signs of the ranks, one by one."""
    kept = [d for d in differences if d]
    sizes = sorted(map(abs, kept))
    ranks = [(2 * sizes.index(abs(d)) + 1 + sizes.count(abs(d))) / 2 for d in kept]

    def far(signs) -> float:
        return abs(sum(r for r, s in zip(ranks, signs, strict=True) if s) - sum(ranks) / 2)

    seen = far([d > 0 for d in kept])
    every = list(product((0, 1), repeat=len(kept)))
    return sum(far(s) >= seen - 1e-9 for s in every) / len(every)


@pytest.mark.parametrize("seed", range(12))
def test_signed_rank_test_is_exact_with_ties_and_zeros(seed):
    draw = random.Random(seed)
    differences = [float(draw.randrange(-4, 6)) for _ in range(10)] + [0.0]
    assert isclose(wilcoxon(differences), _by_counting(differences))


def test_signed_rank_test_of_nothing_and_of_much():
    assert wilcoxon([0.0, 0.0]) == 1.0
    assert wilcoxon([0.01 + 1e-6 * i for i in range(200)]) < 1e-50
    assert wilcoxon([(-1) ** i * (1 + i // 2) for i in range(40)]) == 1.0


def test_relative_error():
    assert relative_error([3.0, 4.5], [3.0, 4.0]) == 0.1
    assert relative_error([0.0, 0.5], [0.0, 0.0]) == 0.5
