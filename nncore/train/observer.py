"""The observer of a training: runs its steps at full speed, stops at those that are watched, keeps the last 32 of them.

On an event it looks back: the steps before it are done again from the last good state, to the bit, and looked at.
"""

from __future__ import annotations

import warnings
from collections import deque

from nncore.errors import Interrupted, NonFiniteError
from nncore.graph.events import WORDS, Events
from nncore.train.diagnosis import EVERYTHING, next_tape, options, rewind
from nncore.train.shadow import Shadow
from nncore.train.statistics import Record, Statistics
from nncore.train.steps import externals

SCHEMA = "nncore.watch/1"
RING, BACK = 32, 8  # steps that are kept; of them those before an event that are looked back at


class Observer:
    """What was seen of the last 32 watched steps, and `diagnosis`, what ended the run."""

    def __init__(self, trainer):
        self.trainer, self.instruments = trainer, trainer.watch
        self._records: deque[Record] = deque(maxlen=RING)
        self.diagnosis = None
        self.told: set = set()
        self._looks: dict[tuple, Statistics] = {}

    @property
    def ring(self) -> list[dict]:
        """The records of the last watched steps, oldest first."""
        return [record.told() for record in self._records]

    def run(self, segments: list, stopped) -> None:
        """Do the segments' steps; `stopped()` between two pieces ends them with Interrupted. Raises as the executor does."""
        trainer = self.trainer
        if not self.instruments.level:
            self._run(segments)
            return
        every, p = self.instruments.every, trainer.position
        for tape, steps in segments:
            end = p.step + steps
            while p.step < end:
                if stopped():
                    raise Interrupted(f"stopped after step {p.step}")
                if self.instruments.asks(p.step):
                    self.look(tape)
                else:
                    self._run([(tape, min(end, (p.step // every + 1) * every) - p.step)])

    def _run(self, segments: list) -> None:
        t = self.trainer
        t.executor.run(segments, t.model.memory, externals(t.data), profile=t.profile, events=t.events, **options(t))

    def look(self, tape=None, level: int | None = None) -> Record:
        """Do the next step under the instruments and keep what they show."""
        tape, level = tape or next_tape(self.trainer), self.instruments.level if level is None else level
        key = id(tape), level > 1
        if key not in self._looks:
            self._looks[key] = Statistics(tape, Shadow(tape) if level > 1 else None)
        self._records.append(self._looks[key].step(self.trainer))
        return self._records[-1]

    def look_back(self, step: int) -> None:
        """See the steps before `step` of this epoch again, and `step` itself as far as it goes. The trainer stands elsewhere
        afterwards: the caller puts it back."""
        trainer, events = self.trainer, self.trainer.events
        trainer.events = Events(EVERYTHING)
        seen = {r.step for r in self._records}
        try:
            rewind(trainer, max(trainer.good[1].step, step - BACK))
            while trainer.position.step <= step:
                self.look(level=1)
                if self._records[-1].step in seen:
                    self._records.pop()
        except NonFiniteError:
            pass  # the check of the loss, which has been told already
        finally:
            trainer.events = events
        self._records = deque(sorted(self._records, key=lambda r: r.step), maxlen=RING)

    def events(self) -> list[dict]:
        """The flags that the steps have raised, a row per instruction and kind."""
        t = self.trainer
        return t.events.rows([x for x in (t.tape, t.tail) if x])

    def tell(self) -> None:
        """Warn, once each, of what the policy wants to be warned of."""
        t = self.trainer
        for row in self.events():
            key = row["tape"], row["instruction"], row["kind"]
            if getattr(t.watch.policy, row["kind"]) == "warn" and key not in self.told:
                self.told.add(key)
                warnings.warn(f"step {row['first_step']}, layer {row['layer'] or '-'}, op {row['op']} (instruction "
                              f"{row['instruction']}): {WORDS[row['kind']]}", UserWarning, stacklevel=2)

    def report(self) -> dict:
        """What watch.json holds."""
        policy = self.instruments.policy
        return {"schema": SCHEMA, "level": self.instruments.level, "every": self.instruments.every, "policy": vars(policy),
                "events": self.events(),
                "diagnosis": None if self.diagnosis is None else {**vars(self.diagnosis), "text": str(self.diagnosis)},
                "steps": self.ring}
