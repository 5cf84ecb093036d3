"""E7: what lies between the smallest normal number and 0."""

from __future__ import annotations

from array import array

from nncore.errors import UsageError
from nncore.graph import ops
from nncore.graph.formats import Format
from nncore.graph.node import Input
from nncore.graph.plan import Layout
from nncore.graph.tape import Executor, Memory, compile_tape
from nncore.lab.arithmetic import operate
from nncore.lab.experiment import Curve, Picture, Result, Table, exactly, experiment
from nncore.tensor import Tensor

TINY = 2.0**-126


@experiment(
    "gradual-underflow", code="E7", chapter="Range", title="Gradual underflow",
    formula="x != y  <=>  x - y != 0, with subnormal numbers;  the smallest of float32 is 2^-149",
    theory="Below 2^-126 float32 keeps the spacing 2^-149 down to 0, so that the difference of two different numbers is never 0. "
           "A processor told to flush to zero leaves a hole of 2^-126 about 0: halving 1 ends after 127 steps instead of 150, "
           "and 1.5 2^-126 - 2^-126 is 0. Flushing exists because many processors take a hundred cycles for a subnormal operand.",
    source="IEEE 754-2019; Kahan 1981, Why do we need a floating-point arithmetic standard?")
def gradual_underflow(format: str = "fp32", elements: int = 16384) -> Result:
    """Halvings and a difference with and without subnormals, emulated; the time of a product of subnormals on this processor."""
    if elements < 1:
        raise UsageError(f"gradual-underflow: elements={elements}: at least 1")
    kept = Format.named(format)
    flushed, smallest = kept.flushed(), 2.0**kept.emin
    with_subnormals, without = _halvings(kept), _halvings(flushed)
    difference = {name: operate([1.5 * smallest], "-", [smallest], f)[0] for name, f in (("kept", kept), ("flushed", flushed))}
    native = _native_halvings()
    steps = [-kept.emin + kept.precision, -kept.emin + 1]
    findings = [exactly("halvings of 1 until 0", len(with_subnormals), steps[0]),
                exactly("the same, flushed", len(without), steps[1]),
                exactly("1.5 - 1 smallest normal numbers", difference["kept"], smallest / 2),
                exactly("the same, flushed", difference["flushed"], 0.0),
                exactly("halvings of 1 until 0 on this processor, by our kernels", native, 150)]
    normal, subnormal = (_nanoseconds(elements, size) for size in (1.0, 2.0**-140))
    count = [i + 1 for i, x in enumerate(with_subnormals) if x]
    truth = [2.0**-i for i in count]
    return Result(
        findings,
        [Picture("Halving 1", "halvings", "value",
                 [Curve("subnormals", count, [x for x in with_subnormals if x]),
                  Curve("flushed to zero", count[: len(without) - 1], [x for x in without if x]),
                  Curve("2^-i", count, truth, "theory"),
                  Curve("smallest normal number", [1, count[-1]], [smallest] * 2, "bound")],
                 "The last 23 halvings exist only with subnormal numbers.", log_y=True)],
        [Table("A product of two arrays here", ["operands", "ns an element"],
               [["normal", normal], ["subnormal", subnormal], ["times slower", subnormal / normal]])])


def _halvings(f: Format) -> array:
    found, x = array("d"), 1.0
    while x:
        x = operate([x], "*", [0.5], f)[0]
        found.append(x)
    return found


def _product(n: int):
    layout = Layout()
    tape = compile_tape("product", 1, [], {"y": ops.mul(Input("a", (n,), "real", 0), Input("b", (n,), "real", 1))}, layout)
    return tape, Memory(layout)


def _native_halvings() -> int:
    """Halvings of 1 by the kernel of products."""
    tape, memory = _product(1)
    executor, half, x = Executor(threads=1), Tensor((1,), "f32", array("f", [0.5])), array("f", [1.0])
    for count in range(1, 1000):
        executor.run([(tape, 1)], memory, {0: Tensor((1,), "f32", x), 1: half})
        x = array("f", memory.output(tape, "y").flat())
        if not x[0]:
            return count
    return 1000


def _nanoseconds(n: int, size: float) -> float:
    """The shortest time an element of x * 1.5 took, x of that size; the least of several, for others use the machine too."""
    tape, memory = _product(n)
    executor, data = Executor(threads=1), [Tensor((n,), "f32", array("f", [v]) * n) for v in (size, 1.5)]
    best = float("inf")
    for _ in range(7):
        executor.run([(tape, 10)], memory, dict(enumerate(data)), profile=True)
        best = min(best, tape.seconds[0])
    return 1e9 * best / n
