"""k-fold cross-validation: how well a recipe does, and how much that depends on the samples it happens to see.

    found = nn.cross_validate(make, data.train, folds=5, epochs=3)        # make(seed) builds a network
    print(found)                                                          # mean +- deviation over the folds
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

from nncore.data import split
from nncore.errors import UsageError
from nncore.train.ensemble import own
from nncore.train.metrics import Evaluation
from nncore.train.model import Model
from nncore.train.samples import Samples, samples


@dataclass(frozen=True)
class Figures:
    """A figure over the folds: mean and sample standard deviation, sqrt(sum (x - mean)^2 / (k - 1))."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean over the folds."""
        total = 0.0
        for v in self.values:
            total += v
        return total / len(self.values)

    @property
    def deviation(self) -> float:
        """The spread over the folds. Folds share training samples: it is no standard error of the mean."""
        mean, total = self.mean, 0.0
        for v in self.values:
            total += (v - mean) * (v - mean)
        return sqrt(total / (len(self.values) - 1))


@dataclass(frozen=True)
class CrossValidation:
    """One evaluation per fold, on the samples that the fold's network has not seen."""

    folds: tuple[Evaluation, ...]
    models: tuple[Model, ...] = ()

    @property
    def loss(self) -> Figures:
        """Losses of the folds."""
        return Figures(tuple(f.loss for f in self.folds))

    @property
    def accuracy(self) -> Figures | None:
        """Accuracies of the folds; None for regressions."""
        return None if self.folds[0].accuracy is None else Figures(tuple(f.accuracy for f in self.folds))

    def __str__(self) -> str:
        rows = [f"fold {i}  {f}" for i, f in enumerate(self.folds, start=1)]
        a = self.accuracy
        means = [f"accuracy {a.mean:.2%} +- {a.deviation:.2%}"] if a else []
        means.append(f"loss {self.loss.mean:.4f} +- {self.loss.deviation:.4f}")
        return "\n".join([*rows, f"mean    {', '.join(means)} (deviation over {len(rows)} folds)"])


def cross_validate(make: Callable[[int], Model], data, folds: int = 5, stratified: bool = True, seed: int = 0,
                   keep: bool = False, on_fold: Callable[[int, Evaluation], None] | None = None, **fit) -> CrossValidation:
    """Fit make(seed) once per fold on the other folds, and evaluate it on the fold. Stone 1974.

    Sizes of the folds differ by at most one; stratified: so do those of each class in them. Which sample falls where
    depends on the seed alone. keep: hand out the networks too; on_fold is called with (number from 1, evaluation) after
    each. **fit: arguments of Model.fit. Raises UsageError unless 2 <= folds <= n, or if make does not build models.
    """
    data = samples(data)
    if data.labels is None and data.targets is None:
        raise UsageError("cross-validation needs labels or targets")
    labels = data.label_list() if stratified and data.labels is not None else None
    parts = split.folds(len(data), folds, seed, labels)
    found, models = [], []
    for i, part in enumerate(parts):
        model = make(seed)
        if not isinstance(model, Model) or model in models:
            raise UsageError(f"make(seed) has to return a new model each time, got {model!r}")
        model.fit(_all_but(data, parts, i), **own(fit))
        found.append(model.evaluate(data.select(part), loss=fit.get("loss"), executor=fit.get("executor")))
        models.append(model)
        if on_fold:
            on_fold(i + 1, found[-1])
    return CrossValidation(tuple(found), tuple(models) if keep else ())


def _all_but(data: Samples, parts: list[array], i: int) -> Samples:
    return data.select(array("q", sorted(r for j, part in enumerate(parts) if j != i for r in part)))
