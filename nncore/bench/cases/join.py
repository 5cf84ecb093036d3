"""Cases of csrc/ops/join.c: exact copies. Sizes are (N, H, W, C); extents and widths are the case's variant."""

from __future__ import annotations

import math

from nncore.bench.cases import EXACT, Call, Case, data, given, made

SIZES = ((0, 3, 3, 5), (1, 4, 4, 1), (2, 3, 5, 3), (1, 5, 4, 8), (3, 3, 3, 15), (1, 4, 5, 16), (2, 4, 3, 17), (1, 3, 5, 33),
         (1, 4, 3, 40))  # fmt: skip
BENCH = ((128, 28, 28, 32), (128, 14, 14, 64), (128, 28, 28, 20), (8, 14, 14, 64))

# variant: (offset a b c; how much larger y is than x in H, W and C). What a network does: pad an image, cut one, take or
# place some channels; and windows of which a corner, an edge or nothing lies in x.
BLOCKS = {
    "pad": ((-1, -2, 0), (3, 3, 0)), "cut": ((1, 1, 0), (-2, -1, 0)), "channels": ((0, 0, 1), (0, 0, -1)),
    "place": ((0, 0, -3), (0, 0, 5)), "corner": ((2, -3, 2), (1, 2, 3)), "outside": ((9, 0, 0), (0, 1, 0)),
    "beside": ((0, -9, 0), (0, 0, 0)), "above": ((0, 0, -50), (0, 0, 2)),
}  # fmt: skip


def block(offset, more):
    def make(size, kind, rng):
        extent = tuple(max(n + m, 1) for n, m in zip(size[1:], more, strict=True))
        x = given(data(math.prod(size), kind, rng))
        return Call([made(size[0] * math.prod(extent)), x], (*size, *extent, *offset))

    return make


def widths(parts):
    """A concat of so many inputs whose widths go up from about C / parts."""

    def make(size, kind, rng):
        rows, C = math.prod(size[:3]), size[3]
        wide = [max(C // parts + j, 1) for j in range(parts)]
        inputs = [given(data(rows * w, kind, rng)) for w in wide]
        return Call([made(rows * sum(wide)), *inputs], (rows, parts, *wide))

    return make


KINDS = ("normal", "denormal", "zero")
CASES = [
    *(Case("block_copy", block(*shift), SIZES, EXACT, kinds=KINDS, variant=name, flop=lambda *size: 0,
           bench=BENCH if name in ("pad", "cut", "channels") else ()) for name, shift in BLOCKS.items()),
    *(Case("concat", widths(parts), SIZES, EXACT, kinds=KINDS, variant=f"of{parts}", flop=lambda *size: 0,
           bench=BENCH if parts == 2 else ()) for parts in (1, 2, 3, 7)),
]  # fmt: skip
