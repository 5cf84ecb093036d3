"""Losses: scalar graph nodes from predictions and targets, and what turns a network's outputs into classes.

`reduction` over the batch is "mean" (default, as torch and Keras) or "sum" (the lectures' for MLPs: the learning rate then
means something else by the factor of the batch size).
"""

from __future__ import annotations

from nncore.errors import UsageError
from nncore.graph import ops
from nncore.graph.autodiff import add_all
from nncore.graph.node import Node, Op


class Loss:
    """Base of all losses. Class labels become rows of `low` and `high` unless the loss takes them as they are."""

    op: Op
    low, high = 0.0, 1.0
    by_label = False
    task = "classification"

    def __init__(self, reduction: str = "mean"):
        if reduction not in ("mean", "sum"):
            raise UsageError(f'{type(self).__name__}: reduction is "mean" or "sum", got {reduction!r}')
        self.reduction = reduction

    def extra(self, z: Node) -> dict:
        """Further attributes of the op."""
        return {}

    def __call__(self, z: Node, t: Node) -> Node:
        """The loss as a scalar node. t: labels (N,) i32 or targets of z's shape; labels become one-hot rows as needed."""
        z = ops.flatten(z)
        if not self.by_label and t.dtype == "i32":
            # One output for two classes: column 0 of the one-hot row, with the values exchanged: label 1 gives `high`.
            low, high = (self.low, self.high) if z.shape[1] > 1 else (self.high, self.low)
            t = ops.one_hot(t, classes=z.shape[1], low=low, high=high)
        scale = 1.0 / z.shape[0] if self.reduction == "mean" else 1.0
        total = ops.sum_all(self.op(z, t, scale=scale, **self.extra(z)), scale=scale)
        return ops.tree_sum(total) if total.shards > 1 else total

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in vars(self).items())})"


class CrossEntropy(Loss):
    """Softmax cross-entropy from logits, in nats: L_i = logsumexp(z_i) - z_i[t_i]; gradient softmax(z_i) - onehot(t_i).

    Shapes: z (N, C), labels (N,). Bishop 2006, eq. 4.108. The row maximum is subtracted first: finite logits never overflow.
    """

    op, by_label = ops.softmax_xent, True


class SquaredError(Loss):
    """L_i = 1/2 sum_j (y_ij - d_ij)^2, the lectures'. Labels become one-hot rows of 0 and 1."""

    op, task = ops.squared_error, "regression"

    def extra(self, z: Node) -> dict:
        return {"factor": 0.5}


class MSE(SquaredError):
    """Mean over outputs (and batch) of (y - d)^2, no 1/2: as torch and Keras."""

    def extra(self, z: Node) -> dict:
        return {"factor": 1.0 / z.shape[1]}


class AbsoluteError(Loss):
    """L_i = sum_j |y_ij - d_ij|; derivative 0 at 0. Torch's L1Loss means over the outputs instead."""

    op, task = ops.absolute_error, "regression"


class Huber(Loss):
    """L_i = sum_j e^2/2 for |e| <= delta, else delta (|e| - delta/2). Huber 1964. Torch means over the outputs instead."""

    op, task = ops.huber, "regression"

    def __init__(self, delta: float = 1.0, reduction: str = "mean"):
        super().__init__(reduction)
        if not delta > 0:
            raise UsageError(f"Huber: delta must be positive, got {delta!r}")
        self.delta = delta

    def extra(self, z: Node) -> dict:
        return {"delta": self.delta}


class BinaryCrossEntropy(Loss):
    """From logits: L_i = sum_j log(1 + exp(z_ij)) - d_ij z_ij, targets 0/1. Goodfellow et al. 2016, section 6.2.2.2."""

    op = ops.binary_xent


class LogisticLoss(Loss):
    """L_i = sum_j log(1 + exp(-d_ij z_ij)), targets -1/+1: the same loss as BinaryCrossEntropy under another coding."""

    op, low = ops.logistic_loss, -1.0


class Hinge(Loss):
    """L_i = sum_j max(0, 1 - d_ij z_ij), targets -1/+1; derivative 0 at the corner. Cortes and Vapnik 1995."""

    op, low = ops.hinge, -1.0


class PerceptronCriterion(Loss):
    """L_i = sum_j (step(z_ij) - d_ij) z_ij, targets 0/1: minus the potential of each neuron that is wrong. Its gradient
    step(z) - d makes gradient descent the perceptron rule (Rosenblatt 1958; Bishop 2006, eq. 4.54 to 4.55)."""

    op = ops.perceptron


class MultiHinge(Loss):
    """L_i = sum_{j != t} max(0, 1 + z_ij - z_it). Weston and Watkins 1999, eq. 5. Torch's MultiMarginLoss divides by C."""

    op, by_label = ops.multi_hinge, True


class MultiTask(Loss):
    """L = sum_h weight_h L_h over the heads of a network with several outputs. Caruana 1997.

    losses: a loss per head; weights: 1 where not given; all with the same reduction. Raises UsageError for a head without
    a loss or the other way round.
    """

    def __init__(self, losses: dict[str, Loss], weights: dict[str, float] | None = None):
        if len({one.reduction for one in losses.values()}) != 1:
            raise UsageError("MultiTask: all losses must have the same reduction, mean or sum")
        super().__init__(next(iter(losses.values())).reduction)
        if unknown := set(weights or {}) - set(losses):
            raise UsageError(f"MultiTask: a weight for {', '.join(sorted(unknown))}, but losses for {', '.join(losses)}")
        self.losses = losses
        self.weights = {name: float((weights or {}).get(name, 1.0)) for name in losses}

    def __call__(self, z: dict[str, Node], t: dict[str, Node]) -> Node:
        if not isinstance(z, dict) or set(z) != set(self.losses):
            have = ", ".join(z) if isinstance(z, dict) else "one output"
            raise UsageError(f"MultiTask: losses for {', '.join(self.losses)}, but the network has {have}")
        terms = [ops.scale(one(z[name], t[name]), c=self.weights[name]) for name, one in self.losses.items()]
        return add_all(terms)


LOSSES = {c.__name__: c for c in (CrossEntropy, SquaredError, MSE, AbsoluteError, Huber, BinaryCrossEntropy, LogisticLoss,
                                  Hinge, PerceptronCriterion, MultiHinge)}
