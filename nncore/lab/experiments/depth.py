"""Gradients over depth: what a layer does to their size, at random weights."""

from __future__ import annotations

from math import exp, log, log2, pi, sqrt, tanh

from nncore import Dense, Sequential, Sigmoid, SquaredError, Tanh, init
from nncore.lab.experiment import Curve, Picture, Result, at_most, experiment, rms
from nncore.lab.training import Gradients, gaussian, matrix, need, need_each

NODES = [k / 10 for k in range(-80, 81)]


def _mean(f) -> float:
    """E f(z) for z ~ N(0, 1), by the trapezoidal rule, which is exact to float64 here."""
    return sum(f(z) * exp(-z * z / 2) for z in NODES) * 0.1 / sqrt(2 * pi)


def theory(gain: float, layers: int) -> list[float]:
    """Sizes of the gradients of tanh layers of infinite width as shares of the last one's, on an input of rms 1.

    Potentials have the variance q_1 = gain^2, q_(l+1) = gain^2 E tanh(sqrt(q_l) z)^2; a gradient is multiplied by
    gain sqrt(E tanh'(sqrt(q_l) z)^2) as it enters layer l from above.
    """
    q, factors = gain * gain, []
    for _ in range(layers - 1):
        s = sqrt(q)
        factors.append(gain * sqrt(_mean(lambda z, s=s: (1 - tanh(s * z) ** 2) ** 2)))
        q = gain * gain * _mean(lambda z, s=s: tanh(s * z) ** 2)
    found = [1.0]
    for f in reversed(factors):
        found.insert(0, found[0] * f)
    return found


def sizes(activation, gain: float, layers: int, width: int, seed: int) -> list[float]:
    """rms of dJ/d(potential) in each layer: the gradient of its biases, for one sample."""
    stack = [part for _ in range(layers) for part in (Dense(width, init=init.Normal(gain / sqrt(width))), activation())]
    model = Sequential([*stack, Dense(1)], seed=seed, standardise="none")
    x = gaussian(1, width, seed)
    found = Gradients(model, (x, matrix([[1.0]])), SquaredError())()
    return [rms(found[f"{2 * k}.bias"]) for k in range(layers)]


def _mean_sizes(activation, gain: float, layers: int, width: int, seeds: int) -> list[float]:
    """Sizes by layer as shares of the last one's: geometric means over the seeds."""
    runs = [sizes(activation, gain, layers, width, seed) for seed in range(seeds)]
    return [exp(sum(log(r[k] / r[-1]) for r in runs) / seeds) for k in range(layers)]


def _bits(values: list[float]) -> float:
    """log2 of the mean factor from a layer to the one before it."""
    return log2(values[0] / values[-1]) / (len(values) - 1)


@experiment(
    "depth", chapter="Gradients", title="Vanishing and exploding gradients over depth",
    formula="delta_l = phi'(z_l) * W_(l+1)^T delta_(l+1); rms factor per layer = sqrt(g^2 E phi'(z)^2), weights N(0, g^2 / n)",
    theory="Each layer multiplies a gradient by its weights and by the slope of its activation, so over L layers its size goes "
           "as a power L. With weights N(0, g^2/n) and tanh the factor tends to g for g <= 1, where potentials die out and the "
           "slope is 1; g = 1 is the edge; beyond it the factor is above 1, though saturation takes back a part. A sigmoid's "
           "slope is at most 1/4: with g = 1 every layer takes two bits and more.",
    source="Hochreiter 1991; Glorot and Bengio 2010; Schoenholz et al. 2017, section 4; Nielsen 2015, chapter 5")
def depth(gains=(0.5, 0.75, 1.0, 1.5, 2.0, 3.0), layers=16, width=200, seeds=6) -> Result:
    need_each("gains", gains, 0.1, 10)
    need(6 <= layers <= 60 and 16 <= width <= 1000 and seeds >= 1, "layers: 6 to 60; width: 16 to 1000; seeds: 1 or more")
    curves, bits, expected = [], [], []
    for gain in gains:
        found = _mean_sizes(Tanh, gain, layers, width, seeds)
        curves.append((gain, found, theory(gain, layers)))
        bits.append(_bits(found))
        expected.append(_bits(curves[-1][2]))
    squashed = _mean_sizes(Sigmoid, 1.0, layers, width, seeds)
    findings = [at_most(f"tanh, g = {g:g}: bits a layer adds to the gradient, distance from theory's {t:+.3f}", abs(b - t), 0.05)
                for g, b, t in zip(gains, bits, expected, strict=True)]
    findings += [at_most("sigmoid, g = 1: bits a layer adds to the gradient", _bits(squashed), -2.0)]
    numbers = list(range(1, layers + 1))
    shown = [c for c in curves if c[0] in (min(gains), 1.0, max(gains))]
    lines = [*(Curve(f"tanh, g = {g:g}", numbers, v) for g, v, _ in shown), Curve("sigmoid, g = 1", numbers, squashed),
             *(Curve(f"theory, g = {g:g}", numbers, t, "theory") for g, _, t in shown)]
    return Result(findings, [
        Picture("Size of the gradient by layer", "layer, from the input", "rms, as a share of the last layer's", lines,
                "From right to left the gradient is multiplied once a layer: only at the edge g = 1 does it arrive.", log_y=True),
        Picture("What one layer does", "gain g of tanh weights", "bits added to the gradient", [
            Curve("measured", gains, bits), Curve("mean-field theory", gains, expected, "theory"),
            Curve("kept", [min(gains), max(gains)], [0.0, 0.0], "bound")],
            "Below the line gradients vanish with depth, above it they explode.")])
