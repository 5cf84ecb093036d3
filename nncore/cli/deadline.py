"""nncore train --deadline: the plan is made before the run folder is, and stored in it as settings that need no clock."""

from __future__ import annotations

from nncore.cli.output import say


def make_plan(training):
    """(settings with the planned number of epochs, the Deadline that keeps the plan) of a training that is about to begin.

    Raises LimitError if not one epoch fits.
    """
    from msgspec.structs import replace

    from nncore.train.deadline import CLOSING, MARGIN, MEASURED, PAGE, Deadline, measure
    from nncore.train.runs import make_trainer

    config, data = training.config, training.data
    seconds = config.train.deadline
    config = replace(config, train=replace(config.train, deadline=None), run=replace(config.run, deadline=seconds))
    trial = make_trainer(config, data, executor=training.executor)
    speed = measure(trial, data.train.images, MEASURED * seconds)
    predicted = len(data.train) + (len(data.test) if data.test is not None else 0)
    held_out = len(trial.validation) if trial.validation is not None else 0
    deadline = Deadline(seconds, training.started)
    epochs = deadline.plan(speed, trial.steps_per_epoch, predicted + held_out, CLOSING + PAGE * training.report)
    deadline.write, deadline.kept = Files(training), lambda plans, epochs: _keep(training, plans, epochs)
    if not training.quiet:
        each = speed.epoch(trial.steps_per_epoch, predicted + held_out)
        say(f"deadline {seconds:g} s: {epochs:,} epochs of about {each:.3g} s, predictions included; {MARGIN:.0%} of the time is "
            "kept free")
    return replace(config, train=replace(config.train, epochs=epochs)), deadline


class Files:
    """The prediction files of the network as it is. Where epochs are shorter than the writing of a file, those whose turn comes
    too early leave none; those of the first are on disk before the second begins."""

    def __init__(self, training):
        self.training, self.is_first = training, True

    def __call__(self) -> None:
        writer = self.training.folder.writer
        if self.is_first or writer.pending <= 2:  # a line of the history and a checkpoint may be on their way
            with self.training.trainer.seen(averages=True):
                self.training.predict()
        if self.is_first:
            writer.wait()
            self.is_first = False


def _keep(training, plans: tuple, epochs: int) -> None:
    """Store a changed plan before it holds: from here on the run is another."""
    from msgspec.structs import replace

    settings = training.config.train
    training.config = replace(training.config, train=replace(settings, epochs=epochs, horizons=plans))
    training.folder.write_config(training.config)
    training.progress.epochs = epochs
    if not training.quiet:
        say(f"deadline: {settings.epochs:,} epochs planned anew: {epochs:,}")


def close_plan(training) -> None:
    """Store where a deadline cut the training off, as the number of steps that repeats it."""
    from msgspec.structs import replace

    if training.deadline.is_cut:
        settings = replace(training.config.train, steps=training.trainer.position.step)
        training.config = replace(training.config, train=settings)
        training.folder.write_config(training.config)
