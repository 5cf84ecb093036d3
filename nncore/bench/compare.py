"""Is a computed output near enough to the exact one: the rule by which tests and the check of other people's kernels judge."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass

from nncore.bench.cases import LARGEST, TINY, TYPECODE, UNIT, Bound, Call


@dataclass(frozen=True)
class Found:
    """What a comparison found. miss: the first element that is too far, in words, "" if none is. ulps, allowed: error and bound,
    in units in the last place of the exact value, of the miss or else of the element, not 0, that comes nearest to its bound."""

    miss: str = ""
    ulps: float = 0.0
    allowed: float = 0.0


def same_bits(a: array, b: array) -> bool:
    """Bit for bit, any NaN being equal to any other (numerics.md, section 3)."""
    if a.tobytes() == b.tobytes():
        return True
    if a.typecode not in "fd" or len(a) != len(b):
        return False
    return all(map(_same, a, b))


def _same(x: float, y: float) -> bool:
    return x != x and y != y or x == y and math.copysign(1, x) == math.copysign(1, y)


def is_miss(got: float, want: float, allowed: float, largest: float) -> bool:
    """Whether a value is farther from the exact one than allowed; NaN belongs to NaN."""
    if want != want or got != got:
        return not (want != want and got != got)
    if abs(got) == math.inf or abs(want) == math.inf:  # overflow: as near to the largest number as the bound reaches
        return got != want and not (got * want > 0 and abs(want) + allowed > largest)
    return not abs(got - want) <= allowed


def ulp(x: float, dtype: str) -> float:
    """The unit in the last place of a float of this type at x."""
    if not math.isfinite(x) or x == 0:
        return TINY[dtype]
    return max(math.ldexp(UNIT[dtype], math.frexp(x)[1]), TINY[dtype])


def compare(call: Call, got: list, want: list, bound: Bound, real: str, more: float = 0.0) -> Found:
    """Outputs computed in `real` against the float64 or exact ones, in the order of call.outputs.

    `more` adds that many u |want|: the error of `want` itself. An f64 argument is judged by the u of f64, an integer must be
    equal; without a bound the value must be the rounded one, sign of zero included. What is None is not looked at.
    """
    limits = bound.of(call, [list(w) for w in want]) if bound.of else None
    worst, share = Found(), -1.0
    for k, i in enumerate(call.outputs):
        dtype = real if call.args[i].dtype == "real" else call.args[i].dtype
        if dtype not in UNIT or limits is None:
            rounded = array(TYPECODE[dtype], want[k])
            if not same_bits(array(TYPECODE[dtype], got[k]), rounded):
                j = next(j for j, (g, w) in enumerate(zip(got[k], rounded, strict=True)) if not _same(g, w))
                return Found(f"argument {i}, element {j}: {got[k][j]!r} instead of {rounded[j]!r}, not the same bits "
                             f"({bound.why})", math.inf)
            continue
        u, tiny, largest = UNIT[dtype], TINY[dtype], LARGEST[dtype]
        for j, (g, w, limit) in enumerate(zip(got[k], want[k], limits[k], strict=True)):
            if w is None:
                continue
            allowed = limit * u + more * u * abs(w) + bound.tiny * tiny
            error = abs(g - w)
            if is_miss(g, w, allowed, largest):
                unit = ulp(w, dtype)
                far = f", {error / unit:.3g} ulp away, allowed {allowed / unit:.3g} ulp" if error < math.inf else ""
                return Found(f"argument {i}, element {j}: {g!r} instead of {w!r}{far} ({bound.why})", error / unit,
                             allowed / unit)
            if w and error > share * allowed and error < math.inf:
                share, unit = error / allowed, ulp(w, dtype)
                worst = Found("", error / unit, allowed / unit)
    return worst
