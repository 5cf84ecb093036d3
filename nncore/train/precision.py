"""Emulated formats in a training: a pass over the step's graph that rounds what it is told to.

    model.fit(data, precision="weights=bf16:sr,activations=fp16,gradients=fp16")
    Precision.parse("weights=bf16,master=fp32")          bf16 copies of weights that are updated in float32

    weights       parameters: where they begin and after every update
    master        fp32: the parameters themselves stay float32, and `weights` rounds the copies that a step computes with
    activations   what every layer puts out
    gradients     of the parameters, before clipping and the optimizer
    state         of the optimizer (momentum, second moments), after every update
    accumulate    the running sums of dense products and convolutions, forward and backward, of reductions, of the mean of the
                  losses and of batch and layer statistics: every operation is rounded
    sum           how they are added: naive (one chain), pairwise, kahan, neumaier, blocked, lanes, dot2 or exact
    loss_scale    the loss times a number before its gradients are made: 1024, or dynamic (nncore/train/loss_scale.py)

Rounding is an instruction of the tape (csrc/ops/round.c): each has random numbers of its own, fixed by the seed, so a run
repeats and resumes to the bit. Evaluation and prediction use the parameters as they are, in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

from nncore._ffi import lib
from nncore.errors import UsageError
from nncore.graph import ops
from nncore.graph.formats import SUMS, Arithmetic, Format
from nncore.graph.node import Node, Parameter
from nncore.graph.tape import compile_tape
from nncore.train.loss_scale import LossScale

_NUMBERS = {"weights": 1, "master": 1, "activations": 2, "gradients": 3, "state": 4}
_READ = {"sum": str, "loss_scale": LossScale.parse}  # all others are formats
_PLACES = 1 << 16  # random numbers of one part: places 0, 1, 2, ... of its own


@dataclass(frozen=True)
class Precision:
    """The arithmetic of each part; None leaves it in float32. Raises UsageError for formats that floats cannot hold."""

    weights: Arithmetic | None = None
    master: Arithmetic | None = None
    activations: Arithmetic | None = None
    gradients: Arithmetic | None = None
    state: Arithmetic | None = None
    accumulate: Arithmetic | None = None
    sum: str = "naive"
    loss_scale: LossScale | None = None

    def __post_init__(self):
        single = Format.named("fp32")
        if self.sum not in SUMS:
            raise UsageError(f"precision: no sum {self.sum!r}; there are {', '.join(SUMS)}")
        for part in fields(self):
            a = getattr(self, part.name)
            a = a.format if isinstance(a, Arithmetic) else None
            if a and (a.precision > 24 or a.largest > single.largest or a.smallest < single.smallest):
                raise UsageError(f"precision: {part.name}={a}: values of a tape are float32 and cannot hold it")
        if self.master and (self.master != Arithmetic(single) or not self.weights):
            raise UsageError("precision: master=fp32 beside weights=FORMAT, or no master at all")

    @classmethod
    def parse(cls, text: str) -> Precision:
        """PART=FORMAT[:ROUNDING] joined by commas. Raises UsageError."""
        known, found = [part.name for part in fields(cls)], {}
        for item in filter(None, (part.strip() for part in text.split(","))):
            key, equals, value = item.partition("=")
            if not equals or key not in known or key in found:
                raise UsageError(f"precision: {item!r} is not PART=FORMAT, once for each of {', '.join(known)}")
            found[key] = _READ.get(key, Arithmetic.parse)(value)
        return cls(**found)

    def __bool__(self) -> bool:
        return self != Precision()

    @property
    def accumulator(self) -> Callable[[int], int] | None:
        """The codes of the arithmetic of a tape's sums, by their number on it; None for float32's own."""
        if not self.accumulate and self.sum == "naive":
            return None
        a = (self.accumulate or Arithmetic(Format.named("fp32"))).cdata()
        return lambda number: lib.nn_accumulator(a, SUMS[self.sum], number)

    def rounded(self, part: str, x: Node, place: int) -> Node:
        """x, rounded as the part asks; `place` tells the random numbers of several such values apart."""
        to = getattr(self, part)
        return ops.round_to(x, to=to, id=_NUMBERS[part] * _PLACES + place) if to else x

    def working(self, w: Parameter, place: int) -> Node:
        """What a step computes with: the parameter, or the rounded copy of its master."""
        return self.rounded("weights", w, place) if self.master else w

    def behind(self, updated: list[Parameter], states: list) -> list[Node]:
        """The effects that round what the updates have changed."""
        done = []
        if self.weights and not self.master:
            done += [ops.round_in_place(w, to=self.weights, id=_NUMBERS["weights"] * _PLACES + i) for i, w in enumerate(updated)]
        if self.state:
            done += [ops.round_in_place(s, to=self.state, id=_NUMBERS["state"] * _PLACES + i) for i, s in enumerate(states)]
        return done

    def begin(self, model, executor) -> None:
        """Round the parameters that a training starts from, and set the scale of its loss."""
        if self.loss_scale:
            self.loss_scale.begin(model)
        if self.weights and not self.master:
            nearest = Arithmetic(self.weights.format)
            effects = [ops.round_in_place(w, to=nearest) for w in model.trainable]
            executor.run([(compile_tape(f"{model.name}/round", 1, effects, {}, model.layout), 1)], model.memory, {})


def precision(given: Precision | str | None) -> Precision:
    """A Precision from what `precision=` was given. Raises UsageError."""
    if isinstance(given, Precision):
        return given
    if given is None or isinstance(given, str):
        return Precision.parse(given or "")
    raise UsageError(f"precision takes a Precision or its text, got {given!r}")
