"""Refusing to answer: a classifier that may say "I do not know" makes fewer mistakes on what it accepts.

A sample is refused when the gap between its two largest outputs, raw or probabilities, is below a threshold; the error
is counted over what is accepted. Chow 1970 shows the trade-off between errors and refusals.

    outputs = model.predict(data.test, proba=True)
    print(nn.rejection.reject(outputs, data.test.labels, 0.5))
    print(nn.rejection.rejected_share(outputs, data.test.labels, error=0.01))

A row with NaN has no gap and is refused by every threshold; equal maxima are a gap of 0. Everything here is counting and
comparing, exact in any order.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from nncore.errors import ShapeError, UsageError
from nncore.tensor import Tensor
from nncore.train.metrics import standard_error

REFUSED = -1
NO_GAP = -1.0  # of a row with NaN: below every threshold


@dataclass(frozen=True)
class Rejection:
    """What a threshold does to n samples: how many are refused, and how many of the accepted are wrong."""

    n: int
    threshold: float
    rejected: int
    wrong: int

    @property
    def accepted(self) -> int:
        """Samples that get an answer."""
        return self.n - self.rejected

    @property
    def rejected_share(self) -> float:
        """Share of samples refused."""
        return self.rejected / self.n

    @property
    def error(self) -> float:
        """Share of the accepted samples that are wrong; 0 if all are refused."""
        return self.wrong / self.accepted if self.accepted else 0.0

    @property
    def standard_error(self) -> float:
        """Of the error: sqrt(p (1 - p) / accepted)."""
        return standard_error(self.error, self.accepted)

    def __str__(self) -> str:
        return (f"threshold {self.threshold:.4g}: {self.rejected_share:.2%} refused, error {self.error:.2%} "
                f"+- {self.standard_error:.2%} over {self.accepted:,} accepted of {self.n:,}")


# ---- one threshold ---------------------------------------------------------------------------------------------------


def gaps(outputs) -> list[float]:
    """The largest output minus the second largest of each row of (N, C). Raises ShapeError unless C >= 2."""
    return [gap for gap, _ in _rows(outputs)]


def predictions(outputs, threshold: float) -> list[int]:
    """The class of each row, the first of equal maxima, or REFUSED (-1) where the gap is below the threshold."""
    _check(threshold)
    return [c if gap >= threshold else REFUSED for gap, c in _rows(outputs)]


def reject(outputs, labels, threshold: float) -> Rejection:
    """Count what the threshold refuses and what of the rest is wrong.

    outputs: (N, C) potentials or probabilities; labels: (N,) whole numbers. Raises ShapeError if the counts differ,
    UsageError for a threshold that is no number >= 0.
    """
    answers = predictions(outputs, threshold)
    wrong = sum(a not in (REFUSED, t) for a, t in zip(answers, _labels(labels, len(answers)), strict=True))
    return Rejection(len(answers), threshold, answers.count(REFUSED), wrong)


# ---- all thresholds --------------------------------------------------------------------------------------------------


def curve(outputs, labels) -> list[Rejection]:
    """Every outcome that some threshold has, from no refusal on: one point for each gap that occurs, ascending.

    The point's threshold accepts what has at least this gap; the first one accepts all but rows with NaN.
    """
    rows = _rows(outputs)
    wrong = [c != t for (_, c), t in zip(rows, _labels(labels, len(rows)), strict=True)]
    order = sorted(range(len(rows)), key=lambda i: rows[i][0])
    left, points = sum(wrong), []
    for k, i in enumerate(order):
        gap = rows[i][0]
        if gap != NO_GAP and (not k or gap > rows[order[k - 1]][0]):
            points.append(Rejection(len(rows), gap if points else 0.0, k, left))
        left -= wrong[i]
    return points


def rejected_share(outputs, labels, error: float = 0.01) -> float:
    """The smallest share that has to be refused for an error of at most `error` over the accepted; 1 if no threshold that
    accepts anything gets there. Raises UsageError unless 0 <= error <= 1.

    >>> from array import array
    >>> rejected_share(memoryview(array("f", [3, 0, 2, 0, 0, 1])).cast("B").cast("f", (3, 2)), [0, 0, 0])
    0.3333333333333333
    """
    found = working_point(outputs, labels, error)
    return found.rejected_share if found else 1.0


def working_point(outputs, labels, error: float = 0.01) -> Rejection | None:
    """The outcome with the fewest refusals whose error is at most `error`: its threshold is the one to use."""
    if isinstance(error, bool) or not isinstance(error, (int, float)) or not 0 <= error <= 1:
        raise UsageError(f"error is a share between 0 and 1, got {error!r}")
    return next((p for p in curve(outputs, labels) if p.error <= error), None)


def plot_data(outputs, labels, points: int = 200) -> dict:
    """The error/rejection curve as JSON for a report: at most `points` points, evenly spaced in the rejected share."""
    if points < 2:
        raise UsageError(f"a curve has at least two points, got {points}")
    whole = curve(outputs, labels)
    chosen = [whole[i * (len(whole) - 1) // (points - 1)] for i in range(points)] if len(whole) > points else whole
    return {"schema": "nncore.rejection/1", "n": whole[0].n if whole else 0,
            "threshold": [p.threshold for p in chosen], "rejected": [p.rejected_share for p in chosen],
            "error": [p.error for p in chosen], "standard_error": [p.standard_error for p in chosen]}


# ---- rows ------------------------------------------------------------------------------------------------------------


def _rows(outputs) -> list[tuple[float, int]]:
    """(gap, class) of each row."""
    t = Tensor.from_any(outputs)
    if len(t.shape) != 2 or t.shape[1] < 2 or t.dtype not in ("f32", "f64"):
        raise ShapeError(f"rejection takes outputs (N, C), C >= 2, as floats, got {t.dtype} {t.shape}; use logits() or "
                         "predict(x, proba=True)")
    return [_gap(row) for row in t.tolist()]


def _gap(row: list[float]) -> tuple[float, int]:
    if any(v != v for v in row):
        return NO_GAP, next(j for j, v in enumerate(row) if v != v)
    first = max(row)
    c = row.index(first)
    second = max(row[:c] + row[c + 1 :])
    return (first - second if first > second else 0.0), c


def _labels(labels, n: int) -> list[int]:
    found = labels if isinstance(labels, (list, tuple, bytes)) else Tensor.from_any(labels).tolist()
    if len(found) != n:
        raise ShapeError(f"{n} rows of outputs but {len(found)} labels")
    return list(found)


def _check(threshold: float) -> None:
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not isfinite(threshold) or threshold < 0:
        raise UsageError(f"a threshold is a finite number >= 0, got {threshold!r}")
