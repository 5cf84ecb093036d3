"""When a submission came, and what a pass is worth then. Worked out anew each time: a date may move after the grading."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from math import ceil
from pathlib import Path

from nncore.assign.spec import Late
from nncore.errors import DataError
from nncore.files import reading

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Arrival:
    """When it came, how many days late that is (None where nothing is due), what share of a pass it is worth."""

    when: datetime
    days: int | None
    worth: float


def arrival(late: Late, name: str, when: datetime) -> Arrival:
    """What the policy says of a submission that came then.

    >>> due = datetime(2026, 11, 30, 23, 59, tzinfo=timezone.utc)
    >>> arrival(Late(due=due, penalty=0.25, days=3), "anna.zip", due + timedelta(hours=30))
    Arrival(when=datetime.datetime(2026, 12, 2, 5, 59, tzinfo=datetime.timezone.utc), days=2, worth=0.5)
    """
    due = late.extensions.get(name, late.extensions.get(name.removesuffix(".zip"), late.due))
    if due is None:
        return Arrival(when, None, 1.0)
    over = when - due - timedelta(minutes=late.grace_minutes)
    days = max(ceil(over / _DAY), 0)
    return Arrival(when, days, max(1 - late.penalty * days, 0.0) if days <= late.days else 0.0)


def times(paths: list[Path], file: str | os.PathLike | None = None) -> dict[str, datetime]:
    """When each submission came: as `file` says, lines of NAME,TIME with its offset; else when the newest file in it was
    written. Raises DataError naming the line.
    """
    said = _said(file) if file else {}
    return {p.name: said.get(p.name) or said.get(p.name.removesuffix(".zip")) or _written(p) for p in paths}


def _written(path: Path) -> datetime:
    newest = os.lstat(path).st_mtime
    if path.is_dir():
        inside = [os.lstat(os.path.join(at, name)).st_mtime for at, _, files in os.walk(path) for name in files]
        newest = max(inside, default=newest)
    return datetime.fromtimestamp(int(newest), timezone.utc)


def _said(file: str | os.PathLike) -> dict[str, datetime]:
    found = {}
    with reading(file), open(file, newline="", encoding="utf-8", errors="surrogateescape") as lines:
        for number, row in enumerate(csv.reader(lines), 1):
            if not row or number == 1 and row[0].strip().lower() in ("student", "submission", "name"):
                continue
            try:
                name, text = row
                when = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
                if when.tzinfo is None:
                    raise ValueError("no offset")
            except ValueError:
                raise DataError(f"{file}: line {number}: expected NAME,TIME like anna.zip,2026-11-30T23:59:00+01:00") from None
            found[name] = when
    return found
