"""Initialisers: the first value of a parameter, drawn by the counter RNG in C from (seed, parameter).

Each is an object called with the parameter, its fan-in n and fan-out m, and its number; it returns the effect node that
writes the values. Square roots here are IEEE operations, exact functions of their argument on every machine.
Normals are not truncated (Keras truncates).
"""

from __future__ import annotations

from math import sqrt

from nncore.errors import UsageError
from nncore.graph import ops
from nncore.graph.node import Node, Parameter


class Uniform:
    """w ~ U(-limit, limit)."""

    def __init__(self, limit: float):
        self.limit = limit

    def bound(self, n: int, m: int) -> float:
        return self.limit

    def __call__(self, w: Parameter, n: int, m: int, number: int) -> Node:
        return ops.init_uniform(w, limit=self.bound(n, m), id=number)


class LeCunUniform(Uniform):
    """w ~ U(-sqrt(3/n), sqrt(3/n)): variance 1/n. LeCun et al. 1998, *Efficient BackProp*, section 4.6."""

    def __init__(self):
        pass

    def bound(self, n: int, m: int) -> float:
        return sqrt(3 / n)


class GlorotUniform(LeCunUniform):
    """w ~ U(-sqrt(6/(n+m)), sqrt(6/(n+m))). Glorot and Bengio 2010, eq. 16."""

    def bound(self, n: int, m: int) -> float:
        return sqrt(6 / (n + m))


class HeUniform(LeCunUniform):
    """w ~ U(-sqrt(6/n), sqrt(6/n)): variance 2/n. He et al. 2015, section 2.2."""

    def bound(self, n: int, m: int) -> float:
        return sqrt(6 / n)


class Normal:
    """w ~ deviation N(0, 1)."""

    def __init__(self, deviation: float):
        self.deviation = deviation

    def spread(self, n: int, m: int) -> float:
        return self.deviation

    def __call__(self, w: Parameter, n: int, m: int, number: int) -> Node:
        return ops.init_normal(w, deviation=self.spread(n, m), id=number)


class LeCunNormal(Normal):
    """Variance 1/n. LeCun et al. 1998, section 4.6."""

    def __init__(self):
        pass

    def spread(self, n: int, m: int) -> float:
        return sqrt(1 / n)


class GlorotNormal(LeCunNormal):
    """Variance 2/(n+m). Glorot and Bengio 2010, eq. 12."""

    def spread(self, n: int, m: int) -> float:
        return sqrt(2 / (n + m))


class HeNormal(LeCunNormal):
    """Variance 2/n. He et al. 2015, eq. 10."""

    def spread(self, n: int, m: int) -> float:
        return sqrt(2 / n)


class Constant:
    """Every element c."""

    def __init__(self, c: float = 0.0):
        self.c = c

    def __call__(self, w: Parameter, n: int, m: int, number: int) -> Node:
        return ops.init_constant(w, c=self.c)


class Zeros(Constant):
    """Every element 0."""

    def __init__(self):
        super().__init__(0.0)


BY_NAME = {
    "lecun_uniform": LeCunUniform, "glorot_uniform": GlorotUniform, "he_uniform": HeUniform, "lecun_normal": LeCunNormal,
    "glorot_normal": GlorotNormal, "he_normal": HeNormal, "zeros": Zeros,
}


def initialiser(init):
    """An initialiser by name ("he_normal") or as it is. Raises UsageError for an unknown name."""
    if not isinstance(init, str):
        return init
    if init not in BY_NAME:
        raise UsageError(f"unknown initialiser {init!r}: choose one of {', '.join(BY_NAME)}")
    return BY_NAME[init]()
