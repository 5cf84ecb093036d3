"""Callbacks: objects that are told when an epoch ends. Any object with the methods it cares about will do."""

from __future__ import annotations

from nncore.errors import UsageError


class Callback:
    """on_epoch_end(trainer, record) may change the record or call trainer.stop(reason); the state survives a resume."""

    def on_train_begin(self, trainer) -> None:
        """Before the first step."""

    def on_epoch_end(self, trainer, record: dict) -> None:
        """After each epoch, validation included."""

    def on_train_end(self, trainer) -> None:
        """After the last epoch or a stop."""

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


class EarlyStopping(Callback):
    """Stop after `patience` epochs without improvement of `monitor`; the best weights are restored always.

    monitor: "val_loss", "val_accuracy", "loss", "accuracy", or "gradient": then stop when the norm of the last step's
    gradient stays below `bound` for `patience` epochs (best weights: those of the smallest norm). min_delta: how much
    counts as better. Raises UsageError for an unknown monitor, or when a validation figure is watched without validation.
    """

    MONITORS = {"val_loss": -1, "val_accuracy": 1, "loss": -1, "accuracy": 1, "gradient": -1}

    def __init__(self, monitor: str = "val_loss", patience: int = 3, min_delta: float = 0.0, bound: float = 0.0):
        if monitor not in self.MONITORS:
            raise UsageError(f"EarlyStopping: unknown monitor {monitor!r}; choose one of {', '.join(self.MONITORS)}")
        if patience < 1:
            raise UsageError(f"EarlyStopping: patience must be at least 1, got {patience}")
        if monitor == "gradient" and not bound > 0:
            raise UsageError("EarlyStopping: the monitor 'gradient' needs a bound > 0")
        self.monitor, self.patience, self.min_delta, self.bound = monitor, patience, min_delta, bound
        self.best, self.waited = None, 0

    @property
    def needs_gradient_norm(self) -> bool:
        """Whether the tape has to compute the gradient's norm."""
        return self.monitor == "gradient"

    def on_epoch_end(self, trainer, record: dict) -> None:
        if self.monitor not in record and self.monitor != "gradient":
            raise UsageError(f"EarlyStopping: {self.monitor} is not measured; fit with validation=, or watch another figure")
        value = record["gradient_norm"] if self.monitor == "gradient" else record[self.monitor]
        sign = self.MONITORS[self.monitor]
        better = self.best is None or sign * (value - self.best) > self.min_delta
        if better:
            self.best = value
            trainer.keep_best()
        if self.monitor == "gradient":
            self.waited = self.waited + 1 if value < self.bound else 0
            why = f"gradient norm below {self.bound:g} for {self.waited} epochs"
        else:
            self.waited = 0 if better else self.waited + 1
            why = f"{self.monitor} no better than {self.best:.6g} for {self.waited} epochs"
        if self.waited >= self.patience:
            trainer.stop(why)

    def on_train_end(self, trainer) -> None:
        trainer.restore_best()

    def state(self) -> dict:
        return {"best": self.best, "waited": self.waited}

    def restore(self, state: dict) -> None:
        self.best, self.waited = state["best"], state["waited"]
