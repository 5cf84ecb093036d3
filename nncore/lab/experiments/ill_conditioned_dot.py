"""E9a: dot products that cancel, and what a second number saves."""

from __future__ import annotations

from array import array
from math import log2

from nncore.errors import UsageError
from nncore.lab.arithmetic import dot, floats, random_numbers, rounded
from nncore.lab.experiment import Curve, Picture, Result, at_least, at_most, experiment

U = 2.0**-24


@experiment(
    "ill-conditioned-dot", code="E9a", chapter="Cancellation", title="Ill-conditioned dot products",
    formula="kappa = sum|x y| / |sum x y|;  naive: n u kappa;  Dot2: u + n^2 u^2 kappa",
    theory="Where large products cancel, the errors made in them stay: the relative error is that of a term times kappa. Dot2 "
           "sums the errors of all products and sums apart and is as good as twice the precision rounded once, until kappa "
           "reaches 1 / u^2.",
    source="Ogita, Rump and Oishi 2005, algorithms 5.3 and 6.1")
def ill_conditioned_dot(n: int = 100, kappas: tuple[float, ...] = tuple(10.0**k for k in range(1, 16)),
                        samples: int = 10) -> Result:
    """Vectors of n floats made to each condition number, `samples` times; float32 throughout."""
    if n < 6 or min(kappas) < 1:
        raise UsageError(f"ill-conditioned-dot: n={n}, kappas={kappas}: at least 6 elements and condition numbers above 1")
    points = {"naive": [], "fma": [], "dot2": []}
    for k, kappa in enumerate(kappas):
        for sample in range(samples):
            a, b = cancelling(n, kappa, seed=sample, index=k)
            exact = dot(a, b, "exact", "fp64")
            reached = dot(floats(map(abs, a)), floats(map(abs, b)), "exact", "fp64") / abs(exact)
            for method, found in points.items():
                found.append((reached, max(abs(dot(a, b, method) - exact) / abs(exact), U / 16)))
    mild = max(e for kappa, e in points["dot2"] if kappa <= 1e4)
    harsh = sorted(e for kappa, e in points["naive"] if kappa >= 1e7)
    x = [10.0**k for k in range(int(log2(max(kappas)) / log2(10)) + 1)]
    curves = [Curve(m, *zip(*sorted(found), strict=True)) for m, found in points.items()]
    return Result(
        [at_most("Dot2, kappa up to 1e4: largest relative error in u", mild / U, 4.0),
         at_least("naive, kappa from 1e7: median relative error", harsh[len(harsh) // 2], 0.1),
         at_least("Dot2, kappa from 1e14: largest relative error", max(e for kappa, e in points["dot2"] if kappa >= 1e14), 0.1)],
        [Picture("Relative error of a dot product in float32", "condition number", "relative error",
                 [*curves, Curve("n u kappa", x, [n * U * k for k in x], "bound"),
                  Curve("u + n^2 u^2 kappa", x, [U + (n * U) ** 2 * k for k in x], "bound")],
                 "Each power of ten in kappa costs a digit; Dot2 has twice as many to lose.", log_x=True, log_y=True)])


def cancelling(n: int, kappa: float, seed: int = 0, index: int = 0) -> tuple[array, array]:
    """Two vectors of floats whose dot product cancels to about 1 / kappa of its terms.

    Half the products have exponents spread from 0 to log2 kappa; each further one takes the sum so far down to ever smaller
    size, known exactly (Ogita, Rump and Oishi 2005, algorithm 6.1).
    """
    bits, half, u = log2(kappa), n // 2, random_numbers(3 * n, seed=seed, index=index, real="f64")
    a, b = array("f"), array("f")
    for i in range(half):
        exponent = bits / 2 if i == 0 else 0.0 if i == half - 1 else u[i] * bits / 2
        a.append((2 * u[n + i] - 1) * 2.0 ** round(exponent))
        b.append((2 * u[2 * n + i] - 1) * 2.0 ** round(exponent))
    a[0], b[0] = 2.0 ** round(bits / 2), 2.0 ** round(bits / 2)  # the largest term is really there
    for i in range(half, n):
        size = 2.0 ** round(bits / 2 * (1 - (i - half + 1) / (n - half)))
        x = rounded([(2 * u[n + i] - 1) * size or size], "fp32")[0]
        a.append(x)
        b.append(((2 * u[2 * n + i] - 1) * size - dot(a[:i], b, "exact", "fp64")) / x)
    return a, b
