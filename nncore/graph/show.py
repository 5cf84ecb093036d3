"""A tape as text: what a student, a bug report and a test look at."""

from __future__ import annotations

from math import prod

from nncore._ffi import lib
from nncore.graph.tape import Instruction, Tape


def show(tape: Tape, groups: tuple[tuple[int, int, int], ...] = ()) -> str:
    """Header line and one line per instruction; microseconds are shown after a profiled run, bands of groups as in `table`."""
    rows = table(tape, groups)
    widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
    right = (0, 5, 6, 7, 8)
    lines = ["  ".join(t.rjust(w) if c in right else t.ljust(w) for c, (t, w) in enumerate(zip(row, widths, strict=True)))
             for row in rows]
    return "\n".join([header(tape), *(line.rstrip() for line in lines)])


def header(tape: Tape) -> str:
    """What the tape is, in a line."""
    return (f"tape {tape.name}  batch {tape.batch}  {_math(tape)} (numerics {lib.NN_NUMERICS_ID})  sha256 {tape.sha256[:12]}...  "
            f"arena {tape.nbytes['work'] / 1e6:.2f} MB  parameters {_parameters(tape):,}  {tape.flop / 1e6:.1f} MFLOP/step")


def table(tape: Tape, groups: tuple[tuple[int, int, int], ...] = ()) -> list[tuple[str, ...]]:
    """The columns' names, then a row per instruction. groups: (first, how many, bands) of those walked in bands, which get
    a column."""
    names = [b.name for b in tape.buffers]
    bands = {i: f"{'+' if i > first else ''}{bands}" for first, n, bands in groups for i in range(first, first + n)}
    rows = [("#", "instruction", "writes", "reads", "shape", "MFLOP", "kB", "us", *(["bands"] if groups else []))]
    for n, i in enumerate(tape.instructions):
        written = set(range(i.n_outputs)) or _mutated(i)
        given = [(k, names[a]) for k, a in enumerate(i.args) if a >= 0]
        micro = f"{tape.seconds[n] * 1e6:.1f}" if tape.seconds else ""
        rows.append((str(n), f"{i.op} {i.note}".strip(), " ".join(x for k, x in given if k in written),
                     " ".join(x for k, x in given if k not in written), _shape(tape, i), f"{i.flop / 1e6:.1f}",
                     f"{tape.nbytes_of(i) / 1e3:.0f}", micro, *([bands.get(n, "")] if groups else [])))
    return rows


def _math(tape: Tape) -> str:
    """The math mode, and which elementary functions if not the fast ones; of a twin its real type."""
    if tape.real != "f32" or tape.layout is None:
        return tape.real
    return tape.layout.math + (" exact" if tape.layout.elementary == "exact" else "")


def _mutated(i: Instruction) -> set[int]:
    from nncore.graph.ops import OPS

    return set(OPS[i.op].mutates)


def _shape(tape: Tape, i: Instruction) -> str:
    if i.op.startswith("dense"):
        return "x".join(str(d) for d in i.dims[:3])
    first = next((a for a in i.args if a >= 0), None)
    return "" if first is None else "x".join(str(d) for d in tape.buffers[first].shape) or "1"


def _parameters(tape: Tape) -> int:
    return sum(prod(b.shape) for b in tape.buffers if b.region == "param")
