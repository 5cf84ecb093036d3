"""Cliffs: a chain that applies one weight T times, and the step that falls off its wall."""

from __future__ import annotations

from math import inf, isfinite

from nncore import SGD, ClipNorm, Dense, Input, Model, SquaredError
from nncore.lab.experiment import Curve, Picture, Result, at_least, at_most, exactly, experiment
from nncore.lab.training import Gradients, descend, matrix, need


def chain(length: int, weight: float) -> Model:
    """y = w^T x: one Dense of one weight, applied T times."""
    x, link = Input((1,)), Dense(1, bias=False)
    h = x
    for _ in range(length):
        h = link(h)
    model = Model(x, h, standardise="none").build((1,))
    model.assign("0.weight", [weight])
    return model


def _walk(length: int, start: float, rate: float, steps: int, target: float, clip) -> tuple[list[float], str | None]:
    """The weight after each step, and why the walk ended early, if it did."""
    model = chain(length, start)
    return descend(model, (matrix([[1.0]]), matrix([[target]])), steps, SGD(rate), SquaredError(),
                   lambda m: m.parameter("0.weight").flat()[0], clip=clip)


@experiment(
    "cliffs", chapter="Error surfaces", title="Cliffs, and clipping the gradient",
    formula="J(w) = 1/2 (w^T - c)^2, dJ/dw = T w^(T-1) (w^T - c); clipped: g <- g min(1, limit / |g|)",
    theory="A chain of equal weights has a floor where w < 1 and a wall where w > 1: the gradient goes from T c w^(T-1), next to "
           "nothing, to T w^(2T-1). A step of plain descent from the wall lands anywhere. Clipped, no step is longer than "
           "rate x limit, and the direction is kept: the walk comes down the wall and ends in the minimum c^(1/T).",
    source="Pascanu, Mikolov, Bengio 2013, section 2.3 and algorithm 1; Goodfellow, Bengio, Courville 2016, section 8.2.4")
def cliffs(length=40, start=1.15, rate=1e-3, limit=1.0, target=0.5, steps=600) -> Result:
    need(2 <= length <= 100, f"length lies between 2 and 100, got {length}")
    need(1 < start <= 1.3 and 0 < target < 1, "start lies on the wall, between 1 and 1.3; target between 0 and 1")
    need(rate > 0 and limit > 0 and steps >= 10, "rate and limit are above 0, steps 10 or more")
    best = target ** (1 / length)
    places = [0.7 + (start - 0.7) * i / 40 for i in range(41)]
    model = chain(length, start)
    gradient = Gradients(model, (matrix([[1.0]]), matrix([[target]])), SquaredError())
    measured, theory = [], []
    for w in places:
        model.assign("0.weight", [w])
        w = model.parameter("0.weight").flat()[0]
        measured.append(gradient()["0.weight"][0])
        theory.append(length * w ** (length - 1) * (w**length - target))
    free, why = _walk(length, start, rate, steps, target, None)
    tied, _ = _walk(length, start, rate, steps, target, ClipNorm(limit))
    longest = max(abs(b - a) for a, b in zip(tied, tied[1:], strict=False))
    # Near the minimum both terms of w^T - c cancel: its rounding error, about T/2 ulp of c, is measured against c.
    error = max(abs(m - t) / (length * abs(t / (w**length - target)) * max(w**length, target) / length)
                for m, t, w in zip(measured, theory, places, strict=True))
    jump = max((abs(b - a) for a, b in zip(free, free[1:], strict=False) if isfinite(b)), default=inf)
    findings = [
        at_most("largest error of the gradient, relative to its larger term, in units of T 2^-24",
                error / (length * 2.0**-24), 1.5),
        at_least("gradient at the start over the one at w = 0.7, on the floor", abs(measured[-1] / measured[0]), 1e6),
        at_least("plain descent: longest step, in units of the distance to the minimum", jump / (start - best), 100),
        at_most("clipped: longest step in units of rate x limit", longest / (rate * limit), 1 + 1e-3),
        at_most("clipped: distance from the minimum at the end, relative", abs(tied[-1] / best - 1), 1e-4),
        exactly("clipped: steps done without an overflow or a NaN", len(tied) - 1, steps),
    ]
    shown = [(i, min(abs(w - best), 1e6) or 1e-9) for i, w in enumerate(free) if isfinite(w)]
    return Result(findings, [
        Picture("The gradient from the floor to the wall", "weight w", "size of the gradient", [
            Curve("measured", places, [abs(m) for m in measured]),
            Curve("T w^(T-1) (w^T - c)", places, [abs(t) for t in theory], "theory")],
            "Seven and more powers of ten lie between the floor and the wall; the dip is the minimum.", log_y=True),
        Picture("Distance from the minimum", "step", "|w - w*|", [
            Curve("clipped", range(len(tied)), [max(abs(w - best), 1e-9) for w in tied]),
            Curve("plain descent", *zip(*shown, strict=True)),
            Curve("rate x limit a step", *_bound(start - best, rate * limit), "bound")],
            f"One plain step leaves for good ({_ending(why)}); the clipped walk comes down the wall step by step.", log_y=True)])


def _bound(distance: float, step: float) -> tuple[list[int], list[float]]:
    """The distance that is left if every step is as long as the clip allows."""
    last = int(distance / step)
    return list(range(last)), [distance - i * step for i in range(last)]


def _ending(why: str | None) -> str:
    return "the numbers broke there" if why else "it never comes back"
