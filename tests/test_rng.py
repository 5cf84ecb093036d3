"""The counter RNG against its published vectors; the shuffle: a bijection, uniform, a function of seed, epoch, index.

Statistics are chi-square tests at fixed seeds, so they cannot flicker; the limits are the 0.999 quantiles, and each
would fail for one seed in a thousand.
"""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from nncore._ffi import ffi, lib
from tests import oracle_training as oracle

# Random123 1.14, tests/kat_vectors, the lines "philox4x32 10": counter, key, result.
KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0),
     (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
]  # fmt: skip
SIZES = (1, 2, 3, 4, 5, 7, 15, 16, 17, 63, 64, 65, 1000, 1024, 1025, 60000)


def philox(seed: int, stream: int, index: int, block: int) -> list[int]:
    out = ffi.new("uint32_t[4]")
    lib.nn_philox(out, seed, stream, index, block)
    return list(out)


def permutation(seed: int, epoch: int, n: int) -> list[int]:
    return [lib.nn_shuffle(seed, epoch, n, i) for i in range(n)]


def chi_square(counts: list[int], total: int) -> float:
    expected = total / len(counts)
    return sum((c - expected) ** 2 for c in counts) / expected


# ---- Philox ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("counter", "key", "want"), KNOWN_ANSWERS)
def test_known_answers(counter, key, want):
    """The counter words are block, index low, index high, stream; the key words are the seed's halves."""
    assert philox(key[0] | key[1] << 32, counter[3], counter[1] | counter[2] << 32, counter[0]) == list(want)
    assert oracle.philox4x32(counter, key) == list(want)


def test_oracle_draws_the_same():
    rng = random.Random(1)
    for _ in range(500):
        seed, stream, index, block = (rng.randrange(2**b) for b in (64, 32, 64, 32))
        assert philox(seed, stream, index, block) == oracle.block(seed, stream, index, block)


def test_words_are_uniform():
    """2^16 words, their top, middle and bottom bytes: 255 degrees of freedom, 0.999 quantile 330.5."""
    words = [w for b in range(2**14) for w in philox(7, 9, 11, b)]
    for shift in (24, 12, 0):
        counts = [0] * 256
        for w in words:
            counts[w >> shift & 255] += 1
        assert chi_square(counts, len(words)) < 330.5


# ---- the shuffle ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", SIZES)
def test_shuffle_is_a_bijection(n):
    for seed, epoch in ((0, 0), (1, 0), (2**64 - 1, 5), (12345, 2**40)) if n <= 1025 else ((3, 1),):
        assert sorted(permutation(seed, epoch, n)) == list(range(n))


@pytest.mark.parametrize("n", (1, 2, 3, 17, 1000, 60000, 2**31 + 11, 2**40, 2**62))
def test_shuffle_is_the_definition(n):
    rng = random.Random(n)
    for _ in range(30):
        seed, epoch, i = rng.randrange(2**64), rng.randrange(2**32), rng.randrange(n)
        got = lib.nn_shuffle(seed, epoch, n, i)
        assert got == oracle.shuffle(seed, epoch, n, i)
        assert 0 <= got < n


def test_out_of_range_is_refused():
    for n, i in ((0, 0), (5, 5), (5, -1), (-1, 0), (2**62 + 1, 0)):
        assert lib.nn_shuffle(1, 0, n, i) == -1


def test_shuffle_depends_on_seed_and_epoch():
    base = permutation(1, 0, 1000)
    for other in (permutation(2, 0, 1000), permutation(1, 1, 1000), permutation(1 + 2**32, 0, 1000)):
        same = sum(a == b for a, b in zip(base, other, strict=True))
        assert same <= 7  # fixed points of a random permutation: Poisson(1), P(more than 7) = 1e-5


def test_shuffle_does_not_depend_on_order():
    """Any element can be asked for at any time: nothing is drawn one after another."""
    want = permutation(4, 2, 997)
    order = list(range(997))
    random.Random(5).shuffle(order)
    assert [lib.nn_shuffle(4, 2, 997, i) for i in order] == [want[i] for i in order]


@pytest.mark.parametrize(("n", "limit"), ((2, 10.83), (3, 13.82), (7, 22.46), (10, 27.88), (100, 148.2)))
@pytest.mark.parametrize("vary", ("seed", "epoch"))
def test_first_element_is_uniform(n, limit, vary):
    """Over 20,000 seeds, or epochs of one seed: n - 1 degrees of freedom."""
    counts = [0] * n
    for k in range(20_000):
        counts[lib.nn_shuffle(*((k, 0) if vary == "seed" else (1, k)), n, 0)] += 1
    assert chi_square(counts, 20_000) < limit


def test_all_orders_of_few_are_almost_equally_likely():
    """The 24 orders of 4 samples over 24,000 seeds. Eight rounds on two bits can be chosen in 4^8 = 65,536 ways, no
    multiple of 24, so the best of hashes makes some orders 2.4 % more frequent than others: counted out, that puts 2.93
    on top of 23 degrees of freedom, 0.999 quantile 55.2. (From 5 samples on the rounds are even permutations of 16 or
    more, and single orders deviate by a tenth; where each sample comes from, and each pair of 100, stays flat.)"""
    counts: dict[tuple, int] = {}
    for seed in range(24_000):
        order = tuple(permutation(seed, 0, 4))
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 24
    assert chi_square(list(counts.values()), 24_000) < 55.2


def test_pairs_are_uniform():
    """Where the first two of 100 samples come from, over 50,000 epochs: 9899 degrees of freedom, 0.999 quantile."""
    counts = [0] * 10_000
    for epoch in range(50_000):
        counts[100 * lib.nn_shuffle(7, epoch, 100, 0) + lib.nn_shuffle(7, epoch, 100, 1)] += 1
    assert not any(counts[::101])  # two places never get the same sample
    assert chi_square([c for i, c in enumerate(counts) if i % 101], 50_000) < 10_340


def test_place_and_value_are_unrelated():
    """One epoch of 60,000: 16 x 16 cells of (place, value), (16 - 1)^2 = 225 degrees of freedom; and of neighbours."""
    p = permutation(9, 3, 60_000)
    places, neighbours = [0] * 256, [0] * 256
    for i, v in enumerate(p):
        places[i * 16 // 60_000 * 16 + v * 16 // 60_000] += 1
    for a, b in pairwise(p):
        neighbours[a * 16 // 60_000 * 16 + b * 16 // 60_000] += 1
    assert chi_square(places, 60_000) < 294.9
    assert chi_square(neighbours, 59_999) < 294.9
    assert sum(b == a + 1 for a, b in pairwise(p)) <= 7  # Poisson(1)
