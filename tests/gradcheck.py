"""Gradients against central differences on the float64 twin, signed, per coordinate.

Bound (architecture.md): |numeric - analytic| <= 1e-7 |analytic| + 1e-9 max(1, |L|). With h = 2^-18 max(1, |x|) the truncation
error is h^2/6 |f'''| ~ 2.4e-12 |f'''| and the rounding error u |L| / h ~ 3e-11 |L|, both well inside (Higham 2002, section 1.14).
"""

import random

from nncore.graph import ops
from nncore.graph.autodiff import gradients
from nncore.graph.node import Node, Parameter, State
from nncore.graph.plan import Layout
from nncore.graph.tape import Executor, Memory, compile_tape

STEP = 2.0**-18


def parameter(name: str, *shape: int) -> Parameter:
    """A leaf to differentiate by; its values are set by hand."""
    return Parameter(name, shape, init=lambda w: None)


def weighted_sum(y: Node, memory_values: dict, seed: int = 7) -> Node:
    """A scalar that looks at every element of y differently: sum_i r_i y_i."""
    r = State("r", y.shape)
    rng = random.Random(seed)
    memory_values[r] = [rng.uniform(0.5, 1.5) * rng.choice((-1, 1)) for _ in range(r.size)]
    return ops.sum_all(ops.mul(y, r))


def run_values(effects, outputs: dict, values: dict, externals=None, threads: int = 1, isa=None, real="f64", **options):
    """Compile, fill leaves, run once; returns (tape, memory, executor, rerun)."""
    layout = Layout(real)
    tape = compile_tape("check", options.pop("batch", 1), effects, outputs, layout)
    memory = Memory(layout)
    memory.reserve(tape.nbytes)
    for leaf, data in values.items():
        if leaf.name in layout.leaves:
            fill(memory, leaf, data)
    executor = Executor(isa, threads)
    def rerun():
        executor.run([(tape, 1)], memory, externals or {}, **options)
        return {key: flat(memory.output(tape, key)) for key in outputs}
    return tape, memory, rerun


def flat(t) -> list[float]:
    """All elements in C order."""
    from nncore.tensor import DTYPES

    return list(memoryview(t.tobytes()).cast(DTYPES[t.dtype][2]))


def fill(memory: Memory, leaf, data) -> None:
    """Set a leaf's values from a flat list."""
    from array import array

    from nncore._ffi import ffi
    from nncore.tensor import DTYPES

    t = memory.tensor(leaf)
    raw = array(DTYPES[t.dtype][2], data).tobytes()
    assert len(raw) == t.nbytes
    ffi.memmove(t.pointer, raw, len(raw))


def check(loss: Node, values: dict[Parameter | State, list[float]], wrt=None, externals=None, **options) -> int:
    """Compare every coordinate of every parameter; returns how many were compared."""
    wrt = wrt or [leaf for leaf in values if isinstance(leaf, Parameter)]
    grads = gradients(loss, wrt)
    outputs = {"loss": loss, **{f"d{w.name}": g for w, g in grads.items()}}
    _, memory, rerun = run_values([], outputs, values, externals, **options)
    analytic = rerun()
    base = analytic["loss"][0]
    compared = 0
    for w in wrt:
        for i, x in enumerate(values[w]):
            h = STEP * max(1.0, abs(x))
            found = []
            for moved in (x + h, x - h):
                fill(memory, w, [*values[w][:i], moved, *values[w][i + 1 :]])
                found.append((rerun()["loss"][0], moved))
            fill(memory, w, values[w])
            numeric = (found[0][0] - found[1][0]) / (found[0][1] - found[1][1])
            expected = analytic[f"d{w.name}"][i] if f"d{w.name}" in analytic else 0.0
            assert abs(numeric - expected) <= 1e-7 * abs(expected) + 1e-9 * max(1.0, abs(base)), (w.name, i, numeric, expected)
            compared += 1
    return compared
