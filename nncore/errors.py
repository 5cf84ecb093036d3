"""Every exception nncore raises, in one tree. A message names what is wrong, where, and what to do.

NNError                 exit code 5: our own fault
  UsageError            2  a wrong option, size, rate, name
    ShapeError          2  shapes that do not fit together
    GraphError          2  a network that cannot be differentiated or planned
    IsaError            2  an instruction set this build or CPU does not have
  DataError             3  an unreadable or malformed file or array
  NonFiniteError        1  training met NaN or infinity
    FlaggedError        1  an operation did what the policy of a run forbids: made a NaN, divided by zero, overflowed
  LimitError            4  a full disk, an unwritable output, no memory
  Interrupted           130 stopped by the user; what was learned is kept
"""

from __future__ import annotations


class NNError(Exception):
    """Base of all errors of nncore; raised itself only for faults of ours."""

    exit_code = 5


class UsageError(NNError):
    """A wrong option or argument."""

    exit_code = 2


class ShapeError(UsageError):
    """Shapes that do not fit together; the message names the op and both shapes."""


class GraphError(UsageError):
    """A network that cannot be differentiated, planned or written to a tape."""


class IsaError(UsageError):
    """An instruction set that this build or this CPU does not have. Never a silent fallback."""


class DataError(NNError):
    """A file or array from outside that is unreadable or not what it claims to be."""

    exit_code = 3


class NonFiniteError(NNError):
    """A watched value became NaN or infinite: the message names layer, op and step."""

    exit_code = 1


class FlaggedError(NonFiniteError):
    """An instruction raised an IEEE flag that the run's policy forbids. `tape`, `instruction` (its index), `step` and `kinds`
    (names) say where; the updates of that step are done."""

    tape = None
    instruction = step = -1
    kinds: tuple[str, ...] = ()


class LimitError(NNError):
    """A limit was hit: a full disk, an unwritable output, memory."""

    exit_code = 4


class Interrupted(NNError):
    """Training was stopped by the user; what was learned until then is kept."""

    exit_code = 130
