"""Rounding, sums and dot products in emulated formats, against the definitions in exact fractions."""

from __future__ import annotations

import math
import random
from array import array
from fractions import Fraction

import mpmath
import pytest

from nncore.errors import UsageError
from nncore.graph import ops
from nncore.graph.formats import ROUNDINGS, Arithmetic, Format
from nncore.lab.arithmetic import (
    METHODS,
    calculate,
    dot,
    floats,
    operate,
    random_numbers,
    rounded,
    running_sums,
    shuffles,
    sum_of,
    variance_of,
)

DETERMINISTIC = [r for r in ROUNDINGS if r != "stochastic"]
FORMATS = ["fp32", "tf32", "bf16", "fp16", "fp8-e4m3", "fp8-e5m2", "int8", "p5e-6..7", "p2e0..3", "p26e-300..300"]


def oracle(x: Fraction, f: Format, rounding: str) -> float:
    """x rounded, from the definition: a multiple of the spacing at x, then the range."""
    if x == 0:
        return 0.0
    size, sign = abs(x), -1 if x < 0 else 1
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    exponent -= size < Fraction(2) ** exponent
    spacing = Fraction(2) ** (max(exponent, f.emin) - f.precision + 1)
    units, rest = divmod(size / spacing, 1)
    up = {"nearest": rest > Fraction(1, 2) or rest == Fraction(1, 2) and units % 2, "zero": False,
          "up": rest > 0 and sign > 0, "down": rest > 0 and sign < 0}[rounding]
    y = (units + bool(up)) * spacing
    if y > Fraction(f.largest):
        stays = f.saturate or rounding == "zero" or rounding == ("down" if sign > 0 else "up")
        return sign * (f.largest if stays else math.inf)
    return math.copysign(float(y), sign)


def wide(rng: random.Random, span: int = 40) -> float:
    return (rng.random() - 0.5) * 2.0 ** rng.randrange(-span, span)


# ---- rounding ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rounding", DETERMINISTIC)
@pytest.mark.parametrize("name", FORMATS)
def test_rounding_is_the_definition(name, rounding):
    rng, f = random.Random(f"{name} {rounding}"), Format.named(name)
    near = [f.smallest, f.largest, 2.0**f.emin]
    values = [wide(rng) for _ in range(1500)]
    values += [rng.choice((-1, 1)) * rng.choice(near) * (0.5 + rng.random()) for _ in range(500)]
    spacing = [2.0 ** (max(math.frexp(y)[1] - 1, f.emin) - f.precision + 1) for y in rounded(values[:300], f)]
    middles = [y + s / 2 for y, s in zip(rounded(values[:300], f), spacing, strict=True) if abs(y) <= f.largest / 2]
    assert len(middles) > 30
    for x, y in zip(values + middles, rounded(values + middles, f, rounding), strict=True):
        want = oracle(Fraction(x), f, rounding)
        assert (y, math.copysign(1, y)) == (want, math.copysign(1, want or x)), x.hex()


def test_floats_stay_floats_and_are_refused_what_they_cannot_hold():
    y = rounded(floats([1.01, 3e38]), "bf16")
    assert y.typecode == "f" and list(y) == list(rounded([floats([1.01])[0], floats([3e38])[0]], "bf16"))
    with pytest.raises(UsageError, match="give doubles"):
        rounded(floats([1.0]), "fp64")


def test_special_values():
    y = rounded([math.inf, -math.inf, math.nan, -0.0], "fp16")
    assert y[0] == math.inf and y[1] == -math.inf and y[2] != y[2] and math.copysign(1, y[3]) == -1
    assert list(rounded([math.inf, -math.inf], "fp8-e4m3")) == [448, -448]
    assert list(rounded([127.4, 127.6, -300.0, 0.5, 1.5, 2.5], "int8")) == [127, 127, -127, 0, 2, 2]


def test_stochastic_rounding_is_unbiased_and_repeats():
    """The mean of n roundings of one value: sd = spacing sqrt(p (1 - p) / n); four of them."""
    n, x = 20_000, 1 + 0.3 * 2.0**-7
    y = rounded([x] * n, "bf16:sr", seed=3)
    assert set(y) == {1.0, 1 + 2.0**-7}
    assert abs(sum(y) / n - x) < 4 * 2.0**-7 * math.sqrt(0.3 * 0.7 / n)
    assert y == rounded([x] * n, "bf16:sr", seed=3)
    assert y != rounded([x] * n, "bf16:sr", seed=4) and y != rounded([x] * n, "bf16:sr", seed=3, index=1)


def test_the_op_rounds_as_the_function_does():
    x = random_numbers(1000, "normal", seed=5)
    for name in ("bf16", "fp16:up", "fp8-e4m3:zero", "tf32:down"):
        assert calculate(lambda a, to=name: ops.round_to(a, to=to), x) == rounded(x, *Arithmetic.parse(name).__dict__.values())
    stochastic = calculate(lambda a: ops.round_to(a, to="bf16:sr"), x)
    assert stochastic == rounded(x, "bf16:sr", seed=0, index=0), "the same numbers of the stream"
    assert stochastic != calculate(lambda a: ops.round_to(a, to="bf16:sr", id=1), x)
    wide = calculate(lambda a: ops.round_to(a, to="bf16"), x, real="f64")
    assert wide == array("d", x), "the twin is the truth"


# ---- sums --------------------------------------------------------------------------------------------------------------


def step(x: Fraction, f: Format, rounding: str = "nearest") -> Fraction:
    return Fraction(oracle(x, f, rounding))


@pytest.mark.parametrize("name", ["bf16", "fp16", "fp32", "tf32"])
@pytest.mark.parametrize("rounding", DETERMINISTIC)
def test_sums_follow_their_formulas(name, rounding):
    """Every operation of every method, in fractions."""
    f, x = Format.named(name), [Fraction(v) for v in random_numbers(203, "normal", seed=9)]
    x = [Fraction(v) for v in rounded([float(v) for v in x], f)]

    def fl(v):
        return step(v, f, rounding)

    def naive(terms):
        s = Fraction(0)
        for v in terms:
            s = fl(s + v)
        return s

    def pairwise(terms):
        while len(terms) > 1:  # neighbours, an odd one out carried up
            terms = [fl(sum(terms[i : i + 2])) for i in range(0, len(terms), 2)]
        return terms[0]

    def lanes(terms, w):
        lane = [naive(terms[j::w]) for j in range(w)]
        while len(lane) > 1:
            half = len(lane) // 2
            lane = [fl(lane[j] + lane[j + half]) for j in range(half)]
        return lane[0]

    def kahan(terms):
        s = c = Fraction(0)
        for v in terms:
            y = fl(v - c)
            t = fl(s + y)
            c, s = fl(fl(t - s) - y), t
        return s

    def neumaier(terms):
        s = c = Fraction(0)
        for v in terms:
            t = fl(s + v)
            large, small = (s, v) if abs(s) >= abs(v) else (v, s)
            c, s = fl(c + fl(fl(large - t) + small)), t
        return fl(s + c)

    def twice(terms):
        s = c = Fraction(0)
        for v in terms:
            t = fl(s + v)
            z = fl(t - s)
            c, s = fl(c + fl(fl(s - fl(t - z)) + fl(v - z))), t
        return fl(s + c)

    values = floats(map(float, x))
    want = {"naive": naive(x), "pairwise": pairwise(x), "lanes": lanes(x, 16), "kahan": kahan(x), "neumaier": neumaier(x),
            "dot2": twice(x), "blocked": naive([naive(x[i : i + 15]) for i in range(0, len(x), 15)]), "exact": fl(sum(x))}
    assert set(want) == set(METHODS)
    for method, exact in want.items():
        assert Fraction(sum_of(values, method, name, rounding)) == exact, method
    assert Fraction(sum_of(values, "lanes", name, rounding, width=4)) == lanes(x, 4)
    assert Fraction(running_sums(values, name, rounding).last) == want["naive"]


def test_exact_sum_of_doubles_is_fsum():
    """math.fsum is exact too, by another way (Shewchuk 1997)."""
    rng = random.Random(4)
    for span in (10, 60, 500, 1000):
        x = [wide(rng, span) for _ in range(500)]
        x += [-v for v in x[100:400]]
        assert sum_of(array("d", x), "exact", "fp64") == math.fsum(x)
    assert sum_of(array("d", [5e-324] * 3), "exact", "fp64") == 1.5e-323
    assert sum_of(floats([1, 1e30, 1, -1e30]), "exact") == 2


def test_running_sums_tell_where_they_stall():
    run = running_sums([1.0] * 300, "bf16")
    assert (run.stalled, run.last, list(run.sums[:3])) == (256, 256.0, [1.0, 2.0, 3.0])
    assert running_sums([1.0, 0.0, 1.0]).stalled is None
    assert running_sums([1.0], "bf16", start=256.0).stalled == 0


def test_stochastic_sums_do_not_stall():
    sums = [sum_of([1.0] * 1024, "naive", "bf16:sr", seed=1, index=i) for i in range(200)]
    assert len(set(sums)) > 20 and abs(sum(sums) / 200 - 1024) < 20


# ---- dot products and the rest -------------------------------------------------------------------------------------------


def test_dot_products_follow_their_formulas():
    a, b = random_numbers(77, "normal", seed=1), random_numbers(77, "normal", seed=2)
    for name in ("bf16", "fp16", "fp32"):
        f, naive, fma = Format.named(name), Fraction(0), Fraction(0)
        for x, y in zip(map(Fraction, rounded(a, f)), map(Fraction, rounded(b, f)), strict=True):
            naive, fma = step(naive + step(x * y, f), f), step(x * y + fma, f)
        p, q = rounded(a, f), rounded(b, f)
        assert Fraction(dot(p, q, "naive", name)) == naive
        assert Fraction(dot(p, q, "fma", name)) == fma
        exact = sum(Fraction(x) * Fraction(y) for x, y in zip(p, q, strict=True))
        assert Fraction(dot(p, q, "exact", name)) == step(exact, f)
        assert abs(Fraction(dot(p, q, "dot2", name)) - exact) <= 2 * Fraction(f.unit) * abs(exact)


def test_exact_dot_of_doubles_is_mpmaths():
    rng = random.Random(6)
    with mpmath.workprec(3000):
        for span in (5, 300, 500):
            a, b = (array("d", [wide(rng, span) for _ in range(60)]) for _ in "ab")
            a, b = a + a, b + array("d", [-v * (1 + 2**-40) for v in b])
            want = mpmath.fsum(mpmath.mpf(x) * mpmath.mpf(y) for x, y in zip(a, b, strict=True))
            assert dot(a, b, "exact", "fp64") == float(want)


@pytest.mark.parametrize("name", ["bf16", "fp16", "fp32"])
@pytest.mark.parametrize("rounding", DETERMINISTIC)
def test_operations_are_the_definition(name, rounding):
    rng, f = random.Random(8), Format.named(name)
    a, b = (list(rounded([wide(rng, 6) or 1.0 for _ in range(300)], f)) for _ in "ab")
    b = [y or 1.0 for y in b]
    exact = {"+": lambda x, y: x + y, "-": lambda x, y: x - y, "*": lambda x, y: x * y, "/": lambda x, y: x / y}
    for operation, of in exact.items():
        for x, y, z in zip(a, b, operate(a, operation, b, f, rounding), strict=True):
            assert z == oracle(of(Fraction(x), Fraction(y)), f, rounding), (x, operation, y)


def test_variances():
    x = random_numbers(1000, "normal", seed=3)
    exact = sum(Fraction(v) ** 2 for v in x) / 1000 - (sum(map(Fraction, x)) / 1000) ** 2
    for method in ("textbook", "two-pass", "welford"):
        assert abs(variance_of(x, method, "fp32") - exact) < 1e-5 * exact, method
        assert abs(variance_of(x, method, "bf16") - exact) > 1e-4 * exact, "another format, another result"
    assert variance_of([5.0]) == 0.0


def test_random_numbers():
    """Moments within four standard errors, and the same numbers whatever is drawn beside them."""
    n = 40_000
    u, z = random_numbers(n, seed=2, real="f64"), random_numbers(n, "normal", seed=2, real="f64")
    assert abs(sum(u) / n - 0.5) < 4 / math.sqrt(12 * n) and min(u) > 0 and max(u) < 1
    assert abs(sum(z) / n) < 4 / math.sqrt(n) and abs(sum(v * v for v in z) / n - 1) < 4 * math.sqrt(2 / n)
    assert random_numbers(100, seed=2, real="f64") == u[:100]
    assert random_numbers(100, seed=2) == floats(u[:100]) != random_numbers(100, seed=2, index=1)


def test_shuffles_are_permutations():
    x = random_numbers(1000, seed=1)
    some = list(shuffles(x, 5, seed=7))
    assert all(sorted(s) == sorted(x) for s in some) and len({s.tobytes() for s in some}) == 5


@pytest.mark.parametrize("wrong, message", [
    (lambda: sum_of([1.0], "clever"), "no summation 'clever'"),
    (lambda: sum_of([1.0], format="fp17"), "no format 'fp17'"),
    (lambda: sum_of([1.0], format="bf16:sideways"), "no rounding 'sideways'"),
    (lambda: sum_of([1.0], "lanes", width=3), "power of two"),
    (lambda: sum_of([1.0], format="fp64:up"), "at most 26 bits"),
    (lambda: dot([1.0], [1.0, 2.0]), "1 and 2 elements"),
    (lambda: dot([1.0], [1.0], "cross"), "no dot product"),
    (lambda: operate([1.0], "^", [1.0]), "operation"),
    (lambda: variance_of([]), "0 values"),
    (lambda: random_numbers(3, "lognormal"), "lognormal"),
    (lambda: Format(1, -1, 1), "between 2 and 53"),
])  # fmt: skip
def test_what_is_wrong_is_said(wrong, message):
    with pytest.raises(UsageError, match=message):
        wrong()
