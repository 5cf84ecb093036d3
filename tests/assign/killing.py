"""Kill a grading at random moments, start it again, compare: `python -m tests.assign.killing --moments 50 --submissions 40`.

Every moment is a grading of its own: started, killed with SIGKILL after a random part of the time that an undisturbed one
takes, started again to its end. What it then holds must be what the undisturbed one holds, times apart.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.assign import standins

SCRIPTS = ("centroid", "honest", "exit 3", "honest; rm test_predictions.csv", "honest; echo x >>test_predictions.csv",
           "sleep 0.2; honest", "yes | head -c 100000", "centroid")
SAME = ("submission", "verdict", "detail", "accuracy", "correct", "train_accuracy", "findings", "output")


def a_class(folder: Path, n: int) -> Path:
    """n submissions of eight kinds, a bad zip last."""
    students = folder / "students"
    for i in range(n - 1):
        standins.project(students / f"student {i:02}", SCRIPTS[i % len(SCRIPTS)])
    (students / "zip.zip").write_bytes(b"PK no zip")
    return students


def start(students: Path, out: Path, assignment: Path, jobs: int = 2) -> subprocess.Popen:
    """A grading in a process of its own."""
    return subprocess.Popen([sys.executable, "-m", "nncore", "grade", str(students), "--assignment", str(assignment), "--out",
                             str(out), "--jobs", str(jobs), "--quiet"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                            env={**os.environ, "NNCORE_OFFLINE": "1"})


def finished(students: Path, out: Path, assignment: Path) -> tuple[list[dict], float]:
    """(what a grading holds in the end, seconds it took)."""
    begun = time.monotonic()
    for _ in range(5):
        code = start(students, out, assignment).wait()
        if code != 5:  # on a machine with too much to do some are not graded, and are so by the next call
            break
    assert code == 0, f"exit code {code}"
    found = json.loads((out / "grade.json").read_text())
    return [{k: r[k] for k in SAME} for r in found["results"]], time.monotonic() - begun


def killed(students: Path, out: Path, assignment: Path, seconds: float) -> bool:
    """Start a grading and kill it after some seconds; False if it was done before."""
    process = start(students, out, assignment)
    try:
        process.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--moments", type=int, default=50)
    parser.add_argument("--submissions", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    chance = random.Random(asked.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        standins.assignment(folder)
        assignment, students = folder / "small.toml", a_class(folder, asked.submissions)
        whole, seconds = finished(students, folder / "whole", assignment)
        print(f"undisturbed: {len(whole)} results in {seconds:.1f} s", flush=True)
        wrong = hit = 0
        for i in range(asked.moments):
            moment, out = chance.uniform(0, seconds), folder / f"out{i}"
            was = killed(students, out, assignment, moment)
            found, rest = finished(students, out, assignment)
            hit += was
            wrong += found != whole
            print(f"{i + 1:3}  killed at {moment:5.1f} s{'' if was else ' (it was done)'}  then {rest:5.1f} s  "
                  f"{'the same' if found == whole else 'DIFFERENT'}", flush=True)
    print(f"{hit} of {asked.moments} killed while running, {wrong} with other results")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
