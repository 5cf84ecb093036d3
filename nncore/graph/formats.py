"""Floating-point formats by name, and how operations round to them: what arithmetic is emulated in.

    Format.named("bf16").unit                  2^-8
    Format.named("p5e-6..7")                   5 bits, exponents -6 to 7
    Arithmetic.parse("bf16:stochastic")        a format and a direction

Values of a format live in floats or doubles; csrc/rounding.c rounds to it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache

from nncore._ffi import ffi, lib
from nncore.errors import UsageError

ROUNDINGS = {"nearest": lib.NN_ROUND_NEAREST, "zero": lib.NN_ROUND_ZERO, "up": lib.NN_ROUND_UP, "down": lib.NN_ROUND_DOWN,
             "stochastic": lib.NN_ROUND_STOCHASTIC}
# Methods of summation (csrc/sums.c).
SUMS = {"naive": lib.NN_SUM_NAIVE, "pairwise": lib.NN_SUM_PAIRWISE, "kahan": lib.NN_SUM_KAHAN, "neumaier": lib.NN_SUM_NEUMAIER,
        "blocked": lib.NN_SUM_BLOCKED, "lanes": lib.NN_SUM_LANES, "dot2": lib.NN_SUM_DOT2, "exact": lib.NN_SUM_EXACT}
_SHORT = {"rn": "nearest", "rz": "zero", "ru": "up", "rd": "down", "sr": "stochastic"}
_FIELDS = ("precision", "emin", "emax", "subnormals", "saturate", "largest")


@dataclass(frozen=True)
class Format:
    """Significands of `precision` bits, the leading one counted, times 2^emin to 2^emax.

    subnormals: evenly spaced values below 2^emin, else zeros; saturate: what is too large becomes the largest value, else
    infinite; largest: where that is not (2 - 2^(1 - precision)) 2^emax. Raises UsageError for what is no format.
    """

    precision: int
    emin: int
    emax: int
    subnormals: bool = True
    saturate: bool = False
    largest: float = 0.0

    def __post_init__(self):
        found = lib.nn_format_largest(self.cdata())
        if not found:
            raise UsageError(f"format of {self.precision} bits, exponents {self.emin} to {self.emax}: precision must lie between "
                             "2 and 53, exponents between -1022 and 1023, the largest value between the normal ones")
        object.__setattr__(self, "largest", found)

    @staticmethod
    def names() -> tuple[str, ...]:
        """The named formats."""
        return tuple(_named())

    @staticmethod
    def named(name: str) -> Format:
        """A format by its name, or by its numbers as p<precision>e<emin>..<emax>. Raises UsageError."""
        if name in _named():
            return _named()[name]
        if numbers := re.fullmatch(r"p(\d+)e(-?\d+)\.\.(-?\d+)", name):
            return Format(*map(int, numbers.groups()))
        raise UsageError(f"no format {name!r}; there are {', '.join(_named())}, or p8e-126..127 for a precision and exponents")

    @property
    def unit(self) -> float:
        """The unit roundoff u = 2^-precision: half the spacing of the values above 1."""
        return 2.0**-self.precision

    @property
    def smallest(self) -> float:
        """The smallest positive value."""
        return 2.0 ** (self.emin - (self.precision - 1 if self.subnormals else 0))

    def flushed(self) -> Format:
        """The same without subnormal values."""
        return replace(self, subnormals=False)

    def cdata(self):
        """The nn_format."""
        return ffi.new("nn_format *", [getattr(self, name) for name in _FIELDS])


@cache
def _named() -> dict[str, Format]:
    found, c = {}, ffi.new("nn_format *")
    while (name := lib.nn_format_name(len(found))) != ffi.NULL:
        lib.nn_format_named(c, name)
        values = {field: getattr(c, field) for field in _FIELDS}
        text = ffi.string(name).decode()
        found[text] = Format(**{**values, "subnormals": bool(c.subnormals), "saturate": bool(c.saturate)})
    return found


@dataclass(frozen=True)
class Arithmetic:
    """A format, and the direction in which operations round to it: nearest (ties to even), zero, up, down or stochastic."""

    format: Format
    rounding: str = "nearest"

    def __post_init__(self):
        if self.rounding not in ROUNDINGS:
            raise UsageError(f"no rounding {self.rounding!r}; there are {', '.join(ROUNDINGS)}")

    @classmethod
    def parse(cls, text: str | Format | Arithmetic, rounding: str | None = None) -> Arithmetic:
        """From "bf16", "bf16:stochastic" or "bf16:sr", or a Format; `rounding` where the text says none. Raises UsageError."""
        if isinstance(text, Arithmetic):
            return text
        if isinstance(text, Format):
            return cls(text, rounding or "nearest")
        name, _, direction = text.partition(":")
        return cls(Format.named(name), _SHORT.get(direction, direction) or rounding or "nearest")

    def cdata(self, seed: int = 0, index: int = 0):
        """The nn_arithmetic, which takes the random numbers of (seed, index) where it rounds stochastically."""
        return ffi.new("nn_arithmetic *", {"format": self.format.cdata()[0], "rounding": ROUNDINGS[self.rounding],
                                           "seed": seed % 2**64, "index": index % 2**64})
