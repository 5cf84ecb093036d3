"""E3: three formulas of a variance, and batch normalisation of data far from zero."""

from __future__ import annotations

from array import array
from math import isfinite

from nncore.errors import UsageError
from nncore.graph import ops
from nncore.lab.arithmetic import VARIANCES, calculate, floats, random_numbers, variance_of
from nncore.lab.experiment import Curve, Picture, Result, at_most, experiment, rms, slope, within

U, EPSILON = 2.0**-24, 1e-5


@experiment(
    "variance", code="E3", chapter="Cancellation", title="The variance of data far from zero",
    formula="kappa = sqrt(1 + mean^2 / variance);  textbook n u kappa^2;  two-pass n u + (n u kappa)^2;  Welford n u kappa",
    theory="The textbook's mean of squares less square of the mean subtracts two nearly equal numbers and loses kappa^2; nothing "
           "is left of the variance at kappa = 1 / sqrt(u) = 4096, and half of the results are negative: a batch normalisation "
           "that divides by their root gives NaN. Taking the mean off first, two passes, needs no luck. Ours does so.",
    source="Chan, Golub and LeVeque 1983; Higham 2002, section 1.9; Welford 1962")
def variance(n: int = 100_000, kappas: tuple[int, ...] = (4, 16, 64, 256, 1024, 4096, 16384), seeds: int = 3,
             batches: int = 500, batch: int = 256) -> Result:
    """Variances of n numbers N(kappa, 1) in float32 by each formula; then `batches` of `batch` numbers each, normalised."""
    if n < 2 or seeds < 1 or batch < 2 or batches < 1:
        raise UsageError(f"variance: n={n}, seeds={seeds}, batches={batches} of {batch}: variances need two numbers")
    errors = {method: [] for method in VARIANCES}
    for k, kappa in enumerate(kappas):
        found = {method: [] for method in VARIANCES}
        for seed in range(seeds):
            x = floats(z + kappa for z in random_numbers(n, "normal", seed=seed, index=k, real="f64"))
            exact = variance_of(x, "two-pass", "fp64")
            for method in VARIANCES:
                found[method].append(abs(variance_of(x, method) - exact) / exact)
        for method in VARIANCES:
            errors[method].append(max(rms(found[method]), U / 16))
    low = [i for i, kappa in enumerate(kappas) if 16 <= kappa <= 1024]
    some = [i for i, kappa in enumerate(kappas) if kappa <= 4096]

    def exponent(method: str, at: list[int]) -> float:
        return slope([kappas[i] for i in at], [errors[method][i] for i in at])

    means, textbook, kernel = _batches(batches, batch)
    findings = [within("textbook: exponent of kappa, 16 to 1024", exponent("textbook", low), 1.7, 2.3),
                within("two-pass: exponent of kappa up to 4096", exponent("two-pass", some), -0.1, 0.1),
                at_most("two-pass: largest relative error", max(errors["two-pass"]), 4e-5),
                at_most("Welford: exponent of kappa", exponent("welford", list(range(len(kappas)))), 1.0),
                within("batches that the textbook formula makes NaN or infinite at kappa = 4096, %",
                       textbook[means.index(4096)], 30, 55),
                at_most("batches that our kernel makes NaN or infinite at any kappa, %", max(kernel), 0.0)]
    x = list(kappas)
    worst = [Curve("n u kappa^2", x, [min(n * U * k * k, 1e3) for k in x], "bound"),
             Curve("n u + (n u kappa)^2", x, [n * U + (n * U * k) ** 2 for k in x], "bound"),
             Curve("u kappa^2", x, [U * k * k for k in x], "theory")]
    return Result(findings, [
        Picture(f"Relative error of a variance of {n} numbers in float32", "kappa", "relative error",
                [*(Curve(m, x, e) for m, e in errors.items()), *worst],
                "The textbook formula loses two digits for every digit of kappa; the other two stay far below their bounds.",
                log_x=True, log_y=True),
        Picture(f"Batches of {batch} whose variance + {EPSILON:g} is not positive", "mean / deviation", "% of the batches",
                [Curve("textbook", means, textbook), Curve("our batch normalisation", means, kernel),
                 Curve("half", [means[0], means[-1]], [50.0, 50.0], "bound")],
                "Where nothing is left of the variance its sign is a throw of a coin.", log_x=True)])


def _batches(count: int, n: int) -> tuple[list[int], list[float], list[float]]:
    """Shares of batches, in %, without a finite 1 / sqrt(variance + epsilon), by mean: by the textbook, and by our op."""
    means, textbook, kernel = [2**k for k in range(4, 15, 2)], [], []
    for k, mean in enumerate(means):
        x = floats(z + mean for z in random_numbers(n * count, "normal", seed=11, index=k, real="f64"))
        found = floats(variance_of(x[i : i + n], "textbook") + EPSILON for i in range(0, n * count, n))
        root = calculate(lambda v: ops.quotient(ops.fill(v, 1.0), ops.square_root(v)), found)
        textbook.append(100 * sum(not isfinite(v) for v in root) / count)
        y = calculate(lambda v: _normalised(v, count), _columns(x, n, count))
        kernel.append(100 * len({i % count for i, v in enumerate(y) if not isfinite(v)}) / count)
    return means, textbook, kernel


def _columns(x: array, n: int, count: int) -> array:
    """Batches side by side: batch j is column j of (n, count)."""
    out = array("f", bytes(4 * len(x)))
    for j in range(count):
        out[j::count] = x[j * n : (j + 1) * n]
    return out


def _normalised(v, count: int):
    return ops.batch_norm(ops.reshape(v, (v.size // count, count)), None, None, eps=EPSILON)


