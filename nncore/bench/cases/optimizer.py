"""Cases of csrc/ops/optimizer.c.

The bounds count roundings, first order in u: a constant rounded to float and a product are one each, fma one as a
whole; a root halves the relative error of its argument and adds one; `tiny` is the flush, 2^-126 = 2^23 * 2^-149, which
float and double may decide differently for a state that lies at the edge.
"""

from __future__ import annotations

import math

from nncore.bench.cases import Arg, Bound, Call, Case, changed, counts, data, given

RATE, MU, RHO = 0.01, 0.9, 0.9
BENCH = ((10_000,), (200_704,), (1_000_000,))
FLUSH = 2.0**24


def _rate(value: float) -> Arg:
    return given([value], "f64")


def _squares(n: int, kind: str, rng) -> list[float]:
    """A state that accumulates squares: not negative."""
    return [abs(x) for x in data(n, kind, rng)]


def _rule(states: str, rates: tuple, scalars: tuple = (), dims: tuple = (), count: int | None = None):
    """Arguments w, a state for each letter (v: any sign, r: squares), g, rates, count."""

    def make(size, kind, rng) -> Call:
        (n,) = size
        args = [changed(data(n, kind, rng))]
        args += [changed((data if s == "v" else _squares)(n, kind, rng)) for s in states]
        args += [given(data(n, kind, rng)), *map(_rate, rates)]
        args += [given([count], "i64")] if count is not None else []
        return Call(args, (n, *dims), scalars)

    return make


def _bound(why: str, states: int, each) -> Bound:
    """each(rate, scalars, old (w, state, ...), g, new (w, state, ...)) gives the errors of new in units of u."""

    def of(call, exact):
        rate, g = call.values(states + 2)[0], call.values(states + 1)
        old = zip(*(call.values(i) for i in range(states + 1)), strict=True)
        errors = [each(rate, call.scalars, o, x, n) for o, x, n in zip(old, g, zip(*exact, strict=True), strict=True)]
        return [[1.02 * e[i] for e in errors] for i in range(states + 1)]

    return Bound(why, of, tiny=FLUSH)


def _sgd(rate, s, old, g, new):
    return (abs(new[0]) + abs(rate * g),)


def _velocity(rate, old, g, new):
    return 2 * abs(MU * old[1]) + abs(rate * g) + abs(new[1])


def _momentum(rate, s, old, g, new):
    v = _velocity(rate, old, g, new)
    return abs(new[0]) + v, v


def _nesterov(rate, s, old, g, new):
    v = _velocity(rate, old, g, new)
    return abs(new[0]) + abs(rate * g) + abs(old[0] + MU * new[1]) + MU * (v + abs(new[1])), v


def _scaled(roundings: float):
    """w - rate q, q with so many roundings; the state r with at most 3 of its own."""
    return lambda rate, s, old, g, new: (abs(new[0]) + roundings * abs(new[0] - old[0]), 3 * new[1])


def _adadelta(rate, s, old, g, new):
    return abs(new[0]) + 8 * abs(new[0] - old[0]), 3 * new[1], 17 * new[2]


def _adam(count: int, in_double: bool = False):
    def each(rate, s, old, g, new):
        beta1, beta2, eps, decay = s
        w, m, _ = old
        c1, c2 = 1 - beta1 ** (count + 1), 1 - beta2 ** (count + 1)
        m_error = 2 * abs(beta1 * m) + abs((1 - beta1) * g) + abs(new[1])
        step = rate / c1 / (math.sqrt(new[2] / c2) + eps)
        shrunk = abs(rate * decay * w) + abs(w) if decay else 0.0
        corrections = 2 / c1 + 1 / c2 if in_double else 0.0
        return abs(new[0]) + shrunk + step * (m_error + (6.5 + corrections) * abs(new[1])), m_error, 3 * new[2]

    return each


def _case(op: str, make, bound: Bound, variant: str = "", flop: int = 2, naive: Bound | None = None) -> Case:
    bench = () if variant else BENCH
    return Case(op, make, counts(), bound, variant=variant, bench=bench, flop=lambda n: flop * n, naive=naive)


def _decay(size, kind, rng) -> Call:
    return Call([changed(data(size[0], kind, rng))], size, (1e-4,))


def _decay_bound(call, exact):
    return [[1.02 * (abs(y) + 1e-4 * abs(w)) for y, w in zip(exact[0], call.values(0), strict=True)]]


def _increment(size, kind, rng) -> Call:
    return Call([changed([rng.randrange(2**62)], "i64")], ())


def _adam_case(variant: str, count: int, decay: float) -> Case:
    make = _rule("vr", (RATE,), (0.9, 0.999, 1e-8, decay), count=count)
    why = "m: 2, 1 and the sum; v: 3; its root with b and eps 4.5, the division 1, a 1; decay and sum"
    double = "and 1 - beta^t, computed in double for both types: pow 1 ulp over what is left of 1"
    naive = _bound(f"{why}; {double}", 2, _adam(count, True))
    return _case("adam", make, _bound(why, 2, _adam(count)), variant, 12, naive)


CASES = [
    _case("sgd", _rule("", (RATE,)), _bound("the rate and the fma", 0, _sgd)),
    _case("momentum", _rule("v", (RATE, MU)), _bound("mu v twice, the rate, two sums", 1, _momentum), flop=4),
    _case("nesterov", _rule("v", (RATE, MU)), _bound("v of momentum; mu, the rate, two sums", 1, _nesterov), flop=6),
    _case("adagrad", _rule("r", (RATE,), (1e-8,), (0,)),
          _bound("r 1, root 2, division 1, rate 1", 1, _scaled(4)), flop=6),
    _case("adagrad", _rule("r", (RATE,), (1e-8,), (1,)),
          _bound("r 1, root 1.5, eps 1, division 1, rate 1", 1, _scaled(4.5)), "outside"),
    _case("rmsprop", _rule("r", (RATE,), (RHO, 1e-8), (0,)),
          _bound("r 3, root 3, division 1, rate 1", 1, _scaled(5)), flop=8),
    _case("rmsprop", _rule("r", (RATE,), (RHO, 1e-8), (1,)),
          _bound("r 3, root 2.5, eps 1, division 1, rate 1", 1, _scaled(5.5)), "outside"),
    _case("adadelta", _rule("rr", (1.0,), (0.95, 1e-6)),
          _bound("r 3; the roots 3 and 2, division 1, times g 1: 7; s 2 * 7 + 3; rate 1", 2, _adadelta), flop=12),
    _adam_case("", 9, 0.0),
    _adam_case("first", 0, 0.0),
    _adam_case("decay", 1000, 0.1),
    Case("decay", _decay, counts(), Bound("zeta and the fma", _decay_bound), bench=((200_704,),)),
    Case("increment", _increment, ((0,),), Bound("an integer"), kinds=("normal",), special=False),
]  # fmt: skip
