"""Networks with several heads: a weighted sum of losses, one dict in, one dict out."""

import random
from array import array

import pytest

import nncore as nn
from nncore.graph.node import State
from nncore.nn.base import Builder
from tests.gradcheck import check

DATA = nn.data.glyphs(2000, 200)


def targets(split):
    """Three questions about a digit: which, odd or even, how large."""
    labels = list(split.labels)
    return {"digit": split.labels, "odd": nn.Tensor((len(labels),), "u8", bytes(v % 2 for v in labels)),
            "size": nn.Tensor((len(labels), 1), "f32", array("f", [v / 9 for v in labels]))}


def network(seed=0):
    x = nn.Input((28, 28))
    h = nn.ReLU()(nn.Dense(48)(x))
    return nn.Model(x, {"digit": nn.Dense(10)(h), "odd": nn.Dense(2)(h), "size": nn.Dense(1)(h)}, seed=seed)


def fitted(**options):
    model = network()
    model.fit((DATA.train.images, targets(DATA.train)), epochs=10, batch=50, optimizer=nn.Adam(nn.OneCycle(5e-3)), **options)
    return model


def test_all_heads_learn():
    found = fitted().evaluate((DATA.test.images, targets(DATA.test)))
    assert found.heads["digit"].accuracy > 0.8 and found.heads["odd"].accuracy > 0.85
    assert found.heads["size"].accuracy is None and found.heads["size"].loss < 0.05
    assert found.loss == pytest.approx(sum(e.loss for e in found.heads.values()))
    assert "digit: accuracy" in str(found)


def test_a_head_without_weight_teaches_nothing():
    losses = {"digit": nn.CrossEntropy(), "odd": nn.CrossEntropy(), "size": nn.MSE()}
    loss = nn.MultiTask(losses, {"digit": 0.0, "odd": 1.0, "size": 0.0})
    model, untrained = fitted(loss=loss), network().build((28, 28))
    for name in model.parameters:
        if name.startswith(("2.", "4.")):  # the heads digit and size
            assert model.parameter(name).tobytes() == untrained.parameter(name).tobytes(), name
    assert model.evaluate((DATA.test.images, targets(DATA.test))).heads["odd"].accuracy > 0.85


def test_predict_gives_each_head(tmp_path):
    model = fitted()
    found = model.predict(DATA.test.images)
    assert {k: v.shape for k, v in found.items()} == {"digit": (200,), "odd": (200,), "size": (200, 1)}
    assert all(abs(sum(row) - 1) < 1e-5 for row in model.predict(DATA.test.images, proba=True)["odd"].tolist())
    model.save(tmp_path / "m.safetensors")
    again = nn.load(tmp_path / "m.safetensors")
    for head, values in again.logits(DATA.test.images).items():
        assert values.tobytes() == model.logits(DATA.test.images)[head].tobytes()
    with pytest.raises(nn.UsageError, match="the heads digit, odd, size"):
        model.confusion(DATA.test)


def test_resume_and_threads_keep_the_bits():
    def run(threads):
        model = network()
        model.fit((DATA.train.images, targets(DATA.train)), epochs=1, batch=50, executor=nn.Executor(threads=threads))
        return model.weights_sha256

    assert run(1) == run(2) == run(3)


def test_the_weighted_sum_has_the_right_gradient():
    rng = random.Random(4)
    x = State("x", (3, 4))
    values = {x: [rng.gauss(0, 1) for _ in range(12)]}
    builder = Builder({}, training=True)
    heads = {}
    for i, (name, units) in enumerate({"digit": 3, "size": 2}.items()):
        builder.layer, builder.number = str(i), i
        heads[name] = nn.Dense(units).build(builder, x)
    values.update({w: [rng.gauss(0, 0.5) for _ in range(w.size)] for w in builder.parameters.values()})
    t = {name: State(f"t.{name}", z.shape) for name, z in heads.items()}
    values.update({s: [rng.gauss(0, 1) for _ in range(s.size)] for s in t.values()})
    loss = nn.MultiTask({"digit": nn.Huber(0.7), "size": nn.MSE()}, {"digit": 0.3, "size": 2.0})(heads, t)
    assert check(loss, values, wrt=list(builder.parameters.values())) == 4 * 3 + 3 + 4 * 2 + 2


def test_wrong_heads_are_named():
    with pytest.raises(nn.UsageError, match="losses for digit, but the network has digit, odd, size"):
        fitted(loss=nn.MultiTask({"digit": nn.CrossEntropy()}))
    with pytest.raises(nn.UsageError, match="a weight for colour"):
        nn.MultiTask({"digit": nn.CrossEntropy()}, {"colour": 1.0})
    with pytest.raises(nn.UsageError, match="same reduction"):
        nn.MultiTask({"a": nn.MSE(), "b": nn.MSE(reduction="sum")})
    with pytest.raises(nn.ShapeError, match="but 3 odd"):
        network().fit((DATA.train.images, {**targets(DATA.train), "odd": nn.Tensor((3,), "u8", b"abc")}), epochs=1)


def test_drawing_joins_the_heads_at_the_loss():
    edges = network().draw(backward=True).outline["edges"]
    assert sum(e["to"] == "loss" and e["phase"] == "forward" for e in edges) == 3
