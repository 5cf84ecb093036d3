"""The one door between Python and C: the extension module, its kernels by name, statuses as exceptions."""

from __future__ import annotations

import os
from functools import cache

from nncore._nncore import ffi, lib
from nncore.errors import DataError, FlaggedError, GraphError, IsaError, LimitError, NNError, NonFiniteError, UsageError

__all__ = ["build_flags", "check", "error_for", "ffi", "isa_levels", "kernels", "kernels_name", "lib", "op_names", "thread_count"]

_ERRORS = {
    lib.NN_ERR_ARGUMENT: GraphError,
    lib.NN_ERR_NOMEM: LimitError,
    lib.NN_ERR_NONFINITE: NonFiniteError,
    lib.NN_ERR_RANGE: DataError,
    lib.NN_ERR_FORMAT: DataError,
    lib.NN_ERR_LIMIT: DataError,
    lib.NN_ERR_FLAGGED: FlaggedError,
}


def error_for(status: int, where: str, details: str = "") -> NNError:
    """The exception that belongs to a C status; `where` opens the message, `details` follow what the status says."""
    text = ffi.string(lib.nn_status_text(status)).decode()
    return _ERRORS.get(status, NNError)(f"{where}: {text}{details}")


def check(status: int, where: str) -> None:
    """Raise the exception that belongs to a C status, unless it is NN_OK."""
    if status != lib.NN_OK:
        raise error_for(status, where)


@cache
def op_names() -> dict[str, int]:
    """Opcode by stable name."""
    return {ffi.string(lib.nn_op_name(i)).decode(): i for i in range(lib.NN_OP_COUNT_)}


@cache
def isa_levels() -> dict[str, bool]:
    """Every ISA level of this build, slowest first, and whether this CPU can run it."""
    found = {}
    while (name := lib.nn_isa_name(len(found))) != ffi.NULL:
        found[ffi.string(name).decode()] = lib.nn_kernels_named(name) != ffi.NULL
    return found


def kernels(isa: str | None = None):
    """Kernels of a named level, of NNCORE_ISA, or the best this CPU has. Raises IsaError; never falls back silently."""
    name = isa or os.environ.get("NNCORE_ISA") or "best"
    found = lib.nn_kernels_named(name.encode())
    if found == ffi.NULL:
        have = ", ".join(level for level, runs in isa_levels().items() if runs)
        why = "this CPU cannot run it" if name in isa_levels() else "this build has no such level"
        raise IsaError(f"instruction set {name!r}: {why}; choose one of {have}")
    return found


def kernels_name(table) -> str:
    """Name of a kernel table, as `kernels` takes it."""
    return ffi.string(lib.nn_kernels_name(table)).decode()


def thread_count(threads: int | None = None) -> int:
    """Threads asked for, else NNCORE_THREADS, else the processors of this machine. Raises UsageError outside 1..64."""
    source = "threads"
    if threads is None:
        text = os.environ.get("NNCORE_THREADS")
        if not text:
            return min(lib.nn_threads_available(), len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 64)
        source = "NNCORE_THREADS"
        try:
            threads = int(text)
        except ValueError:
            raise UsageError(f"NNCORE_THREADS={text!r} is not a whole number") from None
    if not 1 <= threads <= lib.NN_MAX_THREADS:
        raise UsageError(f"{source}={threads}: must lie between 1 and {lib.NN_MAX_THREADS}")
    return threads


def build_flags() -> str:
    """Compiler and flags that this extension was built with."""
    return ffi.string(lib.nn_build).decode()
