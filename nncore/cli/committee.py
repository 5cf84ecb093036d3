"""nncore committee: several trained networks answer together."""

from __future__ import annotations

import os
from pathlib import Path

import click

from nncore.cli import options as o
from nncore.cli.output import emit, say, table
from nncore.errors import UsageError


@click.command()
@click.argument("models", type=click.Path(), nargs=-1, required=True)
@click.option("--data", metavar="NAME|DIR", help="A data set by name or folder; default the one of the first run.")
@click.option("--split", type=click.Choice(["test", "train"]), default="test", show_default=True,
              help="Which part of the data set.")
@click.option("--vote/--average", "votes", default=False,
              help="The class most members name, or (default) of the largest mean probability.")
@click.option("--output", "-o", type=click.Path(), metavar="FILE", help="Write the committee's predictions there.")
@click.option("--save", type=click.Path(), metavar="DIR", help="Keep the committee in a folder of its own.")
@o.options(o.tta_option, o.threshold_option, o.threads_option, o.isa_option, o.json_option)
def committee(models: tuple[str, ...], data: str | None, split: str, votes: bool, output: str | None, save: str | None,
              tta: str | None, threshold: float | None, threads: int | None, isa: str | None, as_json: bool) -> int:
    """Evaluate trained networks one by one and as a committee; PASS or BELOW_THRESHOLD with --threshold (exit code 1).

    \b
      nncore committee runs/a runs/b runs/c
      nncore committee a.safetensors b.safetensors --data mnist --vote -o test_predictions.csv
      nncore committee runs/a runs/b --data mnist --tta shift=1
      nncore committee runs/a runs/b --save ours && nncore committee ours --data fashion-mnist

    MODELS are run folders, model files, and folders written by --save or Committee.save.
    """
    from nncore.cli.predict import opinion
    from nncore.graph.tape import Executor
    from nncore.train.ensemble import Committee
    from nncore.train.predictions import class_bytes, score, write_predictions

    executor = Executor(isa, threads)
    names, members, default = _members(models)
    part, labels, dataset = _part(data or default, split)
    found = Committee(members, "vote" if votes else "average")
    opinions = [opinion(m, part, tta, executor) for m in members]
    alone = [score(class_bytes(Committee([m]).decide([p])), labels) for m, p in zip(members, opinions, strict=True)]
    classes = class_bytes(found.decide(opinions))
    together = score(classes, labels, threshold)
    if output:
        write_predictions(output, classes)
    if save:
        found.save(save)
    if as_json:
        emit({"schema": "nncore.committee/1", "dataset": dataset, "split": split, "how": found.how, "tta": tta,
              "n": together.n,
              "members": [{"model": n, "accuracy": s.accuracy, "wrong": s.wrong} for n, s in zip(names, alone, strict=True)],
              "accuracy": together.accuracy, "wrong": together.wrong, "standard_error": together.standard_error,
              "threshold": threshold, "verdict": together.verdict, "output": output, "folder": save})
    else:
        print(table([(n, f"{s.accuracy:.2%}", f"{s.wrong:,} wrong")
                     for n, s in zip(names, alone, strict=True)], right=(1, 2)))
        print(f"{found.how} of {len(members)}: {together}, {together.wrong:,} wrong")
        if output:
            say(f"{len(classes):,} predictions in {output}")
    return 1 if together.verdict == "BELOW_THRESHOLD" else 0


def _members(models: tuple[str, ...]) -> tuple[list[str], list, str | None]:
    """(names, models, data of the first run) behind the arguments."""
    from nncore.cli.predict import _model
    from nncore.train.ensemble import FILE, Committee

    names, members, default = [], [], None
    for path in models:
        if (Path(path) / FILE).exists():
            group = Committee.load(path).members
            names += [os.path.join(path, str(i)) for i in range(len(group))]
            members += group
        else:
            model, data = _model(path)
            default = default or data
            names.append(path)
            members.append(model)
    return names, members, default


def _part(name: str | None, split: str):
    """(samples, labels, name) of a part of a data set."""
    from nncore.data import load

    if name is None:
        raise UsageError("model files name no data: give --data NAME")
    data = load(name)
    part = getattr(data, split)
    if part is None:
        raise UsageError(f"data set {data.name} has no {split} set")
    return part, part.labels.tobytes(), data.name
