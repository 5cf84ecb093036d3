"""Cases of csrc/ops/conv.c: gamma_T sum |terms| for a chain of T fused multiply-adds (Higham 2002, eq. 3.5).

A size is N H W C K and a window: an index in WINDOWS, which counts from 1; for weights also shards.
"""

from __future__ import annotations

from itertools import product

from nncore.bench.cases import EXACT, SPILL, Bound, Call, Case, data, gamma, given, made

# R, S, stride h w, padding top left bottom right, dilation h w, groups
WINDOWS = {
    1: (3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1), 2: (5, 5, 1, 1, 0, 0, 0, 0, 1, 1, 1), 3: (1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1),
    4: (3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1), 5: (3, 3, 1, 1, 2, 2, 2, 2, 2, 2, 1), 6: (5, 5, 1, 1, 2, 2, 2, 2, 1, 1, 1),
    7: (3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 2), 8: (3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 4), 9: (3, 2, 3, 3, 0, 0, 0, 0, 1, 1, 1),
    10: (7, 3, 1, 2, 3, 0, 2, 2, 1, 1, 1), 11: (2, 2, 2, 2, 0, 0, 0, 0, 1, 1, 1), 12: (1, 1, 2, 2, 0, 0, 0, 0, 1, 1, 1),
    13: (2, 3, 1, 3, 2, 1, 0, 3, 2, 1, 1), 14: (3, 3, 2, 2, 0, 0, 1, 1, 1, 1, 1), 15: (2, 3, 3, 2, 1, 1, 0, 0, 2, 3, 2),
    16: (1, 4, 1, 1, 0, 3, 0, 3, 1, 1, 1), 17: (4, 4, 4, 4, 3, 3, 3, 3, 1, 1, 1), 64: (3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 64),
}  # fmt: skip
# Around the tile's pixels and channels; borders that no pixel, some and all see; windows larger than the image.
SHAPES = (
    (2, 4, 4, 3, 5, 1), (1, 5, 5, 1, 6, 2), (2, 6, 6, 2, 3, 4), (1, 7, 7, 2, 33, 5), (3, 1, 1, 5, 4, 3), (2, 3, 3, 2, 2, 6),
    (1, 4, 4, 4, 6, 7), (1, 6, 6, 4, 4, 8), (1, 9, 31, 1, 17, 9), (2, 2, 20, 1, 2, 10), (1, 5, 4, 3, 40, 11),
    (2, 4, 4, 18, 20, 12), (1, 5, 4, 3, 3, 13), (1, 4, 6, 2, 3, 14), (2, 7, 9, 4, 6, 15), (1, 2, 29, 1, 3, 16),
    (1, 3, 3, 2, 2, 17), (17, 2, 2, 3, 3, 1), (3, 3, 3, 5, 4, 3), (5, 6, 16, 1, 7, 6), (1, 4, 4, 36, 48, 1),
    (2, 5, 6, 1, 33, 1), (9, 1, 2, 1, 16, 1), (1, 7, 8, 1, 20, 4), (1, 6, 5, 1, 17, 5), (2, 4, 6, 1, 48, 14),
)  # fmt: skip
SHARDS = (1, 1, 2, 1, 3, 2, 1, 1, 1, 2, 1, 1, 1, 1, 2, 1, 1, 1, 3, 5, 1, 2, 1, 1, 1, 1)
BENCH = (
    (64, 28, 28, 32, 32, 1), (64, 14, 14, 32, 64, 1), (64, 14, 14, 64, 64, 1), (64, 7, 7, 64, 128, 1), (16, 56, 56, 64, 64, 1),
    (16, 28, 28, 128, 128, 1), (64, 28, 28, 1, 6, 6), (64, 14, 14, 6, 16, 2), (64, 28, 28, 1, 20, 2), (64, 12, 12, 20, 40, 2),
    (64, 28, 28, 1, 32, 1), (64, 28, 28, 16, 16, 1), (64, 28, 28, 24, 24, 1), (64, 28, 28, 48, 48, 1), (64, 14, 14, 64, 64, 3),
    (64, 28, 28, 32, 64, 4), (64, 28, 28, 32, 64, 12), (64, 14, 14, 64, 64, 64),
)  # fmt: skip


def dims(size: tuple[int, ...], last: int = -1) -> tuple[int, ...]:
    """N H W C R S K P Q sh sw pt pl dh dw G, and act or shards. The window may be given in full."""
    N, H, W, C, K, window = size[:6]
    R, S, sh, sw, top, left, bottom, right, dh, dw, G = WINDOWS.get(window, window)
    P, Q = (H + top + bottom - dh * (R - 1) - 1) // sh + 1, (W + left + right - dw * (S - 1) - 1) // sw + 1
    return (N, H, W, C, R, S, K, P, Q, sh, sw, top, left, dh, dw, G, last)


def _sizes(dims):
    """Elements of x, w, y; the terms of an output forward and backward, at most."""
    N, H, W, C, R, S, K, P, Q, *_, G, _ = dims
    return N * H * W * C, R * S * C // G * K, N * P * Q * K, R * S * C // G, R * S * K // G


def _absolute(call, a, b, target):
    """sum |terms| of every output: the op itself over |a| and |b|, by plain loops. target 0 is y, 1 dx, 2 dw."""
    x, w, y, _, _ = _sizes(call.dims)
    N, H, W, C, R, S, K, P, Q, sh, sw, pt, pl, dh, dw, G = call.dims[:16]
    a, b = [abs(t) for t in a], [abs(t) for t in b]
    c_size, k_size, shards = C // G, K // G, call.dims[16] if target == 2 else 1
    sums = [0.0] * (y, x, w * shards)[target]
    for n, p, q, r, s in product(range(N), range(P), range(Q), range(R), range(S)):
        i, j = p * sh - pt + r * dh, q * sw - pl + s * dw
        if not (0 <= i < H and 0 <= j < W):
            continue
        to_x, to_y, to_w = ((n * H + i) * W + j) * C, ((n * P + p) * Q + q) * K, (r * S + s) * c_size * K
        to_dw = to_w + n // (N // shards) * w
        for k in range(K):
            for c in range(c_size):
                at = (to_y + k, to_x + k // k_size * c_size + c, to_w + c * K + k)
                if target == 0:
                    sums[at[0]] += a[at[1]] * b[at[2]]
                elif target == 1:
                    sums[at[1]] += a[at[0]] * b[at[2]]
                else:
                    sums[to_dw + c * K + k] += a[at[1]] * b[at[0]]
    return sums


def _chain(terms, target):
    """gamma_T sum |terms| and 1.01 |y| for the bias, T being terms(call)."""

    def of(call, exact):
        T, sums = terms(call), _absolute(call, call.values(1), call.values(2), target)
        bias = 1.01 if target < 2 else 0.0
        return [[gamma(T) * s + T * SPILL + bias * abs(y) for s, y in zip(sums, exact[0], strict=True)]]

    return of


def _gathered(target, bias):
    """conv_fwd (target 0) or conv_bwd_data (1)."""

    def make(size, kind, rng) -> Call:
        x, w, y, _, _ = _sizes(dims(size))
        b = given(data((size[4], size[3])[target], kind, rng)) if bias else None
        return Call([made((y, x)[target]), given(data((x, y)[target], kind, rng)), given(data(w, kind, rng)), b], dims(size))

    return make


def _weight(size, kind, rng) -> Call:
    x, w, y, _, _ = _sizes(dims(size))
    return Call([made(w * size[6]), given(data(x, kind, rng)), given(data(y, kind, rng))], dims(size, size[6]))


def _weight_terms(call):
    """Eight images' pixels in a chain, then the tree."""
    images = call.dims[0] // call.dims[16]
    return min(images, 8) * call.dims[7] * call.dims[8] + (-(-images // 8) - 1).bit_length()


def flop(*size):
    """Two for each product of the layer, padding counted: what every package's figures mean."""
    _, _, y, terms, _ = _sizes(dims(size))
    return 2 * y * terms


def title(size: tuple[int, ...]) -> str:
    """64x28x28x32->64 3x3/2: images, output channels, window, stride, groups."""
    N, H, W, C, R, S, K, _, _, stride, *_, G, _ = dims(size)
    return f"{N}x{H}x{W}x{C}->{K} {R}x{S}" + (f"/{stride}" if stride > 1 else "") + (f" g{G}" if G > 1 else "")


FWD = Bound("gamma_T sum |x w|, and u |y| for the bias", _chain(lambda c: _sizes(c.dims)[3], 0))
DATA = Bound("gamma_T sum |dy w|, and u |dx| for the bias", _chain(lambda c: _sizes(c.dims)[4], 1))
WEIGHT = Bound("gamma_T sum |x dy|: chains of eight images, then the tree", _chain(_weight_terms, 2))
SHARDED = tuple((*s, z) for s, z in zip(SHAPES, SHARDS, strict=True))
SMALL = ((2, 6, 6, 5, 7, 1), (9, 5, 5, 3, 18, 4), (1, 6, 6, 8, 8, 5), (10, 4, 6, 4, 4, 15))
CASES = [
    Case("conv_fwd", _gathered(0, True), SHAPES, FWD, flop=flop, bench=BENCH),
    Case("conv_fwd", _gathered(0, False), SHAPES, FWD, flop=flop, variant="no-bias"),
    Case("conv_fwd", _gathered(0, True), SMALL, EXACT, kinds=("integer",), special=False, flop=flop, variant="integer"),
    Case("conv_bwd_data", _gathered(1, False), SHAPES, DATA, flop=flop, bench=BENCH),
    Case("conv_bwd_data", _gathered(1, True), SHAPES, DATA, flop=flop, variant="bias"),
    Case("conv_bwd_data", _gathered(1, False), SMALL, EXACT, kinds=("integer",), special=False, flop=flop, variant="integer"),
    Case("conv_bwd_weight", _weight, SHARDED, WEIGHT, flop=flop, bench=tuple((*s, 1) for s in BENCH)),
    Case("conv_bwd_weight", _weight, tuple((*s, 1) for s in SMALL), EXACT, kinds=("integer",), special=False, flop=flop,
         variant="integer"),
]  # fmt: skip
