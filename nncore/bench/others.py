"""How much of the processors others took while we measured: what no median can mend.

Linux tells the busy time of every processor and the time of every process; what is busy and neither ours nor a peer's is
other people's work, or the machine's own.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

MUCH = 0.05  # share of the processors that others may take before a figure means little


@dataclass(frozen=True)
class Reading:
    """Seconds: of the clock, busy on the processors, of the processes."""

    clock: float
    busy: float
    own: float


def reading(cpus: list[int], processes: list[int]) -> Reading | None:
    """Now; None where the system does not tell."""
    try:
        tick = 1 / os.sysconf("SC_CLK_TCK")
        with open("/proc/stat", encoding="ascii") as file:
            lines = {fields[0]: fields[1:] for fields in map(str.split, file)}
        # user nice system idle iowait irq softirq steal: all but the two idle ones
        busy = sum(int(v) for c in cpus for i, v in enumerate(lines[f"cpu{c}"][:8]) if i not in (3, 4))
        own = 0
        for process in processes:
            with open(f"/proc/{process}/stat", "rb") as file:
                own += sum(map(int, file.read().rpartition(b")")[2].split()[11:15]))  # and children that have ended
    except (OSError, KeyError, ValueError):
        return None
    return Reading(time.monotonic(), busy * tick, own * tick)


def share(before: Reading | None, after: Reading | None, cpus: list[int]) -> float | None:
    """Part of the processors' time between two readings that went to others; None if unknown or too short to tell."""
    if before is None or after is None or not cpus or after.clock - before.clock < 0.2:
        return None
    taken = (after.busy - before.busy) - (after.own - before.own)
    return max(0.0, taken / ((after.clock - before.clock) * len(cpus)))
