"""Augmentation: what a list of cases cannot say: distributions, identities, what the random numbers depend on, faults."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest

from nncore.bench.cases import Call, given, made
from tests.harness import OpFault, isa, lib, run_op, same_bits  # noqa: F401

N = 2000


def warp(x, size, moves=(0, 0, 0), scalars=(0.0, 0.0, 0.0), d=None, isa="best", **run):  # noqa: F811
    """Warped images as a flat list; moves are shift, crop, flip."""
    field = None if d is None else given(d)
    return list(run_op("warp", Call([made(len(x)), given(x), field], (*size, *moves), scalars, run), isa)[0])


def one_dot(n, H, W, i, j):
    """n images that are black but for a pixel."""
    x = [0.0] * (n * H * W)
    x[i * W + j :: H * W] = [1.0] * n
    return x


def dots(y, n, H, W):
    """Where the dot of each image went; None where it left the image."""
    found = []
    for r in range(n):
        image = y[r * H * W : (r + 1) * H * W]
        assert set(image) <= {0.0, 1.0}
        found.append(divmod(image.index(1.0), W) if 1.0 in image else None)
    return found


def chi_square(counts, n, cells) -> float:
    return sum((counts.get(c, 0) - n / len(cells)) ** 2 for c in cells) / (n / len(cells))


def kolmogorov(values, cdf) -> float:
    """sqrt(n) times the distance of the empirical distribution: above 1.95 once in a thousand."""
    values, n = sorted(values), len(values)
    return math.sqrt(n) * max(abs(cdf(v) - (k + 0.5) / n) for k, v in enumerate(values))


# ---- moving -----------------------------------------------------------------------------------------------------------


def test_shifts_are_uniform():
    """A dot in the middle tells the shift: 25 ways, chi-square with 24 degrees of freedom below its 0.999 quantile."""
    counts = Counter(dots(warp(one_dot(N, 7, 9, 3, 4), (N, 7, 9, 1), (2, 0, 0), seed=3), N, 7, 9))
    cells = [(3 + a, 4 + b) for a in range(-2, 3) for b in range(-2, 3)]
    assert set(counts) == set(cells) and chi_square(counts, N, cells) < 51.2


def test_one_pixel_shifts_go_five_ways():
    counts = Counter(dots(warp(one_dot(N, 5, 5, 2, 2), (N, 5, 5, 1), (-1, 0, 0), seed=4), N, 5, 5))
    cells = [(2, 2), (1, 2), (3, 2), (2, 1), (2, 3)]
    assert set(counts) == set(cells) and chi_square(counts, N, cells) < 18.5


def test_a_crop_is_a_cut_of_the_padded_image():
    """Every result is one of the nine 4 x 5 cuts of the image with a black frame of one pixel; all occur alike."""
    x = [float(v + 1) for v in range(20)]
    padded = [[0.0] * 7, *([0.0, *x[5 * i : 5 * i + 5], 0.0] for i in range(4)), [0.0] * 7]
    cuts = [tuple(v for row in padded[a : a + 4] for v in row[b : b + 5]) for a in range(3) for b in range(3)]
    y = warp(x * N, (N, 4, 5, 1), (0, 1, 0), seed=5)
    counts = Counter(tuple(y[20 * r : 20 * r + 20]) for r in range(N))
    assert set(counts) == set(cuts) and chi_square(counts, N, cuts) < 26.1


def test_flips(isa):  # noqa: F811
    """Half of the samples, within 4 standard deviations; the others are untouched; three channels stay together."""
    x = [float(v) for v in range(2 * 3 * 3)]
    mirrored = [x[(3 * i + 2 - j) * 3 + k] for i in range(2) for j in range(3) for k in range(3)]
    y = warp(x * N, (N, 2, 3, 3), (0, 0, 1), isa=isa, seed=6)
    samples = [y[18 * r : 18 * r + 18] for r in range(N)]
    assert all(s in (x, mirrored) for s in samples)
    assert abs(sum(s == mirrored for s in samples) - N / 2) < 4 * math.sqrt(N / 4)


@pytest.mark.parametrize("bent", (False, True))
def test_doing_nothing_changes_no_bit(bent, isa):  # noqa: F811
    """Neither by copying nor by resampling at whole places."""
    x = [random.Random(1).uniform(-300, 300) for _ in range(3 * 9 * 20 * 2)]
    x = list(run_op("assign", Call([made(len(x)), given(x)], (len(x),)))[0])  # as float32
    d = [0.0] * (3 * 2 * 9 * 20) if bent else None
    assert warp(x, (3, 9, 20, 2), d=d, isa=isa) == x


def test_whole_displacements_are_copies(isa):  # noqa: F811
    """A field of 2 down and -1 right fetches exactly those pixels; beyond the image is 0."""
    x = [float(v + 1) for v in range(30)]
    y = warp(x, (1, 5, 6, 1), d=[2.0] * 30 + [-1.0] * 30, isa=isa)
    assert y == [x[(i + 2) * 6 + j - 1] if i + 2 < 5 and j > 0 else 0.0 for i in range(5) for j in range(6)]


@pytest.mark.parametrize("far", (1e9, -1e9, 1e38, math.inf, -math.inf, math.nan))
def test_absurd_displacements_read_nothing_outside(far, isa):  # noqa: F811
    call = Call([made(30), given([1.0] * 30), given([far] * 60)], (1, 5, 6, 1, 0, 0, 0), (0.0, 0.0, 0.0))
    assert set(run_op("warp", call, isa, guard="back")[0]) == {0.0} == set(run_op("warp", call, isa, guard="front")[0])


def mapping(scalars, moves=(0, 0, 0), n=300, seed=7):
    """The affine mapping of each sample, read off images whose two channels are their own row and column (bilinear
    interpolation of a plane is that plane): (yi, yj, xi, xj) from pixels around the centre, and the centre's own source."""
    H = W = 41
    x = [float(v) for i in range(H) for j in range(W) for v in (i, j)] * n
    y = run_op("warp", Call([made(len(x)), given(x), None], (n, H, W, 2, *moves), scalars, {"seed": seed}), real="f64")[0]
    found = []
    for r in range(n):
        def at(i, j, k, r=r):
            return y[((r * H + i) * W + j) * 2 + k]
        found.append([at(21, 20, 0) - at(19, 20, 0), at(20, 21, 0) - at(20, 19, 0), at(21, 20, 1) - at(19, 20, 1),
                      at(20, 21, 1) - at(20, 19, 1), at(20, 20, 0), at(20, 20, 1)])
    return [[v / 2 for v in row[:4]] + row[4:] for row in found]


def test_rotation():
    """Rotations about the centre by uniform angles: orthogonal, of determinant 1, up to the angle asked for."""
    angles = []
    for yi, yj, xi, xj, ci, cj in mapping((30.0, 0.0, 0.0)):
        assert (yi, -xi) == pytest.approx((xj, yj), abs=1e-12) and yi * xj - yj * xi == pytest.approx(1, abs=1e-12)
        assert (ci, cj) == pytest.approx((20, 20), abs=1e-12)
        angles.append(math.degrees(math.atan2(yj, yi)))
    assert max(map(abs, angles)) <= 30 and kolmogorov(angles, lambda a: (a + 30) / 60) < 1.95


def test_scaling_and_shear():
    """Axes are scaled each for itself; the shear moves along rows: x has a part of y, y none of x."""
    stretch = [(1 / yi, 1 / xj) for yi, yj, xi, xj, *_ in mapping((0.0, 0.2, 0.0)) if not (yj or xi)]
    assert len(stretch) == 300
    for axis in (0, 1):
        assert kolmogorov([s[axis] for s in stretch], lambda z: (z - 0.8) / 0.4) < 1.95
    centred = [((a - 1), (b - 1)) for a, b in stretch]
    assert abs(sum(a * b for a, b in centred) / 300) < 4 * 0.2**2 / 3 / math.sqrt(300)  # uncorrelated
    found = mapping((0.0, 0.0, 15.0))
    assert all((yi, yj, xj) == pytest.approx((1, 0, 1), abs=1e-12) for yi, yj, _, xj, *_ in found)
    assert kolmogorov([math.degrees(math.atan(-row[2])) for row in found], lambda a: (a + 15) / 30) < 1.95


def test_a_mirror_turns_the_other_way():
    """flip changes the sign of x alone, also where the rest is resampled; shifts are undone first."""
    plain, flipped = mapping((20.0, 0.1, 10.0), (0, 0, 0)), mapping((20.0, 0.1, 10.0), (0, 0, 1))
    signs = set()
    for a, b in zip(plain, flipped, strict=True):
        sign = 1 if b[3] * a[3] > 0 else -1
        signs.add(sign)
        assert b[:4] == pytest.approx([a[0], a[1], sign * a[2], sign * a[3]], abs=1e-12)
    assert signs == {1, -1}


# ---- bending ----------------------------------------------------------------------------------------------------------


def field(n, H, W, alpha, sigma, isa="best", **run):  # noqa: F811
    return run_op("elastic_field", Call([made(2 * n * H * W)], (n, H, W), (alpha, sigma), run), isa)[0]


def test_elastic_fields_have_the_size_that_alpha_and_sigma_promise():
    """Variance alpha^2 / 3 (sum w^2)^2 far from the border, mean 0, and the two components know nothing of each other."""
    n, H, alpha, sigma = 400, 25, 36.0, 3.0
    d = field(n, H, H, alpha, sigma, seed=8)
    bell = [math.exp(-t * t / (2 * sigma**2)) for t in range(-10, 11)]
    variance = alpha**2 / 3 * (sum(w * w for w in bell) / sum(bell) ** 2) ** 2
    down, right = ([d[(2 * r + plane) * H * H + 12 * H + 12] for r in range(n)] for plane in (0, 1))
    for c in (down, right):
        assert abs(sum(c) / n) < 4 * math.sqrt(variance / n)
        assert abs(sum(v * v for v in c) / n / variance - 1) < 4 * math.sqrt(2 / n)
    assert abs(sum(a * b for a, b in zip(down, right, strict=True)) / n / variance) < 4 / math.sqrt(n)


def test_elastic_fields_are_smooth():
    """Neighbours differ little, as the Gaussian's correlation exp(-1 / (4 sigma^2)) says."""
    d = field(200, 25, 25, 36.0, 4.0, seed=9)
    pairs = [(d[r * 1250 + 12 * 25 + 12], d[r * 1250 + 12 * 25 + 13]) for r in range(200)]
    both, square = sum(a * b for a, b in pairs), sum(a * a + b * b for a, b in pairs) / 2
    assert both / square == pytest.approx(math.exp(-1 / 64), abs=0.01)


# ---- values -----------------------------------------------------------------------------------------------------------


def test_erased_rectangles():
    """In a share p of the samples one rectangle, of an area and an aspect ratio within the limits but for rounding to pixels."""
    H, W, p, low, high, flat = 40, 50, 0.6, 0.05, 0.3, 0.5
    args = [made(N * H * W), given([1.0] * (N * H * W)), None]
    y = run_op("erase", Call(args, (N, H, W, 1, 1, 0), (p, low, high, flat, 255.0), {"seed": 10}))[0]
    boxes = []
    for r in range(N):
        holes = [divmod(e, W) for e in range(H * W) if y[r * H * W + e] == 0]
        if holes:
            (top, left), (bottom, right) = holes[0], holes[-1]
            boxes.append((top, left, bottom - top + 1, right - left + 1))
            assert len(holes) == boxes[-1][2] * boxes[-1][3]
    assert abs(len(boxes) - p * N) < 4 * math.sqrt(p * (1 - p) * N)
    for _, _, h, w in boxes:
        assert (h - 0.5) * (w - 0.5) <= high * H * W and (h + 0.5) * (w + 0.5) >= low * H * W
        assert (h + 0.5) / (w - 0.5) >= flat and (h - 0.5) / (w + 0.5) <= 1 / flat
    areas = [h * w / (H * W) for _, _, h, w in boxes]
    assert abs(sum(areas) / len(areas) - 0.175) < 4 * 0.25 / math.sqrt(12 * len(areas)) + 0.002
    assert abs(sum(h > w for *_, h, w in boxes) - len(boxes) / 2) < 4 * math.sqrt(len(boxes) / 4) + 0.06 * len(boxes)
    assert min(b[0] for b in boxes) == 0 and max(t + h for t, _, h, _ in boxes) == H


def test_erased_places_are_filled():
    x = [5.0] * (300 * 64)
    for fill, mean in ((0, None), (1, [7.0]), (1, [float(v) for v in range(64)]), (2, None)):
        args = [made(len(x)), given(x), None if mean is None else given(mean)]
        call = Call(args, (300, 8, 8, 1, len(mean or [0]), fill), (1.0, 0.5, 0.5, 1.0, 255.0), {"seed": 11})
        y = run_op("erase", call)[0]
        new = [(e, v) for e, v in enumerate(y) if v != 5.0]
        if fill == 0:
            assert {v for _, v in new} == {0.0}
        elif mean:
            assert all(v == mean[e % 64 % len(mean)] for e, v in new)
        else:
            assert kolmogorov([v for _, v in new], lambda v: v / 255) < 1.95 and max(y) < 255 and min(y) >= 0


def test_noise_is_normal(isa):  # noqa: F811
    """20,000 of them against the normal distribution; neighbours and samples are uncorrelated."""
    y = run_op("noise", Call([made(20_000), given([0.0] * 20_000)], (20, 1000), (2.0,), {"seed": 12}), isa)[0]
    assert kolmogorov(y, lambda v: 0.5 * (1 + math.erf(v / math.sqrt(8)))) < 1.95
    for step in (1, 2, 1000):
        assert abs(sum(a * b for a, b in zip(y, y[step:], strict=False)) / 4 / 20_000) < 4 / math.sqrt(20_000)


# ---- mixing -----------------------------------------------------------------------------------------------------------


def draw(n, alpha, shards=1, real="f64", **run):
    return run_op("mix_draw", Call([made(n), made(n, "i32")], (n, shards), (alpha,), run), real=real)


@pytest.mark.parametrize("alpha", (0.1, 0.2, 0.4, 1.0, 2.0, 8.0))
def test_shares_have_the_moments_of_beta(alpha):
    """E (s - 1/2)^2 = 1 / (4 (2 a + 1)), E (s - 1/2)^4 = 3 / (16 (2 a + 1) (2 a + 3)): folding to [1/2, 1] keeps both."""
    share, _ = draw(20_000, alpha, seed=13)
    second, fourth = (sum((s - 0.5) ** k for s in share) / len(share) for k in (2, 4))
    want, higher = 1 / (4 * (2 * alpha + 1)), 3 / (16 * (2 * alpha + 1) * (2 * alpha + 3))
    eighth = 105 / (256 * (2 * alpha + 1) * (2 * alpha + 3) * (2 * alpha + 5) * (2 * alpha + 7))
    assert abs(second - want) < 4 * math.sqrt((higher - want**2) / len(share))
    assert abs(fourth - higher) < 4 * math.sqrt((eighth - higher**2) / len(share))


def test_shares_of_alpha_one_are_uniform():
    share, _ = draw(20_000, 1.0, seed=14)
    assert kolmogorov(share, lambda s: 2 * s - 1) < 1.95


@pytest.mark.parametrize("alpha", (1e-3, 1e-2, 100.0, 1000.0))
@pytest.mark.parametrize("real", ("f32", "f64"))
def test_shares_stay_in_range_whatever_alpha(alpha, real):
    share, _ = draw(5000, alpha, real=real, seed=15)
    assert all(0.5 <= s <= 1 for s in share)
    mean = sum(share) / len(share)  # E |s - 1/2| is at most the deviation, 1 / (2 sqrt(2 alpha + 1))
    assert mean > 0.97 if alpha < 1 else mean < 0.5 + 1 / (2 * math.sqrt(2 * alpha + 1))


@pytest.mark.parametrize("shards", (1, 4))
def test_partners_are_uniform_in_the_shard(shards):
    """40 steps of 20 rows: all pairs of a shard, and only those, alike."""
    counts, size = Counter(), 20 // shards
    for step in range(40 * shards):
        _, partner = draw(20, 1.0, shards, seed=16, cursor=20 * step)
        for r, p in enumerate(partner):
            assert r // size == p // size
            counts[p % size] += 1
    n = 40 * shards * 20
    assert chi_square(counts, n, range(size)) < {20: 43.8, 5: 18.5}[size]


def test_mixing_rows():
    """A share of 1 keeps the row's bits; a pair and its mirror image together are what they were."""
    x = [1.5, -2.0, 3.0, 0.25, 7.0, -1.0]
    for share, partner, want in (([1.0] * 3, [1, 2, 0], x), ([0.5] * 3, [1, 0, 2], [2.25, -0.875, 2.25, -0.875, 7.0, -1.0])):
        assert list(run_op("mix_rows", Call([made(6), given(x), given(share), given(partner, "i32")], (3, 2)))[0]) == want


@pytest.mark.parametrize("level", ("reference", "best"))
@pytest.mark.parametrize("bad", (3, -1, 2**31 - 1))
def test_a_partner_outside_the_step_is_a_fault(level, bad):
    with pytest.raises(OpFault) as caught:
        call = Call([made(6), given([0.0] * 6), given([0.5] * 3), given([0, bad, 1], "i32")], (3, 2))
        run_op("mix_rows", call, level, guard="back")
    assert (caught.value.code, caught.value.index, caught.value.value) == (lib.NN_ERR_RANGE, 1, bad)


def test_cutmix_pastes_the_share_it_tells():
    n, H, W = 64, 8, 10
    x = [float(r) for r in range(n) for _ in range(H * W)]
    args = [made(n * H * W), made(n), made(n, "i32"), given(x)]
    y, share, partner = run_op("cutmix", Call(args, (n, H, W, 1, 2), (1.0,), {"seed": 17}), real="f64")
    for r in range(n):
        image = y[r * H * W : (r + 1) * H * W]
        pasted = sum(v == partner[r] for v in image) if partner[r] != r else round((1 - share[r]) * H * W)
        assert set(image) <= {float(r), float(partner[r])} and share[r] == 1 - pasted / (H * W)
        assert r // 32 == partner[r] // 32 and pasted <= 0.56 * H * W  # half, but for rounding the sides
    assert len(set(share)) > 9  # of some 30 pairs of sides


# ---- what a draw depends on -------------------------------------------------------------------------------------------

OPS = {
    "warp": lambda n, run: Call([made(n * 64), given([float(v % 97) for v in range(64)] * n), None], (n, 8, 8, 1, 2, 1, 1),
                                (20.0, 0.1, 5.0), run),
    "elastic_field": lambda n, run: Call([made(n * 128)], (n, 8, 8), (20.0, 2.0), run),
    "erase": lambda n, run: Call([made(n * 64), given([1.0] * (64 * n)), None], (n, 8, 8, 1, 1, 2), (0.9, 0.1, 0.4, 0.3, 2.0),
                                 run),
    "noise": lambda n, run: Call([made(n * 64), given([1.0] * (64 * n))], (n, 64), (0.5,), run),
    "mix_draw": lambda n, run: Call([made(n), made(n, "i32")], (n, n), (0.4,), run),  # shards of one row
}  # fmt: skip


@pytest.mark.parametrize("op", OPS)
def test_a_sample_is_the_same_in_every_batch(op, isa):  # noqa: F811
    """Seed, epoch and position decide; not the step's size, nor the row, nor the step's number."""
    run = {"seed": 18, "epoch": 3, "cursor": 1000}
    whole = run_op(op, OPS[op](20, run), isa)
    for first, n in ((0, 7), (7, 1), (8, 12)):
        part = run_op(op, OPS[op](n, {**run, "cursor": 1000 + first, "step": 5}), isa)
        for a, b in list(zip(whole, part, strict=True))[:1]:
            size = len(a) // 20
            assert same_bits(a[first * size : (first + n) * size], b)


@pytest.mark.parametrize("op", OPS)
def test_seed_epoch_and_position_all_matter(op):
    run = {"seed": 18, "epoch": 3, "cursor": 1000}
    base = run_op(op, OPS[op](5, run))[0]
    for other in ({"seed": 19}, {"epoch": 4}, {"cursor": 1005}, {"seed": 18 + 2**40}):
        assert run_op(op, OPS[op](5, {**run, **other}))[0] != base
    size = len(base) // 5
    assert len({bytes(base[r * size : (r + 1) * size]) for r in range(5)}) == 5
