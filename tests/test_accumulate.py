"""Sums of a tape in an emulated accumulator or by another method: against fractions, the lanes against one number at a time."""

from __future__ import annotations

import random
import struct
from fractions import Fraction
from math import ceil, log2, sqrt

import pytest

import nncore as nn
from nncore._ffi import ffi, lib
from nncore.bench.cases import Call, collect, conv, data, given, made
from nncore.errors import UsageError
from nncore.graph.formats import SUMS, Arithmetic, Format
from nncore.graph.tape import Executor
from nncore.train.precision import Precision
from tests.fraction_sums import Sums
from tests.harness import isa, op_names, run_op, same_bits  # noqa: F401

FORMATS = ["fp32", "tf32", "bf16", "fp16", "fp8-e4m3", "fp8-e5m2", "int8", "p5e-6..7", "p22e-20..20", "p23e-20..20"]
DIRECTIONS = ["nearest", "zero", "up", "down"]
KINDS = ("normal", "lognormal", "denormal", "huge", "special", "zero")
SUMMING = [name for name, op in op_names().items() if lib.nn_sums_dim(op) >= 0]


def code(text: str, method: str, flushed: bool = False, id: int = 0) -> int:
    a = Arithmetic.parse(text)
    found = lib.nn_accumulator(Arithmetic(a.format.flushed() if flushed else a.format, a.rounding).cdata(), SUMS[method], id)
    assert found
    return found


def emulated(op: str, call: Call, accumulator: int, **run) -> Call:
    """The call of an op with an accumulator's code as one dim more."""
    at = lib.nn_sums_dim(op_names()[op])
    return Call(call.args, (*call.dims[:at], *[0] * (at - len(call.dims)), accumulator), call.scalars, {**call.run, **run})


def forward(size, kind, accumulator, seed=1, bias=False, **run) -> Call:
    (N, I, O), rng = size, random.Random(f"{size} {kind} {seed}")
    b = given(data(O, kind, rng)) if bias else None
    return Call([made(N * O), given(data(N * I, kind, rng)), given(data(I * O, kind, rng)), b], (*size, -1, accumulator), (), run)


def single(x: Fraction) -> float:
    """A fraction as the nearest float32."""
    return struct.unpack("f", struct.pack("f", float(x)))[0]


# ---- the definition ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("method", SUMS)
def test_products_in_fractions(method, direction):
    """1 to 40 terms, so that trees and blocks are ragged."""
    for name in ("bf16", "fp32", "p5e-60..60"):
        to = Arithmetic.parse(name, direction)
        for I in (1, 2, 7, 40):
            call = forward((2, I, 3), "normal", code(f"{name}:{direction}", method))
            (got,) = run_op("dense_fwd", call)
            assert same_bits(got, run_op("dense_fwd", call, "reference")[0])
            x, w = call.values(1), call.values(2)
            for n in range(2):
                for o in range(3):
                    terms = [(x[n * I + i], w[i * 3 + o]) for i in range(I)]
                    assert Fraction(got[n * 3 + o]) == Sums(to).total(method, terms), (name, I)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("method", SUMS)
def test_reductions_in_fractions(method, direction):
    for name in ("bf16", "fp32"):
        sums, accumulator = Sums(Arithmetic.parse(name, direction)), code(f"{name}:{direction}", method)
        N, C = 37, 3
        x = given(data(N * C, "normal", random.Random(method)))
        values = Call([x], ()).values(0)
        (rows,) = run_op("sum_rows", Call([made(C), x], (N, C, 1, accumulator)))
        assert [Fraction(v) for v in rows] == [sums.total(method, [(v,) for v in values[j::C]]) for j in range(C)]
        (tree,) = run_op("tree_sum", Call([made(C), x], (C, N, accumulator)))
        assert same_bits(tree, rows)
        everything = {"sum_all": [(v,) for v in values], "sum_abs": [(abs(v),) for v in values],
                      "sum_squares": [(v, v) for v in values]}
        for op, terms in everything.items():
            dims = (N * C, 1, accumulator) if op == "sum_all" else (N * C, accumulator)
            (got,) = run_op(op, Call([made(1), x], dims, (0.5,)))
            assert got[0] == single(sums.total(method, terms) / 2), op


@pytest.mark.parametrize("method", SUMS)
def test_statistics_in_fractions(method):
    """Mean and variance of batch and layer norm: the sums rounded to bf16, everything else to float32."""
    N, C, accumulator, sums = 19, 3, code("bf16", method), Sums(Arithmetic.parse("bf16"))
    x = given(data(N * C, "normal", random.Random(1)))
    v = Call([x], ()).values(0)

    def statistics(values) -> tuple[float, float]:
        mean = single(sums.total(method, [(a,) for a in values]) / len(values))
        d = [single(Fraction(a) - Fraction(mean)) for a in values]
        return mean, single(sums.total(method, [(a, a) for a in d]) / len(values))

    args = [made(N * C), made(C), made(C), made(3 * C), x, None, None]
    _, mean, var, _ = run_op("batch_norm_fwd", Call(args, (N, C, 1, 64, accumulator), (1e-5,)))
    assert list(zip(mean, var, strict=True)) == [statistics(v[j::C]) for j in range(C)]
    call = Call([made(N * C), made(N), made(N), x, None, None], (N, C, accumulator), (0.0,))
    _, mean, inverse = run_op("layer_norm_fwd", call)
    for i in range(N):
        m, s = statistics(v[i * C : (i + 1) * C])
        assert mean[i] == m and abs(inverse[i] * sqrt(s) - 1) < 4 * 2.0**-24


@pytest.mark.parametrize("op", ["conv_fwd", "conv_bwd_data", "conv_bwd_weight"])
@pytest.mark.parametrize("shape", [(3, 5, 4, 2, 3, (2, 3, 2, 1, 1, 0, 1, 2, 1, 1, 1)),
                                   (9, 4, 4, 4, 6, (3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 2))])
def test_convolutions_in_fractions(op, shape):
    """Every term that is no 0, in the order of its index, by a naive and an exact sum; 0 in between changes neither."""
    dims = conv.dims(shape)
    N, H, W, C, R, S, K, P, Q, sh, sw, pt, pl, dh, dw, G, _ = dims[:17]
    nx, nw, ny = N * H * W * C, R * S * C // G * K, N * P * Q * K
    size = {"conv_fwd": (ny, nx, nw), "conv_bwd_data": (nx, ny, nw), "conv_bwd_weight": (nw, nx, ny)}[op]
    rng, last = random.Random(op), 1 if op == "conv_bwd_weight" else -1
    args = [made(size[0]), *(given(data(n, "normal", rng)) for n in size[1:]), *([] if op == "conv_bwd_weight" else [None])]
    terms: list[list] = [[] for _ in range(size[0])]
    a, b = Call(args, ()).values(1), Call(args, ()).values(2)
    c1, k1 = C // G, K // G
    for n in range(N):
        for p in range(P):
            for q in range(Q):
                for r in range(R):
                    for s in range(S):
                        h, w = p * sh - pt + r * dh, q * sw - pl + s * dw
                        if not (0 <= h < H and 0 <= w < W):
                            continue
                        for k in range(K):
                            for c in range(c1):
                                x, y = ((n * H + h) * W + w) * C + k // k1 * c1 + c, ((n * P + p) * Q + q) * K + k
                                v = ((r * S + s) * c1 + c) * K + k
                                out, left, right, order = {"conv_fwd": (y, x, v, v), "conv_bwd_data": (x, y, v, (r, s, k)),
                                                           "conv_bwd_weight": (v, x, y, y)}[op]
                                terms[out].append((order, a[left], b[right]))
    for method in ("naive", "exact"):
        for text in ("bf16", "p11e-60..60:up"):
            (got,) = run_op(op, Call(args, (*dims[:16], last, code(text, method))), threads=2)
            want = [Sums(Arithmetic.parse(text)).total(method, [t[1:] for t in sorted(some)]) for some in terms]
            assert [Fraction(v) for v in got] == want, (method, text)


@pytest.mark.parametrize("method", SUMS)
def test_errors_are_within_their_bounds(method):
    """u times what csrc/sums.c states, and one rounding of each product more, of 784 terms in float32 and bf16; the truth is
    the float64 twin's, whose own error is smaller by 2^-29."""
    n = 784
    levels = {"naive": n, "pairwise": ceil(log2(n)) + 1, "blocked": 2 * 28 + 1, "lanes": n // 16 + 5, "kahan": 4, "neumaier": 2,
              "dot2": 0, "exact": 0}[method]
    for name in ("fp32", "bf16"):
        u, call = Format.named(name).unit, forward((4, n, 16), "normal", code(name, method))
        truth = run_op("dense_fwd", Call(call.args, (*call.dims[:-1], 0)), real="f64")[0]
        x, w = call.values(1), call.values(2)
        again = u + 2.0**-24  # to nearest a result is rounded twice
        for i, (got, want) in enumerate(zip(run_op("dense_fwd", call)[0], truth, strict=True)):
            sizes = sum(abs(x[i // 16 * n + k] * w[k * 16 + i % 16]) for k in range(n))
            assert abs(got - want) <= again * abs(want) + (levels * again + n * n * again * again) * sizes


def test_counting_ends_where_the_format_says():
    """A sum of 1000 ones: bf16 stops at 256; Kahan feeds what was lost back and does not; the ones that Neumaier keeps apart
    stop at 256 in their turn."""
    for text, method, want in (("bf16", "naive", 256), ("bf16", "kahan", 1000), ("bf16", "neumaier", 512),
                               ("bf16:rz", "naive", 256), ("fp16", "naive", 1000), ("fp8-e4m3", "naive", 16),
                               ("fp32", "kahan", 1000), ("bf16", "pairwise", 1000)):
        call = Call([made(1), given([1.0] * 1000), given([1.0] * 1000), None], (1, 1000, 1, -1, code(text, method)))
        assert abs(run_op("dense_fwd", call)[0][0] - want) <= 2 * want * Format.named(text.partition(":")[0]).unit, (text, method)


# ---- stochastic rounding -------------------------------------------------------------------------------------------------


def test_stochastic_sums_are_unbiased_and_numbered():
    """The mean of 600 sums of 1000 ones lies within 5 standard errors of 1000, where to nearest it is 256. Random
    numbers follow from seed, step, instruction and element."""
    n = 1000
    found = []
    args = [made(4), given([1.0] * n), given([1.0] * 4 * n), None]
    for step in range(150):
        found += run_op("dense_fwd", Call(args, (1, n, 4, -1, code("bf16:sr", "naive")), (), {"step": step}))[0]
    mean = sum(found) / len(found)
    deviation = sqrt(sum((v - mean) ** 2 for v in found) / (len(found) - 1))
    assert abs(mean - n) < 5 * deviation / sqrt(len(found)) and 0 < deviation < n * 2.0**-8 * sqrt(n)
    base = forward((3, 50, 5), "normal", code("bf16:sr", "naive"), step=7, seed=3)
    (first,) = run_op("dense_fwd", base)
    for other in (forward((3, 50, 5), "normal", code("bf16:sr", "naive"), step=8, seed=3),
                  forward((3, 50, 5), "normal", code("bf16:sr", "naive", id=1), step=7, seed=3)):
        assert not same_bits(first, run_op("dense_fwd", other)[0])
    ones = Call([made(64), given([1.0] * 300), given([1.0] * 300 * 64), None], (1, 300, 64, -1, code("bf16:sr", "naive")))
    assert len(set(run_op("dense_fwd", ones)[0])) > 5, "elements have numbers of their own"


# ---- the lanes, threads, levels -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [method for method in SUMS if method != "exact"])
@pytest.mark.parametrize("name", FORMATS)
def test_lanes_are_one_number_at_a_time(name, method, isa):  # noqa: F811
    """Lanes of every instruction set against the scalar text; any number of threads."""
    for size, kind in [*(((3, 17, 37), kind) for kind in KINDS), ((9, 64, 50), "normal"), ((2, 0, 5), "normal")]:
        for flushed in (False, True) if name in ("bf16", "fp16", "p23e-20..20") else (False,):
            call = forward(size, kind, code(name, method, flushed), bias=kind == "normal")
            (want,) = run_op("dense_fwd", call, "reference")
            for threads in (1, 3):
                (got,) = run_op("dense_fwd", call, isa, threads)
                assert same_bits(got, want), (flushed, size, kind, threads)


@pytest.mark.parametrize("op", SUMMING)
def test_every_op_on_every_level_and_number_of_threads(op, isa):  # noqa: F811
    """All cases of all ops that add up, in each method and direction, of the smaller sizes."""
    for case in (c for c in collect() if c.op == op and "bf16" not in c.variant):
        sizes = [s for s in case.sizes if all(v for v in s if isinstance(v, int))][1::5][:3]
        for k, size in enumerate(sizes):
            for j, (method, text) in enumerate((m, t) for m in SUMS for t in ("bf16", "fp32", "fp16:sr")):
                if j % 3 != k:
                    continue
                call = emulated(op, case.call(size, "normal"), code(text, method))
                want = run_op(op, call, "reference")
                for threads in (1, 3):
                    got = run_op(op, call, isa, threads)
                    assert all(map(same_bits, _told(op, got), _told(op, want))), (case.name, size, method, text)


def _told(op: str, outputs: list) -> list:
    """Outputs but the scratch of batch norms."""
    return [v for i, v in enumerate(outputs) if not (op.startswith("batch_norm") and i == 3)]


def test_more_terms_than_a_panel_holds(isa):  # noqa: F811
    """Weights of a convolution sum over all pixels of all images: blocks of terms leave no trace."""
    N, H = 300, 8
    dims = conv.dims((N, H, H, 1, 2, 1))
    x, dy = (given(data(N * H * H * c, "normal", random.Random(c))) for c in (1, 2))
    assert dims[7] * dims[8] * N > 1 << 14
    n = dims[4] * dims[5] * 2
    for method in SUMS:
        call = Call([made(n), x, dy], (*dims[:16], 1, code("bf16", method)))
        assert same_bits(run_op("conv_bwd_weight", call, isa, 2)[0], run_op("conv_bwd_weight", call, "reference")[0]), method


def test_twin_and_codes():
    call = forward((3, 17, 5), "normal", code("bf16", "naive"))
    plain = Call(call.args, (*call.dims[:-1], 0))
    assert same_bits(run_op("dense_fwd", call, real="f64")[0], run_op("dense_fwd", plain, real="f64")[0])
    named = Arithmetic.parse("bf16").cdata()
    assert lib.nn_accumulator(Arithmetic.parse("fp64").cdata(), 0, 0) == 0 and code("fp32", "naive") != 0
    assert lib.nn_accumulator(named, 8, 0) == lib.nn_accumulator(named, -1, 0) == lib.nn_accumulator(named, 0, 1 << 16) == 0
    fault = ffi.new("nn_fault *")
    buffers = ffi.new("nn_buffer[3]", [(lib.NN_WORK, lib.NN_REAL, 0, 1)] * 3)
    instr = ffi.new("nn_instr *", {"op": 0, "n_args": 3, "arg": [0, 1, 2], "dim": [1, 1, 1, -1]})
    tape = ffi.new("nn_tape *", (lib.NN_F32, 1, 3, 1, buffers, instr, [0, 0, 64]))
    own = code("bf16", "naive")
    for planes, good in ((code("bf16:sr", "dot2", id=65535), True), (3, True), (4, False), (own, True), (own | 1 << 60, False),
                         (own | 7 << 39, False), (1 << 58, False)):
        instr.dim[4] = planes
        assert (lib.nn_tape_check(tape, fault) == lib.NN_OK) == good, planes
    assert len(SUMMING) == 16 and "relu_fwd" not in SUMMING


# ---- in a training ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    return nn.data.glyphs(400, 100, seed=0)


def trained(digits, precision, isa_name=None, threads=1, layers=None):
    layers = layers or [nn.Dense(40), nn.ReLU(), nn.Dense(10)]
    model = nn.Sequential(layers, seed=1)
    model.fit(digits.train, epochs=2, batch=40, precision=precision, executor=Executor(isa_name, threads))
    return model


def test_training_with_an_accumulator_learns_and_repeats(digits, isa):  # noqa: F811
    plain = trained(digits, None)
    for text in ("accumulate=bf16", "accumulate=fp16", "sum=kahan", "sum=exact", "accumulate=bf16:rz,sum=lanes",
                 "accumulate=bf16,sum=neumaier,weights=bf16:sr"):
        model = trained(digits, text)
        assert model.weights_sha256 == trained(digits, text, isa, 3).weights_sha256 != plain.weights_sha256, text
        assert abs(model.evaluate(digits.train).accuracy - plain.evaluate(digits.train).accuracy) < 0.1, text
    assert "dense_fwd relu accumulator" in str(model.tape) and "sum_all accumulator" in str(model.tape)


@pytest.mark.parametrize("text", ["accumulate=bf16:sr", "sum=pairwise,accumulate=fp16"])
def test_convolutions_and_norms_repeat(text, isa):  # noqa: F811
    def network():
        return [nn.Conv2D(4, 5, stride=3), nn.BatchNorm(), nn.ReLU(), nn.Flatten(), nn.LayerNorm(), nn.Dense(10)]

    small = nn.data.glyphs(80, 10, seed=0)
    one = trained(small, text, layers=network())
    assert one.weights_sha256 == trained(small, text, isa, 3, network()).weights_sha256
    assert one.weights_sha256 != trained(small, None, layers=network()).weights_sha256
    noted = [i.op for i in one.tape.instructions if "accumulator" in i.note]
    assert set(noted) >= {"conv_fwd", "conv_bwd_weight", "batch_norm_fwd", "batch_norm_bwd", "layer_norm_fwd", "layer_norm_bwd",
                          "layer_norm_bwd_weight", "sum_rows", "sum_all"}
    ids = [i.dims[lib.nn_sums_dim(op_names()[i.op])] >> 42 & 0xFFFF for i in one.tape.instructions if "accumulator" in i.note]
    assert sorted(ids) == list(range(len(ids))), "random numbers of their own"


def test_tape_files_keep_accumulators(digits, tmp_path):
    from nncore.graph.tapefile import load, save

    model = trained(digits, "accumulate=bf16,sum=kahan")
    save(tmp_path / "t.nntape", [model.tape])
    (again,) = load(tmp_path / "t.nntape")
    assert again.instructions == model.tape.instructions and again.sha256 == model.tape.sha256
    assert model.tape.sha256 != trained(digits, "accumulate=bf16").tape.sha256


def test_what_cannot_be_is_said():
    methods = "naive, pairwise, kahan, neumaier, blocked, lanes, dot2, exact"
    for text, message in (("sum=pairs", f"no sum 'pairs'; there are {methods}"), ("accumulate=bf16:sideways", "no rounding"),
                          ("accumulate=fp64", "hold")):
        with pytest.raises(UsageError, match=message):
            Precision.parse(text)
