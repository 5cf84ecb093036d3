"""Freezing by name, another head for a trained network, copies."""

from __future__ import annotations

import pytest

import nncore as nn
from tests.clouds import blobs, small


def weights(model):
    return {name: model.parameter(name).tobytes() for name in model.parameters}


@pytest.fixture(scope="module")
def trained():
    model = small()
    model.fit(blobs(), epochs=4, batch=50, optimizer=nn.Adam(0.02))
    return model


def functional(seed=0):
    x = nn.Input((6,))
    a = nn.ReLU()(nn.Dense(8)(x))
    b = nn.Tanh()(nn.Dense(8)(a))
    return nn.Model(x, nn.Softmax()(nn.Dense(3)(b)), seed=seed)


# ---- freezing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("what", "moving"), [
    (("0.*",), {"2.weight", "2.bias"}), (("*.bias",), {"0.weight", "2.weight"}), (("0.weight", "2.bias"), {"0.bias", "2.weight"}),
    (("?.weight",), {"0.bias", "2.bias"}),
])
def test_what_is_frozen_stays(what, moving):
    model = small().build((6,)).freeze(*what)
    before = weights(model)
    model.fit(blobs(), epochs=2, batch=50, penalty=nn.L2(0.1), average=nn.EMA(0.5), clip=nn.ClipNorm(1.0))
    after = weights(model)
    assert {name for name in after if after[name] != before[name]} == moving


def test_layers_can_be_frozen_and_unfrozen_before_the_model_is_built():
    model = small()
    assert model.freeze("*").unfreeze(model.layers[2]) is model
    model.fit(blobs(), epochs=1, batch=50)
    first = weights(model)
    model.unfreeze()
    model.fit(blobs(), epochs=1, batch=50)
    after = weights(model)
    assert all(after[name] != first[name] for name in after)


def test_gradients_of_frozen_layers_are_not_computed():
    """Behind a frozen layer nothing flows back: no product for its weights, none for its input."""

    def products(model):
        model.trainer(blobs(), batch=50)
        return [i.op for i in model.tape.instructions if i.op.startswith("dense_bwd")]

    assert products(small()) == ["dense_bwd_data", "dense_bwd_weight", "dense_bwd_weight"]
    assert products(small().freeze("0.*")) == ["dense_bwd_weight"]
    assert sorted(products(small().freeze("2.*"))) == ["dense_bwd_data", "dense_bwd_weight"]


def test_a_frozen_fit_equals_training_the_rest_alone():
    """The last layer on frozen features learns bit for bit what it learns as a network of its own on these features."""
    whole = small().freeze("0.*").build((6,))
    x, y = blobs()
    features = nn.Model(whole.inputs, whole._order[1])
    features.build((6,))
    for name in features.parameters:
        features.assign(name, whole.parameter(name).flat())
    alone = nn.Sequential([nn.Dense(3)]).build((8,))
    alone.assign("0.weight", whole.parameter("2.weight").flat())
    whole.fit((x, y), epochs=2, batch=50)
    alone.fit((features.logits(x), y), epochs=2, batch=50)
    assert alone.parameter("0.weight") == whole.parameter("2.weight")


def test_a_file_keeps_what_is_frozen(tmp_path):
    model = small().build((6,)).freeze("0.*")
    model.save(tmp_path / "m.safetensors")
    again = nn.load(tmp_path / "m.safetensors")
    assert [w.name for w in again.trainable] == ["2.weight", "2.bias"]


def test_frozen_training_resumes_to_the_bit(tmp_path):
    from nncore.train.checkpoint import load_checkpoint, save_checkpoint

    def trainer(**options):
        return small().freeze("0.weight").trainer(blobs(), epochs=2, batch=50, **options)

    first = trainer(steps=4)
    first.run()
    save_checkpoint(first, tmp_path / "c")
    second, whole = trainer(), trainer()
    load_checkpoint(second, tmp_path / "c")
    second.run()
    whole.run()
    assert second.model.weights_sha256 == whole.model.weights_sha256
    with pytest.raises(nn.DataError, match="another architecture"):
        load_checkpoint(small().trainer(blobs(), epochs=2, batch=50), tmp_path / "c")


def test_wrong_patterns_are_refused():
    model = small()
    model.freeze("7.*")
    with pytest.raises(nn.UsageError, match=r"'7\.\*'; there are 0.weight"):
        model.fit(blobs(), epochs=1)
    with pytest.raises(nn.UsageError, match="no parameter matches"):
        small().build((6,)).freeze("dense")
    with pytest.raises(nn.UsageError, match="no layer of this model"):
        small().freeze(nn.Dense(8))
    with pytest.raises(nn.UsageError, match="all parameters are frozen"):
        small().freeze("*").fit(blobs(), epochs=1)


# ---- heads -----------------------------------------------------------------------------------------------------------


def test_a_new_head_keeps_the_rest(trained):
    model = trained.replace_head(5)
    assert model.parameter("2.weight").shape == (8, 5) and type(model) is nn.Sequential
    assert model.parameter("0.weight") == trained.parameter("0.weight")
    assert trained.parameter("2.weight").shape == (8, 3)


def test_a_head_of_layers_replaces_all_behind_the_last_dense():
    model = functional()
    model.fit(blobs(), epochs=2, batch=50)
    new = model.replace_head([nn.Dense(4), nn.ReLU(), nn.Dense(2)])
    assert [type(layer).__name__ for layer in new.layers] == ["Dense", "ReLU", "Dense", "Tanh", "Dense", "ReLU", "Dense"]
    for name in ("0.weight", "0.bias", "2.weight", "2.bias"):
        assert new.parameter(name) == model.parameter(name)
    softmax = model.replace_head(7)
    assert type(softmax.layers[-1]).__name__ == "Softmax" and softmax.predict(blobs()[0], proba=True).shape == (300, 7)


def test_fine_tuning_from_a_file(trained, tmp_path):
    """Two of three clouds, a new head, frozen features: a few steps are enough, and the features stay."""
    trained.save(tmp_path / "m.safetensors")
    x, y = blobs()
    model = nn.load(tmp_path / "m.safetensors").replace_head(2).freeze("0.*")
    labels = bytes(t != 1 for t in y.tobytes())
    model.fit((x, nn.Tensor((300,), "u8", labels)), epochs=6, batch=50, optimizer=nn.Adam(0.05))
    assert model.evaluate((x, nn.Tensor((300,), "u8", labels))).accuracy > 0.95
    assert model.parameter("0.weight") == trained.parameter("0.weight")


def test_preprocessing_stays_with_the_weights():
    """The features were learned under the first standardisation; new data do not change it."""
    data = nn.data.glyphs(200, 10).train
    model = nn.Sequential([nn.Dense(16), nn.ReLU(), nn.Dense(10)])
    model.fit(data, epochs=1, batch=50)
    mean = model.memory.tensor(model.mean).tobytes()
    dark = nn.Tensor((200, 28, 28), "u8", bytes(v // 2 for v in data.images.tobytes()))
    new = model.replace_head(10)
    new.fit((dark, data.labels), epochs=1, batch=50)
    model.fit((dark, data.labels), epochs=1, batch=50)
    assert new.memory.tensor(new.mean).tobytes() == mean == model.memory.tensor(model.mean).tobytes()
    fresh = nn.Sequential([nn.Dense(10)])
    fresh.fit((dark, data.labels), epochs=1, batch=50)
    assert fresh.memory.tensor(fresh.mean).tobytes() != mean


@pytest.mark.parametrize("head", [[], "10", [nn.Dense], 0])
def test_a_wrong_head_is_refused(trained, head):
    with pytest.raises(nn.UsageError, match=r"replace_head takes|units must be"):
        trained.replace_head(head)


def test_a_network_without_a_head_is_refused():
    with pytest.raises(nn.UsageError, match="no weights to keep"):
        small().replace_head(3)
    with pytest.raises(nn.UsageError, match="no Dense layer"):
        nn.Sequential([nn.ReLU()]).build((6,)).replace_head(3)


# ---- copies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [small, functional])
def test_a_copy_is_of_its_own(make):
    model = make()
    model.fit(blobs(), epochs=1, batch=50)
    twin = model.freeze("0.*").copy()
    assert twin.weights_sha256 == model.weights_sha256 and [w.name for w in twin.trainable] == [w.name for w in model.trainable]
    assert twin.predict(blobs()[0], proba=True) == model.predict(blobs()[0], proba=True)
    twin.fit(blobs(), epochs=1, batch=50)
    assert twin.weights_sha256 != model.weights_sha256
    assert make().copy().build((6,)).weights_sha256 == make().build((6,)).weights_sha256
