"""Writing files so that a killed process leaves the old file or the new one, never half of one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nncore.errors import DataError, LimitError


def write_atomic(path: str | os.PathLike, chunks: bytes | Iterable[bytes]) -> None:
    """Write bytes to a temporary file in the same folder, fsync it, rename it over `path`, fsync the folder.

    Raises LimitError naming the file for a full disk, a missing folder or one without permission; `path` is untouched.
    """
    path = Path(path)
    with writing(path):
        name = f"{path.parent / f'.{path.name}.{os.urandom(6).hex()}'}"
        with open(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666), "wb") as file:
            try:
                file.writelines([chunks] if isinstance(chunks, (bytes, bytearray, memoryview)) else chunks)
                file.flush()
                os.fsync(file.fileno())
                os.replace(name, path)
            except BaseException:
                # After a failed fsync the pages may be marked clean: the temporary file is worth nothing (Rebello et al. 2020).
                os.unlink(name)
                raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def writing(path: str | os.PathLike) -> Iterator[None]:
    """Turn an OSError while writing into a LimitError that names the file and the remedy."""
    try:
        yield
    except OSError as e:
        raise LimitError(f"{path}: cannot be written: {e.strerror}; free space or choose another place with --out") from e


@contextmanager
def reading(path: str | os.PathLike) -> Iterator[None]:
    """Turn an OSError while reading into a DataError that names the file."""
    try:
        yield
    except OSError as e:
        raise DataError(f"{path}: cannot be read: {e.strerror}") from e

