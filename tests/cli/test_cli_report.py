"""nncore report and nncore compare, on real runs."""

from __future__ import annotations

import importlib.util
import json
import shutil

import pytest

from tests.harness import need

HAVE = all(map(importlib.util.find_spec, ("altair", "vl_convert", "jinja2")))


@pytest.fixture
def extras():
    need("report", HAVE, "pip install 'nncore[report]'")


@pytest.fixture
def run(trained, tmp_path):
    """A copy of the finished run."""
    return shutil.copytree(trained, tmp_path / "a run")


def test_report_of_a_run(inside, run, extras):
    done = inside("report", run, "--json")
    assert done.code == 0 and done.err == ""
    assert done.json == {"schema": "nncore.report/1", "run": str(run), "output": str(run / "report.html"),
                         "nbytes": (run / "report.html").stat().st_size, "notes": []}
    html = (run / "report.html").read_text()
    sections = ("learning", "classes", "mistakes", "certainty", "layers", "inside", "time", "settings")
    assert all(f'id="{s}"' in html for s in sections)
    found, result = json.loads((run / "insight.json").read_text()), json.loads((run / "result.json").read_text())
    assert found["evaluation"]["accuracy"] == result["test_accuracy"] and found["split"] == "test"
    predicted = [int(line) for line in (run / "test_predictions.csv").read_text().splitlines()]
    columns = [sum(row[c] for row in found["confusion"]) for c in range(10)]
    assert columns == [predicted.count(c) for c in range(10)]
    assert found["schedule"]["steps_per_epoch"] == 10 and found["profile"]["batch"] == 64
    assert f"{result['test_accuracy']:.2%}".replace("%", "\u202f%") in html and result["weights_sha256"] in html
    watched = [json.loads(line)["layers"] for line in (run / "history.jsonl").read_text().splitlines()]
    assert [[layer["name"] for layer in layers] for layers in watched] == [["0 Dense", "1 ReLU", "2 Dense"]] * 4


def test_what_was_worked_out_is_kept(inside, run, tmp_path, extras):
    assert inside("report", run).code == 0
    insight = run / "insight.json"
    marked = json.loads(insight.read_text()) | {"notes": ["a mark"]}
    insight.write_text(json.dumps(marked))
    assert inside("report", run, "--json").json["notes"] == ["a mark"]
    assert inside("report", run, "--image", 3, "--json").json["notes"] == []
    assert json.loads(insight.read_text())["maps"]["index"] == 3
    insight.write_text(json.dumps(marked))
    assert inside("report", run, "--refresh", "--json").json["notes"] == []
    insight.write_text(json.dumps(marked | {"model_sha256": "0" * 64}))
    assert inside("report", run, "--json").json["notes"] == [], "another network than the one that was looked at"
    done = inside("report", run, "--output", "here.html")
    assert done.code == 0 and done.out.startswith("here.html") and "Mistakes" in (tmp_path / "here.html").read_text()
    assert inside("report", run, "--quiet").out == ""


def test_a_report_without_the_data(inside, run, extras):
    """Runs outlive their data: what there is, is shown, and what is missing is said."""
    config = (run / "config.toml").read_text().splitlines()
    moved = ('folder = "/nowhere/at/all"' if line.startswith("folder") else line for line in config)
    (run / "config.toml").write_text("\n".join(moved) + "\n")
    done = inside("report", run)
    assert done.code == 0 and "could not be looked at" in done.err and "/nowhere/at/all" in done.err
    html = (run / "report.html").read_text()
    assert "could not be looked at" in html and 'id="learning"' in html and 'id="mistakes"' not in html


def test_a_report_of_a_run_that_has_not_ended(inside, run, extras):
    for name in ("model.safetensors", "result.json"):
        (run / name).unlink()
    done = inside("report", run)
    assert done.code == 0 and "has not ended" in done.err and "has not ended" in (run / "report.html").read_text()


@pytest.mark.parametrize("name", ["insight.json", "result.json", "history.jsonl"])
def test_malformed_files(inside, run, name, extras):
    (run / name).write_text("[1, 2]\n")
    done = inside("report", run)
    assert done.code == 3 and name in done.err
    assert inside("compare", run, run).code == 3


def test_exit_codes(inside, run, tmp_path, extras):
    (tmp_path / "empty").mkdir()
    for command in (["report", "nowhere"], ["report", "empty"], ["compare", run, "nowhere"], ["compare", "empty", run]):
        assert inside(*command).code == 3, command
    for command in (["report"], ["report", run, "--image", -1], ["compare"], ["compare", run], ["report", run, "--isa", "sse"]):
        assert inside(*command).code == 2, command
    assert inside("report", run, "--output", "no/such/folder.html").code == 4
    assert inside("compare", run, run, "--output", "no/such/folder.html").code == 4


def test_damaged_weights(inside, run, extras):
    with open(run / "model.safetensors", "r+b") as file:
        file.seek(-3, 2)
        file.write(b"xyz")
    done = inside("report", run)
    assert done.code == 0 and "damaged" in done.err and "damaged" in (run / "report.html").read_text()


def test_train_writes_the_report(inside, tiny, tmp_path, extras):
    done = inside("train", "--data", tiny, "--epochs", 1, "--hidden", 8, "--batch", 64, "--threshold", 0, "--quiet", "--out", "r",
                  "--report", "--json")
    assert done.code == 0 and done.json["report"] == "r/report.html" and (tmp_path / "r" / "report.html").stat().st_size > 10_000
    again = inside("train", "--resume", "r", "--report", "--quiet")
    assert again.code == 0 and "report r/report.html" in again.out


def test_what_is_missing_is_said_before_training(inside, tiny, monkeypatch, run, tmp_path):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "altair" else real(name, *a))
    for command in (["train", "--data", tiny, "--out", "r", "--report"], ["report", run], ["compare", run, run, "-o", "x.html"]):
        done = inside(*command)
        assert done.code == 2 and "altair" in done.err and "pip install 'nncore[report]'" in done.err
    assert not (tmp_path / "r").exists()
    assert inside("compare", run, run).code == 0, "a table needs nothing"


def test_compare(inside, run, tiny, tmp_path, extras):
    assert inside("train", "--data", tiny, "--epochs", 2, "--hidden", "12,8", "--batch", 64, "--quiet", "--out", "b",
                  "--validation", 0.2, "--threshold", 0).code == 0
    done = inside("compare", run, "b", "--json")
    assert done.code == 0 and done.json["schema"] == "nncore.compare/1"
    assert done.json["settings"] == {"data.validation": [None, 0.2], "model.hidden": [[16], [12, 8]], "train.epochs": [4, 2],
                                     "train.threshold": [None, 0.0]}
    assert [r["figures"]["epochs_done"] for r in done.json["runs"]] == [4, 2] and done.json["same_data"]
    table = inside("compare", run, "b", "--output", "c.html")
    assert table.code == 0 and "12, 8" in table.out and "*" in table.out and "c.html" in table.err
    assert "Settings that differ" in (tmp_path / "c.html").read_text()
    assert len({len(line) for line in table.out.splitlines() if line}) == 1, "columns end where they should"
