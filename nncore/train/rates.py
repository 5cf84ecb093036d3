"""Finding a learning rate: a few steps with a rate that grows from step to step, and a look at the loss. Smith 2017, section
3.3: below the right rate the loss hardly falls, above it it rises; the best rates lie before the valley.

    found = nn.find_rate(model, data.train)
    model.fit(data.train, optimizer=nn.Adam(nn.OneCycle(found.suggestion)))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite

from nncore.errors import NonFiniteError, UsageError
from nncore.graph import ops
from nncore.graph.node import State
from nncore.graph.plan import Layout
from nncore.graph.tape import Executor, Memory, compile_tape
from nncore.optim.optimizers import Adam
from nncore.optim.schedules import Geometric, Schedule, _number
from nncore.train.steps import externals


@dataclass(frozen=True)
class RateSearch:
    """What `find_rate` saw: the rate, the batch's loss and the smoothed loss of each step."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]

    @property
    def lowest(self) -> float:
        """The rate at which the smoothed loss is lowest: already too large to train with."""
        return self.rates[self._valley]

    @property
    def steepest(self) -> float | None:
        """The rate at which the smoothed loss falls fastest on the logarithmic axis, over a tenth of the steps, before its
        lowest point and behind the first tenth, which has nothing to smooth with; None if it never falls."""
        s = self.smoothed
        h = max(1, len(s) // 20)
        slopes = {i: s[i + h] - s[i - h] for i in range(len(s) // 10 + h, min(self._valley + 1, len(s) - h))}
        best = min(slopes, key=slopes.__getitem__, default=None)
        return self.rates[best] if best is not None and slopes[best] < 0 else None

    @property
    def suggestion(self) -> float | None:
        """The smaller of the steepest and a tenth of the lowest, to two digits: a peak for OneCycle; None if the loss never
        falls, then try another range."""
        return None if self.steepest is None else float(f"{min(self.steepest, self.lowest / 10):.1e}")

    @property
    def _valley(self) -> int:
        return min(range(len(self.smoothed)), key=self.smoothed.__getitem__)

    def plot_data(self) -> dict:
        """The search as JSON for a report."""
        return {"schema": "nncore.rates/1", "rate": list(self.rates), "loss": list(self.losses), "smoothed": list(self.smoothed),
                "lowest": self.lowest, "steepest": self.steepest, "suggestion": self.suggestion}

    def __str__(self) -> str:
        every = max(1, len(self.rates) // 20)
        rows = [f"{r:10.2e}  {v:12.4f}" for r, v in list(zip(self.rates, self.smoothed, strict=True))[::every]]
        found = "the loss never falls; try another range" if self.suggestion is None else (
            f"suggestion {self.suggestion:.1e} (falls fastest at {self.steepest:.1e}, lowest at {self.lowest:.1e})")
        return "\n".join([f"{'rate':>10}  {'loss':>12}", *rows, found])


def find_rate(model, data, low: float = 1e-6, high: float = 1.0, steps: int = 100, batch: int = 128,
              optimizer: Callable[[Schedule], object] = Adam, loss=None, smoothing: float = 0.9, stop: float = 4.0,
              **options) -> RateSearch:
    """Train a copy of `model` for some steps, the rate growing by the same factor each from low to high; the model itself
    stays as it is.

    optimizer: a function from a schedule to an optimizer (nn.Adam, or lambda rate: nn.Momentum(rate, 0.95)); smoothing: of
    the exponential mean of the losses, bias-corrected; stop: ends where the smoothed loss exceeds that many times its
    lowest value; options as in Model.fit. Raises UsageError for a range, number of steps or smoothing that makes no sense.
    """
    low, high = _number("find_rate", "low", low, strict=True), _number("find_rate", "high", high, strict=True)
    if not low < high:
        raise UsageError(f"find_rate: low must lie below high, got {low:g} and {high:g}")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 5:
        raise UsageError(f"find_rate: steps is a whole number of at least 5, got {steps!r}")
    if _number("find_rate", "smoothing", smoothing) >= 1 or _number("find_rate", "stop", stop) <= 1:
        raise UsageError(f"find_rate: smoothing lies in [0, 1) and stop above 1, got {smoothing!r} and {stop!r}")
    rate = Geometric(low, high, steps - 1)
    losses = _sweep(model.copy().trainer(data, 1, batch, optimizer(rate), loss, **options), steps, smoothing, stop)
    rates = _values(rate, steps)
    return RateSearch(tuple(rates[: len(losses)]), tuple(v for v, _ in losses), tuple(s for _, s in losses))


def _sweep(trainer, steps: int, smoothing: float, stop: float) -> list[tuple[float, float]]:
    """(loss, smoothed loss) step by step, to the end or to where the loss explodes."""
    p, memory, n = trainer.position, trainer.model.memory, len(trainer.data)
    found, moving, weight = [], 0.0, 1.0
    for _ in range(steps):
        if n - p.cursor < trainer.settings.batch:
            p.epoch, p.cursor = p.epoch + 1, 0
        try:
            trainer.executor.run([(trainer.tape, 1)], memory, externals(trainer.data), p, seed=trainer.settings.seed, n_samples=n,
                                 shuffle=True)
        except NonFiniteError:
            break
        value = memory.output(trainer.tape, "loss").tolist()
        moving, weight = smoothing * moving + (1 - smoothing) * value, weight * smoothing
        found.append((value, moving / (1 - weight)))
        if not isfinite(value) or found[-1][1] > stop * min(s for _, s in found):
            break
    if not found:
        raise NonFiniteError("find_rate: the loss is not finite at the first step already: look at the data and the loss")
    return found


def _values(rate: Schedule, steps: int) -> list[float]:
    """The schedule's values as the tape computes them."""
    layout, count = Layout(), State("count", (1,), "i64")
    tape = compile_tape("rates", 1, [ops.increment(count)], {"rate": rate.node(count, steps)}, layout)
    memory, executor, found = Memory(layout), Executor(threads=1), []
    for _ in range(steps):
        executor.run([(tape, 1)], memory, {})
        found.append(memory.output(tape, "rate").tolist()[0])
    return found
