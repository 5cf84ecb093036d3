"""Stopping and going on: the weights are those of a run that was never stopped, to the bit."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest

SETTINGS = ("--epochs", "4", "--hidden", "24,16", "--batch", "64", "--seed", "2", "--quiet", "--json")


@pytest.fixture
def straight(inside, tiny):
    """The result of a run that was never stopped: 10 steps an epoch, the last of 24 samples."""
    done = inside("train", "--data", tiny, *SETTINGS, "--out", "straight")
    assert done.code == 0
    return done.json


@pytest.mark.parametrize("steps", [1, 9, 10, 17, 39, 40])
def test_resume_after_a_step_limit(inside, tiny, tmp_path, straight, steps):
    first = inside("train", "--data", tiny, *SETTINGS, "--steps", steps, "--out", "r")
    assert first.code == 0 and (first.json["weights_sha256"] == straight["weights_sha256"]) == (steps == 40)
    then = inside("train", "--resume", "r", "--json", "--quiet")
    assert then.code == 0
    for key in ("weights_sha256", "train_accuracy", "test_accuracy", "epochs"):
        assert then.json[key] == straight[key]
    assert _history(tmp_path / "r") == _history(tmp_path / "straight")
    for name in ("test_predictions.csv", "train_predictions.csv"):
        assert (tmp_path / "r" / name).read_bytes() == (tmp_path / "straight" / name).read_bytes()


def _history(folder) -> list[dict]:
    records = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return [{k: v for k, v in r.items() if k != "images_per_s"} for r in records]


def test_several_stops_on_other_levels_and_threads(inside, tiny, straight):
    inside("train", "--data", tiny, *SETTINGS, "--steps", 7, "--isa", "portable", "--out", "r")
    inside("train", "--resume", "r", "--steps", 13, "--threads", 1, "--quiet")
    inside("train", "--resume", "r", "--steps", 31, "--isa", "scalar", "--threads", 2, "--quiet")
    assert inside("train", "--resume", "r", "--quiet", "--json").json["weights_sha256"] == straight["weights_sha256"]


def test_resume_with_validation_and_patience(inside, tiny, tmp_path):
    settings = ("--epochs", 40, "--hidden", 16, "--batch", 64, "--lr", "0.03", "--validation", 0.2, "--patience", 2,
                "--quiet", "--json", "--data", tiny)
    straight = inside("train", *settings, "--out", "straight").json
    stopped = len(_history(tmp_path / "straight"))
    inside("train", *settings, "--steps", (stopped - 1) * 8 - 3, "--out", "r")
    then = inside("train", "--resume", "r", "--quiet", "--json").json
    assert then["weights_sha256"] == straight["weights_sha256"]
    assert _history(tmp_path / "r") == _history(tmp_path / "straight")
    again = inside("train", "--resume", "r", "--quiet", "--json").json
    assert again["weights_sha256"] == straight["weights_sha256"], "resuming an ended run trains no further"


def test_interrupt_by_ctrl_c(environment, command, tiny, tmp_path):
    settings = ["--data", str(tiny), "--epochs", "50", "--hidden", "48", "--batch", "32", "--json"]
    straight = command("train", *settings, "--out", "straight", "--quiet")
    process = subprocess.Popen([sys.executable, "-m", "nncore", "train", *settings, "--out", "a run"], cwd=tmp_path,
                               text=True, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stderr.readline().startswith("epoch 1/50")
    process.send_signal(signal.SIGINT)
    start = time.monotonic()
    out, err = process.communicate(timeout=30)
    assert time.monotonic() - start < 3, "Ctrl-C must stop within a second on a quiet machine"
    assert process.returncode == 130 and out == ""
    assert "interrupted after step" in err and "nncore train --resume 'a run'" in err and "Traceback" not in err
    folder = tmp_path / "a run"
    assert list((folder / "checkpoints").iterdir()) and (folder / "model.safetensors").exists()
    then = command("train", "--resume", "a run", "--json", "--quiet")
    assert then.json["weights_sha256"] == straight.json["weights_sha256"]


def test_a_killed_run_goes_on(environment, command, inside, tiny, tmp_path):
    settings = ["--data", str(tiny), "--epochs", "25", "--hidden", "48", "--batch", "32", "--json"]
    process = subprocess.Popen([sys.executable, "-m", "nncore", "train", *settings, "--out", "r"], cwd=tmp_path,
                               text=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    for _ in range(5):
        process.stderr.readline()
    process.kill()
    process.communicate()
    straight = inside("train", *settings, "--out", "straight", "--quiet").json
    assert inside("train", "--resume", "r", "--json", "--quiet").json["weights_sha256"] == straight["weights_sha256"]
    assert _history(tmp_path / "r") == _history(tmp_path / "straight")


@pytest.mark.parametrize("options, message", [
    (["--lr", "1e-3"], "--lr 0.001 contradicts"),
    (["--epochs", "9"], "--epochs 9 contradicts"),
    (["--hidden", "16,24"], "which has 24,16"),
    (["--seed", "0"], "which has 2"),
    (["--data", "glyphs"], "--data glyphs contradicts"),
    (["--out", "elsewhere"], "--out elsewhere contradicts"),
    (["--threshold", "0.1"], "which has none"),
    (["--steps", "5"], "has done 17 already"),
])
def test_contradictions(inside, tiny, tmp_path, options, message):
    inside("train", "--data", tiny, *SETTINGS, "--steps", 17, "--out", "r")
    done = inside("train", "--resume", "r", *options)
    assert done.code == 2 and message in done.err and not (tmp_path / "elsewhere").exists()


def test_what_agrees_is_no_contradiction(inside, tiny, straight):
    inside("train", "--data", tiny, *SETTINGS, "--steps", 17, "--out", "r")
    done = inside("train", "--resume", "r", "--data", tiny, *SETTINGS, "--out", "r")
    assert done.code == 0 and done.json["weights_sha256"] == straight["weights_sha256"]


def test_other_data_under_the_same_name(inside, tiny, tmp_path):
    import shutil

    shutil.copytree(tiny, tmp_path / "mine")
    inside("train", "--data", "mine", *SETTINGS, "--steps", 3, "--out", "r")
    labels = tmp_path / "mine" / "train-labels-idx1-ubyte"
    data = bytearray(labels.read_bytes())
    data[100] = (data[100] + 1) % 10
    labels.write_bytes(data)
    done = inside("train", "--resume", "r")
    assert done.code == 3 and "not the data" in done.err


def test_damaged_runs(inside, tiny, tmp_path):
    inside("train", "--data", tiny, *SETTINGS, "--steps", 25, "--out", "r")
    newest = sorted((tmp_path / "r" / "checkpoints").iterdir())[-1]
    whole = newest.read_bytes()
    newest.write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
    done = inside("train", "--resume", "r")
    assert done.code == 3 and newest.name in done.err and "damaged" in done.err
    newest.write_bytes(whole)
    config = tmp_path / "r" / "config.toml"
    text = config.read_text()
    for broken, message in ((text + "colour = 3\n", "unknown key colour"),
                            ("colour = 3\n" + text, "unknown key colour"),
                            (text.replace("batch = 64", "batch = 'x'"), "batch"),
                            (text + "[", "config.toml"),
                            (text.replace("numerics = ", "numerics = 9"), "numerics id"),
                            (text.replace('"mlp"', '"mpl"'), "'mpl'")):
        config.write_text(broken)
        done = inside("train", "--resume", "r")
        assert done.code == 3 and message in done.err, done
