"""A folder of submissions, graded one by one or several at a time, into one SQLite file: a killed grader loses nothing.

A result is taken from the file if submission, assignment and sandbox are what they were; GRADER_FAULT is never taken for a
result. Results are committed one by one (WAL, synchronous): what was said on the screen is on the disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import closing
from fnmatch import fnmatchcase
from pathlib import Path

from nncore.assign.judge import Ground, judge
from nncore.assign.verdict import FAULT, Result
from nncore.errors import DataError, LimitError
from nncore.files import reading

STATE = "grade.sqlite"
_ARCHIVES = (".zip", ".rar", ".7z", ".tar", ".gz", ".tgz", ".bz2", ".xz")
_VERSION = 2
_TABLES = """
create table if not exists results (submission blob primary key, fingerprint text not null, result text not null,
    predictions blob, before text, before_predictions blob);
create table if not exists published (submission blob primary key, predictions blob not null);
create table if not exists secret (key blob not null);
"""


def submissions(folder: str | os.PathLike) -> list[Path]:
    """Archives and folders in a folder, by name; hidden and other files are no submissions. Raises DataError if there is none."""
    with reading(folder), os.scandir(folder) as entries:
        found = [Path(e.path) for e in entries if not e.name.startswith(".") and e.name != "__MACOSX"
                 and (e.is_dir(follow_symlinks=False) or e.name.lower().endswith(_ARCHIVES))]
    if not found:
        raise DataError(f"{folder}: no submissions: zip files or folders, one for each student or team")
    return sorted(found)


def fingerprint(path: Path, ground: Ground) -> str:
    """What a result depends on, hashed: the submission, the assignment, the labels, the sandbox."""
    found = hashlib.sha256(f"{ground.assignment.digest()} {ground.backend} {ground.leakage}".encode())
    found.update(hashlib.sha256(ground.truth.test + ground.truth.train).digest())
    if path.is_dir():
        for folder, names, files in os.walk(path):
            names.sort()
            for name in sorted(files):
                kind = os.lstat(os.path.join(folder, name))
                where = os.path.relpath(os.path.join(folder, name), path)
                found.update(os.fsencode(f"{where}\0{kind.st_mode} {kind.st_size} {kind.st_mtime_ns}\0"))
    elif path.is_file() and not path.is_symlink():
        with open(path, "rb") as file:
            while piece := file.read(1 << 20):
                found.update(piece)
    return found.hexdigest()


class State:
    """Results so far, in OUT/grade.sqlite. Raises LimitError where it cannot be written, DataError for another's file."""

    def __init__(self, out: Path):
        try:
            out.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(out / STATE, isolation_level=None, timeout=30)
            self._base.execute("pragma journal_mode = wal")
            self._base.execute("pragma synchronous = full")
            version, = self._base.execute("pragma user_version").fetchone()
            if version not in (0, _VERSION):
                raise DataError(f"{out / STATE}: made by another version of nncore; choose another folder with --out")
            self._base.executescript(_TABLES)
            self._base.execute(f"pragma user_version = {_VERSION}")
        except sqlite3.DatabaseError as e:
            kind = LimitError if isinstance(e, sqlite3.OperationalError) else DataError
            raise kind(f"{out / STATE}: {e}; choose another folder with --out") from e
        except OSError as e:
            raise LimitError(f"{out}: {e.strerror}; choose another folder with --out") from e

    def close(self) -> None:
        """Fold the log into the file."""
        self._base.close()

    def get(self, name: str, mark: str) -> Result | None:
        """The result of a submission if nothing it depends on has changed."""
        row = self._base.execute("select result, predictions from results where submission = ? and fingerprint = ?",
                                 (os.fsencode(name), mark)).fetchone()
        found = _result(*row) if row else None
        return found if found and found.verdict != FAULT else None

    def put(self, name: str, mark: str, result: Result) -> None:
        """Keep a result; the one it replaces becomes `before`."""
        self._write(
            "insert into results values (?, ?, ?, ?, null, null) on conflict (submission) do update set before = results.result, "
            "before_predictions = results.predictions, fingerprint = excluded.fingerprint, result = excluded.result, "
            "predictions = excluded.predictions",
            os.fsencode(name), mark, json.dumps(result.plain()), zlib.compress(result.predictions, 1))

    def before(self, name: str) -> Result | None:
        """The result that the last grading replaced."""
        row = self._base.execute("select before, before_predictions from results where submission = ?",
                                 (os.fsencode(name),)).fetchone()
        return _result(*row) if row and row[0] else None

    def secret(self) -> bytes:
        """A key of this grading's own."""
        row = self._base.execute("select key from secret").fetchone()
        if row is None:
            row = (os.urandom(32),)
            self._write("insert into secret values (?)", *row)
        return row[0]

    def published(self, name: str) -> bytes | None:
        """The public predictions that a submission's score on the leaderboard stands for."""
        row = self._base.execute("select predictions from published where submission = ?", (os.fsencode(name),)).fetchone()
        return zlib.decompress(row[0]) if row else None

    def publish(self, name: str, predictions: bytes) -> None:
        """From now on the score stands for these."""
        self._write("insert or replace into published values (?, ?)", os.fsencode(name), zlib.compress(predictions, 1))

    def _write(self, statement: str, *values) -> None:
        try:
            self._base.execute(statement, values)
        except sqlite3.OperationalError as e:
            raise LimitError(f"{STATE}: {e}: free space and start again; what was graded is kept") from e


def _result(text: str, predictions: bytes | None) -> Result:
    found = json.loads(text)
    found["enforced"] = tuple(found["enforced"])
    return Result(**found, predictions=zlib.decompress(predictions) if predictions else b"")


def grade(paths: list[Path], ground: Ground, state: State, jobs: int = 1, again: bool = False,
          tell: Callable[[Result, bool], None] | None = None, only: str = "*") -> list[Result]:
    """Results in the order of the paths. tell(result, fresh) hears of each as it is there; again: take none from the state;
    only: grade names like this, take what is known of others, without a result where nothing is.

    An interruption ends the running boxes and is passed on; what was graded is kept.
    """
    results: dict[str, Result] = {}
    marks = {path.name: fingerprint(path, ground) for path in paths}
    todo = []
    for path in paths:
        wanted = fnmatchcase(path.name, only) or fnmatchcase(path.name.removesuffix(".zip"), only)
        known = None if again and wanted else state.get(path.name, marks[path.name])
        if known is None:
            todo += [path] * wanted
            continue
        results[path.name] = known
        if tell:
            tell(known, False)
    for result in _graded(todo, ground, jobs):
        state.put(result.submission, marks[result.submission], result)
        results[result.submission] = result
        if tell:
            tell(result, True)
    return [results[path.name] for path in paths if path.name in results]


def _graded(paths: list[Path], ground: Ground, jobs: int) -> Iterator[Result]:
    """Results as they come. Each of `jobs` threads grades in a slot of its own."""
    stop, slots = threading.Event(), list(range(jobs))

    def one(path: Path) -> Result:
        slot = slots.pop()
        try:
            return judge(path, ground, slot=slot, tell=halt)
        finally:
            slots.append(slot)

    def halt(*_) -> None:
        if stop.is_set():
            raise InterruptedError("the grading was interrupted")

    pool = ThreadPoolExecutor(jobs)
    with closing(_Closer(pool, stop)):
        waiting, left = set(), iter(paths)
        for path in left:
            waiting.add(pool.submit(one, path))
            if len(waiting) < jobs:
                continue
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()


class _Closer:
    """However a batch ends, no box is left running."""

    def __init__(self, pool: ThreadPoolExecutor, stop: threading.Event):
        self.pool, self.stop = pool, stop

    def close(self) -> None:
        self.stop.set()
        self.pool.shutdown(wait=True, cancel_futures=True)
