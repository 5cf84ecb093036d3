"""The noise of a mini-batch's gradient."""

from __future__ import annotations

import random
from math import sqrt

from nncore import BinaryCrossEntropy, Dense, Sequential, Tanh
from nncore.lab.experiment import Curve, Picture, Result, at_most, experiment, slope, within
from nncore.lab.training import Gradients, gaussian, matrix, need, need_each


def _flat(found: dict) -> list[float]:
    return [v for name, values in found.items() if name != "output" for v in values]


def _distance2(a: list[float], b: list[float]) -> float:
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


@experiment(
    "minibatch", chapter="Learning rates", title="The noise of a mini-batch gradient",
    formula="g_B = 1/m sum_(i in B) g_i: sqrt(E |g_B - g|^2) = sigma / sqrt(m) sqrt((N - m) / (N - 1)), sigma^2 = E |g_i - g|^2",
    theory="The gradient of a mini-batch is the mean of m samples' gradients, right on average, with the standard error sigma / "
           "sqrt(m): four times the work halves the noise. That is why small batches learn more per sample seen, and why larger "
           "ones allow larger rates. Batches drawn without putting back know a little more: the last root is 0 at m = N.",
    source="Bottou 2010; Goodfellow, Bengio, Courville 2016, section 8.1.3; Cochran 1977, theorem 2.2")
def minibatch(sizes=(1, 4, 16, 64, 256), samples=1000, draws=150, features=12, seed=1) -> Result:
    need_each("sizes", sizes, 1, samples / 2, 2)
    need(20 <= samples <= 20_000 and draws >= 20 and 1 <= features <= 200,
         "samples: 20 to 20000; draws: 20 or more; features: 1 to 200")
    x, dice = gaussian(samples, features, seed), random.Random(seed)
    flat = x.flat()
    labels = [[float(flat[i * features] + dice.gauss(0, 1) > 0)] for i in range(samples)]
    model = Sequential([Dense(8), Tanh(), Dense(1)], seed=seed, standardise="none")
    whole = _flat(Gradients(model, (x, matrix(labels)), BinaryCrossEntropy())())
    single = Gradients(model, (x, matrix(labels)), BinaryCrossEntropy(), 1)
    sigma = sqrt(sum(_distance2(_flat(single([i])), whole) for i in range(samples)) / samples)
    noise, means = [], []
    for m in sizes:
        measure = Gradients(model, (x, matrix(labels)), BinaryCrossEntropy(), int(m))
        found = [_flat(measure(dice.sample(range(samples), int(m)))) for _ in range(draws)]
        noise.append(sqrt(sum(_distance2(g, whole) for g in found) / draws))
        means.append(sqrt(_distance2([sum(v) / draws for v in zip(*found, strict=True)], whole)))
    theory = [sigma / sqrt(m) * sqrt((samples - m) / (samples - 1)) for m in sizes]
    findings = [
        at_most("largest relative distance of the noise from sigma / sqrt(m) sqrt((N - m) / (N - 1))",
                max(abs(a / t - 1) for a, t in zip(noise, theory, strict=True)), 0.15),
        within("exponent p of noise ~ m^p, the correction for N taken out",
               slope(sizes, [a / sqrt((samples - m) / (samples - 1)) for a, m in zip(noise, sizes, strict=True)]), -0.55, -0.45),
        at_most("distance of the mean over the draws from the whole gradient, in standard errors",
                max(d / (t / sqrt(draws)) for d, t in zip(means, theory, strict=True)), 2.0),
    ]
    return Result(findings, [Picture("Noise of the gradient", "batch m", "root of the mean squared distance", [
        Curve(f"measured, {draws} batches each", sizes, noise),
        Curve("sigma / sqrt(m), without putting back", sizes, theory, "theory"),
        Curve("sigma / sqrt(m)", sizes, [sigma / sqrt(m) for m in sizes], "bound")],
        "A hundred times the batch is a tenth of the noise.", True, True)])
