"""Measures of a prediction: accuracy with its standard error, confusion, top-k, and their counting."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found: loss per sample; for classification the share correct and its standard error; `heads` by name
    where the network has several."""

    n: int
    loss: float
    accuracy: float | None = None
    heads: dict[str, Evaluation] | None = None

    @property
    def standard_error(self) -> float | None:
        """sqrt(p (1 - p) / n)."""
        return None if self.accuracy is None else standard_error(self.accuracy, self.n)

    def __str__(self) -> str:
        if self.heads:
            return "; ".join([f"loss {self.loss:.4f}", *(f"{name}: {e}" for name, e in self.heads.items())])
        if self.accuracy is None:
            return f"loss {self.loss:.4f} over {self.n:,} samples"
        return f"accuracy {self.accuracy:.2%} +- {self.standard_error:.2%}, loss {self.loss:.4f} over {self.n:,} samples"

    def _repr_html_(self) -> str | None:
        from nncore.report import notebook

        return notebook.evaluation(self.n, self.loss, self.accuracy, self.standard_error)


def standard_error(p: float, n: int) -> float:
    """Standard error of a share p counted over n: sqrt(p (1 - p) / n)."""
    return sqrt(p * (1 - p) / n) if n else 0.0


def confusion(predicted: list[int], labels: list[int], classes: int) -> list[list[int]]:
    """Counts [true class][predicted class]."""
    table = [[0] * classes for _ in range(classes)]
    for p, t in zip(predicted, labels, strict=True):
        table[t][p] += 1
    return table


def precision_recall(table: list[list[int]]) -> list[tuple[float | None, float | None]]:
    """(precision, recall) per class of a confusion matrix; None where a class was never predicted or never there."""
    found = []
    for c, row in enumerate(table):
        predicted, there = sum(r[c] for r in table), sum(row)
        found.append((row[c] / predicted if predicted else None, row[c] / there if there else None))
    return found
