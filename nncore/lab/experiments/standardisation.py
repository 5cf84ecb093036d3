"""Standardised against raw inputs: a mean that is not 0 makes a ravine."""

from __future__ import annotations

from math import hypot, inf, sqrt

from nncore import SGD, CrossEntropy, Dense, Executor, ReLU, Sequential, SquaredError, TerminateOnNonFinite, data
from nncore.lab.experiment import Curve, Picture, Result, at_least, at_most, experiment
from nncore.lab.training import descend, gaussian, matrix, need, need_each

EVERY = 2  # steps between two looks


def _curvatures(x: list[float]) -> tuple[float, float, tuple[float, float]]:
    """Eigenvalues, the larger first, of the Hessian [[E x^2, E x], [E x, 1]] of a neuron, and the unit vector of the first."""
    a, b = sum(v * v for v in x) / len(x), sum(x) / len(x)
    spread = hypot(a - 1, 2 * b)
    top, low = (a + 1 + spread) / 2, (a + 1 - spread) / 2
    v = (b, top - a) if abs(b) > 1e-9 else ((1.0, 0.0) if a >= 1 else (0.0, 1.0))
    n = hypot(*v)
    return top, low, (v[0] / n, v[1] / n)


def _theory(x: list[float], goal: float) -> float:
    """Steps until the error of (w, b), at first (1, 1), is `goal` of what it was: each part shrinks by |1 - rate lambda|."""
    top, low, v = _curvatures(x)
    steep = (v[0] + v[1]) ** 2
    rate = 2 / (top + low)
    k = 0
    while steep * (1 - rate * top) ** (2 * k) + (2 - steep) * (1 - rate * low) ** (2 * k) > 2 * goal**2:
        k += 1
    return k


def _steps(x: list[float], goal: float, most: int) -> float:
    """The same, by training a neuron on y = x + 1 from 0; looked at every second step."""
    top, low, _ = _curvatures(x)
    model = Sequential([Dense(1)], standardise="none").build((1,))
    model.assign("0.weight", [0.0])
    rows, answers = [[v] for v in x], [[v + 1] for v in x]
    seen, _ = descend(model, (matrix(rows * EVERY), matrix(answers * EVERY)), most // EVERY + 10, SGD(2 / (top + low)),
                      SquaredError(), lambda m: hypot(m.parameter("0.weight").flat()[0] - 1, m.parameter("0.bias").flat()[0] - 1),
                      lambda e: e <= goal * sqrt(2), batch=len(x))
    return EVERY * (len(seen) - 1)


def _loss(train, mode: str, rate: float, epochs: int) -> float:
    model = Sequential([Dense(32), ReLU(), Dense(10)], seed=3, standardise=mode)
    history = model.fit(train, epochs=epochs, batch=50, optimizer=SGD(rate), callbacks=[TerminateOnNonFinite("report")],
                        executor=Executor(threads=1))
    return inf if history.stopped else model.evaluate(train, CrossEntropy(), Executor(threads=1)).loss


@experiment(
    "standardisation", chapter="Learning rates", title="Standardised against raw inputs",
    formula="x' = (x - mean) / deviation; Hessian of a neuron in (w, b): [[E x^2, E x], [E x, 1]]",
    theory="An input with the mean m and deviation 1 makes the curvatures about m^2 + 2 and 1 / (m^2 + 2): a ravine of condition "
           "m^4 that needs as many more steps. Standardised, both curvatures are 1 and one step of rate 1 is enough. Pixels as "
           "bytes from 0 to 255 do the same to a network: the one direction of the mean brightness dictates a tiny rate to all.",
    source="LeCun et al. 1998, Efficient BackProp, section 4.3; Bishop 2006, section 5.3")
def standardisation(means=(0.5, 1.0, 2.0, 3.0, 5.0), goal=0.01, rates=(1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0), samples=1500,
                    epochs=3) -> Result:
    """means: of the neuron's input; rates: of the network, the best counts for each way of scaling."""
    need_each("means", means, 0, 8, 2)
    need_each("rates", rates, 1e-9, 100, 2)
    need(1e-3 <= goal <= 0.3 and samples >= 100 and epochs >= 1, "goal: 0.001 to 0.3; samples: 100 or more; epochs: 1 or more")
    base = _standard(list(gaussian(20, 1, 5).flat()))
    inputs = [[float(v + m) for v in base] for m in means]
    theory = [_theory(x, goal) for x in inputs]
    raw = [_steps(x, goal, 2 * t) for x, t in zip(inputs, theory, strict=True)]
    after = [_steps(_standard(x), goal, 100) for x in inputs]
    train = data.glyphs(samples, 10).train
    modes = {"bytes 0 to 255": "none", "bytes / 255": "unit", "standardised, one mean": "global",
             "standardised, each pixel": "feature"}
    losses = {name: [_loss(train, mode, r, epochs) for r in rates] for name, mode in modes.items()}
    plain, fine = losses["bytes 0 to 255"], losses["standardised, one mean"]
    findings = [
        at_most("neuron: largest distance of the steps from theory, relative, beyond the two of a look",
                max(max(0.0, abs(r - t) - EVERY) / t for r, t in zip(raw, theory, strict=True)), 0.05),
        at_most("neuron: steps on standardised inputs, whatever the mean; two are the first look", max(after), EVERY),
        at_least(f"neuron: steps at mean {max(means):g} over steps at mean {min(means):g}", max(raw) / min(raw), 50),
        at_least("network: best rate on standardised pixels over the best one on bytes",
                 rates[fine.index(min(fine))] / rates[plain.index(min(plain))], 10),
        at_least("network: best loss on bytes over the best loss on standardised pixels", min(plain) / min(fine), 2),
    ]
    return Result(findings, [
        Picture("A neuron: steps to one hundredth of the error", "mean of the input, in deviations", "steps", [
            Curve("raw", means, raw), Curve("standardised", means, after), Curve("raw, theory", means, theory, "theory")],
            "Steps grow as the fourth power of the mean that a subtraction would take away.", log_y=True),
        Picture(f"A network on glyphs: loss after {epochs} epochs", "rate", "loss in nats", [
            *(Curve(name, *_finite(rates, found)) for name, found in losses.items()),
            Curve("log 10, ten classes guessed", [min(rates), max(rates)], [2.302585] * 2, "bound")],
            "Bytes work at rates of a thousandth only, and worse; losses beyond 10 are left out.", True)])


def _standard(x: list[float]) -> list[float]:
    mean = sum(x) / len(x)
    deviation = sqrt(sum((v - mean) ** 2 for v in x) / len(x))
    return [(v - mean) / deviation for v in x]


def _finite(x, y) -> tuple[list, list]:
    kept = [(a, b) for a, b in zip(x, y, strict=True) if b <= 10]
    return [a for a, _ in kept], [b for _, b in kept]
