"""LayerWatch: its figures are what they say, and the training does not notice it."""

from __future__ import annotations

from array import array
from math import sqrt

import pytest

import nncore as nn
from nncore.data import glyphs
from nncore.tensor import Tensor
from nncore.train.config import Draft, resolve
from nncore.train.runs import RunFolder, make_trainer
from nncore.train.watch import LayerWatch


@pytest.fixture(scope="module")
def data():
    return glyphs(200, 50)


def rms(values) -> float:
    values = list(values)
    return sqrt(sum(v * v for v in values) / len(values))


@pytest.mark.parametrize("layers, options", [
    ([nn.Dense(12), nn.ReLU(), nn.Dropout(0.5), nn.Dense(10)], {}),
    ([nn.Dense(12), nn.Tanh(), nn.Dense(10)], {"shards": 2, "penalty": nn.L2(1e-3), "validation": 0.1}),
])
def test_training_does_not_notice(data, layers, options):
    def trained(callbacks):
        model = nn.Sequential([type(x)(**x.config()) for x in layers], seed=3)
        past = model.fit(data.train, epochs=3, batch=60, callbacks=callbacks, **options)
        return model.weights_sha256, [{k: v for k, v in r.items() if k not in ("layers", "images_per_s")} for r in past]

    assert trained([LayerWatch()]) == trained([])


def test_figures_are_what_they_say(data):
    """Against the same figures worked out here from the network's outputs and weights."""
    model, watch = nn.Sequential([nn.Dense(16), nn.ReLU(), nn.Flatten(), nn.Dense(10)], seed=1), LayerWatch()
    before = {}

    class Spy(nn.Callback):
        def on_train_begin(self, trainer):
            before.update({n: trainer.model.parameter(n).tolist() for n in trainer.model.parameters})

    past = model.fit(data.train, epochs=1, batch=50, callbacks=[Spy(), watch])
    found = {layer["name"]: layer for layer in past[0]["layers"]}
    assert list(found) == ["0 Dense", "1 ReLU", "2 Flatten", "3 Dense"]
    first = Tensor((50, 28, 28), "u8", bytes(data.train.images.flat()[: 50 * 784]))
    logits = model.logits(first)
    assert found["3 Dense"]["activation_rms"] == pytest.approx(rms(logits.flat()), rel=1e-5)
    mean, scale = model.memory.tensor(model.mean).flat()[0], model.memory.tensor(model.scale).flat()[0]
    w, b = model.parameter("0.weight").tolist(), model.parameter("0.bias").tolist()
    rows = [[(v - mean) * scale for v in first.flat()[784 * i : 784 * i + 784]] for i in range(50)]
    z = [[sum(x * w[k][j] for k, x in enumerate(row)) + b[j] for j in range(16)] for row in rows]
    assert found["0 Dense"]["activation_rms"] == pytest.approx(rms(v for row in z for v in row), rel=1e-4)
    assert found["1 ReLU"]["activation_rms"] == pytest.approx(rms(max(v, 0) for row in z for v in row), rel=1e-4)
    assert found["1 ReLU"]["dead"] == sum(all(row[j] <= 0 for row in z) for j in range(16)) / 16
    old, new = ([v for row in m for v in row] for m in (before["3.weight"], model.parameter("3.weight").tolist()))
    moved = sqrt(sum((a - c) ** 2 for a, c in zip(new, old, strict=True)) / sum(c * c for c in old))
    assert found["3 Dense"]["update_ratio"] == pytest.approx(moved, rel=1e-4)
    h = [[max(v, 0) for v in row] for row in z]
    labels = list(data.train.labels.flat()[:50])
    p = model.predict(first, proba=True).tolist()
    d = [[(p[i][c] - (labels[i] == c)) / 50 for c in range(10)] for i in range(50)]
    dw = [sum(h[i][j] * d[i][c] for i in range(50)) for j in range(16) for c in range(10)]
    db = [sum(d[i][c] for i in range(50)) for c in range(10)]
    assert found["3 Dense"]["gradient_rms"] == pytest.approx(rms(dw + db), rel=1e-3)
    for name, key in (("1 ReLU", "gradient_rms"), ("1 ReLU", "update_ratio"), ("0 Dense", "dead"),
                      ("2 Flatten", "activation_rms")):
        assert found[name][key] is None


def test_a_unit_that_never_fires_is_dead(data):
    model = nn.Sequential([nn.Dense(4), nn.ReLU(), nn.Dense(10)]).build((28, 28))
    trainer = model.trainer(data.train, epochs=1, batch=100, optimizer=nn.SGD(0.0), callbacks=[LayerWatch()])
    model.assign("0.bias", [0, -1e6, 0, -1e6])
    past = trainer.run()
    assert past[0]["layers"][1]["dead"] == 0.5
    assert past[0]["layers"][0]["update_ratio"] == 0


def test_a_sum_over_the_batch_is_put_on_the_same_footing(data):
    def gradient(reduction):
        model = nn.Sequential([nn.Dense(10)], seed=2)
        past = model.fit(data.train, epochs=1, batch=50, optimizer=nn.SGD(0.0), loss=nn.CrossEntropy(reduction),
                         callbacks=[LayerWatch()])
        return past[0]["layers"][0]["gradient_rms"]

    assert gradient("sum") == pytest.approx(gradient("mean"), rel=1e-5)


def test_regression_and_shared_layers_are_watched():
    x = array("f", (((7 * i) % 13) / 13 for i in range(60)))
    y = array("f", (v * 2 - 1 for v in x[::2]))
    shared = nn.Dense(2)
    start = nn.Input((2,))
    model = nn.Model(start, nn.Dense(1)(nn.ReLU()(shared(shared(start)))))
    past = model.fit((Tensor((30, 2), "f32", x), Tensor((30, 1), "f32", y)), epochs=2, batch=7, callbacks=[LayerWatch()])
    assert [layer["name"] for layer in past[1]["layers"]] == ["0 Dense", "1 ReLU", "2 Dense"]
    assert all(layer["activation_rms"] is not None for layer in past[1]["layers"])


def test_a_run_stopped_within_an_epoch_goes_on_with_the_same_figures(tmp_path, data):
    config = resolve(Draft().put_all([("here", f"{table}.{key}", value) for table, key, value in
                                      (("model", "hidden", [8]), ("train", "epochs", 3), ("train", "batch", 60))]))

    def trainer(**options):
        made = make_trainer(config, data, (nn.Callback(), nn.Callback()), **options)
        made.callbacks.insert(-1, LayerWatch())
        return made

    straight = trainer().run()
    folder = RunFolder.create(tmp_path / "r", config, "x")
    first = trainer(steps=6)  # four steps an epoch
    first.run()
    folder.keep(first)
    folder.writer.wait()
    then = trainer()
    assert folder.restore(then) and then.position.cursor
    assert [r["layers"] for r in then.run()] == [r["layers"] for r in straight]
