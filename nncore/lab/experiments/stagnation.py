"""E2: where the harmonic series, and counting, come to rest in each format."""

from __future__ import annotations

from array import array
from math import log

from nncore.errors import UsageError
from nncore.graph import ops
from nncore.graph.formats import Format
from nncore.lab.arithmetic import Running, calculate, rounded, running_sums
from nncore.lab.experiment import Curve, Picture, Result, Table, exactly, experiment

# format: the term 1 / i that changes nothing, the sum then, and where counting ones ends
KNOWN = {"fp32": (2097152, 15.4036827, 2.0**24), "fp16": (513, 7.0859375, 2048.0), "bf16": (65, 5.0625, 256.0),
         "fp8-e4m3": (9, 3.0, 16.0)}
EULER = 0.5772156649015329
CHUNK = 2**20


@experiment(
    "stagnation", code="E2", chapter="Sums", title="The harmonic series converges",
    formula="s_i = fl(s_{i-1} + fl(1 / i));  it rests when 1 / i <= u s_i, counting when 1 <= u s",
    theory="The series diverges like ln i + 0.577, but every computer finds a limit: as soon as a term is at most half the "
           "spacing of the sum, nothing moves any more. In bf16 that is after 64 terms. Counting in steps of 1 ends at 1 / u = "
           "2^precision.",
    source="Higham 2002, section 4.2; Malone 2013, Irish Math. Soc. Bulletin 71")
def stagnation(formats: tuple[str, ...] = tuple(KNOWN)) -> Result:
    """Running sums in each format until a term changes nothing."""
    findings, curves, rows = [], [], []
    for name in formats:
        if Format.named(name).precision > 24:
            raise UsageError(f"stagnation: {name} would take 10^14 terms; choose formats of at most 24 bits")
        harmonic, term = _until_stalled(name, lambda first, n: calculate(_inverse, range(first, first + n)))
        ones, _ = _until_stalled(name, lambda first, n: array("f", [1.0]) * n)
        rows.append([name, term, harmonic[-1], ones[-1]])
        if name in KNOWN:
            i, s, count = KNOWN[name]
            findings += [exactly(f"{name}: the first i with s + 1 / i = s", term, i),
                         exactly(f"{name}: the sum then", float(f"{harmonic[-1]:.9g}"), s),
                         exactly(f"{name}: where counting ones ends", ones[-1], count)]
        at = sorted({int(1.25**k) for k in range(int(log(term) / log(1.25)) + 1)} | {term})
        curves.append(Curve(name, at, [harmonic[i - 1] for i in at]))
    end = max(row[1] for row in rows)
    x = sorted({int(1.25**k) for k in range(int(log(end) / log(1.25)) + 1)} | {end})
    truth = Curve("ln i + 0.577 + 1 / (2 i)", x, [log(i) + EULER + 0.5 / i for i in x], "theory")
    return Result(findings, [Picture("Partial sums of 1 / i", "terms", "sum", [*curves, truth],
                                     "Each format leaves the true sum where the terms fall below half its spacing.", log_x=True)],
                  [Table("Where sums rest", ["format", "1 / i without effect", "sum of 1 / i", "sum of ones"], rows)])


def _inverse(i):
    return ops.quotient(ops.fill(i, 1.0), i)


def _until_stalled(name: str, terms) -> tuple[array, int]:
    """The partial sums up to the first term without effect, and that term's number; terms(first, n) makes n of them."""
    sums, last, first, n = array("d"), 0.0, 1, 4096
    while True:
        run: Running = running_sums(rounded(terms(first, n), name), name, start=last)
        if run.stalled is not None:
            sums.extend(run.sums[: run.stalled + 1])
            return sums, first + run.stalled
        sums.extend(run.sums)
        last, first, n = run.last, first + n, CHUNK
