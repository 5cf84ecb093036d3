"""E8b: long sums in bf16, rounded to nearest and stochastically."""

from __future__ import annotations

from math import sqrt

from nncore.errors import UsageError
from nncore.graph.formats import Format
from nncore.lab.arithmetic import random_numbers, sum_of
from nncore.lab.experiment import Curve, Picture, Result, at_most, experiment, rms, within


@experiment(
    "stochastic-rounding", code="E8b", chapter="Low precision", title="Stochastic rounding of long sums",
    formula="to nearest: s stops at 1 / u, error 1 - 2 / (u n) for U(0, 1);  stochastic, |d| < 2 u: error of the order sqrt(n) u",
    theory="To nearest a sum of U(0, 1) stops at 1 / u = 256 in bf16, where half the spacing is 1; of n / 2 it should have "
           "reached it lacks 1 - 512 / n. Stochastic errors have mean zero whatever the data, so they grow like sqrt(n) u at "
           "most. A single one may be larger: rounded stochastically an operation errs by up to 2 u, and sqrt(n) 2 u is what "
           "holds with high probability.",
    source="Connolly, Higham and Mary 2021, doi 10.1137/20M1334796; Croci et al. 2022, doi 10.1098/rsos.211631")
def stochastic_rounding(n: tuple[int, ...] = tuple(2**k for k in range(6, 16)), seeds: int = 40, format: str = "bf16") -> Result:
    """Relative errors of sums of n numbers U(0, 1) in a format, `seeds` of each length."""
    if min(n) < 2 or seeds < 2:
        raise UsageError(f"stochastic-rounding: n={n}, seeds={seeds}: lengths above 1 and two seeds are needed")
    f, nearest, stochastic, worst = Format.named(format), [], [], []
    for k, length in enumerate(n):
        errors = {"nearest": [], "stochastic": []}
        for seed in range(seeds):
            x = random_numbers(length, seed=seed, index=k)
            exact = sum_of(x, "exact", "fp64")
            for rounding, found in errors.items():
                found.append(abs(sum_of(x, "naive", f, rounding, seed=seed, index=k) - exact) / exact)
        nearest.append(rms(errors["nearest"]))
        stochastic.append(rms(errors["stochastic"]))
        worst.append(max(errors["stochastic"]))
    stops = 2 / f.unit  # twice the sum at which a term below 1 is lost
    findings = [within(f"to nearest, n = {length}: relative error, less 1 - {stops:g} / n", e - (1 - stops / length), -0.01, 0.01)
                for length, e in zip(n, nearest, strict=True) if length >= 4 * stops]
    findings += [at_most(f"stochastic, n = {length}: rms error in sqrt(n) u", e / (sqrt(length) * f.unit), 1.0)
                 for length, e in zip(n, stochastic, strict=True)]
    findings += [at_most(f"stochastic, n = {length}: largest error of {seeds} in sqrt(n) 2 u",
                         e / (sqrt(length) * 2 * f.unit), 1.0)
                 for length, e in zip(n, worst, strict=True)]
    late = [length for length in n if length > stops]
    return Result(findings, [Picture(
        f"Relative error of a sum in {format}", "terms", "relative error",
        [Curve("to nearest, rms", n, nearest), Curve("stochastic, rms", n, stochastic), Curve("stochastic, largest", n, worst),
         Curve(f"1 - {stops:g} / n", late, [1 - stops / k for k in late], "theory"),
         Curve("sqrt(n) u", n, [sqrt(k) * f.unit for k in n], "bound"),
         Curve("sqrt(n) 2 u", n, [2 * sqrt(k) * f.unit for k in n], "bound")],
        "To nearest the sum stops and the error tends to 1; stochastically it stays below sqrt(n) u.", log_x=True, log_y=True)])
