"""History: one record per epoch, kept as JSON lines so that it can be read while training runs."""

from __future__ import annotations

import json
import os
from math import isfinite
from pathlib import Path

from nncore.files import writing


class History(list):
    """A list of dicts: epoch, step, loss, accuracy, images_per_s, and validation figures where there are any."""

    stopped: str | None = None

    def column(self, name: str) -> list:
        """One figure over all epochs."""
        return [record.get(name) for record in self]

    def _repr_html_(self) -> str | None:
        from nncore.report import notebook

        return notebook.history(self, self.stopped)


def clean(value):
    """A value as JSON may hold it: a non-finite number is null."""
    if isinstance(value, dict):
        return {k: clean(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(v) for v in value]
    return None if isinstance(value, float) and not isfinite(value) else value


class HistoryFile:
    """Appends each record to a file of JSON lines and flushes it, so that `tail -f` follows the training."""

    def __init__(self, path: str | os.PathLike, keep: int = 0):
        """`keep` records already there stay (a resumed run); the rest is cut off."""
        self.path = path
        with writing(path):
            lines = Path(path).read_text().splitlines(keepends=True)[:keep] if keep and os.path.exists(path) else []
            self._file = open(path, "w", encoding="utf-8")  # noqa: SIM115 - lives as long as the training
            self._file.writelines(lines)
            self._file.flush()

    def append(self, record: dict) -> None:
        """Write one line."""
        with writing(self.path):
            self._file.write(json.dumps(clean(record)) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
