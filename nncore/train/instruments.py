"""What watches a training: how deep, at which steps, and what an IEEE flag leads to. It never changes a bit of the run.

    level 0   the flags of every instruction, always on
    level 1   figures of every tensor (statistics.py) at every `every`-th step
    level 2   a float64 shadow of every instruction (shadow.py) at these steps as well
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from nncore.errors import UsageError
from nncore.graph.events import CHOICES, KINDS, Policy

DEEPEST = 2


@dataclass(frozen=True)
class Instruments:
    """level 0 to 2; every: watched are the first step and each `every`-th; policy: what flags lead to. Raises UsageError.

    >>> Instruments.parse("1,every=50,overflow=raise").policy.overflow
    'raise'
    """

    level: int = 0
    every: int = 100
    policy: Policy = field(default_factory=Policy)

    def __post_init__(self):
        if not isinstance(self.level, int) or not 0 <= self.level <= DEEPEST:
            raise UsageError(f"watch: the level lies between 0 and {DEEPEST}, got {self.level!r}")
        if isinstance(self.every, bool) or not isinstance(self.every, int) or self.every < 1:
            raise UsageError(f"watch: every must be a positive whole number, got {self.every!r}")

    @classmethod
    def parse(cls, text: str) -> Instruments:
        """LEVEL, a word for all kinds but underflow (ignore, count, warn, raise), KIND=WORD, every=N, joined by commas."""
        found = cls()
        for item in (part.strip() for part in text.split(",")):
            key, equals, value = item.partition("=")
            if item.isdigit():
                found = replace(found, level=int(item))
            elif item in CHOICES:
                found = replace(found, policy=replace(found.policy, invalid=item, divide=item, overflow=item))
            elif equals and key in KINDS:
                found = replace(found, policy=replace(found.policy, **{key: value}))
            elif key == "every" and value.isdigit():
                found = replace(found, every=int(value))
            else:
                raise UsageError(f"watch: {item!r} is neither a level (0, 1, 2), nor {', '.join(CHOICES)}, nor KIND=WORD with a "
                                 f"kind of {', '.join(KINDS)}, nor every=N")
        return found

    def asks(self, step: int) -> bool:
        """Whether the step is watched."""
        return self.level > 0 and step % self.every == 0


def instruments(given: Instruments | str | int | None) -> Instruments:
    """Instruments from what `watch=` was given. Raises UsageError."""
    if isinstance(given, Instruments):
        return given
    if given is None or isinstance(given, str) or (isinstance(given, int) and not isinstance(given, bool)):
        return Instruments.parse(str(given)) if given is not None else Instruments()
    raise UsageError(f"watch takes Instruments, their text or a level, got {given!r}")
