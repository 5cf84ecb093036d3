"""Submissions that share rare mistakes. A hint for the instructor to look at both sources, never a verdict.

Two networks that learned from the same data err on the same hard images, so a shared mistake weighs the less the more others
make it: its weight is the logarithm of how rare that wrong answer is among all submissions. How much two independent ones
share is found by permutation: each submission's answers are moved, by a random rotation, among test samples of the same class
that as many of the class got wrong. Each pair is measured by how many standard deviations its sum lies above its mean, and
must beat the largest such figure of any pair in each permutation (Westfall and Young 1993): p is the chance that any pair of
an honest class looks so much alike. In a class of a few, what a pair shares cannot be told from what is hard; who predicts the
very same for every sample is told in any.
"""

from __future__ import annotations

import random
from array import array
from collections import Counter, defaultdict
from itertools import combinations
from math import log, sqrt

from nncore.assign.verdict import Result

LEVEL = 0.05
FEWEST = 4  # submissions with predictions
_WORK = 3_000_000  # mistakes looked at in all permutations
_MOST = 20  # pairs told
_RARE = 6  # submissions that give an answer which still counts as rare
_CODE = 256  # sample and answer as one number: sample * 256 + answer


def pairs(results: list[Result], truth: bytes, seed: int = 0) -> dict:
    """{"level", "permutations", "pairs": [{"a", "b", "identical", "shared", "mistakes", "deviations", "p"}]}: identical ones,
    then those below the level, the likeliest first.
    """
    named = [r for r in results if len(set(r.predictions)) > 1]  # who answers the same to everything says nothing
    if len(named) < FEWEST:
        return {"level": LEVEL, "permutations": 0, "pairs": []}
    mistakes = [[i * _CODE + p for i, (p, t) in enumerate(zip(r.predictions, truth, strict=True)) if p != t] for r in named]
    n, times = len(named), max(min(_WORK // max(sum(map(len, mistakes)), 1), 199), 24)
    chance = random.Random(seed)
    strata, place = _strata(truth, mistakes, chance)
    seen = _shared(mistakes)
    drawn = [_sums(seen, n)]
    drawn += [_sums(_shared([_rotated(m, strata, place, chance) for m in mistakes]), n) for _ in range(times)]
    scores, largest = _standardised(drawn, n)
    found = [(i, j, None, None) for i, j in combinations(range(n), 2) if named[i].predictions == named[j].predictions]
    same = {pair[:2] for pair in found}
    for score, i, j in sorted(scores, reverse=True)[:_MOST]:
        p = sum(x >= score for x in largest) / (times + 1)  # what was seen is one of them
        if p < LEVEL and (i, j) not in same:
            found.append((i, j, score, p))
    told = [{"a": named[i].submission, "b": named[j].submission, "identical": p is None, "deviations": score, "p": p,
             "shared": seen.get((i, j), (0, 0))[1], "mistakes": [len(mistakes[i]), len(mistakes[j])]} for i, j, score, p in found]
    return {"level": LEVEL, "permutations": times, "pairs": told}


def _shared(mistakes: list[list[int]]) -> dict[tuple[int, int], tuple[float, int]]:
    """{pair: (sum of weights, number)} of the rare wrong answers two submissions have in common."""
    who: dict[int, list[int]] = defaultdict(list)
    for k, codes in enumerate(mistakes):
        for code in codes:
            who[code].append(k)
    n, most = len(mistakes), max(3, min(len(mistakes) // 10, _RARE))
    sums: dict[tuple[int, int], tuple[float, int]] = {}
    for those in who.values():
        if 2 <= len(those) <= most:
            weight = log(n / (len(those) - 1))
            for pair in combinations(those, 2):
                before = sums.get(pair, (0.0, 0))
                sums[pair] = before[0] + weight, before[1] + 1
    return sums


def _sums(shared: dict[tuple[int, int], tuple[float, int]], n: int) -> array:
    found = array("d", bytes(8 * n * n))
    for (i, j), (weight, _) in shared.items():
        found[i * n + j] = weight
    return found


def _strata(truth: bytes, mistakes: list[list[int]], chance: random.Random) -> tuple[list[list[int]], dict[int, tuple[int, int]]]:
    """Groups of samples of one class and difficulty, shuffled, and {sample: (group, place in it)}."""
    difficulty = Counter(code // _CODE for codes in mistakes for code in codes)
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i in sorted(difficulty):
        groups[truth[i], difficulty[i]].append(i)
    strata = list(groups.values())
    for group in strata:
        chance.shuffle(group)
    return strata, {i: (g, at) for g, group in enumerate(strata) for at, i in enumerate(group)}


def _rotated(codes: list[int], strata: list[list[int]], place: dict[int, tuple[int, int]], chance: random.Random) -> list[int]:
    """The same wrong answers on other samples of their strata."""
    by = [int(chance.random() * len(group)) for group in strata]
    found = []
    for code in codes:
        g, at = place[code // _CODE]
        group = strata[g]
        found.append(group[(at + by[g]) % len(group)] * _CODE + code % _CODE)
    return found


def _standardised(drawn: list[array], n: int) -> tuple[list[tuple[float, int, int]], list[float]]:
    """(deviations of each pair as it is, the first of the draws; the largest deviations of any pair in each draw)."""
    scores, largest, times, least = [], [0.0] * len(drawn), len(drawn), 2 * log(n)  # one shared answer is no sign
    for i, j in combinations(range(n), 2):
        sums = [d[i * n + j] for d in drawn]
        mean = sum(sums) / times
        spread = max(sqrt(sum((x - mean) ** 2 for x in sums) / times), least)
        figures = [(x - mean) / spread for x in sums]
        largest = list(map(max, largest, figures))
        if sums[0] > mean:
            scores.append((figures[0], i, j))
    return scores, largest
