"""Cases of csrc/ops/gemm.c: gamma_K sum |a b| for a chain of K fused multiply-adds (Higham 2002, eq. 3.5)."""

from __future__ import annotations

from nncore.bench.cases import EXACT, SPILL, Bound, Call, Case, data, gamma, given, made

# Around the register tile (rows of 1 to 14, vectors of 16), K blocks, primes, one row, one column, nothing.
SHAPES = ((0, 3, 4), (1, 1, 1), (2, 3, 5), (1, 17, 10), (7, 13, 16), (14, 5, 33), (15, 33, 31), (16, 64, 17),
          (13, 101, 1), (5, 257, 7), (29, 19, 65), (6, 0, 5))  # fmt: skip
BENCH = ((128, 784, 256), (128, 256, 10), (1, 784, 256))


def _absolute_product(a, b, M, N, K, a_at, b_at):
    """sum_k |a_mk b_kn| of every output."""
    rows = [[abs(a[a_at(m, k)]) for k in range(K)] for m in range(M)]
    columns = [[abs(b[b_at(k, n)]) for k in range(K)] for n in range(N)]
    return [sum(x * y for x, y in zip(r, c, strict=True)) for r in rows for c in columns]


def _fwd(bias):
    def make(size, kind, rng) -> Call:
        N, I, O = size
        b = given(data(O, kind, rng)) if bias else None
        return Call([made(N * O), given(data(N * I, kind, rng)), given(data(I * O, kind, rng)), b], (*size, -1))

    return make


def _fwd_bound(call, exact):
    N, I, O, _ = call.dims
    sums = _absolute_product(call.values(1), call.values(2), N, O, I, lambda n, i: n * I + i, lambda i, o: i * O + o)
    return [[gamma(I) * s + I * SPILL + 1.01 * abs(y) for s, y in zip(sums, exact[0], strict=True)]]


def _bwd_data(size, kind, rng) -> Call:
    N, I, O = size
    return Call([made(N * I), given(data(N * O, kind, rng)), given(data(I * O, kind, rng))], size)


def _bwd_data_bound(call, exact):
    N, I, O = call.dims
    sums = _absolute_product(call.values(1), call.values(2), N, I, O, lambda n, o: n * O + o, lambda o, i: i * O + o)
    return [[gamma(O) * s + O * SPILL for s in sums]]


def _bwd_weight(size, kind, rng) -> Call:
    N, I, O, shards = size
    return Call([made(shards * I * O), given(data(N * I, kind, rng)), given(data(N * O, kind, rng))], size)


def _bwd_weight_bound(call, exact):
    N, I, O, shards = call.dims
    K, out = N // shards, []
    for s in range(shards):
        x, dy = call.values(1)[s * K * I :], call.values(2)[s * K * O :]
        sums = _absolute_product(x, dy, I, O, K, lambda i, n: n * I + i, lambda n, o: n * O + o)
        out += [gamma(K) * v + K * SPILL for v in sums]
    return [out]


def _product(N, I, O, *_):
    return 2 * N * I * O


CHAIN = "gamma_K sum |a b|, and u |y| for the bias"
SHARDED = tuple((n * s, i, o, s) for (n, i, o), s in zip(SHAPES, (1, 1, 2, 1, 3, 1, 1, 2, 1, 1, 4, 1), strict=True))
CASES = [
    Case("dense_fwd", _fwd(True), SHAPES, Bound(CHAIN, _fwd_bound), flop=_product, bench=BENCH),
    Case("dense_fwd", _fwd(False), SHAPES, Bound(CHAIN, _fwd_bound), flop=_product, variant="no-bias"),
    Case("dense_fwd", _fwd(True), ((31, 700, 40),), EXACT, kinds=("integer",), special=False, flop=_product,
         variant="integer"),
    Case("dense_bwd_data", _bwd_data, SHAPES, Bound(CHAIN, _bwd_data_bound), flop=_product, bench=BENCH[:2]),
    Case("dense_bwd_data", _bwd_data, ((31, 40, 700),), EXACT, kinds=("integer",), special=False, flop=_product,
         variant="integer"),
    Case("dense_bwd_weight", _bwd_weight, SHARDED, Bound(CHAIN, _bwd_weight_bound), flop=_product,
         bench=((128, 784, 256, 1), (128, 256, 10, 1))),
    Case("dense_bwd_weight", _bwd_weight, ((700, 31, 40, 1),), EXACT, kinds=("integer",), special=False, flop=_product,
         variant="integer"),
]  # fmt: skip
