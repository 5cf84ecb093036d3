"""Dense layers, activations, dropout. A layer stores hyper-parameters only; called on a `Connection` of the functional form,
or listed in a `Sequential`, it takes part in a network; `build` turns it into graph nodes for one batch size.
"""

from __future__ import annotations

from collections.abc import Callable

from nncore.errors import UsageError
from nncore.graph import ops
from nncore.graph.node import Node
from nncore.nn.base import Builder, Layer
from nncore.nn.init import Zeros, initialiser


class Dense(Layer):
    """y = x W + b. Fully connected; an image is flattened first.

    Shapes: x (N, I), W (I, O) with O = units, b (O), y (N, O). Goodfellow, Bengio, Courville 2016, section 6.
    init: name or object of nncore.nn.init; glorot_uniform by default; biases start at 0. Raises UsageError if units < 1.
    """

    def __init__(self, units: int, bias: bool = True, init: str = "glorot_uniform"):
        if isinstance(units, bool) or not isinstance(units, int) or units < 1:
            raise UsageError(f"Dense: units must be a positive whole number, got {units!r}")
        self.units, self.bias, self.init = units, bias, init
        initialiser(init)

    def build(self, builder: Builder, *inputs: Node) -> Node:
        x = ops.flatten(inputs[0])
        fans = (x.shape[1], self.units)
        channels = ops.flattened_channels(inputs[0])
        w = builder.parameter("weight", fans, self.init, fans, layout=f"io:{channels}" if channels > 1 else "io")
        b = builder.parameter("bias", (self.units,), Zeros(), fans, kind="bias") if self.bias else None
        return ops.dense(x, w, b)


class Flatten(Layer):
    """(N, H, W, C) -> (N, H W C): a view."""

    def build(self, builder: Builder, *inputs: Node) -> Node:
        return ops.flatten(inputs[0])


def _activation(name: str, op: Callable, doc: str, check: Callable | None = None, **defaults: float) -> type[Layer]:
    """An activation layer: its hyper-parameters are the op's attributes, with these defaults."""

    def __init__(self, **given):  # noqa: N807
        if unknown := set(given) - set(defaults):
            raise UsageError(f"{name}: unknown argument {', '.join(sorted(unknown))}; it takes {', '.join(defaults) or 'none'}")
        self.__dict__.update({**defaults, **given})
        if check and not check(self):
            raise UsageError(f"{self!r}: {check.__doc__}")

    def build(self, builder, *inputs):
        return op(inputs[0], **self.config())

    return type(name, (Layer,), {"__init__": __init__, "build": build, "__doc__": doc, "__module__": __name__,
                                 "_defaults": defaults})


def _positive(self) -> bool:
    """its arguments must be positive"""
    return all(v > 0 for v in self.config().values())


ReLU = _activation("ReLU", ops.relu, "y = max(x, 0); derivative 0 at 0; NaN propagates. Goodfellow et al. 2016, 6.3.1.")
LeakyReLU = _activation("LeakyReLU", ops.leaky_relu, "y = x for x > 0, slope x below; slope 0.01 by default. Maas et al. 2013.",
                        _positive, slope=0.01)
ELU = _activation("ELU", lambda x, alpha: ops.elu(x, alpha=alpha),
                  "y = x above 0, alpha (exp(x) - 1) below. Clevert et al. 2016, eq. 15.", _positive, alpha=1.0)
SELU = _activation("SELU", lambda x: ops.elu(x, lam=1.0507009873554805, alpha=1.6732632423543772),
                   "y = lambda x above 0, lambda alpha (exp(x) - 1) below, lambda = 1.0507009873554805, "
                   "alpha = 1.6732632423543772. Klambauer et al. 2017, eq. 2; meant with LeCun-normal weights.")
Softplus = _activation("Softplus", ops.softplus, "y = log(1 + exp(x)), stable for both signs. Goodfellow et al. 2016, eq. 3.31.")
GELU = _activation("GELU", ops.gelu,
                   "y = x Phi(x) = x / 2 (1 + erf(x / sqrt 2)), the exact form, not the one with tanh. Below 0, where 1 + erf "
                   "cancels, Phi is computed by way of exp(-x^2 / 2), y within 3 ulp as long as Phi is a normal number "
                   "(torch adds, and gives 0 from -5.6 on). Hendrycks and Gimpel 2016.")
Sigmoid = _activation("Sigmoid", lambda x, steepness: ops.sigmoid(x, lam=steepness),
                      "y = 1 / (1 + exp(-steepness x)): the logistic sigmoid. Torch and Keras fix steepness = 1.", _positive,
                      steepness=1.0)
Tanh = _activation("Tanh", ops.tanh, "y = a tanh(b x). LeCun's choice is a = 1.7159, b = 2/3 (1998, section 4.4); "
                   "(1 - e^-x) / (1 + e^-x) is a = 1, b = 1/2.", _positive, a=1.0, b=1.0)
Step = _activation("Step", ops.step, "y = 1 for x >= 0, else 0. Its derivative is 0: it passes no gradient.")
SaturatedLinear = _activation("SaturatedLinear", ops.satlin, "y = 0, x, 1 on the three pieces x <= 0, 0 < x < 1, x >= 1.")
Softmax = _activation("Softmax", lambda x: ops.softmax(ops.flatten(x)),
                      "y_j = exp(x_j) / sum_k exp(x_k), the row maximum subtracted first. Train with CrossEntropy on the "
                      "potentials instead: it is fused and cannot meet log(0).")
LogSoftmax = _activation("LogSoftmax", lambda x: ops.log_softmax(ops.flatten(x)), "y_j = x_j - log sum_k exp(x_k), stable.")


class Dropout(Layer):
    """In training, each value is dropped with probability p and kept ones are scaled by 1/(1-p); nothing at prediction.

    A fresh mask for every sample; per="step" draws one set of neurons per step (the lectures'). Srivastava et al. 2014.
    Raises UsageError unless 0 <= p < 1.
    """

    def __init__(self, p: float = 0.5, per: str = "sample"):
        if not 0 <= p < 1:
            raise UsageError(f"Dropout: p is the probability of dropping, 0 <= p < 1, got {p!r}")
        if per not in ("sample", "step"):
            raise UsageError(f'Dropout: per is "sample" or "step", got {per!r}')
        self.p, self.per = p, per

    def build(self, builder: Builder, *inputs: Node) -> Node:
        if not builder.training or self.p == 0:
            return inputs[0]
        return ops.dropout(inputs[0], p=self.p, layer=builder.number, per_step=int(self.per == "step"))
