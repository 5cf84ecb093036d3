"""Callbacks: what each does to a training, that it survives a resume to the bit, and what it says to nonsense."""

from __future__ import annotations

import csv
import io
from math import isfinite

import pytest

import nncore as nn
from nncore.errors import LimitError, NonFiniteError, UsageError
from nncore.train.checkpoint import load_checkpoint, save_checkpoint


@pytest.fixture(scope="module")
def data():
    return nn.data.glyphs(200, 50)


def net(seed: int = 0) -> nn.Sequential:
    return nn.Sequential([nn.Dense(8), nn.ReLU(), nn.Dense(10)], seed=seed)


def fit(data, callbacks, epochs: int = 4, optimizer=None, **options):
    model = net()
    optimizer = optimizer or nn.SGD(0.1)
    return model, model.fit(data.train, epochs=epochs, batch=50, optimizer=optimizer, callbacks=callbacks, **options)


def resumed(data, tmp_path, make, epochs: int = 6, **options):
    """(straight, resumed): trainers that ran through, and that stopped in the middle of an epoch and went on."""
    def trainer(steps=None):
        return net().trainer(data.train, epochs, 50, nn.SGD(0.1), callbacks=make(), steps=steps, **options)

    straight, first = trainer(), trainer(steps=11)
    straight.run()
    first.run()
    save_checkpoint(first, tmp_path / "c.safetensors")
    second = trainer()
    load_checkpoint(second, tmp_path / "c.safetensors")
    assert second.position.step == 11
    second.run()
    return straight, second


def same(a, b) -> bool:
    drop = [[{k: v for k, v in r.items() if k != "images_per_s"} for r in t.history] for t in (a, b)]
    return a.model.weights_sha256 == b.model.weights_sha256 and drop[0] == drop[1]


# ---- functions -------------------------------------------------------------------------------------------------------


def test_functions_and_objects_are_told_in_order(data):
    told = []

    class Mine:
        def on_train_begin(self, trainer):
            told.append("begin")

    fit(data, [lambda trainer, record: told.append(record["epoch"]), Mine(),
               nn.LambdaCallback(on_train_end=lambda trainer: told.append("end"))], epochs=2)
    assert told == ["begin", 1, 2, "end"]


def test_a_function_may_stop_and_add_figures(data):
    def mine(trainer, record):
        record["twice"] = 2 * record["loss"]
        if record["epoch"] == 2:
            trainer.stop("enough")

    _, history = fit(data, [mine])
    assert history.stopped == "enough" and len(history) == 2 and history.column("twice")[1] == 2 * history[1]["loss"]


@pytest.mark.parametrize("make, message", [
    (lambda: 3, "neither a function"), (lambda: nn.EarlyStopping, "is a class: make one"),
    (lambda: nn.LambdaCallback(on_epoch_end=3), "must be a function"),
    (lambda: nn.LearningRateSchedule(0.1), "takes a function"),
    (lambda: nn.ModelCheckpoint("x", "lost"), "unknown monitor 'lost'"),
    (lambda: nn.ReduceOnPlateau(factor=2), "between 0 and 1"), (lambda: nn.ReduceOnPlateau(floor=-1), "at least 0"),
    (lambda: nn.ReduceOnPlateau(patience=0), "patience"), (lambda: nn.ProgressPrinter(0), "every"),
    (lambda: nn.TerminateOnNonFinite("explode"), '"restore", "report" or "raise"'),
    (lambda: nn.ModelCheckpoint("x", best_only=True), "val_loss is not measured"),
    (lambda: nn.ModelCheckpoint("{colour}"), "colour"),
])
def test_nonsense(data, make, message):
    with pytest.raises(UsageError, match=message):
        fit(data, [make()], epochs=1)


# ---- the learning rate -----------------------------------------------------------------------------------------------


def test_a_function_of_the_epoch_sets_the_rate(data):
    """Piecewise over the same steps is computed in C: the weights must agree to the bit."""
    rates = [0.5, 0.1, 0.02, 0.004]
    model, history = fit(data, [nn.LearningRateSchedule(lambda epoch, record: rates[min(epoch, 3)])])
    pieces, _ = fit(data, [], optimizer=nn.SGD(nn.Piecewise([4, 8, 12], rates)))
    assert history.column("rate") == rates and model.weights_sha256 == pieces.weights_sha256


def test_the_function_sees_the_last_record(data):
    seen = []
    fit(data, [nn.LearningRateSchedule(lambda epoch, record: seen.append((epoch, record.get("epoch"))) or 0.1)], epochs=2)
    assert seen == [(0, None), (1, 1), (2, 2)]


@pytest.mark.parametrize("optimizer", [nn.Momentum(0.1), nn.Adam(0.1), nn.AdaDelta(0.1)])
def test_a_constant_function_changes_no_bit(data, optimizer):
    with_it, _ = fit(data, [nn.LearningRateSchedule(lambda *_: 0.1)], optimizer=optimizer)
    assert with_it.weights_sha256 == fit(data, [], optimizer=optimizer)[0].weights_sha256


def test_a_rate_survives_a_resume(data, tmp_path):
    asked = []
    straight, second = resumed(data, tmp_path, lambda: [nn.LearningRateSchedule(lambda e, _: asked.append(e) or 0.3 / (1 + e))])
    assert same(straight, second)
    assert asked == [0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4, 5, 6], "no epoch asks twice"


def test_a_schedule_and_a_callback_contradict_each_other(data):
    with pytest.raises(UsageError, match="OneCycle.*give the optimizer a number"):
        fit(data, [nn.ReduceOnPlateau("loss")], optimizer=nn.SGD(nn.OneCycle(0.1)))
    with pytest.raises(UsageError, match="no callback of this training"):
        fit(data, [lambda trainer, record: trainer.rate])
    with pytest.raises(UsageError, match="rate must be a finite number"):
        fit(data, [nn.LearningRateSchedule(lambda *_: float("nan"))])


def test_reduce_on_plateau(data, tmp_path):
    def make():
        return [lambda t, record: record.update(loss=1.0), nn.ReduceOnPlateau("loss", factor=0.5, patience=2, floor=0.03)]

    _, history = fit(data, make(), epochs=9)
    assert history.column("rate") == [0.1, 0.1, 0.1, 0.05, 0.05, 0.03, 0.03, 0.03, 0.03]
    assert same(*resumed(data, tmp_path, make))


# ---- files -----------------------------------------------------------------------------------------------------------


def test_model_checkpoint(data, tmp_path):
    model, _ = fit(data, [nn.ModelCheckpoint(tmp_path / "m-{epoch}.safetensors")], epochs=3)
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"m-{i}.safetensors" for i in (1, 2, 3)]
    assert nn.load(tmp_path / "m-3.safetensors").weights_sha256 == model.weights_sha256
    with pytest.raises(LimitError, match="cannot be written"):
        fit(data, [nn.ModelCheckpoint(tmp_path / "no" / "m")])


def test_the_best_model_only(data, tmp_path):
    losses, hashes = [3.0, 1.0, 2.0, 1.0], []
    callbacks = [lambda t, record: record.update(loss=losses[record["epoch"] - 1]),
                 nn.ModelCheckpoint(tmp_path / "best", "loss", best_only=True),
                 lambda t, record: hashes.append(t.model.weights_sha256)]
    fit(data, callbacks)
    assert nn.load(tmp_path / "best").weights_sha256 == hashes[1]
    again = nn.ModelCheckpoint(tmp_path / "best", "loss", best_only=True)
    again.restore(callbacks[1].state())
    fit(data, [lambda t, record: record.update(loss=1.5), again], epochs=1)
    assert nn.load(tmp_path / "best").weights_sha256 == hashes[1], "the best is remembered over a resume"


def test_csv_logger(data, tmp_path):
    log = tmp_path / "log.csv"
    _, history = fit(data, [nn.CSVLogger(log)], validation=0.2)
    rows = list(csv.DictReader(log.read_text().splitlines()))
    assert list(rows[0]) == list(history[0]) and [float(r["val_loss"]) for r in rows] == history.column("val_loss")
    resumed(data, tmp_path, lambda: [nn.CSVLogger(log)])
    assert [r["epoch"] for r in csv.DictReader(log.read_text().splitlines())] == ["1", "2", "3", "4", "5", "6"]
    with pytest.raises(LimitError, match="cannot be written"):
        fit(data, [nn.CSVLogger(tmp_path / "no" / "log.csv")])


def test_progress_printer(data, capsys):
    fit(data, [nn.ProgressPrinter()], epochs=2, validation=0.2)
    lines = capsys.readouterr().out.splitlines()
    assert [line[:9] for line in lines] == ["epoch 1/2", "epoch 2/2"] and "validation: loss" in lines[0]
    file = io.StringIO()
    fit(data, [nn.ProgressPrinter(every=2, file=file)], epochs=5)
    assert [line[:9] for line in file.getvalue().splitlines()] == ["epoch 2/5", "epoch 4/5", "epoch 5/5"]


# ---- when numbers break ----------------------------------------------------------------------------------------------


def broken(action: str | None, data):
    """A training whose weights are spoilt between two epochs by a rate beyond all reason."""
    callbacks = [nn.TerminateOnNonFinite(action)] if action else []
    model = net()
    before = []
    callbacks += [lambda t, record: before.append(model.weights_sha256),
                  nn.LearningRateSchedule(lambda epoch, record: 0.1 if epoch < 2 else 1e38)]
    history = model.fit(data.train, epochs=5, batch=50, optimizer=nn.SGD(0.1), callbacks=callbacks)
    return model, history, before


def test_restore(data):
    model, history, before = broken("restore", data)
    assert "op " in history.stopped and "step " in history.stopped and len(history) == 2
    assert model.weights_sha256 == before[-1]


def test_report_leaves_the_weights_to_be_looked_at(data):
    model, history, before = broken("report", data)
    assert "op " in history.stopped and model.weights_sha256 != before[-1]
    assert any(not isfinite(v) or abs(v) > 1e30 for row in model.parameter("0.weight").tolist() for v in row)


@pytest.mark.parametrize("action", ["raise", None])
def test_raise(data, action):
    with pytest.raises(NonFiniteError, match="op .*(?s:.)*The weights are back at those of epoch 2"):
        broken(action, data)


def test_a_validation_loss_that_is_none(data):
    def spoil(trainer, record):
        if record["epoch"] == 2:
            record["val_loss"] = float("nan")

    _, history = fit(data, [spoil, nn.TerminateOnNonFinite()], validation=0.2)
    assert history.stopped == "epoch 2: val_loss is nan" and len(history) == 2
    with pytest.raises(NonFiniteError, match="val_loss"):
        fit(data, [spoil, nn.TerminateOnNonFinite("raise")], validation=0.2)
