"""What a report is told of a network: against the same figures worked out by hand."""

from __future__ import annotations

import base64
import json
from array import array
from math import log

import pytest

import nncore as nn
from nncore.data import glyphs
from nncore.graph.node import Parameter
from nncore.graph.tape import Executor
from nncore.tensor import Tensor
from nncore.train import insight as i
from nncore.train.config import Draft, resolve
from nncore.train.runs import make_trainer
from nncore.train.samples import samples


@pytest.fixture(scope="module")
def data():
    return glyphs(600, 200)


@pytest.fixture(scope="module")
def model(data):
    model = nn.Sequential([nn.Dense(20), nn.ReLU(), nn.Dense(10)])
    model.fit(data.train, epochs=3, batch=50)
    return model


@pytest.fixture(scope="module")
def found(model, data):
    return i.insight(model, data.test, image=7)


def settings(hidden: list[int], lr: float = 3e-3):
    return resolve(Draft().put_all([("here", "model.hidden", hidden), ("here", "train.batch", 50), ("here", "optimizer.lr", lr)]))


def pixels(images: dict) -> list[bytes]:
    n, *rest = images["shape"]
    data = base64.b64decode(images["data"])
    size = len(data) // n
    assert size * n == len(data) and size == rest[0] * rest[1] * rest[2]
    return [data[k * size : (k + 1) * size] for k in range(n)]


def test_it_is_plain_json(found):
    assert json.loads(json.dumps(found)) == found and found["schema"] == "nncore.insight/1"
    assert {"n", "image_shape", "layers", "evaluation", "classes", "confusion", "calibration", "worst", "uncertain", "wrong",
            "filters", "maps"} < set(found)


def test_figures_agree_with_the_network(found, model, data):
    evaluation = model.evaluate(data.test)
    assert found["evaluation"] == {"n": 200, "loss": evaluation.loss, "accuracy": evaluation.accuracy,
                                   "standard_error": evaluation.standard_error}
    assert found["confusion"] == model.confusion(data.test)
    predicted, labels = model.predict(data.test).tolist(), data.test.labels.tolist()
    wrong = [k for k in range(200) if predicted[k] != labels[k]]
    assert found["wrong"]["count"] == len(wrong) and found["wrong"]["index"] == wrong
    images = data.test.images.tobytes()
    assert pixels(found["wrong"]["images"]) == [images[784 * k : 784 * k + 784] for k in wrong]
    assert found["layers"] == [
        {"name": "0 Dense", "settings": "Dense(units=20)", "output": [20], "parameters": 15700},
        {"name": "1 ReLU", "settings": "ReLU()", "output": [20], "parameters": 0},
        {"name": "2 Dense", "settings": "Dense(units=10)", "output": [10], "parameters": 210}]


def test_the_worst_and_the_least_certain(found, model, data):
    rows, labels = model.predict(data.test, proba=True).tolist(), data.test.labels.tolist()
    sure = sorted((max(r), k) for k, r in enumerate(rows) if r.index(max(r)) != labels[k])[::-1]
    assert found["worst"]["index"] == [k for _, k in sure[:12]]
    assert found["uncertain"]["index"] == [k for _, k in sorted((max(r), k) for k, r in enumerate(rows))[:12]]
    for entry in (found["worst"], found["uncertain"]):
        for k, p in zip(entry["index"], entry["probabilities"], strict=True):
            assert p == pytest.approx(rows[k], abs=1e-5)
        assert entry["true"] == [labels[k] for k in entry["index"]]


def test_calibration_by_hand():
    rows, labels = [[0.95, 0.05], [0.95, 0.05], [0.4, 0.6], [0.45, 0.55]], [0, 1, 1, 1]
    found = i.calibration(rows, labels, bins=10)
    assert [b["count"] for b in found["bins"]] == [0, 0, 0, 0, 0, 1, 1, 0, 0, 2]
    assert found["bins"][9]["accuracy"] == 0.5 and found["bins"][9]["confidence"] == pytest.approx(0.95)
    assert found["bins"][0] == {"low": 0.0, "high": 0.1, "count": 0, "confidence": None, "accuracy": None}
    assert found["ece"] == pytest.approx((2 * 0.45 + 0.4 + 0.45) / 4)
    assert found["brier"] == pytest.approx((2 * 0.05**2 + 2 * 0.95**2 + 2 * 0.4**2 + 2 * 0.45**2) / 4)
    assert found["log_loss"] == pytest.approx(-(log(0.95) + log(0.05) + log(0.6) + log(0.55)) / 4)
    certain = i.calibration([[1.0, 0.0], [0.0, 1.0]], [0, 0])
    assert certain["bins"][-1]["count"] == 2 and certain["ece"] == 0.5 and certain["log_loss"] == pytest.approx(-log(1e-38) / 2)


def test_first_weights_as_pictures(found, model):
    filters = found["filters"]
    assert (filters["layer"], filters["kind"], filters["units"]) == ("0.weight", "dense", 20)
    w = model.parameter("0.weight").tolist()
    inside = sorted(abs(v) for row in w for v in row)
    assert filters["scale"] == inside[int(0.995 * (len(inside) - 1))]
    for unit, picture in enumerate(pixels(filters["images"])):
        for k, byte in enumerate(picture):
            v = max(-1.0, min(1.0, w[k][unit] / filters["scale"]))
            assert abs((byte - 128) / 127 - v) < 0.004


class Stub:
    """A model of one weight, for layouts that this test does not want to train."""

    image_shape = (6, 6, 3)

    def __init__(self, shape, values):
        self.parameters = {"0.weight": Parameter("0.weight", shape, None)}
        self.memory = self
        self.values = Tensor(shape, "f32", array("f", values))

    def tensor(self, _):
        return self.values


def test_windows_of_convolutions_as_pictures():
    shape = (2, 2, 3, 5)  # [R, S, C, K]
    found = i.first_weights(Stub(shape, [(k % 5 + 1) / 5 for k in range(60)]))
    assert found["kind"] == "convolution" and found["images"]["shape"] == [5, 2, 2, 3] and found["scale"] == 1
    assert [set(p) for p in pixels(found["images"])] == [{int(127 * (k + 1) / 5 + 128.5)} for k in range(5)]
    many = i.first_weights(Stub((3, 3, 16, 2), [1.0] * 288))
    assert many["images"]["shape"] == [2, 3, 3, 1], "the mean over channels that are no colours"
    assert i.first_weights(Stub((7, 4), [0.0] * 28)) is None, "not the images' size"
    flat = i.first_weights(Stub((108, 2), [0.0] * 216))
    assert flat["kind"] == "dense" and set(pixels(flat["images"])[0]) == {128}


def test_maps_of_one_sample(found, model, data):
    maps = found["maps"]
    assert maps["index"] == 7 and maps["true"] == data.test.labels.tolist()[7]
    assert [layer["name"] for layer in maps["layers"]] == ["0 Dense", "1 ReLU", "2 Dense"]
    one = samples(data.test).select([7])
    assert maps["probabilities"] == pytest.approx(model.predict(one, proba=True).tolist()[0], abs=1e-5)
    logits = model.logits(one).tolist()[0]
    last = maps["layers"][2]
    assert (last["low"], last["high"]) == (min(logits), max(logits)) and last["images"]["shape"] == [1, 1, 10, 1]
    spread = last["high"] - last["low"]
    assert [b / 255 * spread + last["low"] for b in pixels(last["images"])[0]] == pytest.approx(logits, abs=spread / 500)
    hidden = maps["layers"][1]
    assert hidden["low"] == 0 and hidden["images"]["shape"] == [1, 4, 5, 1] and hidden["shape"] == [20]
    assert i.insight(model, data.test, image=10**6)["maps"]["index"] == 199, "a number too large means the last sample"


def test_regression_is_measured():
    x = array("f", (k / 30 for k in range(30)))
    y = array("f", (3 * v for v in x))
    model = nn.Sequential([nn.Dense(1)]).build((1,))
    model.assign("0.weight", [2.0])
    model.assign("0.bias", [0.5])
    found = i.insight(model, (Tensor((30, 1), "f32", x), Tensor((30, 1), "f32", y)))
    errors = [2 * v + 0.5 - 3 * v for v in x]
    assert found["regression"]["rmse"] == pytest.approx((sum(e * e for e in errors) / 30) ** 0.5, rel=1e-5)
    assert found["regression"]["mae"] == pytest.approx(sum(map(abs, errors)) / 30, rel=1e-5)
    assert len(found["regression"]["pairs"]) == 30 and "confusion" not in found and found["filters"] is None
    part = i.insight(model, samples((Tensor((30, 1), "f32", x), Tensor((30, 1), "f32", y))).select([3, 4]))
    assert [p[0] for p in part["regression"]["pairs"]] == pytest.approx([3 * 3 / 30, 3 * 4 / 30])


def test_floats_and_vectors(data):
    vectors = Tensor((20, 5), "f32", array("f", (k % 7 for k in range(100))))
    labels = Tensor((20,), "u8", bytes(k % 3 for k in range(20)))
    model = nn.Sequential([nn.Dense(3)])
    model.fit((vectors, labels), epochs=1, batch=10)
    found = i.insight(model, (vectors, labels))
    assert found["worst"]["images"] is None and found["maps"]["image"] is None and found["classes"] == ["0", "1", "2"]
    floats = samples((Tensor((4, 2, 2), "f32", array("f", range(-8, 8))), Tensor((4,), "u8", bytes(4))))
    assert pixels(i.pictures(floats, [0, 3])) == [bytes([0, 17, 34, 51]), bytes([204, 221, 238, 255])]


def test_time_of_each_layer(data):
    trainer = make_trainer(settings(hidden=[16]), data, (None, None), executor=Executor(threads=1))
    found = i.profile(trainer, seconds=0.01)
    rows = {r["name"]: r for r in found["layers"]}
    assert list(rows) == ["data", "0 Dense", "1 ReLU", "2 Dense", "loss"]
    total = sum(r[k] for r in rows.values() for k in ("forward_us", "backward_us", "update_us"))
    assert total == pytest.approx(found["us_per_step"])
    assert sum(r["mflop"] for r in rows.values()) == pytest.approx(trainer.tape.flop / 1e6)
    assert all(rows[name][f"{k}_us"] > 0 for name in ("0 Dense", "2 Dense") for k in ("forward", "backward", "update"))
    assert rows["1 ReLU"]["forward_us"] == 0 and rows["1 ReLU"]["backward_us"] > 0, "fused forward, not backward"
    assert rows["data"]["backward_us"] == 0


def test_rates_follow_the_schedule(data):
    trainer = make_trainer(settings(hidden=[4], lr=0.01), data, (None, None))
    found = i.rates(trainer, points=20)
    assert found["steps_per_epoch"] == 12 and found["steps"][0] == 0 and found["steps"][-1] == 59
    assert found["rates"][0] == pytest.approx(0.001) and max(found["rates"]) == pytest.approx(0.01)
    for step, rate in zip(found["steps"], found["rates"], strict=True):
        if step <= 27:
            assert rate == pytest.approx(0.001 + 0.009 * step / 27, rel=1e-6)
    trainer.settings.optimizer = object()
    assert i.rates(trainer) is None
