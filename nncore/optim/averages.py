"""Averages of the weights over the steps of a training: builders of graphs. `fit(..., average=EMA(0.999))`.

The averages are states beside the weights. They are what validation sees after each epoch and what the model holds when
training ends; the training itself does not notice them, bit for bit.
"""

from __future__ import annotations

from nncore.errors import UsageError
from nncore.graph import ops
from nncore.graph.node import Leaf, Node, State
from nncore.optim.schedules import RUNNING_MEAN, WARM_AVERAGE, Constant, Schedule, _number

PREFIX = "average."


class _Rate(Schedule):
    """The rate of `blend` at each step, by a kind of csrc/ops/schedule.c."""

    def __init__(self, kind: int, *values: float):
        self.kind, self.values = kind, values

    def parameters(self, total: int) -> tuple[float, ...]:
        return self.values


class Average:
    """Base: e <- e + rate (w - e) behind every update. `statistics`: whether running statistics are averaged like weights, or
    have to be measured again with the averaged weights."""

    statistics = True

    def rate(self, total: int, steps_per_epoch: int) -> Schedule:
        """The rate of every step."""
        raise NotImplementedError

    def effects(self, leaves: list[Leaf], states: dict[str, State], count: State, total: int, epoch: int) -> list[Node]:
        """One effect per averaged leaf, for a tape that has updated them all. `count` are the steps done before this one."""
        rate = self.rate(total, epoch).node(count, total)
        return [ops.blend(average_of(w, states), w, rate) for w in leaves]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in vars(self).items())})"


def average_of(leaf: Leaf, states: dict[str, State]) -> State:
    """The state that holds a leaf's average; `states` keeps leaves by name over several tapes."""
    name = PREFIX + leaf.name
    return states.setdefault(name, State(name, leaf.shape))


class EMA(Average):
    """Exponential moving average: e <- e + (1 - d)(w - e) after every step, from the first weights on. Polyak and Juditsky
    1992. Running statistics are averaged the same way.

    decay: d, about 1 - 1 / (steps it remembers). warmup: d_t = min(d, (1 + t) / (10 + t)) at the step with t steps before
    it, as TensorFlow's num_updates: early averages forget the random start sooner. Raises UsageError unless 0 <= d < 1.
    """

    def __init__(self, decay: float = 0.999, warmup: bool = False):
        if _number("EMA", "decay", decay) >= 1:
            raise UsageError(f"EMA: decay must lie in [0, 1), got {decay!r}")
        self.decay, self.warmup = float(decay), warmup

    def rate(self, total: int, steps_per_epoch: int) -> Schedule:
        return _Rate(WARM_AVERAGE, 1 - self.decay) if self.warmup else Constant(1 - self.decay)


class SWA(Average):
    """Stochastic weight averaging: the mean of the weights at the ends of epochs, from `start` on. Izmailov et al. 2018,
    algorithm 1; meant with a rate that stays high (a constant one, or cycles) from there.

    start: a share of the training in [0, 1), or a number of steps; the first weights are those of the first multiple of
    `every` steps from there on. every: steps from one to the next, an epoch by default. Until the first the average is
    the weights themselves. Running statistics are measured anew over the training data (`update_statistics`).
    Raises UsageError for a start or a distance that makes no sense.
    """

    statistics = False

    def __init__(self, start: float | int = 0.75, every: int | None = None):
        share = isinstance(start, float) and 0 <= start < 1
        if not share and (isinstance(start, bool) or not isinstance(start, int) or start < 0):
            raise UsageError(f"SWA: start is a share of the training in [0, 1) or a number of steps, got {start!r}")
        if every is not None and (isinstance(every, bool) or not isinstance(every, int) or every < 1):
            raise UsageError(f"SWA: every is a positive number of steps, got {every!r}")
        self.start, self.every = start, every

    def rate(self, total: int, steps_per_epoch: int) -> Schedule:
        every = self.every or steps_per_epoch
        start = int(self.start * total) if isinstance(self.start, float) else self.start
        first = max(-(-start // every), 1) * every
        return _Rate(RUNNING_MEAN, float(first), float(every))
