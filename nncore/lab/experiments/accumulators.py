"""What the sums inside matrix products do to a training: other accumulators, other methods."""

from __future__ import annotations

from nncore.errors import UsageError
from nncore.lab.experiment import Curve, Picture, Result, Table, at_least, at_most, exactly, experiment
from nncore.lab.training import distance, perceptron, trainer_of, training_data
from nncore.optim.optimizers import SGD

RATE = 0.05
WAYS = {"float32": "", "Kahan": "sum=kahan", "Neumaier": "sum=neumaier", "tf32": "accumulate=tf32", "fp16": "accumulate=fp16",
        "bf16": "accumulate=bf16", "bf16, Kahan": "accumulate=bf16,sum=kahan", "fp8-e5m2": "accumulate=fp8-e5m2"}


@experiment(
    "accumulators", chapter="Low precision", title="Accumulators in training",
    formula="s = fl(a b + s) over all inputs of a unit, in every dense product, forward and backward",
    theory="A product's sum is rounded after every term, so an accumulator of p bits gives a result of fewer: about p - log2(K) "
           "/ 2 of K terms, and terms below half its spacing are lost. Training bears a surprising amount of that: the errors "
           "are noise, and noise averages out over steps. bf16 still learns; with three bits most terms of a sum are lost. "
           "Compensated sums in float32 change every bit and nothing else.",
    source="Wang et al. 2018, arXiv 1812.08011; Higham and Mary 2022, Acta Numerica 31")
def accumulators(data: str = "mnist", limit: int = 4000, epochs: int = 2, batch: int = 32, seed: int = 1) -> Result:
    """A perceptron of 32 hidden units by SGD, its products summed in each way: losses, and distances from float32's weights."""
    if epochs < 1 or not 1 <= batch <= limit:
        raise UsageError(f"accumulators: epochs={epochs}, batch={batch} of {limit} samples: at least 1, and a batch of them")
    train, missing = training_data(data, limit)
    history, weights, final = {}, {}, {}
    for name, precision in WAYS.items():
        trainer = trainer_of(perceptron(seed=seed), train, batch, SGD(RATE), epochs=epochs, precision=precision)
        history[name] = [record["loss"] for record in trainer.run()]
        weights[name] = trainer.model.snapshot()[0]
        final[name] = trainer.model.evaluate(train, executor=trainer.executor)
    again = trainer_of(perceptron(seed=seed), train, batch, SGD(RATE), epochs=epochs, precision=WAYS["bf16"])
    again.run()
    apart = {name: distance(weights["float32"], w) for name, w in weights.items()}
    loss = {name: e.loss / final["float32"].loss for name, e in final.items()}
    bits = {"float32": 24, "tf32": 11, "bf16": 8, "fp8-e5m2": 3}
    some = [name for name in bits if name != "float32"]
    return Result(
        [exactly("bf16: distance of two equal runs", distance(weights["bf16"], again.model.snapshot()[0]), 0.0),
         *(at_most(f"{name}: loss over that of float32, difference in %", 100 * abs(loss[name] - 1), 0.1)
           for name in ("Kahan", "Neumaier")),
         at_least("Kahan: distance from float32's weights", apart["Kahan"], 2.0**-30),
         *(at_most(f"{name}: loss over that of float32", loss[name], 1.02) for name in ("tf32", "fp16")),
         at_most("bf16: loss over that of float32", loss["bf16"], 1.2),
         at_most("bf16 with Kahan's sum: loss over that of float32", loss["bf16, Kahan"], 1.02),
         at_least("fp8-e5m2: loss over that of float32", loss["fp8-e5m2"], 1.05)],
        [Picture("Distance from the weights of float32's run", "bits of the accumulator", "relative distance",
                 [Curve("after training", [bits[name] for name in some], [apart[name] for name in some]),
                  Curve("u = 2^-p", [bits[name] for name in some], [2.0 ** -bits[name] for name in some], "theory")],
                 "It lies above the unit roundoff and grows with it, though less than in proportion: noise averages out.",
                 log_y=True),
         Picture("Loss", "epoch", "mean loss of the epoch",
                 [Curve(name, list(range(1, epochs + 1)), v, "theory" if name == "float32" else "measured")
                  for name, v in history.items() if name in ("float32", "fp16", "bf16", "bf16, Kahan", "fp8-e5m2")],
                 "Only the coarsest accumulator is seen in the loss.")],
        [Table("After the last epoch", ["sums", "loss", "accuracy", "distance from float32"],
               [[name, e.loss, e.accuracy, apart[name]] for name, e in final.items()])], missing)
