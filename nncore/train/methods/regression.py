"""How far predicted numbers are from the true ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, sqrt

from nncore.errors import ShapeError
from nncore.tensor import Tensor


@dataclass(frozen=True)
class RegressionFigures:
    """n values; root of the mean squared error, mean absolute error, and R^2 = 1 - sum (y - d)^2 / sum (d - mean d)^2, None
    where all true values are equal."""

    n: int
    rmse: float
    mae: float
    r2: float | None

    def __str__(self) -> str:
        r2 = "-" if self.r2 is None else f"{self.r2:.4f}"
        return f"root mean square error {self.rmse:.4g}, mean absolute error {self.mae:.4g}, R^2 {r2} over {self.n:,} values"


def regression_figures(predicted, targets) -> RegressionFigures:
    """Compare values, (N,) or (N, T), all elements alike. Sums are exactly rounded. Raises ShapeError if the counts differ."""
    y, d = _flat(predicted), _flat(targets)
    if len(y) != len(d) or not y:
        raise ShapeError(f"{len(y)} predicted values for {len(d)} true ones")
    n = len(y)
    errors = [a - b for a, b in zip(y, d, strict=True)]
    square, mean = fsum(e * e for e in errors), fsum(d) / n
    spread = fsum((v - mean) * (v - mean) for v in d)
    return RegressionFigures(n, sqrt(square / n), fsum(map(abs, errors)) / n, 1 - square / spread if spread else None)


def _flat(values) -> Sequence[float]:
    return values if isinstance(values, (list, tuple)) else list(Tensor.from_any(values).flat())
