"""Regression by discretisation: a number is learned as a class, and predicted as the expectation over the classes.

    bins = nn.Bins.even(0, 100, 20)
    classifier.fit((x, bins.labels(ages)))                        # by cross-entropy
    ages = bins.expecting(classifier).predict(test)               # sum_j p_j v_j
    regressor = bins.expecting(classifier.build(shape))
    regressor.fit((x, ages), loss=nn.SquaredError())              # or by the squared error of the expectation itself

The lectures' example predicts the age of a face so; Rothe, Timofte, Van Gool 2015 (DEX), section 3.3.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from math import isfinite

from nncore.errors import ShapeError, UsageError
from nncore.nn.layers import Dense, Softmax
from nncore.tensor import Tensor
from nncore.train.model import Model


class Bins:
    """Ascending centres v_j; a value belongs to the nearest one, to the lower one at equal distance.

    Raises UsageError for fewer than two or more than 256 centres, or such as do not ascend.
    """

    def __init__(self, centres: Sequence[float]):
        self.centres = tuple(map(float, centres))
        pairs = zip(self.centres, self.centres[1:], strict=False)
        if not 2 <= len(self.centres) <= 256 or not all(map(isfinite, self.centres)) or any(a >= b for a, b in pairs):
            raise UsageError(f"Bins: 2 to 256 ascending finite centres are needed, got {len(self.centres)}")
        self._edges = [a + (b - a) / 2 for a, b in zip(self.centres, self.centres[1:], strict=False)]

    @classmethod
    def even(cls, low: float, high: float, count: int) -> Bins:
        """`count` centres at equal distances, the first at low, the last at high."""
        if not low < high or count < 2:
            raise UsageError(f"Bins.even: low < high and at least two bins are needed, got {low!r}, {high!r}, {count!r}")
        return cls([low + (high - low) * i / (count - 1) for i in range(count)])

    @classmethod
    def quantiles(cls, values: Sequence[float], count: int) -> Bins:
        """Centres at the middles of `count` equally frequent parts of the values, equal ones once."""
        ordered = sorted(values)
        return cls(sorted({ordered[(2 * i + 1) * len(ordered) // (2 * count)] for i in range(count)}))

    def __len__(self) -> int:
        return len(self.centres)

    def labels(self, values: Sequence[float]) -> Tensor:
        """The bin of each value, (N,) u8."""
        return Tensor((len(values),), "u8", bytes(bisect_left(self._edges, v) for v in values))

    def expecting(self, model: Model) -> Model:
        """A copy of a network with one output per bin, with a Softmax behind it and a Dense whose weights are the centres,
        frozen: its one output is sum_j p_j v_j. Raises ShapeError for another number of outputs, UsageError without weights.
        """
        outputs = model.logits(Tensor((1, *model.image_shape), "f32")).shape[1] if model.parameters else 0
        if outputs != len(self):
            raise ShapeError(f"the network has {outputs or 'no weights yet and no'} outputs, there are {len(self)} bins; "
                             "build or fit it with one output per bin")
        behind = [Softmax(), Dense(1, bias=False)]
        x = model.outputs
        for layer in behind:
            x = layer(x)
        made = model._rebuilt(x, [*(c.layer for c in model._order), *behind]).build(model.image_shape)
        made._take(model, [*model.parameters, *(s.name for s in model.kept_states)])
        made._freezing = model._freezing
        made.assign(f"{made.layers.index(behind[1])}.weight", array("f", self.centres))
        return made.freeze(behind[1])

    def __repr__(self) -> str:
        return f"Bins({len(self)} from {self.centres[0]:g} to {self.centres[-1]:g})"
