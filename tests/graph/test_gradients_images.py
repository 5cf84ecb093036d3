"""Rung 4 for the ops on images: pooling, upsampling, joining. Values keep away from ties and zeros, where kinks are."""

import random

import pytest

from nncore.graph import ops
from nncore.graph.autodiff import gradients
from tests.gradcheck import check, parameter, run_values, weighted_sum

WINDOWS = {
    "2x2": ((2, 2), (2, 2), (0, 0)), "3x3s2p1": ((3, 3), (2, 2), (1, 1)), "3x2s1x2p2x0": ((3, 2), (1, 2), (2, 0)),
    "1x2s3x3p0x1": ((1, 2), (3, 3), (0, 1)), "17x16": ((17, 16), (5, 16), (8, 9)),
}  # fmt: skip
POOLS = {"max_pool": ops.max_pool, "avg_pool": ops.avg_pool, "l2_pool": ops.l2_pool}
COVERED = {*POOLS}


def apart(n, seed=1):
    """n values 0.1 apart, none nearer than 0.05 to 0, in random order: no ties, no zeros."""
    values = [0.1 * (i - n // 2) + 0.05 for i in range(n)]
    random.Random(seed).shuffle(values)
    return values


def pooling(op, variant):
    window, stride, padding = WINDOWS[variant]
    return lambda x: op(x, window=window, stride=stride, padding=padding)


@pytest.mark.parametrize("variant", WINDOWS)
@pytest.mark.parametrize("name", POOLS)
def test_pooling(name, variant):
    x, values = parameter("x", 2, 5, 7, 3), {}
    if variant == "17x16":
        x = parameter("x", 1, 6, 9, 2)
    values[x] = apart(x.size)
    assert check(weighted_sum(pooling(POOLS[name], variant)(x), values), values) == x.size


# What the gradient is where there are several: the first of equal maxima, and 0 for the norm of zeros.


def gradient(y, x, values):
    """d sum(y) / dx at values, exact in float32."""
    _, _, rerun = run_values([], {"dx": gradients(ops.sum_all(y), [x])[x]}, {x: values}, real="f32")
    return rerun()["dx"]


def test_the_first_of_equal_maxima_gets_the_gradient():
    x = parameter("x", 1, 2, 4, 1)
    y = ops.max_pool(x, window=(2, 2), stride=(2, 2))
    assert gradient(y, x, [1, 2, -0.0, 0.0, 2, 2, 0.0, -1]) == [0, 1, 1, 0, 0, 0, 0, 0]


def test_a_nan_is_the_maximum_and_gets_the_gradient():
    nan, inf = float("nan"), float("inf")
    x = parameter("x", 1, 2, 6, 1)
    y = ops.max_pool(x, window=(2, 2), stride=(2, 2))
    values = [nan, 9, inf, -inf, 1, inf, nan, 2, 3, inf, 3, nan]
    assert gradient(y, x, values) == [1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    _, _, rerun = run_values([], {"y": y}, {x: values}, real="f32")
    a, b, c = rerun()["y"]
    assert a != a and b == inf and c != c


def test_the_norm_of_zeros_has_gradient_zero():
    x = parameter("x", 1, 2, 4, 1)
    y = ops.l2_pool(x, window=(2, 2), stride=(2, 2))
    assert gradient(y, x, [0, -0.0, 3, 0, 0, 0, 0, 4]) == [0, 0, 0.6000000238418579, 0, 0, 0, 0, 0.800000011920929]
