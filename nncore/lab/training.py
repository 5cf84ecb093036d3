"""What the experiments on training share: data, networks, steps one at a time, gradients, errors of parameters."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Sequence
from math import isfinite, sqrt

import nncore as nn
from nncore._ffi import ffi, lib
from nncore.data.download import Unavailable
from nncore.errors import NonFiniteError, UsageError
from nncore.graph.autodiff import gradients
from nncore.graph.tape import Executor, compile_tape
from nncore.nn.losses import Loss
from nncore.tensor import Tensor
from nncore.train.diagnosis import options
from nncore.train.samples import Samples, samples
from nncore.train.steps import externals, write_weights


def need(holds: bool, what: str) -> None:
    """Raises UsageError, saying `what` a parameter must be, unless it holds."""
    if not holds:
        raise UsageError(what)


def need_each(name: str, values: Sequence, low: float, high: float = float("inf"), least: int = 1) -> None:
    """Raises UsageError unless there are `least` different values or more, each a finite number in [low, high]."""
    fits = all(isinstance(v, (int, float)) and isfinite(v) and low <= v <= high for v in values)
    limits = f"at least {low:g}" if high == float("inf") else f"between {low:g} and {high:g}"
    need(fits and len(set(values)) >= least, f"{name}: {least} or more different numbers {limits}, got {tuple(values)}")


def matrix(rows: Sequence[Sequence[float]]) -> Tensor:
    """Rows of numbers as an f32 tensor (rows, columns)."""
    return Tensor((len(rows), len(rows[0])), "f32", array("f", [v for row in rows for v in row]))


def gaussian(rows: int, columns: int, seed: int) -> Tensor:
    """N(0, 1) numbers (rows, columns), float32, by Box and Muller's method from Python's generator."""
    dice = random.Random(seed)
    return matrix([[dice.gauss(0, 1) for _ in range(columns)] for _ in range(rows)])


def bowl(eigenvalues: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Samples on which a linear neuron without bias under SquaredError has J(w) = 1/2 sum_i eigenvalues[i] w_i^2.

    Sample i is sqrt(N eigenvalue_i) along axis i, its target 0: the mean of N losses then has that Hessian and no rounding floor.
    """
    n = len(eigenvalues)
    x = [[sqrt(n * v) if i == k else 0.0 for k in range(n)] for i, v in enumerate(eigenvalues)]
    return matrix(x), matrix([[0.0]] * n)


def descend(model, data, epochs: int, optimizer, loss: Loss, look: Callable, until: Callable | None = None,
            batch: int | None = None, clip=None) -> tuple[list, str | None]:
    """Train by the tape of `model.trainer`, an epoch a call and no thread beside this one: a step that is an epoch costs twenty
    microseconds so. The samples come in their order. batch: all of them unless said.

    Returns what `look(model)` gave before the first epoch and after each, and what broke the numbers, if anything did.
    `until` of a look ends the training.
    """
    found = samples(data)
    batch = batch or len(found)
    trainer = model.trainer(found, epochs, batch, optimizer, loss, clip=clip, executor=Executor(threads=1))
    memory, bound, given, seen = model.memory, externals(trainer.data), options(trainer), [look(model)]
    given["shuffle"] = False
    for epoch in range(epochs):
        trainer.position.epoch, trainer.position.cursor = epoch, 0
        try:
            trainer.executor.run([(trainer.tape, len(found) // batch)], memory, bound, **given)
        except NonFiniteError as e:
            return seen, str(e)
        seen.append(look(model))
        if until and until(seen[-1]):
            break
    return seen, None


class Gradients:
    """dJ/dw of every parameter by name, as flat float32 values, for `batch` of the samples at a time; the weights stay.

    outputs: also the values of the network's output, under the name "output".
    """

    def __init__(self, model, data, loss: Loss, batch: int | None = None):
        self.model, self.data = model, samples(data)
        self.batch = batch or len(self.data)
        if self.batch < len(self.data) and self.data.rows is None:
            self.data = self.data.select(range(len(self.data)))
        model.prepare(self.data)
        z, t, _ = model.graph(self.data, self.batch, training=True)
        found = gradients(loss(z, t), list(model.parameters.values()))
        wanted = {w.name: g for w, g in found.items()} | {"output": z}
        self.tape = compile_tape("lab/gradients", self.batch, [], wanted, model.layout)
        self.executor = Executor(threads=1)

    def __call__(self, rows: Sequence[int] | None = None) -> dict[str, Sequence[float]]:
        data: Samples = self.data if rows is None else self.data.select(rows)
        self.executor.run([(self.tape, 1)], self.model.memory, externals(data), n_samples=len(data))
        return {name: self.model.memory.output(self.tape, name).flat() for name in self.tape.outputs}


# ---- trainings a step at a time ----------------------------------------------------------------------------------------


def training_data(name: str, limit: int) -> tuple[Samples, list[str]]:
    """The first `limit` training samples of a data set by name; glyphs, and what is missing, where it is not on this machine."""
    try:
        found, missing = samples(nn.data.load(name).train), []
    except Unavailable:
        found = samples(nn.data.glyphs(limit, 10, seed=0).train)
        missing = [f"{name} is not on this machine: measured on generated glyphs instead"]
    return found.select(range(min(limit, len(found)))), missing


def perceptron(hidden: tuple[int, ...] = (32,), seed: int = 1, **extra):
    """A network of dense layers with ReLU between them and ten outputs, of bytes as [0, 1]."""
    layers = [layer for n in hidden for layer in (nn.Dense(n), nn.ReLU())]
    return nn.Sequential([*layers, nn.Dense(10)], seed=seed, standardise="unit", **extra)


def trainer_of(model, data: Samples, batch: int, optimizer, **extra):
    """A training on one thread, so that its time says something on a machine with other work to do too."""
    return model.trainer(data, **{"epochs": 1, "batch": batch, "optimizer": optimizer, "executor": Executor(threads=1), **extra})


def advance(trainer, steps: int) -> None:
    """Take steps of a training inside its present epoch, without what stands around them."""
    write_weights(trainer.settings.loss, trainer.model)
    trainer.executor.run([(trainer.tape, steps)], trainer.model.memory, externals(trainer.data), **options(trainer))


def distance(weights: bytes, other: bytes) -> float:
    """|w' - w| / |w| of two snapshots of parameters, summed in float64."""
    update = ffi.new("nn_update *")
    a, b = (ffi.from_buffer("float[]", w) for w in (weights, other))
    lib.nn_compare_update(update, a, b, a, len(weights) // 4)
    return (update.moved / update.kept) ** 0.5
