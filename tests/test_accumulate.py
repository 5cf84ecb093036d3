"""Dense products in an emulated accumulator: the kernels against the definition, the definition against fractions."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest

import nncore as nn
from nncore._ffi import ffi, lib
from nncore.bench.cases import Call, data, given, made
from nncore.errors import GraphError, UsageError
from nncore.graph.formats import Format
from nncore.graph.tape import Executor
from nncore.train.precision import SUMS, Precision
from tests.harness import isa, run_op, same_bits  # noqa: F401

FORMATS = ["fp32", "tf32", "bf16", "fp16", "fp8-e4m3", "fp8-e5m2", "int8", "p5e-6..7", "p22e-20..20", "p23e-20..20"]


def code(name: str, method: str, flushed: bool = False) -> int:
    f = Format.named(name)
    return lib.nn_accumulator((f.flushed() if flushed else f).cdata(), SUMS[method])


def forward(size, kind, accumulator, seed=1, bias=False) -> Call:
    (N, I, O), rng = size, random.Random(f"{size} {kind} {seed}")
    b = given(data(O, kind, rng)) if bias else None
    return Call([made(N * O), given(data(N * I, kind, rng)), given(data(I * O, kind, rng)), b], (*size, -1, accumulator))


@pytest.mark.parametrize("method", SUMS)
@pytest.mark.parametrize("name", FORMATS)
def test_kernels_are_the_definition(name, method, isa):  # noqa: F811
    """Lanes of every instruction set against the reference, which rounds one value at a time; any number of threads."""
    for flushed in (False, True):
        for size in ((1, 1, 1), (3, 17, 37), (5, 100, 16), (9, 64, 70), (2, 0, 5)):
            for kind in ("normal", "lognormal", "denormal", "huge", "special", "zero"):
                call = forward(size, kind, code(name, method, flushed), bias=kind == "normal")
                (want,) = run_op("dense_fwd", call, "reference")
                for threads in (1, 3):
                    (got,) = run_op("dense_fwd", call, isa, threads)
                    assert same_bits(got, want), (flushed, size, kind, threads)


@pytest.mark.parametrize("op", ["dense_bwd_data", "dense_bwd_weight"])
def test_backward_products_too(op, isa):  # noqa: F811
    rng = random.Random(op)
    for name, method in (("bf16", "naive"), ("fp16", "kahan"), ("fp32", "neumaier")):
        N, I, O = 6, 19, 33
        if op == "dense_bwd_data":
            arguments, dims = [made(N * I), given(data(N * O, "normal", rng)), given(data(I * O, "normal", rng))], (N, I, O)
        else:
            arguments = [made(2 * I * O), given(data(N * I, "normal", rng)), given(data(N * O, "normal", rng))]
            dims = (N, I, O, 2)
        call = Call(arguments, (*dims, code(name, method)))
        assert same_bits(run_op(op, call, isa, 2)[0], run_op(op, call, "reference")[0])


def test_definition_in_fractions():
    """bf16, chain: each product and sum exact, rounded to float32 and then to bf16, ties to even."""
    call = forward((2, 40, 3), "normal", code("bf16", "naive"))
    (got,) = run_op("dense_fwd", call, "reference")

    def nearest(x: Fraction, bits: int) -> Fraction:
        if x == 0:
            return x
        e = abs(x).numerator.bit_length() - abs(x).denominator.bit_length()
        e -= abs(x) < Fraction(2) ** e
        spacing = Fraction(2) ** (e - bits + 1)
        return round(x / spacing) * spacing  # Python rounds fractions half to even

    x, w = call.values(1), call.values(2)
    for n in range(2):
        for o in range(3):
            s = Fraction(0)
            for i in range(40):
                s = nearest(nearest(Fraction(x[n * 40 + i]) * Fraction(w[i * 3 + o]) + s, 24), 8)
            assert Fraction(got[n * 3 + o]) == s


def test_counting_ends_where_the_format_says():
    """A sum of 1000 ones: bf16 stops at 256; Kahan feeds what was lost back and does not; the ones that Neumaier keeps
    apart stop at 256 in their turn."""
    for name, method, want in (("bf16", "naive", 256), ("bf16", "kahan", 1000), ("bf16", "neumaier", 512),
                               ("fp16", "naive", 1000), ("fp8-e4m3", "naive", 16), ("fp32", "kahan", 1000)):
        call = Call([made(1), given([1.0] * 1000), given([1.0] * 1000), None], (1, 1000, 1, -1, code(name, method)))
        assert abs(run_op("dense_fwd", call)[0][0] - want) <= want * Format.named(name).unit, (name, method)


def test_twin_and_codes():
    call = forward((3, 17, 5), "normal", code("bf16", "naive"))
    plain = Call(call.args, (*call.dims[:-1], 0))
    assert same_bits(run_op("dense_fwd", call, real="f64")[0], run_op("dense_fwd", plain, real="f64")[0])
    assert lib.nn_accumulator(Format.named("fp64").cdata(), 0) == 0 and code("fp32", "naive") != 0
    assert lib.nn_accumulator(Format.named("bf16").cdata(), lib.NN_SUM_PAIRWISE) == 0
    fault = ffi.new("nn_fault *")
    buffers = ffi.new("nn_buffer[3]", [(lib.NN_WORK, lib.NN_REAL, 0, 1)] * 3)
    instr = ffi.new("nn_instr *", {"op": 0, "n_args": 3, "arg": [0, 1, 2], "dim": [1, 1, 1, -1]})
    tape = ffi.new("nn_tape *", (lib.NN_F32, 1, 3, 1, buffers, instr, [0, 0, 64]))
    for planes, size, good in ((code("bf16", "naive"), 1, True), (code("bf16", "naive") + 1, 1, True), (4, 1, False),
                               (code("bf16", "naive") | 1 << 41, 1, False), (code("bf16", "naive"), 30000, False)):
        instr.dim[4], instr.dim[1] = planes, size
        assert (lib.nn_tape_check(tape, fault) == lib.NN_OK) == good, (planes, size)


# ---- in a training ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    return nn.data.glyphs(400, 100, seed=0)


def trained(digits, precision, isa_name=None, threads=1):
    model = nn.Sequential([nn.Dense(40), nn.ReLU(), nn.Dense(10)], seed=1)
    model.fit(digits.train, epochs=2, batch=40, precision=precision, executor=Executor(isa_name, threads))
    return model


def test_training_with_an_accumulator_learns_and_repeats(digits, isa):  # noqa: F811
    single = trained(digits, None)
    for text in ("accumulate=bf16", "accumulate=fp16", "sum=kahan", "accumulate=bf16,sum=neumaier,weights=bf16:sr"):
        model = trained(digits, text)
        assert model.weights_sha256 == trained(digits, text, isa, 3).weights_sha256 != single.weights_sha256, text
        assert abs(model.evaluate(digits.train).accuracy - single.evaluate(digits.train).accuracy) < 0.1, text
    assert "accumulator" in str(model.tape)


def test_kahan_is_nearer_to_the_twin(digits):
    """Products of 784 terms in float32, by a chain and by Kahan's sum, against the float64 twin's."""
    errors = []
    for accumulator in (0, code("fp32", "kahan")):
        call = forward((8, 784, 32), "normal", accumulator)
        truth = run_op("dense_fwd", Call(call.args, (*call.dims[:-1], 0)), real="f64")[0]
        errors.append(sum((a - b) ** 2 for a, b in zip(run_op("dense_fwd", call)[0], truth, strict=True)))
    assert errors[1] < errors[0] / 3


def test_what_cannot_be_is_said(digits):
    network = nn.Sequential([nn.Conv2D(4, 3), nn.Flatten(), nn.Dense(10)])
    with pytest.raises(GraphError, match="only the sums of dense products"):
        network.fit(digits.train, epochs=1, batch=40, precision="accumulate=bf16")
    for text, message in (("accumulate=bf16:sr", "to nearest"), ("sum=pairwise", "naive, kahan, neumaier"),
                          ("accumulate=fp64", "hold")):
        with pytest.raises(UsageError, match=message):
            Precision.parse(text)
