"""nncore grade: a class of submissions, each in a sandbox, into verdicts, a mark book and a page."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from nncore.cli import options as o
from nncore.cli.assign import assignment_option, sandbox_option, unsandboxed_option
from nncore.cli.output import emit, say
from nncore.files import write_atomic

PAGE, BOARD = "class.html", "leaderboard.html"


@click.command()
@click.argument("folder", type=click.Path())
@click.option("--out", type=click.Path(), required=True, metavar="DIR", help="Where results go and a killed grading goes on.")
@click.option("--jobs", type=click.IntRange(1, 64), default=1, show_default=True, metavar="N",
              help="Submissions at a time; their times suffer if there are more than processors.")
@click.option("--regrade", is_flag=True, help="Grade again what is known; say what came out otherwise.")
@click.option("--only", metavar="PATTERN", default="*", help="Grade these alone, like 'team-1*'; the others stay as they are.")
@click.option("--leakage/--no-leakage", default=None,
              help="Run who passes again on changed test data; default as the assignment says.")
@click.option("--submitted", type=click.Path(), metavar="FILE",
              help="When each came: lines of NAME,TIME; default when its newest file was written.")
@click.option("--final", is_flag=True, help="Show the private half of the leaderboard.")
@o.options(assignment_option, sandbox_option, unsandboxed_option, o.json_option, o.quiet_option)
def grade(folder: str, out: str, as_json: bool, quiet: bool, assignment: str, **asked) -> int:
    """Grade all zips and folders in FOLDER. Exit code 0 when all have a verdict, 5 when the grader itself failed on some.

    \b
      nncore grade submissions --assignment fashion-mnist-88 --out grading --jobs 2

    DIR gets grades.csv for the mark book, class.html, leaderboard.html, grade.json, and a folder for each submission with
    results.json in Gradescope's schema and a page for the student. Every result is on the disk when its line is shown: started
    again after a crash, it goes on. A submission that changed is graded again, and so is all if the assignment changed; when a
    date moves, credits are worked out anew and nothing is run.
    """
    from nncore.assign import grade as grading
    from nncore.assign import judge, late, spec

    wanted, target, silent = spec.load(assignment), Path(out), quiet or as_json
    backend = "none" if asked["unsandboxed"] else asked["sandbox"]
    paths = grading.submissions(folder)
    came = late.times(paths, asked["submitted"])
    arrivals = {name: late.arrival(wanted.late, name, when) for name, when in came.items()}
    judge.ready(backend)
    state = grading.State(target)
    try:
        with judge.prepared(wanted, backend, leakage=asked["leakage"]) as ground:
            results = grading.grade(paths, ground, state, asked["jobs"], asked["regrade"], _teller(len(paths), silent),
                                    asked["only"])
            found, changes, board = _worked_out(results, ground, state, arrivals, asked["final"])
    finally:
        state.close()
    _written(target, found, results, arrivals, board, silent)
    return _told(target, found, changes, as_json)


def _worked_out(results, ground, state, arrivals, final: bool):
    """What the results of a class say together: (grade.json, changes as text, leaderboard)."""
    from nncore.assign import analysis, export, leaderboard, similar

    before = [(b, r) for r in results if (b := state.before(r.submission)) and (b.verdict, b.correct) != (r.verdict, r.correct)]
    truth = ground.truth.test
    more = {"stages": analysis.stages(results), "hardest": analysis.hardest(results, ground.dataset),
            "similar": similar.pairs(results, truth)}
    found = export.batch(results, ground.assignment, [export.change(b, r, truth) for b, r in before], arrivals, more)
    board = leaderboard.board(results, truth, state, ground.assignment.title, final)
    return found, [f"changed  {r.submission}: {_brief(b)} -> {_brief(r)}" for b, r in before], board


def _written(target: Path, found: dict, results, arrivals, board: dict, silent: bool) -> None:
    """All files; the pages, if what draws them is installed."""
    from nncore.assign import export
    from nncore.errors import UsageError
    from nncore.report import board_html, grade_html, require, student_html

    export.write(target, found, results, arrivals)
    write_atomic(target / "leaderboard.json", json.dumps(board, indent=1).encode())
    try:
        require()
    except UsageError as e:
        say(f"nncore: no pages: {e}")
        return
    write_atomic(target / PAGE, grade_html(found, target / "grade.json").encode("utf-8", "replace"))
    write_atomic(target / BOARD, board_html(board, target / "leaderboard.json").encode("utf-8", "replace"))
    for result in found["results"]:
        page = student_html(result, found, target / "grade.json")
        path = target / "submissions" / export.folder_of(result["submission"]) / "index.html"
        write_atomic(path, page.encode("utf-8", "replace"))
    if not silent:
        say(f"{target / PAGE}, {target / BOARD}, {target / 'grades.csv'}, {target / 'submissions'}/")


def _told(target: Path, found: dict, changes: list[str], as_json: bool) -> int:
    """The end of it, on stdout; the exit code."""
    faults = found["verdicts"].get("GRADER_FAULT", 0)
    if as_json:
        emit(found)
    else:
        for line in changes:
            print(_plain(line))
        print(", ".join(f"{n} {verdict}" for verdict, n in found["verdicts"].items()))
    if faults:
        say(f"nncore: {faults} without a verdict, a fault of the grader: {target / 'grade.json'} says why; then run it again")
    return 5 if faults else 0


def _plain(text: str) -> str:
    """A student's name moves no cursor and starts no line."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def _brief(result) -> str:
    return result.verdict + (f" {result.accuracy:.2%}" if result.accuracy is not None else "")


def _teller(n: int, silent: bool):
    """A line a submission, on stderr."""
    done, start = 0, time.monotonic()

    def tell(result, fresh: bool) -> None:
        nonlocal done
        done += 1
        if not silent:
            took = f"{result.seconds:.1f} s" if result.seconds is not None else ""
            note = "" if fresh else "  (known)"
            say(_plain(f"{done:>{len(str(n))}}/{n}  {time.monotonic() - start:6.1f} s  {_brief(result):<24} {took:>8}  "
                       f"{result.submission}{note}"))

    return tell
