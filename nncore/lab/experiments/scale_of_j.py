"""The same problem as J and as 10000 J: what a factor on the loss does to a training."""

from __future__ import annotations

from math import inf, sqrt

from nncore import SGD, Adam, CrossEntropy, Dense, Sequential, Tanh
from nncore.lab.experiment import Curve, Picture, Result, Table, at_least, at_most, exactly, experiment
from nncore.lab.training import descend, gaussian, need
from nncore.tensor import Tensor


def _data(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Points in the plane, labelled by the side of a circle that holds half of them."""
    x = gaussian(n, 2, seed)
    flat = x.flat()
    return x, Tensor((n,), "u8", bytes(int(flat[2 * i] ** 2 + flat[2 * i + 1] ** 2 > 1.386) for i in range(n)))


def _weights(data, optimizer, reduction: str, steps: int) -> tuple[list[list[float]], str | None]:
    """All weights before the first step and after each; why it ended early, if it did."""
    model = Sequential([Dense(8), Tanh(), Dense(2)], seed=5, standardise="none")
    return descend(model, data, steps, optimizer, CrossEntropy(reduction=reduction),
                   lambda m: [v for name in m.parameters for v in m.parameter(name).flat()])


def _apart(a: list[list[float]], b: list[list[float]]) -> list[float]:
    """|w - w'| / |w'| after each step."""
    return [sqrt(sum((p - q) ** 2 for p, q in zip(u, v, strict=True)) / sum(q * q for q in v))
            for u, v in zip(a, b, strict=False)]


@experiment(
    "scale-of-j", chapter="Learning rates", title="The same problem as J and as 10000 J",
    formula="argmin c J = argmin J; SGD: w - rate (c g); Adam: m / sqrt(v) of c g is that of g",
    theory="A factor on the loss moves no minimum, but SGD's step is proportional to the gradient: 10000 J at the rate of J is J "
           "at 10000 times its rate, which diverges. With the rate divided by c the walk is the same, to the bit if c is a power "
           "of 2, for then every product is exact; with c = 10000 up to rounding. Adam divides by the root of the mean square "
           "and does not see c at all, but for its eps. The sum over a batch of N instead of its mean is such a factor, N.",
    source="Kingma and Ba 2015, section 2.1; Goldberg 1991, on exact scaling by powers of the base")
def scale_of_j(power=13, factor=10_000, rate=0.5, steps=60, seed=2) -> Result:
    """power: the batch of 2^power samples, summed, is 2^power J; factor: the same with another number of samples."""
    need(1 <= power <= 16 and 2 <= factor <= 65_536 and factor & (factor - 1),
         "power: 1 to 16; factor: 2 to 65536, no power of 2")
    need(0 < rate <= 1 and 5 <= steps <= 2000, "rate: above 0, at most 1; steps: 5 to 2000")
    n = 1 << power
    two, ten = _data(n, seed), _data(factor, seed)
    mean, _ = _weights(two, SGD(rate), "mean", steps)
    same, _ = _weights(two, SGD(rate / n), "sum", steps)
    base, _ = _weights(ten, SGD(rate), "mean", steps)
    scaled, _ = _weights(ten, SGD(rate / factor), "sum", steps)
    wild, _ = _weights(ten, SGD(rate), "sum", steps)
    adam, _ = _weights(two, Adam(0.01, eps=0.0), "mean", steps)
    blind, _ = _weights(two, Adam(0.01, eps=0.0), "sum", steps)
    apart, away = _apart(scaled, base), _apart(wild, base)
    rows = [["SGD, rate / 2^k", f"2^{power}", _apart(same, mean)[-1]], ["SGD, rate / c", factor, apart[-1]],
            ["SGD, the same rate", factor, away[-1]], ["Adam, eps = 0, the same rate", f"2^{power}", _apart(blind, adam)[-1]]]
    findings = [
        exactly(f"SGD on 2^{power} J at rate / 2^{power}: distance of the weights from those of J", max(_apart(same, mean)), 0.0),
        exactly(f"Adam on 2^{power} J, eps = 0, at the same rate: distance of the weights", max(_apart(blind, adam)), 0.0),
        at_most(f"SGD on {factor} J at rate / {factor}: relative distance of the weights, by rounding alone", max(apart), 1e-4),
        at_least(f"SGD on {factor} J at rate / {factor}: the same, which is not 0", max(apart), 1e-9),
        at_least(f"SGD on {factor} J at the rate of J: relative distance of the weights", max(v for v in away if v < inf), 100),
    ]
    return Result(findings, [Picture("Distance of the weights from those of J", "step", "relative distance", [
        Curve(f"{factor} J, rate / {factor}", range(1, len(apart)), [max(v, 1e-9) for v in apart[1:]]),
        Curve(f"{factor} J, the same rate", range(1, len(away)), [max(v, 1e-9) for v in away[1:]]),
        Curve("unit roundoff 2^-24", [1, steps], [2.0**-24] * 2, "bound")],
        "Divided by the factor the walk is the same but for rounding; undivided it is another one from the first step.",
        log_y=True)], [Table("After the last step", ["training", "factor", "distance"], rows)])
