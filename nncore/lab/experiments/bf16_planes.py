"""E10: floats as sums of bfloat16, and the math modes made of them."""

from __future__ import annotations

from array import array

from nncore.errors import UsageError
from nncore.graph import ops
from nncore.graph.node import Input
from nncore.graph.plan import MATH_MODES, Layout
from nncore.graph.tape import NARROW, Executor, Memory, compile_tape
from nncore.lab.arithmetic import dot, doubles, floats, operate, random_numbers, rounded
from nncore.lab.experiment import Curve, Picture, Result, Table, at_most, exactly, experiment, rms, within
from nncore.tensor import Tensor

SIDE = NARROW  # of the product: what is narrower stays in f32


@experiment(
    "bf16-planes", code="E10", chapter="Low precision", title="Products of one, two and three bfloat16 planes",
    formula="x = x1 + x2 + x3, x1 = bf16(x), x2 = bf16(x - x1), x3 = the rest;  bf16: x1 y1;  bf16x3: + x1 y2 + x2 y1;  bf16x6: "
            "+ x2 y2 + x1 y3 + x3 y1",
    theory="Three significands of 8 bits hold the 24 of a float, so the split is exact unless the last one underflows. Of nine "
           "products six are above 2^-24 of the first. Each product of two bfloat16 is exact in float32, and sums of blocks are "
           "shorter chains than that of f32: six planes are better than f32 itself, three a few times worse, one has 8 bits.",
    source="Henry, Tang and Heinecke 2019, arXiv 1904.06376")
def bf16_planes(k: tuple[int, ...] = (64, 256, 1024), seed: int = 1) -> Result:
    """Products of N(0, 1) with inner length k in every math mode, against exact dot products; and the splits themselves."""
    if min(k) < NARROW:
        raise UsageError(f"bf16-planes: k={k}: products narrower than {NARROW} are computed in f32")
    errors = {mode: [] for mode in MATH_MODES}
    for i, length in enumerate(k):
        x, w = (random_numbers(SIDE * length, "normal", seed=seed, index=2 * i + j) for j in (0, 1))
        sizes, exact = _exact(x, w, length)
        for mode, found in errors.items():
            found.append(rms([(y - e) / s for y, e, s in zip(_product(x, w, length, mode), exact, sizes, strict=True)]))
    last = {mode: found[-1] for mode, found in errors.items()}
    values = random_numbers(100_000, "normal", seed=seed, index=100)
    u8, u24 = 2.0**-8, 2.0**-24
    return Result(
        [exactly("floats N(0, 1) that three planes do not hold exactly", _inexact(values), 0),
         at_most("bf16x6: rms error over that of f32", last["bf16x6"] / last["f32"], 1.0),
         within("f32: rms error relative to |x|'|y|", last["f32"], 1.5e-8, 6e-8),
         within("bf16x3: the same", last["bf16x3"], 1.2e-7, 4.6e-7), within("bf16: the same", last["bf16"], 5.5e-5, 2.2e-4)],
        [Picture("Error of a product by math mode", "inner length k", "rms error relative to |x|'|y|",
                 [*(Curve(mode, k, found) for mode, found in errors.items()),
                  Curve("2^-8 / sqrt(k)", k, [u8 / n**0.5 for n in k], "theory"),
                  Curve("2^-24", [k[0], k[-1]], [u24, u24], "bound")],
                 "A second and third plane buy eight bits each, until float32's own sums are what is left.",
                 log_x=True, log_y=True)],
        [Table(f"rms errors relative to |x|'|y|, k = {k[-1]}", ["mode", "products", "error"],
               [[mode, {0: 1, 1: 1, 2: 3, 3: 6}[MATH_MODES[mode]], e] for mode, e in last.items()])])


def _product(x: array, w: array, k: int, mode: str) -> list[float]:
    """(SIDE, k) times (k, SIDE), w given by columns, by the dense kernel in a math mode."""
    layout = Layout(math=mode)
    left, right = Input("x", (SIDE, k), "real", 0), Input("w", (k, SIDE), "real", 1)
    tape, memory = compile_tape("product", 1, [], {"y": ops.dense(left, right, None)}, layout), Memory(layout)
    by_rows = array("f", w)
    for j in range(SIDE):
        by_rows[j::SIDE] = w[j * k : (j + 1) * k]
    Executor(threads=1).run([(tape, 1)], memory, {0: Tensor((SIDE, k), "f32", x), 1: Tensor((k, SIDE), "f32", by_rows)})
    return list(memory.output(tape, "y").flat())


def _exact(x: array, w: array, k: int) -> tuple[list[float], list[float]]:
    """(sum |x y|, sum x y) of every output, exact."""
    rows = [x[i * k : (i + 1) * k] for i in range(SIDE)]
    columns = [w[j * k : (j + 1) * k] for j in range(SIDE)]
    absolute = [[floats(map(abs, v)) for v in some] for some in (rows, columns)]
    sizes = [dot(a, b, "exact", "fp64") for a in absolute[0] for b in absolute[1]]
    return sizes, [dot(a, b, "exact", "fp64") for a in rows for b in columns]


def _inexact(values: array) -> int:
    """How many floats are not the sum of their three planes."""
    rest, total = doubles(values), doubles([0.0]) * len(values)
    for _ in range(3):
        plane = rounded(rest, "bf16")
        rest, total = operate(rest, "-", plane, "fp64"), operate(total, "+", plane, "fp64")
    return sum(a != b for a, b in zip(total, values, strict=True))
