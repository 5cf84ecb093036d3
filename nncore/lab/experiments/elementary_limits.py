"""E4a: where exp overflows and where sigmoid and tanh are 1."""

from __future__ import annotations

import struct
from math import isfinite, log

from nncore.graph import ops
from nncore.lab.arithmetic import calculate
from nncore.lab.experiment import Curve, Picture, Result, exactly, experiment, within

LN2 = log(2)
LARGEST = (2 - 2.0**-23) * 2.0**127


def _logistic(x):
    """1 / (1 + exp(-x)), as one writes it down."""
    return ops.quotient(ops.fill(x, 1.0), ops.add(ops.fill(x, 1.0), ops.exponential(ops.scale(x, c=-1.0))))


def _cross_entropy(x):
    """-log(1 - sigmoid(x)): the loss of an output x whose target is 0."""
    return ops.scale(ops.logarithm(ops.sub(ops.fill(x, 1.0), _logistic(x))), c=-1.0)


def _gelu(x):
    """x / 2 (1 + erf(x / sqrt 2)), as one writes it down."""
    inside = ops.error_function(ops.scale(x, c=0.5**0.5))
    return ops.scale(ops.mul(x, ops.add(ops.fill(x, 1.0), inside)), c=0.5)


def _softmax(x):
    """exp(x_i) / sum exp(x_j), nothing taken off first."""
    e = ops.exponential(x)
    return ops.quotient(e, ops.scale_by(ops.fill(x, 1.0), ops.sum_all(e)))


@experiment(
    "elementary-limits", code="E4a", chapter="Functions", title="Where exp, sigmoid and tanh end",
    formula="exp overflows at ln(largest) = 88.7228, vanishes at -150 ln 2 = -103.972;  1 / (1 + exp(-x)) = 1 from 24 ln 2;  "
            "tanh x = 1 from 13 ln 2",
    theory="1 + exp(-x) is rounded to 1 as soon as exp(-x) <= u = 2^-24; from there on log(1 - sigmoid) is the logarithm of 0, "
           "and the gradient of a saturated unit is exactly 0. A softmax whose maximum is not taken off first divides infinity "
           "by infinity at x = 89. GELU as printed adds 1 and an erf near -1: 0 as soon as erfc(|x| / sqrt 2) is below u / 2. "
           "Written as softplus, max(x, 0) + log(1 + exp(-|x|)), the same loss is finite for every x.",
    source="IEEE 754-2019; Goodfellow, Bengio and Courville 2016, sections 4.1 and 6.2.2")
def elementary_limits() -> Result:
    """Ends of the functions found by bisection over the floats, on our kernels."""
    last = _last(ops.exponential, isfinite, 80.0, 100.0)
    vanish = -_last(lambda x: ops.exponential(ops.scale(x, c=-1.0)), lambda y: y > 0, 90.0, 120.0)
    saturates = _after(_last(_logistic, lambda y: y < 1, 8.0, 40.0))
    flat = _after(_last(lambda x: ops.tanh(x, a=1.0, b=1.0), lambda y: y < 1, 4.0, 20.0))
    blind = _after(_last(_cross_entropy, isfinite, 8.0, 40.0))
    digits = _last(lambda x: _gelu(ops.scale(x, c=-1.0)), lambda y: y < 0, 4.0, 8.0)
    (tail,) = calculate(ops.gelu, [-10.0])
    y, dy = calculate(lambda x: [ops.tanh(x, a=1.0, b=1.0), ops.tanh_bwd(ops.fill(x, 1.0), ops.tanh(x, a=1.0, b=1.0))], [flat])
    naive = calculate(_softmax, [89.0, 0.0])
    ours = calculate(ops.softplus, [88.0, 1e4, LARGEST])
    findings = [
        within("exp: the largest x with a finite result", last, 88.72283 - 5e-5, 88.72283 + 5e-5),
        within("exp: the smallest x with a result above 0", vanish, -103.9721 - 5e-4, -103.9721 + 5e-4),
        within("1 / (1 + exp(-x)): the first x that gives 1", saturates, 24 * LN2 - 1e-5, 24 * LN2 + 1e-5),
        within("tanh: the first x that gives 1", flat, 13 * LN2 - 1e-5, 13 * LN2 + 1e-5),
        exactly("tanh: its gradient there", dy[0], 0.0), exactly("tanh: its value there", y[0], 1.0),
        exactly("softmax(89, 0), nothing taken off: first output", naive[0], float("nan")),
        within("-log(1 - sigmoid(x)): the first x that gives infinity", blind, 16.635, 16.645),
        within("x / 2 (1 + erf(x / sqrt 2)): the largest |x| with a result other than 0", digits, 5.3, 5.6),
        within("GELU, our kernel: relative error at -10", abs(tail / -7.619853024160527e-23 - 1), 0, 3 * 2.0**-24),
        exactly("softplus: finite results at 88, 10^4 and the largest float", sum(map(isfinite, ours)), 3)]
    x = [k / 4 for k in range(4 * 8, 4 * 30)]
    gap, loss = calculate(lambda v: [ops.sub(ops.fill(v, 1.0), _logistic(v)), _cross_entropy(v)], x)
    visible = [(a, b) for a, b in zip(x, gap, strict=True) if b > 0]
    finite = [(a, b) for a, b in zip(x, loss, strict=True) if isfinite(b)]
    return Result(findings, [
        Picture("1 - sigmoid(x) in float32", "x", "1 - sigmoid(x)",
                [Curve("measured, as far as it is not 0", *zip(*visible, strict=True)),
                 Curve("exp(-x)", x, list(calculate(lambda v: ops.exponential(ops.scale(v, c=-1.0)), x)), "theory"),
                 Curve("u", [x[0], x[-1]], [2.0**-24] * 2, "bound")],
                "Steps of 2^-24 grow visible, and below the last one there is nothing.", log_y=True),
        Picture("A cross-entropy of target 0", "output x", "loss",
                [Curve("-log(1 - sigmoid(x)), while finite", *zip(*finite, strict=True)),
                 Curve("softplus, our kernel", x, list(calculate(ops.softplus, x))), Curve("x", x, x, "theory")],
                "Written by hand the loss is infinite from 24 ln 2 = 16.6 on; as softplus it follows x.")])


def _float(bits: int) -> float:
    return struct.unpack("f", struct.pack("I", bits))[0]


def _bits(x: float) -> int:
    return struct.unpack("I", struct.pack("f", x))[0]


def _after(x: float) -> float:
    return _float(_bits(x) + 1)


def _last(function, holds, low: float, high: float) -> float:
    """The largest positive float for which `holds` of the function's value, between one for which it does and one not."""
    a, b = _bits(low), _bits(high)
    while b - a > 1:
        grid = sorted({a + (b - a) * k // 256 for k in range(257)})
        good = [holds(y) for y in calculate(function, [_float(g) for g in grid])]
        first = good.index(False)
        a, b = grid[first - 1], grid[first]
    return _float(a)
