"""nncore lr: a learning rate for a network and a data set."""

from __future__ import annotations

import click

from nncore.cli import options as o
from nncore.cli.output import emit
from nncore.cli.settings import settings_options


@click.command()
@click.argument("file", required=False, type=click.Path(), metavar="[RUN.TOML]")
@settings_options
@click.option("--low", type=o.Number(0, strict=True), default="1e-6", show_default=True, help="Rate of the first step.")
@click.option("--high", type=o.Number(0, strict=True), default="1", show_default=True, help="Rate of the last step.")
@o.json_option
@click.pass_context
def lr(context: click.Context, file: str | None, **given) -> None:
    """Try a hundred rates in a hundred steps, print the loss of each, and suggest one for `nncore train --lr`.

    \b
      nncore lr
      nncore lr --data mnist --hidden 128,64 --batch 64
      nncore lr --optimizer momentum --high 10 --steps 200

    Settings are those of `nncore train`, but for the rate and its schedule; --steps is the number of rates. The loss falls
    fastest at good rates and explodes at too large ones. Smith 2017, section 3.3.
    """
    from nncore.cli.recipe import read_recipe
    from nncore.train.rates import find_rate

    recipe = read_recipe(context, file, given, (("--high", "optimizer.lr", given["high"]),))
    t = recipe.config.train

    def optimizer(rate):
        found = recipe.optimizer
        found.rate = rate
        return found

    result = find_rate(recipe.make(t.seed), recipe.data.train, given["low"], given["high"], given["steps"] or 100,
                       optimizer=optimizer, **recipe.options())
    if given["as_json"]:
        emit({**result.plot_data(), "dataset": recipe.data.name, "model": recipe.config.model["name"], "seed": t.seed,
              "batch": t.batch})
    else:
        print(result)
