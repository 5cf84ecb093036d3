"""nncore report and nncore compare: what runs left behind, as one HTML file or a table."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import click

from nncore.cli import options as o
from nncore.cli.output import emit, say, table
from nncore.errors import NNError
from nncore.files import reading, write_atomic

REPORT = "report.html"


@click.command()
@click.argument("run", type=click.Path(), metavar="RUN|BENCH")
@click.option("--output", "-o", type=click.Path(), metavar="FILE", help="Write there; default RUN/report.html.")
@click.option("--image", type=click.IntRange(0), metavar="N", default=0, show_default=True,
              help="The test sample that is followed through the layers.")
@click.option("--refresh", is_flag=True, help="Look at the network again even if RUN/insight.json is up to date.")
@o.options(o.threads_option, o.isa_option, o.json_option, o.quiet_option)
def report(run: str, output: str | None, image: int, refresh: bool, threads: int | None, isa: str | None, as_json: bool,
           quiet: bool) -> None:
    """One self-contained HTML file about a run: curves, classes, mistakes, certainty, layers, time, settings.

    \b
      nncore report runs/mine
      nncore report runs/mine --output report.html --image 17
      nncore report runs/bench                      what nncore bench --out runs/bench kept
      nncore report runs/bench --output speed.svg   all of it at a glance, as one picture

    What needs the network or the data is worked out once and kept in RUN/insight.json. Without the data set, or before
    the run has ended, the report shows what there is. Needs pip install 'nncore[report]'.
    """
    from nncore.graph.tape import Executor
    from nncore.report import bench_files, read_run, require

    require()
    if files := bench_files(run):
        _told(run, _bench(files, output), (), as_json, quiet)
        return
    read_run(run)  # no run, no report: said before anything else
    notes = look(run, image, Executor(isa, threads), refresh)
    _told(run, write_report(run, output, notes), notes, as_json, quiet)


def _bench(files: list[Path], output: str | None) -> str:
    """The page about the last of a bench's files, or the picture of all; returns its path."""
    from nncore.bench.groups import verdicts
    from nncore.bench.store import read
    from nncore.report import bench_html, glance_svg

    path = output or str(files[-1].with_suffix(".html"))
    found = glance_svg(files) if path.endswith(".svg") else bench_html(files, list(verdicts(read(files[-1])["cases"])))
    write_atomic(path, found.encode("utf-8", "replace"))
    return path


def _told(run: str, path: str, notes: tuple[str, ...], as_json: bool, quiet: bool) -> None:
    if as_json:
        emit({"schema": "nncore.report/1", "run": run, "output": path, "nbytes": os.path.getsize(path), "notes": list(notes)})
    elif not quiet:
        for note in notes:
            say(f"nncore: {note}")
        print(f"{path}  ({os.path.getsize(path) / 1e6:.2f} MB)")


def write_report(run: str | os.PathLike, output: str | None = None, notes: tuple[str, ...] = ()) -> str:
    """Render a run's files; returns the path of the page. Raises DataError, LimitError."""
    from nncore.report import read_run, report_html

    path = str(output or Path(run) / REPORT)
    write_atomic(path, report_html(read_run(run), notes).encode("utf-8", "replace"))
    return path


def look(run: str | os.PathLike, image: int, executor, refresh: bool = False, data=None) -> tuple[str, ...]:
    """Bring RUN/insight.json up to date; returns sentences on what could not be looked at. Raises LimitError."""
    from nncore.report.read import INSIGHT, read_run
    from nncore.train.callbacks import Callback
    from nncore.train.insight import insight, profile, rates
    from nncore.train.runs import MODEL, RunFolder, make_trainer

    path = Path(run)
    if not (path / MODEL).is_file():
        return (f"The run has not ended: there is no {MODEL}, so nothing beyond its history can be shown.",)
    with reading(path / MODEL):
        digest = hashlib.sha256((path / MODEL).read_bytes()).hexdigest()
    known = read_run(run).insight
    if known and not refresh and known.get("model_sha256") == digest and known.get("image") == image:
        return tuple(map(str, known.get("notes") or ()))
    try:
        from nncore.train.model import load as load_model

        config = RunFolder.open(path).config()
        network = load_model(path / MODEL)
        data = data or _data(config.data.asked)
        split = data.test or data.train
        found = insight(network, split, image, executor)
        notes = () if data.test else ("The data set has no test set: figures and pictures are of the training set.",)
    except NNError as e:
        (path / INSIGHT).unlink(missing_ok=True)  # it was of another network
        return (f"The network could not be looked at: {e}",)
    try:
        trainer = make_trainer(config, data, (Callback(), Callback()), executor=executor)
        found |= {"schedule": rates(trainer), "profile": profile(trainer)}
    except NNError as e:
        notes = (*notes, f"A training step could not be timed: {e}")
    else:
        from nncore.train.insight import objective

        found["evaluation"] |= objective(network, split, trainer.settings.loss, executor)
    found |= {"split": "test" if data.test else "train", "model_sha256": digest, "image": image, "notes": list(notes)}
    write_insight(path / INSIGHT, found)
    return notes


def write_insight(path: Path, found: dict) -> None:
    """Store an insight, without a blank between things."""
    import json

    from nncore.train.history import clean

    write_atomic(path, json.dumps(clean(found), separators=(",", ":")).encode())


def _data(name: str):
    from nncore.data import load

    return load(name)


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path())
@click.option("--output", "-o", type=click.Path(), metavar="FILE", help="Write an HTML file with the curves too.")
@o.options(o.json_option, o.quiet_option)
def compare(runs: tuple[str, ...], output: str | None, as_json: bool, quiet: bool) -> None:
    """Runs side by side: the settings that differ, and the figures they end with.

    \b
      nncore compare runs/a runs/b
      nncore compare runs/* --output compare.html
      nncore compare runs/a runs/b --json

    The best value of a row is marked with *. The HTML file (pip install 'nncore[report]') overlays the curves.
    """
    from nncore.report import compare as side_by_side
    from nncore.report import compare_html, read_run, require

    if output:
        require()
    read = [read_run(run) for run in runs]
    found = side_by_side(read)
    if output:
        write_atomic(output, compare_html(read).encode("utf-8", "replace"))
    if as_json:
        emit(found)
        return
    print(_table(found))
    if output and not quiet:
        say(f"curves in {output}")


def _table(found: dict) -> str:
    """The comparison for a terminal: settings that differ, then figures, a column a run."""
    from nncore.report.compare import FIGURES
    from nncore.report.page import shown_figure
    from nncore.report.text import setting

    rows = [("", *(r["name"] for r in found["runs"]))]
    rows += [(key, *map(setting, values)) for key, values in found["settings"].items()]
    rows += [("", *[""] * len(found["runs"]))]
    for key, title, _ in FIGURES:
        cells = [shown_figure(key, r["figures"]).replace("\u202f", " ") for r in found["runs"]]
        best = found["best"][key]
        rows.append((title, *(f"* {c}" if i == best else c for i, c in enumerate(cells))))
    rows.append(("weights", *((r["weights_sha256"] or "\u2013")[:12] for r in found["runs"])))
    return table(rows, right=tuple(range(1, len(found["runs"]) + 1)))

