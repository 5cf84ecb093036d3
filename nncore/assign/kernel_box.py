"""A student's kernels, compiled, called and trained with in the sandbox; what comes back is bytes, judged elsewhere.

Each kernel has a box of its own, so that one that crashes, loops or prints without end fails alone. Prints reach nobody: results
are read from a file by their places (nncore/assign/box/call.py).
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path

from nncore._ffi import build_flags
from nncore.assign import sandbox
from nncore.assign.spec import Limits
from nncore.errors import DataError, NNError

SCRIPTS = Path(__file__).parent / "box"
HEAD = struct.Struct("<iid")
EDGE = 64
STATUS = ("not run", "done", "signal", "timeout", "ended")
PATIENCE = 5.0  # seconds that one call may take
BUILD = Limits(wall=120.0, cpu=120.0, memory_mb=2048, processes=32, disk_mb=256)
CALLS = Limits(wall=60.0, cpu=60.0, memory_mb=2048, processes=32, disk_mb=256, output_kb=1024)
TRAINING = Limits(wall=180.0, cpu=360.0, memory_mb=2048, processes=64, disk_mb=256)
MOST_NBYTES = sandbox.MOST_RESULT - (1 << 16)
STOPS = {"time": "TIME_LIMIT", "cpu": "TIME_LIMIT", "memory": "MEMORY_LIMIT", "processes": "PROCESS_LIMIT",
         "output": "OUTPUT_LIMIT", "disk": "OUTPUT_LIMIT"}


class BuildFailed(Exception):
    """The student's file does not compile or load; the text is what compiler or loader say."""


@dataclass(frozen=True)
class Built:
    """kernels.so and door.so, which known kernels are in there, and the compiler's warnings."""

    kernels: bytes
    door: bytes
    names: tuple[str, ...]
    warnings: str = ""


@dataclass(frozen=True)
class Came:
    """What came of one call: a word of STATUS, the signal's number, seconds if timed, bytes of each buffer with its edges."""

    status: str
    number: int
    seconds: float
    memory: list[bytes | None]


class KernelBox:
    """Runs jobs in boxes of one backend."""

    def __init__(self, backend: str = "bwrap"):
        self.backend = backend
        self.python = "python3" if backend == "bwrap" else _quoted(_interpreter())

    def _run(self, files: dict[str, bytes | Path], lines: list[str], wanted: tuple[str, ...], limits: Limits) -> sandbox.Outcome:
        """A folder of these files, a script of these lines. Raises NNError if the sandbox fails."""
        with tempfile.TemporaryDirectory(prefix="nncore-kernels-") as folder:
            project, data = Path(folder) / "project", Path(folder) / "data"
            Path(folder).chmod(0o755)
            data.mkdir()
            project.mkdir()
            script = "\n".join(["#!/bin/bash", *lines, ""]).encode()
            for name, content in {"run.sh": script, **files}.items():
                path = project / name
                path.parent.mkdir(parents=True, exist_ok=True)
                if isinstance(content, Path) and content.is_dir():
                    shutil.copytree(content, path, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
                elif isinstance(content, Path):
                    shutil.copyfile(content, path)
                else:
                    path.write_bytes(content)
            (project / "run.sh").chmod(0o755)
            try:
                outcome = sandbox.run(sandbox.Job(project, data, "run.sh", wanted, limits), self.backend)
            except sandbox.NoSandbox as e:
                raise NNError(f"{self.backend}: {e}") from None
        if outcome.fault:
            raise NNError(f"{self.backend}: {outcome.fault}")
        return outcome

    def build(self, path: str | os.PathLike, header: str, doors: str, known: list[str], nncore_h: Path) -> Built:
        """Compile FILE.c, or take LIB.so as it is. Raises BuildFailed; DataError if the file cannot be read."""
        path = Path(path)
        try:
            content = path.read_bytes()
        except OSError as e:
            raise DataError(f"{path}: cannot be read: {e.strerror}") from None
        is_library = content[:4] == b"\x7fELF"
        source = "kernels.so" if is_library else "kernels.c"
        flags = f"{_flags()} -I. -fvisibility=default -shared"
        lines = [f'for p in cc {self.python}; do command -v "$p" > /dev/null || {{ echo "no $p" > door.txt; exit 8; }}; done']
        lines += [] if is_library else [f'cc {flags} -march=native -Wall -Wextra -Wl,--no-undefined -include kernels.h '
                                       f"-o kernels.so {source} -lm 2> log.txt || exit 9"]
        lines += [f'cc {flags} -O1 -include kernels.h -o door.so door.c 2> door.txt || exit 8',
                  f"exec {self.python} call.py names"]
        files = {source: content, "kernels.h": header.encode(), "door.c": doors.encode(), "nncore.h": nncore_h,
                 "call.py": SCRIPTS / "call.py", "job.json": json.dumps({"known": known}).encode()}
        wanted = ("kernels.so", "door.so", "names.txt", "error.txt", "log.txt", "door.txt")
        outcome = self._run(files, lines, wanted, BUILD)
        got = {n: outcome.files.get(n, b"").decode("utf-8", "replace").strip() for n in wanted[2:]}
        if outcome.code == 8:
            raise NNError(f"compiler and Python in the sandbox do not work: {got['door.txt'][-500:]}")
        if outcome.code == 9:
            raise BuildFailed(got["log.txt"][:4000] or "the compiler failed")
        if got["error.txt"]:
            raise BuildFailed(f"it does not load: {got['error.txt'][:500]}")
        if outcome.stopped or "names.txt" not in outcome.files:
            raise BuildFailed("loading it did not end well: " + (STOPS[outcome.stopped] if outcome.stopped else "no answer"))
        names = tuple(n for n in known if n in set(got["names.txt"].split()))
        return Built(outcome.files["kernels.so"], outcome.files["door.so"], names, got["log.txt"][:4000])

    def call(self, built: Built, name: str, calls: list[dict], timed: bool = False) -> tuple[list[Came], str]:
        """Make the calls of one kernel: ({"args": [bytes or None], "sizes", "scalars", "alias", "guard", "shift"}). Also which
        limit ended the box, "" if none did."""
        data, rows, at = bytearray(), [], 0
        for c in calls:
            args = []
            for a in c["args"]:
                args.append(None if a is None else (len(data), len(a)))
                data += a or b""
            rows.append({**c, "args": args, "result": at})
            at += HEAD.size + (0 if timed else sum(n + 2 * EDGE for _, n in filter(None, args)))
        if at > MOST_NBYTES:
            raise NNError(f"{name}: its calls make {at:,} bytes of results; at most {MOST_NBYTES:,} come out of a box")
        job = {"name": name, "calls": rows, "nbytes": max(at, 1), "timed": timed, "patience": PATIENCE}
        files = {"kernels.so": built.kernels, "door.so": built.door, "call.py": SCRIPTS / "call.py", "data.bin": bytes(data),
                 "job.json": json.dumps(job).encode()}
        outcome = self._run(files, [f"exec {self.python} call.py"], ("result.bin",), CALLS)
        result = outcome.files.get("result.bin", b"")
        result += bytes(max(0, at - len(result)))
        return [_came(row, result, timed) for row in rows], STOPS.get(outcome.stopped, "")

    def train(self, built: Built, names: list[str], package: Path, header: Path, network: str) -> tuple[bytes, str]:
        """Weights of a network trained with these kernels in place of ours (nncore/bench/replaced.py); or b"" and why not."""
        files = {"kernels.so": built.kernels, "door.so": built.door, "nncore": package, "csrc/nncore.h": header,
                 "job.json": json.dumps({"names": names, "network": network}).encode()}
        outcome = self._run(files, [f"exec {self.python} -m nncore.bench.replaced"], ("weights.bin",), TRAINING)
        if weights := outcome.files.get("weights.bin", b""):
            return weights, ""
        said = outcome.output.decode("utf-8", "replace").strip().splitlines()[-1:]
        return b"", STOPS.get(outcome.stopped) or f"exit code {outcome.code}{': ' + said[0][:200] if said else ''}"


def _came(row: dict, result: bytes, timed: bool) -> Came:
    """One call's part of the result; what no driver of ours writes counts as not run."""
    status, number, seconds = HEAD.unpack_from(result, row["result"])
    at, memory = row["result"] + HEAD.size, []
    for a in [] if timed else row["args"]:
        memory.append(None if a is None else result[at : at + a[1] + 2 * EDGE])
        at += 0 if a is None else a[1] + 2 * EDGE
    if row["alias"] and memory:
        memory[row["alias"][0]] = memory[row["alias"][1]]
    word = STATUS[status] if 0 <= status < len(STATUS) else "not run"
    return Came(word, number, seconds if 0 < seconds < 1e6 else 0.0, memory)


def _flags() -> str:
    """The flags that the kernels of nncore are compiled with."""
    return build_flags().partition(";")[2].strip()


def _interpreter() -> str:
    import sys

    return sys.executable


def _quoted(text: str) -> str:
    import shlex

    return shlex.quote(text)
