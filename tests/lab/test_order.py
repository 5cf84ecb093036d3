"""The order probe: sums of known order, callables that are no sums, NumPy's, and our kernels against their documents."""

from __future__ import annotations

import math
import random
from array import array

import numpy
import pytest

from nncore.errors import UsageError
from nncore.lab.order import chain, lanes, leaves, ordered, pairwise, probe, same, show
from nncore.lab.sums import SUMS, blocks, probed
from nncore.report.tree import draw
from tests.harness import isa  # noqa: F401


def single(x: float) -> float:
    return array("f", [x])[0]


def summer(tree):
    """A float32 sum in the order of a tree; several terms at once as matrix units do, aligned to the largest and cut off."""

    def value(node, x):
        if isinstance(node, int):
            return x[node]
        terms = [value(c, x) for c in node]
        largest = max(map(abs, terms))
        return single(math.fsum(t for t in terms if abs(t) > largest * 2.0**-30))

    return lambda x: value(tree, x)


def random_tree(terms: list[int], dice: random.Random):
    if len(terms) == 1:
        return terms[0]
    parts = 2 if len(terms) == 2 else dice.choice((2, 2, 2, 3))
    cuts = sorted(dice.sample(range(1, len(terms)), parts - 1))
    return tuple(random_tree(terms[a:b], dice) for a, b in zip((0, *cuts), (*cuts, len(terms)), strict=True))


@pytest.mark.parametrize("seed", range(30))
def test_any_tree_is_found(seed):
    dice = random.Random(seed)
    terms = list(range(dice.randint(1, 40)))
    dice.shuffle(terms)
    tree = random_tree(terms, dice)
    assert same(probe(summer(tree), len(terms)), tree)


@pytest.mark.parametrize("other", [(0, (1, 2)), ((0, 2), 1), (0, 1, 2)])
def test_trees_differ(other):
    assert not same(chain(range(3)), other)
    assert same(((1, 0), 2), (2, (0, 1)))


def test_a_long_chain_needs_no_recursion():
    found = probe(lambda x: float(numpy.cumsum(numpy.asarray(x), dtype=numpy.float32)[-1]), 3000)
    assert same(found, chain(range(3000))) and show(found) == "0 + 1 + 2 + ... + 2999"
    assert "</svg>" in draw(found, "a chain")


def test_numpy_adds_eight_lanes_in_pairs():
    """numpy/_core/src/umath/loops_utils: eight accumulators below 128 terms, the rest behind them."""
    eight = ((((0, 8), (1, 9)), ((2, 10), (3, 11))), (((4, 12), (5, 13)), ((6, 14), (7, 15))))
    assert same(probe(lambda x: numpy.asarray(x).sum(), 16), eight)
    assert same(probe(lambda x: numpy.asarray(x).sum(), 7), chain(range(7)))


def test_formats():
    def half(x):
        total = numpy.float16(0)
        for v in x:
            total = numpy.float16(total + numpy.float16(v))
        return total

    assert same(probe(half, 100, "f16"), chain(range(100)))
    assert same(probe(lambda x: numpy.asarray(x).sum(), 7, "f64"), chain(range(7)))


@pytest.mark.parametrize(("f", "text"), [
    (math.fsum, "terms are dropped or corrected"),
    (lambda x: 2 * sum(x), "not a sum of 9 terms"),
    (lambda x: max(x), "not a sum of 9 terms"),
    (lambda x: sum(x[1:]) + 1, "which no fixed order"),
    (lambda x: float("nan"), "not a sum of 9 terms"),
])
def test_what_is_no_sum_in_a_fixed_order(f, text):
    with pytest.raises(UsageError, match=text):
        probe(f, 9)


@pytest.mark.parametrize(("n", "dtype", "text"), [(0, "f32", "1 to"), (3000, "f16", "1 to 2,048"), (4, "fp8", "none of f32")])
def test_bad_requests(n, dtype, text):
    with pytest.raises(UsageError, match=text):
        probe(sum, n, dtype)


def test_text():
    assert show(((((0, 1), (2, 3)), 4), 5)) == "+ from top to bottom\n|- +\n|  |- 0 + 1\n|  `- 2 + 3\n`- 4, 5, one by one"
    assert show((0, 1, (2, 3))) == "+ 3 at once\n|- 0\n|- 1\n`- 2 + 3" and show(7) == "7"
    assert show(lanes(range(12), 2)) == "+\n|- 0 + 2 + 4 + ... + 10\n`- 1 + 3 + 5 + ... + 11"


def test_documented_shapes():
    assert pairwise(range(5)) == (((0, 1), (2, 3)), 4) and lanes(range(3)) == ((0, 2), 1)
    assert sorted(leaves(lanes(range(100)))) == list(range(100)) and blocks([None, 0, 1, None]) == (1, 0)
    assert ordered((2, (1, 0))) == ((0, 1), 2)


# ---- our kernels -----------------------------------------------------------------------------------------------------

CASES = [(name, mode) for name, kernel in SUMS.items() for mode in kernel.modes]


@pytest.mark.parametrize(("name", "mode"), CASES)
def test_every_kernel_adds_as_documented(name, mode):
    assert probed(SUMS[name], 20 if name.startswith("conv") else 70, mode).holds


@pytest.mark.parametrize("name", SUMS)
def test_on_every_level(name, isa):  # noqa: F811
    found = probed(SUMS[name], 35, isa=isa)
    assert found.holds and found.isa == isa and found.terms >= 35


def test_chunks_and_many_images():
    assert probed(SUMS["sum_all"], 4099).holds and probed(SUMS["conv_bwd_weight"], 12 * 27).holds


def test_a_kernel_with_another_document_is_noticed():
    found = probed(SUMS["sum_all"], 40)
    assert found.holds and not same(found.tree, chain(range(40))) and not same(found.tree, lanes(range(40), 8))


def test_modes_are_of_products():
    with pytest.raises(UsageError, match="one order, f32's"):
        probed(SUMS["sum_all"], 9, "bf16")
