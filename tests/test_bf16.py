"""The math modes bf16, bf16x3, bf16x6: the definition against an exact one in Python, every level against the definition."""

from __future__ import annotations

import math
import random
from array import array
from fractions import Fraction

import pytest

import nncore as nn
from nncore._ffi import isa_levels, op_names
from nncore.bench.cases import Call, data, given, made
from nncore.errors import UsageError
from tests.harness import have, need_level, run_op, same_bits, trained_alike

PAIRS = {1: [(0, 0)], 2: [(0, 1), (0, 0), (1, 0)], 3: [(0, 2), (0, 1), (1, 1), (1, 0), (0, 0), (2, 0)]}
MODES = {"bf16": 1, "bf16x3": 2, "bf16x6": 3}
TINY, LARGEST = Fraction(2) ** -126, (Fraction(2) - Fraction(2) ** -7) * 2**127
LEVELS = [level for level in ("portable", "scalar", "avx2", "avx512", "amx", "neon") if have(level)]
FAST = [level for level in LEVELS if level != "portable"]  # software fma takes its time

# ---- the definition, in exact rationals ------------------------------------------------------------------------------


def rounded(x: Fraction, bits: int) -> Fraction:
    """To nearest even with so many significant bits and no limit to the exponent."""
    if x == 0:
        return x
    e = math.floor(math.log2(abs(x))) if abs(x) > Fraction(2) ** -1000 else -1000
    while Fraction(2) ** e > abs(x):
        e -= 1
    while Fraction(2) ** (e + 1) <= abs(x):
        e += 1
    unit = Fraction(2) ** (e - bits + 1)
    return round(x / unit) * unit


def flushed(x: Fraction, bits: int = 24) -> Fraction:
    r = rounded(x, bits)
    return r if abs(r) >= TINY else Fraction(0)


def planes_of(x: float, planes: int) -> list[Fraction]:
    rest, found = Fraction(x), []
    for _ in range(planes):
        p = Fraction(0) if abs(rest) < TINY else rounded(rest, 8)
        p = max(-LARGEST, min(LARGEST, p))
        found.append(p)
        rest -= p
    return found


def dot(a: list[float], b: list[float], planes: int) -> float:
    c = Fraction(0)
    for k in range(0, len(a), 32):
        x = [planes_of(v, planes) for v in a[k : k + 32]]
        y = [planes_of(v, planes) for v in b[k : k + 32]]
        for i, j in PAIRS[planes]:
            t = [Fraction(0), Fraction(0)]
            for n, (u, v) in enumerate(zip(x, y, strict=True)):
                t[n % 2] = flushed(u[i] * v[j] + t[n % 2])
            c = flushed(c + flushed(t[0] + t[1]))
    return float(c)


def forward(x, w, N, I, O, planes):
    return Call([made(N * O), given(x), given(w), None], (N, I, O, -1, planes))


# ---- products ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("planes", (1, 2, 3))
@pytest.mark.parametrize("scale", (1.0, 2.0**-66, 2.0**-80, 2.0**40), ids=str)
def test_reference_is_the_definition_exactly(planes, scale):
    rng = random.Random(f"{planes} {scale}")
    for K in (0, 1, 2, 31, 33, 70):
        x = [v * scale for v in array("f", data(2 * K, "lognormal", rng))]
        w = [v * scale if scale < 1 else v for v in array("f", data(3 * K, "lognormal", rng))]
        got = run_op("dense_fwd", forward(x, w, 2, K, 3, planes), "reference")[0]
        want = [dot(x[n * K : n * K + K], w[o::3], planes) for n in range(2) for o in range(3)]
        assert list(got) == want


def test_flush_is_decided_after_rounding_without_a_limit_to_the_exponent():
    """Sums just below 2^-126 (numerics.md 3.3): -2^-151 rounds to 2^-126 and stays, -2^-150 is flushed."""
    for less, want in ((-151, 2.0**-126), (-155, 2.0**-126), (-150, 0.0), (-140, 0.0)):
        x, w = [2.0**-63, 0.0, -(2.0**-75)], [2.0**-63, 0.0, 2.0 ** (less + 75)]
        for level in ["reference", *LEVELS]:
            assert run_op("dense_fwd", forward(x, w, 1, 3, 1, 1), level)[0][0] == want, (less, level)


def calls(op: str, size: tuple, kind: str, planes: int, rng: random.Random) -> Call:
    N, I, O = size
    x, w, dy = data(N * I, kind, rng), data(I * O, kind, rng), data(N * O, kind, rng)
    if kind == "lognormal":
        x, w, dy = ([v * 2.0**-62 for v in a] for a in (x, w, dy))  # products about 2^-126
    return {"dense_fwd": Call([made(N * O), given(x), given(w), given(data(O, "normal", rng))],
                              (N, I, O, op_names()["relu_fwd"], planes)),
            "dense_bwd_data": Call([made(N * I), given(dy), given(w)], (N, I, O, planes)),
            "dense_bwd_weight": Call([made(2 * I * O), given(x), given(dy)], (N, I, O, 2, planes))}[op]


@pytest.mark.parametrize("op", ("dense_fwd", "dense_bwd_data", "dense_bwd_weight"))
@pytest.mark.parametrize("planes", (1, 2, 3))
def test_products_have_the_same_bits_on_every_level(op, planes):
    rng = random.Random(f"{op} {planes}")
    for size in ((2, 1, 1), (4, 31, 33), (34, 33, 32), (66, 65, 20), (2, 5, 67), (4, 50, 1), (2, 1, 50), (0, 3, 4), (2, 0, 5)):
        for kind in ("normal", "lognormal", "special", "huge"):
            call = calls(op, size, kind, planes, rng)
            want = run_op(op, call, "reference")[0]
            for level in LEVELS if math.prod(size) < 5000 else FAST:
                for threads, offset in ((1, 0), (3, 1)):
                    got = run_op(op, call, level, threads, offset=offset)[0]
                    assert same_bits(got, want), (op, size, kind, planes, level, threads)


@pytest.mark.parametrize("planes", (1, 2, 3))
def test_blocks_of_k_and_n_change_nothing(planes):
    """More terms and more columns than a block of tiles holds; guard pages behind every buffer."""
    rng = random.Random(planes)
    for size in ((3, 1100, 40), (33, 40, 700)):
        call = calls("dense_fwd", size, "normal", planes, rng)
        want = run_op("dense_fwd", call, "scalar" if have("scalar") else "portable")[0]
        for level in FAST:
            assert same_bits(run_op("dense_fwd", call, level, 2, guard="back")[0], want), (size, level)


def test_more_planes_are_more_exact_and_six_products_beat_the_chain():
    """Root mean square error over |x|^T |y|, K = 1024, normal data: numerics.md E10 within a factor of 1.5."""
    rng = random.Random(10)
    N, K, O = 8, 1024, 8
    x, w = array("f", data(N * K, "normal", rng)), array("f", data(K * O, "normal", rng))
    terms = [[a * b for a, b in zip(x[n * K : n * K + K], w[o::O], strict=True)] for n in range(N) for o in range(O)]
    exact, sizes = [math.fsum(t) for t in terms], [math.fsum(map(abs, t)) for t in terms]

    def error(planes):
        got = run_op("dense_fwd", forward(list(x), list(w), N, K, O, planes))[0]
        return math.sqrt(math.fsum(((g - e) / s) ** 2 for g, e, s in zip(got, exact, sizes, strict=True)) / len(got))

    errors = [error(p) for p in range(4)]
    for found, stated in zip(errors[1:], (1.1e-4, 2.3e-7, 1.15e-8), strict=True):
        assert stated / 1.5 < found < stated * 1.5, errors
    assert errors[3] < errors[0]


# ---- convolutions -----------------------------------------------------------------------------------------------------

# N H W C R S K sh sw pt pl dh dw: borders, strides, dilations, channels around 32, more images than a chain has.
GEOMETRIES = (
    (1, 5, 5, 1, 3, 3, 1, 1, 1, 1, 1, 1, 1), (2, 7, 7, 32, 3, 3, 33, 1, 1, 1, 1, 1, 1), (1, 9, 8, 16, 3, 2, 20, 2, 1, 1, 0, 1, 1),
    (1, 9, 9, 32, 3, 3, 8, 2, 2, 1, 1, 1, 1), (1, 11, 10, 4, 3, 3, 7, 1, 2, 2, 1, 2, 1),
    (17, 4, 4, 2, 3, 3, 3, 1, 1, 1, 1, 1, 1),
    (1, 12, 12, 5, 3, 3, 4, 3, 3, 0, 1, 2, 2), (2, 5, 6, 64, 2, 2, 32, 1, 1, 0, 0, 1, 1),
    (1, 6, 6, 33, 1, 1, 40, 1, 1, 0, 0, 1, 1),
)


@pytest.mark.parametrize("planes", (1, 2, 3))
@pytest.mark.parametrize("size", GEOMETRIES, ids=str)
def test_convolutions_have_the_same_bits_on_every_level(size, planes):
    rng = random.Random(f"{size} {planes}")
    N, H, W, C, R, S, K, sh, sw, pt, pl, dh, dw = size
    P, Q = (H + 2 * pt - (R - 1) * dh - 1) // sh + 1, (W + 2 * pl - (S - 1) * dw - 1) // sw + 1
    dims = (N, H, W, C, R, S, K, P, Q, sh, sw, pt, pl, dh, dw, 1)
    for kind in ("normal", "lognormal"):
        x, w, dy = (data(n, kind, rng) for n in (N * H * W * C, R * S * C * K, N * P * Q * K))
        relu, softplus = op_names()["relu_fwd"], op_names()["softplus_fwd"]
        ops = {"conv_fwd": Call([made(N * P * Q * K), given(x), given(w), given(data(K, kind, rng))], (*dims, relu, planes)),
               "conv_bwd_data": Call([made(N * H * W * C), given(dy), given(w), None], (*dims, softplus, planes)),
               "conv_bwd_weight": Call([made(R * S * C * K), given(x), given(dy)], (*dims, 1, planes))}
        for op, call in ops.items():
            # Definitions take their elementary functions elsewhere: softplus is compared with the slowest kernels.
            want = run_op(op, call, "reference" if op != "conv_bwd_data" else FAST[0])[0]
            for level in FAST:
                for threads in (1, 3):
                    assert same_bits(run_op(op, call, level, threads)[0], want), (op, kind, level, threads)


def test_a_wide_image_is_cut_in_bands():
    """More than the scratch holds: 64 channels of 130 x 70 pixels in three planes."""
    N, H, W, C, K = 1, 130, 70, 64, 32
    rng, dims = random.Random(7), (1, 130, 70, 64, 3, 3, 32, 130, 70, 1, 1, 1, 1, 1, 1, 1)
    x, w, dy = data(H * W * C, "normal", rng), data(9 * C * K, "normal", rng), data(H * W * K, "normal", rng)
    for op, call in (("conv_fwd", Call([made(H * W * K), given(x), given(w), None], (*dims, -1, 3))),
                     ("conv_bwd_weight", Call([made(9 * C * K), given(x), given(dy)], (*dims, N, 3)))):
        found = [run_op(op, call, level, 2)[0] for level in FAST[-2:]]
        assert same_bits(*found), (op, FAST[-2:])


# ---- networks ---------------------------------------------------------------------------------------------------------


def network(math_mode: str) -> nn.Sequential:
    return nn.Sequential([nn.Conv2D(32, 3), nn.ReLU(), nn.MaxPool2D(2), nn.Conv2D(32, 3, stride=2), nn.ReLU(), nn.Flatten(),
                          nn.Dense(40), nn.ReLU(), nn.Dense(10)], seed=3, math=math_mode)


@pytest.mark.parametrize("mode", MODES)
def test_a_training_reaches_the_same_weights_on_every_level(mode):
    model, _ = trained_alike(lambda: network(mode), lambda: network("f32"), FAST)
    text = str(model.tape)
    assert f"conv_fwd relu {mode}" in text and f"dense_fwd relu {mode}" in text and f"{mode} (numerics" in text
    assert sum(mode in line for line in text.splitlines()[1:]) == 6  # the first and the last layer are narrow: f32


def test_the_mode_is_kept_in_the_file_and_can_be_changed(tmp_path):
    train = nn.data.load("glyphs").train
    x, y = train.images.view()[:64], train.labels.view()[:64]
    model = network("bf16")
    model.fit((x, y), epochs=1, batch=32)
    model.save(tmp_path / "model.safetensors")
    loaded = nn.load(tmp_path / "model.safetensors")
    assert loaded.math == "bf16" and loaded.logits(x).tolist() == model.logits(x).tolist()
    coarse = loaded.logits(x).tolist()
    loaded.math = "bf16x6"
    fine = loaded.logits(x).tolist()
    loaded.math = "f32"
    exact = loaded.logits(x).tolist()
    flat = [[v for row in m for v in row] for m in (coarse, fine, exact)]
    far, near = (max(abs(a - b) for a, b in zip(m, flat[2], strict=True)) for m in flat[:2])
    assert 0 < near < 1e-4 < far < 0.5


def test_bad_modes_are_refused():
    with pytest.raises(UsageError, match="math is one of f32, bf16, bf16x3, bf16x6, got 'fp8'"):
        network("fp8")
    with pytest.raises(Exception, match="status 1"):
        run_op("dense_fwd", forward([1.0], [1.0], 1, 1, 1, 4), "portable")
    with pytest.raises(Exception, match="status 1"):
        run_op("dense_fwd", forward([1.0], [1.0], 1, 1, 1, -1), "portable")


def test_the_level_amx_runs():
    """Where CPU and system have tiles. Elsewhere this says so."""
    need_level("amx")
    assert isa_levels()["amx"]


def test_the_twin_knows_no_modes():
    model = network("bf16")
    train = nn.data.load("glyphs").train
    model.fit((train.images.view()[:32], train.labels.view()[:32]), epochs=1, batch=32)
    assert not any("bf16" in i.note for i in model.tape.twin().instructions)


