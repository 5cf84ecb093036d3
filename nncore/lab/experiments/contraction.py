"""E6: one rounding or two."""

from __future__ import annotations

from math import sqrt

from nncore.errors import UsageError
from nncore.graph import ops
from nncore.graph.node import Input
from nncore.graph.plan import Layout
from nncore.graph.tape import Executor, Memory, compile_tape
from nncore.lab.arithmetic import dot, random_numbers
from nncore.lab.experiment import Curve, Picture, Result, at_least, exactly, experiment, rms
from nncore.tensor import Tensor

U = 2.0**-24


@experiment(
    "contraction", code="E6", chapter="Sums", title="A fused multiply-add is another function",
    formula="fma(x, x, -fl(x x)) = x x - fl(x x);  with two roundings it is 0",
    theory="x = 1 + 2^-12 has the square 1 + 2^-11 + 2^-24, which float32 rounds to 1 + 2^-11: the fused operation finds the "
           "2^-24 that the product lost, two operations find nothing. A compiler that contracts a b + c on one machine and not "
           "on another gives two results of one program; gcc does by default, -ffp-contract=off forbids it. Our kernels say fma "
           "where they mean it: an output of a dense layer is one chain of them, bit for bit.",
    source="IEEE 754-2019, 5.4.1; Boldo and Muller 2011")
def contraction(k: int = 517, rows: int = 16, columns: int = 24) -> Result:
    """The lost part of a square, and products (rows, k) (k, columns) fused, in two roundings, and by our dense kernel."""
    if min(k, rows, columns) < 1:
        raise UsageError(f"contraction: sizes {rows}, {k}, {columns}: all must be at least 1")
    x = 1 + 2.0**-12
    fused, twice = dot([-1.0, x], [1 + 2.0**-11, x], "fma"), dot([-1.0, x], [1 + 2.0**-11, x], "naive")
    a = [random_numbers(k, "normal", seed=1, index=i) for i in range(rows)]
    b = [random_numbers(k, "normal", seed=2, index=j) for j in range(columns)]
    pairs = [(p, q) for p in a for q in b]
    chain, plain = [dot(p, q, "fma") for p, q in pairs], [dot(p, q, "naive") for p, q in pairs]
    kernel = _dense(a, b)
    lengths = sorted({max(1, k * i // 16) for i in range(1, 17)})
    errors = {"fused": [], "two roundings": []}
    for n in lengths:
        for name, method in (("fused", "fma"), ("two roundings", "naive")):
            some = [(p[:n], q[:n]) for p, q in pairs[:60]]
            errors[name].append(rms([dot(p, q, method) - dot(p, q, "exact", "fp64") for p, q in some]) / U)
    # partial sums of N(0, 1) products have the size sqrt(i); rms of each rounding is 0.41 u of that, evenly over an octave
    theory = [0.41 * sqrt(n * (n + 1) / 2) for n in lengths]
    return Result(
        [exactly("x x - fl(x x), fused", fused, 2.0**-24), exactly("the same with two roundings", twice, 0.0),
         exactly(f"outputs of the dense kernel that differ from a chain of fma, of {len(chain)}",
                 sum(p != q for p, q in zip(chain, kernel, strict=True)), 0),
         at_least("outputs that differ if products are rounded first, %",
                  100 * sum(p != q for p, q in zip(chain, plain, strict=True)) / len(chain), 50)],
        [Picture("Error of a dot product of N(0, 1)", "terms", "rms error in u",
                 [*(Curve(name, lengths, e) for name, e in errors.items()), Curve("0.41 n / sqrt(2)", lengths, theory, "theory")],
                 "The two are equally good and seldom equal.", log_x=True, log_y=True)])


def _dense(a, b) -> list[float]:
    """Every row of a times every one of b, by the kernel of dense layers."""
    m, n, k = len(a), len(b), len(a[0])
    x, w, layout = Input("x", (m, k), "real", 0), Input("w", (k, n), "real", 1), Layout()
    tape, memory = compile_tape("product", 1, [], {"y": ops.dense(x, w, None)}, layout), Memory(layout)
    left, right = Tensor((m, k), "f32"), Tensor((k, n), "f32")
    for i, row in enumerate(a):
        left.flat()[i * k : (i + 1) * k] = row
    for j, column in enumerate(b):
        right.flat()[j::n] = column
    Executor(threads=1).run([(tape, 1)], memory, {0: left, 1: right})
    return list(memory.output(tape, "y").flat())
