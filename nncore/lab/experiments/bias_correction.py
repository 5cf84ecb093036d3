"""E13: 1 - beta in float32, epsilon in fp16."""

from __future__ import annotations

from array import array
from math import isinf

from nncore.graph import ops
from nncore.graph.node import Parameter, State
from nncore.graph.plan import Layout
from nncore.graph.tape import Executor, Memory, compile_tape
from nncore.lab.arithmetic import floats, operate, rounded
from nncore.lab.experiment import Curve, Picture, Result, Table, at_most, exactly, experiment

U = 2.0**-24


@experiment(
    "bias-correction", code="E13", chapter="Cancellation", title="Adam's constants",
    formula="1 - fl(0.999) = 0.001 (1 - 1.2875e-5) in float32;  fl(1e-8) = 0 and fl(65520) = infinity in fp16",
    theory="0.999 is rounded with an error of u / 2 and the subtraction from 1, exact itself, makes of it one thousand times as "
           "much: 1.3e-5 instead of 6e-8. In fp16 the epsilon 1e-8 lies below the smallest number, 6e-8, and a gradient that has "
           "always been 0 is updated by 0 / 0; the largest number is 65504. Our kernel computes 1 - beta in float64.",
    source="Kingma and Ba 2015, arXiv 1412.6980; Micikevicius et al. 2018, arXiv 1710.03740")
def bias_correction() -> Result:
    """The constants of Adam in low precision, and what our kernel makes of them in its first step."""
    beta = floats([0.999])[0]
    single = operate([1.0], "-", [beta], "fp32")[0]
    lost = single / 0.001 - 1
    epsilon, quotient = rounded([1e-8], "fp16")[0], operate([0.0], "/", [0.0], "fp16")[0]
    large = list(rounded([65504.0, 65519.0, 65520.0], "fp16"))
    ours = _second_moment(0.999)
    betas = [1 - 10.0 ** (-k / 4) for k in range(4, 21)]
    errors = [abs(operate([1.0], "-", [floats([b])[0]], "fp32")[0] / (1 - b) - 1) for b in betas]
    gaps = [1 - b for b in betas]
    return Result(
        [exactly("1 - 0.999 in float32: relative error, rounded to 5 digits", float(f"{lost:.4e}"), -1.2875e-5),
         exactly("1e-8 in fp16", epsilon, 0.0), exactly("0 / (sqrt(0) + 1e-8) in fp16", quotient, float("nan")),
         exactly("65519 in fp16", large[1], 65504.0), exactly("65520 in fp16 is infinite", int(isinf(large[2])), 1),
         at_most("our Adam: relative error of 1 - 0.999 in its first step, in u", abs(ours / 0.001 - 1) / U, 2.0)],
        [Picture("1 - beta in float32", "1 - beta", "relative error",
                 [Curve("measured", gaps, [max(e, U / 16) for e in errors]),
                  Curve("u / (1 - beta), half the spacing below 1", gaps, [U / 2 / g for g in gaps], "bound")],
                 "The nearer beta is to 1, the more of the rounding of beta is left over.", log_x=True, log_y=True)],
        [Table("The same constant", ["arithmetic", "1 - 0.999", "relative error"],
               [["float32", single, lost], ["our kernel: float64, then float32", ours, ours / 0.001 - 1]])])


def _second_moment(beta2: float) -> float:
    """v after Adam's first step on a gradient of 1: (1 - beta2) as the kernel has it."""
    w, layout = Parameter("w", (1,), None), Layout()
    m, v, g = State("m", (1,)), State("v", (1,)), State("g", (1,))
    rate, count = State("rate", (1,), "f64"), State("count", (1,), "i64")
    tape = compile_tape("adam", 1, [ops.adam(w, m, v, g, rate, count, beta2=beta2)], {}, layout)
    memory = Memory(layout)
    memory.tensor(g).flat()[:] = array("f", [1.0])
    memory.tensor(rate).flat()[:] = array("d", [0.1])
    Executor(threads=1).run([(tape, 1)], memory, {})
    return memory.tensor(v).flat()[0]
