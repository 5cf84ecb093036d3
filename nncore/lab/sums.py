"""Our kernels that sum, each with the order it is documented to have: what order.py's probe is held against.

    from nncore.lab.sums import SUMS, probed
    found = probed(SUMS["dense_fwd"], 40, math="bf16x3")
    found.holds

Orders: numerics.md R1 to R3 and R11, csrc/ops/gemm.c, conv.c, reduce.c, pool.c; those of the modes of bfloat16, csrc/bf16.h.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import prod

from nncore.errors import UsageError
from nncore.graph import ops
from nncore.graph.node import Node, State
from nncore.graph.plan import MATH_MODES, Layout
from nncore.graph.tape import NARROW, Executor, Memory, compile_tape
from nncore.lab.order import Tree, chain, lanes, pairwise, probe, same

BLOCK, GROUP, CHUNK = 32, 8, 4096  # terms of a block in the modes of bfloat16, images of a chain, elements of a chunk


@dataclass(frozen=True)
class Made:
    """A sum inside a tensor op: term t is element cells[t] of x, the sum is element `at` of y times `scale`."""

    y: Node
    x: State
    cells: Sequence[int]
    at: int
    tree: Tree
    ones: tuple[State, ...] = ()  # the other factor
    scale: float = 1.0


@dataclass(frozen=True)
class Sum:
    """name; text, the order in words in mode f32; make, of (terms asked for, math mode); modes it has orders for."""

    name: str
    text: str
    make: Callable[[int, str], Made]
    modes: Sequence[str] = ("f32",)

    def words(self, math: str) -> str:
        """The order in words."""
        return self.text if math == "f32" else f"blocks of {BLOCK} places, even and odd ones a chain each; {self.text}"


@dataclass(frozen=True)
class Probed:
    """What the probe found of a kernel."""

    name: str
    math: str
    isa: str
    terms: int
    tree: Tree
    documented: Tree = field(repr=False)

    @property
    def holds(self) -> bool:
        """Whether the order found is the documented one."""
        return same(self.tree, self.documented)


def probed(kernel: Sum, terms: int = 40, math: str = "f32", isa: str | None = None) -> Probed:
    """Probe one kernel. terms: how many numbers are to be added, rounded up to what its geometry makes of it.

    Raises UsageError for a mode that the kernel has no order of its own for, IsaError for an instruction set that cannot run.
    """
    if math not in kernel.modes:
        raise UsageError(f"order: {kernel.name} has one order, f32's; {math} is one of products")
    if terms < 1:
        raise UsageError(f"order: {terms} terms; at least 1 is needed")
    made, layout = kernel.make(terms, math), Layout(math=math)
    tape = compile_tape(f"order/{kernel.name}", 1, [], {"y": made.y}, layout)
    memory, executor = Memory(layout), Executor(isa, threads=1)
    for leaf in made.ones:
        memory.tensor(leaf).flat()[:] = array("f", [1.0]) * leaf.size
    x, cells = memory.tensor(made.x).flat(), made.cells

    def run(values: array) -> float:
        if isinstance(cells, range):
            x[cells.start : cells.stop : cells.step] = values
        else:
            for cell, value in zip(cells, values, strict=True):
                x[cell] = value
        executor.run([(tape, 1)], memory, {})
        return memory.output(tape, "y").flat()[made.at] * made.scale

    n = len(cells)
    return Probed(kernel.name, math, executor.isa, n, probe(run, n), made.tree)


# ---- the documented orders ---------------------------------------------------------------------------------------------


def blocks(terms: Sequence[int | None]) -> Tree:
    """csrc/bf16.h: blocks of 32 places, the even and the odd ones a chain each, added, and that to the sum. None: a zero."""
    found = []
    for start in range(0, len(terms), BLOCK):
        halves = [[t for t in terms[k : start + BLOCK : 2] if t is not None] for k in (start, start + 1)]
        if some := [chain(half) for half in halves if half]:
            found.append(tuple(some) if len(some) > 1 else some[0])
    return chain(found)


def _product(n: int, math: str) -> Tree:
    return chain(range(n)) if math == "f32" else blocks(range(n))


def _side(math: str) -> int:
    """Features or channels wide enough for the mode to be taken."""
    return 21 if math == "f32" else NARROW + 1


def _state(name: str, *shape: int) -> State:
    return State(name, shape)


# ---- the kernels -------------------------------------------------------------------------------------------------------


def _dense(n: int, math: str) -> Made:
    n, outputs = max(n, NARROW) if math != "f32" else n, _side(math)
    x, w = _state("x", 5, n), _state("w", n, outputs)
    return Made(ops.dense(x, w, None), x, range(3 * n, 4 * n), 3 * outputs + 17, _product(n, math), (w,))


def _dense_data(n: int, math: str) -> Made:
    n, inputs = max(n, NARROW) if math != "f32" else n, _side(math)
    dy, w = _state("dy", 5, n), _state("w", inputs, n)
    return Made(ops.dense_bwd_data(dy, w), dy, range(3 * n, 4 * n), 3 * inputs + 17, _product(n, math), (w,))


def _dense_weight(n: int, math: str) -> Made:
    side = _side(math)
    x, dy = _state("x", n, side), _state("dy", n, side)
    return Made(ops.dense_bwd_weight(x, dy), x, range(3, n * side, side), 3 * side + 17, _product(n, math), (dy,))


def _conv(n: int, math: str) -> Made:
    channels, outputs = max((n + 8) // 9, 1 if math == "f32" else NARROW), _side(math)
    x, w = _state("x", 1, 5, 5, channels), _state("w", 3, 3, channels, outputs)
    cells = [((1 + r) * 5 + 1 + s) * channels + c for r in range(3) for s in range(3) for c in range(channels)]
    return Made(ops.conv(x, w, None, size=(3, 3)), x, cells, 4 * outputs + 17, _product(9 * channels, math), (w,))


def _conv_data(n: int, math: str) -> Made:
    outputs, channels = max((n + 8) // 9, 1 if math == "f32" else NARROW), _side(math)
    dy, w = _state("dy", 1, 3, 3, outputs), _state("w", 3, 3, channels, outputs)
    cells = [((2 - r) * 3 + 2 - s) * outputs + k for r in range(3) for s in range(3) for k in range(outputs)]
    y = ops.conv_bwd_data(dy, w, None, size=(5, 5))
    return Made(y, dy, cells, (2 * 5 + 2) * channels + 17, _product(9 * outputs, math), (w,))


def _conv_weight(n: int, math: str) -> Made:
    """Images of 3 x 4 outputs under 3 x 3 windows. In planes the places of an image stand in rows of Q + S - 1."""
    images, side, P, Q, R = (n + 11) // 12, _side(math), 3, 4, 3
    x, dy = _state("x", images, P + R - 1, Q + R - 1, side), _state("dy", images, P, Q, side)
    size, pitch = P * Q, Q + R - 1
    places = [f // pitch * Q + f % pitch if f < P * pitch and f % pitch < Q else None
              for f in range((P * pitch + BLOCK - 1) // BLOCK * BLOCK)]
    groups = []
    for start in range(0, images, GROUP):
        group = range(start, min(start + GROUP, images))
        terms: Iterable = (None if f is None else i * size + f for i in group for f in (range(size) if math == "f32" else places))
        groups.append(chain(list(terms)) if math == "f32" else blocks(list(terms)))
    y = ops.conv_bwd_weight(x, dy, window=(R, R))
    return Made(y, dy, range(5, images * size * side, side), (4 * side + 7) * side + 5, pairwise(groups), (x,))


def _sum_rows(n: int, math: str) -> Made:
    x = _state("x", n, 21)
    return Made(ops.sum_rows(x), x, range(17, n * 21, 21), 17, chain(range(n)))


def _sum_all(n: int, math: str) -> Made:
    x = _state("x", n)
    chunks = [lanes(range(k, min(k + CHUNK, n))) for k in range(0, n, CHUNK)]
    return Made(ops.sum_all(x), x, range(n), 0, pairwise(chunks))


def _tree_sum(n: int, math: str) -> Made:
    x = _state("x", n, 21)
    x.shards = n
    return Made(ops.tree_sum(x), x, range(17, n * 21, 21), 17, pairwise(range(n)))


def _avg_pool(n: int, math: str) -> Made:
    rows = 1 << max(0, (n + 7) // 8 - 1).bit_length()  # a power of two, so that the mean times the count is exact
    x = _state("x", 1, rows, 8, 3)
    y = ops.avg_pool(x, window=(rows, 8), stride=(rows, 8), padding=(0, 0))
    return Made(y, x, range(1, prod(x.shape), 3), 1, chain(range(8 * rows)), scale=8.0 * rows)


_MODES = tuple(MATH_MODES)
SUMS = {kernel.name: kernel for kernel in (
    Sum("dense_fwd", "one chain of fused multiply-adds, inputs ascending", _dense, _MODES),
    Sum("dense_bwd_data", "one chain of fused multiply-adds, outputs ascending", _dense_data, _MODES),
    Sum("dense_bwd_weight", "one chain of fused multiply-adds, samples ascending", _dense_weight, _MODES),
    Sum("conv_fwd", "one chain of fused multiply-adds, taps and inputs ascending", _conv, _MODES),
    Sum("conv_bwd_data", "one chain of fused multiply-adds, taps and outputs ascending", _conv_data, _MODES),
    Sum("conv_bwd_weight", "chains over the pixels of eight images, these in pairs", _conv_weight, _MODES),
    Sum("sum_rows", "one chain a column, rows ascending", _sum_rows),
    Sum("sum_all", "sixteen lanes, halved onto each other; chunks of 4096 in pairs", _sum_all),
    Sum("tree_sum", "neighbours in pairs, an odd one out carried up", _tree_sum),
    Sum("avg_pool_fwd", "one chain, taps ascending", _avg_pool),
)}  # fmt: skip
