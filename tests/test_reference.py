"""The definitions against the kernels, bit for bit, where both do the same operations in the same order.

That is every elementwise op, whose only freedom is the elementary function: in float64 the reference calls one lane of
the functions that the kernels vectorise (csrc/reference.c), so the twins agree bit for bit; in float32 the ops without
an elementary function do too. And the matrix products: one chain per output on both sides. A bound could hide a slip of
one operation in a thousand inputs; equality does not.
"""

from __future__ import annotations

import random

import pytest

from nncore.bench.cases import Call, activation, elementwise, gemm, given, made
from tests.harness import isa, run_op, same_bits  # noqa: F401

CORRECTED = {"sigmoid_fwd", "softplus_bwd"}  # v_sigmoid corrects its quotient, the reference is the textbook's fraction
ELEMENTARY = {"tanh_fwd", "elu_fwd", "softplus_fwd", "exponential", "logarithm", "error_function", "gelu_fwd",
              "gelu_bwd"} | CORRECTED
POINTWISE = activation.CASES + elementwise.CASES


def agree(case, size, kind, level, real):
    """Reference and kernel of one call: the same bits."""
    call = case.call(size, kind)
    want, got = (run_op(case.op, call, name, real=real) for name in ("reference", level))
    for a, b in zip(want, got, strict=True):
        assert same_bits(a, b), f"{case.name} {size} {kind} {real} {level}"


@pytest.mark.parametrize("case", POINTWISE, ids=lambda c: c.name)
def test_elementwise_twins_agree(case, isa):  # noqa: F811
    for kind in (*case.kinds, "special", "huge"):
        if case.op not in CORRECTED:
            agree(case, (1021,), kind, isa, "f64")
        if case.op not in ELEMENTARY:
            agree(case, (1021,), kind, isa, "f32")


@pytest.mark.parametrize("case", gemm.CASES, ids=lambda c: c.name)
def test_products_agree(case, isa):  # noqa: F811
    for size in case.sizes:
        for real in ("f32", "f64"):
            agree(case, size, case.kinds[0], isa, real)


@pytest.mark.parametrize("real", ("f32", "f64"))
def test_two_classes_agree(isa, real):  # noqa: F811
    """With two classes every order of a row sum is one addition, so exp and log agree through softmax as well (f64)."""
    rng = random.Random(2)
    z = [rng.uniform(-30, 30) for _ in range(2000)]
    for op in ("softmax_fwd", "log_softmax_fwd"):
        call = Call([made(2000), given(z)], (1000, 2))
        (want,), (got,) = run_op(op, call, "reference", real=real), run_op(op, call, isa, real=real)
        if real == "f64":
            assert same_bits(want, got)
        else:  # the reference rounds the double functions once; the kernels' float functions are within 2 ulp
            assert sum(a != b for a, b in zip(want, got, strict=True)) < 1000
