"""Several labels a sample: one sigmoid output per label, trained by BinaryCrossEntropy on rows of 0 and 1.

    targets = nn.multi_hot([[0, 3], [], [1]], labels=4)
    model.fit((x, targets), loss=nn.BinaryCrossEntropy())
    print(nn.multilabel_figures(model.logits(test), test_targets))
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nncore.errors import ShapeError, UsageError
from nncore.tensor import Tensor


def multi_hot(sets: Sequence[Iterable[int]], labels: int) -> Tensor:
    """Rows of 0 and 1, (N, labels) f32, from the labels of each sample. Raises UsageError for a label outside [0, labels).

    >>> multi_hot([[0, 2], []], 3).tolist()
    [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    """
    values = array("f", bytes(4 * len(sets) * labels))
    for i, row in enumerate(sets):
        for label in row:
            if not 0 <= label < labels:
                raise UsageError(f"multi_hot: label {label} of sample {i} is outside 0 to {labels - 1}")
            values[i * labels + label] = 1.0
    return Tensor((len(sets), labels), "f32", values)


@dataclass(frozen=True)
class MultilabelFigures:
    """Counts over all labels of all samples: right and wrong decisions, and samples with all labels right."""

    samples: int
    labels: int
    exact: int
    true_positive: int
    false_positive: int
    false_negative: int

    @property
    def exact_share(self) -> float:
        """Share of samples whose every label is right."""
        return self.exact / self.samples

    @property
    def hamming_loss(self) -> float:
        """Share of wrong decisions."""
        return (self.false_positive + self.false_negative) / (self.samples * self.labels)

    @property
    def precision(self) -> float | None:
        """Share of the decided labels that are true; None if none was decided for."""
        decided = self.true_positive + self.false_positive
        return self.true_positive / decided if decided else None

    @property
    def recall(self) -> float | None:
        """Share of the true labels that were found; None if there are none."""
        there = self.true_positive + self.false_negative
        return self.true_positive / there if there else None

    @property
    def f1(self) -> float | None:
        """2 TP / (2 TP + FP + FN), over all labels together (micro)."""
        total = 2 * self.true_positive + self.false_positive + self.false_negative
        return 2 * self.true_positive / total if total else None

    def __str__(self) -> str:
        f1 = "-" if self.f1 is None else f"{self.f1:.4f}"
        return f"all labels right {self.exact_share:.2%}, single labels wrong {self.hamming_loss:.2%}, F1 {f1}"


def multilabel_figures(outputs: Tensor, targets: Tensor, threshold: float = 0.0) -> MultilabelFigures:
    """Compare decisions, potential >= threshold (0: probability one half), with rows of 0 and 1. Raises ShapeError."""
    if outputs.shape != targets.shape or len(outputs.shape) != 2:
        raise ShapeError(f"outputs {outputs.shape} and targets {targets.shape} must be of one shape (N, labels)")
    exact, counts = 0, [[0, 0], [0, 0]]  # [true][decided]
    for z, t in zip(outputs.tolist(), targets.tolist(), strict=True):
        pairs = [(v >= 0.5, u >= threshold) for u, v in zip(z, t, strict=True)]
        exact += all(a == b for a, b in pairs)
        for a, b in pairs:
            counts[a][b] += 1
    return MultilabelFigures(*outputs.shape, exact, counts[1][1], counts[0][1], counts[1][0])
