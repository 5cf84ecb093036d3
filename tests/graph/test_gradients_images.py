"""Rung 4 for the ops on images: pooling, upsampling, joining. Values keep away from ties and zeros, where kinks are."""

import random
from array import array

import pytest

from nncore.graph import ops
from nncore.graph.autodiff import gradients
from nncore.graph.node import State
from tests.gradcheck import check, parameter, run_values, weighted_sum

WINDOWS = {
    "2x2": ((2, 2), (2, 2), (0, 0)), "3x3s2p1": ((3, 3), (2, 2), (1, 1)), "3x2s1x2p2x0": ((3, 2), (1, 2), (2, 0)),
    "1x2s3x3p0x1": ((1, 2), (3, 3), (0, 1)), "17x16": ((17, 16), (5, 16), (8, 9)),
}  # fmt: skip
POOLS = {"max_pool": ops.max_pool, "avg_pool": ops.avg_pool, "l2_pool": ops.l2_pool}
COVERED = {*POOLS, "upsample_nearest", "upsample_bilinear", "block_copy", "concat"}


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


@pytest.mark.parametrize("factor", ((2, 2), (3, 1), (2, 5)))
@pytest.mark.parametrize("op", (ops.upsample_nearest, ops.upsample_bilinear), ids=lambda op: op.name)
def test_upsampling(op, factor):
    x, values = parameter("x", 2, 3, 2, 3), {}
    values[x] = apart(x.size)
    assert check(weighted_sum(op(x, factor=factor), values), values) == x.size


@pytest.mark.parametrize("extent, offset", (((2, 3, 2), (1, 0, 1)), ((5, 4, 3), (-1, -1, 0)), ((4, 2, 5), (2, -1, -1))))
def test_block_copy(extent, offset):
    x, values = parameter("x", 2, 4, 3, 3), {}
    values[x] = apart(x.size)
    assert check(weighted_sum(ops.block_copy(x, extent=extent, offset=offset), values), values) == x.size


@pytest.mark.parametrize("widths", ((2, 3), (1, 2, 1, 4), tuple(range(1, 14))))
def test_concat(widths):
    """Thirteen inputs are more than one instruction takes."""
    inputs, values = [parameter(f"x{j}", 2, 3, w) for j, w in enumerate(widths)], {}
    values.update({x: apart(x.size, j) for j, x in enumerate(inputs)})
    assert check(weighted_sum(ops.concat(*inputs), values), values) == 6 * sum(widths)


# The adjoint identity <A x, v> = <x, A' v>, exact in float32: integers, and weights that are powers of two.

LINEAR = {
    "average 2x2": (lambda x: ops.avg_pool(x, window=(2, 2), stride=(2, 2)), 4),
    "average 4x2, overlapping": (lambda x: ops.avg_pool(x, window=(4, 2), stride=(2, 1)), 8),
    "average of gaps": (lambda x: ops.avg_pool(x, window=(1, 2), stride=(3, 3)), 2),
    "nearest": (lambda x: ops.upsample_nearest(x, factor=(3, 2)), 1),
    "bilinear": (lambda x: ops.upsample_bilinear(x, factor=(2, 4)), 128),
    "slice": (lambda x: ops.block_copy(x, extent=(2, 3, 1), offset=(1, 2, 1)), 1),
    "pad": (lambda x: ops.block_copy(x, extent=(9, 8, 3), offset=(-2, -1, 0)), 1),
    "concat": (lambda x: ops.concat(x, ops.scale(x, c=2.0), x), 1),
}  # fmt: skip


@pytest.mark.parametrize("channels", (3, 20))
@pytest.mark.parametrize("name", LINEAR)
def test_adjoint_identity(name, channels):
    """A' v is the gradient of <A x, v> by x. Everything is an integer over `unit`, far below 2^24: no rounding."""
    op, unit = LINEAR[name]
    rng = random.Random(name)
    x = parameter("x", 2, 6, 6, channels)
    y = op(x)
    v = State("v", y.shape)
    values = {x: [rng.randrange(-8, 9) for _ in range(x.size)], v: [rng.randrange(-8, 9) for _ in range(v.size)]}
    back = gradients(ops.sum_all(ops.mul(y, v)), [x])[x]
    _, _, rerun = run_values([], {"y": y, "back": back}, values, real="f32")
    got = rerun()
    assert any(got["y"]) and all((a * unit).is_integer() for a in got["y"] + got["back"])
    forward = sum(round(a * unit) * b for a, b in zip(got["y"], values[v], strict=True))
    assert forward == sum(round(a * unit) * b for a, b in zip(got["back"], values[x], strict=True))


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


@pytest.mark.parametrize("variant", WINDOWS)
def test_a_mask_moves_through_a_maximum_pooling(variant):
    """relu_bwd works on the pooled gradient, and the bits are those of masking behind it."""
    x = parameter("x", 2, 9, 12, 3)
    a = ops.relu(x)
    y = pooling(ops.max_pool, variant)(a)
    r = State("r", y.shape)
    draw = random.Random(3)
    nan, inf = float("nan"), float("inf")
    values = {x: [draw.choice((0.0, -0.0, nan, inf, -inf, 1.5, -2.0, draw.uniform(-1, 1))) for _ in range(x.size)],
              r: [draw.choice((0.0, -0.0, draw.uniform(-1, 1), inf)) for _ in range(r.size)]}
    moved = gradients(ops.sum_all(ops.mul(y, r)), [x])[x]
    assert moved.op.name == "max_pool_bwd" and moved.inputs[0].op is ops.relu_bwd and moved.inputs[0].size == y.size
    behind = ops.relu_bwd(ops.max_pool_bwd(moved.inputs[0].inputs[0], y.output(1), image=x.shape, **y.attrs), a)
    _, _, rerun = run_values([], {"moved": moved, "behind": behind}, values, real="f32")
    found = rerun()
    assert array("f", found["moved"]).tobytes() == array("f", found["behind"]).tobytes()
