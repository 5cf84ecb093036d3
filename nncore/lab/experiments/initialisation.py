"""Initial weights by formula: what they do to activations, and to a training."""

from __future__ import annotations

from math import log, sqrt

from nncore import SGD, CrossEntropy, Dense, Executor, ReLU, Sequential, TerminateOnNonFinite, data, init
from nncore.lab.experiment import Curve, Picture, Result, at_least, at_most, experiment, rms, slope, within
from nncore.lab.training import gaussian, need, need_each


def _spread(n: int, limit: float) -> float:
    """rms of 4000 potentials whose n weights are U(-limit, limit), on inputs of rms 1."""
    model = Sequential([Dense(4000, bias=False, init=init.Uniform(limit))], seed=n, standardise="none").build((n,))
    x = gaussian(1, n, n)
    return rms(model.logits(x, executor=Executor(threads=1)).flat()) / rms(x.flat())


def _network(scale: float, layers: int, width: int) -> Sequential:
    """ReLU layers with weights N(0, scale^2 2 / fan in): He's formula times scale."""
    hidden = [part for k in range(layers) for part in (Dense(width, init=_Scaled(scale)), ReLU())]
    return Sequential([*hidden, Dense(10, init=_Scaled(scale))], seed=2)


class _Scaled(init.HeNormal):
    """He's normal weights times a factor."""

    def __init__(self, factor: float):
        self.factor = factor

    def spread(self, n: int, m: int) -> float:
        return self.factor * super().spread(n, m)


@experiment(
    "initialisation", chapter="Gradients", title="Initial weights by formula",
    formula="U(-w, w) on n inputs of rms 1: potentials of deviation sqrt(n/3) w; N(0, c^2 2/n) and ReLU: rms times c a layer",
    theory="A potential is a sum over n inputs, so its deviation is sqrt(n) times that of a weight: weights must shrink as "
           "1/sqrt(n). Half of a ReLU's square is lost, hence He's 2/n, which keeps the rms from layer to layer; weights c times "
           "as large change the output by c^L over L layers. With c too small every class looks alike and the loss stays at "
           "log 10; with c too large the first steps are wild.",
    source="LeCun et al. 1998, section 4.6; Glorot and Bengio 2010; He et al. 2015, section 2.2")
def initialisation(inputs=(25, 100, 400, 1600), scales=(0.1, 0.25, 0.5, 1.0, 2.0, 4.0), layers=6, width=48, samples=1500,
                   epochs=3, rate=0.05) -> Result:
    """scales: factors c; rate: SGD's, the same for all."""
    need_each("inputs", inputs, 4, 10_000, 2)
    need_each("scales", scales, 0.01, 10, 2)
    need(1 <= layers <= 30 and 8 <= width <= 512 and samples >= 100 and epochs >= 1 and rate > 0,
         "layers: 1 to 30; width: 8 to 512; samples: 100 or more; epochs: 1 or more; rate: above 0")
    limit = 0.1
    spreads, formula = [_spread(n, limit) for n in inputs], [sqrt(n / 3) * limit for n in inputs]
    train = data.glyphs(samples, 10).train
    outputs, losses = [], []
    for c in scales:
        model = _network(c, layers, width)
        model.prepare(_samples(train))
        outputs.append(rms(model.logits(train, executor=Executor(threads=1)).flat()))
        history = model.fit(train, epochs=epochs, batch=50, optimizer=SGD(rate), callbacks=[TerminateOnNonFinite("report")],
                            executor=Executor(threads=1))
        broken = history.stopped is not None
        losses.append(float("inf") if broken else model.evaluate(train, CrossEntropy(), Executor(threads=1)).loss)
    at = min(range(len(scales)), key=lambda i: abs(scales[i] - 1))
    worst = max(abs(s / f - 1) for s, f in zip(spreads, formula, strict=True))
    findings = [
        at_most("largest relative distance of the potentials' deviation from sqrt(n/3) w", worst, 0.05),
        within("exponent p of the output's rms ~ c^p, less the layers", slope(scales, outputs) - layers - 1, -0.05, 0.05),
        within("He's formula: rms of the output before training", outputs[at], 0.5, 3.0),
        at_least(f"loss after training at c = {min(scales):g}", losses[scales.index(min(scales))], 0.95 * log(10)),
        at_most(f"loss after training at c = {scales[at]:g}, He's formula", losses[at], 0.5 * log(10)),
    ]
    shown = [min(v, 1e3) for v in losses]
    return Result(findings, [
        Picture("Potentials on n inputs", "inputs n", "deviation", [
            Curve("measured, weights U(-0.1, 0.1)", inputs, spreads), Curve("sqrt(n/3) w", inputs, formula, "theory")],
            "The deviation of a sum of n terms grows as the root of n.", True, True),
        Picture("Output before training", "factor c on He's formula", "rms of the outputs", [
            Curve(f"{layers} hidden layers", scales, outputs),
            Curve("c^L", scales, [outputs[at] * (c / scales[at]) ** (layers + 1) for c in scales], "theory")],
            "A factor at each layer is a power at the output.", True, True),
        Picture(f"Loss after {epochs} epochs", "factor c on He's formula", "loss in nats", [
            Curve("trained", scales, shown),
            Curve("log 10, ten classes guessed", [min(scales), max(scales)], [log(10)] * 2, "bound")],
            "Too small and nothing starts, too large and the first steps destroy; a loss that broke is drawn at 1000.",
            True, True)])


def _samples(split):
    from nncore.train.samples import samples

    return samples(split)
