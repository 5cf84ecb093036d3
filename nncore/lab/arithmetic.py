"""Arithmetic in any format, on our own kernels: rounding, sums and dot products by every method, random numbers.

    x = random_numbers(4096, seed=1)                    uniform in (0, 1), float32
    sum_of(x, "kahan"), sum_of(x, format="bf16:sr")     each operation rounded to the format
    sum_of(x, "exact", format="fp64")                   the sum itself, rounded once

Arrays are array.array of floats ("f") or doubles ("d"). Sources: csrc/rounding.c, csrc/sums.c.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nncore._ffi import check, ffi, kernels, lib
from nncore.errors import UsageError
from nncore.graph import ops
from nncore.graph.formats import SUMS as METHODS
from nncore.graph.formats import Arithmetic, Format
from nncore.graph.node import Input
from nncore.graph.plan import Layout
from nncore.graph.tape import Executor, Memory, Position, compile_tape
from nncore.tensor import Tensor

DOTS = {"naive": lib.NN_DOT_NAIVE, "fma": lib.NN_DOT_FMA, "dot2": lib.NN_DOT_DOT2, "exact": lib.NN_DOT_EXACT}
_REAL = {"f": lib.NN_F32, "d": lib.NN_F64}
_Formatted = str | Format | Arithmetic


def floats(values: Iterable[float]) -> array:
    """Values rounded to float32."""
    return array("f", values)


def doubles(values: Iterable[float]) -> array:
    """Values in float64."""
    return array("d", values)


def random_numbers(n: int, kind: str = "uniform", *, seed: int = 0, index: int = 0, real: str = "f32") -> array:
    """n numbers by (seed, index) alone: uniform in (0, 1), or normal, N(0, 1). real: f64, or f32, rounded from it."""
    if kind not in ("uniform", "normal"):
        raise UsageError(f"random numbers of kind {kind!r}; there are uniform, normal")
    code = {"f32": "f", "f64": "d"}[real]
    out = array(code, bytes(n * array(code).itemsize))
    check(lib.nn_draw(kernels(), _pointer(out), _REAL[code], n, kind == "normal", seed % 2**64, index), "random numbers")
    return out


def rounded(values: Sequence[float], format: _Formatted, rounding: str = "nearest", *, seed: int = 0, index: int = 0) -> array:
    """Each value rounded to a format; an array of floats stays one, all else becomes doubles.

    Raises UsageError for a format whose values floats cannot hold.
    """
    arithmetic = Arithmetic.parse(format, rounding)
    x = values if isinstance(values, array) and values.typecode in _REAL else array("d", values)
    y = array(x.typecode, bytes(len(x) * x.itemsize))
    status = lib.nn_round(_pointer(y), _pointer(x), _REAL[x.typecode], len(x), arithmetic.cdata(seed, index))
    if status == lib.NN_ERR_ARGUMENT:
        raise UsageError(f"{arithmetic.format}: an array of floats cannot hold its values; give doubles")
    check(status, "rounding")
    return y


def sum_of(values: Sequence[float], method: str = "naive", format: _Formatted = "fp32", rounding: str = "nearest", *,
           width: int = 0, seed: int = 0, index: int = 0) -> float:
    """The sum by a method of METHODS, every operation rounded to the format.

    width: the length of blocks (0: the root of n), of pairwise's leaves (0: 1), or the lanes (0: 16). Raises UsageError for an
    unknown method, a width that is none, or a format that sums cannot be emulated in: more than 26 bits, unless fp64 to nearest.
    """
    if method not in METHODS:
        raise UsageError(f"no summation {method!r}; there are {', '.join(METHODS)}")
    x, arithmetic, out = _elements(values), Arithmetic.parse(format, rounding), ffi.new("double *")
    c = arithmetic.cdata(seed, index)
    _computed(lib.nn_sum(out, _pointer(x), _REAL[x.typecode], len(x), METHODS[method], width, c), arithmetic, f"width {width}")
    return out[0]


@dataclass(frozen=True)
class Running:
    """A sum on its way: every partial sum, the last, and the first term that changed nothing, if there is one."""

    sums: array
    last: float
    stalled: int | None


def running_sums(values: Sequence[float], format: _Formatted = "fp32", rounding: str = "nearest", *, start: float = 0.0,
                 seed: int = 0, index: int = 0) -> Running:
    """The partial sums, one after another. Raises UsageError as sum_of does."""
    x, arithmetic = _elements(values), Arithmetic.parse(format, rounding)
    sums, stalled, last = array("d", bytes(8 * len(x))), ffi.new("int64_t *"), ffi.new("double *")
    out, c = ffi.from_buffer("double[]", sums), arithmetic.cdata(seed, index)
    status = lib.nn_running_sum(out, stalled, last, start, _pointer(x), _REAL[x.typecode], len(x), c)
    _computed(status, arithmetic, "a running sum")
    return Running(sums, last[0], stalled[0] if stalled[0] >= 0 else None)


def dot(a: Sequence[float], b: Sequence[float], method: str = "fma", format: _Formatted = "fp32", rounding: str = "nearest", *,
        seed: int = 0, index: int = 0) -> float:
    """The dot product by a method of DOTS, every operation rounded to the format; doubles in fp64, or exactly.

    Raises UsageError as sum_of does, and for vectors that differ in length or type.
    """
    if method not in DOTS:
        raise UsageError(f"no dot product {method!r}; there are {', '.join(DOTS)}")
    x, y = _elements(a), _elements(b)
    if (len(x), x.typecode) != (len(y), y.typecode):
        raise UsageError(f"dot product of {len(x)} and {len(y)} elements of types {x.typecode} and {y.typecode}")
    arithmetic, out = Arithmetic.parse(format, rounding), ffi.new("double *")
    c = arithmetic.cdata(seed, index)
    status = lib.nn_dot(out, _pointer(x), _pointer(y), _REAL[x.typecode], len(x), DOTS[method], c)
    _computed(status, arithmetic, f"elements of type {x.typecode}")
    return out[0]


OPERATIONS = {"+": lib.NN_PLUS, "-": lib.NN_MINUS, "*": lib.NN_TIMES, "/": lib.NN_OVER}
VARIANCES = {"textbook": lib.NN_VARIANCE_TEXTBOOK, "two-pass": lib.NN_VARIANCE_TWO_PASS, "welford": lib.NN_VARIANCE_WELFORD}


def operate(a: Sequence[float], operation: str, b: Sequence[float], format: _Formatted = "fp32", rounding: str = "nearest", *,
            seed: int = 0, index: int = 0) -> array:
    """a + b, a - b, a * b or a / b, element by element, rounded to the format; doubles, as the operands are taken to be."""
    x, y, arithmetic = array("d", a), array("d", b), Arithmetic.parse(format, rounding)
    if operation not in OPERATIONS or len(x) != len(y):
        raise UsageError(f"operation {operation!r} of {len(x)} and {len(y)} elements; there are {', '.join(OPERATIONS)}")
    out, c = array("d", bytes(8 * len(x))), arithmetic.cdata(seed, index)
    pointers = [ffi.from_buffer("double[]", v) for v in (out, x, y)]
    status = lib.nn_operate(pointers[0], OPERATIONS[operation], pointers[1], pointers[2], len(x), c)
    _computed(status, arithmetic, "operations")
    return out


def variance_of(values: Sequence[float], method: str = "two-pass", format: _Formatted = "fp32", rounding: str = "nearest", *,
                seed: int = 0, index: int = 0) -> float:
    """The biased variance of floats by a formula of VARIANCES. Raises UsageError as sum_of does, and for no values."""
    if method not in VARIANCES:
        raise UsageError(f"no variance {method!r}; there are {', '.join(VARIANCES)}")
    x, arithmetic, out = array("f", values), Arithmetic.parse(format, rounding), ffi.new("double *")
    c = arithmetic.cdata(seed, index)
    status = lib.nn_variance(out, ffi.from_buffer("float[]", x), len(x), VARIANCES[method], c)
    _computed(status, arithmetic, f"a variance of {len(x)} values")
    return out[0]


def calculate(build, *arrays: Sequence[float], real: str = "f32"):
    """What ops of nncore.graph.ops make of arrays, on our kernels: calculate(ops.exponential, [1.0, 2.0]).

    `build` takes a node of shape (n,) for each array and returns one, or several; the answer is an array, or a list of them.
    real: f32, or f64 for the same instructions in double.
    """
    code = {"f32": "f", "f64": "d"}[real]
    leaves, layout = [Input(f"a{i}", (len(a),), "real", i) for i, a in enumerate(arrays)], Layout(real)
    found = build(*leaves)
    nodes = found if isinstance(found, list) else [found]
    tape, memory = compile_tape("calculate", 1, [], {f"y{i}": y for i, y in enumerate(nodes)}, layout), Memory(layout)
    Executor(threads=1).run([(tape, 1)], memory, {i: Tensor((len(a),), real, array(code, a)) for i, a in enumerate(arrays)})
    made = [array(code, memory.output(tape, f"y{i}").flat()) for i in range(len(nodes))]
    return made if isinstance(found, list) else made[0]


def shuffles(values: array, count: int, seed: int = 0) -> Iterable[array]:
    """`count` permutations of an array of floats, by the keyed bijection that shuffles training data."""
    n, layout = len(values), Layout()
    data, mean, scale = Input("data", (n, 1), "f32", 0), Input("mean", (1,), "real", 1), Input("scale", (1,), "real", 2)
    tape = compile_tape("shuffle", n, [], {"x": ops.gather_f32(data, None, mean, scale, shape=(n, 1))}, layout)
    memory, executor = Memory(layout), Executor(threads=1)
    externals = {i: Tensor((len(v),), "f32", v) for i, v in enumerate((values, array("f", [0.0]), array("f", [1.0])))}
    for epoch in range(count):
        executor.run([(tape, 1)], memory, externals, Position(epoch=epoch), seed=seed, n_samples=n, shuffle=True)
        yield array("f", memory.output(tape, "x").flat())


def _elements(values: Sequence[float]) -> array:
    return values if isinstance(values, array) and values.typecode in _REAL else array("f", values)


def _pointer(values: array):
    return ffi.from_buffer("char[]", values)


def _computed(status: int, arithmetic: Arithmetic, what: str) -> None:
    if status == lib.NN_ERR_ARGUMENT:
        f = arithmetic.format
        raise UsageError(f"sums of {f.precision} bits, {arithmetic.rounding}, {what}: emulated are formats of at most 26 bits "
                         "and exponents within 500, and fp64 to nearest; lanes are a power of two up to 64")
    check(status, "arithmetic")
