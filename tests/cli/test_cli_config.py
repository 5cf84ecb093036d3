"""nncore train with a settings file: everything in it, overridden by options, kept resolved, repeated to the bit."""

from __future__ import annotations

import pytest

from nncore.train.config import read_config
from tests.cli.conftest import ROOT

RUN = """
[data]
folder = "{folder}"
validation = 0.2
limit = 500
[model]
hidden = [12, 8]
[train]
epochs = 3
batch = 50
seed = 4
shards = 2
loss = {{name = "cross-entropy", reduction = "sum"}}
[optimizer]
name = "nesterov"
lr = 1e-3
[schedule]
name = "cosine"
[schedule.momentum]
name = "onecycle"
[penalty]
l1 = 1e-5
l2 = 1e-4
"""


@pytest.fixture
def file(tmp_path, tiny):
    path = tmp_path / "run.toml"
    path.write_text(RUN.format(folder=tiny))
    return path


def test_a_file_says_everything_and_repeats_to_the_bit(inside, file, tmp_path):
    first = inside("train", file, "--out", "a", "--json", "--quiet")
    assert first.code == 0, first.err
    assert (first.json["epochs"], first.json["batch"], first.json["seed"]) == (3, 50, 4)
    again = inside("train", "a/config.toml", "--out", "b", "--json", "--quiet", "--threads", 1, "--isa", "portable")
    assert again.json["weights_sha256"] == first.json["weights_sha256"]
    assert (tmp_path / "a/config.toml").read_bytes() == (tmp_path / "b/config.toml").read_bytes()
    assert (tmp_path / "a/test_predictions.csv").read_bytes() == (tmp_path / "b/test_predictions.csv").read_bytes()
    assert len((tmp_path / "a/train_predictions.csv").read_text().splitlines()) == 500
    resolved = read_config(tmp_path / "a/config.toml")
    assert resolved.optimizer["momentum"] == 0.9 and resolved.schedule["momentum"]["name"] == "onecycle"


def test_every_key_reaches_the_weights(inside, file):
    """No setting is read and forgotten: each of these changes the result."""
    hashes = [inside("train", file, "--out", "base", "--json", "--quiet").json["weights_sha256"]]
    for pair in ("data.validation=0.3", "data.limit=400", "data.standardise=unit", "model.hidden=[12, 9]", "train.epochs=2",
                 "train.batch=40", "train.seed=5", "train.shards=1", "train.steps=5", "train.loss.reduction=mean",
                 "optimizer.name=momentum", "optimizer.lr=2e-3", "optimizer.momentum=0.8", "optimizer.decay=0.001",
                 "schedule.name=constant", "schedule.end=1e-4", "schedule.momentum.up=0.3", "penalty.l1=0.01",
                 "penalty.l2=0.01", "penalty.biases=true"):
        more = ["--lr", 1e-3] if pair.startswith("optimizer.name") else []
        done = inside("train", file, "--set", pair, *more, "--out", f"r{len(hashes)}", "--json", "--quiet")
        assert done.code == 0, (pair, done.err)
        hashes.append(done.json["weights_sha256"])
    assert len(set(hashes)) == len(hashes)


def test_options_override_the_file(inside, file, tmp_path):
    done = inside("train", file, "--epochs", 1, "--hidden", 9, "--optimizer", "rmsprop,rho=0.8,lr=1e-3", "--schedule",
                  "power,steps=20", "--set", "penalty.l1=0", "--set", "train.seed=9", "--out", "r", "--json", "--quiet")
    assert done.code == 0, done.err
    c = read_config(tmp_path / "r/config.toml")
    assert (c.train.epochs, c.train.seed, c.model["hidden"], c.penalty.l1, c.penalty.l2) == (1, 9, (9,), 0.0, 1e-4)
    assert (c.optimizer["name"], c.optimizer["rho"], c.schedule) == ("rmsprop", 0.8, {"name": "power", "steps": 20.0})


def test_resuming_keeps_the_file(inside, file):
    straight = inside("train", file, "--out", "s", "--json", "--quiet").json
    inside("train", file, "--out", "r", "--steps", 11, "--quiet")
    then = inside("train", "--resume", "r", "--optimizer", "nesterov", "--set", "schedule.momentum.up=0.45", "--json", "--quiet")
    assert then.code == 0 and then.json["weights_sha256"] == straight["weights_sha256"]
    for options, message in ((["--set", "penalty.l1=1e-4"], "--set 0.0001 contradicts"), (["--schedule", "none"], "contradicts"),
                             (["--optimizer", "adam"], "which has nesterov"), (["--smoothing", 0.1], "which has ")):
        done = inside("train", "--resume", "r", *options)
        assert done.code == 2 and message in done.err, done
    done = inside("train", file, "--resume", "r")
    assert done.code == 2 and "leave one of them out" in done.err


def test_steps_of_the_file_are_a_setting(inside, file, tmp_path):
    """[train] steps ends a run for good; --steps only interrupts it."""
    text = file.read_text().replace("shards = 2", "shards = 2\nsteps = 5")
    file.write_text(text)
    done = inside("train", file, "--out", "r", "--json", "--quiet").json
    assert inside("train", "--resume", "r", "--json", "--quiet").json["weights_sha256"] == done["weights_sha256"]
    assert inside("train", "r/config.toml", "--out", "q", "--json", "--quiet").json["weights_sha256"] == done["weights_sha256"]


def test_other_data_is_noticed(inside, file, tmp_path, tiny):
    import shutil

    shutil.copytree(tiny, tmp_path / "mine")
    inside("train", file, "--data", "./mine", "--out", "r", "--quiet")
    labels = tmp_path / "mine" / "train-labels-idx1-ubyte"
    data = bytearray(labels.read_bytes())
    data[100] = (data[100] + 1) % 10
    labels.write_bytes(data)
    done = inside("train", "r/config.toml", "--out", "again")
    assert done.code == 3 and "not the data" in done.err and not (tmp_path / "again").exists()
    assert inside("train", "r/config.toml", "--seed", 5, "--out", "other", "--quiet").code == 0
    config = tmp_path / "r/config.toml"
    labels.write_bytes((tiny / "train-labels-idx1-ubyte").read_bytes())
    config.write_text(config.read_text().replace("numerics = ", "numerics = 9"))
    done = inside("train", "r/config.toml", "--out", "noted", "--quiet")
    assert done.code == 0 and "differ in their bits" in done.err


@pytest.mark.parametrize("options, code, message", [
    (["--set", "train.epochs=x y"], 2, "not a TOML value"),
    (["--set", "epochs=3"], 2, "section.key=value"),
    (["--set", "train.epochs"], 2, "section.key=value"),
    (["--set", "train.epoch=3"], 2, "did you mean epochs"),
    (["--set", "train.epochs=0"], 2, "--set: train.epochs: expected int >= 1"),
    (["--set", "a.b.c.d=0"], 2, "unknown key a"),
    (["--set", "train.epochs.x=0"], 2, "train.epochs"),
    (["--optimizer", "adm"], 2, "did you mean adam"),
    (["--optimizer", "sgd"], 2, "set optimizer.lr"),
    (["--optimizer", "adam,beta1"], 2, "expected NAME,KEY=VALUE"),
    (["--optimizer", "adam,"], 2, "expected NAME,KEY=VALUE"),
    (["--schedule", "cosine,end=-1"], 2, "end must be"),
    (["--augment", "what=is this"], 2, "augment"),
    (["--limit", "3"], 2, "--limit"),
    (["--set", "data.limit=601"], 2, "has 600 training samples"),
    (["nowhere.toml"], 3, "nowhere.toml: cannot be read"),
    (["."], 3, "a folder, not a settings file"),
    (["broken.toml"], 3, "broken.toml: not TOML"),
])
def test_bad_values(inside, tiny, tmp_path, options, code, message):
    (tmp_path / "broken.toml").write_text("[train\n")
    done = inside("train", "--data", tiny, *options)
    assert done.code == code and message in done.err and done.out == "", done
    assert [p.name for p in tmp_path.iterdir()] == ["broken.toml"], "nothing is written"


def test_the_example_runs(inside):
    done = inside("train", ROOT / "examples/run.toml", "--out", "r", "--json", "--quiet")
    assert done.code == 0 and done.json["verdict"] == "PASS" and done.json["threshold"] == 0.8, done.err
