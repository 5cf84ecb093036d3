"""A run folder: everything one training leaves behind, enough to look at it, use it, and go on with it to the bit.

    config.toml       the resolved settings      model.safetensors        the trained network
    checkpoints/      the last two, by step      tape.txt                 the training step, instruction by instruction
    history.jsonl     one line per epoch         train_predictions.csv    one class a line
    result.json       accuracies and hashes      test_predictions.csv
    watch.json        what instruments saw, if they were asked for or something went wrong

Files are written by one background thread, in order, while training goes on. A file that cannot be written stops
nothing: the first failure is kept in `Writer.failures` and raised when all else is done.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import re
import threading
import time
from dataclasses import replace
from pathlib import Path

from nncore.errors import DataError, LimitError, NNError, UsageError
from nncore.files import write_atomic, writing
from nncore.tensor import Tensor
from nncore.train import parts
from nncore.train.callbacks import Callback, EarlyStopping
from nncore.train.checkpoint import load_checkpoint, pack_checkpoint, pack_model, write_packed
from nncore.train.config import Config, read_config, refuse_deadline
from nncore.train.history import HistoryFile, clean
from nncore.train.loop import Trainer

CONFIG, MODEL, RESULT, HISTORY, TAPE = "config.toml", "model.safetensors", "result.json", "history.jsonl", "tape.txt"
WATCH = "watch.json"
CHECKPOINTS, KEPT = "checkpoints", 2
PREDICTIONS = {"train": "train_predictions.csv", "test": "test_predictions.csv"}
_OURS = (CONFIG, MODEL, RESULT, HISTORY, TAPE, WATCH, CHECKPOINTS, *PREDICTIONS.values())


# ---- from settings to a trainer --------------------------------------------------------------------------------------


def fingerprint(data, mean: bytes) -> str:
    """A hash that other data would not have: shapes, classes, all labels, exact mean and deviation of the pixels."""
    digest = hashlib.sha256(mean)
    for split in (data.train, data.test):
        if split is not None:
            digest.update(f"{split.shape} {split.images.dtype} {split.classes}".encode())
            digest.update(split.labels.tobytes())
    return digest.hexdigest()[:32]


def limited(data, config: Config):
    """The data set with as many training samples as the settings say. Raises UsageError if there are fewer."""
    split, n = data.train, config.data.limit
    if n is None:
        return data
    if n > len(split):
        raise UsageError(f"data.limit {n:,}: {data.name} has {len(split):,} training samples")
    return replace(data, train=first(split, n))


def first(split, n: int):
    """The first n samples of a split, not copied."""
    each = split.images.nbytes // len(split)
    images = Tensor((n, *split.shape[1:]), split.images.dtype, split.images.memory[: n * each])
    labels = Tensor((n,), split.labels.dtype, split.labels.memory[: n * split.labels.nbytes // len(split)])
    return replace(split, images=images, labels=labels)


def make_trainer(config: Config, data, callbacks: tuple[Callback | None, Callback | None] = (None, None),
                 steps: int | None = None, **options) -> Trainer:
    """A trainer for these settings. `callbacks` are told first and last, if any, early stopping between them. `steps` ends
    this call early; it is no setting.

    Raises UsageError for settings that do not fit the data, LimitError for a network larger than the memory.
    """
    t, p = config.train, config.penalty
    refuse_deadline(config)
    model = parts.make_model(config.model, len(data.classes), t.seed, config.data.standardise, t.math,
                             t.elementary)
    first, last = callbacks
    between = EarlyStopping("val_loss", t.patience) if t.patience else None
    told = [c for c in (first, between, last) if c is not None]
    more = {"augment": parts.make_augment(config.augment), "average": parts.make_average(config.average),
            "clip": parts.make_clip(config.clip), "penalty": parts.make_penalty(p.l1, p.l2, p.biases)}
    options.update((k, v) for k, v in more.items() if v is not None)
    if t.horizons:
        options["horizons"] = t.horizons
    return model.trainer(data.train, t.epochs, t.batch, parts.make_optimizer(config.optimizer, config.schedule),
                         parts.make_loss(t.loss), config.data.validation, told, shards=t.shards,
                         steps=min((n for n in (steps, t.steps) if n), default=None), precision=t.precision, **options)


# ---- writing in the background ---------------------------------------------------------------------------------------


class Writer:
    """One thread that writes files in order; `pending` counts what waits. `failures` are the NNErrors met so far; other
    exceptions pass on in `wait`.
    """

    def __init__(self):
        self.failures: list[NNError] = []
        self._fault: BaseException | None = None
        self._jobs: queue.SimpleQueue = queue.SimpleQueue()
        self.pending = 0
        self._done = threading.Condition()
        threading.Thread(target=self._work, name="nncore-writer", daemon=True).start()

    def submit(self, job, *args) -> None:
        """Run job(*args) after those before it."""
        with self._done:
            self.pending += 1
        self._jobs.put((job, args))

    def _work(self) -> None:
        while True:
            job, args = self._jobs.get()
            try:
                job(*args)
            except NNError as e:
                self.failures.append(e)
            except BaseException as e:  # carried to the main thread
                self._fault = self._fault or e
            with self._done:
                self.pending -= 1
                self._done.notify_all()

    def wait(self) -> None:
        """Return when everything is written or has failed."""
        with self._done:
            while self.pending:
                self._done.wait(0.5)
        if self._fault:
            raise self._fault


# ---- the folder ------------------------------------------------------------------------------------------------------


class RunFolder:
    """The files of one run, by name. Made by `create` or `open`."""

    def __init__(self, path: str | os.PathLike, writer: Writer | None = None):
        self.path, self.writer = Path(path), writer or Writer()
        self.kept: int | None = None  # step of the last checkpoint handed to the writer

    @classmethod
    def create(cls, out: str | os.PathLike | None, config: Config, name: str) -> RunFolder:
        """A new folder: `out`, or runs/<UTC time>-<name>-<model>-s<seed>. Nothing in it is ever overwritten.

        Raises UsageError if `out` holds a run already or is no folder, LimitError if it cannot be made or written.
        """
        path = Path(out) if out is not None else _fresh(name, config)
        if path.is_dir() and (there := [n for n in _OURS if (path / n).exists()]):
            raise UsageError(f"{path} holds a run already ({there[0]}): nothing is overwritten; choose another --out, "
                             f"remove the folder, or go on with the run: nncore train --resume {path}")
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file; --out names a folder")
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)  # its settings come first: without them there is no run
        return cls(path)

    @classmethod
    def open(cls, path: str | os.PathLike) -> RunFolder:
        """A folder that holds a run. Raises DataError if it holds none."""
        if not (Path(path) / CONFIG).is_file():
            what = "holds no run: there is no config.toml" if Path(path).is_dir() else "no such run folder"
            raise DataError(f"{path}: {what}")
        return cls(path)

    def config(self) -> Config:
        """The run's settings. Raises DataError."""
        return read_config(self.path / CONFIG)

    def has_config(self) -> bool:
        """Whether the settings are stored already."""
        return (self.path / CONFIG).exists()

    def write_config(self, config: Config) -> None:
        """Store the settings, at once. Raises LimitError."""
        write_atomic(self.path / CONFIG, config.to_toml())

    def put(self, name: str, data: bytes) -> str:
        """Write a file of the run in the background; returns its path."""
        self.writer.submit(write_atomic, self.path / name, data)
        return str(self.path / name)

    def put_model(self, model) -> None:
        """Write model.safetensors in the background."""
        self.writer.submit(write_packed, self.path / MODEL, pack_model(model))

    def put_result(self, result: dict) -> None:
        """Write result.json in the background: what --json prints."""
        self.put(RESULT, (json.dumps(clean(result), indent=1) + "\n").encode())

    def put_watch(self, observer) -> None:
        """Write watch.json in the background: what the instruments saw."""
        self.put(WATCH, (json.dumps(clean(observer.report())) + "\n").encode())

    def put_broken(self, trainer: Trainer) -> None:
        """What a training that met a bad value leaves, written when this returns: the last good weights as a model and as a
        checkpoint, and what the instruments saw."""
        self.put_model(trainer.model)
        if trainer.position.step not in (0, self.kept):
            self.keep(trainer)
        self.put_watch(trainer.observer)
        self.writer.wait()

    def checkpoints(self) -> list[Path]:
        """Checkpoints, oldest first."""
        return sorted((self.path / CHECKPOINTS).glob("step-*.safetensors"))

    def keep(self, trainer: Trainer) -> None:
        """Write a checkpoint in the background, and drop all but the last two."""
        self.kept = trainer.position.step
        target = self.path / CHECKPOINTS / f"step-{self.kept:010d}.safetensors"
        self.writer.submit(self._keep, target, pack_checkpoint(trainer))

    def _keep(self, target: Path, packed) -> None:
        with writing(target.parent):
            target.parent.mkdir(exist_ok=True)
        write_packed(target, packed)
        with writing(target.parent):
            for old in self.checkpoints()[:-KEPT]:
                old.unlink(missing_ok=True)

    def restore(self, trainer: Trainer) -> bool:
        """Put the trainer where the newest checkpoint stands; False if there is none. Raises DataError."""
        found = self.checkpoints()
        if found:
            try:
                load_checkpoint(trainer, found[-1])
            except DataError as e:
                before = f"; or remove it to go on from {found[-2].name}" if len(found) > 1 else ""
                raise DataError(f"{e}{before}") from None
            self.kept = trainer.position.step
        return bool(found)


def _fresh(name: str, config: Config) -> Path:
    label = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{name}-{config.model['name']}-s{config.train.seed}")
    base = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{label}"
    tries = (Path("runs") / (base if n == 1 else f"{base}-{n}") for n in range(1, 1000))
    for path in tries:
        with writing(path):
            try:
                path.mkdir(parents=True)
                return path
            except FileExistsError:
                if not Path("runs").is_dir():
                    raise
    raise LimitError(f"runs/{base}: a thousand runs in one second; choose a folder with --out")


# ---- callbacks -------------------------------------------------------------------------------------------------------


class StopKeeper(Callback):
    """Told first: a run that ends where no checkpoint was made leaves one, before any best weights are put back."""

    def __init__(self, folder: RunFolder):
        self.folder = folder

    def on_train_end(self, trainer) -> None:
        """The checkpoint of a run stopped by the user or by a step limit, or of a last epoch that left none."""
        if trainer.position.step not in (0, self.folder.kept):
            self.folder.keep(trainer)


class EpochKeeper(Callback):
    """Told last: each epoch leaves a line in history.jsonl and a checkpoint that holds all other callbacks' states.

    Where epochs are shorter than the writing of a file, those whose turn comes too early leave the line only.
    """

    def __init__(self, folder: RunFolder):
        self.folder, self._file = folder, None

    def on_train_begin(self, trainer) -> None:
        """Open the history; lines of epochs after the checkpoint are cut off."""
        self._file = HistoryFile(self.folder.path / HISTORY, keep=len(trainer.history))

    def on_epoch_end(self, trainer, record: dict) -> None:
        """One line, one checkpoint."""
        is_busy = self.folder.writer.pending > 1
        self.folder.writer.submit(self._file.append, record)
        if not is_busy:
            self.folder.keep(trainer)

    def on_train_end(self, trainer) -> None:
        """Close the history."""
        self.folder.writer.submit(self._close)

    def _close(self) -> None:
        with writing(self._file.path):
            self._file.close()
