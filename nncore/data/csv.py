"""The course's CSV: lines of comma-separated integers 0 to 255, no header; parsed in C, errors to the byte."""

from __future__ import annotations

import mmap
import os
from functools import partial

from nncore._ffi import check, ffi, lib
from nncore.data.source import map_file, parallel, tensor_over, zeroed
from nncore.errors import DataError
from nncore.files import write_atomic
from nncore.tensor import Tensor

_PIECE = 1 << 20  # bytes that a thread takes at a time; a second thread is not worth its start for less
_HINTS = {
    b"\xef": "the file begins with a byte order mark: save it as plain text",
    b";": "values are separated by commas, not semicolons",
    b"\t": "values are separated by commas, not tabs",
    b" ": "no spaces are allowed between values",
    b".": "values are whole numbers",
    b"-": "values are not negative",
    b'"': "values are not quoted",
    b"\0": "a NUL byte: the file is binary or damaged",
    b"\r": "a carriage return without a line feed: end lines with LF or CRLF",
}


def read_csv(path: str | os.PathLike, fields: int | None = None, largest: int = 255, what: str = "value",
             threads: int = 2) -> Tensor:
    """A table of integers 0 to `largest` <= 255 as u8 of shape (lines, fields); fields=None takes the first line's.

    CRLF and a missing last newline are fine. Raises DataError naming file, line, value and column for anything else: a
    short, long or blank line, an empty, negative, fractional or too large value, a foreign byte.

    >>> read_csv("fashion_mnist_test_vectors.csv").shape  # doctest: +SKIP
    (10000, 784)
    """
    path = os.fspath(path)
    text = map_file(path)
    start = ffi.from_buffer("uint8_t[]", text)
    fields = fields or lib.nn_csv_fields(start, len(text))
    capacity = (len(text) + 2) // (2 * fields)  # a value takes two bytes at least
    memory = zeroed(capacity * fields, path)
    job = ffi.new("nn_csv_job *", (start, len(text), ffi.from_buffer("uint8_t[]", memory), capacity, fields, largest,
                                    _PIECE, 1))
    faults = [ffi.new("nn_csv_fault *") for _ in range(threads if len(text) > _PIECE else 1)]
    parallel([partial(lib.nn_csv_work, job, fault) for fault in faults])
    if bad := [fault for fault in faults if fault.code != lib.NN_OK]:
        fault = min(bad, key=lambda f: f.row)
        if fault.code == lib.NN_ERR_ARGUMENT:
            check(fault.code, path)
        raise DataError(f"{path}: {_explain(text, fault, fields, largest, what)}")
    return tensor_over((job.rows, fields), memory)


def write_csv(path: str | os.PathLike, table: Tensor) -> None:
    """Write u8 (lines, ...) as lines of comma-separated integers, whole or not at all. Raises LimitError."""
    values = Tensor.from_any(table, "u8")
    rows = len(values)
    fields = max(values.nbytes // max(rows, 1), 1)
    step = max((1 << 20) // fields, 1)
    capacity = 4 * min(step, rows) * fields
    text = ffi.new("uint8_t[]", max(capacity, 1))
    source = ffi.cast("const uint8_t *", values.pointer)

    def chunks():
        for i in range(0, rows, step):
            n = lib.nn_csv_format(text, capacity, source + i * fields, min(step, rows - i), fields)
            yield ffi.buffer(text, n)[:]

    write_atomic(path, chunks())


def make_csv(dataset, folder: str | os.PathLike, prefix: str = "fashion_mnist") -> list[str]:
    """Write the course's four files PREFIX_{train,test}_{vectors,labels}.csv into a folder; returns their paths.

    Raises DataError if the images are not unsigned bytes or a split is missing, LimitError if the folder cannot be
    written.
    """
    from nncore.files import writing

    tables = {}
    for name, split in (("train", dataset.train), ("test", dataset.test)):
        if split is None:
            raise DataError(f"{dataset.name}: there is no {name} set to write")
        if split.images.dtype != "u8":
            raise DataError(f"{dataset.name}: CSV holds integers 0 to 255, these images are {split.images.dtype}")
        tables[f"{prefix}_{name}_vectors.csv"] = split.images
        tables[f"{prefix}_{name}_labels.csv"] = split.labels
    with writing(folder):
        os.makedirs(folder, exist_ok=True)
    paths = [os.path.join(folder, name) for name in tables]
    parallel([lambda p=p, t=t: write_csv(p, t) for p, t in zip(paths, tables.values(), strict=True)])
    return paths


def _explain(text: mmap.mmap, fault, fields: int, largest: int, what: str) -> str:
    """A sentence on a fault: line and value count from 1, so does the column, in bytes."""
    line = fault.row + 1
    where = f"line {line}, {what} {fault.field + 1} (column {fault.offset - fault.line + 1})"
    reason = fault.reason
    if reason == lib.NN_CSV_BLANK_LINE:
        return f"line {line}: the line is blank; remove it"
    if reason in (lib.NN_CSV_SHORT_LINE, lib.NN_CSV_LONG_LINE):
        kind = "too few" if reason == lib.NN_CSV_SHORT_LINE else "too many"
        column = fault.offset - fault.line + 1
        return f"line {line} (column {column}): {kind} values: {fault.found:,}, expected {fields:,}"
    if reason == lib.NN_CSV_EMPTY_FIELD:
        return f"{where}: the {what} is empty; expected an integer from 0 to {largest}"
    byte = text[fault.offset : fault.offset + 1]
    token = text[fault.begin : fault.begin + 24]
    token = token.split(b",")[0].split(b"\n")[0].rstrip(b"\r")
    shown = ascii(token.decode("latin-1"))
    if reason == lib.NN_CSV_TOO_LARGE:
        if len(token) > 3 and token.isdigit() and int(token) <= largest:
            return f"{where}: {shown} has more than three digits; write integers without leading zeros"
        return f"{where}: {shown} is larger than {largest}; expected an integer from 0 to {largest}"
    hint = _HINTS.get(byte, "")
    if byte.isalpha() and line == 1 and fault.field == 0:
        hint = "is this a header line? delete it"
    return f"{where}: {shown} is not an integer from 0 to {largest}" + (f"; {hint}" if hint else "")
