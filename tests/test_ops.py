"""Every op on every ISA: the ladder of trust of anchors.md 2.9, over all cases of nncore.bench.cases.

Rung 1, the float64 reference against tests/oracle.py. Rung 2, the float32 reference against that. Rung 3, the fastest
ISA against it, and all others, thread counts, alignments and aliases against the fastest, bit for bit. The tolerance is
the case's bound, whose derivation stands beside it; it serves float64 with its own u, and the oracle errs by ORACLE u.
"""

from __future__ import annotations

import importlib
from array import array
from functools import cache
from pathlib import Path

import pytest

from nncore.bench.cases import SPECIAL, Call, Case, collect, exact_cases, given, made
from tests.harness import LEVELS, assert_within, have, isa, need_level, op_names, run_op, same_bits  # noqa: F401

CASES = [*collect(), *exact_cases()]
EACH = pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
ORACLE = 4.0  # libm within 1 ulp (2 u), and one more operation or rounding behind it
ORACLES = [importlib.import_module(f"tests.{p.stem}") for p in sorted(Path(__file__).parent.glob("oracle*.py"))]


def runs(case: Case) -> list[tuple[tuple, str]]:
    """(size, kind) of a case's tests: all sizes with the first kind, some small and two larger with the others."""
    some = [s for s in case.sizes if all(s)][:8:3]
    grid = [(size, case.kinds[0]) for size in case.sizes]
    grid += [(size, kind) for kind in case.kinds[1:] for size in some]
    largest = [s for s in case.sizes if 60 <= _product(s) <= 2000][-2:]
    return grid + [(size, kind) for size in largest for kind in case.kinds[1:]]


def wild(case: Case) -> list[tuple[tuple, str]]:
    """(size, kind) of the infinities, NaN and overflows."""
    sizes = [s for s in case.sizes if 30 <= _product(s) <= 2000][-2:]
    return [(size, kind) for size in sizes for kind in ("special", "huge")] if case.special else []


def _product(size: tuple) -> int:
    n = 1
    for s in size:
        n *= s
    return n


@cache
def made_call(case: Case, size: tuple, kind: str) -> Call:
    return case.call(size, kind)


@cache
def truth(case: Case, size: tuple, kind: str) -> list:
    """The float64 reference's outputs: what float32 is measured by, itself checked by rung 1."""
    return run_op(case.op, made_call(case, size, kind), "reference", real="f64")


@cache
def kernel(case: Case, size: tuple, kind: str, level: str, real: str) -> list:
    """The outputs of a level on one thread."""
    return run_op(case.op, made_call(case, size, kind), level, real=real)


def base_level() -> str:
    """The fastest level: its outputs are checked against the bound, the others against its bits."""
    return [level for level in LEVELS if have(level)][-1]


def oracle_of(op: str):
    return next((getattr(module, op) for module in ORACLES if hasattr(module, op)), None)


# ---- completeness --------------------------------------------------------------------------------------------------


def test_every_op_has_a_case_and_an_oracle():
    """One op list: whatever nn_op_name knows is tested, and nothing else."""
    assert {case.op for case in CASES} == set(op_names())
    assert not [op for op in op_names() if oracle_of(op) is None]


@pytest.mark.parametrize("level", LEVELS)
def test_every_level_runs(level):
    need_level(level)


def test_names_are_unique():
    names = [case.name for case in CASES]
    assert sorted(set(names)) == sorted(names)


# ---- rung 1: the float64 reference against the oracle --------------------------------------------------------------


@EACH
def test_reference_is_the_formula(case):
    for size, kind in runs(case) + wild(case):
        if _product(size) > 20_000 or size[-1] == 0:
            continue
        call = made_call(case, size, kind)
        want = oracle_of(case.op)(call)
        got, bound = truth(case, size, kind), case.naive or case.bound
        assert_within(f"{case.name} {size} {kind}", call, got, want, bound, "f64", ORACLE)


# ---- rung 2: the float32 reference against float64 -----------------------------------------------------------------


@EACH
def test_float32_reference_within_bound(case):
    for size, kind in runs(case):
        call, want = made_call(case, size, kind), truth(case, size, kind)
        got = run_op(case.op, call, "reference")
        assert_within(f"{case.name} {size} {kind}", call, got, want, case.naive or case.bound, "f32")


# ---- rung 3: the kernels -------------------------------------------------------------------------------------------


@EACH
@pytest.mark.parametrize("real", ("f32", "f64"))
def test_kernel_within_bound(case, real):
    """The fastest level's values; the float64 twin's also on infinities and NaN, where float32 overflows elsewhere."""
    level = base_level()
    for size, kind in runs(case) + (wild(case) if real == "f64" else []):
        call, want = made_call(case, size, kind), truth(case, size, kind)
        more = ORACLE if real == "f64" else 0.0
        bound = case.bound if real == "f32" or not case.naive else case.naive
        got = kernel(case, size, kind, level, real)
        assert_within(f"{case.name} {size} {kind} {level}", call, got, want, bound, real, more)


@EACH
def test_special_values(case):
    """Infinities, NaN, zeros and denormals give in float32 what they give in float64."""
    for size, kind in wild(case):
        if kind == "special":
            call, want = made_call(case, size, kind), truth(case, size, kind)
            for level in ("reference", base_level()):
                bound = case.naive or case.bound if level == "reference" else case.bound
                got = kernel(case, size, kind, level, "f32")
                assert_within(f"{case.name} {size} {kind} {level}", call, got, want, bound, "f32")


@EACH
def test_same_bits_on_every_isa(case, isa):  # noqa: F811
    base = base_level()
    for real in ("f32", "f64"):
        for size, kind in runs(case) + wild(case):
            got, want = kernel(case, size, kind, isa, real), kernel(case, size, kind, base, real)
            for k, (a, b) in enumerate(zip(got, want, strict=True)):
                assert same_bits(a, b), f"{case.name} {size} {kind} {real}: output {k}: {isa} differs from {base}"


@EACH
def test_same_bits_on_any_number_of_threads(case):
    base = base_level()
    sizes = [s for s in case.sizes if all(s)]
    for size in sizes[:1] + sizes[-4:]:
        kind = case.kinds[0]
        want = kernel(case, size, kind, base, "f32")
        for threads in (2, 3, 7):
            got = run_op(case.op, made_call(case, size, kind), base, threads)
            assert all(map(same_bits, got, want)), f"{case.name} {size}: {threads} threads differ from 1"


# ---- memory --------------------------------------------------------------------------------------------------------


@EACH
def test_unaligned_buffers_and_guard_pages(case, isa):  # noqa: F811
    """The same bits from buffers 1 and 3 elements off, and nothing touched outside them, by reading or writing."""
    for size in case.sizes[-8:]:
        kind = case.kinds[0]
        call, want = made_call(case, size, kind), kernel(case, size, kind, isa, "f32")
        for place in ({"offset": 1}, {"offset": 3}, {"guard": "back"}, {"guard": "front"}):
            got = run_op(case.op, call, isa, **place)
            assert all(map(same_bits, got, want)), f"{case.name} {size} {place}"


@EACH
def test_aliases(case, isa):  # noqa: F811
    """An output in the place of an input gives what it gives elsewhere."""
    for alias in case.alias:
        for size in case.sizes[-4:]:
            kind = case.kinds[0]
            call = made_call(case, size, kind)
            for level in (isa, "reference"):
                want = kernel(case, size, kind, level, "f32")
                got = run_op(case.op, call, level, alias=alias)
                assert all(map(same_bits, got, want)), f"{case.name} {size}: argument {alias[0]} in place of {alias[1]}"


# ---- what has no case of its own -----------------------------------------------------------------------------------

EPILOGUES = [case for case in CASES if case.op.endswith("_fwd") and len(case.sizes[0]) == 1]


@pytest.mark.parametrize("case", EPILOGUES, ids=lambda c: c.name)
def test_epilogue_is_the_op_after_the_product(case, isa):  # noqa: F811
    """dense_fwd with a fused activation has the bits of dense_fwd and then the op: fusion never changes them."""
    dense = next(c for c in CASES if c.name == "dense_fwd")
    for size in ((5, 7, 19), (1, 3, 1), (33, 40, 50)):
        plain = dense.call(size, "normal")
        fused = Call(plain.args, (*size, op_names()[case.op]), case.call((1,)).scalars)
        for level in (isa, "reference"):
            (z,) = run_op("dense_fwd", plain, level)
            (want,) = run_op(case.op, Call([made(len(z)), given(z)], (len(z),), fused.scalars), level)
            (got,) = run_op("dense_fwd", fused, level, threads=2)
            assert same_bits(got, want), f"{case.name} {size} {level}"


def test_softmax_is_shift_invariant_and_sums_to_one(isa):  # noqa: F811
    """Shifting logits by an integer below 2^10 rounds nothing here (multiples of 2^-10), so the bits stay the same."""
    z = [round(v * 1024) / 1024 for v in next(c for c in CASES if c.op == "softmax_fwd").call((20, 10)).values(1)]
    (y,) = run_op("softmax_fwd", Call([made(200), given(z)], (20, 10)), isa)
    (shifted,) = run_op("softmax_fwd", Call([made(200), given([v + 512 for v in z])], (20, 10)), isa)
    assert same_bits(y, shifted)
    for i in range(20):  # ten quotients rounded by u y each; the sum of e by gamma_5
        assert abs(sum(y[10 * i : 10 * i + 10]) - 1) <= 7 * 2.0**-24


def test_cross_entropy_of_finite_logits_is_never_nan(isa):  # noqa: F811
    """Logits as far apart as floats go: the loss may be infinite, the gradient is a probability."""
    big = 3e38
    z = [big, -big, 0.0, -big, -big, -big, 1e-45, 88.0, -104.0]
    call = Call([made(3), made(9), given(z), given([1, 0, 2], "i32")], (3, 3), (1.0,))
    loss, dz = run_op("softmax_xent", call, isa)
    assert all(v == v for v in (*loss, *dz))
    assert loss[0] == float("inf") and list(dz[:3]) == [1.0, -1.0, 0.0]


def test_rows_do_not_depend_on_the_batch(isa):  # noqa: F811
    """R14: a row alone has the bits it has among others."""
    for op in ("softmax_fwd", "log_softmax_fwd"):
        call = next(c for c in CASES if c.op == op).call((7, 33))
        (all_rows,) = run_op(op, call, isa)
        for i in range(7):
            row = call.values(1)[33 * i : 33 * (i + 1)]
            (alone,) = run_op(op, Call([made(33), given(row)], (1, 33)), isa)
            assert same_bits(alone, all_rows[33 * i : 33 * (i + 1)])


def test_kinks(isa):  # noqa: F811
    """The derivatives chosen where there are several (definitions.md), and what NaN does."""
    nan, dy = float("nan"), [3.0] * 5

    def back(op, y, *scalars):
        return list(run_op(op, Call([made(5), given(dy), given(y)], (5,), scalars), isa)[0])

    assert back("relu_bwd", [0.0, -0.0, 1.0, -1.0, nan]) == [0, 0, 3, 0, 0]
    assert back("leaky_relu_bwd", [0.0, -0.0, 1.0, -1.0, nan], 0.5) == [1.5, 1.5, 3, 1.5, 1.5]
    assert back("satlin_bwd", [0.0, 1.0, 0.5, -0.0, nan]) == [0, 0, 3, 0, 0]
    assert back("elu_bwd", [0.0, -0.0, 1.0, -1.0, -0.5], 1.0, 1.0) == [3, 3, 3, 0, 1.5]
    (step,) = run_op("step_fwd", Call([made(5), given([0.0, -0.0, -1e-45, 2.0, nan])], (5,)), isa)
    assert list(step[:4]) == [1, 1, 0, 1] and step[4] != step[4]
    (relu,) = run_op("relu_fwd", Call([made(5), given([-0.0, -1.0, nan, 1.0, -float("inf")])], (5,)), isa)
    assert str(relu[0]) == "-0.0" and relu[2] != relu[2] and list(relu[3:]) == [1, 0]


def test_order_of_sums(isa):  # noqa: F811
    """The order probe (FPRev): M and -M hide what is added between them; how many ones survive reveals the tree.

    With M = 2^25 at i and -M at j > i and ones elsewhere, a one survives unless it is added to M before -M is: float32
    has M + 1 = M. Expected from R3: lanes i mod 16, tree 8-4-2-1.
    """
    n = 50
    for i, j in ((0, 16), (0, 1), (0, 8), (3, 35), (5, 6), (2, 49), (48, 49), (7, 15)):
        x = [1.0] * n
        x[i], x[j] = 2.0**25, -(2.0**25)
        (y,) = run_op("sum_all", Call([made(1), given(x)], (n, 1), (1.0,)), isa)
        lanes = [0.0] * 16
        for k, v in enumerate(x):
            lanes[k % 16] = _single(lanes[k % 16] + v)
        for half in (8, 4, 2, 1):
            lanes = [_single(lanes[k] + lanes[k + half]) for k in range(half)]
        assert y[0] == lanes[0], (i, j)


def _single(x: float) -> float:
    return array("f", [x])[0]


def test_special_table_has_what_it_promises():
    assert {0.0, 1.0, -1.0, float("inf"), -float("inf")} <= set(SPECIAL) and any(v != v for v in SPECIAL)
