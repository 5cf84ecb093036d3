"""Refusing the uncertain: counted by hand, against brute force, at the edges, on a real network."""

from __future__ import annotations

import random
from array import array

import pytest

import nncore as nn
from nncore import rejection
from nncore.tensor import Tensor


def outputs(rows):
    return Tensor((len(rows), len(rows[0])), "f32", array("f", [v for row in rows for v in row]))


ROWS = [[3, 0, 0], [0, 2, 1], [0, 0.5, 0], [1, 1, 0], [0, 0, 4]]
LABELS = [0, 1, 2, 1, 2]  # row 2 is wrong, and so is row 3, whose first maximum is class 0


def test_by_hand():
    z = outputs(ROWS)
    assert rejection.gaps(z) == [3, 1, 0.5, 0, 4]
    assert rejection.predictions(z, 0.75) == [0, 1, -1, -1, 2]
    found = rejection.reject(z, LABELS, 0.5)
    assert (found.rejected, found.wrong, found.accepted, found.error) == (1, 1, 4, 0.25)
    assert [(p.rejected, p.wrong, p.threshold) for p in rejection.curve(z, LABELS)] == [
        (0, 2, 0), (1, 1, 0.5), (2, 0, 1), (3, 0, 3), (4, 0, 4)]
    assert rejection.rejected_share(z, LABELS, 0.01) == 0.4 and rejection.rejected_share(z, LABELS, 0.25) == 0.2
    assert rejection.rejected_share(z, LABELS, 1) == 0
    assert rejection.working_point(z, LABELS).threshold == 1
    assert "40.00% refused, error 0.00%" in str(rejection.working_point(z, LABELS))


@pytest.mark.parametrize("seed", range(5))
def test_against_all_thresholds(seed):
    """The curve has every outcome of `reject`, and the smallest share is that of the best threshold."""
    rng = random.Random(seed)
    z = outputs([[rng.randrange(6) / 4 for _ in range(4)] for _ in range(60)])
    labels = [row.index(max(row)) if rng.random() < 0.7 else rng.randrange(4) for row in z.tolist()]
    points = rejection.curve(z, labels)
    tried = {rejection.reject(z, labels, t / 8) for t in range(13)}
    assert {(p.rejected, p.wrong) for p in tried if p.accepted} == {(p.rejected, p.wrong) for p in points}
    for p in points:
        assert rejection.reject(z, labels, p.threshold) == p
    for error in (0, 0.05, 0.2):
        shares = [p.rejected_share for p in tried if p.accepted and p.error <= error]
        assert rejection.rejected_share(z, labels, error) == min(shares, default=1.0)


def test_nan_and_infinity():
    nan, inf = float("nan"), float("inf")
    z = outputs([[nan, 1], [inf, 0], [inf, inf], [-inf, -inf], [2, 0]])
    assert rejection.gaps(z) == [-1, inf, 0, 0, 2]
    assert rejection.predictions(z, 0) == [-1, 0, 0, 0, 0]
    assert rejection.curve(z, [0] * 5)[0].rejected == 1
    hopeless = outputs([[nan, nan]])
    assert rejection.curve(hopeless, [0]) == [] and rejection.rejected_share(hopeless, [0]) == 1.0
    assert rejection.plot_data(hopeless, [0])["error"] == []


def test_all_refused_is_no_error():
    found = rejection.reject(outputs(ROWS), LABELS, 100)
    assert (found.rejected_share, found.error, found.standard_error) == (1.0, 0.0, 0.0)


def test_plot_data_is_json_and_keeps_the_ends():
    import json

    rng = random.Random(1)
    z = outputs([[rng.random(), rng.random()] for _ in range(500)])
    data = rejection.plot_data(z, [0] * 500, points=50)
    assert json.loads(json.dumps(data)) == data and len(data["error"]) == 50
    assert data["rejected"] == sorted(data["rejected"]) and data["rejected"][0] == 0 and data["rejected"][-1] == 499 / 500


def test_on_a_network():
    """The uncertain are wrong more often: refusing a fifth cuts the error by two fifths."""
    data = nn.data.glyphs(3000, 1000, seed=1)
    model = nn.Sequential([nn.Dense(32), nn.ReLU(), nn.Dense(10)])
    model.fit(data.train, epochs=2, batch=50)
    for z in (model.logits(data.test), model.predict(data.test, proba=True)):
        points = nn.rejection.curve(z, data.test.labels)
        fifth = next(p for p in points if p.rejected >= 200)
        assert points[0].wrong == 1000 - round(1000 * model.evaluate(data.test).accuracy)
        assert fifth.error < 0.6 * points[0].error


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda z: rejection.reject(z, [0], 0.5), nn.ShapeError, "5 rows of outputs but 1 labels"),
    (lambda z: rejection.reject(z, LABELS, -1), nn.UsageError, "threshold is a finite number"),
    (lambda z: rejection.reject(z, LABELS, float("nan")), nn.UsageError, "threshold is a finite number"),
    (lambda z: rejection.rejected_share(z, LABELS, 2), nn.UsageError, "share between 0 and 1"),
    (lambda z: rejection.plot_data(z, LABELS, 1), nn.UsageError, "two points"),
    (lambda z: rejection.gaps(Tensor((3, 1), "f32", array("f", [1, 2, 3]))), nn.ShapeError, "C >= 2"),
    (lambda z: rejection.gaps(Tensor((3,), "i32", array("i", [1, 2, 3]))), nn.ShapeError, "i32"),
])
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call(outputs(ROWS))
