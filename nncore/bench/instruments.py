"""What instruments and an emulated accumulator cost: steps with them against the same steps without, by turns.

Each takes a turn, the first one changing from pair to pair; the pair's ratio is of processor seconds of this process, all
threads together, which a neighbour disturbs less than the clock. What a row states is the median of the ratios with its
interval (stats.py). A turn without is about as long as one with, so that both meet the same moods of the machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

from nncore.bench.kernels import row
from nncore.bench.limits import Probe
from nncore.bench.stats import Interval, interval
from nncore.bench.training import DUELS, RATE, Network, random_images
from nncore.graph.tape import Executor
from nncore.optim.optimizers import Adam
from nncore.train.instruments import Instruments
from nncore.train.monte_carlo import SAMPLES, step_digits
from nncore.train.steps import write_weights

NETWORKS = (DUELS[0], DUELS[2])  # 784-128-10 and LeNet-5
IMAGES, TURN = 12_800, 0.01  # seconds of a turn at least: short ones, for a median to leave out those that were disturbed
TURNS = 5  # in a round of the bench


class Unwatched(Executor):
    """Reads no flag, as no training does, unless told to: only to be compared with."""

    flags = False

    def run(self, *given, events=None, **options) -> None:
        super().run(*given, events=events if self.flags else None, **options)


@dataclass(frozen=True)
class Cost:
    """A case: how many times a plain step it may take, what it asks of a training, and how many steps are its least turn."""

    name: str
    limit: float | None
    watch: str = "0"
    precision: str | None = None
    least: int = 1
    only: str | None = None  # the network

    def holds(self, ratio: Interval) -> bool | None:
        """Whether the limit holds; None if there is none, or it lies within the interval."""
        if self.limit is None or ratio.low <= self.limit < ratio.high:
            return None
        return ratio.high <= self.limit


COSTS = (
    Cost("flags", 1.01),
    Cost("watch 1,every=100", 1.05, "1", least=100),
    Cost("watch 1", None, "1,every=1"),
    Cost("watch 2", 6.0, "2,every=1"),
    Cost("watch 3", 50.0, least=SAMPLES),  # a set as a replay takes it: what begins and ends it is shared by its samples
    Cost("accumulate=fp16", 10.0, precision="accumulate=fp16", only="mlp"),
)


def cases(text: str, batch: int) -> Iterator[tuple[Cost, Network, str]]:
    """The cases with `text` in name or shape, and their shapes."""
    for network in NETWORKS:
        for cost in COSTS:
            shape = f"{network.title(784, 10)} batch {batch}"
            if cost.only in (None, network.name) and text in f"{cost.name} {shape}":
                yield cost, network, shape


def measure(cost: Cost, network: Network, shape: str, batch: int, probe: Probe, rounds: int) -> dict:
    """The row of a case: seconds of a step with it, and `overhead`, how many times the step without."""
    data = random_images(max(IMAGES, 100 * batch))
    plain = _trainer(network, data, batch, probe)
    without = _steps(plain, None if cost.name == "flags" else "0")
    # On the same memory where it can be: where values lie may show more than an instrument.
    other = _trainer(network, data, batch, probe, cost.precision) if cost.precision else plain
    steps = _sampled(other) if cost.name == "watch 3" else _steps(other, cost.watch)
    counts = [max(1, int(TURN / _seconds(without, 10))), cost.least]
    _seconds(steps, cost.least)
    counts[1] = cost.least * max(1, int(TURN / (cost.least * _seconds(steps, cost.least))))
    taken: tuple[list[float], list[float]] = [], []
    for r in range(TURNS * rounds):
        for side in (0, 1) if r % 2 else (1, 0):
            taken[side].append(_seconds((without, steps)[side], counts[side]))
    found = interval([b / a for a, b in zip(*taken, strict=True)])
    overhead = {"ratio": found.middle, "low": found.low, "high": found.high, "level": found.level, "limit": cost.limit,
                "holds": cost.holds(found)}
    return row(cost.name, shape, probe, median(taken[1]), None, None, None) | {"rounds": taken[1], "overhead": overhead}


def _seconds(steps: Callable[[int], None], n: int) -> float:
    """Processor seconds of a step, of n."""
    begin = time.process_time()
    steps(n)
    return max(time.process_time() - begin, 1e-9) / n


def _trainer(network: Network, data, batch: int, probe: Probe, precision: str | None = None):
    executor = Unwatched(probe.isa, probe.threads)
    trainer = network.build(10).trainer(data, 1, batch, Adam(RATE), executor=executor, precision=precision)
    write_weights(trainer.settings.loss, trainer.model)
    return trainer


def _steps(trainer, watch: str | None) -> Callable[[int], None]:
    """So many steps, as a training does them that is watched so; None reads no flags either."""
    n_samples, batch = len(trainer.data), trainer.settings.batch

    def steps(n: int) -> None:
        trainer.executor.flags, trainer.observer.instruments = watch is not None, Instruments.parse(watch or "0")
        while n:
            if trainer.position.cursor + batch > n_samples:
                trainer.position.cursor = 0
            some = min(n, (n_samples - trainer.position.cursor) // batch)
            trainer.observer.run([(trainer.tape, some)], lambda: False)
            n -= some

    return steps


def _sampled(trainer) -> Callable[[int], None]:
    """So many samples of a step in Monte Carlo arithmetic; what begins and ends a set of them is counted with it."""
    return lambda n: step_digits(trainer, trainer.tape, n) and None
