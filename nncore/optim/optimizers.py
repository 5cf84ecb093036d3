"""Optimizers: from a gradient to an update, as effect nodes. Formulas are pinned operation by operation in
csrc/ops/optimizer.c; every state element below 2^-126 in magnitude becomes +0.

Any hyper-parameter shown as a rate or momentum may be a schedule. `decay` is the lectures' weight decay: after the update
w <- (1 - zeta) w, zeta not multiplied by the rate; it takes weights only.
"""

from __future__ import annotations

from nncore.errors import UsageError
from nncore.graph import ops
from nncore.graph.node import Node, Parameter, State
from nncore.optim.schedules import _number, schedule


class Optimizer:
    """Base of all optimizers: counts steps, evaluates schedules, keeps the states of each parameter.

    `moments` names the states an update needs beside the parameter; `update` makes the effect node.
    """

    moments: tuple[str, ...] = ()

    def __init__(self, rate, decay: float = 0.0):
        self.rate = schedule(rate, type(self).__name__, "rate")
        self.decay = _number(type(self).__name__, "decay", decay)
        if self.decay >= 1:
            raise UsageError(f"{type(self).__name__}: decay must lie below 1, got {decay!r}")

    def schedules(self) -> dict:
        """Hyper-parameters that may change with the step."""
        return {"rate": self.rate}

    def update(self, w: Parameter, states: list[State], g: Node, values: dict[str, Node], count: State) -> Node:
        raise NotImplementedError

    def effects(self, gradients: dict[Parameter, Node], states: dict[str, State], total: int,
                held: dict[str, State] | None = None) -> list[Node]:
        """Update effects for all parameters, then the step count. `states` keeps leaves by name over several tapes; `held`
        are hyper-parameters that are read from a state of one float64 instead of their schedule."""

        def state(name: str, shape: tuple, dtype: str = "real") -> State:
            return states.setdefault(name, State(name, shape, dtype))

        count = state("optimizer.count", (1,), "i64")
        held = held or {}
        values = {name: held[name] if name in held else s.node(count, total) for name, s in self.schedules().items()}
        done = []
        for w, g in gradients.items():
            moments = [state(f"optimizer.{m}.{w.name}", w.shape) for m in self.moments]
            done.append(self.update(w, moments, g, values, count))
            if self.decay and w.kind == "weight":
                done.append(ops.decay(w, zeta=self.decay))
        return [*done, ops.increment(count)]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in vars(self).items())})"


class SGD(Optimizer):
    """w <- w - rate g. Batch, online and mini-batch descent differ by the batch size alone."""

    def update(self, w, states, g, values, count):
        return ops.sgd(w, g, values["rate"])


class Momentum(Optimizer):
    """delta <- momentum delta - rate g; w <- w + delta: the rate inside the velocity, as in the lectures. Torch keeps it
    outside, which is the same for a constant rate and different under schedules. Polyak 1964.
    """

    moments = ("velocity",)
    _op = ops.momentum

    def __init__(self, rate, momentum=0.9, decay: float = 0.0):
        super().__init__(rate, decay)
        self.momentum = schedule(momentum, type(self).__name__, "momentum")

    def schedules(self) -> dict:
        return {"rate": self.rate, "momentum": self.momentum}

    def update(self, w, states, g, values, count):
        return self._op(w, *states, g, values["rate"], values["momentum"])


class Nesterov(Momentum):
    """Momentum with the gradient at the looked-ahead point, in the usual equivalent form on shifted parameters: the stored w
    is the looked-ahead one (derivation in csrc/ops/optimizer.c). Sutskever et al. 2013, eq. 3-4.
    """

    _op = ops.nesterov


class AdaGrad(Optimizer):
    """r <- r + g^2; w <- w - rate g / sqrt(r + eps), eps under the root (the lectures'); eps_outside=True for torch's
    sqrt(r) + eps. Duchi et al. 2011.
    """

    moments = ("squares",)

    def __init__(self, rate, eps: float = 1e-8, eps_outside: bool = False, decay: float = 0.0):
        super().__init__(rate, decay)
        self.eps, self.eps_outside = _number(type(self).__name__, "eps", eps), eps_outside

    def update(self, w, states, g, values, count):
        return ops.adagrad(w, *states, g, values["rate"], eps=self.eps, outside=self.eps_outside)


class RMSProp(AdaGrad):
    """r <- rho r + (1 - rho) g^2; w <- w - rate g / sqrt(r + eps); eps as in AdaGrad. Tieleman and Hinton 2012."""

    def __init__(self, rate, rho: float = 0.9, eps: float = 1e-8, eps_outside: bool = False, decay: float = 0.0):
        super().__init__(rate, eps, eps_outside, decay)
        self.rho = _fraction("RMSProp", "rho", rho)

    def update(self, w, states, g, values, count):
        return ops.rmsprop(w, *states, g, values["rate"], rho=self.rho, eps=self.eps, outside=self.eps_outside)


class AdaDelta(Optimizer):
    """Zeiler 2012, algorithm 1, its step times rate (1 in the paper)."""

    moments = ("squares", "steps")

    def __init__(self, rate=1.0, rho: float = 0.95, eps: float = 1e-6, decay: float = 0.0):
        super().__init__(rate, decay)
        self.rho, self.eps = _fraction("AdaDelta", "rho", rho), _number("AdaDelta", "eps", eps)

    def update(self, w, states, g, values, count):
        return ops.adadelta(w, *states, g, values["rate"], rho=self.rho, eps=self.eps)


class Adam(Optimizer):
    """m <- b1 m + (1-b1) g; v <- b2 v + (1-b2) g^2; w <- w - rate mhat / (sqrt(vhat) + eps), hats the bias-corrected
    moments, eps outside the root. Kingma and Ba 2015, algorithm 1.
    """

    moments = ("m", "v")
    weight_decay = 0.0

    def __init__(self, rate=1e-3, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, decay: float = 0.0):
        super().__init__(rate, decay)
        self.beta1, self.beta2 = _fraction("Adam", "beta1", beta1), _fraction("Adam", "beta2", beta2)
        self.eps = _number("Adam", "eps", eps)

    def update(self, w, states, g, values, count):
        decay = self.weight_decay if w.kind == "weight" else 0.0
        return ops.adam(w, *states, g, values["rate"], count, beta1=self.beta1, beta2=self.beta2, eps=self.eps, decay=decay)


class AdamW(Adam):
    """Adam with decoupled weight decay: w <- w - rate weight_decay w beside Adam's step. Loshchilov and Hutter 2019,
    algorithm 2.
    """

    def __init__(self, rate=1e-3, weight_decay: float = 1e-2, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8):
        super().__init__(rate, beta1, beta2, eps)
        self.weight_decay = _number("AdamW", "weight_decay", weight_decay)


def _fraction(owner: str, name: str, value: float) -> float:
    if _number(owner, name, value) >= 1:
        raise UsageError(f"{owner}: {name} must lie in [0, 1), got {value!r}")
    return float(value)


OPTIMIZERS = {c.__name__.lower(): c for c in (SGD, Momentum, Nesterov, AdaGrad, RMSProp, AdaDelta, Adam, AdamW)}
