"""nncore sweep: runs side by side, failures, interruptions, the table."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time

import pytest

from tests.cli.conftest import ROOT

SWEEP = """
[base.data]
folder = "{folder}"
validation = 0.2
[base.model]
hidden = [8]
[base.train]
epochs = {epochs}
batch = 40
[grid]
"optimizer.lr" = {rates}
"train.seed" = [0, 1]
"""


@pytest.fixture
def file(tmp_path, tiny):
    def write(rates="[0.01, 0.001]", epochs=2):
        path = tmp_path / "mine.toml"
        path.write_text(SWEEP.format(folder=tiny, rates=rates, epochs=epochs))
        return path

    return write


def test_a_sweep_and_its_table(inside, file, tmp_path):
    path = file()
    done = inside("sweep", path, "--jobs", 2, "--out", "s")
    assert done.code == 0, done.err
    assert sorted(line[:8] for line in done.err.splitlines()) == [f"run 000{i}" for i in (1, 2, 3, 4)]
    lines = done.out.splitlines()
    assert lines[0].split() == ["#", "optimizer.lr", "n", "validation", "+-", "loss", "seconds"] and len(lines) == 5
    assert lines[1].split()[1:3] == ["0.01", "2"] and lines[3].startswith("chosen optimizer.lr=0.01: validation ")
    assert "test " in lines[3] and "by luck" in lines[4] and "\x1b" not in done.out + done.err
    result = json.loads((tmp_path / "s/sweep.json").read_text())
    assert result["schema"] == "nncore.sweep/1" and [r["state"] for r in result["runs"]] == ["finished"] * 4
    assert "test_accuracy" not in str(result["runs"]) + str(result["settings"]) and result["chosen"]["test_accuracy"]["n"] == 2
    # Each run is one that `train` gives alone.
    alone = inside("train", path.with_name("s") / "runs/0002/config.toml", "--out", "alone", "--json", "--quiet")
    assert alone.json["weights_sha256"] == result["runs"][1]["weights_sha256"]
    assert alone.json["val_accuracy"] == result["runs"][1]["val_accuracy"]
    # Once more: nothing is left to do, and the results are the same.
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "s/runs").rglob("*")}
    again = inside("sweep", path, "--out", "s", "--json")
    assert again.code == 0 and again.err == "" and again.json == result
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "s/runs").rglob("*")} == times


def test_a_run_that_fails_stops_no_other(inside, file):
    path = file("[1e30, 0.01]")
    done = inside("sweep", path, "--quiet", "--jobs", 1)
    assert done.code == 0 and "failed" in done.out.splitlines()[0] and "failed runs/0001: exit code 1: step " in done.out
    result = json.loads((path.with_name("sweeps") / "mine/sweep.json").read_text())
    assert [r["state"] for r in result["runs"]] == ["failed", "failed", "finished", "finished"]
    assert "learning rate" in result["runs"][0]["message"] and result["chosen"]["settings"] == {"optimizer.lr": 0.01}
    assert result["settings"][1] == {"settings": {"optimizer.lr": 1e30}, "runs": 2, "finished": 0, "failed": 2,
                                     "val_accuracy": None, "val_loss": None, "seconds": None}


def test_the_live_line_and_the_drawn_table(environment, file, tmp_path):
    """On a terminal: a line that is redrawn and taken away, and a table drawn by rich."""
    import pty

    main, side = pty.openpty()
    process = subprocess.Popen([sys.executable, "-m", "nncore", "sweep", str(file())], cwd=tmp_path, stdout=side, stderr=side,
                               env={**environment, "TERM": "xterm", "COLUMNS": "120"})
    os.close(side)
    shown = b""
    while process.poll() is None or select.select([main], [], [], 0)[0]:
        try:
            shown += os.read(main, 65536) if select.select([main], [], [], 0.1)[0] else b""
        except OSError:  # Linux: the other side is closed
            break
    os.close(main)
    text = shown.decode()
    assert process.wait() == 0 and "\r\x1b[K0/4 done" in text and " running" in text
    assert "\u2502" in text and "chosen optimizer.lr" in text and text.count("run 0001") == 1


def test_all_runs_fail(inside, file):
    done = inside("sweep", file("[1e30]"), "--quiet", "--json")
    assert done.code == 1 and done.json["chosen"] is None


def begin(environment, tmp_path, path):
    """A sweep in a process of its own, as soon as its first run has written a checkpoint."""
    process = subprocess.Popen([sys.executable, "-m", "nncore", "sweep", str(path), "--jobs", "1", "--quiet", "--out", "s"],
                               cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while not list((tmp_path / "s").glob("runs/*/checkpoints/*.safetensors")):
        assert time.monotonic() < end and process.poll() is None, process.communicate()
        time.sleep(0.01)
    return process


def straight(inside, path) -> list:
    done = inside("sweep", path, "--quiet", "--json", "--out", "straight")
    return [r["weights_sha256"] for r in done.json["runs"]]


def test_interrupted_and_gone_on_with(inside, environment, file, tmp_path):
    path = file("[0.01]", epochs=150)
    process = begin(environment, tmp_path, path)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=40)
    assert process.returncode == 130 and out == "" and "The same command goes on" in err and "Traceback" not in err
    result = json.loads((tmp_path / "s/sweep.json").read_text())
    assert {r["state"] for r in result["runs"]} <= {"waiting", "finished"} and result["runs"][-1]["state"] == "waiting"
    done = inside("sweep", path, "--out", "s", "--json", "--quiet")
    assert done.code == 0 and not [r["message"] for r in done.json["runs"] if r["message"]]
    assert [r["weights_sha256"] for r in done.json["runs"]] == straight(inside, path)


def test_killed_and_gone_on_with(inside, environment, file, tmp_path):
    path = file("[0.01]", epochs=150)
    process = begin(environment, tmp_path, path)
    process.kill()
    process.communicate()
    done = inside("sweep", path, "--out", "s", "--json", "--quiet")
    assert done.code == 0 and not [r["message"] for r in done.json["runs"] if r["message"]], done
    assert [r["weights_sha256"] for r in done.json["runs"]] == straight(inside, path)


def test_another_sweep_in_the_folder(inside, file, tmp_path):
    inside("sweep", file(), "--quiet", "--out", "s")
    done = inside("sweep", file("[0.02]"), "--quiet", "--out", "s")
    assert done.code == 2 and "holds another sweep" in done.err
    (tmp_path / "f").touch()
    done = inside("sweep", file(), "--out", "f")
    assert done.code == 2 and "is a file" in done.err


def test_list_writes_nothing(inside, file, tmp_path):
    done = inside("sweep", file(), "--list", "--set", "train.epochs=1")
    assert done.code == 0 and done.out.splitlines()[3] == "0004 optimizer.lr=0.001 train.seed=1"
    assert [p.name for p in tmp_path.iterdir()] == ["mine.toml"]


@pytest.mark.parametrize("options, code, message", [
    (["nowhere.toml"], 3, "cannot be read"), (["mine.toml", "--jobs", 0], 2, "--jobs"),
    (["mine.toml", "--set", "data.validation=false"], 2, "never by the test set"),
    (["mine.toml", "--set", "train.epoch=1"], 2, "did you mean epochs"), (["mine.toml", "--isa", "sse9"], 2, "choose one of"),
    (["mine.toml", "--out", "/proc/s"], 4, "cannot be written"),
])
def test_bad_values(inside, file, tmp_path, options, code, message):
    file()
    done = inside("sweep", *options)
    assert done.code == code and message in done.err and done.out == ""
    assert [p.name for p in tmp_path.iterdir()] == ["mine.toml"]


def test_the_example_runs(inside):
    quick = ("--set", "train.epochs=1", "--set", "data.limit=400")
    done = inside("sweep", ROOT / "examples/sweep.toml", *quick, "--json", "--quiet")
    assert done.code == 0 and len(done.json["runs"]) == 8 and len(done.json["settings"]) == 4
    assert all(row["val_accuracy"]["n"] == 2 for row in done.json["settings"])
