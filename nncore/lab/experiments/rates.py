"""Learning rates, too low and too high: on a bowl, where theory is exact, and on a network."""

from __future__ import annotations

from math import inf, isfinite, log

from nncore import SGD, CrossEntropy, Dense, Executor, ReLU, Sequential, SquaredError, TerminateOnNonFinite, data
from nncore.lab.experiment import Curve, Picture, Result, at_least, at_most, exactly, experiment
from nncore.lab.training import bowl, descend, need, need_each


def _factor(eigenvalues: tuple, rate: float, steps: int) -> float:
    """By how much the error shrinks in a step once its slowest part rules: over the second half of the steps."""
    model = Sequential([Dense(1, bias=False)], standardise="none").build((len(eigenvalues),))
    model.assign("0.weight", [1.0] * len(eigenvalues))
    seen, _ = descend(model, bowl(eigenvalues), steps, SGD(rate), SquaredError(),
                      lambda m: max(map(abs, m.parameter("0.weight").flat())))
    half = steps // 2
    return (seen[steps] / seen[half]) ** (1 / (steps - half))


def _loss(train, rate: float, epochs: int) -> float:
    """The training loss a network ends with; infinite if the numbers broke."""
    model = Sequential([Dense(32), ReLU(), Dense(10)], seed=1)
    history = model.fit(train, epochs=epochs, batch=50, optimizer=SGD(rate), callbacks=[TerminateOnNonFinite("report")],
                        executor=Executor(threads=1))
    if history.stopped:
        return inf
    found = model.evaluate(train, CrossEntropy(), Executor(threads=1)).loss
    return found if isfinite(found) else inf


def _list(values) -> str:
    return ", ".join(f"{v:g}" for v in values)


@experiment(
    "rates", chapter="Learning rates", title="Learning rate: too low, right, too high",
    formula="w_i <- (1 - rate lambda_i) w_i for J = 1/2 sum_i lambda_i w_i^2",
    theory="On a bowl the error shrinks by max_i |1 - rate lambda_i| a step: a low rate is slow, the best one is "
           "2 / (lambda_min + lambda_max), and from 2 / lambda_max on every step makes the error larger. A network's surface is "
           "no bowl, but has the same three regimes: hardly any descent, descent, and a loss at log 10 (ten classes guessed) or "
           "beyond.",
    source="LeCun et al. 1998, Efficient BackProp, section 5.1; Goodfellow, Bengio, Courville 2016, section 4.3")
def rates(eigenvalues=(1.0, 0.1), shares=(0.02, 0.1, 0.3, 0.6, 0.8, 0.9, 0.95, 0.98, 1.02, 1.05, 1.1), steps=60,
          network=(1e-4, 1e-3, 1e-2, 0.1, 0.3, 1.0, 10.0, 100.0), samples=1500, epochs=3) -> Result:
    """shares: rates of the bowl as shares of 2 / lambda_max; network: rates of the network."""
    need_each("eigenvalues", eigenvalues, 1e-3, 1e3)
    need_each("shares", shares, 1e-3, 1.5)
    need_each("network", network, 0, 1e4, 2)
    need(10 <= steps <= 1000 and epochs >= 1 and samples >= 50, "steps lie between 10 and 1000, epochs are 1 or more, samples 50")
    top, low = max(eigenvalues), min(eigenvalues)
    theory = [max(abs(1 - s * 2 / top * v) for v in eigenvalues) for s in shares]
    factors = [_factor(tuple(eigenvalues), s * 2 / top, steps) for s in shares]
    best, known = _factor(tuple(eigenvalues), 2 / (top + low), steps), (top - low) / (top + low)
    train = data.glyphs(samples, 10).train
    losses = [_loss(train, r, epochs) for r in network]
    shown = [(r, min(v, 1e3)) for r, v in zip(network, losses, strict=True)]
    findings = [
        at_most("bowl: largest distance of a step's factor from max |1 - rate lambda|",
                max(abs(f - t) for f, t in zip(factors, theory, strict=True)), 0.01),
        exactly("bowl: shares at which the error grows", _list(s for s, f in zip(shares, factors, strict=True) if f > 1),
                _list(s for s in shares if s > 1)),
        at_most(f"bowl: factor at 2 / (lambda_min + lambda_max), less ({top:g} - {low:g}) / ({top:g} + {low:g})",
                best - known, 0.01),
        at_least("network: loss at the lowest rate over the best loss", losses[0] / min(losses), 5),
        at_least("network: loss at the highest rate (infinite where the numbers broke)", losses[-1], 0.9 * log(10)),
    ]
    return Result(findings, [
        Picture("A bowl: factor of the error in a step", "rate as a share of 2 / lambda_max", "factor of a step",
                [Curve("measured", shares, factors), Curve("max |1 - rate lambda|", shares, theory, "theory"),
                 Curve("no progress", [min(shares), max(shares)], [1.0, 1.0], "bound")],
                "Left of the minimum the flat direction is too slow, right of it the steep one overshoots; above 1 it diverges."),
        Picture("A network: loss after the last epoch", "rate", "loss in nats", [
            Curve("784-32-10 on glyphs", *zip(*shown, strict=True)),
            Curve("log 10, ten classes guessed", [min(network), max(network)], [log(10)] * 2, "bound")],
            "Three regimes: nothing learned yet, learned, and thrown out; a loss that broke is drawn at 1000.", True, True)])
