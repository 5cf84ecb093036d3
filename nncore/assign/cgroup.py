"""A control group around a box: memory and process count of all it runs, counted and stopped by the kernel, not by looking.

BenchExec knows the two versions of control groups, and how systemd lends them. The file systems in memory that a box writes to
count too, so its limit is that of memory plus that of disk: the hard stop behind the watch, which is stricter.
"""

from __future__ import annotations

import threading
from functools import cache

from nncore.assign.spec import Limits

REMEDY = "pip install 'nncore[grade]', and control groups that this user may make (root, or systemd: Delegate=yes)"
_lock = threading.Lock()  # BenchExec finds the groups of the process, once


class NoGroup(Exception):
    """Control groups cannot be made here; the message says what is missing."""


@cache
def _ours():
    try:
        from benchexec.cgroups import Cgroups
    except ImportError:
        raise NoGroup(f"benchexec is missing: {REMEDY}") from None
    found = Cgroups.initialize()
    missing = [name for name in ("memory", "pids") if name not in found]
    if missing:
        raise NoGroup(f"no control group for {' and '.join(missing)}: {REMEDY}")
    return found


class Group:
    """A group for one box. Raises NoGroup."""

    def __init__(self, limits: Limits):
        try:
            with _lock:
                self._group = _ours().create_fresh_child_cgroup(["memory", "pids"], prefix="nncore_")
            self._group.write_memory_limit(limits.memory_mb * 1_000_000 + 2 * (limits.disk_mb << 20) + (64 << 20))
            self._group.set_value("pids", "max", limits.processes + 16)
        except (OSError, SystemExit) as e:  # BenchExec leaves the program where a kernel lacks something
            raise NoGroup(f"{e}: {REMEDY}") from None

    def take(self, pids: list[int]) -> None:
        """These processes, and all they will start, are in the group from now on."""
        for pid in pids:
            self._group.add_task(pid)

    def out_of_memory(self) -> bool:
        """Whether the kernel killed a process of the group for memory."""
        killed = self._group.read_oom_kill_count()
        if killed is None:  # version 1
            killed = dict(self._group.get_key_value_pairs("memory", "oom_control")).get("oom_kill", 0)
        return int(killed) > 0

    def close(self) -> None:
        """Nothing of the group runs when this returns."""
        self._group.kill_all_tasks()
        self._group.remove()
