"""What the method of summation does to a training: the loss bit by bit, and the accuracy."""

from __future__ import annotations

from nncore.errors import UsageError
from nncore.graph.formats import SUMS
from nncore.lab.experiment import Curve, Picture, Result, Table, at_least, at_most, exactly, experiment
from nncore.lab.training import advance, distance, perceptron, trainer_of, training_data
from nncore.optim.optimizers import SGD

RATE = 0.05


@experiment(
    "training-sums", chapter="Low precision", title="Methods of summation in training",
    formula="every sum of a step - products, biases, the mean of the losses - by one method; the loss beside that of exact sums",
    theory="Summed by another method, a step rounds elsewhere, and the loss differs in its last bits from one of the first steps "
           "on. Dot2 sums as if in twice the precision and rounds once, so it follows the exact sums longest, mostly to the bit. "
           "None of it is seen in the accuracy: a rate of 0.05 moves weights by far more than rounding does, and the noise of a "
           "batch is larger still. What float32 has too little of for a sum, a training does not miss.",
    source="Higham 2002, chapter 4; Ogita, Rump and Oishi 2005; Kulisch and Miranker 1981")
def training_sums(data: str = "mnist", limit: int = 1600, batch: int = 32, epochs: int = 1, seed: int = 1) -> Result:
    """A perceptron of 32 hidden units by SGD, trained with each method; losses step by step, beside those of exact sums."""
    if epochs < 1 or not 1 <= batch <= limit:
        raise UsageError(f"training-sums: epochs={epochs}, batch={batch} of {limit} samples: at least 1, and a batch of them")
    train, missing = training_data(data, limit)
    runs = {method: _run(train, batch, epochs, seed, method) for method in SUMS}
    truth, again = runs["exact"], _run(train, batch, epochs, seed, "pairwise")
    first = {method: _first(r.losses, truth.losses) for method, r in runs.items() if method != "exact"}
    steps, worst = len(truth.losses), max(abs(r.accuracy - truth.accuracy) for r in runs.values())
    apart = {method: [abs(a - b) / b for a, b in zip(r.losses, truth.losses, strict=True)] for method, r in runs.items()}
    return Result(
        [exactly("pairwise: distance of two equal runs", distance(runs["pairwise"].weights, again.weights), 0.0),
         at_most("naive: the first step whose loss has other bits than that of exact sums", first["naive"], steps),
         at_least("dot2: that step, over naive's", (first["dot2"] + 1) / (first["naive"] + 1), 1.0),
         at_most("all methods: largest relative difference of a loss", max(map(max, apart.values())), 1e-3),
         at_most("all methods: largest difference of the accuracy, % of the samples", 100 * worst, 0.5)],
        [Picture("Loss beside that of exact sums", "step", "relative difference of the loss of a batch",
                 [*(Curve(method, list(range(1, steps + 1)), [max(v, 2.0**-30) for v in apart[method]])
                    for method in ("naive", "blocked", "pairwise", "kahan", "dot2")),
                  Curve("u", [1, steps], [2.0**-24] * 2, "theory")],
                 "Rounding stays rounding: the curves do not leave the last bits. Equal losses are drawn at 2^-30.", log_y=True)],
        [Table("After training", ["sums", "first step of other bits", "loss of the last step", "accuracy", "distance from exact"],
               [[method, first.get(method, "-"), r.losses[-1], r.accuracy, distance(truth.weights, r.weights)]
                for method, r in runs.items()])], missing)


class _Run:
    """A training's losses by step, and what it ended with."""

    def __init__(self, losses: list[float], weights: bytes, accuracy: float):
        self.losses, self.weights, self.accuracy = losses, weights, accuracy


def _run(train, batch: int, epochs: int, seed: int, method: str) -> _Run:
    trainer = trainer_of(perceptron(seed=seed), train, batch, SGD(RATE), epochs=epochs, precision=f"sum={method}")
    losses = []
    for epoch in range(epochs):
        trainer.position.epoch, trainer.position.cursor = epoch, 0
        for _ in range(len(train) // batch):
            advance(trainer, 1)
            losses.append(trainer.model.memory.output(trainer.tape, "loss").tolist())
    accuracy = trainer.model.evaluate(train, executor=trainer.executor).accuracy
    return _Run(losses, trainer.model.snapshot()[0], accuracy)


def _first(losses: list[float], truth: list[float]) -> int:
    """The first step, from 1, whose loss differs in any bit; one more than there are if none does."""
    return next((i for i, (a, b) in enumerate(zip(losses, truth, strict=True), start=1) if a != b), len(truth) + 1)
