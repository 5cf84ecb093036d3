"""Level 2 of the instruments: every instruction of a step again in float64, beside the one in float32 (csrc/watch.c).

Two float64 twins of the tape go along. One runs on values of its own from the step's beginning: against it an output's
whole error shows. The other is given the float32 operands of each instruction: what it finds is *made* there, the rest was
passed on. For sums a third tape, in float32, adds the sizes of the terms: how far they lie above the sum is what cancelled.

    error      largest and mean |y - truth| in ulps of float at the truth, over all elements
    made       the same against the second twin, and
    cancelled  exponent of sum |terms| less that of |sum|, in bits: so many digits of the operands' errors came to the front.
               Of large instructions on a sample (sampling.py): `sample` is how many elements were looked at

The sizes' exponent is all that is asked for, so float32 does for them: it differs from the exact one only where their sum
lies within K ulp of a power of 2.
"""

from __future__ import annotations

from dataclasses import replace

from nncore._ffi import ffi, lib
from nncore.graph.ops import OPS
from nncore.graph.tape import Instruction, Memory, Tape
from nncore.train.diagnosis import activation, coordinates
from nncore.train.sampling import count, sampled

# Ops whose output is a sum of terms, by what computes the sum of the terms' sizes.
SUMS = {"add": "add", "sub": "add", "dense_fwd": "dense_fwd", "dense_bwd_data": "dense_bwd_data",
        "dense_bwd_weight": "dense_bwd_weight", "conv_fwd": "conv_fwd", "conv_bwd_data": "conv_bwd_data",
        "conv_bwd_weight": "conv_bwd_weight", "sum_rows": "sum_rows", "sum_all": "sum_all", "tree_sum": "tree_sum"}
ACT = {"dense_fwd": 3, "conv_fwd": 16, "conv_bwd_data": 16}  # the dim that names a fused activation, -1 for none


def _as_sum(i: Instruction, op: str) -> Instruction:
    """The instruction as a bare sum, without its activation, by another op."""
    dims = list(i.dims)
    if op in ACT:
        dims[ACT[op]] = -1
    return replace(i, op=op, dims=tuple(dims))


def _fused(i: Instruction) -> bool:
    return i.op in ACT and i.dims[ACT[i.op]] != -1


def _taken(tape: Tape, asked: list[bool], samples: list[dict]) -> list[int]:
    """Of each instruction that is asked for, the bits of the arguments to take from the tape's own memory: what it reads and
    was not taken, whole or in the same sample, since it was last written. A plan leaves a value where it is until its last
    reader."""
    has: dict[int, tuple | None] = {}
    found = []
    for i, wanted, views in zip(tape.instructions, asked, samples, strict=True):
        bits = 0
        for k, a in enumerate(i.args):
            if wanted and k >= i.n_outputs and a >= 0 and tape.buffers[a].region != "external":
                if a not in has or has[a] != views.get(k):
                    bits |= 1 << k
                has[a] = views.get(k)
        for a in (*i.args[: i.n_outputs], *(i.args[m] for m in OPS[i.op].mutates)):
            has.pop(a, None)
        found.append(bits)
    return found


def _firsts(tape: Tape, samples: tuple[dict, ...]) -> list[bool]:
    """Of each instruction whether it reads nothing that the step has written: both twins would find the same. Sums are asked
    for what cancelled, and run anyway."""
    made: set[int] = set()
    found = []
    for i, views in zip(tape.instructions, samples, strict=True):
        changed = {*i.args[: i.n_outputs], *(i.args[m] for m in OPS[i.op].mutates)}
        found.append(bool(i.n_outputs) and not views and i.op not in SUMS and made.isdisjoint(i.args[i.n_outputs :]))
        made |= changed
    return found


class Shadow:
    """The twins of one tape. `steps`: of each instruction which arguments the second and the third take from the float32 one
    (nn_watched), whether it is a sum, one with an activation behind it, one that reads what the step begins with."""

    def __init__(self, tape: Tape):
        self.tape, self.twin = tape, tape.twin()
        same = [[(i.op, i.args) for i in t.instructions] + [b.name for b in t.buffers] for t in (tape, self.twin)]
        assert same[0] == same[1], "a twin runs the same instructions on the same buffers"  # a fault of ours otherwise
        mine = self.twin.instructions
        self._few, self._views = zip(*(sampled(self.twin, i) for i in mine), strict=True)
        every = (_taken(tape, [True] * len(mine), self._views), _taken(tape, [i.op in SUMS for i in mine], self._views))
        self.steps = [(*taken, i.op in SUMS, _fused(i), first)
                      for *taken, i, first in zip(*every, mine, _firsts(self.twin, self._views), strict=True)]
        self._tapes = [self.twin] + [replace(self.twin, instructions=found) for found in (
            [_as_sum(i, i.op) if i.op in SUMS else i for i in self._few],
            [self._activation(n) if _fused(i) else i for n, i in enumerate(mine)])]
        # The twin's sizes: those of a product in float32, whatever math mode or accumulator the tape itself has.
        self._tapes.append(replace(tape, instructions=[_as_sum(i, SUMS[i.op]) if i.op in SUMS else own
                                                       for i, own in zip(self._few, tape.instructions, strict=True)]))
        self._memories = [Memory(t.layout) for t in (self.twin, self.twin, tape)]
        for memory, t in zip(self._memories, (self.twin, self.twin, tape), strict=True):
            memory.reserve(t.nbytes)
        bases = [[memory.pointer(r) for r in ("param", "state", "work")] for memory in self._memories]
        self._samples = ffi.new("nn_sample[]", max(len(mine), 1) * lib.NN_MAX_ARGS)
        for n, views in enumerate(self._views):
            for k, view in views.items():
                self._samples[n * lib.NN_MAX_ARGS + k] = view
        self.cdata = ffi.new("nn_shadow *", (*(t.cdata() for t in self._tapes), *bases, self._samples))

    def _activation(self, n: int) -> Instruction:
        """What is fused behind a product, by itself and in place."""
        i, views = self.twin.instructions[n], self._views[n]
        y = i.args[0]
        size = count(views[0]) if 0 in views else self.twin.buffers[y].count
        return Instruction(activation(i), "", i.layer, (y, y), 1, (size,), i.scalars, 0.0)

    def row(self, look) -> dict:
        """A value's errors: {instruction, op, layer, name, size, sample, made, error} and what cancelled in a sum."""
        i, b = self.tape.instructions[look.instr], self.tape.buffers[look.buffer]
        found = {"instruction": look.instr, "op": i.op, "layer": i.layer, "name": b.name, "size": b.count,
                 "sample": look.made.n, "made": _figures(look.made, b.shape), "error": _figures(look.error, b.shape)}
        return {**found, "cancelled": _figures(look.cancelled, b.shape)} if i.op in SUMS else found


def _figures(e, shape: tuple[int, ...]) -> dict:
    element = list(coordinates(e.index, shape)) if e.index >= 0 else None
    return {"worst": e.worst, "mean": e.sum / e.n if e.n else 0.0, "element": element}


def summary(rows: list[dict]) -> list[str]:
    """A step's errors as lines of text."""
    lines = [f"  {'#':>3} {'op':18} {'layer':14} {'value':20} {'made':>10} {'error':>10} {'mean':>9} {'cancelled bits':>15}"]
    for r in rows:
        bits = f"{r['cancelled']['mean']:.1f} (max {r['cancelled']['worst']:.0f})" if "cancelled" in r else "-"
        made, error = r["made"], r["error"]
        most = f"{'~' if r['sample'] < r['size'] else ''}{made['worst']:.3g}"
        lines.append(f"  {r['instruction']:>3} {r['op'][:18]:18} {r['layer'][:14]:14} {r['name'][:20]:20} {most:>10} "
                     f"{error['worst']:>10.3g} {error['mean']:>9.2g} {bits:>15}")
    lines.append("  made: ulps that the instruction lost on the operands it had; error: ulps away from the whole step in float64")
    if any(r["sample"] < r["size"] for r in rows):
        lines.append("  made and cancelled bits marked ~ are those of one row in sixteen, other rows from step to step")
    return lines
