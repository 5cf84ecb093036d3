"""Numbers as a reader wants them. What is missing is an en dash."""

from __future__ import annotations

from nncore.report.read import number

NONE = "\u2013"


def percent(value, digits: int = 2) -> str:
    """A share: 0.8863 is 88.63 %."""
    return NONE if number(value) is None else f"{100 * value:.{digits}f}\u202f%"


def decimal(value, digits: int = 4, most: float = 1e15) -> str:
    """A number with so many significant digits, thousands set apart; one from `most` on, if it is no int, by its power of ten."""
    if number(value) is None:
        return NONE
    if value < 0:
        return f"\u2212{decimal(-value, digits, most)}"
    if isinstance(value, int) or 10 ** (digits - 1) <= value < most:
        return f"{value:,.0f}".replace(",", "\u202f")
    mantissa, _, exponent = f"{value:.{digits}g}".partition("e")
    if exponent:
        return f"{mantissa}\u00b710{_raised(int(exponent))}"
    return f"{float(mantissa):,.10g}".replace(",", "\u202f")


def _raised(n: int) -> str:
    return str(n).translate(str.maketrans("-0123456789", "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"))


def fixed(value, places: int = 4) -> str:
    """A number with so many places: a column of them is aligned."""
    return NONE if number(value) is None else f"{value:.{places}f}".replace("-", "\u2212")


def seconds(value) -> str:
    """A duration in the unit that fits."""
    if number(value) is None:
        return NONE
    if value >= 90:
        minutes, rest = divmod(round(value), 60)
        hours, minutes = divmod(minutes, 60)
        if hours:
            return f"{hours}\u202fh {minutes}\u202fmin"
        return f"{minutes}\u202fmin {rest}\u202fs" if rest else f"{minutes}\u202fmin"
    return f"{value:.2f}\u202fs" if value >= 1 else f"{1000 * value:.0f}\u202fms"


def micro(value) -> str:
    """Microseconds, as many places as they deserve."""
    if number(value) is None:
        return NONE
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f}".replace(",", "\u202f")


def shape(value) -> str:
    """(28, 28, 1) as 28 x 28 x 1."""
    return " \u00d7 ".join(str(int(v)) for v in value) or "1"


def setting(value) -> str:
    """A value of config.toml or result.json as text."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(setting, value)) or NONE
    if isinstance(value, dict):
        return ", ".join(f"{k} = {setting(v)}" for k, v in value.items()) or NONE
    return f"{value:g}" if isinstance(value, float) else str(value)
