"""Cases of csrc/ops/gather.c. Sizes are (rows of the step, features, length of mean and scale)."""

from __future__ import annotations

from array import array

from nncore.bench.cases import EXACT, Arg, Call, Case, below, data, given, made, ulps

SHUFFLE = 1  # NN_RUN_SHUFFLE
SIZES = ((0, 5, 1), (1, 1, 1), (3, 7, 7), (2, 15, 1), (5, 16, 16), (7, 17, 1), (33, 10, 10), (4, 31, 31), (3, 101, 1),
         (9, 64, 64))  # fmt: skip
BENCH = ((128, 784, 784), (128, 784, 1))


def _samples(n: int, rng) -> tuple[int, dict]:
    """How many rows the data hold, and where in a shuffled epoch the step begins."""
    total = 3 * n + 5
    run = {"seed": rng.randrange(2**64), "epoch": rng.randrange(9), "n_samples": total, "flags": SHUFFLE}
    return total, run | {"cursor": rng.randrange(2 * n + 6)}


def _bytes(total: int, d: int, kind: str, rng) -> Arg:
    return given([0] * (total * d) if kind == "zero" else below(total * d, 256, rng), "u8")


def _gather(dtype: str, listed: bool, order: bool = True):
    def make(size, kind, rng) -> Call:
        N, D, n = size
        total, run = _samples(N, rng)
        if not order:
            run["flags"] = 0
        rows = given(below(total, total, rng), "i64") if listed else None  # any rows, some of them twice
        source = _bytes(total, D, kind, rng) if dtype == "u8" else given(data(total * D, kind, rng), "f32")
        mean, scale = data(n, "normal", rng), [abs(x) + 0.01 for x in data(n, "normal", rng)]
        return Call([made(N * D), source, rows, given(mean), given(_float32(scale))], (N, D, n), run=run)

    return make


def _float32(values: list[float]) -> list[float]:
    """The nearest float32 of each: both real types must start from the same numbers."""
    return list(array("f", values))


def _labels(width: int, classes: int):
    def make(size, kind, rng) -> Call:
        N, _, _ = size
        total, run = _samples(N, rng)
        source = given(below(total, classes, rng), {1: "u8", 4: "i32"}[width])
        return Call([made(N, "i32"), source, given(below(total, total, rng), "i64")], (N, classes, width), run=run)

    return make


def _targets(size, kind, rng) -> Call:
    N, D, _ = size
    total, run = _samples(N, rng)
    return Call([made(N * D), given(data(total * D, kind, rng), "f32"), None], (N, D), run=run)


TWICE = ulps(1, "the difference and the product")
CASES = [
    Case("gather_u8", _gather("u8", False), SIZES, TWICE, kinds=("normal", "zero"), special=False, bench=BENCH,
         flop=lambda N, D, n: 2 * N * D),
    Case("gather_u8", _gather("u8", True), SIZES, TWICE, kinds=("normal",), special=False, variant="rows"),
    Case("gather_u8", _gather("u8", False, order=False), SIZES, TWICE, kinds=("normal",), special=False,
         variant="plain", bench=BENCH),
    Case("gather_u8", _gather("u8", True, order=False), SIZES, TWICE, kinds=("normal",), special=False, variant="listed"),
    Case("gather_f32", _gather("f32", True), SIZES, TWICE, bench=((128, 784, 784),)),
    Case("gather_labels", _labels(1, 256), SIZES, EXACT, kinds=("normal",), special=False, bench=((128, 784, 1),)),
    Case("gather_labels", _labels(4, 70_000), SIZES, EXACT, kinds=("normal",), special=False, variant="i32"),
    Case("gather_targets", _targets, SIZES, EXACT, bench=((128, 784, 1),)),
]  # fmt: skip
