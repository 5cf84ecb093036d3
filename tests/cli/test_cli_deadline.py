"""nncore train --deadline: a plan that needs no clock to repeat, and prediction files that are there whenever it is stopped."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from nncore.train.config import read_config
from nncore.train.deadline import Deadline
from nncore.train.predictions import read_predictions

SMALL = ("--hidden", 8, "--batch", 64)


def valid(folder) -> bool:
    """Both files are there, with a class for each sample."""
    return all(len(read_predictions(folder / f"{part}_predictions.csv", n)) == n for part, n in (("train", 600), ("test", 200)))


def test_the_plan_is_kept_and_repeats_to_the_bit(command, inside, tiny, tmp_path):
    started = time.monotonic()
    done = command("train", "--data", tiny, *SMALL, "--deadline", "4s", "--out", "r", "--json")
    assert done.code == 0 and time.monotonic() - started < 30, done.err
    plan = done.json["deadline"]
    assert plan["seconds"] == 4 and plan["plans"][0][0] == 0 and done.json["epochs"] >= 1
    assert "deadline 4 s: " in done.err and "of the time is kept free" in done.err
    config = read_config(tmp_path / "r/config.toml")
    assert config.train.deadline is None and config.run.deadline == 4 and config.train.epochs == done.json["epochs"]
    assert valid(tmp_path / "r")
    again = inside("train", "r/config.toml", "--out", "again", "--json", "--quiet")
    assert again.json["weights_sha256"] == done.json["weights_sha256"] and "deadline" not in again.json
    assert inside("train", "--resume", "r", "--json", "--quiet").json["weights_sha256"] == done.json["weights_sha256"]


def test_time_is_up_within_an_epoch(inside, tiny, tmp_path):
    """The training ends where it is; the step is kept, so that it repeats without a clock."""
    epochs = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Deadline, "on_epoch_end", lambda self, trainer, record: epochs.append(record) or self.write())
        patch.setattr(Deadline, "plan", lambda self, *_: self.plans.append((0, 1000)) or 1000)
        patch.setattr(Deadline, "left", property(lambda self: -1.0 if epochs else 10.0))
        # 300 large steps an epoch: long enough to be asked within it
        done = inside("train", "--data", tiny, "--hidden", "500,500", "--batch", 2, "--deadline", "1h", "--threads", 1,
                      "--out", "r", "--json", "--quiet")
    assert done.code == 0 and done.json["deadline"]["is_cut"] and valid(tmp_path / "r"), done.err
    config = read_config(tmp_path / "r/config.toml")
    assert config.train.epochs == 1000 and 300 < config.train.steps < 300_000
    again = inside("train", "r/config.toml", "--out", "again", "--threads", 1, "--json", "--quiet")
    assert again.json["weights_sha256"] == done.json["weights_sha256"]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("after", [0.0, 0.2])
def test_predictions_are_there_whenever_it_is_stopped(tiny, tmp_path, environment, how, after):
    (tmp_path / "copies").mkdir()
    line = ["train", "--data", tiny, *SMALL, "--deadline", "5m", "--out", "r", "--predictions", "copies"]
    process = subprocess.Popen([sys.executable, "-m", "nncore", *map(str, line)], cwd=tmp_path, env=environment,
                               stderr=subprocess.PIPE)
    try:
        end = time.monotonic() + 60
        while not (tmp_path / "copies/test_predictions.csv").exists():
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.002)
        time.sleep(after)
        process.send_signal(how)
        process.stderr.read()
        assert process.wait(60) == (130 if how == signal.SIGTERM else -how)
    finally:
        process.kill()
    assert valid(tmp_path / "r") and valid(tmp_path / "copies")
    assert not (tmp_path / "r/result.json").exists()


@pytest.mark.parametrize("options, code, message", [
    (["--deadline", "soon"], 2, "--deadline: 'soon' is no time: hours, minutes, seconds above 0, as 600s"),
    (["--deadline", "0"], 2, "is no time"),
    (["--deadline", "1m", "--epochs", 3], 2, "leave train.epochs (--epochs) out"),
    (["--deadline", "0.01s"], 4, "more time, a smaller network, or fewer samples"),
    (["--set", 'train.deadline="5d"'], 2, "train.deadline: '5d' is no time"),
])
def test_bad_deadlines(inside, tiny, tmp_path, options, code, message):
    done = inside("train", "--data", tiny, *options)
    assert done.code == code and message in done.err and done.out == "", done
    assert not list(tmp_path.iterdir()), "nothing is written"


def test_a_resumed_run_has_its_plan_already(inside, tiny):
    assert inside("train", "--data", tiny, *SMALL, "--epochs", 2, "--out", "r", "--quiet").code == 0
    done = inside("train", "--resume", "r", "--deadline", "1m")
    assert done.code == 2 and "--deadline 1m contradicts the run in r, which has none" in done.err


def test_other_commands_refuse_it(inside, tiny):
    done = inside("crossval", "--data", tiny, "--deadline", "1m")
    assert done.code == 2 and "only nncore train plans by a deadline" in done.err
