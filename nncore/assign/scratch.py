"""Folders for the while. One that a killed grader left is removed by the next: nobody holds its lock any more."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nncore.files import writing

PREFIX = "nncore-grader-"
_LOCK = "lock"
_HOUR = 3600.0  # after which a folder without a lock is nobody's


@contextmanager
def workspace() -> Iterator[Path]:
    """A folder of this process's own. Raises LimitError if there is no room for one."""
    sweep()
    with writing(tempfile.gettempdir()):
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        lock = open(folder / "making", "wb")  # noqa: SIM115
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            os.rename(folder / "making", folder / _LOCK)  # locked before it can be looked at
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def sweep() -> list[Path]:
    """Remove what graders of this user left that are gone; returns what was removed."""
    found = []
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            if path.lstat().st_uid == os.geteuid() and _left(path):
                shutil.rmtree(path, ignore_errors=True)
                found.append(path)
        except OSError:
            continue  # its owner has just removed it
    return found


def _left(path: Path) -> bool:
    try:
        fd = os.open(path / _LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return time.time() - path.lstat().st_mtime > _HOUR
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
