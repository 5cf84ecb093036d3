"""The run folder: settings, checkpoints, files written in the background."""

from __future__ import annotations

import json
import threading
import time

import pytest

import nncore
from nncore.data import glyphs
from nncore.errors import LimitError, UsageError
from nncore.graph.tape import Executor
from nncore.train import runs
from nncore.train.config import Draft, resolve
from nncore.train.runs import RunFolder, Writer, fingerprint


def settings(hidden=(4,), **train):
    """Settings of a small run."""
    draft = Draft().put("model.hidden", list(hidden), "test")
    for key, value in train.items():
        draft.put(f"train.{key}", value, "test")
    return resolve(draft)


def trainer_in(folder: RunFolder | None, config, data):
    keepers = runs.StopKeeper(folder), runs.EpochKeeper(folder)
    return runs.make_trainer(config, data, keepers, executor=Executor(threads=1))


@pytest.fixture(scope="module")
def data():
    return glyphs(200, 50)


def test_create_refuses_what_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = settings()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    assert RunFolder.create("notes", config, "x").path.name == "notes"
    for name in ("result.json", "checkpoints", "test_predictions.csv", "config.toml"):
        folder = tmp_path / f"has-{name}"
        folder.mkdir()
        (folder / name).mkdir()
        with pytest.raises(UsageError, match="nothing is overwritten"):
            RunFolder.create(folder, config, "x")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file"):
        RunFolder.create("file", config, "x")
    with pytest.raises(LimitError, match="cannot be written"):
        RunFolder.create("file/run", config, "x")
    names = [RunFolder.create(None, config, "odd name/..").path.name for _ in range(3)]
    assert len(set(names)) == 3 and all("odd-name-..-mlp-s0" in n for n in names)


def test_two_checkpoints_are_kept_and_the_newest_is_taken(tmp_path, data):
    config = settings(hidden=(4,), epochs=5, batch=50)
    folder = RunFolder.create(tmp_path / "r", config, "x")
    trainer = trainer_in(folder, config, data)
    last = trainer.callbacks[-1]
    trainer.callbacks.append(type("Wait", (), {"on_epoch_end": lambda *_: folder.writer.wait()})())
    trainer.run()
    folder.writer.wait()
    assert not folder.writer.failures and isinstance(last, runs.EpochKeeper)
    assert [p.name for p in folder.checkpoints()] == ["step-0000000016.safetensors", "step-0000000020.safetensors"]
    again = trainer_in(folder, config, data)
    assert folder.restore(again) and again.position.step == 20 and len(again.history) == 5
    assert again.model.weights_sha256 == trainer.model.weights_sha256


def test_a_checkpoint_survives_a_very_long_history(tmp_path, data):
    config = settings(hidden=(4,), epochs=20000, batch=50)
    folder = RunFolder.create(tmp_path / "r", config, "x")
    trainer = trainer_in(folder, config, data)
    record = {"loss": 0.123456789, "accuracy": 0.5, "images_per_s": 1e5}
    trainer.history.extend({"epoch": i, **record} for i in range(15000))
    folder.keep(trainer)
    folder.writer.wait()
    again = trainer_in(folder, config, data)
    assert folder.restore(again) and again.history == trainer.history
    nncore.load(folder.checkpoints()[-1])


def test_fingerprint_sees_every_change(data):
    found = {fingerprint(data, b"\0\0\0\0"), fingerprint(data, b"\0\0\0\1"),
             fingerprint(glyphs(200, 50, seed=1), b"\0\0\0\0"), fingerprint(glyphs(200, 51), b"\0\0\0\0")}
    assert len(found) == 4


def test_writer_keeps_order_and_failures():
    writer, seen = Writer(), []
    gate = threading.Event()
    writer.submit(gate.wait)
    for i in range(5):
        writer.submit(seen.append, i)
    assert writer.pending == 6 and seen == []

    def fail():
        raise LimitError("full")

    writer.submit(fail)
    writer.submit(seen.append, 5)
    gate.set()
    writer.wait()
    assert seen == [0, 1, 2, 3, 4, 5] and [str(e) for e in writer.failures] == ["full"] and writer.pending == 0
    writer.submit(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        writer.wait()


def test_writing_does_not_hold_training_up(tmp_path, data):
    """Epochs shorter than a write leave checkpoints out rather than pile them up; the last state is kept anyway."""
    config = settings(hidden=(4,), epochs=30, batch=50)
    folder = RunFolder.create(tmp_path / "r", config, "x")
    folder.writer.submit(time.sleep, 0.2)
    folder.writer.submit(time.sleep, 0.2)
    trainer = trainer_in(folder, config, data)
    trainer.run()
    assert folder.writer.pending < 40
    folder.writer.wait()
    assert folder.checkpoints()[-1].name == "step-0000000120.safetensors"
    records = [json.loads(line) for line in (folder.path / "history.jsonl").read_text().splitlines()]
    assert [r["epoch"] for r in records] == list(range(1, 31))


def test_too_large_for_this_machine(tmp_path, data):
    config = settings(hidden=(1 << 30, 1 << 30))
    with pytest.raises(LimitError, match="GB"):
        trainer_in(None, config, data)


def test_batch_larger_than_the_data(data):
    with pytest.raises(UsageError, match="batch 500"):
        trainer_in(None, settings(batch=500), data)
