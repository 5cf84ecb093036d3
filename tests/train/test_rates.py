"""The search for a learning rate."""

from __future__ import annotations

import json

import pytest

import nncore as nn
from nncore.train.rates import RateSearch
from tests.clouds import blobs, small


@pytest.fixture(scope="module")
def data():
    return nn.data.glyphs(1000, 10).train


def net(seed=0):
    return nn.Sequential([nn.Dense(32), nn.ReLU(), nn.Dense(10)], seed=seed)


def test_rates_grow_by_the_same_factor(data):
    found = nn.find_rate(net(), data, 1e-5, 10.0, steps=31, batch=50, stop=1e9)
    assert found.rates[0] == 1e-5 and found.rates[-1] == 10.0 and len(found.rates) == 31
    for a, b in zip(found.rates, found.rates[1:], strict=False):
        assert b / a == pytest.approx(1e6 ** (1 / 30), rel=1e-12)
    assert len(found.losses) == len(found.smoothed) == 31


def test_the_suggestion_trains(data):
    """Better than a tenth and than thirty times of it, after a few steps of plain gradient descent."""
    found = nn.find_rate(net(), data, 1e-4, 100.0, batch=50, optimizer=nn.SGD)
    assert len(found.rates) < 100, "it stops where the loss explodes"
    assert found.suggestion <= found.lowest / 10 * 1.05 and found.lowest in found.rates and found.steepest in found.rates

    def loss(rate):
        model = net()
        return model.fit(data, epochs=2, batch=50, optimizer=nn.SGD(rate))[-1]["loss"]

    assert loss(found.suggestion) < loss(found.suggestion / 10)
    assert loss(found.suggestion) < loss(found.suggestion * 30)


@pytest.mark.parametrize("built", [False, True])
def test_the_model_stays_as_it_is(data, built):
    """Weights, states and what a later fit makes of it."""
    model, other = net(), net()
    if built:
        for m in (model, other):
            m.fit(data, epochs=1, batch=50)
        before = model.snapshot()
    first = nn.find_rate(model, data, batch=50, steps=10)
    if built:
        assert model.snapshot() == before
    assert first == nn.find_rate(model, data, batch=50, steps=10), "and the search is deterministic"
    for m in (model, other):
        m.fit(data, epochs=1, batch=50)
    assert model.weights_sha256 == other.weights_sha256


def test_the_losses_are_those_of_a_training(data):
    """With a hardly growing rate the steps are those of fit: the mean over an epoch is its loss."""
    found = nn.find_rate(net(), data, 0.01, 0.01 * (1 + 1e-9), steps=20, batch=50, optimizer=nn.SGD)
    model = net()
    history = model.fit(data, epochs=1, batch=50, optimizer=nn.SGD(0.01))
    assert sum(found.losses) / 20 == pytest.approx(history[0]["loss"], rel=1e-5)


def test_more_steps_than_an_epoch_has():
    found = nn.find_rate(small(), blobs(), 1e-4, 1e-2, steps=25, batch=70)
    assert len(found.rates) == 25


def test_smoothing_is_a_corrected_mean():
    found = nn.find_rate(small(), blobs(), steps=12, batch=50, smoothing=0.5, stop=1e9)
    weights = [0.5**k for k in range(12)]
    for i, s in enumerate(found.smoothed):
        total = sum(w * v for w, v in zip(weights, reversed(found.losses[: i + 1]), strict=False))
        assert s == pytest.approx(total / sum(weights[: i + 1]))


def test_reading_the_curve():
    rates = tuple(10.0**k for k in range(-5, 2))
    found = RateSearch(rates, (0.0,) * 7, (5, 5, 4.9, 3, 2, 1.9, 9))
    assert (found.steepest, found.lowest, found.suggestion) == (1e-2, 1.0, 0.01)
    assert "suggestion 1.0e-02" in str(found) and json.loads(json.dumps(found.plot_data()))["suggestion"] == 0.01
    rising = RateSearch(rates, (0.0,) * 7, (1, 2, 3, 4, 5, 6, 7))
    assert rising.suggestion is None and "never falls" in str(rising)


@pytest.mark.parametrize(("options", "message"), [
    ({"low": 0.0}, "low must be a finite number above 0"), ({"low": 1.0, "high": 0.1}, "low must lie below high"),
    ({"steps": 4}, "at least 5"), ({"smoothing": 1.0}, r"smoothing lies in \[0, 1\)"), ({"stop": 1.0}, "stop above 1"),
    ({"batch": 1000}, "batch 1000 is larger"), ({"high": float("nan")}, "high must be a finite number"),
])
def test_bad_input(options, message):
    with pytest.raises(nn.UsageError, match=message):
        nn.find_rate(small(), blobs(), **options)
