"""One program of a stranger's, run where it can harm nothing: `run(Job, backend)` gives an Outcome, whatever happens inside.

The box is made by bubblewrap: a root of /usr alone, read-only; its own processes, network, IPC and host name; /work, /tmp
and /dev/shm in memory, each with a size; a user id that owns nothing; a filter of system calls. Limits on one process are
rlimits; those on all of them together are watched from outside, twenty times a second, and enforced by killing process 1
of the namespace, which takes every other with it. The files that come back are read out of /work through a descriptor,
after the last process is gone: names without folders, no links followed, regular files only, sizes capped.

Backends: "bwrap"; "benchexec", the same box in a control group made by BenchExec; and "none" for who asks for it by name: no
protection at all, the limits alone.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from nncore.assign import linked, seccomp
from nncore.assign.cgroup import Group, NoGroup
from nncore.assign.spec import Limits
from nncore.assign.watch import Watch, kill_tree

BACKENDS = ("bwrap", "benchexec", "none")
MOST_RESULT = 1 << 24  # bytes of a result file
_MOST_LOOKED_AT = 5_000  # files
_START = 20.0  # seconds a box may take to come up
_HOST = ("/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/java-11-openjdk",
         "/etc/java-17-openjdk", "/etc/java-21-openjdk", "/etc/java-25-openjdk", "/etc/localtime", "/etc/maven")
_LINKS = ("bin", "sbin", "lib", "lib32", "lib64")
# Where `module add gcc` is known, it makes commands known that are known here: it does nothing. Its set-up is an empty file.
_MODULES = (("/usr/bin/true", "/opt/bin/module"), ("/dev/null", "/etc/profile.d/modules.sh"))
MAVEN = Path("/usr/local/share/nncore/maven")  # what Maven has fetched, since a box has no network
# A copy, for Maven writes there too; without its notes on whence each file came, or what a mirror gave would not do for central.
_MAVEN = ("mkdir /tmp/.m2 && cp -r /opt/maven /tmp/.m2/repository && find /tmp/.m2 -name _remote.repositories -delete; "
          "echo '<settings><offline>true</offline></settings>' >/tmp/.m2/settings.xml; ")
_SAY = "echo r >&{ready}; exec {ready}>&-; read -r _ <&{go}; exec {go}<&-; "


class NoSandbox(Exception):
    """The backend does not work here; the message says what to install."""


@dataclass(frozen=True)
class Job:
    """A project to run: its unpacked folder, the data it gets, the command in its root, the files wanted back."""

    project: Path
    data: Path
    command: str
    wanted: tuple[str, ...]
    limits: Limits
    slot: int = 0


@dataclass
class Outcome:
    """What happened. stopped: "", or which limit ended it: time, cpu, memory, processes, output, disk. fault: ours, if any."""

    stopped: str = ""
    code: int | None = None
    fault: str = ""
    seconds: float = 0.0
    cpu: float = 0.0
    lost: float = 0.0  # of the seconds, those that others on the machine took from it
    memory: int = 0
    processes: int = 0
    disk: int = 0
    output: bytes = b""
    backend: str = ""
    enforced: tuple[str, ...] = ()
    files: dict[str, bytes] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)  # files that are there and were not taken, and why
    astray: tuple[str, ...] = ()  # files that it wrote elsewhere or under other names, and that look like those wanted
    linked: dict[str, list[str]] = field(default_factory=dict)  # shared libraries of each program that was built


def run(job: Job, backend: str = "bwrap", tell=None) -> Outcome:
    """Run a project to its end or to a limit. tell(Watch) is called while it runs. Never raises for what the project does;
    raises NoSandbox if the backend is not there.
    """
    outcome = Outcome(backend=backend)
    with ExitStack() as stack:
        try:
            box = {"bwrap": _start_box, "benchexec": _start_group, "none": _start_bare}[backend](job, stack)
        except OSError as e:
            outcome.fault = f"the sandbox could not be started: {e}"
            return outcome
        watch = Watch(box, job.limits, tell)
        stack.callback(watch.close)
        try:
            watch.begin(_START)
            watch.follow()
        finally:
            watch.end()
        outcome.stopped, outcome.code, outcome.fault = watch.stopped, watch.code, watch.fault
        outcome.seconds, outcome.cpu, outcome.lost = watch.seconds, watch.cpu, watch.lost
        outcome.memory, outcome.processes, outcome.disk, outcome.output = watch.memory, watch.processes, watch.disk, watch.text()
        outcome.enforced = box.enforced
        if watch.work is not None and not watch.fault:
            for name in job.wanted:
                _collect(watch.work, name, outcome)
            outcome.astray = _astray(watch.work, job)
            outcome.linked = linked.libraries(watch.work)
    return outcome


def _collect(work: int, name: str, outcome: Outcome) -> None:
    """One file out of the folder behind a descriptor: never through a link, never a device or a pipe."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY, dir_fd=work)
    except FileNotFoundError:
        return
    except OSError as e:
        outcome.refused[name] = "a link, not a file" if os.path.islink(f"/proc/self/fd/{work}/{name}") else str(e.strerror)
        return
    try:
        kind = os.fstat(fd)
        if not stat.S_ISREG(kind.st_mode):
            outcome.refused[name] = "not a regular file"
        elif kind.st_size > MOST_RESULT:
            outcome.refused[name] = f"{kind.st_size:,} bytes; at most {MOST_RESULT:,} are read"
        else:
            with open(fd, "rb", closefd=False) as file:
                outcome.files[name] = file.read(MOST_RESULT)
    finally:
        os.close(fd)


def _astray(work: int, job: Job) -> tuple[str, ...]:
    """New files that look like those wanted, in the folder behind a descriptor and below: a few, with names that can be shown."""
    found, seen = [], 0
    for folder, names, files, fd in os.fwalk(".", dir_fd=work):
        names[:] = sorted(n for n in names if n != "data")
        seen += len(files)
        if seen > _MOST_LOOKED_AT:
            break
        for name in files:
            path = os.path.normpath(os.path.join(folder, name))
            alike = path not in job.wanted and (name in job.wanted or "predict" in name.lower())
            if alike and re.fullmatch(r"[\w./-]{1,80}", path, re.A) and not _handed_in(name, fd, job.project / path):
                found.append(path)
    return tuple(sorted(found)[:4])


def _handed_in(name: str, folder: int, original: Path) -> bool:
    """Whether a file in the folder behind a descriptor is as it was handed in: templates bring examples to write over."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY, dir_fd=folder)
    except OSError:
        return False
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode) or not original.is_file():
            return False
        return file.read(MOST_RESULT) == original.read_bytes()[:MOST_RESULT]


# ---- boxes -----------------------------------------------------------------------------------------------------------


@dataclass
class Running:
    """A started box: the process to wait for, its pipes, how its folder is found once it is up, what holds for it."""

    process: subprocess.Popen
    output: int
    ready: int
    go: int
    work: str  # a path with {pid} in it
    status: int | None
    enforced: tuple[str, ...]
    pid: int | None = None
    group: Group | None = None


def _limits(limits: Limits) -> list[str]:
    """prlimit and its arguments: the hard stops of one process. The watch is stricter, and sees all of them together."""
    data = limits.memory_mb * 1_250_000 + (64 << 20)
    return ["prlimit", f"--nproc={limits.processes + 16}", f"--fsize={limits.disk_mb << 20}", "--core=0", "--nofile=1024",
            f"--cpu={int(limits.cpu) + 5}", f"--data={data}", "--memlock=65536", "--"]


class _Pipes:
    """Pipes whose ends are closed exactly once: a number closed twice may by then be another thread's."""

    def __init__(self, stack: ExitStack):
        self._open: set[int] = set()
        stack.callback(lambda: self.close(*self._open))

    def make(self) -> tuple[int, int]:
        """(end to read, end to write)."""
        pair = os.pipe()
        self._open.update(pair)
        return pair

    def close(self, *ends: int) -> None:
        """Close ends that are still open."""
        for fd in ends:
            self._open.remove(fd)
            os.close(fd)


def _program(name: str, remedy: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise NoSandbox(f"{name} is missing: {remedy}")
    return found


def _python() -> list[str]:
    """Arguments that bring this interpreter, cffi and what cffi needs into the box; its other packages stay outside."""
    import sysconfig
    from importlib.util import find_spec

    line = [] if sys.base_prefix.startswith("/usr") else ["--ro-bind", sys.base_prefix, sys.base_prefix]
    scripts = os.path.join(sys.base_prefix, "bin")
    line += ["--symlink", os.path.join(scripts, f"python{sysconfig.get_python_version()}"), "/opt/bin/python3"]
    for name in ("cffi", "pycparser", "_cffi_backend"):
        found = find_spec(name)
        if found is not None and found.origin:
            path = Path(found.origin)
            path = path.parent if path.name == "__init__.py" else path
            line += ["--ro-bind", str(path), f"/opt/python/{path.name}"]
    return line


def _environment(limits: Limits) -> dict[str, str]:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    share = min(75 * limits.memory_mb * 1_000_000 // memory, 75)  # percent for Java's heap, which takes 25 if it is not told
    java = {} if share < 30 else {"JDK_JAVA_OPTIONS": f"-XX:MaxRAMPercentage={share}"}
    return {**java, "PATH": "/opt/bin:/usr/local/bin:/usr/bin:/bin", "PYTHONPATH": "/opt/python", "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": "/tmp", "LANG": "C.UTF-8", "TMPDIR": "/tmp", "USER": "student",
            "MAVEN_OPTS": "-Duser.home=/tmp",  # Java asks the user database, in which the user of the box is not
            "OMP_NUM_THREADS": str(min(os.cpu_count() or 1, max(limits.processes // 4, 1)))}


def _fetched(job: Job) -> bool:
    return (job.project / "pom.xml").is_file() and MAVEN.is_dir()


def box_options(job: Job, status: int, seccomp_fd: int | None) -> list[str]:
    """What the box is made of, as bubblewrap's options."""
    size = job.limits.disk_mb << 20
    line = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--die-with-parent",
            "--new-session", "--hostname", "box", "--cap-drop", "ALL", "--ro-bind", "/usr", "/usr"]
    for path in ("/etc", "/opt", "/opt/bin", "/opt/python"):
        line += ["--perms", "0755", "--dir", path]
    for name in _LINKS:
        if os.path.islink(f"/{name}"):
            line += ["--symlink", os.readlink(f"/{name}"), f"/{name}"]
        elif os.path.isdir(f"/{name}"):
            line += ["--ro-bind", f"/{name}", f"/{name}"]
    for path in _HOST:
        line += ["--ro-bind-try", path, path]
    line += ["--perms", "0755", "--dir", "/etc/profile.d"]
    for target, path in _MODULES:
        line += ["--symlink", target, path]
    if _fetched(job):
        line += ["--ro-bind", str(MAVEN), "/opt/maven"]
    line += ["--proc", "/proc", "--dev", "/dev"]
    for path, part in (("/dev/shm", 4), ("/tmp", 2), ("/work", 1)):
        line += ["--size", str(max(size // part, 1 << 20)), "--perms", "1777", "--tmpfs", path]
    line += ["--ro-bind", str(job.project), "/submission", "--ro-bind", str(job.data), "/work/data", *_python(),
             "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/work", "--clearenv", "--json-status-fd", str(status)]
    for name, value in _environment(job.limits).items():
        line += ["--setenv", name, value]
    if seccomp_fd is not None:
        line += ["--seccomp", str(seccomp_fd)]
    return line + (["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"] if os.geteuid() == 0 else ["--unshare-user"])


def box_command(job: Job, script: str) -> list[str]:
    """What runs in the box: as root first another user id, then the limits of a process, then the script."""
    line = []
    if os.geteuid() == 0:
        uid = str(1_000_000 + os.getpid() % (1 << 22) * 64 + job.slot % 64)  # nobody else counts against its process limit
        line = [_program("setpriv", "apt install util-linux"), "--reuid", uid, "--regid", uid, "--clear-groups",
                "--inh-caps=-all", "--no-new-privs"]
    _program("prlimit", "apt install util-linux")
    return [*line, *_limits(job.limits), "/bin/bash", "-c", script, "box"]


def _file_with(stack: ExitStack, content: bytes) -> int:
    """A descriptor from which a child reads this."""
    file = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
    file.write(content)
    file.seek(0)
    return file.fileno()


def _start_box(job: Job, stack: ExitStack) -> Running:
    pipes = _Pipes(stack)
    (status, their_status), (output, their_output), (ready, their_ready), (their_go, go) = (pipes.make() for _ in range(4))
    rules = seccomp.program()
    filter_fd = _file_with(stack, rules) if rules is not None else None
    # Options go through a file: the command line of process 1 can be read in the box, and would show paths of the host.
    options = _file_with(stack, b"".join(os.fsencode(o) + b"\0" for o in box_options(job, their_status, filter_fd)))
    script = _SAY.format(ready=their_ready, go=their_go) + f"exec {their_status}>&-; "
    if _fetched(job):
        script += _MAVEN
    script += f"cp -r /submission/. /work/ && exec ./{job.command}"
    line = [_program("bwrap", "apt install bubblewrap, dnf install bubblewrap"), "--args", str(options),
            *box_command(job, script)]
    passed = [fd for fd in (their_status, their_ready, their_go, filter_fd, options) if fd is not None]
    process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=their_output, stderr=their_output, pass_fds=passed,
                               start_new_session=True)
    enforced = ["namespaces", "no network", "read-only root", "tmpfs size", "rlimits", "watched totals"]
    enforced += ["system call filter"] * (rules is not None) + ["user id of its own"] * (os.geteuid() == 0)
    pipes.close(their_status, their_output, their_ready, their_go)
    return Running(process, output, ready, go, "/proc/{pid}/root/work", status, tuple(enforced))


def _start_group(job: Job, stack: ExitStack) -> Running:
    """The box in a control group; it is put there before its program may go."""
    try:
        group = Group(job.limits)
    except NoGroup as e:
        raise NoSandbox(str(e)) from None
    stack.callback(group.close)
    box = _start_box(job, stack)
    box.group, box.enforced = group, (*box.enforced, "control group for memory and processes")
    return box


def _start_bare(job: Job, stack: ExitStack) -> Running:
    """Without a sandbox: a folder of its own, rlimits, the watch. It can read and do all that who runs the grader can."""
    folder = stack.enter_context(tempfile.TemporaryDirectory(dir=job.project.parent, ignore_cleanup_errors=True))
    pipes = _Pipes(stack)
    (output, their_output), (ready, their_ready), (their_go, go) = (pipes.make() for _ in range(3))
    work = Path(folder) / "work"
    shutil.copytree(job.project, work)
    shutil.copytree(job.data, work / "data")
    script = _SAY.format(ready=their_ready, go=their_go) + f"exec ./{job.command}"
    _program("prlimit", "apt install util-linux")
    environment = {**_environment(job.limits), "HOME": folder, "TMPDIR": folder}
    del environment["PYTHONPATH"]
    limits = [a for a in _limits(job.limits) if not a.startswith("--nproc")]  # it would count all that the user runs
    process = subprocess.Popen([*limits, "/bin/bash", "-c", script, "box"], cwd=work, env=environment,
                               stdin=subprocess.DEVNULL, stdout=their_output, stderr=their_output,
                               pass_fds=(their_ready, their_go), start_new_session=True)
    pipes.close(their_output, their_ready, their_go)
    stack.callback(kill_tree, process.pid, signal.SIGKILL)
    return Running(process, output, ready, go, str(work), None, ("rlimits", "watched totals"), process.pid)
