"""What augmentation should compute, in plain Python: the lectures' and the papers' formulas, a pixel at a time. Rung 0 of the
ladder of trust, as tests/oracle.py. What the counter RNG draws for which sample is part of the definition.
"""

from __future__ import annotations

import math

from tests.oracle_training import block, uniform

AUGMENT = 6  # nn_stream
WARP, FIELD = 0, 1  # kinds of draws


def words(call, row: int, kind: int, number: int) -> list[int]:
    """Four words for a row of the step: its position in the epoch counts, not where it stands in the batch."""
    position = call.run.get("cursor", 0) + row
    index = position + call.run.get("epoch", 0) * 2**40
    return block(call.run.get("seed", 0), AUGMENT + 256 * kind, index, number)


def choice(word: int, n: int) -> int:
    """One of n, from 0."""
    return word * n // 2**32


# ---- augment.c -----------------------------------------------------------------------------------------------------


def moves(call, row: int) -> tuple[int, int, bool]:
    """How far a sample is shifted down and to the right, and whether it is mirrored."""
    shift, crop, flip = call.dims[4:7]
    w = words(call, row, WARP, 0)
    if shift < 0:
        down, right = [(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)][choice(w[0], 5)]
    else:
        down, right = choice(w[0], 2 * shift + 1) - shift, choice(w[1], 2 * shift + 1) - shift
    down += choice(w[2], 2 * crop + 1) - crop
    right += choice(w[3], 2 * crop + 1) - crop
    return down, right, bool(flip) and choice(words(call, row, WARP, 1)[0], 2) == 1


def angles(call, row: int) -> tuple[float, float, float, float]:
    """Rotation and shear in radians, vertical and horizontal stretch."""
    rotate, scale, shear = call.scalars
    w, z = words(call, row, WARP, 2), words(call, row, WARP, 3)
    u = [2 * uniform(*pair) - 1 for pair in ((w[0], w[1]), (w[2], w[3]), (z[0], z[1]), (z[2], z[3]))]
    return math.radians(rotate * u[0]), math.radians(shear * u[1]), 1 + scale * u[2], 1 + scale * u[3]


def origin(call, row: int, i: int, j: int) -> tuple[float, float]:
    """Where pixel (i, j) comes from: shift, rotation, shear, scaling and mirror undone one after the other."""
    H, W = call.dims[1:3]
    down, right, mirrored = moves(call, row)
    a, shear, zy, zx = angles(call, row)
    x, y = j - right - (W - 1) / 2, i - down - (H - 1) / 2
    x, y = math.cos(a) * x - math.sin(a) * y, math.sin(a) * x + math.cos(a) * y  # y downwards
    x = x - math.tan(shear) * y
    x, y = x / zx, y / zy
    if mirrored:
        x = -x
    return y + (H - 1) / 2, x + (W - 1) / 2


def warp(call):
    N, H, W, C, *_ = call.dims
    image, field, out = call.values(1), call.args[2], []
    whole = field is None and not any(call.scalars)

    def pixel(r, i, j, k):
        return image[((r * H + i) * W + j) * C + k] if 0 <= i < H and 0 <= j < W else 0.0

    for r in range(N):
        for i in range(H):
            for j in range(W):
                y, x = origin(call, r, i, j)
                if field is not None:
                    y += field.values[(2 * r * H + i) * W + j]
                    x += field.values[((2 * r + 1) * H + i) * W + j]
                if whole:
                    out += [pixel(r, round(y), round(x), k) for k in range(C)]
                    continue
                top, left = math.floor(y), math.floor(x)
                for k in range(C):
                    out.append(math.fsum((1 - abs(y - p)) * (1 - abs(x - q)) * pixel(r, p, q, k)
                                         for p in (top, top + 1) for q in (left, left + 1)))
    return [out]


def elastic_field(call):
    """The weights of the Gaussian have the sum 1 over [-reach, reach]^2; outside the image there is nothing to smooth."""
    N, H, W = call.dims
    alpha, sigma = call.scalars
    reach = math.floor(3 * sigma) + 1
    bell = {t: math.exp(-t * t / (2 * sigma**2)) for t in range(-reach, reach + 1)}
    total = math.fsum(bell.values())
    out = []
    for r in range(N):
        noise = []
        for number in range(-(-2 * H * W // 4)):
            noise += [(2 * (w >> 9) + 1 - 2**23) / 2**23 for w in words(call, r, FIELD, number)]
        for plane in range(2):
            for i in range(H):
                for j in range(W):
                    out.append(alpha * math.fsum(
                        bell[p - i] / total * (bell[q - j] / total) * noise[(plane * H + p) * W + q]
                        for p in range(max(0, i - reach), min(H, i + reach + 1))
                        for q in range(max(0, j - reach), min(W, j + reach + 1))))
    return [out]


# ---- mix.c ---------------------------------------------------------------------------------------------------------


def standardise(call):
    N, D, n = call.dims
    x, mean, scale = call.values(1), call.values(2), call.values(3)
    return [[(x[i] - mean[i % D % n]) * scale[i % D % n] for i in range(N * D)]]
