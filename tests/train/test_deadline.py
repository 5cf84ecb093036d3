"""Training to a deadline, on a clock of the test's own: what is planned, when it is changed, and that no bit hangs on it."""

from __future__ import annotations

import math

import pytest

import nncore as nn
from nncore.data import glyphs
from nncore.errors import DataError, LimitError, UsageError
from nncore.optim.optimizers import Adam
from nncore.optim.schedules import Cosine
from nncore.train.callbacks import Callback
from nncore.train.checkpoint import load_checkpoint, save_checkpoint
from nncore.train.config import Draft, read_config, resolve
from nncore.train.deadline import CLOSING, MARGIN, Deadline, Speed, measure
from nncore.train.duration import duration
from nncore.train.insight import rates
from nncore.train.runs import make_trainer


@pytest.mark.parametrize("text, seconds", [("600s", 600), ("10m", 600), ("1h", 3600), ("1h30m", 5400), (" 1H 5s ", 3605),
                                           ("1.5m", 90), ("90", 90), (90, 90), (0.5, 0.5), ("0.25h", 900)])
def test_times_as_people_write_them(text, seconds):
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "ten", "-5s", "0", 0, -1, "5d", "30s1m", "1m1m", "1e3s", "٣s", "inf", float("inf"),
                                  float("nan"), "5 s s"])
def test_what_is_no_time(text):
    with pytest.raises(ValueError, match="is no time: .* as 600s, 10m, 1h30m"):
        duration(text)


# ---- settings --------------------------------------------------------------------------------------------------------


def settings(tmp_path, text: str, **options):
    path = tmp_path / "run.toml"
    path.write_text(text)
    from nncore.train.config import read_toml

    draft = Draft().add(read_toml(path), path)
    for key, value in options.items():
        draft.put(key.replace("__", "."), value, f"--{key.rpartition('__')[2]}")
    return resolve(draft)


def test_a_deadline_is_a_setting_that_only_the_command_follows(tmp_path):
    c = settings(tmp_path, "[train]\ndeadline = '10m'\n")
    assert c.train.deadline == 600
    with pytest.raises(UsageError, match="only nncore train plans by a deadline"):
        make_trainer(c, glyphs(100, 10))
    assert settings(tmp_path, "[train]\ndeadline = 90\n", train__deadline="1h").train.deadline == 3600


@pytest.mark.parametrize("text, message", [
    ("[train]\ndeadline = 'soon'", "train.deadline: 'soon' is no time"),
    ("[train]\ndeadline = 0", "train.deadline: .* is no time"),
    ("[train]\ndeadline = [1]", "train.deadline"),
    ("[train]\ndeadline = '1m'\nepochs = 3", "plans the number of epochs: leave train.epochs"),
    ("[train]\nhorizons = [[1, 3]]", "the first from epoch 0"),
    ("[train]\nhorizons = [[0, 3], [2, 4], [2, 5]]", "ascending"),
    ("[train]\nhorizons = [[0, 0]]", "train.horizons"),
    ("[train]\nhorizons = [3]", "train.horizons"),
])
def test_bad_settings_name_file_and_key(tmp_path, text, message):
    with pytest.raises(DataError, match=f"run.toml: .*{message}"):
        settings(tmp_path, text)


def test_a_recipe_of_a_model_is_no_number_that_was_asked_for(tmp_path):
    """lenet5 says itself how many epochs it likes: a deadline overrides that."""
    assert settings(tmp_path, "[model]\nname = 'lenet5'\n[train]\ndeadline = '1m'\n").train.deadline == 60


def test_a_deadline_is_stored_and_read_back(tmp_path):
    """Settings that are not yet planned, as a sweep hands them on."""
    c = settings(tmp_path, "[train]\ndeadline = '10m'\n")
    path = tmp_path / "config.toml"
    path.write_bytes(c.to_toml())
    assert read_config(path) == c and b"epochs" not in path.read_bytes()


def test_a_changed_plan_is_stored_and_read_back(tmp_path):
    c = settings(tmp_path, "[train]\nepochs = 14\nhorizons = [[0, 20], [3, 14]]\n")
    path = tmp_path / "config.toml"
    path.write_bytes(c.to_toml())
    assert read_config(path) == c and c.train.horizons == ((0, 20), (3, 14))


# ---- the plan --------------------------------------------------------------------------------------------------------


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self, now: float = 1000.0):
        self.now = now

    def __call__(self) -> float:
        return self.now


def test_the_plan_keeps_a_margin_and_counts_predictions():
    deadline = Deadline(100, 1000.0, clock=Clock(1010.0))
    # An epoch: 50 steps of 20 ms and 1000 predictions of 1 ms, 2 s. Left: 90 s less CLOSING and 1 s of last predictions.
    assert deadline.plan(Speed(0.02, 0.001), 50, 1000) == int((90 - CLOSING - 1) * (1 - MARGIN) / 2)
    assert deadline.plans == [(0, 39)]


def test_no_epoch_fits():
    with pytest.raises(LimitError, match="leaves 9.5 s for training, and an epoch takes about 20 s"):
        Deadline(10, 1000.0, clock=Clock()).plan(Speed(0.4, 0.0), 50, 0)
    with pytest.raises(LimitError, match="leaves 0 s"):
        Deadline(10, 900.0, clock=Clock()).plan(Speed(0.4, 0.0), 50, 0)


class Slow(Callback):
    """Each epoch takes so many seconds, the last of them ever after."""

    def __init__(self, clock: Clock, *seconds: float):
        self.clock, self.seconds = clock, list(seconds)

    def on_epoch_end(self, trainer, record: dict) -> None:
        self.clock.now += self.seconds.pop(0) if len(self.seconds) > 1 else self.seconds[0]


def network(epochs: int, callbacks=(), horizons=(), **options):
    model = nn.Sequential([nn.Flatten(), nn.Dense(8), nn.ReLU(), nn.Dense(10)], seed=3)
    return model.trainer(glyphs(90, 10).train, epochs, 40, Adam(Cosine(1e-2)), callbacks=list(callbacks), horizons=horizons,
                         **options)


def follow(seconds: float, expected: float, *epochs: float, cost: float = 0.0):
    """A training with a deadline on a clock where epochs take what they take: (trainer, deadline, seconds it took)."""
    clock = Clock()
    kept = []

    def write():
        clock.now += cost

    deadline = Deadline(seconds, clock.now, write, lambda *plan: kept.append(plan), clock)
    planned = deadline.plan(Speed(expected / 3, 0.0), 3, 0)
    trainer = network(planned, [Slow(clock, *epochs), deadline])
    trainer.run()
    assert kept == ([(tuple(deadline.plans), trainer.settings.epochs)] if kept[1:] == [] and kept else kept)
    return trainer, deadline, clock.now - 1000.0


def test_a_plan_that_fits_is_never_changed():
    for real in (3.4, 3.6, 4.0, 4.2):
        trainer, deadline, took = follow(100, 4.0, real)
        assert deadline.plans == [(0, 22)] and len(trainer.history) == 22 and took <= 100, real


def test_a_slower_machine_shrinks_the_plan_and_meets_the_deadline():
    trainer, deadline, took = follow(100, 4.0, 4.0, 4.0, 4.0, 8.0)
    assert deadline.plans[0] == (0, 22) and 1 < len(deadline.plans) <= 6
    assert 75 <= took <= 100 and len(trainer.history) == deadline.plans[-1][1] == trainer.settings.epochs


def test_a_faster_machine_stretches_it_once():
    trainer, deadline, took = follow(100, 8.0, 4.0, 4.0, 4.0, 2.0)
    assert len(deadline.plans) == 2 and deadline.plans[1][1] > deadline.plans[0][1] and took <= 100


def test_writing_counts():
    _, deadline, took = follow(100, 4.0, 2.0, cost=2.0)
    assert deadline.plans == [(0, 22)] and took == 88


def test_a_machine_that_stands_still_ends_the_training_early():
    trainer, deadline, took = follow(100, 10.0, 10.0, 85.0)
    assert deadline.plans == [(0, 8)] and len(trainer.history) == 2 and trainer.settings.epochs == 2 and took == 95
    assert trainer.settings.horizon(1) == 8, "the schedule was that of eight epochs"


def test_no_early_judgement():
    """The first epoch finds caches cold: a plan is followed for a fiftieth of the time before it is judged, and without it."""
    _, deadline, _ = follow(300, 5.0, 5.9, 5.1)
    assert deadline.plans == [(0, 53)]
    _, deadline, _ = follow(300, 5.0, 5.9, 5.9)
    assert len(deadline.plans) > 1


def test_time_is_up_within_an_epoch():
    clock = Clock()
    deadline = Deadline(10, clock.now, clock=clock)
    deadline.plan(Speed(0.5, 0.0), 1, 0)
    clock.now += 9.4
    assert not deadline.is_over() and not deadline.report()["is_cut"]
    clock.now += 0.2
    assert deadline.is_over() and deadline.report()["is_cut"]


# ---- bits ------------------------------------------------------------------------------------------------------------


def test_a_changed_plan_repeats_to_the_bit_without_a_clock():
    trainer, deadline, _ = follow(60, 5.0, 5.0, 9.0)
    assert len(deadline.plans) > 1
    again = network(trainer.settings.epochs, horizons=tuple(deadline.plans))
    again.run()
    assert again.model.weights_sha256 == trainer.model.weights_sha256
    straight = network(trainer.settings.epochs)
    straight.run()
    assert straight.model.weights_sha256 != trainer.model.weights_sha256, "the first epochs had another schedule"
    short = network(trainer.settings.epochs, horizons=((0, trainer.settings.epochs),))
    short.run()
    assert short.model.weights_sha256 == straight.model.weights_sha256


def test_the_schedule_ends_with_the_plan():
    trainer = network(5, horizons=((0, 9), (2, 5)))
    trainer.run()
    rates = [i for i in trainer.tape.instructions if i.op == "schedule"]
    assert rates and all(5.0 * trainer.steps_per_epoch in i.scalars for i in rates)


def test_the_picture_of_the_rate_shows_both_plans():
    """e(t) = 1e-2 (1 + cos(pi t / T)) / 2, T 27 steps for two epochs, then 15."""
    found = rates(network(5, horizons=((0, 9), (2, 5))))
    want = [5e-3 * (1 + math.cos(math.pi * t / (27 if t < 6 else 15))) for t in range(15)]
    assert found["steps"] == list(range(15)) and found["rates"] == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("step", [4, 6, 7, 11])
def test_resuming_keeps_the_plan(tmp_path, step):
    """Before, at and behind the change, in the middle of an epoch and between two."""
    plans = ((0, 9), (2, 5))
    straight = network(5, horizons=plans)
    straight.run()
    first = network(5, horizons=plans, steps=step)
    first.run()
    save_checkpoint(first, tmp_path / "c.safetensors")
    second = network(5, horizons=plans)
    load_checkpoint(second, tmp_path / "c.safetensors")
    second.run()
    assert second.model.weights_sha256 == straight.model.weights_sha256


# ---- speed -----------------------------------------------------------------------------------------------------------


def test_measuring_reads_the_clock_around_what_it_measures():
    ticks = iter(range(10**6))
    data = glyphs(300, 10).train
    trial = nn.Sequential([nn.Flatten(), nn.Dense(10)]).trainer(data, 1, 20)
    speed = measure(trial, data.images, 5.0, lambda: float(next(ticks)))
    assert speed == Speed(1 / 15, 1 / 300), "a second an epoch of 15 batches, a second for all predictions"
    speed = measure(trial, data.images, 1.0, lambda: float(next(ticks)))
    assert speed.step == 1, "a second for the first step already: no more of them"


def test_a_real_clock_gives_real_figures():
    data = glyphs(300, 10).train
    speed = measure(nn.Sequential([nn.Flatten(), nn.Dense(10)]).trainer(data, 1, 20), data.images, 0.05)
    assert 0 < speed.step < 5 and 0 < speed.sample < 1
