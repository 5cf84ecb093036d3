"""What augmentation should compute, in plain Python: the lectures' and the papers' formulas, a pixel at a time. Rung 0 of the
ladder of trust, as tests/oracle.py. What the counter RNG draws for which sample is part of the definition.
"""

from __future__ import annotations

import math

from tests.oracle_training import block, uniform

AUGMENT = 6  # nn_stream
WARP, FIELD, ERASE, FILL, NOISE, MIX = range(6)  # kinds of draws


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


def box(call, H: int, W: int, height: float, width: float, top: int, left: int) -> set[tuple[int, int]]:
    """Pixels of a rectangle of about these sides, cut to the image, at a place drawn by two words among those inside."""
    h, w = min(math.floor(height + 0.5), H), min(math.floor(width + 0.5), W)
    first, start = choice(top, H - h + 1), choice(left, W - w + 1)
    return {(i, j) for i in range(first, first + h) for j in range(start, start + w)}


def erase(call):
    N, H, W, C, n, fill = call.dims
    p, low, high, flattest, full = call.scalars
    out = []
    for r in range(N):
        x = call.values(1)[r * H * W * C : (r + 1) * H * W * C]
        w, z = words(call, r, ERASE, 0), words(call, r, ERASE, 1)
        if uniform(w[0], w[1]) < p:
            area = H * W * (low + (high - low) * uniform(w[2], w[3]))
            aspect = flattest ** (1 - 2 * uniform(z[0], z[1]))
            height, width = max(0.5, math.sqrt(area * aspect)), max(0.5, math.sqrt(area / aspect))  # a pixel at least
            for i, j in box(call, H, W, height, width, z[2], z[3]):
                for e in range((i * W + j) * C, (i * W + j + 1) * C):
                    noisy = (words(call, r, FILL, e // 4)[e % 4] >> 8) / 2**24 * full
                    x[e] = (0.0, call.values(2)[e % n] if call.args[2] else 0.0, noisy)[fill]
        out += x
    return [out]


def noise(call):
    """Box and Muller 1958: a pair of normal numbers from a pair of uniform ones."""
    N, D = call.dims
    (sigma,) = call.scalars
    out = []
    for i, x in enumerate(call.values(1)):
        w = words(call, i // D, NOISE, i % D // 2)
        radius, angle = math.sqrt(-2 * math.log(uniform(w[0], w[1]))), 2 * math.pi * uniform(w[2], w[3])
        out.append(x + sigma * radius * (math.sin, math.cos)[i % D % 2 == 0](angle))
    return [out]


def beta(call, r: int, alpha: float) -> float:
    """The larger part of a Beta(alpha, alpha) by way of Student's t with 2 alpha degrees of freedom (Bailey 1994): with
    T = sqrt(2 alpha (u^(-1/alpha) - 1)) cos(2 pi v), 1/2 + T / (2 sqrt(2 alpha + T^2))."""
    w = words(call, r, MIX, 0)
    u, v = uniform(w[0], w[1]), uniform(w[2], w[3])
    t = math.sqrt(2 * alpha * (u ** (-1 / alpha) - 1)) * math.cos(2 * math.pi * v)
    return 0.5 + abs(t) / (2 * math.sqrt(2 * alpha + t * t))


def partner(call, r: int, N: int, shards: int) -> int:
    """Another row of the same shard, or r itself."""
    size = N // shards
    return r // size * size + choice(words(call, r, MIX, 1)[0], size)


def mix_draw(call):
    N, shards = call.dims
    return [[beta(call, r, call.scalars[0]) for r in range(N)], [partner(call, r, N, shards) for r in range(N)]]


def mix_rows(call):
    N, D = call.dims
    x, share, other = (call.values(i) for i in (1, 2, 3))
    return [[share[r] * x[r * D + j] + (1 - share[r]) * x[other[r] * D + j] for r in range(N) for j in range(D)]]


def cutmix(call):
    N, H, W, C, shards = call.dims
    x, out, shares, partners = call.values(3), [], [], []
    for r in range(N):
        w, side = words(call, r, MIX, 1), math.sqrt(1 - beta(call, r, call.scalars[0]))
        cut = box(call, H, W, side * H, side * W, w[1], w[2])
        partners.append(partner(call, r, N, shards))
        shares.append(1 - len(cut) / (H * W))
        for i in range(H):
            for j in range(W):
                e = ((partners[r] if (i, j) in cut else r) * H + i) * W + j
                out += x[e * C : (e + 1) * C]
    return [out, shares, partners]
