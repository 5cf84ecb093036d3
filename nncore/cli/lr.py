"""nncore lr: a learning rate for a network and a data set."""

from __future__ import annotations

import click

from nncore.cli import options as o
from nncore.cli.crossval import known_data, recipe
from nncore.cli.output import emit


@click.command()
@o.options(o.data_option, o.hidden_option, o.batch_option, o.seed_option)
@click.option("--low", type=o.Number(0, strict=True), default="1e-6", show_default=True, help="Rate of the first step.")
@click.option("--high", type=o.Number(0, strict=True), default="1", show_default=True, help="Rate of the last step.")
@click.option("--steps", type=click.IntRange(5), metavar="N", default=100, show_default=True, help="Steps of the search.")
@o.options(o.threads_option, o.isa_option, o.json_option)
@click.pass_context
def lr(context: click.Context, data: str, hidden: tuple[int, ...], batch: int, seed: int, low: float, high: float, steps: int,
       threads: int | None, isa: str | None, as_json: bool) -> None:
    """Try a hundred rates in a hundred steps of Adam, print the loss of each, and suggest one for `nncore train --lr`.

    \b
      nncore lr
      nncore lr --data mnist --hidden 128,64 --batch 64

    The loss falls fastest at good rates and explodes at too large ones. Smith 2017, section 3.3.
    """
    from nncore.graph.tape import Executor
    from nncore.train.rates import find_rate

    found = known_data(context, data)
    model = recipe(hidden, len(found.classes))(seed)
    result = find_rate(model, found.train, low, high, steps, batch, executor=Executor(isa, threads))
    if as_json:
        emit({**result.plot_data(), "dataset": found.name, "seed": seed, "batch": batch})
    else:
        print(result)
