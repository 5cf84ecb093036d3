"""E4b: what softmax loses, with the maximum taken off and without a division."""

from __future__ import annotations

from array import array

from nncore.errors import UsageError
from nncore.graph import ops
from nncore.lab.arithmetic import calculate, floats, random_numbers
from nncore.lab.experiment import Curve, Picture, Result, at_least, at_most, experiment

U = 2.0**-24


@experiment(
    "softmax-error", code="E4b", chapter="Functions", title="The error of softmax",
    formula="shifted: relative error <= (n + 2 R + 2) u, R = max - min of n logits;  exp(x - lse) adds |lse| u",
    theory="x - max errs by u R, which exp turns into a relative error; n terms are added and one is divided by. Without a "
           "division, as exp(x - logsumexp), the rounding of logsumexp itself comes in: at logits around 10^4 that is 10^4 u, a "
           "thousand times the rest.",
    source="Blanchard, D. J. Higham and N. J. Higham 2021, doi 10.1093/imanum/draa038")
def softmax_error(n: int = 10, ranges: tuple[float, ...] = (1, 2, 5, 10, 20, 40, 80), rows: int = 2000,
                  offset: float = 1e4) -> Result:
    """Softmax of `rows` rows of n logits within a range, in float32 against the same kernels in float64."""
    if n < 2 or rows < 1 or min(ranges) <= 0:
        raise UsageError(f"softmax-error: n={n}, rows={rows}, ranges={ranges}: two logits and a positive range are needed")
    errors, ratios = [], []
    for k, R in enumerate(ranges):
        x = _logits(n, rows, R, 0.0, k)
        errors.append(max(_errors(_shifted(n), x)))
        ratios.append(errors[-1] / (n + 2 * R + 2))
    x = _logits(n, rows, 10.0, offset, len(ranges))
    shifted, free = max(_errors(_shifted(n), x)), max(_errors(_division_free(n), x))
    bound = [n + 2 * R + 2 for R in ranges]
    offsets = [10.0**k for k in range(5)]
    far = [_logits(n, rows // 4 + 1, 10.0, o, 100 + i) for i, o in enumerate(offsets)]
    both = {name: [max(_errors(f(n), v)) for v in far] for name, f in (("shifted", _shifted), ("exp(x - lse)", _division_free))}
    return Result(
        [at_most("shifted: largest error over its bound, any range", max(ratios), 1.0),
         at_most(f"shifted, logits around {offset:g}: largest error in u", shifted, n + 2 * 10 + 2),
         at_least(f"without division, logits around {offset:g}: largest error in u", free, 1000)],
        [Picture(f"Softmax of {n} logits", "range of the logits", "largest relative error in u",
                 [Curve("maximum taken off, our kernel", ranges, errors), Curve("n + 2 R + 2", ranges, bound, "bound")],
                 "The error follows the range, for exp turns an absolute error into a relative one.", log_x=True, log_y=True),
         Picture("Softmax of logits far from zero", "size of the logits", "largest relative error in u",
                 [*(Curve(name, offsets, e) for name, e in both.items()), Curve("|lse|", offsets, offsets, "theory"),
                  Curve("n + 2 R + 2", offsets, [n + 22.0] * len(offsets), "bound")],
                 "Taking the maximum off costs nothing however large the logits; without a division their size is paid in full.",
                 log_x=True, log_y=True)])


def _logits(n: int, rows: int, R: float, offset: float, index: int) -> array:
    """Uniform over the range, its two ends among each row."""
    x = array("d", (offset - R * u for u in random_numbers(n * rows, seed=3, index=index, real="f64")))
    x[0::n], x[1::n] = array("d", [offset]) * rows, array("d", [offset - R]) * rows
    return floats(x)


def _shifted(n: int):
    return lambda x: ops.softmax(ops.reshape(x, (x.size // n, n)))


def _division_free(n: int):
    """exp(x - max - ln sum exp(x - max)), the sum of the last two rounded to one number first: log-softmax of them."""

    def build(x):
        rows = ops.reshape(x, (x.size // n, n))
        lse = ops.sub(rows, ops.log_softmax(rows))
        return ops.exponential(ops.sub(rows, lse))

    return build


def _errors(build, x: array) -> list[float]:
    """Relative errors of float32 in u, against float64, where the result is a normal number."""
    y, truth = calculate(build, x), calculate(build, x, real="f64")
    return [abs(a - b) / b / U for a, b in zip(y, truth, strict=True) if b > 1e-37]
