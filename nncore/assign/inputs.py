"""The data of an assignment: what lies in a project's data/ at home, what the box gets, and the labels it never sees.

At home all four CSV files are there, as the hand-out has them. The box gets both vectors, the training labels and, if the
assignment says so, a file of random numbers in place of the test labels, so that a program which prints its test accuracy
runs and learns nothing. True test labels stay in this process's memory.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from nncore.assign.spec import Assignment
from nncore.data import from_arrays, glyphs, load, make_csv
from nncore.data.csv import write_csv
from nncore.data.dataset import Dataset
from nncore.errors import DataError
from nncore.files import write_atomic, writing
from nncore.tensor import Tensor
from nncore.train.predictions import format_classes


@dataclass(frozen=True)
class Truth:
    """Labels to count against, one byte each, and how many classes there are."""

    train: bytes
    test: bytes
    classes: int


def dataset(assignment: Assignment) -> Dataset:
    """The data set of an assignment. Raises UsageError or DataError if it is not at hand or has no test set."""
    data = assignment.data
    if data.name == "xor":
        table = memoryview(bytes([0, 0, 0, 1, 1, 0, 1, 1])).cast("B", (4, 2))
        return from_arrays(table, [0, 1, 1, 0], table, [0, 1, 1, 0], classes=2, name="xor")
    if data.name == "glyphs":
        return glyphs(data.train or 10_000, data.test or 2_000, seed=data.seed)
    found = load(data.name)
    if found.test is None:
        raise DataError(f"{data.name}: there is no test set to grade on")
    return found


def truth(data: Dataset) -> Truth:
    """The labels, out of the data set."""
    return Truth(data.train.labels.tobytes(), data.test.labels.tobytes(), len(data.classes))


def fill_project(assignment: Assignment, data: Dataset, folder: str | os.PathLike) -> None:
    """Write the four files as a student gets them. Raises LimitError."""
    make_csv(data, folder, assignment.data.prefix)


def fill_box(assignment: Assignment, data: Dataset, folder: str | os.PathLike) -> bytes:
    """Write the files as the box gets them: readable by all, the test labels garbled or absent. Returns what stands there
    for test labels. Raises LimitError.
    """
    folder = Path(folder)
    make_csv(data, folder, assignment.data.prefix)
    garbled = guesses(len(data.test), len(data.classes))
    _labels(assignment, folder, garbled)
    _readable(folder)
    return garbled if assignment.data.test_labels == "garbled" else b""


def fill_variant(assignment: Assignment, base: Path, folder: Path, vectors: Tensor, labels: bytes) -> None:
    """Other test data beside the training data of `base`, as the box gets them. Raises LimitError."""
    prefix = assignment.data.prefix
    with writing(folder):
        folder.mkdir(mode=0o755)
        for kind in ("vectors", "labels"):
            os.link(base / f"{prefix}_train_{kind}.csv", folder / f"{prefix}_train_{kind}.csv")
    write_csv(folder / f"{prefix}_test_vectors.csv", vectors)
    _labels(assignment, folder, labels)
    _readable(folder)


def guesses(n: int, classes: int) -> bytes:
    """n random classes, each as likely as another."""
    most = 256 - 256 % classes
    found = b""
    while len(found) < n:
        found += bytes(b % classes for b in os.urandom(n) if b < most)
    return found[:n]


def _labels(assignment: Assignment, folder: Path, labels: bytes) -> None:
    path = folder / f"{assignment.data.prefix}_test_labels.csv"
    with writing(path):
        path.unlink(missing_ok=True)
    if assignment.data.test_labels == "garbled":
        write_atomic(path, format_classes(labels))


def _readable(folder: Path) -> None:
    with writing(folder):
        folder.chmod(0o755)
        for path in folder.iterdir():
            path.chmod(0o644)
