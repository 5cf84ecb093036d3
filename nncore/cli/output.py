"""What commands print: the one JSON object or text on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys

from nncore.train.history import clean


def emit(result: dict, indent: int | None = 1) -> None:
    """One JSON object on stdout; non-finite numbers are null."""
    print(json.dumps(clean(result), indent=indent))


def say(message: str) -> None:
    """A line on stderr."""
    print(message, file=sys.stderr, flush=True)


def table(rows: list[tuple], right: tuple[int, ...] = ()) -> str:
    """Rows of text in aligned columns; `right` are the columns aligned to the right."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[c]) for row in texts) for c in range(len(texts[0]))]
    adjust = [str.rjust if c in right else str.ljust for c in range(len(widths))]
    return "\n".join("  ".join(f(t, w) for f, t, w in zip(adjust, row, widths, strict=True)).rstrip() for row in texts)
