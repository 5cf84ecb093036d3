"""Splits and standardisation against plain Python."""

from __future__ import annotations

from array import array
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nncore._ffi import ffi, lib
from nncore.data import folds, holdout, permutation, standardisation
from nncore.errors import DataError, UsageError
from nncore.tensor import Tensor


def test_permutation_is_one_and_depends_on_the_seed():
    for n in (1, 2, 10, 257, 1000):
        assert sorted(permutation(n, 5)) == list(range(n))
    assert permutation(1000, 5) == permutation(1000, 5) != permutation(1000, 6)
    shuffle = array("q", [lib.nn_shuffle(5, 0, 1000, i) for i in range(1000)])
    assert permutation(1000, 5) != shuffle, "another stream than the training shuffle of the same seed"


def test_pinned():
    assert list(permutation(10, 0)) == PINNED


PINNED = [9, 0, 2, 7, 5, 4, 1, 3, 6, 8]


@pytest.mark.parametrize(("share", "count"), [(0.1, 10), (5, 5), (0.5, 50), (0.99, 99)])
def test_holdout(share, count):
    train, validation = holdout(100, share, seed=1)
    assert len(validation) == count and len(train) == 100 - count
    assert sorted([*train, *validation]) == list(range(100))
    assert list(train) == sorted(train) and list(validation) == sorted(validation)
    assert train.typecode == "q"


@pytest.mark.parametrize("share", [0.0, 1.0, 0, 100, -5, 0.001, 0.999, 1.5])
def test_holdout_keeps_both_sides(share):
    with pytest.raises(UsageError, match="both sides must keep at least one"):
        holdout(100, share)


def test_stratified():
    labels = bytes([0] * 70 + [1] * 20 + [2] * 10)
    _, validation = holdout(100, 0.25, seed=3, labels=labels)
    assert len(validation) == 25
    assert sorted([labels[i] for i in validation].count(c) for c in range(3)) == [2, 5, 18]
    assert holdout(100, 0.25, 3, Tensor((100,), "u8", labels)) == holdout(100, 0.25, 3, labels)
    with pytest.raises(UsageError, match="3 labels for 100 samples"):
        holdout(100, 0.25, labels=b"abc")


def test_folds():
    for n, k in ((10, 2), (10, 3), (10, 10), (101, 7)):
        parts = folds(n, k, seed=4)
        assert sorted(i for part in parts for i in part) == list(range(n))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
    for k in (0, 1, 11):
        with pytest.raises(UsageError):
            folds(10, k)


# ---- standardisation ------------------------------------------------------------------------------------------------


def exact(values):
    """Mean and 1 / deviation, exact up to the last roundings."""
    n = len(values)
    mean = Fraction(sum(Fraction(v) for v in values), n)
    variance = sum((Fraction(v) - mean) ** 2 for v in values) / n
    return float(mean), 1.0 if variance == 0 else 1 / float(variance) ** 0.5


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 12), st.integers(1, 9), st.data())
def test_moments_against_fractions(n, features, data):
    kind = data.draw(st.sampled_from(["u8", "f32"]))
    element = st.integers(0, 255) if kind == "u8" else st.floats(-1e6, 1e6, width=32)
    values = data.draw(st.lists(element, min_size=n * features, max_size=n * features))
    x = Tensor((n, features), kind, bytes(values) if kind == "u8" else array("f", values))
    rows = data.draw(st.none() | st.lists(st.integers(0, n - 1), min_size=1, max_size=12))
    chosen = range(n) if rows is None else rows
    table = [values[i * features : (i + 1) * features] for i in chosen]
    mean, scale = standardisation(x, rows)
    expected = [exact([v for row in table for v in row])]
    check(kind, mean, scale, expected, [[v for row in table for v in row]])
    mean, scale = standardisation(x, rows, per="feature")
    columns = [list(c) for c in zip(*table, strict=True)]
    check(kind, mean, scale, [exact(c) for c in columns], columns)


def check(kind, mean, scale, expected, columns):
    for m, s, (em, es), column in zip(mean, scale, expected, columns, strict=True):
        # u8: three correctly rounded operations. f32: n terms in double; 1e-9 covers a mean 1e6 times the deviation.
        assert m == pytest.approx(em, rel=2**-52 if kind == "u8" else 1e-12, abs=0 if kind == "u8" else 1e-9)
        if kind == "u8":
            assert s == pytest.approx(es, rel=2**-50)
        elif es < 1e3 and max(map(abs, column)) * es < 1e5:
            assert s == pytest.approx(es, rel=1e-6)


def test_constant_features_have_scale_one():
    assert standardisation(Tensor((3, 2), "u8", bytes([7, 1, 7, 1, 7, 4])), per="feature")[1][0] == 1.0
    assert standardisation(Tensor((3,), "f32")) == ([0.0], [1.0])


def test_large_sums_are_exact():
    x = Tensor((70_000, 3), "u8", b"\xff\xfe\xff" * 70_000)
    n = 210_000
    total, squares = 70_000 * (255 + 254 + 255), 70_000 * (2 * 255**2 + 254**2)
    mean, scale = standardisation(x)
    assert mean == [total / n]
    assert scale[0] == pytest.approx(n / (n * squares - total**2) ** 0.5, rel=2**-51)
    wide = Tensor((1, 140_000), "u8", b"\xff" * 140_000)
    assert standardisation(wide) == ([255.0], [1.0])


def test_order_of_rows_is_irrelevant_for_bytes():
    x = Tensor((100, 7), "u8", bytes((i * 91) % 251 for i in range(700)))
    rows = list(range(100))
    mixed = Tensor((100,), "i64", permutation(100, 1))
    for order in (rows, rows[::-1], mixed):
        assert standardisation(x, order, "feature") == standardisation(x, None, "feature")


def test_refuses():
    x = Tensor((4, 2), "u8")
    for rows in ([4], [-1]):
        with pytest.raises(DataError, match="an index or label lies outside its range"):
            standardisation(x, rows)
    with pytest.raises(DataError, match="there is nothing to average"):
        standardisation(x, [])
    with pytest.raises(UsageError, match="choose global or feature"):
        standardisation(x, per="row")
    with pytest.raises(DataError, match="standardisation of f64"):
        standardisation(Tensor((4, 2), "f64"))


def test_find_nonfinite_and_label():
    floats = ffi.new("float[]", [0.0, -0.0, 1e38, 1e-45, float("inf")])
    assert lib.nn_find_nonfinite(floats, 4) == -1
    assert lib.nn_find_nonfinite(floats, 5) == 4
    assert lib.nn_find_label(b"\0\1\2", 3, 3) == -1
    assert lib.nn_find_label(b"\0\1\2", 3, 2) == 2
    assert lib.nn_find_label(b"", 0, 2) == -1
