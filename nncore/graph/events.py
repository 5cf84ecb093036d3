"""Events: which instructions raised an IEEE 754 flag, in how many steps, and what shall happen then.

The processor keeps a sticky flag for each kind of exception; the executor takes them after every instruction (csrc/flags.c).
A policy says per kind, as NumPy's errstate does, whether it is ignored, counted, warned of, or ends the run.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from nncore._ffi import ffi, lib
from nncore.errors import UsageError
from nncore.tensor import address_of, aligned

KINDS = {"invalid": lib.NN_INVALID, "divide": lib.NN_DIVIDE, "overflow": lib.NN_OVERFLOW, "underflow": lib.NN_UNDERFLOW}
WORDS = {"invalid": "an invalid operation", "divide": "a division by zero", "overflow": "an overflow",
         "underflow": "an underflow"}
CHOICES = ("ignore", "count", "warn", "raise")


@dataclass(frozen=True)
class Policy:
    """What happens per kind: "ignore", "count", "warn" (count, and say so once), "raise" (end the run with FlaggedError).

    invalid: 0/0, inf - inf, 0 inf, the root or logarithm of a negative number: a NaN is made. divide: x/0 and log 0: an
    infinity is made of finite numbers. overflow: a result is too large. underflow: one is so small that it lost digits.
    Raises UsageError for any other word.
    """

    invalid: str = "count"
    divide: str = "count"
    overflow: str = "count"
    underflow: str = "ignore"

    def __post_init__(self):
        for f in fields(self):
            if getattr(self, f.name) not in CHOICES:
                raise UsageError(f"{f.name}={getattr(self, f.name)}: choose one of {', '.join(CHOICES)}")

    def mask(self, *choices: str) -> int:
        """The bits of the kinds for which one of these is chosen."""
        return sum(bit for name, bit in KINDS.items() if getattr(self, name) in choices)


def kind_names(bits: int) -> list[str]:
    """The kinds of these bits."""
    return [name for name, bit in KINDS.items() if bits & bit]


class Events:
    """What runs have raised so far: `found` is {(tape, instruction, kind): [steps, first step]}."""

    def __init__(self, policy: Policy | None = None):
        self.policy = policy or Policy()
        self.found: dict[tuple[str, int, str], list[int]] = {}

    def bind(self, run, tapes: list) -> None:
        """Point a run at counters of its own."""
        total = sum(len(t.instructions) for t in tapes)
        self._events = ffi.new("nn_event[]", max(total, 1))
        self._raised = aligned(max(lib.nn_raised_nbytes(total, run.threads), 64))
        run.events, run.raised = self._events, ffi.cast("uint8_t *", address_of(self._raised))
        run.raised_nbytes = len(self._raised)
        run.kinds, run.fatal = self.policy.mask("count", "warn", "raise"), self.policy.mask("raise")

    def collect(self, tapes: list) -> None:
        """Add what the run has counted. The same tape twice in a run adds to one row."""
        flat = memoryview(ffi.buffer(self._events)).cast("B").cast("q")
        width, base = 2 * lib.NN_KINDS, 0
        for tape in tapes:
            end = base + len(tape.instructions)
            if any(flat[width * base : width * end]):
                self._add(tape, flat[width * base : width * end].tolist())
            base = end

    def _add(self, tape, rows: list[int]) -> None:
        n = lib.NN_KINDS
        for i in range(len(tape.instructions)):
            for k, name in enumerate(KINDS):
                steps, first = rows[2 * n * i + k], rows[2 * n * i + n + k]
                if steps:
                    old = self.found.get((tape.name, i, name), [0, first])
                    self.found[tape.name, i, name] = [old[0] + steps, min(old[1], first)]

    def rows(self, tapes: list) -> list[dict]:
        """`found` as plain values, in the order of the tapes: tape, instruction, op, layer, kind, steps, first_step."""
        rows = []
        for tape in tapes:
            for i, instruction in enumerate(tape.instructions):
                for kind in KINDS:
                    if counted := self.found.get((tape.name, i, kind)):
                        rows.append({"tape": tape.name, "instruction": i, "op": instruction.op, "layer": instruction.layer,
                                     "kind": kind, "steps": counted[0], "first_step": counted[1]})
        return rows
