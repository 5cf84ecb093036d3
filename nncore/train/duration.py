"""Times as people write them."""

from __future__ import annotations

import re
from math import isfinite

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_FORM = re.compile(r"\s*".join(rf"(?:(?P<{unit}>\d+(?:\.\d+)?)\s*{unit})?" for unit in _UNITS), re.ASCII)


def duration(text: str | float) -> float:
    """Seconds of 90, "90", "90s", "1.5m", "1h30m". Raises ValueError saying what was expected.

    >>> duration("1h 30m")
    5400.0
    """
    if isinstance(text, str):
        word = text.strip().lower()
        match = _FORM.fullmatch(f"{word}s" if word[-1:].isdigit() else word)
        seconds = sum(float(n) * _UNITS[unit] for unit, n in match.groupdict("0").items()) if match and word else None
    else:
        seconds = float(text)
    if seconds is None or not isfinite(seconds) or seconds <= 0:
        raise ValueError(f"{text!r} is no time: hours, minutes, seconds above 0, as 600s, 10m, 1h30m; a number alone is seconds")
    return seconds
