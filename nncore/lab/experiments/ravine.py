"""Momentum on a ravine: steps as the condition number, and as its square root."""

from __future__ import annotations

from math import log, sqrt

from nncore import SGD, Dense, Momentum, Sequential, SquaredError
from nncore.lab.experiment import Curve, Picture, Result, at_least, at_most, experiment, slope, within
from nncore.lab.training import bowl, descend, need, need_each


def _descent(condition: float, optimizer, goal: float) -> list[float]:
    """The error |w| / |w_0| after each step until it is below the goal, on curvatures 1 and 1/condition."""
    model = Sequential([Dense(1, bias=False)], standardise="none").build((2,))
    model.assign("0.weight", [1.0, 1.0])
    seen, _ = descend(model, bowl((1.0, 1 / condition)), round(40 * condition) + 400, optimizer, SquaredError(),
                      lambda m: sqrt(sum(v * v for v in m.parameter("0.weight").flat()) / 2), lambda e: e <= goal)
    return seen


def _plain(condition: float):
    return SGD(2 / (1 + 1 / condition))


def _heavy(condition: float):
    """Polyak's best rate and momentum for curvatures 1 and 1/condition."""
    root = sqrt(condition)
    return Momentum((2 / (1 + 1 / root)) ** 2, ((root - 1) / (root + 1)) ** 2)


@experiment(
    "ravine", chapter="Learning rates", title="Momentum on a ravine",
    formula="delta <- beta delta - rate g, w <- w + delta; J = 1/2 (w_1^2 + w_2^2 / kappa)",
    theory="The steep side of a ravine forbids large rates, its floor needs them. At its best rate, descent shrinks the error by "
           "(kappa - 1) / (kappa + 1) a step, so it needs about kappa/2 log(1/goal) steps. Momentum adds up what points the same "
           "way every time and cancels the swinging: at its best, (sqrt(kappa) - 1) / (sqrt(kappa) + 1) a step, times a factor "
           "that grows with the step alone. Steps grow as kappa and as its root.",
    source="Polyak 1964; Sutskever et al. 2013, section 2")
def ravine(condition=(10.0, 30.0, 100.0, 300.0, 1000.0), goal=1e-4) -> Result:
    need_each("condition", condition, 4, 1e4, 2)
    need(1e-12 <= goal <= 0.1, f"goal is an error between 1e-12 and 0.1, got {goal}")
    plain = [_descent(k, _plain(k), goal) for k in condition]
    heavy = [_descent(k, _heavy(k), goal) for k in condition]
    # The steep part of w starts with the same size as the flat one; both shrink alike at the best rate.
    theory = [log(goal) / log((k - 1) / (k + 1)) for k in condition]
    bound = [log(goal) / log((sqrt(k) - 1) / (sqrt(k) + 1)) for k in condition]
    n, m = [len(p) - 1 for p in plain], [len(h) - 1 for h in heavy]
    largest = max(range(len(condition)), key=lambda i: condition[i])
    findings = [
        at_most("descent: largest relative distance of the steps from log(goal) / log((kappa - 1) / (kappa + 1))",
                max(abs(a - t) / t for a, t in zip(n, theory, strict=True)), 0.05),
        within("descent: exponent p of steps ~ kappa^p", slope(condition, n), 0.95, 1.05),
        within("momentum: exponent p of steps ~ kappa^p", slope(condition, m), 0.40, 0.60),
        at_least(f"steps without momentum over steps with it, at kappa = {condition[largest]:g}, in units of sqrt(kappa) / 4",
                 n[largest] / m[largest] / sqrt(condition[largest]) * 4, 1),
    ]
    i = len(condition) // 2
    k = condition[i]
    return Result(findings, [
        Picture("Steps to the goal", "condition number kappa", "steps", [
            Curve("descent", condition, n), Curve("momentum", condition, m),
            Curve("descent, theory", condition, theory, "theory"), Curve("momentum, leading factor", condition, bound, "bound")],
            "Ten times the condition number costs ten times the steps, with momentum three times.", True, True),
        Picture(f"Error on the way, kappa = {k:g}", "step", "error as a share of the first", [
            Curve("descent", range(n[i] + 1), plain[i]), Curve("momentum", range(m[i] + 1), heavy[i]),
            Curve("descent, theory", [0, n[i]], [1.0, ((k - 1) / (k + 1)) ** n[i]], "theory"),
            Curve("goal", [0, n[i]], [goal, goal], "bound")],
            "Momentum first overshoots, then falls along a steeper line.", log_y=True)])
