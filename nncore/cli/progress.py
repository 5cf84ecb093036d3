"""The progress of a training: a live line on a terminal, a plain line per epoch elsewhere, nothing with --quiet."""

from __future__ import annotations

import os
import sys
from math import isfinite

from nncore.cli.output import say
from nncore.train.callbacks import Callback, epoch_line, figures


def is_terminal() -> bool:
    """Whether stderr shows a line that can be rewritten."""
    return sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


class PlainProgress(Callback):
    """One line per epoch, no control characters."""

    def __init__(self, epochs: int):
        self.epochs = epochs

    def update(self, progress) -> None:
        """Within an epoch there is nothing to say."""

    def on_epoch_end(self, trainer, record: dict) -> None:
        """The line of the epoch."""
        say(epoch_line(record, self.epochs))

    def close(self) -> None:
        """Nothing is left on the screen."""


class QuietProgress(PlainProgress):
    """Nothing at all."""

    def on_epoch_end(self, trainer, record: dict) -> None:
        """Silence."""


class LiveProgress(PlainProgress):
    """A bar that is redrawn by the training loop's own calls; rich is loaded while the first epoch runs in C."""

    def __init__(self, epochs: int):
        super().__init__(epochs)
        self._bar, self._task = None, None

    def update(self, progress) -> None:
        """Redraw the bar."""
        if self._bar is None:
            self._open()
        left = f"{clock(progress.seconds_left)} left" if isfinite(progress.seconds_left) else ""
        text = figures(progress.loss, progress.accuracy, progress.images_per_s)
        self._bar.update(self._task, description=f"epoch {progress.epoch}/{progress.epochs}", completed=progress.done,
                         total=progress.total, figures=text, left=left)
        self._bar.refresh()

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        console = Console(stderr=True, highlight=False)
        self._bar = Progress(TextColumn("{task.description}"), BarColumn(20), TaskProgressColumn(),
                             TextColumn("{task.fields[figures]}"), TextColumn("{task.fields[left]}"), console=console,
                             auto_refresh=False, transient=True)
        self._task = self._bar.add_task("", total=1, figures="", left="")
        self._bar.start()

    def on_epoch_end(self, trainer, record: dict) -> None:
        """The epoch's line stays above the bar."""
        line = epoch_line(record, self.epochs)
        if self._bar is None:
            say(line)
        else:
            self._bar.console.print(line, markup=False, soft_wrap=True)

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def training_progress(epochs: int, quiet: bool) -> PlainProgress:
    """The progress that fits --quiet and what stderr is."""
    if quiet:
        return QuietProgress(epochs)
    return LiveProgress(epochs) if is_terminal() else PlainProgress(epochs)


def download_progress(quiet: bool):
    """What `data.load` and `data.get` tell of a download: one line per file, or None."""
    if quiet:
        return None
    seen = set()

    def show(name: str, done: int, total: int) -> None:
        if name not in seen:
            seen.add(name)
            say(f"downloading {name} ({total / 1e6:.1f} MB)")

    return show


def clock(seconds: float) -> str:
    """Seconds as 1:23 or 1:02:03."""
    minutes, seconds = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
