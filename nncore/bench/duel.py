"""Ours and peers by turns on one case: the same instruction, the same data, the same processors.

A round is a probe of the peak, then a turn of each, the first one changing from round to round, then a probe again. A
ratio is of one round: peer's seconds / ours, so that above 1 we are ahead; what a row states is the ratios' median with
its interval (stats.py). Nobody's first call counts, and a pause before each turn lets the other's threads, which wait for
more work by spinning, go to sleep.

`error` is the relative error, in the Euclidean norm, against the same instruction in float64 by our kernels; of long
outputs a part, evenly spread.
"""

from __future__ import annotations

import os
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from nncore.bench.cases import Call, Case
from nncore.bench.kernels import Bench, limit, row, shape, steps_for, title
from nncore.bench.limits import Probe
from nncore.bench.peer import Peer
from nncore.bench.stats import interval, relative_error

PAUSE = 0.012  # seconds: a team of libgomp spins for 300,000 pauses, 6 ms on Zen 4, before it sleeps
SAMPLE = 50_000  # elements of an output that are compared
# What a peer computes in against each of our modes: bf16 with its bf16, the others with what they replace.
PEER_MATH = {"f32": "f32", "bf16x6": "f32", "bf16x3": "f32", "bf16": "bf16"}


def processors(threads: int) -> list[int]:
    """Those that both sides are pinned to: the first ones this process may use, none where pinning is unknown."""
    return sorted(os.sched_getaffinity(0))[:threads] if hasattr(os, "sched_getaffinity") else []


@contextmanager
def pinned(cpus: list[int]) -> Iterator[None]:
    """This thread, and those it makes, on some processors."""
    if not cpus:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class HandOver:
    """A folder in memory, if there is one, through which an instruction's data go to the peers and their outputs come."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="nncore-duel-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
        self.inputs, self.outputs = Path(self.folder.name) / "inputs", Path(self.folder.name) / "outputs"

    def give(self, case: Case, call: Call, math: str) -> dict:
        """Write a call's arguments down; what `load` asks with."""
        described = []
        with open(self.inputs, "wb") as file:
            for a in call.args:
                described.append(a and {"role": a.role, "dtype": a.dtype, "size": a.count, "count": a.count, "at": file.tell()})
                if a and a.values is not None:
                    file.write(a.array("f32").tobytes())
                    file.write(bytes(-file.tell() % 64))
                elif a:
                    described[-1]["count"] = 0  # made by the peer
            file.write(bytes(64))
        return {"file": str(self.inputs), "op": case.op, "dims": call.dims, "scalars": call.scalars, "run": call.run,
                "math": PEER_MATH[math], "args": described}

    def take(self, counts: list[int | None]) -> list[array | None]:
        """The outputs that a peer wrote."""
        found = []
        with open(self.outputs, "rb") as file:
            for n in counts:
                found.append(None if n is None else array("d", file.read(8 * n)))
        return found

    def close(self) -> None:
        self.folder.cleanup()


class Rival:
    """A peer with the fastest of the ways that it answered to have for a case, or none."""

    def __init__(self, peer: Peer, answer: dict, seconds: float):
        self.peer, self.way, self.name = peer, None, answer.get("ways") or []
        if self.name:
            tried = [min(self.seconds(seconds / 2, way) for _ in range(3)) for way in range(len(self.name))]
            self.way = tried.index(min(tried))
            self.name = self.name[self.way]

    def seconds(self, seconds: float, way: int | None = None) -> float:
        return self.peer.ask("time", way=self.way if way is None else way, seconds=seconds)["seconds"]

    def turn(self, seconds: float) -> Callable[[], float]:
        """What `by_turns` calls."""
        return lambda: self.seconds(seconds)

    def outputs(self, over: HandOver) -> list[array | None]:
        return over.take(self.peer.ask("outputs", way=self.way, file=str(over.outputs))["counts"])


def measure(case: Case, size: tuple[int, ...], call: Call, probe: Probe, peers: list[Peer], over: HandOver, seconds: float,
            rounds: int, math: str = "f32") -> dict:
    """The row of a case: ours, and in `peers` what the others did. `call` is the case's for this size."""
    bench, given = Bench(case.op, call, probe, math=math), over.give(case, call, math)
    steps = steps_for(bench, seconds)
    rivals = [r for r in (Rival(p, p.ask("load", **given), seconds) for p in peers) if r.way is not None]
    errors = _errors(bench, Bench(case.op, call, probe, "f64"), rivals, over)

    def ours() -> float:
        bench.seconds(max(1, steps // 10))
        return bench.seconds(steps)

    work, peak = limit(case, size, probe, math) or (None, probe.peak)
    taken, around = by_turns([ours, *(r.turn(seconds) for r in rivals)], rounds, peak)
    middle, flop = median(taken[0]), case.flop(*size)
    share = median(work / t * 1e-9 / p for t, p in zip(taken[0], around, strict=True)) if work else None
    found = row(title(case), shape(case, size), probe, middle, flop / middle * 1e-9, call.nbytes / middle * 1e-9, share, math)
    found |= {"error": errors[0], "rounds": taken[0]}
    found["peers"] = [against(r.peer, r.name, PEER_MATH[math], taken[0], t, e)
                      for r, t, e in zip(rivals, taken[1:], errors[1:], strict=True)]
    return found


def by_turns(turns: list[Callable[[], float]], rounds: int, peak: Callable[[], float]) -> tuple[list[list[float]], list[float]]:
    """Seconds of each in every round, and the peak around every round. Who begins changes."""
    peaks, taken = [peak()], [[] for _ in turns]
    for number in range(rounds):
        for i in range(len(turns)):
            who = (i + number) % len(turns)
            time.sleep(PAUSE)
            taken[who].append(turns[who]())
        time.sleep(PAUSE)
        peaks.append(peak())
    return taken, [(a + b) / 2 for a, b in zip(peaks, peaks[1:], strict=False)]


def against(peer: Peer, way: str, math: str, ours: list[float], theirs: list[float], error: float | None) -> dict:
    """A peer's figures as they stand in a row."""
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    found = interval(ratios)
    version = next(iter(peer.versions.values()), "")
    return {"name": peer.package, "version": version, "way": way, "math": math, "seconds": median(theirs), "ratio": found.middle,
            "low": found.low, "high": found.high, "level": found.level, "rounds": ratios, "error": error}


def _errors(bench: Bench, truth: Bench, rivals: list[Rival], over: HandOver) -> list[float | None]:
    """Each side's error, ours first: the largest over the outputs that the side has."""
    exact = truth.outputs()

    def largest(outputs: list) -> float | None:
        found = []
        for y, t in zip(outputs, exact, strict=False):
            if y is not None and len(y) == len(t):
                step = max(1, len(t) // SAMPLE)
                found.append(relative_error(y[::step], t[::step]))
        return max(found, default=None)

    theirs = [r.outputs(over) for r in rivals]
    # Ours on the same outputs: one that only we have says nothing beside a peer's.
    comparable = [y if not theirs or any(i < len(t) and t[i] is not None for t in theirs) else None
                  for i, y in enumerate(bench.outputs())]
    return [largest(comparable), *map(largest, theirs)]
