"""What is fused on a tape: activations behind products, and instructions that are walked together, band by band (csrc/bands.c).

A choice of the tape: nothing is if it was compiled with `fuse=False`. Bands depend on the kernels and the threads, no bit
depends on any of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from nncore._ffi import ffi, kernels_name, lib, op_names

APART = 1 << 40  # regions and externals lie so far from one another that no two of them meet


def fused(instruction) -> str:
    """The activation that runs behind this product, as an op's name; "" if there is none."""
    return next((f"{word}_fwd" for word in instruction.note.split() if f"{word}_fwd" in op_names()), "")


@dataclass(frozen=True)
class Groups:
    """`rows` (first instruction, how many, bands) of what is walked together; `saved` the bytes of a step that are still in a
    core's cache where they would have had to be fetched again."""

    cdata: object
    rows: tuple[tuple[int, int, int], ...] = ()
    saved: int = 0


def groups(tape, kernels, threads: int) -> Groups:
    """The groups of a tape for these kernels and so many threads; found once."""
    known = tape.__dict__.setdefault("_groups", {})
    key = kernels_name(kernels), threads
    if key not in known:
        fuses = tape.spec is None or tape.spec[4]
        known[key] = _find(tape, kernels, threads) if fuses else Groups(ffi.NULL)
    return known[key]


def _find(tape, kernels, threads: int) -> Groups:
    run = ffi.new("nn_run *")
    run.threads = threads
    run.base = [ffi.cast("void *", APART * (1 + i)) for i in range(3)]
    run.external = [ffi.cast("void *", APART * (4 + i)) for i in range(lib.NN_MAX_EXTERNALS)]
    run.external_nbytes = [APART // 2] * lib.NN_MAX_EXTERNALS
    n = len(tape.instructions)
    found = ffi.new("nn_group[]", n)
    saved = lib.nn_find_groups(kernels, tape.cdata(), run, found)
    return Groups(found, tuple((i, found[i].instrs, found[i].bands) for i in range(n) if found[i].instrs > 1), saved)
