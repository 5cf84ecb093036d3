"""What others on a machine take from a box: the seconds that a run was longer for them.

The kernel counts, for each thread, how long it was ready to run while others had the processors. A run that got 6 seconds
of processor time and waited for 4 more would have had all 10 alone, if the machine has so many processors; what it took 10
seconds for would then have taken 6. Threads wait for each other too: those of a box together want at most all processors,
and never lose more than others really had. A thread that sleeps waits for nobody.
"""

from __future__ import annotations

import os

PAUSE = 0.25  # seconds between looks: each reads a file a thread
_LONGEST = 0.5  # seconds of one wait that are counted later: the kernel counts a wait when it is over, maybe some looks after
_HERTZ = os.sysconf("SC_CLK_TCK")


class Neighbours:
    """Looked at now and then while a box runs. lost: seconds of the wall clock that others took from it."""

    def __init__(self):
        self.lost = 0.0
        self._processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._seconds = self._cpu = 0.0
        self._busy = busy()
        self._waits: dict[int, float] = {}

    def look(self, members, seconds: float, cpu: float, fresh: bool = False) -> None:
        """Count what happened since the last look. members: the processes of the box; seconds since it began; its own CPU
        seconds; fresh: now, however short ago that was."""
        span = seconds - self._seconds
        if span < PAUSE and not (fresh and span > 0):
            return
        waits = {thread: waited for m in members for thread, waited in _waits(m.pid)}
        waited = {thread: max(w - self._waits.get(thread, 0.0), 0.0) for thread, w in waits.items()}
        now = busy()
        own = max(cpu - self._cpu, 0.0)
        taken = lost(span, own, list(waited.values()), max(now - self._busy - own, 0.0), self._processors)
        self.lost += taken
        self._waits = {t: w - min(max(waited[t] - taken, 0.0), _LONGEST) for t, w in waits.items()}
        self._seconds, self._cpu, self._busy = seconds, cpu, now


def lost(span: float, own: float, waited: list[float], others: float, processors: int) -> float:
    """Of a span of seconds, those that others took. own: CPU seconds of all threads; waited: seconds that each was ready and
    had no processor; others: CPU seconds that all else on the machine had."""
    wanted = min(own + sum(waited), processors * span)
    if span <= 0 or wanted <= own:
        return 0.0
    return min(span * (1 - own / wanted), max(waited), others * span / wanted, span)


def busy() -> float:
    """Seconds of processor time that all there is on this machine has had."""
    try:
        with open("/proc/stat", "rb") as file:
            user, nice, system, _, _, *interrupts = map(int, file.readline().split()[1:9])
    except (OSError, ValueError):
        return 0.0
    return (user + nice + system + sum(interrupts)) / _HERTZ


def _waits(pid: int) -> list[tuple[int, float]]:
    """For each thread of a process, the seconds for which it was ready to run and had no processor."""
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat", "rb") as file:
                found.append((int(task), int(file.read().split()[1]) / 1e9))
    except (OSError, ValueError, IndexError):
        pass  # it has just ended, or the kernel keeps no such account
    return found
