"""Dead ReLUs: units that answer 0 to everything, and never again anything else."""

from __future__ import annotations

from math import erfc, sqrt

from nncore import SGD, Dense, Executor, LeakyReLU, ReLU, Sequential, TerminateOnNonFinite, data
from nncore.lab.experiment import Curve, Picture, Result, at_least, at_most, exactly, experiment
from nncore.lab.training import gaussian, need, need_each
from nncore.train.samples import samples as as_samples

INPUTS, UNITS = 100, 3000  # of the layer at rest


def _at_rest(biases, points: int, seed: int) -> list[float]:
    """Per bias, the share of ReLUs whose weights have length 1 that are 0 on all points of N(0, 1) inputs."""
    layer = Sequential([Dense(UNITS), ReLU()], standardise="none").build((INPUTS,))
    w = gaussian(INPUTS, UNITS, seed).flat()
    lengths = [sqrt(sum(v * v for v in w[k::UNITS])) for k in range(UNITS)]
    layer.assign("0.weight", [v / lengths[i % UNITS] for i, v in enumerate(w)])
    x, found = gaussian(points, INPUTS, seed + 1), []
    for b in biases:
        layer.assign("0.bias", [b] * UNITS)
        found.append(len(silent(layer.logits(x, executor=Executor(threads=1)))) / UNITS)
    return found


def silent(outputs) -> list[int]:
    """Columns that are 0 in every row."""
    rows, columns = outputs.shape
    flat = outputs.flat()
    return [k for k in range(columns) if not any(flat[k::columns])]


class Hidden:
    """A 784-64-10 network whose hidden layer is looked at on its own."""

    def __init__(self, train, activation, rate: float, units: int):
        self.train, self.units = train, units
        self.model = Sequential([Dense(units, init="he_normal"), activation(), Dense(10)], seed=4)
        self.layer = Sequential([Dense(units), activation()])
        self.layer.prepare(as_samples(train))
        self.optimizer = SGD(rate)

    def fit(self, epochs: int) -> None:
        self.model.fit(self.train, epochs=epochs, batch=50, optimizer=self.optimizer, executor=Executor(threads=1),
                       callbacks=[TerminateOnNonFinite("restore")])

    def silent(self) -> list[int]:
        for name in ("0.weight", "0.bias"):
            self.layer.assign(name, self.model.parameter(name).flat())
        return silent(self.layer.logits(self.train, executor=Executor(threads=1)))

    def weights(self, unit: int) -> list[float]:
        """What goes into a hidden unit, its bias last."""
        return [*self.model.parameter("0.weight").flat()[unit :: self.units], self.model.parameter("0.bias").flat()[unit]]


@experiment(
    "dead-relus", chapter="Gradients", title="Dead ReLUs",
    formula="y = max(w x + b, 0): dy/dw = 0 where w x + b <= 0; P(0 on all of N points) = Phi(-b / |w|)^N for x ~ N(0, I)",
    theory="A ReLU that is 0 on every sample has no gradient at all, so no step can bring it back. A bias some deviations "
           "below 0 is enough at rest. In training, one step that is too large throws units there: the share of dead units "
           "rises with the rate. A leaky ReLU keeps a slope and cannot die.",
    source="Maas et al. 2013; He et al. 2015; Lu et al. 2020, Dying ReLU and initialization")
def dead_relus(biases=(0.0, -0.5, -1.0, -1.5, -2.0, -2.5, -3.0), points=20, rates=(0.01, 0.03, 0.1, 0.3, 1.0), units=64,
               samples=1000, epochs=2) -> Result:
    """biases: of the layer at rest; rates: SGD's in the training."""
    need_each("biases", biases, -6, 6)
    need_each("rates", rates, 1e-6, 10, 2)
    need(1 <= points <= 200 and units >= 4 and samples >= 50 and epochs >= 1,
         "points: 1 to 200; units: 4 or more; samples: 50 or more; epochs: 1 or more")
    theory = [(0.5 * erfc(b / sqrt(2))) ** points for b in biases]
    rest = _at_rest(biases, points, 11)
    train = data.glyphs(samples, 10).train
    networks = [Hidden(train, ReLU, r, units) for r in rates]
    leaky = [Hidden(train, LeakyReLU, r, units) for r in rates]
    for n in [*networks, *leaky]:
        n.fit(epochs)
    dead = [len(n.silent()) / units for n in networks]
    alive = [len(n.silent()) / units for n in leaky]
    worst = max(range(len(rates)), key=lambda i: dead[i])
    gone = networks[worst].silent()
    before = [networks[worst].weights(u) for u in gone]
    networks[worst].fit(1)
    moved = sum(a != b for u, w in zip(gone, before, strict=True) for a, b in zip(networks[worst].weights(u), w, strict=True))
    findings = [
        at_most("at rest: largest distance of the dead share from Phi(-b)^N", max(map(_distance, rest, theory)), 0.05),
        at_most(f"trained at rate {rates[0]:g}: share of dead units", dead[0], 0.05),
        at_least(f"trained at rate {rates[worst]:g}: share of dead units", dead[worst], 0.2),
        exactly(f"weights of the {len(gone)} dead units that an epoch more has changed, of {len(gone) * 785:,}", moved, 0),
        exactly("leaky ReLUs: largest share of dead units at any rate", max(alive), 0.0),
    ]
    return Result(findings, [
        Picture("Dead at rest", "bias b, in deviations of the potential", f"share that is 0 on {points} points", [
            Curve("measured", biases, rest), Curve("Phi(-b)^N", biases, theory, "theory")],
            "Three deviations below 0 and hardly any unit answers to anything."),
        Picture("Dead after training", "rate", f"share that is 0 on {samples} glyphs", [
            Curve("ReLU", rates, dead), Curve("leaky ReLU", rates, alive),
            Curve("no unit", [min(rates), max(rates)], [0.0, 0.0], "bound")],
            "One step too large is enough: what it has silenced stays silent.", log_x=True)])


def _distance(a: float, b: float) -> float:
    return abs(a - b)
