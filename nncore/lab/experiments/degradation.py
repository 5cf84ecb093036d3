"""Graceful degradation: units knocked out of a trained network, and what retraining brings back."""

from __future__ import annotations

import random

from nncore import Adam, Dense, Executor, ReLU, Sequential, data
from nncore.lab.experiment import Curve, Picture, Result, at_least, at_most, experiment
from nncore.lab.training import need, need_each

DEAD = -1e6  # a bias that no input overcomes: the ReLU is 0, its gradient too, so retraining cannot wake the unit


def _knock_out(model: Sequential, units: list[int]) -> Sequential:
    """A copy without these hidden units."""
    found = model.copy()
    bias = list(found.parameter("0.bias").flat())
    for u in units:
        bias[u] = DEAD
    found.assign("0.bias", bias)
    return found


def _accuracy(model: Sequential, split) -> float:
    return model.evaluate(split, executor=Executor(threads=1)).accuracy


@experiment(
    "degradation", chapter="Networks", title="Graceful degradation: units knocked out, then retrained",
    formula="accuracy(share of hidden units that always answer 0), before and after an epoch of retraining of the rest",
    theory="What a network has learned is spread over many units, none of which is the one for a digit. So damage takes accuracy "
           "away bit by bit, where a program would stop at its first missing line: a tenth of the units hardly matters, without "
           "any it guesses, one in ten. The rest retrained takes over: with half of the units gone it does nearly what all did.",
    source="Rumelhart and McClelland 1986, chapter 1; Hinton and Sejnowski 1986, on relearning after damage")
def degradation(shares=(0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0), units=64, draws=10, samples=3000, tests=1000, epochs=6,
                seed=0) -> Result:
    """draws: sets of units knocked out per share, whose accuracies are averaged; one of them is retrained."""
    need_each("shares", shares, 0, 1, 2)
    need(8 <= units <= 512 and draws >= 1 and samples >= 100 and tests >= 100 and epochs >= 1,
         "units: 8 to 512; draws, epochs: 1 or more; samples, tests: 100 or more")
    glyphs, dice = data.glyphs(samples, tests), random.Random(seed)
    model = Sequential([Dense(units), ReLU(), Dense(10)], seed=seed)
    model.fit(glyphs.train, epochs=epochs, batch=50, optimizer=Adam(2e-3), executor=Executor(threads=1))
    whole = _accuracy(model, glyphs.test)
    damaged, again = [], []
    for share in shares:
        cut = [_knock_out(model, dice.sample(range(units), round(share * units))) for _ in range(draws)]
        damaged.append(sum(_accuracy(c, glyphs.test) for c in cut) / draws)
        cut[0].fit(glyphs.train, epochs=1, batch=50, optimizer=Adam(2e-3), executor=Executor(threads=1))
        again.append(_accuracy(cut[0], glyphs.test))
    near = {s: min(range(len(shares)), key=lambda i, s=s: abs(shares[i] - s)) for s in (0.1, 0.5, 1.0)}
    tenth, half, all_ = (near[s] for s in (0.1, 0.5, 1.0))
    steps = [(b - a, f - e) for a, b, e, f in zip(shares, shares[1:], damaged, damaged[1:], strict=False)]
    findings = [
        at_most(f"accuracy lost with {shares[tenth]:.0%} of the units gone", whole - damaged[tenth], 0.06),
        at_least(f"accuracy with {shares[half]:.0%} of the units gone", damaged[half], 0.4),
        at_most(f"accuracy with {shares[all_]:.0%} of the units gone; guessing is 0.1", damaged[all_], 0.15),
        at_most(f"accuracy lost with {shares[half]:.0%} of the units gone, retrained for an epoch", whole - again[half], 0.05),
        at_most("largest rise of the accuracy as more units go", max(f for _, f in steps), 0.02),
    ]
    return Result(findings, [Picture("Accuracy without a share of the hidden units", "share of units knocked out",
                                     "accuracy on the test set", [
        Curve(f"damaged, mean of {draws}", shares, damaged), Curve("retrained for an epoch", shares, again),
        Curve("whole network", [0.0, 1.0], [whole, whole], "bound"), Curve("guessing", [0.0, 1.0], [0.1, 0.1], "bound")],
        "The fall is gradual, and what is left relearns nearly everything, until too little is left.")])
