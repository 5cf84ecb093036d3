"""What this machine can do: FMA rate, tiles, words of the counter RNG and read bandwidth, by the probes of csrc/ops/probe.c.

*Peak* is the rate of FMAs with one broadcast from L1 for every two, on random data, on as many threads and with the
same instruction set as the case it is compared with, measured right before and after it: clocks change within
milliseconds, and a neighbour on the same core halves them. That of a math mode of bfloat16 is the rate of its products on
tiles with both operands in L1; where there are no tiles it has none.
"""

from __future__ import annotations

import os
import platform
import random
import time
from array import array
from collections.abc import Callable
from functools import partial
from statistics import median

from nncore._ffi import ffi, kernels, kernels_name, lib, thread_count
from nncore.tensor import Tensor

PROBE_SECONDS = 0.002
TEAM_PROBES = 5  # of which the best counts: threads that slept are woken on the processor that calls, and move away later
PRODUCTS = {"bf16": lib.NN_PROBE_BF16, "bf16x3": lib.NN_PROBE_BF16X3, "bf16x6": lib.NN_PROBE_BF16X6}
# Half of what a small L1, L2 and L3 hold, so that a neighbour's data have room too; and far more than an L3.
LEVELS = {"L1": 16 << 10, "L2": 256 << 10, "L3": 4 << 20, "memory": 128 << 20}


class Probe:
    """The limits of one instruction set on a number of threads."""

    def __init__(self, isa: str | None, threads: int):
        self.kernels, self.threads = kernels(isa), threads
        self.isa = kernels_name(self.kernels)
        self.scratch = Tensor((lib.nn_scratch_nbytes(threads),), "u8")
        self.data = random_floats(lib.NN_PROBE_FMA_NBYTES // 4)
        # Calibrated on one thread: raising a team the first time takes longer than the probe.
        self.repeats = {}
        for what in (lib.NN_PROBE_FMA, lib.NN_PROBE_WORDS, *PRODUCTS.values()):
            if self._seconds(what, self.data, 50, 1)[1]:
                once = min(self._seconds(what, self.data, 50, 1)[0] for _ in range(5)) / 50
                self.repeats[what] = max(1, int(PROBE_SECONDS / once))

    def _seconds(self, what: int, data: Tensor, repeats: int, threads: int) -> tuple[float, float]:
        """(seconds, work done)."""
        begin = time.perf_counter()
        done = lib.nn_probe(self.kernels, what, threads, data.pointer, data.nbytes, repeats, self.scratch.pointer)
        return time.perf_counter() - begin, done

    def peak(self) -> float:
        """GFLOP/s of FMAs, now."""
        return self._rate(lib.NN_PROBE_FMA)

    def products(self, math: str) -> Callable[[], float] | None:
        """What measures the GFLOP/s of products in a math mode, now; None without tiles."""
        what = PRODUCTS.get(math, lib.NN_PROBE_FMA)
        return partial(self._rate, what) if what in self.repeats else None

    def words(self) -> float:
        """Words of Philox in a nanosecond, now."""
        return self._rate(lib.NN_PROBE_WORDS)

    def _rate(self, what: int) -> float:
        """10^9 a second: about two milliseconds, the best of several of a team."""
        found = [self._seconds(what, self.data, self.repeats[what], self.threads)
                 for _ in range(TEAM_PROBES if self.threads > 1 else 1)]
        return max(done / seconds for seconds, done in found) * 1e-9

    def barrier(self, rounds: int) -> float:
        """Seconds of a barrier of all threads: the median of rounds."""
        found = [self._seconds(lib.NN_PROBE_MEET, self.data, 2000, self.threads) for _ in range(rounds)]
        return median(seconds / done for seconds, done in found)

    def bandwidth(self, nbytes: int, seconds: float, rounds: int) -> float:
        """GB/s of reading nbytes per thread (memory: in all) over and over: the median of rounds."""
        parts = 1 if nbytes >= LEVELS["memory"] else self.threads
        data = random_floats(nbytes * parts // 4)
        once = min(self._seconds(lib.NN_PROBE_READ, data, 1, 1)[0] for _ in range(3)) / parts
        repeats = max(1, int(seconds / max(once, 1e-7)))
        found = [self._seconds(lib.NN_PROBE_READ, data, repeats, self.threads) for _ in range(rounds)]
        return median(done / s for s, done in found) * 1e-9


def random_floats(n: int) -> Tensor:
    """n floats in [-1, 1), the same every time; they repeat after a while."""
    draw = random.Random(1).random
    block = array("f", (2 * draw() - 1 for _ in range(min(n, 16384)))).tobytes()
    found = Tensor((n,), "f32")
    for at in range(0, found.nbytes, len(block) or 1):
        found.memory[at : at + len(block)] = block[: found.nbytes - at]
    return found


def machine(isa: str | None) -> dict:
    """What the figures were measured on."""
    return {"cpu": _cpu(), "architecture": platform.machine(), "processors": thread_count(), "load": _load(),
            "isa": kernels_name(kernels(isa)), "numerics_id": lib.NN_NUMERICS_ID,
            "compiler": ffi.string(lib.nn_build).decode().partition(";")[0], "python": platform.python_version()}


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            return next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "unknown")
    except OSError:
        return platform.processor() or "unknown"


def _load() -> float | None:
    """Processes that wanted to run in the last minute: above 0 when the bench starts, others share the machine."""
    try:
        return round(os.getloadavg()[0], 2)
    except (OSError, AttributeError):
        return None
