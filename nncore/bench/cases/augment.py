"""Cases of csrc/ops/augment.c and mix.c. Sizes of images are (rows of the step, height, width, channels)."""

from __future__ import annotations

from array import array

from nncore.bench.cases import ELEMENTARY, EXACT, Bound, Call, Case, below, data, gamma, given, made, ulps

IMAGES = ((0, 3, 3, 1), (1, 1, 1, 1), (3, 1, 5, 2), (2, 7, 1, 1), (2, 5, 4, 3), (1, 8, 17, 1), (4, 9, 8, 1), (3, 12, 10, 3),
          (1, 5, 67, 1), (2, 28, 28, 1))  # fmt: skip
MNIST, CIFAR = (128, 28, 28, 1), (128, 32, 32, 3)


def where(rng) -> dict:
    """A place in a training: what the random numbers of augmentation depend on."""
    return {"seed": rng.randrange(2**64), "epoch": rng.randrange(1000), "cursor": rng.randrange(60_000)}


# ---- augment.c -----------------------------------------------------------------------------------------------------


def _warp(moves, scalars, bent=False):
    """moves: shift, crop, flip."""

    def make(size, kind, rng) -> Call:
        N, H, W, C = size
        n = N * H * W * C
        field = given([3 * v for v in data(2 * N * H * W, "uniform", rng)]) if bent else None
        return Call([made(n), given(data(n, kind, rng)), field], (*size, *moves), scalars, where(rng))

    return make


def _interpolated(call, exact):
    """A place errs by 12 s (W + H + moves) u at most, s the largest coefficient of the mapping: 2 |a| W + 3 |b| H + 3 |o| in x
    and as much in y, |o| <= 2 s (W + H); the value by that times the steepest step, twice the largest value, and by six
    roundings of it. tan(shear) < 1/2 in all cases."""
    N, H, W, C, shift, crop, _ = call.dims
    stretch = 1.5 / (1 - call.scalars[1])
    place = 2 * 12 * stretch * (W + H + abs(shift) + crop)
    out, size = [], H * W * C
    for r in range(N):
        largest = max(map(abs, call.values(1)[r * size : (r + 1) * size]), default=0.0)
        out += [largest * (2 * place + 6)] * size
    return [out]


def _field(size, kind, rng) -> Call:
    N, H, W, _ = size
    return Call([made(2 * N * H * W)], (N, H, W), FIELD, where(rng))


def _smoothed(depth):
    """Weights within 2 ulp of exp and three roundings, twice; the chains of fma; |U| < 1 and weights of sum 1."""

    def of(call, exact):
        alpha, reach = call.scalars[0], int(3 * call.scalars[1]) + 1
        return [[alpha * (gamma(depth(reach)) + 2 * ELEMENTARY + 12)] * len(exact[0])]

    return of


FIELD = (5.0, 1.3)  # alpha, sigma
BENT = Bound("the place's error times the steepest step, six roundings", _interpolated, tiny=16)


def _case(variant, moves, scalars=(0.0, 0.0, 0.0), bent=False):
    copies = not (any(scalars) or bent)
    return Case("warp", _warp(moves, scalars, bent), IMAGES, EXACT if copies else BENT, variant=variant, special=copies,
                bench=(MNIST, CIFAR), flop=lambda N, H, W, C: 0 if copies else N * H * W * (20 + 10 * C))


# ---- mix.c ---------------------------------------------------------------------------------------------------------

ROWS = ((0, 5, 1), (1, 1, 1), (3, 7, 7), (2, 15, 1), (5, 16, 16), (7, 17, 1), (33, 10, 10), (4, 31, 31), (9, 64, 1))
TWICE = ulps(1, "the difference and the product")


def _standardise(size, kind, rng) -> Call:
    N, D, n = size
    mean, scale = data(n, "normal", rng), array("f", [abs(x) + 0.01 for x in data(n, "normal", rng)])
    return Call([made(N * D), given(data(N * D, kind, rng)), given(mean), given(scale)], size)


def _erase(fill, wide=False):
    def make(size, kind, rng) -> Call:
        N, H, W, C = size
        n = N * H * W * C
        width = H * W * C if wide else 1
        mean = given(data(width, "normal", rng)) if fill == 1 else None
        return Call([made(n), given(data(n, kind, rng)), mean], (*size, width, fill), (0.7, 0.1, 0.6, 0.3, 255.0), where(rng))

    return make


def _erase_case(variant, fill, wide=False):
    bound = ulps(0.5, "the product with the range") if fill == 2 else EXACT
    return Case("erase", _erase(fill, wide), IMAGES, bound, variant=variant, alias=((0, 1),), bench=(MNIST,),
                flop=lambda N, H, W, C: 0, special=fill < 2)


def _noise(size, kind, rng) -> Call:
    N, D, _ = size
    return Call([made(N * D), given(data(N * D, kind, rng))], (N, D), (0.1,), where(rng))


def _noisy(call, exact):
    """The sum is rounded once; the normal number is wrong by 16 u of the largest radius, 8.6, in double."""
    return [[1.01 * abs(y) + 16 * 8.6 * call.scalars[0] for y in exact[0]]]


def _mix_draw(size, kind, rng) -> Call:
    N, _, shards = size
    return Call([made(N), made(N, "i32")], (N, shards), (ALPHA,), where(rng))


ALPHA = 0.4
SHARDED = ((1, 1, 1), (7, 1, 1), (12, 1, 3), (33, 1, 1), (128, 1, 4))


def _share(call, exact):
    """Rounded once. Before, in double: (t / (1 + t))^(1/2) / 2, t = (u^(-1/alpha) - 1) cos^2, of an error of at most 7 u / cos
    relative to it, where cos is seldom below 1/100."""
    return [[1.01 * s + 700 * (1 - s) for s in exact[0]], [0.0] * len(exact[0])]


def _mix_rows(size, kind, rng) -> Call:
    N, D, _ = size
    share = array("f", [0.5 + rng.random() / 2 for _ in range(N)])
    return Call([made(N * D), given(data(N * D, kind, rng)), given(share), given(below(N, max(N, 1), rng), "i32")], (N, D))


def _mixed(call, exact):
    """1 - share is exact; a product is rounded, and the fused sum."""
    D, x, out = call.dims[1], call.values(1), []
    for r, (share, other) in enumerate(zip(call.values(2), call.values(3), strict=True)):
        out += [1.01 * (abs((1 - share) * x[other * D + j]) + abs(exact[0][r * D + j])) for j in range(D)]
    return [out]


def _cutmix(size, kind, rng) -> Call:
    N, H, W, C = size
    n, shards = N * H * W * C, 2 if N and N % 2 == 0 else 1
    return Call([made(n), made(N), made(N, "i32"), given(data(n, kind, rng))], (*size, shards), (1.0,), where(rng))


def _copied(call, exact):
    """Values are copied, the share is rounded once."""
    return [[0.0] * len(exact[0]), [1.01 * s for s in exact[1]], [0.0] * len(exact[2])]


CASES = [
    _case("shift", (2, 0, 0)),
    _case("one-pixel", (-1, 0, 0)),
    _case("flip-crop", (0, 3, 1)),
    _case("rotate", (0, 0, 0), (15.0, 0.0, 0.0)),
    _case("affine", (2, 1, 1), (10.0, 0.2, 12.0)),
    _case("bent", (1, 0, 0), bent=True),
    _case("all", (-1, 2, 1), (180.0, 0.15, 7.5), bent=True),
    Case("elastic_field", _field, IMAGES[:-1], Bound("weights and chains", _smoothed(lambda reach: 2 * (2 * reach + 2)), tiny=4),
         kinds=("normal",), special=False, bench=(MNIST,), flop=lambda N, H, W, C: 8 * N * H * W * 16,
         naive=Bound("weights and one sum", _smoothed(lambda reach: (2 * reach + 1) ** 2 + 4), tiny=4)),
    Case("standardise", _standardise, ROWS, TWICE, alias=((0, 1),), bench=((128, 784, 1), (128, 784, 784)),
         flop=lambda N, D, n: 2 * N * D),
    _erase_case("zero", 0),
    _erase_case("mean", 1),
    _erase_case("means", 1, wide=True),
    _erase_case("noise", 2),
    Case("noise", _noise, ROWS, Bound("one rounding and the normal number's own error", _noisy), alias=((0, 1),),
         bench=((128, 784, 1),), flop=lambda N, D, n: 60 * N * D),
    Case("mix_draw", _mix_draw, SHARDED, Bound("one rounding, and the draw's own error", _share), kinds=("normal",),
         special=False, bench=((128, 1, 1),)),
    Case("mix_rows", _mix_rows, ROWS, Bound("a product and a fused sum", _mixed, tiny=4), bench=((128, 784, 1),),
         flop=lambda N, D, n: 3 * N * D, special=False),
    Case("cutmix", _cutmix, IMAGES, Bound("a copy; the share rounded once", _copied), bench=(MNIST,), special=False,
         flop=lambda N, H, W, C: 0),
]  # fmt: skip
