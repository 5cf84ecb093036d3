"""The list of cases: what every op is run on, shared by the tests and the benches.

One module per op family, each with a list ``CASES``; an op without a case fails a test, so nothing is benchmarked that
is not tested. A case makes the arguments of one instruction for a size and a kind of data, names what may alias, and
carries the error bound of its float32 kernel with the derivation beside it.

The test of a case (tests/test_ops.py) is the ladder of trust: the float64 reference against ``tests/oracle.py``
(a function with the op's name there, or in another ``tests/oracle_*.py``: ``def mul(call) -> [outputs]``), the
float32 reference and every ISA within the bound, ISAs and thread counts bit for bit, aliases, canaries, guard pages.

    CASES = [Case("mul", make=pointwise(2), sizes=counts(), bound=ulps(0.5, "one correctly rounded product"),
                  alias=((0, 1), (0, 2)))]

Nothing here imports numpy, and nothing here is on the numeric path: this is data to measure with.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
import random
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice, repeat

TYPECODE = {"f32": "f", "f64": "d", "u8": "B", "i32": "i", "i64": "q"}
UNIT = {"f32": 2.0**-24, "f64": 2.0**-53}  # unit roundoff u
TINY = {"f32": 2.0**-149, "f64": 2.0**-1074}  # smallest denormal: what one underflow may cost, twice over
LARGEST = {"f32": (2 - 2**-23) * 2.0**127, "f64": 1.7976931348623157e308}


# ---- one call ----------------------------------------------------------------------------------------------------


@dataclass
class Arg:
    """One argument of an instruction: ``role`` in, out or inout; ``values`` (a flat list) unless it is out."""

    role: str
    dtype: str  # real, f32, f64, u8, i32, i64
    count: int
    values: list | None = None

    def array(self, real: str) -> array:
        """The values as C elements, ``real`` being f32 or f64."""
        return array(TYPECODE[real if self.dtype == "real" else self.dtype], self.values)


def given(values: Sequence, dtype: str = "real") -> Arg:
    """An argument that is only read."""
    return Arg("in", dtype, len(values), list(values))


def changed(values: Sequence, dtype: str = "real") -> Arg:
    """An argument that is read and written (``x!`` in nncore.h)."""
    return Arg("inout", dtype, len(values), list(values))


def made(count: int, dtype: str = "real") -> Arg:
    """An argument that is only written: every element of it, or the test finds its NaN filling."""
    return Arg("out", dtype, count)


@dataclass
class Call:
    """One instruction: arguments as in nncore.h (None where absent), dims, scalars, and the fields of nn_run it reads.

    ``run`` may hold seed, n_samples, step, epoch, cursor, flags; all default to 0.
    """

    args: list[Arg | None]
    dims: tuple[int, ...]
    scalars: tuple[float, ...] = ()
    run: dict[str, int] = field(default_factory=dict)

    @property
    def outputs(self) -> list[int]:
        """Positions of the arguments that are written, in order: what oracles, bounds and run_op return lists of."""
        return [i for i, a in enumerate(self.args) if a and a.role != "in"]

    @property
    def nbytes(self) -> int:
        """Bytes a float32 call moves if every argument is touched once."""
        size = {"f64": 8, "i64": 8, "u8": 1}
        return sum(a.count * size.get(a.dtype, 4) * (2 if a.role == "inout" else 1) for a in self.args if a)

    def values(self, i: int) -> list:
        """The values of argument i."""
        return self.args[i].values


# ---- bounds ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bound:
    """How far an output may be from the exact one, and why.

    ``of(call, exact)`` takes the float64 outputs (a list of lists, in the order of ``call.outputs``) and returns for
    each the absolute error in units of u, element by element. ``None`` means exact: the same bits, -0 told from +0.
    The comparison adds ``tiny`` smallest denormals for underflow.
    """

    why: str
    of: Callable[[Call, list[list[float]]], list[list[float]]] | None = None
    tiny: float = 2.0


SPILL = TINY["f32"] / UNIT["f32"]  # what one underflow costs, in units of u: for bounds where it is multiplied later
ELEMENTARY = 4.0  # u: the elementary functions are within 2 ulp (numerics.md R7), and ulp(y) <= 2 u |y|

EXACT = Bound("no rounding: a selection, a constant or an integer")


def ulps(k: float, why: str) -> Bound:
    """|error| <= 2 k u |y|, twice k being the worst of ulp(y) <= 2 u |y|; k = 0.5 is correct rounding.

    The float64 value compared with is itself rounded, which the 1 % on top covers many times over.
    """
    return Bound(why, lambda call, exact: [[2.02 * k * abs(y) for y in out] for out in exact])


def gamma(n: float) -> float:
    """gamma_n / u = n / (1 - n u) for float32 (Higham 2002, section 3.1)."""
    return n / (1 - n * UNIT["f32"])


def steps16(n: int) -> int:
    """Additions that one of n terms goes through in R3's order: lanes of a chunk, their tree, the chunks' tree."""
    chunks = max(1, -(-n // 4096))
    return min(-(-n // 16), 256) + 4 + (chunks - 1).bit_length()


def rounding(x: float) -> float:
    """|float32(x) - x| in units of u: the error of a scalar, 0 if it is a float."""
    return abs(array("f", [x])[0] - x) / UNIT["f32"]


# ---- cases -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)  # hashed by identity: tests remember results by case
class Case:
    """One op with all that tests and benches need to run it.

    ``make(size, kind, rng)`` returns a Call; ``sizes`` is the test's grid, ``bench`` the sizes worth timing;
    ``kinds`` the data kinds its bound holds for (``special`` and ``huge`` are run besides, for bits and for NaN);
    ``alias`` pairs (output, input) that may be one buffer, given one at a time; ``flop(*size)`` counts operations,
    ``words(*size)`` those of the counter RNG, where drawing them is what takes the time.
    """

    op: str
    make: Callable[[tuple, str, random.Random], Call]
    sizes: tuple[tuple[int, ...], ...]
    bound: Bound
    kinds: tuple[str, ...] = ("normal", "lognormal", "denormal", "zero")
    alias: tuple[tuple[int, int], ...] = ()
    flop: Callable[..., int] = lambda *size: math.prod(size)
    bench: tuple[tuple[int, ...], ...] = ()
    variant: str = ""
    naive: Bound | None = None  # of the reference, where its plain loop is less accurate than the kernel's order
    special: bool = True  # the kinds special and huge make sense for it
    words: Callable[..., int] | None = None

    @property
    def name(self) -> str:
        """op, or op-variant."""
        return f"{self.op}-{self.variant}" if self.variant else self.op

    def call(self, size: tuple[int, ...], kind: str = "normal", seed: int = 1) -> Call:
        """The arguments for a size, the same for the same seed."""
        return self.make(size, kind, random.Random(f"{self.name} {size} {kind} {seed}"))


def collect() -> list[Case]:
    """All cases of all modules of this package, in alphabetical order of modules."""
    modules = sorted(m.name for m in pkgutil.iter_modules(__path__))
    return [case for name in modules for case in importlib.import_module(f"{__name__}.{name}").CASES]


def exact_cases() -> list[Case]:
    """The cases of ops that call elementary functions once more, now with the correctly rounded ones: another 1 among the sizes.
    What is nothing but such a function is bounded by its one rounding, and timed."""
    from nncore.graph.ops import OPS

    return [_exact(case) for case in collect() if OPS[case.op].elementary]


def _exact(case: Case) -> Case:
    def make(size: tuple, kind: str, rng: random.Random) -> Call:
        call = case.make(size, kind, rng)
        return replace(call, dims=(*call.dims, 1))

    variant = f"{case.variant}-exact".lstrip("-")
    if case.op not in ("exponential", "logarithm", "sigmoid_fwd", "tanh_fwd", "softplus_fwd", "error_function") or case.variant:
        return replace(case, make=make, variant=variant, bench=case.bench if case.op == "softmax_xent" else ())
    return replace(case, make=make, variant=variant, bound=ulps(0.5, "correctly rounded"))


def pointwise(inputs: int, scalars: tuple[float, ...] = ()) -> Callable[[tuple, str, random.Random], Call]:
    """A `make` for ops of one output and some inputs, all of n elements."""

    def make(size: tuple, kind: str, rng: random.Random) -> Call:
        (n,) = size
        return Call([made(n), *(given(data(n, kind, rng)) for _ in range(inputs))], (n,), scalars)

    return make


# ---- data --------------------------------------------------------------------------------------------------------

KINDS = ("uniform", "normal", "lognormal", "integer", "huge", "denormal", "zero", "special")
SPECIAL = (0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, TINY["f32"], -TINY["f32"], 2.0**-126, 0.5, -2.5,
           88.75, -100.0)  # fmt: skip
PERIOD = 65521  # data repeat beyond: benches need many elements soon, not many different ones


def data(n: int, kind: str, rng: random.Random) -> list[float]:
    """n float32 values of a kind; the float64 twin gets the same ones. Only +, * and the generator: no libm."""
    draw = rng.random

    def normal() -> float:  # Irwin-Hall: close enough, and the same on every platform
        return sum(draw() for _ in range(12)) - 6

    make = {
        "uniform": lambda: 2 * draw() - 1,
        "normal": normal,
        "lognormal": lambda: normal() * 2.0 ** rng.randrange(-20, 8),
        "integer": lambda: float(rng.randrange(-4, 5)),
        "huge": lambda: rng.choice((-1, 1)) * (LARGEST["f32"] if draw() < 0.2 else (1 + draw()) * 2.0**126),
        "denormal": lambda: (2 * draw() - 1) * 2.0 ** -rng.randrange(126, 149),
        "zero": lambda: rng.choice((0.0, -0.0)),
        "special": lambda: rng.choice(SPECIAL) if draw() < 0.5 else normal(),
    }[kind]
    block = array("f", (make() for _ in range(min(n, PERIOD))))
    return list(islice(chain.from_iterable(repeat(block)), n)) if n else []


def below(n: int, limit: int, rng: random.Random) -> list[int]:
    """n integers in [0, limit): labels, rows."""
    return [int(rng.random() * limit) for _ in range(n)]


def counts(*more: int) -> tuple[tuple[int], ...]:
    """Sizes of an elementwise op: none, one, around every vector width and the driver's 256, a prime."""
    return tuple((n,) for n in (0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 255, 256, 257, 1021, *more))


def shapes(*more: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """Shapes (rows, columns) of a row op: nothing, one, the ten classes, around every vector width, a prime."""
    grid = [(0, 10), (1, 1), (3, 2), (7, 3), (33, 10), (128, 10), (1, 16), (2, 15), (3, 17), (5, 7), (4, 8), (5, 9)]
    return (*grid, (2, 33), (3, 101), *more)
