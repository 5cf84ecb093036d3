"""XOR: what a network without enough neurons gets stuck at."""

from __future__ import annotations

from nncore import MSE, Dense, Momentum, Sequential, Sigmoid, SquaredError
from nncore.lab.experiment import Curve, Picture, Result, Table, at_least, at_most, experiment, within
from nncore.lab.training import Gradients, descend, matrix, need, need_each

X, Y = [[0, 0], [0, 1], [1, 0], [1, 1]], [[0], [1], [1], [0]]
EVERY = 20  # epochs between two looks
SOLVED = 0.02  # a mean squared error: every answer within 0.3
LEVELS = {"two patterns wrong (1/8)": 1 / 8, "three answered alike (1/6)": 1 / 6, "all answered 1/2 (1/4)": 1 / 4}


def _network(hidden: int, seed: int) -> Sequential:
    layers = [Dense(hidden), Sigmoid()] if hidden else []
    return Sequential([*layers, Dense(1), *([Sigmoid()] if hidden else [])], seed=seed, standardise="none")


def _losses(hidden: int, seed: int, epochs: int, rate: float) -> list[float]:
    """The mean squared error over the training, every 20 epochs: the four patterns as many times over are one call into C."""
    model = _network(hidden, seed).build((2,))
    measure = Gradients(model, (matrix(X), matrix(Y)), MSE())
    seen, _ = descend(model, (matrix(X * EVERY), matrix(Y * EVERY)), epochs // EVERY, Momentum(rate, 0.9), SquaredError(),
                      lambda _: sum((y - t) ** 2 for y, (t,) in zip(measure()["output"], Y, strict=True)) / 4, batch=4)
    return seen


@experiment(
    "xor", chapter="Error surfaces", title="XOR, and where descent gets stuck",
    formula="E = 1/4 sum_i (y_i - t_i)^2 over (0,0) -> 0, (0,1) -> 1, (1,0) -> 1, (1,1) -> 0",
    theory="No line separates XOR: a linear neuron's best answer is 1/2 everywhere, E = 1/4, reached exactly. A 2-2-1 network of "
           "sigmoids can do it, and yet descent may end on a plateau where it answers 0, 1, 1/2, 1/2 (E = 1/8) or 0 and three "
           "times 2/3 (E = 1/6): along directions that go to infinity the error hardly falls. More hidden neurons open ways "
           "around: with eight, hardly any start is lost.",
    source="Rumelhart, Hinton, Williams 1986; Blum 1989; Hamey 1998")
def xor(hidden=(2, 3, 8), seeds=30, epochs=1500, rate=0.5) -> Result:
    """hidden: neurons in the hidden layer; the first is the one that may fail, the last the one that may not."""
    need_each("hidden", hidden, 1, 64, 2)
    need(1 <= seeds <= 1000 and epochs >= 100 and 0 < rate <= 5,
         "seeds: 1 to 1000; epochs: 100 or more; rate: above 0, at most 5")
    runs = {h: [_losses(int(h), seed, epochs, rate) for seed in range(seeds)] for h in hidden}
    solved = {h: sum(r[-1] < SOLVED for r in found) / seeds for h, found in runs.items()}
    linear = _losses(0, 0, 400, 0.1)
    few, many = hidden[0], hidden[-1]
    ends = [r[-1] for r in runs[few] if r[-1] >= SOLVED]
    near = [min(LEVELS, key=lambda k, e=e: abs(LEVELS[k] - e)) for e in ends]
    findings = [
        within("linear neuron: error at the end", linear[-1], 0.25 - 1e-6, 0.25 + 1e-6),
        within(f"{few} hidden neurons: share of starts that solve it", solved[few], 0.3, 0.95),
        at_least(f"{many} hidden neurons: share of starts that solve it", solved[many], 0.95),
        at_most("stuck runs: largest distance of the error from 1/8, 1/6 or 1/4",
                max((abs(e - LEVELS[k]) for e, k in zip(ends, near, strict=True)), default=0.0), 0.02),
    ]
    good = next((r for r in runs[few] if r[-1] < SOLVED), runs[few][0])
    bad = next((r for r in runs[few] if r[-1] >= SOLVED), runs[few][-1])
    steps = [EVERY * i for i in range(len(good))]
    ends_of = [[f"{h} hidden", f"{solved[h]:.0%}"] for h in hidden]
    return Result(findings, [Picture("Two starts of one network", "epoch", "mean squared error", [
        Curve(f"{few} hidden, a start that solves it", steps, good), Curve(f"{few} hidden, a start that does not", steps, bad),
        *(Curve(f"{name} = {level:.3f}", [0, epochs], [level] * 2, "bound") for name, level in (("1/4", 1 / 4), ("1/8", 1 / 8)))],
        "Both look stuck at 1/4 for a while, which is a plateau; one of them stays on the next one.")],
        [Table(f"Starts that solve it, of {seeds}", ["network", "share"], ends_of),
         Table("Where the others end", ["error near", "runs"], [[k, near.count(k)] for k in LEVELS])])
