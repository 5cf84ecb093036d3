"""nn_gemm and the dense ops: the ladder of trust of anchors.md 2.9 for the one routine the project stands on.

Bounds: with one rounding a term, |c - exact| <= gamma_K sum_k |a b| (Higham 2002, eq. 3.5); the rms error of random data
is far below it, 0.3 sqrt(K) u |A||B| (numerics.md, section 4). Equality of bits needs no bound: one chain, k ascending.
"""

from __future__ import annotations

import ctypes
import itertools
import platform

import numpy as np
import pytest

from nncore._ffi import ffi
from nncore.bench.cases import Call, collect, given, made
from tests.harness import LEVELS, have, isa, kernels, lib, op_names, run_op, same_bits  # noqa: F401

U = {"f32": 2.0**-24, "f64": 2.0**-53}
NUMPY = {"f32": np.float32, "f64": np.float64}
MR, NR, KC, NC = (4, 6, 8, 14), (2, 8, 16, 32), 512, (256, 512)  # of all levels and, KC, of float
FORMS = ("nn", "nt", "tn", "tt")
SCRATCH = np.zeros(lib.nn_scratch_nbytes(8) + 64, np.uint8)
BEST = [level for level in LEVELS if have(level)][-1]


class Placed:
    """A matrix in memory: "n" rows contiguous, "t" columns contiguous, "g" neither; NaN between and around it."""

    def __init__(self, matrix: np.ndarray, form: str = "n", gap: int = 0, offset: int = 0):
        m, n = self.shape = matrix.shape
        self.rs, self.cs = {"n": (n + gap, 1), "t": (1, m + gap), "g": (3 * n + gap, 3)}[form]
        self.offset = 32 + offset
        self.memory = np.full(m * self.rs + n * self.cs + 64 + offset, np.nan, matrix.dtype)
        self.view()[:] = matrix

    def view(self) -> np.ndarray:
        """The matrix where it lies."""
        strides = (self.rs * self.memory.itemsize, self.cs * self.memory.itemsize)
        return np.lib.stride_tricks.as_strided(self.memory[self.offset :], self.shape, strides)

    @property
    def pointer(self):
        """Of element (0, 0)."""
        return ffi.cast("char *", self.memory.ctypes.data + self.offset * self.memory.itemsize)


def gemm(a, b, bias=None, level=BEST, threads=1, form="nn", gap=0, offset=0) -> np.ndarray:
    """a b + bias by nn_gemm. Memory around every matrix, and the inputs, must come back as they were."""
    (m, k), n = a.shape, b.shape[1]
    real = {np.float32: lib.NN_F32, np.float64: lib.NN_F64}[a.dtype.type]
    pa, pb = Placed(a, form[0], gap, offset), Placed(b, form[1], gap, offset)
    pc = Placed(np.full((m, n), np.nan, a.dtype), "n", gap, offset)
    before = [p.memory.tobytes() for p in (pa, pb)]
    added = ffi.NULL if bias is None else ffi.cast("char *", bias.ctypes.data)
    scratch = ffi.cast("char *", SCRATCH.ctypes.data + -SCRATCH.ctypes.data % 64)
    status = lib.nn_gemm(kernels(level), real, threads, pc.pointer, pa.pointer, pb.pointer, added, m, n, k, pc.rs,
                         pa.rs, pa.cs, pb.rs, pb.cs, scratch)
    assert status == lib.NN_OK
    assert before == [p.memory.tobytes() for p in (pa, pb)], "an input was changed"
    c = pc.view().copy()
    pc.view()[:] = np.nan
    assert np.isnan(pc.memory).all(), "wrote outside of C"
    return c


def normal(*shape, real="f32", seed=1) -> np.ndarray:
    """Normal numbers, the same every time."""
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(NUMPY[real])


def bits(c: np.ndarray) -> bytes:
    """Bytes to compare: any NaN is as good as any other."""
    return np.where(np.isnan(c), np.nan, c).astype(c.dtype).tobytes()


def textbook(a, b) -> np.ndarray:
    """The definition, in extended precision."""
    c = np.zeros((a.shape[0], b.shape[1]), np.longdouble)
    for i, j in itertools.product(range(a.shape[0]), range(b.shape[1])):
        for k in range(a.shape[1]):
            c[i, j] += np.longdouble(a[i, k]) * np.longdouble(b[k, j])
    return c


def assert_close(c, a, b, real, exact=None) -> None:
    """Every element within gamma_K |A||B|, one u more for the rounding of `exact`."""
    exact = a.astype(np.longdouble) @ b.astype(np.longdouble) if exact is None else exact
    size = np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64)
    allowed = (a.shape[1] + 1) * U[real] * 1.01 * size
    assert (np.abs(c - exact) <= allowed).all()


# ---- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("real", ("f32", "f64"))
def test_tiny_products_are_the_definition(isa, real):  # noqa: F811
    for m, k, n in itertools.product((0, 1, 2, 3, 5), repeat=3):
        a, b = normal(m, k, real=real), normal(k, n, real=real, seed=2)
        assert_close(gemm(a, b, level=isa), a, b, real, textbook(a, b))


def grid() -> list[tuple[int, int, int]]:
    """(M, K, N) around every tile, every block, and primes."""
    near = sorted({v + d for v in MR for d in (-1, 0, 1)} | {0, 1, 29})
    wide = sorted({v + d for v in NR for d in (-1, 0, 1)} | {0, 1, 10, 53})
    shapes = [(m, 7, 33) for m in near] + [(15, 7, n) for n in wide] + [(m, 3, 10) for m in near]
    shapes += [(15, k, 33) for k in (0, 1, 2, 15, 16, 17, KC // 2 + 1, KC - 1, KC, KC + 1, 2 * KC + 1, 3 * KC - 1)]
    shapes += [(3, 5, n + d) for n in NC for d in (-1, 0, 1)] + [(200, 40, 3), (179, 31, 37), (97, 300, 161)]
    shapes += [(1, 300, 70), (1, 29, 333)]
    return shapes


@pytest.mark.parametrize("real", ("f32", "f64"))
def test_random_products_within_bound(real):
    for m, k, n in grid():
        a, b = normal(m, k, real=real), normal(k, n, real=real, seed=2)
        assert_close(gemm(a, b), a, b, real)


def test_integers_are_exact(isa):  # noqa: F811
    """Sums below 2^24 have no rounding: threshold 0."""
    draw = np.random.default_rng(3)
    for m, k, n in grid():
        a, b = (draw.integers(-4, 5, s).astype(np.float32) for s in ((m, k), (k, n)))
        bias = draw.integers(-4, 5, n).astype(np.float32)
        assert (gemm(a, b, bias, isa) == a.astype(np.int64) @ b.astype(np.int64) + bias).all()


@pytest.mark.parametrize("real", ("f32", "f64"))
def test_rms_error(real):
    for k in (100, 784, 2000):
        a, b = normal(40, k, real=real), normal(k, 50, real=real, seed=2)
        error = gemm(a, b) - a.astype(np.longdouble) @ b.astype(np.longdouble)
        size = np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64)
        assert np.sqrt(np.mean((error / size) ** 2)) <= 0.3 * np.sqrt(k) * U[real]


# ---- bits --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("real", ("f32", "f64"))
def test_same_bits_on_every_isa(isa, real):  # noqa: F811
    for m, k, n in grid():
        a, b, bias = normal(m, k, real=real), normal(k, n, real=real, seed=2), normal(n, real=real, seed=3)
        assert bits(gemm(a, b, bias, isa)) == bits(gemm(a, b, bias)), (m, k, n)


def test_bits_are_those_of_the_definition(isa):  # noqa: F811
    """The chain c = fma(a, b, c) of the reference, through K blocks, at ragged tiles."""
    for m, k, n in ((5, 2 * KC + 3, 35), (15, 3, 17), (29, 40, 10)):
        a, b = normal(m, k), normal(k, n, seed=2)
        call = Call([made(m * n), given(a.ravel().tolist()), given(b.ravel().tolist()), None], (m, k, n, -1))
        (want,) = run_op("dense_fwd", call, "reference")
        assert bits(gemm(a, b, level=isa)) == want.tobytes()


@pytest.mark.parametrize("real", ("f32", "f64"))
@pytest.mark.parametrize("threads", (2, 3, 7))
def test_same_bits_on_any_number_of_threads(threads, real):
    for m, k, n in grid()[::3] + [(64, 30, 200), (200, 30, 64), (5, 700, 300), (300, 20, 5)]:
        a, b, bias = normal(m, k, real=real), normal(k, n, real=real, seed=2), normal(n, real=real, seed=3)
        assert bits(gemm(a, b, bias, threads=threads)) == bits(gemm(a, b, bias)), (m, k, n)


def test_same_bits_in_any_layout(isa):  # noqa: F811
    """Rows or columns contiguous, neither, with gaps, not aligned: what is packed and what is read in place differ."""
    for m, k, n in ((15, 33, 35), (40, 20, 200), (200, 20, 40), (180, 17, 300), (13, 300, 10), (33, 9, 513), (600, 18, 200)):
        a, b = normal(m, k), normal(k, n, seed=2)
        want = bits(gemm(a, b))
        for form in (*FORMS, "gn", "ng", "gg"):
            for gap, offset in ((0, 0), (5, 1), (0, 3)):
                assert bits(gemm(a, b, None, isa, 1, form, gap, offset)) == want, (m, k, n, form, gap, offset)
    for m, n in ((30, 70), (200, 300)):  # strides of a power of two, which are never read in place
        a, b = normal(m, 40), normal(40, n, seed=2)
        for form, gap in (("nn", 512 - 40), ("tn", 1024 - m), ("nt", 512 - 40)):
            assert bits(gemm(a, b, None, isa, 1, form, gap)) == bits(gemm(a, b))


@pytest.mark.parametrize("real", ("f32", "f64"))
def test_same_bits_when_rows_go_to_the_lanes(isa, real):  # noqa: F811
    """Narrow products with columns of A contiguous are computed as C^T = B^T A^T; more rows than a block, K blocks."""
    for m, k, n in ((33, 3, 1), (70, 20, 7), (600, 9, 10), (64, 2 * KC + 1, 15), (1100, 5, 3), (40, 0, 5)):
        a, b, bias = normal(m, k, real=real), normal(k, n, real=real, seed=2), normal(n, real=real, seed=3)
        want = bits(gemm(a, b, bias))
        for form, gap, offset in (("tn", 0, 0), ("tt", 5, 1), ("tg", 0, 3)):
            for threads in (1, 2):
                assert bits(gemm(a, b, bias, isa, threads, form, gap, offset)) == want, (m, k, n, form)


def test_a_row_does_not_depend_on_the_others():
    a, b = normal(61, 300), normal(300, 90, seed=2)
    whole = gemm(a, b)
    for i in (0, 13, 14, 60):
        assert bits(gemm(a[i : i + 1].copy(), b)) == bits(whole[i : i + 1].copy())


# ---- special values ------------------------------------------------------------------------------------------------------


def test_nan_and_infinity_stay_in_their_rows_and_columns(isa):  # noqa: F811
    for k in (5, 2 * KC + 9):
        a, b = normal(30, k), normal(k, 43, seed=2)
        a[3, k // 2], a[17, 0], b[k - 1, 42], b[1, 7] = np.nan, np.inf, np.nan, -np.inf
        c = gemm(a, b, level=isa)
        with np.errstate(all="ignore"):
            want = a.astype(np.float64) @ b.astype(np.float64)
        assert (np.isnan(c) == np.isnan(want)).all()
        assert (np.isposinf(c) == np.isposinf(want)).all() and (np.isneginf(c) == np.isneginf(want)).all()


def test_empty_sum_is_positive_zero_and_negative_zeros_add_up(isa):  # noqa: F811
    assert bits(gemm(np.zeros((5, 0), np.float32), np.zeros((0, 19), np.float32), level=isa)) == bytes(5 * 19 * 4)
    assert not np.signbit(gemm(np.full((1, 1), -0.0, np.float32), np.ones((1, 1), np.float32), level=isa)).any()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="FE_INVALID is 1 on x86-64; run there")
def test_pad_lanes_raise_no_flag(isa):  # noqa: F811
    """inf times a zero in a pad lane would be an invalid operation that no element of C asks for."""
    libm = ctypes.CDLL("libm.so.6")
    for m, k, n in ((5, 9, 10), (15, 4, 33), (200, 3, 49)):
        a, b = np.full((m, k), np.inf, np.float32), np.abs(normal(k, n)) + 1
        libm.feclearexcept(0x3D)
        c = gemm(a, b, level=isa)
        assert not libm.fetestexcept(1), "FE_INVALID"
        assert np.isposinf(c).all()


# ---- the dense ops ---------------------------------------------------------------------------------------------------------

ACTIVATIONS = [c for c in collect() if c.op.endswith("_fwd") and len(c.sizes[0]) == 1]


@pytest.mark.parametrize("case", ACTIVATIONS, ids=lambda c: c.name)
def test_epilogue_has_the_bits_of_the_op(case):
    """Over several K blocks and panels: the activation is applied once, after the last block and the bias."""
    n, i, o = 16, 2 * KC + 1, 45
    args = [made(n * o), given(normal(n, i).ravel().tolist()), given(normal(i, o, seed=2).ravel().tolist()),
            given(normal(o, seed=3).tolist())]
    (z,) = run_op("dense_fwd", Call(args, (n, i, o, -1)))
    scalars = case.call((1,)).scalars
    (want,) = run_op(case.op, Call([made(len(z)), given(z)], (len(z),), scalars))
    for threads in (1, 2):
        (got,) = run_op("dense_fwd", Call(args, (n, i, o, op_names()[case.op]), scalars), BEST, threads)
        assert same_bits(got, want)


def test_dense_ops_are_the_three_forms(isa):  # noqa: F811
    """forward x w, data gradient dy w^T, weight gradient x^T dy per shard: the same bits as nn_gemm."""
    n, i, o = 60, 35, 43
    x, w, dy = normal(n, i), normal(i, o, seed=2), normal(n, o, seed=3)
    flat = [given(v.ravel().tolist()) for v in (x, w, dy)]
    (y,) = run_op("dense_fwd", Call([made(n * o), flat[0], flat[1], None], (n, i, o, -1)), isa, 2)
    (dx,) = run_op("dense_bwd_data", Call([made(n * i), flat[2], flat[1]], (n, i, o)), isa, 2)
    (dw,) = run_op("dense_bwd_weight", Call([made(2 * i * o), flat[0], flat[2]], (n, i, o, 2)), isa, 2)
    assert y.tobytes() == bits(gemm(x, w)) and dx.tobytes() == bits(gemm(dy, w.T.copy()))
    halves = [gemm(x[h].T.copy(), dy[h].copy()) for h in (slice(0, 30), slice(30, 60))]
    assert dw.tobytes() == b"".join(map(bits, halves))


def test_bad_arguments_leave_c_alone():
    c = np.full((2, 2), 7, np.float32)
    p = ffi.cast("char *", c.ctypes.data)
    scratch = ffi.cast("char *", SCRATCH.ctypes.data + -SCRATCH.ctypes.data % 64)
    good = {"real": lib.NN_F32, "threads": 1, "m": 2, "n": 2, "k": 2, "rsc": 2, "scratch": scratch}
    for bad in ({"real": lib.NN_U8}, {"threads": 0}, {"threads": 65}, {"m": -1}, {"n": -1}, {"k": -1}, {"rsc": 1},
                {"scratch": ffi.NULL}):
        x = {**good, **bad}
        status = lib.nn_gemm(kernels(BEST), x["real"], x["threads"], p, p, p, ffi.NULL, x["m"], x["n"], x["k"],
                             x["rsc"], 2, 1, 2, 1, x["scratch"])
        assert status == lib.NN_ERR_ARGUMENT and (c == 7).all()
