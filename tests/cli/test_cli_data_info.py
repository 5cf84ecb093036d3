"""nncore data and nncore info."""

from __future__ import annotations

import pytest


def test_info(inside, monkeypatch):
    found = inside("info", "--json").json
    assert list(found) == ["schema", "version", "numerics_id", "isa", "threads", "math", "compiler", "python"]
    assert found["schema"] == "nncore.info/1" and found["math"] == ["f32", "bf16", "bf16x3", "bf16x6"] and found["threads"] >= 1
    assert found["isa"]["used"] in found["isa"]["available"] and "portable" in found["isa"]["available"]
    monkeypatch.setenv("NNCORE_ISA", "portable")
    monkeypatch.setenv("NNCORE_THREADS", "1")
    found = inside("info", "--json").json
    assert found["isa"]["used"] == "portable" and found["threads"] == 1
    text = inside("info").out
    assert "-ffp-contract=off" in text and "datasets/" in text


def test_list(inside, tiny, monkeypatch):
    monkeypatch.setenv("NNCORE_DATA", str(tiny.parent))
    found = {d["name"]: d for d in inside("data", "list", "--json").json["datasets"]}
    assert {"fashion-mnist", "mnist", "glyphs", "tiny"} <= set(found)
    assert found["tiny"]["here"] and found["glyphs"]["here"] and not found["mnist"]["here"]
    assert "Fashion-MNIST" in inside("data", "list").out


def test_info_of_a_data_set(inside, tiny):
    found = inside("data", "info", "fashion-mnist", "--json").json
    assert found["schema"] == "nncore.data.info/1" and found["classes"][9] == "Ankle boot" and not found["here"]
    assert "nncore data get fashion-mnist" in inside("data", "info", "fashion-mnist").out
    found = inside("data", "info", tiny, "--json").json
    assert (found["train"], found["test"], found["shape"]) == (600, 200, [28, 28])


def test_make_csv(inside, tiny, course, tmp_path):
    done = inside("data", "make-csv", tiny, "out folder", "--json")
    assert done.code == 0 and len(done.json["files"]) == 4
    for part in ("train_vectors", "train_labels", "test_vectors", "test_labels"):
        mine = tmp_path / "out folder" / f"data_{part}.csv"
        assert mine.read_bytes() == (course / f"fashion_mnist_{part}.csv").read_bytes()
    again = inside("data", "make-csv", tiny, "out folder")
    assert again.code == 2 and "nothing is overwritten" in again.err
    assert inside("data", "make-csv", tiny, "out folder", "--force").code == 0


@pytest.mark.parametrize("arguments, code, message", [
    (["info", "mnits"], 2, "did you mean mnist"),
    (["info", "./nope"], 3, "no such folder"),
    (["get", "fashion-mnist"], 3, "by hand"),
    (["get", "nope"], 2, "unknown data set"),
    (["verify", "mnist"], 3, "nncore data get mnist"),
    (["make-csv", "nope", "x"], 2, "unknown data set"),
    (["make-csv", "{tiny}", "/proc/x"], 4, "/proc/x"),
])
def test_bad_input(inside, tiny, arguments, code, message):
    done = inside("data", *(a.format(tiny=tiny) for a in arguments))
    assert (done.code, done.out) == (code, "") and message in done.err
