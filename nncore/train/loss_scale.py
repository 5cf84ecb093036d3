"""A scale of the loss, so that small gradients do not vanish in a narrow format: `precision="gradients=fp16,loss_scale=dynamic"`.

The gradients of s L are s times those of L: they lie higher in the format's range, and 1 / s takes them back in float32 behind
the rounding of `gradients`, before clipping, penalties of the optimizer and the update. Where one of them is NaN or infinite the
step leaves parameters, optimizer, running averages of weights and its own count as they were: the tape ends there
(csrc/ops/loss_scale.c). Scale and counts are states of the model: they stand in checkpoints, and steps repeat to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import frexp, isfinite

from nncore.errors import UsageError
from nncore.graph import ops
from nncore.graph.node import Leaf, Node

FIRST, INTERVAL = 15, 2000
LIMIT = 2.0**120  # csrc/ops/loss_scale.c


@dataclass(frozen=True)
class LossScale:
    """s = first. interval N > 0: halved at each step that is left out, doubled after N good ones in a row; 0: it stays.

    Micikevicius et al. 2018, arXiv 1710.03740, section 3.2; torch's GradScaler begins at 2^16 and has N = 2000. Raises UsageError
    unless first is a positive number up to 2^120 - with an interval a power of two - and interval a whole number.
    """

    first: float = 2.0**FIRST
    interval: int = INTERVAL

    def __post_init__(self):
        if isinstance(self.interval, bool) or not isinstance(self.interval, int) or self.interval < 0:
            raise UsageError(f"loss_scale: the steps between two growths are a whole number, got {self.interval!r}")
        if not (isfinite(self.first) and 1 / LIMIT <= self.first <= LIMIT) or (self.interval and frexp(self.first)[0] != 0.5):
            raise UsageError(f"loss_scale: {self.first!r} is no {'power of two' if self.interval else 'positive number'} "
                             "between 2^-120 and 2^120")

    @classmethod
    def parse(cls, text: str) -> LossScale:
        """From "dynamic", "dynamic:K" (it begins at 2^K), "dynamic:K:N", or a number, which stays. Raises UsageError."""
        word, *rest = text.split(":")
        try:
            if word != "dynamic":
                return cls(float(text), 0)
            numbers = [int(v) for v in rest]
            if len(numbers) > 2 or numbers[1:] == [0]:
                raise ValueError
            return cls(*([2.0 ** max(min(numbers[0], 999), -999)] if numbers else []), *numbers[1:])
        except ValueError:
            raise UsageError(f"loss_scale={text}: it is a number, or dynamic[:K[:N]]: 2^K at first ({FIRST}), doubled after N "
                             f"good steps ({INTERVAL})") from None

    def node(self, model) -> Node:
        """The scale: what gradients are made times."""
        return model.state("scaler.scale", (1,))

    def undone(self, model, gradients: dict[Leaf, Node]) -> dict[Leaf, Node]:
        """The gradients over the scale."""
        inverse = ops.quotient(ops.filled((1,), 1.0), self.node(model))
        found = {w: ops.scale_by(g, inverse) for w, g in gradients.items()}
        for w, g in found.items():
            g.gradient_of = w
        return found

    def effect(self, model, gradients: dict[Leaf, Node]) -> Node:
        """What looks at the gradients, moves the scale and may end the step."""
        finite = None
        for g in gradients.values():
            finite = ops.all_finite(g, finite)
        return ops.loss_scale(self.node(model), model.state("scaler.counts", (3,), "i64"), finite, interval=self.interval)

    def begin(self, model) -> None:
        """The state of a training without a past."""
        counts = model.memory.tensor(model.state("scaler.counts", (3,), "i64"))
        counts.memory[:] = bytes(counts.nbytes)
        model.memory.tensor(self.node(model)).flat()[0] = self.first

    def record(self, model) -> dict:
        """For an epoch's line of the history: the scale, and the steps left out so far."""
        scale, counts = model.memory.tensor(self.node(model)), model.memory.tensor(model.state("scaler.counts", (3,), "i64"))
        return {"loss_scale": scale.flat()[0], "skipped_steps": counts.flat()[1]}
