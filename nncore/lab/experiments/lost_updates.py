"""E8a: weights that no longer move, and how stochastic rounding moves them."""

from __future__ import annotations

from array import array
from math import sqrt

from nncore.errors import UsageError
from nncore.graph.formats import Format
from nncore.lab.arithmetic import floats, rounded, running_sums, sum_of
from nncore.lab.experiment import Curve, Picture, Result, at_most, exactly, experiment, rms, within


@experiment(
    "lost-updates", code="E8a", chapter="Low precision", title="Updates that are lost",
    formula="w + D = w  if  |D| <= u |w|;  stochastic: E[w] exact, sd = sqrt(N p (1 - p)) spacing, p = D / spacing",
    theory="Late in training an update is far smaller than the weight. In bf16, u = 2^-8, a thousand steps of 2^-10 leave a "
           "weight of 1 where it is: each is rounded back. Rounded up with probability p = D / spacing and else down, the weight "
           "moves as often as it must on average; N steps spread like N throws of a coin.",
    source="Gupta et al. 2015, arXiv 1502.02551; Croci et al. 2022, doi 10.1098/rsos.211631")
def lost_updates(steps: int = 1024, size: float = 2.0**-10, trials: int = 2000, format: str = "bf16") -> Result:
    """A weight of 1 and `steps` updates of `size`, to nearest and stochastically, the latter `trials` times."""
    f = Format.named(format)
    spacing = 2 * f.unit
    if steps < 1 or trials < 10 or not 0 < size < spacing:
        raise UsageError(f"lost-updates: steps={steps}, trials={trials}, size={size}: at least 1 step, 10 trials and a size "
                         f"below the spacing {spacing:g} are needed")
    updates = array("f", [size]) * steps
    terms, p, end = floats([1.0]) + updates, size / spacing, 1 + steps * size
    nearest = sum_of(terms, "naive", f)
    last = [sum_of(terms, "naive", f, "stochastic", seed=1, index=i) for i in range(trials)]
    mean = sum_of(array("d", last), "exact", "fp64") / trials
    sd, theory = rms([w - mean for w in last]), sqrt(steps * p * (1 - p)) * spacing
    steady = list(rounded([1 + f.unit, 1 + f.unit * (1 + 2.0**-20)], f))
    count = list(range(steps + 1))
    paths = [running_sums(terms, f, "stochastic", seed=1, index=i).sums for i in range(3)]
    line = [1 + i * size for i in count]
    band = [[x + s * 2 * sqrt(i * p * (1 - p)) * spacing for i, x in enumerate(line)] for s in (1, -1)]
    curves = [Curve("to nearest", count, running_sums(terms, f).sums),
              *(Curve(f"stochastic, run {i + 1}", count, list(path)) for i, path in enumerate(paths)),
              Curve("exact", count, line, "theory"), Curve("exact + 2 sd", count, band[0], "bound"),
              Curve("exact - 2 sd", count, band[1], "bound")]
    return Result(
        [exactly(f"{format}, to nearest: the weight after {steps} steps of {size:g}", nearest, 1.0),
         exactly("an update of u itself", steady[0], 1.0), exactly("an update a millionth larger", steady[1], 1 + spacing),
         at_most("stochastic: distance of the mean from the exact end, in standard errors",
                 abs(mean - end) / (sd / sqrt(trials)), 3.0),
         within("stochastic: standard deviation over that of theory", sd / theory, 0.9, 1.1)],
        [Picture(f"A weight in {format}", "updates", "weight", curves,
                 "To nearest nothing happens at all; stochastically the weight wanders about the line it should follow.")])
