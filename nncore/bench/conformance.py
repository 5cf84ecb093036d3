"""The conformance suite of kernels: what a kernel is run on, and what is made of what it gave. It runs nothing of theirs.

`trials(signature)` makes the calls: every shape and kind of data of the op's cases (nncore.bench.cases), outputs in place of
inputs, unreadable pages beside the buffers, values at which naive formulas overflow, the derivative of the forward op, the same
call twice. Somebody runs them (nncore.assign.kernel_box) and gives back what lies in memory afterwards, canaries and inputs too;
`judge` compares with the float64 reference within the bound of the case: that of a plain loop, where it is wider than ours.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from math import prod

from nncore.bench.cases import TYPECODE, Bound, Call, Case, collect
from nncore.bench.compare import compare, same_bits
from nncore.bench.gradient import derivative
from nncore.bench.kernels import Bench, Machine
from nncore.bench.signature import Signature

CHECKS = {"values": "ordinary shapes, all kinds of data", "shapes": "empty, one, primes, no multiples of 8",
          "aliasing": "outputs in place of inputs", "memory": "nothing touched outside the buffers, inputs left alone",
          "traps": "logits of 1e4, infinities, NaN, signed zeros, denormals", "gradient": "the derivative of the forward op",
          "determinism": "the same call, the same bits"}
MOST = 4200  # elements of an output; a loop of Python looks at each
SHOWN = 24  # elements of a call whose inputs are told
TIMED = 1 << 22  # bytes of the call that is timed, at most
CANARY = b"\xa5" * 64


@dataclass
class Trial:
    """One call. alias: (output, input) that share memory; guard: "back" or "front", where an unreadable page lies; shift: bytes
    that buffers are off their alignment; again: the trial whose bits it has to give once more."""

    check: str
    case: Case
    size: tuple[int, ...]
    kind: str
    call: Call
    alias: tuple[int, int] | None = None
    guard: str = ""
    shift: int = 0
    again: int | None = None
    want: list[list] | None = None
    bound: Bound | None = None

    def __str__(self) -> str:
        """The call in words: what reproduces it."""
        place = f", argument {self.alias[0]} in place of {self.alias[1]}" if self.alias else ""
        place += f", an unreadable page {'behind' if self.guard == 'back' else 'before'} every buffer" if self.guard else ""
        place += f", buffers {self.shift} bytes off" if self.shift else ""
        sizes = ", ".join(map(str, self.call.dims))
        scalars = f"; {', '.join(f'{s:g}' for s in self.call.scalars)}" if self.call.scalars else ""
        return f"{self.case.name} on sizes ({sizes}{scalars}), data {self.kind!r}{place}"


@dataclass
class Ran:
    """What came of a trial. status: "done", "signal" (number says which), "timeout", "ended" (the process did, by itself) or
    "not run"; memory: of every argument its bytes with 64 before and 64 behind, None where absent; empty unless done."""

    status: str
    number: int = 0
    seconds: float = 0.0
    memory: list[bytes | None] = field(default_factory=list)


# ---- what is run -----------------------------------------------------------------------------------------------------


def trials(signature: Signature) -> list[Trial]:
    """The calls of a kernel; last those that crash who reads a little too far, for much that crashes is not tried to its end."""
    cases = [c for c in collect() if c.op == signature.name]
    found = [t for part in (_grid, _aliases, _traps) for case in cases for t in part(case)]
    found += [Trial("gradient", d.case, d.size, "normal", d.call, want=d.want, bound=d.bound) for d in derivative(signature.name)]
    first = next((i for i, t in enumerate(found) if t.check == "values"), 0)
    found += [Trial("determinism", t.case, t.size, t.kind, t.call, again=first) for t in [found[first]] * 2]
    return found + [t for case in cases for t in _memory(case)]


@cache
def _most(case: Case) -> list[tuple]:
    """Sizes whose call is small enough to be looked at in Python."""
    return [s for s in case.sizes if prod(s) <= 60_000 and max((a.count for a in case.call(s).args if a), default=0) <= MOST]


def _outputs(call: Call) -> int:
    return call.args[call.outputs[0]].count


def _grid(case: Case) -> Iterator[Trial]:
    """Every size with the first kind of data, the regular ones with all."""
    calls = {s: case.call(s, case.kinds[0]) for s in _most(case)}
    regular = [s for s in calls if all(s) and _outputs(calls[s]) % 8 == 0] or list(calls)[-1:]
    for size in regular[-3:]:
        for kind in case.kinds:
            yield Trial("values", case, size, kind, case.call(size, kind))
    for size, call in calls.items():
        if size not in regular[-3:]:
            yield Trial("shapes", case, size, case.kinds[0], call)


def _aliases(case: Case) -> Iterator[Trial]:
    for size in _most(case)[-3:]:
        for alias in case.alias:
            yield Trial("aliasing", case, size, case.kinds[0], case.call(size, case.kinds[0]), alias=alias)


def _memory(case: Case) -> Iterator[Trial]:
    """Pages without access beside the buffers; buffers off their alignment."""
    sizes, kind = _most(case), case.kinds[0]
    for size in sizes[:2] + sizes[-3:]:
        for place in ({"guard": "back"}, {"guard": "front"}, {"shift": 4}):
            yield Trial("memory", case, size, kind, case.call(size, kind), **place)


def _traps(case: Case) -> Iterator[Trial]:
    if not case.special:
        return
    for size in [s for s in _most(case) if 30 <= prod(s) <= 2000][-2:]:
        if large := _large(case, size):
            yield Trial("traps", case, size, "up to 1e4", large)
        yield Trial("traps", case, size, "special", case.call(size, "special"))


def _large(case: Case, size: tuple) -> Call | None:
    """Logits of +-1e4, one of them at the limit: exp of these overflows and sums of them do not, where a formula is right. Only
    for functions of one tensor, for their bounds hold for any."""
    call = case.call(size, "uniform" if "uniform" in case.kinds else case.kinds[0])
    inputs = [a for a in call.args if a and a.role == "in"]
    if len(inputs) != 1 or inputs[0].dtype != "real" or len(call.outputs) != 1 or "normal" not in case.kinds:
        return None
    most = max(map(abs, inputs[0].values), default=0) or 1.0
    inputs[0].values = list(array("f", (1e4 * v / most for v in inputs[0].values)))
    return call


def timed(signature: Signature) -> Trial | None:
    """The call that is timed: the smallest that the benches time too."""
    for case in [c for c in collect() if c.op == signature.name and c.bench]:
        for size in sorted(case.bench, key=prod)[:1]:
            call = case.call(size, case.kinds[0])
            if call.nbytes <= TIMED and not call.run:
                return Trial("speed", case, size, case.kinds[0], call)
    return None


# ---- what is made of it ----------------------------------------------------------------------------------------------


def typecode(trial: Trial, i: int) -> str:
    """The array typecode of an argument's elements, in float32."""
    dtype = trial.call.args[i].dtype
    return TYPECODE["f32" if dtype == "real" else dtype]


def content(trial: Trial) -> list[bytes | None]:
    """Bytes of every argument before the call: outputs are all ones, which is NaN, or -1 for integers."""
    found: list[bytes | None] = []
    for i, arg in enumerate(trial.call.args):
        if arg is None:
            found.append(None)
        elif arg.values is None:
            found.append(b"\xff" * (arg.count * array(typecode(trial, i)).itemsize))
        else:
            found.append(arg.array("f32").tobytes())
    return found


def outputs(trial: Trial, ran: Ran) -> list[array]:
    """What a trial wrote."""
    found = []
    for i in trial.call.outputs:
        values = array(typecode(trial, i))
        count = trial.call.args[i].count * values.itemsize
        source = trial.alias[1] if trial.alias and trial.alias[0] == i else i
        values.frombytes(ran.memory[source][64 : 64 + count])
        found.append(values)
    return found


def _broken(trial: Trial, ran: Ran) -> str:
    """What a trial did beside writing its outputs, in words; "" if nothing."""
    how = {"signal": f"ended by signal {ran.number}", "timeout": "did not come back in time", "not run": "not run",
           "ended": "ended the process it ran in"}
    if ran.status != "done":
        return how[ran.status] + (" (touched an unreadable page)" if trial.guard and ran.number == 11 else "")
    aliased = trial.alias or (-1, -1)
    for i, (before, after) in enumerate(zip(content(trial), ran.memory, strict=True)):
        if before is None or i == aliased[0]:
            continue
        if after[:64] != CANARY or after[64 + len(before) :] != CANARY:
            return f"argument {i}: wrote {'behind its end' if after[:64] == CANARY else 'before its beginning'}"
        if trial.call.args[i].role == "in" and i != aliased[1] and after[64:-64] != before:
            return f"argument {i} is an input and was changed"
    return ""


@dataclass
class Check:
    """The trials of one kind together. ulps, allowed: of the element nearest to its bound; failure: the smallest that was tried,
    in words, its inputs with it if they are few."""

    name: str
    trials: int = 0
    failed: int = 0
    ulps: float = 0.0
    allowed: float = 0.0
    failure: str = ""
    _size: float = float("inf")

    def fail(self, trial: Trial, said: str, tried: bool) -> None:
        """Count a trial that failed."""
        self.failed += 1
        size = sum(a.count for a in trial.call.args if a) if tried else 1 << 60
        if size < self._size:
            given = [f"argument {i} = {a.array('f32').tolist()}" for i, a in enumerate(trial.call.args) if a and a.values]
            self._size, self.failure = size, "\n    ".join([f"{trial}: {said}", *(given if size <= SHOWN else [])])

    @property
    def verdict(self) -> str:
        """PASS or FAIL."""
        return "FAIL" if self.failed else "PASS"

    def plain(self) -> dict:
        """As JSON."""
        return {"name": self.name, "verdict": self.verdict, "trials": self.trials, "failed": self.failed, "ulps": self.ulps,
                "allowed_ulps": self.allowed, "failure": self.failure or None}


def judge(found: list[Trial], ran: list[Ran]) -> list[Check]:
    """A check for each kind of trial that there was, in the order of CHECKS."""
    checks: dict[str, Check] = {}
    truths: dict[tuple, list] = {}
    for trial, one in zip(found, ran, strict=True):
        check = checks.setdefault(trial.check, Check(trial.check))
        check.trials += 1
        said, ulps, allowed = _look(trial, one, found, ran, truths)
        if said:
            check.fail(trial, said, one.status != "not run")
        elif 0 < allowed < float("inf") and ulps * check.allowed >= check.ulps * allowed:
            check.ulps, check.allowed = ulps, allowed
    return [checks[name] for name in CHECKS if name in checks]


def verdict(found: list[Trial], ran: list[Ran], checks: list[Check]) -> str:
    """PASS, or FAIL; CRASHED and TIME_LIMIT for what ended a call that was given all the memory it could ask for."""
    bad = {r.status for t, r in zip(found, ran, strict=True) if not t.guard}
    if "timeout" in bad:
        return "TIME_LIMIT"
    if bad & {"signal", "ended"} or {r.status for r in ran} == {"done", "not run"} or bad == {"not run"}:
        return "CRASHED"
    return "FAIL" if any(c.failed for c in checks) else "PASS"


def _look(trial: Trial, ran: Ran, found: list[Trial], every: list[Ran], truths: dict) -> tuple[str, float, float]:
    """(what is wrong, error and bound in ulps) of one trial."""
    if said := _broken(trial, ran):
        return said, 0.0, 0.0
    got = outputs(trial, ran)
    if trial.again is not None:
        first = every[trial.again]
        same = first.status == "done" and all(map(same_bits, got, outputs(found[trial.again], first)))
        return "" if same else "another result than the first time", 0.0, 0.0
    key = trial.case.name, trial.size, trial.kind
    want = trial.want or truths.get(key) or truths.setdefault(key, truth_of(trial))
    result = compare(trial.call, got, want, trial.bound or trial.case.naive or trial.case.bound, "f32")
    return result.miss, result.ulps, result.allowed


def truth_of(trial: Trial) -> list[list]:
    """The outputs of the float64 reference."""
    return [x.tolist() for x in Bench(trial.case.op, trial.call, Machine("reference", 1), real="f64").outputs()]
