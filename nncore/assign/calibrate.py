"""Time that means the same on a slow machine, a fast one, and one that others use too.

A reference kernel runs in a box like the submission's, before it and after it. A calibrated second is a second of a machine
on which a pass of it takes NOMINAL seconds; `speed` is how many of them a second here is worth. The kernel's passes are too
short for others to get between them, so that speed is the machine's; seconds that others took from a submission meanwhile are
told apart by what the box's own threads used and waited for (neighbours.py), and are no calibrated seconds.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from pathlib import Path

from nncore.assign import sandbox
from nncore.assign.spec import Limits

NOMINAL = 0.0025
_SOURCE = Path(__file__).with_name("reference.c")
_FRESH = 2.0  # seconds for which a measurement stands: what ended one run begins the next
_LIMITS = Limits(wall=30.0, memory_mb=256, processes=16, disk_mb=8)


class Clock:
    """Measures speed in boxes of one backend. Without a C compiler it measures nothing."""

    def __init__(self, folder: Path, backend: str = "bwrap"):
        self.backend, self.fastest = backend, 0.0
        self._project, self._data = folder / "project", folder / "data"
        self._last: dict[int, tuple[float, float]] = {}
        self._lock = threading.Lock()
        for path in (self._project, self._data):
            path.mkdir(parents=True, mode=0o755)
            path.chmod(0o755)
        self.works = self._compiled()

    def _compiled(self) -> bool:
        compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
        if compiler is None:
            return False
        line = [compiler, "-std=c11", "-D_POSIX_C_SOURCE=200809L", "-O2", "-o", self._project / "reference", _SOURCE]
        return subprocess.run(line, capture_output=True).returncode == 0

    def speed(self, slot: int = 0, fresh: bool = False) -> float | None:
        """Calibrated seconds that a second is worth now; fresh: measured now, not just before. None if it cannot be told."""
        if not self.works:
            return None
        last = self._last.get(slot)
        if not fresh and last and time.monotonic() - last[0] < _FRESH:
            return last[1]
        job = sandbox.Job(self._project, self._data, "reference", ("seconds.txt",), _LIMITS, slot)
        try:
            found = NOMINAL / float(sandbox.run(job, self.backend).files["seconds.txt"].split()[0])
        except (KeyError, ValueError, IndexError, ZeroDivisionError, sandbox.NoSandbox):
            return None
        with self._lock:
            self.fastest = max(self.fastest, found)
            self._last[slot] = time.monotonic(), found
        return found

    def slowed(self, speed: float | None) -> bool:
        """Whether somebody else took much of the machine: a fifth less than it has shown it can do."""
        return speed is not None and speed < 0.8 * self.fastest
