"""Figures kept by commit: a file of JSON lines for each run, and what changed between two of them.

FOLDER/<UTC time>-<commit>.jsonl: the first line is the run (machine, peers, arguments), every other one a case, written as
soon as it is measured. `+` after the commit: with changes that were not committed.
"""

from __future__ import annotations

import json
import subprocess
import time
from math import log
from pathlib import Path
from statistics import median

import nncore
from nncore.bench.peer import PACKAGES
from nncore.bench.stats import LEVEL, geometric_mean, interval, wilcoxon
from nncore.errors import DataError, UsageError
from nncore.files import reading, writing

SCHEMA = "nncore.bench/1"
KEY = ("case", "shape", "threads", "math", "isa")


def commit() -> str:
    """The commit that this source is of, short, with + for changes; "none" outside a repository."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", *arguments], cwd=Path(nncore.__file__).parent, capture_output=True, text=True,
                                  timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    found = git("rev-parse", "--short=10", "HEAD")
    if not found:
        return "none"
    return found + ("+" if git("status", "--porcelain", "--untracked-files=no", ".", "../csrc") else "")


class Kept:
    """A run's file, to which `start` and `add` append lines. Raises LimitError if it cannot be written."""

    def __init__(self, folder: str):
        now = time.gmtime()
        self.when = time.strftime("%Y-%m-%dT%H:%M:%SZ", now)
        self.path = Path(folder) / f"{time.strftime('%Y%m%d-%H%M%S', now)}-{commit()}.jsonl"
        self.head: dict | None = None
        with writing(folder):
            self.path.parent.mkdir(parents=True, exist_ok=True)

    def start(self, result: dict) -> None:
        """What the first line will say; without a case there is no file."""
        self.head = {k: v for k, v in result.items() if k != "cases"} | {"when": self.when}

    def add(self, row: dict) -> None:
        with writing(self.path), open(self.path, "a", encoding="utf-8") as file:
            for line in filter(None, (self.head, row)):
                file.write(json.dumps(line) + "\n")
        self.head = None


def read(path: str | Path) -> dict:
    """A run as `bench` returns it. Raises DataError naming the line; a last line that was cut off is left out."""
    with reading(path):
        lines = Path(path).read_bytes().splitlines(keepends=True)
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            if not isinstance(row, dict) or (number > 1 and not set(KEY) <= set(row)):
                raise ValueError
        except ValueError:
            if number == len(lines) > 1 and not line.endswith(b"\n"):
                break
            raise DataError(f"{path}:{number}: not a line of a bench") from None
        rows.append(row)
    if not rows or rows[0].get("schema") != SCHEMA:
        raise DataError(f"{path}: not a file of nncore bench --out ({SCHEMA})")
    return {**rows[0], "cases": rows[1:]}


# ---- what changed ------------------------------------------------------------------------------------------------------


def changes(old: dict, new: dict, level: float = LEVEL) -> dict:
    """New against old, case by case: speed > 1 is faster. Raises UsageError if they have no case in common.

    Where both runs met the same version of a peer the speeds compared are ratios to it, by which the machine's mood
    cancels. A case counts as changed when the intervals of the two medians do not meet; all cases together are judged by
    the signed-rank test at 1 - level.
    """
    before = {tuple(r[k] for k in KEY): r for r in old["cases"]}
    found = []
    for row in new["cases"]:
        was = before.get(tuple(row[k] for k in KEY))
        if was and was.get("rounds") and row.get("rounds"):
            found.append(_change(was, row, _common(old, new), level))
    if not found:
        raise UsageError("the two runs have no case in common (same shape, threads, math and instruction set)")
    p = wilcoxon([log(c["speed"]) for c in found])
    mean = geometric_mean([c["speed"] for c in found])
    verdict = ("faster" if mean > 1 else "slower") if p < 1 - level else "no change"
    return {"schema": "nncore.bench.compare/1", "old": old["commit"], "new": new["commit"], "level": level, "cases": found,
            "speed": mean, "p": p, "verdict": verdict}


def _common(old: dict, new: dict) -> set[str]:
    """Peers that both runs met in the same versions, on the same processor."""
    same = old["machine"]["cpu"] == new["machine"]["cpu"]
    return {p for p, v in new["peers"].items() if old["peers"].get(p) == v} if same else set()


def _speeds(row: dict, peer: str | None) -> list[float]:
    if peer:
        return next(p["rounds"] for p in row["peers"] if p["name"] == peer)
    return [1 / s for s in row["rounds"]]


def _change(was: dict, row: dict, common: set[str], level: float) -> dict:
    both = common & {p["name"] for p in was["peers"]} & {p["name"] for p in row["peers"]}
    by = next((p for p in PACKAGES if p in both), None)
    a, b = (_speeds(r, by) for r in (was, row))
    x, y = interval(a, level), interval(b, level)
    verdict = "faster" if y.low > x.high else "slower" if y.high < x.low else "same"
    return {**{k: row[k] for k in KEY}, "speed": median(b) / median(a), "by": by, "verdict": verdict}
