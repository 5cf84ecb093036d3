"""Does training stay as fast, image by image, when there are more of them, and how much memory does it take beside them?

Both sizes are trained by turns in one process, the same number of images a turn, drawn by the shuffle from all over the set.
Memory is that of a process of its own, which does nothing but draw the images and train: what it took at most, less the pixels
and labels.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

from nncore.bench.kernels import row
from nncore.bench.limits import Probe
from nncore.bench.stats import interval
from nncore.bench.training import RATE, dense
from nncore.data import glyphs
from nncore.errors import NNError
from nncore.graph.plan import peak_rss, physical_memory
from nncore.graph.tape import Executor
from nncore.optim.optimizers import Adam
from nncore.train.samples import samples
from nncore.train.steps import externals

BASE, SIZES = 10_000, (100_000, 1_000_000, 6_000_000)
TURN = 60_000  # images
TIME_LIMIT, MEMORY_LIMIT = 1.10, 64_000_000  # times as long an image; bytes beside the data
TURNS = 5  # for each round that is asked for


def sizes(text: str) -> list[int]:
    """Numbers of images to measure: those of whose cases `text` is a part and that fit half of the memory."""
    room = (physical_memory() or 2**62) // 2
    return [n for n in SIZES if n * 785 <= room and text in f"growth {title(n)}"]


def title(n: int) -> str:
    """The shape of a case."""
    return f"784-128-10, {n:,} images"


def measure(n: int, batch: int, probe: Probe, rounds: int) -> dict:
    """The row of a size: seconds of an image, and in `growth` against the smallest size, and the memory beside the data."""
    few, many = (_steps(size, batch, probe) for size in (BASE, n))
    taken: tuple[list[float], list[float]] = [], []
    for r in range(-1, TURNS * rounds):  # the first turn warms up
        for side in (0, 1) if r % 2 else (1, 0):
            seconds = (few, many)[side]()
            if r >= 0:
                taken[side].append(seconds)
    found = interval([b / a for a, b in zip(*taken, strict=True)])
    beside = _memory(n, batch, probe.isa, probe.threads)
    growth = {"images": n, "ratio": found.middle, "low": found.low, "high": found.high, "level": found.level,
              "limit": TIME_LIMIT, "beside_data_bytes": beside, "memory_limit": MEMORY_LIMIT,
              "holds": found.low <= TIME_LIMIT and beside <= MEMORY_LIMIT}
    return row("growth", title(n), probe, median(taken[1]), None, None, None) | {"rounds": taken[1], "growth": growth}


def _steps(n: int, batch: int, probe: Probe) -> Callable[[], float]:
    """A turn of training on n glyphs: seconds of an image."""
    data = samples(glyphs(n, 1).train)
    trainer = dense(128).build(10).trainer(data, 1, batch, Adam(RATE), executor=Executor(probe.isa, probe.threads))
    whole, bound, p = n // batch, externals(data), trainer.position

    def turn() -> float:
        begin, left = time.perf_counter(), TURN // batch
        while left:
            if p.cursor + batch > n:
                p.cursor, p.epoch = 0, p.epoch + 1
            steps = min(left, whole - p.cursor // batch)
            trainer.executor.run([(trainer.tape, steps)], trainer.model.memory, bound, p, n_samples=n, shuffle=True)
            left -= steps
        return (time.perf_counter() - begin) / (TURN // batch * batch)

    return turn


def _memory(n: int, batch: int, isa: str, threads: int) -> int:
    """Bytes beside the data that an epoch on n glyphs takes, in a process of its own."""
    command = [sys.executable, "-c", "from nncore.bench.growth import alone; alone()"]
    done = subprocess.run(command, input=json.dumps([n, batch, isa, threads]), capture_output=True, text=True)
    if done.returncode:
        raise NNError(f"bench growth: {n:,} images: {done.stderr.strip().splitlines()[-1:]}")
    return int(done.stdout)


def alone() -> None:
    """What that process does: sizes from standard input, bytes to standard output."""
    n, batch, isa, threads = json.load(sys.stdin)
    data = samples(glyphs(n, 1).train)
    dense(128).build(10).trainer(data, 1, batch, Adam(RATE), executor=Executor(isa, threads)).run()
    print(peak_rss() - data.x.nbytes - data.labels.nbytes)
