"""Cases of csrc/ops/reduce.c. Bounds: gamma_k sum |terms|, k the additions one term goes through (Higham 2002, 4.2)."""

from __future__ import annotations

from nncore.bench.cases import EXACT, SPILL, Bound, Call, Case, data, gamma, given, made, steps16

COUNTS = (0, 1, 2, 15, 16, 17, 31, 33, 100, 257, 4095, 4096, 4097, 12_293, 20_481)
SHARDED = ((1, 1), (2, 2), (20, 4), (99, 3), (8194, 2), (12_300, 3), (40_970, 2))
MANY = ((5 * 4096 + 7, 1), (7 * 4096 * 3, 3), (11 * 4096 + 1, 1))  # trees with odd ones out
ROUNDS = (200_000, 200_000)  # more partial sums than the shared memory holds: two rounds, the second a long one
MILLION = ((1_000_000, 1),)


def _columns(size, kind, rng) -> Call:
    N, C, shards = size
    return Call([made(shards * C), given(data(N * C, kind, rng))], size)


def _sum_rows(call, exact):
    N, C, shards = call.dims
    rows, x = N // shards, call.values(1)
    columns = [x[s * rows * C + j : (s + 1) * rows * C : C] for s in range(shards) for j in range(C)]
    return [[gamma(rows) * sum(map(abs, column)) for column in columns]]


def _all(scale):
    def make(size, kind, rng) -> Call:
        n, shards = size
        return Call([made(shards), given(data(n, kind, rng))], size, (scale,))

    return make


def _single(scale):
    def make(size, kind, rng) -> Call:
        return Call([made(1), given(data(size[0], kind, rng))], size, (scale,))

    return make


def _scalar_sum(f, steps, underflow=0.0):
    """gamma over the additions, the scale's rounding and its product; a square adds its own roundings in `steps`."""

    def of(call, exact):
        shards = call.args[0].count
        n, x = call.dims[0] // shards, call.values(1)
        size = [sum(f(v) for v in x[s * n : (s + 1) * n]) for s in range(shards)]
        return [[abs(call.scalars[0]) * (gamma(steps(n) + 2) * total + n * underflow) for total in size]]

    return of


def _tree(size, kind, rng) -> Call:
    n, shards = size
    return Call([made(n), given(data(n * shards, kind, rng))], size)


def _tree_sum(call, exact):
    n, shards = call.dims
    x = call.values(1)
    return [[gamma((shards - 1).bit_length()) * sum(map(abs, x[i::n])) for i in range(n)]]


def _naive(n):
    return n


def _square_naive(n):
    return n + 1


LANES = "16 lanes, chunks of 4096 pairwise, the scale and its product"
PLAIN = "one chain of additions, the scale and its product"
ROW_SHAPES = ((0, 5, 1), (1, 1, 1), (3, 10, 1), (7, 16, 1), (8, 33, 2), (12, 101, 3), (128, 10, 1), (5, 257, 1),
              (64, 67, 4), (3, 0, 1))  # fmt: skip
TREES = ((0, 2), (1, 1), (7, 2), (16, 3), (33, 4), (101, 5), (257, 7), (65, 8), (19, 13))


def _square(v):
    return v * v


CASES = [
    Case("sum_rows", _columns, ROW_SHAPES, Bound("one chain of additions a column", _sum_rows),
         flop=lambda N, C, shards: N * C, bench=((128, 256, 1), (128, 10, 1), (128, 784, 1))),
    Case("sum_all", _all(0.1), tuple((n, 1) for n in COUNTS) + SHARDED, Bound(LANES, _scalar_sum(abs, steps16)),
         naive=Bound(PLAIN, _scalar_sum(abs, _naive)), flop=lambda n, shards: n, bench=((128, 1), *MILLION)),
    Case("sum_all", _all(1.0), (*MANY, ROUNDS), EXACT, kinds=("integer",), special=False, variant="integer"),
    Case("sum_squares", _single(0.5), tuple((n,) for n in COUNTS), Bound(LANES, _scalar_sum(_square, steps16, SPILL)),
         naive=Bound(PLAIN, _scalar_sum(_square, _square_naive, SPILL)), flop=lambda n: 2 * n, bench=((200_704,),)),
    Case("sum_squares", _single(1.0), tuple((n,) for n, _ in MANY), EXACT, kinds=("integer",), special=False,
         variant="integer"),
    Case("sum_abs", _single(0.3), tuple((n,) for n in COUNTS), Bound(LANES, _scalar_sum(abs, steps16)),
         naive=Bound(PLAIN, _scalar_sum(abs, _naive)), flop=lambda n: 2 * n, bench=((200_704,),)),
    Case("sum_abs", _single(1.0), tuple((n,) for n, _ in MANY), EXACT, kinds=("integer",), special=False,
         variant="integer"),
    Case("tree_sum", _tree, TREES, Bound("a tree of ceil(log2 shards) additions", _tree_sum), alias=((0, 1),),
         flop=lambda n, shards: n * (shards - 1), bench=((200_704, 4),)),
]  # fmt: skip
