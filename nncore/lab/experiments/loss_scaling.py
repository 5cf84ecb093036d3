"""E16: gradients in fp16, and why the loss is scaled."""

from __future__ import annotations

from math import log2

from nncore.errors import UsageError
from nncore.graph import ops
from nncore.graph.autodiff import gradients
from nncore.graph.formats import Format
from nncore.graph.node import State
from nncore.graph.tape import Executor, Position, compile_tape
from nncore.lab.arithmetic import floats, operate, rounded
from nncore.lab.experiment import Curve, Picture, Result, Table, at_least, at_most, exactly, experiment
from nncore.lab.training import perceptron, training_data
from nncore.nn.losses import CrossEntropy
from nncore.train.steps import externals

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
    network, f = _Scaled(train, batch, format, seed), Format.named(format)
    scaler = _train(network, steps, interval, first)
    late = scaler["tried"] > interval, scaler["skipped after warm-up"]
    values, ks = network.gradients(), list(range(0, 29, 2))
    flushed, infinite = zip(*(_shares(values, k, f) for k in ks), strict=True)
    told = [sum(abs(g) * 2.0**k <= f.smallest / 2 for g in values) / len(values) for k in ks]
    fine = [share for share, over in zip(flushed, infinite, strict=True) if not over]
    return Result(
        [exactly("scales at which more gradients are flushed than at half the scale, before overflow",
                 sum(b > a for a, b in zip(fine, fine[1:], strict=False)), 0),
         at_least(f"gradients flushed without a scale, of {len(values)}", round(flushed[0] * len(values)), 1),
         exactly("the share that |g| <= half the smallest number tells, at every scale", list(told) == list(flushed), True),
         at_least("scales with infinite gradients, of those shown", sum(v > 0 for v in infinite), 1),
         at_most(f"dynamic scale: skipped steps after the first {interval}, %", 100 * late[1] / (steps - interval), 1.0),
         at_most("dynamic scale: loss over that of float32", scaler["loss"] / _single(train, batch, steps, seed), 1.02)],
        [Picture(f"Gradients in {format} by scale of the loss", "k, the loss times 2^k", "share of the gradients that are not 0",
                 [Curve(name, ks, [max(v, 1e-6) for v in shares], role) for name, shares, role in
                  (("flushed to 0", flushed, "measured"), ("infinite", infinite, "measured"),
                   ("|g| <= 2^-25 / 2^k", told, "theory"))],
                 "Each factor of 2 saves some, until the largest overflow.", log_y=True),
         Picture("A dynamic scale", "step", "log2 of the scale",
                 [Curve("scale", *zip(*scaler["scales"], strict=True)),
                  Curve("the largest that holds the first step's gradients", [0, steps], [network.room] * 2, "bound")],
                 "It falls at once to where nothing overflows and from time to time tries a larger one.")],
        [Table("Dynamic scale", ["figure", "value"], [[k, v] for k, v in scaler.items() if k != "scales"])], missing)


def _shares(values, k: int, f: Format) -> tuple[float, float]:
    """Of values that are not 0: the shares that are 0, and infinite, in the format after scaling by 2^k."""
    y = rounded(operate(values, "*", [2.0**k] * len(values), "fp64"), f)
    return sum(v == 0 for v in y) / len(y), sum(abs(v) == float("inf") for v in y) / len(y)


class _Scaled:
    """A perceptron whose gradients are those of a scaled loss, rounded to a format: one tape makes them and keeps them in
    states, another updates with them, so that a step may be skipped between the two."""

    def __init__(self, train, batch: int, format: str, seed: int):
        self.train, self.batch, self.format = train, batch, format
        self.model = perceptron(seed=seed)
        self.model.prepare(train)
        self.executor, self.position, self.made = Executor(threads=1), Position(), {}
        self.rate = self.model.state("rate", (1,), "f64")
        self.kept = {w: State(f"kept.{w.name}", w.shape) for w in self.model.trainable}
        self.room = 0.0

    def _tapes(self, k: int):
        if k not in self.made:
            z, t, _ = self.model.graph(self.train, self.batch, True)
            loss = CrossEntropy()(z, t)
            found = {w: ops.round_to(g, to=self.format) for w, g in gradients(ops.scale(loss, c=2.0**k), list(self.kept)).items()}
            size = {f"size{i}": ops.sum_abs(g) for i, g in enumerate(found.values())}
            make = compile_tape(f"scaled-{k}", self.batch, [ops.assign(self.kept[w], g) for w, g in found.items()],
                                {"loss": loss, **size}, self.model.layout)
            updates = [ops.sgd(w, ops.scale(s, c=2.0**-k), self.rate) for w, s in self.kept.items()]
            use = compile_tape(f"update-{k}", self.batch, updates, {}, self.model.layout)
            self.made[k] = make, use
        return self.made[k]

    def step(self, k: int) -> tuple[bool, float]:
        """One step at the scale 2^k: whether it was taken, and the loss before it."""
        make, use = self._tapes(k)
        memory = self.model.memory
        memory.reserve({})
        memory.tensor(self.rate).flat()[0] = RATE
        if self.position.cursor + self.batch > len(self.train):
            self.position = Position(self.position.step, self.position.epoch + 1, 0)
        self.executor.run([(make, 1)], memory, externals(self.train), self.position, n_samples=len(self.train), shuffle=True)
        finite = all(memory.output(make, name).tolist() < float("inf") for name in make.outputs if name != "loss")
        if not self.room:
            largest = max(abs(v) for s in self.kept.values() for v in memory.tensor(s).flat())
            self.room = k + log2(65504 / largest) if finite and largest else 0.0
        loss = memory.output(make, "loss").tolist()
        if finite:
            self.executor.run([(use, 1)], memory, {})
        return finite, loss

    def gradients(self):
        """The gradients that are not 0, in float32, as the last step left them to be rounded; of the loss itself."""
        z, t, _ = self.model.graph(self.train, self.batch, True)
        found = gradients(CrossEntropy()(z, t), list(self.kept))
        tape = compile_tape("gradients", self.batch, [], {f"g{i}": g for i, g in enumerate(found.values())}, self.model.layout)
        options = {"n_samples": len(self.train), "shuffle": True}
        self.executor.run([(tape, 1)], self.model.memory, externals(self.train), Position(), **options)
        return floats(v for name in tape.outputs for v in self.model.memory.output(tape, name).flat() if v)


def _train(network: _Scaled, steps: int, interval: int, first: int) -> dict:
    """A training with a dynamic scale; steps tried and skipped, the mean loss of the last 50, the scale by step."""
    k, good, skipped, late, losses, scales = first, 0, 0, 0, [], []
    for step in range(steps):
        scales.append((step, k))
        taken, loss = network.step(k)
        losses.append(loss)
        good = good + 1 if taken else 0
        skipped, late = skipped + (not taken), late + (not taken and step >= interval)
        if not taken:
            k -= 1
        elif good == interval:
            k, good = k + 1, 0
    return {"tried": steps, "skipped": skipped, "skipped after warm-up": late, "loss": sum(losses[-50:]) / 50, "scales": scales}


def _single(train, batch: int, steps: int, seed: int) -> float:
    """The same loss in float32 without a scale."""
    plain = _Scaled(train, batch, "fp32", seed)
    return sum([plain.step(0)[1] for _ in range(steps)][-50:]) / 50
