"""E9b: significant digits by rounding at random."""

from __future__ import annotations

from array import array
from math import log2

from nncore.errors import UsageError
from nncore.lab.arithmetic import floats, random_numbers, sum_of
from nncore.lab.experiment import Curve, Picture, Result, experiment, rms, within


@experiment(
    "monte-carlo-arithmetic", code="E9b", chapter="Cancellation", title="Counting significant digits by chance",
    formula="s = -log2(sd / |mean|) over the samples;  here 24 - log2(kappa + 1) - log2(n / 42) / 2 bits",
    theory="Every addition is rounded at random, up or down with the probability of the distance to the other side. What the "
           "samples agree on is significant. Random rounding has twice the variance of rounding to nearest, so a sum S of n "
           "numbers U(0, 1) carries the error sqrt(2 n / 21) u S; where most of S is then taken off again, all but 2 S / (kappa "
           "+ 1), that is sqrt(n / 42) u (kappa + 1) of what is left: a bit of the condition number is a bit of the result.",
    source="Parker 1997; Sohier et al. 2021, arXiv 1807.09655")
def monte_carlo_arithmetic(kappas: tuple[int, ...] = (1, 6, 11, 16, 21), samples: int = 100, n: int = 50,
                           vectors: int = 20) -> Result:
    """Sums of n numbers U(0, 1) and one that takes most of it off, kappa = 2^k; `samples` of each of `vectors` in float32."""
    if samples < 10 or n < 2 or vectors < 1 or len(kappas) < 2 or max(kappas) > 22 or min(kappas) < 0:
        raise UsageError(f"monte-carlo-arithmetic: samples={samples}, n={n}, kappas={kappas}: at least 10 samples, 2 terms and 2 "
                         "exponents from 0 to 22")
    measured = [sum(_bits(2.0**k, samples, n, vector, k) for vector in range(vectors)) / vectors for k in kappas]
    middle, mean = sum(kappas) / len(kappas), sum(measured) / len(kappas)
    slope = (sum((k - middle) * (s - mean) for k, s in zip(kappas, measured, strict=True))
             / sum((k - middle) ** 2 for k in kappas))
    x, start = list(range(max(kappas) + 1)), 24 - log2(n / 42) / 2
    return Result(
        [within("bits lost per bit of the condition number", slope, -1.05, -0.95),
         within("significant bits at kappa = 1, by the line", mean - slope * middle, 23, 24)],
        [Picture("Significant bits of a sum in float32", "log2 of the condition number", "bits",
                 [Curve("measured", kappas, measured),
                  Curve("24 - log2(kappa + 1) - log2(n / 42) / 2", x, [start - log2(2.0**k + 1) for k in x], "theory")],
                 "A bit of the condition number is a bit of the result.")])


def _bits(kappa: float, samples: int, n: int, seed: int, index: int) -> float:
    """-log2(sd / |mean|) of a sum of that condition number, added in float32 with random rounding."""
    x = random_numbers(n, seed=seed, index=index)
    x.append(floats([-sum_of(x, "exact", "fp64") * (kappa - 1) / (kappa + 1)])[0])
    found = array("d", (sum_of(x, "naive", "fp32:sr", seed=seed, index=index * samples + i) for i in range(samples)))
    mean = sum_of(found, "exact", "fp64") / samples
    return -log2(rms([v - mean for v in found]) / abs(mean))
