"""E16: gradients in fp16, and why the loss is scaled."""

from __future__ import annotations

from math import log2

from nncore.errors import UsageError
from nncore.graph.formats import Format
from nncore.lab.arithmetic import floats, operate, rounded
from nncore.lab.experiment import Curve, Picture, Result, Table, at_least, at_most, exactly, experiment
from nncore.lab.training import Gradients, advance, perceptron, trainer_of, training_data
from nncore.nn.losses import CrossEntropy
from nncore.optim.optimizers import SGD

RATE = 0.1


@experiment(
    "loss-scaling", code="E16", chapter="Low precision", title="Scaling the loss for fp16 gradients",
    formula="fl(g) = 0  if  |g| <= 2^-25;  infinite from 65520;  the gradient of 2^k L is 2^k g",
    theory="Many gradients lie below the smallest number of fp16, 2^-24, and become 0. Scaling the loss by 2^k shifts all of "
           "them up by k binades, rounding nothing, until the largest overflow. Where that is changes during a training: a "
           "dynamic scale doubles after a number of good steps and is halved, the step skipped, when a gradient is infinite.",
    source="Micikevicius et al. 2018, arXiv 1710.03740, section 3.2")
def loss_scaling(data: str = "mnist", limit: int = 4000, batch: int = 32, steps: int = 600, interval: int = 200, first: int = 24,
                 format: str = "fp16", seed: int = 1) -> Result:
    """Flushed and infinite gradients of a perceptron by scale 2^k; a training with a dynamic scale that begins at 2^first."""
    if steps < 2 * interval or interval < 10 or not 1 <= batch <= limit:
        raise UsageError(f"loss-scaling: steps={steps}, interval={interval}, batch={batch}: at least 10 steps between two "
                         "growths, and twice as many steps as that")
    train, missing = training_data(data, limit)
    f, model = Format.named(format), perceptron(seed=seed)
    start = _gradients(model, train, batch)
    scaler = _train(model, train, batch, steps, f"gradients={format},loss_scale=dynamic:{first}:{interval}", interval)
    single = _train(perceptron(seed=seed), train, batch, steps, None, interval)
    values, ks = floats(g for g in _gradients(model, train, batch) if g), list(range(0, 29, 2))
    room = log2(f.largest / max(abs(g) for g in start))
    flushed, infinite = zip(*(_shares(values, k, f) for k in ks), strict=True)
    told = [sum(abs(g) * 2.0**k <= f.smallest / 2 for g in values) / len(values) for k in ks]
    fine = [share for share, over in zip(flushed, infinite, strict=True) if not over]
    return Result(
        [exactly("scales at which more gradients are flushed than at half the scale, before overflow",
                 sum(b > a for a, b in zip(fine, fine[1:], strict=False)), 0),
         at_least(f"gradients flushed without a scale, of {len(values)}", round(flushed[0] * len(values)), 1),
         exactly("the share that |g| <= half the smallest number tells, at every scale", list(told) == list(flushed), True),
         at_least("scales with infinite gradients, of those shown", sum(v > 0 for v in infinite), 1),
         at_most(f"dynamic scale: skipped steps after the first {interval}, %", 100 * scaler["late"] / (steps - interval), 1.0),
         at_most("dynamic scale: loss over that of float32", scaler["loss"] / single["loss"], 1.02)],
        [Picture(f"Gradients in {format} by scale of the loss", "k, the loss times 2^k", "share of the gradients that are not 0",
                 [Curve(name, ks, [max(v, 1e-6) for v in shares], role) for name, shares, role in
                  (("flushed to 0", flushed, "measured"), ("infinite", infinite, "measured"),
                   ("|g| <= 2^-25 / 2^k", told, "theory"))],
                 "Each factor of 2 saves some, until the largest overflow.", log_y=True),
         Picture("A dynamic scale", "step", "log2 of the scale",
                 [Curve("scale", list(range(steps)), scaler["scales"]),
                  Curve("the largest that holds the first step's gradients", [0, steps], [room] * 2, "bound")],
                 "It falls at once to where nothing overflows and from time to time tries a larger one.")],
        [Table("Dynamic scale", ["figure", "value"],
               [["steps", steps], ["skipped", scaler["skipped"]], [f"skipped after the first {interval}", scaler["late"]],
                ["mean loss of the last 50 steps", scaler["loss"]]])], missing)


def _shares(values, k: int, f: Format) -> tuple[float, float]:
    """Of values that are not 0: the shares that are 0, and infinite, in the format after scaling by 2^k."""
    y = rounded(operate(values, "*", [2.0**k] * len(values), "fp64"), f)
    return sum(v == 0 for v in y) / len(y), sum(abs(v) == float("inf") for v in y) / len(y)


def _gradients(model, train, batch: int) -> list[float]:
    """dJ/dw of all parameters, in float32, over the first `batch` samples."""
    found = Gradients(model, train.select(range(batch)), CrossEntropy())()
    return [g for name, values in found.items() if name != "output" for g in values]


def _train(model, train, batch: int, steps: int, precision: str | None, interval: int) -> dict:
    """A training by the trainer's own steps: log2 of the scale before each, steps skipped, all and after the first `interval`,
    and the mean loss of the last 50."""
    each = len(train) // batch
    trainer = trainer_of(model, train, batch, SGD(RATE), epochs=-(-steps // each), precision=precision, loss=CrossEntropy())
    scaling, scales, skipped, losses = trainer.settings.precision.loss_scale, [], [], []
    for step in range(steps):
        if scaling:
            scales.append(log2(scaling.record(model)["loss_scale"]))
        if step and step % each == 0:
            trainer.position.epoch, trainer.position.cursor = trainer.position.epoch + 1, 0
        advance(trainer, 1)
        losses.append(model.memory.output(trainer.tape, "loss").tolist())
        skipped.append(scaling.record(model)["skipped_steps"] if scaling else 0)
    return {"scales": scales, "skipped": skipped[-1], "late": skipped[-1] - skipped[interval - 1], "loss": sum(losses[-50:]) / 50}
