"""Correctly rounded elementary functions (elementary="exact"): the nearest float, on every level, in ops and in networks.

Every float is asked in C, against quadruple precision (make test-exhaustive). Here: a sample of all floats against mpmath, the
arguments that lie nearest to the middle of two floats, the specials, and that every instruction which should calls them.
"""

from __future__ import annotations

import math
from array import array

import mpmath
import numpy as np
import pytest

import nncore as nn
from nncore._ffi import op_names
from nncore.bench.cases import Call, collect, given, made
from nncore.errors import UsageError
from nncore.graph.ops import OPS
from tests.harness import LEVELS, have, isa, raised_by, run_op, trained_alike  # noqa: F401
from tests.test_header import OPCODES, parts

FAST = [level for level in LEVELS if have(level)]
INF, NAN = math.inf, math.nan
TINY, LARGEST = 2.0**-149, (2 - 2**-23) * 2.0**127


def _sigmoid(x):
    return 1 / (1 + mpmath.exp(-x))


def _softplus(x):
    return mpmath.log1p(mpmath.exp(-abs(x))) + max(x, 0)


# op, scalars, truth; elu with lambda = alpha = 1 is expm1 below 0
FUNCTIONS = {
    "exp": ("exponential", (), mpmath.exp),
    "expm1": ("elu_fwd", (1.0, 1.0), lambda x: x if x > 0 else mpmath.expm1(x)),
    "log": ("logarithm", (), mpmath.log),
    "tanh": ("tanh_fwd", (1.0, 1.0), mpmath.tanh),
    "sigmoid": ("sigmoid_fwd", (1.0,), _sigmoid),
    "softplus": ("softplus_fwd", (), _softplus),
    "erf": ("error_function", (), mpmath.erf),
}
EACH = pytest.mark.parametrize("name", FUNCTIONS)
# Floats whose values lie very near to the middle of two, so that double precision leaves the rounding open.
HARDEST = {
    "exp": "-0x1.d2259ap+3 -0x1.e1dbe2p-8 -0x1.c1c4b8p-10",
    "expm1": "-0x1.eb97f8p-19 -0x1.f676d8p-9",
    "log": "0x1.b121a6p+76 0x1.bacb4ap+25 0x1.c09d7cp+27 0x1.5190cp+78 0x1.22d57p-65 0x1.2f1fd6p+3 0x1.827a74p-7 0x1.6351d8p+95",
    "tanh": "-0x1.679054p+0 0x1.679054p+0",
    "sigmoid": "-0x1p-24 0x1p-23 -0x1.8p-23 0x1.8p-22 -0x1.4p-22 0x1.4p-21 -0x1.f8p-19 -0x1.3cp-18",
    "softplus": "0x1.ad174ep-10 -0x1.df473ep-25",
    "erf": "0x1.81d5acp-13 -0x1.81d5acp-13",
}
SPECIAL = {  # (argument, value) from C11, annex F, and the limits
    "exp": ((0.0, 1), (-0.0, 1), (INF, INF), (-INF, 0), (LARGEST, INF), (-LARGEST, 0), (TINY, 1), (-TINY, 1)),
    "expm1": ((0.0, 0), (-0.0, -0.0), (INF, INF), (-INF, -1), (-LARGEST, -1), (TINY, TINY), (-TINY, -TINY)),
    "log": ((0.0, -INF), (-0.0, -INF), (INF, INF), (-INF, NAN), (-1.0, NAN), (-TINY, NAN), (1.0, 0), (TINY, -103.27893)),
    "tanh": ((0.0, 0), (-0.0, -0.0), (INF, 1), (-INF, -1), (LARGEST, 1), (-LARGEST, -1), (TINY, TINY), (-TINY, -TINY)),
    "sigmoid": ((0.0, 0.5), (-0.0, 0.5), (INF, 1), (-INF, 0), (LARGEST, 1), (-LARGEST, 0), (TINY, 0.5), (-TINY, 0.5)),
    "erf": ((0.0, 0), (-0.0, -0.0), (INF, 1), (-INF, -1), (LARGEST, 1), (-LARGEST, -1), (TINY, TINY), (-TINY, -TINY)),
    "softplus": ((0.0, 0.6931472), (INF, INF), (-INF, 0), (LARGEST, LARGEST), (-LARGEST, 0), (TINY, 0.6931472)),
}


def run(name: str, x, level: str, exact: int = 1) -> np.ndarray:
    op, scalars, _ = FUNCTIONS[name]
    values = np.asarray(x, np.float32).tolist()
    return np.array(run_op(op, Call([made(len(values)), given(values)], (len(values), exact), scalars), level)[0], np.float32)


def bits(y: np.ndarray) -> np.ndarray:
    """The bits of floats, NaN made canonical."""
    return np.where(np.isnan(y), np.float32(NAN), y).view(np.uint32)


def nearest(v: mpmath.mpf) -> np.float32:
    """The float nearest to a number that is no middle of two; by way of float64 a second rounding might make it another."""
    if abs(v) >= 2**128:
        return np.float32(math.copysign(INF, v))
    with np.errstate(over="ignore", under="ignore"):
        y = np.float32(math.copysign(min(abs(float(v)), LARGEST), v))
        near = [np.nextafter(y, np.float32(-INF)), y, np.nextafter(y, np.float32(INF))]
    # the float beyond the largest would be 2^128
    return min(near, key=lambda c: abs(mpmath.mpf(math.copysign(2.0**128, c) if np.isinf(c) else float(c)) - v))


def floats(count: int) -> np.ndarray:
    """So many floats, all exponents and signs alike, NaN and infinity left out: every 2^32 / count-th, an odd step."""
    steps = np.arange(count, dtype=np.uint64) * (2**32 // count | 1)
    x = (steps % 2**32).astype(np.uint32).view(np.float32)
    return x[np.isfinite(x)]


@EACH
def test_a_sample_of_all_floats_is_rounded_to_nearest(name):
    x = floats(3000)
    lively = np.linspace(-30, 30, 2000, dtype=np.float32)
    x = np.concatenate([x, lively, lively / 1000, np.linspace(-104, 89, 500, dtype=np.float32)])
    if name == "log":
        x = np.abs(x[x != 0])
    x = x[np.abs(x) < 1e4] if name != "log" else x  # beyond, every function is at its limit: SPECIAL
    y = run(name, x, FAST[-1])
    with mpmath.workprec(400):
        want = np.array([nearest(FUNCTIONS[name][2](mpmath.mpf(float(v)))) for v in x], np.float32)
    wrong = np.flatnonzero(np.not_equal(y, want))
    assert len(x) > 3000 and not len(wrong), [(float(x[i]).hex(), float(y[i]).hex(), float(want[i]).hex()) for i in wrong[:4]]


@EACH
def test_the_hardest_arguments_are_rounded_to_nearest(name, isa):  # noqa: F811
    """In every lane of a vector, among others that are not; all are so hard that the second try is asked (X_MARGIN)."""
    x = np.array([float.fromhex(t) for t in HARDEST[name].split()], np.float32)
    with mpmath.workprec(400):
        values = [FUNCTIONS[name][2](mpmath.mpf(float(v))) for v in x]
        want = np.array([nearest(v) for v in values], np.float32)
        margin = mpmath.mpf(2) ** -45
        assert all(nearest(v * (1 - margin)) != nearest(v * (1 + margin)) for v in values)
    assert len(x) >= 2
    for places in range(17):
        mixed = np.full(len(x) * 17 + 5, 0.7, np.float32)
        mixed[places : places + 17 * len(x) : 17] = x
        assert (run(name, mixed, isa)[places : places + 17 * len(x) : 17] == want).all()
    assert (run(name, x, isa) == want).all()


@EACH
def test_special_values(name, isa):  # noqa: F811
    x, want = zip(*SPECIAL[name], (NAN, NAN), strict=True)
    assert (bits(run(name, x, isa)) == bits(np.array(want, np.float32))).all()


@EACH
def test_every_level_gives_the_same_bits(name):
    """Random bits: subnormals, infinities and NaN among them."""
    x = np.random.default_rng(5).integers(0, 2**32, 60_001, dtype=np.uint32).view(np.float32)
    found = {level: bits(run(name, x, level)) for level in ("reference", *FAST)}
    assert all((y == found["portable"]).all() for y in found.values())
    fast = bits(run(name, np.linspace(-20, 20, 10_001), FAST[-1], exact=0))
    assert np.mean(fast != bits(run(name, np.linspace(-20, 20, 10_001), FAST[-1]))) > 0.002, "the switch does nothing"


@EACH
def test_no_flag_is_raised_that_the_fast_functions_do_not_raise(name, isa):  # noqa: F811
    """These raise underflow where a term that does not count is lost; double has room for it."""
    op, scalars, _ = FUNCTIONS[name]
    for x in (0.0, -0.0, 1.0, -1.0, 0.3, 50.0, -50.0, 88.0, 89.0, 1e30, -1e30, INF, -INF):
        raised = [raised_by(op, Call([made(1), given([x])], (1, exact), scalars), isa) for exact in (0, 1)]
        assert raised[1] & ~raised[0] == 0, (op, x, raised)


def test_gelu_is_the_argument_times_the_nearest_to_phi(isa):  # noqa: F811
    """Two roundings, each to nearest, to the last subnormal; and the fast one is as good, 3 ulp, where 1 + erf is 0."""
    x = np.concatenate([floats(1500)[np.abs(floats(1500)) < 20], np.linspace(-14.3, 6, 1500, dtype=np.float32)])
    with mpmath.workprec(400):
        phi = [mpmath.erfc(-mpmath.mpf(float(v)) / mpmath.sqrt(2)) / 2 for v in x]
        truth = np.array([float(mpmath.mpf(float(v)) * p) for v, p in zip(x, phi, strict=True)])
        want = x * np.array([nearest(p) for p in phi], np.float32)
    found = [np.array(run_op("gelu_fwd", Call([made(len(x)), given(x.tolist())], (len(x), exact)), isa)[0], np.float32)
             for exact in (0, 1)]
    assert len(x) > 2000 and (bits(found[1]) == bits(want)).all()
    ulp = np.spacing(np.abs(truth).astype(np.float32)).astype(np.float64)
    normal = x > -12.5  # below, Phi is subnormal and has fewer digits
    assert (np.abs(found[0].astype(np.float64) - truth) / ulp)[normal].max() < 3
    ends = [(-INF, -0.0), (INF, INF), (NAN, NAN), (-LARGEST, -0.0), (LARGEST, LARGEST), (0.0, 0.0), (-0.0, -0.0)]
    values = given([v for v, _ in ends])
    for exact in (0, 1):
        got = np.array(run_op("gelu_fwd", Call([made(len(ends)), values], (len(ends), exact)), isa)[0], np.float32)
        assert (bits(got) == bits(np.array([w for _, w in ends], np.float32))).all()


# ---- instructions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("act, scalars", [("sigmoid_fwd", (1.7,)), ("tanh_fwd", (1.7159, 2 / 3)), ("elu_fwd", (1.05, 1.67))])
def test_a_fused_activation_is_the_op_after_the_product(act, scalars, isa):  # noqa: F811
    rng = np.random.default_rng(3)
    x, w = (given((rng.standard_normal(n) / 2).astype(np.float32).tolist()) for n in (64 * 33, 33 * 40))
    shape, code = (64, 33, 40), op_names()[act]
    for planes in (0, 3):
        z = run_op("dense_fwd", Call([made(2560), x, w, None], (*shape, -1, planes)), isa)[0]
        want = run_op(act, Call([made(2560), given(z.tolist())], (2560, 1), scalars), isa)[0]
        got, fast = (run_op("dense_fwd", Call([made(2560), x, w, None], (*shape, code, planes, exact), scalars), isa, 2)[0]
                     for exact in (1, 0))
        assert got.tobytes() == want.tobytes() and got != fast


@pytest.mark.parametrize("planes", (0, 2))
@pytest.mark.parametrize("op", ("conv_fwd", "conv_bwd_data"))
def test_a_convolution_has_it_too(op, planes, isa):  # noqa: F811
    rng = np.random.default_rng(4)
    sizes, n = (2, 9, 9, 32, 3, 3, 32, 9, 9, 1, 1, 1, 1, 1, 1, 1), 2 * 9 * 9 * 32
    x, w = (given((rng.standard_normal(k) / 4).astype(np.float32).tolist()) for k in (n, 9 * 32 * 32))
    z = run_op(op, Call([made(n), x, w, None], (*sizes, -1, planes)), isa)[0]
    want = run_op("tanh_fwd", Call([made(n), given(z.tolist())], (n, 1), (1.0, 1.0)), isa)[0]
    got = run_op(op, Call([made(n), x, w, None], (*sizes, op_names()["tanh_fwd"], planes, 1), (1.0, 1.0)), isa, 2)[0]
    assert got.tobytes() == want.tobytes()


def test_python_c_and_the_header_agree_on_the_ops():
    """What Python marks is what the header gives a last size `exact`, 0 or 1, and so are the products that fuse activations."""
    marked = {name for name, op in OPS.items() if op.elementary}
    stated = {name.lower() for name, comment in OPCODES if parts(comment)[1][-1:] == ["exact"]}
    assert stated == marked | {name for name, op in OPS.items() if op.fuses}
    for case in collect():
        if case.op in marked:
            call = case.call(next(s for s in case.sizes if all(s)))
            assert run_op(case.op, Call(call.args, (*call.dims, 1), call.scalars))
            for word in (2, -1, 1 << 40):
                with pytest.raises(Exception, match="status 1"):
                    run_op(case.op, Call(call.args, (*call.dims, word), call.scalars))


# ---- networks --------------------------------------------------------------------------------------------------------


def network(elementary: str, math_mode: str = "f32") -> nn.Sequential:
    return nn.Sequential([nn.Conv2D(32, 3, stride=3), nn.Tanh(), nn.Flatten(), nn.Dense(40), nn.Sigmoid(), nn.Dense(24),
                          nn.Softplus(), nn.Dense(20), nn.GELU(), nn.Dense(16), nn.ELU(), nn.Dense(10)], seed=3,
                         math=math_mode, elementary=elementary)


@pytest.mark.parametrize("math_mode", ("f32", "bf16x3"))
def test_a_training_reaches_the_same_weights_on_every_level(math_mode):
    model, plain = trained_alike(lambda: network("exact", math_mode), lambda: network("fast", math_mode), FAST)
    head, *lines = str(model.tape).splitlines()
    assert f"{math_mode} exact (numerics" in head and "exact" not in str(plain.tape)
    assert sum(" exact" in line for line in lines) == 8  # tanh, sigmoid, softplus and gelu twice, elu, the loss


def test_the_word_is_kept_in_the_file_and_can_be_changed(tmp_path):
    train = nn.data.load("glyphs").train
    x, y = train.images.view()[:64], train.labels.view()[:64]
    model = network("exact")
    model.fit((x, y), epochs=1, batch=32)
    model.save(tmp_path / "model.safetensors")
    loaded = nn.load(tmp_path / "model.safetensors")
    assert loaded.elementary == "exact" and loaded.logits(x).tolist() == model.logits(x).tolist()
    loaded.elementary = "fast"
    far = max(abs(a - b) for p, q in zip(loaded.logits(x).tolist(), model.logits(x).tolist(), strict=True)
              for a, b in zip(p, q, strict=True))
    assert 0 < far < 1e-4
    with pytest.raises(UsageError, match="elementary is one of fast, exact, got 'precise'"):
        network("precise")


def test_the_twin_has_one_kind_of_functions():
    """Float64 kernels ignore the switch, and a twin's tape does not ask."""
    x = array("d", np.linspace(-5, 5, 101)).tolist()
    found = [run_op("exponential", Call([made(101), given(x)], (101, exact)), real="f64")[0] for exact in (0, 1)]
    assert found[0] == found[1]
    model = network("exact").build((28, 28))
    trainer = model.trainer(nn.data.load("glyphs").train, 1, 32)
    assert " exact" in str(trainer.tape) and " exact" not in str(trainer.tape.twin())
