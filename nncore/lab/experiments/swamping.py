"""E1f: sums that stop growing, and terms that vanish beside a larger one."""

from __future__ import annotations

from array import array

from nncore.errors import UsageError
from nncore.lab.arithmetic import floats, random_numbers, running_sums, sum_of
from nncore.lab.experiment import Curve, Picture, Result, Table, exactly, experiment

LARGE = (1.0, 1e30, 1.0, -1e30)
STEP = 2**20


@experiment(
    "swamping", code="E1f", chapter="Sums", title="Swamping: what a large sum no longer feels",
    formula="s + x = s  if  |x| <= u |s|  (to nearest, s a power of 2);  u = 2^-24 in float32",
    theory="At 2^24 = 16777216 the spacing of float32 is 2: a term below 1 changes nothing, and the sum of 60 million numbers of "
           "U(0, 1), which is 30 million, stops there. Steps of 0.1 are rounded too: ten million of them make 1087937. Of 1 + "
           "1e30 + 1 - 1e30 Kahan's sum loses what Neumaier's, which looks for the larger of two, keeps.",
    source="Higham 2002, sections 4.1 to 4.3; Neumaier 1974")
def swamping(terms: int = 60_000_000, steps: int = 10_000_000) -> Result:
    """Sums of `terms` numbers U(0, 1), and of `steps` times 0.1, one after another in float32."""
    if terms < STEP or steps < 1:
        raise UsageError(f"swamping: terms={terms}, steps={steps}: at least {STEP} terms and one step are needed")
    total, begun, counts, sums, truth, exact = 0.0, 0, [], [], [], 0.0
    while begun < terms:
        some = min(STEP, terms - begun)
        x = random_numbers(some, seed=1, index=begun // STEP)
        total = sum_of(array("f", [total]) + x)
        exact, begun = sum_of([exact, sum_of(x, "exact", "fp64")], format="fp64"), begun + some
        counts, sums, truth = [*counts, begun], [*sums, total], [*truth, exact]
    tenth = floats([0.1])
    tenths = sum_of(tenth * steps)
    rows = [[method, sum_of(LARGE, method)] for method in ("naive", "pairwise", "kahan", "neumaier", "exact")]
    found = dict(rows)
    stalled = running_sums(floats([1.0]), start=2.0**24).stalled
    return Result(
        [exactly(f"sum of {terms} U(0, 1)", total, 2.0**24),
         exactly("first 1 added to 2^24 that changes nothing", stalled, 0),
         exactly(f"{steps} times 0.1", tenths, 1087937.0),
         exactly("1 + 1e30 + 1 - 1e30, naive", found["naive"], 0.0), exactly("the same, Kahan", found["kahan"], 0.0),
         exactly("the same, Neumaier", found["neumaier"], 2.0)],
        [Picture("A sum that stops", "terms", "sum",
                 [Curve("float32", counts, sums), Curve("exact", counts, truth, "theory"),
                  Curve("2^24", [counts[0], counts[-1]], [2.0**24] * 2, "bound")],
                 "At 2^24 half the spacing is 1, and every further term is rounded away.")],
        [Table("1 + 1e30 + 1 - 1e30", ["method", "sum"], rows)])
