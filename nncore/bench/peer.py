"""A peer: another package in a process and under an interpreter of its own, asked over pipes (peers/serve.py).

The interpreter is NNCORE_PEERS_PYTHON, else .venv-peers/bin/python in the working folder or beside the project; the
packages are the extra `peers`. Its environment asks for one team of the given threads, and for memory that stays with
the process instead of being given back and cleared again: what PyTorch's own tuning guide recommends.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import tempfile
import time
from pathlib import Path

import nncore
from nncore.errors import DataError, UsageError

FOLDER = Path(__file__).parent / "peers"
PACKAGES = ("torch", "numpy", "sklearn", "free")  # the last is we ourselves: free.py
REMEDY = "make bench-peers sets one up, or name a Python that has the packages in NNCORE_PEERS_PYTHON"
TIMEOUT = 300.0  # seconds for one answer: no case takes nearly as long


def interpreter() -> str:
    """Path of the peers' Python. Raises UsageError naming the remedy."""
    named = os.environ.get("NNCORE_PEERS_PYTHON")
    if named:
        if not os.access(named, os.X_OK) or os.path.isdir(named):
            raise UsageError(f"NNCORE_PEERS_PYTHON={named}: no program there; {REMEDY}")
        return named
    for folder in (Path.cwd(), Path(nncore.__file__).parent.parent):
        path = folder / ".venv-peers" / "bin" / "python"
        if os.access(path, os.X_OK):
            return str(path)
    raise UsageError(f"no interpreter for the peers: {REMEDY}")


def environment(threads: int) -> dict[str, str]:
    """What a peer's process is told by its environment."""
    teams = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
    keep = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40), "MALLOC_TOP_PAD_": str(2**26),
            "THP_MEM_ALLOC_ENABLE": "1"}
    plain = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    return plain | {team: str(threads) for team in teams} | keep


class Peer:
    """A package at work on some threads, pinned to some processors. Raises DataError when it dies, hangs or babbles."""

    def __init__(self, package: str, threads: int, cpus: list[int], script: Path | None = None, timeout: float = TIMEOUT,
                 python: str | None = None, extra: dict[str, str] | None = None):
        self.package, self.threads, self.timeout, self.process = package, threads, timeout, None
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        command = [python or interpreter(), str(script or FOLDER / "serve.py"), package, str(threads), *map(str, cpus)]
        try:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
                                            env=environment(threads) | (extra or {}), cwd=FOLDER)
        except OSError as e:
            raise UsageError(f"{command[0]}: cannot be run: {e.strerror}; {REMEDY}") from e
        self._pending = b""
        try:
            self.versions: dict[str, str] = self.ask("hello")["versions"]
        except BaseException:
            self.close()
            raise

    def ask(self, do: str, **request) -> dict:
        """What it answers; an answer with `error` is raised."""
        line = json.dumps({"do": do, **request}).encode() + b"\n"
        try:
            self.process.stdin.write(line)
            self.process.stdin.flush()
        except OSError:
            raise self._broken("ended") from None
        text = self._line()
        try:
            answer = json.loads(text)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise self._broken(f"answered {text[:80]!r}, not a JSON object,")
        if "error" in answer:
            raise DataError(f"{self.package}, asked to {do}: {str(answer['error']).strip()}")
        return answer

    def _line(self) -> bytes:
        """The next line it writes."""
        deadline = time.monotonic() + self.timeout
        with selectors.DefaultSelector() as ready:
            ready.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._pending:
                if not ready.select(max(0.0, deadline - time.monotonic())):
                    raise self._broken(f"did not answer within {self.timeout:g} s,")
                more = os.read(self.process.stdout.fileno(), 65536)
                if not more:
                    raise self._broken("ended")
                self._pending += more
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def _broken(self, what: str) -> DataError:
        """The process is done with; the error ends with what it said last."""
        if what == "ended":
            try:
                what = f"ended with status {self.process.wait(1.0)}"
            except subprocess.TimeoutExpired:
                what = "closed its output"
        self.close()
        self._errors.seek(0)
        said = self._errors.read()[-2000:].decode(errors="replace").strip()
        return DataError(f"the peer {self.package} {what.rstrip(',')}" + (f"; it said:\n{said}" if said else ""))

    def close(self) -> None:
        """End the process; twice does no harm."""
        if self.process is None or self.process.returncode is not None and self.process.stdin.closed:
            return
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                pipe.close()
            except OSError:
                pass  # bytes it never took
        try:
            self.process.wait(0.5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_) -> None:
        self.close()
