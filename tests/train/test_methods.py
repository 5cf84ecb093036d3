"""Methods around the loop: views, pseudo-labels, queries, bins, several labels, regression figures."""

from __future__ import annotations

import random
from array import array
from math import log, sqrt

import pytest

import nncore as nn
from nncore.tensor import Tensor
from nncore.train.ensemble import mean
from nncore.train.methods.active import entropies
from nncore.train.methods.self_training import joined, pseudo_labelled
from nncore.train.methods.views import mirrored, shifted
from nncore.train.samples import samples
from tests.clouds import blobs, small


def net(seed=0, width=32, outputs=10):
    return nn.Sequential([nn.Dense(width), nn.ReLU(), nn.Dense(outputs)], seed=seed)


@pytest.fixture(scope="module")
def glyphs():
    return nn.data.glyphs(2000, 500, seed=2)


@pytest.fixture(scope="module")
def trained(glyphs):
    model = net()
    model.fit(glyphs.train, epochs=3, batch=50)
    return model


# ---- views -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "dtype"), [((2, 5, 4), "u8"), ((2, 3, 4, 3), "u8"), ((1, 4, 3, 2), "f32"), ((3, 1, 1), "u8")])
def test_shifts_and_mirrors_by_their_definition(shape, dtype):
    n, height, width, channels = *shape[:3], (*shape, 1)[3]
    size = n * height * width * channels
    values = [1 + i % 250 for i in range(size)]
    images = Tensor(shape, dtype, bytes(values) if dtype == "u8" else array("f", values))

    def at(i, y, x, c):
        inside = 0 <= y < height and 0 <= x < width
        return values[((i * height + y) * width + x) * channels + c] if inside else 0

    grid = [(i, y, x, c) for i in range(n) for y in range(height) for x in range(width) for c in range(channels)]
    for down in range(-height - 1, height + 2):
        for right in range(-width - 1, width + 2):
            moved = shifted(images, down, right)
            assert list(moved.flat()) == [at(i, y - down, x - right, c) for i, y, x, c in grid]
    assert list(mirrored(images).flat()) == [at(i, y, width - 1 - x, c) for i, y, x, c in grid]
    assert mirrored(mirrored(images)) == images


def test_views_are_all_shifts_the_image_first(glyphs):
    x = Tensor((1, 28, 28), "u8", glyphs.test.images.tobytes()[:784])
    found = nn.views(x, shift=1, mirror=True)
    assert found[0] == x and len(found) == 18 and found[9] == mirrored(x)
    assert len({v.tobytes() for v in found}) == 18 and shifted(x, 1, -1) in found
    assert nn.views(x, shift=0) == [x]


def test_the_mean_over_views(trained, glyphs):
    got = nn.predict_views(trained, glyphs.test, shift=1)
    want = mean([trained.predict(v, proba=True) for v in nn.views(glyphs.test.images, 1)])
    assert got == want and nn.predict_views(trained, glyphs.test, shift=0) == trained.predict(glyphs.test, proba=True)
    rows = samples(glyphs.test).select([3, 3, 77])
    assert nn.predict_views(trained, rows).tolist() == [got.tolist()[i] for i in (3, 3, 77)]
    committee = nn.Committee([trained])
    assert nn.predict_views(committee, rows).tolist() == nn.predict_views(trained, rows).tolist()


@pytest.mark.parametrize(("x", "options", "error"), [
    (Tensor((2, 6), "f32"), {}, nn.ShapeError), (Tensor((2, 4, 4), "u8"), {"shift": -1}, nn.UsageError),
    (Tensor((2, 4, 4), "u8"), {"shift": 4}, nn.UsageError), (Tensor((2, 4, 4), "u8"), {"shift": 0.5}, nn.UsageError),
])
def test_bad_views(x, options, error):
    with pytest.raises(error, match="views"):
        nn.views(x, **options)


# ---- self-training ---------------------------------------------------------------------------------------------------


def test_pseudo_labels_help(glyphs):
    data = samples(glyphs.train)
    told = []
    found = nn.self_train(net, data.select(range(150)), data.select(range(150, 2000)), rounds=2, confidence=0.8,
                          on_round=lambda i, r: told.append((i, r.pseudo)), epochs=12, batch=25)
    first, last = found.rounds[0].model, found.model
    assert found.rounds[0].pseudo == 0 and [p for _, p in told] == [r.pseudo for r in found.rounds]
    assert found.rounds[1].pseudo > 300
    assert last.evaluate(glyphs.test).accuracy > first.evaluate(glyphs.test).accuracy


def test_pseudo_labels_are_the_sure_predictions(trained, glyphs):
    data = samples(glyphs.test).select(range(100, 300))
    found = pseudo_labelled(trained, data, 0.9)
    proba = trained.predict(data, proba=True).tolist()
    sure = [i for i, row in enumerate(proba) if max(row) >= 0.9]
    assert 0 < len(sure) < 200 and found.labels.tolist() == [proba[i].index(max(proba[i])) for i in sure]
    each = 784
    assert found.x.tobytes() == b"".join(glyphs.test.images.tobytes()[(100 + i) * each : (101 + i) * each] for i in sure)
    assert pseudo_labelled(trained, data, 1.0) is None or max(map(max, proba)) == 1.0


def test_the_labels_of_the_pool_are_not_looked_at(glyphs):
    data = samples(glyphs.train)
    pool = data.select(range(200, 600))
    bare = nn.Tensor((400, 28, 28), "u8", glyphs.train.images.tobytes()[200 * 784 : 600 * 784])
    found = [nn.self_train(net, data.select(range(200)), p, rounds=1, epochs=2, batch=50).model for p in (pool, bare)]
    assert found[0].weights_sha256 == found[1].weights_sha256


def test_joined_samples():
    x, y = blobs(30)
    both = joined(samples((x, y)).select([1, 2]), samples((x, y)).select([0, 0, 29]))
    assert both.labels.tolist() == [1, 2, 0, 0, 2] and both.x.tolist()[4] == x.tolist()[29]
    with pytest.raises(nn.ShapeError, match="do not go together"):
        joined(samples((x, y)), samples(blobs(30, width=5)))


@pytest.mark.parametrize("options", [{"confidence": 0}, {"confidence": 1.1}, {"rounds": -1}, {"rounds": True}])
def test_bad_self_training(options):
    with pytest.raises(nn.UsageError, match="confidence lies"):
        nn.self_train(small, blobs(), blobs()[0], **options)


def test_self_training_needs_labels():
    with pytest.raises(nn.UsageError, match="class labels"):
        nn.self_train(small, blobs()[0], blobs()[0])


# ---- active learning -------------------------------------------------------------------------------------------------


def test_measures_by_hand(trained, glyphs):
    rows = trained.predict(glyphs.test, proba=True).tolist()
    top = [sorted(row)[-2:] for row in rows]
    assert nn.uncertainty(trained, glyphs.test, "least_confident") == [1 - b for _, b in top]
    assert nn.uncertainty(trained, glyphs.test) == [a - b for a, b in top]
    entropy = [-sum(p * log(p) for p in row if p) for row in rows]
    assert nn.uncertainty(trained, glyphs.test, "entropy") == pytest.approx(entropy, abs=1e-5)


def test_entropies_at_their_ends():
    z = Tensor((3, 4), "f32", array("f", [1, 1, 1, 1, 200, 0, 0, 0, -200, -200, 0, 0]))
    assert entropies(z) == pytest.approx([log(4), 0, log(2)], abs=1e-6)


@pytest.mark.parametrize("by", ["least_confident", "margin", "entropy"])
def test_queries_are_the_most_uncertain(trained, glyphs, by):
    values = nn.uncertainty(trained, glyphs.test, by)
    rows = nn.query(trained, glyphs.test, 20, by)
    assert len(set(rows)) == 20 and min(values[i] for i in rows) >= sorted(values)[-20]
    assert [values[i] for i in rows] == sorted((values[i] for i in rows), reverse=True)


def test_what_is_asked_for_is_worth_more_than_chance(glyphs):
    """Three seeds: the margin's labels give a better network than as many random ones, on average."""
    found = {}
    for by in ("margin", "random"):
        found[by] = 0.0
        for seed in range(3):
            steps = nn.active_learning(net, glyphs.train, 100, 100, 3, by, glyphs.test, seed=seed, epochs=12, batch=25)
            assert [s.labels for s in steps] == [100, 200, 300, 400]
            found[by] += steps[-1].evaluation.accuracy
    assert found["margin"] > found["random"]


def test_active_learning_asks_for_each_once(glyphs):
    seen = []

    class Model(nn.Sequential):
        def fit(self, data, **fit):
            seen.append(list(data.rows.flat()))
            return super().fit(data, **fit)

    nn.active_learning(lambda seed: Model([nn.Dense(10)], seed=seed), glyphs.train, 50, 30, 2, epochs=1, batch=25)
    assert [len(set(rows)) for rows in seen] == [50, 80, 110]
    assert all(set(a) < set(b) for a, b in zip(seen, seen[1:], strict=False))


@pytest.mark.parametrize(("call", "message"), [
    (lambda m, x: nn.uncertainty(m, x, "guess"), "choose one of least_confident"),
    (lambda m, x: nn.query(m, x, 0), "count is a number"), (lambda m, x: nn.query(m, x, 501), "count is a number"),
    (lambda m, x: nn.active_learning(net, x, by="guess"), "or random"),
    (lambda m, x: nn.active_learning(net, x, start=400, count=100, rounds=2), "the pool has 500"),
    (lambda m, x: nn.active_learning(net, x.images), "labels are known"),
    (lambda m, x: nn.uncertainty(nn.Sequential([nn.Dense(3), nn.Softmax()]).build((28, 28)), x, "entropy"), "from potentials"),
])
def test_bad_queries(trained, glyphs, call, message):
    with pytest.raises(nn.UsageError, match=message):
        call(trained, glyphs.test)


# ---- bins ------------------------------------------------------------------------------------------------------------


def test_a_value_belongs_to_the_nearest_centre():
    bins = nn.Bins([0, 1, 4])
    assert bins.labels([-9, 0.4, 0.5, 0.6, 2.5, 2.6, 99]).tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert nn.Bins.even(0, 10, 5).centres == (0, 2.5, 5, 7.5, 10) and len(bins) == 3
    assert nn.Bins.quantiles([5, 1, 1, 1, 9, 7], 3).centres == (1, 5, 9)
    assert nn.Bins.quantiles([1, 1, 1, 9, 1, 1], 3).centres == (1, 9)
    assert nn.Bins.quantiles(range(100), 4).centres == (12, 37, 62, 87)
    assert repr(bins) == "Bins(3 from 0 to 4)"


def test_the_expectation_is_sum_p_v():
    bins, (x, _) = nn.Bins([-1, 0, 5]), blobs()
    classifier = small()
    classifier.fit(blobs(), epochs=2, batch=50)
    model = bins.expecting(classifier)
    want = [sum(p * v for p, v in zip(row, bins.centres, strict=True)) for row in classifier.predict(x, proba=True).tolist()]
    assert [y for (y,) in model.predict(x).tolist()] == pytest.approx(want, rel=1e-5, abs=1e-6)
    assert not any(w.name.startswith("4.") for w in model.trainable) and len(classifier.layers) == 3


def test_both_ways_learn_a_number(tmp_path):
    """x -> |x|^2 of two-dimensional points, by classes and by the squared error of the expectation; the centres stay."""
    rng = random.Random(1)
    points = [(rng.uniform(-1, 1), rng.uniform(-1, 1)) for _ in range(600)]
    x = Tensor((600, 2), "f32", array("f", [v for p in points for v in p]))
    y = array("f", [a * a + b * b for a, b in points])
    bins = nn.Bins.quantiles(y, 12)
    spread = nn.regression_figures([sum(y) / 600] * 600, list(y)).rmse

    classifier = net(0, 32, len(bins))
    classifier.fit((x, bins.labels(y)), epochs=40, batch=50, optimizer=nn.Adam(0.01))
    by_class = nn.regression_figures(bins.expecting(classifier).predict(x), y)
    regressor = bins.expecting(net(0, 32, len(bins)).build((2,)))
    regressor.fit((x, y), epochs=40, batch=50, optimizer=nn.Adam(0.01), loss=nn.SquaredError())
    by_square = nn.regression_figures(regressor.predict(x), y)
    assert by_class.rmse < 0.4 * spread and by_square.rmse < 0.4 * spread
    assert regressor.parameter("4.weight").tolist() == [[pytest.approx(v)] for v in bins.centres]
    regressor.save(tmp_path / "m")
    assert nn.load(tmp_path / "m").predict(x) == regressor.predict(x)


@pytest.mark.parametrize("make", [
    lambda: nn.Bins([1]), lambda: nn.Bins([1, 1]), lambda: nn.Bins([2, 1]), lambda: nn.Bins([0, float("nan")]),
    lambda: nn.Bins(range(257)), lambda: nn.Bins.even(1, 0, 5), lambda: nn.Bins.even(0, 1, 1),
])
def test_bad_bins(make):
    with pytest.raises(nn.UsageError, match="Bins"):
        make()


def test_bins_of_another_number():
    with pytest.raises(nn.ShapeError, match="3 outputs, there are 5 bins"):
        nn.Bins.even(0, 1, 5).expecting(small().build((6,)))
    with pytest.raises(nn.UsageError, match="no weights yet"):
        nn.Bins.even(0, 1, 3).expecting(small())


# ---- several labels --------------------------------------------------------------------------------------------------


def test_several_labels_are_learned():
    """Which of three coordinates are positive."""
    rng = random.Random(3)
    points = [[rng.uniform(-1, 1) for _ in range(3)] for _ in range(500)]
    targets = nn.multi_hot([[j for j in range(3) if p[j] > 0] for p in points], 3)
    x = Tensor((500, 3), "f32", array("f", [v for p in points for v in p]))
    model = net(0, 16, 3)
    model.fit((x, targets), epochs=20, batch=50, optimizer=nn.Adam(0.02), loss=nn.BinaryCrossEntropy())
    found = nn.multilabel_figures(model.logits(x), targets)
    assert found.exact_share > 0.9 and found.f1 > 0.95 and "all labels right" in str(found)


def test_figures_by_hand():
    z = Tensor((3, 2), "f32", array("f", [1, -1, 0, 2, -3, -0.5]))
    t = nn.multi_hot([[0], [1], [0, 1]], 2)
    found = nn.multilabel_figures(z, t)
    assert (found.exact, found.true_positive, found.false_positive, found.false_negative) == (1, 2, 1, 2)
    assert found.hamming_loss == 0.5 and found.precision == 2 / 3 and found.recall == 0.5 and found.f1 == 4 / 7
    nothing = nn.multilabel_figures(Tensor((1, 2), "f32", array("f", [-1, -1])), nn.multi_hot([[]], 2))
    assert (nothing.precision, nothing.recall, nothing.f1, nothing.exact_share) == (None, None, None, 1.0)
    assert "F1 -" in str(nothing)
    assert nn.multilabel_figures(z, t, threshold=-1).false_positive == 2


def test_bad_labels():
    with pytest.raises(nn.UsageError, match="label 3 of sample 1"):
        nn.multi_hot([[0], [3]], 3)
    with pytest.raises(nn.ShapeError, match="one shape"):
        nn.multilabel_figures(Tensor((3, 2), "f32"), Tensor((2, 3), "f32"))


# ---- regression ------------------------------------------------------------------------------------------------------


def test_regression_figures():
    found = nn.regression_figures([1.0, 2.0, 4.0], [1.0, 3.0, 2.0])
    assert found.rmse == sqrt(5 / 3) and found.mae == 1.0 and found.r2 == pytest.approx(1 - 5 / 2)
    assert nn.regression_figures([1.0], [1.0]).r2 is None and "R^2 -" in str(nn.regression_figures([1.0], [2.0]))
    with pytest.raises(nn.ShapeError, match="2 predicted values for 3"):
        nn.regression_figures([1.0, 2.0], [1.0, 2.0, 3.0])
