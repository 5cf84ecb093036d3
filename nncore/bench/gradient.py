"""Calls of a backward kernel together with what it has to give: central differences of the forward op in float64.

Which buffer is whose derivative stands in the names of csrc/nncore.h: dx, dw, dgamma are the derivatives of sum_j dy_j y_j by the
forward op's x, w, gamma; a loss gives dz = scale d(sum of losses)/dz beside itself. Where the forward op has a kink, left and
right differences part, and the element is not looked at.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod

from nncore.bench.cases import UNIT, Bound, Call, Case, collect, data, given, made
from nncore.bench.kernels import Bench, Machine
from nncore.bench.signature import Signature, signatures

STEP = 2.0**-13  # of a difference: its error, of order STEP^2, is below what float32 rounds
TOLERANCE = 2e-5  # of the largest derivative: the float32 kernel's own error is smaller on these few sums of numbers near 1
LOOKED_AT = 40  # elements of a derivative; all where there are not more


@dataclass(frozen=True)
class Derivative:
    """A call and its outputs; None where nothing is asked."""

    case: Case
    size: tuple[int, ...]
    call: Call
    want: list[list]
    bound: Bound


def derivative(name: str) -> Iterator[Derivative]:
    """Calls of a kernel that computes derivatives, one for each variant of its cases; none for another kernel."""
    mine = signatures()[name]
    stem = next((name.removesuffix(end) for end in ("_bwd", "_bwd_data", "_bwd_weight") if name.endswith(end)), None)
    if stem is None and "dz" not in mine.arguments:
        return
    for case in [c for c in collect() if c.op == name]:
        # A variant may have a forward op of its own, as batch_norm_bwd on fixed statistics has.
        own = f"{stem}_{case.variant}_fwd"
        other = signatures().get(own if own in signatures() else f"{stem}_fwd" if stem else name)
        sources = {c.variant: c for c in collect() if other and c.op == other.name}
        if case.variant in sources or sources and (not case.variant or other.name == own):
            source = sources.get(case.variant) or next(iter(sources.values()))
            if found := _derivative(mine, other, case, source):
                yield found


def _size(case: Case, names: tuple[str, ...]) -> tuple[int, ...] | None:
    """A small size of the forward op with more than one of everything, but one shard: a parameter's derivative is of all rows."""
    sizes = [s for s in case.sizes if all(s) and 6 <= prod(s) <= 4000 and case.call(s).args[0].count <= 600]
    if "shards" in names:
        sizes = [s for s in sizes if s[names.index("shards")] == 1]

    def rank(size: tuple[int, ...]) -> tuple[bool, int]:
        return min(v for i, v in enumerate(size) if names[i : i + 1] != ("shards",)) > 1, -abs(prod(size) - 60)

    return max(sizes, key=rank, default=None)


def _derivative(mine: Signature, other: Signature, case: Case, source: Case) -> Derivative | None:
    size = _size(source, other.sizes)
    if size is None or "normal" not in source.kinds:
        return None
    call, rng = source.call(size, "normal"), random.Random(f"derivative {case.name}")
    values = {n: a.values for n, a in zip(other.arguments, call.args, strict=False) if a and a.role == "in"}
    numbers = dict(zip([*other.sizes[: len(call.dims)], *other.scalars], [*call.dims, *call.scalars], strict=True))
    results = dict(zip([other.arguments[i] for i in call.outputs], _run(other.name, call), strict=True))
    y = next(iter(results))
    weights = data(len(results[y]), "normal", rng) if mine.name != other.name else [numbers.get("scale", 1.0)] * len(results[y])
    known = {**{n: list(array("f", v)) for n, v in results.items() if n != "index"}, **values, f"d{y}": weights}
    made_call = _call(mine, case, call, other, known, numbers)
    if made_call is None:
        return None

    def loss(by: str, changed: list[float]) -> float:
        at = other.arguments.index(by)
        args = [given(changed) if i == at else a for i, a in enumerate(call.args)]
        return sum(w * v for w, v in zip(weights, _run(other.name, Call(args, call.dims, call.scalars))[0], strict=True))

    want = [_differences(lambda v, by=name[1:]: loss(by, v), values.get(name[1:]), made_call.args[i].count, rng)
            for i, name in ((i, mine.arguments[i]) for i in made_call.outputs)]
    top = max((abs(v) for out in want for v in out if v is not None), default=0.0)
    why = f"central differences of {other.name} in float64"
    allowed = TOLERANCE * top / UNIT["f32"]
    return Derivative(case, size, made_call, want, Bound(why, lambda _, exact: [[allowed] * len(o) for o in exact]))


def _run(op: str, call: Call) -> list[list[float]]:
    """The outputs of the float64 reference."""
    return [x.tolist() for x in Bench(op, call, Machine("reference", 1), real="f64").outputs()]


def _call(mine: Signature, case: Case, forward: Call, other: Signature, known: dict, numbers: dict) -> Call | None:
    """The call of the backward kernel; None if it reads what is neither known nor a derivative."""
    like = case.call(min((s for s in case.sizes if all(s)), key=prod))
    sizes = {**dict(zip(mine.sizes, like.dims, strict=False)), "shards": 1, **numbers, "act": -1, "planes": 0}
    dims = tuple(sizes[n] for n in mine.sizes[: len(like.dims)])
    args = []
    for i, (name, arg) in enumerate(zip(mine.arguments, like.args, strict=False)):
        if arg is None:
            args.append(None)
        elif arg.role == "in" and name in known:
            args.append(given(known[name], arg.dtype))
        elif arg.role == "in" and name in other.arguments and forward.args[other.arguments.index(name)]:
            args.append(_output(other, forward, name))
        elif arg.role == "out" and (of := name if mine.name == other.name else name[1:]) in known:
            args.append(made(len(known[of])))
        elif arg.role == "out":  # scratch, or the derivative by what is absent
            args.append(made(case.call(dims[: len(case.sizes[0])]).args[i].count))
        else:
            return None
    return Call(args, dims, tuple(numbers[n] for n in mine.scalars))


def _output(other: Signature, forward: Call, name: str):
    """An output of the forward op that is no number, as the index of a maximum."""
    i = other.arguments.index(name)
    got = Bench(other.name, forward, Machine("reference", 1), real="f64").outputs()[forward.outputs.index(i)]
    return given(got.tolist(), forward.args[i].dtype)


def _differences(loss: Callable[[list[float]], float], x: list[float] | None, count: int, rng: random.Random) -> list:
    """(loss(x + h e_i) - loss(x - h e_i)) / 2h for some i; None where nothing is asked or there is a kink."""
    found: list[float | None] = [None] * count
    if x is None or not count:
        return found
    middle = loss(x)
    for i in sorted(rng.sample(range(len(x)), min(len(x), LOOKED_AT))):
        sides = [loss([*x[:i], x[i] + h, *x[i + 1 :]]) for h in (STEP, -STEP)]
        right, left = (sides[0] - middle) / STEP, (middle - sides[1]) / STEP
        if abs(right - left) <= 0.02 * max(abs(right), abs(left), 1e-3):
            found[i] = (right + left) / 2
    return found
