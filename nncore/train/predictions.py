"""Prediction files: one class a line, written in one go; read as bytes, strictly, because graders read them too.

A file holds exactly one integer a line, line i for sample i; CRLF and a missing last newline are accepted, nothing else
is. Scoring is counting: the share of equal lines, its standard error, and a verdict against a threshold.
"""

from __future__ import annotations

import os
import struct
import sys
from dataclasses import dataclass

from nncore._ffi import ffi, lib
from nncore.data.csv import read_csv
from nncore.data.idx import read_idx
from nncore.data.source import open_regular
from nncore.errors import DataError
from nncore.files import reading, write_atomic
from nncore.tensor import Tensor
from nncore.train.metrics import standard_error

MAX_BYTES = 1 << 26
_VALUES = {b"%d%s" % (c, end): c for c in range(256) for end in (b"", b"\r")}
_HINTS = {
    b"\xef": "the file begins with a byte order mark: save it as plain text",
    b"\xff": "the file looks like UTF-16: save it as plain text",
    b"\xfe": "the file looks like UTF-16: save it as plain text",
    b",": "several values in a line: write the class alone, not probabilities or a table",
    b";": "several values in a line: write the class alone, not probabilities or a table",
    b".": "a class is a whole number: write 7, not 7.0",
    b" ": "no spaces are allowed",
    b"\t": "no tabs are allowed",
    b'"': "values are not quoted",
    b"\0": "a NUL byte: the file is binary or damaged",
    b"\r": "a carriage return inside the line: end lines with LF or CRLF",
    b"-": "a class is not negative",
    b"+": "write the number without a sign",
}


# ---- counting --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Score:
    """How many of n predictions equal their labels, against a threshold (a fraction, or None)."""

    n: int
    correct: int
    threshold: float | None = None

    @property
    def accuracy(self) -> float:
        """Share of correct predictions."""
        return self.correct / self.n

    @property
    def wrong(self) -> int:
        """Predictions that are not."""
        return self.n - self.correct

    @property
    def standard_error(self) -> float:
        """sqrt(p (1 - p) / n)."""
        return standard_error(self.accuracy, self.n)

    @property
    def verdict(self) -> str | None:
        """PASS, BELOW_THRESHOLD, or None without a threshold."""
        if self.threshold is None:
            return None
        return "PASS" if self.accuracy >= self.threshold else "BELOW_THRESHOLD"

    def __str__(self) -> str:
        found = (f"accuracy {self.accuracy:.2%} +- {self.standard_error:.2%} (standard error), "
                 f"{self.correct:,} of {self.n:,} correct")
        return found if self.threshold is None else f"{self.verdict}: {found}, threshold {self.threshold:.2%}"


def score(predicted: bytes, labels: bytes, threshold: float | None = None) -> Score:
    """Count equal classes, one byte each. Raises DataError if the counts differ.

    >>> score(bytes([1, 2]), bytes([1, 3]), 0.5).verdict
    'PASS'
    """
    if len(predicted) != len(labels):
        raise DataError(f"{len(predicted):,} predictions for {len(labels):,} labels; line i belongs to sample i")
    if not labels:
        raise DataError("no labels: there is nothing to score")
    # Equal bytes are the zeros of the difference, taken as one whole number: a hundred times a loop's speed.
    difference = int.from_bytes(predicted, "little") ^ int.from_bytes(labels, "little")
    return Score(len(labels), difference.to_bytes(len(labels), "little").count(0), threshold)


# ---- writing ---------------------------------------------------------------------------------------------------------


def class_bytes(classes: Tensor) -> bytes:
    """One byte per sample from the i32 classes that `Model.predict` gives. Raises DataError for one above 255."""
    low, *high = range(4) if sys.byteorder == "little" else range(3, -1, -1)
    if any(bytes(classes.memory[i::4]).strip(b"\0") for i in high):
        raise DataError("classes above 255 cannot be written or counted: labels are bytes")
    return bytes(classes.memory[low::4])


def format_classes(classes: bytes) -> bytes:
    """The text of a prediction file: one class a line."""
    text = ffi.new("uint8_t[]", 4 * max(len(classes), 1))
    n = lib.nn_csv_format(text, len(text), ffi.from_buffer("uint8_t[]", classes), len(classes), 1)
    return ffi.buffer(text, n)[:]


def write_predictions(path: str | os.PathLike, classes: bytes) -> None:
    """Write a prediction file, whole or not at all. Raises LimitError."""
    write_atomic(path, format_classes(classes))


def format_rows(values: Tensor) -> bytes:
    """Lines of comma-separated numbers, each the shortest that reads back as the same float32."""
    rows = values.tolist()
    return b"".join(b",".join(map(shortest, row)) + b"\n" for row in rows)


_F32 = struct.Struct("f")


def shortest(value: float) -> bytes:
    """The shortest decimal that reads back as this float32.

    >>> shortest(0.10000000149011612)
    b'0.1'
    """
    for digits in range(6 if abs(value) > 1.2e-38 else 1, 9):
        text = b"%.*g" % (digits, value)
        if _F32.unpack(_F32.pack(float(text)))[0] == value:
            return text
    return b"%.9g" % value


# ---- reading ---------------------------------------------------------------------------------------------------------


def read_labels(path: str | os.PathLike) -> bytes:
    """Labels, one byte each, from the course's CSV or an IDX file, gzipped or not. Raises DataError."""
    if is_idx(path):
        found = read_idx(path)
        if len(found.shape) != 1:
            raise DataError(f"{path}: {len(found.shape)} dimensions where labels have one; are these images?")
        return found.tobytes()
    return read_csv(path, 1, 255, "label").tobytes()


def is_idx(path: str | os.PathLike) -> bool:
    """Whether a file is IDX or gzip by its first bytes; anything else is taken for text. Raises DataError."""
    with reading(path), open_regular(path) as file:
        head = file.read(2)
    return head in (b"\0\0", b"\x1f\x8b")


def read_predictions(path: str | os.PathLike, n: int | None = None, classes: int = 10) -> bytes:
    """The classes of a prediction file, one byte each; n is how many there must be, all below `classes`.

    Raises DataError naming file, line, what stands there and what to do: for anything but one integer a line, a class
    out of range, a wrong number of lines, a file of more than 64 MB or of no regular kind.
    """
    name = os.fspath(path)
    with reading(path), open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_BYTES:
            raise DataError(f"{name}: {size:,} bytes; a prediction file has at most {MAX_BYTES:,}: one class a line")
        data = file.read(MAX_BYTES)
    if not data:
        raise DataError(f"{name}: the file is empty; expected {_many(n)}one class a line")
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    values = list(map(_VALUES.get, lines))
    if None in values:
        at = values.index(None)
        raise DataError(f"{name}: line {at + 1:,}: {_explain(lines[at], at, len(lines), classes)}")
    found = bytes(values)
    if max(found) >= classes:
        at = next(i for i, c in enumerate(found) if c >= classes)
        raise DataError(f"{name}: line {at + 1:,}: class {found[at]} is outside 0 to {classes - 1}")
    if n is not None and len(found) != n:
        what = f"{abs(n - len(found)):,} {'missing' if len(found) < n else 'too many'}"
        raise DataError(f"{name}: {len(found):,} lines, expected {n:,} ({what}); line i is the class of sample i")
    return found


def _many(n: int | None) -> str:
    return "" if n is None else f"{n:,} lines, "


def _explain(line: bytes, at: int, lines: int, classes: int) -> str:
    """Why a line is not one class, and what to do about it."""
    text = line.removesuffix(b"\r")
    if not text:
        where = "at the end of the file" if at == lines - 1 else "here"
        return f"a blank line {where}; remove it"
    shown = ascii(text[:24].decode("latin-1")) + (" ..." if len(text) > 24 else "")
    expected = f"expected one integer from 0 to {classes - 1}"
    if text.isdigit():
        if text[:1] == b"0":
            return f"{shown}: leading zeros; write the number alone"
        return f"{shown}: {expected}"
    bad = next(text[i : i + 1] for i in range(len(text)) if not text[i : i + 1].isdigit())
    hint = _HINTS.get(bad, "is this a header line? delete it" if bad.isalpha() and at == 0 else "")
    return f"{shown}: {expected}" + (f"; {hint}" if hint else "")
