"""nncore predict: classes and probabilities of data sets and files."""

from __future__ import annotations

import struct

import pytest

from nncore.train.predictions import shortest


def test_a_run_predicts_what_it_predicted(inside, trained, tmp_path):
    expected = (trained / "test_predictions.csv").read_text()
    assert inside("predict", trained).out == expected
    done = inside("predict", trained, "--split", "train", "--output", "p.csv", "--threads", 1, "--isa", "portable")
    assert done.out == "" and "600 predictions in p.csv, accuracy" in done.err
    assert (tmp_path / "p.csv").read_bytes() == (trained / "train_predictions.csv").read_bytes()


def test_model_file_and_files_of_images(inside, trained, tiny, course):
    model = trained / "model.safetensors"
    expected = (trained / "test_predictions.csv").read_text()
    assert inside("predict", model, "--data", tiny).out == expected
    assert inside("predict", model, "--images", tiny / "t10k-images-idx3-ubyte").out == expected
    assert inside("predict", model, "--images", course / "fashion_mnist_test_vectors.csv").out == expected


def test_probabilities(inside, trained):
    rows = [line.split(",") for line in inside("predict", trained, "--proba").out.splitlines()]
    classes = (trained / "test_predictions.csv").read_text().split()
    assert len(rows) == 200 and all(len(row) == 10 for row in rows)
    for row, c in zip(rows, classes, strict=True):
        values = [float(v) for v in row]
        assert abs(sum(values) - 1) < 1e-5 and max(range(10), key=values.__getitem__) == int(c)


def test_json(inside, trained, tmp_path):
    done = inside("predict", trained, "--json")
    assert done.err == "" and done.json["schema"] == "nncore.predict/1"
    assert done.json["n"] == len(done.json["predictions"]) == 200
    assert done.json["dataset"] == "tiny" and 0 < done.json["accuracy"] <= 1
    done = inside("predict", trained, "--json", "--output", "p.csv")
    assert done.json["predictions"] is None and done.json["output"] == "p.csv" and (tmp_path / "p.csv").exists()


@pytest.mark.parametrize("options, code, message", [
    (["nope"], 3, "cannot be read"),
    (["."], 3, "no model.safetensors"),
    (["{model}"], 2, "--data NAME or --images FILE"),
    (["{model}", "--images", "nope"], 3, "no such file"),
    (["{model}", "--images", "short.csv"], 3, "3 values per image; the network takes 784"),
    (["{model}", "--images", "bad.csv"], 3, "line 2"),
    (["{model}", "--data", "glyphs", "--images", "bad.csv"], 2, "not both"),
    (["bad.csv", "--data", "glyphs"], 3, "bad.csv"),
    (["{run}", "--output", "no/where.csv"], 4, "cannot be written"),
    (["{run}", "--split", "validation"], 2, "--split"),
])
def test_bad_input(inside, trained, tmp_path, options, code, message):
    (tmp_path / "short.csv").write_text("1,2,3\n4,5,6\n")
    (tmp_path / "bad.csv").write_text("1,2,3\n4,x,6\n")
    done = inside("predict", *(o.format(model=trained / "model.safetensors", run=trained) for o in options))
    assert (done.code, done.out) == (code, "") and message in done.err


def test_shortest_reads_back():
    values = [0.1, 1 / 3, 1e-30, 1.17549435e-38, 1e-45, 0.0, 1.0, 16777216.0, 3.4028234e38, 8.589973e9, 9.5e-5]
    state = 1
    for _ in range(2000):
        state = state * 6364136223846793005 + 1442695040888963407 & 2**64 - 1
        values.append(struct.unpack("f", struct.pack("I", (state >> 33) % 0x7F800000))[0])
    for value in (struct.unpack("f", struct.pack("f", v))[0] for v in values):
        text = shortest(value)
        assert struct.unpack("f", struct.pack("f", float(text)))[0] == value
        digits = len(text.split(b"e")[0].replace(b".", b"").strip(b"0"))
        for fewer in range(1, digits):
            assert struct.unpack("f", struct.pack("f", float(b"%.*g" % (fewer, value))))[0] != value


def test_out_is_a_folder_for_the_predictions(inside, trained, tmp_path):
    assert inside("predict", trained, "--out", tmp_path / "new" / "place").out == ""
    written = (tmp_path / "new" / "place" / "test_predictions.csv").read_bytes()
    assert written == (trained / "test_predictions.csv").read_bytes()
    done = inside("predict", trained, "--out", tmp_path, "--output", "x.csv")
    assert done.code == 2 and "not both" in done.err
