"""Losses: scalar graph nodes from predictions and targets, and what turns a network's outputs into classes.

`reduction` over the batch is "mean" (default, as torch and Keras) or "sum" (the lectures' for MLPs: the learning rate then
means something else by the factor of the batch size).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import signature

from nncore.errors import ShapeError, UsageError
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

    def __call__(self, z: Node, t: Node, mix: Callable[[Node], Node] | None = None) -> Node:
        """The loss as a scalar node. t: labels (N,) i32 or targets of z's shape; labels become one-hot rows as needed.
        mix: what mixup or cutmix does to the rows of targets. Raises UsageError where a loss of labels cannot be mixed."""
        z = ops.flatten(z)
        if self.by_label and mix:
            raise UsageError(f"{type(self).__name__} takes one label a sample, mixup and cutmix give shares of two: choose "
                             "CrossEntropy, or another loss of targets")
        if not self.by_label and t.dtype == "i32":
            # One output for two classes: column 0 of the one-hot row, with the values exchanged: label 1 gives `high`.
            low, high = (self.low, self.high) if z.shape[1] > 1 else (self.high, self.low)
            t = ops.one_hot(t, classes=z.shape[1], low=low, high=high)
        return self.reduced(self.op, z, mix(t) if mix else t, **self.extra(z))

    def reduced(self, op: Op, z: Node, t: Node, factor_of_all: float = 1.0, **extra) -> Node:
        """factor_of_all times the mean or the sum over the batch of an op's losses."""
        scale = factor_of_all / z.shape[0] if self.reduction == "mean" else factor_of_all
        total = ops.sum_all(op(z, t, scale=scale, **extra), scale=scale)
        return ops.tree_sum(total) if total.shards > 1 else total

    def __repr__(self) -> str:
        """The call that makes this loss, without what it would have anyway."""
        usual = {k: p.default for k, p in signature(type(self).__init__).parameters.items()}
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in vars(self).items() if v != usual.get(k))})"


class CrossEntropy(Loss):
    """Softmax cross-entropy from logits, in nats: L_i = logsumexp(z_i) - z_i[t_i]; gradient softmax(z_i) - onehot(t_i).

    Shapes: z (N, C), labels (N,). Bishop 2006, eq. 4.108. The row maximum is subtracted first: finite logits never overflow.
    Targets (N, C) of floats d >= 0, as probabilities, give L_i = -sum_j d_ij log softmax(z_i)_j; so do all of these:

    smoothing    d = (1 - smoothing) onehot(t) + smoothing / C, the same of targets (Szegedy et al. 2016, section 7; as torch)
    weights      one per class: d_ij is multiplied by weights[j]. The mean is over the N samples; torch divides by the sum of
                 their weights instead, which makes a sample's gradient depend on its batch
    temperature  T^2 times the loss of z / T: gradients keep their size while soft targets of the same T tell more of the
                 other classes (Hinton, Vinyals, Dean 2015, section 2); see Distillation
    Mixed labels (Augment(mixup=...)) come in as such targets. Losses at validation have the same definition.
    Raises UsageError for values out of range, ShapeError for weights of another number than the classes.
    """

    op, by_label = ops.softmax_xent, True

    def __init__(self, reduction: str = "mean", smoothing: float = 0.0, weights: Sequence[float] | None = None,
                 temperature: float = 1.0):
        super().__init__(reduction)
        self.smoothing, self.temperature = _share("smoothing", smoothing), _temperature(temperature)
        self.weights = None if weights is None else _weights(weights)

    def __call__(self, z: Node, t: Node, mix: Callable[[Node], Node] | None = None, weights: Node | None = None) -> Node:
        """As Loss; weights: the node that holds self.weights."""
        z = ops.flatten(z)
        if t.dtype == "i32" and not (self.smoothing or self.weights or mix) and self.temperature == 1:
            return super().__call__(z, t)
        d = self._targets(t, z.shape[1])
        d = mix(d) if mix else d
        if self.weights:
            if len(self.weights) != z.shape[1]:
                raise ShapeError(f"CrossEntropy: {len(self.weights)} weights for {z.shape[1]} classes")
            d = ops.standardise(d, ops.filled(weights.shape, 0.0), weights)  # (d - 0) weights, column by column
        if self.temperature != 1:
            z = ops.scale(z, c=1 / self.temperature)
        return self.reduced(ops.softmax_xent_soft, z, d, self.temperature * self.temperature)

    def _targets(self, t: Node, classes: int) -> Node:
        """Rows of (1 - smoothing) d + smoothing / C."""
        low, keep = self.smoothing / classes, 1 - self.smoothing
        if t.dtype == "i32":
            return ops.one_hot(t, classes=classes, low=low, high=keep + low)
        t = ops.flatten(t)
        return ops.add_scaled(ops.filled(t.shape, low), t, c=keep) if self.smoothing else t


class Distillation(CrossEntropy):
    """A small network learns a large one's outputs: L_i = T^2 times the cross-entropy of softmax(z / T) with softmax(v / T).

        student.fit((images, teacher.logits(images)), loss=Distillation(temperature=4))

    Shapes: z (N, C), targets v (N, C): the teacher's logits. Hinton, Vinyals, Dean 2015, section 2: T^2 makes up for gradients
    that shrink as 1 / T^2. Their further term on true labels is left out: (x, y) has one y. On labels (a validation set) this
    is the plain cross-entropy. The least loss is the entropy of the teacher's softened outputs, not 0.
    """

    def __init__(self, temperature: float = 4.0, reduction: str = "mean"):
        super().__init__(reduction, temperature=temperature)

    def __call__(self, z: Node, t: Node, mix: Callable[[Node], Node] | None = None, weights: Node | None = None) -> Node:
        if t.dtype == "i32":
            return CrossEntropy(self.reduction)(z, t, mix)
        return super().__call__(z, ops.softmax(ops.scale(ops.flatten(t), c=1 / self.temperature)), mix)


def _number(name: str, value, good: Callable[[float], bool], what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not good(value):
        raise UsageError(f"CrossEntropy: {name} is {what}, got {value!r}")
    return float(value)


def _share(name: str, value) -> float:
    return _number(name, value, lambda v: 0 <= v < 1, "a share, 0 <= smoothing < 1")


def _temperature(value) -> float:
    return _number("temperature", value, lambda v: 2**-10 <= v <= 2**10, "between 1/1024 and 1024")


def _weights(values: Sequence[float]) -> tuple[float, ...]:
    found = tuple(_number("weights", v, lambda v: 0 <= v < float("inf"), "finite numbers >= 0, one per class") for v in values)
    if not any(found):
        raise UsageError("CrossEntropy: weights are all 0: nothing would be learned")
    return found


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
        self.factors = {name: float((weights or {}).get(name, 1.0)) for name in losses}

    def __call__(self, z: dict[str, Node], t: dict[str, Node], apply=lambda one, z, t, name: one(z, t)) -> Node:
        """`apply` may add to each head's loss what it needs besides predictions and targets."""
        if not isinstance(z, dict) or set(z) != set(self.losses):
            have = ", ".join(z) if isinstance(z, dict) else "one output"
            raise UsageError(f"MultiTask: losses for {', '.join(self.losses)}, but the network has {have}")
        terms = {name: apply(one, z[name], t[name], name) for name, one in self.losses.items()}
        return add_all([ops.scale(term, c=self.factors[name]) for name, term in terms.items()])


LOSSES = {c.__name__: c for c in (CrossEntropy, Distillation, SquaredError, MSE, AbsoluteError, Huber, BinaryCrossEntropy,
                                  LogisticLoss, Hinge, PerceptronCriterion, MultiHinge)}
