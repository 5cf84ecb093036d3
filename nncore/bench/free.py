"""Our own kernels once more, compiled so that a sum may go in any order: the rival that tells what the promised order costs.

NN_FREE_ORDER in csrc/ops gives a sum as many chains as registers hold, wherever the promise of equal bits allows one. csrc's own
Makefile builds that library beside the sources, for one instruction set; it runs in a process of its own like every peer.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from nncore.errors import UsageError

CSRC = Path(__file__).parents[2] / "csrc"
OUT = "build/free-{isa}"  # in csrc
NEEDS = "--against free compiles the kernels anew: it needs the sources, make and a C compiler"


def way(isa: str) -> dict:
    """How such a peer is started (Peer): the interpreter, and what its environment adds. Raises UsageError."""
    return {"python": sys.executable, "extra": {"NNCORE_FREE": str(library(isa)), "NNCORE_ISA": isa}}


def library(isa: str) -> Path:
    """The library for one instruction set, compiled, with CFLAGS after all other flags, unless it is up to date."""
    levels = " ".join(dict.fromkeys(("portable", *(("avx512",) if isa == "amx" else ()), isa)))
    if not (CSRC / "Makefile").is_file():
        raise UsageError(NEEDS)
    out = OUT.format(isa=isa)
    make = ["make", "-s", f"-j{os.cpu_count() or 1}", "lib", f"OUT={out}", f"LEVELS={levels}",
            f"EXTRA=-DNN_FREE_ORDER -fvisibility=default {os.environ.get('CFLAGS', '')}"]
    _run(make)
    openmp = _run(["make", "-s", "print-link"]).split()
    target = f"{out}/nncore.so"
    # Every object: a linker takes of an archive only what is asked for, and nothing asks yet.
    objects = [str(p.relative_to(CSRC)) for p in sorted((CSRC / out).rglob("*.o"))]
    _run([os.environ.get("CC", "cc"), "-shared", "-fPIC", *openmp, *objects, "-o", target])
    return CSRC / target


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, cwd=CSRC, capture_output=True, text=True)
    except OSError as e:
        raise UsageError(f"{NEEDS}: {command[0]}: {e.strerror}") from e
    if done.returncode:
        raise UsageError(f"{NEEDS}; {command[0]} says:\n{(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout
