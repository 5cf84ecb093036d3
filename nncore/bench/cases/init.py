"""Cases of csrc/ops/init.c. Exact: both real types hold the same float32 values."""

from __future__ import annotations

from nncore.bench.cases import Bound, Call, Case, counts, made

SAME = Bound("rounded to float32 in both types")


def _init(parameter: float):
    def make(size, kind, rng) -> Call:
        (n,) = size
        return Call([made(n)], (n, rng.randrange(2**32)), (parameter,), {"seed": rng.randrange(2**64)})

    return make


def _words(n: int) -> int:
    return 2 * n


CASES = [
    Case("init_uniform", _init(0.07), counts(), SAME, kinds=("normal",), special=False, bench=((200_704,),), words=_words),
    Case("init_normal", _init(0.05), counts(), SAME, kinds=("normal",), special=False, bench=((200_704,),), words=_words),
]
