"""nncore new, check and doctor: a project begun, the grader at home, the sandbox tried."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import click

from nncore.cli import options as o
from nncore.cli.output import emit, say
from nncore.errors import NNError, UsageError

assignment_option = click.option("--assignment", default="fashion-mnist-88", show_default=True, metavar="NAME|FILE",
                                 help="What is asked for: built in (nncore assignment list) or a TOML file.")
sandbox_option = click.option("--sandbox", type=click.Choice(["bwrap", "benchexec"]), default="bwrap", show_default=True,
                              help="What strangers' programs run in; nncore doctor tries each.")
unsandboxed_option = click.option("--unsandboxed", is_flag=True,
                                  help="Run without any protection if you trust who wrote it; results are marked.")


@click.command()
@click.argument("folder", type=click.Path(), metavar="DIR")
@click.option("--language", type=click.Choice(["c", "c++", "java", "python-cffi"]), default="c", show_default=True,
              help="The skeleton's language.")
@click.option("--solved", is_flag=True, help="The reference solution in C on nncore's kernels: to try the machinery.")
@o.options(assignment_option)
def new(folder: str, language: str, solved: bool, assignment: str) -> None:
    """Begin a project: it builds and runs at once, writes predictions of the right shape, and learns nothing yet.

    \b
      nncore new mine --language c++
      nncore new demo --assignment glyphs
      nncore check demo
    """
    from nncore.assign import scaffold, spec

    scaffold.create(folder, spec.load(assignment), language, solved)
    say(f"{folder}: begin with README.md; nncore check {folder} --assignment {assignment} says what the grader will say")


@click.command()
@click.argument("project", type=click.Path(), metavar="DIR|ZIP")
@click.option("--leakage/--no-leakage", default=None,
              help="If it passes, run it again on changed test data; default as the assignment says.")
@o.options(assignment_option, sandbox_option, unsandboxed_option, o.json_option, o.quiet_option)
def check(project: str, leakage: bool | None, assignment: str, sandbox: str, unsandboxed: bool, as_json: bool,
          quiet: bool) -> int:
    """The grader itself, at home: same code, same sandbox, same verdict. Exit code 0 for PASS, 1 for any other verdict.

    \b
      nncore check mine
      nncore check mine.zip --assignment mnist-97

    First the classic traps are looked for, then everything is run on the grader's data, where the test labels are random.
    """
    from nncore.assign import judge, preflight, spec

    if not Path(project).exists():
        raise UsageError(f"{project}: there is no such project")
    asked = spec.load(assignment)
    backend = "none" if unsandboxed else sandbox
    judge.ready(backend)
    with judge.prepared(asked, backend, leakage=leakage) as ground, _View(asked.limits, quiet or as_json) as view:
        result = judge.judge(project, ground, tell=view.tell)
    result.findings = [f.plain() for f in preflight.at_home(project, asked)] + result.findings
    if as_json:
        emit({"schema": "nncore.check/1", "assignment": asked.name, "advice": result.advice, **result.plain()})
    else:
        for line in _told(result, asked):
            print(line)
    return 0 if result.verdict == "PASS" else 5 if result.verdict == "GRADER_FAULT" else 1


def _told(result, asked) -> list[str]:
    """The result as a student reads it."""
    limits = asked.limits
    lines = [f"{f['level']}: {f['file']}{':' + str(f['line']) if f['line'] else ''}: {f['message']}" for f in result.findings]
    if result.output and result.verdict not in ("PASS", "BELOW_THRESHOLD"):
        lines += ["the last it printed:", *(f"  {line.expandtabs(4)}" for line in result.output.splitlines()[-12:])]
    lines.append(f"{result.verdict}: {result.detail}" if result.detail else result.verdict)
    lines.append(result.advice)
    if result.seconds is not None:
        alone, lost = result.seconds - (result.lost or 0.0), result.lost or 0.0
        taken = f", others took {lost:.1f} s more" if lost > 0.02 * result.seconds else ""
        lines.append(f"time {alone:.1f} of {limits.wall:g} s{_calibrated(result, limits)}{taken}, "
                     f"processor {result.cpu:.1f} of {limits.cpu:g} s, "
                     f"memory {result.memory / 1e6:.0f} of {limits.memory_mb} MB, "
                     f"processes {result.processes} of {limits.processes}, "
                     f"disk {result.disk / 2**20:.0f} of {limits.disk_mb} MB")
        lines.append(f"sandbox {result.sandbox}: {', '.join(result.enforced)}")
    return [_plain(line) for line in lines]


def _calibrated(result, limits) -> str:
    """What the time is worth on a machine of the reference kernel's speed."""
    if result.calibrated is None:
        return ""
    return f" ({result.calibrated:.1f} calibrated{', which count' if limits.clock == 'calibrated' else ''})"


def _plain(text: str) -> str:
    """What a project printed moves no cursor and changes no colours."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


class _View:
    """Stage, time, memory and processes against their limits, while it runs; nothing on a pipe."""

    def __init__(self, limits, silent: bool):
        from rich.console import Console

        self.limits, self.console = limits, Console(stderr=True)
        self.shown = not silent and self.console.is_terminal
        self.live, self.last = None, 0.0

    def __enter__(self):
        if self.shown:
            from rich.live import Live

            self.live = Live("", console=self.console, transient=True, auto_refresh=False)
            self.live.start()
        return self

    def __exit__(self, *_) -> None:
        if self.live:
            self.live.stop()

    def tell(self, stage: str, watch) -> None:
        """Draw the state, ten times a second at most."""
        now = time.monotonic()
        if not self.live or watch and now - self.last < 0.1:
            return
        self.last = now
        self.live.update(self._drawn(stage, watch), refresh=True)

    def _drawn(self, stage: str, watch):
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        grid = Table.grid(padding=(0, 2))
        grid.add_row("stage", stage)
        if watch:
            limits = self.limits
            rows = (("time", watch.seconds - watch.lost, limits.wall, "s"), ("processor", watch.cpu, limits.cpu, "s"),
                    ("memory", watch.memory_now / 1e6, limits.memory_mb, "MB"),
                    ("processes", watch.processes_now, limits.processes, ""), ("disk", watch.disk / 2**20, limits.disk_mb, "MB"),
                    ("printed", watch.written / 1024, limits.output_kb, "kB"))
            for name, value, most, unit in rows:
                near = "red" if value > 0.9 * most else "yellow" if value > 0.7 * most else "green"
                bar = ProgressBar(total=most, completed=min(value, most), width=30, complete_style=near, finished_style="red")
                grid.add_row(name, bar, f"{value:,.0f} of {most:,g} {unit}")
        return grid


@click.command()
@o.options(o.json_option)
def doctor(as_json: bool) -> int:
    """Try each sandbox: run a program in it, get a file back. Exit code 5 if bwrap, which grading needs, does not work here."""
    from nncore.assign import judge
    from nncore.assign.sandbox import MAVEN

    found = {}
    for backend in ("bwrap", "benchexec"):
        try:
            found[backend] = {"works": True, "enforced": judge.ready(backend), "message": ""}
        except NNError as e:
            found[backend] = {"works": False, "enforced": [], "message": str(e).removeprefix(f"{backend}: ")}
    tools = {name: shutil.which(name) is not None for name in ("cc", "make", "c++", "javac", "mvn")}
    fetched = tools["mvn"] and MAVEN.is_dir()
    if as_json:
        emit({"schema": "nncore.doctor/1", "sandbox": found, "tools": tools, "maven": str(MAVEN) if fetched else None})
    else:
        for backend, tried in found.items():
            print(f"{backend:<10} " + (f"works: {', '.join(tried['enforced'])}" if tried["works"] else tried["message"]))
        lacking = [name for name, there in tools.items() if not there]
        print(f"{'tools':<10} " + (f"missing: {', '.join(lacking)}; projects that need them fail to build" if lacking else
                                   ", ".join(tools)))
        if tools["mvn"] and not fetched:
            print(f"{'maven':<10} has fetched nothing for boxes, which have no network: once, in a folder with a pom.xml,\n"
                  f"           mvn -Dmaven.repo.local={MAVEN} package")
        if not found["bwrap"]["works"]:
            print("without bwrap nothing is graded: apt install bubblewrap util-linux; user namespaces must be allowed, or the\n"
                  "grader run as root; --unsandboxed runs without protection and marks every result")
        elif not found["benchexec"]["works"]:
            print("benchexec is not needed: it lets the kernel stop memory and processes of all together, which bwrap alone\n"
                  "leaves to looking twenty times a second")
    return 0 if found["bwrap"]["works"] else 5
