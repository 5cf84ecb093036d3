"""Flat regions: a sigmoid neuron that is wrong and sure of it."""

from __future__ import annotations

from math import exp, log

from nncore import SGD, BinaryCrossEntropy, Dense, Sequential, Sigmoid, SquaredError
from nncore.lab.experiment import Curve, Picture, Result, at_most, exactly, experiment, slope, within
from nncore.lab.training import descend, matrix, need, need_each

SATURATED = 18.0  # sigmoid(x) is 1 in float32 from 16.6355 on


def sigmoid(z: float) -> float:
    return 1 / (1 + exp(-z))


def _squared(y: float) -> float:
    """The integral of dy / (y^3 (1 - y)^2): the time to come from sigmoid y under z' = -y^2 (1 - y)."""
    return 3 * log(y / (1 - y)) - 2 / y - 0.5 / y**2 + 1 / (1 - y)


def _entropy(y: float) -> float:
    """The integral of dy / (y^2 (1 - y)), for z' = -y."""
    return log(y / (1 - y)) - 1 / y


# The last layer, the loss, the integral.
LOSSES = {"squared error": ([Sigmoid()], SquaredError(), _squared), "cross-entropy": ([], BinaryCrossEntropy(), _entropy)}


def _steps(layers: list, loss, z0: float, rate: float, goal: float, expected: float) -> float:
    """Steps until sigmoid(w) <= goal, counted in chunks of one call each, interpolated in the last."""
    chunk = max(1, round(expected / 400))
    model = Sequential([Dense(1, bias=False), *layers], standardise="none").build((1,))
    model.assign("0.weight", [z0])
    seen, _ = descend(model, (matrix([[1.0]] * chunk), matrix([[0.0]] * chunk)), 2000, SGD(rate), loss,
                      lambda m: m.parameter("0.weight").flat()[0], lambda z: sigmoid(z) <= goal, batch=1)
    before, after = seen[-2:]
    edge = log(goal / (1 - goal))
    return chunk * (len(seen) - 2 + (before - edge) / (before - after))


def _moved(steps: int) -> float:
    """How far a saturated weight has come under squared error."""
    model = Sequential([Dense(1, bias=False), Sigmoid()], standardise="none").build((1,))
    model.assign("0.weight", [SATURATED])
    seen, _ = descend(model, (matrix([[1.0]] * steps), matrix([[0.0]] * steps)), 1, SGD(10.0), SquaredError(),
                      lambda m: m.parameter("0.weight").flat()[0], batch=1)
    return seen[-1] - SATURATED


@experiment(
    "saturation", chapter="Error surfaces", title="Flat regions: wrong, and too sure to learn",
    formula="y = sigmoid(w), target 0: w <- w - rate y^2 (1 - y) under squared error, w <- w - rate y under cross-entropy",
    theory="A saturated neuron is wrong by 1 and yet its slope y (1 - y) is nearly 0. For small rates the steps needed are an "
           "integral: t = [F(first y) - F(last y)] / rate, F(y) = 3 log(y / (1 - y)) - 2/y - 1/(2 y^2) + 1/(1 - y) under "
           "squared error, which grows as e^w with the first potential w; F(y) = log(y / (1 - y)) - 1/y under cross-entropy, "
           "which grows as w. Beyond 24 log 2 = 16.6 float32 rounds y to 1, the slope is 0 exactly, and squared error never "
           "moves at all.",
    source="Nielsen 2015, chapter 3; LeCun et al. 1998, Efficient BackProp, section 4.4")
def saturation(potentials=(0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0), rate=0.05, goal=0.1) -> Result:
    need_each("potentials", potentials, 0, 10, 3)
    need(0 < rate <= 0.2, f"rate lies above 0 and at most at 0.2, where descent still follows the integral, got {rate}")
    need(0 < goal < 0.5, f"goal is an output between 0 and 0.5, got {goal}")
    curves, findings = [], []
    for name, (layers, loss, integral) in LOSSES.items():
        theory = [(integral(sigmoid(z)) - integral(goal)) / rate for z in potentials]
        steps = [_steps(layers, loss, z, rate, goal, t) for z, t in zip(potentials, theory, strict=True)]
        curves += [Curve(name, potentials, steps), Curve(f"{name}, integral", potentials, theory, "theory")]
        worst = max(abs(s / t - 1) for s, t in zip(steps, theory, strict=True))
        findings.append(at_most(f"{name}: largest relative distance of the steps from the integral", worst, 0.05))
        if name == "squared error":
            growth = slope([exp(z) for z in potentials[-3:]], steps[-3:])
            findings.append(within("squared error: p in steps ~ e^(p w), over the last three potentials", growth, 0.8, 1.0))
    moved = _moved(1000)
    findings.append(exactly(f"1000 steps of rate 10 from w = {SATURATED:g} under squared error move w by", moved, 0.0))
    return Result(findings, [Picture("Steps until the output falls to the goal", "first potential w", "steps", curves,
                                     "Each unit of a wrong potential costs e times the steps under squared error and a fixed "
                                     "number of them under cross-entropy.", log_y=True)])
