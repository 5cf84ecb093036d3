"""E12: what initialisation does to signals on their way through thirty layers."""

from __future__ import annotations

from array import array
from math import log2, sqrt

from nncore._ffi import ffi, lib
from nncore.errors import UsageError
from nncore.graph import ops
from nncore.graph.node import Input, Parameter
from nncore.graph.plan import Layout
from nncore.graph.tape import Executor, Memory, compile_tape
from nncore.lab.arithmetic import random_numbers
from nncore.lab.experiment import Curve, Picture, Result, at_most, exactly, experiment, within
from nncore.tensor import Tensor

SELU = {"lam": 1.0507009873554805, "alpha": 1.6732632423543772}
# name: (activation, deviation of a weight times sqrt(width), its rms factor per layer)
NETWORKS = {
    "N(0, 0.01), tanh": (lambda x: ops.tanh(x, a=1.0, b=1.0), lambda n: 0.01, lambda n: 0.01 * sqrt(n)),
    "Xavier, ReLU": (ops.relu, lambda n: sqrt(1 / n), lambda n: sqrt(0.5)),
    "He, ReLU": (ops.relu, lambda n: sqrt(2 / n), lambda n: 1.0),
    "LeCun, SELU": (lambda x: ops.elu(x, **SELU), lambda n: sqrt(1 / n), lambda n: 1.0),
}


@experiment(
    "depth-and-init", code="E12", chapter="Gradients", title="Initialisation and depth",
    formula="rms factor per layer: sd(w) sqrt(n) while tanh is linear;  1 / sqrt(2) for Xavier and ReLU;  1 for He and ReLU;  "
            "SELU's fixed point at 1",
    theory="A layer of n inputs multiplies the mean square by n var(w), and a ReLU halves it. Small weights lose bits with every "
           "layer: 0.01 sqrt(256) = 0.16 is 2.64 of them, and 30 layers leave 10^-24. The gradient on its way back meets the "
           "same factors. Even watching can go wrong: the squares of such signals are 0 in float32.",
    source="Glorot and Bengio 2010; He et al. 2015, arXiv 1502.01852; Klambauer et al. 2017, arXiv 1706.02515")
def depth_and_init(width: int = 256, layers: int = 30, rows: int = 256, seed: int = 1) -> Result:
    """The rms of each layer's outputs for N(0, 1) inputs, by initialisation and activation."""
    if width < 8 or layers < 12 or rows < 1:
        raise UsageError(f"depth-and-init: width={width}, layers={layers}, rows={rows}: at least 8, 12 and 1 are needed")
    depth, found, squares = list(range(1, layers + 1)), {}, 0.0
    for name, (act, deviation, _) in NETWORKS.items():
        found[name], last = _signals(act, deviation(width), width, layers, rows, seed)
        squares = last if name == "N(0, 0.01), tanh" else squares
    theory = {name: log2(factor(width)) for name, (_, _, factor) in NETWORKS.items()}
    bits = {name: _bits_per_layer(v) for name, v in found.items()}
    findings = [within("N(0, 0.01), tanh: bits per layer", bits["N(0, 0.01), tanh"], log2(0.01 * sqrt(width)) - 0.1,
                       log2(0.01 * sqrt(width)) + 0.1),
                within("Xavier, ReLU: bits per layer", bits["Xavier, ReLU"], -0.58, -0.42),
                within("He, ReLU: bits per layer", bits["He, ReLU"], -0.03, 0.03),
                at_most("LeCun, SELU: |bits| per layer", abs(bits["LeCun, SELU"]), 0.01),
                within("LeCun, SELU: rms at the last layer", found["LeCun, SELU"][-1], 0.9, 1.1)]
    if width == 256 and layers >= 28:
        findings.append(exactly("N(0, 0.01), tanh: sum of the last layer's squares, taken in float32", squares, 0.0))
    curves = [Curve(name, depth, v) for name, v in found.items()]
    curves += [Curve(f"{name}: theory", depth, [2.0 ** (theory[name] * d) for d in depth], "theory")
               for name in ("N(0, 0.01), tanh", "Xavier, ReLU", "He, ReLU")]
    return Result(findings, [Picture("Signals through a deep network", "layer", "rms of its outputs", curves,
                                     "Only where the factor of a layer is 1 does anything arrive.", log_y=True)])


def _signals(act, deviation: float, width: int, layers: int, rows: int, seed: int) -> tuple[list[float], float]:
    """The rms of every layer's outputs, taken in float64; and the last one's sum of squares as float32 has it."""
    layout, x = Layout(), Input("x", (rows, width), "real", 0)
    weights = [Parameter(f"w{i}", (width, width), None) for i in range(layers)]
    start = compile_tape("start", 1, [ops.init_normal(w, deviation=deviation, id=i) for i, w in enumerate(weights)], {}, layout)
    h, outputs = x, {}
    for i, w in enumerate(weights):
        h = act(ops.dense(h, w, None))
        outputs[f"h{i}"] = h
    outputs["squares"] = ops.sum_squares(h)
    tape, memory, executor = compile_tape("forward", 1, [], outputs, layout), Memory(layout), Executor(threads=1)
    executor.run([(start, 1)], memory, {}, seed=seed)
    executor.run([(tape, 1)], memory, {0: Tensor((rows, width), "f32", random_numbers(rows * width, "normal", seed=seed))})
    return ([_rms(array("f", memory.output(tape, f"h{i}").flat())) for i in range(layers)],
            memory.output(tape, "squares").tolist())


def _rms(values: array) -> float:
    """By the instrument, which sums in double."""
    s = ffi.new("nn_statistics *")
    lib.nn_describe(s, ffi.from_buffer("float[]", values), len(values), -1e300, 1e300)
    return sqrt(s.sum_squares / s.n)


def _bits_per_layer(values: list[float]) -> float:
    """Least-squares slope of log2 over the layers, the first one left out: its inputs are N(0, 1), not a layer's."""
    y = [log2(v) for v in values[1:]]
    mean_x, mean_y = (len(y) - 1) / 2, sum(y) / len(y)
    return sum((i - mean_x) * (v - mean_y) for i, v in enumerate(y)) / sum((i - mean_x) ** 2 for i in range(len(y)))
