"""The toolbox on networks with convolutions, batch normalisation and several heads."""

from __future__ import annotations

from array import array

import pytest

import nncore as nn
from nncore.train.checkpoint import load_checkpoint, save_checkpoint
from nncore.train.samples import samples


@pytest.fixture(scope="module")
def data():
    return nn.data.glyphs(800, 200, seed=3)


def normed(seed=0):
    return nn.Sequential([nn.Conv2D(4, 5, stride=2), nn.BatchNorm(), nn.ReLU(), nn.Flatten(), nn.Dense(16), nn.BatchNorm(),
                          nn.ReLU(), nn.Dense(10)], seed=seed)


def statistics(model):
    return {s.name: list(model.memory.tensor(s).flat()) for s in model.kept_states}


FIT = {"epochs": 4, "batch": 50, "optimizer": nn.Adam(0.01)}


def test_swa_has_the_statistics_of_its_weights(data):
    """After SWA the running statistics are those of the batches under the averaged weights: measured again they are the
    same."""
    model = normed()
    model.fit(data.train, average=nn.SWA(0.3), **FIT)
    before, accuracy = statistics(model), model.evaluate(data.test).accuracy
    nn.update_statistics(model, data.train, batch=50)
    assert statistics(model) == before and accuracy > 0.6
    assert all(layer.momentum == 0.1 for layer in model.layers if isinstance(layer, nn.BatchNorm))


def test_measured_statistics_are_the_means_over_the_batches(data):
    """A first layer that only normalises: its statistics are those of the standardised pixels."""
    model = nn.Sequential([nn.Flatten(), nn.Dense(3), nn.BatchNorm(), nn.Dense(10)])
    model.fit(data.train, epochs=1, batch=50)
    nn.update_statistics(model, data.train, batch=800)
    potentials = nn.Model(model.inputs, model._order[1], standardise="none").build((28, 28))
    potentials._take(model, ["1.weight", "1.bias"])
    rows = potentials.logits(data.train).tolist()
    for j, (mean, var) in enumerate(zip(*statistics(model).values(), strict=True)):
        column = [row[j] for row in rows]
        m = sum(column) / 800
        assert mean == pytest.approx(m, abs=1e-4)
        assert var == pytest.approx(sum((v - m) ** 2 for v in column) / 799, rel=1e-4)


def test_ema_averages_statistics_too(data):
    plain, averaged = normed(), normed()
    plain.fit(data.train, **FIT)
    averaged.fit(data.train, average=nn.EMA(0.8), **FIT)
    assert all(statistics(plain)[name] != values for name, values in statistics(averaged).items())
    assert averaged.evaluate(data.test).accuracy > 0.6


@pytest.mark.parametrize("average", [nn.EMA(0.9), nn.SWA(0.3)], ids=repr)
def test_resumed_to_the_bit(average, data, tmp_path):
    def trainer(**options):
        return normed().trainer(data.train, validation=0.1, average=average, clip=nn.ClipNorm(1.0), **FIT, **options)

    whole, first, second = trainer(), trainer(steps=25), trainer()
    whole.run()
    first.run()
    save_checkpoint(first, tmp_path / "c")
    load_checkpoint(second, tmp_path / "c")
    second.run()
    assert second.model.weights_sha256 == whole.model.weights_sha256
    assert statistics(second.model) == statistics(whole.model)
    assert second.history[-1]["val_loss"] == whole.history[-1]["val_loss"]


def test_frozen_statistics_stand_still(data):
    model = normed().build((28, 28)).freeze("0.*", "1.*")
    weights, before = model.parameter("1.weight").tobytes(), statistics(model)
    model.fit(data.train, **FIT)
    after = statistics(model)
    assert all((after[name] == before[name]) == name.startswith("1.") for name in after)
    assert model.parameter("1.weight").tobytes() == weights


def test_a_new_head_keeps_convolutions_and_statistics(data, tmp_path):
    model = normed()
    model.fit(data.train, **FIT)
    new = model.replace_head(3)
    assert statistics(new) == statistics(model)
    for name in model.parameters:
        assert (new.parameter(name) == model.parameter(name)) != name.startswith("7.")
    new.freeze("*").unfreeze("7.*").save(tmp_path / "m")
    again = nn.load(tmp_path / "m")
    assert [w.name for w in again.trainable] == ["7.weight", "7.bias"] and again.predict(data.test) == new.predict(data.test)


def test_copies_and_snapshots_of_normed_networks(data):
    model = normed()
    found = nn.snapshots(model, data.train, cycles=2, epochs=6, rate=0.05, batch=50)
    twin = found.members[-1]
    assert twin.predict(data.test, proba=True) == model.predict(data.test, proba=True)
    assert statistics(twin) == statistics(model)
    assert found.evaluate(data.test).accuracy > 0.6


def test_several_heads_average_clip_and_copy(data):
    x = nn.Input((28, 28))
    h = nn.ReLU()(nn.Dense(24)(nn.Flatten()(x)))
    model = nn.Model(x, {"digit": nn.Dense(10)(h), "odd": nn.Dense(1)(h)})
    odd = array("f", [float(t % 2) for t in data.train.labels.tobytes()])
    answers = {"digit": data.train.labels, "odd": odd}
    model.fit((data.train.images, answers), average=nn.EMA(0.5), clip=nn.ClipNorm(5.0), **{**FIT, "epochs": 10})
    assert model.evaluate((data.train.images, answers)).heads["digit"].accuracy > 0.6
    twin = model.copy()
    assert twin.predict(data.test)["digit"] == model.predict(data.test)["digit"]
    with pytest.raises(nn.UsageError, match="no Dense layer on a single way"):
        model.replace_head(3)


@pytest.mark.parametrize("name", ["lenet5", "resnet-small"])
def test_networks_of_the_zoo_are_fine_tuned(name, data):
    """A new head on a network of the zoo, the rest frozen: it learns, and the file knows it again."""
    from nncore.train.models import make

    model = make(name, 10, seed=1)
    model.fit(data.train, epochs=1, batch=50)
    new = model.replace_head(5)
    last = max(int(n.partition(".")[0]) for n in new.parameters)
    new.freeze("*").unfreeze(f"{last}.*")
    halves = nn.Tensor((800,), "u8", bytes(t // 2 for t in data.train.labels.tobytes()))
    before = {n: new.parameter(n).tobytes() for n in new.parameters}
    history = new.fit((data.train.images, halves), epochs=3, batch=50, optimizer=nn.Adam(0.01))
    assert history[-1]["loss"] < history[0]["loss"] and new.name == name
    assert {n for n in before if new.parameter(n).tobytes() != before[n]} == {f"{last}.weight", f"{last}.bias"}


def test_folds_of_rows_with_augmentation(data):
    found = nn.cross_validate(normed, samples(data.train).select(range(200)), folds=2, augment="shift=2", epochs=1, batch=50)
    assert [f.n for f in found.folds] == [100, 100]
