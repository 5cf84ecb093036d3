"""The math modes compared: the same training in f32, bf16, bf16x3, bf16x6 and in float64."""

from __future__ import annotations

import time
from array import array
from math import dist, sqrt
from statistics import median

from nncore import AvgPool2D, CrossEntropy, Dense, Executor, Momentum, Sequential, Tanh, data
from nncore.graph.plan import MATH_MODES
from nncore.graph.tape import Memory, Position
from nncore.lab.experiment import Curve, Picture, Result, Table, at_least, at_most, experiment, slope, within
from nncore.lab.training import need
from nncore.train.steps import externals

ROUNDOFFS = (2.0**-8, 2.0**-16, 2.0**-24)  # of a factor in bf16, in bf16x3, in bf16x6 and f32


class Run:
    """A training of one mode, a few steps at a time; `twin` runs the very tape in float64."""

    def __init__(self, train, mode: str, hidden: int, batch: int, rate: float, seed: int, twin: bool = False):
        self.model = Sequential([AvgPool2D(2), Dense(hidden), Tanh(), Dense(hidden), Tanh(), Dense(10)], seed=seed, math=mode)
        self.trainer = self.model.trainer(train, 1, batch, Momentum(rate, 0.9), CrossEntropy(), executor=Executor(threads=1))
        self.tape, self.memory, self.position, self.seconds = self.trainer.tape, self.model.memory, Position(), []
        if twin:
            self.tape = self.tape.twin()
            self.memory = Memory(self.tape.layout)
            self.memory.reserve(self.tape.nbytes)
            self.memory.copy_leaves(self.model.memory)
        self.bound, self.weights_of = externals(self.trainer.data), list(self.model.parameters.values())

    def go(self, steps: int) -> None:
        """So many steps, over the end of an epoch where it comes."""
        n, batch = len(self.trainer.data), self.trainer.settings.batch
        while steps:
            part = min(steps, (n - self.position.cursor) // batch)
            started = time.perf_counter()
            self.trainer.executor.run([(self.tape, part)], self.memory, self.bound, self.position,
                                      seed=self.trainer.settings.seed, n_samples=n, shuffle=True)
            self.seconds.append((time.perf_counter() - started) / part)
            steps -= part
            if self.position.cursor == n:
                self.position.cursor, self.position.epoch = 0, self.position.epoch + 1

    def weights(self) -> array:
        return array("d", [v for w in self.weights_of for v in self.memory.tensor(w).flat()])

    def answers(self, split) -> tuple[float, list[int]]:
        """Test accuracy and the classes of the test images, by the mode's own arithmetic; the twin's weights are rounded."""
        for w in self.weights_of:
            self.model.memory.tensor(w).flat()[:] = array("f", self.memory.tensor(w).flat())
        e = Executor(threads=1)
        return self.model.evaluate(split, executor=e).accuracy, self.model.predict(split, executor=e).tolist()


@experiment(
    "math-modes", chapter="Low precision", title="The math modes: one training in f32, bf16, bf16x3, bf16x6 and float64",
    formula="distance after k steps: |w_mode - w_64| / |w_64|, w_64 the weights of the same tape run in float64",
    theory="A mode says how products multiply: bf16 keeps 8 bits of each factor, bf16x3 16, bf16x6 all 24 and rounds its sums "
           "less often than f32; all else is float32. Each step adds an error of the size of the mode's roundoff, and training "
           "neither damps nor blows it up much at this size: independent errors grow as the root of the steps, the distances "
           "keep apart by the powers of 2 between the modes, and no mode classifies worse. (Units are tanh: a ReLU whose "
           "potential an error carries over 0 makes a jump.)",
    source="Henry, Tang, Heinecke 2019, arXiv 1904.06376; Micikevicius et al. 2018; Summers and Dinneen 2021")
def math_modes(hidden=32, samples=2000, tests=1000, batch=40, steps=250, rate=0.02, seed=0) -> Result:
    """rate: that of momentum 0.9. hidden: at least 32, for narrower products are computed in f32 in any mode."""
    need(32 <= hidden <= 512 and tests >= 100 and rate > 0, "hidden: 32 to 512; tests: 100 or more; rate: above 0")
    need(batch >= 1 and samples >= 2 * batch and samples % batch == 0, "samples: a multiple of the batch, twice as many or more")
    need(20 <= steps <= 100_000, "steps: 20 to 100000")
    glyphs = data.glyphs(samples, tests)
    runs = {mode: Run(glyphs.train, mode, hidden, batch, rate, seed) for mode in MATH_MODES}
    truth = Run(glyphs.train, "f32", hidden, batch, rate, seed, twin=True)
    marks = sorted({max(1, round(steps ** (i / 9))) for i in range(10)})
    distances: dict[str, list[float]] = {mode: [] for mode in runs}
    done = 0
    for mark in marks:  # modes take turns, so that what else the machine does meets all of them
        for run in [truth, *runs.values()]:
            run.go(mark - done)
        done, right = mark, truth.weights()
        size = sqrt(sum(v * v for v in right))
        for mode, run in runs.items():
            distances[mode].append(dist(run.weights(), right) / size)
    accuracy, answers = truth.answers(glyphs.test)
    cost = {mode: median(a / b for a, b in zip(run.seconds, runs["f32"].seconds, strict=True)) for mode, run in runs.items()}
    rows, apart = [], {}
    for mode, run in runs.items():
        own, found = run.answers(glyphs.test)
        apart[mode] = abs(own - accuracy)
        rows.append([mode, distances[mode][-1], own, sum(a != b for a, b in zip(found, answers, strict=True)), cost[mode]])
    rows.append(["float64", 0.0, accuracy, 0, median(a / b for a, b in zip(truth.seconds, runs["f32"].seconds, strict=True))])
    end = {mode: d[-1] for mode, d in distances.items()}
    findings = [
        within("bf16 over bf16x3: ratio of the distances at the end, 2^8 in theory", end["bf16"] / end["bf16x3"], 2**6, 2**10),
        at_least("bf16x3 over f32: ratio of the distances at the end", end["bf16x3"] / end["f32"], 2),
        at_most("bf16x6 over f32: ratio of the distances at the end", end["bf16x6"] / end["f32"], 1.5),
        within("f32: exponent p of distance ~ steps^p from the fifth step on, 1/2 for independent errors",
               slope(*zip(*[(m, d) for m, d in zip(marks, distances["f32"], strict=True) if m >= 5], strict=True)), 0.3, 0.7),
        at_most("f32: relative distance at the end, in units of 2^-24", end["f32"] * 2**24, 100),
        at_most("bf16: relative distance at the end, in units of 2^-8", end["bf16"] * 2**8, 10),
        at_most("largest difference of a mode's test accuracy from float64's", max(apart.values()), 0.02),
    ]
    return Result(findings, [Picture("Distance of the weights from float64's", "step", "relative distance", [
        *(Curve(mode, marks, d) for mode, d in distances.items()),
        *(Curve("2^-8, 2^-16 and 2^-24", [1, steps], [u, u], "bound") for u in ROUNDOFFS)],
        "Three bands, for bf16x6 lies on f32. Dashed: the roundoff of the factors in each.", True, True)],
        [Table("After the last step; time is relative to f32, as measured here and on this instruction set",
               ["mode", "distance", "test accuracy", f"of {tests} answers others", "time of a step"], rows)])
