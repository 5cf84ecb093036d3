"""nncore crossval: a recipe, measured by k-fold cross-validation on the training set."""

from __future__ import annotations

import sys

import click

from nncore.cli import options as o
from nncore.cli.output import emit, say
from nncore.cli.settings import settings_options


@click.command()
@click.argument("file", required=False, type=click.Path(), metavar="[RUN.TOML]")
@settings_options
@click.option("--folds", type=click.IntRange(2), metavar="K", default=5, show_default=True, help="Parts of the training set.")
@click.option("--stratified/--plain", default=True, show_default=True, help="Give every fold its share of every class.")
@o.options(o.json_option, o.quiet_option)
@click.pass_context
def crossval(context: click.Context, file: str | None, **given) -> int:
    """Train K networks, each on all folds of the training set but one, and evaluate each on its own; mean and spread.

    \b
      nncore crossval --folds 5 --epochs 3
      nncore crossval --data mnist --hidden 128,64 --folds 10 --json
      nncore crossval runs/mine/config.toml --lr 1e-3

    Settings are those of `nncore train`. The test set is not touched: compare recipes here, and look at it once, at the
    end. With --threshold the mean accuracy has to reach it (exit code 1).
    """
    from nncore.cli.recipe import read_recipe
    from nncore.train import parts
    from nncore.train.callbacks import EarlyStopping
    from nncore.train.validation import cross_validate

    folds, stratified, quiet = given["folds"], given["stratified"], given["quiet"]
    recipe = read_recipe(context, file, given)
    t = recipe.config.train

    def tell(number: int, evaluation) -> None:
        if not quiet and sys.stderr.isatty():
            say(f"fold {number} of {folds}: {evaluation}")

    result = cross_validate(recipe.make, recipe.data.train, folds, stratified, t.seed, on_fold=tell, epochs=t.epochs,
                            optimizer=recipe.optimizer, average=parts.make_average(recipe.config.average),
                            validation=recipe.config.data.validation, steps=given["steps"] or t.steps,
                            callbacks=[EarlyStopping("val_loss", t.patience)] if t.patience else [], **recipe.options())
    accuracy, loss = result.accuracy, result.loss
    verdict = None if t.threshold is None else "PASS" if accuracy.mean >= t.threshold else "BELOW_THRESHOLD"
    if given["as_json"]:
        emit({"schema": "nncore.crossval/1", "dataset": recipe.data.name, "model": recipe.config.model["name"], "seed": t.seed,
              "stratified": stratified,
              "folds": [{"n": f.n, "accuracy": f.accuracy, "loss": f.loss} for f in result.folds],
              "accuracy": {"mean": accuracy.mean, "deviation": accuracy.deviation},
              "loss": {"mean": loss.mean, "deviation": loss.deviation}, "threshold": t.threshold, "verdict": verdict})
    else:
        print(result)
        if verdict:
            print(f"{verdict}: mean accuracy {accuracy.mean:.2%}, threshold {t.threshold:.2%}")
    return 1 if verdict == "BELOW_THRESHOLD" else 0
