"""E15: one bit of one weight, and what becomes of it."""

from __future__ import annotations

import struct
from math import isqrt

from nncore.errors import UsageError
from nncore.lab.experiment import Curve, Finding, Picture, Result, Table, at_least, at_most, exactly, experiment
from nncore.lab.training import advance, distance, perceptron, trainer_of, training_data
from nncore.optim.optimizers import SGD

SHOWN = (1, 2, 5, 10, 20, 50, 100, 200, 400, 800)


@experiment(
    "butterfly", code="E15", chapter="Networks", title="The butterfly effect in training",
    formula="|w'_t - w_t| / |w_t| from a start that differs in the last bit of one weight",
    theory="A training is a dynamical system. Where its Jacobian stretches, a difference of one ulp grows until two runs have "
           "nothing in common but their accuracy, as is reported of large networks. A small network at a moderate rate does not "
           "stretch: the difference is either rounded away again, and the runs meet to the bit, or settles at the noise of "
           "rounding, some 5e-7. Only where it moves a ReLU from one side of its kink to the other does it leap; three layers at "
           "a high rate do so often. Without a difference there is none: our runs are equal to the bit.",
    source="Summers and Dinneen 2021, arXiv 2103.04514")
def butterfly(data: str = "mnist", rates: tuple[float, ...] = (0.05, 0.2, 0.5),
              hidden: tuple[tuple[int, ...], ...] = ((32,), (32, 32, 32)), steps: int = 800,
              batch: int = 32, bits: int = 3, seed: int = 1) -> Result:
    """Trainings by SGD that differ in one bit of one of `bits` weights from another, for each rate and each list of hidden
    layers; distances after 1 to `steps` steps, the median of them."""
    if steps < 10 or batch < 1 or bits < 1:
        raise UsageError(f"butterfly: steps={steps}, batch={batch}, bits={bits}: at least 10, 1 and 1")
    train, missing = training_data(data, steps * batch)
    steps = min(steps, len(train) // batch)
    at = [*(s for s in SHOWN if s < steps), steps]
    judged = train.select(range(min(4000, len(train))))
    curves, rows, found = [], [], {}
    for layers in hidden:
        for rate in rates:
            plain, ends = _path(_trainer(train, layers, rate, batch, seed), at), []
            for bit in range(bits):
                trainer = _trainer(train, layers, rate, batch, seed)
                _flip(trainer.model, (2 * bit + 1) / (2 * bits))
                ends.append(_path(trainer, at))
            paths = zip(plain.weights, *(e.weights for e in ends), strict=True)
            distances = [sorted(distance(a, b) for b in some) for a, *some in paths]
            accuracy = [e.model.evaluate(judged, executor=e.executor).accuracy for e in (plain, *ends)]
            found[layers, rate] = [d[bits // 2] for d in distances], accuracy
            name = f"{'-'.join(map(str, layers))}, rate {rate:g}"
            curves.append(Curve(name, at, [max(d[bits // 2], 1e-12) for d in distances]))
            rows.append([name, *distances[-1], *(round(100 * (a - accuracy[0]), 3) for a in accuracy[1:])])
    layers, rate = hidden[0], 0.2 if 0.2 in rates else rates[0]
    again = [_path(_trainer(train, layers, rate, batch, seed), at).weights for _ in range(2)]
    distances, accuracy = found[layers, rate]
    name = f"{len(layers)} hidden layer, rate {rate:g}"
    return Result(
        [exactly("two runs from the same start: largest distance", max(map(distance, *again)), 0.0),
         at_most(f"{name}: median distance after {steps} steps", distances[-1], 0.01),
         at_most("the same: median difference of the accuracies, % of the samples",
                 100 * sorted(abs(a - accuracy[0]) for a in accuracy[1:])[bits // 2], 0.1),
         *_deep(found, steps)],
        [Picture("A difference of one bit", "steps", "median relative distance of the weights",
                 [*curves, Curve("u", [at[0], at[-1]], [2.0**-24] * 2, "theory")],
                 "A small network at a moderate rate stays near rounding error; runs that meet again are drawn at 10^-12.",
                 log_x=True, log_y=True)],
        [Table("After one bit", ["network", *(f"{i}. distance" for i in range(1, bits + 1)),
                                 *(f"accuracy, bit {i}, % more" for i in range(1, bits + 1))], rows)], missing)


def _deep(found: dict, steps: int) -> list[Finding]:
    """The opposite: three layers at a rate of 0.5, if that was run."""
    if not (some := found.get(((32,) * 3, 0.5))) or steps < 800:
        return []
    return [at_least(f"3 hidden layers, rate 0.5: median distance after {steps} steps", some[0][-1], 0.01)]


class _Path:
    """A training's weights after each of some steps, and what it ended with."""

    def __init__(self, trainer, weights: list[bytes]):
        self.model, self.executor, self.weights = trainer.model, trainer.executor, weights


def _path(trainer, at: list[int]) -> _Path:
    weights = []
    for step in at:
        advance(trainer, step - trainer.position.step)
        weights.append(trainer.model.snapshot()[0])
    return _Path(trainer, weights)


def _trainer(train, hidden: tuple[int, ...], rate: float, batch: int, seed: int):
    return trainer_of(perceptron(hidden, seed), train, batch, SGD(rate))


def _flip(model, share: float) -> None:
    """Change the last bit of a first-layer weight: of the middle pixel, to the hidden unit at that share of them."""
    w = model.parameter("0.weight")
    side, units = isqrt(w.shape[0]), w.shape[1]
    index = (side // 2 * side + side // 2) * units + int(share * units)
    bits = struct.unpack("I", struct.pack("f", w.flat()[index]))[0]
    w.flat()[index] = struct.unpack("f", struct.pack("I", bits ^ 1))[0]
