"""nncore score: counting, and a parser that takes one integer a line and nothing else."""

from __future__ import annotations

import gzip
import random
import re
from array import array

import pytest

from nncore.errors import DataError
from nncore.tensor import Tensor
from nncore.train.predictions import class_bytes, format_classes, read_predictions
from nncore.train.predictions import score as count

LABELS = bytes(i % 10 for i in range(200))


@pytest.fixture
def labels(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_bytes(b"".join(b"%d\n" % c for c in LABELS))
    return path


def lines(classes, end=b"\n") -> bytes:
    return b"".join(b"%d%s" % (c, end) for c in classes)


def test_json(inside, labels, tmp_path):
    (tmp_path / "p.csv").write_bytes(lines([*LABELS[:150], *[(c + 1) % 10 for c in LABELS[150:]]]))
    done = inside("score", "p.csv", labels, "--threshold", "0.75", "--json")
    assert done.code == 0 and done.err == ""
    assert done.json == {"schema": "nncore.score/1", "n": 200, "correct": 150, "accuracy": 0.75,
                         "standard_error": (0.75 * 0.25 / 200) ** 0.5, "threshold": 0.75, "verdict": "PASS"}
    below = inside("score", "p.csv", labels, "--threshold", "0.7501", "--json")
    assert below.code == 1 and below.json["verdict"] == "BELOW_THRESHOLD"
    none = inside("score", "p.csv", labels)
    assert none.code == 0 and none.out == "accuracy 75.00% +- 3.06% (standard error), 150 of 200 correct\n"


@pytest.mark.parametrize("text", [lines(LABELS), lines(LABELS, b"\r\n"), lines(LABELS)[:-1],
                                  lines(LABELS, b"\r\n")[:-2], lines(LABELS[:100], b"\r\n") + lines(LABELS[100:])])
def test_accepted(inside, labels, tmp_path, text):
    (tmp_path / "p.csv").write_bytes(text)
    assert inside("score", "p.csv", labels, "--json").json["correct"] == 200


def test_idx_labels(inside, tmp_path):
    idx = b"\0\0\x08\x01" + (200).to_bytes(4, "big") + LABELS
    (tmp_path / "labels-idx1-ubyte").write_bytes(idx)
    (tmp_path / "labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx))
    (tmp_path / "p.csv").write_bytes(lines(LABELS))
    for name in ("labels-idx1-ubyte", "labels-idx1-ubyte.gz"):
        assert inside("score", "p.csv", name, "--json").json["accuracy"] == 1


def test_labels_of_a_data_set(inside, trained, tiny):
    done = inside("score", trained / "test_predictions.csv", "--data", tiny, "--json")
    assert done.json["n"] == 200
    done = inside("score", trained / "train_predictions.csv", "--data", tiny, "--split", "train", "--json")
    assert done.json["n"] == 600
    assert inside("score", trained / "test_predictions.csv", "--data", tiny, "--split", "train").code == 3


def swapped(line: bytes) -> bytes:
    return lines(LABELS[:6]) + line + b"\n" + lines(LABELS[7:])


@pytest.mark.parametrize("text, message", [
    (b"", "empty"),
    (b"\n" * 200, "line 1: a blank line"),
    (lines(LABELS) + b"\n", "line 201: a blank line at the end"),
    (lines(LABELS[:199]), "199 lines, expected 200 (1 missing)"),
    (lines(LABELS) + b"3\n", "201 lines, expected 200 (1 too many)"),
    (swapped(b""), "line 7: a blank line"),
    (swapped(b"10"), "line 7: class 10 is outside 0 to 9"),
    (swapped(b"256"), "line 7: '256'"),
    (swapped(b"-1"), "not negative"),
    (swapped(b"+1"), "without a sign"),
    (swapped(b" 1"), "no spaces"),
    (swapped(b"1 "), "no spaces"),
    (swapped(b"1.0"), "write 7, not 7.0"),
    (swapped(b"1e0"), "line 7: '1e0'"),
    (swapped(b"01"), "leading zeros"),
    (swapped(b"1,2"), "several values"),
    (swapped(b"0.1;0.9"), "line 7"),
    (swapped(b'"1"'), "not quoted"),
    (swapped(b"cat"), "line 7: 'cat'"),
    (swapped(b"1\x00"), "NUL"),
    (swapped(b"\r"), "line 7: a blank line"),
    (swapped(b"1\r2"), "carriage return"),
    (swapped("\u0663".encode()), "line 7"),
    (b"\xef\xbb\xbf" + lines(LABELS), "byte order mark"),
    (lines(LABELS).decode().encode("utf-16"), "UTF-16"),
    (b"class\n" + lines(LABELS), "header"),
    (swapped(b"9" * 5000), "line 7"),
    (b"\x1f\x8b" + bytes(100), "line 1"),
])
def test_refused(inside, labels, tmp_path, text, message):
    (tmp_path / "p.csv").write_bytes(text)
    done = inside("score", "p.csv", labels, "--json", "--threshold", "0")
    assert (done.code, done.out) == (3, "") and message in done.err and "p.csv" in done.err and len(done.err) < 400


def test_the_parser_takes_what_it_should_and_nothing_else(tmp_path):
    """Random edits of a good file, against a pattern that says the same in one line."""
    path = tmp_path / "p.csv"
    draw = random.Random(1)
    for _ in range(3000):
        text = bytearray(lines(draw.choices(range(10), k=draw.randrange(1, 6)), draw.choice([b"\n", b"\r\n"])))
        for _ in range(draw.randrange(3)):
            at = draw.randrange(len(text) + 1)
            text[at : at + draw.randrange(2)] = draw.choice([b"", b"1", b"\n", b"\r", b" ", b"-", b",", b"\0", b"\xff"])
        good = re.fullmatch(rb"(?:[0-9]\r?\n)*[0-9](?:\r?\n|\r)?", bytes(text))
        path.write_bytes(text)
        try:
            found = read_predictions(path)
        except DataError:
            assert not good, bytes(text)
        else:
            assert good and list(found) == [int(c) for c in text.decode().split()], bytes(text)


def test_files_that_are_none(inside, labels, tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "huge.csv").write_bytes(b"")
    os.truncate(tmp_path / "huge.csv", 1 << 40)
    for name, message in (("nope", "no such file"), (".", "folder"), ("pipe", "regular"), ("huge.csv", "at most")):
        done = inside("score", name, labels)
        assert done.code == 3 and message in done.err
    (tmp_path / "p.csv").write_bytes(lines(LABELS))
    assert inside("score", "p.csv", "nope").code == 3
    (tmp_path / "l.csv").write_bytes(b"1\n2\nx\n")
    assert "l.csv" in inside("score", "p.csv", "l.csv").err


def test_usage(inside, labels):
    assert "not both" in inside("score", "p", labels, "--data", "mnist").err
    assert inside("score", "p").code == 2
    assert inside("score", "p", labels, "--threshold", "1.5").code == 2


def test_classes_as_bytes():
    every = Tensor((256,), "i32", array("i", range(256)))
    assert class_bytes(every) == bytes(range(256))
    assert format_classes(bytes(range(256))) == b"".join(b"%d\n" % c for c in range(256))
    assert format_classes(b"") == b""
    for wrong in (256, 1 << 16, -1):
        with pytest.raises(DataError, match="above 255"):
            class_bytes(Tensor((2,), "i32", array("i", [3, wrong])))
    assert count(b"\0\1\2\0", b"\0\2\2\0").correct == 3
