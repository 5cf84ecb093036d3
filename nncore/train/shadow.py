"""Level 2 of the instruments: every instruction of a step again in float64, beside the one in float32.

Three float64 twins of the tape go along. One runs on values of its own from the step's beginning: against it an output's
whole error shows. One is given the float32 operands of each instruction: what it finds is *made* there, the rest was passed
on. For sums a third is given the sizes of the operands: how far they lie above the sum is what cancelled.

    error      largest and mean |y - truth| in ulps of float at the truth
    cancelled  exponent of sum |terms| less that of |sum|, in bits: so many digits of the operands' errors came to the front
"""

from __future__ import annotations

from dataclasses import replace

from nncore._ffi import ffi, lib
from nncore.errors import NonFiniteError
from nncore.graph.tape import Memory, Tape
from nncore.tensor import DTYPES
from nncore.train.diagnosis import address, coordinates, options, read, written
from nncore.train.steps import externals

# Ops whose output is a sum of terms, by what computes the sum of the terms' sizes.
SUMS = {"add": "add", "sub": "add", "dense_fwd": "dense_fwd", "dense_bwd_data": "dense_bwd_data",
        "dense_bwd_weight": "dense_bwd_weight", "conv_fwd": "conv_fwd", "conv_bwd_data": "conv_bwd_data",
        "conv_bwd_weight": "conv_bwd_weight", "sum_rows": "sum_rows", "sum_all": "sum_all", "tree_sum": "tree_sum"}
ACT = {"dense_fwd": 3, "conv_fwd": 16, "conv_bwd_data": 16}  # the dim that names a fused activation, -1 for none


def _as_sum(instruction, op: str):
    """The instruction as a bare sum, without its activation, by another op."""
    dims = list(instruction.dims)
    if op in ACT:
        dims[ACT[op]] = -1
    return replace(instruction, op=op, dims=tuple(dims))


class Shadow:
    """The twins of one tape. `rows` holds what the last step showed, a row per value written."""

    def __init__(self, trainer, tape: Tape):
        self.tape, self.twin = tape, tape.twin()
        same = [(i.op, i.args) for i in self.twin.instructions] == [(i.op, i.args) for i in tape.instructions]
        assert same, "a twin runs the same instructions"  # a fault of ours otherwise
        plain = [_as_sum(i, i.op) if i.op in SUMS else i for i in self.twin.instructions]
        sizes = [_as_sum(i, SUMS[i.op]) if i.op in SUMS else i for i in self.twin.instructions]
        self.plain, self.sizes = replace(self.twin, instructions=plain), replace(self.twin, instructions=sizes)
        self.whole, self.local, self.terms = (Memory(self.twin.layout) for _ in range(3))
        for memory in (self.whole, self.local, self.terms):
            memory.reserve(self.twin.nbytes)
        self.rows: list[dict] = []
        self.trainer = trainer

    def begin(self, trainer) -> None:
        """Give the first twin the values that the step begins with."""
        self.rows = []
        self.whole.copy_leaves(trainer.model.memory)

    def before(self, index: int) -> None:
        """Take the operands of an instruction before it runs: it may overwrite them."""
        self._give(self.local, index, sizes=False)
        if self.tape.instructions[index].op in SUMS:
            self._give(self.terms, index, sizes=True)

    def seen(self, index: int) -> None:
        """Run the instruction in float64 and compare what float32 has written."""
        i = self.tape.instructions[index]
        cancelled = {}
        if i.op in SUMS:
            self._run(self.sizes, self.terms, index)
            self._run(self.plain, self.local, index)
            cancelled = self._cancelled(index)
        self._run(self.twin, self.local, index)
        self._run(self.twin, self.whole, index)
        for buffer in written(self.tape, index):
            b = self.tape.buffers[buffer]
            made, whole = self._error(self.local, buffer), self._error(self.whole, buffer)
            self.rows.append({"instruction": index, "op": i.op, "layer": i.layer, "name": b.name, "size": b.count,
                              "made": made, "error": whole, **cancelled})

    def _give(self, memory: Memory, index: int, sizes: bool) -> None:
        tape, source = self.tape, self.trainer.model.memory
        i = tape.instructions[index]
        for buffer in read(tape, index):
            lib.nn_widen(address(memory, self.twin, buffer, "double *"), address(source, tape, buffer),
                         tape.buffers[buffer].count, sizes)
        for buffer in {a for a in i.args if a >= 0}:
            b, w = tape.buffers[buffer], self.twin.buffers[buffer]
            if b.dtype != "real" and b.region != "external":
                nbytes = b.count * DTYPES[b.dtype][1]
                ffi.memmove(memory.pointer(w.region) + w.offset, source.pointer(b.region) + b.offset, nbytes)

    def _run(self, tape: Tape, memory: Memory, index: int) -> None:
        t = self.trainer
        try:
            t.executor.run([(tape, 1)], memory, externals(t.data), instructions=(index, index + 1), **options(t))
        except NonFiniteError:
            pass  # float32's own check speaks for both

    def _error(self, memory: Memory, buffer: int) -> dict:
        """Against the twin in `memory`: {worst, mean, element}."""
        b, e = self.tape.buffers[buffer], ffi.new("nn_errors *")
        lib.nn_compare_twin(e, address(self.trainer.model.memory, self.tape, buffer),
                            address(memory, self.twin, buffer, "double *"), b.count)
        return _figures(e, b.shape)

    def _cancelled(self, index: int) -> dict:
        buffer, e = self.twin.instructions[index].args[0], ffi.new("nn_errors *")
        b = self.twin.buffers[buffer]
        lib.nn_compare_terms(e, address(self.local, self.twin, buffer, "double *"),
                             address(self.terms, self.twin, buffer, "double *"), b.count)
        return {"cancelled": _figures(e, b.shape)}


def _figures(e, shape: tuple[int, ...]) -> dict:
    element = list(coordinates(e.index, shape)) if e.index >= 0 else None
    return {"worst": e.worst, "mean": e.sum / e.n if e.n else 0.0, "element": element}


def summary(rows: list[dict]) -> list[str]:
    """A step's errors as lines of text."""
    lines = [f"  {'#':>3} {'op':18} {'layer':14} {'value':20} {'made':>10} {'error':>10} {'mean':>9} {'cancelled bits':>15}"]
    for r in rows:
        bits = f"{r['cancelled']['mean']:.1f} (max {r['cancelled']['worst']:.0f})" if "cancelled" in r else "-"
        made, error = r["made"], r["error"]
        lines.append(f"  {r['instruction']:>3} {r['op'][:18]:18} {r['layer'][:14]:14} {r['name'][:20]:20} {made['worst']:>10.3g} "
                     f"{error['worst']:>10.3g} {error['mean']:>9.2g} {bits:>15}")
    lines.append("  made: ulps that the instruction lost on the operands it had; error: ulps away from the whole step in float64")
    return lines
