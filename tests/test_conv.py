"""Convolution beyond the ladder of test_ops.py: larger shapes against another program, identities, orders, the layers.

The references of csrc/ops/conv.c are checked by tests/oracle_conv.py; here numpy pads, slices and multiplies instead.
"""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nncore as nn
from nncore.bench.cases import Call, collect, conv, made
from nncore.bench.cases import given as argument
from nncore.graph import ops
from nncore.graph.plan import linearise
from nncore.nn.base import Builder
from nncore.train.checkpoint import file_shape, from_file, to_file
from tests.gradcheck import parameter
from tests.harness import LEVELS, have, isa, op_names, run_op, same_bits  # noqa: F401

BEST = [level for level in LEVELS if have(level)][-1]
OPS = ("conv_fwd", "conv_bwd_data", "conv_bwd_weight")


class Layer:
    """Integer tensors of a layer, small enough that every sum is exact, and what the three ops make of them."""

    def __init__(self, size, seed=1, high=3):
        self.dims = conv.dims(size)
        self.N, self.H, self.W, self.C, self.R, self.S, self.K, self.P, self.Q, *rest = self.dims
        self.sh, self.sw, self.pt, self.pl, self.dh, self.dw, self.G, _ = rest
        draw = np.random.default_rng(seed)

        def integers(*shape):
            return draw.integers(-high, high + 1, shape).astype(np.float64)

        self.x, self.w = integers(self.N, self.H, self.W, self.C), integers(self.R, self.S, self.C // self.G, self.K)
        self.dy, self.b = integers(self.N, self.P, self.Q, self.K), integers(self.K)

    def run(self, op, level=BEST, threads=1, act=-1, scalars=(), bias=False, real="f32", shards=1, planes=0):
        first, second, shape = {"conv_fwd": (self.x, self.w, self.dy.shape), "conv_bwd_data": (self.dy, self.w, self.x.shape),
                                "conv_bwd_weight": (self.x, self.dy, (shards, *self.w.shape))}[op]
        args = [made(int(np.prod(shape))), argument(first.ravel().tolist()), argument(second.ravel().tolist())]
        if op != "conv_bwd_weight":
            args.append(argument(self.b.tolist()) if bias else None)
        last = shards if op == "conv_bwd_weight" else act
        (out,) = run_op(op, Call(args, (*self.dims[:16], last, planes), scalars), level, threads, real)
        return np.array(out).reshape(shape)

    def windows(self):
        """(r, s, rows of y, columns of y, rows of x, columns of x) of every tap that some output sees."""
        for r in range(self.R):
            for s in range(self.S):
                p = np.arange(self.P) * self.sh - self.pt + r * self.dh
                q = np.arange(self.Q) * self.sw - self.pl + s * self.dw
                rows, columns = np.flatnonzero((p >= 0) & (p < self.H)), np.flatnonzero((q >= 0) & (q < self.W))
                if len(rows) and len(columns):
                    yield r, s, np.ix_(range(self.N), rows, columns), np.ix_(range(self.N), p[rows], q[columns])

    def textbook(self):
        """(y, dx, dw), tap by tap and group by group."""
        y, dx, dw = np.zeros(self.dy.shape), np.zeros(self.x.shape), np.zeros(self.w.shape)
        for r, s, out, into in self.windows():
            for g in range(self.G):
                c, k = (slice(g * n // self.G, (g + 1) * n // self.G) for n in (self.C, self.K))
                w, x, dy = self.w[r, s, :, k], self.x[into][..., c], self.dy[out][..., k]
                y[(*out, k)] = y[out][..., k] + x @ w
                dx[(*into, c)] = dx[into][..., c] + dy @ w.T
                dw[r, s, :, k] = np.einsum("npqc,npqk->ck", x, dy)
        return y, dx, dw


# Few channels: images in the lanes, with missing ones, groups, strides both ways; chains in the lanes, more than lanes.
FEW = [(40, 9, 7, 1, 6, 6), (136, 5, 6, 1, 6, 6), (264, 5, 5, 6, 16, 2), (128, 3, 4, 5, 3, 1), (33, 7, 6, 6, 5, 2),
       (48, 6, 5, 3, 20, 1), (32, 7, 6, 5, 35, 2), (72, 6, 6, 8, 8, 7), (17, 9, 8, 2, 7, (3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1)),
       (24, 8, 9, 3, 4, (3, 4, 1, 2, 2, 2, 2, 2, 2, 1, 1)), (200, 2, 3, 7, 1, 10)]  # fmt: skip
# Tiles of every height, panels, borders of all widths, phases of strides, images side by side, many groups.
LARGE = [(9, 14, 14, 16, 33, 1), (3, 28, 28, 5, 32, 1), (2, 13, 30, 3, 17, 6), (17, 7, 7, 20, 40, 2), (5, 15, 11, 33, 18, 4),
         (4, 12, 12, 64, 64, 64), (3, 9, 9, 8, 12, 8), (2, 20, 20, 7, 9, 5), (19, 3, 3, 6, 50, 1), (1, 33, 6, 4, 6, 15),
         (2, 40, 40, 1, 6, 6), (6, 8, 8, 32, 24, 3), (3, 11, 11, 30, 20, 12), (2, 1, 60, 3, 3, 16),
         (9, 9, 11, 40, 40, (3, 3, 2, 2, 1, 1, 1, 0, 1, 1, 40)), (2, 9, 11, 33, 33, (3, 5, 1, 2, 2, 4, 2, 4, 2, 3, 33)),
         (3, 8, 8, 37, 37, (3, 9, 1, 1, 1, 4, 1, 4, 1, 1, 37)), (2, 5, 6, 9, 9, (1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 9)),
         (7, 9, 5, 5, 3, (4, 4, 3, 3, 2, 2, 2, 2, 1, 1, 1)), (3, 30, 31, 6, 4, (5, 5, 1, 1, 4, 4, 4, 4, 2, 2, 1)),
         (2, 6, 35, 4, 8, (2, 3, 2, 3, 0, 1, 1, 1, 2, 2, 2))]  # fmt: skip
# One channel under 3 x 3 taps: borders of one, two and three places, strides, rows that see no image.
STEM = [(9, 12, 13, 1, 40, 1), (3, 28, 28, 1, 32, (3, 3, 1, 1, 0, 0, 0, 0, 1, 1, 1)),
        (2, 9, 10, 1, 19, (3, 3, 2, 3, 2, 1, 0, 2, 1, 1, 1)), (2, 7, 9, 1, 24, (3, 3, 1, 1, 3, 3, 3, 3, 2, 1, 1)),
        (1, 3, 17, 1, 33, (3, 3, 1, 2, 4, 3, 4, 3, 1, 1, 1)), (17, 2, 2, 1, 16, (3, 3, 1, 1, 2, 2, 2, 2, 2, 1, 1)),
        (2, 8, 11, 1, 64, (3, 3, 1, 1, 1, 2, 1, 2, 1, 2, 1))]  # fmt: skip


@pytest.mark.parametrize("size", LARGE + FEW + STEM, ids=conv.title)
def test_integers_are_exact(size):
    layer = Layer(size)
    assert max(np.abs(t).max() for t in layer.textbook()) < 2**24
    for op, want in zip(OPS, layer.textbook(), strict=True):
        for level in filter(have, LEVELS):
            assert (layer.run(op, level, threads=2).reshape(want.shape) == want).all(), (op, level)


@pytest.mark.parametrize("size", LARGE[:6] + FEW + STEM, ids=conv.title)
def test_random_bits_are_the_same_everywhere(size):
    layer, draw = Layer(size), np.random.default_rng(2)
    for name in ("x", "w", "dy", "b"):
        setattr(layer, name, draw.standard_normal(getattr(layer, name).shape).astype(np.float32))
    for op in OPS:
        want = layer.run(op, "reference", bias=True)
        for level in filter(have, LEVELS):
            for threads in (1, 3):
                assert layer.run(op, level, threads, bias=True).tobytes() == want.tobytes(), (op, level, threads)


windows = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), *[st.integers(0, 3)] * 4,
                    st.integers(1, 3), st.integers(1, 3), st.sampled_from((1, 1, 1, 2, 3)))  # fmt: skip


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.filter_too_much])
@given(window=windows, N=st.integers(1, 18), H=st.integers(1, 9), W=st.integers(1, 20), C=st.integers(1, 7),
       K=st.integers(1, 20))  # fmt: skip
def test_odd_shapes(window, N, H, W, C, K):
    """Exact values, and the adjoint identity <conv(x), y> = <x, conv_bwd_data(y)> = <w, conv_bwd_weight(x, y)>."""
    R, S, _, _, top, left, bottom, right, dh, dw, G = window
    if H + top + bottom <= dh * (R - 1) or W + left + right <= dw * (S - 1):
        return
    layer = Layer((N, H, W, C * G, K * G, window), high=2)
    y, dx, dw_ = (layer.run(op, threads=2) for op in OPS)
    for got, want in zip((y, dx, dw_[0]), layer.textbook(), strict=True):
        assert (got == want).all()
    assert (y * layer.dy).sum() == (layer.x * dx).sum() == (layer.w * dw_[0]).sum()


def test_a_delta_kernel_shifts(isa):  # noqa: F811
    layer = Layer((2, 6, 9, 3, 3, 6))
    layer.w[:] = 0
    layer.w[1, 4] = np.eye(3)  # up one, right two of the centre
    y = layer.run("conv_fwd", isa)
    assert (y[:, 1:, :-2] == layer.x[:, :-1, 2:]).all() and not y[:, 0].any() and not y[:, :, -2:].any()


def test_padding_is_no_term(isa):  # noqa: F811
    """An infinite weight that meets only padding leaves no NaN: 0 times infinity is not computed."""
    layer = Layer((1, 1, 1, 2, 3, 1))
    layer.w[:] = np.inf
    layer.w[1, 1] = 1
    assert np.isfinite(layer.run("conv_fwd", isa)).all() and np.isfinite(layer.run("conv_bwd_data", isa)).all()
    layer.x[:] = np.inf
    dw = layer.run("conv_bwd_weight", isa)[0]
    dw[1, 1] = 0
    assert not dw.any() and not np.signbit(dw).any()


def chain(values) -> np.float32:
    """The sum in single precision, left to right."""
    total = np.float32(0)
    for v in values:
        total = np.float32(total + np.float32(v))
    return total


def test_order_of_the_chains(isa):  # noqa: F811
    """The order probe: 2^25 and -2^25 hide what is added between them, so the ones that are left tell who stood where."""
    big = 2.0**25
    for first, last in ((0, 49), (7, 30), (10, 11), (3, 48), (45, 2)):
        w = np.ones(50)
        w[first], w[last] = big, -big
        args = [made(1), argument([1.0] * 50), argument(w.tolist()), None]
        (y,) = run_op("conv_fwd", Call(args, conv.dims((1, 5, 5, 2, 1, 2))), isa)
        assert y[0] == chain(w), "(r, s, c) ascending"
    # 20 images of one pixel: chains of 8, 8 and 4, then (first + second) + third.
    for first, last in ((0, 7), (1, 3), (8, 15), (7, 8), (16, 19), (0, 19), (5, 12)):
        x = np.ones(20)
        x[first], x[last] = big, -big
        args = [made(1), argument(x.tolist()), argument([1.0] * 20)]
        (dw,) = run_op("conv_bwd_weight", Call(args, conv.dims((20, 1, 1, 1, 1, 3), 1)), isa)
        assert dw[0] == chain([chain([chain(x[:8]), chain(x[8:16])]), chain(x[16:])]), (first, last)
    # 11 chains of 8 images: ((01)(23))((45)(67)) + ((89) + 10), also where they stand in the lanes.
    for first, last in ((0, 87), (3, 12), (8, 16), (33, 60), (63, 64), (70, 81), (79, 80), (20, 85)):
        x = np.ones(88)
        x[first], x[last] = big, -big
        args = [made(25), argument(np.repeat(x, 25).tolist()), argument([1.0] * 88)]
        (dw,) = run_op("conv_bwd_weight", Call(args, conv.dims((88, 5, 5, 1, 1, 2), 1)), isa)
        c = [chain(x[8 * i : 8 * i + 8]) for i in range(11)]
        pairs = [chain(c[i : i + 2]) for i in range(0, 10, 2)]
        want = chain([chain([chain(pairs[:2]), chain(pairs[2:4])]), chain([pairs[4], c[10]])])
        assert set(dw) == {want}, (first, last)


@pytest.mark.parametrize(
    "size", [(16, 5, 6, 3, 35, 1), (32, 6, 5, 34, 4, 1), (256, 5, 5, 6, 16, 1), (64, 4, 4, 4, 4, 15), (48, 5, 5, 3, 4, 1)]
)
def test_weights_of_images_that_ranks_share_are_the_sums_of_one_rank(size):
    """16 to 256 images are parted as branches of the tree, 48 are not; not in integers, so that another order would show."""
    layer = Layer(size)
    noise = np.random.default_rng(3)
    layer.x = noise.standard_normal(layer.x.shape).astype(np.float32)
    layer.dy = noise.standard_normal(layer.dy.shape).astype(np.float32)
    for planes in (0, 1, 3) if layer.G == 1 else (0,):
        want = layer.run("conv_bwd_weight", planes=planes)
        for level in filter(have, LEVELS):
            for threads in (2, 4):
                got = layer.run("conv_bwd_weight", level, threads, planes=planes)
                assert got.tobytes() == want.tobytes(), (level, threads, planes)


@pytest.mark.parametrize("images", (6, 72))
def test_shards_are_separate_images(images):
    layer = Layer((3 * images, 5, 5, 3, 4, 1))
    whole, parts = layer.run("conv_bwd_weight")[0], layer.run("conv_bwd_weight", shards=3, threads=2)
    assert (parts.sum(0) == whole).all()
    for s in range(3):
        one = Layer((images, 5, 5, 3, 4, 1))
        one.x, one.dy = layer.x[images * s : images * (s + 1)], layer.dy[images * s : images * (s + 1)]
        assert (one.run("conv_bwd_weight")[0] == parts[s]).all()


def test_an_image_does_not_depend_on_the_batch(isa):  # noqa: F811
    """R14: alone it has the bits it has among others."""
    layer = Layer((16, 6, 5, 3, 7, 1))
    layer.x, layer.w = layer.x / 3, layer.w / 7
    everything = layer.run("conv_fwd", isa)
    alone = Layer((1, 6, 5, 3, 7, 1))
    alone.w = layer.w
    for n in (0, 7, 15):
        alone.x = layer.x[n : n + 1]
        assert (alone.run("conv_fwd", isa)[0] == everything[n]).all()


def test_weights_larger_than_the_scratch(isa):  # noqa: F811
    """A panel that does not fit goes tap by tap, a tap that does not in blocks of channels, through y."""
    layer = Layer((1, 2, 2, 40_000, 3, 1), high=1)
    for op, want in zip(OPS, layer.textbook(), strict=True):
        assert (layer.run(op, isa, threads=2).reshape(want.shape) == want).all(), op
    relu = op_names()["relu_fwd"]
    assert (layer.run("conv_fwd", isa, act=relu, bias=True) == np.maximum(layer.textbook()[0] + layer.b, 0)).all()
    layer = Layer((1, 2, 2, 3, 40_000, 1), high=1)
    assert (layer.run("conv_bwd_data", isa) == layer.textbook()[1]).all()


# ---- the graph -------------------------------------------------------------------------------------------------------

EPILOGUES = [case for case in collect() if case.op.endswith("_fwd") and len(case.sizes[0]) == 1]


@pytest.mark.parametrize("case", EPILOGUES, ids=lambda c: c.name)
def test_epilogue_is_the_op_after_the_product(case, isa):  # noqa: F811
    for size in ((3, 5, 5, 2, 19, 1), (2, 4, 3, 6, 5, 3), (2, 6, 6, 3, 3, 4)):
        layer = Layer(size)
        layer.x /= 3
        scalars = case.call((1,)).scalars
        for op in OPS[:2]:
            layer.b = np.full(layer.K if op == "conv_fwd" else layer.C, 0.3)
            for level in (isa, "reference"):
                z = layer.run(op, level, bias=True)
                (want,) = run_op(case.op, Call([made(z.size), argument(z.ravel().tolist())], (z.size,), scalars), level)
                got = layer.run(op, level, 2, op_names()[case.op], scalars, bias=True)
                assert same_bits(type(want)("f", got.ravel().tolist()), want), f"{case.name} {size} {op} {level}"


def test_an_activation_is_fused_behind_a_convolution():
    x, builder = parameter("x", 2, 6, 6, 3), Builder({}, training=True)
    for layer in (nn.Conv2D(4), nn.ConvTranspose2D(4)):
        builder.layer = type(layer).__name__
        z = layer.build(builder, x)
        (step,) = linearise([], [ops.tanh(z)])
        assert step.fused is z and [s.node for s in linearise([], [z, ops.tanh(z)])][0] is z


def build(layer, *shape):
    builder = Builder({}, training=True)
    return layer.build(builder, parameter("x", *shape)), builder


def test_the_first_layer_has_no_gradient_of_its_data():
    model = nn.Sequential([nn.Conv2D(6, 5), nn.ReLU(), nn.Conv2D(4), nn.Flatten(), nn.Dense(3)], seed=1)
    images, labels = nn.Tensor((4, 8, 8), "u8"), nn.Tensor((4,), "u8")
    tape = model.trainer((images, labels), 1, 4).tape
    instructions = [i.op for i in tape.instructions]
    assert instructions.count("conv_bwd_weight") == 2 and instructions.count("conv_bwd_data") == 1


def test_output_sizes():
    """By hand from floor((H - R + 2P) / stride) + 1, with the dilation's window, and Keras' rule for "same"."""
    for layer, size in (
        (nn.Conv2D(4, 3), (28, 27)), (nn.Conv2D(4, 5, padding="valid"), (24, 23)), (nn.Conv2D(4, 2), (28, 27)),
        (nn.Conv2D(4, stride=2), (14, 14)), (nn.Conv2D(4, stride=(3, 2)), (10, 14)), (nn.Conv2D(4, 3, dilation=4), (28, 27)),
        (nn.Conv2D(4, (3, 5), padding=(1, 0)), (28, 23)), (nn.Conv2D(4, 3, dilation=3, padding="valid"), (22, 21)),
        (nn.ConvTranspose2D(4, 3, 2, padding=1, output_padding=1), (56, 54)), (nn.ConvTranspose2D(4, 3), (28, 27)),
        (nn.ConvTranspose2D(4, 4, 2), (56, 54)), (nn.ConvTranspose2D(4, 5, (2, 3), "valid", (1, 2)), (59, 87)),
    ):  # fmt: skip
        y, _ = build(layer, 2, 28, 27, 3)
        assert y.shape == (2, *size, 4), layer


def test_same_padding_puts_the_odd_row_at_the_end():
    y, _ = build(nn.Conv2D(1, 2), 1, 4, 4, 1)
    assert y.attrs["padding"] == (0, 0)
    y, _ = build(nn.Conv2D(1, 3, 2), 1, 4, 4, 1)  # (2 - 1) 2 + 3 - 4 = 1 row, below
    assert y.attrs["padding"] == (0, 0)
    y, _ = build(nn.Conv2D(1, 4), 1, 5, 5, 1)
    assert y.attrs["padding"] == (1, 1)


def test_a_rounded_size_warns_once():
    layer = nn.Conv2D(4, 3, stride=2, padding="valid")
    with pytest.warns(UserWarning, match=r"layer .*Conv2D\(.*not a whole number and was rounded down; stride 2 leaves the last "
                                         r"1 row\(s\) of the padded input \(28, 27\) unseen"):
        build(layer, 1, 28, 27, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build(layer, 1, 28, 27, 1)
        build(nn.Conv2D(4, 3, stride=2), 1, 28, 27, 1)


BAD = [
    (lambda: nn.Conv2D(0), "filters must be a whole number >= 1, got 0"),
    (lambda: nn.Conv2D(4, 0), r"kernel must be a whole number or a pair \(height, width\) of such >= 1, got 0"),
    (lambda: nn.Conv2D(4, (3, 3, 3)), r"kernel must be .* got \[3, 3, 3\]"),
    (lambda: nn.Conv2D(4, 3.0), "kernel must be .* got 3.0"),
    (lambda: nn.Conv2D(4, stride=True), "stride must be"),
    (lambda: nn.Conv2D(4, padding=-1), "padding must be .* >= 0, got -1"),
    (lambda: nn.Conv2D(4, padding="full"), 'padding is "same", "valid", a number or .*got \'full\''),
    (lambda: nn.Conv2D(4, groups=3), "groups=3 does not divide filters=4: take a divisor"),
    (lambda: nn.Conv2D(4, init="he"), "unknown initialiser 'he'"),
    (lambda: nn.ConvTranspose2D(4, 3, 2, output_padding=2), "output_padding 2 must be smaller than the stride 2"),
    (lambda: build(nn.Conv2D(4), 2, 784), r"Conv2D: expects images .* got \(2, 784\): put it before Flatten"),
    (lambda: build(nn.Conv2D(4, groups=2), 2, 8, 8, 3), r"groups=2 does not divide the 3 input channels of \(2, 8, 8, 3\)"),
    (lambda: build(nn.Conv2D(4, 9, padding="valid"), 2, 8, 8, 3), "a window of 9 rows does not fit into 8 and 0 of padding"),
    (lambda: build(nn.Conv2D(4, 3, dilation=(1, 6), padding=2), 2, 8, 8, 3), "a window of 13 columns does not fit into 8 and 4"),
    (lambda: build(nn.ConvTranspose2D(4, 1, padding=4), 2, 8, 8, 3), "padding 4 leaves nothing of 8 rows"),
    (lambda: ops.conv(parameter("x", 1, 4, 4, 3), parameter("w", 3, 3, 2, 4), None, size=(2, 2)), "expects 2 input channels"),
    (lambda: ops.conv(parameter("x", 1, 4, 4, 3), parameter("w", 3, 3, 3, 4), parameter("b", 3), size=(2, 2)), "bias .3,. does"),
]  # fmt: skip


@pytest.mark.parametrize("make, message", BAD, ids=[re.sub(r"\W+", "-", m)[:40] for _, m in BAD])
def test_bad_arguments_say_what_to_do(make, message):
    with pytest.raises(nn.UsageError, match=message):
        make()


# ---- files -----------------------------------------------------------------------------------------------------------


def network(H=6, W=5):
    return nn.Sequential([nn.Conv2D(4, (3, 2)), nn.ReLU(), nn.ConvTranspose2D(6, 3, 2, groups=2), nn.Flatten(), nn.Dropout(0.5),
                          nn.Dense(3), nn.Dense(2)], seed=3).build((H, W, 2))


def test_files_have_torchs_layout():
    """[K, C, R, S]; for a transposed convolution [C_in, K / groups, R, S]; the first dense layer after an image by channel."""
    model = network()
    shapes = {name: file_shape(w) for name, w in model.parameters.items() if w.kind == "weight"}
    assert shapes == {"0.weight": (4, 2, 3, 2), "2.weight": (4, 3, 3, 3), "5.weight": (3, 720), "6.weight": (2, 3)}
    for name, w in model.parameters.items():
        memory = np.array(model.parameter(name).tolist(), np.float32)
        want = memory
        if name in ("0.weight", "2.weight"):
            want = memory.transpose(3, 2, 0, 1)  # r, s, c, k -> k, c, r, s
        if name == "5.weight":
            want = memory.reshape(12, 10, 6, 3).transpose(3, 2, 0, 1)  # h, w, c, out -> out, c, h, w
        if name == "6.weight":
            want = memory.T
        assert to_file(w, model.parameter(name)) == want.tobytes(), name


def test_models_come_back_from_files(tmp_path):
    model, other = network(), network()
    for w in other.parameters.values():
        from_file(w, other.parameter(w.name), to_file(w, model.parameter(w.name)))
        assert other.parameter(w.name).tolist() == model.parameter(w.name).tolist()
    model.save(tmp_path / "m.safetensors")
    again = nn.load(tmp_path / "m.safetensors")
    assert again.weights_sha256 == model.weights_sha256 and repr(again.layers) == repr(model.layers)
    x = nn.Tensor((3, 6, 5, 2), "f32", np.random.default_rng(1).standard_normal((3, 6, 5, 2)).astype(np.float32).tobytes())
    assert again.logits(x).tolist() == model.logits(x).tolist()


def test_a_network_learns_and_its_bits_do_not_depend_on_threads():
    data = nn.data.glyphs(600, 200)
    layers = [nn.Conv2D(6, 5), nn.ReLU(), nn.Conv2D(12, 3, 2), nn.ReLU(), nn.Dense(10)]
    found = []
    for threads, level in ((1, BEST), (2, "scalar")):
        model = nn.Sequential(layers, seed=1)
        model.fit(data.train, epochs=3, batch=50, optimizer=nn.Adam(3e-3), executor=nn.Executor(level, threads))
        found.append(model.weights_sha256)
    assert found[0] == found[1]
    assert model.evaluate(data.test).accuracy > 0.7
