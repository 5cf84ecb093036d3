"""The kernel library built by csrc/Makefile, for tests that look at its objects or link C programs against it."""

from __future__ import annotations

import fcntl
import functools
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.harness import LEVELS, have, need

ROOT = Path(__file__).resolve().parent.parent
CSRC = ROOT / "csrc"


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run make there, without the options of a make that may have started these tests."""
    need("make", shutil.which("make") is not None, "install make")
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    command = ["make", "--no-print-directory", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=env)


def options(compiler: str) -> list[str]:
    """Variables of make for a compiler: each has a folder of its own for objects. Of other compilers than the first the two
    levels that are told apart, portable and the best of this machine, and what is compiled for more: compiling takes minutes.
    """
    if compiler == "cc":
        return ["OUT=build"]
    best = [level for level in LEVELS if have(level)][-1]
    levels = dict.fromkeys(["portable", best, *(["amx"] if best == "avx512" else [])])
    return [f"CC={compiler}", f"OUT=build/{compiler}", f"LEVELS={' '.join(levels)}"]


@functools.cache
def library(compiler: str = "cc") -> Path:
    """The folder with libnncore.a and its objects as this compiler makes them; skips if it is missing.

    Built in csrc/build, so that a second run of the tests finds it made.
    """
    need(compiler, shutil.which(compiler) is not None, f"install {compiler}")
    arguments = [*options(compiler), f"-j{os.cpu_count()}"]
    (CSRC / "build").mkdir(exist_ok=True)
    with open(CSRC / "build" / ".lock", "w") as lock:  # two test runs in one tree must not write the same objects
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = make(CSRC, *arguments)
    if done.returncode:
        pytest.fail(f"make -C csrc {' '.join(arguments)}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return CSRC / ("build" if compiler == "cc" else f"build/{compiler}")


@functools.cache
def example(compiler: str = "cc") -> Path:
    """examples/c/train.c linked with that library."""
    out = library(compiler)
    folder, name = ROOT / "examples" / "c", out.relative_to(CSRC)
    done = make(folder, *options(compiler))
    if done.returncode:
        pytest.fail(f"make -C examples/c:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return folder / name / "train"


def makefile_table() -> tuple[list[str], list[str], dict[str, dict[str, list[str]]]]:
    """BASE, STRICT, and architecture -> level -> flags, as csrc/Makefile states them."""
    text = (CSRC / "Makefile").read_text()
    value = {m[1]: m[2].split() for m in re.finditer(r"^([\w.]+) = (.*)$", text, re.M)}
    table: dict[str, dict[str, list[str]]] = {}
    for name, flags in value.items():
        architecture, dot, level = name.partition(".")
        if dot and level != "levels":
            table.setdefault(architecture, {})[level] = flags
        elif dot:
            assert flags == list(table[architecture]), f"{name} lists other levels than the table above it"
    return value["BASE"], value["STRICT"], table
