"""nncore bench: how fast the kernels and the training are: as shares of what this machine can do, and against peers."""

from __future__ import annotations

import click

from nncore.cli import options as o
from nncore.cli.output import emit, say
from nncore.errors import UsageError


def _packages(context, parameter, value: str | None) -> tuple[str, ...]:
    from nncore.bench.peer import PACKAGES

    found = tuple(dict.fromkeys(p.strip() for p in value.split(","))) if value else ()
    for package in found:
        if package not in PACKAGES:
            raise o.suggest("peer", package, PACKAGES)
    return found


@click.command()
@click.argument("parts", nargs=-1, metavar="[limits|kernels|train|latency|assignment|instruments|growth]...")
@click.option("--against", metavar="PEER[,PEER]", callback=_packages,
              help="Measure in turns with torch, numpy, sklearn, or free: our own kernels with sums in any order.")
@click.option("--compare", nargs=2, type=click.Path(), metavar="OLD NEW", help="Judge what changed between two files of --out.")
@click.option("--filter", "text", default="", metavar="TEXT", help="Only cases with TEXT in group, name or shape.")
@click.option("--rounds", type=click.IntRange(1, 1000), metavar="N",
              help="Measurements of a case; the median counts. Default 5, against peers 9.")
@click.option("--seconds", type=o.Number(0, 60, strict=True), default="0.02", show_default=True, metavar="S",
              help="Length of one measurement of a kernel.")
@click.option("--data", metavar="NAME|DIR", help="Train on this data set; default 60,000 images of random bytes.")
@click.option("--model", type=click.Choice(["mlp"]), default="mlp", help="The network of the training cases.")
@click.option("--hidden", type=o.Widths(), help="Train this network only; default 128, 256 and 256,128.")
@o.options(o.batch_option)
@click.option("--threads", type=click.IntRange(1, 64), metavar="N", help="Threads; default 1 and then all processors.")
@click.option("--out", type=click.Path(), metavar="DIR", help="Keep the figures there: a file of JSON lines for each run.")
@o.options(o.isa_option, o.math_option, o.json_option, o.quiet_option)
def bench(parts: tuple[str, ...], data: str | None, model: str, out: str | None, as_json: bool, quiet: bool, rounds: int | None,
          against: tuple[str, ...], compare: tuple[str, str] | None, math: str | None, **given) -> int:
    """Measure kernels, training and the limits of this machine, on random data, in about two minutes.

    \b
      nncore bench
      nncore bench kernels --filter dense --threads 1
      nncore bench kernels train --against torch,numpy --out runs/bench
      nncore bench assignment --against torch --data fashion-mnist
      nncore bench instruments --threads 1 --rounds 25
      nncore bench growth                           10,000 to 6,000,000 images
      nncore bench --compare runs/bench/OLD.jsonl runs/bench/NEW.jsonl

    A share of peak is against FMAs with one broadcast from L1 for every two, in other math modes against products on tiles with
    operands in L1, for random numbers against Philox alone, measured in the same run right before and after. Other work on the
    machine shows in every figure: look at the load in the heading.

    Against peers, ours and theirs take turns on the same data and processors; a ratio is peer's time / ours. The peers'
    interpreter is NNCORE_PEERS_PYTHON or .venv-peers (make bench-peers). --compare ends with 1 if NEW is slower.
    """
    from nncore.bench.run import DEFAULT, PARTS, Plan
    from nncore.bench.run import bench as measure

    if compare:
        return _compare(*compare, as_json)
    for part in parts:
        if part not in PARTS:
            raise o.suggest("part of the bench", part, PARTS)
    chosen = tuple(p for p in PARTS if p in (parts or DEFAULT))
    loads = "train" in chosen or "assignment" in chosen
    plan = Plan(chosen, data=_load(data) if loads else None, against=against, math=math or "f32",
                rounds=rounds or (9 if against else 5), **given)
    kept = _keep(out)
    result = measure(plan, lambda row: _tell(row, kept, quiet), kept.start if kept else lambda head: None)
    if not result["cases"]:
        raise UsageError(f"--filter {given['text']}: no case has this in its name or shape")
    _print(result, as_json)
    if kept and not quiet:
        say(f"nncore: kept in {kept.path}")
    return 0


def _keep(out: str | None):
    if out is None:
        return None
    from nncore.bench.store import Kept

    return Kept(out)


def _tell(row: dict, kept, quiet: bool) -> None:
    from nncore.cli import bench_text as text

    if kept:
        kept.add(row)
    if not quiet:
        say(text.line(row))


def _print(result: dict, as_json: bool) -> None:
    from nncore.bench.groups import verdicts
    from nncore.cli import bench_text as text

    gates = list(verdicts(result["cases"])) if result["peers"] else []
    if as_json:
        emit(result | ({"gates": gates} if result["peers"] else {}))
        return
    print("\n\n".join([text.head(result), *filter(None, (text.cases(result), text.overheads(result), text.growth(result))),
                       *([text.gates(gates)] if result["peers"] else [])]))


def _compare(old: str, new: str, as_json: bool) -> int:
    """1 if the new one is slower."""
    from nncore.bench.store import changes, read
    from nncore.cli import bench_text as text

    found = changes(read(old), read(new))
    if as_json:
        emit(found)
    else:
        print(text.changes(found))
    return int(found["verdict"] == "slower")


def _load(data: str | None):
    if data is None:
        return None
    from nncore.data import load

    return load(data)
