"""nncore models: the zoo, or one network of it."""

from __future__ import annotations

import inspect
import sys
import warnings

import click

from nncore.cli import options as o
from nncore.cli.output import emit, table

SHAPE, CLASSES = (28, 28, 1), 10  # the images that sizes are told for


@click.command()
@click.argument("name", required=False)
@o.json_option
def models(name: str | None, as_json: bool) -> None:
    """The networks of the zoo: parameters, work for an image, what each is; or all about one of them.

    \b
      nncore models
      nncore models resnet-small
      nncore train --model resnet-small

    Sizes are those for images of 28 x 28 in ten classes; MFLOP are of one image forward, a training step takes three times
    as many. The recipe are the settings `nncore train` takes where nothing else is said.
    """
    from nncore.nn.zoo import MODELS
    from nncore.train.parts import plain
    from nncore.train.toml import to_toml

    if name is None:
        names = list(MODELS)
    else:
        names = [n for n in MODELS if plain(n) == plain(name)]
        if not names:
            raise o.suggest("model", name, MODELS)
    found = [_described(n, MODELS[n]) for n in names]
    if as_json:
        emit({"schema": "nncore.models/1", "models": [row for row, _ in found]})
    elif name is None:
        head = ("model", "parameters", "MFLOP", "")
        print(table([head, *((r["name"], f"{r['parameters']:,}", f"{r['mflop']:.2f}", r["what"]) for r, _ in found)], (1, 2)))
    else:
        row, summary = found[0]
        print(row["text"], "", summary, "", "recipe:", to_toml(row["recipe"]).rstrip(), sep="\n")


def _described(name: str, builder) -> tuple[dict, object]:
    """(the row of --json, the summary) of a network."""
    from nncore.train.models import make

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sizes that are not whole: said where the network is trained
        summary = make(name, CLASSES).summary(SHAPE)
    text = inspect.getdoc(sys.modules[builder.__module__])
    return {"name": name, "parameters": summary.parameters, "mflop": round(summary.flop / 1e6, 3),
            "what": text.partition("\n")[0].partition(". ")[0].rstrip("."), "options": _options(builder),
            "recipe": builder.recipe, "text": text}, summary


def _options(builder) -> dict:
    """The builder's keyword arguments and their defaults: keys of [model]."""
    return {p.name: p.default for p in inspect.signature(builder).parameters.values() if p.kind is p.KEYWORD_ONLY}
