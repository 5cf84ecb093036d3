"""Level 3 of the instruments: Monte Carlo arithmetic, a computation several times with every rounding drawn at random.

Where the samples of a value agree, its digits are significant; the rest is rounding (csrc/monte_carlo.c). A branch is unstable
where they fall on either side of it: a ReLU that is 0 in some samples only, a maximum that is found at another place.
"""

from __future__ import annotations

from nncore._ffi import ffi, lib
from nncore.graph.tape import Executor, Tape
from nncore.tensor import DTYPES
from nncore.train.diagnosis import address, coordinates, options, written
from nncore.train.steps import externals

SAMPLES = 10


class RandomExecutor(Executor):
    """Runs tapes in Monte Carlo arithmetic: on one thread, every rounding of float32 random, fixed by a seed: the same bits at
    any `isa`."""

    def __init__(self, seed: int = 0, isa: str | None = None):
        super().__init__(isa, 1)
        self.kernels, self.isa = lib.nn_kernels_random(self.kernels), "random"
        lib.nn_random_seed(self.kernels, seed % 2**64)


class Spread:
    """Samples of n float32 values: where they lie and how far apart."""

    def __init__(self, n: int):
        self.n = n
        self._parts = ffi.new("double[]", n), ffi.new("double[]", n), ffi.new("int32_t[]", n)
        self._all = ffi.new("nn_spread *", (0, *self._parts))

    def add(self, x) -> None:
        """One more sample: a C pointer to n floats."""
        lib.nn_spread_add(self._all, x, self.n)

    def bits(self) -> tuple[memoryview, dict]:
        """(significant bits of each value, {mean, least, element, none, flips}); none: values without any significant bit,
        flips: values that were 0 in some samples and not in others."""
        each, f = ffi.new("double[]", self.n), ffi.new("nn_figures *")
        lib.nn_spread_digits(self._all, self.n, each, f)
        return (memoryview(ffi.buffer(each)).cast("B").cast("d"),
                {"mean": f.sum / f.n, "least": f.least, "element": f.index, "none": f.none, "flips": f.flips})


def step_digits(trainer, tape: Tape, samples: int = SAMPLES, seed: int = 0) -> list[dict]:
    """The next step, `samples` times in Monte Carlo arithmetic: a row per value written, {instruction, op, layer, name, size,
    mean and least significant bits, element, none, flips}; for whole numbers (argmax) {..., changed}. Parameters, states and
    position are as before afterwards."""
    memory, kept = trainer.model.memory, trainer.model.snapshot()
    memory.reserve(tape.nbytes)
    indices = range(len(tape.instructions))
    spreads = [{b: Spread(tape.buffers[b].count) for b in written(tape, i)} for i in indices]
    choices: list[dict[int, list[bytes]]] = [{b: [] for b in _whole_numbers(tape, i)} for i in indices]
    for k in range(samples):
        executor = RandomExecutor(seed + k, trainer.executor.isa)
        for i in indices:
            executor.run([(tape, 1)], memory, externals(trainer.data), instructions=(i, i + 1), **options(trainer))
            for b, spread in spreads[i].items():
                spread.add(address(memory, tape, b))
            for b, seen in choices[i].items():
                seen.append(bytes(ffi.buffer(address(memory, tape, b, "char *"), _nbytes(tape, b))))
        trainer.model.restore(kept)
    rows = []
    for i in indices:
        rows += [{**_name(tape, i, b), **_bits(spread, tape.buffers[b].shape)} for b, spread in spreads[i].items()]
        rows += [{**_name(tape, i, b), "changed": _changed(seen, tape.buffers[b])} for b, seen in choices[i].items()]
    return rows


def _name(tape: Tape, index: int, buffer: int) -> dict:
    i, b = tape.instructions[index], tape.buffers[buffer]
    return {"instruction": index, "op": i.op, "layer": i.layer, "name": b.name, "size": b.count}


def _bits(spread: Spread, shape: tuple[int, ...]) -> dict:
    found = spread.bits()[1]
    return {**found, "element": list(coordinates(found["element"], shape))}


def _whole_numbers(tape: Tape, index: int) -> list[int]:
    """Outputs that are choices: positions of maxima, classes."""
    i = tape.instructions[index]
    return [a for a in dict.fromkeys(i.args[: i.n_outputs]) if a >= 0 and tape.buffers[a].dtype in ("u8", "i32", "i64")
            and tape.buffers[a].region != "external" and "max" in i.op]


def _nbytes(tape: Tape, buffer: int) -> int:
    b = tape.buffers[buffer]
    return b.count * DTYPES[b.dtype][1]


def _changed(samples: list[bytes], buffer) -> int:
    """Elements that are not the same in all samples."""
    first, differs = int.from_bytes(samples[0], "little"), 0
    for other in samples[1:]:
        differs |= first ^ int.from_bytes(other, "little")
    kind = {1: "B", 4: "I", 8: "Q"}[DTYPES[buffer.dtype][1]]
    return sum(1 for v in memoryview(differs.to_bytes(len(samples[0]), "little")).cast(kind) if v)


def summary(rows: list[dict]) -> list[str]:
    """A step's significant bits as lines of text."""
    lines = [f"  {'#':>3} {'op':18} {'layer':14} {'value':20} {'bits':>6} {'least':>6} {'none':>8} {'unstable':>9}"]
    for r in rows:
        head = f"  {r['instruction']:>3} {r['op'][:18]:18} {r['layer'][:14]:14} {r['name'][:20]:20}"
        if "changed" in r:
            lines.append(f"{head} {'-':>6} {'-':>6} {'-':>8} {r['changed']:>9,}")
        else:
            lines.append(f"{head} {r['mean']:>6.1f} {r['least']:>6.1f} {r['none']:>8,} {r['flips']:>9,}")
    lines.append("  bits: significant ones of 24, mean over the values; none: values without any; unstable: zero in some samples "
                 "only, or another choice")
    return lines
