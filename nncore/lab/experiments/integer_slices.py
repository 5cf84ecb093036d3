"""E11: products of integers, which have no order."""

from __future__ import annotations

from array import array

from nncore.errors import UsageError
from nncore.graph import ops
from nncore.graph.node import Input
from nncore.graph.plan import Layout
from nncore.graph.tape import Executor, Memory, Position, compile_tape
from nncore.lab.arithmetic import dot, doubles, floats, operate, random_numbers, rounded
from nncore.lab.experiment import Curve, Picture, Result, at_least, exactly, experiment, within
from nncore.tensor import Tensor

BITS = 7  # of a slice: the integers -127 to 127
KNOWN = {2: 7.5e-5, 3: 7.5e-7, 4: 4.4e-9}  # slices: largest error relative to the sum of |x y|
LONGEST = 1 << 10  # terms: 127^2 times as many stay below 2^24, where float32 holds every integer


@experiment(
    "integer-slices", code="E11", chapter="Sums", title="Order-free products from int8 slices",
    formula="x = 2^e (q1 + 2^-7 q2 + 2^-14 q3 + ...), q integers of 7 bits;  x y = sum of 2^(..) q_i r_j over i + j <= slices + "
            "1",
    theory="Sums of integers are exact while they fit, so every order of them gives the same bits; the slices are then put "
           "together in float64 in one written order. Each slice brings 7 bits, cut off, not rounded; the products left out are "
           "as small as the last slice kept. The integer products run on our float32 kernel: 1024 times 127^2 stays below 2^24.",
    source="Ozaki et al. 2012; Ootomo, Ozaki and Yokota 2024, arXiv 2409.13313")
def integer_slices(k: int = 1024, side: int = 8, orders: int = 1000, seed: int = 1) -> Result:
    """Products of N(0, 1), (side, k) (k, side), from 2, 3 and 4 slices; then in `orders` permutations of k, on 1 to 3 threads."""
    if not 2 <= k <= LONGEST or side < 1 or orders < 1:
        raise UsageError(f"integer-slices: k={k}, side={side}, orders={orders}: 2 to {LONGEST} terms, whose sums float32 holds")
    x, y = ([random_numbers(k, "normal", seed=seed, index=m * side + i) for i in range(side)] for m in (0, 1))
    left, right = [_sliced(v) for v in x], [_sliced(v) for v in y]
    exact = [dot(a, b, "exact", "fp64") for a in x for b in y]
    sizes = [dot(floats(map(abs, a)), floats(map(abs, b)), "exact", "fp64") for a in x for b in y]
    sliced = _Shuffled([q for slices, _ in left for q in slices], [q for slices, _ in right for q in slices], k)
    plain = _Shuffled(x, y, k)
    scales = [[e for _, e in some] for some in (left, right)]
    errors = {}
    for slices in KNOWN:
        found = _combined(sliced.run(0), slices, scales)
        errors[slices] = max(abs(a - b) / s for a, b, s in zip(found, exact, sizes, strict=True))
    results = {sliced.run(order, seed).tobytes() for order in range(orders)}
    threads = {sliced.run(0, seed, threads).tobytes() for threads in (1, 2, 3)}
    floating = {plain.run(order, seed).tobytes() for order in range(orders)}
    n = list(KNOWN)
    return Result(
        [exactly(f"different results of {orders} permutations, by integers", len(results), 1),
         exactly("different results on 1, 2 and 3 threads, by integers", len(threads | results), 1),
         at_least("different results of the permutations, in float32", len(floating), orders // 2),
         *(within(f"{s} slices: largest error relative to |x|'|y|", errors[s], e / 2, e * 2) for s, e in KNOWN.items())],
        [Picture(f"Error by slices, k = {k}", "slices of 7 bits", "largest error relative to |x|'|y|",
                 [Curve("measured", n, [errors[s] for s in n]),
                  Curve("2^-(7 s)", n, [2.0 ** (-BITS * s) for s in n], "theory"),
                  Curve("float32's u", [n[0], n[-1]], [2.0**-24] * 2, "bound")],
                 "Seven bits a slice, and no order to agree upon.", log_y=True)])


def _sliced(x: array, rounding: str = "zero") -> tuple[list[array], int]:
    """Four slices of 7 bits as floats, and the exponent e of the first: x = 2^e (q1 + 2^-7 q2 + ...)."""
    e = -BITS
    while max(map(abs, x)) >= 127 * 2.0**e:
        e += 1
    rest, slices = operate(x, "*", [2.0**-e] * len(x), "fp64"), []
    for _ in range(max(KNOWN)):
        q = rounded(rest, "int8", rounding)
        slices.append(floats(q))
        rest = operate(operate(rest, "-", q, "fp64"), "*", [2.0**BITS] * len(x), "fp64")
    return slices, e


class _Shuffled:
    """x y' of vectors of length k, (m, k) and (n, k), the k places in an order of the shuffle's: one tape, run at will."""

    def __init__(self, x: list[array], y: list[array], k: int):
        self.k, layout = k, Layout()
        mean, scale = Input("mean", (1,), "real", 2), Input("scale", (1,), "real", 3)
        some = [ops.gather_f32(Input(name, (k, len(v)), "f32", i), None, mean, scale, shape=(k, len(v)))
                for i, (name, v) in enumerate((("x", x), ("y", y)))]
        self.tape, self.memory = compile_tape("product", k, [], {"z": ops.dense_bwd_weight(*some)}, layout), Memory(layout)
        self.data = {0: self._columns(x), 1: self._columns(y), 2: Tensor((1,), "f32", floats([0.0])),
                     3: Tensor((1,), "f32", floats([1.0]))}

    def _columns(self, vectors: list[array]) -> Tensor:
        t = Tensor((self.k, len(vectors)), "f32")
        for i, v in enumerate(vectors):
            t.flat()[i :: len(vectors)] = v
        return t

    def run(self, order: int, seed: int = 0, threads: int = 1) -> array:
        executor, place = Executor(threads=threads), Position(epoch=order)
        executor.run([(self.tape, 1)], self.memory, self.data, place, seed=seed, n_samples=self.k, shuffle=True)
        return array("f", self.memory.output(self.tape, "z").flat())


def _combined(z: array, slices: int, scales: list[list[int]]) -> list[float]:
    """Every output from its integer products, the smallest added first, in float64."""
    most, (left, right) = max(KNOWN), scales
    pairs = sorted(((i, j) for i in range(slices) for j in range(slices) if i + j < slices), key=lambda p: (-sum(p), p))
    row, found = most * len(right), []
    for m, e in enumerate(left):
        for n, f in enumerate(right):
            total = doubles([0.0])
            for i, j in pairs:
                term = [z[(most * m + i) * row + most * n + j] * 2.0 ** (e + f - BITS * (i + j))]
                total = operate(total, "+", term, "fp64")
            found.append(total[0])
    return found
