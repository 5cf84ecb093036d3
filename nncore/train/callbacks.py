"""Callbacks: objects that are told when a training begins, when an epoch ends, when it is over. Any object with the methods
it cares about will do, and so will any function of (trainer, record), which is called after each epoch.

A callback may change the record, set `trainer.rate`, or call `trainer.stop(reason)`. They are told in the order of the list;
what `state` gives is kept in checkpoints and given back by `restore`.
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Callable
from math import isfinite

from nncore.errors import NonFiniteError, UsageError
from nncore.files import writing


class Callback:
    """on_epoch_end(trainer, record) may change the record or call trainer.stop(reason); the state survives a resume.

    `needs_gradient_norm`: the tape computes record["gradient_norm"]. `sets_rate`: the optimizer's rate is a value that
    `trainer.rate` reads and writes.
    """

    needs_gradient_norm = False
    sets_rate = False

    def on_train_begin(self, trainer) -> None:
        """Before the first step; trainer.position.step is not 0 in a training that was resumed."""

    def on_epoch_end(self, trainer, record: dict) -> None:
        """After each epoch, validation included."""

    def on_train_end(self, trainer) -> None:
        """After the last epoch or a stop."""

    def on_nonfinite(self, trainer, error: NonFiniteError) -> bool:
        """When a step met NaN or infinity, before it changed anything. True: dealt with; the error is not raised."""
        return False

    def state(self) -> dict:
        """What a checkpoint has to keep of this callback, as JSON."""
        return {}

    def restore(self, state: dict) -> None:
        """Take back what `state` gave."""

    def blob(self, trainer) -> bytes:
        """What a checkpoint has to keep beside it, as bytes."""
        return b""

    def restore_blob(self, data: bytes) -> None:
        """Take back what `blob` gave."""


class LambdaCallback(Callback):
    """Functions of (trainer), on_epoch_end of (trainer, record). Raises UsageError for what cannot be called."""

    def __init__(self, on_epoch_end: Callable | None = None, on_train_begin: Callable | None = None,
                 on_train_end: Callable | None = None):
        for name, function in (("on_epoch_end", on_epoch_end), ("on_train_begin", on_train_begin),
                               ("on_train_end", on_train_end)):
            if function is not None and not callable(function):
                raise UsageError(f"LambdaCallback: {name} must be a function, got {function!r}")
            if function is not None:
                setattr(self, name, function)


_HOOKS = ("on_train_begin", "on_epoch_end", "on_train_end", "on_nonfinite")


def as_callback(given):
    """A callback as it is; a function as one that is told of each epoch. Raises UsageError for anything else."""
    if isinstance(given, type) and any(hasattr(given, hook) for hook in _HOOKS):
        raise UsageError(f"callback {given.__name__} is a class: make one of it, {given.__name__}(...)")
    if any(hasattr(given, hook) for hook in _HOOKS):
        return given
    if callable(given):
        return LambdaCallback(given)
    raise UsageError(f"callback {given!r} is neither a function of (trainer, record) nor has it any of {', '.join(_HOOKS)}")


# ---- watching a figure -----------------------------------------------------------------------------------------------

MONITORS = {"val_loss": -1, "val_accuracy": 1, "loss": -1, "accuracy": 1}


class Watch(Callback):
    """Base of callbacks that watch a figure of the record: the best so far, and for how many epochs there was none better.

    monitor: "val_loss", "val_accuracy", "loss", "accuracy". min_delta: how much counts as better. Raises UsageError for an
    unknown monitor, or when a figure is watched that is not measured.
    """

    monitors = MONITORS

    def __init__(self, monitor: str, patience: int = 1, min_delta: float = 0.0):
        name = type(self).__name__
        if monitor not in self.monitors:
            raise UsageError(f"{name}: unknown monitor {monitor!r}; choose one of {', '.join(self.monitors)}")
        if isinstance(patience, bool) or not isinstance(patience, int) or patience < 1:
            raise UsageError(f"{name}: patience must be at least 1, got {patience!r}")
        self.monitor, self.patience, self.min_delta = monitor, patience, min_delta
        self.best, self.waited = None, 0

    def figure(self, record: dict) -> float:
        """The watched figure."""
        if self.monitor not in record:
            raise UsageError(f"{type(self).__name__}: {self.monitor} is not measured; fit with validation=, or watch another "
                             "figure")
        return record[self.monitor]

    def is_better(self, value: float) -> bool:
        """Whether the value beats the best, which it then is; NaN never does."""
        sign = self.monitors[self.monitor]
        better = value == value and (self.best is None or sign * (value - self.best) > self.min_delta)
        self.best = value if better else self.best
        self.waited = 0 if better else self.waited + 1
        return better

    def state(self) -> dict:
        return {"best": self.best, "waited": self.waited}

    def restore(self, state: dict) -> None:
        self.best, self.waited = state["best"], state["waited"]


class EarlyStopping(Watch):
    """Stop after `patience` epochs without improvement of `monitor`; the best weights are restored always.

    monitor may also be "gradient": then stop when the norm of the last step's gradient stays below `bound` for `patience`
    epochs (best weights: those of the smallest norm). Raises UsageError as Watch does.
    """

    monitors = {**MONITORS, "gradient": -1}

    def __init__(self, monitor: str = "val_loss", patience: int = 3, min_delta: float = 0.0, bound: float = 0.0):
        super().__init__(monitor, patience, min_delta)
        if monitor == "gradient" and not bound > 0:
            raise UsageError("EarlyStopping: the monitor 'gradient' needs a bound > 0")
        self.bound = bound

    @property
    def needs_gradient_norm(self) -> bool:
        """Whether the tape has to compute the gradient's norm."""
        return self.monitor == "gradient"

    def on_epoch_end(self, trainer, record: dict) -> None:
        waited = self.waited
        value = record["gradient_norm"] if self.monitor == "gradient" else self.figure(record)
        if self.is_better(value):
            trainer.keep_best()
        best = value if self.best is None else self.best
        why = f"{self.monitor} no better than {best:.6g} for {self.waited} epochs"
        if self.monitor == "gradient":
            self.waited = waited + 1 if value < self.bound else 0
            why = f"gradient norm below {self.bound:g} for {self.waited} epochs"
        if self.waited >= self.patience:
            trainer.stop(why)

    def on_train_end(self, trainer) -> None:
        trainer.restore_best()


class ModelCheckpoint(Watch):
    """Write the model after each epoch, or with best_only=True when `monitor` has improved: a model file for `load`.

    path may name figures of the record: "model-{epoch}.safetensors". Raises UsageError for a name that is none, LimitError
    if the file cannot be written. A run folder's checkpoints, which training goes on from, are another thing.
    """

    def __init__(self, path: str | os.PathLike, monitor: str = "val_loss", best_only: bool = False, min_delta: float = 0.0):
        super().__init__(monitor, 1, min_delta)
        self.path, self.best_only = os.fspath(path), best_only

    def on_epoch_end(self, trainer, record: dict) -> None:
        if self.best_only and not self.is_better(self.figure(record)):
            return
        try:
            path = self.path.format(**record)
        except (KeyError, IndexError, ValueError) as e:
            raise UsageError(f"ModelCheckpoint: {self.path}: {e}; the record has {', '.join(record)}") from None
        with trainer.seen(averages=True):
            trainer.model.save(path)


# ---- the learning rate -----------------------------------------------------------------------------------------------


class LearningRateSchedule(Callback):
    """The rate of the next epoch by a function of (epochs done, last record); the record is {} before the first epoch.

    The optimizer takes a number as its rate, which a schedule of its own would contradict; schedules of nncore.optim work
    step by step and cost no call. record["rate"] tells the rate of the epoch. The rate survives a resume: the function is
    not asked again for an epoch that has begun.

    >>> halved = LearningRateSchedule(lambda epoch, record: 0.1 * 0.5**epoch)
    """

    sets_rate = True

    def __init__(self, function: Callable[[int, dict], float]):
        if not callable(function):
            raise UsageError(f"LearningRateSchedule takes a function of (epoch, record), got {function!r}")
        self.function = function

    def on_train_begin(self, trainer) -> None:
        if trainer.position.step == 0:
            trainer.rate = self.function(0, {})

    def on_epoch_end(self, trainer, record: dict) -> None:
        record["rate"] = trainer.rate
        trainer.rate = self.function(record["epoch"], record)


class ReduceOnPlateau(Watch):
    """rate <- max(factor rate, floor) after `patience` epochs without improvement of `monitor`; then wait anew.

    record["rate"] tells the rate of the epoch. Raises UsageError unless 0 < factor < 1 and floor >= 0, and as Watch does.
    """

    sets_rate = True

    def __init__(self, monitor: str = "val_loss", factor: float = 0.1, patience: int = 3, floor: float = 0.0,
                 min_delta: float = 0.0):
        super().__init__(monitor, patience, min_delta)
        if not 0 < factor < 1 or not floor >= 0:
            raise UsageError(f"ReduceOnPlateau: factor lies between 0 and 1, floor is at least 0, got {factor!r}, {floor!r}")
        self.factor, self.floor = factor, floor

    def on_epoch_end(self, trainer, record: dict) -> None:
        record["rate"] = trainer.rate
        if not self.is_better(self.figure(record)) and self.waited >= self.patience:
            # One product and one comparison of doubles: the same on every machine.
            trainer.rate = min(trainer.rate, max(self.factor * trainer.rate, self.floor))
            self.waited = 0


# ---- what is told of a training --------------------------------------------------------------------------------------


class CSVLogger(Callback):
    """One line per epoch in a CSV file, written at once; columns are the figures of the first epoch.

    A resumed training goes on behind the epochs it has done. Raises LimitError if the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike):
        self.path, self._file, self._writer = path, None, None

    def on_train_begin(self, trainer) -> None:
        kept = []
        with writing(self.path):
            if trainer.history and os.path.exists(self.path):
                with open(self.path, newline="", encoding="utf-8") as file:
                    kept = list(csv.reader(file))[: len(trainer.history) + 1]
            self._file = open(self.path, "w", newline="", encoding="utf-8")  # noqa: SIM115 - lives as long as the training
            csv.writer(self._file).writerows(kept)
            self._file.flush()
        self._writer = csv.DictWriter(self._file, kept[0], extrasaction="ignore") if kept else None

    def on_epoch_end(self, trainer, record: dict) -> None:
        with writing(self.path):
            if self._writer is None:
                self._writer = csv.DictWriter(self._file, list(record), extrasaction="ignore")
                self._writer.writeheader()
            self._writer.writerow(record)
            self._file.flush()

    def on_train_end(self, trainer) -> None:
        with writing(self.path):
            self._file.close()


class TerminateOnNonFinite(Callback):
    """What happens when a step meets NaN or infinity. The message names layer, op and step in every case.

    "restore": the weights of the last good epoch are put back, training ends, history.stopped tells why.
    "report": training ends the same way with the weights as they are, to be looked at: those the bad step began with.
    "raise": the weights are put back and NonFiniteError is raised, which is what happens without this callback.
    A loss or validation loss of an epoch that is not finite counts as well.
    """

    def __init__(self, action: str = "restore"):
        if action not in ("restore", "report", "raise"):
            raise UsageError(f'TerminateOnNonFinite: action is "restore", "report" or "raise", got {action!r}')
        self.action = action

    def on_nonfinite(self, trainer, error: NonFiniteError) -> bool:
        if self.action == "restore":
            trainer.put_back()
        if self.action != "raise":
            trainer.stop(str(error))
        return self.action != "raise"

    def on_epoch_end(self, trainer, record: dict) -> None:
        bad = [k for k in ("loss", "val_loss") if k in record and not isfinite(record[k])]
        if bad:
            error = NonFiniteError(f"epoch {record['epoch']}: {bad[0]} is {record[bad[0]]}")
            if not self.on_nonfinite(trainer, error):
                trainer.put_back()
                raise error


def figures(loss: float | None, accuracy: float | None, speed: float | None) -> str:
    """The figures of an epoch as progress lines show them."""
    parts = [f"loss {loss:.4f}" if loss is not None and isfinite(loss) else "loss -"]
    if accuracy is not None:
        parts.append(f"accuracy {accuracy:.2%}")
    if speed:
        parts.append(f"{speed:,.0f} images/s")
    return "  ".join(parts)


def epoch_line(record: dict, epochs: int) -> str:
    """One finished epoch in words."""
    shown = figures(record["loss"], record.get("accuracy"), record.get("images_per_s"))
    if record.get("val_loss") is not None:
        shown += f"  validation: {figures(record['val_loss'], record.get('val_accuracy'), None)}"
    return f"epoch {record['epoch']}/{epochs}  {shown}"


class ProgressPrinter(Callback):
    """A plain line per epoch, or per `every` epochs and for the last one, on stdout or another file."""

    def __init__(self, every: int = 1, file=None):
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise UsageError(f"ProgressPrinter: every must be at least 1, got {every!r}")
        self.every, self.file = every, file

    def on_epoch_end(self, trainer, record: dict) -> None:
        epochs = trainer.settings.epochs
        if record["epoch"] % self.every == 0 or record["epoch"] == epochs:
            print(epoch_line(record, epochs), file=self.file or sys.stdout, flush=True)
