"""nncore sweep: many trainings side by side, each in a process of its own, and a table of what came out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import click

from nncore.cli import options as o
from nncore.cli.output import emit, say, table
from nncore.cli.progress import clock, is_terminal
from nncore.cli.settings import pair, set_option
from nncore.errors import LimitError, UsageError

PLAN, RESULT, RUNS, LOCK = "plan.toml", "sweep.json", "runs", "lock"
PATIENCE = 30.0  # seconds that an interrupted run has for its checkpoint


@click.command()
@click.argument("file", type=click.Path(), metavar="SWEEP.TOML")
@click.option("--out", type=click.Path(), metavar="DIR", help="Folder for the runs; default sweeps/NAME of the file.")
@click.option("--jobs", type=click.IntRange(1, 64), metavar="N",
              help="Runs at a time; default the number of threads. The threads are divided among them.")
@o.options(o.threads_option, o.isa_option, set_option)
@click.option("--list", "only_list", is_flag=True, help="Show what would be run, and run nothing.")
@o.options(o.json_option, o.quiet_option)
def sweep(file: str, out: str | None, jobs: int | None, threads: int | None, isa: str | None, pairs: tuple[str, ...],
          only_list: bool, as_json: bool, quiet: bool) -> int:
    """Train under many settings and seeds; rank the settings by their mean validation accuracy.

    \b
      nncore sweep sweep.toml
      nncore sweep sweep.toml --jobs 2 --out sweeps/rates
      nncore sweep sweep.toml --list

    SWEEP.TOML names a base and what varies (docs/configuration.md). A run that fails is recorded with its message and the
    others go on. The same command again goes on with a sweep that was interrupted or killed: finished runs are kept,
    begun ones resumed to the bit, failed ones tried again. Results are in DIR/sweep.json and DIR/runs/. The test set takes
    no part in the ranking, for the best of many on it is partly luck: its figure is told for the chosen setting only.
    """
    from nncore._ffi import kernels, thread_count
    from nncore.train.sweep import number, read_sweep

    plan = read_sweep(file, [("--set", *pair(text)) for text in pairs])
    if only_list:
        for i, point in enumerate(plan.points):
            print(number(i), *(f"{k}={v}" for k, v in point.items()))
        return 0
    kernels(isa)
    total = thread_count(threads)
    jobs = min(jobs or total, len(plan.points))
    options = ["--threads", str(max(1, total // jobs)), *(["--isa", isa] if isa else [])]
    folder = Path(out) if out is not None else Path("sweeps") / Path(file).stem
    with _Folder(folder, plan) as place:
        pool = Pool(plan, folder, options, place.lock, None if quiet else Line(len(plan.points)))
        is_whole = pool.run(jobs)
    result = pool.result()
    if not is_whole:
        say(f"nncore: interrupted, {pool.count('finished')} of {len(plan.points)} runs are done. The same command goes on")
        return 130
    if as_json:
        emit(result)
    else:
        _print(result)
    return 0 if pool.count("finished") else 1


# ---- the folder ------------------------------------------------------------------------------------------------------


class _Folder:
    """The sweep's folder, held by one process at a time. Its runs inherit the lock, so those that a killed sweep left
    behind hold it until they have ended.
    """

    def __init__(self, path: Path, plan):
        self.path, self.plan = path, plan

    def __enter__(self) -> _Folder:
        from nncore.files import write_atomic, writing

        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"{self.path} is a file; --out names a folder")
        with writing(self.path):
            (self.path / RUNS).mkdir(parents=True, exist_ok=True)
            self.lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        self._hold()
        text = self.plan.to_toml().encode()
        there = self.path / PLAN
        if there.exists() and there.read_bytes() != text:
            raise UsageError(f"{self.path} holds another sweep, or this one before it was changed: choose another --out, or "
                             "remove the folder")
        write_atomic(there, text)
        return self

    def _hold(self) -> None:
        import fcntl

        end = time.monotonic() + PATIENCE
        while True:
            try:
                return fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() > end:
                    raise LimitError(f"{self.path}: another sweep, or a run that it left behind, works there; wait for it or "
                                     "stop it") from None
                time.sleep(0.1)

    def __exit__(self, *_) -> None:
        os.close(self.lock)


# ---- the runs --------------------------------------------------------------------------------------------------------


@dataclass
class Job:
    """One run: waiting, running, finished or failed."""

    index: int
    point: dict
    folder: Path
    state: str = "waiting"
    message: str | None = None
    process: subprocess.Popen | None = None
    signalled: int = 0
    found: dict = field(default_factory=dict)

    @property
    def name(self) -> str:
        """runs/0001."""
        return f"{RUNS}/{self.folder.name}"

    def read(self) -> bool:
        """Take the result of the run's folder, if there is one."""
        try:
            self.found = json.loads((self.folder / "result.json").read_text())
            self.figures()
        except (OSError, ValueError, KeyError, TypeError):
            return False
        self.state, self.message = "finished", None
        return True

    def figures(self) -> dict:
        """What the summary needs of a finished run."""
        return {"val_accuracy": float(self.found["val_accuracy"]), "val_loss": float(self.found["val_loss"]),
                "test_accuracy": self.found["test_accuracy"], "seconds": float(self.found["seconds"]["total"])}


class Pool:
    """Keeps so many runs going until all have ended or the user stops it."""

    def __init__(self, plan, folder: Path, options: list[str], lock: int, line: Line | None):
        from nncore.train.sweep import number

        self.plan, self.folder, self.options, self.lock, self.line = plan, folder, options, lock, line
        self.jobs = [Job(i, p, folder / RUNS / number(i)) for i, p in enumerate(plan.points)]
        self.stopping = self.kept = 0
        self.began = time.monotonic()

    def count(self, state: str) -> int:
        """Runs in this state."""
        return sum(job.state == state for job in self.jobs)

    def run(self, at_once: int) -> bool:
        """All runs, `at_once` at a time; False if the user stopped it. Ctrl-C lets the runs write their checkpoints first, a
        second one ends them at once.
        """
        before = {s: signal.signal(s, self._on_signal) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
                  if signal.getsignal(s) is not signal.SIG_IGN}
        try:
            for job in self.jobs:
                job.read()
            self.kept = self.count("finished")  # by an earlier call
            self._loop(at_once)
        finally:
            self._end_all()
            if self.line:
                self.line.close()
            for s, handler in before.items():
                signal.signal(s, handler)
        self._keep()
        return not any(job.state in ("waiting", "running") for job in self.jobs)

    def _loop(self, at_once: int) -> None:
        while True:
            running = [job for job in self.jobs if job.state == "running"]
            waiting = [job for job in self.jobs if job.state == "waiting"] if not self.stopping else []
            if not running and not waiting:
                return
            for job in waiting[: max(0, at_once - len(running))]:
                self._start(job)
            for job in running:
                if job.process.poll() is not None:
                    self._finish(job)
                elif job.signalled < self.stopping:
                    job.process.send_signal(signal.SIGKILL if job.signalled else signal.SIGINT)
                    job.signalled = self.stopping
            if self.line:
                self.line.show(self)
            time.sleep(0.02)

    def _start(self, job: Job) -> None:
        from nncore.files import write_atomic

        settings = job.folder.with_suffix(".toml")
        if (job.folder / "config.toml").exists():
            what = ["--resume", str(job.folder)]
        else:
            write_atomic(settings, self.plan.configs[job.index].to_toml())
            what = [str(settings), "--out", str(job.folder)]
        with open(job.folder.with_suffix(".log"), "wb") as log:
            job.process = subprocess.Popen(
                [sys.executable, "-m", "nncore", "train", *what, "--json", "--quiet", *self.options], stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=log, pass_fds=(self.lock,), start_new_session=True, preexec_fn=_end_with_parent)
        job.state, job.signalled = "running", 0

    def _finish(self, job: Job) -> None:
        code = job.process.returncode
        if not job.read():
            text = job.folder.with_suffix(".log").read_text(errors="replace").strip()
            ended = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
            job.message = f"{ended}: {text.rpartition('nncore: ')[2][-2000:]}" if text else ended
            was_stopped = job.signalled and code in (130, -signal.SIGINT, -signal.SIGKILL)
            job.state = "waiting" if was_stopped else "failed"
        if self.line and job.state != "waiting":
            self.line.ended(job, self)
        self._keep()

    def _on_signal(self, signum, frame) -> None:
        self.stopping += 1

    def _end_all(self) -> None:
        """Nothing of ours is left behind, whatever happened here."""
        end = time.monotonic() + PATIENCE
        for job in (j for j in self.jobs if j.state == "running"):
            job.process.send_signal(signal.SIGINT)
            try:
                job.process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                job.process.kill()
                job.process.wait()
            job.state = "waiting"

    # ---- what came out ----------------------------------------------------------------------------------------------

    def result(self) -> dict:
        """The object of --json and sweep.json."""
        from nncore.train.sweep import summary

        nothing = {"val_accuracy": None, "val_loss": None, "test_accuracy": None, "seconds": None}
        figures = [{"state": j.state, **(j.figures() if j.state == "finished" else nothing)} for j in self.jobs]
        settings, chosen = summary(self.plan, figures)
        runs = [{"run": j.name, "settings": j.point, "state": "waiting" if j.state == "running" else j.state,
                 "val_accuracy": f["val_accuracy"], "val_loss": f["val_loss"], "seconds": f["seconds"],
                 "weights_sha256": j.found.get("weights_sha256") if j.state == "finished" else None, "message": j.message}
                for j, f in zip(self.jobs, figures, strict=True)]
        return {"schema": "nncore.sweep/1", "sweep": str(self.folder), "runs": runs, "settings": settings, "chosen": chosen}

    def _keep(self) -> None:
        from nncore.files import write_atomic
        from nncore.train.history import clean

        write_atomic(self.folder / RESULT, (json.dumps(clean(self.result()), indent=1) + "\n").encode())


def _end_with_parent() -> None:
    """In the run's process: be told when the sweep is gone (Linux), so that a killed sweep leaves no run behind."""
    if _libc is not None:
        _libc.prctl(1, int(signal.SIGTERM), 0, 0, 0)  # PR_SET_PDEATHSIG


def _prctl():
    import ctypes

    try:
        return ctypes.CDLL(None) if sys.platform == "linux" else None
    except OSError:
        return None


_libc = _prctl()


# ---- on the screen ---------------------------------------------------------------------------------------------------


class Line:
    """A line per run that ended; on a terminal a line below them, redrawn, tells how far the sweep is."""

    def __init__(self, total: int):
        self.total, self.live, self.last = total, is_terminal(), 0.0

    def show(self, pool: Pool) -> None:
        """Redraw the live line, at most ten times a second."""
        if not self.live or time.monotonic() - self.last < 0.1:
            return
        self.last = time.monotonic()
        done, failed = pool.count("finished"), pool.count("failed")
        best = max((j.figures()["val_accuracy"] for j in pool.jobs if j.state == "finished"), default=None)
        parts = [f"{done}/{self.total} done", *([f"{failed} failed"] if failed else []), f"{pool.count('running')} running"]
        if ended := done + failed - pool.kept:
            left = (time.monotonic() - pool.began) / ended * (self.total - done - failed)
            parts.append(f"{clock(left)} left")
        parts += [f"best validation {best:.2%}"] if best is not None else []
        parts += ["stopping ..."] if pool.stopping else []
        print(f"\r\x1b[K{', '.join(parts)}", end="", file=sys.stderr, flush=True)

    def ended(self, job: Job, pool: Pool) -> None:
        """The line of a run."""
        self.close()
        settings = " ".join(f"{k}={v}" for k, v in job.point.items())
        if job.state == "finished":
            f = job.figures()
            what = f"validation {f['val_accuracy']:.2%}  ({f['seconds']:.1f} s)"
        else:
            what = f"failed: {job.message.splitlines()[0]}"
        say(f"run {job.folder.name}  {settings}  {what}")

    def close(self) -> None:
        """Take the live line off the screen."""
        if self.live and self.last:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _print(result: dict) -> None:
    """The table of settings, best first, and the chosen one with its test accuracy."""
    keys = list(dict.fromkeys(k for row in result["settings"] for k in row["settings"]))
    has_failed = any(row["failed"] for row in result["settings"])
    head = ["#", *keys, "n", *(["failed"] if has_failed else []), "validation", "+-", "loss", "seconds"]
    rows = []
    for i, row in enumerate(result["settings"], 1):
        v, s = row["val_accuracy"], row["seconds"]
        figures = ["-", "", "-", "-"] if v is None else [
            f"{v['mean']:.2%}", "" if v["deviation"] is None else f"{v['deviation']:.2%}", f"{row['val_loss']['mean']:.4f}",
            f"{s['mean']:.1f}"]
        rows.append([i, *(row["settings"].get(k, "") for k in keys), row["finished"], *([row["failed"]] if has_failed else []),
                     *figures])
    _table(head, rows, len(keys) + 1)
    for run in result["runs"]:
        if run["state"] == "failed":
            print(f"failed {run['run']}: {run['message'].splitlines()[0]}")
    if chosen := result["chosen"]:
        settings = " ".join(f"{k}={v}" for k, v in chosen["settings"].items()) or "the base"
        print(f"chosen {settings}: validation {_figure(chosen['val_accuracy'])}, test {_figure(chosen['test_accuracy'])}")
        print("       by validation accuracy; the test set was looked at for this setting only: the best of many on the test set "
              "would be so by luck, too")


def _figure(spread: dict | None) -> str:
    if spread is None:
        return "-"
    deviation = "" if spread["deviation"] is None else f" +- {spread['deviation']:.2%}"
    return f"{spread['mean']:.2%}{deviation} (n = {spread['n']})"


def _table(head: list, rows: list[list], left: int) -> None:
    """Drawn by rich on a terminal, plain columns elsewhere; columns from `left` on are figures."""
    if not sys.stdout.isatty():
        print(table([head, *rows], tuple(range(left, len(head)))))
        return
    from rich.console import Console
    from rich.table import Table

    drawn = Table(header_style="bold")
    for i, name in enumerate(head):
        drawn.add_column(name, justify="right" if i >= left else "left")
    for i, row in enumerate(rows):
        drawn.add_row(*map(str, row), style="bold" if i == 0 else None)
    Console(highlight=False).print(drawn)
