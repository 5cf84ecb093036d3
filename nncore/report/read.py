"""Run folders as plain data. Everything read here is hostile until proven otherwise: types are checked, names made harmless."""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path

from nncore.errors import DataError
from nncore.files import reading

CONFIG, RESULT, HISTORY, TAPE, INSIGHT = "config.toml", "result.json", "history.jsonl", "tape.txt", "insight.json"
PREDICTIONS = "test_predictions.csv"
SCHEMA = "nncore.insight/1"
LONGEST = 60  # characters of a name
MAX_BYTES = 1 << 28


@dataclass
class Run:
    """One run: settings by dotted key, result (None if it has not ended), a record per epoch, insight (None if there is none)."""

    path: Path
    config: dict
    result: dict | None = None
    history: list[dict] = field(default_factory=list)
    insight: dict | None = None
    tape: str = ""
    n_test: int | None = None

    @property
    def name(self) -> str:
        """The folder's own name, harmless."""
        return harmless(self.path.resolve().name or str(self.path))


def read_run(path: str | os.PathLike) -> Run:
    """The run in a folder. Raises DataError for a folder that holds none, and for files that nncore did not write."""
    path = Path(path)
    if not (path / CONFIG).is_file():
        what = f"holds no run: there is no {CONFIG}" if path.is_dir() else "no such run folder"
        raise DataError(f"{path}: {what}")
    found = Run(path, _flat(_toml(path / CONFIG)))
    found.result = _object(path / RESULT)
    found.history = _history(path / HISTORY)
    found.insight = _object(path / INSIGHT)
    if found.insight is not None and found.insight.get("schema") != SCHEMA:
        found.insight = None  # of another version: the command that calls us makes a new one
    if (path / TAPE).is_file():
        found.tape = _read(path / TAPE).decode("utf-8", "replace")
    if (path / PREDICTIONS).is_file():
        found.n_test = _read(path / PREDICTIONS).count(b"\n") or None
    return found


def _read(path: Path) -> bytes:
    with reading(path), open(path, "rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise DataError(f"{path}: more than {MAX_BYTES:,} bytes: nncore did not write it")
    return data


def _toml(path: Path) -> dict:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(_read(path).decode())
    except (ValueError, RecursionError) as e:
        raise DataError(f"{path}: not the settings of a run: {e}") from None


def _flat(tables: dict, prefix: str = "") -> dict:
    """{"train.epochs": 5, ...} of {"train": {"epochs": 5}}."""
    found = {}
    for key, value in tables.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def _json(text: str, where: str):
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as e:
        raise DataError(f"{where}: not JSON: {e}") from None


def _object(path: Path) -> dict | None:
    if not path.is_file():
        return None
    found = _json(_read(path).decode("utf-8", "replace"), str(path))
    if not isinstance(found, dict):
        raise DataError(f"{path}: expected one JSON object, got {type(found).__name__}")
    return found


def json_lines(path: Path) -> list[dict]:
    """The objects of a file of JSON lines; a last line without its end is a run that was killed while it wrote."""
    lines = _read(path).decode("utf-8", "replace").split("\n")
    found = [_json(line, f"{path}, line {n}") for n, line in enumerate(lines[:-1], 1)]
    for n, record in enumerate(found, 1):
        if not isinstance(record, dict):
            raise DataError(f"{path}, line {n}: not an object")
    return found


def _history(path: Path) -> list[dict]:
    """Records with an epoch."""
    found = json_lines(path) if path.is_file() else []
    for n, record in enumerate(found, 1):
        if number(record.get("epoch")) is None:
            raise DataError(f"{path}, line {n}: not the record of an epoch")
    return found


# ---- values from outside ---------------------------------------------------------------------------------------------


def number(value) -> float | int | None:
    """A finite number as it is, None for anything else."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)
    return value if good else None


def harmless(text, longest: int = LONGEST) -> str:
    """A name as one line that can be shown: control, formatting and unassigned characters become U+FFFD; long ones are cut.

    >>> harmless("a\\nb\\u202e")
    'a\\ufffdb\\ufffd'
    """
    shown = "".join("\ufffd" if unicodedata.category(c)[0] == "C" else c for c in str(text)[: 4 * longest])
    return shown if len(shown) <= longest else shown[: longest - 1] + "\u2026"
