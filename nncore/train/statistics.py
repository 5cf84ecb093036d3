"""Level 1 of the instruments: figures of every tensor that a step makes, and of what its updates do to the weights.

    statistics = Statistics(tape)             a step is run one instruction at a time, and each is looked at
    record = statistics.step(trainer)         {"step", "tensors": [...], "updates": [...]}

The bits of the step are those of any other: an instruction run alone writes what it writes in a row.
"""

from __future__ import annotations

from math import inf, log2, sqrt

from nncore._ffi import ffi, lib
from nncore.graph import ops
from nncore.graph.faults import phase
from nncore.graph.tape import Tape
from nncore.train.diagnosis import address, options, written
from nncore.train.steps import externals

SATURATED = 1 / 64  # a unit is saturated where its derivative is below this share of the largest
BIAS = 127


def bounds(op: str, scalars: tuple[float, ...]) -> tuple[float, float] | None:
    """(low, high) outside of which an activation's output tells that it is saturated; None for those that never are."""
    if op == "sigmoid_fwd":
        half = sqrt(1 - SATURATED) / 2  # y (1 - y) = SATURATED / 4
        return 0.5 - half, 0.5 + half
    if op == "tanh_fwd":
        high = abs(scalars[0]) * sqrt(1 - SATURATED)  # 1 - (y / a)^2 = SATURATED
        return -high, high
    return (0.0, 1.0) if op == "satlin_fwd" else None


def activation(instruction) -> str:
    """The activation that an instruction applies, as an op's name: its own, or the one fused behind a product; "" if none."""
    name = f"{instruction.note.split(' ')[0]}_fwd" if instruction.note else instruction.op
    return name if name in ops.OPS and ops.OPS[name].epilogue else ""


class Statistics:
    """What there is to see of one tape's steps. `before` and `after` of an update are compared in place."""

    def __init__(self, tape: Tape):
        self.tape = tape
        self.phases = [phase(tape, n) for n in range(len(tape.instructions))]
        self.written = [written(tape, n) for n in range(len(tape.instructions))]
        # Weights in another format are rounded behind their update: what was lost shows only then.
        self.rounded = {i.args[0]: n for n, i in enumerate(tape.instructions) if i.op == "round_to" and not i.n_outputs}
        self.found = ffi.new("nn_statistics *")
        self.update = ffi.new("nn_update *")

    def step(self, trainer, seen=None, before=None) -> dict:
        """Do the trainer's next step and look at every instruction; `before(index)` and `seen(index)` are told before and
        after each. Position advances. Raises NonFiniteError as the executor does."""
        p, tape, memory = trainer.position, self.tape, trainer.model.memory
        memory.reserve(tape.nbytes)
        record, waiting = {"step": p.step, "tensors": [], "updates": []}, {}
        for index in range(len(tape.instructions)):
            if before:
                before(index)
            weights = self._weights(index)
            old = bytes(ffi.buffer(address(memory, tape, weights[0], "char *"), 4 * weights[2])) if weights else b""
            trainer.executor.run([(tape, 1)], memory, externals(trainer.data), instructions=(index, index + 1),
                                 events=trainer.events, **options(trainer))
            for buffer in self.written[index]:
                record["tensors"].append(self._tensor(memory, index, buffer))
            if weights:
                g = bytes(ffi.buffer(address(memory, tape, weights[1], "char *"), len(old)))
                waiting[self.rounded.get(weights[0], index)] = index, weights, old, g
            if index in waiting:
                record["updates"].append(self._update(memory, *waiting.pop(index)))
            if seen:
                seen(index)
        p.step, p.cursor = p.step + 1, p.cursor + tape.batch
        return record

    def _weights(self, index: int) -> tuple[int, int, int] | None:
        """(parameter, gradient, count) of an optimizer's update."""
        i = self.tape.instructions[index]
        at = len(ops.OPS[i.op].mutates)
        if not at or i.n_outputs or len(i.args) <= at or i.op == "round_to" or self.tape.buffers[i.args[0]].region != "param":
            return None
        w, g = (self.tape.buffers[i.args[k]] for k in (0, at))
        return (i.args[0], i.args[at], w.count) if w.count == g.count and g.dtype == "real" else None

    def _where(self, index: int, buffer: int) -> dict:
        i = self.tape.instructions[index]
        return {"instruction": index, "op": i.op, "layer": i.layer, "phase": self.phases[index],
                "name": self.tape.buffers[buffer].name}

    def _tensor(self, memory, index: int, buffer: int) -> dict:
        """Counts, range, rms and exponents of a buffer; of an activation's output also what is saturated or dead."""
        i, b, s = self.tape.instructions[index], self.tape.buffers[buffer], self.found
        name = activation(i)
        limits = bounds(name, i.scalars) if name else None
        lib.nn_describe(s, address(memory, self.tape, buffer), b.count, *(limits or (-inf, inf)))
        finite = s.n - s.nans - s.infinities
        record = {**self._where(index, buffer), "size": s.n, "nan": s.nans, "inf": s.infinities, "zero": s.zeros,
                  "subnormal": s.subnormals, "smallest": s.smallest, "largest": s.largest,
                  "rms": sqrt(s.sum_squares / finite) if finite else None,
                  "exponents": {str(e - BIAS): n for e, n in enumerate(s.exponent) if n and 0 < e < 255}}
        if limits:
            record["saturated"] = s.saturated / s.n if s.n else None
        if name == "relu_fwd" and len(b.shape) > 1:
            columns = b.shape[-1]
            alive = ffi.new("uint8_t[]", columns)
            record["dead"] = lib.nn_count_dead(alive, address(memory, self.tape, buffer), b.count // columns, columns) / columns
        return record

    def _update(self, memory, index: int, weights: tuple[int, int, int], old: bytes, g: bytes) -> dict:
        """The share of updates that were lost to rounding, and |w' - w| / |w|, of weights as they were, and the gradient."""
        w, _, count = weights
        before, gradient = (ffi.cast("float *", ffi.from_buffer("char[]", values)) for values in (old, g))
        lib.nn_compare_update(self.update, before, address(memory, self.tape, w), gradient, count)
        u = self.update
        return {**self._where(index, w), "asked": u.asked, "lost": u.lost / u.asked if u.asked else None,
                "ratio": sqrt(u.moved / u.kept) if u.kept else None}


def summary(record: dict) -> list[str]:
    """A step's figures as lines of text."""
    lines = [f"step {record['step']}", f"  {'#':>3} {'phase':8} {'layer':16} {'value':22} {'rms':>10} {'largest':>10} "
             f"{'zero':>7} {'subnormal':>9} {'bad':>6}  exponents"]
    for t in record["tensors"]:
        exponents = [int(e) for e in t["exponents"]]
        spread = f"{min(exponents)} to {max(exponents)}" if exponents else "-"
        rms = f"{t['rms']:.3e}" if t["rms"] is not None else "-"
        more = "".join(f"  {key} {t[key]:.1%}" for key in ("saturated", "dead") if t.get(key))
        lines.append(f"  {t['instruction']:>3} {t['phase']:8} {t['layer'][:16]:16} {t['name'][:22]:22} {rms:>10} "
                     f"{t['largest']:>10.3e} {t['zero'] / max(t['size'], 1):>7.1%} {t['subnormal']:>9} "
                     f"{t['nan'] + t['inf']:>6}  {spread}{more}")
    for u in record["updates"]:
        if u["lost"] is not None and u["ratio"] is not None:
            lines.append(f"  {u['instruction']:>3} update   {u['layer'][:16]:16} {u['name'][:22]:22} |dw|/|w| {u['ratio']:.3e}"
                         + (f" (2^{log2(u['ratio']):.1f})" if u["ratio"] > 0 else "") + f", lost {u['lost']:.1%}")
    return lines
