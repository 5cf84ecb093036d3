"""E14: one set of numbers, many sums."""

from __future__ import annotations

from nncore.errors import UsageError
from nncore.lab.arithmetic import random_numbers, shuffles, sum_of
from nncore.lab.experiment import Curve, Picture, Result, Table, at_least, exactly, experiment

SHOWN = ("naive", "lanes", "pairwise", "kahan", "neumaier", "exact")


@experiment(
    "summation-order", code="E14", chapter="Sums", title="The order of a sum",
    formula="(a + b) + c differs from a + (b + c);  an exact sum, rounded once, has no order",
    theory="Floating-point addition commutes but does not associate. Whoever lets threads or instruction sets choose the order "
           "gets another result every time; a fixed order, or a superaccumulator that holds every bit, gives one. The sums lie "
           "around the exact one, about sqrt(n) u of the partial sums' size away; how many can be told apart depends on their "
           "own spacing, so the most where the sum is small beside what was added.",
    source="Demmel and Nguyen 2015; Kulisch and Miranker 1981")
def summation_order(n: int = 10_000, orders: int = 1000, seed: int = 4) -> Result:
    """`orders` shuffles of n numbers N(0, 1), summed in float32 by each method: how many different results?"""
    if n < 2 or orders < 2:
        raise UsageError(f"summation-order: n={n}, orders={orders}: both must be at least 2")
    x = random_numbers(n, "normal", seed=seed)
    sums = {method: [] for method in SHOWN}
    for some in shuffles(x, orders, seed):
        for method in SHOWN:
            sums[method].append(sum_of(some, method))
    exact = sum_of(x, "exact", "fp64")
    ranks = list(range(1, orders + 1))
    curves = [Curve(method, ranks, [s - exact for s in sorted(sums[method])]) for method in ("naive", "pairwise", "kahan")]
    ends = [sum_of(x, "exact") - exact] * 2
    return Result(
        [at_least(f"naive: different sums in {orders} orders", len(set(sums["naive"])), 100),
         exactly("superaccumulator: different sums", len(set(sums["exact"])), 1),
         exactly("superaccumulator: the exact sum, rounded once", sums["exact"][0], sum_of(x, "exact"))],
        [Picture("Errors of the sums, sorted", "order, by its result", "sum less the exact sum",
                 [*curves, Curve("exact, rounded once", [1, orders], ends, "theory")],
                 "Every order of a naive sum is a result of its own; the superaccumulator knows one.")],
        [Table(f"{orders} orders of {n} numbers", ["method", "different sums", "smallest", "largest"],
               [[m, len(set(s)), min(s), max(s)] for m, s in sums.items()])])
