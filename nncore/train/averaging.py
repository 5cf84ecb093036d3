"""Averaged weights during a training: beside the weights, in their place for a validation, the network itself at the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nncore.graph import ops
from nncore.graph.node import Leaf, State
from nncore.graph.tape import Executor, Memory, compile_tape
from nncore.optim.averages import Average, _Rate, average_of
from nncore.optim.schedules import RUNNING_MEAN
from nncore.tensor import Tensor
from nncore.train.samples import Samples, samples


class Averaging:
    """The averages of one training. `inside` says whether weights and averages have changed places."""

    def __init__(self, trainer, average: Average, leaves: list[Leaf]):
        self.trainer, self.average = trainer, average
        self.pairs = [(w, average_of(w, trainer.model.states)) for w in leaves]
        self.inside = False
        self.measured: list[bytes] | None = None

    def begin(self) -> None:
        """The average of no step yet: the first weights."""
        memory = self.trainer.model.memory
        for w, e in self.pairs:
            memory.tensor(e).memory[:] = memory.tensor(w).memory

    def swap(self) -> None:
        """Let weights and averages change places; twice is as before, bit for bit."""
        memory = self.trainer.model.memory
        for w, e in self.pairs:
            exchange(memory.tensor(w), memory.tensor(e))
        self.inside = not self.inside
        if not self.average.statistics:
            self._statistics(memory)

    def _statistics(self, memory: Memory) -> None:
        """Running statistics of the averaged weights, and back to those of the training."""
        t = self.trainer
        states = [memory.tensor(s) for s in t.model.kept_states]
        if self.inside:
            self.measured = [s.tobytes() for s in states]
            update_statistics(t.model, t.data, t.settings.batch, t.executor)
        else:
            for s, data in zip(states, self.measured, strict=True):
                s.memory[:] = data

    @contextmanager
    def seen(self, averages: bool) -> Iterator[None]:
        """Inside the network holds the averages, or the weights of the training; afterwards what it held before."""
        turn = self.inside != averages
        if turn:
            self.swap()
        try:
            yield
        finally:
            if turn:
                self.swap()


def exchange(a: Tensor, b: Tensor) -> None:
    """a and b, of one size, change their contents."""
    a.memory[:], b.memory[:] = b.tobytes(), a.tobytes()


def update_statistics(model, data, batch: int = 128, executor: Executor | None = None) -> None:
    """Measure the running statistics of a network anew: the mean over the batches of `data`, shuffled, of what each batch
    has, with the weights as they are. After SWA, or whenever weights were changed by hand. What does not fill a batch is
    left out, unless it is all there is. A network without running statistics stays as it is. Izmailov et al. 2018, 3.2.
    """
    from nncore.train.steps import externals

    data = samples(data)
    kept = model.kept_states
    if not kept:
        return
    data = Samples(data.x, rows=data.rows)
    batch = min(batch, len(data))
    count = model.state("statistics.count", (1,), "i64")
    means = [model.states.setdefault(f"statistics.{s.name}", State(f"statistics.{s.name}", s.shape)) for s in kept]
    # With momentum 1 a running statistic is that of the last batch; blended at 1, 1/2, 1/3, ... they become their mean.
    running = [layer for layer in model.layers if hasattr(layer, "momentum")]
    before = [layer.momentum for layer in running]
    try:
        for layer in running:
            layer.momentum = 1.0
        _, _, built = model.graph(data, batch, training=True)
    finally:
        for layer, momentum in zip(running, before, strict=True):
            layer.momentum = momentum
    rate = _Rate(RUNNING_MEAN, 1.0, 1.0).node(count, 0)
    effects = [*built.updates, *(ops.blend(m, s, rate) for m, s in zip(means, kept, strict=True)), ops.increment(count)]
    tape = compile_tape(f"{model.name}/statistics", batch, effects, {}, model.layout)
    memory = model.memory
    memory.reserve({})
    memory.tensor(count).flat()[0] = 0
    (executor or Executor()).run([(tape, len(data) // batch)], memory, externals(data), seed=model.seed,
                                 n_samples=len(data), shuffle=True)
    for m, s in zip(means, kept, strict=True):
        memory.tensor(s).memory[:] = memory.tensor(m).memory
