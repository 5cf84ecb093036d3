"""Level 1 of the instruments: figures of every tensor that a step makes, and of what its updates do to the weights.

    statistics = Statistics(tape)             what there is to see of a tape's steps (csrc/watch.c sees it)
    record = statistics.step(trainer)         the next step, one call into C
    record.told()                             {"step", "tensors": [...], "updates": [...]}

The bits of the step are those of any other: nothing that is looked at is written to.
"""

from __future__ import annotations

from math import inf, log2, sqrt

from nncore._ffi import ffi
from nncore.graph import ops
from nncore.graph.faults import phase
from nncore.graph.tape import Tape
from nncore.train.diagnosis import activation, options, written
from nncore.train.shadow import Shadow
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


class Record:
    """A step as it was seen. Figures become numbers of Python's only when somebody asks: most records are forgotten."""

    def __init__(self, source: Statistics, step: int):
        self.source, self.step = source, step
        self._seen = bytes(ffi.buffer(source.looks)), bytes(ffi.buffer(source.changes))
        self._told: dict | None = None

    def told(self) -> dict:
        """{step, tensors, updates}, and shadow where there was one."""
        if self._told is None:
            looks, changes = (ffi.from_buffer(f"{kind}[]", seen) for kind, seen in zip(("nn_look", "nn_change"), self._seen,
                                                                                       strict=True))
            source = self.source
            self._told = {"step": self.step, "tensors": [source.tensor(looks[k]) for k in range(source.n_looks)],
                          "updates": [source.update(changes[k]) for k in source.order]}
            if source.shadow:
                self._told["shadow"] = [source.shadow.row(looks[k]) for k in range(source.n_looks)]
        return self._told


class Statistics:
    """What there is to see of one tape's steps, with its Shadow or without."""

    def __init__(self, tape: Tape, shadow: Shadow | None = None):
        self.tape, self.shadow = tape, shadow
        indices = range(len(tape.instructions))
        self.phases = [phase(tape, n) for n in indices]
        values = [(n, b) for n in indices for b in written(tape, n)]
        self.n_looks, self.looks = len(values), ffi.new("nn_look[]", max(len(values), 1))
        for look, (index, buffer) in zip(self.looks, values, strict=False):
            look.instr, look.buffer = index, buffer
            look.low, look.high = self._limits(index) or (-inf, inf)
            look.columns = self._columns(index, buffer)
        self._instructions = ffi.new("nn_watched[]", len(indices))
        for n in indices:
            mine = [k for k, (index, _) in enumerate(values) if index == n]
            steps = shadow.steps[n] if shadow else (0, 0, False, False, False)
            self._instructions[n] = (mine[0] if mine else 0, len(mine), *steps)
        self._watch_updates()
        self._watch = ffi.new("nn_watch *", (self._instructions, self.looks, len(self._updates), self.changes,
                                             shadow.cdata if shadow else ffi.NULL))

    def _watch_updates(self) -> None:
        # Weights in another format are rounded behind their update: what was lost shows only then.
        rounded = {i.args[0]: n for n, i in enumerate(self.tape.instructions) if i.op == "round_to" and not i.n_outputs}
        self._updates = [(n, *pair) for n in range(len(self.tape.instructions)) if (pair := self._weights(n))]
        self.changes, self._copies = ffi.new("nn_change[]", max(len(self._updates), 1)), []
        for c, (n, w, g) in zip(self.changes, self._updates, strict=False):
            self._copies.append([ffi.new("float[]", max(self.tape.buffers[w].count, 1)) for _ in range(2)])
            c.instr, c.behind, c.weights, c.gradient, (c.before, c.slope) = n, rounded.get(w, n), w, g, self._copies[-1]
        self.order = sorted(range(len(self._updates)), key=lambda k: self.changes[k].behind)

    def step(self, trainer) -> Record:
        """Do the trainer's next step and look at every instruction; position advances. Raises NonFiniteError as the executor
        does."""
        found = trainer.position.step
        trainer.executor.run([(self.tape, 1)], trainer.model.memory, externals(trainer.data), events=trainer.events,
                             instruments=self._watch, **options(trainer))
        return Record(self, found)

    def _weights(self, index: int) -> tuple[int, int] | None:
        """(parameter, gradient) of an optimizer's update."""
        i = self.tape.instructions[index]
        at = len(ops.OPS[i.op].mutates)
        if not at or i.n_outputs or len(i.args) <= at or i.op == "round_to" or self.tape.buffers[i.args[0]].region != "param":
            return None
        w, g = (self.tape.buffers[i.args[k]] for k in (0, at))
        return (i.args[0], i.args[at]) if w.count == g.count and g.dtype == "real" else None

    def _limits(self, index: int) -> tuple[float, float] | None:
        i = self.tape.instructions[index]
        return bounds(name, i.scalars) if (name := activation(i)) else None

    def _columns(self, index: int, buffer: int) -> int:
        """Units of a ReLU: the features, or the channels of images; 0 for any other value."""
        shape = self.tape.buffers[buffer].shape
        return shape[-1] if activation(self.tape.instructions[index]) == "relu_fwd" and len(shape) > 1 else 0

    def _where(self, index: int, buffer: int) -> dict:
        i = self.tape.instructions[index]
        return {"instruction": index, "op": i.op, "layer": i.layer, "phase": self.phases[index],
                "name": self.tape.buffers[buffer].name}

    def tensor(self, look) -> dict:
        """Counts, range, rms and exponents of a value; of an activation's output also what is saturated or dead."""
        s = look.seen
        finite = s.n - s.nans - s.infinities
        record = {**self._where(look.instr, look.buffer), "size": s.n, "nan": s.nans, "inf": s.infinities, "zero": s.zeros,
                  "subnormal": s.subnormals, "smallest": s.smallest, "largest": s.largest,
                  "rms": sqrt(s.sum_squares / finite) if finite else None,
                  "exponents": {str(e - BIAS): n for e, n in enumerate(s.exponent) if n and 0 < e < 255}}
        if self._limits(look.instr):
            record["saturated"] = s.saturated / s.n if s.n else None
        if look.columns:
            record["dead"] = look.dead / look.columns
        return record

    def update(self, change) -> dict:
        """The share of updates that were lost to rounding, and |w' - w| / |w|."""
        u = change.seen
        return {**self._where(change.instr, change.weights), "asked": u.asked, "lost": u.lost / u.asked if u.asked else None,
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
