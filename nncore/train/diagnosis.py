"""The first bad value of a step: which instruction wrote it, of what, and whether it was made there or only passed on.

The run itself is at full speed and only knows the step. Since its bits can be repeated, the step is done again from where it
began, one instruction at a time, looking at every value.
"""

from __future__ import annotations

from dataclasses import dataclass

from nncore._ffi import ffi, lib
from nncore.errors import FlaggedError, NonFiniteError
from nncore.graph import ops
from nncore.graph.events import KINDS, WORDS, Events, Policy
from nncore.graph.faults import phase
from nncore.graph.tape import Memory, Tape
from nncore.train.steps import externals, write_weights

EVERYTHING = Policy("count", "count", "count", "count")


@dataclass(frozen=True)
class Diagnosis:
    """What an instruction did: `made` tells whether it did so itself, of finite operands. `element` and `value` are None where
    an operation went wrong inside and no value it wrote shows it."""

    step: int
    phase: str
    layer: str
    op: str
    instruction: int
    kinds: tuple[str, ...]
    buffer: str
    element: tuple[int, ...] | None
    value: float | None
    made: bool
    operands: tuple[str, ...]

    def __str__(self) -> str:
        where = f"step {self.step}, layer {self.layer or '-'}, op {self.op} (instruction {self.instruction}), {self.phase}"
        words = " and ".join(WORDS[k] for k in self.kinds)
        if self.element is None:
            what = f"an operation went wrong: {words} inside; what it wrote to {self.buffer} is finite"
        else:
            what = f"a value became NaN or infinite: {_at(self.buffer, self.element)} is {self.value}, "
            what += f"made here{f' by {words}' if words else ''}" if self.made else "passed on"
        return f"{where}: {what}; operands: {', '.join(self.operands) or 'none'}"


def _at(name: str, element: tuple[int, ...]) -> str:
    return f"{name}[{', '.join(map(str, element))}]"


def coordinates(index: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The place of a flat index in a shape."""
    found = []
    for n in reversed(shape):
        index, rest = divmod(index, n)
        found.append(rest)
    return tuple(reversed(found))


def address(memory: Memory, tape: Tape, buffer: int, form: str = "float *"):
    """A buffer of a tape as a C pointer."""
    b = tape.buffers[buffer]
    return ffi.cast(form, memory.pointer(b.region) + b.offset)


def reals(tape: Tape, arguments) -> list[int]:
    """The buffers among an instruction's arguments that hold reals of the arena, each once."""
    found = dict.fromkeys(a for a in arguments if a >= 0)
    return [a for a in found if tape.buffers[a].dtype == "real" and tape.buffers[a].region != "external"]


def written(tape: Tape, index: int) -> list[int]:
    """The real buffers that an instruction writes: outputs and what it changes."""
    i = tape.instructions[index]
    return reals(tape, [*i.args[: i.n_outputs], *(i.args[m] for m in ops.OPS[i.op].mutates)] if not i.n_outputs
                 else i.args[: i.n_outputs])


def read(tape: Tape, index: int) -> list[int]:
    """The real buffers that an instruction reads."""
    i = tape.instructions[index]
    return reals(tape, i.args[i.n_outputs :])


def activation(instruction) -> str:
    """The activation that an instruction applies, as an op's name: its own, or the one fused behind a product; "" if none."""
    name = f"{instruction.note.split(' ')[0]}_fwd" if instruction.note else instruction.op
    return name if name in ops.OPS and ops.OPS[name].epilogue else ""


def options(trainer) -> dict:
    """How the trainer runs a step, for Executor.run: everything but tape, memory and data."""
    return {"position": trainer.position, "seed": trainer.settings.seed, "n_samples": len(trainer.data), "shuffle": True}


def next_tape(trainer) -> Tape:
    """The tape of the step that comes next."""
    whole = len(trainer.data) - trainer.position.cursor >= trainer.settings.batch
    return trainer.tape if whole or trainer.tail is None else trainer.tail


def diagnose(trainer, fatal: tuple[str, ...] = ()) -> Diagnosis | None:
    """Do the next step and stop at the first instruction that writes a NaN or an infinity, or raises one of the kinds
    `fatal`. Parameters, states and position are as before afterwards; None if nothing is wrong with the step."""
    tape, memory = next_tape(trainer), trainer.model.memory
    memory.reserve(tape.nbytes)
    before = trainer.model.snapshot()
    events = Events(EVERYTHING)
    try:
        for index in range(len(tape.instructions)):
            operands = [(b, _first_bad(memory, tape, b), _copy(memory, tape, b)) for b in read(tape, index)]
            events.found.clear()
            failure = _run_one(trainer, tape, index, events)
            kinds = tuple(kind for _, _, kind in events.found)
            bad = [(b, k) for b in written(tape, index) if (k := _first_bad(memory, tape, b)) >= 0]
            if bad or set(kinds) & set(fatal):
                return _describe(trainer, tape, index, kinds, bad, operands)
            if failure:
                raise failure
    finally:
        trainer.model.restore(before)
    return None


def _run_one(trainer, tape: Tape, index: int, events: Events) -> NonFiniteError | None:
    try:
        trainer.executor.run([(tape, 1)], trainer.model.memory, externals(trainer.data), instructions=(index, index + 1),
                             events=events, **options(trainer))
    except NonFiniteError as e:
        return e
    return None


def _first_bad(memory: Memory, tape: Tape, buffer: int) -> int:
    return lib.nn_find_nonfinite(address(memory, tape, buffer), tape.buffers[buffer].count)


def _copy(memory: Memory, tape: Tape, buffer: int) -> memoryview:
    """The values of a buffer now: an instruction may overwrite what it reads."""
    return memoryview(bytes(ffi.buffer(address(memory, tape, buffer, "char *"), 4 * tape.buffers[buffer].count))).cast("f")


def _describe(trainer, tape: Tape, index: int, kinds: tuple, bad: list, operands: list) -> Diagnosis:
    i = tape.instructions[index]
    buffer, flat = bad[0] if bad else ((written(tape, index) or [-1])[0], -1)
    b = tape.buffers[buffer] if buffer >= 0 else None
    element = coordinates(flat, b.shape) if flat >= 0 else None
    value = float(address(trainer.model.memory, tape, buffer)[flat]) if flat >= 0 else None
    texts = tuple(_operand(tape, o, k, values, flat, b) for o, k, values in operands)
    made = all(k < 0 for _, k, _ in operands)
    name = i.op + (f" {i.note}" if i.note else "")
    shown = tuple(k for k in kinds if k != "underflow")
    return Diagnosis(trainer.position.step, phase(tape, index), i.layer, name, index, shown, b.name if b else "-", element, value,
                     made, texts)


def _operand(tape: Tape, operand: int, bad: int, values: memoryview, flat: int, output) -> str:
    """An operand in words: the same element where it has one, else its first bad one, else its range."""
    b = tape.buffers[operand]
    if output is not None and flat >= 0 and b.shape == output.shape:
        return f"{_at(b.name, coordinates(flat, b.shape))} = {values[flat]:.9g}"
    if bad >= 0:
        return f"{_at(b.name, coordinates(bad, b.shape))} = {values[bad]:.9g}"
    s = ffi.new("nn_statistics *")
    lib.nn_describe(s, ffi.cast("float *", ffi.from_buffer("char[]", values.cast("B"))), len(values), -float("inf"), float("inf"))
    return f"|{b.name}| of {b.shape} at most {s.largest:.6g}"


# ---- from a failure to its place -------------------------------------------------------------------------------------


def rewind(trainer, step: int) -> None:
    """Put the trainer where step `step` of the present epoch begins: the last good state, and the steps from there again."""
    trainer.put_back()
    p, batch, n = trainer.position, trainer.settings.batch, len(trainer.data)
    if p.cursor == 0:
        trainer.model.memory.tensor(trainer.sums).view()[:] = memoryview(bytes(32)).cast("d")
    write_weights(trainer.settings.loss, trainer.model)
    whole = min((n - p.cursor) // batch, step - p.step)
    segments = [(trainer.tape, whole)]
    if trainer.tail and step - p.step > whole:
        segments.append((trainer.tail, 1))
    if step > p.step:
        trainer.executor.run(segments, trainer.model.memory, externals(trainer.data), **options(trainer))


def _root(trainer, found: Diagnosis) -> Diagnosis:
    """What an earlier step of this epoch did, if a flag tells of one: an update may have stored what only the next step meets.
    The trainer is then put where that step begins."""
    here, start = trainer.position.step, trainer.good[1].step
    earlier = [first for _, first in trainer.events.found.values() if start <= first < here]
    if earlier:
        rewind(trainer, min(earlier))
        if root := diagnose(trainer, tuple(KINDS)[:3]):
            return root
        rewind(trainer, here)
    return found


def locate(trainer, error: NonFiniteError) -> NonFiniteError:
    """The error with the place where it began in its text, and as `diagnosis`. After a FlaggedError the step has changed
    something: the trainer is put where that step began, and keeps all that was learned before it."""
    flagged = isinstance(error, FlaggedError)
    if flagged:
        rewind(trainer, error.step)
    found = diagnose(trainer, error.kinds if flagged else ())
    if found and not found.made:
        found = _root(trainer, found)
    p = trainer.position
    here = trainer.model.snapshot(), type(p)(p.step, p.epoch, p.cursor)
    trainer.observer.diagnosis = found
    trainer.observer.look_back(p.step)
    trainer.model.restore(here[0])
    trainer.position = here[1]
    if flagged or trainer.watch.policy.mask("raise"):  # the steps before it are good: none of them is lost
        trainer.good = here[0], type(p)(p.step, p.epoch, p.cursor)
    if found is None:
        return error
    located = type(error)(str(found))
    if flagged:
        located.tape, located.instruction, located.step, located.kinds = error.tape, found.instruction, error.step, error.kinds
    located.diagnosis = found
    return located
