"""The assignment, cold: from the course's CSV files to both prediction files, by `nncore train` and by peers' programs in
turns. A turn is a whole process, its seed one of those the course allows; predictions of both are counted alike.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from nncore.bench.duel import against
from nncore.bench.kernels import row
from nncore.bench.limits import Probe
from nncore.bench.peer import FOLDER, PACKAGES, Peer, environment, interpreter
from nncore.errors import DataError, UsageError

SEEDS = (0, 1, 2, 3, 42)
# What is trained; the peers' programs say what they train.
RECIPE = ("--model", "mlp", "--hidden", "128", "--batch", "256", "--epochs", "8", "--lr", "4e-3", "--schedule", "cosine")
PROGRAMS = {p: FOLDER / f"{p}_assignment.py" for p in PACKAGES if (FOLDER / f"{p}_assignment.py").is_file()}


def measure(data, probe: Probe, peers: list[Peer], rounds: int, math: str = "f32") -> dict:
    """The row of the assignment on a Dataset with labelled test images. `accuracy` is of each round's test predictions."""
    from nncore.data import make_csv

    if data is None or data.test is None or data.test.labels is None:
        raise UsageError("bench assignment needs a data set with a test part: --data fashion-mnist")
    rivals = [p for p in peers if p.package in PROGRAMS]
    with tempfile.TemporaryDirectory(prefix="nncore-assignment-") as folder:
        make_csv(data, folder, "data")
        taken: list[list[float]] = [[] for _ in range(1 + len(rivals))]
        right: list[list[float]] = [[] for _ in taken]
        for number in range(rounds):
            for i in range(len(taken)):
                who = (i + number) % len(taken)
                out = Path(folder) / f"{number}-{who}"
                out.mkdir()
                command = _peers(rivals[who - 1].package) if who else _ours(probe, math)
                taken[who].append(_run([*command(folder, out, SEEDS[number % len(SEEDS)], probe.threads)], probe, who == 0))
                right[who].append(_accuracy(out / "test_predictions.csv", data.test.labels.tobytes()))
        found = row("assignment", "CSV to predictions", probe, median(taken[0]), None, None, None, math)
        found |= {"rounds": taken[0], "accuracy": right[0]}
        found["peers"] = [against(p, PROGRAMS[p.package].name, "f32", taken[0], t, None) | {"accuracy": a}
                          for p, t, a in zip(rivals, taken[1:], right[1:], strict=True)]
        return found


def _ours(probe: Probe, math: str):
    def command(folder, out, seed, threads):
        return (sys.executable, "-m", "nncore", "train", "--data", folder, *RECIPE, "--seed", str(seed),
                "--threads", str(threads), "--isa", probe.isa, "--math", math, "--out", str(out / "run"),
                "--predictions", str(out), "--quiet")

    return command


def _peers(package: str):
    def command(folder, out, seed, threads):
        return interpreter(), str(PROGRAMS[package]), folder, str(out), str(threads), str(seed)

    return command


def _run(command: list[str], probe: Probe, is_ours: bool) -> float:
    """Seconds of a process from before it is made until it has ended. It inherits our processors."""
    env = dict(os.environ) if is_ours else environment(probe.threads)
    begin = time.perf_counter()
    done = subprocess.run(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    seconds = time.perf_counter() - begin
    if done.returncode not in ((0, 1) if is_ours else (0,)):  # 1: below the threshold, which the accuracy tells
        said = done.stderr.decode(errors="replace").strip()[-2000:]
        raise DataError(f"{' '.join(command[:5])} ... ended with status {done.returncode}:\n{said}")
    return seconds


def _accuracy(path: Path, labels: bytes) -> float:
    """Share of right predictions. Raises DataError for a file that is missing or not one line a sample."""
    try:
        found = [int(line) for line in path.read_bytes().split()]
    except (OSError, ValueError) as e:
        raise DataError(f"{path.name}: {e}") from None
    if len(found) != len(labels):
        raise DataError(f"{path.name}: {len(found)} predictions for {len(labels)} samples")
    return sum(a == b for a, b in zip(found, labels, strict=True)) / len(labels)
