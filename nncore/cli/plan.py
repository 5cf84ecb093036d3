"""nncore plan: what a step of training will do, before it is done."""

from __future__ import annotations

import click

from nncore.cli import options as o
from nncore.cli.output import emit
from nncore.cli.settings import settings_options


@click.command()
@click.argument("file", required=False, type=click.Path(), metavar="[RUN.TOML]")
@settings_options
@click.option("--time", "timed", is_flag=True, help="Run some steps and say how long each instruction takes.")
@o.json_option
@click.pass_context
def plan(context: click.Context, file: str | None, timed: bool, **given) -> None:
    """One step of training: its instructions in order, its memory, what is fused, and what that saves.

    \b
      nncore plan
      nncore plan --model lenet5 --data mnist --time
      NNCORE_FUSE=0 nncore plan                     the same without any fusion, for comparison

    Settings are those of `nncore train`. Fused are activations behind the products that feed them; and instructions of one band
    are walked together, a part of the samples or of the weights at a time, so that what one makes is still in the cache when the
    next one wants it. Neither changes a bit of the result.
    """
    from nncore.cli.recipe import read_recipe
    from nncore.graph.show import show
    from nncore.train.runs import make_trainer

    recipe = read_recipe(context, file, given)
    trainer = make_trainer(recipe.config, recipe.data, executor=recipe.executor)
    found = describe(trainer, timed)
    found["memory"]["data"] = recipe.data.nbytes
    if given["as_json"]:
        emit({"schema": "nncore.plan/1", "dataset": recipe.data.name, **found})
        return
    print(show(trainer.tape, tuple(tuple(g.values()) for g in found["groups"])), "", _text(found), sep="\n")


def describe(trainer, timed: bool = False) -> dict:
    """The plan of a trainer's step: its memory by region, what is fused, which instructions are walked in bands."""
    from nncore.graph.fusion import fused, groups
    from nncore.train.insight import profile

    tape, executor = trainer.tape, trainer.executor
    if timed:
        profile(trainer)
    threads = executor.worth([tape])
    walked = groups(tape, executor.kernels, threads)
    behind = [tape.buffers[i.args[0]] for i in tape.instructions if fused(i)]
    seconds = tape.seconds or [None] * len(tape.instructions)
    instructions = [{"op": i.op, "note": i.note, "mflop": i.flop / 1e6, "bytes": tape.nbytes_of(i),
                     "us": None if s is None else s * 1e6} for i, s in zip(tape.instructions, seconds, strict=True)]
    return {"tape": tape.name, "batch": tape.batch, "isa": executor.isa, "threads": threads,
            "mflop": tape.flop / 1e6, "memory": dict(trainer.plan), "instructions": instructions,
            "moved_bytes": sum(i["bytes"] for i in instructions), "activations_fused": len(behind),
            "fused_saved_bytes": sum(2 * 4 * b.count for b in behind),
            "groups": [dict(zip(("first", "instructions", "bands"), row, strict=True)) for row in walked.rows],
            "band_saved_bytes": walked.saved}


def _text(found: dict) -> str:
    """The plan in words, below its table."""
    def mb(n: int) -> str:
        return f"{n / 1e6:.2f} MB"

    m, count = found["memory"], found["activations_fused"]
    regions = {"parameters": "param", "states": "state", "values of a step": "work", "data": "data"}
    lines = ["memory: " + ", ".join(f"{name} {mb(m[key])}" for name, key in regions.items()),
             f"a step reads and writes {mb(found['moved_bytes'])} for {found['mflop']:.1f} MFLOP"]
    if count:
        lines.append(f"fused: {count} activation{'s' * (count > 1)} behind the product before; "
                     f"saves {mb(found['fused_saved_bytes'])} written and read again")
    if found["groups"]:
        saved = f"; saves {mb(found['band_saved_bytes'])} fetched again"
        lines.append(f"walked in bands ({found['isa']}, {found['threads']} thread{'s' * (found['threads'] > 1)}): "
                     + ", ".join(f"{g['first']} to {g['first'] + g['instructions'] - 1}" for g in found["groups"]) + saved)
    if not count and not found["groups"]:
        lines.append("nothing is fused")
    return "\n".join(lines)
