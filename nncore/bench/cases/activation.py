"""Cases of csrc/ops/activation.c. Derivatives take any y: their formulas are polynomials, whatever made y.

Each bound adds up the roundings of the formula as the kernel computes it: u |y| for each operation and for the rounding
of a scalar, ELEMENTARY u |y| for an elementary function, and an argument's error times the derivative there.
"""

from __future__ import annotations

import math

from nncore.bench.cases import ELEMENTARY as E
from nncore.bench.cases import EXACT, SPILL, Bound, Case, counts, pointwise, rounding, ulps

IN_PLACE = ((0, 1),)
BENCH = ((32_768,),)  # 128 x 256, the hidden layer of the standard network
SELU = (1.0507009873554805, 1.6732632423543772)
LECUN = (1.7159, 2 / 3)


def zipped(f):
    """A bound of one output from f(y, *inputs)."""

    def of(call, exact):
        inputs = [a.values for a in call.args[1:]]
        return [[f(call.scalars, y, *v) for y, *v in zip(exact[0], *inputs, strict=True)]]

    return of


def _sigmoid(s, y, x):
    """The function; and u |lambda x| twice (the product, lambda itself) times y (1 - y)."""
    return E * y + 2.02 * abs(s[0] * x) * y * (1 - y) if math.isfinite(x) else 0


def _sigmoid_bwd(s, dx, dy, y):
    """1 - y, y (1 - y), lambda, the products with lambda and dy; y (1 - y) may underflow before dy multiplies it."""
    return 5.05 * abs(dx) + 2 * SPILL * abs(s[0] * dy)


def _tanh(s, y, x):
    """The function, a and its product; the argument b x, rounded twice, times a (1 - tanh^2)."""
    a, b = s
    slope = (a - y) * (a + y) / a
    return (E + 2.02) * abs(y) + 2.02 * abs(b * x * slope) if math.isfinite(x) else 1.01 * abs(a)


def _tanh_bwd(s, dx, dy, y):
    """The rounding of a moves both factors; then a - y, a + y, their product, b / a, two more products."""
    a, b = s
    moved = rounding(a) * (abs(a - y) + abs(a + y))
    return abs(dy * b / a) * (moved + 2 * SPILL) + 6.06 * abs(dx)


def _elu(s, y, x):
    """lambda x: two roundings; below 0 the function, lambda alpha (rounded once from double) and the product."""
    return 2.02 * abs(y) if x > 0 else (E + 2.02) * abs(y)


def _elu_bwd(s, dx, dy, y):
    """lambda alpha's rounding, the sum's, the product's; for y > 0 lambda's and the product's."""
    depth = 0 if y > 0 else rounding(s[0] * s[1])
    return abs(dy) * depth + 2.02 * abs(dx)


def _softplus_bwd(s, dx, dy, x):
    """The function and the product; a sigmoid may underflow before dy multiplies it."""
    return (E + 1.01) * abs(dx) + 2 * SPILL * abs(dy)


def _gelu(s, y, x):
    """The function and the product; Phi may underflow before x multiplies it."""
    return (E + 1.01) * abs(y) + (2 * SPILL * abs(x) if -40 < x < 0 else 0)


def _gelu_bwd(s, dx, dy, x):
    """Phi; exp, the correction by its argument's rounding, 1 / sqrt(2 pi), its product; their sum, which may cancel, and the
    product with dy. Each may underflow before."""
    size, density = max(-40.0, min(40.0, x)), math.exp(-x * x / 2) / math.sqrt(2 * math.pi) if abs(x) < 40 else 0.0
    made = (E + 1.01) * math.erfc(-size / math.sqrt(2)) / 2 + (E + 4.04) * abs(size * density)
    return abs(dy) * (made + 4 * SPILL * (1 + abs(size))) + 1.01 * abs(dx)


def _case(op, inputs, bound, scalars=(), variant="", flop=1):
    return Case(op, pointwise(inputs, scalars), counts(), bound, alias=IN_PLACE, variant=variant, bench=BENCH,
                flop=lambda n: flop * n)  # fmt: skip


SIGMOID = Bound("function within 2 ulp, argument u |lambda x| twice", zipped(_sigmoid))
SIGMOID_BWD = Bound("five roundings", zipped(_sigmoid_bwd))
TANH = Bound("function within 2 ulp, two roundings, argument u |b x| twice", zipped(_tanh))
TANH_BWD = Bound("six roundings, and a's own in both factors", zipped(_tanh_bwd))
ELU = Bound("function within 2 ulp, two roundings", zipped(_elu))
ELU_BWD = Bound("two roundings, and that of lambda alpha", zipped(_elu_bwd))

CASES = [
    _case("step_fwd", 1, EXACT),
    _case("satlin_fwd", 1, EXACT, flop=2),
    _case("satlin_bwd", 2, EXACT),
    _case("sigmoid_fwd", 1, SIGMOID, (1.0,), flop=20),
    _case("sigmoid_fwd", 1, SIGMOID, (1.7,), "lambda", flop=20),
    _case("sigmoid_bwd", 2, SIGMOID_BWD, (1.0,), flop=4),
    _case("sigmoid_bwd", 2, SIGMOID_BWD, (1.7,), "lambda", flop=4),
    _case("tanh_fwd", 1, TANH, (1.0, 1.0), flop=22),
    _case("tanh_fwd", 1, TANH, LECUN, "lecun", flop=22),
    _case("tanh_bwd", 2, TANH_BWD, (1.0, 1.0), flop=5),
    _case("tanh_bwd", 2, TANH_BWD, LECUN, "lecun", flop=5),
    _case("relu_fwd", 1, EXACT),
    _case("relu_bwd", 2, EXACT),
    _case("leaky_relu_fwd", 1, ulps(1, "the slope's rounding and the product's"), (0.01,)),
    _case("leaky_relu_bwd", 2, ulps(1, "the slope's rounding and the product's"), (0.01,)),
    _case("elu_fwd", 1, ELU, (1.0, 1.0), flop=20),
    _case("elu_fwd", 1, ELU, SELU, "selu", flop=20),
    _case("elu_bwd", 2, ELU_BWD, (1.0, 1.0), flop=2),
    _case("elu_bwd", 2, ELU_BWD, SELU, "selu", flop=2),
    _case("softplus_fwd", 1, ulps(2, "function within 2 ulp"), flop=35),
    _case("softplus_bwd", 2, Bound("function within 2 ulp, one rounding", zipped(_softplus_bwd)), flop=20),
    _case("gelu_fwd", 1, Bound("function within 2 ulp, one rounding", zipped(_gelu)), flop=80),
    _case("gelu_bwd", 2, Bound("two functions within 2 ulp, five roundings", zipped(_gelu_bwd)), flop=110),
]
