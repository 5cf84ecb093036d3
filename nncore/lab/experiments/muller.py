"""E9c: a recurrence that every arithmetic gets wrong."""

from __future__ import annotations

from array import array
from math import log10

from nncore.errors import UsageError
from nncore.graph import ops
from nncore.lab.arithmetic import calculate, operate
from nncore.lab.experiment import Curve, Picture, Result, at_most, exactly, experiment, rms


@experiment(
    "muller", code="E9c", chapter="Cancellation", title="Muller's recurrence",
    formula="x_{n+1} = 108 - (815 - 1500 / x_{n-1}) / x_n,  x_0 = 4, x_1 = 4.25",
    theory="The solutions are (a 3^(n+1) + b 5^(n+1) + c 100^(n+1)) / (a 3^n + b 5^n + c 100^n); from these starts c = 0 and the "
           "limit is 5. Any rounding error makes c different from 0, and 100 / 5 = 20 times as large a share in every step. All "
           "precisions end at 100, and look converged; samples with random rounding tell on the way that no digit is left.",
    source="Muller 1989; Kahan 2006, How futile are mindless assessments of roundoff")
def muller(steps: int = 30, samples: int = 100) -> Result:
    """The recurrence in float32 and float64 on our kernels, and `samples` times in float32 with random rounding."""
    if steps < 20 or samples < 10:
        raise UsageError(f"muller: steps={steps}, samples={samples}: at least 20 and 10 are needed")
    single, double = _recurrence(steps, "f32"), _recurrence(steps, "f64")
    digits = _digits(steps, samples)
    gone = next((n for n, d in enumerate(digits) if n > 1 and d < 1), steps)
    true = [(3.0 * (3 / 5) ** n + 5) / ((3 / 5) ** n + 1) for n in range(steps)]
    n = list(range(steps))
    return Result(
        [exactly("float32: x_10, to 2 decimals", float(f"{single[10]:.2f}"), 99.26),
         exactly("float32: x_15", single[15], 100.0),
         exactly("float64: x_15, to 1 decimal", float(f"{double[15]:.1f}"), 168.9),
         exactly("float64: x_20, to 10 digits", float(f"{double[20]:.10g}"), 100.0000125),
         at_most("random rounding: the n at which less than one digit is left in float32", gone, 8)],
        [Picture("Muller's recurrence", "n", "x_n",
                 [Curve("float32", n, single), Curve("float64", n, double), Curve("exact", n, true, "theory")],
                 "Both converge nicely, to a number that has nothing to do with the solution."),
         Picture("Significant digits of x_n in float32", "n", "decimal digits",
                 [Curve("random rounding", n, digits),
                  Curve("7.2 - n log10(20)", n[:8], [7.2 - k * log10(20) for k in n[:8]], "theory")],
                 "The samples part by a factor of 20 in every step and agree again only when all of them are wrong.")])


def _recurrence(steps: int, real: str) -> list[float]:
    """x_0 ... x_{steps-1}, each operation an op of the tape."""

    def build(before, now):
        xs = [before, now]
        for _ in range(steps - 2):
            inner = ops.sub(ops.fill(now, 815.0), ops.quotient(ops.fill(now, 1500.0), xs[-2]))
            xs.append(ops.sub(ops.fill(now, 108.0), ops.quotient(inner, xs[-1])))
        return xs[2:]

    return [4.0, 4.25, *(x[0] for x in calculate(build, [4.0], [4.25], real=real))]


def _digits(steps: int, samples: int) -> list[float]:
    """-log10(sd / |mean|) of samples of each x_n, all operations rounded stochastically; at most the 7.2 of float32."""
    before, now = array("d", [4.0]) * samples, array("d", [4.25]) * samples
    found, draw = [7.2, 7.2], 0

    def rounding(a, operation: str, b) -> array:
        nonlocal draw
        draw += 1
        return operate(a, operation, b, "fp32", "stochastic", seed=5, index=draw)

    def constant(c: float) -> array:
        return array("d", [c]) * samples

    for _ in range(steps - 2):
        inner = rounding(constant(815.0), "-", rounding(constant(1500.0), "/", before))
        before, now = now, rounding(constant(108.0), "-", rounding(inner, "/", now))
        mean = sum(now) / samples
        spread = rms([x - mean for x in now])
        found.append(min(7.2, -log10(spread / abs(mean))) if spread else 7.2)
    return found
