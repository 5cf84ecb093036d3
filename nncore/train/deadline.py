"""Training to a deadline: as many epochs as fit, the schedule annealed to its end, prediction files on disk all along.

The number of epochs is planned before the first step, from the time that some steps and a prediction take on a trainer that is
thrown away: MARGIN of the time left stays free. After an epoch the plan is looked at again, with the time that epochs really
took. It is changed only where it would miss the deadline, or, once and in its first half, leave more than SPARE of all the
time unused; from there on the schedules stretch over the new number of epochs (`Settings.horizons`). A machine that slows down so
late that no plan helps is met by ending early.

Only the plan depends on a clock. It is a setting like others: a run with the same epochs, horizons and steps has the same bits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import mean

from nncore.errors import LimitError
from nncore.tensor import Tensor
from nncore.train.callbacks import Callback
from nncore.train.diagnosis import options
from nncore.train.steps import externals, write_weights

MARGIN, SPARE = 0.1, 0.3  # shares: of the time left, kept free by a plan; of all of it, unused without a reason to plan anew
MEASURED = 0.02  # share of the deadline that measuring may take, of steps alone: a prediction takes what it takes
SETTLED = 0.02  # share of the deadline that a plan is followed before it is judged: first epochs find caches cold
CLOSING, PAGE = 0.5, 3.0  # seconds for the last files and for ending the process; for a report besides
PROBED = 2048  # samples that are predicted to see how long it takes


@dataclass(frozen=True)
class Speed:
    """Seconds that a step and the prediction of a sample take."""

    step: float
    sample: float

    def epoch(self, steps: int, samples: int) -> float:
        """Seconds of an epoch of so many steps after which so many samples are predicted."""
        return self.step * steps + self.sample * samples


def measure(trainer, images: Tensor, budget: float, clock: Callable[[], float] = time.monotonic) -> Speed:
    """The speed of a trainer that is thrown away afterwards: its steps for about `budget` seconds or an epoch, its predictions
    of `images` or of the first 2,048 of them. The first step and the first prediction, which find caches cold, do not count."""
    most, count = len(trainer.data) // trainer.settings.batch, 1
    _seconds(clock, lambda: _train(trainer, 1))
    while True:
        spent = _seconds(clock, lambda: _train(trainer, count))  # noqa: B023 - called at once
        if 2 * spent > budget or count >= most:
            break
        count = min(2 * count, most)
    n = min(PROBED, images.shape[0])
    some = Tensor((n, *images.shape[1:]), images.dtype, images.memory[: images.nbytes // images.shape[0] * n])
    _, predicting = (_seconds(clock, lambda: trainer.model.predict(some, executor=trainer.executor)) for _ in range(2))
    return Speed(spent / count, predicting / n)


def _train(trainer, steps: int) -> None:
    """So many whole batches of an epoch that begins here."""
    p = trainer.position
    p.epoch, p.cursor = p.epoch + 1, 0
    write_weights(trainer.settings.loss, trainer.model)
    trainer.executor.run([(trainer.tape, steps)], trainer.model.memory, externals(trainer.data), events=trainer.events,
                         **options(trainer))


def _seconds(clock: Callable[[], float], work: Callable[[], object]) -> float:
    start = clock()
    work()
    return clock() - start


@dataclass
class Deadline(Callback):
    """The plan of a training, and what keeps it. Told last of each epoch, for its callbacks' time is the epoch's too.

    started: when the time began to run, on `clock`. write(): puts the prediction files of the present network on their way, and
    is called after every epoch; kept(plans, epochs): stores a plan, before it holds.
    """

    seconds: float
    started: float
    write: Callable[[], object] | None = None
    kept: Callable[[tuple, int], None] | None = None
    clock: Callable[[], float] = time.monotonic
    plans: list[tuple[int, int]] = field(default_factory=list)
    speed: Speed | None = None
    ending: float = CLOSING
    is_cut: bool = False

    @property
    def left(self) -> float:
        """Seconds that epochs may still take: until the deadline, less what comes behind the last of them."""
        return self.started + self.seconds - self.ending - self.clock()

    def plan(self, speed: Speed, steps: int, samples: int, closing: float = CLOSING) -> int:
        """Epochs of so many steps that fit; so many samples are predicted after each, and once more at the end, before `closing`
        seconds of other work. Raises LimitError if not one fits."""
        self.speed, self.ending = speed, closing + speed.sample * samples
        each = speed.epoch(steps, samples)
        epochs = int(self.left * (1 - MARGIN) / each)
        if epochs < 1:
            raise LimitError(f"the deadline of {self.seconds:g} s leaves {max(self.left, 0):.3g} s for training, and an epoch "
                             f"takes about {each:.3g} s here: give more time, a smaller network, or fewer samples (data.limit)")
        self.plans = [(0, epochs)]
        return epochs

    def on_train_begin(self, trainer) -> None:
        """The time of the first epoch begins."""
        self._since, self._taken, self._cold = self.clock(), [], 1

    def on_epoch_end(self, trainer, record: dict) -> None:
        """Prediction files; then a look at the plan."""
        if self.write:
            self.write()
        done, epochs, now = trainer.position.epoch, trainer.settings.epochs, self.clock()
        self._taken.append(now - self._since)
        self._since = now
        if trainer.reason or done >= epochs or sum(self._taken) < SETTLED * self.seconds:
            return
        each, left = mean(self._taken[self._cold :] or self._taken), self.left
        need, fit = each * (epochs - done), max(0, int(left * (1 - MARGIN) / each))
        if need > left or (len(self.plans) == 1 and 2 * done <= epochs and need < left - SPARE * self.seconds):
            self._change(trainer, done, done + fit)
            self._taken, self._cold = [], 0

    def _change(self, trainer, done: int, epochs: int) -> None:
        """Stretch or shrink what is left; a training that has no time left ends here, its schedules unfinished."""
        plans = [*self.plans, (done, epochs)] if epochs > done else self.plans
        if self.kept:
            self.kept(tuple(plans), epochs)
        self.plans = plans
        trainer.settings.epochs, trainer.settings.horizons = epochs, tuple(plans)

    def is_over(self) -> bool:
        """Whether the training has to end within an epoch; asked while it runs."""
        self.is_cut = self.is_cut or self.left <= 0
        return self.is_cut

    def report(self) -> dict:
        """What result.json tells of it."""
        return {"seconds": self.seconds, "plans": [list(p) for p in self.plans], "is_cut": self.is_cut,
                "step_seconds": self.speed and self.speed.step, "sample_seconds": self.speed and self.speed.sample}
