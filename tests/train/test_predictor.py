"""The predictor: the answers of predict, at once, for whoever asks one sample at a time."""

import math
import random
from array import array

import pytest

import nncore as nn
from tests.clouds import blobs, small


def images(n, seed=1):
    return nn.Tensor((n, 6, 6), "u8", random.Random(seed).randbytes(36 * n))


def network(*layers):
    model = nn.Sequential([*layers, nn.Dense(4)], seed=2)
    labels = nn.Tensor((64,), "u8", bytes(i % 4 for i in range(64)))
    model.fit((images(64), labels), epochs=1, batch=16)
    return model, labels


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch", [1, 5])
def test_it_gives_what_predict_gives(batch, threads):
    model, _ = network(nn.Dense(300), nn.ReLU(), nn.Dense(300), nn.ReLU())
    executor = nn.Executor(threads=threads)
    classes, shares = model.predictor(batch, executor=executor), model.predictor(batch, proba=True, executor=executor)
    for seed in range(4):
        x = images(batch, seed)
        wanted, wanted_shares = model.predict(x).tolist(), model.predict(x, proba=True).tolist()
        single = batch == 1
        assert classes(x) == (wanted[0] if single else wanted)
        assert shares(x.tobytes()) == (wanted_shares[0] if single else wanted_shares)


def test_it_takes_floats_and_any_array_of_them():
    model = small()
    model.fit(blobs(), epochs=1, batch=32)
    row = [0.5, -1.0] if model.image_shape == (2,) else [0.25] * math.prod(model.image_shape)
    predictor = model.predictor(dtype="f32", proba=True)
    x = nn.Tensor((1, *model.image_shape), "f32", array("f", row))
    assert predictor(array("f", row)) == predictor(x) == model.predict(x, proba=True).tolist()[0]
    row[-1] = math.nan
    bad = nn.Tensor((1, *model.image_shape), "f32", array("f", row))
    for array_of_them in (array("f", row), bad):
        with pytest.raises(nn.DataError, match=f"NaN or infinite: element {len(row) - 1} is nan; clean the data"):
            predictor(array_of_them)
    assert predictor(x) == model.predict(x, proba=True).tolist()[0]


def test_it_follows_the_weights_wherever_they_move():
    model, labels = network(nn.Dense(8), nn.Tanh())
    predictor, x = model.predictor(proba=True), images(1)
    before = predictor(x)
    model.fit((images(64), labels), epochs=2, batch=16, optimizer=nn.RMSProp(0.01))  # states of its own: the arena grows
    assert predictor(x) == model.predict(x, proba=True).tolist()[0] != before


def test_a_refused_sample_does_not_hide_that_the_weights_moved():
    model = small()
    model.fit(blobs(), epochs=1, batch=32)
    predictor, good = model.predictor(dtype="f32", proba=True), array("f", [0.5] * math.prod(model.image_shape))
    predictor(good)
    model.fit(blobs(), epochs=1, batch=64, optimizer=nn.RMSProp(0.01))
    with pytest.raises(nn.DataError):
        predictor(array("f", [math.inf] * len(good)))
    assert predictor(good) == model.predict(nn.Tensor((1, *model.image_shape), "f32", good), proba=True).tolist()[0]


def test_it_folds_on_request():
    model, _ = network(nn.Conv2D(3), nn.BatchNorm(), nn.ReLU())
    x = images(1)
    folded, plain = model.predictor(proba=True, fold=True), model.predictor(proba=True)
    assert folded(x) == model.predict(x, proba=True, fold=True).tolist()[0] == pytest.approx(plain(x), abs=1e-5)
    assert [i.op for i in folded.tape.instructions] != [i.op for i in plain.tape.instructions]


@pytest.mark.parametrize("x", [bytes(35), bytes(72), array("f", [0.0] * 9), array("b", [0] * 36), memoryview(bytes(72))[::2]])
def test_other_samples_than_it_was_made_for_are_refused(x):
    model, _ = network(nn.Dense(3))
    with pytest.raises(nn.ShapeError, match=r"the predictor takes 1 samples of shape \(6, 6, 1\), u8"):
        model.predictor()(x)


def test_settings_that_make_no_sense_are_refused():
    model, _ = network(nn.Dense(3))
    for batch in (0, -1, True, 1.5):
        with pytest.raises(nn.UsageError, match="batch must be a positive whole number"):
            model.predictor(batch)
    with pytest.raises(nn.UsageError, match="u8.*f32"):
        model.predictor(dtype="i32")
    with pytest.raises(nn.UsageError, match="no weights yet"):
        nn.Sequential([nn.Dense(3)]).predictor()


def test_several_heads_are_refused():
    x = nn.Input((6, 6))
    model = nn.Model(x, {"a": nn.Dense(2)(x), "b": nn.Dense(3)(x)}).build((6, 6))
    with pytest.raises(nn.UsageError, match="heads a, b"):
        model.predictor()


def test_large_memory_is_zero_aligned_and_outlives_its_tensor():
    t = nn.Tensor((9 << 20,), "u8")
    view = t.view()
    assert nn.tensor.address_of(t.memory) % 64 == 0 and len(view) == 9 << 20
    assert not any(view[:: 1 << 12])
    view[-1] = 7
    del t
    assert view[-1] == 7
