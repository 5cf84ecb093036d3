"""nncore lab: the numerics laboratory - rounding errors and the ways of training, measured against theory."""

from __future__ import annotations

import click

from nncore.cli import options as o
from nncore.cli.group import LazyGroup
from nncore.cli.output import emit, say, table

report_option = click.option("--report", type=click.Path(dir_okay=False), metavar="FILE",
                             help="Write a page: a chapter an experiment, with formula, theory, pictures, findings.")


@click.group(cls=LazyGroup)
def lab() -> None:
    """Experiments on floating point and training, on our own kernels, each held against what theory says.

    \b
      nncore lab list
      nncore lab run ravine
      nncore lab run xor --set seeds=40 --report xor.html
      nncore lab all --report lab.html              everything, in about two minutes

    From Python: nn.lab.ravine(condition=(4, 400)).findings. Ends with 1 if a finding does not meet its figure.
    """


@lab.command("list")
@o.options(o.json_option)
def list_command(as_json: bool) -> None:
    """The experiments by chapter, with their parameters."""
    from nncore.lab import EXPERIMENTS, find
    from nncore.lab.run import defaults, shown

    found = [(e, {k: shown(v) for k, v in defaults(e).items()}) for e in map(find, EXPERIMENTS)]
    if as_json:
        emit({"schema": "nncore.lab.list/1", "experiments": [
            {**{k: getattr(e, k) for k in ("name", "code", "title", "chapter", "formula", "theory", "source")}, "parameters": p}
            for e, p in found]})
        return
    rows = [(e.name, e.chapter, e.title, " ".join(f"{k}={v}" for k, v in p.items())) for e, p in found]
    print(table([("experiment", "chapter", "title", "parameters"), *rows]))


@lab.command("run")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--set", "given", multiple=True, metavar="NAME=VALUE",
              help="A parameter, several values with commas; `nncore lab list` shows them. For every experiment named.")
@o.options(report_option, o.json_option, o.quiet_option)
def run_command(names: tuple[str, ...], given: tuple[str, ...], report: str | None, as_json: bool, quiet: bool) -> int:
    """Run experiments, one after the other, with parameters of your own if you like."""
    from nncore.lab import EXPERIMENTS, find
    from nncore.lab.run import parse

    for name in names:
        if name not in EXPERIMENTS:
            raise o.suggest("experiment", name, EXPERIMENTS)
    return _measure([(name, parse(find(name), given)) for name in dict.fromkeys(names)], 1, report, as_json, quiet)


@lab.command("all")
@click.option("--jobs", type=click.IntRange(1, 64), metavar="N", help="Processes; default one a processor.")
@o.options(report_option, o.json_option, o.quiet_option)
def all_command(jobs: int | None, report: str | None, as_json: bool, quiet: bool) -> int:
    """Run every experiment with its own parameters, several at a time."""
    from nncore._ffi import thread_count
    from nncore.lab import EXPERIMENTS

    return _measure([(name, {}) for name in EXPERIMENTS], jobs or thread_count(), report, as_json, quiet)


def _measure(jobs: list, processes: int, report: str | None, as_json: bool, quiet: bool) -> int:
    from nncore.lab.run import SCHEMA, measure_all

    if report:
        from nncore.report import require

        require()
    found = {"schema": SCHEMA, **_about(), "experiments": measure_all(jobs, processes, lambda r: quiet or say(_line(r)))}
    if report:
        from nncore.files import write_atomic
        from nncore.report import lab_html

        write_atomic(report, lab_html(found).encode("utf-8", "replace"))
    if as_json:
        emit(found, indent=None)
    else:
        print("\n\n".join(map(_text, found["experiments"])))
        if report and not quiet:
            say(f"nncore: the page is {report}")
    return 0 if all(r["accepted"] for r in found["experiments"]) else 1


def _about() -> dict:
    """Versions and machine, for who reads the figures later."""
    import platform

    import nncore
    from nncore._ffi import lib
    from nncore.graph.tape import Executor

    return {"version": nncore.__version__, "numerics_id": lib.NN_NUMERICS_ID, "isa": Executor(threads=1).isa,
            "python": platform.python_version()}


# ---- text --------------------------------------------------------------------------------------------------------------


def _line(r: dict) -> str:
    """An experiment that has ended, on one line."""
    failed = sum(not f["accepted"] for f in r["findings"])
    verdict = f"{len(r['findings'])} findings hold" if not failed else f"{failed} of {len(r['findings'])} findings DO NOT HOLD"
    return f"{r['name']:20} {r['seconds']:6.2f} s  {verdict}"


def _text(r: dict) -> str:
    """An experiment and what it found."""
    from textwrap import fill

    code = f" ({r['code']})" if r["code"] else ""
    parameters = " ".join(f"{k}={v}" for k, v in r["parameters"].items())
    parts = [f"{r['name']}{code}: {r['title']}"]
    parts += [fill(r[key], 120, initial_indent=f"  {key:9}", subsequent_indent=" " * 11)
              for key in ("formula", "theory", "source")]
    parts += [f"  given    {parameters}"] if parameters else []
    rows = [("  ", "finding", "measured", "expected", "")]
    rows += [("  ", f["text"], figure(f["measured"]), f["expected"], "holds" if f["accepted"] else "DOES NOT HOLD")
             for f in r["findings"]]
    parts += [table(rows)]
    for t in r["tables"]:
        numbers = tuple(range(2, len(t["head"]) + 1))
        cells = [("  ", *t["head"]), *(("  ", *map(figure, row)) for row in t["rows"])]
        parts.append(f"  {t['title']}\n{table(cells, right=numbers)}")
    return "\n".join(parts + [f"  not measured here: {m}" for m in r["missing"]])


def figure(value) -> str:
    """A measured value as text."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
