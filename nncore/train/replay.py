"""Time travel: any step of a run again, to the bit, under instruments; where two runs part; whether a run can be repeated.

Data, seed and settings fix every bit of a training (numerics.md 3), so a run folder is a recording: what is not stored is
computed again from the nearest checkpoint before it.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from nncore._ffi import ffi, lib
from nncore.data import load
from nncore.errors import DataError, UsageError
from nncore.graph.faults import phase
from nncore.graph.tape import Executor
from nncore.train.checkpoint import load_checkpoint
from nncore.train.diagnosis import address, coordinates, next_tape, options, written
from nncore.train.instruments import DEEPEST as SHADOW
from nncore.train.instruments import Instruments
from nncore.train.monte_carlo import step_digits
from nncore.train.runs import RESULT, RunFolder, fingerprint, limited, make_trainer
from nncore.train.steps import externals, write_weights


def reopen(run: str | os.PathLike, executor: Executor | None = None, whole: bool = False):
    """(trainer, folder) of a run at its beginning; with `whole` it stops where the run stopped by itself.

    Raises DataError if the folder holds no run, the data are not those it was begun on, or the bits would differ.
    """
    folder = RunFolder.open(run)
    config = folder.config()
    if config.run.numerics != lib.NN_NUMERICS_ID:
        raise DataError(f"{run}: made with numerics id {config.run.numerics}, this nncore has {lib.NN_NUMERICS_ID}: the bits "
                        f"would differ; use nncore {config.run.version}")
    data = limited(load(config.data.asked), config)
    trainer = make_trainer(config, data, executor=executor or Executor())
    model = trainer.model
    found = fingerprint(data, model.memory.tensor(model.mean).tobytes() + model.memory.tensor(model.scale).tobytes())
    if config.run.fingerprint not in ("", found):
        raise DataError(f"{config.data.asked}: not the data that {run} was begun on")
    if not whole:
        trainer.callbacks, trainer.validation = [], None
    return trainer, folder


def checkpoint_steps(folder: RunFolder) -> dict[int, Path]:
    """The checkpoints of a run by step, ascending."""
    return {int(p.stem.partition("-")[2]): p for p in folder.checkpoints()}


def last_step(trainer, folder: RunFolder) -> int:
    """Steps that the run has done: those of its newest checkpoint; all of them where there is none."""
    return max(checkpoint_steps(folder), default=trainer.total_steps)


def advance(trainer, step: int) -> None:
    """Train on to where `step` begins."""
    if trainer.position.step < step:
        trainer.settings.steps, trainer.reason = step, None
        trainer.run()
    if trainer.averaging and trainer.averaging.inside:
        trainer.averaging.swap()
    trainer.follow_plan()
    if trainer.position.cursor == 0:  # what the loop does where an epoch begins
        trainer.model.memory.tensor(trainer.sums).view()[:] = memoryview(bytes(32)).cast("d")
    write_weights(trainer.settings.loss, trainer.model)


def travel(trainer, folder: RunFolder, step: int) -> int:
    """Bring a reopened run to where `step` begins; returns the step of the checkpoint it started from, 0 for the beginning."""
    steps = checkpoint_steps(folder)
    if start := max((s for s in steps if s <= step), default=0):
        load_checkpoint(trainer, steps[start])
    advance(trainer, step)
    return start


# ---- replay ----------------------------------------------------------------------------------------------------------


def replay(run: str | os.PathLike, step: int, level: int = 1, executor: Executor | None = None) -> dict:
    """One step of a run under instruments of a level, 1 to 3: {run, step, from_step, weights_sha256 before and after, record,
    checked}. `checked` is the step of a later checkpoint that the replay, trained on to it, equals to the bit; None if the
    run has none. Raises UsageError for a step that the run has not, DataError if the checkpoint is not met."""
    trainer, folder = reopen(run, executor)
    steps, last = checkpoint_steps(folder), last_step(trainer, folder)
    if not 0 <= step < last:
        raise UsageError(f"--step {step}: {run} has the steps 0 to {last - 1}")
    start = travel(trainer, folder, step)
    trainer.watch = Instruments(min(level, SHADOW))
    trainer.observer.instruments = trainer.watch
    before = trainer.model.weights_sha256
    samples = step_digits(trainer, next_tape(trainer)) if level > SHADOW else None
    record = trainer.observer.look(next_tape(trainer)).told()
    if samples:
        record["monte_carlo"] = samples
    _close_epoch(trainer)
    found = {"run": os.fspath(run), "step": step, "from_step": start, "weights_before": before,
             "weights_after": trainer.model.weights_sha256, "record": record, "checked": None}
    trainer.watch = trainer.observer.instruments = Instruments()
    if later := min((s for s in steps if s > step), default=None):
        advance(trainer, later)
        mine = trainer.model.weights_sha256
        load_checkpoint(trainer, steps[later])
        if trainer.model.weights_sha256 != mine:
            raise DataError(f"{steps[later]}: training on from step {step} gives other weights than this checkpoint holds: the "
                            f"run was made elsewhere or its files were changed; nncore verify {run} tells more")
        found["checked"] = later
    return found


def _close_epoch(trainer) -> None:
    p = trainer.position
    if p.cursor >= len(trainer.data):
        p.epoch, p.cursor = p.epoch + 1, 0


# ---- verify ----------------------------------------------------------------------------------------------------------


def verify(run: str | os.PathLike, executor: Executor | None = None, on_progress=None) -> dict:
    """Do a run again from its settings: {run, steps, expected, found, same}, the hashes of its weights. Raises DataError for a
    run that has not ended."""
    trainer, folder = reopen(run, executor, whole=True)
    path = folder.path / RESULT
    if not path.is_file():
        raise DataError(f"{run}: there is no result.json: the run has not ended; go on with it: nncore train --resume {run}")
    try:
        expected = json.loads(path.read_bytes())["weights_sha256"]
    except (ValueError, KeyError, TypeError) as e:
        raise DataError(f"{path}: no result of a training: {e}") from e
    trainer.settings.steps = last_step(trainer, folder)
    trainer.on_progress = on_progress
    trainer.run()
    found = trainer.model.weights_sha256
    return {"run": os.fspath(run), "steps": trainer.position.step, "isa": trainer.executor.isa,
            "threads": trainer.executor.threads, "expected": expected, "found": found, "same": found == expected}


# ---- diff ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parting:
    """Where two runs part: `step` -1 before the first step. `instruction` is None where parameters or tapes differ."""

    step: int
    instruction: int | None
    op: str
    layer: str
    phase: str
    buffer: str
    element: tuple[int, ...]
    values: tuple[float, float] | None
    ulps: int | None
    why: str = ""

    def __str__(self) -> str:
        if self.why:
            return self.why
        at = f"{self.buffer}[{', '.join(map(str, self.element))}]"
        numbers = f"{self.values[0]!r} and {self.values[1]!r}, {self.ulps:,} ulp apart"
        if self.instruction is None:
            return f"before the first step: {at} is {numbers}"
        where = f"step {self.step}, layer {self.layer or '-'}, op {self.op} (instruction {self.instruction}), {self.phase}"
        return f"{where}: {at} is {numbers}"


def diff(run_a: str | os.PathLike, run_b: str | os.PathLike, executor: Executor | None = None) -> dict:
    """{settings: keys that differ with both values, steps compared, parting or None}. Raises UsageError for two networks
    whose parameters do not correspond."""
    executor = executor or Executor()
    (a, folder_a), (b, folder_b) = (reopen(r, executor) for r in (run_a, run_b))
    shapes = [{n: w.shape for n, w in t.model.parameters.items()} for t in (a, b)]
    if shapes[0] != shapes[1]:
        name = next(n for n in {**shapes[0], **shapes[1]} if shapes[0].get(n) != shapes[1].get(n))
        raise UsageError(f"{run_a} and {run_b} are different networks: parameter {name} is {shapes[0].get(name, 'missing')} and "
                         f"{shapes[1].get(name, 'missing')}")
    keys = _settings(folder_a.config().tables(), folder_b.config().tables())
    steps = min(last_step(a, folder_a), last_step(b, folder_b))
    parting = _initial(a, b) or _walk(a, b, steps)
    return {"settings": keys, "steps": steps if parting is None else parting.step, "parting": parting}


def _settings(a: dict, b: dict, prefix: str = "") -> dict[str, tuple]:
    """Dotted keys whose values differ, [run] left out."""
    found = {}
    for key in sorted({**a, **b}):
        x, y = a.get(key), b.get(key)
        if isinstance(x, dict) and isinstance(y, dict):
            found.update(_settings(x, y, f"{prefix}{key}."))
        elif x != y and prefix != "run.":
            found[f"{prefix}{key}"] = (x, y)
    return found


def _initial(a, b) -> Parting | None:
    for name, w in a.model.parameters.items():
        x, y = (t.model.memory.tensor(t.model.parameters[name]).flat() for t in (a, b))
        if (flat := _first_difference(x, y)) is not None:
            values = (x[flat], y[flat])
            return Parting(-1, None, "", "", "", name, coordinates(flat, w.shape), values, ulp_distance(*values))
    return None


def _same(a, b) -> bool:
    """Whether parameters are equal to the bit."""
    return all(a.model.memory.tensor(w).tobytes() == b.model.memory.tensor(b.model.parameters[n]).tobytes()
               for n, w in a.model.parameters.items())


def _walk(a, b, steps: int) -> Parting | None:
    """Halve the steps between the last place where the runs were equal and the first where they were not."""
    low, chunk = 0, max(min(a.steps_per_epoch, b.steps_per_epoch), 1)
    kept = keep(a), keep(b)
    high = None
    while low < steps and high is None:
        target = min(low + chunk, steps)
        advance(a, target), advance(b, target)
        if _same(a, b):
            low, kept = target, (keep(a), keep(b))
        else:
            high = target
    if high is None:
        return None
    while high - low > 1:
        go_back(a, kept[0]), go_back(b, kept[1])
        middle = (low + high) // 2
        advance(a, middle), advance(b, middle)
        if _same(a, b):
            low, kept = middle, (keep(a), keep(b))
        else:
            high = middle
    go_back(a, kept[0]), go_back(b, kept[1])
    return _compare_step(a, b)


def keep(trainer) -> tuple:
    p = trainer.position
    return trainer.model.snapshot(), (p.step, p.epoch, p.cursor)


def go_back(trainer, kept: tuple) -> None:
    trainer.model.restore(kept[0])
    p = trainer.position
    p.step, p.epoch, p.cursor = kept[1]
    del trainer.history[p.epoch :]


def _compare_step(a, b) -> Parting:
    """Both next steps, one instruction at a time."""
    advance(a, a.position.step), advance(b, b.position.step)
    tapes, step = (next_tape(a), next_tape(b)), a.position.step
    for index, (i, j) in enumerate(zip(tapes[0].instructions, tapes[1].instructions, strict=False)):
        shapes = [[t.buffers[x].shape for x in k.args if x >= 0] for t, k in zip(tapes, (i, j), strict=True)]
        if (i.op, i.note) != (j.op, j.note) or shapes[0] != shapes[1]:
            why = (f"step {step}, instruction {index}: the tapes themselves differ: {i.op} {i.note} of layer {i.layer or '-'} on "
                   f"{shapes[0]}, and {j.op} {j.note} of layer {j.layer or '-'} on {shapes[1]}")
            return Parting(step, index, i.op, i.layer, phase(tapes[0], index), "", (), None, None, why)
        for trainer, tape in zip((a, b), tapes, strict=True):
            trainer.executor.run([(tape, 1)], trainer.model.memory, externals(trainer.data), instructions=(index, index + 1),
                                 **options(trainer))
        for x, y in zip(written(tapes[0], index), written(tapes[1], index), strict=True):
            found = [_floats(t, tape, k) for t, tape, k in ((a, tapes[0], x), (b, tapes[1], y))]
            if (flat := _first_difference(*found)) is not None:
                buffer, values = tapes[0].buffers[x], (found[0][flat], found[1][flat])
                return Parting(step, index, i.op, i.layer, phase(tapes[0], index), buffer.name, coordinates(flat, buffer.shape),
                               values, ulp_distance(*values))
    why = f"step {step}: the tapes have {len(tapes[0].instructions)} and {len(tapes[1].instructions)} instructions"
    return Parting(step, None, "", "", "", "", (), None, None, why)


def _floats(trainer, tape, buffer: int) -> memoryview:
    pointer = address(trainer.model.memory, tape, buffer, "char *")
    return memoryview(ffi.buffer(pointer, 4 * tape.buffers[buffer].count)).cast("B").cast("f")


def _first_difference(x: memoryview, y: memoryview) -> int | None:
    """The first element whose bits differ."""
    if x.tobytes() == y.tobytes():
        return None
    u, v = (memoryview(m.tobytes()).cast("I") for m in (x, y))
    return next(k for k in range(len(u)) if u[k] != v[k])


def ulp_distance(x: float, y: float) -> int:
    """How many floats lie between two, one end counted; -0 and +0 are one apart, a NaN lies behind infinity."""
    def place(v: float) -> int:
        u = int.from_bytes(memoryview(ffi.buffer(ffi.new("float *", v))), "little")
        return u if u < 1 << 31 else (1 << 31) - 1 - u

    return abs(place(x) - place(y))
