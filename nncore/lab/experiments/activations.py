"""Activation functions compared on one task."""

from __future__ import annotations

from math import log

from nncore import ELU, SELU, Adam, Dense, Executor, LeakyReLU, ReLU, SaturatedLinear, Sequential, Sigmoid, Softplus, Tanh, data
from nncore.lab.experiment import Curve, Picture, Result, Table, at_least, experiment
from nncore.lab.training import need

# Each with the formula for initial weights that was made for it.
ACTIVATIONS = {
    "ReLU": (ReLU, "he_normal"), "leaky ReLU": (LeakyReLU, "he_normal"), "ELU": (ELU, "he_normal"),
    "SELU": (SELU, "lecun_normal"), "softplus": (Softplus, "he_normal"), "tanh": (Tanh, "glorot_uniform"),
    "1.7159 tanh(2x/3)": (lambda: Tanh(a=1.7159, b=2 / 3), "lecun_normal"),
    "saturated linear": (SaturatedLinear, "glorot_uniform"), "sigmoid": (Sigmoid, "glorot_uniform"),
}  # fmt: skip


def _train(glyphs, activation, init: str, layers: int, width: int, epochs: int, rate: float, seed: int) -> tuple[list, float]:
    """Loss by epoch, and the test accuracy."""
    hidden = [part for _ in range(layers) for part in (Dense(width, init=init), *([activation()] if activation else []))]
    model = Sequential([*hidden, Dense(10)], seed=seed)
    history = model.fit(glyphs.train, epochs=epochs, batch=50, optimizer=Adam(rate), executor=Executor(threads=1))
    return history.column("loss"), model.evaluate(glyphs.test, executor=Executor(threads=1)).accuracy


@experiment(
    "activations", chapter="Networks", title="Activation functions on one task",
    formula="max slope of sigmoid 1/4, of tanh 1, of ReLU 1; composed linear layers are one linear layer",
    theory="Without an activation three layers are one matrix and do what a linear classifier does. Any of the usual functions "
           "lifts that limit. They differ in how fast: a sigmoid passes at most a quarter of the gradient and gives outputs "
           "whose mean is 1/2, so it starts slowest; those of slope 1 and mean near 0 start fastest.",
    source="LeCun et al. 1998, section 4.4; Glorot, Bordes, Bengio 2011; Clevert et al. 2016; Klambauer et al. 2017")
def activations(layers=3, width=48, samples=2500, tests=1000, epochs=12, rate=1e-3, seed=0) -> Result:
    need(1 <= layers <= 10 and 4 <= width <= 512 and samples >= 100 and tests >= 100 and epochs >= 2 and rate > 0,
         "layers: 1 to 10; width: 4 to 512; samples, tests: 100 or more; epochs: 2 or more; rate: above 0")
    glyphs = data.glyphs(samples, tests)
    runs = {name: _train(glyphs, f, init, layers, width, epochs, rate, seed) for name, (f, init) in ACTIVATIONS.items()}
    line, linear = _train(glyphs, None, "glorot_uniform", layers, width, epochs, rate, seed)
    first, last = ({name: losses[k] for name, (losses, _) in runs.items()} for k in (0, -1))
    findings = [
        at_least("least test accuracy of any activation", min(a for _, a in runs.values()), 0.8),
        at_least("best test accuracy less that of the network without activations",
                 max(a for _, a in runs.values()) - linear, 0.03),
        at_least("sigmoid: loss of the first epoch over tanh's", first["sigmoid"] / first["tanh"], 1.3),
        at_least("sigmoid: loss of the last epoch over the largest of those whose slope reaches 1",
                 last["sigmoid"] / max(v for n, v in last.items() if n not in ("sigmoid", "saturated linear")), 3),
    ]
    steps = list(range(1, epochs + 1))
    shown = ("ReLU", "SELU", "tanh", "softplus", "sigmoid")
    rows = sorted(([name, losses[0], losses[-1], accuracy] for name, (losses, accuracy) in runs.items()), key=lambda r: r[1])
    return Result(findings, [Picture("Training loss", "epoch", "mean loss in nats", [
        *(Curve(name, steps, runs[name][0]) for name in shown), Curve("none", steps, line),
        Curve("log 10, ten classes guessed", [1, epochs], [log(10)] * 2, "bound")],
        "The sigmoid is slow to begin; without an activation the loss falls at once, and then stays where a line can bring it.",
        log_y=True)],
        [Table("All of them", ["activation", "loss, epoch 1", "loss at the end", "test accuracy"],
               [*rows, ["none", line[0], line[-1], linear]])])
