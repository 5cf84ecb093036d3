"""Watching a box from outside: time, memory, processes, disk and output of all it runs; ending it at the first limit.

Who belongs to the box is read from /proc: the descendants of its process 1, which inherits the orphans of a namespace.
Memory is the resident set of each, and where their sum is too much, the proportional one: pages that forks share count once.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections import deque

from nncore.assign.neighbours import Neighbours
from nncore.assign.spec import Limits

TICK = 0.05
PATIENCE = 3.0  # times the limit of time that a run may last if others take it
_KEPT = 32 << 10  # bytes of the output's beginning and of its end
_PAGE = os.sysconf("SC_PAGE_SIZE")
_HERTZ = os.sysconf("SC_CLK_TCK")


class Watch:
    """One run. After `follow`: stopped, code, fault and the peaks."""

    def __init__(self, box, limits: Limits, tell=None):
        self.box, self.limits, self.tell = box, limits, tell
        self.stopped, self.code, self.fault = "", None, ""
        self.seconds = self.cpu = self.lost = 0.0
        self.memory = self.processes = self.disk = self.files = self.written = 0
        self.memory_now = self.processes_now = 0
        self.work: int | None = None
        self._pidfd: int | None = None
        self._head, self._tail, self._held = bytearray(), deque(), 0
        self._status = b""
        self._started = 0.0
        self._neighbours: Neighbours | None = None

    # ---- up, along, down -----------------------------------------------------------------------------------------------

    def begin(self, patience: float) -> None:
        """Wait until the box is up, take hold of its folder and its process 1, let the program go."""
        if not self._wait_ready(patience):
            self._drain()
            said = self.text().decode("utf-8", "replace").strip()[:500]
            self.fault = f"the sandbox did not come up: {said or 'no word from it'}"
            return
        try:
            if self.box.status is not None:
                self._read_status()
                self.box.pid = json.loads(self._status.split(b"\n")[0])["child-pid"]
            self._pidfd = os.pidfd_open(self.box.pid)
            self.work = os.open(self.box.work.format(pid=self.box.pid), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if self.box.group is not None:
                self.box.group.take([m.pid for m in tree(self.box.process.pid)])
        except (OSError, ValueError, KeyError) as e:
            self.fault = f"the sandbox's folder or group cannot be reached: {e}"
            return
        self._started, self._neighbours = time.monotonic(), Neighbours()
        os.write(self.box.go, b"\n")

    def follow(self) -> None:
        """Until the program ends or a limit is hit."""
        while not self.fault and not self.stopped:
            self._drain(TICK)
            self._measure()
            self.stopped = self._limit()
            if self.tell:
                self.tell(self)
            if not self.stopped and self._ended():
                self._drain()
                self.stopped = self._limit()
                return

    def end(self) -> None:
        """Nothing of the box runs when this returns."""
        if self.box.status is None:
            kill_tree(self.box.process.pid, signal.SIGKILL)  # without a namespace: whom we can still find
        elif self._pidfd is not None:
            try:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            except OSError:
                pass
        if self.fault or self.stopped:
            self.box.process.kill()
        usage = _wait(self.box.process)
        if self._pidfd is not None:
            select.select([self._pidfd], [], [], 10)  # the namespace's process 1 ends after all the others
        if self._started:
            self.seconds = time.monotonic() - self._started
            self.cpu = max(self.cpu, usage)
        self._drain()
        if not self.fault and not self.stopped and self.box.group is not None and self.box.group.out_of_memory():
            self.stopped = "memory"
        if self.fault or self.stopped:
            return
        if self.box.status is None:
            self.code = self.box.process.returncode
        else:
            self._read_status()
            self.code = _exit_code(self._status)
            if self.code is None:
                self.fault = "the sandbox ended without saying how the program did"

    def close(self) -> None:
        """Let go of the folder: with it goes the memory that held it."""
        for fd in (self.work, self._pidfd):
            if fd is not None:
                os.close(fd)
        self.work = self._pidfd = None

    def text(self) -> bytes:
        """What the program printed, its middle left out if there is much."""
        tail = b"".join(self._tail)[-_KEPT:]
        missing = self.written - len(self._head) - len(tail)
        return bytes(self._head) + (b"\n[... %d bytes ...]\n" % missing if missing > 0 else b"") + tail

    # ---- what it is doing ----------------------------------------------------------------------------------------------

    def _wait_ready(self, patience: float) -> bool:
        end = time.monotonic() + patience
        while time.monotonic() < end:
            if select.select([self.box.ready], [], [], 0.1)[0]:
                return os.read(self.box.ready, 1) == b"r"
            self._drain()
        return False

    def _read_status(self) -> None:
        while select.select([self.box.status], [], [], 0)[0]:
            part = os.read(self.box.status, 4096)
            if not part:
                return
            self._status += part

    def _ended(self) -> bool:
        """Whether the program's first process is gone: the rest of the box goes with it."""
        if os.waitid(os.P_PID, self.box.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return True
        if self.box.status is not None:
            self._read_status()
        return b"exit-code" in self._status

    def _drain(self, seconds: float = 0.0) -> None:
        """Take what the program printed; at most a few pieces, for limits must be looked at too."""
        end = time.monotonic() + seconds
        for _ in range(64):
            if not select.select([self.box.output], [], [], max(end - time.monotonic(), 0))[0]:
                return
            part = os.read(self.box.output, 1 << 16)
            if not part:  # all that could print have closed it
                time.sleep(max(min(end - time.monotonic(), 0.01), 0))
                return
            self.written += len(part)
            room = _KEPT - len(self._head)
            self._head += part[:max(room, 0)]
            if rest := part[max(room, 0):]:
                self._tail.append(rest)
                self._held += len(rest)
                while self._held - len(self._tail[0]) >= _KEPT:
                    self._held -= len(self._tail.popleft())

    def _measure(self) -> None:
        self.seconds = time.monotonic() - self._started
        members = tree(self.box.pid)
        own = 1 if self.box.status is not None else 0  # process 1 is bubblewrap's
        self.processes_now = max(sum(m.threads for m in members) - own, 0)
        self.memory_now = sum(m.resident for m in members)
        if self.memory_now > self.limits.memory_mb * 1_000_000:
            self.memory_now = sum(_proportional(m) for m in members)
        self.cpu = max(self.cpu, sum(m.cpu for m in members))
        used = os.statvfs(self.work)
        self.disk = max(self.disk, (used.f_blocks - used.f_bfree) * used.f_frsize if self.box.status is not None else 0)
        self.files = max(self.files, used.f_files - used.f_ffree if self.box.status is not None else 0)
        self._neighbours.look(members, self.seconds, self.cpu, fresh=self.seconds > self.limits.wall)
        self.lost = self._neighbours.lost
        self.memory = max(self.memory, self.memory_now)
        self.processes = max(self.processes, self.processes_now)

    def _limit(self) -> str:
        limits = self.limits
        if self.written > limits.output_kb << 10:
            return "output"
        if self.memory > limits.memory_mb * 1_000_000:
            return "memory"
        if self.processes > limits.processes:
            return "processes"
        if self.disk >= (limits.disk_mb << 20) * 0.995 or self.files > limits.files + 2_100:  # its own files may be 2,000
            return "disk"
        if self.cpu > limits.cpu:
            return "cpu"
        late = self.seconds - self.lost > limits.wall or self.seconds > PATIENCE * limits.wall
        return "time" if late else ""


# ---- /proc -----------------------------------------------------------------------------------------------------------


class Member:
    """A process: parent, threads, resident bytes, seconds of CPU, those of its reaped children included."""

    def __init__(self, pid: int, stat: bytes):
        fields = stat[stat.rindex(b")") + 2 :].split()
        self.pid, self.parent, self.threads = pid, int(fields[1]), int(fields[17])
        self.session = int(fields[3])
        self.cpu = sum(map(int, fields[11:15])) / _HERTZ
        self.resident = int(fields[21]) * _PAGE
        if fields[0] in (b"Z", b"X"):
            self.resident = 0


def tree(pid: int) -> list[Member]:
    """A process and all its descendants."""
    children: dict[int, list[Member]] = {}
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    member = Member(int(name), file.read())
            except (OSError, ValueError, IndexError):
                continue  # it has just ended
            children.setdefault(member.parent, []).append(member)
            if member.pid == pid or member.session == pid:
                found.append(member)
    seen = {m.pid for m in found}
    for member in found:
        new = [m for m in children.get(member.pid, ()) if m.pid not in seen]
        seen.update(m.pid for m in new)
        found += new
    return found


def kill_tree(pid: int, number: int) -> None:
    """Signal a process and its descendants, again and again until none is left, a few times at most."""
    for _ in range(5):
        members = [m for m in tree(pid) if m.pid != os.getpid()]
        for m in members:
            try:
                os.kill(m.pid, number)
            except OSError:
                pass
        if not members:
            return
        time.sleep(0.01)


def _proportional(member: Member) -> int:
    try:
        with open(f"/proc/{member.pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) << 10
    except (OSError, ValueError):
        pass
    return member.resident


def _wait(process) -> float:
    """Reap a process that has ended or is about to; returns the CPU seconds of it and its reaped descendants."""
    if process.returncode is None:
        end = time.monotonic() + 10
        while not os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if time.monotonic() > end:
                process.kill()
            time.sleep(0.002)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except ChildProcessError:
            return 0.0
        process.returncode = os.waitstatus_to_exitcode(status)
        return usage.ru_utime + usage.ru_stime
    return 0.0


def _exit_code(status: bytes) -> int | None:
    for line in status.splitlines():
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if "exit-code" in found:
            return found["exit-code"]
    return None
