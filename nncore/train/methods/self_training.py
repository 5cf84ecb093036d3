"""Learning from unlabelled samples: what the network is sure of becomes a label for the next round.

    found = nn.self_train(make, labelled, unlabelled, rounds=3, confidence=0.95, epochs=5)

Lee 2013, *Pseudo-label*; the older name is self-training (Scudder 1965; Yarowsky 1995).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nncore.errors import ShapeError, UsageError
from nncore.tensor import Tensor
from nncore.train.ensemble import _argmax, own
from nncore.train.methods.views import _picked
from nncore.train.model import Model
from nncore.train.samples import Samples, samples


@dataclass(frozen=True)
class Round:
    """One round: how many unlabelled samples got a label, and the network trained with them."""

    pseudo: int
    model: Model


@dataclass(frozen=True)
class SelfTraining:
    """All rounds; the first one had the given labels only."""

    rounds: tuple[Round, ...]

    @property
    def model(self) -> Model:
        """The network of the last round."""
        return self.rounds[-1].model


def self_train(make: Callable[[int], Model], labelled, unlabelled, rounds: int = 3, confidence: float = 0.95, seed: int = 0,
               on_round: Callable[[int, Round], None] | None = None, **fit) -> SelfTraining:
    """Fit make(seed) to `labelled`; then, `rounds` times, label all of `unlabelled` whose largest probability is at least
    `confidence` by the network of the round before, and fit make(seed) anew to both.

    Labels that `unlabelled` may have are not looked at. on_round(number from 0, round) after each. **fit: arguments of
    Model.fit. Raises UsageError for a confidence outside (0, 1], ShapeError for samples of different shapes.
    """
    known, pool = samples(labelled), samples(unlabelled)
    if known.labels is None:
        raise UsageError("self_train starts from samples with class labels")
    if not 0 < confidence <= 1 or isinstance(rounds, bool) or not isinstance(rounds, int) or rounds < 0:
        raise UsageError(f"self_train: confidence lies in (0, 1], rounds are at least 0, got {confidence!r} and {rounds!r}")
    pool, data, found = Samples(pool.x, rows=pool.rows), known, []
    for number in range(rounds + 1):
        model = make(seed)
        model.fit(data, **own(fit))
        found.append(Round(len(data) - len(known), model))
        if on_round:
            on_round(number, found[-1])
        if number < rounds:
            data = joined(known, pseudo_labelled(model, pool, confidence))
    return SelfTraining(tuple(found))


def pseudo_labelled(model: Model, data, confidence: float = 0.95) -> Samples | None:
    """The samples of which a network is sure, with the classes it finds; None if there are none."""
    data = samples(data)
    proba = model.predict(data, proba=True)
    classes = _argmax(proba)
    sure = [i for i, (c, row) in enumerate(zip(classes, proba.tolist(), strict=True)) if row[c] >= confidence]
    if not sure:
        return None
    rows = sure if data.rows is None else [data.rows.flat()[i] for i in sure]
    labels = Tensor((len(sure),), "u8", bytes(classes[i] for i in sure))
    return Samples(_picked(data.x, _index(rows)), labels, None, model.classes)


def joined(first: Samples, second: Samples | None) -> Samples:
    """The labelled samples of both, copied into one array. Raises ShapeError if they differ in shape or type."""
    if second is None:
        return first
    parts = [s if s.rows is None else _compact(s) for s in (first, second)]
    a, b = parts
    if a.x.shape[1:] != b.x.shape[1:] or a.x.dtype != b.x.dtype:
        raise ShapeError(f"samples {a.x.shape[1:]} {a.x.dtype} and {b.x.shape[1:]} {b.x.dtype} do not go together")
    x = Tensor((len(a) + len(b), *a.x.shape[1:]), a.x.dtype, b"".join(p.x.tobytes() for p in parts))
    labels = Tensor((len(x),), "u8", b"".join(p.labels.tobytes() for p in parts))
    return Samples(x, labels, None, first.classes)


def _compact(s: Samples) -> Samples:
    return Samples(_picked(s.x, s.rows), Tensor((len(s),), "u8", bytes(s.label_list())), None, s.classes)


def _index(rows: list[int]) -> Tensor:
    from array import array

    return Tensor((len(rows),), "i64", array("q", rows))
