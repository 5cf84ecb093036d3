"""An experiment of the laboratory: a function that measures, findings held against acceptance figures, pictures with their bound.

    @experiment("summation", chapter="Sums", title="Errors of sums", formula="fl(a + b) = (a + b)(1 + d), |d| <= u",
                theory="A sum of n terms one after another errs by about sqrt(n) u ...", source="Higham 2002, chapter 4")
    def summation(n=(256, 4096), seeds=100) -> Result:
        ...
        return Result([within("slope of the error over n", slope, 0.45, 0.55)], [Picture(...)])

The function stays callable with parameters of the caller's own; called without any, it must meet its acceptance figures.
Findings are written for a reader of the report: `text` says what was measured and in which unit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import isnan, log, sqrt

Value = float | int | str


@dataclass(frozen=True)
class Finding:
    """One measured figure beside what was expected of it."""

    text: str
    expected: str
    measured: Value
    accepted: bool


def within(text: str, measured: float, low: float, high: float) -> Finding:
    """low <= measured <= high; NaN is in no interval."""
    return Finding(text, f"{low:.6g} to {high:.6g}", measured, low <= measured <= high)


def at_most(text: str, measured: float, limit: float) -> Finding:
    """measured <= limit."""
    return Finding(text, f"at most {limit:.6g}", measured, measured <= limit)


def at_least(text: str, measured: float, limit: float) -> Finding:
    """measured >= limit."""
    return Finding(text, f"at least {limit:.6g}", measured, measured >= limit)


def exactly(text: str, measured: Value, expected: Value) -> Finding:
    """The very value; NaN equals NaN."""
    both_nan = all(isinstance(v, float) and isnan(v) for v in (measured, expected))
    shown = f"{expected:.9g}" if isinstance(expected, float) else str(expected)
    return Finding(text, f"exactly {shown}", measured, both_nan or measured == expected)


@dataclass(frozen=True)
class Curve:
    """A series of a picture. role: "measured" (points joined), "bound" or "theory" (dashed)."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    role: str = "measured"


@dataclass(frozen=True)
class Picture:
    """A chart: measured curves and the bound or theory beside them, axes with units; note, one sentence that explains it."""

    title: str
    x: str
    y: str
    curves: Sequence[Curve]
    note: str
    log_x: bool = False
    log_y: bool = False


@dataclass(frozen=True)
class Table:
    """Rows under a head, where numbers say more than a curve."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[Value]]


@dataclass(frozen=True)
class Result:
    """What a run found. missing names what this machine lacks, where a part could not be measured."""

    findings: Sequence[Finding]
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    missing: Sequence[str] = ()

    @property
    def accepted(self) -> bool:
        """Does every finding meet its figure?"""
        return all(f.accepted for f in self.findings)


@dataclass(frozen=True)
class Experiment:
    """A measuring function and what stands around it in the report. code: its number in the design note, E1a or none."""

    name: str
    title: str
    chapter: str
    formula: str
    theory: str
    source: str
    run: Callable[..., Result] = field(repr=False)
    code: str = ""

    def __call__(self, *args, **options) -> Result:
        """Measure, with parameters of the caller's own."""
        return self.run(*args, **options)


def experiment(name: str, *, title: str, chapter: str, formula: str, theory: str, source: str,
               code: str = "") -> Callable[[Callable[..., Result]], Experiment]:
    """Make an Experiment of a function; `name` must be its name in nncore.lab.EXPERIMENTS."""

    def wrap(run: Callable[..., Result]) -> Experiment:
        return Experiment(name, title, chapter, formula, theory, source, run, code)

    return wrap


# ---- figures that many experiments draw from their measurements ---------------------------------------------------------


def rms(values: Sequence[float]) -> float:
    """Root of the mean square, in float64: an instrument must not suffer from what it measures."""
    return sqrt(sum(v * v for v in values) / len(values))


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Least-squares slope of log y over log x: the exponent p of a law y = c x^p."""
    lx, ly = [log(v) for v in x], [log(v) for v in y]
    mx, my = sum(lx) / len(lx), sum(ly) / len(ly)
    return sum((a - mx) * (b - my) for a, b in zip(lx, ly, strict=True)) / sum((a - mx) ** 2 for a in lx)
