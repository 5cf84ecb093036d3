"""E8c: a training whose weights are bf16."""

from __future__ import annotations

from array import array
from math import frexp

from nncore.errors import UsageError
from nncore.graph.formats import Arithmetic
from nncore.lab.experiment import Curve, Picture, Result, Table, at_least, experiment, within
from nncore.lab.training import advance, perceptron, trainer_of, training_data
from nncore.optim.optimizers import SGD
from nncore.train.precision import Precision
from nncore.train.replay import go_back, keep

RATE = 0.01


@experiment(
    "bf16-weights", code="E8c", chapter="Low precision", title="Training with bf16 weights",
    formula="w - rate g = w  if  rate |g| < u 2^floor(log2 |w|)",
    theory="Most updates of a training are smaller than half the spacing of bf16 at their weight: rounded to nearest they are "
           "lost, and the loss stays behind. Rounded stochastically they arrive on average; with a master copy in float32 they "
           "add up until they show. Both learn as float32 does.",
    source="Gupta et al. 2015, arXiv 1502.02551; Micikevicius et al. 2018, arXiv 1710.03740")
def bf16_weights(data: str = "mnist", limit: int = 4000, epochs: int = 5, batch: int = 32, format: str = "bf16",
                 seed: int = 1) -> Result:
    """A perceptron of 32 hidden units on `limit` images, SGD at 0.01: in float32, and its weights in a format in three ways."""
    if epochs < 1 or not 1 <= batch <= limit:
        raise UsageError(f"bf16-weights: epochs={epochs}, batch={batch} of {limit} samples: at least 1, and a batch of them")
    train, missing = training_data(data, limit)
    ways = {"float32": "", f"{format}, to nearest": f"weights={format}", f"{format}, stochastic": f"weights={format}:stochastic",
            f"{format} with float32 master": f"weights={format},master=fp32"}
    history, final = {}, {}
    for name, precision in ways.items():
        model = perceptron(seed=seed)
        trainer = trainer_of(model, train, batch, SGD(RATE), epochs=epochs, precision=precision)
        history[name] = [record["loss"] for record in trainer.run()]
        final[name] = model.evaluate(train)
    single, nearest, *others = (final[name].loss for name in ways)
    lost, told = _lost(train, batch, format, seed)
    n = len(lost)
    return Result(
        [at_least("to nearest: loss over that of float32", nearest / single, 1.1),
         *(within(f"{name}: loss over that of float32", loss / single, 0.98, 1.02)
           for name, loss in zip(list(ways)[2:], others, strict=True)),
         within("to nearest: lost updates, % of those that are not 0, less what the rule tells",
                100 * (sum(lost) - sum(told)) / n, -3, 3)],
        [Picture("Loss", "epoch", "mean loss of the epoch",
                 [Curve(name, list(range(1, epochs + 1)), v, "theory" if name == "float32" else "measured")
                  for name, v in history.items()],
                 "To nearest the training stays behind; the other two lie on float32's line."),
         Picture("Updates without effect, to nearest", "step", "% of those that are not 0",
                 [Curve("measured", _watched(len(train), batch), [100 * v for v in lost]),
                  Curve("rate |g| < u 2^floor(log2 |w|)", _watched(len(train), batch), [100 * v for v in told], "theory")],
                 "What half the spacing says beforehand is what happens.")],
        [Table("After the last epoch", ["weights", "loss", "accuracy"],
               [[name, e.loss, e.accuracy] for name, e in final.items()])], missing)


def _watched(samples: int, batch: int) -> list[int]:
    """Steps of the first epoch at which updates are counted."""
    steps = samples // batch
    return sorted({steps * i // 8 for i in range(8)})


def _lost(train, batch: int, format: str, seed: int) -> tuple[list[float], list[float]]:
    """At each watched step the share of nonzero updates that left their weight as it was, and the share that the rule tells:
    the same step is done from the same weights in float32."""
    low, high = (trainer_of(perceptron(seed=seed), train, batch, SGD(RATE), precision=p)
                 for p in (Precision.parse(f"weights={format}"), None))
    unit, measured, told = Arithmetic.parse(format).format.unit, [], []
    for step in _watched(len(train), batch):
        advance(low, step - low.position.step)
        go_back(high, keep(low))
        before = _weights(low.model)
        advance(low, 1)
        advance(high, 1)
        asked = [(w, d, a == w) for w, d, a in zip(before, _moves(before, high.model), _weights(low.model), strict=True) if d]
        measured.append(sum(stayed for *_, stayed in asked) / len(asked))
        told.append(sum(abs(d) < unit * _power(w) for w, d, _ in asked) / len(asked))
    return measured, told


def _weights(model) -> array:
    return array("d", (v for name in model.parameters for v in model.parameter(name).flat()))


def _moves(before: array, model) -> list[float]:
    return [b - a for a, b in zip(before, _weights(model), strict=True)]


def _power(w: float) -> float:
    """The largest power of 2 up to |w|."""
    return 2.0 ** (frexp(w)[1] - 1) if w else 0.0
