"""Time every op of nncore.bench.cases: a tape of one instruction, many steps in one call, on random data.

Ops are run at the sizes their cases name in ``bench``; the dense ops besides at the matrix products below, in all three
forms. The executor's two barriers a step (0.6 us on two threads) are in the figures, as they are in training.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

from nncore._ffi import lib
from nncore.bench.cases import Arg, Call, Case, collect, conv, exact_cases
from nncore.bench.limits import Probe
from nncore.graph.plan import MATH_MODES, Layout
from nncore.graph.tape import PARALLEL_FLOP, Buffer, Executor, Instruction, Memory, Position, Tape
from nncore.tensor import Tensor

# M x K x N; forward is nn, the weights' gradient tn, the data's gradient nt.
PRODUCTS = ((64, 64, 64), (128, 128, 128), (256, 256, 256), (512, 512, 512), (1024, 1024, 1024), (32, 784, 128),
            (128, 784, 128), (128, 784, 256), (128, 784, 512), (128, 256, 10), (128, 512, 10))  # fmt: skip
_FORMS = {"dense_fwd": "nn", "dense_bwd_weight": "tn", "dense_bwd_data": "nt"}
BY_PEAK = {*_FORMS, "conv_fwd", "conv_bwd_data", "conv_bwd_weight"}


def cases(text: str = "") -> Iterator[tuple[Case, tuple[int, ...]]]:
    """(case, size) of all that is timed and has `text` in its name or shape."""
    for case in [*collect(), *exact_cases()]:
        sizes = list(case.bench)
        if case.name in _FORMS:
            sizes += [s for s in map(lambda p, op=case.op: _dense_size(op, *p), PRODUCTS) if s not in sizes]
        for size in sizes:
            if text in f"{title(case)} {shape(case, size)}":
                yield case, size


def title(case: Case) -> str:
    """The op, and for a product its form."""
    return f"{case.name} {_FORMS[case.op]}" if case.op in _FORMS else case.name


def shape(case: Case, size: tuple[int, ...]) -> str:
    """Sizes as text; a product's are M x K x N of the multiplication that is done."""
    if case.op.startswith("conv_"):
        return conv.title(size)
    if case.op == "dense_bwd_weight":
        size = (size[1], size[0] // size[3], size[2])
    if case.op == "dense_bwd_data":
        size = (size[0], size[2], size[1])
    return "x".join(map(str, size))


def _dense_size(op: str, m: int, k: int, n: int) -> tuple[int, ...]:
    """Size of the case whose product is that of dense_fwd (batch m, k inputs, n outputs)."""
    return (m, k, n, 1) if op == "dense_bwd_weight" else (m, k, n)


@dataclass(frozen=True)
class Machine:
    """What an op is run on, where no probe is needed: a level (None: the best) and threads."""

    isa: str | None
    threads: int


class Bench:
    """A tape of one instruction over memory of its own, to be run many times."""

    def __init__(self, op: str, call: Call, probe: Probe | Machine, real: str = "f32", math: str = "f32"):
        present = [(i, a, _tensor(a, real)) for i, a in enumerate(call.args) if a]
        slots = {i: slot for slot, (i, _, _) in enumerate(present)}
        buffers = [Buffer(str(i), "external", a.dtype, slots[i], (a.count,), a.count) for i, a, _ in present]
        # Enough FLOP to be worth a team: the threads that were asked for are what is measured.
        instruction = Instruction(op, "", "", tuple(slots.get(i, -1) for i in range(len(call.args))), len(call.outputs),
                                  dims_in(math, call.dims), call.scalars, PARALLEL_FLOP)
        self.tape = Tape(op, 1, real, buffers, [instruction], {"param": 0, "state": 0, "work": 0}, {})
        self.externals = {slots[i]: t for i, _, t in present}
        self.fresh = [(t, t.tobytes()) for _, a, t in present if a.role == "inout"]
        self.written = [self.externals[slots[i]] for i in call.outputs]
        self.memory, self.executor, self.run = Memory(Layout(real)), Executor(probe.isa, probe.threads), call.run

    def seconds(self, steps: int) -> float:
        """Seconds of one step, the mean of so many."""
        for tensor, content in self.fresh:  # what is updated does not drift away over the rounds
            tensor.memory[:] = content
        r = self.run
        position = Position(r.get("step", 0), r.get("epoch", 0), r.get("cursor", 0))
        begin = time.perf_counter()
        # A part of a step, though it is all of it: the position stays where the case wants it.
        self.executor.run([(self.tape, steps)], self.memory, self.externals, position, seed=r.get("seed", 0),
                          n_samples=r.get("n_samples", 0), shuffle=bool(r.get("flags", 0) & lib.NN_RUN_SHUFFLE),
                          instructions=(0, 1))
        return (time.perf_counter() - begin) / steps

    def outputs(self) -> list[memoryview]:
        """What one step writes, in the order of the call's outputs."""
        self.seconds(1)
        return [t.flat() for t in self.written]


def dims_in(math: str, dims: tuple[int, ...]) -> tuple[int, ...]:
    """The sizes of a product as its instruction states them in a math mode: all but f32 say how many planes of bfloat16."""
    return dims if math == "f32" else (*dims, MATH_MODES[math])


def _tensor(a: Arg, real: str) -> Tensor:
    found = Tensor((a.count,), real if a.dtype == "real" else a.dtype)
    if a.values is not None:
        found.memory[:] = a.array(real).tobytes()
    return found


def limit(case: Case, size: tuple[int, ...], probe: Probe, math: str = "f32") -> tuple[float, Callable[[], float]] | None:
    """What bounds a case from above, if a probe measures it: how much of it a call needs, and how much this machine does in a
    nanosecond. FMAs of float32 for a product, its products on tiles in another math mode, words of Philox for what draws
    numbers."""
    if case.words:
        return case.words(*size), probe.words
    peak = probe.products(math) if case.op in BY_PEAK else None
    return (case.flop(*size), peak) if peak else None


def steps_for(bench: Bench, seconds: float) -> int:
    """Steps that take about so long."""
    once = min(bench.seconds(1) for _ in range(2))
    if once < seconds / 30:
        once = min(once, *(bench.seconds(n) for n in (3, 3, 30)))
    return max(1, int(seconds / once))


def measure(case: Case, size: tuple[int, ...], call: Call, probe: Probe, seconds: float, rounds: int) -> dict:
    """One row of the result: medians over rounds, each between two peak probes. `call` is the case's for this size."""
    bench = Bench(case.op, call, probe)
    steps = steps_for(bench, seconds)
    work, peak = limit(case, size, probe) or (None, probe.peak)
    taken, shares, before = [], [], peak()
    for _ in range(rounds):
        taken.append(bench.seconds(steps))
        after = peak()
        shares.append((work or 0) / taken[-1] * 1e-9 / ((before + after) / 2))
        before = after
    middle, flop = median(taken), case.flop(*size)
    return row(title(case), shape(case, size), probe, middle, flop / middle * 1e-9, call.nbytes / middle * 1e-9,
               median(shares) if work else None) | {"rounds": taken}


def row(case: str, shape: str, probe: Probe, seconds: float | None, gflops: float | None, gbytes: float | None,
        share: float | None, math: str = "f32") -> dict:
    """A case as it stands in the JSON; `peers` are other packages' figures (duel.py)."""
    return {"case": case, "shape": shape, "threads": probe.threads, "math": math, "isa": probe.isa, "seconds": seconds,
            "gflops": gflops, "gbytes_per_s": gbytes, "share_of_peak": share, "group": None, "error": None,
            "others": None, "rounds": [], "peers": []}
