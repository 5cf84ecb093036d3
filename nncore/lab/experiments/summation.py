"""E1: how the error of a sum grows with its length, by method."""

from __future__ import annotations

from math import ceil, log2, sqrt

from nncore.errors import UsageError
from nncore.graph.formats import Format
from nncore.lab.arithmetic import random_numbers, sum_of
from nncore.lab.experiment import Curve, Picture, Result, at_most, experiment, rms, slope, within

SEQUENTIAL = sqrt(1 / 21)
LANES = 16
SHOWN = ("naive", "blocked", "lanes", "pairwise", "kahan", "neumaier")


@experiment(
    "summation", code="E1", chapter="Sums", title="The error of a sum",
    formula="fl(a + b) = (a + b)(1 + d), |d| <= u;  worst case of n terms (n - 1) u sum|x|;  rms for U(0, 1): sqrt(n / 21) u",
    theory="Each addition errs by at most u of the sum so far. In the worst case the errors add up to n u; having either sign, "
           "they grow like sqrt(n) u. Partial sums of U(0, 1) grow like k / 2 and an error of spacing s has the rms s / "
           "sqrt(12); the spacing lies between u and 2 u of the sum, evenly in the sum itself, so the mean of its square is (7 / "
           "3) u^2 for a unit spread over an octave; together sqrt(n / 21) u = 0.218 sqrt(n) u. Blocks of sqrt(n) terms make "
           "that n^(1/4), W lanes divide it by W, a binary tree needs only log2(n) additions in a row, and what Kahan and "
           "Neumaier carry along makes the error independent of n.",
    source="Higham 2002, chapter 4; Higham and Mary 2019, doi 10.1137/18M1226312")
def summation(n: tuple[int, ...] = (2**8, 2**10, 2**12, 2**14, 2**16, 2**18), seeds: int = 100, format: str = "fp32") -> Result:
    """Sums of n uniform numbers, `seeds` times each, in a format; the truth from the superaccumulator."""
    if len(n) < 2 or min(n) < 2 or seeds < 2:
        raise UsageError(f"summation: n={n}, seeds={seeds}: at least two lengths above 1 and two seeds are needed")
    u, errors = Format.named(format).unit, {method: [] for method in SHOWN}
    for k, length in enumerate(n):
        found = {method: [] for method in SHOWN}
        for seed in range(seeds):
            x = random_numbers(length, seed=seed, index=k)
            exact = sum_of(x, "exact", "fp64")
            for method in SHOWN:
                found[method].append((sum_of(x, method, format) - exact) / exact / u)
        for method in SHOWN:
            errors[method].append(found[method])
    middle = {method: [rms(e) for e in lists] for method, lists in errors.items()}
    worst = {method: [max(map(abs, e)) for e in lists] for method, lists in errors.items()}
    findings = [within(f"naive, n = {length}: rms error in sqrt(n) u", e / sqrt(length), 0.17, 0.27)
                for length, e in zip(n, middle["naive"], strict=True)]
    findings += [within("naive: exponent of n", slope(n, middle["naive"]), 0.45, 0.55)]
    for method in ("kahan", "neumaier"):
        findings += [at_most(f"{method}: largest error in u", max(worst[method]), 1.01),
                     within(f"{method}: exponent of n", slope(n, middle[method]), -0.05, 0.05)]
    findings += [at_most("pairwise: largest rms error in u", max(middle["pairwise"]), 1.2)]
    findings += [at_most(f"pairwise, n = {length}: largest error in log2(n) u", e / log2(length), 1.0)
                 for length, e in zip(n, worst["pairwise"], strict=True)]
    findings += [within("blocks of sqrt(n): exponent of n", slope(n, middle["blocked"]), 0.20, 0.30)]
    findings += [within(f"16 lanes, n = {length}: how many times smaller than naive", a / b, 12, 21)
                 for length, a, b in zip(n, middle["naive"], middle["lanes"], strict=True) if length >= 2**14]
    return Result(findings, [_rms(n, middle), _worst(n, worst)])


def _rms(n, middle: dict) -> Picture:
    return Picture(
        "RMS error of a sum of U(0, 1)", "terms", "error in u",
        [*(Curve(m, n, middle[m]) for m in SHOWN),
         Curve("sqrt(n / 21)", n, [SEQUENTIAL * sqrt(k) for k in n], "theory"),
         Curve("sqrt(n / 21) / 16", n, [SEQUENTIAL * sqrt(k) / LANES for k in n], "theory")],
        "Naive sums lose half a bit whenever their length doubles; a tree, or a second number that carries what was lost, keeps "
        "them all.", log_x=True, log_y=True)


def _worst(n, worst: dict) -> Picture:
    return Picture(
        "Largest error of a sum and its bound", "terms", "error in u",
        [*(Curve(m, n, worst[m]) for m in ("naive", "pairwise", "neumaier")),
         Curve("naive: n - 1", n, [k - 1 for k in n], "bound"),
         Curve("pairwise: log2(n)", n, [ceil(log2(k)) for k in n], "bound"),
         Curve("compensated: 2", n, [2.0] * len(n), "bound")],
        "No error passes its bound. That of the naive sum is far away: it would need all errors of one sign.",
        log_x=True, log_y=True)


