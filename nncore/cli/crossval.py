"""nncore crossval: a recipe, measured by k-fold cross-validation on the training set."""

from __future__ import annotations

import sys

import click

from nncore.cli import options as o
from nncore.cli.output import emit, say

COMMON = (o.data_option, o.hidden_option, o.epochs_option, o.lr_option, o.batch_option, o.seed_option, o.threads_option,
          o.isa_option)


def recipe(hidden: tuple[int, ...], classes: int):
    """make(seed): Dense layers with ReLU between them, as `nncore train` builds them."""
    from nncore.nn.layers import Dense, ReLU
    from nncore.train.model import Sequential

    def make(seed: int):
        layers = [layer for width in hidden for layer in (Dense(width), ReLU())]
        return Sequential([*layers, Dense(classes)], seed=seed)

    return make


def known_data(context: click.Context, name: str, quiet: bool = True):
    """The data set; without any on the command line and none to be had, the glyphs, with a note."""
    from nncore.cli.progress import download_progress
    from nncore.data import load

    is_default = context.get_parameter_source("data").name == "DEFAULT"
    data = load(name, fallback="glyphs" if is_default else None, progress=download_progress(quiet))
    if data.note:
        say(f"nncore: {data.note}")
    return data


@click.command()
@o.options(*COMMON)
@click.option("--folds", type=click.IntRange(2), metavar="K", default=5, show_default=True, help="Parts of the training set.")
@click.option("--stratified/--plain", default=True, show_default=True, help="Give every fold its share of every class.")
@o.options(o.json_option, o.quiet_option)
@click.pass_context
def crossval(context: click.Context, data: str, hidden: tuple[int, ...], epochs: int, lr: float, batch: int, seed: int,
             threads: int | None, isa: str | None, folds: int, stratified: bool, as_json: bool, quiet: bool) -> None:
    """Train K networks, each on all folds of the training set but one, and evaluate each on its own; mean and spread.

    \b
      nncore crossval --folds 5 --epochs 3
      nncore crossval --data mnist --hidden 128,64 --folds 10 --json

    The test set is not touched: compare recipes here, and look at it once, at the end.
    """
    from nncore.graph.tape import Executor
    from nncore.optim.optimizers import Adam
    from nncore.optim.schedules import OneCycle
    from nncore.train.validation import cross_validate

    found = known_data(context, data, quiet)

    def tell(number: int, evaluation) -> None:
        if not quiet and sys.stderr.isatty():
            say(f"fold {number} of {folds}: {evaluation}")

    result = cross_validate(recipe(hidden, len(found.classes)), found.train, folds, stratified, seed, on_fold=tell, epochs=epochs,
                            batch=batch, optimizer=Adam(OneCycle(lr)), executor=Executor(isa, threads))
    if as_json:
        emit({"schema": "nncore.crossval/1", "dataset": found.name, "seed": seed, "stratified": stratified,
              "folds": [{"n": f.n, "accuracy": f.accuracy, "loss": f.loss} for f in result.folds],
              "accuracy": {"mean": result.accuracy.mean, "deviation": result.accuracy.deviation},
              "loss": {"mean": result.loss.mean, "deviation": result.loss.deviation}})
    else:
        print(result)
