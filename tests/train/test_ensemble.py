"""Committees: bootstrap draws, deciding by mean and by vote, snapshots, files; cross-validation."""

from __future__ import annotations

import json
from array import array
from fractions import Fraction
from math import exp

import pytest

import nncore as nn
from nncore.data import bootstrap, folds
from nncore.tensor import Tensor
from nncore.train.ensemble import mean, vote
from nncore.train.samples import samples
from tests.clouds import blobs, small
from tests.oracle_training import block

FIT = {"epochs": 2, "batch": 50, "optimizer": nn.Adam(0.02)}


def tensor(rows):
    return Tensor((len(rows), len(rows[0])), "f32", array("f", [v for row in rows for v in row]))


def hard(n, seed, noise=0.25):
    """Glyphs of which a part has a wrong label: something to disagree on."""
    data = nn.data.glyphs(n, 10, seed=seed).train
    labels = bytearray(data.labels.tobytes())
    for i in range(0, n, int(1 / noise)):
        labels[i] = (labels[i] + i) % 10
    return data.images, Tensor((n,), "u8", bytes(labels))


def net(seed):
    return nn.Sequential([nn.Dense(16), nn.ReLU(), nn.Dense(10)], seed=seed)


@pytest.fixture(scope="module")
def three():
    return nn.seed_committee(small, blobs(), members=3, **FIT)


# ---- draws with replacement ------------------------------------------------------------------------------------------


def test_draws_are_the_formula():
    """Draw i from the Philox block i / 2 of (seed, stream SPLIT, index 1)."""
    n, found = 1000, bootstrap(1000, 7)
    for i, row in enumerate(found):
        words = block(7, 2, 1, i // 2)
        u = words[0] | words[1] << 32 if i % 2 == 0 else words[2] | words[3] << 32
        assert row == Fraction(u * n, 2**64).__floor__()
    assert bootstrap(1000, 7, 11) == found[:11] and bootstrap(1000, 8) != found
    assert len(bootstrap(3, 0, 50)) == 50 and set(bootstrap(3, 0, 50)) == {0, 1, 2}


def test_63_percent_are_drawn():
    """1 - (1 - 1/n)^n of n; the count's deviation is about sqrt(n (1/e - 2/e^2)) = 31 for 10,000."""
    n = 10_000
    for seed in range(5):
        assert abs(len(set(bootstrap(n, seed))) - n * (1 - exp(-1))) < 4 * 31


@pytest.mark.parametrize(("n", "count"), [(0, None), (5, 0), (-1, 3)])
def test_nothing_to_draw(n, count):
    with pytest.raises(nn.UsageError, match="at least one"):
        bootstrap(n, 0, count)


def test_repeated_rows_are_samples_like_any_other():
    """Training on drawn rows is training on the copied samples, bit for bit."""
    x, y = blobs()
    rows = bootstrap(300, 1)
    copied = Tensor((300, 6), "f32", array("f", [v for r in rows for v in x[r]])), Tensor((300,), "u8", bytes(y[r] for r in rows))
    found = []
    for data in (samples((x, y)).select(rows), copied):
        model = small()
        model.fit(data, **FIT)
        found.append(model.weights_sha256)
    assert found[0] == found[1]


def test_rows_of_rows():
    data = samples(blobs()).select([5, 7, 9, 11]).select([3, 3, 0])
    assert data.rows.tolist() == [11, 11, 5] and len(data) == 3


# ---- deciding --------------------------------------------------------------------------------------------------------


def test_the_mean_is_added_in_order():
    a, b, c = ([[0.1, 0.9], [1.0, 0.0]], [[0.3, 0.7], [0.25, 0.75]], [[0.5, 0.5], [0.5, 0.5]])
    got = mean([tensor(t) for t in (a, b, c)])
    for i in range(2):
        for j in range(2):
            assert got[i][j] == pytest.approx((a[i][j] + b[i][j] + c[i][j]) / 3, rel=2e-7)
    assert mean([tensor(a)]) == tensor(a)
    assert mean([tensor(a)] * 12) == mean([tensor(a)] * 12)
    with pytest.raises(nn.ShapeError, match="the members differ"):
        mean([tensor(a), tensor([[1.0, 2.0]])])


def test_votes_and_their_ties():
    sure, weak, other = [[0.0, 1.0, 0.0]], [[0.4, 0.3, 0.3]], [[0.4, 0.25, 0.35]]
    assert vote([tensor(t) for t in (sure, weak, other)]) == [0]  # two of three, though the mean says 1
    assert vote([tensor(t) for t in (sure, weak)]) == [1]  # one each: the larger mean
    assert vote([tensor([[0.5, 0.5]]), tensor([[0.5, 0.5]])]) == [0]
    committee = nn.Committee([small().build((6,))] * 3)
    assert committee.decide([tensor(t) for t in (sure, weak, other)]).tolist() == [1]


def test_a_committee_of_one_is_its_member(three):
    x, _ = blobs()
    alone = nn.Committee(three.members[:1])
    assert alone.predict(x) == three.members[0].predict(x)
    assert alone.predict(x, proba=True) == three.members[0].predict(x, proba=True)
    assert alone.evaluate(blobs()).accuracy == three.members[0].evaluate(blobs()).accuracy


@pytest.mark.parametrize("how", ["average", "vote"])
def test_a_committee_beats_its_members(how):
    """Trained on labels of which a quarter is wrong, tested on right ones."""
    test = nn.data.glyphs(10, 1000, seed=5).test
    found = nn.bagging(net, hard(2000, 3), members=7, how=how, epochs=4, batch=50)
    alone = [m.evaluate(test).accuracy for m in found.members]
    assert found.evaluate(test).accuracy > max(alone)
    assert len({m.weights_sha256 for m in found.members}) == 7


def test_members_are_what_they_would_be_alone():
    data = samples(blobs())
    found = nn.bagging(small, data, members=2, seed=4, **FIT)
    model = small(5)
    model.fit(data.select(bootstrap(300, 5)), **FIT)
    assert found.members[1].weights_sha256 == model.weights_sha256
    plain = small(1)
    plain.fit(data, **FIT)
    assert nn.seed_committee(small, data, members=2, **FIT).members[1].weights_sha256 == plain.weights_sha256


# ---- snapshots -------------------------------------------------------------------------------------------------------


def test_a_snapshot_at_the_end_of_each_cycle():
    model = small()
    found = nn.snapshots(model, blobs(), cycles=3, epochs=6, rate=0.1, batch=50)
    assert len(found) == 3 and found.members[-1].weights_sha256 == model.weights_sha256
    assert len({m.weights_sha256 for m in found.members}) == 3
    # The first cycle is a training of its own with one cosine.
    first = small()
    first.fit(blobs(), epochs=2, batch=50, optimizer=nn.Momentum(nn.Cosine(0.1)))
    assert found.members[0].weights_sha256 == first.weights_sha256
    with pytest.raises(nn.UsageError, match="do not divide"):
        nn.snapshots(small(), blobs(), cycles=4, epochs=6)


@pytest.mark.parametrize("make", [
    lambda: nn.CosineRestarts(0.1), lambda: nn.CosineRestarts(0.1, steps=3, cycles=2), lambda: nn.CosineRestarts(0.1, cycles=0),
    lambda: nn.CosineRestarts(0.1, cycles=2, growth=2), lambda: nn.CosineRestarts(0.1, steps=2.5),
    lambda: nn.CosineRestarts(-1, steps=3), lambda: nn.Geometric(0, 1), lambda: nn.Geometric(1e-3, -1),
])
def test_wrong_schedules_are_refused(make):
    with pytest.raises(nn.UsageError, match=r"CosineRestarts|Geometric"):
        make()


# ---- files -----------------------------------------------------------------------------------------------------------


def test_saved_and_loaded(three, tmp_path):
    three.save(tmp_path / "c")
    again = nn.Committee.load(tmp_path / "c")
    assert len(again) == 3 and again.how == "average" and "3 members" in repr(again)
    assert again.predict(blobs()[0], proba=True) == three.predict(blobs()[0], proba=True)
    with pytest.raises(nn.UsageError, match="holds a committee already"):
        three.save(tmp_path / "c")


def test_broken_folders_are_refused(three, tmp_path):
    folder = tmp_path / "c"
    three.save(folder)
    spec = json.loads((folder / "committee.json").read_text())
    for change in ({"format": "x"}, {"how": "shout"}, {"members": []}, {"members": ["../a"]}, {"members": 3},
                   {"weights_sha256": 7}):
        (folder / "committee.json").write_text(json.dumps({**spec, **change}))
        with pytest.raises(nn.DataError, match="not a committee"):
            nn.Committee.load(folder)
    (folder / "committee.json").write_text("[1, 2")
    with pytest.raises(nn.DataError, match="not a committee"):
        nn.Committee.load(folder)
    (folder / "committee.json").write_text(json.dumps({**spec, "weights_sha256": ["0" * 64] * 3}))
    with pytest.raises(nn.DataError, match="another hash"):
        nn.Committee.load(folder)
    with pytest.raises(nn.DataError, match="cannot be read"):
        nn.Committee.load(tmp_path / "nowhere")


def test_bad_committees_are_refused(three):
    with pytest.raises(nn.UsageError, match="1 to 1000 models"):
        nn.Committee([])
    with pytest.raises(nn.UsageError, match="average"):
        nn.Committee(three.members, "median")
    with pytest.raises(nn.ShapeError, match="member 1 takes samples"):
        nn.Committee([small().build((6,)), small().build((5,))])
    with pytest.raises(nn.UsageError, match="new model each time"):
        nn.seed_committee(lambda seed: three.members[0], blobs(), members=2, **FIT)
    with pytest.raises(nn.UsageError, match="holds out copies"):
        nn.bagging(small, blobs(), validation=0.2)
    with pytest.raises(nn.UsageError, match="members is a number"):
        nn.bagging(small, blobs(), members=0)
    with pytest.raises(nn.UsageError, match="class labels"):
        three.evaluate(blobs()[0])
    one = nn.Sequential([nn.Dense(1)]).build((6,))
    with pytest.raises(nn.ShapeError, match="two or more classes"):
        nn.Committee([one]).predict(blobs()[0])


# ---- cross-validation ------------------------------------------------------------------------------------------------


def test_stratified_folds():
    labels = bytes([0] * 31 + [1] * 13 + [2] * 6)
    parts = folds(50, 4, 3, labels)
    assert sorted(i for p in parts for i in p) == list(range(50))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    for c in range(3):
        counts = [sum(labels[i] == c for i in p) for p in parts]
        assert max(counts) - min(counts) <= 1
    assert folds(50, 4, 3, labels) == parts != folds(50, 4, 4, labels)


@pytest.mark.parametrize("stratified", [True, False])
def test_every_fold_is_a_fit_on_the_others(stratified):
    x, y = blobs(90)
    found = nn.cross_validate(small, (x, y), folds=3, stratified=stratified, seed=2, keep=True, epochs=2, batch=20)
    parts = folds(90, 3, 2, y.tobytes() if stratified else None)
    data = samples((x, y))
    for i, (part, evaluation, model) in enumerate(zip(parts, found.folds, found.models, strict=True)):
        own = small(2)
        own.fit(data.select(sorted(r for j, p in enumerate(parts) if j != i for r in p)), epochs=2, batch=20)
        assert own.weights_sha256 == model.weights_sha256 and own.evaluate(data.select(part)) == evaluation
    assert sum(f.n for f in found.folds) == 90


def test_every_fold_has_callbacks_of_its_own():
    """EarlyStopping remembers the best it has seen: not that of another fold, nor of another member."""
    stop = nn.EarlyStopping(patience=1)
    options = {"epochs": 6, "batch": 20, "validation": 0.2, "optimizer": nn.Adam(0.05)}
    found = nn.cross_validate(small, blobs(), folds=3, callbacks=[stop], keep=True, **options)
    data = samples(blobs())
    parts = folds(300, 3, 0, data.label_list())
    own = small()
    own.fit(data.select(sorted([*parts[0], *parts[1]])), callbacks=[nn.EarlyStopping(patience=1)], **options)
    assert found.models[2].weights_sha256 == own.weights_sha256 and stop.best is None


def test_mean_and_deviation():
    from statistics import mean as average
    from statistics import stdev

    told = []
    found = nn.cross_validate(small, blobs(), folds=4, epochs=1, batch=30, on_fold=lambda i, e: told.append((i, e)))
    values = [f.accuracy for f in found.folds]
    assert found.accuracy.mean == pytest.approx(average(values)) and found.accuracy.deviation == pytest.approx(stdev(values))
    assert told == list(enumerate(found.folds, start=1))
    assert "deviation over 4 folds" in str(found) and str(found).count("fold ") == 4


def test_regressions_have_a_loss():
    x, y = blobs(60)
    found = nn.cross_validate(lambda s: nn.Sequential([nn.Dense(1)], seed=s), (x, array("f", map(float, y.tolist()))), folds=3,
                              epochs=2, batch=10)
    assert found.accuracy is None and "loss" in str(found) and "accuracy" not in str(found)


@pytest.mark.parametrize(("options", "message"), [
    ({"folds": 1}, "between 2 and 300"), ({"folds": 301}, "between 2 and 300"), ({"folds": 2.0}, "between 2 and 300"),
])
def test_wrong_folds(options, message):
    with pytest.raises(nn.UsageError, match=message):
        nn.cross_validate(small, blobs(), **options)


def test_wrong_use_of_cross_validation():
    with pytest.raises(nn.UsageError, match="needs labels"):
        nn.cross_validate(small, blobs()[0])
    model = small()
    with pytest.raises(nn.UsageError, match="new model each time"):
        nn.cross_validate(lambda seed: model, blobs(), folds=2, epochs=1)
