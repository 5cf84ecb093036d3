"""nncore bench: how fast the kernels and the training are, as shares of what this machine can do."""

from __future__ import annotations

import click

from nncore.cli import options as o
from nncore.cli.output import emit, say, table
from nncore.errors import UsageError


@click.command()
@click.argument("parts", nargs=-1, metavar="[limits|kernels|train]...")
@click.option("--filter", "text", default="", metavar="TEXT", help="Only cases with TEXT in name or shape.")
@click.option("--rounds", type=click.IntRange(1, 1000), default=5, show_default=True, metavar="N",
              help="Measurements of a case; the median counts.")
@click.option("--seconds", type=o.Number(0, 60, strict=True), default="0.02", show_default=True, metavar="S",
              help="Length of one measurement of a kernel.")
@click.option("--data", metavar="NAME|DIR", help="Train on this data set; default 60,000 images of random bytes.")
@click.option("--model", type=click.Choice(["mlp"]), default="mlp", help="The network of the training cases.")
@click.option("--hidden", type=o.Widths(), help="Train this network only; default 128, 256 and 256,128.")
@o.options(o.batch_option)
@click.option("--threads", type=click.IntRange(1, 64), metavar="N", help="Threads; default 1 and then all processors.")
@click.option("--out", type=click.Path(), metavar="DIR", help="Write the JSON object to DIR/bench.json too.")
@o.options(o.isa_option, o.math_option, o.json_option, o.quiet_option)
def bench(parts: tuple[str, ...], data: str | None, model: str, math: str, out: str | None, as_json: bool, quiet: bool,
          **given) -> int:
    """Measure kernels, training and the limits of this machine, on random data, in about two minutes.

    \b
      nncore bench
      nncore bench kernels --filter dense --threads 1
      nncore bench train --hidden 256 --json

    A share of peak is against FMAs with one broadcast from L1 for every two, measured in the same run right before and
    after. Other work on the machine shows in every figure: look at the load in the heading.
    """
    from nncore.bench.run import PARTS, Plan
    from nncore.bench.run import bench as measure

    for part in parts:
        if part not in PARTS:
            raise o.suggest("part of the bench", part, PARTS)
    chosen = tuple(p for p in PARTS if not parts or p in parts)
    plan = Plan(chosen, data=_load(data) if "train" in chosen else None, **given)
    result = measure(plan, lambda row: None if quiet else say(_line(row)))
    if not result["cases"]:
        raise UsageError(f"--filter {given['text']}: no case has this in its name or shape")
    if out:
        _keep(result, out)
    if as_json:
        emit(result)
    else:
        print(report(result))
    return 0


def _keep(result: dict, folder: str) -> None:
    """DIR/bench.json, atomically. Raises LimitError if it cannot be written."""
    import json
    import os

    from nncore.files import write_atomic, writing

    with writing(folder):
        os.makedirs(folder, exist_ok=True)
    write_atomic(os.path.join(folder, "bench.json"), json.dumps(result, indent=1).encode() + b"\n")


def _load(data: str | None):
    if data is None:
        return None
    from nncore.data import load

    return load(data)


def _line(row: dict) -> str:
    return f"nncore: {row['case']} {row['shape']}, {row['threads']} threads: {_time(row['seconds'])}".rstrip(": ")


def report(result: dict) -> str:
    """The result as text."""
    m = result["machine"]
    head = (f"{m['cpu']}, {m['processors']} processors, load {m['load']}; {m['isa']}, {m['compiler']}, "
            f"numerics {m['numerics_id']}, math f32")
    rows = [("case", "shape", "threads", "time", "GFLOP/s", "GB/s", "peak")]
    for c in result["cases"]:
        share = f"{c['share_of_peak']:.0%}" if c["share_of_peak"] is not None else ""
        rows.append((c["case"], c["shape"], c["threads"], _time(c["seconds"]), _figure(c["gflops"]),
                     _figure(c["gbytes_per_s"]), share))
    return f"{head}\n\n{table(rows, right=(2, 3, 4, 5, 6))}"


def _figure(x: float | None) -> str:
    return "" if not x else f"{x:.1f}" if x >= 10 else f"{x:.2g}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"
