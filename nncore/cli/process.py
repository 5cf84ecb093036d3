"""What the system knows of this process: since when it runs."""

from __future__ import annotations

import os
import time


def process_start() -> float:
    """When this process began, on the clock of time.monotonic; now, where the system does not tell."""
    now = time.monotonic()
    try:
        with open("/proc/self/stat", "rb") as file:
            ticks = int(file.read().rpartition(b")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
        return now - age if 0 <= age < 60 else now
    except (OSError, ValueError, IndexError, AttributeError):
        return now
