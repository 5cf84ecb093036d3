"""The training loop: builds the tapes of a step, runs epochs in C, watches, validates, keeps the best weights.

One call into C runs a whole epoch with the interpreter lock released. It runs in a worker thread; the main thread shows
progress and turns Ctrl-C into a stop flag, which ends the run within one step.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass, field

from nncore.data.augment import Augment
from nncore.errors import FlaggedError, Interrupted, LimitError, NonFiniteError, UsageError
from nncore.graph import ops
from nncore.graph.autodiff import add_all, gradients
from nncore.graph.events import Events
from nncore.graph.node import Node, State
from nncore.graph.plan import physical_memory
from nncore.graph.tape import Executor, Position, Tape, compile_tape
from nncore.optim.averages import Average
from nncore.optim.clipping import ClipNorm, ClipValue
from nncore.optim.schedules import Constant, schedule
from nncore.tensor import Tensor
from nncore.train.averaging import Averaging
from nncore.train.diagnosis import locate
from nncore.train.history import History
from nncore.train.inference import planned_nbytes
from nncore.train.instruments import instruments
from nncore.train.observer import Observer
from nncore.train.precision import Precision
from nncore.train.samples import Samples
from nncore.train.steps import apply_loss, counts_correct, measure, write_weights
from nncore.train.worker import Worker

REGION_WORDS = {"param": "parameters", "state": "states", "work": "values of a step"}


@dataclass
class Settings:
    """Everything that decides the bits of a training beside the model and the data."""

    epochs: int
    batch: int
    optimizer: object
    loss: object
    penalty: object = None
    shards: int = 1
    steps: int | None = None
    seed: int = 0
    augment: Augment | None = None
    clip: object = None
    average: object = None
    precision: Precision = Precision()
    horizons: tuple[tuple[int, int], ...] = ()  # (epoch, epochs): from that epoch on, schedules stretch over so many

    def horizon(self, epoch: int) -> int:
        """Epochs that schedules stretch over while this epoch runs: all of them, unless the plan was changed on the way."""
        return next((epochs for begin, epochs in reversed(self.horizons) if begin <= epoch), self.epochs)

    def check(self, n: int) -> None:
        """Raises UsageError for sizes that make no sense."""
        for name in ("epochs", "batch", "shards"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UsageError(f"{name} must be a positive whole number, got {value!r}")
        if self.steps is not None and (not isinstance(self.steps, int) or self.steps < 1):
            raise UsageError(f"steps must be a positive whole number, got {self.steps!r}")
        if self.batch > n:
            raise UsageError(f"batch {self.batch} is larger than the {n} training samples; choose at most {n}")
        if self.batch % self.shards:
            raise UsageError(f"shards {self.shards} must divide the batch {self.batch} into equal groups")
        if self.clip is not None and not isinstance(self.clip, (ClipNorm, ClipValue)):
            raise UsageError(f"clip is ClipNorm(norm) or ClipValue(bound), got {self.clip!r}")
        if self.average is not None and not isinstance(self.average, Average):
            raise UsageError(f"average is EMA(decay) or SWA(start), got {self.average!r}")


@dataclass
class Progress:
    """What the progress line shows, read live while C runs."""

    epoch: int
    epochs: int
    done: int
    total: int
    loss: float
    accuracy: float | None
    images_per_s: float
    seconds_left: float


@dataclass
class Trainer:
    """One training run over a model. `run` returns the history; position and states allow a bit-exact resume."""

    model: object
    data: Samples
    settings: Settings
    validation: Samples | None = None
    callbacks: list = field(default_factory=list)
    executor: Executor | None = None
    on_progress: object = None
    profile: bool = False
    position: Position = field(default_factory=Position)
    history: History = field(default_factory=History)
    watch: object = None

    def __post_init__(self):
        self.settings.check(len(self.data))
        self.watch = instruments(self.watch)
        self.events = Events(self.watch.policy)
        self.observer = Observer(self)
        self.executor = self.executor or Executor()
        self.reason: str | None = None
        self.best: bytes | None = None
        self.averaging: Averaging | None = None
        self.is_restored = False
        self.sums = self.model.state("metrics", (4,), "f64")
        self.norm = None
        if any(getattr(c, "needs_gradient_norm", False) for c in self.callbacks):
            self.norm = self.model.state("gradient.norm2", ())
        self.held = self._held_rate()
        self._build()

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches and the tail."""
        return -(-len(self.data) // self.settings.batch)

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return self.steps_per_epoch * self.settings.epochs

    @property
    def limit(self) -> int:
        """The step at which the run ends."""
        return self.settings.steps or self.total_steps

    @property
    def planned_steps(self) -> int:
        """What schedules without a duration of their own stretch over: the whole run, as planned when the epoch began."""
        return self.steps_per_epoch * self.settings.horizon(self.position.epoch)

    @property
    def plan(self) -> dict[str, int]:
        """Bytes by region that the training takes, evaluations and predictions included, the data not: known before anything
        is allocated."""
        tapes = [t for t in (self.tape, self.tail) if t is not None]
        work = max(*(t.nbytes["work"] for t in tapes), planned_nbytes(self.model, self.data))
        return {**self.model.layout.nbytes, "work": work}

    def check_memory(self) -> None:
        """Raises LimitError if the plan is larger than the machine's memory."""
        plan = self.plan
        need, have = sum(plan.values()), physical_memory()
        if have is not None and need > have:
            shares = ", ".join(f"{name} {plan[key] / 1e9:,.1f}" for key, name in REGION_WORDS.items())
            raise LimitError(f"the plan of {self.model.name} at batch {self.settings.batch} needs {need / 1e9:,.1f} GB "
                             f"({shares}), this machine has {have / 1e9:,.1f} GB; choose a smaller network or batch")

    # ---- building -------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        n, batch = len(self.data), self.settings.batch
        self.tape = self._tape("train", batch)
        self.tail = self._tape("train-tail", n % batch) if n % batch else None
        self.built_for = self.planned_steps

    def follow_plan(self) -> None:
        """Tapes anew where an epoch begins with another horizon than the one before it."""
        if self.built_for != self.planned_steps:
            self._build()

    def _tape(self, name: str, batch: int) -> Tape:
        s = self.settings
        # The tail may not divide into the shards: it then runs as one.
        shards = s.shards if batch % s.shards == 0 else 1
        z, t, built = self.model.graph(self.data, batch, True, shards, s.augment, s.precision)
        data_loss = apply_loss(s.loss, self.model, z, t, built.mix)
        weights = self.model.trainable
        penalties = [*built.penalties, *(s.penalty.terms(weights) if s.penalty else [])]
        loss = add_all([data_loss, *penalties])
        scaling = s.precision.loss_scale
        made = gradients(loss, weights, scaling.node(self.model) if scaling else None)
        grads = {w: s.precision.rounded("gradients", g, i) for i, (w, g) in enumerate(made.items())}
        if not grads:
            raise UsageError("no parameter reaches the loss: there is nothing to learn")
        grads = scaling.undone(self.model, grads) if scaling else grads
        per_sample = loss if s.loss.reduction == "mean" else ops.scale(loss, c=1.0 / batch)
        effects = [ops.check_finite(loss), measure(self.sums, per_sample, z, t, batch), *self.model.moving(built.updates)]
        self.counts = counts_correct(z, t)
        if scaling:
            effects.append(scaling.effect(self.model, grads))
        if self.norm is not None:
            effects.append(ops.assign(self.norm, add_all([ops.sum_squares(g) for g in grads.values()])))
        effects += s.optimizer.effects(s.clip(grads) if s.clip else grads, self.model.states, self.planned_steps, self.held)
        effects += s.precision.behind(list(grads), [v for k, v in self.model.states.items() if k.startswith("optimizer.")
                                                    and v.dtype == "real"])
        effects += self._averages(list(grads))
        return compile_tape(f"{self.model.name}/{name}", batch, effects, {"loss": loss}, self.model.layout,
                            accumulator=s.precision.accumulator)

    def _averages(self, updated: list) -> list[Node]:
        """The effects that average what the step has updated."""
        average, states = self.settings.average, self.model.states
        if average is None:
            return []
        leaves = [*updated, *(self.model.kept_states if average.statistics else [])]
        self.averaging = self.averaging or Averaging(self, average, leaves)
        return average.effects(leaves, states, states["optimizer.count"], self.planned_steps, self.steps_per_epoch)

    def begin(self) -> None:
        """States of an optimizer without a past; averages of no step but the first weights."""
        memory = self.model.memory
        memory.reserve({})
        for name, s in self.model.states.items():
            if name.startswith("optimizer."):
                memory.tensor(s).memory[:] = bytes(memory.tensor(s).nbytes)
        self.settings.precision.begin(self.model, self.executor)
        if self.averaging:
            self.averaging.begin()

    # ---- a rate that callbacks set --------------------------------------------------------------------------------

    def _held_rate(self) -> dict[str, State]:
        """The optimizer's rate as a state, if a callback sets it."""
        setters = [c for c in self.callbacks if getattr(c, "sets_rate", False)]
        if setters and not isinstance(self.settings.optimizer.rate, Constant):
            raise UsageError(f"{type(setters[0]).__name__} sets the rate, and so does {self.settings.optimizer.rate!r}: give the "
                             "optimizer a number as its rate, or leave the callback out")
        return {"rate": self.model.state("optimizer.rate", (1,), "f64")} if setters else {}

    @property
    def rate(self) -> float:
        """The learning rate of the steps to come; settable. Raises UsageError if no callback has `sets_rate`."""
        return self._rate_tensor().flat()[0]

    @rate.setter
    def rate(self, value: float) -> None:
        self._rate_tensor().flat()[0] = schedule(value, "trainer", "rate").value

    def _rate_tensor(self) -> Tensor:
        if not self.held:
            raise UsageError("trainer.rate: no callback of this training has sets_rate = True; the optimizer's schedule rules")
        return self.model.memory.tensor(self.held["rate"])

    # ---- running --------------------------------------------------------------------------------------------------

    def run(self) -> History:
        """Train to the end, to a stop, or to the user's Ctrl-C (history.stopped then says so)."""
        if self.held and self.position.step == 0:
            self.rate = self.settings.optimizer.rate.value
        for c in self.callbacks:
            getattr(c, "on_train_begin", lambda _: None)(self)
        if self.averaging and self.averaging.inside:
            self.averaging.swap()
        self.worker = Worker()
        try:
            while self.position.epoch < self.settings.epochs and self.position.step < self.limit and self.reason is None:
                self._epoch(self.limit)
        finally:
            self.worker.close()
        for c in self.callbacks:
            getattr(c, "on_train_end", lambda _: None)(self)
        if self.averaging and not self.is_restored:
            self.averaging.swap()
        self.history.stopped = self.reason
        return self.history

    def seen(self, averages: bool):
        """A context in which the network holds the averaged weights, or those of the training; without averages it does
        either way."""
        return self.averaging.seen(averages) if self.averaging else nullcontext()

    def stop(self, reason: str) -> None:
        """End the training after this epoch."""
        self.reason = reason

    def _epoch(self, limit: int) -> None:
        n, batch, p = len(self.data), self.settings.batch, self.position
        self.follow_plan()
        self.good = self.model.snapshot(), Position(p.step, p.epoch, p.cursor)
        if p.cursor == 0:
            self.model.memory.tensor(self.sums).view()[:] = memoryview(bytes(32)).cast("d")
        whole = min((n - p.cursor) // batch, limit - p.step)
        tail = int(self.tail is not None and p.step + whole < limit)
        segments = [(self.tape, whole), *([(self.tail, 1)] if tail else [])]
        write_weights(self.settings.loss, self.model)
        started = time.monotonic()
        first = p.cursor
        try:
            self._drive(segments, started, first)
        except Interrupted:
            self.reason = self.reason or "interrupted"
        except NonFiniteError as e:
            self._meet_nonfinite(locate(self, e))
            return
        if p.cursor < n:  # a step limit or the user ended it in the middle
            return
        self._finish_epoch((p.cursor - first) / max(time.monotonic() - started, 1e-9))

    def _finish_epoch(self, images_per_s: float) -> None:
        p, record = self.position, {}
        total, correct, count, _ = self.model.memory.tensor(self.sums).tolist()
        record = {"epoch": p.epoch + 1, "step": p.step, "loss": total / count}
        if self.counts:
            record["accuracy"] = correct / count
        record["images_per_s"] = images_per_s
        if self.settings.precision.loss_scale:
            record.update(self.settings.precision.loss_scale.record(self.model))
        if self.norm is not None:
            record["gradient_norm"] = self.model.memory.tensor(self.norm).tolist() ** 0.5
        if self.validation is not None:
            with self.seen(averages=True):
                found = self.model.evaluate(self.validation, loss=self.settings.loss, executor=self.executor)
            record["val_loss"], record["val_accuracy"] = found.loss, found.accuracy
        p.epoch, p.cursor = p.epoch + 1, 0
        self.history.append(record)
        for c in self.callbacks:
            getattr(c, "on_epoch_end", lambda *_: None)(self, record)

    def _drive(self, segments, started: float, first: int) -> None:
        """Run segments on the worker thread; wait here, showing progress; Ctrl-C raises the stop flag."""
        interrupted = False
        call = self.worker.start(lambda: self.observer.run(segments, lambda: interrupted))
        while not call.done.is_set():
            try:
                call.done.wait(0.1)
                if self.on_progress and not call.done.is_set():
                    self.on_progress(self._progress(started, first))
            except KeyboardInterrupt:
                interrupted = True
                self.executor.stop()
        self.observer.tell()
        if call.failure:
            raise call.failure
        if interrupted:  # the flag came after the last step: what was asked for is done all the same
            raise Interrupted("stopped")

    def _progress(self, started: float, first: int) -> Progress:
        _, cursor = self.executor.progress
        total, correct, count, _ = self.model.memory.tensor(self.sums).tolist()
        n, s = len(self.data), self.settings
        speed = max(cursor - first, 0) / max(time.monotonic() - started, 1e-9)
        left = (s.epochs - self.position.epoch) * n - cursor
        return Progress(self.position.epoch + 1, s.epochs, cursor, n, total / count if count else float("nan"),
                        correct / count if count and self.counts else None, speed,
                        left / speed if speed else float("nan"))

    # ---- when numbers break ---------------------------------------------------------------------------------------

    def _meet_nonfinite(self, error: NonFiniteError) -> None:
        """Ask the callbacks; if none deals with it, put back the last good weights and raise."""
        dealt = [getattr(c, "on_nonfinite", lambda *_: False)(self, error) for c in self.callbacks]
        if not any(dealt):
            self.put_back()
            remedy = "" if isinstance(error, FlaggedError) else " A smaller learning rate is the usual remedy."
            p = self.position
            back = f"The weights are back at those of epoch {p.epoch}, step {p.step}, the last good ones."
            error.args = (f"{error}\n{back}{remedy}",)
            raise error

    def put_back(self) -> None:
        """Back to where the present epoch began: weights, states, position."""
        snapshot, position = self.good
        self.model.restore(snapshot)
        self.position = Position(position.step, position.epoch, position.cursor)

    # ---- best weights ---------------------------------------------------------------------------------------------

    def keep_best(self) -> None:
        """Remember the present network as the best so far: its weights, and its states as running statistics."""
        memory = self.model.memory
        with self.seen(averages=True):
            self.best = bytes(memory.view("param")) + b"".join(memory.tensor(s).tobytes() for s in self.model.kept_states)

    def restore_best(self) -> None:
        """Put the best weights back, if any were kept."""
        if self.best is not None:
            self.is_restored = True
            memory = self.model.memory
            end = len(memory.view("param"))
            memory.view("param")[:] = self.best[:end]
            for s in self.model.kept_states:
                t = memory.tensor(s)
                t.memory[:] = self.best[end : end + t.nbytes]
                end += t.nbytes
