"""Schedules of any hyper-parameter (rate, momentum, ...), evaluated per step in C (csrc/ops/schedule.c) from the count t of
steps done. Durations are in steps; None means "the whole run", known when the tape is built.
"""

from __future__ import annotations

from math import isfinite

from nncore.errors import UsageError
from nncore.graph import ops
from nncore.graph.node import Node, State

CONSTANT, POWER, EXPONENTIAL, PIECEWISE, ONE_CYCLE, COSINE = range(6)
COSINE_RESTARTS, GEOMETRIC, WARM_AVERAGE, RUNNING_MEAN = range(6, 10)  # the last two are those of averages.py


def _number(owner: str, name: str, value, low: float = 0.0, strict: bool = False) -> float:
    """A finite number not below `low`; UsageError names the argument."""
    ok = isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)
    if not ok or value < low or (strict and value == low):
        raise UsageError(f"{owner}: {name} must be a finite number {'above' if strict else 'at least'} {low:g}, got {value!r}")
    return float(value)


class Schedule:
    """Base: kind and parameters of a value that may change with the step."""

    kind = CONSTANT

    def parameters(self, total: int) -> tuple[float, ...]:
        """The scalars of the schedule op, given the number of steps of the run."""
        raise NotImplementedError

    def node(self, count: State, total: int) -> Node:
        """The value at step `count`, a tensor of one float64."""
        return ops.schedule(count, kind=self.kind, legs=len(getattr(self, "boundaries", ())), values=self.parameters(total))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in vars(self).items())})"


class Constant(Schedule):
    """e(t) = value."""

    def __init__(self, value: float):
        self.value = _number("Constant", "value", value)

    def parameters(self, total: int) -> tuple[float, ...]:
        return (self.value,)


class Power(Schedule):
    """e(t) = start / (1 + t / steps)."""

    kind = POWER

    def __init__(self, start: float, steps: float):
        self.start, self.steps = _number("Power", "start", start), _number("Power", "steps", steps, strict=True)

    def parameters(self, total: int) -> tuple[float, ...]:
        return (self.start, self.steps)


class Exponential(Power):
    """e(t) = start 0.1^(t / steps)."""

    kind = EXPONENTIAL


class Piecewise(Schedule):
    """e(t) = values[i] from step boundaries[i-1] up to boundaries[i]: one value more than boundaries, at most 7 of those."""

    kind = PIECEWISE

    def __init__(self, boundaries: list[int], values: list[float]):
        if len(values) != len(boundaries) + 1 or sorted(boundaries) != list(boundaries):
            raise UsageError(f"Piecewise: {len(boundaries)} ascending boundaries need {len(boundaries) + 1} values, "
                             f"got {len(values)}")
        if len(boundaries) > 7:
            raise UsageError(f"Piecewise: at most 7 boundaries, got {len(boundaries)}")
        self.boundaries = [int(b) for b in boundaries]
        self.values = [_number("Piecewise", "value", v) for v in values]

    def parameters(self, total: int) -> tuple[float, ...]:
        return (*map(float, self.boundaries), *self.values)


class Cosine(Schedule):
    """e(t) = end + (start - end) (1 + cos(pi t / T)) / 2 for t < T = steps, then end. Loshchilov and Hutter 2017, eq. 5."""

    kind = COSINE

    def __init__(self, start: float, end: float = 0.0, steps: int | None = None):
        self.start, self.end, self.steps = _number("Cosine", "start", start), _number("Cosine", "end", end), steps

    def parameters(self, total: int) -> tuple[float, ...]:
        return (self.start, self.end, float(self.steps or total))


class CosineRestarts(Schedule):
    """Cosine, over and over: from start to end in T steps, then again from start, the next cycle `growth` times as long.
    Loshchilov and Hutter 2017, section 3; Huang et al. 2017 keep a snapshot of the network at the end of each cycle.

    steps: T; or cycles: how many equal ones the whole run has, T = ceil(total / cycles). Raises UsageError unless exactly
    one of the two is given, and for cycles with growth.
    """

    kind = COSINE_RESTARTS

    def __init__(self, start: float, end: float = 0.0, steps: int | None = None, cycles: int | None = None, growth: int = 1):
        self.start, self.end = _number("CosineRestarts", "start", start), _number("CosineRestarts", "end", end)
        if (steps is None) == (cycles is None):
            raise UsageError("CosineRestarts: give steps, the length of the first cycle, or cycles, how many there are")
        for name, value in (("steps", steps), ("cycles", cycles), ("growth", growth)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise UsageError(f"CosineRestarts: {name} is a positive whole number, got {value!r}")
        if cycles is not None and growth != 1:
            raise UsageError("CosineRestarts: cycles are equal ones; with growth give the steps of the first")
        self.steps, self.cycles, self.growth = steps, cycles, growth

    def parameters(self, total: int) -> tuple[float, ...]:
        return (self.start, self.end, float(self.steps or -(-total // self.cycles)), float(self.growth))


class Geometric(Schedule):
    """e(t) = start (end / start)^(t / T) for t < T = steps, then end: the same factor at every step. Smith 2017, section 3.3,
    sweeps the rate so to find a good one."""

    kind = GEOMETRIC

    def __init__(self, start: float, end: float, steps: int | None = None):
        self.start, self.end = _number("Geometric", "start", start, strict=True), _number("Geometric", "end", end, strict=True)
        self.steps = steps

    def parameters(self, total: int) -> tuple[float, ...]:
        return (self.start, self.end, float(self.steps or total))


class OneCycle(Schedule):
    """Three linear legs: peak/10 -> peak over the first 45 % of the steps, back over the next 45 %, down to peak/10000 over
    the last 10 %; all four numbers are parameters. Smith and Topin 2018. Torch anneals by cosine.
    """

    kind = ONE_CYCLE

    def __init__(self, peak: float, start: float = 10.0, end: float = 10000.0, up: float = 0.45, down: float = 0.45,
                 steps: int | None = None):
        self.peak = _number("OneCycle", "peak", peak)
        self.start, self.end = _number("OneCycle", "start", start, 1), _number("OneCycle", "end", end, 1)
        self.up, self.down, self.steps = _number("OneCycle", "up", up), _number("OneCycle", "down", down), steps
        if up + down > 1:
            raise UsageError(f"OneCycle: up + down must not exceed 1, got {up + down:g}")

    def parameters(self, total: int) -> tuple[float, ...]:
        return (self.peak, self.start, self.end, self.up, self.down, float(self.steps or total))


def schedule(value, owner: str = "schedule", name: str = "value") -> Schedule:
    """A schedule as it is, or a number as a constant one. Raises UsageError for NaN, infinities and negatives."""
    return value if isinstance(value, Schedule) else Constant(_number(owner, name, value))


SCHEDULES = {n.lower(): c for n, c in globals().copy().items()
             if isinstance(c, type) and issubclass(c, Schedule) and c is not Schedule}
