"""Faults in words: the exception for what C says of a run, and where in a step an instruction stands."""

from __future__ import annotations

from nncore._ffi import error_for, ffi, lib
from nncore.errors import DataError, GraphError, NNError
from nncore.graph import ops
from nncore.graph.events import kind_names


def phase(tape, index: int) -> str:
    """Where instruction `index` stands in a step: "forward" up to the loss, "update" if it changes a parameter or a state,
    else "backward"."""
    i = tape.instructions[index]
    changed = [tape.buffers[i.args[m]] for m in ops.OPS[i.op].mutates]
    if any(b.region in ("param", "state") for b in changed):
        return "update"
    loss = tape.outputs.get("loss")
    ends = [n for n, x in enumerate(tape.instructions) if loss in x.args[: x.n_outputs]]
    return "backward" if ends and index > ends[0] and i.op != "check_finite" else "forward"


def explain(status: int, fault, tapes) -> NNError:
    """The exception for a fault: tape, instruction, layer, op, step, index and value."""
    if fault.instr < 0 and status == lib.NN_ERR_NONFINITE:
        return DataError(f"a sample is NaN or infinite: element {fault.index} is {fault.value}; clean the data first")
    if fault.instr < 0:
        text = ffi.string(lib.nn_status_text(status)).decode()
        return GraphError(f"tape {tapes[fault.segment][0].name}: {text} (buffer or region {fault.index})")
    i = tapes[fault.segment][0].instructions[fault.instr]
    where = f"step {fault.step}, layer {i.layer or '-'}, op {i.op}{' ' + i.note if i.note else ''} (instruction {fault.instr})"
    if status == lib.NN_ERR_NONFINITE:
        return error_for(status, where, f": element {fault.index} is {fault.value}")
    if status == lib.NN_ERR_FLAGGED:
        error = error_for(status, where, f": {', '.join(kind_names(int(fault.value)))}")
        error.tape, error.instruction, error.step = tapes[fault.segment][0], fault.instr, fault.step
        error.kinds = tuple(kind_names(int(fault.value)))
        return error
    return error_for(status, where, f" at {fault.index}, value {fault.value:g}" if fault.index >= 0 else "")
