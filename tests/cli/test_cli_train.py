"""nncore train: the result, the run folder, every bad input."""

from __future__ import annotations

import json
import re
import resource
import sys

import pytest

from nncore.train.predictions import read_predictions

KEYS = ["schema", "run", "model", "dataset", "seed", "epochs", "batch", "math", "elementary", "isa", "threads", "parameters",
        "train_accuracy", "test_accuracy", "val_accuracy", "val_loss", "weights_sha256", "seconds", "plan_bytes",
        "peak_rss_bytes", "predictions", "threshold", "verdict", "events"]
SHORT = ("--epochs", "4", "--hidden", "16", "--batch", "64")
FILES = {"config.toml", "model.safetensors", "checkpoints", "history.jsonl", "result.json", "tape.txt",
         "train_predictions.csv", "test_predictions.csv"}


def test_json_run_folder_and_predictions(command, tiny, tmp_path):
    done = command("train", "--data", tiny, *SHORT, "--seed", "3", "--threshold", "0.2", "--json", "--out", "my run")
    assert done.code == 0
    result = done.json
    assert list(result) == KEYS
    assert [result[k] for k in KEYS[:4]] == ["nncore.train/1", "my run", "mlp", "tiny"]
    assert (result["seed"], result["epochs"], result["batch"], result["math"]) == (3, 4, 64, "f32")
    assert result["parameters"] == 784 * 16 + 16 + 160 + 10
    assert result["verdict"] == "PASS" and result["threshold"] == 0.2
    assert list(result["seconds"]) == ["load", "train", "predict", "total"]
    assert result["seconds"]["total"] >= sum(v for k, v in result["seconds"].items() if k != "total") - 0.01
    assert re.fullmatch("[0-9a-f]{64}", result["weights_sha256"]) and result["peak_rss_bytes"] > 10 << 20
    folder = tmp_path / "my run"
    assert {p.name for p in folder.iterdir()} == FILES
    assert json.loads((folder / "result.json").read_text()) == result
    assert len((folder / "history.jsonl").read_text().splitlines()) == 4
    assert 1 <= len(list((folder / "checkpoints").iterdir())) <= 2
    assert "dense_fwd" in (folder / "tape.txt").read_text()
    labels = (tiny / "t10k-labels-idx1-ubyte").read_bytes()[8:]
    predicted = read_predictions(folder / "test_predictions.csv", 200)
    assert sum(a == b for a, b in zip(predicted, labels, strict=True)) / 200 == result["test_accuracy"]
    assert len(read_predictions(folder / "train_predictions.csv")) == 600


def test_plain_progress_in_a_pipe(command, tiny):
    done = command("train", "--data", tiny, *SHORT, "--out", "r")
    lines = done.err.splitlines()
    assert [line[:9] for line in lines] == [f"epoch {i}/4" for i in (1, 2, 3, 4)]
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", done.out + done.err)
    assert "test   accuracy" in done.out and "standard error" in done.out


def test_below_threshold_is_exit_1_and_still_writes(inside, tiny, tmp_path):
    done = inside("train", "--data", tiny, *SHORT, "--threshold", "1", "--quiet", "--out", "r", "--predictions", ".")
    assert done.code == 1 and "BELOW_THRESHOLD" in done.out and done.err == ""
    for name in ("train_predictions.csv", "test_predictions.csv"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "r" / name).read_bytes()


def test_no_threshold_no_verdict(inside, tiny, tmp_path):
    done = inside("train", "--data", tiny, "--epochs", 1, "--hidden", 4, "--json", "--quiet")
    assert done.code == 0 and done.json["verdict"] is None and done.json["threshold"] is None
    assert re.fullmatch(r"runs/\d{8}T\d{6}Z-tiny-mlp-s0", done.json["run"])
    again = inside("train", "--data", tiny, "--epochs", 1, "--hidden", 4, "--json", "--quiet")
    assert again.json["run"] != done.json["run"] and again.json["weights_sha256"] == done.json["weights_sha256"]


def test_the_course_files_have_the_course_threshold(inside, course):
    done = inside("train", "--data", course, "--epochs", 1, "--hidden", 4, "--json", "--quiet")
    assert done.json["threshold"] == 0.88 and done.code == 1


def test_threads_and_isa_change_no_bit(inside, tiny):
    hashes = set()
    for options in (["--threads", 1], ["--threads", 2], ["--isa", "portable"]):
        done = inside("train", "--data", tiny, "--epochs", 2, "--hidden", 16, "--json", "--quiet", *options)
        hashes.add(done.json["weights_sha256"])
    assert len(hashes) == 1


def test_validation_and_early_stopping(inside, tiny, tmp_path):
    done = inside("train", "--data", tiny, "--epochs", 60, "--hidden", 16, "--lr", "0.03", "--validation", "0.2",
                  "--patience", 2, "--out", "r", "--quiet")
    assert done.code == 0 and "stopped at step" in done.out and "val_loss no better" in done.out
    records = [json.loads(line) for line in (tmp_path / "r" / "history.jsonl").read_text().splitlines()]
    assert len(records) < 60 and all("val_accuracy" in r for r in records)


def test_fallback_says_so_once(inside, monkeypatch):
    from nncore.data import glyphs as make

    monkeypatch.setattr(sys.modules["nncore.data.glyphs"], "glyphs", lambda: make(300, 100))
    done = inside("train", "--epochs", 1, "--hidden", 4, "--json", "--quiet")
    assert done.code == 1 and done.json["dataset"] == "glyphs" and done.json["threshold"] == 0.95
    assert len(done.err.splitlines()) == 1 and "glyphs" in done.err


def test_data_asked_for_by_name_is_never_replaced(inside):
    done = inside("train", "--data", "fashion-mnist")
    assert done.code == 3 and "by hand" in done.err and done.out == ""


@pytest.mark.parametrize("options, code, message", [
    (["--hidden", "0"], 2, "'0' is not a hidden size"),
    (["--hidden", "-3"], 2, "'-3' is not a hidden size"),
    (["--hidden", "16,,8"], 2, "not a hidden size"),
    (["--hidden", "16.5"], 2, "not a hidden size"),
    (["--hidden", "2000000000"], 4, "smaller network"),
    (["--lr", "nan"], 2, "--lr"),
    (["--lr", "inf"], 2, "--lr"),
    (["--lr", "0"], 2, "--lr"),
    (["--lr", "fast"], 2, "'fast' is not a number"),
    (["--batch", "601"], 2, "batch 601 is larger than the 600 training samples"),
    (["--batch", "0"], 2, "--batch"),
    (["--epochs", "0"], 2, "--epochs"),
    (["--epochs", "1e3"], 2, "--epochs"),
    (["--steps", "0"], 2, "--steps"),
    (["--seed", "-1"], 2, "--seed"),
    (["--threads", "0"], 2, "--threads"),
    (["--threads", "65"], 2, "--threads"),
    (["--isa", "sse9"], 2, "choose one of"),
    (["--math", "f16"], 2, "unknown math mode"),
    (["--math", "bf16x2"], 2, "did you mean bf16x6 or bf16x3"),
    (["--model", "mpl"], 2, "did you mean mlp?"),
    (["--shards", "3"], 2, "shards 3"),
    (["--threshold", "88"], 2, "did you mean 0.88?"),
    (["--threshold", "nan"], 2, "--threshold"),
    (["--validation", "1"], 2, "--validation"),
    (["--validation", "0.0001"], 2, "validation split"),
    (["--patience", "3"], 2, "--validation"),
    (["--predictions", "nowhere"], 2, "no such folder"),
    (["--out", "a-file"], 2, "is a file"),
    (["--out", "a-file/run"], 4, "cannot be written"),
    (["--out", "/proc/run"], 4, "cannot be written"),
    (["--data", "fashoin-mnist"], 2, "did you mean fashion-mnist"),
    (["--data", "./nowhere"], 3, "no such folder"),
    (["--data", "."], 3, "holds no data"),
    (["--data", ""], 2, "give a name or a folder"),
    (["--resume", "nowhere"], 3, "no such run"),
    (["--resume", "."], 3, "no config.toml"),
])
def test_bad_values(inside, tiny, tmp_path, options, code, message):
    (tmp_path / "a-file").write_text("mine\n")
    done = inside("train", *([] if {"--data", "--resume"} & set(options) else ["--data", tiny]), *options, "--json")
    assert (done.code, done.out) == (code, ""), done
    assert message in done.err and done.err.startswith("nncore: ")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a-file"] and (tmp_path / "a-file").read_text() == "mine\n"


@pytest.mark.parametrize("name, value, message", [
    ("NNCORE_THREADS", "0", "NNCORE_THREADS=0"),
    ("NNCORE_THREADS", "two", "not a whole number"),
    ("NNCORE_ISA", "mmx", "choose one of"),
    ("NNCORE_DATA", "/nowhere", "not a folder"),
])
def test_bad_environment(inside, monkeypatch, name, value, message):
    monkeypatch.setenv(name, value)
    done = inside("train", "--data", "mnist")
    assert done.code == 2 and message in done.err and name in done.err + name


def test_nothing_is_overwritten(inside, trained, tiny):
    before = {p: p.read_bytes() for p in trained.rglob("*") if p.is_file()}
    done = inside("train", "--data", tiny, "--out", trained)
    assert done.code == 2 and "--resume" in done.err and "nothing is overwritten" in done.err
    assert {p: p.read_bytes() for p in trained.rglob("*") if p.is_file()} == before


def test_divergence_keeps_the_last_good_weights(inside, tiny, tmp_path):
    import nncore

    done = inside("train", "--data", tiny, "--hidden", 16, "--lr", "1e30", "--out", "r", "--json")
    assert done.code == 1 and done.out == "" and "learning rate" in done.err and "op " in done.err
    model = nncore.load(tmp_path / "r" / "model.safetensors")
    assert all(abs(v) < 1 for row in model.parameter("0.weight").tolist() for v in row)


def test_a_full_disk_loses_no_result(command, tiny, tmp_path):
    def limit():  # a file may have 20 kB: enough for all but the weights and checkpoints
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    done = command("train", "--data", tiny, *SHORT, "--epochs", 60, "--json", "--out", "r", preexec_fn=limit)
    assert done.code == 4 and "cannot be written" in done.err
    assert done.json["test_accuracy"] > 0.3 and (tmp_path / "r" / "test_predictions.csv").exists()
    assert done.err.count("training goes on") == 1
    assert not [p.name for p in tmp_path.rglob("*") if p.name.startswith(".")], "half-written files are left behind"
