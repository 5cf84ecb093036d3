"""assignment.toml: what is asked for, as data. Every complaint names file, line and key.

    [data]    name of a data set, prefix of its CSV files, whether the box sees garbled test labels or none
    [run]     the command, the prediction files it must leave
    [pass]    threshold: the share of test samples that must be right
    [limits]  wall and cpu seconds, memory, processes, disk, output
    [rules]   languages, libraries nobody may use, seeds that are allowed, whether to check for leakage
    [late]    when it is due, what a late pass is worth, who has longer
"""

from __future__ import annotations

import os
import re
from datetime import datetime
from importlib import resources
from typing import Annotated, Literal

import msgspec

from nncore.errors import DataError, UsageError
from nncore.train.toml import read_toml

LANGUAGES = ("c", "c++", "java", "python-cffi")  # those that projects can be begun in
FileName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$")]
Count = Annotated[int, msgspec.Meta(ge=1, le=1 << 24)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
When = Annotated[datetime, msgspec.Meta(tz=True)]


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the tables."""


class Data(Table):
    """[data] name: a data set, or "xor". train, test, seed: sizes and seed of the generated glyphs, and of them alone."""

    name: str
    prefix: FileName
    test_labels: Literal["garbled", "absent"] = "garbled"
    train: Count | None = None
    test: Count | None = None
    seed: Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)] = 0


class Run(Table):
    """[run] command: a file in the project's root; outputs: the prediction files it leaves beside itself."""

    command: FileName = "run.sh"
    train_output: FileName = "train_predictions.csv"
    test_output: FileName = "test_predictions.csv"


class Pass(Table):
    """[pass]: share of the test samples that must be right."""

    threshold: Annotated[float, msgspec.Meta(gt=0, le=1)]


class Limits(Table):
    """[limits] of a whole run, compiling included. clock: whether wall is counted in seconds of the grader's clock, or in
    calibrated ones: those of a machine on which the reference kernel takes its nominal time."""

    wall: Seconds = 600.0
    clock: Literal["wall", "calibrated"] = "wall"
    cpu: Seconds = 2400.0
    memory_mb: Annotated[int, msgspec.Meta(ge=16, le=1 << 20)] = 4096
    processes: Annotated[int, msgspec.Meta(ge=4, le=4096)] = 64
    disk_mb: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)] = 512
    files: Annotated[int, msgspec.Meta(ge=16, le=1 << 20)] = 4000
    output_kb: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)] = 1 << 18


class Rules(Table):
    """[rules]: what preflight looks for. leakage: whether passing projects are run again on changed test data."""

    languages: tuple[Literal[(*LANGUAGES, "rust", "c#")], ...] = LANGUAGES
    forbidden: tuple[str, ...] = ()
    seeds: tuple[int, ...] | None = None
    leakage: bool = False


class Late(Table):
    """[late] due: date and time with their offset. Up to `grace_minutes` later costs nothing; each further day begun takes
    `penalty` off a pass; more than `days` of them, and it is worth nothing. extensions: other dates for some submissions."""

    due: When | None = None
    grace_minutes: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 0
    penalty: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    days: Annotated[int, msgspec.Meta(ge=0, le=365)] = 0
    extensions: dict[str, When] = {}


class Assignment(Table):
    """An assignment, checked."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
    title: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    data: Data
    pass_: Pass = msgspec.field(name="pass")
    task: str = ""
    run: Run = Run()
    limits: Limits = Limits()
    rules: Rules = Rules()
    late: Late = Late()

    @property
    def outputs(self) -> tuple[str, str]:
        """The two prediction files: train, test."""
        return self.run.train_output, self.run.test_output

    def digest(self) -> str:
        """SHA-256 of all that a verdict depends on: results under another assignment are not taken for this one's. A date may
        move, and words may change."""
        from hashlib import sha256

        return sha256(msgspec.json.encode(msgspec.structs.replace(self, title="-", task="", late=Late()))).hexdigest()


def names() -> list[str]:
    """The built-in assignments."""
    return sorted(p.name.removesuffix(".toml") for p in _folder().iterdir() if p.name.endswith(".toml"))


def source(name: str) -> str:
    """The text of a built-in assignment. Raises UsageError with suggestions."""
    if name not in names():
        from difflib import get_close_matches

        close = get_close_matches(name, names(), 2, 0.5)
        guess = f"did you mean {' or '.join(close)}? " if close else ""
        raise UsageError(f"no assignment {name!r}: {guess}built in are {', '.join(names())}; a file needs a slash or .toml")
    return (_folder() / f"{name}.toml").read_text()


def load(name_or_file: str | os.PathLike) -> Assignment:
    """A built-in assignment by name, or a file. Raises UsageError for an unknown name, DataError naming line and key."""
    text = os.fspath(name_or_file)
    if "/" in text or text.endswith(".toml"):
        return check(read_toml(text), text)
    with resources.as_file(_folder()) as folder:
        source(text)
        return check(read_toml(folder / f"{text}.toml"), text)


def check(tables: dict, path: str) -> Assignment:
    """The assignment in these tables. Raises DataError: `FILE: line N: KEY: what is wrong`."""
    try:
        found = msgspec.convert(tables, Assignment)
    except msgspec.ValidationError as e:
        message, _, where = str(e).partition(" - at `$")
        key = where.rstrip("`").lstrip(".")
        if unknown := re.search(r"unknown field `([^`]*)`", message):
            key, message = f"{key}.{unknown[1]}".lstrip("."), "no such key; see nncore assignment show fashion-mnist-88"
        raise _complaint(path, key, message) from None
    if found.data.name != "glyphs" and (found.data.train or found.data.test or found.data.seed):
        key = next(k for k in ("train", "test", "seed") if getattr(found.data, k))
        raise _complaint(path, f"data.{key}", "only glyphs are generated in any number; leave it out")
    if len({found.run.command, *found.outputs}) < 3:
        raise _complaint(path, "run.test_output", "command and outputs need three different names")
    return found


def _complaint(path: str, key: str, message: str) -> DataError:
    line = _line(path, key)
    where = f"line {line}: " if line else ""
    missing = re.search(r"missing required field `([^`]*)`", message)
    if missing:
        key, message = f"{key}.{missing[1]}".lstrip("."), "this key is needed"
    return DataError(f"{path}: {where}{key or 'the file'}: {message[:1].lower()}{message[1:]}")


def _line(path: str, key: str) -> int | None:
    """The line on which a dotted key is said; else that of its table."""
    if not os.path.isfile(path):
        return None
    with open(path, "rb") as file:
        lines = file.read(1 << 16).decode("utf-8", "replace").splitlines()
    table, _, leaf = re.sub(r"\[.*?\]", "", key).rpartition(".")
    here, found = "", None
    for number, line in enumerate(lines, 1):
        if header := re.match(r"\s*\[\s*([\w.-]+)\s*\]", line):
            here = header[1]
            if here in (key, table):
                found = number
        elif here == table and re.match(rf"\s*[\"']?{re.escape(leaf)}[\"']?\s*=", line):
            return number
    return found


def _folder():
    return resources.files("nncore.assign") / "builtin"
